//! Running statements.

use std::pin::pin;

use futures_util::TryStreamExt;
use lattice::trace::{self, Kind, Open, spanned};
use lattice_provider::{StartContext, StartError};
use tokio_postgres::{Error, Row, Statement, error::DbError};

use crate::{
    config::{Config, Limits, Settings},
    connection::Connection,
    failure::{Failure, reason},
    made::types::PgValue,
    pool::{Lease, Pool},
    session::{RESET, changes_session, forgets_prepared},
    value::{Param, Session, check, decode},
};

/// Of a statement's first word, in characters.
const MAX_WORD: usize = 32;

/// What a value of a result takes beside its bytes.
const VALUE_ROOM: usize = 16;

/// The result of a statement.
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<PgValue>>,
    /// Rows that were changed or returned.
    pub affected: u64,
    /// What it takes of the limit, in bytes.
    pub(crate) size: usize,
}

/// The statements of one database.
pub struct Runner {
    pub(crate) pool: Pool,
    pub(crate) limits: Limits,
}

impl Runner {
    /// With one connection, which shows that the settings are right. Reports the database's health from then on.
    pub async fn connect(context: StartContext, config: &Config) -> Result<Self, StartError> {
        let settings = Settings::new(config, &context.unit)?;
        let pool = Pool::start(&settings, context.health).await?;
        Ok(Self { pool, limits: settings.limits })
    }

    /// One statement, which commits by itself.
    pub async fn query(&self, sql: &str, params: &[PgValue]) -> Result<Rows, Failure> {
        let mut lease = self.pool.take().await?;
        let work = async {
            let outcome = lease.run(sql, params, self.limits).await;
            if changes_session(sql) { settle(lease, sql, outcome).await } else { outcome }
        };
        spanned(span(sql), self.pool.while_there(work)).await
    }

    /// Several statements without parameters; one transaction, unless they say otherwise.
    pub async fn batch(&self, sql: &str) -> Result<(), Failure> {
        let mut lease = self.pool.take().await?;
        let work = async {
            let outcome = lease.send(sql).await;
            settle(lease, sql, outcome).await
        };
        spanned(span(sql), self.pool.while_there(work)).await
    }

    /// Looks whether a statement is one.
    pub(crate) async fn prepare(&self, sql: &str) -> Result<(), Failure> {
        let mut lease = self.pool.take().await?;
        let work = async { lease.prepared(sql).await.map(drop) };
        self.pool.while_there(work).await
    }
}

/// A span for a statement, where it is traced. Only its first word is told: what else stands in it may be data.
fn span(sql: &str) -> Option<Open> {
    let open = trace::step(Kind::Client, || first_word(sql))?;
    Some(open.with("db.system.name", "postgresql").with("db.operation.name", first_word(sql)))
}

fn first_word(sql: &str) -> String {
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty());
    word.unwrap_or_default().chars().take(MAX_WORD).collect::<String>().to_ascii_uppercase()
}

/// Gives a connection back as it was before.
async fn settle<T>(mut lease: Lease, sql: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
    if lease.busy {
        // Its drop closes the connection.
        return outcome;
    }
    let open = outcome.is_ok() && lease.connection()?.seen.in_transaction();
    if forgets_prepared(sql) {
        lease.discard();
    } else if lease.send(RESET).await.is_err() {
        // What has happened has happened; only the connection is not used again.
        lease.discard();
    }
    if open { Err(Failure::OpenTransaction) } else { outcome }
}

impl Lease {
    /// Runs one statement. What was prepared before and is not good any more is prepared again: it has not run then.
    pub(crate) async fn run(&mut self, sql: &str, params: &[PgValue], limits: Limits) -> Result<Rows, Failure> {
        loop {
            let (statement, session) = self.prepared(sql).await?;
            check_params(&statement, params)?;
            self.busy = true;
            let connection = self.connection()?;
            match execute(connection, &statement, params, session, limits).await {
                Ok(rows) => {
                    self.busy = false;
                    return Ok(rows);
                }
                Err(Stop::Refused(error)) => {
                    let again =
                        is_stale(&error) && connection.statements.forget(sql) && !connection.seen.in_transaction();
                    self.busy = false;
                    if !again {
                        return Err(Failure::Database(error));
                    }
                }
                Err(Stop::Params(text)) => {
                    self.busy = false;
                    return Err(Failure::Params(text));
                }
                Err(Stop::Unreadable(text)) => {
                    self.busy = false;
                    return Err(Failure::Unreadable(text));
                }
                Err(Stop::TooLarge(text)) => return Err(Failure::TooLarge(text)),
                Err(Stop::Lost(text)) => return Err(Failure::Lost(text)),
            }
        }
    }

    /// Sends text with one or more statements, and waits for the end of all.
    pub(crate) async fn send(&mut self, sql: &str) -> Result<(), Failure> {
        self.busy = true;
        let outcome = self.connection()?.client.batch_execute(sql).await;
        self.ended(outcome)
    }

