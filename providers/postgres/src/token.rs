//! Tokens of prepared statements. The token is the statement, so that it outlives connections and instances.

/// What ours begin with.
const HEAD: &str = "lattice-postgres-1:";

/// Head, checksum, text: what was cut or altered is no token.
pub(crate) fn of(statement: &str) -> String {
    format!("{HEAD}{}:{statement}", checksum(statement))
}

pub(crate) fn statement(token: &str) -> Option<&str> {
    let (sum, statement) = token.strip_prefix(HEAD)?.split_once(':')?;
    (sum == checksum(statement)).then_some(statement)
}

fn checksum(statement: &str) -> String {
    format!("{:08x}", crc32fast::hash(statement.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_whole_or_none() {
        let token = of("select $1 :: text");
        assert_eq!(statement(&token), Some("select $1 :: text"));
        assert_eq!(statement(&token[..token.len() - 1]), None);
        assert_eq!((statement("s1"), statement("")), (None, None));
    }
}
