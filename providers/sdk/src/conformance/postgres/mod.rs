//! The kit for PostgreSQL: `wasmcloud:postgres` and `lattice:postgres/sql` as a component sees them.

mod prepared;
mod statements;
mod transactions;

use std::sync::Arc;

use async_trait::async_trait;

use self::made::{
    prepared::Remote as Prepared,
    query::{QueryError, Remote as Query, ResultRow},
    sql::Remote as Sql,
    types::PgValue,
};
use super::{
    CHECK_LIMIT, Check, Lasting, Report, Suite, lasting,
    suite::{CheckFn, checks},
};
use crate::Caller;

/// What the WIT says, for callers.
pub mod made {
    crate::generate!({
        path: ["../../wit/postgres", "../../wit/lattice-postgres"],
        world: "lattice:postgres/provider",
    });
}

/// A provider under test, and the name that one check has for its tables.
#[derive(Clone)]
struct Subject {
    query: Arc<Query>,
    prepared: Arc<Prepared>,
    sql: Arc<Sql>,
    table: String,
}

const CHECKS: &[(&str, CheckFn<Subject>)] = checks![
    statements::rows_come_back_by_name,
    statements::a_parameter_is_never_a_statement,
    statements::what_does_not_fit_is_told_with_both_types,
    statements::errors_say_what_the_database_says,
    statements::a_batch_is_all_or_nothing,
    statements::a_transaction_that_is_left_open_is_rolled_back,
    statements::a_session_is_nobodys,
    statements::large_values_cross,
    statements::a_result_has_limits,
    statements::nothing_is_lost_between_tasks,
    statements::a_call_that_is_dropped_stops_its_statement,
    prepared::a_token_is_good_for_any_connection,
    prepared::what_is_no_token_is_told,
    prepared::a_table_may_change_under_a_statement,
    transactions::a_transaction_is_all_or_nothing,
    transactions::rows_are_counted,
    transactions::errors_have_all_parts,
    transactions::conflicts_have_their_sqlstate,
    transactions::a_reader_does_not_write,
];

/// Every check against a provider that is started with no settings but its `url` and, at most, `poolSize`. The user may
/// create tables in the database, and they are not there yet.
pub async fn postgres(caller: Arc<dyn Caller>, name: &str) -> Report {
    postgres_suite(&caller, "").run(name, |_| ()).await
}

/// The same, to be made; the names of its tables begin with `tag`, and are gone when it has run.
pub fn postgres_suite(caller: &Arc<dyn Caller>, tag: &str) -> Suite {
    let mut suite = Suite::new(CHECK_LIMIT);
    for (index, (name, check)) in CHECKS.iter().enumerate() {
        let subject = Subject::new(caller, format!("{tag}check_{index}"));
        suite.add(name, async move {
            let outcome = check(subject.clone()).await;
            subject.drop_table().await;
            outcome
        });
    }
    suite
}

/// What is written to a table, to be looked for later.
pub fn postgres_lasting(caller: &Arc<dyn Caller>, tag: &str) -> impl Lasting + use<> {
    Subject::new(caller, format!("{tag}lasting"))
}

#[async_trait]
impl Lasting for Subject {
    async fn prepare(&self) -> Check {
        self.batch("CREATE TABLE TABLE_ (number int PRIMARY KEY, value bytea)").await
    }

    async fn write(&self, number: u32) -> Check {
        let value = PgValue::Bytea(lasting::value(number));
        self.query(&format!("INSERT INTO TABLE_ VALUES ({number}, $1)"), vec![value]).await.map(drop)
    }

    async fn has(&self, number: u32) -> Result<bool, String> {
        let found = self.query(&format!("SELECT value FROM TABLE_ WHERE number = {number}"), vec![]).await?;
        Ok(found == [[PgValue::Bytea(lasting::value(number))]])
    }

    async fn clear(&self) {
        self.drop_table().await;
    }
}

/// A text as a parameter.
fn text(text: &str) -> PgValue {
    PgValue::Text(text.to_owned())
}

impl Subject {
    fn new(caller: &Arc<dyn Caller>, table: String) -> Self {
        Self {
            query: Arc::new(Query(caller.clone())),
            prepared: Arc::new(Prepared(caller.clone())),
            sql: Arc::new(Sql(caller.clone())),
            table,
        }
    }

    /// Leaves nothing behind, as far as the provider lets it.
    async fn drop_table(&self) {
        // Whether it works is looked at by those checks that do the same.
        let _ = self.try_batch("DROP TABLE IF EXISTS TABLE_").await;
    }

    async fn try_query(&self, sql: &str, params: Vec<PgValue>) -> Result<Vec<ResultRow>, QueryError> {
        use made::query::Query as _;
        self.query.query(sql.replace("TABLE_", &self.table), params).await
    }

    /// The values of all rows.
    async fn query(&self, sql: &str, params: Vec<PgValue>) -> Result<Vec<Vec<PgValue>>, String> {
        let rows = self.try_query(sql, params).await.map_err(|error| format!("{sql}: {error}"))?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(|entry| entry.value).collect()).collect())
    }

    /// The only value of the only row.
    async fn one(&self, sql: &str, params: Vec<PgValue>) -> Result<PgValue, String> {
        let mut rows = self.query(sql, params).await?;
        let row = rows.pop().filter(|_| rows.is_empty());
        row.and_then(|mut row| row.pop()).ok_or_else(|| format!("{sql}: more or less than one row"))
    }

    async fn try_batch(&self, sql: &str) -> Result<(), QueryError> {
        use made::query::Query as _;
        self.query.query_batch(sql.replace("TABLE_", &self.table)).await
    }

    async fn batch(&self, sql: &str) -> Check {
        self.try_batch(sql).await.map_err(|error| format!("{sql}: {error}"))
    }

    async fn count(&self) -> Result<PgValue, String> {
        self.one("SELECT count(*) FROM TABLE_", vec![]).await
    }
}

/// Fails a check unless the text has all these parts.
fn has(what: &str, found: impl std::fmt::Display, parts: &[&str]) -> Check {
    let found = found.to_string();
    match parts.iter().find(|part| !found.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("{what}: `{found}` does not say `{part}`")),
    }
}
