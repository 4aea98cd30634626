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
        // The request ends after what it has called.
        let mut spy = lattice.command(&["spy", "shop/page", "--count", "2", "-o", "json"]);
        let spy = spy.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let output = thread::scope(|scope| {
            // What was made before it looks is not seen.
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    get(address, "/").unwrap();
                    thread::sleep(Duration::from_millis(50));
                }
            });
            let output = spy.wait_with_output().unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            output
        });
        let mut calls = lines(&String::from_utf8(output.stdout).unwrap());
        assert!(output.status.success() && calls.len() == 2, "{calls:?}");
        calls.sort_by_key(|call| call["from"].as_str() == Some("shop/page"));
        let (request, increment) = (&calls[0], &calls[1]);
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
        assert!(increment["took_us"].as_u64() <= request["took_us"].as_u64(), "{calls:?}");
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
