//! What the stream of a WIT `stream` or `future` carries.
//!
//! A `stream<u8>` is its bytes. Any other stream is its elements, each with its length in bytes (LEB128) in front; the
//! elements of a `stream` without a type are empty. A `future` is its value, and nothing when it has no type.

use bytes::{Buf, Bytes, BytesMut};

use super::{Shape, ValueError, binary::Reader};
use crate::wire::MAX_MESSAGE;

/// The longest length that stands in front of an element, in bytes.
const MAX_LENGTH: usize = 10;

/// Whether a stream of `element` is its bytes.
pub fn is_bytes(element: Option<&Shape>) -> bool {
    element == Some(&Shape::U8)
}

/// Finds the elements in the pieces of a stream.
#[derive(Debug, Default)]
pub struct Splitter(BytesMut);

impl Splitter {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next element that is there as a whole.
    pub fn split(&mut self) -> Result<Option<Bytes>, ValueError> {
        let mut reader = Reader::new(&self.0);
        let size = match reader.varint() {
            Ok(size) => size,
            Err(ValueError::Short) if self.0.len() < MAX_LENGTH => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = usize::try_from(size).ok().filter(|length| *length <= MAX_MESSAGE);
        let length = length.ok_or(ValueError::Element { size, limit: MAX_MESSAGE })?;
        if reader.rest().len() < length {
            return Ok(None);
        }
        let head = self.0.len() - reader.rest().len();
        self.0.advance(head);
        Ok(Some(self.0.split_to(length).freeze()))
    }

    /// An error when the stream ended inside an element.
    pub fn finish(&self) -> Result<(), ValueError> {
        if self.0.is_empty() { Ok(()) } else { Err(ValueError::Short) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{binary::put_bytes, samples::Dice},
        *,
    };

    fn split(splitter: &mut Splitter) -> Vec<Bytes> {
        std::iter::from_fn(|| splitter.split().unwrap()).collect()
    }

    #[test]
    fn elements_are_found_however_they_are_cut() {
        let mut dice = Dice::new(7);
        for _ in 0..200 {
            let elements: Vec<Vec<u8>> = (0..dice.below(8)).map(|n| vec![n as u8; dice.below(300)]).collect();
            let mut bytes = Vec::new();
            elements.iter().for_each(|element| put_bytes(&mut bytes, element));
            let (mut splitter, mut found) = (Splitter::default(), Vec::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + dice.below(rest.len()));
                splitter.push(piece);
                found.extend(split(&mut splitter));
                rest = after;
            }
            splitter.finish().unwrap();
            assert_eq!(found, elements);
        }
    }

    #[test]
    fn a_cut_element_and_a_length_that_lies_are_errors() {
        let mut splitter = Splitter::default();
        splitter.push(&[3, 1, 2]);
        assert_eq!(splitter.split(), Ok(None));
        assert_eq!(splitter.finish(), Err(ValueError::Short));
        let mut splitter = Splitter::default();
        splitter.push(&[0xff; 9]);
        assert_eq!(splitter.split(), Ok(None));
        splitter.push(&[0x7f]);
        assert_eq!(splitter.split(), Err(ValueError::Number));
        let mut splitter = Splitter::default();
        splitter.push(&[0x81, 0x80, 0x80, 0x20]);
        assert_eq!(splitter.split(), Err(ValueError::Element { size: (64 << 20) + 1, limit: MAX_MESSAGE }));
    }
}
