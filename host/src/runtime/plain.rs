//! Instances on the engine for WASI 0.2, which do one thing at a time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lattice::wire::CallError;
use wasmtime::component::Instance;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};

use super::{
    component::LoadedComponent,
    functions::{Answer, FunctionCall},
    guest::{Guest, GuestStore},
    spares::Spare,
    streams,
};

/// A live instance.
pub(super) struct PlainInstance {
    pub(super) store: GuestStore,
    instance: Instance,
    /// How it answers HTTP; looked up at the first request.
    proxy: Option<Proxy>,
    calls_left: u32,
    /// Until its first call, when it was made ahead.
    pub(super) spare: Option<Spare>,
}

/// Instances that have calls left. A lock around a push or a pop.
#[derive(Default)]
pub(super) struct IdleInstances(Mutex<Vec<PlainInstance>>);

impl IdleInstances {
    fn all(&self) -> MutexGuard<'_, Vec<PlainInstance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub(super) fn push(&self, instance: PlainInstance) {
        self.all().push(instance);
    }

    pub(super) fn any(&self, of: impl Fn(&PlainInstance) -> bool) -> bool {
        self.all().iter().any(of)
    }

    /// Takes out some.
    pub(super) fn take(&self, of: impl Fn(&PlainInstance) -> bool) -> Vec<PlainInstance> {
        self.all().extract_if(.., |instance| of(instance)).collect()
    }
}

impl PlainInstance {
    pub(super) fn parts(&mut self) -> (&mut GuestStore, Instance) {
        (&mut self.store, self.instance)
    }

    /// Its store, and how it answers HTTP.
    pub(super) fn http(&mut self, indices: &ProxyIndices) -> wasmtime::Result<(&mut GuestStore, &Proxy)> {
        let proxy = match self.proxy.take() {
            Some(proxy) => proxy,
            None => indices.load(&mut self.store, &self.instance)?,
        };
        Ok((&mut self.store, self.proxy.insert(proxy)))
    }

    /// Calls a function. After an error it must not be used any more.
    pub(super) async fn call(&mut self, component: &LoadedComponent, call: FunctionCall) -> Result<Answer, CallError> {
        let FunctionCall { function, intake, permit: _permit, .. } = call;
        let held = intake.held.clone();
        let lifted = function.call(&mut self.store, &self.instance, intake).await;
        let lifted = lifted.map_err(|error| component.explain(&self.store, &error))?;
        let sources = streams::pipe(&mut self.store, lifted.flows, None);
        let sources = sources.map_err(|error| component.explain(&self.store, &error))?;
        if let Some(held) = held {
            held.keep(lifted.given);
        }
        Ok(Answer { bytes: lifted.bytes, sources })
    }
}

impl LoadedComponent {
    /// An instance for a call that may take `allowed`: one that has calls left, or that was made ahead, else a fresh one.
    pub(super) async fn plain_instance(&self, allowed: Duration) -> Result<PlainInstance, CallError> {
        let idle = self.idle.all().pop();
        let Some(mut instance) = idle else { return self.fresh_instance(allowed).await };
        instance.spare = None;
        Guest::begin(&mut instance.store, allowed);
        Ok(instance)
    }

    /// A fresh instance whose first call may take `allowed`.
    pub(super) async fn fresh_instance(&self, allowed: Duration) -> Result<PlainInstance, CallError> {
        let (store, instance) = self.instantiate(allowed).await?;
        Ok(PlainInstance { store, instance, proxy: None, calls_left: self.reuse, spare: None })
    }

    /// Calls a function that gives no resources away.
    pub(super) async fn call_plain(self: &Arc<Self>, call: FunctionCall) -> Result<Answer, CallError> {
        let mut instance = self.plain_instance(call.allowed).await?;
        let answer = instance.call(self, call).await?;
        self.give_back(instance);
        Ok(answer)
    }

    /// Takes back an instance whose call ended well.
    pub(super) fn give_back(self: &Arc<Self>, mut instance: PlainInstance) {
        instance.calls_left -= 1;
        match instance.calls_left {
            0 => self.spares.replace(self, instance),
            _ => self.idle.push(instance),
        }
    }
}
