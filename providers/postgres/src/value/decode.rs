//! From the database's binary form to values. Each type has one case; what has none is an error that says how to ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use tokio_postgres::types::{Kind, Type};

use super::{
    Misfit, Session,
    array::elements,
    clock,
    float::{take_apart, take_apart_32},
    reader::{Reader, text},
    search, type_name,
};
use crate::made::types::{MacAddressEui48, MacAddressEui64, PgValue, Point};

/// The transaction numbers of version 13 and later.
pub(super) const XID8: u32 = 5069;
/// Snapshots of these.
pub(super) const PG_SNAPSHOT: u32 = 5038;

pub(crate) fn decode(ty: &Type, raw: &[u8], session: Session) -> Result<PgValue, Misfit> {
    match ty.kind() {
        Kind::Domain(of) => decode(of, raw, session),
        Kind::Enum(_) => text(raw).map(PgValue::Text),
        Kind::Array(_) if *ty == Type::INT2_VECTOR => elements(raw, Reader::i16).map(PgValue::Int2Vector),
        Kind::Array(of) => array(of, raw, session),
        _ => scalar(ty, &mut Reader::new(raw), session),
    }
}

fn scalar(ty: &Type, raw: &mut Reader<'_>, session: Session) -> Result<PgValue, Misfit> {
    Ok(match *ty {
        Type::BOOL => PgValue::Bool(raw.u8()? != 0),
        Type::INT2 => PgValue::Int2(raw.i16()?),
        Type::INT4 => PgValue::Int4(raw.i32()?),
        Type::INT8 => PgValue::Int8(raw.i64()?),
        // Numbers without a sign, and names of things in the catalog, which are such numbers.
        Type::OID | Type::XID | Type::CID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC => {
            PgValue::Int8(raw.u32()?.into())
        }
        Type::FLOAT4 => PgValue::Float4(take_apart_32(raw.f32()?)),
        Type::FLOAT8 => PgValue::Float8(take_apart(raw.f64()?)),
        Type::NUMERIC => PgValue::Numeric(numeric(raw)?),
        Type::MONEY => PgValue::Money(money(raw, session)?),
        Type::TEXT | Type::UNKNOWN => PgValue::Text(text(raw.rest())?),
        Type::VARCHAR => PgValue::Varchar((None, bytes(raw))),
        Type::BPCHAR | Type::CHAR => PgValue::Char(chars(raw)),
        Type::NAME => PgValue::Name(text(raw.rest())?),
        Type::XML => PgValue::Xml(text(raw.rest())?),
        Type::JSON => PgValue::Json(text(raw.rest())?),
        Type::JSONB => PgValue::Jsonb(jsonb(raw)?),
        Type::BYTEA => PgValue::Bytea(bytes(raw)),
        Type::BIT => PgValue::Bit(bits(raw)?),
        Type::VARBIT => PgValue::Varbit(some_bits(raw)?),
        Type::UUID => PgValue::Uuid(uuid(raw)?),
        Type::CIDR => PgValue::Cidr(network(raw)?),
        Type::INET => PgValue::Inet(network(raw)?),
        Type::MACADDR => PgValue::Macaddr(mac(raw)?),
        Type::MACADDR8 => PgValue::Macaddr8(mac8(raw)?),
        Type::POINT => PgValue::Point(point(raw)?),
        Type::BOX => PgValue::Box(corners(raw)?),
        Type::CIRCLE => PgValue::Circle(circle(raw)?),
        Type::LINE => PgValue::Line(line(raw)?),
        Type::LSEG => PgValue::Lseg((point(raw)?, point(raw)?)),
        Type::PATH => PgValue::Path(path(raw)?),
        Type::POLYGON => PgValue::Polygon(points(raw)?),
        Type::DATE => PgValue::Date(clock::date(raw)?),
        Type::DATE_RANGE => PgValue::Interval(clock::interval(raw)?),
        Type::INTERVAL => PgValue::Text(clock::span(raw)?),
        Type::TIME => PgValue::Time(clock::time(raw)?),
        Type::TIMETZ => PgValue::TimeTz(clock::time_tz(raw)?),
        Type::TIMESTAMP => PgValue::Timestamp(clock::timestamp(raw)?),
        Type::TIMESTAMPTZ => PgValue::TimestampTz(clock::timestamp_tz(raw)?),
        Type::PG_LSN => PgValue::PgLsn(raw.u64()?),
        Type::TXID_SNAPSHOT => PgValue::PgSnapshot(snapshot(raw)?),
        Type::TSQUERY => PgValue::TsQuery(search::query(raw)?),
        Type::TS_VECTOR => PgValue::TsVector(search::vector(raw)?),
        // What a function returns that returns nothing.
        Type::VOID => PgValue::Null,
        _ => return other(ty, raw),
    })
}

