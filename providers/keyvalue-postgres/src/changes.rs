//! What has changed in watched buckets and is not told yet: a table beside that of the entries, written by the statement that makes
//! the change.
//!
//! Only what goes through this provider is noted; what other programs write into the same table is not.

use std::time::Duration;

use async_trait::async_trait;
use lattice_provider::keyvalue::{Change, KeyValueError, Untold};
use lattice_provider_postgres::made::types::PgValue;

use crate::{
    Rows, first, place,
    table::{Statements, Table},
};

/// What is done to the table of changes, and the statements that change entries and note it. `$1` is the namespace and `$2` the
/// bucket.
pub(crate) struct Noting {
    pub(crate) look: String,
    pub(crate) make: String,
    next: String,
    told: String,
    pub(crate) set: String,
    pub(crate) delete: String,
    pub(crate) increment: String,
    pub(crate) set_many: String,
    pub(crate) delete_many: String,
}

impl Noting {
    pub(crate) fn new(table: &Table, entries: &Statements) -> Self {
        let changes = table.beside("_changes");
        let here = "namespace = $1 AND bucket = $2";
        // Who tells of the older change goes on with the newer one: its claim stays.
        let note = format!(
            "INSERT INTO {changes} (namespace, bucket, key) SELECT $1::text, $2::text, key FROM changed ON CONFLICT (namespace, bucket, \
             key) DO UPDATE SET number = excluded.number"
        );
        let noting = |statement: &str, returning: &str, result: &str| {
            format!(
                "WITH changed AS ({statement} RETURNING {returning}), noted AS ({note}) SELECT {result} FROM changed"
            )
        };
        Self {
            look: format!("SELECT namespace, bucket, key, number, claimed_by, claimed_until FROM {changes} LIMIT 0"),
            make: table.making(&format!(
                "CREATE TABLE IF NOT EXISTS {changes} (namespace text COLLATE \"C\" NOT NULL, bucket text COLLATE \"C\" NOT NULL, \
                 key bytea NOT NULL, number bigserial, claimed_by text, claimed_until timestamptz, PRIMARY KEY (namespace, bucket, \
                 key))"
            )),
            // The one that has waited longest, unless another instance has it.
            next: format!(
                "UPDATE {changes} SET claimed_by = $3, claimed_until = now() + $4::bigint * interval '1 millisecond' WHERE ctid = ANY \
                 (ARRAY (SELECT ctid FROM {changes} WHERE {here} ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED)) AND {here} AND \
                 (claimed_by = $3 OR claimed_until IS NULL OR claimed_until < now()) RETURNING key, number"
            ),
            told: format!("DELETE FROM {changes} WHERE {here} AND key = $3 AND number = $4"),
            set: noting(&entries.set, "key", "key"),
            delete: noting(&entries.delete, "key", "key"),
            increment: noting(&entries.added, "entry.key, entry.value", "value"),
            set_many: noting(&entries.set_many, "key", "key"),
            delete_many: noting(&entries.delete_many, "key", "key"),
        }
    }
}

#[async_trait]
impl Untold for Rows {
    async fn next(&self, bucket: &str, claim: Duration) -> Result<Option<(u64, Change)>, KeyValueError> {
        let claim = i64::try_from(claim.as_millis()).unwrap_or(i64::MAX);
        let mine = [PgValue::Text(self.watched.id().to_owned()), PgValue::Int8(claim)];
        let row = self.run(&self.noting.next, bucket.to_owned(), mine).await?.pop().unwrap_or_default();
        let [PgValue::Bytea(key), PgValue::Int8(number)] = row.as_slice() else { return Ok(None) };
        let key = String::from_utf8(key.to_vec()).map_err(KeyValueError::other)?;
        let value = self.run(&self.statements.get, bucket.to_owned(), place(key.clone())).await?.pop().and_then(first);
        Ok(Some((number.cast_unsigned(), Change { bucket: bucket.to_owned(), key, value })))
    }

    async fn told(&self, bucket: &str, key: &str, number: u64) -> Result<(), KeyValueError> {
        let what = [PgValue::Bytea(key.to_owned().into()), PgValue::Int8(number.cast_signed())];
        self.run(&self.noting.told, bucket.to_owned(), what).await.map(drop)
    }

    async fn more(&self, bucket: &str) {
        self.watched.more_of_all(bucket).await;
    }
}
