use std::sync::Arc;

use async_trait::async_trait;
use lattice::{
    bus::{CallHandler, Pace, Serving},
    model::{app::AppRecord, inventory::InstanceState},
    wire::Served,
};

use super::*;
use crate::{
    cli::Format,
    failure::Failure,
    output::Captured,
    wait::tests::{Fake, TINY, host},
};

/// Answers with what it was asked, or as `function` says.
struct Echo;

#[async_trait]
impl CallHandler for Echo {
    async fn call(&self, head: CallHead, payload: Bytes) -> std::result::Result<Bytes, CallError> {
        assert_eq!(head.content_type, ContentType::Json);
        match head.function.as_str() {
            "echo" => Ok(payload),
            "interface" => Ok(format!("\"{}\"", head.interface).into()),
            "nothing" => Ok(Bytes::new()),
            "fail" => Ok(Bytes::from_static(b"{\"err\": {\"other\": \"no\"}}")),
            "text" => Ok(Bytes::from_static(b"plain text")),
            "busy" => Err(CallError::Overloaded("shop/cache".into())),
            "get" => Err(CallError::BadMessage("cannot decode as application/json".into())),
            "wait" => std::future::pending().await,
            other => Err(CallError::NotServed(format!("{}#{other}", head.interface))),
        }
    }
}

/// An app with one unit, `cache`, on the hosts that the test says.
struct Shop {
    fake: Fake,
    record: AppRecord,
    serving: Vec<Serving>,
}

impl Shop {
    async fn new() -> Self {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        Self { fake, record, serving: Vec::new() }
    }

    /// An instance that serves these interfaces; one that is `Ready` also answers.
    async fn runs(&mut self, letter: &str, state: InstanceState, serves: &[&str]) -> InstanceId {
        self.fake.runs_as(letter, &self.record, state, Some("because")).await;
        self.fake.beat(letter).await;
        let hosts = self.fake.bus.store().hosts();
        let mut entry = hosts.get(host(letter).as_str()).await.unwrap().unwrap().value;
        entry.instances[0].serves = serves.iter().map(|interface| interface.parse().unwrap()).collect();
        hosts.put(host(letter).as_str(), &entry).await.unwrap();
        let (unit, instance) = (entry.instances[0].unit.clone(), entry.instances[0].instance.clone());
        if state == InstanceState::Ready {
            let served = Served { lattice: self.fake.bus.lattice().clone(), unit, instance: instance.clone() };
            self.serving.push(self.fake.bus.serve(&served, Arc::new(Echo), Pace::Light).await.unwrap());
        }
        instance
    }

    async fn call_as(&self, args: CallArgs, format: Format) -> (Result<()>, Captured) {
        let (mut output, captured) = Output::captured(format);
        let outcome = match arguments::read(&args.arguments) {
            Ok(payload) => call(&self.fake.bus, &args, payload).await,
            Err(failure) => Err(failure.into()),
        };
        (outcome.and_then(|reply| result::print(&reply, &args, &mut output)), captured)
    }

    async fn prints(&self, function: &str, arguments: &str) -> String {
        let (outcome, captured) = self.call_as(args("shop/cache", function, arguments), Format::Table).await;
        outcome.unwrap();
        captured.out()
    }

    async fn fails(&self, unit: &str, function: &str) -> (u8, String, String) {
        failed(self.call_as(args(unit, function, "[]"), Format::Table).await.0)
    }
}

fn failed(outcome: Result<()>) -> (u8, String, String) {
    let failure = outcome.unwrap_err();
    (failure.exit_code(), failure.to_string(), failure.help().unwrap_or_default())
}

fn args(unit: &str, function: &str, arguments: &str) -> CallArgs {
    CallArgs {
        unit: unit.parse().unwrap(),
        function: function.parse().unwrap(),
        arguments: arguments.to_owned(),
        deadline: Duration::from_secs(10),
        instance: None,
    }
}

const STORE: &str = "lattice:keyvalue/store@0.1.3";

