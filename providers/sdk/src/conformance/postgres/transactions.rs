//! Transactions in one call.

use super::{
    Subject, has,
    made::{
        sql::{Error, Isolation, RowMismatch, Rows, Sql as _, Statement, Transaction},
        types::PgValue,
    },
};
use crate::conformance::{Check, same};

const PLAIN: Transaction = Transaction { isolation: None, read_only: false };

impl Subject {
    fn statement(&self, sql: &str, params: Vec<PgValue>) -> Statement {
        Statement { sql: sql.replace("TABLE_", &self.table), params, expect: None }
    }

    fn insert(&self, id: i32) -> Statement {
        self.statement("INSERT INTO TABLE_ VALUES ($1)", vec![PgValue::Int4(id)])
    }

    async fn transact(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, Error> {
        self.sql.transact(statements, PLAIN).await
    }
}

pub(super) async fn a_transaction_is_all_or_nothing(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int PRIMARY KEY)").await?;
    let select = subject.statement("SELECT id AS number FROM TABLE_ ORDER BY id", vec![]);
    let done = subject.transact(vec![subject.insert(1), subject.insert(2), select]).await;
    let done = done.map_err(|error| format!("a transaction: {error:?}"))?;
    same("rows of each", done.iter().map(|rows| rows.affected).collect(), vec![1, 1, 2])?;
    let read = done.last().map(|rows| (rows.columns.clone(), rows.rows.clone()));
    let expected = (vec!["number".to_owned()], vec![vec![PgValue::Int4(1)], vec![PgValue::Int4(2)]]);
    same("what it read of its own", read, Some(expected))?;
    match subject.transact(vec![subject.insert(3), subject.insert(1)]).await {
        Err(Error::Database(error)) => same("a duplicate", (error.code.as_str(), error.statement), ("23505", Some(1)))?,
        other => return Err(format!("a duplicate: found {other:?}")),
    }
    let wrong = subject.statement("INSERT INTO TABLE_ VALUES ($1)", vec![PgValue::Bool(true)]);
    match subject.transact(vec![subject.insert(4), wrong]).await {
        Err(Error::InvalidParams(said)) => has("a wrong value", said, &["statement 1", "`bool`", "int4"])?,
        other => return Err(format!("a wrong value: found {other:?}")),
    }
    match subject.transact(vec![subject.insert(5), subject.statement(" commit", vec![])]).await {
        Err(Error::Other(said)) => has("a commit inside", said, &["statement 1"])?,
        other => return Err(format!("a commit inside: found {other:?}")),
    }
    same("nothing at all", subject.transact(vec![]).await, Ok(vec![]))?;
    same("rows after all that", subject.count().await?, PgValue::Int8(2))
}

pub(super) async fn rows_are_counted(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int PRIMARY KEY); INSERT INTO TABLE_ VALUES (1), (2)").await?;
    let expecting = |expect| Statement { expect: Some(expect), ..subject.statement("DELETE FROM TABLE_", vec![]) };
    let mismatch = RowMismatch { statement: 1, expected: 1, found: 3 };
    let found = subject.transact(vec![subject.insert(3), expecting(1)]).await;
    same("another number of rows", found, Err(Error::UnexpectedRows(mismatch)))?;
    same("rows after that", subject.count().await?, PgValue::Int8(2))?;
    let found = subject.transact(vec![expecting(2)]).await.map(|rows| rows.len());
    same("the right number of rows", found, Ok(1))?;
    same("rows in the end", subject.count().await?, PgValue::Int8(0))
}

pub(super) async fn errors_have_all_parts(subject: Subject) -> Check {
    subject
        .batch("CREATE TABLE TABLE_ (id int, CONSTRAINT above CHECK (id > 0), name text NOT NULL DEFAULT '')")
        .await?;
    let Err(Error::Database(error)) = subject.sql.query(subject.insert(0).sql, vec![PgValue::Int4(0)]).await else {
        return Err("a value that is not allowed is".into());
    };
    let table = Some(subject.table.clone());
    same("of a check", (error.code.as_str(), error.severity.as_str()), ("23514", "ERROR"))?;
    same("what it is about", (error.table, error.constraint), (table, Some("above".into())))?;
    has("its detail", error.detail.unwrap_or_default(), &["Failing row"])?;
    let sql = "INSERT INTO TABLE_ VALUES (1, NULL)".replace("TABLE_", &subject.table);
    match subject.sql.query(sql, vec![]).await {
        Err(Error::Database(error)) => {
            same("of a null", (error.code, error.column), ("23502".into(), Some("name".into())))?
        }
        other => return Err(format!("of a null: found {other:?}")),
    }
    match subject.sql.query("SELECT nonsense()".into(), vec![]).await {
        Err(Error::Database(error)) => {
            same("of an unknown function", (error.code.as_str(), error.position), ("42883", Some(8)))?;
            has("its hint", error.hint.unwrap_or_default(), &["function"])
        }
        other => Err(format!("of an unknown function: found {other:?}")),
    }
}

pub(super) async fn conflicts_have_their_sqlstate(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int, n int); INSERT INTO TABLE_ VALUES (1, 0), (2, 0)").await?;
    let options = Transaction { isolation: Some(Isolation::Serializable), read_only: false };
    let work = |id| {
        vec![
            subject.statement("SELECT sum(n) FROM TABLE_", vec![]),
            // So that both have begun before one ends.
            subject.statement("SELECT pg_sleep(0.3)", vec![]),
            subject.statement("UPDATE TABLE_ SET n = n + 1 WHERE id = $1", vec![PgValue::Int4(id)]),
        ]
    };
    let (one, two) =
        tokio::join!(subject.sql.transact(work(1), options.clone()), subject.sql.transact(work(2), options.clone()));
    let codes: Vec<_> = [one, two]
        .into_iter()
        .map(|outcome| match outcome {
            Ok(_) => "done".to_owned(),
            Err(Error::Database(error)) => error.code,
            Err(other) => other.to_string(),
        })
        .collect();
    same("how many were done", codes.iter().filter(|code| *code == "done").count(), 1)?;
    same("what became of the other one", codes.iter().filter(|code| *code == "40001").count(), 1)?;
    same("the sum", subject.one("SELECT sum(n) FROM TABLE_", vec![]).await?, PgValue::Int8(1))
}

pub(super) async fn a_reader_does_not_write(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int PRIMARY KEY)").await?;
    let options = Transaction { isolation: Some(Isolation::RepeatableRead), read_only: true };
    match subject.sql.transact(vec![subject.insert(1)], options).await {
        Err(Error::Database(error)) => same("of a write", error.code.as_str(), "25006")?,
        other => return Err(format!("a write in a read-only transaction: found {other:?}")),
    }
    // What was prepared in another transaction is good in this one, also when its table has changed meanwhile.
    for column in 0..4 {
        let select = || vec![subject.statement("SELECT * FROM TABLE_", vec![])];
        let calls = (0..6).map(|_| subject.transact(select()));
        for found in futures_util::future::join_all(calls).await {
            same("columns", found.map(|mut all| all.pop().map(|rows| rows.columns.len())), Ok(Some(1 + column)))?;
        }
        subject.batch(&format!("ALTER TABLE TABLE_ ADD COLUMN c{column} text")).await?;
    }
    Ok(())
}
