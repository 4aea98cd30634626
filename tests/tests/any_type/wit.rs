//! Components whose functions give values of any type back: an `echo` that does, and a `caller` that asks it.

use std::fmt::Write as _;

use lattice::wire::value::Shape;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What the echo exports, and the caller imports.
const ECHO: &str = "t:t/echo@1.0.0";
/// What the caller exports: the same functions.
pub(crate) const CALLER: &str = "t:t/caller@1.0.0";

/// Both components, for functions `g0`, `g1`, ... of a value of each of `shapes`.
pub(crate) fn components(shapes: &[Shape]) -> (Vec<u8>, Vec<u8>) {
    let wit = package(shapes);
    (component(&wit, "echoes", &echo(shapes)), component(&wit, "calls", &caller(shapes)))
}

/// A value of `shape` as these functions take it. The canonical ABI passes few core values by themselves, which a guest
/// without a compiler cannot put into memory again; with this many it passes all of them in memory.
pub(crate) fn carried(shape: Shape) -> Shape {
    match core(&shape) {
        Some(_) => shape,
        None => Shape::Tuple([shape, Shape::FixedList(Box::new(Shape::U8), 17)].into()),
    }
}

/// The core type of what is passed by itself.
fn core(shape: &Shape) -> Option<&'static str> {
    match shape {
        Shape::S64 | Shape::U64 => Some("i64"),
        Shape::F32 => Some("f32"),
        Shape::F64 => Some("f64"),
        Shape::Bool | Shape::S8 | Shape::U8 | Shape::S16 | Shape::U16 | Shape::S32 | Shape::U32 | Shape::Char => {
            Some("i32")
        }
        Shape::Enum(_) | Shape::Flags(_) => Some("i32"),
        _ => None,
    }
}

/// The WIT package.
fn package(shapes: &[Shape]) -> String {
    let mut types = Types::default();
    let mut functions = String::new();
    for (number, shape) in shapes.iter().enumerate() {
        let name = types.name(shape);
        let _ = writeln!(functions, "g{number}: func(x: {name}) -> {name};");
    }
    let body = format!("{}{functions}", types.text);
    format!(
        "package t:t@1.0.0;\ninterface echo {{\n{body}}}\ninterface caller {{\n{body}}}\nworld echoes {{ export echo; }}\nworld \
         calls {{ import echo; export caller; }}\n"
    )
}

/// Writes WIT types; those that WIT wants to be named get a name.
#[derive(Default)]
struct Types {
    text: String,
    count: usize,
}

impl Types {
    fn name(&mut self, shape: &Shape) -> String {
        let labels = |names: &[Box<str>]| names.join(", ");
        match shape {
            Shape::Bool => "bool".to_owned(),
            Shape::S8 => "s8".to_owned(),
            Shape::U8 => "u8".to_owned(),
            Shape::S16 => "s16".to_owned(),
            Shape::U16 => "u16".to_owned(),
            Shape::S32 => "s32".to_owned(),
            Shape::U32 => "u32".to_owned(),
            Shape::S64 => "s64".to_owned(),
            Shape::U64 => "u64".to_owned(),
            Shape::F32 => "f32".to_owned(),
            Shape::F64 => "f64".to_owned(),
            Shape::Char => "char".to_owned(),
            Shape::String => "string".to_owned(),
            Shape::List(of) => format!("list<{}>", self.name(of)),
            Shape::FixedList(of, length) => format!("list<{}, {length}>", self.name(of)),
            Shape::Map(of) => format!("map<{}, {}>", self.name(&of.0), self.name(&of.1)),
            Shape::Tuple(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.name(part)).collect();
                format!("tuple<{}>", parts.join(", "))
            }
            Shape::Option(of) => format!("option<{}>", self.name(of)),
            Shape::Result(ok, err) => {
                let ok = ok.as_ref().map_or("_".to_owned(), |ok| self.name(ok));
                match err {
                    Some(err) => format!("result<{ok}, {}>", self.name(err)),
                    None if ok == "_" => "result".to_owned(),
                    None => format!("result<{ok}>"),
                }
            }
            Shape::Record(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, of)| format!("{name}: {}", self.name(of))).collect();
                self.named("record", &fields.join(", "))
            }
            Shape::Variant(cases) => {
                let case = |(name, payload): &(Box<str>, Option<Shape>)| match payload {
                    Some(payload) => format!("{name}({})", self.name(payload)),
                    None => name.to_string(),
                };
                let cases: Vec<_> = cases.iter().map(case).collect();
                self.named("variant", &cases.join(", "))
            }
            Shape::Enum(names) => self.named("enum", &labels(names)),
            Shape::Flags(names) => self.named("flags", &labels(names)),
            other => panic!("no WIT for {other:?}"),
        }
    }

    fn named(&mut self, kind: &str, body: &str) -> String {
        let name = format!("t{}", self.count);
        self.count += 1;
        let _ = writeln!(self.text, "{kind} {name} {{ {body} }}");
        name
    }
}

/// What both core modules have: memory that is given out and never taken back, as instances live for one call.
const MEMORY: &str = r#"(memory (export "memory") 64)
    (global $next (mut i32) (i32.const 1048576))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $next (i32.and
            (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
            (i32.sub (i32.const 0) (local.get 2))))
        global.get $next
        (global.set $next (i32.add (global.get $next) (local.get 3))))"#;

/// Gives back what it is given, be it the value or where it lies.
fn echo(shapes: &[Shape]) -> String {
    let function = |(number, shape)| {
        let ty = core(shape).unwrap_or("i32");
        format!("(func (export \"{ECHO}#g{number}\") (param {ty}) (result {ty}) local.get 0)\n")
    };
    let functions: String = shapes.iter().enumerate().map(function).collect();
    format!("(module {MEMORY}\n{functions})")
}

/// Hands on what it is given; what lies in memory comes back at an address below all that is given out.
fn caller(shapes: &[Shape]) -> String {
    let (mut imports, mut functions) = (String::new(), String::new());
    for (number, shape) in shapes.iter().enumerate() {
        let (ty, passed, more) = match core(shape) {
            Some(ty) => (ty, format!("(param {ty}) (result {ty})"), ""),
            None => ("i32", "(param i32 i32)".to_owned(), "i32.const 64"),
        };
        let _ = writeln!(imports, "(import \"{ECHO}\" \"g{number}\" (func $f{number} {passed}))");
        let _ = writeln!(
            functions,
            "(func (export \"{CALLER}#g{number}\") (param {ty}) (result {ty}) local.get 0 {more} call $f{number} {more})"
        );
    }
    format!("(module {imports}\n{MEMORY}\n{functions})")
}

fn component(wit: &str, world: &str, core: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("any-type.wit", wit).unwrap_or_else(|error| panic!("{error:#}\n{wit}"));
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut module = wat::parse_str(core).unwrap_or_else(|error| panic!("{error}\n{core}"));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let encoded = ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode());
    encoded.unwrap_or_else(|error| panic!("{error:#}\n{wit}\n{core}"))
}
