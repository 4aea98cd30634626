//! Any value of any type through a guest and back, by all four ways of the lens: into an export, out of an import, back
//! into the import, out of the export.

use std::fmt::Write as _;

use bytes::Bytes;
use lattice::wire::value::{
    FunctionShape, Shape,
    samples::{self, Dice},
};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker, types::ComponentItem},
};

use super::{ExportRoad, Intake, define, define_concurrent, dynamic, function_shape};

/// Writes WAT types; nominal ones get a name that the interface exports, as the component model asks for.
#[derive(Default)]
struct Types {
    text: String,
    count: usize,
}

impl Types {
    fn name(&mut self, shape: &Shape) -> String {
        let plain = match shape {
            Shape::Bool => "bool",
            Shape::S8 => "s8",
            Shape::U8 => "u8",
            Shape::S16 => "s16",
            Shape::U16 => "u16",
            Shape::S32 => "s32",
            Shape::U32 => "u32",
            Shape::S64 => "s64",
            Shape::U64 => "u64",
            Shape::F32 => "f32",
            Shape::F64 => "f64",
            Shape::Char => "char",
            Shape::String => "string",
            _ => "",
        };
        if !plain.is_empty() {
            return plain.to_owned();
        }
        let labels = |names: &[Box<str>]| names.iter().map(|name| format!(" \"{name}\"")).collect::<String>();
        let body = match shape {
            Shape::List(of) => format!("(list {})", self.name(of)),
            Shape::FixedList(of, length) => format!("(list {} {length})", self.name(of)),
            Shape::Map(of) => format!("(map {} {})", self.name(&of.0), self.name(&of.1)),
            Shape::Tuple(parts) => {
                format!("(tuple {})", parts.iter().map(|part| self.name(part)).collect::<Vec<_>>().join(" "))
            }
            Shape::Record(fields) => {
                let fields: Vec<_> = fields.iter().map(|(n, s)| format!("(field \"{n}\" {})", self.name(s))).collect();
                format!("(record {})", fields.join(" "))
            }
            Shape::Variant(cases) => {
                let case = |(name, payload): &(Box<str>, Option<Shape>)| match payload {
                    Some(payload) => format!("(case \"{name}\" {})", self.name(payload)),
                    None => format!("(case \"{name}\")"),
                };
                format!("(variant {})", cases.iter().map(case).collect::<Vec<_>>().join(" "))
            }
            Shape::Enum(names) => format!("(enum{})", labels(names)),
            Shape::Flags(names) => format!("(flags{})", labels(names)),
            Shape::Option(of) => format!("(option {})", self.name(of)),
            Shape::Result(ok, err) => {
                let ok = ok.as_ref().map_or(String::new(), |ok| self.name(ok));
                let err = err.as_ref().map_or(String::new(), |err| format!("(error {})", self.name(err)));
                format!("(result {ok} {err})")
            }
            other => panic!("no text for {other:?}"),
        };
        let number = self.count;
        self.count += 1;
        let _ =
            writeln!(self.text, "(type $d{number} {body}) (export \"t{number}\" (type $t{number} (eq $d{number})))");
        format!("$t{number}")
    }
}

/// The core types that stand for a value.
fn flat(shape: &Shape) -> Vec<&'static str> {
    let choice = |payloads: Vec<Vec<&'static str>>| {
        let mut whole = vec!["i32"];
        for payload in payloads {
            for (index, ty) in payload.into_iter().enumerate() {
                match whole.get_mut(index + 1) {
                    None => whole.push(ty),
                    Some(there) if *there == ty => {}
                    Some(there) => *there = if there.ends_with("32") && ty.ends_with("32") { "i32" } else { "i64" },
                }
            }
        }
        whole
    };
    match shape {
        Shape::S64 | Shape::U64 => vec!["i64"],
        Shape::F32 => vec!["f32"],
        Shape::F64 => vec!["f64"],
        Shape::String | Shape::List(_) | Shape::Map(_) => vec!["i32", "i32"],
        Shape::FixedList(of, length) => flat(of).repeat(*length as usize),
        Shape::Tuple(parts) => parts.iter().flat_map(flat).collect(),
        Shape::Record(fields) => fields.iter().flat_map(|(_, shape)| flat(shape)).collect(),
        Shape::Variant(cases) => choice(cases.iter().map(|(_, p)| p.as_ref().map_or(Vec::new(), flat)).collect()),
        Shape::Option(of) => choice(vec![flat(of)]),
        Shape::Result(ok, err) => choice([ok, err].into_iter().flatten().map(|shape| flat(shape)).collect()),
        Shape::Flags(names) => vec!["i32"; names.len().div_ceil(32)],
        _ => vec!["i32"],
    }
}

