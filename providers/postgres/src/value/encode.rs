//! From values to parameters. Which types take a value is decided here; what its text means, by the database.

use std::{borrow::Cow, error::Error, fmt::Write};

use bytes::{BufMut, BytesMut};
use lattice_provider::wit::{Reader, WitType};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::{
    Misfit, Session, array, clock,
    decode::{PG_SNAPSHOT, XID8},
    float::{put_together, put_together_32},
    search, type_name,
};
use crate::made::types::{HashableF64, PgValue, Point};

/// A value as a parameter.
pub(crate) struct Param<'a> {
    pub(crate) value: &'a PgValue,
    pub(crate) session: Session,
}

/// What was given is nobody's business but the database's.
impl std::fmt::Debug for Param<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a parameter")
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match written(self.value, base(ty), self.session)? {
            Written::Null => return Ok(IsNull::Yes),
            Written::Text(text) => out.put_slice(text.as_bytes()),
            Written::Bytes(bytes) => out.put_slice(bytes),
            Written::Money(amount) => out.put_i64(amount),
            Written::Monies(amounts) => {
                // One dimension, no nulls, elements of this type, so many, counted from 1.
                for head in [1, 0, Type::MONEY.oid(), u32::try_from(amounts.len())?, 1] {
                    out.put_u32(head);
                }
                for amount in amounts {
                    out.put_u32(8);
                    out.put_i64(amount);
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self.value {
            PgValue::Null | PgValue::Bytea(_) | PgValue::Money(_) | PgValue::MoneyArray(_) => Format::Binary,
            _ => Format::Text,
        }
    }

    to_sql_checked!();
}

/// Whether a parameter of this type takes the value.
pub(crate) fn check(value: &PgValue, ty: &Type) -> Result<(), Misfit> {
    if accepts(value, base(ty)) {
        return Ok(());
    }
    Err(Misfit(format!("a value `{}` is no {}", case(value), type_name(ty))))
}

/// The type behind domains.
fn base(ty: &Type) -> &Type {
    match ty.kind() {
        Kind::Domain(of) => base(of),
        _ => ty,
    }
}

/// The WIT name of a value's case.
fn case(value: &PgValue) -> String {
    let lattice_provider::wit::Shape::Variant(cases) = PgValue::shape() else { return String::new() };
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    let index = Reader::new(&bytes).case(cases.len()).unwrap_or_default();
    cases.get(index as usize).map(|(name, _)| name.to_string()).unwrap_or_default()
}

fn accepts(value: &PgValue, ty: &Type) -> bool {
    let element = match ty.kind() {
        Kind::Array(of) if *ty != Type::INT2_VECTOR => Some(base(of)),
        _ => None,
    };
    match (list_class(value), element) {
        (Some(class), Some(element)) => class.takes(element),
        (None, None) => class_of(value).is_none_or(|class| class.takes(ty)),
        _ => false,
    }
}

/// What values of several cases have in common.
#[derive(Clone, Copy)]
enum Class {
    Number,
    Money,
    Chars,
    Text,
    /// Any of these types.
    One(&'static [Type]),
    Snapshot,
    Txid,
    Hstore,
}

impl Class {
    fn takes(self, ty: &Type) -> bool {
        match self {
            Self::Number => matches!(
                *ty,
                Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8
            ),
            Self::Money => *ty == Type::MONEY,
            Self::Chars => {
                matches!(*ty, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN)
                    || ty.name() == "citext"
            }
            Self::Text => !has_own_value(ty),
            Self::One(types) => types.contains(ty),
            Self::Snapshot => *ty == Type::TXID_SNAPSHOT || ty.oid() == PG_SNAPSHOT,
            Self::Txid => *ty == Type::INT8 || ty.oid() == XID8,
            Self::Hstore => ty.name() == "hstore",
        }
    }
}

/// Types that text is not taken for: their values have cases that are no text.
fn has_own_value(ty: &Type) -> bool {
    matches!(ty.kind(), Kind::Array(_))
        || matches!(
            *ty,
            Type::BOOL
                | Type::INT2
                | Type::INT4
                | Type::INT8
                | Type::OID
                | Type::FLOAT4
                | Type::FLOAT8
                | Type::BYTEA
                | Type::BIT
                | Type::VARBIT
                | Type::MONEY
                | Type::MACADDR
                | Type::MACADDR8
                | Type::POINT
                | Type::BOX
                | Type::CIRCLE
                | Type::LINE
                | Type::LSEG
                | Type::PATH
                | Type::POLYGON
                | Type::PG_LSN
                | Type::TS_VECTOR
        )
}

const INTEGERS: Class = Class::Number;
const BITS: Class = Class::One(const { &[Type::BIT, Type::VARBIT] });
const FLOATS: Class = Class::One(const { &[Type::FLOAT4, Type::FLOAT8, Type::NUMERIC] });
const JSON: Class = Class::One(const { &[Type::JSON, Type::JSONB] });
const NETWORK: Class = Class::One(const { &[Type::CIDR, Type::INET] });
const TIMES: Class = Class::One(const { &[Type::TIMESTAMP, Type::TIMESTAMPTZ] });

/// Of a value that is no list; `None` for null.
fn class_of(value: &PgValue) -> Option<Class> {
    use PgValue as V;
    Some(match value {
        V::BigInt(_) | V::Int8(_) | V::BigSerial(_) | V::Serial8(_) | V::Integer(_) | V::Int(_) | V::Int4(_) => {
            INTEGERS
        }
        V::Serial(_) | V::Serial4(_) | V::SmallInt(_) | V::Int2(_) | V::SmallSerial(_) | V::Serial2(_) => INTEGERS,
        V::Bool(_) | V::Boolean(_) => Class::One(const { &[Type::BOOL] }),
        V::Double(_) | V::Float8(_) | V::Real(_) | V::Float4(_) => FLOATS,
        V::Numeric(_) | V::Decimal(_) => FLOATS,
        V::Int2Vector(_) => Class::One(const { &[Type::INT2_VECTOR] }),
        V::Bit(_) | V::BitVarying(_) | V::Varbit(_) => BITS,
        V::Bytea(_) => Class::One(const { &[Type::BYTEA] }),
        V::Char(_) | V::Varchar(_) | V::Name(_) => Class::Chars,
        V::Text(_) => Class::Text,
        V::Cidr(_) | V::Inet(_) => NETWORK,
        V::Macaddr(_) => Class::One(const { &[Type::MACADDR, Type::MACADDR8] }),
        V::Macaddr8(_) => Class::One(const { &[Type::MACADDR8] }),
        V::Box(_) => Class::One(const { &[Type::BOX] }),
        V::Circle(_) => Class::One(const { &[Type::CIRCLE] }),
        V::Line(_) => Class::One(const { &[Type::LINE] }),
        V::Lseg(_) => Class::One(const { &[Type::LSEG] }),
        V::Path(_) => Class::One(const { &[Type::PATH] }),
        V::Point(_) => Class::One(const { &[Type::POINT] }),
        V::Polygon(_) => Class::One(const { &[Type::POLYGON] }),
        V::Date(_) => Class::One(const { &[Type::DATE, Type::TIMESTAMP, Type::TIMESTAMPTZ] }),
        V::Interval(_) => Class::One(const { &[Type::DATE_RANGE] }),
        V::Time(_) => Class::One(const { &[Type::TIME] }),
        V::TimeTz(_) => Class::One(const { &[Type::TIMETZ] }),
        V::Timestamp(_) => Class::One(const { &[Type::TIMESTAMP] }),
        V::TimestampTz(_) => TIMES,
        V::Json(_) | V::Jsonb(_) => JSON,
        V::Money(_) => Class::Money,
        V::PgLsn(_) => Class::One(const { &[Type::PG_LSN] }),
        V::PgSnapshot(_) => Class::Snapshot,
        V::TxidSnapshot(_) => Class::Txid,
        V::Xml(_) => Class::One(const { &[Type::XML] }),
        V::TsQuery(_) => Class::One(const { &[Type::TSQUERY] }),
        V::TsVector(_) => Class::One(const { &[Type::TS_VECTOR] }),
        V::Uuid(_) => Class::One(const { &[Type::UUID] }),
        V::Hstore(_) => Class::Hstore,
        _ => return None,
    })
}

/// Of the elements of a value that is a list.
fn list_class(value: &PgValue) -> Option<Class> {
    use PgValue as V;
    Some(match value {
        V::Int8Array(_) | V::Int4Array(_) | V::Int2Array(_) => INTEGERS,
        V::BoolArray(_) => Class::One(const { &[Type::BOOL] }),
        V::Float8Array(_) | V::Float4Array(_) | V::NumericArray(_) => FLOATS,
        V::Int2VectorArray(_) => Class::One(const { &[Type::INT2_VECTOR] }),
        V::BitArray(_) | V::VarbitArray(_) => BITS,
        V::ByteaArray(_) => Class::One(const { &[Type::BYTEA] }),
        V::CharArray(_) | V::VarcharArray(_) | V::NameArray(_) => Class::Chars,
        V::TextArray(_) => Class::Text,
        V::CidrArray(_) | V::InetArray(_) => NETWORK,
        V::MacaddrArray(_) => Class::One(const { &[Type::MACADDR, Type::MACADDR8] }),
        V::Macaddr8Array(_) => Class::One(const { &[Type::MACADDR8] }),
        V::BoxArray(_) => Class::One(const { &[Type::BOX] }),
        V::CircleArray(_) => Class::One(const { &[Type::CIRCLE] }),
        V::LineArray(_) => Class::One(const { &[Type::LINE] }),
        V::LsegArray(_) => Class::One(const { &[Type::LSEG] }),
        V::PathArray(_) => Class::One(const { &[Type::PATH] }),
        V::PointArray(_) => Class::One(const { &[Type::POINT] }),
        V::PolygonArray(_) => Class::One(const { &[Type::POLYGON] }),
        V::DateArray(_) => Class::One(const { &[Type::DATE] }),
        V::IntervalArray(_) => Class::One(const { &[Type::DATE_RANGE] }),
        V::TimeArray(_) => Class::One(const { &[Type::TIME] }),
        V::TimeTzArray(_) => Class::One(const { &[Type::TIMETZ] }),
        V::TimestampArray(_) => Class::One(const { &[Type::TIMESTAMP] }),
        V::TimestampTzArray(_) => Class::One(const { &[Type::TIMESTAMPTZ] }),
        V::JsonArray(_) | V::JsonbArray(_) => JSON,
        V::MoneyArray(_) => Class::Money,
        V::PgLsnArray(_) => Class::One(const { &[Type::PG_LSN] }),
        V::XmlArray(_) => Class::One(const { &[Type::XML] }),
        V::UuidArray(_) => Class::One(const { &[Type::UUID] }),
        _ => return None,
    })
}

/// A value in the form of its `encode_format`.
enum Written<'a> {
    Null,
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
    Money(i64),
    Monies(Vec<i64>),
}

fn written<'a>(value: &'a PgValue, ty: &Type, session: Session) -> Result<Written<'a>, Misfit> {
    use PgValue as V;
    Ok(match value {
        V::Null => Written::Null,
        V::Bytea(bytes) => Written::Bytes(bytes),
        V::Money(amount) => Written::Money(cents(amount, session)?),
        V::MoneyArray(amounts) => {
            Written::Monies(amounts.iter().map(|amount| cents(amount, session)).collect::<Result<_, _>>()?)
        }
        V::Numeric(text) | V::Decimal(text) | V::Cidr(text) | V::Inet(text) | V::Json(text) | V::Jsonb(text) => {
            plain(text)
        }
        V::Name(text) | V::Text(text) | V::Xml(text) | V::TsQuery(text) | V::Uuid(text) => plain(text),
        V::Char((length, bytes)) => plain(fixed(*length, bytes)?),
        V::Varchar((limit, bytes)) => plain(limited(*limit, bytes)?),
        _ => {
            let mut out = String::new();
            match list_class(value) {
                Some(_) => put_list(&mut out, value, ty)?,
                None => put_scalar(&mut out, value)?,
            }
            Written::Text(out.into())
        }
    })
}

