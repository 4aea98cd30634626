//! `host`: what operators say of hosts. It is written down as the host's orders; the host follows them, and its inventory
//! tells when it has.

use std::time::Duration;

use lattice::{
    bus::{Bus, Entry},
    model::{
        inventory::{HostRecord, InstanceReport},
        orders::HostOrders,
    },
    wire::HostId,
};
use lattice_view::world::{Follower, World};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    cli::{DrainArgs, Format, Global, HostCommand},
    failure::{Failure, Result},
    output::Output,
    progress::Progress,
    revision::again,
};

/// How long a host that is alive may take to follow its orders.
const OBEYS: Duration = Duration::from_secs(10);

pub(crate) async fn run(global: &Global, command: &HostCommand, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    match command {
        HostCommand::Label { host, labels, as_started } => {
            let change = |orders: &mut HostOrders| {
                if *as_started {
                    orders.labels.clear();
                }
                orders.labels.extend(labels.iter().cloned());
            };
            order(&bus, host, "labels", change, output).await
        }
        HostCommand::Taint { host, taints, as_started } => {
            let change = |orders: &mut HostOrders| {
                if *as_started {
                    orders.taints.clear();
                }
                orders.taints.extend(taints.iter().cloned());
            };
            order(&bus, host, "taints", change, output).await
        }
        HostCommand::Cordon { host, reason } => {
            let change = |orders: &mut HostOrders| orders.cordon = Some(reason.clone());
            order(&bus, host, "cordoned: it keeps what it has and gets nothing more", change, output).await
        }
        HostCommand::Uncordon { host } => {
            let change = |orders: &mut HostOrders| (orders.cordon, orders.drain) = (None, false);
            order(&bus, host, "takes units again", change, output).await
        }
        HostCommand::Drain(args) => drain(&bus, args, output).await,
        HostCommand::Forget { host } => forget(&bus, host, output).await,
    }
}

/// What `forget -o json` prints.
#[derive(Debug, Serialize)]
struct Forgotten<'a> {
    host: &'a HostId,
    /// What it would have gone on with.
    units: Vec<String>,
}

async fn forget(bus: &Bus, name: &str, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let host = find(&world, name)?;
    if world.alive.contains(&host) {
        return Err(Failure::Refused {
            message: format!("host {} is alive", host.short()),
            help: format!("`lattice-ctl host drain {}` moves everything off it and ends it", host.short()),
        });
    }
    let (store, key) = (bus.store(), host.as_str());
    let left = store.assignments().get(key).await?.map(|entry| entry.value.units).unwrap_or_default();
    // First what makes it known: a controller that comes in between gives nothing to a host of which it does not know.
    store.hosts().delete(key).await?;
    store.assignments().delete(key).await?;
    store.orders().delete(key).await?;
    let units: Vec<_> = left.keys().map(ToString::to_string).collect();
    if !units.is_empty() {
        output.note(&format!("it was to go on with {}", units.join(", ")));
    }
    output.say(&format!("host {}: forgotten", host.short()))?;
    output.report(&Forgotten { host: &host, units })
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    host: &'a HostId,
    orders: &'a HostOrders,
    /// Whether the host has done as ordered; one that is not alive does when it is back.
    done: bool,
}

/// Orders what `change` makes of the orders of before, and waits until the host has followed.
async fn order(bus: &Bus, name: &str, what: &str, change: impl Fn(&mut HostOrders), output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let host = find(&world, name)?;
    let orders = write(bus, &host, change).await?;
    let done = until_followed(bus, &host, &orders).await?;
    report(&host, &orders, done, what, output)
}

fn report(host: &HostId, orders: &HostOrders, done: bool, what: &str, output: &mut Output) -> Result<()> {
    if !done {
        output.note(&format!("host {} is not alive, or does not answer: it follows when it does", host.short()));
    }
    match output.format {
        Format::Table => output.line(&format!("host {}: {what}", host.short())),
        _ => output.value(&Report { host, orders, done }),
    }
}

