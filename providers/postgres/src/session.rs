//! What statements leave behind in the connection that they ran on.

/// Brings a connection into the state of a new one. What is prepared stays: nobody can name it.
pub(crate) const RESET: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// Statements after which a connection is as it was before.
const HARMLESS: [&str; 14] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "TABLE", "MERGE", "CALL", "EXPLAIN", "SHOW", "NOTIFY",
    "TRUNCATE", "COMMENT",
];

/// Whether a connection must be reset after this statement: `SET`, `BEGIN`, `LISTEN`, `CREATE TEMP TABLE` and others. In
/// doubt it must.
pub(crate) fn changes_session(sql: &str) -> bool {
    let word = first_word(sql);
    !HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(word))
}

/// Whether a statement begins or ends a transaction. `PREPARE` may be `PREPARE TRANSACTION`.
pub(crate) fn ends_transaction(sql: &str) -> bool {
    let word = first_word(sql);
    ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "PREPARE"].iter().any(|own| own.eq_ignore_ascii_case(word))
}

/// Whether what is prepared may be gone after these statements.
pub(crate) fn forgets_prepared(sql: &str) -> bool {
    let has = |word: &str| sql.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    has("discard") || has("deallocate")
}

/// The first word behind comments and parentheses; empty in doubt.
fn first_word(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '(');
        if let Some(comment) = sql.strip_prefix("--") {
            sql = comment.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = sql.strip_prefix("/*") {
            // Comments nest; one with another in it is not looked through.
            match comment.split_once("*/") {
                Some((inside, rest)) if !inside.contains("/*") => sql = rest,
                _ => return "",
            }
        } else {
            break;
        }
    }
    let end = sql.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(sql.len());
    &sql[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_session_is_known_by_its_first_word() {
        for harmless in
            ["select 1", "  (SELECT 1)", "-- a\n/* b */ insert into t values (1)", "With x as (select 1) select"]
        {
            assert!(!changes_session(harmless), "{harmless}");
        }
        for other in
            ["begin", "SET x = 1", "", "/* /* */ */ select 1", "-- select 1", "create temp table t()", "selects"]
        {
            assert!(changes_session(other), "{other}");
        }
        assert!(ends_transaction("/* */ Commit") && !ends_transaction("select 'commit'"));
        assert!(forgets_prepared("select 1; Discard ALL") && !forgets_prepared("select 1"));
    }
}
