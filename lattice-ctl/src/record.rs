//! `record`: the calls of a component, with all that it called itself, in a file.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use lattice::{
    model::{
        app::UnitSpec,
        recording::{Episode, Heading, RawCall},
        spy::{Call, Query},
    },
    wire::{HostId, UnitId},
};
use lattice_view::{
    asking::{Places, Silent},
    spied::Reader,
    world::World,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Global, RecordArgs},
    failure::{Failure, Result},
    output::Output,
    problems::count,
    spy::{POLL, hidden},
    up::stopped,
};

/// How long is waited for what a call has made: hosts are asked one after the other.
const GATHER: Duration = Duration::from_secs(1);

/// What `-o json` prints of a recording.
#[derive(Debug, Serialize)]
struct Recorded<'a> {
    unit: &'a UnitId,
    file: &'a Path,
    calls: usize,
    /// Calls with streams, resources or more than 1 MiB, or of which it cannot be told what they made.
    left_out: usize,
}

pub(crate) async fn run(global: &Global, args: &RecordArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let mut world = World::read(&bus).await?;
    let record = &world.app(args.unit.app.as_str(), &global.lattice)?.value;
    let spec = record.units.get(&args.unit.unit).ok_or_else(|| Failure::no_unit(record, &args.unit.unit))?;
    let UnitSpec::Component(component) = &spec.spec else {
        return Err(Failure::Refused {
            message: format!("{} is a provider", args.unit),
            help: "calls of components are recorded, with what they call".to_owned(),
        });
    };
    let heading = Heading { recording: Heading::VERSION, unit: args.unit.clone(), component: component.clone() };
    let mut file = Lines::create(&args.out)?;
    file.add(&heading)?;
    let query = Query { app: args.unit.app.clone(), unit: Some(args.unit.unit.clone()), sample: 1, whole: true };
    let mut reader = Reader { query, places: Places::new(), silent: Silent::default() };
    let mut tape = Tape { unit: args.unit.clone(), traces: BTreeMap::new() };
    let (mut calls, mut left_out) = (0, 0);
    let until = args.during.map(|during| Instant::now() + during);
    let mut stopped = std::pin::pin!(stopped()?);
    loop {
        for (host, call) in reader.read(&bus, &world, output).await.map_err(hidden)? {
            tape.add(host, call);
        }
        let over = until.is_some_and(|until| Instant::now() > until);
        let (episodes, lost) = tape.take(over);
        left_out += lost;
        for episode in episodes.iter().take(args.count.unwrap_or(usize::MAX) - calls) {
            file.add(episode)?;
            calls += 1;
        }
        if over || args.count == Some(calls) {
            break;
        }
        // Without NATS the hosts of before are asked again.
        world = World::read(&bus).await.unwrap_or(world);
        // Cancel-safe: both only wait.
        tokio::select! {
            () = sleep(POLL) => {}
            () = &mut stopped => {
                let (episodes, lost) = tape.take(true);
                left_out += lost;
                for episode in &episodes {
                    file.add(episode)?;
                    calls += 1;
                }
                break;
            }
        }
    }
    if left_out > 0 {
        let why = "with streams, resources or more than 1 MiB, or beside others of one trace";
        output.note(&format!("{} left out: {why}", count(left_out, "call")));
    }
    output.say(&format!("{} of {} in {}", count(calls, "call"), args.unit, args.out.display()))?;
    output.report(&Recorded { unit: &args.unit, file: &args.out, calls, left_out })
}

/// A file of lines, for its owner alone: there may be anything in calls.
struct Lines<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl<'a> Lines<'a> {
    fn create(path: &'a Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|source| Failure::File { what: "cannot write", path: path.to_owned(), source })?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    fn add(&mut self, value: &impl Serialize) -> Result<()> {
        let written = serde_json::to_writer(&mut self.file, value).map_err(io::Error::from);
        let written = written.and_then(|()| self.file.write_all(b"\n")).and_then(|()| self.file.flush());
        written.map_err(|source| Failure::File { what: "cannot write", path: self.path.to_owned(), source })
    }
}

/// What was seen, until it is known what belongs together.
struct Tape {
    unit: UnitId,
    traces: BTreeMap<String, Seen>,
}

/// The calls of one trace.
#[derive(Default)]
struct Seen {
    /// Of the component, and since when there is one.
    taken: Vec<(HostId, Call)>,
    since: Option<Instant>,
    /// By the component.
    made: Vec<(HostId, Call)>,
}

impl Tape {
    fn add(&mut self, host: HostId, call: Call) {
        let Some(trace) = call.trace.clone() else { return };
        let seen = self.traces.entry(trace).or_default();
        // One that the component makes to itself is both, and would be in itself.
        if call.to == self.unit {
            seen.since.get_or_insert_with(Instant::now);
            seen.taken.push((host, call));
        } else {
            seen.made.push((host, call));
        }
    }

    /// What is complete, and how much of it cannot be made again; `all`: also what has only just come.
    fn take(&mut self, all: bool) -> (Vec<Episode>, usize) {
        let ready = |seen: &Seen| seen.since.is_some_and(|since| all || since.elapsed() > GATHER);
        let (mut episodes, mut left_out) = (Vec::new(), 0);
        for (_, seen) in self.traces.extract_if(.., |_, seen| ready(seen)) {
            let count = seen.taken.len();
            let found = seen.episodes();
            left_out += count - found.len();
            episodes.extend(found);
        }
        episodes.sort_by_key(|(at, _)| *at);
        (episodes.into_iter().map(|(_, episode)| episode).collect(), left_out)
    }
}

