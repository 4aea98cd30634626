//! Programs of users as providers: the example in Python behind a component and the command line, what it answers to every
//! kind of message, and what hosts do with programs that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use lattice::model::signature::Signer;
use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, Load, get,
    lattice::{head, image},
    load::failures,
    nats::RawNats,
    places::{free_address, nats_py, program, repository},
    process::signal,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// A line of the manifest that a program starts with, for the tests to replace.
const BOOK: &str = "serves: [acme:ledger/book@1.0.0]";

fn python() -> PathBuf {
    repository().join("examples/ledger-python/provider.py")
}

/// The provider in Python, and a component that calls it.
fn books(address: SocketAddr, program: &str) -> String {
    format!(
        "{}  components:\n    front: {{ image: {}, links: {{ acme:ledger/book: ledger }} }}\n  providers:\n    web: {{ use: \
         http-server, config: {{ address: \"{address}\" }}, routes: {{ /: front }} }}\n    ledger:\n      image: {program}\n      {BOOK}\n      \
         wit: {}\n      env: {{ PYTHONPATH: {} }}\n      config: {{ currency: EUR }}\n",
        head("books"),
        image("bookkeeper"),
        repository().join("examples/ledger/wit").display(),
        nats_py().display()
    )
}

fn ask(address: SocketAddr, path: &str) -> String {
    let response = get(address, path).unwrap();
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.text().trim_end().to_owned()
}

