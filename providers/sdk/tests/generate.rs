//! What `generate!` makes, of every type that a provider can have.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler},
    wire::{
        CallError, CallHead, ContentType, Interface,
        value::{
            FunctionShape, json,
            samples::{self, Dice},
        },
    },
};
use lattice_provider::{Caller, wit::async_trait};

lattice_provider::generate!({ path: ["tests/wit/every.wit"], world: "test:every/every" });

use echo::Whole;
use loose::{Failure, Loose};
use plain::Plain;
use strict::{Problem, Strict};
use types::{Color, Point, Shape, Small, Wide};

struct Every;

type Results = (Result<u8, String>, Result<(), Color>, Result<u16, ()>, Result<(), ()>);
type Maps = (BTreeMap<String, Shape>, BTreeMap<u16, Vec<Bytes>>);
type Fixed = [[Option<u16>; 3]; 40];

#[async_trait]
impl echo::Echo for Every {
    async fn same_whole(&self, value: Whole) -> Result<Whole, String> {
        Ok(value)
    }
    async fn same_points(&self, value: Vec<Point>) -> Result<Vec<Point>, String> {
        Ok(value)
    }
    async fn same_color(&self, value: Color) -> Result<Color, String> {
        Ok(value)
    }
    async fn same_small(&self, value: Small) -> Result<Small, String> {
        Ok(value)
    }
    async fn same_wide(&self, value: Wide) -> Result<Wide, String> {
        Ok(value)
    }
    async fn same_form(&self, value: Shape) -> Result<Shape, String> {
        Ok(value)
    }
    async fn same_blob(&self, value: Bytes) -> Result<Bytes, String> {
        Ok(value)
    }
    async fn same_maybe(&self, value: echo::Echo_) -> Result<echo::Echo_, String> {
        Ok(value)
    }
    async fn same_results(&self, value: Results) -> Result<Results, String> {
        Ok(value)
    }
    async fn same_maps(&self, value: Maps) -> Result<Maps, String> {
        Ok(value)
    }
    async fn same_fixed(&self, value: Fixed) -> Result<Fixed, String> {
        Ok(value)
    }
}

#[async_trait]
impl Plain for Every {
    async fn many(
        &self,
        a: u8,
        b: u16,
        c: u32,
        d: u64,
        e: i8,
        f: i16,
        g: i32,
        h: i64,
        i: bool,
        j: char,
        k: String,
        l: f32,
        m: f64,
        n: Option<u8>,
    ) -> Result<String, CallError> {
        Ok(format!("{a} {b} {c} {d} {e} {f} {g} {h} {i} {j} {k} {l} {m} {n:?}"))
    }
    async fn nothing(&self) -> Result<(), CallError> {
        Ok(())
    }
    async fn r#match(&self, self_: String) -> Result<u32, CallError> {
        self_.parse().map_err(|_| CallError::Denied(self_))
    }
    async fn later(&self, value: u64) -> Result<u64, CallError> {
        tokio::task::yield_now().await;
        Ok(value)
    }
}

#[async_trait]
impl Strict for Every {
    async fn r#try(&self, r#loop: bool) -> Result<u8, Problem> {
        if r#loop { Err(Problem::Never) } else { Ok(7) }
    }
    async fn both(&self) -> Result<(), ()> {
        Err(())
    }
}

