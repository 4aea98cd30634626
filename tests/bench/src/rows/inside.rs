//! A component and the provider that its link leads to, both inside this process: what a whole call costs without a socket in
//! front of it.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use lattice::{
    bus::{Bus, CallHandler},
    model::{
        app::{ComponentSpec, LinkSpec, LinkTarget},
        outbound::AllowedOrigin,
    },
    wire::{Digest, Interface, UnitId},
};
use lattice_host::{
    links::{ComponentLinks, LocalInstance, Router},
    runtime::{LoadedHttp, Runtime, grants::Grants},
};
use lattice_provider::{
    Capability, HealthReporter, StartContext,
    http::{Body, HttpHandler},
};

use crate::bench::Bench;

const COMPONENT: &str = "bench/component";
const PROVIDER: &str = "bench/provider";

/// What a component needs of the provider.
pub(super) struct Import<'a> {
    /// As a manifest names it.
    pub(super) link: &'a str,
    /// What the component imports of it.
    pub(super) interfaces: &'a [&'a str],
    pub(super) allow: Vec<AllowedOrigin>,
}

/// A component, linked to a provider in the same process. `reuse` is how many calls an instance serves.
pub(super) fn component(
    bench: &Bench,
    runtime: &Runtime,
    guest: &str,
    import: &Import<'_>,
    provider: &Capability,
    reuse: u32,
) -> Result<LoadedHttp> {
    let bytes = std::fs::read(bench.guest(guest)?)?;
    let (unit, to) = (COMPONENT.parse::<UnitId>()?, PROVIDER.parse::<UnitId>()?);
    // As the host's agent does it: what has no road of its own is called as it stands in WIT.
    let (target, capability, calls) = match provider {
        Capability::Wit(interfaces) => {
            (LinkTarget::Wit, None, Some(Arc::new(interfaces.clone()) as Arc<dyn CallHandler>))
        }
        other => (LinkTarget::Capability, Some(other.clone()), None),
    };
    let imports = import.interfaces.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let link = LinkSpec { allow: import.allow.clone(), ..LinkSpec::new(import.link, to.clone(), target) };
    let spec = ComponentSpec { reuse, ..spec(&bytes, imports, vec![link]) };
    let router = Arc::new(Router::default());
    router.update([], &BTreeSet::new(), &[LocalInstance { unit: to, http: None, capability, calls }], None);
    let links = ComponentLinks::new(&Bus::memory("bench".parse()?), &router, &unit, &spec);
    let component = wasmtime::component::Component::new(runtime.engine(), &bytes)?;
    Ok(LoadedHttp(runtime.prepare(&component, unit, &spec, links, Grants::default())?))
}

/// A component with nothing said about it but its links.
pub(super) fn spec(bytes: &[u8], imports: Vec<Interface>, links: Vec<LinkSpec>) -> ComponentSpec {
    ComponentSpec { imports, links, ..ComponentSpec::of(Digest::of(bytes)) }
}

/// What a provider that is started in this process gets.
pub(super) fn context(dir: &Path) -> Result<StartContext> {
    Ok(StartContext {
        unit: PROVIDER.parse()?,
        data_dir: dir.to_owned(),
        bus: Bus::memory("bench".parse()?),
        health: HealthReporter::new().0,
        subscriptions: Vec::new(),
        schedules: Vec::new(),
        watches: Vec::new(),
        work: Default::default(),
    })
}

/// One request and its whole response.
pub(super) async fn send(component: &LoadedHttp, request: Request<Body>) -> Result<(StatusCode, Bytes)> {
    let (head, body) = component.handle(request).await.map(Response::into_parts)?;
    let body = body.collect().await.map_err(|error| anyhow::anyhow!("{error}")).context("a response's body")?;
    Ok((head.status, body.to_bytes()))
}

/// A GET whose answer must be a 200 with these bytes.
pub(super) async fn get(component: &LoadedHttp, path: &str, expected: &[u8]) -> Result<()> {
    let request = Request::get(format!("http://localhost{path}")).body(Body::Empty)?;
    let (status, body) = send(component, request).await?;
    ensure!(status == 200 && body == expected, "the component answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}