fn plain(text: &str) -> Written<'_> {
    Written::Text(text.into())
}

fn put_scalar(out: &mut String, value: &PgValue) -> Result<(), Misfit> {
    use PgValue as V;
    match value {
        V::BigInt(n) | V::Int8(n) | V::BigSerial(n) | V::Serial8(n) | V::TxidSnapshot(n) => put(out, n),
        V::Integer(n) | V::Int(n) | V::Int4(n) => put(out, n),
        V::Serial(n) | V::Serial4(n) => put(out, n),
        V::SmallInt(n) | V::Int2(n) | V::SmallSerial(n) | V::Serial2(n) => put(out, n),
        V::Bool(b) | V::Boolean(b) => put(out, b),
        V::Double(n) | V::Float8(n) => put_double(out, n),
        V::Real(n) | V::Float4(n) => put_real(out, n),
        V::Int2Vector(list) => put_vector(out, list),
        V::Bit((count, bytes)) => put_bits(out, *count, bytes),
        V::BitVarying((limit, bytes)) | V::Varbit((limit, bytes)) => put_some_bits(out, *limit, bytes),
        V::Macaddr(mac) => {
            let (a, b, c, d, e, f) = mac.bytes;
            put_hex(out, &[a, b, c, d, e, f])
        }
        V::Macaddr8(mac) => {
            let (a, b, c, d, e, f, g, h) = mac.bytes;
            put_hex(out, &[a, b, c, d, e, f, g, h])
        }
        V::Box((a, b)) | V::Line((a, b)) | V::Lseg((a, b)) => put_points(out, &[*a, *b], "(", ")"),
        V::Circle((centre, radius)) => put_circle(out, centre, radius),
        V::Path(points) => put_points(out, points, "[", "]"),
        V::Polygon(points) => put_points(out, points, "(", ")"),
        V::Point(point) => put_points(out, &[*point], "", ""),
        V::Date(date) => clock::put_date(out, date),
        V::Interval(days) => clock::put_interval(out, days),
        V::Time(time) => clock::put_time(out, time),
        V::TimeTz(time) => clock::put_time_tz(out, time),
        V::Timestamp(moment) => clock::put_timestamp(out, moment),
        V::TimestampTz(moment) => clock::put_timestamp_tz(out, moment),
        V::PgLsn(place) => put(out, format_args!("{:X}/{:X}", place >> 32, place & 0xffff_ffff)),
        V::PgSnapshot((first, next, open)) => {
            put(out, format_args!("{first}:{next}:"))?;
            open.iter()
                .enumerate()
                .try_for_each(|(n, id)| put(out, format_args!("{}{id}", if n > 0 { "," } else { "" })))
        }
        V::TsVector(lexemes) => search::put_vector(out, lexemes),
        V::Hstore(pairs) => {
            for (key, value) in pairs {
                array::put_quoted(out, key);
                out.push_str("=>");
                match value {
                    Some(value) => array::put_quoted(out, value),
                    None => out.push_str("NULL"),
                }
                out.push(',');
            }
            Ok(())
        }
        other => Err(Misfit(format!("a value `{}`, which is written in another way", case(other)))),
    }
}