/// Types that are known by number or name alone.
fn other(ty: &Type, raw: &mut Reader<'_>) -> Result<PgValue, Misfit> {
    match (ty.oid(), ty.name()) {
        (PG_SNAPSHOT, _) => snapshot(raw).map(PgValue::PgSnapshot),
        (XID8, _) => raw.i64().map(PgValue::TxidSnapshot),
        (_, "hstore") => hstore(raw).map(PgValue::Hstore),
        (_, "citext") => text(raw.rest()).map(PgValue::Text),
        _ => Err(no_case(ty)),
    }
}

fn no_case(ty: &Type) -> Misfit {
    let name = type_name(ty);
    Misfit(format!("the type {name}, for which components have no value; write `::text` behind it in the query"))
}

fn array(of: &Type, raw: &[u8], session: Session) -> Result<PgValue, Misfit> {
    if let Kind::Domain(of) = of.kind() {
        return array(of, raw, session);
    }
    if matches!(of.kind(), Kind::Enum(_)) {
        return elements(raw, |raw| text(raw.rest())).map(PgValue::TextArray);
    }
    let texts = |raw| elements(raw, |raw| text(raw.rest()));
    Ok(match *of {
        Type::BOOL => PgValue::BoolArray(elements(raw, |raw| Ok(raw.u8()? != 0))?),
        Type::INT2 => PgValue::Int2Array(elements(raw, Reader::i16)?),
        Type::INT4 => PgValue::Int4Array(elements(raw, Reader::i32)?),
        Type::INT8 => PgValue::Int8Array(elements(raw, Reader::i64)?),
        Type::OID => PgValue::Int8Array(elements(raw, |raw| raw.u32().map(i64::from))?),
        Type::INT2_VECTOR => PgValue::Int2VectorArray(elements(raw, |raw| elements(raw.rest(), Reader::i16))?),
        Type::FLOAT4 => PgValue::Float4Array(elements(raw, |raw| raw.f32().map(take_apart_32))?),
        Type::FLOAT8 => PgValue::Float8Array(elements(raw, |raw| raw.f64().map(take_apart))?),
        Type::NUMERIC => PgValue::NumericArray(elements(raw, numeric)?),
        Type::MONEY => PgValue::MoneyArray(elements(raw, |raw| money(raw, session))?),
        Type::TEXT => PgValue::TextArray(texts(raw)?),
        Type::VARCHAR => PgValue::VarcharArray(elements(raw, |raw| Ok((None, bytes(raw))))?),
        Type::BPCHAR | Type::CHAR => PgValue::CharArray(elements(raw, |raw| Ok(chars(raw)))?),
        Type::NAME => PgValue::NameArray(texts(raw)?),
        Type::XML => PgValue::XmlArray(texts(raw)?),
        Type::JSON => PgValue::JsonArray(texts(raw)?),
        Type::JSONB => PgValue::JsonbArray(elements(raw, jsonb)?),
        Type::BYTEA => PgValue::ByteaArray(elements(raw, |raw| Ok(bytes(raw)))?),
        Type::BIT => PgValue::BitArray(elements(raw, bits)?),
        Type::VARBIT => PgValue::VarbitArray(elements(raw, some_bits)?),
        Type::UUID => PgValue::UuidArray(elements(raw, uuid)?),
        Type::CIDR => PgValue::CidrArray(elements(raw, network)?),
        Type::INET => PgValue::InetArray(elements(raw, network)?),
        Type::MACADDR => PgValue::MacaddrArray(elements(raw, mac)?),
        Type::MACADDR8 => PgValue::Macaddr8Array(elements(raw, mac8)?),
        Type::POINT => PgValue::PointArray(elements(raw, point)?),
        Type::BOX => PgValue::BoxArray(elements(raw, corners)?),
        Type::CIRCLE => PgValue::CircleArray(elements(raw, circle)?),
        Type::LINE => PgValue::LineArray(elements(raw, line)?),
        Type::LSEG => PgValue::LsegArray(elements(raw, |raw| Ok((point(raw)?, point(raw)?)))?),
        Type::PATH => PgValue::PathArray(elements(raw, path)?),
        Type::POLYGON => PgValue::PolygonArray(elements(raw, points)?),
        Type::DATE => PgValue::DateArray(elements(raw, clock::date)?),
        Type::DATE_RANGE => PgValue::IntervalArray(elements(raw, clock::interval)?),
        Type::INTERVAL => PgValue::TextArray(elements(raw, clock::span)?),
        Type::TIME => PgValue::TimeArray(elements(raw, clock::time)?),
        Type::TIMETZ => PgValue::TimeTzArray(elements(raw, clock::time_tz)?),
        Type::TIMESTAMP => PgValue::TimestampArray(elements(raw, clock::timestamp)?),
        Type::TIMESTAMPTZ => PgValue::TimestampTzArray(elements(raw, clock::timestamp_tz)?),
        Type::PG_LSN => PgValue::PgLsnArray(elements(raw, Reader::u64)?),
        _ if of.name() == "citext" => PgValue::TextArray(texts(raw)?),
        _ => return Err(Misfit(format!("an array of {}", no_case(of)))),
    })
}

