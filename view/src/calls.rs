//! What hosts have counted of calls, between two moments.

use std::{collections::BTreeMap, time::Duration};

use lattice::{
    bus::Bus,
    model::{
        asked::Question,
        figures::{BOUNDS_US, Calls, Figures},
    },
    wire::{HostId, UnitId},
};
use serde::Serialize;

use crate::{
    asking::{Remarks, ask_all},
    world::World,
};

/// What the hosts that answer have counted until a moment.
#[derive(Debug, Default)]
pub struct Counted(BTreeMap<HostId, Figures>);

/// Of one unit, or from one to another, over all hosts.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// Between the moments.
    pub now: Calls,
    /// Since each host began to count.
    pub all: Calls,
    pub hosts: usize,
    pub starts: u64,
}

/// A flow, as it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rates {
    pub per_second: f64,
    /// Of the calls between the moments; `None` when none has ended.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub failed_per_second: f64,
    pub total: u64,
    pub failed: u64,
}

/// One unit, as it is listed.
#[derive(Debug, Clone, Serialize)]
pub struct UnitCalls {
    pub unit: UnitId,
    pub hosts: usize,
    pub in_flight: u64,
    pub per_second: f64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    pub failed_per_second: f64,
    pub calls: u64,
    pub failed: u64,
    pub starts: u64,
    #[serde(skip)]
    pub rates: Rates,
}

impl Counted {
    /// Asks all hosts that are alive. Who does not answer is named once for each reading.
    pub async fn read(bus: &Bus, world: &World, remarks: &mut dyn Remarks) -> Self {
        let asked = world.live_hosts().map(|host| (host, [(); 0]));
        let mut figures = BTreeMap::new();
        for (host, answer) in ask_all::<Figures, _>(bus, Question::Figures, asked).await {
            match answer {
                // Sorted by other bounds, they cannot be put together with ours.
                Ok(answer) if answer.bounds_us != BOUNDS_US => {
                    remarks.note(&format!("host {} counts by other bounds: it is of another release", host.short()));
                }
                Ok(answer) => drop(figures.insert(host, answer)),
                Err(error) => remarks.note(&format!("host {} does not tell its figures: {error}", host.short())),
            }
        }
        Self(figures)
    }

    /// What has come since `before`, by unit.
    pub fn units(&self, before: &Self) -> BTreeMap<UnitId, Flow> {
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
    pub fn links(&self, before: &Self) -> BTreeMap<(UnitId, UnitId), Flow> {
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
    pub fn rates(&self, apart: Duration) -> Rates {
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

/// What was counted of each unit in so much time.
pub fn units(counted: &Counted, before: &Counted, apart: Duration) -> Vec<UnitCalls> {
    let row = |(unit, flow): (UnitId, Flow)| {
        let rates = flow.rates(apart);
        UnitCalls {
            unit,
            hosts: flow.hosts,
            in_flight: flow.all.in_flight,
            per_second: rates.per_second,
            p50_us: rates.p50_us,
            p99_us: rates.p99_us,
            failed_per_second: rates.failed_per_second,
            calls: rates.total,
            failed: rates.failed,
            starts: flow.starts,
            rates,
        }
    };
    counted.units(before).into_iter().map(row).collect()
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
    }
}
