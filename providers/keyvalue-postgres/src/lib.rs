//! Key-value in a table of PostgreSQL, 13 or newer, which many apps may share: each has a namespace.
//!
//! Each call is one statement, which commits by itself. Connections, their encryption, limits and health are those of
//! `providers/postgres`.

mod changes;
mod table;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::wire::UnitId;
use lattice_provider::{
    Capability, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, PAGE, PageBuilder, Ttl, Watched, add, position, tell},
};
use lattice_provider_postgres::{Config as Database, Failure, Runner, Tls, made::types::PgValue};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use self::{
    changes::Noting,
    table::{Statements, Table},
};

/// Where the table is, and which part of it is ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Such as `postgres://user:password@127.0.0.1:5432/db`; several hosts are tried in their order.
    pub url: String,
    /// Made when it is not there; `lattice_keyvalue` when absent.
    pub table: Option<String>,
    /// Whose rows are ours; the app's name when absent.
    pub namespace: Option<String>,
    /// How long an entry lives after its last write; until it is deleted when absent.
    pub ttl: Option<Ttl>,
    /// Connections at a time; 10 when absent.
    pub pool_size: Option<usize>,
    /// Whether the connection is encrypted; what `sslmode` in the URL says when absent, else `prefer`.
    pub tls: Option<Tls>,
    /// A file with the certificates, as PEM, by which the database is known; those of the system when absent.
    pub ca_file: Option<String>,
}

impl Config {
    /// The table, and whose rows in it are ours.
    fn place(&self, unit: &UnitId) -> Result<(Table, String), StartError> {
        let name = self.table.as_deref().unwrap_or(TABLE);
        let table = Table::parse(name).ok_or_else(|| {
            StartError::Config(format!("table: {name:?} is not a name such as lattice_keyvalue or shop.cache"))
        })?;
        let namespace = self.namespace.clone().unwrap_or_else(|| unit.app.to_string());
        if namespace.len() > MAX_NAMESPACE || namespace.chars().any(char::is_control) {
            let text = format!("namespace: {namespace:?} is over {MAX_NAMESPACE} bytes or has control characters");
            return Err(StartError::Config(text));
        }
        Ok((table, namespace))
    }

    fn database(&self) -> Database {
        Database {
            url: self.url.clone(),
            pool_size: self.pool_size,
            wait_timeout: None,
            statement_timeout: None,
            max_rows: Some(usize::MAX),
            max_bytes: Some(MAX_BYTES.into()),
            statement_cache: None,
            tls: self.tls,
            ca_file: self.ca_file.clone(),
        }
    }
}

const TABLE: &str = "lattice_keyvalue";
const MAX_NAMESPACE: usize = 128;
/// Without it there is no `WITH TIES`, which the listing needs.
const OLDEST: i32 = 13;
/// Keys that are fetched at a time: one more than a page has, so that it is known whether there is a next page.
const FETCH: usize = PAGE + 1;
/// What the values of one batch may have together: as much as an answer in the lattice.
const MAX_BYTES: &str = "32MiB";
/// How often an increment is tried whose number others change into one that would have done.
const TRIES: u32 = 100;

/// Entries that are removed by one statement.
const SWEEP: usize = 1000;

/// The backend.
pub struct PostgresKeyValue {
    rows: Arc<Rows>,
    /// Stops when this is dropped.
    _sweep: AbortOnDropHandle<()>,
}

/// Our rows of the table.
struct Rows {
    runner: Runner,
    table: Table,
    namespace: String,
    statements: Statements,
    watched: Watched,
    noting: Noting,
}

#[async_trait]
impl Provider for PostgresKeyValue {
    const KIND: &'static str = "keyvalue-postgres";
    type Config = Config;

    fn check(config: &Config, unit: &UnitId) -> Result<(), StartError> {
        config.place(unit)?;
        config.database().check(unit)
    }

