//! WIT values as bytes.
//!
//! In binary they are what postcard makes of the same Rust types: whole numbers of more than one byte are LEB128 (signed
//! ones zigzag first), floats are little-endian bits, a string, a list and a map begin with their length, a record,
//! a tuple and a fixed-length list are their parts in order, a variant begins with the number of its case. Flags are
//! ceil(n/8) bytes, the first flag in the lowest bit. A resource is the number that its holder gave it. A stream or a
//! future is the ticket of a stream that carries its [`elements`], or 32 zero bytes and then all of them, with their length.
//! Arguments are the tuple of the parameters; a function without a result answers with no bytes.
//!
//! [`json`] turns them into JSON and back, guided by a [`Shape`]; a [`WitType`] is one that is known when it is compiled.

pub mod binary;
mod byte_stream;
pub mod elements;
pub mod json;
pub mod samples;
mod shape;
mod typed;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use byte_stream::{ByteStream, Pieces};
pub use shape::{Found, FunctionShape, Measures, Shape};
pub use typed::{WitType, from_bytes, to_bytes};

/// Why bytes are not the value that their type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("the value ends too early")]
    Short,
    #[error("{0} bytes are left over after the value")]
    LeftOver(usize),
    #[error("a length of {len} is more than the {left} bytes that follow can hold")]
    Length { len: u64, left: usize },
    #[error("a number does not fit its type")]
    Number,
    #[error("{found} is not {expected}")]
    Tag { found: u32, expected: &'static str },
    #[error("case {found} of {cases} does not exist")]
    Case { found: u32, cases: usize },
    #[error("a text is not UTF-8")]
    Utf8,
    #[error("a stream is not here as a whole")]
    Elsewhere,
    #[error("an element of a stream has {size} bytes, more than the limit of {limit} bytes")]
    Element { size: u64, limit: usize },
    #[error("not JSON: {0}")]
    Syntax(String),
    #[error("{at}: expected {expected}, found {found}")]
    Json { at: String, expected: String, found: String },
}

impl From<ValueError> for super::CallError {
    fn from(error: ValueError) -> Self {
        Self::BadMessage(error.to_string())
    }
}
