//! `wasi:keyvalue/watcher@0.2.0-draft` of guests. Over the lattice a bucket is a name; the guest gets one of its own, and what
//! it does with it goes by its own link.

use std::sync::Arc;

use bytes::Bytes;
use lattice::{
    model::watch::WATCHER,
    wire::{CallError, CallHead, decode},
};
use wasmtime::component::{Instance, InstancePre, Resource};

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
enum Told {
    Set(String, String, Bytes),
    Delete(String, String),
}

impl Told {
    fn read(head: &CallHead, payload: &[u8]) -> Result<Self, CallError> {
        match head.function.as_str() {
            "on-set" => {
                let (bucket, key, value) = decode(head.content_type, payload)?;
                Ok(Self::Set(bucket, key, value))
            }
            "on-delete" => {
                let (bucket, key) = decode(head.content_type, payload)?;
                Ok(Self::Delete(bucket, key))
            }
            other => Err(CallError::NotServed(format!("{}#{other}", head.interface))),
        }
    }
}

impl WatcherExport {
    /// `None` when the component is no watcher.
    pub(super) fn of(pre: &InstancePre<Guest>) -> Option<Self> {
        GuestIndices::new(pre).ok().map(Self)
    }

    async fn tell(&self, store: &mut GuestStore, instance: &Instance, told: Told) -> wasmtime::Result<()> {
        let watcher = self.0.load(&mut *store, instance)?;
        let bucket = |store: &mut GuestStore, name| -> wasmtime::Result<Resource<Bucket>> {
            Ok(store.data_mut().table.push(Bucket(name))?)
        };
        match told {
            Told::Set(name, key, value) => {
                let bucket = bucket(store, name)?;
                watcher.call_on_set(&mut *store, bucket, &key, &value).await
            }
            Told::Delete(name, key) => {
                let bucket = bucket(store, name)?;
                watcher.call_on_delete(&mut *store, bucket, &key).await
            }
        }
    }
}

/// Tells a component of a change.
pub(super) async fn tell(
    component: &Arc<LoadedComponent>,
    watcher: Option<&WatcherExport>,
    head: &CallHead,
    payload: &[u8],
) -> Result<Bytes, CallError> {
    let missing = || CallError::NotServed(format!("{}: {} watches nothing", head.interface, component.unit()));
    let watcher = watcher.ok_or_else(missing)?;
    let told = Told::read(head, payload)?;
    let _permit = component.permit()?;
    let allowed = head.deadline.min(component.timeout());
    if component.concurrent {
        let (mut store, instance) = component.instantiate(allowed).await?;
        let done = watcher.tell(&mut store, &instance, told).await;
        return done.map(|()| Bytes::new()).map_err(|error| component.explain(&store, &error));
    }
    let mut instance = component.plain_instance(allowed).await?;
    let (store, running) = instance.parts();
    let done = watcher.tell(store, &running, told).await;
    done.map_err(|error| component.explain(&instance.store, &error))?;
    component.give_back(instance);
    Ok(Bytes::new())
}
