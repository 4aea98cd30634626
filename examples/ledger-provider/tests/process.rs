//! The provider as a host runs it: a process that answers over NATS, in both encodings.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    wire::{CallError, CallHead, CallSubject, ContentType, Served},
};
use lattice_provider::{
    Check, Checked, Failed, Health, Launch, Order, Report,
    conformance::{LatticeCaller, ProviderProcess, servers::NatsServer},
};

// The client, made from the same WIT.
lattice_provider::generate!({ path: "../ledger/wit" });

use book::{Book, BookError, Entry, Remote};

fn start(nats: &NatsOptions, dir: &Path, config: &str) -> ProviderProcess {
    let Served { lattice, unit, instance } = served();
    let (nats, data_dir, config) = (nats.clone(), dir.to_owned(), serde_json::from_str(config).unwrap());
    let launch = Launch { lattice, unit, instance, nats, data_dir, config, traces: false };
    ProviderProcess::start(env!("CARGO_BIN_EXE_ledger-provider"), launch)
}

fn served() -> Served {
    Served {
        lattice: "default".parse().unwrap(),
        unit: "bank/ledger".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    }
}

async fn connect(server: &NatsServer) -> (NatsOptions, Bus) {
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let bus = Bus::connect_for_calls(&options, served().lattice, "test").await.unwrap();
    (options, bus)
}

fn entry(account: &str, amount: i64, note: Option<&str>) -> Entry {
    Entry { account: account.to_owned(), amount, note: note.map(str::to_owned) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_book_is_kept_as_the_wit_says() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, bus) = connect(&server).await;
    let mut process = start(&options, dir.path(), r#"{"currency": "EUR", "overdraft": 10}"#);
    assert_eq!(process.report(), Report::from(Health::Ready));
    let book = Remote(Arc::new(LatticeCaller { bus, served: served(), deadline: Duration::from_secs(5) }));
    let ann = || "ann".to_owned();
    assert_eq!(book.balance(ann()).await, Err(BookError::NoSuchAccount));
    assert_eq!(book.post(entry("ann", 150, Some("deposit"))).await, Ok(1));
    assert_eq!(book.post(entry("bob", 1, None)).await, Ok(2));
    assert_eq!(book.post(entry("ann", -161, None)).await, Err(BookError::Overdrawn(150)));
    assert_eq!(book.post(entry("ann", -160, None)).await, Ok(3));
    assert_eq!(book.balance(ann()).await, Ok(-10));
    let all = vec![entry("ann", -160, None), entry("ann", 150, Some("deposit"))];
    assert_eq!(book.history(ann(), 1).await, Ok(all[..1].to_vec()));
    assert_eq!(book.history(ann(), u32::MAX).await, Ok(all));
    assert_eq!(book.history("carl".into(), 1).await, Err(BookError::NoSuchAccount));
    let error = book.post(entry("bob", i64::MAX, None)).await.unwrap_err();
    assert!(error.to_string().contains("EUR"), "{error}");
    assert!(matches!(book.post(entry("", 1, None)).await, Err(BookError::Other(_))));
    process.order(&Order::Drain);
    assert!(process.child.wait().unwrap().success());
    // Where nobody answers, the error is one of the WIT's own.
    let error = book.balance(ann()).await.unwrap_err();
    assert_eq!(error, BookError::Other("no instance of bank/ledger answers".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_speaks_json_to_whoever_does() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, bus) = connect(&server).await;
    let mut process = start(&options, dir.path(), r#"{"currency": "EUR"}"#);
    assert_eq!(process.report(), Report::from(Health::Ready));
    let ask = async |interface: &str, function: &str, arguments: &'static str| {
        let Served { lattice, unit, instance } = served();
        let subject = CallSubject { lattice, unit, instance, interface: "acme:ledger/book".parse().unwrap() };
        let head = CallHead {
            interface: interface.parse().unwrap(),
            function: function.to_owned(),
            deadline: Duration::from_secs(5),
            caller: None,
            content_type: ContentType::Json,
            traceparent: None,
            session: None,
        };
        let reply = bus.call(&subject, &head, Bytes::from_static(arguments.as_bytes())).await?;
        Ok::<_, CallError>(String::from_utf8(reply.to_vec()).unwrap())
    };
    let book = "acme:ledger/book@1.0.0";
    assert_eq!(ask(book, "post", r#"[{"account": "ann", "amount": 5}]"#).await.unwrap(), r#"{"ok":1}"#);
    let history = ask("acme:ledger/book", "history", r#"["ann", 9]"#).await.unwrap();
    assert_eq!(history, r#"{"ok":[{"account":"ann","amount":5,"note":null}]}"#);
    let overdrawn = ask(book, "post", r#"[{"account": "ann", "amount": "-6", "note": "rent"}]"#).await.unwrap();
    assert_eq!(overdrawn, r#"{"err":{"overdrawn":5}}"#);
    let error = ask(book, "post", r#"[{"account": "ann"}]"#).await.unwrap_err();
    assert!(matches!(&error, CallError::BadMessage(text) if text.contains("none with `amount`")), "{error}");
    let error = ask("acme:ledger/book@1.1.0", "balance", r#"["ann"]"#).await.unwrap_err();
    assert!(matches!(&error, CallError::NotServed(text) if text.contains("serves acme:ledger/book@1.0.0")), "{error}");
}

#[tokio::test]
async fn a_setting_that_does_not_exist_is_refused() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, _bus) = connect(&server).await;
    for (config, said) in [
        (r#"{"currency": "EUR", "overdraught": 1}"#, "unknown field `overdraught`"),
        (r#"{"currency": "euro"}"#, "currency: \"euro\" is none"),
    ] {
        let mut process = start(&options, dir.path(), config);
        let Report::Failed(Failed { reason, .. }) = process.report() else { panic!("it has started") };
        assert!(reason.contains(said), "{reason}");
        assert!(!process.child.wait().unwrap().success());
    }
    // Nothing is started, and so nothing of the lattice needed, to be told the same.
    for (config, wrong) in [
        (r#"{"currency": "euro"}"#, Some("currency: \"euro\" is none; one is EUR")),
        (r#"{"overdraft": -1, "currency": "EUR"}"#, Some("overdraft: invalid value: integer `-1`, expected u32")),
        (r#"{"currency": "EUR"}"#, None),
    ] {
        let check = Check { unit: served().unit, config: serde_json::from_str(config).unwrap() };
        let mut process = ProviderProcess::spawn(env!("CARGO_BIN_EXE_ledger-provider"));
        process.order(&Order::Check(Box::new(check)));
        assert_eq!(process.report(), Report::Checked(Checked { wrong: wrong.map(str::to_owned) }));
        assert!(process.child.wait().unwrap().success());
    }
}
