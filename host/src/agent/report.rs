//! Telling the lattice what this host runs, and that it lives.

use std::time::{Duration, Instant};

use lattice::{
    bus::Bus,
    model::inventory::{Beat, HostRecord},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Meter;

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// The inventory is written again this often although nothing changed, in case the lattice lost it.
const AGAIN: Duration = Duration::from_secs(30);
/// After a write that failed.
const RETRY: Duration = Duration::from_millis(500);
/// Changes that come together are told together.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Keeps `hosts.<host>` as `record` says.
pub(crate) async fn publish(bus: Bus, mut record: watch::Receiver<HostRecord>, stop: CancellationToken) {
    let table = bus.store().hosts();
    loop {
        let newest = record.borrow_and_update().clone();
        let written = table.put(newest.host.as_str(), &newest).await;
        if let Err(error) = &written {
            tracing::debug!(%error, "cannot publish the inventory; trying again");
        }
        let pause = if written.is_ok() { AGAIN } else { RETRY };
        tokio::select! {
            changed = record.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        tokio::time::sleep(DEBOUNCE).await;
    }
}

/// Shows signs of life until `stop`, and tells when those were sent that have been acknowledged.
pub(crate) async fn beat(
    bus: Bus,
    host: lattice::wire::HostId,
    mut meter: Meter,
    heard: watch::Sender<Option<Instant>>,
    stop: CancellationToken,
) {
    let table = bus.store().beats();
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // A host that starts again must not repeat the counts of its last life.
    let mut count = started();
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            // Somebody waits for a copy of a unit, and is not to wait for the next beat too.
            () = meter.watch() => tokio::time::sleep(DEBOUNCE).await,
            () = stop.cancelled() => return,
        }
        count += 1;
        let load = meter.tell();
        let sent = Instant::now();
        // While a cluster elects who stores them, a beat is never answered. Whoever waited for that answer would be silent for so
        // long that others take it for dead.
        match tokio::time::timeout(BEAT, table.put(host.as_str(), &Beat { count, load })).await {
            Ok(Ok(_)) => drop(heard.send_replace(Some(sent))),
            Ok(Err(error)) => tracing::debug!(%error, "cannot show a sign of life"),
            Err(_) => tracing::debug!("a sign of life was not answered"),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn started() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
