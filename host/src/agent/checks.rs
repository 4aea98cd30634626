//! What this host tells of the settings of providers, before they are applied.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler, Pace, Serving},
    model::{
        secret::{self, ReferenceError},
        settings::{self, Finding, SettingsOf},
    },
    wire::{CallError, CallHead, HostId},
};
use serde_json::Map;

use super::builtin;

/// Answers whoever asks, until what is returned is dropped.
pub(crate) async fn serve(bus: &Bus, host: &HostId) -> Result<Serving, CallError> {
    let wrong = |error: lattice::wire::IdError| CallError::BadMessage(error.to_string());
    let served = settings::served(bus.lattice(), host).map_err(wrong)?;
    bus.serve(&served, Arc::new(Checks), Pace::Light).await
}

struct Checks;

/// What the provider says. Secrets are not looked up: whoever may ask would learn of them from what is wrong with them. A
/// setting with a secret in it has something else there, and what is said of it means nothing.
fn check(of: &SettingsOf) -> Finding {
    let mut read = |_: &secret::SecretSource| Ok::<_, ReferenceError>(String::new());
    let config = secret::resolve(&of.config, &mut read).ok()?;
    let finding = builtin::check(&of.kind, &config, &of.unit).err()?;
    let has_secret = of.config.iter().any(|(key, value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        settings::setting(&finding) == key && !secret::references(&alone).is_empty()
    });
    (!has_secret).then_some(finding)
}

#[async_trait]
impl CallHandler for Checks {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.function != settings::FUNCTION {
            return Err(CallError::NotServed(format!("a host has no function `{}`", head.function)));
        }
        let (all,): (Vec<SettingsOf>,) =
            serde_json::from_slice(&payload).map_err(|error| CallError::BadMessage(error.to_string()))?;
        let findings: Vec<Finding> = all.iter().map(check).collect();
        let answer = serde_json::to_vec(&findings).map_err(|error| CallError::BadMessage(error.to_string()))?;
        Ok(answer.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: &str, config: serde_json::Value) -> Finding {
        let config = config.as_object().unwrap().clone();
        check(&SettingsOf { unit: "shop/it".parse().unwrap(), kind: kind.to_owned(), config })
    }

    #[test]
    fn a_setting_with_a_secret_is_not_judged_and_the_others_are() {
        assert_eq!(said("keyvalue-redis", json!({ "url": { "secret": "url" } })), None);
        assert_eq!(said("http-client", json!({ "maxConnections": { "secret": "x" } })), None);
        let wrong = said("keyvalue-redis", json!({ "url": { "secret": "url" }, "ttl": "soon" })).unwrap();
        assert!(wrong.starts_with("ttl: "), "{wrong}");
        let wrong = said("http-server", json!({ "address": "127.0.0.1:0", "maxBody": "big" })).unwrap();
        assert!(wrong.starts_with("maxBody: "), "{wrong}");
        assert_eq!(said("no-such-kind", json!({})), None, "another release may have it");
    }
}
