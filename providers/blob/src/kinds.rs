//! One provider for each store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::StreamExt;
use lattice::wire::UnitId;
use lattice_provider::{Capability, HealthReporter, Provider, StartContext, StartError};
use object_store::{
    ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, memory::InMemory, path::Path,
};
use serde_json::{Map, Value};

use crate::{
    config::{AzureConfig, GcsConfig, MemoryConfig, S3Config},
    names::Names,
    objects::Objects,
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a request is tried again while the store does not answer: callers wait for it.
const RETRY: Duration = Duration::from_secs(10);
/// How long the first question to a store may take.
const FIRST: Duration = Duration::from_secs(15);

/// Objects in the memory of the process that serves them.
pub struct Memory;
/// Objects in S3.
pub struct S3;
/// Objects in Azure's blob storage.
pub struct Azure;
/// Objects in Google's cloud storage.
pub struct Gcs;

#[async_trait]
impl Provider for Memory {
    const KIND: &'static str = "blob-memory";
    type Config = MemoryConfig;

    async fn start(context: StartContext, _: MemoryConfig) -> Result<Capability, StartError> {
        serve(InMemory::new(), None, Names::Kept, context.health)
    }
}

#[async_trait]
impl Provider for S3 {
    const KIND: &'static str = "blob-s3";
    type Config = S3Config;

    fn check(config: &S3Config, _: &UnitId) -> Result<(), StartError> {
        folder(config.prefix.as_deref())?;
        match (&config.access_key_id, &config.secret_access_key) {
            (Some(_), None) => Err(StartError::Config("accessKeyId: goes together with secretAccessKey".into())),
            (None, Some(_)) => Err(StartError::Config("secretAccessKey: goes together with accessKeyId".into())),
            _ => Ok(()),
        }
    }

    async fn start(context: StartContext, config: S3Config) -> Result<Capability, StartError> {
        Self::check(&config, &context.unit)?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(config.bucket)
            .with_region(config.region.unwrap_or_else(|| "us-east-1".to_owned()))
            .with_client_options(client(config.endpoint.as_deref()))
            .with_retry(retry());
        if let Some(endpoint) = config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let (Some(id), Some(secret)) = (config.access_key_id, config.secret_access_key) {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.0);
        }
        reached(builder.build(), config.prefix, Names::Kept, context.health).await
    }
}

#[async_trait]
impl Provider for Azure {
    const KIND: &'static str = "blob-azure";
    type Config = AzureConfig;

    fn check(config: &AzureConfig, _: &UnitId) -> Result<(), StartError> {
        folder(config.prefix.as_deref()).map(drop)
    }

    async fn start(context: StartContext, config: AzureConfig) -> Result<Capability, StartError> {
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(config.account)
            .with_container_name(config.container)
            .with_client_options(client(config.endpoint.as_deref()))
            .with_retry(retry());
        if let Some(endpoint) = config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(key) = config.access_key {
            builder = builder.with_access_key(key.0);
        }
        reached(builder.build(), config.prefix, Names::WithoutBackslash, context.health).await
    }
}

#[async_trait]
impl Provider for Gcs {
    const KIND: &'static str = "blob-gcs";
    type Config = GcsConfig;

    fn check(config: &GcsConfig, _: &UnitId) -> Result<(), StartError> {
        folder(config.prefix.as_deref())?;
        service_account(config).map(drop)
    }

    async fn start(context: StartContext, config: GcsConfig) -> Result<Capability, StartError> {
        let account = service_account(&config)?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(config.bucket)
            .with_client_options(client(config.endpoint.as_deref()))
            .with_retry(retry());
        if let Some(account) = account {
            builder = builder.with_service_account_key(account);
        }
        reached(builder.build(), config.prefix, Names::Kept, context.health).await
    }
}

/// The service account as the crate takes it: there, an endpoint is a part of it.
fn service_account(config: &GcsConfig) -> Result<Option<String>, StartError> {
    let bad = |error| StartError::Config(format!("serviceAccountKey: it is not the JSON of a key: {error}"));
    let key = config.service_account_key.as_ref().map(|key| serde_json::from_str::<Map<String, Value>>(&key.0));
    let Some(endpoint) = &config.endpoint else {
        // What is wrong with it beyond that, the crate says.
        return key.transpose().map_err(bad).map(|key| key.map(|key| Value::Object(key).to_string()));
    };
    let nobody = || ["private_key", "private_key_id", "client_email"].map(|name| (name.to_owned(), "".into()));
    let mut account = match key {
        Some(key) => key.map_err(bad)?,
        None => nobody().into_iter().chain([("disable_oauth".to_owned(), true.into())]).collect(),
    };
    account.insert("gcs_base_url".to_owned(), endpoint.trim_end_matches('/').into());
    Ok(Some(Value::Object(account).to_string()))
}

/// A whole object may take any time, as its reader or writer does; a connection may not.
fn client(endpoint: Option<&str>) -> ClientOptions {
    let plain = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT).with_allow_http(plain)
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: RETRY, ..Default::default() }
}

fn folder(prefix: Option<&str>) -> Result<Path, StartError> {
    Path::parse(prefix.unwrap_or_default()).map_err(|error| StartError::Config(format!("prefix: {error}")))
}

fn serve(
    store: impl ObjectStore,
    prefix: Option<String>,
    names: Names,
    health: HealthReporter,
) -> Result<Capability, StartError> {
    Ok(Capability::blobstore(Objects::new(Arc::new(store), &folder(prefix.as_deref())?, names, health)))
}

/// Asks a store whether it is there, and lets us in.
async fn reached<S: ObjectStore>(
    store: object_store::Result<S>,
    prefix: Option<String>,
    names: Names,
    health: HealthReporter,
) -> Result<Capability, StartError> {
    let store = store.map_err(|error| StartError::Config(error.to_string()))?;
    let folder = folder(prefix.as_deref())?;
    let first = tokio::time::timeout(FIRST, async { store.list(Some(&folder)).next().await.transpose() });
    match first.await {
        Ok(Ok(_)) => serve(store, prefix, names, health),
        Ok(Err(error)) => Err(StartError::Backend(format!("{store}: {error}"))),
        Err(_) => Err(StartError::Backend(format!("{store} does not answer within {} s", FIRST.as_secs()))),
    }
}
