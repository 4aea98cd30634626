//! Rust types that are WIT types: what they look like, and their way to the wire's bytes and back.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    ByteStream, Shape, ValueError,
    binary::{Reader, put_bytes, put_char, put_signed, put_varint},
};

/// The most that is allocated for a list before its elements were read, in bytes. An element takes one byte on the wire
/// and may be much larger in memory, so that a length that the bytes allow may still be a lie.
const MAX_RESERVED: usize = 64 * 1024;

/// A Rust type that is a WIT type. `lattice_provider::generate!` implements it for the types of an interface.
pub trait WitType: Sized {
    /// The WIT type.
    fn shape() -> Shape;

    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);

    /// Takes a value from the front of bytes.
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError>;

    /// The type as a function's result, or the content of a case: `()` is none.
    fn content() -> Option<Shape> {
        Some(Self::shape())
    }

    /// Appends the streams in the value, in the order of its bytes.
    fn streams<'v>(&'v mut self, _found: &mut Vec<&'v mut ByteStream>) {}
}

/// The whole of `bytes` as one value.
pub fn from_bytes<T: WitType>(bytes: &[u8]) -> Result<T, ValueError> {
    let mut reader = Reader::new(bytes);
    let value = T::take(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// A value as bytes.
pub fn to_bytes<T: WitType>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

/// `Type: Shape, how it is put, how it is taken;`
macro_rules! leaves {
    ($($ty:ty: $shape:ident, |$value:ident, $out:ident| $put:expr, |$from:ident| $take:expr;)*) => {
        $(impl WitType for $ty {
            fn shape() -> Shape {
                Shape::$shape
            }
            fn put(&self, $out: &mut Vec<u8>) {
                let $value = *self;
                $put
            }
            fn take($from: &mut Reader<'_>) -> Result<Self, ValueError> {
                $take
            }
        })*
    };
}

leaves! {
    bool: Bool, |value, out| out.push(value.into()), |from| from.bool();
    u8: U8, |value, out| out.push(value), |from| from.byte();
    u16: U16, |value, out| put_varint(out, value.into()), |from| from.unsigned();
    u32: U32, |value, out| put_varint(out, value.into()), |from| from.unsigned();
    u64: U64, |value, out| put_varint(out, value), |from| from.varint();
    i8: S8, |value, out| out.push(value as u8), |from| Ok(from.byte()? as i8);
    i16: S16, |value, out| put_signed(out, value.into()), |from| from.integer();
    i32: S32, |value, out| put_signed(out, value.into()), |from| from.integer();
    i64: S64, |value, out| put_signed(out, value), |from| from.signed();
    f32: F32, |value, out| out.extend_from_slice(&value.to_bits().to_le_bytes()),
        |from| Ok(f32::from_bits(u32::from_le_bytes(from.array()?)));
    f64: F64, |value, out| out.extend_from_slice(&value.to_bits().to_le_bytes()),
        |from| Ok(f64::from_bits(u64::from_le_bytes(from.array()?)));
    char: Char, |value, out| put_char(out, value), |from| from.char();
}

impl WitType for String {
    fn shape() -> Shape {
        Shape::String
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.as_bytes());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        from.text().map(str::to_owned)
    }
}

/// `list<u8>`.
impl WitType for Bytes {
    fn shape() -> Shape {
        Shape::List(Box::new(Shape::U8))
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        from.bytes().map(Self::copy_from_slice)
    }
}

impl<T: WitType> WitType for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        self.iter().for_each(|value| value.put(out));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        let length = from.length()?;
        take_all(from, length)
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        self.iter_mut().for_each(|value| value.streams(found));
    }
}

fn take_all<T: WitType>(from: &mut Reader<'_>, length: usize) -> Result<Vec<T>, ValueError> {
    let mut values = Vec::with_capacity(length.min(MAX_RESERVED / size_of::<T>().max(1)));
    for _ in 0..length {
        values.push(T::take(from)?);
    }
    Ok(values)
}

impl<T: WitType, const N: usize> WitType for [T; N] {
    fn shape() -> Shape {
        // WIT has lengths of 32 bits.
        Shape::FixedList(Box::new(T::shape()), u32::try_from(N).unwrap_or(u32::MAX))
    }
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|value| value.put(out));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        take_all(from, N)?.try_into().map_err(|_| ValueError::Short)
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        self.iter_mut().for_each(|value| value.streams(found));
    }
}

impl<K: WitType + Ord, V: WitType> WitType for BTreeMap<K, V> {
    fn shape() -> Shape {
        Shape::Map(Box::new((K::shape(), V::shape())))
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    /// Of a key that comes twice, the last value holds.
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        (0..from.length()?).map(|_| Ok((K::take(from)?, V::take(from)?))).collect()
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        self.values_mut().for_each(|value| value.streams(found));
    }
}