    async fn prepared(&mut self, sql: &str) -> Result<(Statement, Session), Failure> {
        self.busy = true;
        let connection = self.connection()?;
        let outcome = async {
            let statement = connection.prepare(sql).await?;
            let session = connection.session(&statement).await?;
            Ok((statement, session))
        };
        let outcome = outcome.await;
        self.ended(outcome)
    }

    /// What the database has answered, after which it is ready again; or that it has not.
    fn ended<T>(&mut self, outcome: Result<T, Error>) -> Result<T, Failure> {
        match outcome.map_err(Stop::from) {
            Ok(value) => {
                self.busy = false;
                Ok(value)
            }
            Err(Stop::Refused(error)) => {
                self.busy = false;
                Err(Failure::Database(error))
            }
            Err(Stop::Params(text) | Stop::Lost(text) | Stop::TooLarge(text) | Stop::Unreadable(text)) => {
                Err(Failure::Lost(text))
            }
        }
    }
}

/// Why a statement has stopped.
enum Stop {
    Refused(Box<DbError>),
    Params(String),
    Unreadable(String),
    TooLarge(String),
    Lost(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        if let Some(said) = error.as_db_error() {
            return Self::Refused(Box::new(said.clone()));
        }
        let text = match std::error::Error::source(&error) {
            Some(source) => reason(&source),
            None if error.is_closed() => "the connection to the database was lost".to_owned(),
            None => reason(&error),
        };
        Self::Lost(text)
    }
}

/// A prepared statement that the database no longer has, or whose result has another form since. Both are found out before
/// anything runs; the routine is told apart as functions may fail like this in their midst.
pub(crate) fn is_stale(error: &DbError) -> bool {
    let routine = error.routine().unwrap_or_default();
    error.where_().is_none()
        && matches!(
            (error.code().code(), routine),
            ("26000", "FetchPreparedStatement") | ("0A000", "RevalidateCachedQuery")
        )
}

fn check_params(statement: &Statement, params: &[PgValue]) -> Result<(), Failure> {
    let types = statement.params();
    if types.len() != params.len() {
        let text = format!("the statement has {} parameters, and {} values are given", types.len(), params.len());
        return Err(Failure::Params(text));
    }
    for (number, (value, ty)) in (1..).zip(params.iter().zip(types)) {
        check(value, ty).map_err(|misfit| Failure::Params(format!("${number}: {misfit}")))?;
    }
    Ok(())
}

async fn execute(
    connection: &mut Connection,
    statement: &Statement,
    params: &[PgValue],
    session: Session,
    limits: Limits,
) -> Result<Rows, Stop> {
    let params = params.iter().map(|value| Param { value, session });
    let stream = connection.client.query_raw(statement, params).await.map_err(|error| {
        // Of a value that could not be written; nothing was sent then.
        let misfit = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<crate::value::Misfit>());
        match misfit {
            Some(misfit) => Stop::Params(misfit.to_string()),
            None => too_large(connection, limits).unwrap_or_else(|| error.into()),
        }
    })?;
    let columns: Vec<_> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
    let beside = columns.iter().map(|name| name.len() + VALUE_ROOM).sum::<usize>();
    let mut stream = pin!(stream);
    let (mut rows, mut size, mut unreadable) = (Vec::new(), 0usize, None);
    loop {
        let row = match stream.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => return Err(too_large(connection, limits).unwrap_or_else(|| error.into())),
        };
        size += row.raw_size_bytes() + beside;
        if size > limits.bytes {
            return Err(over("maxBytes", limits.bytes, "bytes"));
        }
        if rows.len() == limits.rows {
            return Err(over("maxRows", limits.rows, "rows"));
        }
        // The statement has run; the rest of its answer is read, so that the connection is of use.
        match values(&row, session) {
            Ok(values) => rows.push(values),
            Err(text) => unreadable = unreadable.or(Some(text)),
        }
    }
    match unreadable {
        Some(text) => Err(Stop::Unreadable(text)),
        None => Ok(Rows { columns, rows, affected: stream.rows_affected().unwrap_or(0), size }),
    }
}

fn over(key: &str, limit: usize, what: &str) -> Stop {
    Stop::TooLarge(format!("the result is over the limit of {limit} {what} (`{key}`)"))
}

/// When a single message was so large that the connection was closed.
fn too_large(connection: &Connection, limits: Limits) -> Option<Stop> {
    connection.seen.too_large().map(|_| over("maxBytes", limits.bytes, "bytes"))
}

/// A value as it came.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> tokio_postgres::types::FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &tokio_postgres::types::Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &tokio_postgres::types::Type) -> bool {
        true
    }
}

fn values(row: &Row, session: Session) -> Result<Vec<PgValue>, String> {
    let value = |(index, column): (usize, &tokio_postgres::Column)| {
        let Raw(raw) = row.try_get(index).map_err(|error| error.to_string())?;
        let Some(raw) = raw else { return Ok(PgValue::Null) };
        decode(column.type_(), raw, session).map_err(|misfit| format!("column `{}` is {misfit}", column.name()))
    };
    row.columns().iter().enumerate().map(value).collect()
}
