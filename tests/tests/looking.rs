//! What the CLI shows of what runs: the logs of all hosts, the calls of units, and the ways of links.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use lattice_tests::{
    Lattice, Load, get,
    http::request,
    lattice::{SETTLE, head, image},
    nats::RawNats,
    places::free_address,
};
use serde_json::Value;

fn json(lattice: &Lattice, args: &[&str]) -> Value {
    let said = lattice.ctl(&[args, &["-o", "json"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.all());
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn logs_of_all_hosts_come_in_order_and_go_on() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {}, perHost: 1 }}\n    clerk: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, \
         config: {{ address: \"{address}\" }}, routes: {{ /: page, /log: clerk }} }}\n",
        head("shop"),
        image("trap"),
        image("settings"),
    ));
    let all = lines(&lattice.ctl(&["logs", "shop", "-o", "json"]).stdout);
    let of = |lines: &[Value], unit: &str, word: &str| {
        let has = |line: &&Value| line["unit"] == unit && line["text"].as_str().unwrap().contains(word);
        lines.iter().filter(has).map(|line| line["host"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let hosts = of(&all, "shop/page", "ready");
    assert_eq!(hosts.len(), 2, "{all:?}");
    assert_ne!(hosts[0], hosts[1], "{all:?}");
    assert!(all.windows(2).all(|two| two[0]["at"].as_str() <= two[1]["at"].as_str()), "{all:?}");
    assert!(of(&all, "shop/web", "ready").len() == 1 && all.iter().all(|line| line["unit"].is_string()));

    // Of one unit, and with an end.
    let web = lines(&lattice.ctl(&["logs", "shop/web", "-o", "json", "--tail", "1"]).stdout);
    assert!(web.len() == 1 && web[0]["unit"] == "shop/web", "{web:?}");
    assert_eq!(lattice.ctl(&["logs", "shop", "--since", "0s"]).stdout, "");
    let table = lattice.ctl(&["logs", "shop/web"]).stdout;
    assert!(table.contains(" INFO  shop/web ready"), "{table}");
    // A host's own, which belong to no unit.
    let own = lines(&lattice.ctl(&["logs", "--host", &hosts[0][..10], "-o", "json"]).stdout);
    assert!(own.iter().any(|line| line["unit"].is_null()) && own.iter().all(|line| line["host"] == hosts[0].as_str()));
    for (args, words) in [
        (["logs", "shp"].as_slice(), "did you mean `shop`?"),
        (&["logs", "shop/pag"], "did you mean `page`?"),
        (&["logs", "--host", "NXXX"], "there is no host `NXXX`"),
    ] {
        let said = lattice.ctl(args);
        assert!(said.code == Some(6) && said.stderr.contains(words), "{}", said.all());
    }
    assert_eq!(lattice.ctl(&["logs"]).code, Some(2));

    // Whoever follows hears of what comes.
    let mut following = lattice.command(&["logs", "shop/clerk", "-f", "--level", "warn", "-o", "json"]);
    let mut following = following.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (tell, told) = mpsc::channel();
    let out = BufReader::new(following.stdout.take().unwrap());
    let reader = thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    lattice.wait("a line that is new", SETTLE, || {
        for level in ["info", "warn"] {
            assert_eq!(request(address, "POST", &format!("/log/{level}"), b"few pears").unwrap().status, 200);
        }
        let line = told.recv_timeout(Duration::from_secs(1)).ok()?;
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["unit"], &line["level"], &line["source"]),
            (&"shop/clerk".into(), &"warn".into(), &"guest".into())
        );
        assert!(line["text"].as_str().unwrap().starts_with("few pears"), "{line}");
        Some(())
    });
    following.kill().unwrap();
    following.wait().unwrap();
    let _ = reader.join();
}

#[test]
fn calls_are_shown_by_unit_and_by_link() {
    let (admin, address) = (free_address(), free_address());
    let lattice = Lattice::start_with(2, |host| {
        if host.zone == "a" {
            host.arguments = vec!["--admin".to_owned(), admin.to_string()];
        }
    });
    lattice.apply(&format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }}, placement: {{ require: {{ zone: [a] }} }} }}\n  providers:\n    \
         web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: counter }}, placement: {{ require: {{ zone: [a] }} }} }}\n    \
         cache: {{ use: keyvalue-memory, placement: {{ require: {{ zone: [b] }} }} }}\n",
        head("shop"),
        image("counter"),
    ));
    let load = Load::start(address, "/", 2);
    load.wait_for(100);
    let top = json(&lattice, &["top", "shop", "--every", "1s"]);
    let rows = top.as_array().unwrap();
    let counter = rows.iter().find(|row| row["unit"] == "shop/counter").unwrap();
    assert!(counter["per_second"].as_f64() > Some(0.0) && counter["calls"].as_u64() > Some(100), "{top}");
    assert!(counter["p50_us"].as_u64() > Some(0) && counter["p50_us"].as_u64() <= counter["p99_us"].as_u64(), "{top}");
    assert_eq!((&counter["failed"], &counter["hosts"], &counter["starts"]), (&0.into(), &1.into(), &1.into()), "{top}");

    let explained = json(&lattice, &["explain", "shop", "--during", "1s"]);
    let row = |from: &str| explained.as_array().unwrap().iter().find(|row| row["from"] == from).unwrap();
    let (route, link) = (row("shop/web"), row("shop/counter"));
    assert_eq!(
        (&route["link"], &route["to"], &route["ways"][0]["way"]),
        (&"/".into(), &"shop/counter".into(), &"local".into())
    );
    assert_eq!((&link["to"], &link["ways"][0]["way"]), (&"shop/cache".into(), &"lattice".into()), "{explained}");
    assert!(
        link["calls"]["per_second"].as_f64() > Some(0.0) && link["calls"]["p99_us"].as_u64() > Some(0),
        "{explained}"
    );
    assert_ne!(link["ways"][0]["from"], link["ways"][0]["to"][0]);
    let table = lattice.ctl(&["explain", "shop", "--during", "200ms"]).stdout;
    assert!(table.contains(" -> ") && table.contains("local on "), "{table}");
    load.finish();
    let metrics = get(admin, "/metrics").unwrap().text();
    let sent =
        "lattice_link_call_duration_seconds_count{app=\"shop\",unit=\"counter\",to_app=\"shop\",to_unit=\"cache\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(sent)).unwrap_or_else(|| panic!("{metrics}"));
    assert!(count.parse::<u64>().unwrap() > 100, "{count}");

    assert_eq!(lattice.ctl(&["explain", "shp"]).code, Some(6));
    let none = lattice.ctl(&["top", "nothing"]);
    assert!(none.code == Some(6) && none.stderr.contains("there is no app `nothing`"), "{}", none.all());
}

