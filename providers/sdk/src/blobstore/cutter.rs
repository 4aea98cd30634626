//! Cutting what is written into pieces of one size.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::BlobError;
use crate::ByteStream;

/// Cuts a stream into pieces; only the last one is smaller than the others.
pub struct Cutter {
    data: ByteStream,
    size: usize,
    /// Of a piece that was longer than it should be.
    rest: BytesMut,
    ended: bool,
}

impl Cutter {
    /// Pieces of `size` bytes.
    pub fn new(data: ByteStream, size: usize) -> Self {
        Self { data, size, rest: BytesMut::new(), ended: false }
    }

    /// The next piece; the last one is empty where nothing was left for it.
    pub async fn next(&mut self) -> Result<Bytes, BlobError> {
        while self.rest.len() < self.size {
            match self.data.next().await.transpose()? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => {
                    self.ended = true;
                    return Ok(self.rest.split().freeze());
                }
            }
        }
        Ok(self.rest.split_to(self.size).freeze())
    }

    /// Whether the last piece was the last.
    pub fn ended(&self) -> bool {
        self.ended
    }
}