#[tokio::test(start_paused = true)]
async fn arguments_go_there_and_a_result_comes_back() {
    let mut shop = Shop::new().await;
    shop.runs("A", InstanceState::Ready, &[STORE]).await;
    let echo = "lattice:keyvalue/store.echo";
    assert_eq!(shop.prints(echo, "[1, {\"b\": [null]}]").await, "[1,{\"b\":[null]}]\n");
    assert_eq!(shop.prints("lattice:keyvalue/store.nothing", "[]").await, "null\n");
    let (outcome, captured) = shop.call_as(args("shop/cache", echo, "[{\"a\": 1}]"), Format::Yaml).await;
    outcome.unwrap();
    assert_eq!(captured.out(), "- a: 1\n");
    // The version is that of the instance, if it serves what was asked for.
    for function in ["lattice:keyvalue/store.interface", "lattice:keyvalue/store@0.1.0.interface"] {
        assert_eq!(shop.prints(function, "[]").await, format!("\"{STORE}\"\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_function_is_printed_and_is_a_failure() {
    let mut shop = Shop::new().await;
    shop.runs("A", InstanceState::Ready, &[STORE]).await;
    let (outcome, captured) = shop.call_as(args("shop/cache", "lattice:keyvalue/store.fail", "[]"), Format::Json).await;
    assert_eq!(captured.out(), "{\"err\":{\"other\":\"no\"}}\n");
    assert_eq!(failed(outcome), (9, "`fail` of shop/cache returned an error".to_owned(), String::new()));
    let (code, message, _) = shop.fails("shop/cache", "lattice:keyvalue/store.text").await;
    assert_eq!(code, 8);
    assert!(message.starts_with("calling shop/cache: the answer is not JSON: expected value"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_next_instance_is_asked_when_one_certainly_did_nothing() {
    let mut shop = Shop::new().await;
    shop.runs("A", InstanceState::Ready, &[STORE]).await;
    shop.serving.clear();
    let second = shop.runs("B", InstanceState::Ready, &[STORE]).await;
    shop.runs("C", InstanceState::Draining, &[STORE]).await;
    assert_eq!(shop.prints("lattice:keyvalue/store.echo", "[]").await, "[]\n");
    let only = |instance: &InstanceId| CallArgs {
        instance: Some(instance.clone()),
        ..args("shop/cache", "lattice:keyvalue/store.echo", "[]")
    };
    shop.call_as(only(&second), Format::Table).await.0.unwrap();
    let missing = "0123456789abcdef".parse().unwrap();
    let (code, message, help) = failed(shop.call_as(only(&missing), Format::Table).await.0);
    assert_eq!((code, message.as_str()), (6, "shop/cache has no instance 0123456789abcdef"));
    assert!(help.starts_with("it has ") && help.contains(second.as_str()), "{help}");
    shop.serving.clear();
    let (code, message, help) = shop.fails("shop/cache", "lattice:keyvalue/store.echo").await;
    assert_eq!((code, message.as_str()), (5, "calling shop/cache: no instance of shop/cache answers"));
    assert_eq!(help, "`lattice-ctl status shop --watch` shows how it goes on");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_told_with_what_is() {
    let mut shop = Shop::new().await;
    let echo = "lattice:keyvalue/store.echo";
    let told = |code, message: &str, help: &str| (code, message.to_owned(), help.to_owned());
    assert_eq!(
        shop.fails("shp/cache", echo).await,
        told(6, "there is no app `shp` in lattice default", "did you mean `shop`?")
    );
    assert_eq!(shop.fails("shop/cahce", echo).await, told(6, "app shop has no unit `cahce`", "did you mean `cache`?"));
    let watch = "`lattice-ctl status shop --watch` shows how it goes on";
    let waiting = "nobody takes calls for shop/cache: it is progressing: waiting for a controller to plan it";
    assert_eq!(shop.fails("shop/cache", echo).await, told(5, waiting, watch));
    shop.fake.plan(&shop.record, &["A"]).await;
    let instance = shop.runs("A", InstanceState::Failed, &[]).await;
    let failed_there = "nobody takes calls for shop/cache: it is failed: on host NAAAAAAA: because";
    assert_eq!(shop.fails("shop/cache", echo).await, told(5, failed_there, watch));
    let there = CallArgs { instance: Some(instance.clone()), ..args("shop/cache", echo, "[]") };
    assert_eq!(
        failed(shop.call_as(there, Format::Table).await.0).1,
        format!("nobody takes calls for shop/cache: instance {instance} is failed, because")
    );
    shop.runs("A", InstanceState::Ready, &[STORE]).await;
    for interface in ["lattice:keyvalue/stores", "lattice:keyvalue/store@0.2.0"] {
        assert_eq!(
            shop.fails("shop/cache", &format!("{interface}.echo")).await,
            told(6, &format!("shop/cache does not serve {interface}"), &format!("it serves {STORE}"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_says_why_and_what_helps() {
    let mut shop = Shop::new().await;
    shop.runs("A", InstanceState::Ready, &[STORE]).await;
    for (function, code, message, help) in [
        ("gett", 6, "not served here: lattice:keyvalue/store@0.1.3#gett", "did you mean `get`?"),
        (
            "get",
            8,
            "bad message: cannot decode as application/json",
            "`get` is func(bucket: string, key: string) -> result<option<list<u8>>, variant { no-such-store, \
             access-denied, other(string) }>; `lattice-ctl call --help` shows how each type is written",
        ),
        (
            "busy",
            8,
            "shop/cache is at its concurrency limit",
            "it was not run; try again, or raise `limits.concurrency` or `replicas` in the manifest",
        ),
        ("wait", 8, "no answer within 10000 ms", "it may have run; give it more time with --deadline"),
    ] {
        let found = shop.fails("shop/cache", &format!("lattice:keyvalue/store.{function}")).await;
        assert_eq!(found, (code, format!("calling shop/cache: {message}"), help.to_owned()));
    }
    let wrong = shop.call_as(args("shop/cache", "lattice:keyvalue/store.echo", "5"), Format::Table).await.0;
    let expected = "for one parameter write an array of one value: '[5]'";
    assert_eq!(failed(wrong), (2, "the arguments are a number, not an array".to_owned(), expected.to_owned()));
    assert!(matches!(shop.call_as(args("shop/cache", "a:b/c.d", "["), Format::Table).await.0, Err(Failure::Call(_))));
}
