//! `lattice-host replay`: makes the calls of a recording again, and answers what the component calls out of it. There is no lattice, and
//! nothing else that the component could reach.

mod differences;
mod script;

use std::{collections::BTreeMap, io::Write as _, path::Path, sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, CallHandler},
    model::{
        app::{ComponentSpec, LinkTarget, Transport},
        recording::{Episode, Heading, Replayed},
    },
    wire::{CallHead, ContentType, UnitId},
};
use lattice_provider::{
    Capability,
    blobstore::BlobstoreRemote,
    http::{self, HttpClientRemote, HttpRemote, HttpServed},
    keyvalue::KeyValueRemote,
};
use wasmtime::component::Component;

use self::{
    differences::{name, of_responses, of_results},
    script::{Role, Script},
};
use super::{Binary, StandaloneError, compile, options::ReplayOptions, read};
use crate::{
    links::{ComponentLinks, LocalInstance, Router},
    runtime::{LoadedFunctions, LoadedHttp, Runtime, grants::Grants, needs::engine_for},
};

/// Beside the component's own limit.
const GRACE: Duration = Duration::from_secs(1);
/// Makes the calls, and prints a line of JSON for each.
pub async fn replay(options: ReplayOptions) -> Result<(), StandaloneError> {
    let (heading, episodes) = recording(&options.recording)?;
    let stage = Stage::set(&options.file, heading, &episodes).await?;
    for episode in episodes {
        let line = serde_json::to_string(&stage.play(episode).await).unwrap_or_default();
        // Whoever reads it may have seen enough.
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
    }
    Ok(())
}

fn recording(path: &Path) -> Result<(Heading, Vec<Episode>), StandaloneError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| StandaloneError::Read { path: path.to_owned(), source })?;
    let wrong = |line: usize, reason: String| StandaloneError::Recording { path: path.to_owned(), line, reason };
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.is_empty());
    let (_, first) = lines.next().ok_or_else(|| wrong(1, "there is nothing in it".to_owned()))?;
    let heading: Heading = serde_json::from_str(first).map_err(|error| wrong(1, error.to_string()))?;
    if heading.recording != Heading::VERSION {
        let reason = format!("it is of version {}, and this program reads {}", heading.recording, Heading::VERSION);
        return Err(wrong(1, reason));
    }
    let episode = |(at, line): (usize, &str)| serde_json::from_str(line).map_err(|error| wrong(at, error.to_string()));
    Ok((heading, lines.map(episode).collect::<Result<_, _>>()?))
}

/// The component, with everybody whom it may call.
struct Stage {
    script: Arc<Script>,
    http: Option<HttpServed>,
    functions: LoadedFunctions,
    allowed: Duration,
}

impl Stage {
    async fn set(path: &Path, heading: Heading, episodes: &[Episode]) -> Result<Self, StandaloneError> {
        let Binary::Component(bytes) = read(path).await? else {
            return Err(StandaloneError::Module { path: path.to_owned() });
        };
        let runtime = Runtime::new()?;
        let engine = runtime.engine_of(engine_for(&bytes)).await?;
        let component = compile(path, move || Component::new(&engine, bytes)).await?;
        let Heading { unit, component: mut spec, .. } = heading;
        for link in &mut spec.links {
            if link.transport == Transport::Fused {
                return Err(StandaloneError::Fused { path: path.to_owned(), to: link.to.clone() });
            }
            // All of them are here.
            link.transport = Transport::Local;
        }
        let script = Arc::<Script>::default();
        let bus = memory(path)?;
        let router = Arc::new(Router::default());
        router.update([], &Default::default(), &cast(&spec, episodes, &script, &bus), None);
        let links = ComponentLinks::new(&bus, &router, &unit, &spec);
        let loaded = runtime.prepare(&component, unit, &spec, links, Grants::default());
        let loaded = loaded.map_err(|source| StandaloneError::Prepare { path: path.to_owned(), source })?;
        let handler = loaded.serves_http().then(|| Arc::new(LoadedHttp(loaded.clone())));
        Ok(Self {
            script,
            http: handler.map(|handler| HttpServed { handler, bus: bus.clone() }),
            allowed: loaded.timeout() + GRACE,
            functions: LoadedFunctions::new(loaded, &component, bus.exchange()),
        })
    }

    async fn play(&self, Episode { call, made }: Episode) -> Replayed {
        self.script.begin(made);
        let head = CallHead {
            interface: call.interface.clone(),
            function: call.function.clone(),
            deadline: self.allowed,
            caller: Some(call.from.clone()),
            content_type: ContentType::Postcard,
            traceparent: None,
            session: None,
        };
        let is_http = call.interface.unversioned() == http::interface().unversioned();
        let arguments = call.arguments.0.clone();
        let outcome = match &self.http {
            Some(http) if is_http => http.call(head, arguments).await,
            _ => self.functions.call(head, arguments).await,
        };
        let mut differences = self.script.end();
        let shape = self.functions.shape(&call.interface, &call.function);
        match is_http {
            true => differences.extend(of_responses(&call.outcome, &outcome)),
            false => differences.extend(of_results(shape.as_ref(), &call.outcome, &outcome)),
        }
        Replayed { call: name(&call, is_http), differences }
    }
}

/// Calls do not leave the process.
fn memory(path: &Path) -> Result<Bus, StandaloneError> {
    let lattice = "replay".parse().map_err(|error: lattice::wire::IdError| StandaloneError::Recording {
        path: path.to_owned(),
        line: 1,
        reason: error.to_string(),
    })?;
    Ok(Bus::memory(lattice))
}

/// Whoever is linked to or was called, each played by the script.
fn cast(spec: &ComponentSpec, episodes: &[Episode], script: &Arc<Script>, bus: &Bus) -> Vec<LocalInstance> {
    let mut all: BTreeMap<UnitId, LocalInstance> = BTreeMap::new();
    let mut role = |unit: &UnitId, play: &dyn Fn(&mut LocalInstance, Arc<Role>)| {
        let new = || LocalInstance { unit: unit.clone(), http: None, capability: None, calls: None };
        let role = Arc::new(Role { unit: unit.clone(), script: script.clone() });
        play(all.entry(unit.clone()).or_insert_with(new), role);
    };
    for link in &spec.links {
        role(&link.to, &|instance, role| match link.target {
            LinkTarget::Capability => instance.capability = Some(capability(&link.interface, role, bus)),
            LinkTarget::Wit => instance.calls = Some(role),
        });
    }
    // By the names of components that end in `.lattice`.
    let requests = episodes.iter().flat_map(|episode| &episode.made);
    for call in requests.filter(|call| call.interface.unversioned() == http::interface().unversioned()) {
        role(&call.to, &|instance, role| {
            instance.http = Some(Arc::new(HttpRemote { caller: role, bus: bus.clone() }));
        });
    }
    all.into_values().collect()
}

fn capability(interface: &str, role: Arc<Role>, bus: &Bus) -> Capability {
    if interface.starts_with("wasi:http/") {
        Capability::HttpClient(Arc::new(HttpClientRemote { caller: role, bus: bus.clone() }))
    } else if interface.starts_with("wasi:blobstore") {
        Capability::Blobstore(Arc::new(BlobstoreRemote(role, bus.exchange())))
    } else {
        Capability::KeyValue(Arc::new(KeyValueRemote(role)))
    }
}
