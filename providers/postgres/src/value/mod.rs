//! Values on their way to the database and back. Parameters go as text, which the database reads by the parameter's own
//! type, or as bytes; results come in the database's binary form.

mod array;
mod clock;
mod decode;
mod encode;
mod float;
mod reader;
mod search;

pub(crate) use self::{
    decode::decode,
    encode::{Param, check},
};

/// Why a value cannot cross, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misfit(pub(crate) String);

impl From<&str> for Misfit {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What of a session the values of some types depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Session {
    /// Decimals of `money`, by the session's `lc_monetary`.
    pub(crate) money_digits: u32,
}

/// A type as people write it: `int4[]` for what is named `_int4`.
pub(crate) fn type_name(ty: &tokio_postgres::types::Type) -> String {
    match ty.name().strip_prefix('_') {
        Some(of) => format!("{of}[]"),
        None => ty.name().to_owned(),
    }
}
