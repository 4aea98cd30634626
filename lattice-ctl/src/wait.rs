//! Waiting until an app is as its manifest says, or until it is clear that it will not be.

use std::{collections::BTreeMap, time::Duration};

use lattice::{
    bus::Bus,
    model::{
        app::{AppRecord, UnitSpec},
        rollout::OnFailure,
        status::{AppStatus, RolloutState, UnitState, UnitStatus},
    },
    wire::{LatticeName, UnitName},
};
use lattice_view::world::{Follower, World};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::{Failure, Result},
    output::{Output, plain},
    progress::Progress,
};

/// How long a unit may be failed or degraded before waiting ends: enough for a backend that is just starting.
const TROUBLE: Duration = Duration::from_secs(5);
/// How long all hosts may be silent: a host that is restarted is back by then.
const SILENCE: Duration = Duration::from_secs(10);

/// Waits until `record` is ready.
pub(crate) async fn until_ready(
    bus: &Bus,
    record: &AppRecord,
    timeout: Duration,
    output: &mut Output,
) -> Result<AppStatus> {
    let started = Instant::now();
    let deadline = started + timeout;
    let mut follower = Follower::new(bus);
    let mut patience = Patience::new(bus.lattice().clone());
    let mut progress = Progress::default();
    let mut last = None;
    let outcome = loop {
        let Ok(world) = timeout_at(deadline, follower.next()).await else {
            break Err(not_ready(record, last.as_ref(), &format!("after {} s", timeout.as_secs())));
        };
        let status = world.status(record);
        if let Some(outcome) = patience.judge(&world, record, &status, Instant::now()) {
            break outcome.map(|()| status);
        }
        progress.show(output, &progress_line(&status));
        last = Some(status);
    };
    progress.clear(output);
    outcome
}

/// What has been seen so far, to tell a hiccup from a failure.
struct Patience {
    lattice: LatticeName,
    /// Since when a unit has been in trouble, without having been ready in between. A unit that is tried again and
    /// again is `progressing` between two failures: that does not make it new.
    troubled: BTreeMap<UnitName, Instant>,
    /// Since when no host has been alive.
    silent: Option<Instant>,
    any_host_seen: bool,
    /// Whether our own write has come back to us.
    written: bool,
}

impl Patience {
    fn new(lattice: LatticeName) -> Self {
        Self { lattice, troubled: BTreeMap::new(), silent: None, any_host_seen: false, written: false }
    }

    /// Whether waiting ends, and how.
    fn judge(&mut self, world: &World, record: &AppRecord, status: &AppStatus, now: Instant) -> Option<Result<()>> {
        let app = &record.name;
        match world.apps.get(app.as_str()).map(|entry| &entry.value) {
            Some(newest) if newest.revision > record.revision => {
                let AppRecord { revision, cause, .. } = newest;
                let cause = if cause.is_empty() { String::new() } else { format!(" ({})", plain(cause)) };
                let text = format!(
                    "app {app}: revision {} was replaced by revision {revision}{cause} before it was ready",
                    record.revision
                );
                return Some(Err(Failure::Overtaken(text)));
            }
            Some(newest) => self.written |= newest.revision == record.revision,
            None if self.written => {
                return Some(Err(Failure::Overtaken(format!("app {app} was deleted before it was ready"))));
            }
            None => {}
        }
        if status.ready {
            return Some(Ok(()));
        }
        if world.alive.is_empty() {
            let since = *self.silent.get_or_insert(now);
            // A lattice that never had hosts is told at once; one whose hosts are not heard gets a moment.
            let never = !self.any_host_seen && world.hosts.is_empty();
            return (never || now - since >= SILENCE).then(|| Err(Failure::NoHost(self.lattice.clone())));
        }
        (self.any_host_seen, self.silent) = (true, None);
        stopped(record, status).or_else(|| self.trouble(record, status, now))
    }

    fn trouble(&mut self, record: &AppRecord, status: &AppStatus, now: Instant) -> Option<Result<()>> {
        let mut longest = Duration::ZERO;
        for unit in &status.units {
            match unit.state {
                UnitState::Ready => drop(self.troubled.remove(&unit.unit)),
                UnitState::Progressing => {}
                UnitState::Failed | UnitState::Degraded => {
                    longest = longest.max(now - *self.troubled.entry(unit.unit.clone()).or_insert(now));
                }
            }
        }
        (longest >= TROUBLE).then(|| Err(not_ready(record, Some(status), "and will not become so by waiting")))
    }
}

