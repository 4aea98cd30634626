use super::{
    ValueError,
    binary::{Content, Reader},
};
use crate::wire::Ticket;

/// A WIT type with its names expanded: everything that turning a value into another encoding needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    List(Box<Shape>),
    /// With its length.
    FixedList(Box<Shape>, u32),
    /// Keys and values.
    Map(Box<(Shape, Shape)>),
    Record(Box<[(Box<str>, Shape)]>),
    Tuple(Box<[Shape]>),
    Variant(Box<[(Box<str>, Option<Shape>)]>),
    Enum(Box<[Box<str>]>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
    Flags(Box<[Box<str>]>),
    /// A resource that changes hands: a number.
    Own,
    /// A resource that is lent: a number.
    Borrow,
    /// Values that follow one after the other, each of this type or without content: see [`elements`](super::elements).
    Stream(Option<Box<Shape>>),
    /// One value that follows.
    Future(Option<Box<Shape>>),
}

/// What a function takes and returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionShape {
    pub params: Box<[(Box<str>, Shape)]>,
    pub result: Option<Shape>,
}

impl Shape {
    /// Whether `null` is already a value of it in JSON, so that an option of it needs a form of its own.
    pub(super) fn nullable(&self) -> bool {
        match self {
            Self::Option(_) | Self::Future(None) => true,
            Self::Future(Some(of)) => of.nullable(),
            _ => false,
        }
    }
}

/// What is in a value beside its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The numbers of resources.
    pub handles: Vec<u32>,
    /// The tickets of streams and futures that are elsewhere, and where in the bytes they stand, in order.
    pub tickets: Vec<(usize, Ticket)>,
}

fn scan<'s>(shapes: impl IntoIterator<Item = &'s Shape>, bytes: &[u8]) -> Result<Found, ValueError> {
    let mut scan = Scan { from: Reader::new(bytes), whole: bytes.len(), found: Found::default() };
    shapes.into_iter().try_for_each(|shape| scan.value(shape))?;
    scan.from.finish()?;
    Ok(scan.found)
}

/// A walk over the bytes of values.
struct Scan<'b> {
    from: Reader<'b>,
    /// How many bytes there are.
    whole: usize,
    found: Found,
}

/// The canonical ABI's measures of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measures {
    /// In bytes of a 32-bit memory.
    pub size: u64,
    pub align: u64,
    /// Core values.
    pub flat: u64,
}

impl Measures {
    fn scalar(size: u64) -> Self {
        Self { size, align: size, flat: 1 }
    }

    /// Parts one after the other.
    fn sequence(parts: impl Iterator<Item = Measures>) -> Self {
        let mut whole = Self { size: 0, align: 1, flat: 0 };
        for part in parts {
            whole.size = whole.size.next_multiple_of(part.align).saturating_add(part.size);
            whole.align = whole.align.max(part.align);
            whole.flat = whole.flat.saturating_add(part.flat);
        }
        whole.size = whole.size.next_multiple_of(whole.align);
        whole
    }

    /// One of `count` cases.
    fn choice(count: usize, payloads: impl Iterator<Item = Measures>) -> Self {
        let tag = match count {
            0..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        let mut whole = Self::scalar(tag);
        let (mut size, mut flat) = (0, 0);
        for payload in payloads {
            whole.align = whole.align.max(payload.align);
            size = size.max(payload.size);
            flat = flat.max(payload.flat);
        }
        whole.size = tag.next_multiple_of(whole.align).saturating_add(size).next_multiple_of(whole.align);
        whole.flat = 1 + flat;
        whole
    }
}

impl FunctionShape {
    /// The measures of all parameters together.
    pub fn params_measures(&self) -> Measures {
        Measures::sequence(self.params.iter().map(|(_, shape)| shape.measures()))
    }

    /// Checks that `bytes` are arguments, and tells what is in them.
    pub fn scan_arguments(&self, bytes: &[u8]) -> Result<Found, ValueError> {
        scan(self.params.iter().map(|(_, shape)| shape), bytes)
    }

    /// Checks that `bytes` are a result, and tells what is in it.
    pub fn scan_result(&self, bytes: &[u8]) -> Result<Found, ValueError> {
        scan(&self.result, bytes)
    }

    /// Whether a caller may be given resources.
    pub fn returns_handles(&self) -> bool {
        self.result.as_ref().is_some_and(Shape::has_handles)
    }

    /// Whether it is about resources that the caller holds.
    pub fn takes_handles(&self) -> bool {
        self.params.iter().any(|(_, shape)| shape.has_handles())
    }