#[async_trait]
impl Loose for Every {
    async fn fail(&self, how: u8) -> Result<(), Failure> {
        match how {
            0 => Ok(()),
            1 => Err(Failure::AccessDenied),
            2 => Err(Failure::TooMany(9)),
            _ => Err(Failure::At(Point { x: 1, r#type: 0.5 })),
        }
    }
}

fn handler() -> Arc<dyn CallHandler> {
    serve(Every).handler(&Bus::memory("default".parse().unwrap()))
}

async fn ask(
    interface: &str,
    function: &str,
    content_type: ContentType,
    payload: impl Into<Bytes>,
) -> Result<Bytes, CallError> {
    let head = CallHead {
        interface: interface.parse().unwrap(),
        function: function.to_owned(),
        deadline: Duration::from_secs(1),
        caller: None,
        content_type,
        traceparent: None,
        session: None,
    };
    handler().call(head, payload.into()).await
}

/// Calls the provider as if it were far away.
enum Far {
    Postcard,
    /// It speaks JSON alone.
    Json,
    /// Nothing gets through.
    Cut,
}

#[async_trait]
impl Caller for Far {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        match self {
            Self::Postcard => ask(&interface.to_string(), function, ContentType::Postcard, payload).await,
            Self::Json => {
                let shape = shape.unwrap();
                let text = json::arguments_to_json(shape, &payload)?;
                let reply = ask(&interface.to_string(), function, ContentType::Json, text).await?;
                Ok(json::result_from_json(shape.result.as_ref(), &reply)?.into())
            }
            Self::Cut => Err(CallError::Transport("cut".into())),
        }
    }
}

fn straight() -> Arc<dyn Caller> {
    Arc::new(Far::Postcard)
}

fn cut() -> Arc<dyn Caller> {
    Arc::new(Far::Cut)
}

fn echo_shape(function: &str) -> &'static FunctionShape {
    echo::function_shape(function).unwrap()
}

#[tokio::test]
async fn any_value_comes_back_in_both_encodings() {
    assert_eq!(echo::FUNCTIONS.len(), 11);
    for seed in 0..200 {
        let mut dice = Dice::new(seed * 2 + 1);
        for function in echo::FUNCTIONS {
            let shape = echo_shape(function);
            let argument = samples::value(&shape.params[0].1, &mut dice);
            let expected = [vec![0], argument.clone()].concat();
            let reply = ask("test:every/echo@1.2.0", function, ContentType::Postcard, argument.clone()).await.unwrap();
            assert_eq!(reply, expected, "{function}");
            let text = json::arguments_to_json(shape, &argument).unwrap();
            let reply = ask("test:every/echo@1.2.0", function, ContentType::Json, text).await.unwrap();
            assert_eq!(json::result_from_json(shape.result.as_ref(), &reply).unwrap(), expected, "{function}");
        }
    }
}

#[tokio::test]
async fn what_is_cut_or_goes_on_or_lies_is_refused_with_the_place() {
    let mut dice = Dice::new(7);
    for function in echo::FUNCTIONS {
        let argument = samples::value(&echo_shape(function).params[0].1, &mut dice);
        for wrong in [&argument[..argument.len() - 1], &[&argument[..], &[0]].concat()] {
            let error =
                ask("test:every/echo@1.2.0", function, ContentType::Postcard, wrong.to_vec()).await.unwrap_err();
            assert!(matches!(&error, CallError::BadMessage(text) if text.contains(function)), "{error}");
        }
    }
    let told = async |function: &'static str, content_type, payload: Vec<u8>| {
        ask("test:every/echo@1.2.0", function, content_type, payload).await.unwrap_err().to_string()
    };
    assert_eq!(
        told("same-points", ContentType::Json, br#"[[{"x": 1, "type": "far"}]]"#.to_vec()).await,
        "bad message: the arguments of `same-points`, read as application/json: value.0.type: expected a number, or \"nan\", \
         \"inf\", \"-inf\", found \"far\""
    );
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f].to_vec();
    let said = told("same-blob", ContentType::Postcard, lie.clone()).await;
    assert!(said.ends_with("a length of 4294967295 is more than the 0 bytes that follow can hold"), "{said}");
    assert!(told("same-points", ContentType::Postcard, lie).await.contains("a length of"));
    let deep = "[".repeat(100_000).into_bytes();
    assert!(told("same-points", ContentType::Json, deep).await.contains("not JSON: recursion limit"));
    assert!(told("same-color", ContentType::Postcard, vec![2]).await.contains("case 2 of 2 does not exist"));
}