#[test]
fn a_provider_in_python_serves_components_and_the_command_line() {
    let mut lattice = Lattice::start_with_programs(2, &["b"], NatsServer::start_small);
    let address = free_address();
    lattice.apply(&books(address, &python().display().to_string()));
    assert_eq!(lattice.host("a").programs_started(), Vec::<u32>::new());
    assert_eq!(lattice.host("b").programs_started().len(), 1);
    for (path, answer) in [
        ("/balance?account=ann", "Err(BookError::NoSuchAccount)"),
        ("/history?account=ann", "Err(BookError::NoSuchAccount)"),
        ("/post?account=ann&amount=-1", "Err(BookError::Overdrawn(0))"),
        ("/post?account=ann&amount=100&note=salary", "Ok(1)"),
        ("/post?account=ann&amount=-30", "Ok(2)"),
        ("/post?account=ann&amount=-71", "Err(BookError::Overdrawn(70))"),
        ("/balance?account=ann", "Ok(70)"),
        // More than a double holds exactly.
        ("/post?account=bob&amount=9007199254740993", "Ok(3)"),
        ("/balance?account=bob", "Ok(9007199254740993)"),
        (
            "/history?account=ann&limit=9",
            "Ok([Entry { account: \"ann\", amount: -30, note: None }, Entry { account: \"ann\", amount: 100, note: \
             Some(\"salary\") }])",
        ),
        ("/history?account=ann&limit=1", "Ok([Entry { account: \"ann\", amount: -30, note: None }])"),
        ("/history?account=ann&limit=0", "Ok([])"),
        // What fits no message fails as itself, on the way there and back.
        ("/post?account=eve&amount=1&large=40000", "Ok(4)"),
        ("/post?account=eve&amount=1&large=40000", "Ok(5)"),
    ] {
        assert_eq!(ask(address, path), answer, "{path}");
    }
    let there = ask(address, "/post?account=eve&amount=1&large=200000");
    assert!(there.starts_with("Err(BookError::Other(\"a call's message of 2000"), "{there}");
    let back = ask(address, "/history?account=eve");
    assert!(back.starts_with("Err(BookError::Other(\"an answer's message of 80"), "{back}");

    let call = |function: &str, arguments: &str| {
        lattice.ctl(&["call", "books/ledger", &format!("acme:ledger/{function}"), arguments])
    };
    for (function, arguments, code, said) in [
        ("book.post", r#"[{"account": "cy", "amount": "5"}]"#, 0, r#"{"ok":6}"#),
        ("book@1.0.0.history", r#"["cy", 2]"#, 0, r#"{"ok":[{"account":"cy","amount":5,"note":null}]}"#),
        ("book.balance", r#"["nobody"]"#, 9, r#"{"err":"no-such-account"}"#),
        ("book.balanse", r#"["cy"]"#, 6, "did you mean `balance`?"),
        ("book@1.1.0.balance", r#"["cy"]"#, 6, "it serves acme:ledger/book@1.0.0"),
        ("book.balance", "[5]", 8, "account: expected"),
        ("book.post", r#"[{"account": "cy"}]"#, 8, "`post` is func(entry: record {"),
    ] {
        let output = call(function, arguments);
        assert!(output.code == Some(code) && output.all().contains(said), "{function} {arguments}: {}", output.all());
    }
    let listed = lattice.ctl(&["get", "providers", "-o", "json"]).stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let ledger = listed.iter().find(|provider| provider["unit"] == "ledger").unwrap();
    assert_eq!((&ledger["use"], &ledger["isolate"], &ledger["ready"]), (&Value::Null, &json!("process"), &json!(1)));
    assert!(
        ledger["image"].as_str().unwrap().ends_with("provider.py")
            && ledger["digest"] == lattice.status("books").what("ledger")
    );
}

#[test]
fn a_component_is_served_in_two_languages_and_cannot_tell() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let address = free_address();
    let (python, rust) = (python().display().to_string(), program("ledger-provider").display().to_string());
    let mut revisions = Vec::new();
    // Each has a book of its own; that of the Python one is there again when it is.
    for (who, balance) in [(&python, 70), (&rust, 70), (&python, 140)] {
        lattice.apply(&books(address, who));
        let front = lattice.ctl(&["get", "components", "-o", "json"]).stdout;
        let front: Value = serde_json::from_str(&front).unwrap();
        revisions.push(front[0]["revision"].clone());
        let overdrawn = format!("Err(BookError::Overdrawn({balance}))");
        let has = format!("Ok({balance})");
        for (path, answer) in [
            ("/post?account=ann&amount=100&note=salary", "Ok("),
            ("/post?account=ann&amount=-30", "Ok("),
            ("/post?account=ann&amount=-1000", overdrawn.as_str()),
            ("/balance?account=ann", has.as_str()),
            ("/balance?account=bob", "Err(BookError::NoSuchAccount)"),
            (
                "/history?account=ann&limit=2",
                "Ok([Entry { account: \"ann\", amount: -30, note: None }, Entry { account: \"ann\", amount: 100, note: \
                 Some(\"salary\") }])",
            ),
        ] {
            let found = ask(address, path);
            assert!(found.starts_with(answer), "{who} {path}: {found}");
        }
        let call = ["call", "books/ledger", "acme:ledger/book.balance", "[\"ann\"]"];
        let output = lattice.ctl(&call);
        assert_eq!(output.stdout.trim(), format!("{{\"ok\":{balance}}}"), "{}", output.all());
    }
    assert_eq!(revisions, [1, 1, 1].map(Value::from), "the component was not touched");
}

#[test]
fn a_program_has_a_standard_capability_when_it_serves_its_interface() {
    let lattice = Lattice::start_with_programs(2, &["b"], NatsServer::start);
    let address = free_address();
    let app = |cache: &str| {
        format!(
            "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    web: {{ use: http-server, \
             config: {{ address: \"{address}\" }}, routes: {{ /: counter }} }}\n    cache: {cache}\n",
            head("books"),
            image("counter"),
        )
    };
    // The same store, by the host's own name and as a program that the host does not know.
    let own = program("lattice-provider-keyvalue-memory");
    let own = format!("{{ image: {}, serves: [lattice:keyvalue/store@0.1.0] }}", own.display());
    // And one in Python, to which the host speaks JSON.
    let python = repository().join("tests/programs/keyvalue.py");
    let python = format!(
        "{{ image: {}, serves: [lattice:keyvalue/store@0.1.0], env: {{ PYTHONPATH: {} }} }}",
        python.display(),
        nats_py().display()
    );
    for cache in [own.as_str(), "{ use: keyvalue-memory }", own.as_str(), python.as_str()] {
        lattice.apply(&app(cache));
        for n in 1..=3 {
            assert_eq!(ask(address, "/hits"), n.to_string(), "{cache}");
        }
    }
}

#[test]
fn a_program_that_is_killed_serves_again() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let address = free_address();
    lattice.apply(&books(address, &python().display().to_string()));
    assert_eq!(ask(address, "/post?account=ann&amount=7"), "Ok(1)");
    for kill in [Signal::KILL, Signal::TERM] {
        let before = lattice.hosts[0].programs_started();
        assert_eq!(before.len(), 1);
        signal(before[0], kill);
        let again = || (ask(address, "/balance?account=ann") == "Ok(7)").then(|| lattice.hosts[0].programs_started());
        let after = lattice.wait("the new process to answer", SOON, || again().filter(|pids| *pids != before));
        assert_eq!(after.len(), 1);
        lattice.wait_ready("books");
    }
    // A host that ends takes it along.
    let pids = lattice.hosts[0].programs_started();
    lattice.hosts[0].ask_to_end();
    lattice.wait("the end of the program", SOON, || (!lattice_tests::process::runs(pids[0])).then_some(()));
}

#[test]
fn a_program_ends_with_its_host_also_when_nats_went_before() {
    let mut lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let address = free_address();
    lattice.apply(&books(address, &python().display().to_string()));
    let pids = lattice.hosts[0].programs_started();
    assert_eq!(pids.len(), 1);
    lattice.nats.stop();
    lattice.hosts[0].kill();
    lattice.wait("the end of the program", SOON, || (!lattice_tests::process::runs(pids[0])).then_some(()));
}

#[test]
fn a_program_is_replaced_under_load() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let address = free_address();
    lattice.apply(&books(address, &python().display().to_string()));
    assert_eq!(ask(address, "/post?account=ann&amount=7"), "Ok(1)");
    let before = lattice.status("books").what("ledger");
    let load = Load::start(address, "/balance?account=ann", 2);
    load.wait_for(50);
    let mut text = fs::read(python()).unwrap();
    text.extend(b"# Another one.\n");
    lattice.write("another.py", text);
    lattice.apply(&books(address, "./another.py"));
    assert_ne!(lattice.status("books").what("ledger"), before);
    load.wait_for(50);
    let answers = load.finish();
    assert_eq!(failures(&answers), []);
    let wrong: Vec<_> = answers.iter().filter(|answer| answer.outcome.as_deref() != Ok("Ok(7)\n")).collect();
    if let Some(first) = wrong.first() {
        lattice.fail(&format!("{} of {}: {first:?}", wrong.len(), answers.len()));
    }
    assert_eq!(lattice.hosts[0].programs_started().len(), 1);
}

#[test]
fn hosts_run_programs_only_when_they_are_told_to() {
    let mut lattice = Lattice::start_with_programs(1, &[], NatsServer::start);
    let address = free_address();
    let refused = lattice.try_apply(&books(address, &python().display().to_string()));
    let reason = "no live host runs programs; start one with --allow-programs";
    assert!(refused.code == Some(5) && refused.all().contains(reason), "{}", refused.all());
    assert_eq!(lattice.status("books").state("ledger"), "failed");
    let hosts = lattice.ctl(&["get", "hosts", "-o", "json"]).stdout;
    assert!(hosts.contains("\"programs\": false"), "{hosts}");
    // The same host, started again with the right to.
    let host = lattice.host("a");
    host.kill();
    host.programs = true;
    host.spawn();
    host.wait_ready();
    lattice.wait_ready("books");
    assert_eq!(ask(address, "/post?account=ann&amount=7"), "Ok(1)");
}

/// What `docs/wire.md` asks of those who answer calls: the headers of a message, its payload, and the answer to it.
const MESSAGES: &[(&str, &str, &str, &str)] = &[
    ("x: y", "", "bad-message", "this provider speaks 1"),
    ("lattice-protocol: 2\nlattice-function: acme:ledger/book#balance\nlattice-deadline: 1000", "", "bad-message", "2"),
    ("lattice-protocol: 1\nlattice-deadline: 1000", "", "bad-message", "lattice-function"),
    ("lattice-protocol: 1\nlattice-function: acme:ledger/book#balance", "", "bad-message", "lattice-deadline"),
    ("+acme:ledger/book#balance", r#"["ann"]"#, "bad-message", "application/json"),
    ("+acme:ledger/book#balance\ncontent-type: application/postcard", "\u{3}ann", "bad-message", "application/json"),
    ("+acme:ledger/book#close\nJSON", "[]", "not-served", "acme:ledger/book#close"),
    ("+acme:ledger/book#__init__\nJSON", "[{}]", "not-served", "acme:ledger/book#__init__"),
    ("+acme:ledger/books#balance\nJSON", r#"["ann"]"#, "not-served", "acme:ledger/books"),
    ("+acme:ledger/book@2.0.0#balance\nJSON", r#"["ann"]"#, "not-served", "@2.0.0"),
    ("+acme:ledger/book@1.0.0#post\nJSON", "[", "bad-message", "post"),
    ("+acme:ledger/book@1.0.0#post\nJSON", "[]", "bad-message", "post"),
    ("+acme:ledger/book@1.0.0#post\nJSON", "7", "bad-message", "post"),
    ("+acme:ledger/book@1.0.0#post\nJSON", r#"[{"account": "ann"}]"#, "bad-message", "amount"),
    (
        "+acme:ledger/book@1.0.0#post\nJSON\nlattice-payload: 0123456789abcdef0123456789abcdef.0123456789abcdef0123456789abcdef 3000000",
        "",
        "too-large",
        "3000000 ",
    ),
    ("lattice-probe: 1", "", "ok", ""),
    (
        "+acme:ledger/book@1.0.0#post\nJSON",
        r#"[{"account": "ann", "amount": "12", "note": null}]"#,
        "ok",
        r#"{"ok": 1}"#,
    ),
    ("+acme:ledger/book#balance\nJSON", r#"["ann"]"#, "ok", r#"{"ok": 12}"#),
    (
        "+acme:ledger/book#balance\nJSON\nlattice-caller: a/b\nlattice-call: 0123456789abcdef0123456789abcdef\nx: y",
        r#"["bob"]"#,
        "ok",
        r#"{"err": "no-such-account"}"#,
    ),
];

#[test]
fn the_python_example_answers_as_the_wire_document_says() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    lattice.apply(&books(free_address(), &python().display().to_string()));
    let instance = lattice.status("books").instances("ledger").remove(0).id;
    let subject = format!("lattice.default.call.books.ledger.{instance}.acme:ledger/book");
    let mut nats = RawNats::connect(&lattice.nats.url());
    // Nothing is answered that asks for no answer.
    nats.publish(&subject, Some(b"lattice-cancel: 0123456789abcdef0123456789abcdef\r\n"), b"", false);
    nats.publish(&subject, None, b"hello", false);
    nats.publish(&subject, None, b"hello", true);
    assert!(nats.reply().headers.contains("lattice-status: bad-message"));
    for (headers, payload, status, said) in MESSAGES {
        let call = "lattice-protocol: 1\nlattice-deadline: 5000\nlattice-function: ";
        let headers = headers.replace('+', call).replace("JSON", "content-type: application/json");
        let lines = headers.replace('\n', "\r\n") + "\r\n";
        nats.publish(&subject, Some(lines.as_bytes()), payload.as_bytes(), true);
        let reply = nats.reply();
        let text = String::from_utf8_lossy(&reply.payload);
        let found = reply.headers.contains(&format!("lattice-status: {status}\r\n"));
        assert!(found && text.contains(said) && text.len() <= 4096, "{headers} {payload}: {reply:?} {text}");
    }
}

#[test]
fn settings_of_a_program_are_checked_by_it_before_anything_changes() {
    let mut lattice = Lattice::start_with_programs(2, &["b"], NatsServer::start);
    let address = free_address();
    let good = books(address, &python().display().to_string());
    lattice.apply(&good);
    assert_eq!(ask(address, "/post?account=ann&amount=7"), "Ok(1)");
    let program = lattice.host("b").programs_started();
    // The program itself says what is wrong, and it is shown where it stands.
    let wrong = good.replace("currency: EUR", "currency: euro");
    let line = wrong.lines().position(|line| line.contains("currency: euro")).unwrap() + 1;
    let refused = lattice.try_apply(&wrong);
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    let (said, place) = ("ledger: currency: 'euro' is none; one is EUR", format!("app.yaml:{line}:"));
    assert!(refused.stderr.contains(said) && refused.stderr.contains(&place), "{}", refused.stderr);
    let planned = lattice.ctl(&["plan", "-f", "app.yaml"]);
    assert!(planned.code == Some(3) && planned.stderr.contains(said), "{}", planned.all());
    // What ran goes on, and nothing is left of the one that was asked.
    assert_eq!(ask(address, "/balance?account=ann"), "Ok(7)");
    assert_eq!(lattice.host("b").programs_started(), program);
    assert_eq!(fs::read_dir(lattice.host("b").data().join("checks")).unwrap().count(), 0);

    // Nobody has it yet, and `plan` uploads nothing.
    lattice.write("app.yaml", script(&lattice, "read line; exit 1"));
    let planned = lattice.ctl(&["plan", "-f", "app.yaml"]);
    assert!(planned.code == Some(2) && planned.stderr.contains("when that is in the lattice"), "{}", planned.all());
    // One that does not know the question, or does not even read it, is asked and no more.
    let asked = Instant::now();
    for text in ["read line; exit 1", "exec sleep 600"] {
        lattice.write("app.yaml", script(&lattice, text));
        let applied = lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]);
        assert!(applied.code == Some(0) && !applied.stderr.contains("settings"), "{text}: {}", applied.all());
    }
    assert!(asked.elapsed() < Duration::from_secs(60), "{:?}", asked.elapsed());
}

#[test]
fn a_program_that_its_host_does_not_trust_is_not_run_to_check_its_settings() {
    let (key, _) = Signer::generate().unwrap();
    let lattice = Lattice::start_with(1, |host| {
        host.programs = true;
        host.arguments = vec!["--trust".to_owned(), key.public_key()];
    });
    let mark = lattice.write("ran", "").with_file_name("mark");
    let text = format!("touch {}; read line; echo '{{\"checked\": {{\"wrong\": \"all\"}}}}'", mark.display());
    lattice.write("app.yaml", script(&lattice, &text));
    let applied = lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]);
    assert_eq!(applied.code, Some(0), "{}", applied.all());
    let said = "the settings of books/ledger were not checked by its program: not served here: sha256:";
    assert!(applied.stderr.contains(said), "{}", applied.stderr);
    assert!(!mark.exists(), "it was run");
}

/// A provider alone, as a script of the shell.
fn script(lattice: &Lattice, text: &str) -> String {
    lattice.write("program.sh", format!("#!/bin/sh\n{text}"));
    format!(
        "{}  providers:\n    ledger:\n      image: ./program.sh\n      {BOOK}\n      env: {{ GREETING: hello, LANG: xx }}\n",
        head("books")
    )
}

#[test]
fn a_program_that_does_not_start_says_why() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    for (text, reason) in [
        (
            "read line; echo 'no module named nats' >&2; exit 3",
            "ended before it was ready (exit status: 3; its last words: no module named nats)",
        ),
        (
            "echo '{\"failed\": {\"reason\": \"bad configuration: no currency\"}}'; exit 1",
            "bad configuration: no currency",
        ),
        (
            "echo '{\"health\": \"ready\", \"content_types\": [\"text/plain\"]}'; cat",
            "takes calls in text/plain alone; every provider takes them in application/json",
        ),
    ] {
        let output = lattice.try_apply(&script(&lattice, text));
        assert!(output.code == Some(5) && output.all().contains(reason), "{text}: {}", output.all());
    }
    // What starts now is no longer what has failed.
    lattice.apply(&script(&lattice, "read line; echo '{\"health\": \"ready\"}'; cat > /dev/null"));
}

#[test]
fn a_program_that_takes_more_than_it_may_is_ended_and_told() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let text = "read line; ulimit -n > files; ulimit -c > core; nproc > cpus; echo '{\"health\": \"ready\"}'\n\
                while [ ! -e grow ]; do [ -e files ] || exit; sleep 0.1; done; rm grow; exec python3 -c 'import time; kept = b\"x\" * (200 << 20); time.sleep(600)'\n";
    let app = script(&lattice, text);
    let app = app.replace("      env:", "      limits: { memory: 100MiB, cpus: 1, files: 123 }\n      env:");
    lattice.apply(&app);
    let folder = lattice.hosts[0].data().join("providers/books/ledger");
    let said = |name: &str| fs::read_to_string(folder.join(name)).unwrap().trim().to_owned();
    assert_eq!((said("files").as_str(), said("core").as_str(), said("cpus").as_str()), ("123", "0", "1"));
    fs::write(folder.join("grow"), "").unwrap();
    let reason = "MiB of memory, and 100 MiB is its limit";
    lattice.wait("an event that says so", SOON, || lattice.hosts[0].log().contains(reason).then_some(()));
    // It is started again, and is well as long as it takes no more than it may.
    lattice.wait_ready("books");
}

#[test]
fn a_program_has_its_folder_and_its_environment_and_says_how_it_is() {
    let lattice = Lattice::start_with_programs(1, &["a"], NatsServer::start);
    let text = "read line; echo \"$line\" > start.json; env | sort >&2; echo plain words\n\
                echo '{\"health\": \"ready\"}'; echo '{\"health\": {\"degraded\": \"the office is closed\"}}'\n\
                while [ ! -e open ]; do sleep 0.1; done; echo '{\"health\": \"ready\"}'; read order; echo \"$order\" > order.json\n";
    lattice.write("app.yaml", script(&lattice, text));
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]).code, Some(0));
    let degraded = || lattice.try_status("books").filter(|status| status.state("ledger") == "degraded");
    lattice.wait("a status that says so", SOON, degraded);
    let table = lattice.ctl(&["status", "books"]).stdout;
    assert!(table.contains("the office is closed"), "{table}");
    let folder = lattice.hosts[0].data().join("providers/books/ledger");
    fs::write(folder.join("open"), "").unwrap();
    lattice.wait_ready("books");
    let start: Value = serde_json::from_slice(&fs::read(folder.join("start.json")).unwrap()).unwrap();
    let start = &start["start"];
    assert_eq!((&start["lattice"], &start["unit"]), (&json!("default"), &json!("books/ledger")));
    assert_eq!((&start["data_dir"], &start["config"]), (&json!(folder), &json!({})));
    assert_eq!(start["nats"]["urls"], json!([lattice.nats.url()]));
    let log = lattice.hosts[0].log();
    let said: Vec<_> = log.lines().filter_map(|line| line.split_once("provider: ").map(|(_, said)| said)).collect();
    for line in ["GREETING=hello", "LANG=xx", "plain words"] {
        assert!(said.iter().any(|words| words.starts_with(line)), "{line} is not in {said:?}");
    }
    assert!(!log.contains("NATS_URL="), "{log}");
    // Told to end before its standard input does.
    assert_eq!(lattice.ctl(&["delete", "books"]).code, Some(0));
    assert_eq!(fs::read_to_string(folder.join("order.json")).unwrap(), "\"drain\"\n");
}
