//! PostgreSQL for components: the interfaces of `wasmcloud:postgres@0.1.1-draft`, and `lattice:postgres/sql`.
//!
//! A call takes one of a bounded number of connections ([`pool`]), runs its statement there ([`run`]) and gives the
//! connection back as it was. A call that is dropped cancels its statement. No state is kept for a caller: the token of a
//! prepared statement carries its text, so that any connection and any instance can run it.
//!
//! Providers that keep something in a database of their own have [`Runner`]: the same pool, encryption, limits and health.

mod config;
mod connection;
mod failure;
mod pool;
mod run;
mod session;
mod sql;
mod tls;
mod token;
mod value;
mod watched;

/// What the WIT says: types, traits, and clients for tests.
pub mod made {
    lattice_provider::generate!({
        path: ["../../wit/postgres", "../../wit/lattice-postgres"],
        world: "lattice:postgres/provider",
    });
}

use async_trait::async_trait;
use lattice::wire::UnitId;
use lattice_provider::{Capability, Provider, StartContext, StartError};

use self::made::{
    prepared::{Prepared, PreparedStatementExecError, StatementPrepareError},
    query::{Query, QueryError, ResultRow},
    types::{PgValue, ResultRowEntry},
};
pub use self::{
    config::{Config, Tls},
    failure::Failure,
    run::{Rows, Runner},
};

/// The provider.
pub struct Postgres {
    runner: Runner,
}

#[async_trait]
impl Provider for Postgres {
    const KIND: &'static str = "postgres";
    type Config = Config;

    fn check(config: &Config, unit: &UnitId) -> Result<(), StartError> {
        config.check(unit)
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        Ok(made::serve(Self::connect(context, config).await?))
    }
}

impl Postgres {
    /// The provider by itself; [`Provider::start`] makes a capability of it.
    pub async fn connect(context: StartContext, config: Config) -> Result<Self, StartError> {
        Ok(Self { runner: Runner::connect(context, &config).await? })
    }
}

impl From<Failure> for QueryError {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        if failure.is_about_a_value() {
            Self::InvalidParams(text)
        } else if failure.is_about_the_statement() {
            Self::InvalidQuery(text)
        } else {
            Self::Unexpected(text)
        }
    }
}

#[async_trait]
impl Query for Postgres {
    async fn query(&self, query: String, params: Vec<PgValue>) -> Result<Vec<ResultRow>, QueryError> {
        let Rows { columns, rows, .. } = self.runner.query(&query, &params).await?;
        let named = |row: Vec<PgValue>| {
            let entry = |(name, value): (&String, _)| ResultRowEntry { column_name: name.clone(), value };
            columns.iter().zip(row).map(entry).collect()
        };
        Ok(rows.into_iter().map(named).collect())
    }

    async fn query_batch(&self, query: String) -> Result<(), QueryError> {
        Ok(self.runner.batch(&query).await?)
    }
}

#[async_trait]
impl Prepared for Postgres {
    async fn prepare(&self, statement: String) -> Result<String, StatementPrepareError> {
        match self.runner.prepare(&statement).await {
            Ok(()) => Ok(token::of(&statement)),
            Err(failure) => Err(StatementPrepareError::Unexpected(failure.to_string())),
        }
    }

    async fn exec(&self, stmt_token: String, params: Vec<PgValue>) -> Result<u64, PreparedStatementExecError> {
        let Some(statement) = token::statement(&stmt_token) else {
            return Err(PreparedStatementExecError::UnknownPreparedQuery);
        };
        match self.runner.query(statement, &params).await {
            Ok(rows) => Ok(rows.affected),
            Err(failure) => Err(PreparedStatementExecError::QueryError(failure.into())),
        }
    }
}
