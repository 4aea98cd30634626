//! `status`: how apps are, and why a unit is not ready.

use lattice::{
    model::{
        inventory::Faults,
        status::{AppStatus, InstanceStatus, RolloutState, UnitState, UnitStatus},
    },
    wire::LatticeName,
};
use lattice_view::world::{Follower, World};

use crate::{
    cli::{Format, Global, StatusArgs},
    failure::{Failure, Result},
    output::{Output, Paint, plain, table},
    problems::count,
    rollout::sentence,
};

/// Home, and everything below it gone.
const REDRAW: &str = "\x1b[H\x1b[J";

pub(crate) async fn run(global: &Global, args: &StatusArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let app = args.app.as_deref();
    if !args.watch {
        let world = World::read(&bus).await?;
        let shown = show(&world, app, bus.lattice(), output)?;
        return output.text(&shown);
    }
    let mut follower = Follower::new(&bus);
    let mut last = String::new();
    // One for all rounds: a signal that comes between two of them would be lost.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let world = tokio::select! {
            world = follower.next() => world,
            _ = &mut interrupted => return Ok(()),
        };
        let shown = match show(&world, app, bus.lattice(), output) {
            // It may come, or come back: that is what is watched.
            Err(Failure::NoApp { .. }) if !last.is_empty() => format!("app {}: gone\n", app.unwrap_or_default()),
            shown => shown?,
        };
        if shown != last {
            let before = match (output.format, output.out_is_terminal, last.is_empty()) {
                (Format::Table, true, _) => REDRAW,
                (_, _, true) => "",
                _ => "\n",
            };
            output.text(&format!("{before}{shown}"))?;
            last = shown;
        }
    }
}

fn show(world: &World, app: Option<&str>, lattice: &LatticeName, output: &Output) -> Result<String> {
    let text = |value: std::result::Result<String, String>| value.map(|v| v.trim_end().to_owned() + "\n");
    match (app, output.format) {
        (Some(app), Format::Table) => {
            let holding = world.holding().map(|holding| format!("{holding}\n")).unwrap_or_default();
            Ok(holding + &one(&world.status(&world.app(app, lattice)?.value), output))
        }
        (None, Format::Table) => Ok(all(world, lattice, output)),
        (Some(app), format) => {
            let status = world.status(&world.app(app, lattice)?.value);
            text(encode(format, &status)).map_err(Failure::Other)
        }
        (None, format) => {
            let all: Vec<_> = world.apps.values().map(|entry| world.status(&entry.value)).collect();
            text(encode(format, &all)).map_err(Failure::Other)
        }
    }
}

fn encode(format: Format, value: &impl serde::Serialize) -> std::result::Result<String, String> {
    match format {
        Format::Yaml => serde_saphyr::to_string(value).map_err(|e| e.to_string()),
        _ => serde_json::to_string_pretty(value).map_err(|e| e.to_string()),
    }
}

/// The worst state of the app's units.
pub(crate) fn state(status: &AppStatus) -> UnitState {
    let rank = |state: &UnitState| match state {
        UnitState::Failed => 3,
        UnitState::Degraded => 2,
        UnitState::Progressing => 1,
        UnitState::Ready => 0,
    };
    let worst = status.units.iter().map(|u| u.state).max_by_key(rank).unwrap_or(UnitState::Ready);
    // Something that the app no longer has still runs.
    if worst == UnitState::Ready && !status.ready { UnitState::Progressing } else { worst }
}

