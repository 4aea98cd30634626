//! The bus inside one process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    artifacts::Artifacts,
    rpc::{CallHandler, Serving, within},
    store::{Bucket, Expect, Keys, RawStore, Store, StoreError, WatchEvent},
};
use crate::wire::{CallError, CallHead, CallSubject, InstanceId, Served};

pub(super) fn open() -> (Store, Artifacts) {
    (Store(Arc::new(MemoryStore { state: watch::channel(State::default()).0 })), Artifacts::memory())
}

/// Who answers, by instance. A watch channel is the cell: readers borrow it for a lookup, writers replace an entry.
pub(super) struct Switchboard {
    handlers: watch::Sender<HashMap<InstanceId, Line>>,
    /// Always true; kept so that those who watch it see no end.
    pub(super) connected: watch::Sender<bool>,
}

#[derive(Clone)]
struct Line {
    handler: Arc<dyn CallHandler>,
    stop: CancellationToken,
    calls: TaskTracker,
}

impl Default for Switchboard {
    fn default() -> Self {
        Self { handlers: watch::channel(HashMap::new()).0, connected: watch::channel(true).0 }
    }
}

impl Switchboard {
    pub(super) async fn call(
        &self,
        subject: &CallSubject,
        head: &CallHead,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let line = self.handlers.borrow().get(&subject.instance).cloned();
        let line =
            line.filter(|l| !l.stop.is_cancelled()).ok_or_else(|| CallError::NoInstance(subject.unit.to_string()))?;
        let call = line.calls.track_future(line.handler.call(head.clone(), payload));
        within(head.deadline, call).await.unwrap_or(Err(CallError::Deadline(head.deadline)))
    }

    pub(super) fn serve(&self, served: &Served, handler: Arc<dyn CallHandler>) -> Serving {
        let serving = Serving::new();
        serving.calls.close();
        let line = Line { handler, stop: serving.stop.clone(), calls: serving.calls.clone() };
        self.handlers.send_modify(|map| drop(map.insert(served.instance.clone(), line)));
        serving
    }
}

#[derive(Default)]
struct State {
    revision: u64,
    values: BTreeMap<(u8, String), (Bytes, u64)>,
    watchers: Vec<(u8, Keys, mpsc::Sender<WatchEvent>)>,
}

struct MemoryStore {
    state: watch::Sender<State>,
}

impl State {
    fn check(&self, id: &(u8, String), expect: Expect) -> Result<(), StoreError> {
        let current = self.values.get(id).map(|(_, revision)| *revision);
        let fine = match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
        };
        if fine { Ok(()) } else { Err(StoreError::Conflict { key: id.1.clone() }) }
    }

    /// Tells every watcher of the prefix. One that does not keep up is cut off: it then reads everything again.
    fn tell(&mut self, bucket: u8, key: &str, event: &WatchEvent) {
        self.watchers.retain(|(b, keys, sender)| {
            let theirs = *b == bucket && keys.has(key);
            !theirs || sender.try_send(event.clone()).is_ok()
        });
    }
}

#[async_trait]
impl RawStore for MemoryStore {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<(Bytes, u64)>, StoreError> {
        Ok(self.state.borrow().values.get(&(bucket as u8, key.to_owned())).cloned())
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect) -> Result<u64, StoreError> {
        let id = (bucket as u8, key.to_owned());
        let mut result = Err(StoreError::Conflict { key: key.to_owned() });
        self.state.send_modify(|state| {
            result = state.check(&id, expect).map(|()| {
                state.revision += 1;
                let revision = state.revision;
                state.values.insert(id.clone(), (value.clone(), revision));
                state.tell(id.0, key, &WatchEvent::Put { key: key.to_owned(), value: value.clone(), revision });
                revision
            });
        });
        result
    }

    async fn delete(&self, bucket: Bucket, key: &str, expect: Expect) -> Result<(), StoreError> {
        let id = (bucket as u8, key.to_owned());
        let mut result = Ok(());
        self.state.send_modify(|state| {
            result = state.check(&id, expect);
            if result.is_ok() && state.values.remove(&id).is_some() {
                state.revision += 1;
                state.tell(id.0, key, &WatchEvent::Delete { key: key.to_owned() });
            }
        });
        result
    }

    async fn watch(&self, bucket: Bucket, keys: Keys) -> Result<mpsc::Receiver<WatchEvent>, StoreError> {
        let mut receiver = None;
        self.state.send_modify(|state| {
            let bucket = bucket as u8;
            let there: Vec<_> = state.values.iter().filter(|((b, key), _)| *b == bucket && keys.has(key)).collect();
            let (sender, events) = mpsc::channel(there.len() + 1024);
            let puts = there.into_iter().map(|((_, key), (value, revision))| WatchEvent::Put {
                key: key.clone(),
                value: value.clone(),
                revision: *revision,
            });
            for event in puts.chain([WatchEvent::Synced]) {
                // There is room: the channel was made for all of them.
                let _ = sender.try_send(event);
            }
            state.watchers.push((bucket, keys.clone(), sender));
            receiver = Some(events);
        });
        receiver.ok_or_else(|| StoreError::Unavailable("the store is gone".to_owned()))
    }
}
