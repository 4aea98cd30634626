//! The table: its name, how it is made, and the statements on it.

use lattice_provider::keyvalue::Ttl;

/// The table's name, each part as the database has it: `lattice_keyvalue`, or `shop.cache` with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    schema: Option<String>,
    name: String,
}

/// What PostgreSQL leaves of a name without a word is 63 bytes, and the name of the index has a few more.
const MAX_PART: usize = 50;
/// One instance at a time makes the table: two that do so at once can both fail. The number is any that others do not use.
const MAKING: i64 = 0x6c61_7474_6963_6531;

impl Table {
    /// Letters, digits and `_`, so that a name is the same with and without quotes, but for capitals.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_part = |part: &&str| {
            part.len() <= MAX_PART
                && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let part = |part: &str| Some(part).filter(is_part).map(str::to_owned);
        match text.split_once('.') {
            None => Some(Self { schema: None, name: part(text)? }),
            Some((schema, name)) => Some(Self { schema: Some(part(schema)?), name: part(name)? }),
        }
    }

    /// Makes the table when it is not there.
    pub(crate) fn make(&self) -> String {
        self.making(&format!(
            "CREATE TABLE IF NOT EXISTS {self} (namespace text COLLATE \"C\" NOT NULL, bucket text COLLATE \"C\" NOT NULL, \
             position bigint NOT NULL, key bytea NOT NULL, value bytea NOT NULL, expires timestamptz, PRIMARY KEY (namespace, \
             bucket, position, key)); CREATE INDEX IF NOT EXISTS \"{}_expires\" ON {self} (namespace, expires) WHERE expires IS \
             NOT NULL",
            self.name
        ))
    }

    /// Statements that make something, one instance at a time.
    pub(crate) fn making(&self, statements: &str) -> String {
        format!("SELECT pg_catalog.pg_advisory_xact_lock({MAKING}); {statements}")
    }

    /// Another table, whose name has more at its end.
    pub(crate) fn beside(&self, end: &str) -> Self {
        Self { schema: self.schema.clone(), name: format!("{}{end}", self.name) }
    }
}

/// In quotes, as statements have it.
impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "\"{schema}\".")?;
        }
        write!(f, "\"{}\"", self.name)
    }
}

/// One key; the position is behind the bucket in the index, so that the same index is for listings.
const PLACE: &str = "namespace = $1 AND bucket = $2 AND position = $3 AND key = $4";
const CONFLICT: &str =
    "ON CONFLICT (namespace, bucket, position, key) DO UPDATE SET expires = excluded.expires, value =";
/// What is over is no longer there, whether or not it was removed. It is the database that has the clock.
const LIVES: &str = "(expires IS NULL OR expires > now())";

/// What is done to the table. `$1` is the namespace and `$2` the bucket in each of them.
pub(crate) struct Statements {
    /// Whether the table is as it should be.
    pub(crate) look: String,
    pub(crate) get: String,
    pub(crate) exists: String,
    pub(crate) set: String,
    pub(crate) delete: String,
    pub(crate) list: String,
    pub(crate) increment: String,
    /// The same without what it returns.
    pub(crate) added: String,
    pub(crate) get_many: String,
    pub(crate) set_many: String,
    pub(crate) delete_many: String,
    /// Removes some entries that are over. It has the namespace and nothing else.
    pub(crate) sweep: String,
}

impl Statements {
    /// `page` is how many keys a listing fetches at a time, or more when the last ones have the same position; `sweep` how
    /// many entries are removed at a time.
    pub(crate) fn new(table: &Table, ttl: Option<Ttl>, page: usize, sweep: usize) -> Self {
        let end = match ttl {
            Some(ttl) => format!("now() + {} * interval '1 millisecond'", ttl.millis()),
            None => "NULL::timestamptz".to_owned(),
        };
        let added = added(table, &end);
        Self {
            look: format!("SELECT namespace, bucket, position, key, value, expires FROM {table} LIMIT 0"),
            get: format!("SELECT value FROM {table} WHERE {PLACE} AND {LIVES}"),
            exists: format!("SELECT true FROM {table} WHERE {PLACE} AND {LIVES}"),
            set: format!(
                "INSERT INTO {table} (namespace, bucket, position, key, value, expires) VALUES ($1, $2, $3, $4, $5, {end}) \
                 {CONFLICT} excluded.value"
            ),
            delete: format!("DELETE FROM {table} WHERE {PLACE}"),
            list: format!(
                "SELECT position, key FROM {table} WHERE namespace = $1 AND bucket = $2 AND position >= $3 AND {LIVES} ORDER \
                 BY position FETCH FIRST {page} ROWS WITH TIES"
            ),
            increment: format!("{added} RETURNING entry.value"),
            added,
            // Here and below, a look-up for each key: how a join is done hangs on the numbers of rows, which the database does
            // not know of a new table.
            get_many: format!(
                "SELECT (SELECT value FROM {table} AS entry WHERE namespace = $1 AND bucket = $2 AND entry.position = \
                 wanted.position AND entry.key = wanted.key AND {LIVES}) FROM unnest($3::bigint[], $4::bytea[]) WITH \
                 ORDINALITY AS wanted (position, key, number) ORDER BY wanted.number"
            ),
            set_many: format!(
                "INSERT INTO {table} (namespace, bucket, position, key, value, expires) SELECT $1::text, $2::text, position, \
                 key, value, {end} FROM unnest($3::bigint[], $4::bytea[], $5::bytea[]) AS given (position, key, value) \
                 {CONFLICT} excluded.value"
            ),
            delete_many: format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT (SELECT ctid FROM {table} AS entry WHERE namespace = $1 \
                 AND bucket = $2 AND entry.position = doomed.position AND entry.key = doomed.key FOR UPDATE) FROM \
                 unnest($3::bigint[], $4::bytea[]) AS doomed (position, key)))"
            ),
            // A row that somebody writes at the same time is not waited for; it may be new in a moment.
            sweep: format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {table} WHERE namespace = $1 AND expires <= \
                 now() ORDER BY expires LIMIT {sweep} FOR UPDATE SKIP LOCKED))"
            ),
        }
    }
}

/// Changes a row, or none when the value is no number or the sum is out of range. `end` is when the sum is over.
fn added(table: &Table, end: &str) -> String {
    // A number as `keyvalue::add` takes it. The longest has 20 characters: a large value is not looked through.
    let number = "CASE WHEN entry.expires <= now() THEN 0 WHEN octet_length(entry.value) <= 20 AND encode(entry.value, \
                  'escape') ~ '^(0|-?[1-9][0-9]*)$' THEN encode(entry.value, 'escape')::numeric END";
    let sum = format!("({number} + $5::bigint)");
    format!(
        "INSERT INTO {table} AS entry (namespace, bucket, position, key, value, expires) VALUES ($1, $2, $3, $4, \
         decode($5::bigint::text, 'escape'), {end}) {CONFLICT} decode({sum}::text, 'escape') WHERE {sum} BETWEEN 0 AND {}",
        i64::MAX
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_or_two_parts_and_nothing_to_quote() {
        for (text, quoted) in [("lattice_keyvalue", "\"lattice_keyvalue\""), ("Shop.c1", "\"Shop\".\"c1\"")] {
            assert_eq!(Table::parse(text).unwrap().to_string(), quoted);
        }
        for bad in ["", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"b", "a;b", "ä", &"a".repeat(51)] {
            assert_eq!(Table::parse(bad), None, "{bad}");
        }
    }
}
