//! A lattice inside this process as one of its peers has it: what that asks of the store may take its time, go without an answer, or
//! be lost. For simulations.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::store::{Bucket, Expect, Keys, RawStore, Store, StoreError, WatchEvent};

/// How it is between a peer and the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing gets through. What is asked has no answer; it may have been done, when it got there before.
    pub cut: bool,
    /// How long each message takes, each way.
    pub delay: Duration,
    /// With each change all watches end, as if they had missed something.
    pub storms: u64,
}

/// After which time there will be no answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Weathered {
    pub(super) store: Store,
    pub(super) weather: watch::Receiver<Weather>,
}

impl Weathered {
    /// The way of a message; an error when it does not arrive.
    async fn travel(&self) -> Result<(), StoreError> {
        let Weather { delay, .. } = *self.weather.borrow();
        sleep(delay).await;
        if self.weather.borrow().cut {
            sleep(PATIENCE).await;
            return Err(StoreError::Unavailable("no answer".to_owned()));
        }
        Ok(())
    }

    async fn ask<T: Send>(&self, work: impl Future<Output = Result<T, StoreError>> + Send) -> Result<T, StoreError> {
        self.travel().await?;
        let answer = work.await;
        self.travel().await?;
        answer
    }
}

#[async_trait]
impl RawStore for Weathered {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<(Bytes, u64)>, StoreError> {
        self.ask(self.store.0.get(bucket, key)).await
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect) -> Result<u64, StoreError> {
        self.ask(self.store.0.put(bucket, key, value, expect)).await
    }

    async fn delete(&self, bucket: Bucket, key: &str, expect: Expect) -> Result<(), StoreError> {
        self.ask(self.store.0.delete(bucket, key, expect)).await
    }

    async fn watch(&self, bucket: Bucket, keys: Keys) -> Result<mpsc::Receiver<WatchEvent>, StoreError> {
        let watched = self.ask(self.store.0.watch(bucket, keys)).await?;
        let (events, receiver) = mpsc::channel(1024);
        tokio::spawn(forward(watched, events, self.weather.clone()));
        Ok(receiver)
    }
}

/// What the watch of a peer is told: late while it is cut off, and in order.
async fn forward(
    mut watched: mpsc::Receiver<WatchEvent>,
    events: mpsc::Sender<WatchEvent>,
    mut weather: watch::Receiver<Weather>,
) {
    let storms = weather.borrow().storms;
    let mut delay = weather.clone();
    let pass = async {
        while let Some(event) = watched.recv().await {
            let Ok(now) = delay.wait_for(|weather| !weather.cut).await.map(|weather| *weather) else { return };
            sleep(now.delay).await;
            if events.send(event).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = weather.wait_for(|weather| weather.storms != storms) => {}
        () = pass => {}
    }
}

impl super::Bus {
    /// The lattice as another peer of the same process has it, in a weather of its own.
    pub fn in_weather(&self, weather: watch::Receiver<Weather>) -> Self {
        let store = Store(Arc::new(Weathered { store: self.store.clone(), weather }));
        Self { store, ..self.clone() }
    }
}
