//! Where programs and guests are, and addresses that are free.

use std::{
    env,
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use lattice_provider::conformance::ports::Port;

const WAY_OUT: &str = "run `cargo xtask test`, which makes what the tests need";

/// One of our programs: in the folder LATTICE_BIN, else where cargo puts it.
pub fn program(name: &str) -> PathBuf {
    existing(env::var_os("LATTICE_BIN").map_or_else(beside_us, PathBuf::from).join(name))
}

/// One of our libraries that a program can be started with, which lies where programs do.
pub fn library(name: &str) -> PathBuf {
    program(&format!("lib{name}.so"))
}

/// A guest: in the folder LATTICE_GUESTS, else in `target/guests`.
pub fn guest(name: &str) -> PathBuf {
    let default = || beside_us().join("../guests");
    existing(env::var_os("LATTICE_GUESTS").map_or_else(default, PathBuf::from).join(format!("{name}.wasm")))
}

/// `target/debug`, from `target/debug/deps/TEST`.
fn beside_us() -> PathBuf {
    let ours = env::current_exe().unwrap();
    ours.ancestors().nth(2).unwrap().to_owned()
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "there is no {}: {WAY_OUT}", path.display());
    path
}

/// An address on this machine that nobody listens on, and that no other test is given.
pub fn free_address() -> SocketAddr {
    // Held to the end of the process; tests run side by side in threads, a lock around one push.
    static HELD: Mutex<Vec<Port>> = Mutex::new(Vec::new());
    let port = Port::free(10_000..20_000).unwrap();
    let address = port.address();
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(port);
    address
}

/// A PATH on which nats-server is.
pub fn path_with_nats() -> OsString {
    let given = env::var_os("LATTICE_NATS_SERVER").map(PathBuf::from);
    let folder = given.and_then(|program| Some(program.parent()?.as_os_str().to_owned()));
    folder.or_else(|| env::var_os("PATH")).unwrap_or_default()
}

/// The folder with Python's NATS client: LATTICE_NATS_PY.
pub fn nats_py() -> PathBuf {
    existing(env::var_os("LATTICE_NATS_PY").map(PathBuf::from).unwrap_or_else(|| PathBuf::from("LATTICE_NATS_PY")))
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