/// How the function that is tested is declared, and on which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    /// On the engine with concurrency.
    Concurrent,
    /// As an `async func` there.
    Async,
}

/// A component that imports `echo` of `shape`, and exports it again.
fn chain(shape: &Shape, mode: Mode) -> String {
    let keyword = if mode == Mode::Async { "async" } else { "" };
    let mut types = Types::default();
    let name = types.name(shape);
    let core = flat(shape);
    let params = if core.len() > 16 { vec!["i32"] } else { core.clone() };
    let list = |types: &[&str]| if types.is_empty() { String::new() } else { format!("(param {})", types.join(" ")) };
    let pass: String = (0..params.len()).map(|index| format!("local.get {index} ")).collect();
    let in_memory = core.len() > 1;
    // The imported function writes a result that is more than one value to where it is told.
    let (import_type, export_type, body) = if in_memory {
        let import: Vec<_> = params.iter().copied().chain(["i32"]).collect();
        let back = format!("{pass} i32.const 64 call $echo i32.const 64");
        (list(&import), format!("{} (result i32)", list(&params)), back)
    } else {
        let ty = format!("{} (result {})", list(&params), core[0]);
        (ty.clone(), ty, format!("{pass} call $echo"))
    };
    let aliases: String = (0..types.count).map(|n| format!("(alias export $i \"t{n}\" (type $t{n}))\n")).collect();
    let again: String = (0..types.count).map(|n| format!("(export $e{n} \"t{n}\" (type $t{n}))\n")).collect();
    let exported = if name.starts_with('$') { name.replace("$t", "$e") } else { name.clone() };
    format!(
        r#"(component
            (import "t:t/i" (instance $i
                {types}
                (export "echo" (func {keyword} (param "x" {name}) (result {name})))))
            {aliases}
            (core module $memory
                (memory (export "memory") 64)
                (global $next (mut i32) (i32.const 1048576))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $next (i32.and
                        (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                        (i32.sub (i32.const 0) (local.get 2))))
                    global.get $next
                    (global.set $next (i32.add (global.get $next) (local.get 3)))))
            (core instance $m (instantiate $memory))
            (core func $lowered (canon lower (func $i "echo")
                (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
            (core module $body
                (import "i" "echo" (func $echo {import_type}))
                (func (export "echo") {export_type} {body}))
            (core instance $b (instantiate $body (with "i" (instance (export "echo" (func $lowered))))))
            {again}
            (func (export "echo") {keyword} (param "x" {exported}) (result {exported})
                (canon lift (core func $b "echo") (memory (core memory $m "memory")) (realloc (core func $m "realloc")))))"#,
        types = types.text,
    )
}

fn engine(mode: Mode) -> Engine {
    let concurrent = mode != Mode::Plain;
    let mut config = Config::new();
    config
        .wasm_component_model_fixed_length_lists(true)
        .wasm_component_model_map(true)
        .wasm_component_model_async(concurrent)
        .concurrency_support(concurrent);
    Engine::new(&config).unwrap()
}

/// A linker whose `echo` gives back what it is given.
fn echoing(engine: &Engine, mode: Mode, function: &FunctionShape) -> Linker<()> {
    let mut linker = Linker::new(engine);
    let mut into = linker.instance("t:t/i").unwrap();
    if mode == Mode::Async {
        define_concurrent(&mut into, "echo", function, |_, args| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(intake(&args.bytes))
            })
        })
        .unwrap();
    } else {
        define(&mut into, "echo", function, |_, args| Box::new(async move { Ok(intake(&args.bytes)) })).unwrap();
    }
    linker
}

