//! Statements, with parameters and in batches.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Subject, has,
    made::{query::QueryError, types::PgValue},
    text,
};
use crate::conformance::{Check, same};

const TASKS: i64 = 24;
const EACH: i64 = 20;
/// Larger than a NATS message.
const LARGE: usize = 5 << 20;

pub(super) async fn rows_come_back_by_name(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int PRIMARY KEY, name text, odd numeric)").await?;
    let insert = "INSERT INTO TABLE_ VALUES ($1, $2, $3)";
    for (id, name) in [(1, text("one")), (2, PgValue::Null)] {
        let params = vec![PgValue::Int4(id), name, PgValue::Numeric("1.50".into())];
        same("rows of an insert", subject.query(insert, params).await?, vec![])?;
    }
    let sql = "SELECT name, id, odd AS \"An Odd\" FROM TABLE_ ORDER BY id";
    let rows = subject.try_query(sql, vec![]).await.map_err(|error| error.to_string())?;
    let names: Vec<_> = rows.iter().flatten().map(|entry| entry.column_name.as_str()).collect();
    same("names", names, vec!["name", "id", "An Odd", "name", "id", "An Odd"])?;
    let values: Vec<_> = rows.into_iter().flatten().map(|entry| entry.value).collect();
    let odd = PgValue::Numeric("1.50".into());
    let expected = vec![text("one"), PgValue::Int4(1), odd.clone(), PgValue::Null, PgValue::Int4(2), odd];
    same("values", values, expected)?;
    same("no rows", subject.query("SELECT 1 WHERE false", vec![]).await?, vec![])?;
    same("an empty statement", subject.query("", vec![]).await?, vec![])
}

pub(super) async fn a_parameter_is_never_a_statement(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (name text); INSERT INTO TABLE_ VALUES ('kept')").await?;
    for evil in ["'; DROP TABLE TABLE_; --", "\\'; DELETE FROM TABLE_; --", "$1", "' OR 1=1", "{\"a\\", "é\u{1f980}"] {
        let evil = evil.replace("TABLE_", &subject.table);
        let sql = "INSERT INTO TABLE_ VALUES ($1) RETURNING name";
        same("what was inserted", subject.one(sql, vec![text(&evil)]).await?, text(&evil))?;
        let list = PgValue::TextArray(vec![evil.clone(), "NULL".into(), String::new()]);
        same("in a list", subject.one("SELECT $1::text[]", vec![list.clone()]).await?, list)?;
    }
    same("rows", subject.count().await?, PgValue::Int8(7))
}

pub(super) async fn what_does_not_fit_is_told_with_both_types(subject: Subject) -> Check {
    let numbers = (u64::MAX, 0, 1);
    for (sql, value, parts) in [
        ("SELECT $1::int4", text("1"), ["`text`", "int4"]),
        ("SELECT $1::bool", PgValue::Int4(1), ["`int4`", "bool"]),
        ("SELECT $1::text", PgValue::BigInt(1), ["`big-int`", "text"]),
        ("SELECT $1::int8[]", PgValue::Int8(1), ["`int8`", "int8[]"]),
        ("SELECT $1::int8", PgValue::Int8Array(vec![1]), ["`int8-array`", "int8"]),
        ("SELECT $1::bytea", text("x"), ["`text`", "bytea"]),
        ("SELECT $1::uuid", text("no uuid"), ["uuid", "no uuid"]),
        ("SELECT $1::int2", PgValue::Int4(70_000), ["smallint", "70000"]),
        ("SELECT $1::jsonb", PgValue::Json("{".into()), ["json", "22P02"]),
        ("SELECT $1::float8", PgValue::Float8((numbers.0, numbers.1, 5)), ["sign", "5"]),
    ] {
        match subject.try_query(sql, vec![value]).await {
            Err(QueryError::InvalidParams(said)) => has(sql, said, &parts)?,
            other => return Err(format!("{sql}: found {other:?}")),
        }
    }
    for (sql, params) in [("SELECT $1::int4, $2::int4", vec![PgValue::Int4(1)]), ("SELECT 1", vec![PgValue::Null])] {
        match subject.try_query(sql, params).await {
            Err(QueryError::InvalidParams(said)) => has(sql, said, &["parameters"])?,
            other => return Err(format!("{sql}: found {other:?}")),
        }
    }
    // What is exact is no misfit.
    same("an int for a bigint", subject.one("SELECT $1::int8", vec![PgValue::Int2(7)]).await?, PgValue::Int8(7))?;
    same("null", subject.one("SELECT $1::int8", vec![PgValue::Null]).await?, PgValue::Null)
}