/// Whether the rollout goes no further by itself.
fn stopped(record: &AppRecord, status: &AppStatus) -> Option<Result<()>> {
    let rolls_back = || record.units.values().any(|unit| unit.spec.rollout().on_failure == OnFailure::Rollback);
    let (what, help) = match status.rollout.state {
        RolloutState::Paused => ("its rollout is paused", "lets it go on"),
        // What was before is about to come back, and that ends the waiting.
        RolloutState::Failed if !rolls_back() => ("its rollout has failed", "lets it go on nevertheless"),
        _ => return None,
    };
    let reason = status.rollout.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    let AppRecord { name, revision, .. } = record;
    let message = format!("app {name} (revision {revision}) is not ready: {what}{reason}");
    let help = format!("`lattice-ctl rollout resume {name}` {help}, `lattice-ctl rollback {name}` goes back");
    Some(Err(Failure::NotDone { message, help }))
}

fn not_ready(record: &AppRecord, status: Option<&AppStatus>, when: &str) -> Failure {
    let mut message = format!("app {} (revision {}) is not ready {when}", record.name, record.revision);
    match status {
        None => message.push_str(": the lattice's store has not answered"),
        Some(status) => {
            let waiting = status.units.iter().filter(|u| u.state != UnitState::Ready).map(why).collect::<Vec<_>>();
            for line in &waiting {
                message.push_str(&format!("\n  {line}"));
            }
            if waiting.is_empty() {
                message.push_str(&format!("\n  {}", settling(status)));
            }
        }
    }
    Failure::NotReady { app: record.name.clone(), message }
}

/// `cache: failed, on host N...: cannot reach ...`
pub(crate) fn why(unit: &UnitStatus) -> String {
    let reason = unit.reason.as_deref().map_or(String::new(), |reason| format!(", {}", plain(reason)));
    format!("{}: {}{reason}", unit.unit, unit.state)
}

fn progress_line(status: &AppStatus) -> String {
    let line = format!("app {}: {}", status.app, counts(status));
    match status.units.iter().find(|u| u.state != UnitState::Ready) {
        Some(unit) => format!("{line}; waiting for {}", why(unit)),
        None => format!("{line}; {}", settling(status)),
    }
}

/// What there is to wait for when all units are ready.
fn settling(status: &AppStatus) -> &'static str {
    match status.rollout.state {
        RolloutState::Complete => "waiting for what ran before to drain",
        _ => "waiting until its copies have been ready for long enough",
    }
}

/// `cart 2/2, cache 1/1`
fn counts(status: &AppStatus) -> String {
    let unit = |u: &UnitStatus| format!("{} {}/{}", u.unit, u.ready, u.wanted);
    status.units.iter().map(unit).collect::<Vec<_>>().join(", ")
}

/// `app shop: ready (revision 2): cart 2/2, web 1/1 at http://127.0.0.1:8080/`
pub(crate) fn ready_line(record: &AppRecord, status: &AppStatus) -> String {
    let unit = |u: &UnitStatus| {
        let line = format!("{} {}/{}", u.unit, u.ready, u.wanted);
        match record.units.get(&u.unit).and_then(|unit| url(&unit.spec, u)) {
            Some(url) => format!("{line} at {url}"),
            None => line,
        }
    };
    let units = status.units.iter().map(unit).collect::<Vec<_>>().join(", ");
    format!("app {}: ready (revision {}): {units}", status.app, status.revision)
}

/// Where a browser finds a unit that listens.
fn url(spec: &UnitSpec, status: &UnitStatus) -> Option<String> {
    let reported = status.instances.iter().find_map(|i| i.address.as_deref());
    let address = reported.or_else(|| spec.listens_on())?;
    // Nobody can visit the address that stands for all addresses.
    let address = address.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1);
    let UnitSpec::Provider(provider) = spec else { return None };
    let open = provider.routes.iter().map(|r| &r.pattern).filter(|p| p.host.is_none() && p.takes("GET"));
    let paths: Vec<_> = open.map(|pattern| &*pattern.path).collect();
    let path = if paths.contains(&"/") { "/" } else { paths.first().copied().unwrap_or("/") };
    let scheme = if provider.config.contains_key("tls") { "https" } else { "http" };
    Some(format!("{scheme}://{address}{path}"))
}

#[cfg(test)]
pub(crate) mod tests;
