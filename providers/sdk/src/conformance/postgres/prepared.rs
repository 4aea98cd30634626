//! Prepared statements: the token is all that a caller has.

use super::{
    Subject, has,
    made::{
        prepared::{Prepared as _, PreparedStatementExecError},
        query::QueryError,
        types::PgValue,
    },
    text,
};
use crate::conformance::{Check, same};

impl Subject {
    async fn prepare(&self, sql: &str) -> Result<String, String> {
        let sql = sql.replace("TABLE_", &self.table);
        self.prepared.prepare(sql).await.map_err(|error| format!("prepare: {error}"))
    }

    async fn exec(&self, token: &str, params: Vec<PgValue>) -> Result<u64, PreparedStatementExecError> {
        self.prepared.exec(token.to_owned(), params).await
    }
}

pub(super) async fn a_token_is_good_for_any_connection(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int, name text)").await?;
    let token = subject.prepare("INSERT INTO TABLE_ VALUES ($1, $2), ($1 + 100, $2)").await?;
    let calls = (0..20).map(|id| subject.exec(&token, vec![PgValue::Int4(id), text("x")]));
    for outcome in futures_util::future::join_all(calls).await {
        same("rows of an execution", outcome, Ok(2))?;
    }
    same("rows", subject.count().await?, PgValue::Int8(40))?;
    let read = subject.prepare("SELECT * FROM TABLE_ WHERE id < $1").await?;
    same("rows that were read", subject.exec(&read, vec![PgValue::Int4(10)]).await, Ok(10))?;
    match subject.exec(&token, vec![text("1"), text("x")]).await {
        Err(PreparedStatementExecError::QueryError(QueryError::InvalidParams(said))) => {
            has("a wrong value", said, &["`text`", "int4"])
        }
        other => Err(format!("a wrong value: found {other:?}")),
    }
}

pub(super) async fn what_is_no_token_is_told(subject: Subject) -> Check {
    let unknown = Err(PreparedStatementExecError::UnknownPreparedQuery);
    let token = subject.prepare("SELECT 1").await?;
    for other in ["", "s1035", "SELECT 1", &token[..token.len() - 1]] {
        same(format!("the token {other:?}"), subject.exec(other, vec![]).await, unknown.clone())?;
    }
    match subject.prepare("SELEKT 1").await {
        Err(said) => has("a wrong word", said, &["syntax error", "42601"]),
        Ok(_) => Err("a wrong word is prepared".into()),
    }
}

pub(super) async fn a_table_may_change_under_a_statement(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int); INSERT INTO TABLE_ VALUES (1)").await?;
    let token = subject.prepare("SELECT * FROM TABLE_").await?;
    for column in 0..5 {
        // On all connections that there are.
        let calls = (0..8).map(|_| subject.query("SELECT * FROM TABLE_", vec![]));
        for rows in futures_util::future::join_all(calls).await {
            same("columns", rows?.first().map(Vec::len), Some(1 + column))?;
        }
        same("rows by the token", subject.exec(&token, vec![]).await, Ok(1))?;
        subject.batch(&format!("ALTER TABLE TABLE_ ADD COLUMN c{column} text")).await?;
    }
    Ok(())
}
