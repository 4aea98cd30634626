//! Files that are whole or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;

/// The mode of a file that only its owner reads and writes.
pub(crate) const OWN: u32 = 0o600;
/// The mode of a program that only its owner runs.
pub(crate) const OWN_PROGRAM: u32 = 0o700;

/// [`write_whole`], on a thread that may wait for the disk as long as that takes.
pub(crate) async fn keep(path: PathBuf, bytes: impl Into<Bytes>, mode: u32) -> io::Result<()> {
    let bytes = bytes.into();
    tokio::task::spawn_blocking(move || write_whole(&path, &bytes, mode)).await.map_err(io::Error::from)?
}

/// Writes a file so that a crash leaves either the whole of it or nothing under its name.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::now_v7().simple()));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
