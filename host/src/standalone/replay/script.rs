//! What a recording answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::CallHandler,
    model::recording::RawCall,
    wire::{
        CallError, CallHead, Interface, UnitId,
        value::{FunctionShape, json},
    },
};
use lattice_provider::Caller;

use super::differences::{name, shown};

/// What is called in one episode. A lock, held for a look at a few calls.
#[derive(Default)]
pub(super) struct Script(Mutex<Scene>);

#[derive(Default)]
struct Scene {
    left: Vec<RawCall>,
    differences: Vec<String>,
}

impl Script {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, made: Vec<RawCall>) {
        *self.scene() = Scene { left: made, differences: Vec::new() };
    }

    /// What was otherwise until now, and what was never called.
    pub(super) fn end(&self) -> Vec<String> {
        let Scene { left, mut differences } = std::mem::take(&mut *self.scene());
        differences.extend(left.iter().map(|call| format!("it did not call {} of {}", name(call, false), call.to)));
        differences
    }

    /// The recorded answer to a call.
    fn answer(
        &self,
        to: &UnitId,
        (interface, function): (&Interface, &str),
        shape: Option<&FunctionShape>,
        arguments: &Bytes,
    ) -> Result<Bytes, CallError> {
        let mut scene = self.scene();
        let is = |call: &RawCall| {
            call.to == *to && call.interface.unversioned() == interface.unversioned() && call.function == function
        };
        let what = format!("{}.{function} of {to}", interface.unversioned());
        let same = scene.left.iter().position(|call| is(call) && call.arguments.0 == *arguments);
        if let Some(same) = same {
            return scene.left.remove(same).outcome.answer();
        }
        let Some(other) = scene.left.iter().position(is) else {
            scene.differences.push(format!("it called {what}, which it had not"));
            return Err(CallError::NotServed(format!("{what}: it was not called when that was recorded")));
        };
        let recorded = scene.left.remove(other);
        let difference = match shape {
            Some(shape) => {
                let [got, had] = [arguments, &recorded.arguments.0].map(|bytes| json::arguments_to_json(shape, bytes));
                format!("it called {what} with {}, and had with {}", shown(got.ok()), shown(had.ok()))
            }
            None => format!("it called {what} with other arguments"),
        };
        scene.differences.push(difference);
        recorded.outcome.answer()
    }
}

/// Somebody whom the component calls.
pub(super) struct Role {
    pub(super) unit: UnitId,
    pub(super) script: Arc<Script>,
}

#[async_trait]
impl Caller for Role {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        self.script.answer(&self.unit, (interface, function), shape, &payload)
    }
}

#[async_trait]
impl CallHandler for Role {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        self.script.answer(&self.unit, (&head.interface, &head.function), None, &payload)
    }
}