fn intake(bytes: &[u8]) -> Intake {
    Intake { bytes: Bytes::copy_from_slice(bytes), ..Intake::default() }
}

#[tokio::test]
async fn any_value_of_any_type_comes_back() {
    for (mode, seeds) in [(Mode::Plain, 150), (Mode::Concurrent, 60), (Mode::Async, 60)] {
        let engine = engine(mode);
        for seed in 0..seeds {
            value_comes_back(&engine, mode, seed * 7919).await;
        }
    }
}

async fn value_comes_back(engine: &Engine, mode: Mode, seed: u64) {
    let mut dice = Dice::new(seed);
    let shape = samples::shape(3, &mut dice);
    let text = chain(&shape, mode);
    let component = Component::new(engine, wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}")));
    let component = component.unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let Some(ComponentItem::ComponentFunc(ty)) =
        component.component_type().get_export(engine, "echo").map(|item| item.ty)
    else {
        panic!("no echo in\n{text}");
    };
    let function = function_shape(&ty).unwrap();
    let expected = FunctionShape { params: [("x".into(), shape.clone())].into(), result: Some(shape.clone()) };
    assert_eq!(function, expected);
    assert_eq!(function.params_measures().flat, flat(&shape).len() as u64, "{shape:?}");
    let linker = echoing(engine, mode, &function);
    let road = ExportRoad::of(&function, mode != Mode::Plain);
    for _ in 0..8 {
        let mut store = Store::new(engine, ());
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let echo = instance.get_func(&mut store, "echo").unwrap();
        let bytes = samples::value(&shape, &mut dice);
        let lifted = road.call(&mut store, echo, intake(&bytes)).await;
        let lifted = lifted.unwrap_or_else(|error| panic!("{mode:?}: {error:?}\n{shape:?}\n{text}"));
        assert_eq!(lifted.bytes, bytes, "{mode:?}, seed {seed}: {shape:?}");
        let lifted = dynamic::call(&function, &mut store, echo, &bytes).await.unwrap();
        assert_eq!(lifted.bytes, bytes, "by wasmtime's own values, {mode:?}, seed {seed}: {shape:?}");
    }
}

/// Bytes that are no value of the type are an error, and never a panic.
#[tokio::test]
async fn any_bytes_are_a_value_or_an_error() {
    let engine = engine(Mode::Plain);
    for seed in 0..60 {
        let mut dice = Dice::new(seed * 104_729);
        let shape = samples::shape(3, &mut dice);
        let text = chain(&shape, Mode::Plain);
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let function = FunctionShape { params: [("x".into(), shape.clone())].into(), result: Some(shape.clone()) };
        let linker = echoing(&engine, Mode::Plain, &function);
        let road = ExportRoad::of(&function, false);
        for _ in 0..20 {
            let mut bytes = samples::value(&shape, &mut dice);
            match dice.below(3) {
                0 => bytes.truncate(dice.below(bytes.len() + 1)),
                1 => bytes.push(dice.roll() as u8),
                _ if !bytes.is_empty() => {
                    let at = dice.below(bytes.len());
                    bytes[at] = dice.roll() as u8;
                }
                _ => {}
            }
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
            let echo = instance.get_func(&mut store, "echo").unwrap();
            let valid = function.scan_arguments(&bytes).is_ok();
            let outcome = road.call(&mut store, echo, intake(&bytes)).await;
            assert_eq!(outcome.is_ok(), valid, "seed {seed}: {shape:?}: {bytes:?}: {:?}", outcome.err());
        }
    }
}
