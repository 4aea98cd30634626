//! The binary encoding's parts.

use uuid::Uuid;

use super::ValueError;
use crate::wire::Ticket;

/// Appends an unsigned number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends a text or bytes with their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a character, which is a text of one.
pub fn put_char(out: &mut Vec<u8>, value: char) {
    put_bytes(out, value.encode_utf8(&mut [0; 4]).as_bytes());
}

/// How many bytes the ticket of a stream takes.
pub const TICKET: usize = 32;

/// A ticket in binary.
pub fn ticket_bytes(ticket: &Ticket) -> [u8; TICKET] {
    let mut bytes = [0; TICKET];
    let (process, stream) = bytes.split_at_mut(16);
    process.copy_from_slice(ticket.process.as_bytes());
    stream.copy_from_slice(ticket.stream.as_bytes());
    bytes
}

/// Appends all that a stream carries, in place of a ticket.
pub fn put_content(out: &mut Vec<u8>, content: &[u8]) {
    out.extend_from_slice(&[0; TICKET]);
    put_bytes(out, content);
}

/// What stands for a stream or a future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// What it carries comes by a stream.
    Elsewhere(Ticket),
    /// All that it carries.
    Here(&'a [u8]),
}

/// Takes values from the front of bytes. It never reads over their end, and never trusts a length.
#[derive(Debug, Clone)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// An error unless everything was taken.
    pub fn finish(self) -> Result<(), ValueError> {
        if self.0.is_empty() { Ok(()) } else { Err(ValueError::LeftOver(self.0.len())) }
    }

    pub fn byte(&mut self) -> Result<u8, ValueError> {
        let (first, rest) = self.0.split_first().ok_or(ValueError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ValueError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ValueError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(ValueError::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn varint(&mut self) -> Result<u64, ValueError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ValueError::Number);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ValueError::Number)
    }

    pub fn signed(&mut self) -> Result<i64, ValueError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that fits `T`.
    pub fn unsigned<T: TryFrom<u64>>(&mut self) -> Result<T, ValueError> {
        T::try_from(self.varint()?).map_err(|_| ValueError::Number)
    }

    /// A signed number that fits `T`.
    pub fn integer<T: TryFrom<i64>>(&mut self) -> Result<T, ValueError> {
        T::try_from(self.signed()?).map_err(|_| ValueError::Number)
    }

    pub fn bool(&mut self) -> Result<bool, ValueError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(ValueError::Tag { found: found.into(), expected: "a bool (0 or 1)" }),
        }
    }

    /// The number of elements that follow, each of at least one byte.
    pub fn length(&mut self) -> Result<usize, ValueError> {
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(count) if count <= self.0.len() => Ok(count),
            _ => Err(ValueError::Length { len, left: self.0.len() }),
        }
    }

    /// Bytes with their length in front.
    pub fn bytes(&mut self) -> Result<&'a [u8], ValueError> {
        let length = self.length()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Result<&'a str, ValueError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ValueError::Utf8)
    }

    pub fn char(&mut self) -> Result<char, ValueError> {
        let mut chars = self.text()?.chars();
        match (chars.next(), chars.next()) {
            (Some(char), None) => Ok(char),
            _ => Err(ValueError::Tag { found: 0, expected: "a text of one character" }),
        }
    }

    /// A stream or a future.
    pub fn content(&mut self) -> Result<Content<'a>, ValueError> {
        let (process, stream) = (self.array::<16>()?, self.array::<16>()?);
        let ticket = Ticket { process: Uuid::from_bytes(process), stream: Uuid::from_bytes(stream) };
        if ticket.process.is_nil() && ticket.stream.is_nil() {
            return Ok(Content::Here(self.bytes()?));
        }
        Ok(Content::Elsewhere(ticket))
    }

    /// The number of one of `cases` cases.
    pub fn case(&mut self, cases: usize) -> Result<u32, ValueError> {
        let found = self.unsigned::<u32>()?;
        if (found as usize) < cases { Ok(found) } else { Err(ValueError::Case { found, cases }) }
    }
}
