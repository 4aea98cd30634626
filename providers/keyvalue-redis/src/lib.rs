//! Key-value in Redis. A key is stored as `<prefix><bucket>:<key>`, so that other programs find it.

mod changes;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    trace::{self, Kind, Open, spanned},
    wire::UnitId,
};
use lattice_provider::{
    Capability, Health, HealthReporter, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, Ttl, Watched, tell},
};
use redis::{
    Arg, Client, Cmd, FromRedisValue, Pipeline, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

/// Where Redis is, and which part of it is ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Such as `redis://127.0.0.1:6379`.
    pub url: String,
    /// What each key in Redis begins with; `<app>:` when absent.
    pub prefix: Option<String>,
    /// How long an entry lives after its last write; until it is deleted when absent.
    pub ttl: Option<Ttl>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);
/// A command that waits for a new connection first would otherwise take both of the times above.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(2500);
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Commands that may wait for the connection at the same time.
const QUEUE: usize = 1024;
/// Keys that one SCAN returns, more or less: a page of the longest keys fits a message of a stock NATS server.
const SCAN_COUNT: usize = 900;
/// SCANs that find nothing before an empty page is returned: a small bucket in a large Redis stays within a deadline.
const SCANS: usize = 200;
/// Both or neither, unlike in a transaction, which goes on after an error. The sum is asked for, as numbers of a script are
/// exact up to 53 bits only.
const INCREMENT: &str = "redis.call('INCRBY', KEYS[1], ARGV[1]) redis.call('PEXPIRE', KEYS[1], ARGV[2]) return \
                         redis.call('GET', KEYS[1])";

/// The backend.
pub struct Redis {
    keys: Arc<Keys>,
    ttl: Option<Ttl>,
    /// Stops when this is dropped.
    _health: AbortOnDropHandle<()>,
}

/// Our keys in Redis.
struct Keys {
    server: Server,
    prefix: String,
    watched: Watched,
}

/// A connection that finds its way back. A command is never sent twice: what became of an increment that was cut off
/// is not known, and the caller is told so.
#[derive(Clone)]
struct Server {
    connection: ConnectionManager,
    /// Without user and password.
    address: String,
}

/// Its words have nothing of the URL, which may have a password in it.
fn client(url: &str) -> Result<Client, StartError> {
    Client::open(url).map_err(|error| {
        let category = error.category();
        StartError::Config(format!("url: {category}; expected such as redis://127.0.0.1:6379"))
    })
}

impl Server {
    async fn connect(url: &str) -> Result<Self, StartError> {
        let client = client(url)?;
        let address = format!("redis://{}", client.get_connection_info().addr());
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            // A call fails at once while Redis is away; the next call or ping tries again.
            .set_number_of_retries(0)
            .set_pipeline_buffer_size(QUEUE);
        let unreachable = |reason: String| StartError::Backend(format!("cannot reach Redis at {address}: {reason}"));
        let connection = tokio::time::timeout(COMMAND_TIMEOUT, ConnectionManager::new_with_config(client, config));
        let connection = match connection.await {
            Ok(connection) => connection.map_err(|error| unreachable(reason(&error)))?,
            Err(_) => return Err(unreachable("no answer".into())),
        };
        Ok(Self { connection, address })
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let open = trace::step(Kind::Client, || name(command)).map(|open| self.about(open));
        spanned(open, in_time(command.query_async(&mut self.connection.clone()))).await
    }

    async fn ask_all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, RedisError> {
        let open = trace::step(Kind::Client, || "PIPELINE".to_owned()).map(|open| self.about(open));
        spanned(open, in_time(commands.query_async(&mut self.connection.clone()))).await
    }

    fn about(&self, open: Open) -> Open {
        open.with("db.system.name", "redis").with("server.address", self.address.trim_start_matches("redis://"))
    }

    fn error(&self, error: &RedisError) -> KeyValueError {
        if error.is_io_error() {
            KeyValueError::Other(format!("cannot reach Redis at {}: {}", self.address, reason(error)))
        } else {
            KeyValueError::Other(format!("Redis at {}: {}", self.address, reason(error)))
        }
    }

    async fn report_health(self, health: HealthReporter) {
        let mut ticks = tokio::time::interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ping = redis::cmd("PING");
        loop {
            ticks.tick().await;
            match self.ask::<String>(&ping).await {
                Ok(_) => health.report(Health::Ready),
                Err(error) => health.report(Health::Degraded(self.error(&error).to_string())),
            }
        }
    }
}

/// What a command is called.
fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}

/// What went wrong, in the words of the system or of Redis.
fn reason(error: &RedisError) -> String {
    let text = error.to_string();
    // "Connection refused (os error 111)": the number helps nobody.
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[async_trait]
impl Provider for Redis {
    const KIND: &'static str = "keyvalue-redis";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        client(&config.url).map(drop)
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        let server = Server::connect(&config.url).await?;
        let prefix = config.prefix.unwrap_or_else(|| format!("{}:", context.unit.app));
        let health = AbortOnDropHandle::new(tokio::spawn(server.clone().report_health(context.health)));
        let keys = Arc::new(Keys { server, prefix, watched: Watched::of(&context.watches) });
        tell(context.watches, &keys, &context.work);
        Ok(Capability::key_value(Self { keys, ttl: config.ttl, _health: health }))
    }
}

/// A `:` in a bucket's name would make it the beginning of another bucket's keys.
fn escape_bucket(bucket: &str) -> String {
    bucket.replace('%', "%25").replace(':', "%3A")
}

