//! Every case of `pg-value`, to a real database and back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::start;
use lattice_provider::{
    conformance::servers::PostgresServer,
    wit::{Reader, Shape, WitType},
};
use lattice_provider_postgres::{
    Postgres,
    made::{
        query::Query,
        types::{
            Date, HashableF64, Interval, Lexeme, LexemeWeight, MacAddressEui48, MacAddressEui64, Offset,
            PgValue::{self, *},
            Point as Place, Time as Clock, TimeTz as ZonedClock, Timestamp as Moment, TimestampTz as ZonedMoment,
        },
    },
};
use serde_json::json;

async fn one(postgres: &Postgres, sql: &str, params: Vec<PgValue>) -> PgValue {
    let mut rows = postgres.query(sql.into(), params).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.pop().unwrap().pop().unwrap().value
}

fn case(value: &PgValue) -> String {
    let Shape::Variant(cases) = PgValue::shape() else { panic!("a variant") };
    let mut bytes = vec![];
    value.put(&mut bytes);
    cases[Reader::new(&bytes).case(cases.len()).unwrap() as usize].0.to_string()
}

/// Sign, exponent and mantissa of a number that has few bits.
fn f(number: f64) -> HashableF64 {
    let bits = number.abs().to_bits();
    let exponent = (bits >> 52) as i16;
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if exponent == 0 { fraction << 1 } else { fraction | 1 << 52 };
    (mantissa, exponent - 1075, if number.is_sign_negative() { -1 } else { 1 })
}

fn f32_(number: f32) -> HashableF64 {
    let bits = number.abs().to_bits();
    let exponent = (bits >> 23) as i16;
    let fraction = u64::from(bits & ((1 << 23) - 1));
    let mantissa = if exponent == 0 { fraction << 1 } else { fraction | 1 << 23 };
    (mantissa, exponent - 150, if number.is_sign_negative() { -1 } else { 1 })
}

fn p(x: f64, y: f64) -> Place {
    (f(x), f(y))
}

fn day(year: i32, month: u32, day: u32) -> Date {
    Date::Ymd((year, month, day))
}

fn clock(hour: u32, min: u32, sec: u32, micro: u32) -> Clock {
    Clock { hour, min, sec, micro }
}

fn utc(timestamp: Moment) -> ZonedMoment {
    ZonedMoment { timestamp, offset: Offset::WesternHemisphereSecs(0) }
}

fn lexeme(data: &str, position: u16, weight: LexemeWeight) -> Lexeme {
    Lexeme { position: Some(position), weight: Some(weight), data: data.into() }
}

fn s(text: &str) -> String {
    text.to_owned()
}