/// The host that the user means: its id, or the beginning of it that no other has.
pub(crate) fn find(world: &World, name: &str) -> Result<HostId> {
    let known = || world.hosts.values().map(|entry| &entry.value.host);
    let found: Vec<_> = known().filter(|host| host.as_str().starts_with(name)).collect();
    match found.as_slice() {
        [host] => Ok((*host).clone()),
        [] => Err(Failure::NotFound {
            message: format!("there is no host `{name}`"),
            help: match known().map(HostId::short).collect::<Vec<_>>() {
                none if none.is_empty() => "no host has joined".to_owned(),
                known => format!("known are {}; `lattice-ctl get hosts` lists them", known.join(", ")),
            },
        }),
        several => Err(Failure::NotFound {
            message: format!("`{name}` is the beginning of {} hosts' ids", several.len()),
            help: format!("write more of one: {}", several.iter().map(|h| h.as_str()).collect::<Vec<_>>().join(", ")),
        }),
    }
}

async fn write(bus: &Bus, host: &HostId, change: impl Fn(&mut HostOrders)) -> Result<HostOrders> {
    let table = bus.store().orders();
    again(async || {
        let before: Option<Entry<HostOrders>> = table.get(host.as_str()).await?;
        let mut orders = before.as_ref().map(|entry| entry.value.clone()).unwrap_or_default();
        orders.version = HostOrders::VERSION;
        change(&mut orders);
        match &before {
            Some(entry) if entry.value == orders => {}
            Some(entry) => drop(table.update(host.as_str(), &orders, entry.revision).await?),
            None => drop(table.create(host.as_str(), &orders).await?),
        }
        Ok(orders)
    })
    .await
}

/// Whether the inventory of a host says what its orders say.
fn follows(record: &HostRecord, orders: &HostOrders) -> bool {
    let label = |(name, value): (&String, &Option<String>)| record.labels.get(name) == value.as_ref();
    let taint = |(name, has): (&String, &bool)| record.taints.contains(name) == *has;
    orders.labels.iter().all(label)
        && orders.taints.iter().all(taint)
        && record.cordon == orders.cordon
        && record.leaving == orders.drain
}