fn bytes(raw: &mut Reader<'_>) -> Bytes {
    Bytes::copy_from_slice(raw.rest())
}

fn chars(raw: &mut Reader<'_>) -> (u32, Bytes) {
    let bytes = bytes(raw);
    // A value has at most a gigabyte.
    (u32::try_from(bytes.len()).unwrap_or(u32::MAX), bytes)
}

fn jsonb(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    match raw.u8()? {
        1 => text(raw.rest()),
        other => Err(Misfit(format!("a jsonb of version {other}, which is not known"))),
    }
}

fn bits(raw: &mut Reader<'_>) -> Result<(u32, Bytes), Misfit> {
    let count = raw.count()?;
    Ok((count, Bytes::copy_from_slice(raw.take(count.div_ceil(8) as usize)?)))
}

fn some_bits(raw: &mut Reader<'_>) -> Result<(Option<u32>, Bytes), Misfit> {
    bits(raw).map(|(count, bytes)| (Some(count), bytes))
}

/// Digits in groups of four, with the weight of the first group.
fn numeric(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    let (groups, weight, sign, scale) = (raw.u16()?, raw.i16()?, raw.u16()?, raw.u16()?);
    let mut out = String::new();
    match sign {
        0 => {}
        0x4000 => out.push('-'),
        0xc000 => return Ok("NaN".into()),
        0xd000 => return Ok("Infinity".into()),
        0xf000 => return Ok("-Infinity".into()),
        other => return Err(Misfit(format!("a number with the sign {other:#x}, which is not known"))),
    }
    let digits: Vec<u16> = (0..groups).map(|_| raw.u16()).collect::<Result<_, _>>()?;
    let at = |place: i32| usize::try_from(i32::from(weight) - place).ok().and_then(|index| digits.get(index)).copied();
    match weight {
        ..0 => out.push('0'),
        _ => {
            out.push_str(&at(weight.into()).unwrap_or_default().to_string());
            (0..i32::from(weight)).rev().for_each(|place| out.push_str(&four(at(place))));
        }
    }
    if scale > 0 {
        let scale = usize::from(scale);
        let mut decimals = String::new();
        for place in (1..).take(scale.div_ceil(4)) {
            decimals.push_str(&four(at(-place)));
        }
        out.push('.');
        out.push_str(decimals.get(..scale).unwrap_or(&decimals));
    }
    Ok(out)
}