#[test]
fn what_happens_is_told_as_it_happens_and_to_who_asks_later() {
    let mut lattice = Lattice::start(2);
    // Any client of NATS hears of it.
    let mut heard = RawNats::connect(&lattice.nats.url());
    heard.subscribe("lattice.default.event.>");
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
         routes: {{ /: page }} }}\n",
        head("shop"),
        image("hello"),
    ));
    let kinds = |lattice: &Lattice, args: &[&str]| {
        let said = lattice.ctl(&[&["events", "-o", "json"], args].concat());
        assert_eq!(said.code, Some(0), "{}", said.all());
        lines(&said.stdout)
            .iter()
            .map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["subject"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let all = lattice.wait("the end of the rollout", SETTLE, || {
        let all = kinds(&lattice, &["shop"]);
        all.contains(&"lattice.rollout.complete shop".to_owned()).then_some(all)
    });
    for event in ["lattice.app.applied shop", "lattice.instance.ready shop/page", "lattice.instance.ready shop/web"] {
        assert_eq!(all.iter().filter(|told| *told == event).count(), 1, "{event}: {all:?}");
    }
    assert_eq!(kinds(&lattice, &["shop/web", "--kind", "instance"]), ["lattice.instance.ready shop/web"]);
    assert_eq!(kinds(&lattice, &["--kind", "control.taken"]).len(), 1);
    let wrong = lattice.ctl(&["events", "--kind", "host.lots"]);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("did you mean `host.lost`?"), "{}", wrong.all());
    let table = lattice.ctl(&["events", "shop", "--kind", "app"]).stdout;
    assert!(table.contains("app.applied") && table.contains("shop cause=apply revision=1"), "{table}");

    // Whoever is left tells that a host is lost, and that it is back.
    let lost = if lattice.controller() == "a" { "b" } else { "a" };
    let id = lattice.hosts.iter().find(|host| host.zone == lost).unwrap().id();
    lattice.host(lost).kill();
    let told = |kind: &str| {
        let told = format!("lattice.{kind} {id}");
        lattice.wait(kind, SETTLE, || kinds(&lattice, &["--kind", "host"]).contains(&told).then_some(()));
    };
    told("host.lost");
    lattice.host(lost).spawn();
    lattice.host(lost).wait_ready();
    let told = format!("lattice.host.back {id}");
    lattice.wait("host.back", SETTLE, || kinds(&lattice, &["--kind", "host"]).contains(&told).then_some(()));
    assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));
    lattice.wait("the end", SETTLE, || {
        kinds(&lattice, &["--kind", "app.deleted"]).contains(&"lattice.app.deleted shop".to_owned()).then_some(())
    });
    let mut missing = BTreeSet::from(["app.applied", "rollout.complete", "host.lost", "host.back", "app.deleted"]);
    while !missing.is_empty() {
        // It ends with an error when nothing comes any more.
        let event: Value = serde_json::from_slice(&heard.reply().payload).unwrap();
        assert_eq!((&event["specversion"], &event["datacontenttype"]), (&"1.0".into(), &"application/json".into()));
        missing.remove(event["type"].as_str().unwrap().trim_start_matches("lattice."));
    }
}

