//! One component by itself, without a lattice: [`run`] runs a command to its end, [`serve`] serves HTTP by the road that
//! requests take in a lattice. What a component may reach is granted on the command line, and nothing else is.

mod command;
mod module;
mod options;
mod replay;
mod serve;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use lattice::wire::UnitId;
use lattice_provider_http_client::TlsError;
use lattice_provider_http_server::ListenError;

pub use self::{
    command::run,
    options::{ReplayOptions, RunOptions, ServeOptions},
    replay::replay,
    serve::serve,
};
use crate::runtime::{EngineError, component::PrepareError, grants::GrantError};

/// Why a file does not run.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not WebAssembly", path.display())]
    NotWasm { path: PathBuf },
    #[error(
        "{} is a core module, not a component; only a component can serve HTTP (`wasm-tools component new` makes one)",
        path.display()
    )]
    Module { path: PathBuf },
    #[error("{} cannot be compiled: {reason}", path.display())]
    Compile { path: PathBuf, reason: String },
    #[error("{} imports what there is not here: {reason}", path.display())]
    Imports { path: PathBuf, reason: String },
    #[error("{} exports no wasi:cli/run of WASI 0.2 or 0.3, so it is no command; if it answers HTTP, use `serve`", path.display())]
    NoCommand { path: PathBuf },
    #[error("{} exports no `_start`, so it is no command", path.display())]
    NoStart { path: PathBuf },
    #[error(
        "{} exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3; if it is a command, use `run`",
        path.display()
    )]
    NoHttp { path: PathBuf },
    #[error("{} cannot be started: {reason}", path.display())]
    Instantiate { path: PathBuf, reason: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("HTTP requests cannot be sent: {0}")]
    Client(#[from] TlsError),
    #[error("{}: {source}", path.display())]
    Prepare { path: PathBuf, source: PrepareError },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("{}, line {line}: {reason}", path.display())]
    Recording { path: PathBuf, line: usize, reason: String },
    #[error("{}: a part of the component was {to} when that was recorded, and its calls were not seen", path.display())]
    Fused { path: PathBuf, to: UnitId },
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("cannot compile {}: the work was interrupted", path.display())]
    Interrupted { path: PathBuf },
    #[error("no name for the component on {address}: {reason}")]
    Name { address: SocketAddr, reason: String },
}

/// What a file of WebAssembly holds.
enum Binary {
    Component(Vec<u8>),
    Module(Vec<u8>),
}

async fn read(path: &Path) -> Result<Binary, StandaloneError> {
    let bytes = tokio::fs::read(path).await;
    let bytes = bytes.map_err(|source| StandaloneError::Read { path: path.to_owned(), source })?;
    if wasmparser::Parser::is_component(&bytes) {
        Ok(Binary::Component(bytes))
    } else if wasmparser::Parser::is_core_wasm(&bytes) {
        Ok(Binary::Module(bytes))
    } else {
        Err(StandaloneError::NotWasm { path: path.to_owned() })
    }
}

/// Compiles off the tasks' threads.
async fn compile<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> wasmtime::Result<T> + Send + 'static,
) -> Result<T, StandaloneError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|_| StandaloneError::Interrupted { path: path.to_owned() })?;
    done.map_err(|error| StandaloneError::Compile { path: path.to_owned(), reason: format!("{error:#}") })
}

/// The name under which a component of its own appears in the log.
fn unit() -> UnitId {
    #[expect(clippy::expect_used, reason = "a literal, parsed by every test of this room")]
    "standalone/main".parse().expect("a literal unit")
}

/// How long a program may run when nobody sets a limit.
const UNLIMITED: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