fn four(group: Option<u16>) -> String {
    format!("{:04}", group.unwrap_or_default())
}

fn money(raw: &mut Reader<'_>, session: Session) -> Result<String, Misfit> {
    let amount = raw.i64()?;
    let sign = if amount < 0 { "-" } else { "" };
    let digits = session.money_digits as usize;
    let all = format!("{:0width$}", amount.unsigned_abs(), width = digits + 1);
    let (whole, decimals) = all.split_at(all.len() - digits);
    let point = if digits > 0 { "." } else { "" };
    Ok(format!("{sign}{whole}{point}{decimals}"))
}

fn uuid(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    let mut out = String::with_capacity(36);
    for (index, byte) in raw.take(16)?.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    Ok(out)
}

fn network(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    let (_family, prefix, is_cidr, length) = (raw.u8()?, raw.u8()?, raw.u8()?, raw.u8()?);
    let address = raw.take(length.into())?;
    let address: IpAddr = match length {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(address).unwrap_or_default()).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(address).unwrap_or_default()).into(),
        other => return Err(Misfit(format!("an address of {other} bytes"))),
    };
    let whole = u32::from(prefix) == u32::from(length) * 8;
    Ok(if whole && is_cidr == 0 { address.to_string() } else { format!("{address}/{prefix}") })
}

fn mac(raw: &mut Reader<'_>) -> Result<MacAddressEui48, Misfit> {
    let mut next = || raw.u8();
    Ok(MacAddressEui48 { bytes: (next()?, next()?, next()?, next()?, next()?, next()?) })
}

fn mac8(raw: &mut Reader<'_>) -> Result<MacAddressEui64, Misfit> {
    let mut next = || raw.u8();
    Ok(MacAddressEui64 { bytes: (next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?) })
}

fn point(raw: &mut Reader<'_>) -> Result<Point, Misfit> {
    Ok((take_apart(raw.f64()?), take_apart(raw.f64()?)))
}

fn points(raw: &mut Reader<'_>) -> Result<Vec<Point>, Misfit> {
    (0..raw.count()?).map(|_| point(raw)).collect()
}

/// Whether it is closed is not told.
fn path(raw: &mut Reader<'_>) -> Result<Vec<Point>, Misfit> {
    raw.u8()?;
    points(raw)
}

/// The upper right corner stands first.
fn corners(raw: &mut Reader<'_>) -> Result<(Point, Point), Misfit> {
    let upper = point(raw)?;
    Ok((point(raw)?, upper))
}

fn circle(raw: &mut Reader<'_>) -> Result<(Point, crate::made::types::Radius), Misfit> {
    Ok((point(raw)?, take_apart(raw.f64()?)))
}

/// Ax + By + C = 0, as two of its points.
fn line(raw: &mut Reader<'_>) -> Result<(Point, Point), Misfit> {
    let (a, b, c) = (raw.f64()?, raw.f64()?, raw.f64()?);
    // So that zero has no sign.
    let point = |x: f64, y: f64| (take_apart(x + 0.0), take_apart(y + 0.0));
    Ok(match b == 0.0 {
        true => (point(-c / a, 0.0), point(-c / a, 1.0)),
        false => (point(0.0, -c / b), point(1.0, -(a + c) / b)),
    })
}

fn snapshot(raw: &mut Reader<'_>) -> Result<(i64, i64, Vec<i64>), Misfit> {
    let count = raw.count()?;
    let (first, next) = (raw.i64()?, raw.i64()?);
    Ok((first, next, (0..count).map(|_| raw.i64()).collect::<Result<_, _>>()?))
}

fn hstore(raw: &mut Reader<'_>) -> Result<Vec<(String, Option<String>)>, Misfit> {
    let mut pairs = Vec::new();
    for _ in 0..raw.count()? {
        let key = text(raw.sized()?.ok_or("a key that is null")?)?;
        pairs.push((key, raw.sized()?.map(text).transpose()?));
    }
    Ok(pairs)
}