#[test]
fn calls_are_seen_as_they_are_made_inside_a_host_and_between_two() {
    let address = free_address();
    let mut lattice = Lattice::start_with(2, |host| {
        if host.zone == "b" {
            host.arguments = vec!["--no-spy".to_owned()];
        }
    });
    let app = |cache: &str| {
        format!(
            "{}  components:\n    page: {{ image: {}, links: {{ wasi:keyvalue: cache }}, placement: {{ require: {{ zone: [a] }} }} }}\n  \
             providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: page }}, placement: {{ require: \
             {{ zone: [a] }} }} }}\n    cache: {{ use: keyvalue-memory, placement: {{ require: {{ zone: [{cache}] }} }} }}\n",
            head("shop"),
            image("counter"),
        )
    };
    for (zone, way) in [("a", "local"), ("b", "lattice")] {
        lattice.apply(&app(zone));
        let mut spy = lattice.command(&["spy", "shop/page", "--count", "6", "-o", "json"]);
        let spy = spy.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // What was made before it looks is not seen.
        let output = asking(address, "/", || spy.wait_with_output().unwrap());
        let calls = lines(&String::from_utf8(output.stdout).unwrap());
        assert!(output.status.success() && calls.len() == 6, "{calls:?}");
        let from = |unit: &str| calls.iter().find(|call| call["from"] == unit).unwrap();
        let (request, increment) = (from("shop/web"), from("shop/page"));
        assert_eq!(
            (&request["from"], &request["to"], &request["way"]),
            (&"shop/web".into(), &"shop/page".into(), &"local".into())
        );
        assert_eq!(request["arguments"]["method"], "GET");
        assert_eq!(request["result"], serde_json::json!({ "status": 200 }));
        assert_eq!((&increment["to"], &increment["way"]), (&"shop/cache".into(), &way.into()));
        assert_eq!(
            (&increment["interface"], &increment["function"]),
            (&"lattice:keyvalue/store@0.1.0".into(), &"increment".into())
        );
        assert_eq!(increment["arguments"][0], "default", "{increment}");
        assert!(increment["result"]["ok"].as_i64() > Some(0), "{increment}");
        assert!(calls.iter().all(|call| call["took_us"].is_u64()), "{calls:?}");
        assert_eq!(increment["host"], lattice.host("a").id());
    }
    // A unit of which all hosts keep their calls to themselves, and one that is not there.
    let refused = lattice.ctl(&["spy", "shp"]);
    assert!(refused.code == Some(6) && refused.stderr.contains("did you mean `shop`?"), "{}", refused.all());
    lattice.host("a").kill();
    lattice.wait("that the host is lost", SETTLE, || {
        let refused = lattice.ctl(&["spy", "shop", "--count", "1"]);
        (refused.code == Some(1) && refused.stderr.contains("--no-spy")).then_some(())
    });
}