fn put_list(out: &mut String, value: &PgValue, ty: &Type) -> Result<(), Misfit> {
    use PgValue as V;
    let is_box = *ty == Type::BOX_ARRAY;
    match value {
        V::Int8Array(l) => array::put(out, l, ',', |out, n| put(out, n)),
        V::Int4Array(l) => array::put(out, l, ',', |out, n| put(out, n)),
        V::Int2Array(l) => array::put(out, l, ',', |out, n| put(out, n)),
        V::BoolArray(l) => array::put(out, l, ',', |out, b| put(out, b)),
        V::Float8Array(l) => array::put(out, l, ',', put_double),
        V::Float4Array(l) => array::put(out, l, ',', put_real),
        V::Int2VectorArray(l) => array::put(out, l, ',', |out, list| put_vector(out, list)),
        V::BitArray(l) => array::put(out, l, ',', |out, (count, bytes)| put_bits(out, *count, bytes)),
        V::VarbitArray(l) => array::put(out, l, ',', |out, (limit, bytes)| put_some_bits(out, *limit, bytes)),
        V::ByteaArray(l) => array::put(out, l, ',', |out, bytes| {
            out.push_str("\\x");
            bytes.iter().try_for_each(|byte| put(out, format_args!("{byte:02x}")))
        }),
        V::CharArray(l) => array::put(out, l, ',', |out, (length, bytes)| put(out, fixed(*length, bytes)?)),
        V::VarcharArray(l) => array::put(out, l, ',', |out, (limit, bytes)| put(out, limited(*limit, bytes)?)),
        V::NumericArray(l) | V::CidrArray(l) | V::InetArray(l) | V::JsonArray(l) | V::JsonbArray(l) => {
            put_texts(out, l)
        }
        V::NameArray(l) | V::TextArray(l) | V::XmlArray(l) | V::UuidArray(l) => put_texts(out, l),
        V::MacaddrArray(l) => array::put(out, l, ',', |out, mac| put_scalar(out, &V::Macaddr(mac.clone()))),
        V::Macaddr8Array(l) => array::put(out, l, ',', |out, mac| put_scalar(out, &V::Macaddr8(mac.clone()))),
        V::BoxArray(l) | V::LineArray(l) | V::LsegArray(l) => {
            // Boxes have commas between them and are apart by semicolons.
            array::put(out, l, if is_box { ';' } else { ',' }, |out, (a, b)| put_points(out, &[*a, *b], "(", ")"))
        }
        V::CircleArray(l) => array::put(out, l, ',', |out, (centre, radius)| put_circle(out, centre, radius)),
        V::PathArray(l) => array::put(out, l, ',', |out, points| put_points(out, points, "[", "]")),
        V::PointArray(l) => array::put(out, l, ',', |out, point| put_points(out, &[*point], "", "")),
        V::PolygonArray(l) => array::put(out, l, ',', |out, points| put_points(out, points, "(", ")")),
        V::DateArray(l) => array::put(out, l, ',', clock::put_date),
        V::IntervalArray(l) => array::put(out, l, ',', clock::put_interval),
        V::TimeArray(l) => array::put(out, l, ',', clock::put_time),
        V::TimeTzArray(l) => array::put(out, l, ',', clock::put_time_tz),
        V::TimestampArray(l) => array::put(out, l, ',', clock::put_timestamp),
        V::TimestampTzArray(l) => array::put(out, l, ',', clock::put_timestamp_tz),
        V::PgLsnArray(l) => array::put(out, l, ',', |out, place| put_scalar(out, &V::PgLsn(*place))),
        other => Err(Misfit(format!("a value `{}`, which is no list", case(other)))),
    }
}

