//! What hosts have counted of calls, between two moments.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        figures::{BOUNDS_US, Calls, Figures},
    },
    wire::{HostId, UnitId},
};
use serde::Serialize;

use crate::{asking::ask, output::Output, world::World};

/// What the hosts that answer have counted until a moment.
#[derive(Debug, Default)]
pub(crate) struct Counted(BTreeMap<HostId, Figures>);

/// Of one unit, or from one to another, over all hosts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flow {
    /// Between the moments.
    pub(crate) now: Calls,
    /// Since each host began to count.
    pub(crate) all: Calls,
    pub(crate) hosts: usize,
    pub(crate) starts: u64,
}

/// A flow, as it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rates {
    pub(crate) per_second: f64,
    /// Of the calls between the moments; `None` when none has ended.
    pub(crate) p50_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
    pub(crate) failed_per_second: f64,
    pub(crate) total: u64,
    pub(crate) failed: u64,
}

impl Counted {
    /// Asks all hosts that are alive. Who does not answer is named once for each reading.
    pub(crate) async fn read(bus: &Bus, world: &World, output: &mut Output) -> Self {
        let asked = world.live_hosts().map(async |host| {
            let answer = ask::<Figures>(bus, host, Question::Figures, &[(); 0]).await;
            (host.host.clone(), answer)
        });
        let mut figures = BTreeMap::new();
        for (host, answer) in join_all(asked).await {
            match answer {
                // Sorted by other bounds, they cannot be put together with ours.
                Ok(answer) if answer.bounds_us != BOUNDS_US => {
                    output.note(&format!("host {} counts by other bounds: it is of another release", host.short()));
                }
                Ok(answer) => drop(figures.insert(host, answer)),
                Err(error) => output.note(&format!("host {} does not tell its figures: {error}", host.short())),
            }
        }
        Self(figures)
    }

    /// What has come since `before`, by unit.
    pub(crate) fn units(&self, before: &Self) -> BTreeMap<UnitId, Flow> {
        let mut flows: BTreeMap<UnitId, Flow> = BTreeMap::new();
        for (host, figures) in &self.0 {
            for unit in &figures.units {
                let before =
                    before.0.get(host).and_then(|before| before.units.iter().find(|old| old.unit == unit.unit));
                let flow = flows.entry(unit.unit.clone()).or_default();
                flow.add(&unit.calls, before.map(|before| &before.calls));
                flow.starts += unit.starts;
            }
        }
        flows
    }

    /// The same of calls over NATS, by who calls whom.
    pub(crate) fn links(&self, before: &Self) -> BTreeMap<(UnitId, UnitId), Flow> {
        let mut flows: BTreeMap<(UnitId, UnitId), Flow> = BTreeMap::new();
        for (host, figures) in &self.0 {
            for link in &figures.links {
                let same = |old: &&lattice::model::figures::LinkFigures| old.from == link.from && old.to == link.to;
                let before = before.0.get(host).and_then(|before| before.links.iter().find(same));
                let flow = flows.entry((link.from.clone(), link.to.clone())).or_default();
                flow.add(&link.calls, before.map(|before| &before.calls));
            }
        }
        flows
    }
}

impl Flow {
    fn add(&mut self, calls: &Calls, before: Option<&Calls>) {
        // One that was not there before has begun meanwhile.
        let now = before.map_or(calls.clone(), |before| calls.clone().since(before));
        self.now.add(&now);
        self.all.add(calls);
        self.hosts += 1;
    }

    /// When the moments are so far apart.
    pub(crate) fn rates(&self, apart: Duration) -> Rates {
        let seconds = apart.as_secs_f64().max(0.001);
        let rate = |count: u64| (count as f64 / seconds * 10.0).round() / 10.0;
        let quantile = |part| self.now.quantile(part, &BOUNDS_US).map(|time| time.as_micros() as u64);
        Rates {
            per_second: rate(self.now.count()),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            failed_per_second: rate(self.now.failed()),
            total: self.all.count(),
            failed: self.all.failed(),
        }
    }
}

impl Rates {
    /// In the columns [`Self::HEADER`].
    pub(crate) fn cells(&self) -> Vec<String> {
        let time = |time: Option<u64>| time.map_or("-".to_owned(), short);
        vec![
            format!("{:.1}", self.per_second),
            time(self.p50_us),
            time(self.p99_us),
            format!("{:.1}", self.failed_per_second),
            self.total.to_string(),
            self.failed.to_string(),
        ]
    }

    pub(crate) const HEADER: [&'static str; 6] = ["CALLS/S", "P50", "P99", "FAILED/S", "CALLS", "FAILED"];
}

/// `250us`, `3.2ms`, `1.5s`.
pub(crate) fn short(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..1_000_000 => format!("{:.1}ms", micros as f64 / 1e3),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::figures::UnitFigures;

    use super::*;

    fn counted(hosts: &[(&str, u64)]) -> Counted {
        let of = |(letter, ended): &(&str, u64)| {
            let mut buckets = vec![0; BOUNDS_US.len() + 1];
            buckets[3] = *ended;
            let calls = Calls { ended: buckets, traps: ended / 10, ..Calls::default() };
            let units = vec![UnitFigures { unit: "shop/cart".parse().unwrap(), starts: 1, calls }];
            (format!("N{}", letter.repeat(55)).parse().unwrap(), Figures { units, ..Figures::default() })
        };
        Counted(hosts.iter().map(of).collect())
    }

    #[test]
    fn flows_are_of_all_hosts_also_of_those_that_came_meanwhile() {
        let flows = counted(&[("A", 100), ("B", 40)]).units(&counted(&[("A", 80), ("C", 1000)]));
        let flow = &flows[&"shop/cart".parse().unwrap()];
        assert_eq!((flow.now.count(), flow.all.count(), flow.hosts, flow.starts), (60, 140, 2, 2));
        let rates = flow.rates(Duration::from_secs(2));
        assert_eq!((rates.per_second, rates.failed_per_second, rates.total, rates.failed), (30.0, 3.0, 140, 14));
        assert!(rates.p50_us > Some(250) && rates.p99_us <= Some(500), "{rates:?}");
        assert_eq!(rates.cells()[0], "30.0");
    }

    #[test]
    fn times_are_short() {
        assert_eq!([40, 3_200, 1_500_000].map(short), ["40us", "3.2ms", "1.5s"]);
    }
}
