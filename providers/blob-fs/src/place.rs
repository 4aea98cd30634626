//! A container, which is a folder, and the files in it. All of this blocks.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use cap_std::{
    fs::{Dir, Metadata},
    time::SystemTime,
};
use lattice_provider::blobstore::BlobError;
use uuid::Uuid;

use crate::temporary::{TEMPORARY, Temporary};

/// So many times are folders made for a file.
const TRIES: usize = 10;

/// Does what blocks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(BlobError::other)?
}

/// What an error of the system means for an object.
pub(crate) fn failed(error: &io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => BlobError::NoSuchObject,
        // Also what cap-std says of a path that leads out of its folder.
        io::ErrorKind::PermissionDenied => BlobError::AccessDenied,
        _ => BlobError::other(error),
    }
}

/// In seconds since 1970.
pub(crate) fn seconds(time: io::Result<SystemTime>) -> u64 {
    let since = time.ok().and_then(|time| time.into_std().duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_secs())
}

pub(crate) struct Container {
    root: Arc<Dir>,
    name: String,
    pub(crate) dir: Dir,
}

impl Container {
    pub(crate) fn open(root: Arc<Dir>, name: String) -> Result<Self, BlobError> {
        match root.open_dir(&name) {
            Ok(dir) => Ok(Self { root, name, dir }),
            Err(error) => Err(match failed(&error) {
                BlobError::NoSuchObject => BlobError::NoSuchContainer,
                other => other,
            }),
        }
    }

    /// Takes it away at once, and then removes what is in it.
    pub(crate) fn remove(&self) -> Result<(), BlobError> {
        let away = format!("{TEMPORARY}/{}", Uuid::now_v7());
        self.root.rename(&self.name, &self.root, &away).map_err(|error| failed(&error))?;
        self.root.remove_dir_all(&away).map_err(|error| failed(&error))
    }

    pub(crate) fn clear(&self) -> Result<(), BlobError> {
        let clear = || -> io::Result<()> {
            for entry in self.dir.entries()? {
                let entry = entry?;
                let removed = match entry.file_type()?.is_dir() {
                    true => self.dir.remove_dir_all(entry.file_name()),
                    false => entry.remove_file(),
                };
                present(removed)?;
            }
            Ok(())
        };
        clear().map_err(|error| failed(&error))
    }

    /// Of an object; what is no file is none.
    pub(crate) fn metadata(&self, object: &str) -> Result<Metadata, BlobError> {
        let metadata = self.dir.metadata(object).map_err(|error| failed(&error))?;
        if metadata.is_file() { Ok(metadata) } else { Err(BlobError::NoSuchObject) }
    }

    /// An object's file, and its size in bytes.
    pub(crate) fn file(&self, object: &str) -> Result<(std::fs::File, u64), BlobError> {
        // First: to open a pipe would wait for who writes to it.
        self.metadata(object)?;
        let file = self.dir.open(object).map_err(|error| failed(&error))?;
        let size = file.metadata().map_err(|error| failed(&error))?.len();
        Ok((file.into_std(), size))
    }

    /// Makes a whole file the object.
    pub(crate) fn put(&self, temporary: Temporary, object: &str) -> Result<(), BlobError> {
        self.in_place(object, || temporary.rename(&self.dir, object))?;
        temporary.keep();
        Ok(())
    }

    /// Makes an object of `from` one of its own.
    pub(crate) fn take(&self, from: &Self, object: &str, to: &str) -> Result<(), BlobError> {
        self.in_place(to, || from.dir.rename(object, &self.dir, to))?;
        from.prune(object);
        Ok(())
    }

    /// Renames something to the place of `object`, whose folders are made.
    fn in_place(&self, object: &str, rename: impl Fn() -> io::Result<()>) -> Result<(), BlobError> {
        let parent = Path::new(object).parent().filter(|parent| *parent != Path::new(""));
        let mut outcome = rename();
        for _ in 0..TRIES {
            // Others may remove a folder of its path again, with the last object in it.
            match (&outcome, parent) {
                (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
                    outcome = self.dir.create_dir_all(parent).and_then(|()| rename());
                }
                _ => break,
            }
        }
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::NoSuchContainer,
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                BlobError::Other(format!("{object:?}: a part of it is an object itself, and no folder"))
            }
            io::ErrorKind::IsADirectory => BlobError::Other(format!("{object:?} is a folder with objects in it")),
            io::ErrorKind::InvalidFilename => {
                BlobError::Other(format!("{object:?}: a part of it is too long for a file"))
            }
            _ => failed(&error),
        })
    }

    /// Deletes an object; what is none stays.
    pub(crate) fn delete(&self, object: &str) -> Result<(), BlobError> {
        match self.metadata(object) {
            Err(BlobError::NoSuchObject) => return Ok(()),
            known => known?,
        };
        present(self.dir.remove_file(object)).map_err(|error| failed(&error))?;
        self.prune(object);
        Ok(())
    }

    /// Removes the folders that an object has left empty.
    fn prune(&self, object: &str) {
        let mut folder = PathBuf::from(object);
        while folder.pop() && folder != Path::new("") && self.dir.remove_dir(&folder).is_ok() {}
    }
}

/// No error where there was nothing.
fn present(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