fn put(out: &mut String, what: impl std::fmt::Display) -> Result<(), Misfit> {
    // Writing to a string cannot fail.
    let _ = write!(out, "{what}");
    Ok(())
}

fn put_texts(out: &mut String, list: &[String]) -> Result<(), Misfit> {
    array::put(out, list, ',', |out, text| {
        out.push_str(text);
        Ok(())
    })
}

fn put_double(out: &mut String, number: &HashableF64) -> Result<(), Misfit> {
    put(out, put_together(number)?)
}

fn put_real(out: &mut String, number: &HashableF64) -> Result<(), Misfit> {
    put(out, put_together_32(number)?)
}

fn put_vector(out: &mut String, list: &[i16]) -> Result<(), Misfit> {
    list.iter().try_for_each(|n| put(out, format_args!("{n} ")))
}

fn put_bits(out: &mut String, count: u32, bytes: &[u8]) -> Result<(), Misfit> {
    let needed = count.div_ceil(8) as usize;
    if needed != bytes.len() {
        return Err(Misfit(format!("{count} bits take {needed} bytes, and {} are given", bytes.len())));
    }
    let all = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 != 0));
    out.extend(all.take(count as usize).map(|bit| if bit { '1' } else { '0' }));
    Ok(())
}

/// The number is that of the bits, or the most that there may be; without one all bits of the bytes are meant.
fn put_some_bits(out: &mut String, limit: Option<u32>, bytes: &[u8]) -> Result<(), Misfit> {
    let all = u32::try_from(bytes.len().saturating_mul(8)).unwrap_or(u32::MAX);
    put_bits(out, limit.unwrap_or(all).min(all), bytes)
}

