//! Files that are not whole yet. Each is locked by who writes it, so that what nobody locks is left of a process that was
//! killed, and can go.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cap_std::fs::{Dir, OpenOptions};
use lattice_provider::blobstore::BlobError;
use uuid::Uuid;

use crate::place::failed;

/// The folder of the root that they are in. No container is called so.
pub(crate) const TEMPORARY: &str = ".lattice";
/// What is younger may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// Makes the folder, and removes what others have left in it.
pub(crate) fn prepare(root: &Dir) -> io::Result<()> {
    root.create_dir_all(TEMPORARY)?;
    let dir = root.open_dir(TEMPORARY)?;
    let old = SystemTime::now() - YOUNG;
    for entry in dir.entries()? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.modified()?.into_std() > old {
            continue;
        }
        let removed = if metadata.is_dir() {
            dir.remove_dir_all(entry.file_name())
        } else if entry.open()?.into_std().try_lock().is_ok() {
            entry.remove_file()
        } else {
            continue;
        };
        if let Err(error) = removed {
            tracing::warn!(%error, name = ?entry.file_name(), "cannot remove what is left of an earlier write");
        }
    }
    Ok(())
}

/// A file that is written. It goes when this is dropped, unless it was renamed.
pub(crate) struct Temporary {
    root: Arc<Dir>,
    file: std::fs::File,
    path: Option<String>,
}

impl Temporary {
    pub(crate) fn new(root: &Arc<Dir>) -> Result<Self, BlobError> {
        let make = || -> io::Result<Self> {
            let path = format!("{TEMPORARY}/{}", Uuid::now_v7());
            let file = root.open_with(&path, OpenOptions::new().write(true).create_new(true))?.into_std();
            let made = Self { root: root.clone(), file, path: Some(path) };
            made.file.lock()?;
            Ok(made)
        };
        make().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::Other("the folder of all containers is gone".into()),
            _ => failed(&error),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.file.write_all(bytes).map_err(BlobError::other)
    }

    pub(crate) fn copy(&mut self, from: &mut std::fs::File) -> Result<(), BlobError> {
        io::copy(from, &mut self.file).map(drop).map_err(BlobError::other)
    }

    pub(crate) fn rename(&self, dir: &Dir, to: &str) -> io::Result<()> {
        match &self.path {
            Some(path) => self.root.rename(path, dir, to),
            None => Ok(()),
        }
    }

    /// It has another name now.
    pub(crate) fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = self.root.remove_file(&path)
        {
            tracing::warn!(%error, path, "cannot remove a file that did not become whole");
        }
    }
}
