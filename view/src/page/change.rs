//! What the page may change, where it may.

use http::StatusCode;
use lattice::{
    model::problem::suggest,
    wire::{AppName, HostId, UnitName},
};
use serde::Deserialize;

use crate::ViewError;

/// What somebody has asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Change {
    Scale { app: AppName, unit: UnitName, replicas: u32 },
    Rollback { app: AppName },
    Pause { app: AppName },
    Resume { app: AppName },
    Cordon { host: HostId },
    Uncordon { host: HostId },
}

/// Who makes changes.
pub trait Changes {
    /// Makes one, and returns what is to be said of it.
    fn make(&self, change: Change) -> impl Future<Output = Result<String, Refusal>>;
}

/// Who makes none: there is no value of it.
#[derive(Debug)]
pub enum Nobody {}

impl Changes for Nobody {
    async fn make(&self, _: Change) -> Result<String, Refusal> {
        match *self {}
    }
}

/// Why there is no answer, as the page shows it.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: String,
    pub help: Option<String>,
}

impl From<ViewError> for Refusal {
    fn from(error: ViewError) -> Self {
        let (status, help) = match &error {
            ViewError::Store(_) => (StatusCode::BAD_GATEWAY, None),
            ViewError::NoApp { name, known, .. } => (StatusCode::NOT_FOUND, Some(near(name, known))),
            ViewError::NoUnit { unit, known, .. } => (StatusCode::NOT_FOUND, Some(near(unit.as_str(), known))),
        };
        Self { status, error: error.to_string(), help }
    }
}

fn near(name: &str, known: &[String]) -> String {
    suggest(name, known.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_what_is_none_is_refused() {
        let scale: Change = serde_json::from_str(r#"{"do":"scale","app":"shop","unit":"cart","replicas":3}"#).unwrap();
        assert!(matches!(scale, Change::Scale { replicas: 3, .. }), "{scale:?}");
        for wrong in [
            r#"{"do":"delete","app":"shop"}"#,
            r#"{"do":"scale","app":"shop","unit":"cart","replicas":-1}"#,
            r#"{"do":"scale","app":"shop/../x","unit":"cart","replicas":1}"#,
            r#"{"do":"cordon","host":"somebody"}"#,
            r#"{"do":"pause"}"#,
        ] {
            assert!(serde_json::from_str::<Change>(wrong).is_err(), "{wrong}");
        }
    }
}
