//! Hosts on machines with something wrong, by the library in `tests/faults`.

use std::{fs, path::PathBuf};

use crate::{host::Host, lattice::Lattice, places::library};

/// Puts the library with faults between a host and its machine.
fn preload(host: &mut Host, name: &str, value: String) {
    let library = library("lattice_faults").display().to_string();
    host.variables.extend([("LD_PRELOAD".to_owned(), library), (name.to_owned(), value)]);
}

/// A host whose clock is so many seconds ahead, or behind when it is less than none.
pub fn with_clock(host: &mut Host, seconds: i64) {
    preload(host, "LATTICE_FAULT_CLOCK", seconds.to_string());
}

/// A host with a disk of which it is said from outside what is wrong with it.
pub fn with_disk(host: &mut Host) {
    let disk = host.data().display().to_string();
    preload(host, "LATTICE_FAULT_DISK", disk);
}

/// What says that the disk of the host in `zone` is `full` or `slow` while it is there.
pub struct Wrong(PathBuf);

impl Wrong {
    pub fn with(lattice: &Lattice, zone: &str, what: &str) -> Self {
        let host = lattice.hosts.iter().find(|host| host.zone == zone).unwrap();
        let path = PathBuf::from(format!("{}.{what}", host.data().display()));
        fs::write(&path, "").unwrap();
        Self(path)
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}
