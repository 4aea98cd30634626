//! What operators have said of this host, see [`HostOrders`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lattice::{
    bus::{Bus, View},
    model::{inventory::HostRecord, orders::HostOrders},
};

/// How long a host that starts waits for its orders: one that was cordoned is not to be given anything before it knows.
const FIRST: Duration = Duration::from_secs(5);

/// The orders of this host, and what they change.
pub(crate) struct Orders {
    pub(super) view: View<HostOrders>,
    host: String,
    /// As its command line has them.
    labels: BTreeMap<String, String>,
    taints: BTreeSet<String>,
}

impl Orders {
    /// Follows the orders of the host that was started as `record` says, and obeys those that are there.
    pub(crate) async fn follow(bus: &Bus, record: &mut HostRecord) -> Self {
        let view = bus.store().orders().follow_one(record.host.as_str());
        let (labels, taints) = (record.labels.clone(), record.taints.clone());
        let mut orders = Self { view, host: record.host.to_string(), labels, taints };
        if !*bus.connected().borrow() {
            return orders;
        }
        let known = orders.view.wait_for(Option::is_some);
        if tokio::time::timeout(FIRST, known).await.is_err() {
            tracing::warn!("cannot read what operators have said of this host; it follows that later");
        }
        orders.obey(record, false);
        orders
    }

    /// Makes `record` say what the newest orders make of this host; whether that is a change, and whether this process shall
    /// end. While they cannot be read, those of before stand.
    pub(super) fn obey(&self, record: &mut HostRecord, ending: bool) -> (bool, bool) {
        let all = self.view.borrow();
        let Some(all) = all.as_ref() else { return (false, false) };
        let orders = all.get(&self.host).map(|entry| entry.value.clone()).unwrap_or_default();
        let before = record.clone();
        record.labels = orders.labels(&self.labels);
        record.taints = orders.taints(&self.taints);
        record.cordon = orders.cordon.clone();
        record.leaving = ending || orders.drain;
        (*record != before, orders.ends(record.started_ms))
    }
}
