//! `lattice-host replay`: makes the calls of a recording again, and answers what the component calls out of it. There is no lattice, and
//! nothing else that the component could reach.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler},
    model::{
        app::{ComponentSpec, LinkTarget, Transport},
        recording::{Episode, Heading, RawCall, RawOutcome, Replayed},
    },
    wire::{
        CallError, CallHead, ContentType, Interface, RequestHead, ResponseHead, UnitId, decode_http,
        value::{FunctionShape, json},
    },
};
use lattice_provider::{
    Caller, Capability,
    blobstore::BlobstoreRemote,
    http::{self, HttpClientRemote, HttpRemote, HttpServed},
    keyvalue::KeyValueRemote,
};
use wasmtime::component::Component;

use super::{Binary, StandaloneError, compile, options::ReplayOptions, read};
use crate::{
    links::{ComponentLinks, LocalInstance, Router},
    runtime::{LoadedFunctions, LoadedHttp, Runtime, grants::Grants, needs::engine_for},
};

/// Beside the component's own limit.
const GRACE: Duration = Duration::from_secs(1);
/// What of a value is shown, in characters.
const SHOWN: usize = 200;

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

/// What is called in one episode. A lock, held for a look at a few calls.
#[derive(Default)]
struct Script(Mutex<Scene>);

#[derive(Default)]
struct Scene {
    left: Vec<RawCall>,
    differences: Vec<String>,
}

impl Script {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, made: Vec<RawCall>) {
        *self.scene() = Scene { left: made, differences: Vec::new() };
    }

    /// What was otherwise until now, and what was never called.
    fn end(&self) -> Vec<String> {
        let Scene { left, mut differences } = std::mem::take(&mut *self.scene());
        differences.extend(left.iter().map(|call| format!("it did not call {} of {}", name(call, false), call.to)));
        differences
    }

    /// The recorded answer to a call.
    fn answer(
        &self,
        to: &UnitId,
        (interface, function): (&Interface, &str),
        shape: Option<&FunctionShape>,
        arguments: &Bytes,
    ) -> Result<Bytes, CallError> {
        let mut scene = self.scene();
        let is = |call: &RawCall| {
            call.to == *to && call.interface.unversioned() == interface.unversioned() && call.function == function
        };
        let what = format!("{}.{function} of {to}", interface.unversioned());
        let same = scene.left.iter().position(|call| is(call) && call.arguments.0 == *arguments);
        if let Some(same) = same {
            return scene.left.remove(same).outcome.answer();
        }
        let Some(other) = scene.left.iter().position(is) else {
            scene.differences.push(format!("it called {what}, which it had not"));
            return Err(CallError::NotServed(format!("{what}: it was not called when that was recorded")));
        };
        let recorded = scene.left.remove(other);
        let difference = match shape {
            Some(shape) => {
                let [got, had] = [arguments, &recorded.arguments.0].map(|bytes| json::arguments_to_json(shape, bytes));
                format!("it called {what} with {}, and had with {}", shown(got.ok()), shown(had.ok()))
            }
            None => format!("it called {what} with other arguments"),
        };
        scene.differences.push(difference);
        recorded.outcome.answer()
    }
}

/// Somebody whom the component calls.
struct Role {
    unit: UnitId,
    script: Arc<Script>,
}

#[async_trait]
impl Caller for Role {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        self.script.answer(&self.unit, (interface, function), shape, &payload)
    }
}

#[async_trait]
impl CallHandler for Role {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        self.script.answer(&self.unit, (&head.interface, &head.function), None, &payload)
    }
}

fn name(call: &RawCall, is_http: bool) -> String {
    match decode_http::<RequestHead>(&call.arguments.0) {
        Ok((head, _)) if is_http => format!("{} {}", head.method, head.uri),
        _ => format!("{}.{}", call.interface.unversioned(), call.function),
    }
}

fn shown(json: Option<Vec<u8>>) -> String {
    short(&json.map_or("?".to_owned(), |json| String::from_utf8_lossy(&json).into_owned()))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// What is otherwise of a function's result.
fn of_results(
    shape: Option<&FunctionShape>,
    recorded: &RawOutcome,
    outcome: &Result<Bytes, CallError>,
) -> Option<String> {
    let text = |outcome: &Result<Bytes, CallError>| match (outcome, shape) {
        (Ok(bytes), Some(shape)) => shown(json::result_to_json(shape.result.as_ref(), bytes).ok()),
        (Ok(bytes), None) => format!("{} bytes", bytes.len()),
        (Err(error), _) => short(&error.to_string()),
    };
    let recorded = recorded.answer();
    (recorded != *outcome).then(|| format!("it returned {}, and had returned {}", text(outcome), text(&recorded)))
}

/// What is otherwise of an HTTP response. Its date is that of its day.
fn of_responses(recorded: &RawOutcome, outcome: &Result<Bytes, CallError>) -> Vec<String> {
    let (recorded, outcome) = match (recorded.answer(), outcome) {
        (Ok(recorded), Ok(outcome)) => (recorded, outcome),
        (recorded, outcome) => {
            let text = |outcome: &Result<Bytes, CallError>| match outcome {
                Ok(_) => "with a response".to_owned(),
                Err(error) => format!("with the error \"{}\"", short(&error.to_string())),
            };
            let differs = recorded.as_ref().err() != outcome.as_ref().err();
            let difference = || format!("it answered {}, and had answered {}", text(outcome), text(&recorded));
            return differs.then(difference).into_iter().collect();
        }
    };
    let both = [outcome, &recorded].map(decode_http::<ResponseHead>);
    let [Ok((now, body)), Ok((then, old))] = both else { return vec!["a response cannot be read".to_owned()] };
    let mut differences = Vec::new();
    if now.status != then.status {
        differences.push(format!("it answered with status {}, and had with {}", now.status, then.status));
    }
    let headers = |head: &ResponseHead| {
        let mut headers: Vec<_> = head.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        headers.sort();
        headers
    };
    let (now, then) = (headers(&now), headers(&then));
    let text = |(name, value): &(String, Bytes)| format!("{name}: {}", short(&String::from_utf8_lossy(value)));
    let only = |these: &[(String, Bytes)], those: &[(String, Bytes)]| {
        these.iter().filter(|header| !those.contains(header)).map(text).collect::<Vec<_>>()
    };
    differences.extend(only(&now, &then).into_iter().map(|header| format!("it answered with the header {header}")));
    differences.extend(only(&then, &now).into_iter().map(|header| format!("it had answered with the header {header}")));
    if body != old {
        let [body, old] = [&body, &old].map(|bytes| short(&String::from_utf8_lossy(bytes)));
        differences.push(format!("it answered {body:?}, and had answered {old:?}"));
    }
    differences
}
