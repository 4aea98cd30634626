//! `get`: lists. The names of the fields are documented in `--help` and stay as they are.

use std::collections::BTreeMap;

use lattice::model::{
    app::{AppRecord, Isolation, LinkSpec, ProviderSpec, RouteSpec, RouteTarget, Transport, UnitSpec},
    status::{UnitState, UnitStatus},
};
use lattice_view::{
    hosts::{Host, all_hosts},
    world::{World, now_ms},
};
use serde::Serialize;

use crate::{
    cli::{Format, Global, What},
    failure::Result,
    output::{Output, Paint, table},
    status::{address, short, state},
};

/// The interface that a route calls.
const HTTP_HANDLER: &str = "wasi:http/incoming-handler";

pub(crate) async fn run(global: &Global, what: What, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    list(&World::read(&bus).await?, what, now_ms(), output)
}

fn list(world: &World, what: What, now_ms: u64, output: &mut Output) -> Result<()> {
    match what {
        What::Apps => print(&apps(world), output),
        What::Hosts => print(&all_hosts(world, now_ms), output),
        What::Components => print(&components(world), output),
        What::Providers => print(&providers(world), output),
        What::Links => print(&links(world), output),
    }
}

/// One line of a list.
pub(crate) trait Row: Serialize {
    const HEADER: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
}

/// Prints a list as the user asked.
pub(crate) fn print<R: Row>(rows: &[R], output: &mut Output) -> Result<()> {
    if output.format != Format::Table {
        return output.value(&rows);
    }
    let mut lines = table(R::HEADER, rows.iter().map(Row::cells)).into_iter();
    let header = lines.next().unwrap_or_default();
    let header = output.paint(Paint::Bold, &header);
    let text: Vec<_> = std::iter::once(header).chain(lines).collect();
    output.line(&text.join("\n"))
}

#[derive(Debug, Serialize)]
struct App {
    app: String,
    revision: u64,
    ready: bool,
    state: UnitState,
    units: usize,
    units_ready: usize,
    labels: BTreeMap<String, String>,
}

impl Row for App {
    const HEADER: &'static [&'static str] = &["APP", "STATE", "UNITS", "REVISION", "LABELS"];
    fn cells(&self) -> Vec<String> {
        let units = format!("{}/{}", self.units_ready, self.units);
        vec![self.app.clone(), self.state.to_string(), units, self.revision.to_string(), pairs(&self.labels)]
    }
}

fn apps(world: &World) -> Vec<App> {
    let app = |record: &AppRecord| {
        let status = world.status(record);
        App {
            app: record.name.to_string(),
            revision: record.revision,
            ready: status.ready,
            state: state(&status),
            units: status.units.len(),
            units_ready: status.units.iter().filter(|u| u.state == UnitState::Ready).count(),
            labels: record.labels.clone(),
        }
    };
    world.apps.values().map(|entry| app(&entry.value)).collect()
}

impl Row for Host {
    const HEADER: &'static [&'static str] =
        &["HOST", "STATE", "RELEASE", "UNITS", "UPTIME", "PROGRAMS", "LABELS", "TAINTS"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.short_id.clone(),
            host_state(self),
            self.release.clone(),
            match self.capacity.units {
                Some(most) => format!("{}/{most}", self.units),
                None => self.units.to_string(),
            },
            self.uptime_seconds.map_or("-".to_owned(), age),
            if self.programs { "yes" } else { "no" }.to_owned(),
            pairs(&self.labels),
            self.taints.iter().cloned().collect::<Vec<_>>().join(","),
        ]
    }
}

/// How a host is, in a word or two.
fn host_state(host: &Host) -> String {
    match (host.alive, host.leaving, &host.cordon) {
        (false, ..) => "lost".to_owned(),
        (true, true, _) => "leaving".to_owned(),
        (true, false, None) => "alive".to_owned(),
        (true, false, Some(reason)) if reason.is_empty() => "cordoned".to_owned(),
        (true, false, Some(reason)) => format!("cordoned ({reason})"),
    }
}

#[derive(Debug, Serialize)]
struct Component {
    app: String,
    unit: String,
    image: String,
    digest: String,
    revision: u64,
    state: UnitState,
    replicas: u32,
    ready: u32,
    hosts: Vec<String>,
    reason: Option<String>,
}

impl Row for Component {
    const HEADER: &'static [&'static str] = &["APP", "UNIT", "STATE", "READY", "IMAGE", "DIGEST", "REVISION", "HOSTS"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.app.clone(),
            self.unit.clone(),
            self.state.to_string(),
            format!("{}/{}", self.ready, self.replicas),
            short(&self.image),
            short(&self.digest),
            self.revision.to_string(),
            short_hosts(&self.hosts),
        ]
    }
}

fn components(world: &World) -> Vec<Component> {
    let component = |record: &AppRecord, status: UnitStatus, spec: &UnitSpec| match spec {
        UnitSpec::Provider(_) => None,
        UnitSpec::Component(component) => Some(Component {
            app: record.name.to_string(),
            unit: status.unit.to_string(),
            image: component.image.clone(),
            digest: component.digest.to_string(),
            revision: status.revision,
            state: status.state,
            replicas: status.wanted,
            ready: status.ready,
            hosts: full_hosts(&status),
            reason: status.reason,
        }),
    };
    units(world, component)
}

#[derive(Debug, Serialize)]
struct Provider {
    app: String,
    unit: String,
    /// `null` for a program.
    #[serde(rename = "use")]
    kind: Option<String>,
    /// Of a program, as the manifest names it; `null` for other providers.
    image: Option<String>,
    digest: Option<String>,
    isolate: Isolation,
    revision: u64,
    state: UnitState,
    replicas: u32,
    ready: u32,
    hosts: Vec<String>,
    address: Option<String>,
    reason: Option<String>,
}