impl Seen {
    /// Each call with those that it made, and when it began.
    fn episodes(self) -> Vec<(u64, Episode)> {
        let Self { taken, made, .. } = self;
        let alone = taken.len() == 1;
        let within = |(host, call): &(HostId, Call), (there, inner): &(HostId, Call)| {
            // Clocks of different hosts cannot be compared.
            alone || (host == there && call.at_us <= inner.at_us && inner.at_us <= call.at_us + call.took_us)
        };
        let overlap = |one: &Call, other: &Call| {
            one.at_us <= other.at_us + other.took_us && other.at_us <= one.at_us + one.took_us
        };
        let told_apart = |(at, (host, call)): &(usize, &(HostId, Call))| {
            let others = taken.iter().enumerate().filter(|(other, _)| other != at);
            others.into_iter().all(|(_, (there, other))| there == host && !overlap(call, other))
        };
        let episode = |(_, taken): (usize, &(HostId, Call))| {
            let mut inner: Vec<_> = made.iter().filter(|inner| within(taken, inner)).collect();
            inner.sort_by_key(|(_, call)| call.at_us);
            let made = inner.into_iter().map(|(_, call)| call.raw.clone()).collect::<Option<Vec<RawCall>>>()?;
            Some((taken.1.at_us, Episode { call: taken.1.raw.clone()?, made }))
        };
        taken.iter().enumerate().filter(told_apart).filter_map(episode).collect()
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::{
        recording::{Raw, RawOutcome},
        spy::{Outcome, Value, Way},
    };

    use super::*;

    fn call(from: &str, to: &str, trace: &str, at_us: u64, took_us: u64) -> Call {
        let raw = RawCall {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            interface: "acme:pricing/quote@1.0.0".parse().unwrap(),
            function: format!("at-{at_us}"),
            arguments: Raw(Default::default()),
            outcome: RawOutcome::Result(Raw(Default::default())),
        };
        Call {
            number: 0,
            at_us,
            took_us,
            from: raw.from.clone(),
            to: raw.to.clone(),
            interface: raw.interface.to_string(),
            function: raw.function.clone(),
            way: Way::Local,
            arguments: Value::Bytes(0),
            outcome: Outcome::Result(Value::Bytes(0)),
            trace: Some(trace.to_owned()),
            raw: Some(raw),
        }
    }

    fn host(letter: &str) -> HostId {
        format!("N{}", letter.repeat(55)).parse().unwrap()
    }

    /// What each call has made.
    fn taken(calls: Vec<(HostId, Call)>) -> (Vec<(String, Vec<String>)>, usize) {
        let mut tape = Tape { unit: "shop/cart".parse().unwrap(), traces: BTreeMap::new() };
        calls.into_iter().for_each(|(host, call)| tape.add(host, call));
        let (episodes, left_out) = tape.take(true);
        let names = |calls: Vec<RawCall>| calls.into_iter().map(|call| call.function).collect();
        (episodes.into_iter().map(|one| (one.call.function, names(one.made))).collect(), left_out)
    }

    #[test]
    fn what_a_call_made_is_known_by_its_trace_and_its_time() {
        let (a, b) = (host("A"), host("B"));
        let (web, cart, cache) = ("shop/web", "shop/cart", "shop/cache");
        let one = |at: u64, made: &[u64]| (format!("at-{at}"), made.iter().map(|at| format!("at-{at}")).collect());
        // Of one call in a trace all belongs to it, whatever the clocks say.
        let calls = vec![
            (b.clone(), call(cart, cache, "x", 900, 1)),
            (a.clone(), call(web, cart, "x", 10, 50)),
            (b.clone(), call(cart, cache, "x", 800, 1)),
        ];
        assert_eq!(taken(calls), (vec![one(10, &[800, 900])], 0));
        // Several, one after the other.
        let calls = vec![
            (a.clone(), call(web, cart, "x", 10, 50)),
            (a.clone(), call(cart, cache, "x", 20, 1)),
            (a.clone(), call(web, cart, "x", 70, 50)),
            (a.clone(), call(cart, cache, "x", 80, 1)),
        ];
        assert_eq!(taken(calls), (vec![one(10, &[20]), one(70, &[80])], 0));
        // At the same time, or on two hosts, nobody can say.
        let calls = vec![(a.clone(), call(web, cart, "x", 10, 50)), (a.clone(), call(web, cart, "x", 20, 50))];
        assert_eq!(taken(calls), (Vec::new(), 2));
        let calls = vec![(a.clone(), call(web, cart, "x", 10, 5)), (b, call(web, cart, "x", 20, 5))];
        assert_eq!(taken(calls), (Vec::new(), 2));
        // What has no bytes cannot be made again.
        let mut bare = call(cart, cache, "x", 20, 1);
        bare.raw = None;
        assert_eq!(taken(vec![(a.clone(), call(web, cart, "x", 10, 50)), (a, bare)]), (Vec::new(), 1));
    }
}