/// A pattern that matches what begins with `prefix`.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

impl Keys {
    fn prefix(&self, bucket: &str) -> String {
        format!("{}{}:", self.prefix, escape_bucket(bucket))
    }

    /// A key for ourselves that is about a bucket. None of a bucket's begins like that: what follows a `%` there is a number.
    fn own(&self, what: &str, bucket: &str) -> String {
        format!("{}%{what}:{}", self.prefix, escape_bucket(bucket))
    }

    fn key(&self, bucket: &str, key: &str) -> String {
        let mut prefix = self.prefix(bucket);
        prefix.push_str(key);
        prefix
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, KeyValueError> {
        self.server.ask(command).await.map_err(|error| self.server.error(&error))
    }

    /// Does all of these or nothing, and wakes who tells of changes.
    async fn noted<T: FromRedisValue>(&self, bucket: &str, commands: &Pipeline) -> Result<T, RedisError> {
        let done = self.server.ask_all(commands).await;
        self.watched.noted(bucket);
        done
    }
}

/// A transaction that is empty so far.
fn transaction() -> Pipeline {
    let mut commands = redis::pipe();
    commands.atomic();
    commands
}

impl Redis {
    fn set_command(&self, bucket: &str, key: &str, value: &[u8]) -> Cmd {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.key(bucket, key)).arg(value);
        if let Some(ttl) = self.ttl {
            command.arg("PX").arg(ttl.millis());
        }
        command
    }

    fn increment_command(&self, bucket: &str, key: &str, delta: i64) -> Cmd {
        let key = self.keys.key(bucket, key);
        let mut command = redis::cmd(if self.ttl.is_some() { "EVAL" } else { "INCRBY" });
        match self.ttl {
            Some(ttl) => command.arg(INCREMENT).arg(1).arg(key).arg(delta).arg(ttl.millis()),
            None => command.arg(key).arg(delta),
        };
        command
    }
}

#[async_trait]
impl KeyValue for Redis {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        self.keys.ask(redis::cmd("GET").arg(self.keys.key(&bucket, &key))).await
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        if self.keys.watched.is(&bucket) {
            return self.set_many(bucket, vec![(key, value)]).await;
        }
        self.keys.ask(&self.set_command(&bucket, &key, &value)).await
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.delete_many(bucket, vec![key]).await
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        self.keys.ask(redis::cmd("EXISTS").arg(self.keys.key(&bucket, &key))).await
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        let prefix = self.keys.prefix(&bucket);
        let pattern = pattern(&prefix);
        let mut cursor = cursor.unwrap_or(0);
        for _ in 0..SCANS {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<Vec<u8>>) = self.keys.ask(&scan).await?;
            cursor = next;
            // What is no text was put there by others: no caller could ask for it.
            let keys: Vec<String> = found
                .into_iter()
                .filter_map(|key| Some(String::from_utf8(key).ok()?.strip_prefix(&prefix)?.to_owned()))
                .collect();
            if cursor == 0 || !keys.is_empty() {
                return Ok(KeyPage { keys, cursor: (cursor != 0).then_some(cursor) });
            }
        }
        Ok(KeyPage { keys: Vec::new(), cursor: Some(cursor) })
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        let delta = i64::try_from(delta).map_err(|_| KeyValueError::overflow(&key))?;
        let command = self.increment_command(&bucket, &key, delta);
        let sum = if self.keys.watched.is(&bucket) {
            let mut both = transaction();
            both.add_command(command).add_command(self.keys.note(&bucket, [key.as_str()])).ignore();
            self.keys.noted(&bucket, &both).await.map(|(sum,): (i64,)| sum)
        } else {
            self.keys.server.ask(&command).await
        };
        let sum = sum.map_err(|error| match error.detail() {
            // The words of Redis since its first release; it has no code for either.
            Some(text) if text.contains("would overflow") => KeyValueError::overflow(&key),
            Some(text) if text.contains("not an integer") => KeyValueError::not_a_number(&key),
            _ => self.keys.server.error(&error),
        })?;
        u64::try_from(sum).map_err(|_| KeyValueError::below_zero(&key))
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in &keys {
            command.arg(self.keys.key(&bucket, key));
        }
        self.keys.ask(&command).await
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let watched = self.keys.watched.is(&bucket);
        if self.ttl.is_some() || watched {
            // MSET knows no lifetimes. A transaction is carried out as a whole, too.
            let mut sets = transaction();
            for (key, value) in &pairs {
                sets.add_command(self.set_command(&bucket, key, value)).ignore();
            }
            if watched {
                sets.add_command(self.keys.note(&bucket, pairs.iter().map(|(key, _)| key.as_str()))).ignore();
            }
            return self.keys.noted(&bucket, &sets).await.map_err(|error| self.keys.server.error(&error));
        }
        let mut command = redis::cmd("MSET");
        for (key, value) in &pairs {
            command.arg(self.keys.key(&bucket, key)).arg(&value[..]);
        }
        self.keys.ask(&command).await
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        if keys.is_empty() {
            return Ok(());
        }
        if self.keys.watched.is(&bucket) {
            let mut deletes = transaction();
            deletes.add_command(self.keys.delete_and_note(&bucket, keys.iter().map(String::as_str))).ignore();
            return self.keys.noted(&bucket, &deletes).await.map_err(|error| self.keys.server.error(&error));
        }
        let mut command = redis::cmd("DEL");
        for key in &keys {
            command.arg(self.keys.key(&bucket, key));
        }
        self.keys.ask(&command).await
    }
}