impl<T: WitType> WitType for Option<T> {
    fn shape() -> Shape {
        Shape::Option(Box::new(T::shape()))
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.is_some().into());
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        from.bool()?.then(|| T::take(from)).transpose()
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        self.iter_mut().for_each(|value| value.streams(found));
    }
}

impl<T: WitType, E: WitType> WitType for Result<T, E> {
    fn shape() -> Shape {
        Shape::Result(T::content().map(Box::new), E::content().map(Box::new))
    }
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.is_err().into());
        match self {
            Ok(value) => value.put(out),
            Err(error) => error.put(out),
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        if from.case(2)? == 0 { T::take(from).map(Ok) } else { E::take(from).map(Err) }
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        match self {
            Ok(value) => value.streams(found),
            Err(error) => error.streams(found),
        }
    }
}

/// Nothing: what stands where a result or a case has no content.
impl WitType for () {
    fn shape() -> Shape {
        Shape::Tuple(Box::default())
    }
    fn put(&self, _: &mut Vec<u8>) {}
    fn take(_: &mut Reader<'_>) -> Result<Self, ValueError> {
        Ok(())
    }
    fn content() -> Option<Shape> {
        None
    }
}

macro_rules! tuples {
    ($($name:ident),*) => {
        impl<$($name: WitType),*> WitType for ($($name,)*) {
            fn shape() -> Shape {
                Shape::Tuple([$($name::shape()),*].into())
            }
            #[expect(non_snake_case, reason = "a parameter's name stands for the part's type and for the part")]
            fn put(&self, out: &mut Vec<u8>) {
                let ($($name,)*) = self;
                $($name.put(out);)*
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
                Ok(($($name::take(from)?,)*))
            }
            #[expect(non_snake_case, reason = "as above")]
            fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
                let ($($name,)*) = self;
                $($name.streams(found);)*
            }
        }
    };
}

tuples!(A);
tuples!(A, B);
tuples!(A, B, C);
tuples!(A, B, C, D);
tuples!(A, B, C, D, E);
tuples!(A, B, C, D, E, F);
tuples!(A, B, C, D, E, F, G);
tuples!(A, B, C, D, E, F, G, H);
tuples!(A, B, C, D, E, F, G, H, I);
tuples!(A, B, C, D, E, F, G, H, I, J);
tuples!(A, B, C, D, E, F, G, H, I, J, K);
tuples!(A, B, C, D, E, F, G, H, I, J, K, L);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::value::samples::{self, Dice};

    type Parts = (bool, i8, u16, i16, u32, i32, u64, i64, f32, f64, char, String);
    type Wholes = (
        Bytes,
        Vec<Option<u16>>,
        [u8; 3],
        BTreeMap<String, u64>,
        BTreeMap<u16, bool>,
        Result<u8, String>,
        Result<(), ()>,
        Option<Option<char>>,
    );

    fn comes_back<T: WitType>(dice: &mut Dice) {
        let bytes = samples::value(&T::shape(), dice);
        let value: T = from_bytes(&bytes).unwrap();
        assert_eq!(to_bytes(&value), bytes);
        for cut in 0..bytes.len() {
            assert!(from_bytes::<T>(&bytes[..cut]).is_err(), "{cut} of {bytes:?}");
        }
        assert!(from_bytes::<T>(&[bytes, vec![0]].concat()).is_err());
    }

    proptest! {
        #[test]
        fn any_value_comes_back_and_a_part_of_it_is_none(seed: u64) {
            comes_back::<Parts>(&mut Dice::new(seed));
            comes_back::<Wholes>(&mut Dice::new(seed));
        }

        #[test]
        fn it_is_what_postcard_makes_of_it(parts: (u16, i32, u64, i64, f64, char, String), list: Vec<u32>, maybe: Option<u8>) {
            let value = (parts.clone(), Bytes::from(parts.6.clone()), list.clone(), maybe, Err::<u8, _>(parts.6.clone()));
            prop_assert_eq!(to_bytes(&value), postcard::to_stdvec(&value).unwrap());
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = from_bytes::<Parts>(&bytes);
            let _ = from_bytes::<Wholes>(&bytes);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused() {
        let mut lie = to_bytes(&(1u64 << 40));
        assert!(matches!(from_bytes::<Vec<u64>>(&lie), Err(ValueError::Length { .. })));
        assert!(matches!(from_bytes::<Bytes>(&lie), Err(ValueError::Length { .. })));
        // As long as the bytes that follow, and each element would be a kilobyte: only what is read is allocated.
        lie = to_bytes(&1_000_000u64);
        lie.resize(1_000_003, 0xff);
        assert!(from_bytes::<Vec<[Option<u64>; 64]>>(&lie).is_err());
    }
}
