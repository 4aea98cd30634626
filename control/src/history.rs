//! Revisions of apps that are no longer the newest.
//!
//! Before a record is written over, it is put here: whenever the writer ends, the newest record is among the apps and all
//! before it are in the history.

use lattice::{
    bus::{Bus, StoreError},
    model::app::AppRecord,
    wire::AppName,
};

/// How many revisions of an app are kept beside the newest.
const KEPT: usize = 20;

/// The key of a revision: its numbers are in order as texts, too.
fn key(app: &AppName, revision: u64) -> String {
    format!("{app}.{revision:020}")
}

/// Puts `record` into the history, and forgets what is too old.
///
/// # Errors
/// Those of the store.
pub async fn keep(bus: &Bus, record: &AppRecord) -> Result<(), StoreError> {
    let history = bus.store().history();
    history.put(&key(&record.name, record.revision), record).await?;
    let kept = history.list_of(record.name.as_str()).await?;
    let old = kept.keys().take(kept.len().saturating_sub(KEPT));
    for key in old {
        history.delete(&format!("{}.{key}", record.name)).await?;
    }
    Ok(())
}

/// The revisions before the newest one, oldest first.
///
/// # Errors
/// Those of the store.
pub async fn before(bus: &Bus, app: &AppName) -> Result<Vec<AppRecord>, StoreError> {
    let kept = bus.store().history().list_of(app.as_str()).await?;
    Ok(kept.into_values().map(|entry| entry.value).collect())
}

/// One revision, when it is kept.
///
/// # Errors
/// Those of the store.
pub async fn find(bus: &Bus, app: &AppName, revision: u64) -> Result<Option<AppRecord>, StoreError> {
    Ok(bus.store().history().get(&key(app, revision)).await?.map(|entry| entry.value))
}
