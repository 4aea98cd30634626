//! `wasi:keyvalue/watcher@0.2.0-draft` of guests. Over the lattice a bucket is a name; the guest gets one of its own, and what
//! it does with it goes by its own link.

use std::sync::Arc;

use bytes::Bytes;
use lattice::{
    model::watch::WATCHER,
    wire::{CallError, CallHead, decode},
};
use lattice_provider::keyvalue::Change;
use wasmtime::component::{Instance, InstancePre};

use self::bindings::exports::wasi::keyvalue::watcher::GuestIndices;
use super::{
    component::LoadedComponent,
    guest::{Guest, GuestStore},
    keyvalue::Bucket,
};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/deps/keyvalue",
        world: "watch-service",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "wasi:keyvalue/store": crate::runtime::keyvalue::bindings::wasi::keyvalue::store,
            "wasi:keyvalue/atomics": crate::runtime::keyvalue::bindings::wasi::keyvalue::atomics,
            "wasi:keyvalue/batch": crate::runtime::keyvalue::bindings::wasi::keyvalue::batch,
        },
    });
}

/// Whether calls of `interface` are of a watcher.
pub(super) fn is_told(head: &CallHead) -> bool {
    WATCHER.split('@').next() == Some(head.interface.unversioned())
}

/// How a component is told of changes.
pub(super) struct WatcherExport(GuestIndices);

/// What there is to tell.
fn read(head: &CallHead, payload: &[u8]) -> Result<Change, CallError> {
    match head.function.as_str() {
        "on-set" => {
            let (bucket, key, value) = decode(head.content_type, payload)?;
            Ok(Change { bucket, key, value: Some(value) })
        }
        "on-delete" => {
            let (bucket, key) = decode(head.content_type, payload)?;
            Ok(Change { bucket, key, value: None })
        }
        other => Err(CallError::NotServed(format!("{}#{other}", head.interface))),
    }
}

impl WatcherExport {
    /// `None` when the component is no watcher.
    pub(super) fn of(pre: &InstancePre<Guest>) -> Option<Self> {
        GuestIndices::new(pre).ok().map(Self)
    }

    /// Tells `component` of a change.
    pub(super) async fn tell(
        &self,
        component: &Arc<LoadedComponent>,
        head: &CallHead,
        payload: &[u8],
    ) -> Result<Bytes, CallError> {
        let change = read(head, payload)?;
        let _permit = component.permit()?;
        let allowed = head.deadline.min(component.timeout());
        if component.concurrent {
            let (mut store, instance) = component.instantiate(allowed).await?;
            let told = self.call(&mut store, &instance, change).await;
            return told.map(|()| Bytes::new()).map_err(|error| component.explain(&store, &error));
        }
        let mut instance = component.plain_instance(allowed).await?;
        let (store, running) = instance.parts();
        let told = self.call(store, &running, change).await;
        told.map_err(|error| component.explain(&instance.store, &error))?;
        component.give_back(instance);
        Ok(Bytes::new())
    }

    async fn call(&self, store: &mut GuestStore, instance: &Instance, change: Change) -> wasmtime::Result<()> {
        let watcher = self.0.load(&mut *store, instance)?;
        let Change { bucket, key, value } = change;
        let bucket = store.data_mut().table.push(Bucket(bucket))?;
        match value {
            Some(value) => watcher.call_on_set(&mut *store, bucket, &key, &value).await,
            None => watcher.call_on_delete(&mut *store, bucket, &key).await,
        }
    }
}