/// Asks for a path again and again while something is done.
fn asking<T>(address: std::net::SocketAddr, path: &str, work: impl FnOnce() -> T) -> T {
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                get(address, path).unwrap();
                thread::sleep(Duration::from_millis(20));
            }
        });
        let done = work();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        done
    })
}

#[test]
fn recorded_calls_are_made_again_without_anything_else_there() {
    let (address, other) = (free_address(), free_address());
    let lattice = Lattice::start(2);
    let place = |zone: &str| format!("placement: {{ require: {{ zone: [{zone}] }} }}");
    let (a, b) = (place("a"), place("b"));
    let web = |name: &str, address, to: &str| {
        format!(
            "    {name}: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: {to} }}, {a} }}\n"
        )
    };
    // What is called over NATS and inside the process, capabilities and functions of WIT.
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {}, links: {{ wasi:keyvalue: cache }}, {a} }}\n    caller: {{ image: {}, links: {{ \
         test:library: library }}, {b} }}\n    library: {{ image: {}, {b} }}\n  providers:\n{}{}    cache: {{ use: keyvalue-memory, {b} }}\n",
        head("shop"),
        image("counter"),
        image("caller"),
        image("library"),
        web("web", address, "page"),
        web("web2", other, "caller"),
    ));
    let record = |unit: &str, file: &str, address, path: &str| {
        asking(address, path, || {
            let said = lattice.ctl(&["record", unit, "--out", file, "--count", "3"]);
            assert!(said.code == Some(0) && said.stdout.starts_with("3 calls of "), "{}", said.all());
        });
    };
    let replay = |file: &str, guest: &str| {
        let component = lattice_tests::places::guest(guest);
        lattice.ctl(&["replay", file, component.to_str().unwrap()])
    };
    let file = lattice.dir().join("page.calls").display().to_string();
    record("shop/page", &file, address, "/");
    let same = replay(&file, "counter");
    assert!(same.code == Some(0) && same.stdout == "3 calls: all as recorded\n", "{}", same.all());
    // Another component calls nothing and says something else.
    let different = replay(&file, "hello");
    assert!(
        different.code == Some(1) && different.stderr.contains("3 of 3 calls went otherwise"),
        "{}",
        different.all()
    );
    for words in
        ["call 1: GET http://", "it did not call lattice:keyvalue/store.increment of shop/cache", "it answered \"hello"]
    {
        assert!(different.stdout.to_lowercase().contains(&words.to_lowercase()), "{words}: {}", different.all());
    }
    let told = lines(
        &lattice.ctl(&["replay", &file, lattice_tests::places::guest("hello").to_str().unwrap(), "-o", "json"]).stdout,
    );
    assert!(told.len() == 3 && told.iter().all(|call| !call["differences"].as_array().unwrap().is_empty()), "{told:?}");

    let file = lattice.dir().join("caller.calls").display().to_string();
    record("shop/caller", &file, other, "/bytes?n=100");
    let same = replay(&file, "caller");
    assert!(same.code == Some(0), "{}", same.all());
    // Of a library it is known what it was given, and what it gave; WASI 0.3 gives the same.
    let file = lattice.dir().join("library.calls").display().to_string();
    record("shop/library", &file, other, "/bytes?n=100");
    for guest in ["library", "library-p3"] {
        let same = replay(&file, guest);
        assert!(same.code == Some(0) && same.stdout.contains("all as recorded"), "{guest}: {}", same.all());
    }
    // What is no recording is told with its place.
    std::fs::write(&file, "{}\n").unwrap();
    let wrong = replay(&file, "library");
    assert!(
        wrong.code == Some(1) && wrong.stderr.contains("is no recording: missing field `recording`"),
        "{}",
        wrong.all()
    );
    let provider = lattice.ctl(&["record", "shop/cache", "--out", &file]);
    assert!(provider.stderr.contains("shop/cache is a provider"), "{}", provider.all());
}
