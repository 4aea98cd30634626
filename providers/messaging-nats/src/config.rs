//! Which NATS it is, and how messages are sent.

use std::{fmt, path::PathBuf};

use lattice::{
    bus::{Bus, NatsOptions},
    wire::UnitId,
};
use lattice_provider::StartError;
use serde::Deserialize;

/// The settings.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// URLs with commas between them; the lattice's own NATS when absent.
    pub url: Option<String>,
    /// The others are about the servers at `url`.
    pub creds: Option<PathBuf>,
    pub nkey: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub ca_file: Option<PathBuf>,
    /// Whether a message counts as sent when a stream has stored it.
    #[serde(default)]
    pub confirm: bool,
    /// Copies of the streams that are made.
    #[serde(default = "one")]
    pub replicas: usize,
}

fn one() -> usize {
    1
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("confirm", &self.confirm)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let alone = [
            ("creds", self.creds.is_some()),
            ("nkey", self.nkey.is_some()),
            ("user", self.user.is_some()),
            ("password", self.password.is_some()),
            ("caFile", self.ca_file.is_some()),
        ];
        match alone.into_iter().find(|(_, given)| *given && self.url.is_none()) {
            Some((name, _)) => Err(StartError::Config(format!("{name}: is about another NATS; add its `url`"))),
            None => Ok(()),
        }
    }

    /// The connection by which messages go: that of the lattice, or one of its own.
    pub(crate) async fn bus(&self, own: Bus, unit: &UnitId) -> Result<Bus, StartError> {
        self.check()?;
        let Some(url) = &self.url else { return Ok(own) };
        let options = NatsOptions {
            urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
            creds: self.creds.clone(),
            nkey: self.nkey.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            ca: self.ca_file.clone(),
            ..NatsOptions::default()
        };
        let connected =
            Bus::connect_for_calls(&options, own.lattice().clone(), &format!("messaging-nats {unit}")).await;
        connected.map_err(|error| StartError::Backend(error.to_string()))
    }
}
