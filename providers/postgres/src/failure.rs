//! Why a statement has no result.

use tokio_postgres::error::DbError;

/// Everything that can go wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A value does not fit; nothing was sent.
    #[error("{0}")]
    Params(String),
    /// What the database says.
    #[error("{}", words(.0))]
    Database(Box<DbError>),
    /// There is no connection; nothing was sent.
    #[error("{0}")]
    Unavailable(String),
    /// The connection was lost under the statement.
    #[error("{0}; whether the statement has run is not known")]
    Lost(String),
    /// The result is over a limit.
    #[error("{0}")]
    TooLarge(String),
    /// The result has a value that components cannot have.
    #[error("{0}")]
    Unreadable(String),
    /// A batch has begun a transaction and not ended it.
    #[error(
        "the transaction was left open and is rolled back: the next call may have another connection; write BEGIN and COMMIT in \
         one `query-batch`, or use `transact` of lattice:postgres/sql"
    )]
    OpenTransaction,
}

impl Failure {
    /// Whether the database says that a value is wrong: it could not read one, or it is out of range.
    pub(crate) fn is_about_a_value(&self) -> bool {
        match self {
            Self::Params(_) => true,
            Self::Database(error) => error.code().code().starts_with("22"),
            _ => false,
        }
    }

    /// Whether the statement is one that the database cannot run at all.
    pub(crate) fn is_about_the_statement(&self) -> bool {
        match self {
            Self::Database(error) => {
                ["42", "0A", "26", "2B", "3F"].contains(&error.code().code().get(..2).unwrap_or(""))
            }
            Self::OpenTransaction => true,
            _ => false,
        }
    }
}

/// All that the database says, in a line.
fn words(error: &DbError) -> String {
    let mut text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
    let mut add = |name: &str, more: Option<&str>| {
        if let Some(more) = more {
            text.push_str(&format!("; {name}: {more}"));
        }
    };
    add("detail", error.detail());
    add("hint", error.hint());
    add("constraint", error.constraint());
    text
}

/// Without the number that the system gives an error: it helps nobody.
pub(crate) fn reason(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
