//! `lattice-host run`.

use std::{future::poll_fn, io::Write, path::Path, process::ExitCode, sync::Arc, time::Duration};

use wasmtime::{
    Trap,
    component::{Component, InstancePre},
};
use wasmtime_wasi::{I32Exit, p2, p3};

use super::{Binary, StandaloneError, UNLIMITED, compile, module, options::RunOptions, read, unit};
use crate::{
    links::ComponentLinks,
    runtime::{
        component, engine,
        guest::{About, Guest, GuestStore},
        needs::engine_for,
    },
};

/// What a shell shows for a program that aborts.
const TRAPPED: u8 = 134;
/// What `timeout` shows for a program that it has ended.
const LATE: u8 = 124;

/// How long what a program has started may go on when the program itself has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a program ended: `false` when it says that it failed.
pub(super) type Ended = wasmtime::Result<bool>;

/// Runs a command to its end, and gives its exit code.
pub async fn run(options: RunOptions) -> Result<ExitCode, StandaloneError> {
    let path = options.file.clone();
    let ended = match read(&path).await? {
        Binary::Component(bytes) => within(options.timeout, start(&options, bytes).await?).await,
        Binary::Module(bytes) => within(options.timeout, module::start(&options, bytes).await?).await,
    };
    // What it wrote is out before its exit code is.
    let _ = std::io::stdout().flush();
    let Some(ended) = ended else {
        eprintln!("error: {} did not end in time", path.display());
        return Ok(LATE.into());
    };
    Ok(code(&path, &ended))
}

async fn within(limit: Option<Duration>, program: impl Future<Output = Ended>) -> Option<Ended> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, program).await.ok(),
        None => Some(program.await),
    }
}

fn code(path: &Path, ended: &Ended) -> ExitCode {
    let error = match ended {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::FAILURE,
        Err(error) => error,
    };
    if let Some(I32Exit(code)) = error.downcast_ref() {
        // The system keeps only this much of it.
        return ExitCode::from((code & 0xff) as u8);
    }
    if matches!(error.downcast_ref::<Trap>(), Some(Trap::Interrupt)) {
        eprintln!("error: {} did not end in time", path.display());
        return LATE.into();
    }
    eprintln!("error: {} trapped: {error:#}", path.display());
    TRAPPED.into()
}

/// The arguments that a program sees, its own name first.
pub(super) fn arguments(options: &RunOptions) -> Vec<String> {
    let name = options.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::iter::once(name).chain(options.args.iter().cloned()).collect()
}

/// Makes everything ready; what comes out runs the program.
async fn start(options: &RunOptions, bytes: Vec<u8>) -> Result<impl Future<Output = Ended>, StandaloneError> {
    let path = options.file.clone();
    let kind = engine_for(&bytes);
    let engine = engine::make_single(kind)?;
    let component = compile(&path, {
        let engine = engine.clone();
        move || Component::new(&engine, bytes)
    });
    let component = component.await?;
    let imports =
        |error: wasmtime::Error| StandaloneError::Imports { path: path.clone(), reason: format!("{error:#}") };
    let linker = component::linker(&engine, kind).map_err(imports)?;
    let pre = linker.instantiate_pre(&component).map_err(imports)?;
    let program = Program::new(pre).ok_or_else(|| StandaloneError::NoCommand { path: path.clone() })?;
    let grants = options.grants.grants(arguments(options), true);
    let mut wasi = grants.builder(&Arc::new(unit()), &options.grants.env())?;
    let memory = options.memory.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let about = Arc::new(About { unit: unit(), settings: Vec::new(), secrets: grants.secrets.clone() });
    let links = Arc::new(ComponentLinks::default());
    let mut store = Guest::store(&engine, wasi.build(), grants.client()?, memory, links, about);
    Guest::begin(&mut store, options.timeout.unwrap_or(UNLIMITED));
    Ok(program.run(store))
}

/// A command of either kind.
enum Program {
    Two(p2::bindings::CommandPre<Guest>),
    Three(p3::bindings::CommandPre<Guest>),
}

impl Program {
    fn new(pre: InstancePre<Guest>) -> Option<Self> {
        let three = p3::bindings::CommandPre::new(pre.clone()).ok().map(Self::Three);
        three.or_else(|| p2::bindings::CommandPre::new(pre).ok().map(Self::Two))
    }

    async fn run(self, mut store: GuestStore) -> Ended {
        match self {
            Self::Two(pre) => {
                let command = pre.instantiate_async(&mut store).await?;
                Ok(command.wasi_cli_run().call_run(&mut store).await?.is_ok())
            }
            Self::Three(pre) => {
                let command = pre.instantiate_async(&mut store).await?;
                let run = store.run_concurrent(async |accessor| {
                    let outcome = command.wasi_cli_run().call_run(accessor).await?;
                    // Tasks that it has left behind may still write, but they need not end.
                    let rest = poll_fn(|cx| accessor.poll_no_interesting_tasks(cx));
                    let _ = tokio::time::timeout(LAST_WORDS, rest).await;
                    wasmtime::error::Ok(outcome.is_ok())
                });
                run.await?
            }
        }
    }
}