    async fn start(mut context: StartContext, config: Config) -> Result<Capability, StartError> {
        let (table, namespace) = config.place(&context.unit)?;
        let (watches, work) = (std::mem::take(&mut context.watches), context.work.clone());
        let database = config.database();
        let runner = Runner::connect(context, &database).await?;
        let statements = Statements::new(&table, config.ttl, FETCH, SWEEP);
        let (watched, noting) = (Watched::of(&watches), Noting::new(&table, &statements));
        let rows = Arc::new(Rows { runner, table, namespace, statements, watched, noting });
        rows.prepare().await?;
        tell(watches, &rows, &work);
        let (sweeper, pause) = (rows.clone(), Ttl::pause(config.ttl));
        let sweep = AbortOnDropHandle::new(tokio::spawn(async move { sweeper.sweep(pause).await }));
        Ok(Capability::key_value(Self { rows, _sweep: sweep }))
    }
}

/// Listings are in the order of positions, and the database has no unsigned numbers.
fn signed(position: u64) -> i64 {
    (position ^ (1 << 63)).cast_signed()
}

fn unsigned(position: i64) -> u64 {
    position.cast_unsigned() ^ (1 << 63)
}

fn first(row: Vec<PgValue>) -> Option<Bytes> {
    match row.into_iter().next() {
        Some(PgValue::Bytea(bytes)) => Some(bytes),
        _ => None,
    }
}

impl Rows {
    /// Looks whether the table is there and as it should be, and makes it when it is not there.
    async fn prepare(&self) -> Result<(), StartError> {
        let cannot = |failure: Failure| StartError::Backend(format!("table {}: {failure}", self.table));
        let version = "SELECT pg_catalog.current_setting('server_version_num')::integer / 10000";
        let version = self.runner.query(version, &[]).await.map_err(cannot)?;
        if let Some([PgValue::Int4(version)]) = version.rows.first().map(Vec::as_slice)
            && *version < OLDEST
        {
            return Err(StartError::Backend(format!("PostgreSQL {version} is older than {OLDEST}, which is needed")));
        }
        self.made(&self.statements.look, &self.table.make()).await.map_err(cannot)?;
        if self.watched.is_any() {
            self.made(&self.noting.look, &self.noting.make).await.map_err(cannot)?;
        }
        Ok(())
    }

    /// Makes a table that cannot be looked at, as it is not there.
    async fn made(&self, look: &str, make: &str) -> Result<(), Failure> {
        // An account that may not make tables may do with one that is there.
        match self.runner.query(look, &[]).await {
            Err(Failure::Database(said)) if said.code().code() == UNDEFINED_TABLE => {}
            other => return other.map(drop),
        }
        self.runner.batch(make).await?;
        self.runner.query(look, &[]).await.map(drop)
    }

    /// As [`Rows::run`], by the statement that also notes which keys it changes, if anybody watches the bucket.
    async fn change(
        &self,
        noted: impl FnOnce(&Noting) -> &String,
        statement: &str,
        bucket: String,
        values: impl IntoIterator<Item = PgValue>,
    ) -> Result<Vec<Vec<PgValue>>, KeyValueError> {
        if !self.watched.is(&bucket) {
            return self.run(statement, bucket, values).await;
        }
        let done = self.run(noted(&self.noting), bucket.clone(), values).await;
        self.watched.noted(&bucket);
        done
    }

    /// The rows of a statement that has the namespace and the bucket before its other values.
    async fn run(
        &self,
        statement: &str,
        bucket: String,
        values: impl IntoIterator<Item = PgValue>,
    ) -> Result<Vec<Vec<PgValue>>, KeyValueError> {
        let mut params = vec![PgValue::Text(self.namespace.clone()), PgValue::Text(bucket)];
        params.extend(values);
        match self.runner.query(statement, &params).await {
            Ok(rows) => Ok(rows.rows),
            Err(failure @ Failure::Database(_)) => {
                Err(KeyValueError::Other(format!("PostgreSQL, table {}: {failure}", self.table)))
            }
            Err(other) => Err(KeyValueError::other(other)),
        }
    }

    /// Removes what is over, again and again. What cannot be removed now is the next time.
    async fn sweep(&self, pause: Duration) {
        let namespace = [PgValue::Text(self.namespace.clone())];
        loop {
            tokio::time::sleep(pause).await;
            loop {
                match self.runner.query(&self.statements.sweep, &namespace).await {
                    Ok(removed) if removed.affected < SWEEP as u64 => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, table = %self.table, "cannot remove entries that are over");
                        break;
                    }
                }
            }
        }
    }
}

