//! `lattice-host serve`.

use std::sync::Arc;

use lattice::{
    model::app::{ComponentSpec, Limits},
    wire::{Digest, HostId, InstanceId},
};
use lattice_provider::http::HttpHandler;
use lattice_provider_http_server::{Config, HttpServers};
use tokio::signal::unix::{SignalKind, signal};
use wasmtime::component::Component;

use super::{Binary, StandaloneError, compile, options::ServeOptions, read, unit};
use crate::{
    links::ComponentLinks,
    runtime::{LoadedComponent, LoadedHttp, Runtime, needs::engine_for},
};

/// Serves HTTP until the process is told to end.
pub async fn serve(options: ServeOptions) -> Result<(), StandaloneError> {
    // Taken before the start, so that a signal that comes during it is not lost.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StandaloneError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StandaloneError::Signals)?;
    let handler = Arc::new(LoadedHttp(load(&options).await?)) as Arc<dyn HttpHandler>;
    let mut config = Config::new(options.addr);
    config.max_body = usize::try_from(options.max_body).unwrap_or(usize::MAX);
    let owner = owner(&options)?;
    let everything = "/".parse().map_err(|error: lattice::model::routes::PatternError| StandaloneError::Name {
        address: options.addr,
        reason: error.to_string(),
    })?;
    let listening = HttpServers::default().add(owner, None, &config, vec![(everything, handler)]).await?;
    println!("Serving HTTP on http://{}/", listening.address);
    // Tools that are made for `wasmtime serve` look for it here.
    eprintln!("Serving HTTP on http://{}/", listening.address);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    listening.close(options.timeout).await;
    Ok(())
}

async fn load(options: &ServeOptions) -> Result<Arc<LoadedComponent>, StandaloneError> {
    let path = options.file.as_path();
    let Binary::Component(bytes) = read(path).await? else {
        return Err(StandaloneError::Module { path: path.to_owned() });
    };
    let runtime = Runtime::new()?;
    let engine = runtime.engine_of(engine_for(&bytes)).await?;
    let component = compile(path, move || Component::new(&engine, bytes)).await?;
    let grants = options.grants.grants(Vec::new(), false);
    // What is wrong with a grant is said now, not at the first request.
    grants.builder(&Arc::new(unit()), &[])?;
    let loaded = runtime.prepare(&component, unit(), &spec(options), ComponentLinks::default(), grants);
    let loaded = loaded.map_err(|source| StandaloneError::Prepare { path: path.to_owned(), source })?;
    if !loaded.serves_http() {
        return Err(StandaloneError::NoHttp { path: path.to_owned() });
    }
    Ok(loaded)
}

fn spec(options: &ServeOptions) -> ComponentSpec {
    ComponentSpec {
        image: options.file.display().to_string(),
        limits: Limits {
            memory_bytes: options.memory,
            timeout_ms: u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX),
            concurrency: options.concurrency,
        },
        reuse: options.reuse,
        env: options.grants.env().into_iter().collect(),
        ..ComponentSpec::of(Digest::of(b""))
    }
}

/// Listeners belong to instances, and an instance to a host: this one's name lives as long as the process.
fn owner(options: &ServeOptions) -> Result<InstanceId, StandaloneError> {
    let name = |reason: String| StandaloneError::Name { address: options.addr, reason };
    let host: HostId =
        nkeys::KeyPair::new_server().public_key().parse().map_err(|e: lattice::wire::IdError| name(e.to_string()))?;
    Ok(InstanceId::derive(&host, &unit(), 1, &Digest::of(b"")))
}
