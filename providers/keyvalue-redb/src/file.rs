//! The file while it is open, and opening it again when the disk has failed it: after an error of the disk redb does nothing more with a
//! database that is open, neither writes nor reads.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use lattice_provider::{StartError, keyvalue::Watched};
use redb::{Database, DatabaseError};

use crate::{changes::Noted, tables::Tables};

/// Pages of the file kept in memory, in bytes. The system's cache has the others.
const CACHE: usize = 32 * 1024 * 1024;
/// Those who read may take so long to let go of a file that is to be opened again.
const LET_GO: Duration = Duration::from_secs(2);

pub(crate) struct File {
    path: PathBuf,
    watched: Arc<Watched>,
    // A lock, held only to take a copy or to put another one there. `None` while it cannot be opened.
    open: RwLock<Option<Arc<Database>>>,
}

/// Whether the file is of no use any more before it is opened again.
pub(crate) fn is_broken(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

impl File {
    pub(crate) fn open(path: PathBuf, watched: Arc<Watched>) -> Result<Self, StartError> {
        let database = open(&path, &watched)?;
        Ok(Self { path, watched, open: RwLock::new(Some(Arc::new(database))) })
    }

    pub(crate) fn database(&self) -> Result<Arc<Database>, redb::Error> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(redb::Error::PreviousIo)
    }

    /// Closes it and opens it again. What was committed is there.
    pub(crate) fn reopen(&self) -> Result<(), StartError> {
        let before = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let began = Instant::now();
        while before.as_ref().is_some_and(|open| Arc::strong_count(open) > 1) && began.elapsed() < LET_GO {
            thread::sleep(Duration::from_millis(5));
        }
        drop(before);
        let database = open(&self.path, &self.watched)?;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(database));
        Ok(())
    }
}

fn open(path: &Path, watched: &Watched) -> Result<Database, StartError> {
    let cannot = |reason: String| StartError::Backend(format!("cannot open {}: {reason}", path.display()));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| cannot(e.to_string()))?;
    }
    let database = Database::builder().set_cache_size(CACHE).create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => {
            StartError::Busy(format!("cannot open {}: another instance has it open", path.display()))
        }
        // Of a file that is too short, redb says that it cannot read enough of it.
        DatabaseError::Storage(redb::StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            cannot(error.to_string())
        }
        other => cannot(format!("it is no redb database, or damaged: {other}")),
    })?;
    let damaged = |error: redb::Error| cannot(format!("it is damaged: {error}"));
    let transaction = database.begin_write().map_err(|e| damaged(e.into()))?;
    Tables::open(&transaction).map_err(damaged)?;
    Noted::open(&transaction).and_then(|mut noted| noted.only(watched)).map_err(damaged)?;
    transaction.commit().map_err(|e| damaged(e.into()))?;
    Ok(database)
}