impl Row for Provider {
    const HEADER: &'static [&'static str] =
        &["APP", "UNIT", "STATE", "READY", "USE", "ISOLATE", "REVISION", "HOSTS", "ADDRESS"];
    fn cells(&self) -> Vec<String> {
        let isolate = match self.isolate {
            Isolation::Host => "host",
            Isolation::Process => "process",
        };
        vec![
            self.app.clone(),
            self.unit.clone(),
            self.state.to_string(),
            format!("{}/{}", self.ready, self.replicas),
            self.kind.clone().or_else(|| self.image.as_deref().map(short)).unwrap_or_default(),
            isolate.to_owned(),
            self.revision.to_string(),
            short_hosts(&self.hosts),
            self.address.clone().unwrap_or_default(),
        ]
    }
}

fn providers(world: &World) -> Vec<Provider> {
    let provider = |record: &AppRecord, status: UnitStatus, spec: &UnitSpec| match spec {
        UnitSpec::Component(_) => None,
        UnitSpec::Provider(provider) => Some(Provider {
            app: record.name.to_string(),
            unit: status.unit.to_string(),
            kind: provider.program.is_none().then(|| provider.kind.clone()),
            image: provider.program.as_ref().map(|program| program.image.clone()),
            digest: provider.program.as_ref().map(|program| program.digest.to_string()),
            isolate: provider.isolate,
            revision: status.revision,
            state: status.state,
            replicas: status.wanted,
            ready: status.ready,
            hosts: full_hosts(&status),
            address: address(&status),
            reason: status.reason,
        }),
    };
    units(world, provider)
}

#[derive(Debug, Serialize)]
struct Link {
    app: String,
    from: String,
    interface: String,
    /// What the component chooses it by; `null` for a route.
    name: Option<String>,
    to: String,
    transport: Transport,
    deadline_ms: Option<u64>,
    /// Functions that may be called again, or `*`.
    idempotent: Vec<String>,
    /// The pattern, for a link that is a route of an HTTP server.
    route: Option<String>,
    /// Its share of the calls, for a link or a route that leads to several units.
    weight: Option<u32>,
}

impl Row for Link {
    const HEADER: &'static [&'static str] =
        &["APP", "FROM", "INTERFACE", "NAME", "TO", "TRANSPORT", "DEADLINE", "IDEMPOTENT", "ROUTE"];
    fn cells(&self) -> Vec<String> {
        let transport = match self.transport {
            Transport::Auto => "auto",
            Transport::Local => "local",
            Transport::Fused => "fused",
            Transport::Lattice => "lattice",
        };
        vec![
            self.app.clone(),
            self.from.clone(),
            self.interface.clone(),
            self.name.clone().unwrap_or("-".to_owned()),
            match (&self.route, self.weight) {
                (None, Some(weight)) => format!("{} (weight {weight})", self.to),
                _ => self.to.clone(),
            },
            transport.to_owned(),
            self.deadline_ms.map_or("-".to_owned(), |ms| format!("{ms}ms")),
            if self.idempotent.is_empty() { "-".to_owned() } else { self.idempotent.join(",") },
            match (&self.route, self.weight) {
                (Some(route), Some(weight)) => format!("{route} (weight {weight})"),
                (route, _) => route.clone().unwrap_or_default(),
            },
        ]
    }
}

fn links(world: &World) -> Vec<Link> {
    let mut links = Vec::new();
    for record in world.apps.values().map(|entry| &entry.value) {
        for (name, unit) in &record.units {
            let link = |link: &LinkSpec| Link {
                app: record.name.to_string(),
                from: name.to_string(),
                interface: link.interface.clone(),
                name: Some(link.name.clone()),
                to: link.to.unit.to_string(),
                transport: link.transport,
                deadline_ms: link.deadline_ms,
                idempotent: link.idempotent.clone(),
                route: None,
                weight: link.weight,
            };
            let route = |route: &RouteSpec, target: &RouteTarget| Link {
                app: record.name.to_string(),
                from: name.to_string(),
                interface: HTTP_HANDLER.to_owned(),
                name: None,
                to: target.unit.to_string(),
                transport: Transport::Auto,
                deadline_ms: None,
                idempotent: Vec::new(),
                route: Some(route.pattern.to_string()),
                weight: (route.to.len() > 1).then_some(target.weight),
            };
            match &unit.spec {
                UnitSpec::Component(component) => links.extend(component.links.iter().map(link)),
                UnitSpec::Provider(ProviderSpec { routes, .. }) => {
                    let targets = routes.iter().flat_map(|spec| spec.to.iter().map(move |target| (spec, target)));
                    links.extend(targets.map(|(spec, target)| route(spec, target)));
                }
            }
        }
    }
    links
}

/// One row for each unit that `row` wants.
fn units<R>(world: &World, row: impl Fn(&AppRecord, UnitStatus, &UnitSpec) -> Option<R>) -> Vec<R> {
    let mut rows = Vec::new();
    for record in world.apps.values().map(|entry| &entry.value) {
        for unit in world.status(record).units {
            if let Some(found) = record.units.get(&unit.unit) {
                rows.extend(row(record, unit, &found.spec));
            }
        }
    }
    rows
}

fn full_hosts(unit: &UnitStatus) -> Vec<String> {
    let mut hosts: Vec<_> = unit.instances.iter().map(|i| i.host.to_string()).collect();
    hosts.dedup();
    hosts
}

fn short_hosts(hosts: &[String]) -> String {
    let short: Vec<_> = hosts.iter().map(|host| host.get(..8).unwrap_or(host)).collect();
    if short.is_empty() { "-".to_owned() } else { short.join(",") }
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// `42s`, `5m`, `3h`, `12d`.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
