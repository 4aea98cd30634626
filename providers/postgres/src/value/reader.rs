//! Binary values, from their front. The database is not suspected of lying, but what is short is an error.

use super::Misfit;

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Misfit> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return Err("the database has sent a value that is too short".into());
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Misfit> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Misfit> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Misfit> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Misfit> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Misfit> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Misfit> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Misfit> {
        self.array().map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Misfit> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn f32(&mut self) -> Result<f32, Misfit> {
        self.array().map(f32::from_be_bytes)
    }

    pub(super) fn f64(&mut self) -> Result<f64, Misfit> {
        self.array().map(f64::from_be_bytes)
    }

    /// How many of something follow. Nothing is allocated by it.
    pub(super) fn count(&mut self) -> Result<u32, Misfit> {
        u32::try_from(self.i32()?).map_err(|_| "the database has sent a count below zero".into())
    }

    /// Bytes with their length before them; none for null.
    pub(super) fn sized(&mut self) -> Result<Option<&'a [u8]>, Misfit> {
        match self.i32()? {
            -1 => Ok(None),
            length => match usize::try_from(length) {
                Ok(length) => self.take(length).map(Some),
                Err(_) => Err("the database has sent a length below zero".into()),
            },
        }
    }

    /// Text up to a zero byte.
    pub(super) fn word(&mut self) -> Result<String, Misfit> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or("the database has sent a word without an end")?;
        let word = text(self.take(length)?)?;
        self.take(1)?;
        Ok(word)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Bytes as text: the connection's encoding is UTF-8, but a database with the encoding SQL_ASCII sends what it has.
pub(super) fn text(bytes: &[u8]) -> Result<String, Misfit> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("a text that is not UTF-8".into()),
    }
}
