//! What this host tells of the settings of providers, before they are applied.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler, Pace, Serving},
    model::settings::{self, Finding, SettingsOf},
    wire::{CallError, CallHead, HostId},
};

use super::builtin;
use crate::secrets::Secrets;

/// Answers whoever asks, until what is returned is dropped.
pub(crate) async fn serve(bus: &Bus, host: &HostId, secrets: &Arc<Secrets>) -> Result<Serving, CallError> {
    let wrong = |error: lattice::wire::IdError| CallError::BadMessage(error.to_string());
    let served = settings::served(bus.lattice(), host).map_err(wrong)?;
    bus.serve(&served, Arc::new(Checks { secrets: secrets.clone() }), Pace::Light).await
}

struct Checks {
    secrets: Arc<Secrets>,
}

impl Checks {
    /// What the provider says, without secrets of it.
    fn check(&self, of: &SettingsOf) -> Finding {
        // Another host may be able to read a secret that this one cannot.
        let settings = self.secrets.settings(&of.unit.app, &of.config).ok()?;
        builtin::check(&of.kind, &settings.config, &of.unit).err().map(|reason| settings.veil.over(reason))
    }
}

#[async_trait]
impl CallHandler for Checks {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.function != settings::FUNCTION {
            return Err(CallError::NotServed(format!("a host has no function `{}`", head.function)));
        }
        let (all,): (Vec<SettingsOf>,) =
            serde_json::from_slice(&payload).map_err(|error| CallError::BadMessage(error.to_string()))?;
        let findings: Vec<Finding> = all.iter().map(|of| self.check(of)).collect();
        let answer = serde_json::to_vec(&findings).map_err(|error| CallError::BadMessage(error.to_string()))?;
        Ok(answer.into())
    }
}
