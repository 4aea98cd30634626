//! The backends of the catalog, and what each of them is checked with.

use anyhow::{Result, bail};
use lattice::model::catalog::PROVIDERS;
use lattice_provider::conformance::servers::{AZURE_ACCOUNT, AZURE_KEY};
use lattice_tests::{
    azure,
    s3::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY},
};

use super::control::Kind;

/// One column.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    /// What it needs to run.
    pub(crate) server: Option<Kind>,
    /// Whether that server is the lattice's own.
    pub(crate) in_lattice: bool,
    /// From the server's URL and a folder of its own to what `--config` is given.
    pub(crate) settings: fn(&str, &str) -> Vec<String>,
}

/// Those that take longest come first.
pub(crate) const BACKENDS: &[Backend] = &[
    backend("keyvalue-nats", Some(Kind::Nats), none).lattice(),
    backend("blob-s3", Some(Kind::S3), s3),
    backend("blob-azure", Some(Kind::Azure), azure),
    backend("blob-gcs", Some(Kind::Google), |url, _| vec![format!("endpoint={url}"), format!("bucket={BUCKET}")]),
    backend("keyvalue-redis", Some(Kind::Redis), url),
    backend("keyvalue-postgres", Some(Kind::Postgres), url),
    backend("postgres", Some(Kind::Postgres), url),
    backend("messaging-nats", Some(Kind::Nats), url),
    backend("keyvalue-redb", None, none),
    backend("keyvalue-memory", None, none),
    backend("blob-nats", Some(Kind::Nats), none).lattice(),
    backend("blob-fs", None, |_, folder| vec![format!("root={folder}")]),
    backend("blob-memory", None, none),
    backend("http-client", None, none),
];

/// Kinds that have no column, and why.
const NOT_HERE: &[(&str, &str)] = &[("http-server", "it answers no calls"), ("cron", "it answers no calls")];

const fn backend(name: &'static str, server: Option<Kind>, settings: fn(&str, &str) -> Vec<String>) -> Backend {
    Backend { name, server, in_lattice: false, settings }
}

impl Backend {
    const fn lattice(self) -> Self {
        Self { in_lattice: true, ..self }
    }
}

fn none(_: &str, _: &str) -> Vec<String> {
    Vec::new()
}

fn url(url: &str, _: &str) -> Vec<String> {
    vec![format!("url={url}")]
}

fn s3(url: &str, _: &str) -> Vec<String> {
    let settings =
        [("endpoint", url), ("bucket", BUCKET), ("accessKeyId", ACCESS_KEY_ID), ("secretAccessKey", SECRET_ACCESS_KEY)];
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn azure(url: &str, _: &str) -> Vec<String> {
    let settings =
        [("endpoint", url), ("account", AZURE_ACCOUNT), ("container", azure::CONTAINER), ("accessKey", AZURE_KEY)];
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Fails when a kind of the catalog is nowhere here: nobody is to forget one.
pub(crate) fn are_all() -> Result<()> {
    for kind in PROVIDERS {
        let here = BACKENDS.iter().any(|backend| backend.name == kind.name);
        match NOT_HERE.iter().find(|(name, _)| *name == kind.name) {
            Some((name, why)) if !here => eprintln!("    {name} is not checked: {why}"),
            None if here => {}
            _ => bail!("{} of the catalog needs one place in tests/programs/matrix/backends.rs", kind.name),
        }
    }
    Ok(())
}