fn put_hex(out: &mut String, bytes: &[u8]) -> Result<(), Misfit> {
    let colon = |n| if n > 0 { ":" } else { "" };
    bytes.iter().enumerate().try_for_each(|(n, byte)| put(out, format_args!("{}{byte:02x}", colon(n))))
}

fn put_points(out: &mut String, points: &[Point], before: &str, after: &str) -> Result<(), Misfit> {
    out.push_str(before);
    for (n, (x, y)) in points.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        put(out, format_args!("{comma}({},{})", put_together(x)?, put_together(y)?))?;
    }
    out.push_str(after);
    Ok(())
}

fn put_circle(out: &mut String, centre: &Point, radius: &HashableF64) -> Result<(), Misfit> {
    put_points(out, &[*centre], "<", ",")?;
    put_double(out, radius)?;
    put(out, '>')
}

fn utf8(bytes: &[u8]) -> Result<&str, Misfit> {
    std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8".into())
}

/// A text of this many bytes or characters.
fn fixed(length: u32, bytes: &[u8]) -> Result<&str, Misfit> {
    let text = utf8(bytes)?;
    if [text.len(), text.chars().count()].contains(&(length as usize)) {
        return Ok(text);
    }
    Err(Misfit(format!("a text of {} bytes that should have {length}", text.len())))
}

fn limited(limit: Option<u32>, bytes: &[u8]) -> Result<&str, Misfit> {
    let text = utf8(bytes)?;
    match limit {
        Some(limit) if text.chars().count() > limit as usize => {
            Err(Misfit(format!("a text of {} characters, over its own limit of {limit}", text.chars().count())))
        }
        _ => Ok(text),
    }
}

/// An amount in its smallest part.
fn cents(amount: &str, session: Session) -> Result<i64, Misfit> {
    let wrong = || Misfit(format!("`{amount}` is no amount with at most {} decimals", session.money_digits));
    let (negative, digits) = match amount.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, amount),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let given = decimals.len();
    let wanted = session.money_digits as usize;
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if given > wanted || whole.is_empty() || !all_digits(whole) || !all_digits(decimals) {
        return Err(wrong());
    }
    let sign = if negative { "-" } else { "" };
    format!("{sign}{whole}{decimals}{}", "0".repeat(wanted - given)).parse().map_err(|_| wrong())
}
