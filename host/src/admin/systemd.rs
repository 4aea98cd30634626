//! What systemd is told, where it has started the host: that it is ready, that it lives, and that it is ending.

use std::sync::Arc;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio_util::sync::CancellationToken;

use super::Admin;

/// Says that the host is ready and then, when systemd wants to hear it, that it lives; until `stop`.
pub(crate) async fn tell(admin: Arc<Admin>, stop: CancellationToken) {
    say(NotifyState::Ready);
    let Some(within) = watchdog_enabled() else { return };
    // Twice as often as it must, as systemd's own manual has it.
    let mut ticks = tokio::time::interval(within / 2);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        match admin.hangs() {
            None => say(NotifyState::Watchdog),
            Some(reason) => tracing::error!(reason, "systemd is not told that this host lives"),
        }
    }
}

/// Says that the host is ending.
pub(crate) fn ending() {
    say(NotifyState::Stopping);
}

/// Without systemd nobody hears it.
fn say(state: NotifyState<'_>) {
    if let Err(error) = notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told how this host is");
    }
}
