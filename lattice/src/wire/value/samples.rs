//! Types and values at random, for the tests of whoever turns values into something else.

use super::{
    Shape,
    binary::{put_bytes, put_char, put_content, put_signed, put_varint},
    elements::is_bytes,
};

/// Numbers that look random and repeat with the seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn roll(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.roll() >> 16) as usize % limit
    }
}

fn names(count: usize) -> impl Iterator<Item = Box<str>> {
    (0..count).map(|n| format!("n{n}").into_boxed_str())
}

/// A type of at most `depth` levels, without resources and streams.
///
/// For those see [`streams`].
pub fn shape(depth: usize, dice: &mut Dice) -> Shape {
    const LEAVES: [Shape; 13] = [
        Shape::Bool,
        Shape::S8,
        Shape::U8,
        Shape::S16,
        Shape::U16,
        Shape::S32,
        Shape::U32,
        Shape::S64,
        Shape::U64,
        Shape::F32,
        Shape::F64,
        Shape::Char,
        Shape::String,
    ];
    // More than 32 flags are refused by the component model itself.
    if depth == 0 || dice.below(4) == 0 {
        return match dice.below(LEAVES.len() + 2) {
            13 => Shape::Flags(names(1 + dice.below(32)).collect()),
            14 => Shape::Enum(names(1 + dice.below(300)).collect()),
            leaf => LEAVES[leaf].clone(),
        };
    }
    let inner = |dice: &mut Dice| Box::new(shape(depth - 1, dice));
    let some = |dice: &mut Dice| (dice.below(3) > 0).then(|| shape(depth - 1, dice));
    let count = 1 + dice.below(4);
    match dice.below(8) {
        0 => Shape::List(inner(dice)),
        1 => Shape::FixedList(inner(dice), count as u32),
        2 => {
            let key = if dice.below(2) == 0 { Shape::String } else { Shape::U16 };
            Shape::Map(Box::new((key, *inner(dice))))
        }
        3 => Shape::Tuple((0..count).map(|_| *inner(dice)).collect()),
        4 => Shape::Record(names(count).map(|name| (name, *inner(dice))).collect()),
        5 => Shape::Variant(names(count).map(|name| (name, some(dice))).collect()),
        6 => Shape::Option(inner(dice)),
        _ => Shape::Result(some(dice).map(Box::new), some(dice).map(Box::new)),
    }
}

/// A type with streams and futures in it, of at most `depth` levels.
pub fn streams(depth: usize, dice: &mut Dice) -> Shape {
    let of = (dice.below(4) > 0).then(|| Box::new(shape(depth, dice)));
    let flow = match dice.below(3) {
        0 => Shape::Stream(Some(Box::new(Shape::U8))),
        1 => Shape::Stream(of),
        _ => Shape::Future(of),
    };
    match dice.below(4) {
        0 => Shape::Tuple([flow, streams(depth.saturating_sub(1), dice)].into()),
        1 => Shape::Option(Box::new(flow)),
        2 => Shape::Result(Some(Box::new(flow)), Some(Box::new(shape(depth, dice)))),
        _ => flow,
    }
}

/// A value of `shape` in binary; streams and futures with all that they carry.
pub fn value(shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    fill(shape, dice, &mut out);
    out
}

/// Floats that bits at random hardly ever are.
fn special(dice: &mut Dice) -> Option<f64> {
    const SPECIAL: [f64; 6] = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.0, -0.0, 1.5];
    SPECIAL.get(dice.below(4 * SPECIAL.len())).copied()
}

fn fill(shape: &Shape, dice: &mut Dice, out: &mut Vec<u8>) {
    match shape {
        Shape::Bool => out.push((dice.roll() & 1) as u8),
        Shape::S8 | Shape::U8 => out.push(dice.roll() as u8),
        Shape::S16 => put_signed(out, dice.roll() as i16 as i64),
        Shape::U16 => put_varint(out, dice.roll() as u16 as u64),
        Shape::S32 => put_signed(out, dice.roll() as i32 as i64),
        Shape::U32 | Shape::Own | Shape::Borrow => put_varint(out, dice.roll() as u32 as u64),
        Shape::S64 => put_signed(out, dice.roll() as i64),
        Shape::U64 => put_varint(out, dice.roll()),
        Shape::F32 => {
            out.extend(special(dice).map_or(dice.roll() as u32, |float| (float as f32).to_bits()).to_le_bytes())
        }
        Shape::F64 => out.extend(special(dice).map_or(dice.roll(), f64::to_bits).to_le_bytes()),
        Shape::Char => put_char(out, char::from_u32(dice.roll() as u32 % 0xd800).unwrap_or('x')),
        Shape::String => put_bytes(out, format!("é{}", dice.roll()).as_bytes()),
        Shape::List(of) => {
            let length = dice.roll() % 4;
            put_varint(out, length);
            (0..length).for_each(|_| fill(of, dice, out));
        }
        Shape::FixedList(of, length) => (0..*length).for_each(|_| fill(of, dice, out)),
        Shape::Map(of) => {
            let length = dice.roll() % 3;
            put_varint(out, length);
            for index in 0..length {
                match of.0 {
                    Shape::String => put_bytes(out, format!("k{index}").as_bytes()),
                    _ => put_varint(out, index),
                }
                fill(&of.1, dice, out);
            }
        }
        Shape::Record(fields) => fields.iter().for_each(|(_, shape)| fill(shape, dice, out)),
        Shape::Tuple(parts) => parts.iter().for_each(|shape| fill(shape, dice, out)),
        Shape::Variant(cases) => {
            let case = dice.roll() as usize % cases.len();
            put_varint(out, case as u64);
            if let Some(payload) = &cases[case].1 {
                fill(payload, dice, out);
            }
        }
        Shape::Enum(names) => put_varint(out, dice.roll() % names.len() as u64),
        Shape::Option(of) => {
            let there = dice.roll() & 1;
            out.push(there as u8);
            if there == 1 {
                fill(of, dice, out);
            }
        }
        Shape::Result(ok, err) => {
            let case = dice.roll() & 1;
            put_varint(out, case);
            if let Some(payload) = if case == 0 { ok } else { err } {
                fill(payload, dice, out);
            }
        }
        Shape::Stream(of) => {
            let mut content = Vec::new();
            for _ in 0..dice.below(4) {
                let element = of.as_ref().map_or(Vec::new(), |of| value(of, dice));
                if is_bytes(of.as_deref()) { content.extend(element) } else { put_bytes(&mut content, &element) }
            }
            put_content(out, &content);
        }
        Shape::Future(of) => put_content(out, &of.as_ref().map_or(Vec::new(), |of| value(of, dice))),
        Shape::Flags(names) => {
            for chunk in names.chunks(8) {
                out.push((dice.roll() as u8) & (0xff >> (8 - chunk.len())));
            }
        }
    }
}