pub(super) async fn errors_say_what_the_database_says(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int PRIMARY KEY); INSERT INTO TABLE_ VALUES (1)").await?;
    match subject.try_query("SELEKT 1", vec![]).await {
        Err(QueryError::InvalidQuery(said)) => has("a wrong word", said, &["syntax error", "42601"])?,
        other => return Err(format!("a wrong word: found {other:?}")),
    }
    match subject.try_query("SELECT * FROM no_such_table", vec![]).await {
        Err(QueryError::InvalidQuery(said)) => has("no table", said, &["no_such_table", "42P01"])?,
        other => return Err(format!("no table: found {other:?}")),
    }
    match subject.try_query("INSERT INTO TABLE_ VALUES ($1)", vec![PgValue::Int4(1)]).await {
        Err(QueryError::Unexpected(said)) => has("twice", said, &["duplicate key", "23505", "(id)=(1)", "_pkey"])?,
        other => return Err(format!("twice: found {other:?}")),
    }
    match subject.try_query("SELECT 1; SELECT 2", vec![]).await {
        Err(QueryError::InvalidQuery(said)) => has("two at once", said, &["42601"])?,
        other => return Err(format!("two at once: found {other:?}")),
    }
    match subject.try_query("SELECT '(1,2)'::int4range, ARRAY[1, NULL]", vec![]).await {
        Err(QueryError::Unexpected(said)) => has("a range", said, &["int4range", "::text"])?,
        other => return Err(format!("a range: found {other:?}")),
    }
    same("and after all that", subject.count().await?, PgValue::Int8(1))
}

pub(super) async fn a_batch_is_all_or_nothing(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int); INSERT INTO TABLE_ VALUES (1); INSERT INTO TABLE_ VALUES (2)").await?;
    same("rows of a batch", subject.count().await?, PgValue::Int8(2))?;
    let failed = subject.try_batch("INSERT INTO TABLE_ VALUES (3); SELECT 1/0").await;
    match failed {
        Err(error) => has("a batch that fails", error, &["division by zero"])?,
        Ok(()) => return Err("a batch that fails has not failed".into()),
    }
    same("rows after a batch that failed", subject.count().await?, PgValue::Int8(2))?;
    subject.batch("BEGIN; DELETE FROM TABLE_; COMMIT").await?;
    same("rows after a transaction", subject.count().await?, PgValue::Int8(0))
}

pub(super) async fn a_transaction_that_is_left_open_is_rolled_back(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (id int)").await?;
    match subject.try_query("BEGIN", vec![]).await {
        Err(error) => has("BEGIN by itself", error, &["rolled back", "transact"])?,
        Ok(_) => return Err("BEGIN by itself is no error".into()),
    }
    match subject.try_batch("BEGIN; INSERT INTO TABLE_ VALUES (1)").await {
        Err(error) => has("BEGIN without COMMIT", error, &["rolled back"])?,
        Ok(()) => return Err("BEGIN without COMMIT is no error".into()),
    }
    for _ in 0..20 {
        same("rows", subject.count().await?, PgValue::Int8(0))?;
    }
    subject.query("INSERT INTO TABLE_ VALUES (1)", vec![]).await?;
    same("a row that commits", subject.count().await?, PgValue::Int8(1))
}

