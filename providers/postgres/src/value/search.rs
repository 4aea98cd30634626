//! Text search: vectors of words, and queries for them.

use std::fmt::Write;

use super::{Misfit, reader::Reader};
use crate::made::types::{Lexeme, LexemeWeight};

/// How deep the operators of a query may nest.
const MAX_DEPTH: usize = 500;
/// Positions go up to here.
const LAST_POSITION: u16 = 0x3fff;

fn put_word(out: &mut String, word: &str) {
    out.push('\'');
    for c in word.chars() {
        if matches!(c, '\'' | '\\') {
            out.push(c);
        }
        out.push(c);
    }
    out.push('\'');
}

pub(super) fn put_vector(out: &mut String, lexemes: &[Lexeme]) -> Result<(), Misfit> {
    for lexeme in lexemes {
        put_word(out, &lexeme.data);
        match (lexeme.position, &lexeme.weight) {
            (Some(position), weight) => {
                let _ = write!(out, ":{position}");
                out.push_str(match weight {
                    Some(LexemeWeight::A) => "A",
                    Some(LexemeWeight::B) => "B",
                    Some(LexemeWeight::C) => "C",
                    Some(LexemeWeight::D) | None => "",
                });
            }
            (None, None) => {}
            (None, Some(_)) => return Err(Misfit(format!("the word {:?} has a weight and no position", lexeme.data))),
        }
        out.push(' ');
    }
    Ok(())
}

/// A word with several positions is there once for each.
pub(super) fn vector(raw: &mut Reader<'_>) -> Result<Vec<Lexeme>, Misfit> {
    let mut lexemes = Vec::new();
    for _ in 0..raw.count()? {
        let data = raw.word()?;
        let positions = raw.u16()?;
        if positions == 0 {
            lexemes.push(Lexeme { position: None, weight: None, data });
            continue;
        }
        for _ in 0..positions {
            let entry = raw.u16()?;
            let weight = match entry >> 14 {
                3 => LexemeWeight::A,
                2 => LexemeWeight::B,
                1 => LexemeWeight::C,
                _ => LexemeWeight::D,
            };
            let position = Some(entry & LAST_POSITION);
            lexemes.push(Lexeme { position, weight: Some(weight), data: data.clone() });
        }
    }
    Ok(lexemes)
}

/// A query as the database itself writes it.
pub(super) fn query(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    if raw.count()? == 0 {
        return Ok(String::new());
    }
    part(raw, 0).map(|part| part.text)
}

/// A part of a query, and how strongly its operator binds; a word binds more than any.
struct Part {
    text: String,
    binds: u8,
}

impl Part {
    fn within(self, binds: u8, also_equal: bool) -> String {
        if self.binds < binds || (also_equal && self.binds == binds) { format!("( {} )", self.text) } else { self.text }
    }
}

fn part(raw: &mut Reader<'_>, depth: usize) -> Result<Part, Misfit> {
    if depth > MAX_DEPTH {
        return Err(Misfit(format!("a search query whose operators nest more than {MAX_DEPTH} deep")));
    }
    if raw.u8()? == 1 {
        return word(raw);
    }
    let operator = raw.u8()?;
    if operator == 1 {
        let operand = part(raw, depth + 1)?.within(4, false);
        return Ok(Part { text: format!("!{operand}"), binds: 4 });
    }
    let (binds, sign) = match operator {
        2 => (2, "&".to_owned()),
        3 => (1, "|".to_owned()),
        4 => match raw.u16()? {
            1 => (3, "<->".to_owned()),
            distance => (3, format!("<{distance}>")),
        },
        other => return Err(Misfit(format!("a search query with the operator {other}, which is not known"))),
    };
    // The right operand stands first.
    let right = part(raw, depth + 1)?.within(binds, operator == 4);
    let left = part(raw, depth + 1)?.within(binds, false);
    Ok(Part { text: format!("{left} {sign} {right}"), binds })
}

fn word(raw: &mut Reader<'_>) -> Result<Part, Misfit> {
    let (weights, prefix) = (raw.u8()?, raw.u8()?);
    let mut text = String::new();
    put_word(&mut text, &raw.word()?);
    if weights != 0 || prefix != 0 {
        text.push(':');
        if prefix != 0 {
            text.push('*');
        }
        for (bit, weight) in [(8, 'A'), (4, 'B'), (2, 'C'), (1, 'D')] {
            if weights & bit != 0 {
                text.push(weight);
            }
        }
    }
    Ok(Part { text, binds: u8::MAX })
}