fn b(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

/// What is sent, as which type, and what comes back where that is another case.
fn table() -> Vec<(PgValue, &'static str, Option<PgValue>)> {
    let same = |value, ty| (value, ty, None);
    let as_ = |value, ty, back| (value, ty, Some(back));
    let (mac, mac8) =
        (MacAddressEui48 { bytes: (8, 0, 43, 1, 2, 3) }, MacAddressEui64 { bytes: (8, 0, 43, 1, 2, 3, 4, 5) });
    let noon = ZonedClock { timesonze: s("+05:45"), time: clock(12, 0, 0, 1) };
    let west = ZonedClock { timesonze: s("-03:30:15"), time: clock(24, 0, 0, 0) };
    let moment = Moment { date: day(2024, 2, 29), time: clock(23, 59, 59, 999_999) };
    let ancient = Moment { date: day(-43, 3, 15), time: clock(0, 0, 0, 0) };
    let far = Moment { date: day(12_345, 1, 1), time: clock(1, 2, 3, 4) };
    let never = Moment { date: Date::PositiveInfinity, time: clock(0, 0, 0, 0) };
    let east = ZonedMoment { timestamp: moment.clone(), offset: Offset::EasternHemisphereSecs(7200) };
    let in_utc = utc(Moment { date: day(2024, 2, 29), time: clock(21, 59, 59, 999_999) });
    let days = |start, end| Interval { start, start_inclusive: true, end, end_inclusive: false };
    let until =
        Interval { start: Date::NegativeInfinity, start_inclusive: false, end: day(2024, 1, 1), end_inclusive: false };
    let closed = Interval { start: day(2024, 1, 1), start_inclusive: true, end: day(2024, 1, 31), end_inclusive: true };
    let odd = [s(""), s("a,\"b\"\\{c}"), s("NULL"), s("né\u{1f980}")].to_vec();
    let triangle = vec![p(0.0, 0.0), p(1.5, 0.0), p(0.0, -2.25)];
    let uuid = s("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    vec![
        same(Null, "text"),
        as_(BigInt(i64::MIN), "int8", Int8(i64::MIN)),
        same(Int8(i64::MAX), "int8"),
        same(Int8Array(vec![i64::MIN, 0, i64::MAX]), "int8[]"),
        same(Int8Array(vec![]), "int8[]"),
        as_(BigSerial(1), "bigint", Int8(1)),
        as_(Serial8(1), "bigint", Int8(1)),
        same(Bool(true), "bool"),
        as_(Boolean(false), "bool", Bool(false)),
        same(BoolArray(vec![true, false]), "bool[]"),
        as_(Double(f(0.1)), "float8", Float8(f(0.1))),
        same(Float8(f(-1e300)), "float8"),
        same(Float8(f(5e-324)), "float8"),
        same(Float8(f(f64::INFINITY)), "float8"),
        same(Float8(f(-0.0)), "float8"),
        same(Float8((3 << 51, 972, 1)), "float8"),
        same(Float8Array(vec![f(1.5), f(f64::NEG_INFINITY), f(f64::MAX)]), "float8[]"),
        as_(Real(f32_(0.1)), "real", Float4(f32_(0.1))),
        same(Float4(f32_(-3.25)), "float4"),
        same(Float4((3 << 22, 105, 1)), "float4"),
        same(Float4Array(vec![f32_(f32::MAX), f32_(1e-45)]), "float4[]"),
        as_(Integer(i32::MIN), "int4", Int4(i32::MIN)),
        as_(Int(7), "int4", Int4(7)),
        same(Int4(i32::MAX), "int4"),
        same(Int4Array(vec![1, -1]), "int4[]"),
        same(Numeric(s("-12345678901234567890.000000000012345")), "numeric"),
        same(Numeric(s("0.00")), "numeric"),
        same(Numeric(s("NaN")), "numeric"),
        same(Numeric(s("-Infinity")), "numeric"),
        as_(Numeric(s("1e20")), "numeric", Numeric(s("100000000000000000000"))),
        as_(Decimal(s("10000.0001")), "numeric", Numeric(s("10000.0001"))),
        same(NumericArray(vec![s("1"), s("-0.00010"), s("99990000")]), "numeric[]"),
        as_(Serial(5), "int4", Int4(5)),
        as_(Serial4(5), "int8", Int8(5)),
        as_(Serial(u32::MAX), "oid", Int8(u32::MAX.into())),
        as_(SmallInt(-5), "int2", Int2(-5)),
        same(Int2(i16::MIN), "int2"),
        same(Int2Array(vec![1, 2]), "int2[]"),
        same(Int2Vector(vec![1, -2, 3]), "int2vector"),
        same(Int2VectorArray(vec![vec![1, 2], vec![3]]), "int2vector[]"),
        as_(SmallSerial(9), "int2", Int2(9)),
        as_(Serial2(9), "int2", Int2(9)),
        same(Bit((11, b(&[0b1010_0101, 0b0110_0000]))), "bit(11)"),
        same(BitArray(vec![(3, b(&[0b1010_0000])), (3, b(&[0]))]), "bit(3)[]"),
        as_(BitVarying((None, b(&[0xf0]))), "varbit", Varbit((Some(8), b(&[0xf0])))),
        same(Varbit((Some(4), b(&[0xf0]))), "varbit"),
        same(Varbit((Some(0), b(&[]))), "varbit"),
        same(VarbitArray(vec![(Some(1), b(&[0x80])), (Some(9), b(&[1, 0x80]))]), "varbit[]"),
        same(Bytea(b(&[0, 255, 39, 92])), "bytea"),
        same(ByteaArray(vec![b(&[0, 1, 92]), b(&[])]), "bytea[]"),
        same(Char((5, b(b"abc  "))), "char(5)"),
        same(CharArray(vec![(2, b(b"ab")), (2, b("é".as_bytes()))]), "bpchar[]"),
        same(Varchar((None, b("né".as_bytes()))), "varchar"),
        as_(Varchar((Some(10), b(b"short"))), "varchar(10)", Varchar((None, b(b"short")))),
        same(VarcharArray(vec![(None, b(b"a,b")), (None, b(b""))]), "varchar[]"),
        same(Cidr(s("10.0.0.0/8")), "cidr"),
        same(CidrArray(vec![s("192.168.0.0/16"), s("2001:db8::/32")]), "cidr[]"),
        same(Inet(s("192.168.0.1/24")), "inet"),
        same(InetArray(vec![s("127.0.0.1"), s("::1")]), "inet[]"),
        same(Macaddr(mac.clone()), "macaddr"),
        same(MacaddrArray(vec![mac]), "macaddr[]"),
        same(Macaddr8(mac8.clone()), "macaddr8"),
        same(Macaddr8Array(vec![mac8]), "macaddr8[]"),
        same(Box((p(-1.0, -2.0), p(3.0, 4.0))), "box"),
        same(BoxArray(vec![(p(0.0, 0.0), p(1.0, 1.0)), (p(2.0, 2.0), p(3.0, 3.5))]), "box[]"),
        same(Circle((p(1.0, 2.0), f(3.0))), "circle"),
        same(CircleArray(vec![(p(1.0, 2.0), f(0.5))]), "circle[]"),
        same(Line((p(0.0, 1.0), p(1.0, 3.0))), "line"),
        as_(Line((p(2.0, 5.0), p(2.0, 9.0))), "line", Line((p(2.0, 0.0), p(2.0, 1.0)))),
        same(LineArray(vec![(p(0.0, 0.0), p(1.0, -1.0))]), "line[]"),
        same(Lseg((p(0.0, 1.0), p(1.0, 3.0))), "lseg"),
        same(LsegArray(vec![(p(0.0, 1.0), p(1.0, 3.0))]), "lseg[]"),
        same(Path(triangle.clone()), "path"),
        same(PathArray(vec![triangle.clone(), vec![p(1.0, 1.0)]]), "path[]"),
        same(Point(p(1e-300, -1e300)), "point"),
        same(PointArray(vec![p(0.1, 0.2), p(-0.1, 0.0)]), "point[]"),
        same(Polygon(triangle.clone()), "polygon"),
        same(PolygonArray(vec![triangle]), "polygon[]"),
        same(Date(day(1999, 12, 31)), "date"),
        same(Date(day(-4712, 1, 1)), "date"),
        same(Date(day(0, 12, 31)), "date"),
        same(Date(day(5_874_897, 12, 31)), "date"),
        same(Date(Date::PositiveInfinity), "date"),
        same(DateArray(vec![day(2000, 2, 29), Date::NegativeInfinity]), "date[]"),
        same(Interval(days(day(2024, 1, 1), day(2024, 2, 1))), "daterange"),
        as_(Interval(closed), "daterange", Interval(days(day(2024, 1, 1), day(2024, 2, 1)))),
        same(IntervalArray(vec![days(day(2024, 1, 1), day(2024, 2, 1)), until]), "daterange[]"),
        same(Time(clock(23, 59, 59, 999_999)), "time"),
        same(TimeArray(vec![clock(0, 0, 0, 0), clock(24, 0, 0, 0)]), "time[]"),
        same(TimeTz(noon.clone()), "timetz"),
        same(TimeTzArray(vec![noon, west]), "timetz[]"),
        same(Timestamp(moment.clone()), "timestamp"),
        same(Timestamp(ancient.clone()), "timestamp"),
        same(Timestamp(far.clone()), "timestamp"),
        same(TimestampArray(vec![moment.clone(), never.clone()]), "timestamp[]"),
        as_(TimestampTz(east), "timestamptz", TimestampTz(in_utc)),
        same(TimestampTz(utc(ancient)), "timestamptz"),
        same(TimestampTz(utc(never)), "timestamptz"),
        same(TimestampTzArray(vec![utc(moment), utc(far)]), "timestamptz[]"),
        same(Json(s("{\"a\": [1,  null]}")), "json"),
        same(JsonArray(vec![s("1"), s("\"a\\\"\"")]), "json[]"),
        same(Jsonb(s("{\"a\": [1, null]}")), "jsonb"),
        same(JsonbArray(vec![s("null"), s("{}")]), "jsonb[]"),
        same(Money(s("-92233720368547758.08")), "money"),
        as_(Money(s("5")), "money", Money(s("5.00"))),
        same(MoneyArray(vec![s("0.01"), s("-0.50")]), "money[]"),
        same(MoneyArray(vec![]), "money[]"),
        same(PgLsn(0x16_b374_d848), "pg_lsn"),
        same(PgLsnArray(vec![0, u64::MAX]), "pg_lsn[]"),
        same(PgSnapshot((10, 20, vec![10, 14, 15])), "pg_snapshot"),
        same(PgSnapshot((10, 10, vec![])), "txid_snapshot"),
        same(TxidSnapshot(1 << 40), "xid8"),
        same(Name(s("a name")), "name"),
        same(NameArray(vec![s("a"), s("b\"c")]), "name[]"),
        same(Text(s("a 'text'\n\\ \u{1f980}")), "text"),
        same(TextArray(odd.clone()), "text[]"),
        same(Xml(s("<a b=\"c\">d</a>")), "xml"),
        same(XmlArray(vec![s("<a/>")]), "xml[]"),
        same(TsQuery(s("'fat' & !( 'rat' | 'cat':*AB ) <2> 'o''x'")), "tsquery"),
        same(
            TsVector(vec![
                Lexeme { position: None, weight: None, data: s("a'b\\") },
                lexeme("cat", 1, LexemeWeight::D),
                lexeme("cat", 3, LexemeWeight::A),
                lexeme("fat", 16_383, LexemeWeight::C),
            ]),
            "tsvector",
        ),
        same(Uuid(uuid.clone()), "uuid"),
        same(UuidArray(vec![uuid.clone()]), "uuid[]"),
        same(Hstore(vec![(s("a\"\\"), Some(s("=> ,"))), (s("key"), None)]), "hstore"),
        same(Hstore(vec![]), "hstore"),
        // What is taken for other types than its own.
        as_(Text(uuid.clone()), "uuid", Uuid(uuid)),
        as_(Text(s("1.10")), "numeric", Numeric(s("1.10"))),
        as_(Text(s("1 year 2 mons -3 days 04:05:06.7")), "interval", Text(s("14 mons -3 days 04:05:06.700000"))),
        as_(Text(s("calm")), "mood", Text(s("calm"))),
        as_(TextArray(vec![s("calm"), s("wild")]), "mood[]", TextArray(vec![s("calm"), s("wild")])),
        as_(Int4(3), "positive", Int4(3)),
        as_(Int8(3), "numeric", Numeric(s("3"))),
        as_(Varchar((None, b(b"x"))), "text", Text(s("x"))),
        as_(TextArray(odd), "positive_texts", TextArray(vec![s(""), s("a,\"b\"\\{c}"), s("NULL"), s("né\u{1f980}")])),
    ]
}

#[tokio::test]
async fn every_case_comes_back() {
    let server = PostgresServer::start().unwrap();
    let (postgres, _health) = start(&server.url(), json!({})).await.unwrap();
    let types = "CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('calm', 'wild');
        CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN positive_texts AS text[]";
    postgres.query_batch(types.into()).await.unwrap();
    let mut seen = BTreeSet::new();
    for (value, ty, back) in table() {
        seen.insert(case(&value));
        let expected = back.unwrap_or_else(|| value.clone());
        assert_eq!(one(&postgres, &format!("SELECT $1::{ty}"), vec![value]).await, expected, "{ty}");
    }
    let Shape::Variant(cases) = PgValue::shape() else { panic!("a variant") };
    let missing: Vec<_> = cases.iter().filter(|(name, _)| !seen.contains(&**name)).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "cases that are not in the table: {missing:?}");
}