fn all(world: &World, lattice: &LatticeName, output: &Output) -> String {
    let alive = world.alive.len();
    let lost = world.hosts.values().filter(|h| !world.alive.contains(&h.value.host)).count();
    let lost = if lost == 0 { String::new() } else { format!(", {lost} lost") };
    let mut head =
        format!("lattice {lattice}: {} alive{lost}, {}\n", count(alive, "host"), count(world.apps.len(), "app"));
    if let Some(holding) = world.holding() {
        head += &format!("{holding}\n");
    }
    if world.apps.is_empty() {
        return head;
    }
    let statuses: Vec<_> = world.apps.values().map(|entry| world.status(&entry.value)).collect();
    let rows = statuses.iter().map(|status| {
        let ready = status.units.iter().filter(|u| u.state == UnitState::Ready).count();
        let unit = status.units.iter().find(|u| u.state == state(status) && u.state != UnitState::Ready);
        vec![
            status.app.to_string(),
            state(status).to_string(),
            format!("{ready}/{}", status.units.len()),
            status.revision.to_string(),
            unit.map_or(String::new(), |u| format!("{}: {}", u.unit, u.reason.as_deref().unwrap_or("-"))),
        ]
    });
    let lines = table(&["APP", "STATE", "UNITS", "REVISION", "REASON"], rows);
    let states: Vec<_> = statuses.iter().map(state).collect();
    head + &colored(&lines, &states, output).join("\n") + "\n"
}

fn one(status: &AppStatus, output: &Output) -> String {
    let rows = status.units.iter().map(|unit| {
        vec![
            unit.unit.to_string(),
            unit.kind.clone(),
            unit.state.to_string(),
            format!("{}/{}", unit.ready, unit.wanted),
            short(&unit.what),
            unit.revision.to_string(),
            hosts(unit),
            address(unit).unwrap_or_default(),
            faults(unit).map_or("-".to_owned(), |f| (f.traps + f.timeouts + f.refused + f.errors).to_string()),
            unit.reason.clone().unwrap_or_default(),
        ]
    });
    let header = ["UNIT", "KIND", "STATE", "READY", "WHAT", "REVISION", "HOSTS", "ADDRESS", "FAULTS", "REASON"];
    let lines = table(&header, rows);
    let states: Vec<_> = status.units.iter().map(|u| u.state).collect();
    let colored = colored(&lines, &states, output);
    let mut text = format!("app {}: {} (revision {})\n", status.app, state(status), status.revision);
    if !matches!(status.rollout.state, RolloutState::Complete | RolloutState::Progressing) {
        text.push_str(&format!("rollout {}\n", plain(&sentence(&status.rollout))));
    }
    for (index, line) in colored.iter().enumerate() {
        text.push_str(&format!("{line}\n"));
        let unit = index.checked_sub(1).and_then(|unit| status.units.get(unit));
        if let Some(faults) = unit.and_then(faults) {
            text.push_str(&format!("  {}\n", faults_line(&faults)));
        }
    }
    text
}

/// The header in bold, and each row's state in its colour.
fn colored(lines: &[String], states: &[UnitState], output: &Output) -> Vec<String> {
    let row = |(index, line): (usize, &String)| match index.checked_sub(1).and_then(|row| states.get(row)) {
        None => output.paint(Paint::Bold, line),
        Some(state) => {
            let paint = match state {
                UnitState::Ready => Paint::Green,
                UnitState::Degraded | UnitState::Progressing => Paint::Yellow,
                UnitState::Failed => Paint::Red,
            };
            let word = format!("  {state} ");
            line.replacen(&word, &format!("  {} ", output.paint(paint, &state.to_string())), 1)
        }
    };
    lines.iter().enumerate().map(row).collect()
}

/// What it runs, short enough for a table.
pub(crate) fn short(what: &str) -> String {
    match what.strip_prefix("sha256:") {
        Some(hex) => format!("sha256:{}", hex.chars().take(12).collect::<String>()),
        None => what.to_owned(),
    }
}

/// The hosts that run a unit, by their short ids.
fn hosts(unit: &UnitStatus) -> String {
    let mut hosts: Vec<_> = unit.instances.iter().map(|i| i.host.short()).collect();
    hosts.dedup();
    if hosts.is_empty() { "-".to_owned() } else { hosts.join(",") }
}

/// Where a unit listens.
pub(crate) fn address(unit: &UnitStatus) -> Option<String> {
    unit.instances.iter().find_map(|i| i.address.clone())
}

