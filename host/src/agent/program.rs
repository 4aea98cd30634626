//! Programs that users bring along. They lie in a folder of this host by digest, and run with the rights of its user.

use std::{
    ffi::OsStr,
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use lattice::{
    bus::ArtifactError,
    model::app::{ProcessLimits, ProgramSpec},
    wire::Digest,
};
use lattice_provider::PROGRAM_ENVIRONMENT;
use tokio::process::Command;

use super::{diff::Key, process::Executable, surroundings::Surroundings};
use crate::files::{OWN_PROGRAM, write_whole};

/// Why a program is not started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("this host runs no programs; start it with --allow-programs")]
    NotAllowed,
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("cannot keep the program in {}: {source}", path.display())]
    Disk { path: PathBuf, source: std::io::Error },
}

/// Says how the program is started, when it is on this host's disk.
pub(super) async fn prepare(
    here: &Surroundings,
    key: &Key,
    program: &ProgramSpec,
    limits: ProcessLimits,
) -> Result<Executable, ProgramError> {
    let path = fetch(here, &program.digest).await?;
    let data_dir = here.provider_data().join(key.unit.app.as_str()).join(key.unit.unit.as_str());
    std::fs::create_dir_all(&data_dir).map_err(|source| ProgramError::Disk { path: data_dir.clone(), source })?;
    let mut command = command(&path, program);
    command.current_dir(&data_dir);
    Ok(Executable {
        name: program.image.clone(),
        kind: None,
        serves: program.serves.clone(),
        path,
        data_dir,
        limits,
        command,
    })
}

/// Brings a program to this host's disk.
pub(super) async fn fetch(here: &Surroundings, digest: &Digest) -> Result<PathBuf, ProgramError> {
    if !here.programs {
        return Err(ProgramError::NotAllowed);
    }
    let folder = here.data.join("programs");
    let path = folder.join(digest.hex());
    if !is_intact(&path, digest).await {
        let bytes = here.bus.artifacts().get(digest).await?;
        let place = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&place, &bytes)).await;
        let written = written.map_err(std::io::Error::from).and_then(|written| written);
        written.map_err(|source| ProgramError::Disk { path: folder, source })?;
    }
    Ok(path)
}

/// The program with what it gets of its surroundings, in a group of processes of its own.
pub(super) fn command(path: &Path, program: &ProgramSpec) -> Command {
    let mut command = Command::new(path);
    let inherited =
        PROGRAM_ENVIRONMENT.into_iter().filter_map(|name| Some((OsStr::new(name), std::env::var_os(name)?)));
    command.env_clear().envs(inherited).envs(&program.env);
    // Ctrl-C in the host's terminal is for the host, which then lets its programs finish.
    command.process_group(0);
    command
}

/// Whether the file is there and has the bytes of `digest`. Asked before each start.
async fn is_intact(path: &Path, digest: &Digest) -> bool {
    let (path, digest) = (path.to_owned(), digest.clone());
    let intact = move || match std::fs::read(&path) {
        Ok(bytes) if Digest::of(&bytes) == digest => {
            // It may have been copied here by other means.
            std::fs::set_permissions(&path, Permissions::from_mode(0o700)).is_ok()
        }
        Ok(_) => {
            tracing::warn!(%digest, path = %path.display(), "a program on disk is damaged; fetching it again");
            false
        }
        Err(_) => false,
    };
    tokio::task::spawn_blocking(intact).await.unwrap_or(false)
}

/// Writes a program whole, for this user alone.
fn write(path: &Path, bytes: &Bytes) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    write_whole(path, bytes, OWN_PROGRAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_on_disk_is_used_only_as_it_was_uploaded() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::from("#!/bin/sh\n");
        let digest = Digest::of(&bytes);
        let path = dir.path().join("programs").join(digest.hex());
        assert!(!is_intact(&path, &digest).await);
        write(&path, &bytes).unwrap();
        assert!(is_intact(&path, &digest).await);
        for path in [path.parent().unwrap(), &path] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(&path, "#!/bin/sh\nrm").unwrap();
        assert!(!is_intact(&path, &digest).await);
        write(&path, &bytes).unwrap();
        assert!(is_intact(&path, &digest).await);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
    }
}
