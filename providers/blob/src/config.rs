//! The settings of each store.

use std::fmt;

use serde::Deserialize;

/// What nobody may read in a log.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Memory has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {}

/// S3, or a server that speaks like it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct S3Config {
    pub bucket: String,
    pub prefix: Option<String>,
    /// `us-east-1` when absent.
    pub region: Option<String>,
    /// Of AWS when absent.
    pub endpoint: Option<String>,
    /// The role of the machine when absent.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
}

/// Azure's blob storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AzureConfig {
    pub account: String,
    pub container: String,
    pub prefix: Option<String>,
    /// Of Azure when absent.
    pub endpoint: Option<String>,
    /// The identity of the machine when absent.
    pub access_key: Option<Secret>,
}

/// Google's cloud storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GcsConfig {
    pub bucket: String,
    pub prefix: Option<String>,
    /// Of Google when absent.
    pub endpoint: Option<String>,
    /// JSON. The identity of the machine when absent; nobody's where there is an endpoint.
    pub service_account_key: Option<Secret>,
}
