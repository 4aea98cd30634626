//! The table: its name, how it is made, and the statements on it.

/// The table's name, each part as the database has it: `lattice_keyvalue`, or `shop.cache` with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    schema: Option<String>,
    name: String,
}

/// PostgreSQL cuts a longer name without a word.
const MAX_PART: usize = 63;
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
        format!(
            "SELECT pg_catalog.pg_advisory_xact_lock({MAKING}); CREATE TABLE IF NOT EXISTS {self} (namespace text COLLATE \
             \"C\" NOT NULL, bucket text COLLATE \"C\" NOT NULL, position bigint NOT NULL, key bytea NOT NULL, value bytea \
             NOT NULL, PRIMARY KEY (namespace, bucket, position, key))"
        )
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
const CONFLICT: &str = "ON CONFLICT (namespace, bucket, position, key) DO UPDATE SET";

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
    pub(crate) get_many: String,
    pub(crate) set_many: String,
    pub(crate) delete_many: String,
}

impl Statements {
    /// `page` is how many keys a listing fetches at a time, or more when the last ones have the same position.
    pub(crate) fn new(table: &Table, page: usize) -> Self {
        Self {
            look: format!("SELECT namespace, bucket, position, key, value FROM {table} LIMIT 0"),
            get: format!("SELECT value FROM {table} WHERE {PLACE}"),
            exists: format!("SELECT true FROM {table} WHERE {PLACE}"),
            set: format!(
                "INSERT INTO {table} (namespace, bucket, position, key, value) VALUES ($1, $2, $3, $4, $5) {CONFLICT} \
                 value = excluded.value"
            ),
            delete: format!("DELETE FROM {table} WHERE {PLACE}"),
            list: format!(
                "SELECT position, key FROM {table} WHERE namespace = $1 AND bucket = $2 AND position >= $3 ORDER BY \
                 position FETCH FIRST {page} ROWS WITH TIES"
            ),
            increment: increment(table),
            // Here and below, a look-up for each key: how a join is done hangs on the numbers of rows, which the database does
            // not know of a new table.
            get_many: format!(
                "SELECT (SELECT value FROM {table} AS entry WHERE namespace = $1 AND bucket = $2 AND entry.position = \
                 wanted.position AND entry.key = wanted.key) FROM unnest($3::bigint[], $4::bytea[]) WITH \
                 ORDINALITY AS wanted (position, key, number) ORDER BY wanted.number"
            ),
            set_many: format!(
                "INSERT INTO {table} (namespace, bucket, position, key, value) SELECT $1::text, $2::text, position, key, \
                 value FROM unnest($3::bigint[], $4::bytea[], $5::bytea[]) AS given (position, key, value) {CONFLICT} \
                 value = excluded.value"
            ),
            delete_many: format!(
                "DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT (SELECT ctid FROM {table} AS entry WHERE namespace = $1 \
                 AND bucket = $2 AND entry.position = doomed.position AND entry.key = doomed.key FOR UPDATE) FROM \
                 unnest($3::bigint[], $4::bytea[]) AS doomed (position, key)))"
            ),
        }
    }
}

/// Returns a row with the sum, or none when the value is no number or the sum is out of range.
fn increment(table: &Table) -> String {
    // A number as `keyvalue::add` takes it. The longest has 20 characters: a large value is not looked through.
    let number = "CASE WHEN octet_length(entry.value) <= 20 AND encode(entry.value, 'escape') ~ '^(0|-?[1-9][0-9]*)$' THEN \
                  encode(entry.value, 'escape')::numeric END";
    let sum = format!("({number} + $5::bigint)");
    format!(
        "INSERT INTO {table} AS entry (namespace, bucket, position, key, value) VALUES ($1, $2, $3, $4, \
         decode($5::bigint::text, 'escape')) {CONFLICT} value = decode({sum}::text, 'escape') WHERE {sum} BETWEEN 0 AND {} \
         RETURNING entry.value",
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
        for bad in ["", ".", "a.", ".a", "a.b.c", "1a", "a b", "a\"b", "a;b", "ä", &"a".repeat(64)] {
            assert_eq!(Table::parse(bad), None, "{bad}");
        }
    }
}