/// What the database says of a table that is not there.
const UNDEFINED_TABLE: &str = "42P01";

/// Where a key is in its bucket.
fn place(key: String) -> [PgValue; 2] {
    [PgValue::Int8(signed(position(&key))), PgValue::Bytea(key.into())]
}

/// The same of several keys, in the order of `keys`.
fn places(keys: impl IntoIterator<Item = String>) -> [PgValue; 2] {
    let (positions, keys) = keys.into_iter().map(|key| (signed(position(&key)), Bytes::from(key))).unzip();
    [PgValue::Int8Array(positions), PgValue::ByteaArray(keys)]
}

#[async_trait]
impl KeyValue for PostgresKeyValue {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        Ok(self.rows.run(&self.rows.statements.get, bucket, place(key)).await?.pop().and_then(first))
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        let values = place(key).into_iter().chain([PgValue::Bytea(value)]);
        self.rows.change(|noting| &noting.set, &self.rows.statements.set, bucket, values).await.map(drop)
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.rows.change(|noting| &noting.delete, &self.rows.statements.delete, bucket, place(key)).await.map(drop)
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        Ok(!self.rows.run(&self.rows.statements.exists, bucket, place(key)).await?.is_empty())
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        let mut page = PageBuilder::default();
        let mut from = Some(cursor.unwrap_or(0));
        while let Some(position) = from {
            let rows =
                self.rows.run(&self.rows.statements.list, bucket.clone(), [PgValue::Int8(signed(position))]).await?;
            let fetched = rows.len();
            for row in rows {
                let [PgValue::Int8(at), PgValue::Bytea(key)] = row.as_slice() else { continue };
                from = unsigned(*at).checked_add(1);
                // What is no text was put there by others: no caller could ask for it.
                let Ok(key) = str::from_utf8(key) else { continue };
                if !page.push(unsigned(*at), key) {
                    return Ok(page.finish());
                }
            }
            if fetched < FETCH {
                break;
            }
        }
        Ok(page.finish())
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        let number = i64::try_from(delta).map_err(|_| KeyValueError::overflow(&key))?;
        for _ in 0..TRIES {
            let values = place(key.clone()).into_iter().chain([PgValue::Int8(number)]);
            let sum = self
                .rows
                .change(|noting| &noting.increment, &self.rows.statements.increment, bucket.clone(), values)
                .await?
                .pop()
                .and_then(first);
            if let Some(sum) = sum {
                return add(&key, Some(&sum), 0);
            }
            // Nothing was changed. What is there now says why, unless it has become another value since.
            let current = self.get(bucket.clone(), key.clone()).await?;
            add(&key, current.as_deref(), delta)?;
        }
        Err(KeyValueError::Other(format!("others changed {key:?} each of {TRIES} times that we tried")))
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.rows.run(&self.rows.statements.get_many, bucket, places(keys)).await?;
        Ok(rows.into_iter().map(first).collect())
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        if pairs.is_empty() {
            return Ok(());
        }
        // One statement cannot write a row twice: the last pair of a key counts. Rows are locked in the order of their keys
        // here and when they are deleted, so that two batches do not wait for each other.
        let (keys, values): (Vec<_>, Vec<_>) = pairs.into_iter().collect::<BTreeMap<_, _>>().into_iter().unzip();
        let values = places(keys).into_iter().chain([PgValue::ByteaArray(values)]);
        self.rows.change(|noting| &noting.set_many, &self.rows.statements.set_many, bucket, values).await.map(drop)
    }

    async fn delete_many(&self, bucket: String, mut keys: Vec<String>) -> Result<(), KeyValueError> {
        if keys.is_empty() {
            return Ok(());
        }
        keys.sort_unstable();
        self.rows
            .change(|noting| &noting.delete_many, &self.rows.statements.delete_many, bucket, places(keys))
            .await
            .map(drop)
    }
}
