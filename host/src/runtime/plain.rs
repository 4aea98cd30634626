//! Instances on the engine for WASI 0.2, which do one thing at a time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lattice::wire::CallError;
use wasmtime::component::Instance;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};

use super::{
    component::LoadedComponent,
    functions::{Answer, FunctionCall},
    guest::{Guest, GuestStore},
    streams,
};

/// A live instance.
pub(super) struct PlainInstance {
    pub(super) store: GuestStore,
    instance: Instance,
    /// How it answers HTTP; looked up at the first request.
    proxy: Option<Proxy>,
    calls_left: u32,
}

/// Instances that have calls left. A lock around a push or a pop; only components with `reuse` ever take it.
#[derive(Default)]
pub(super) struct IdleInstances(Mutex<Vec<PlainInstance>>);

impl IdleInstances {
    fn all(&self) -> MutexGuard<'_, Vec<PlainInstance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlainInstance {
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
    /// An instance for a call that may take `allowed`: an idle one when the component allows reuse, else a fresh one.
    pub(super) async fn plain_instance(&self, allowed: Duration) -> Result<PlainInstance, CallError> {
        if self.reuse > 1
            && let Some(mut instance) = self.idle.all().pop()
        {
            Guest::begin(&mut instance.store, allowed);
            return Ok(instance);
        }
        let (store, instance) = self.instantiate(allowed).await?;
        Ok(PlainInstance { store, instance, proxy: None, calls_left: self.reuse })
    }

    /// Calls a function that gives no resources away.
    pub(super) async fn call_plain(&self, call: FunctionCall) -> Result<Answer, CallError> {
        let mut instance = self.plain_instance(call.allowed).await?;
        let answer = instance.call(self, call).await?;
        self.give_back(instance);
        Ok(answer)
    }

    /// Takes back an instance whose call ended well.
    pub(super) fn give_back(&self, mut instance: PlainInstance) {
        instance.calls_left -= 1;
        if instance.calls_left > 0 {
            self.idle.all().push(instance);
        }
    }
}