/// The faults of all instances together; `None` when there were none.
fn faults(unit: &UnitStatus) -> Option<Faults> {
    let add = |sum: Faults, instance: &InstanceStatus| Faults {
        traps: sum.traps + instance.faults.traps,
        timeouts: sum.timeouts + instance.faults.timeouts,
        refused: sum.refused + instance.faults.refused,
        errors: sum.errors + instance.faults.errors,
        calls: sum.calls + instance.faults.calls,
        last: instance.faults.last.clone().or(sum.last),
    };
    let sum = unit.instances.iter().fold(Faults::default(), add);
    (sum != Faults::default()).then_some(sum)
}

/// `3 traps, 1 timeout; last: ...`
fn faults_line(faults: &Faults) -> String {
    let part = |number: u64, what: &str| (number > 0).then(|| count(number as usize, what));
    let refused = (faults.refused > 0).then(|| format!("{} refused", faults.refused));
    let errors = part(faults.errors, "error answer");
    let parts = [part(faults.traps, "trap"), part(faults.timeouts, "timeout"), errors, refused];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let last = faults.last.as_deref().map(|last| format!("last: {}", plain(last)));
    let both = [Some(parts.join(", ")).filter(|p| !p.is_empty()), last];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use lattice::model::assignment::{ControlReport, Holding};

    use super::*;
    use crate::wait::tests::{Fake, TINY, host};

    #[tokio::test(start_paused = true)]
    async fn a_unit_with_faults_has_a_line_below_it() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.plan(&record, &["A"]).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        let hosts = fake.bus.store().hosts();
        let mut entry = hosts.get(host("A").as_str()).await.unwrap().unwrap().value;
        entry.instances[0].faults =
            Faults { traps: 3, timeouts: 1, last: Some("unreachable\nexecuted".into()), ..Faults::default() };
        hosts.put(host("A").as_str(), &entry).await.unwrap();
        let world = World::read(&fake.bus).await.unwrap();
        let (output, _) = Output::captured(Format::Table);
        let expected = "\
app shop: ready (revision 1)
UNIT   KIND      STATE  READY  WHAT             REVISION  HOSTS     ADDRESS  FAULTS  REASON
cache  provider  ready  1/1    keyvalue-memory  1         NAAAAAAA           4
  3 traps, 1 timeout; last: unreachable executed
";
        assert_eq!(show(&world, Some("shop"), fake.bus.lattice(), &output).unwrap(), expected);
        let expected = "\
lattice default: 1 host alive, 1 app
APP   STATE  UNITS  REVISION  REASON
shop  ready  1/1    1
";
        assert_eq!(show(&world, None, fake.bus.lattice(), &output).unwrap(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn that_most_hosts_are_silent_is_said_first() {
        let fake = Fake::new();
        fake.app(TINY).await;
        let holding = Some(Holding { silent: 3, of: 4, given_up: 0 });
        let control = ControlReport { version: ControlReport::VERSION, term: 1, holding, lost: [].into() };
        fake.bus.store().control().put(ControlReport::KEY, &control).await.unwrap();
        let world = World::read(&fake.bus).await.unwrap();
        let (output, _) = Output::captured(Format::Table);
        let line = "3 of 4 hosts are silent: holding still, nothing of theirs moves\n";
        let all = show(&world, None, fake.bus.lattice(), &output).unwrap();
        assert!(all.starts_with(&format!("lattice default: 0 hosts alive, 1 app\n{line}")), "{all}");
        let one = show(&world, Some("shop"), fake.bus.lattice(), &output).unwrap();
        assert!(one.starts_with(&format!("{line}app shop: ")), "{one}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_app_is_not_found() {
        let fake = Fake::new();
        let world = World::read(&fake.bus).await.unwrap();
        let (output, _) = Output::captured(Format::Table);
        let failure = show(&world, Some("shop"), fake.bus.lattice(), &output).unwrap_err();
        assert_eq!(failure.to_string(), "there is no app `shop` in lattice default");
        assert_eq!(
            show(&world, None, fake.bus.lattice(), &output).unwrap(),
            "lattice default: 0 hosts alive, 0 apps\n"
        );
    }
}