    /// Whether streams or futures are among its arguments or in its result.
    pub fn has_streams(&self) -> bool {
        self.params.iter().map(|(_, shape)| shape).chain(&self.result).any(Shape::has_streams)
    }
}

impl Shape {
    pub fn measures(&self) -> Measures {
        match self {
            Self::Bool | Self::S8 | Self::U8 => Measures::scalar(1),
            Self::S16 | Self::U16 => Measures::scalar(2),
            Self::S32 | Self::U32 | Self::F32 | Self::Char => Measures::scalar(4),
            Self::Own | Self::Borrow | Self::Stream(_) | Self::Future(_) => Measures::scalar(4),
            Self::S64 | Self::U64 | Self::F64 => Measures::scalar(8),
            Self::String | Self::List(_) | Self::Map(_) => Measures { size: 8, align: 4, flat: 2 },
            Self::FixedList(of, length) => {
                let (of, length) = (of.measures(), u64::from(*length));
                Measures { size: of.size.saturating_mul(length), align: of.align, flat: of.flat.saturating_mul(length) }
            }
            Self::Record(fields) => Measures::sequence(fields.iter().map(|(_, shape)| shape.measures())),
            Self::Tuple(parts) => Measures::sequence(parts.iter().map(Self::measures)),
            Self::Variant(cases) => Measures::choice(
                cases.len(),
                cases.iter().filter_map(|(_, payload)| Some(payload.as_ref()?.measures())),
            ),
            Self::Enum(names) => Measures::choice(names.len(), std::iter::empty()),
            Self::Option(of) => Measures::choice(2, std::iter::once(of.measures())),
            Self::Result(ok, err) => Measures::choice(2, [ok, err].into_iter().flatten().map(|shape| shape.measures())),
            Self::Flags(names) => match names.len() {
                0..=8 => Measures::scalar(1),
                9..=16 => Measures::scalar(2),
                count => {
                    let words = count.div_ceil(32) as u64;
                    Measures { size: 4 * words, align: 4, flat: words }
                }
            },
        }
    }

    /// Whether resources may be in its values.
    pub fn has_handles(&self) -> bool {
        self.any(&|shape| matches!(shape, Self::Own | Self::Borrow))
    }

    /// Whether streams or futures may be in its values.
    pub fn has_streams(&self) -> bool {
        self.any(&|shape| matches!(shape, Self::Stream(_) | Self::Future(_)))
    }

    /// Whether `wanted` is true of this type or of one inside it. What streams carry is not inside.
    fn any(&self, wanted: &impl Fn(&Self) -> bool) -> bool {
        wanted(self)
            || match self {
                Self::List(of) | Self::FixedList(of, _) | Self::Option(of) => of.any(wanted),
                Self::Map(of) => of.0.any(wanted) || of.1.any(wanted),
                Self::Record(fields) => fields.iter().any(|(_, shape)| shape.any(wanted)),
                Self::Tuple(parts) => parts.iter().any(|shape| shape.any(wanted)),
                Self::Variant(cases) => cases.iter().filter_map(|(_, payload)| payload.as_ref()).any(|p| p.any(wanted)),
                Self::Result(ok, err) => [ok, err].into_iter().flatten().any(|shape| shape.any(wanted)),
                _ => false,
            }
    }
}

impl Scan<'_> {
    /// Checks that a value of `shape` comes next.
    fn value(&mut self, shape: &Shape) -> Result<(), ValueError> {
        let from = &mut self.from;
        match shape {
            Shape::Bool => drop(from.bool()?),
            Shape::S8 | Shape::U8 => drop(from.byte()?),
            Shape::S16 => drop(from.integer::<i16>()?),
            Shape::U16 => drop(from.unsigned::<u16>()?),
            Shape::S32 => drop(from.integer::<i32>()?),
            Shape::U32 => drop(from.unsigned::<u32>()?),
            Shape::S64 | Shape::U64 => drop(from.varint()?),
            Shape::F32 => drop(from.array::<4>()?),
            Shape::F64 => drop(from.array::<8>()?),
            Shape::Char => drop(from.char()?),
            Shape::String => drop(from.text()?),
            Shape::Own | Shape::Borrow => self.found.handles.push(from.unsigned()?),
            Shape::List(of) if **of == Shape::U8 => drop(from.bytes()?),
            Shape::List(of) => {
                for _ in 0..from.length()? {
                    self.value(of)?;
                }
            }
            Shape::FixedList(of, length) => {
                for _ in 0..*length {
                    self.value(of)?;
                }
            }
            Shape::Map(of) => {
                for _ in 0..from.length()? {
                    self.value(&of.0)?;
                    self.value(&of.1)?;
                }
            }
            Shape::Record(fields) => fields.iter().try_for_each(|(_, shape)| self.value(shape))?,
            Shape::Tuple(parts) => parts.iter().try_for_each(|shape| self.value(shape))?,
            Shape::Variant(cases) => {
                if let Some(payload) = &cases[from.case(cases.len())? as usize].1 {
                    self.value(payload)?;
                }
            }
            Shape::Enum(names) => drop(from.case(names.len())?),
            Shape::Option(of) => {
                if from.bool()? {
                    self.value(of)?;
                }
            }
            Shape::Result(ok, err) => {
                if let Some(payload) = if from.case(2)? == 0 { ok } else { err } {
                    self.value(payload)?;
                }
            }
            Shape::Flags(names) => drop(from.take(names.len().div_ceil(8))?),
            Shape::Stream(_) | Shape::Future(_) => {
                let at = self.whole - from.rest().len();
                if let Content::Elsewhere(ticket) = from.content()? {
                    self.found.tickets.push((at, ticket));
                }
            }
        }
        Ok(())
    }
}