async fn until_followed(bus: &Bus, host: &HostId, orders: &HostOrders) -> Result<bool> {
    let mut follower = Follower::new(bus);
    let deadline = Instant::now() + OBEYS;
    while let Ok(world) = timeout_at(deadline, follower.next()).await {
        let Some(entry) = world.hosts.get(host.as_str()).filter(|_| world.alive.contains(host)) else {
            return Ok(false);
        };
        if follows(&entry.value, orders) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Moves everything off a host, and ends it unless told otherwise.
async fn drain(bus: &Bus, args: &DrainArgs, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let host = find(&world, &args.host)?;
    let change = |orders: &mut HostOrders| {
        orders.drain = true;
        if orders.cordon.is_none() || !args.reason.is_empty() {
            orders.cordon = Some(args.reason.clone());
        }
    };
    let mut orders = write(bus, &host, change).await?;
    if !world.alive.contains(&host) {
        return report(&host, &orders, false, "to be drained", output);
    }
    until_empty(bus, &host, args.timeout, output).await?;
    output.say(&format!("host {}: nothing runs on it any more", host.short()))?;
    if !args.keep_running {
        let started = world.hosts.get(host.as_str()).map(|entry| entry.value.started_ms);
        orders = write(bus, &host, |orders| orders.end = started).await?;
        until_ended(bus, &host, args.timeout, output).await?;
        output.say(&format!("host {}: ended", host.short()))?;
    }
    match output.format {
        Format::Table => Ok(()),
        _ => output.value(&Report { host: &host, orders: &orders, done: true }),
    }
}

async fn until_empty(bus: &Bus, host: &HostId, timeout: Duration, output: &mut Output) -> Result<()> {
    let describe = |report: &InstanceReport| format!("{} ({})", report.unit, report.state);
    let left = |world: &World| {
        let record = world.hosts.get(host.as_str())?;
        let left: Vec<_> = record.value.instances.iter().map(describe).collect();
        (!left.is_empty() || !record.value.leaving).then_some(left)
    };
    let last = until(bus, timeout, left, |left| format!("waiting for {}", left.join(", ")), output).await;
    last.map_err(|left| Failure::NotDone {
        message: format!("host {} still runs {}", host.short(), left.unwrap_or_default().join(", ")),
        help: "`lattice-ctl why APP/UNIT` says what keeps a unit from moving; `lattice-ctl host uncordon` takes the order \
               back"
            .to_owned(),
    })
}

async fn until_ended(bus: &Bus, host: &HostId, timeout: Duration, output: &mut Output) -> Result<()> {
    let there = |world: &World| world.hosts.contains_key(host.as_str()).then_some(());
    let last = until(bus, timeout, there, |()| "waiting for its end".to_owned(), output).await;
    last.map_err(|_| Failure::NotDone {
        message: format!("host {} was ordered to end and is still there", host.short()),
        help: "its log says what it waits for".to_owned(),
    })
}

/// Waits until `rest` finds nothing left, at most for `timeout`; else what it found last.
async fn until<T>(
    bus: &Bus,
    timeout: Duration,
    rest: impl Fn(&World) -> Option<T>,
    describe: impl Fn(&T) -> String,
    output: &mut Output,
) -> std::result::Result<(), Option<T>> {
    let deadline = Instant::now() + timeout;
    let mut follower = Follower::new(bus);
    let mut progress = Progress::default();
    let mut last = None;
    let outcome = loop {
        let Ok(world) = timeout_at(deadline, follower.next()).await else { break Err(last) };
        let Some(found) = rest(&world) else { break Ok(()) };
        progress.show(output, &describe(&found));
        last = Some(found);
    };
    progress.clear(output);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::tests::{Fake, TINY, host};

    #[tokio::test(start_paused = true)]
    async fn hosts_are_named_by_the_beginning_of_their_ids() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.runs("A", &record).await;
        fake.runs("B", &record).await;
        let world = World::read(&fake.bus).await.unwrap();
        assert_eq!(find(&world, "NAAAAAAA").unwrap(), host("A"));
        assert_eq!(find(&world, host("B").as_str()).unwrap(), host("B"));
        let failure = find(&world, "N").unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), ("`N` is the beginning of 2 hosts' ids", 6));
        let failure = find(&world, "NC").unwrap_err();
        assert_eq!(failure.to_string(), "there is no host `NC`");
        let help = failure.help().unwrap();
        assert_eq!(help, "known are NAAAAAAA, NBBBBBBB; `lattice-ctl get hosts` lists them");
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_for_a_host_that_is_away_is_kept_for_it() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.runs("A", &record).await;
        let (mut output, captured) = Output::captured(Format::Table);
        let cordon = |orders: &mut HostOrders| orders.cordon = Some("disk".to_owned());
        order(&fake.bus, "NA", "cordoned", cordon, &mut output).await.unwrap();
        assert_eq!(captured.out(), "host NAAAAAAA: cordoned\n");
        let note = "note: host NAAAAAAA is not alive, or does not answer: it follows when it does\n";
        assert_eq!(captured.remarks(), note);
        let kept = fake.bus.store().orders().get(host("A").as_str()).await.unwrap().unwrap().value;
        assert_eq!(kept.cordon.as_deref(), Some("disk"));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_host_that_is_gone_is_forgotten() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        let (mut output, captured) = Output::captured(Format::Table);
        let failure = forget(&fake.bus, "NA", &mut output).await.unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code()), ("host NAAAAAAA is alive", 1));
        fake.bus.store().beats().delete(host("A").as_str()).await.unwrap();
        let cordon = |orders: &mut HostOrders| orders.cordon = Some("disk".to_owned());
        write(&fake.bus, &host("A"), cordon).await.unwrap();
        forget(&fake.bus, "NA", &mut output).await.unwrap();
        assert_eq!(captured.out(), "host NAAAAAAA: forgotten\n");
        let store = fake.bus.store();
        assert!(store.hosts().list().await.unwrap().is_empty() && store.orders().list().await.unwrap().is_empty());
        assert_eq!(forget(&fake.bus, "NA", &mut output).await.unwrap_err().exit_code(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_does_not_end_names_what_is_left() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        let (mut output, _) = Output::captured(Format::Table);
        let timeout = Duration::from_secs(5);
        let args = DrainArgs { host: "NA".to_owned(), reason: String::new(), keep_running: true, timeout };
        let failure = drain(&fake.bus, &args, &mut output).await.unwrap_err();
        assert_eq!(
            (failure.to_string().as_str(), failure.exit_code()),
            ("host NAAAAAAA still runs shop/cache (ready)", 5)
        );
    }
}