#[tokio::test]
async fn whatever_comes_it_answers() {
    let mut dice = Dice::new(11);
    for _ in 0..300 {
        for function in echo::FUNCTIONS {
            let shape = echo_shape(function);
            let mut binary = samples::value(&shape.params[0].1, &mut dice);
            let mut text = json::arguments_to_json(shape, &binary).unwrap();
            for bytes in [&mut binary, &mut text] {
                let at = dice.below(bytes.len());
                bytes[at] = dice.roll() as u8;
            }
            for (content_type, payload) in [(ContentType::Postcard, binary), (ContentType::Json, text)] {
                let answer = ask("test:every/echo@1.2.0", function, content_type, payload).await;
                assert!(matches!(answer, Ok(_) | Err(CallError::BadMessage(_))), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn only_what_is_there_is_served() {
    let ask = |interface: &'static str, function: &'static str| ask(interface, function, ContentType::Json, "[3]");
    for fits in ["test:every/plain@1.2.0", "test:every/plain@1.0.7", "test:every/plain"] {
        assert_eq!(ask(fits, "later").await.unwrap(), "3");
    }
    for (interface, function, said) in [
        ("test:every/plain@1.3.0", "later", "test:every/plain@1.3.0; this provider serves test:every/plain@1.2.0"),
        ("test:every/plain@2.0.0", "later", "test:every/plain@2.0.0; this provider serves test:every/plain@1.2.0"),
        ("test:every/plain@1.2.0", "sooner", "test:every/plain@1.2.0#sooner"),
        (
            "test:every/types@1.2.0",
            "later",
            "test:every/types@1.2.0; this provider serves test:every/echo@1.2.0, test:every/plain@1.2.0, \
             test:every/strict@1.2.0, test:every/loose@1.2.0",
        ),
    ] {
        assert_eq!(ask(interface, function).await.unwrap_err(), CallError::NotServed(said.to_owned()));
    }
    let served: Vec<_> = serve(Every).interfaces().iter().map(|interface| interface.name().to_owned()).collect();
    assert_eq!(served, ["echo", "plain", "strict", "loose"]);
}

#[tokio::test]
async fn a_client_is_the_trait_where_its_errors_have_room() {
    for far in [Far::Postcard, Far::Json] {
        let remote: Arc<dyn Plain> = Arc::new(plain::Remote(Arc::new(far)));
        let many = remote.many(1, 2, 3, 4, -5, -6, -7, -8, true, 'ß', "k".into(), 0.5, -0.25, None).await.unwrap();
        assert_eq!(many, "1 2 3 4 -5 -6 -7 -8 true ß k 0.5 -0.25 None");
        remote.nothing().await.unwrap();
        assert_eq!(remote.r#match("12".into()).await.unwrap(), 12);
        assert_eq!(remote.r#match("x".into()).await.unwrap_err(), CallError::Denied("x".into()));
    }

    let remote: Arc<dyn Loose> = Arc::new(loose::Remote(straight()));
    remote.fail(0).await.unwrap();
    assert_eq!(remote.fail(2).await.unwrap_err(), Failure::TooMany(9));
    let away: Arc<dyn Loose> = Arc::new(loose::Remote(cut()));
    assert_eq!(away.fail(0).await.unwrap_err(), Failure::Other("the connection failed: cut".into()));
    assert_eq!(Failure::from(CallError::Denied("no link".into())), Failure::AccessDenied);
    let away: Arc<dyn echo::Echo> = Arc::new(echo::Remote(cut()));
    assert_eq!(away.same_small(Small::READ).await.unwrap_err(), "the connection failed: cut");

    // Where it has none, the call's own failure is outside.
    let remote = strict::Remote(straight());
    assert_eq!(remote.r#try(false).await.unwrap(), Ok(7));
    assert_eq!(remote.r#try(true).await.unwrap(), Err(Problem::Never));
    assert_eq!(remote.both().await.unwrap(), Err(()));
    assert_eq!(strict::Remote(cut()).both().await.unwrap_err(), CallError::Transport("cut".into()));
}

#[test]
fn errors_speak_and_flags_are_sets() {
    let said = |failure: Failure| failure.to_string();
    assert_eq!(said(Failure::AccessDenied), "access denied");
    assert_eq!(said(Failure::TooMany(3)), "too many: 3");
    assert_eq!(said(Failure::Called("x".into())), "called: x");
    assert_eq!(said(Failure::At(Point { x: 1, r#type: 0.5 })), "at: Point { x: 1, type: 0.5 }");
    assert_eq!(said(Failure::Other("in words".into())), "in words");
    assert_eq!(Problem::NotNow.to_string(), "not now");
    let _: &dyn std::error::Error = &Problem::NotNow;

    let set = Wide::B0 | Wide::B33;
    assert!(set.contains(Wide::B33) && !set.contains(Wide::B1 | Wide::B0) && !set.is_empty());
    assert_eq!(format!("{set:?}"), "{b0, b33}");
    assert_eq!(!set & Wide::all() | set, Wide::all());
    assert_eq!(!Wide::all(), Wide::default());
    assert_eq!(Point::default(), Point { x: 0, r#type: 0.0 });
}