#[tokio::test]
async fn what_is_read_is_what_the_database_shows() {
    let server = PostgresServer::start().unwrap();
    let (postgres, _health) = start(&server.url(), json!({})).await.unwrap();
    // The same value in its binary form, and as the database writes it.
    for (ty, values) in [
        (
            "numeric",
            &[
                "0",
                "0.5",
                "-1",
                "1000000000000000000000000000000.0001",
                "0.00000000001",
                "12345.6789",
                "1e-20",
                "1e40",
                "9999",
            ][..],
        ),
        (
            "tsquery",
            &[
                "a",
                "a & b | c",
                "a & (b | c)",
                "!a",
                "!(a & b)",
                "a <-> b <-> c",
                "a <-> (b <-> c)",
                "!!a",
                "a <3> !b",
                "(a | b) & (c | d) & e",
                "super:*",
                "x:ABCD",
                "'it''s' | 'b\\\\c'",
                "!(a <-> b)",
                "(a & b) <-> c",
            ],
        ),
        ("inet", &["1.2.3.4", "1.2.3.4/16", "::ffff:1.2.3.4", "fe80::1/64", "1::"]),
        ("cidr", &["1.2.3.4/32", "::/0"]),
        ("uuid", &["00000000-0000-0000-0000-000000000001"]),
    ] {
        for value in values {
            let literal = value.replace('\'', "''");
            let sql = format!("SELECT format('%s', '{literal}'::{ty}), '{literal}'::{ty}");
            let mut row =
                postgres.query(sql.clone(), vec![]).await.unwrap_or_else(|e| panic!("{sql}: {e}")).pop().unwrap();
            let (value, shown) = (row.pop().unwrap().value, row.pop().unwrap().value);
            let (Numeric(read) | TsQuery(read) | Inet(read) | Cidr(read) | Uuid(read)) = value else {
                panic!("{value:?}")
            };
            assert_eq!(Text(read), shown);
        }
    }
    for (sql, expected) in [
        ("SELECT 'x'::\"char\"", Char((1, b(b"x")))),
        ("SELECT pg_sleep(0)", Null),
        ("SELECT 'pg_class'::regclass", Int8(1259)),
        ("SELECT interval '-1 day -00:00:00.5'", Text(s("0 mons -1 days -00:00:00.500000"))),
        ("SELECT 'empty'::daterange = $1", Bool(true)),
        ("SELECT '[2024-01-01,)'::daterange = $1", Bool(true)),
    ] {
        let nothing =
            Interval { start: day(2000, 1, 1), start_inclusive: false, end: day(2000, 1, 1), end_inclusive: false };
        let since = Interval {
            start: day(2024, 1, 1),
            start_inclusive: true,
            end: Date::PositiveInfinity,
            end_inclusive: false,
        };
        let params = match sql {
            _ if sql.contains("empty") => vec![Interval(nothing)],
            _ if sql.contains("$1") => vec![Interval(since)],
            _ => vec![],
        };
        assert_eq!(one(&postgres, sql, params).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn what_components_cannot_have_is_told() {
    let server = PostgresServer::start().unwrap();
    let (postgres, _health) = start(&server.url(), json!({})).await.unwrap();
    for (sql, parts) in [
        ("SELECT ARRAY[1, NULL] AS list", ["column `list`", "a null in it"]),
        ("SELECT ARRAY[[1], [2]] AS list", ["column `list`", "several dimensions"]),
        ("SELECT ROW(1, 2) AS pair", ["column `pair`", "::text"]),
        ("SELECT '[1,2)'::int4range AS range", ["column `range`", "int4range"]),
    ] {
        let error = postgres.query(sql.into(), vec![]).await.unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{sql}: {error}");
    }
    for (value, ty, part) in [
        (Bit((9, b(&[0]))), "bit(9)", "9 bits take 2 bytes"),
        (Money(s("0.001")), "money", "at most 2 decimals"),
        (Money(s("1e5")), "money", "no amount"),
        (Time(clock(1, 2, 3, 1_000_000)), "time", "a second or more"),
        (Char((3, b(b"ab"))), "char(3)", "should have 3"),
        (Varchar((Some(1), b(b"ab"))), "varchar", "its own limit of 1"),
        (Varchar((None, b(&[0xff]))), "varchar", "not UTF-8"),
        (Text(s("a\0b")), "text", "0x00"),
        (
            TsVector(vec![Lexeme { position: None, weight: Some(LexemeWeight::A), data: s("x") }]),
            "tsvector",
            "no position",
        ),
        (Date(day(2023, 2, 29)), "date", "out of range"),
    ] {
        let error = postgres.query(format!("SELECT $1::{ty}"), vec![value]).await.unwrap_err().to_string();
        assert!(error.starts_with("invalid params: ") && error.contains(part), "{ty}: {error}");
    }
    assert_eq!(one(&postgres, "SELECT 1", vec![]).await, Int4(1));
}