pub(super) async fn a_session_is_nobodys(subject: Subject) -> Check {
    let shown = || subject.one("SELECT current_setting('search_path')", vec![]);
    let before = shown().await?;
    for _ in 0..3 {
        subject.query("SET search_path = elsewhere", vec![]).await?;
        subject.batch("SET search_path = elsewhere; CREATE TEMP TABLE mine (id int)").await?;
        for _ in 0..10 {
            same("a setting of another call", shown().await?, before.clone())?;
        }
        let found = subject.one("SELECT to_regclass('pg_temp.mine') IS NULL", vec![]).await?;
        same("a temporary table of another call is gone", found, PgValue::Bool(true))?;
    }
    subject.batch("SELECT 1; DEALLOCATE ALL").await?;
    subject.batch("DISCARD ALL").await?;
    for _ in 0..10 {
        same("a setting after all that", shown().await?, before.clone())?;
    }
    Ok(())
}

pub(super) async fn large_values_cross(subject: Subject) -> Check {
    let bytes = Bytes::from((0..LARGE).map(|n| ((n * 31) >> 3) as u8).collect::<Vec<_>>());
    let back = subject.one("SELECT $1::bytea", vec![PgValue::Bytea(bytes.clone())]).await?;
    same("whether large bytes come back", back == PgValue::Bytea(bytes), true)?;
    let rows = subject.query("SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n", vec![]).await?;
    same("many rows", rows.len(), 20_000)?;
    same("the last of them", rows.last().and_then(|row| row.first()), Some(&PgValue::Int4(20_000)))
}

pub(super) async fn a_result_has_limits(subject: Subject) -> Check {
    for (sql, key) in [
        ("SELECT generate_series(1, 100000000)", "maxRows"),
        ("SELECT repeat('x', 1000000) FROM generate_series(1, 1000)", "maxBytes"),
        ("SELECT repeat('x', 200000000)", "maxBytes"),
    ] {
        match subject.try_query(sql, vec![]).await {
            Err(QueryError::Unexpected(said)) => has(sql, said, &["limit", key])?,
            other => return Err(format!("{sql}: found {:?}", other.map(|rows| rows.len()))),
        }
    }
    same("and after all that", subject.one("SELECT 1", vec![]).await?, PgValue::Int4(1))
}

pub(super) async fn nothing_is_lost_between_tasks(subject: Subject) -> Check {
    subject.batch("CREATE TABLE TABLE_ (n bigint); INSERT INTO TABLE_ VALUES (0)").await?;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let subject = subject.clone();
        tasks.spawn(async move {
            for _ in 0..EACH {
                subject.query("UPDATE TABLE_ SET n = n + $1", vec![PgValue::Int8(1)]).await?;
                // Answers do not go to others.
                same(
                    "an answer",
                    subject.one("SELECT $1::int8", vec![PgValue::Int8(task)]).await?,
                    PgValue::Int8(task),
                )?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|error| error.to_string())??;
    }
    same("the sum", subject.one("SELECT n FROM TABLE_", vec![]).await?, PgValue::Int8(TASKS * EACH))
}

pub(super) async fn a_call_that_is_dropped_stops_its_statement(subject: Subject) -> Check {
    let subject = Arc::new(subject);
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(5_)%' AND state = 'active'";
    for wanted in [8, 0] {
        let sleepers = (wanted > 0).then(|| {
            let mut sleepers = JoinSet::new();
            for _ in 0..wanted {
                let subject = subject.clone();
                sleepers.spawn(async move { subject.query("SELECT pg_sleep(50)", vec![]).await });
            }
            sleepers
        });
        loop {
            if subject.one(running, vec![]).await? == PgValue::Int8(wanted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // All tasks end here.
        drop(sleepers);
    }
    Ok(())
}
