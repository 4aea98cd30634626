//! Lists in the database's two forms.

use super::{Misfit, reader::Reader};

/// The elements of an array in binary form, each read by `read`.
pub(super) fn elements<'a, T>(
    raw: &'a [u8],
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, Misfit>,
) -> Result<Vec<T>, Misfit> {
    let mut raw = Reader::new(raw);
    let (dimensions, _has_null, _element) = (raw.i32()?, raw.i32()?, raw.i32()?);
    let length = match dimensions {
        0 => 0,
        1 => {
            let length = raw.count()?;
            raw.i32()?;
            length
        }
        _ => return Err("an array of several dimensions, which is no list; `unnest` makes one of it".into()),
    };
    let mut list = Vec::new();
    for _ in 0..length {
        let element = raw.sized()?.ok_or("an array with a null in it, which a list cannot have; see `array_remove`")?;
        list.push(read(&mut Reader::new(element))?);
    }
    Ok(list)
}

/// An array as text: `{"a","b"}`.
pub(super) fn put<T>(
    out: &mut String,
    list: &[T],
    delimiter: char,
    mut write: impl FnMut(&mut String, &T) -> Result<(), Misfit>,
) -> Result<(), Misfit> {
    out.push('{');
    let mut element = String::new();
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        element.clear();
        write(&mut element, value)?;
        put_quoted(out, &element);
    }
    out.push('}');
    Ok(())
}

/// Text in double quotes, as arrays and hstore have it.
pub(super) fn put_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}
