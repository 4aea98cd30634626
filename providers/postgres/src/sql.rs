//! `lattice:postgres/sql`: errors with all that the database says, and transactions.

use async_trait::async_trait;
use tokio_postgres::error::{DbError as Said, ErrorPosition};

use crate::{
    Postgres,
    config::Limits,
    failure::Failure,
    made::{
        sql::{DbError, Error, Isolation, RowMismatch, Rows, Sql, Statement, Transaction},
        types::PgValue,
    },
    pool::Lease,
    run::{self, is_stale},
    session::{RESET, changes_session, ends_transaction},
};

/// Statements of one transaction.
const MAX_STATEMENTS: usize = 10_000;

#[async_trait]
impl Sql for Postgres {
    async fn query(&self, sql: String, params: Vec<PgValue>) -> Result<Rows, Error> {
        let rows = self.runner.query(&sql, &params).await;
        rows.map(Rows::from).map_err(|failure| error(failure, Some(0)))
    }

    async fn transact(&self, statements: Vec<Statement>, options: Transaction) -> Result<Vec<Rows>, Error> {
        if statements.len() > MAX_STATEMENTS {
            let text = format!("{} statements in one transaction; {MAX_STATEMENTS} are the most", statements.len());
            return Err(Error::TooLarge(text));
        }
        if let Some(index) = statements.iter().position(|statement| ends_transaction(&statement.sql)) {
            return Err(Error::Other(format!(
                "statement {index} would begin or end a transaction, which `transact` does"
            )));
        }
        let mut lease = self.runner.pool.take().await?;
        let work = transact(&mut lease, &statements, begin(&options), self.runner.limits);
        self.runner.pool.while_there(work).await
    }
}

async fn transact(
    lease: &mut Lease,
    statements: &[Statement],
    begin: &str,
    limits: Limits,
) -> Result<Vec<Rows>, Error> {
    let changes_session = statements.iter().any(|statement| changes_session(&statement.sql));
    let mut tried_again = false;
    loop {
        lease.send(begin).await?;
        let outcome = match all(lease, statements, limits).await {
            Ok(rows) => lease.send("COMMIT").await.map(|()| rows).map_err(Stop::from),
            Err(stop) => Err(stop),
        };
        if !lease.busy && (changes_session || outcome.is_err()) {
            // Should this fail, the connection counts as busy, and is closed; the database rolls back then.
            let _ = lease.send(if changes_session { RESET } else { "ROLLBACK" }).await;
        }
        match outcome {
            // All is rolled back, and what was prepared is forgotten: the second time it is prepared anew.
            Err(Stop::Stale(_)) if !tried_again && !lease.busy => tried_again = true,
            outcome => return outcome.map_err(Error::from),
        }
    }
}

/// Why a transaction does not commit.
enum Stop {
    /// A statement was no longer as it had been prepared.
    Stale(Error),
    Other(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Other(failure.into())
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Stale(error) | Stop::Other(error) => error,
        }
    }
}

async fn all(lease: &mut Lease, statements: &[Statement], mut limits: Limits) -> Result<Vec<Rows>, Stop> {
    let mut results = Vec::with_capacity(statements.len());
    for (index, statement) in (0..).zip(statements) {
        let rows = match lease.run(&statement.sql, &statement.params, limits).await {
            Ok(rows) => rows,
            Err(failure) => {
                let stale = matches!(&failure, Failure::Database(said) if is_stale(said));
                let error = error(failure, Some(index));
                return Err(if stale { Stop::Stale(error) } else { Stop::Other(error) });
            }
        };
        if let Some(expected) = statement.expect.filter(|expected| *expected != rows.affected) {
            let mismatch = RowMismatch { statement: index, expected, found: rows.affected };
            return Err(Stop::Other(Error::UnexpectedRows(mismatch)));
        }
        // Together they may have what one may have.
        limits.rows -= rows.rows.len();
        limits.bytes -= rows.size;
        results.push(rows.into());
    }
    Ok(results)
}

fn begin(options: &Transaction) -> &'static str {
    match (&options.isolation, options.read_only) {
        (None, false) => "BEGIN READ WRITE",
        (None, true) => "BEGIN READ ONLY",
        (Some(Isolation::ReadCommitted), false) => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        (Some(Isolation::ReadCommitted), true) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        (Some(Isolation::RepeatableRead), false) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
        (Some(Isolation::RepeatableRead), true) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Some(Isolation::Serializable), false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        (Some(Isolation::Serializable), true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    }
}

impl From<run::Rows> for Rows {
    fn from(run::Rows { columns, rows, affected, .. }: run::Rows) -> Self {
        Self { columns, rows, affected }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        error(failure, None)
    }
}

fn error(failure: Failure, statement: Option<u32>) -> Error {
    let placed = |text: String| match statement {
        Some(index) => format!("statement {index}: {text}"),
        None => text,
    };
    match failure {
        Failure::Database(said) => Error::Database(db_error(&said, statement)),
        Failure::Params(text) => Error::InvalidParams(placed(text)),
        Failure::TooLarge(text) => Error::TooLarge(placed(text)),
        Failure::Unavailable(text) => Error::Unavailable(text),
        other => Error::Other(other.to_string()),
    }
}

fn db_error(said: &Said, statement: Option<u32>) -> DbError {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    DbError {
        statement,
        code: said.code().code().to_owned(),
        severity: said.severity().to_owned(),
        message: said.message().to_owned(),
        detail: owned(said.detail()),
        hint: owned(said.hint()),
        schema: owned(said.schema()),
        table: owned(said.table()),
        column: owned(said.column()),
        constraint: owned(said.constraint()),
        position: match said.position() {
            Some(ErrorPosition::Original(position)) => Some(*position),
            _ => None,
        },
    }
}
