//! Traces: one tree from a request to the database, over hosts, processes and messages, as a collector sees it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{net::SocketAddr, time::Duration};

use lattice_provider::conformance::servers::RedisServer;
use lattice_tests::{
    Client, Lattice, Response,
    collector::{Collector, Span},
    get,
    lattice::{SETTLE, head, image},
    origin::Origin,
    places::free_address,
};

/// The span of somebody outside.
const OUTSIDE: &str = "00f067aa0ba902b7";

/// The spans of a trace below `parent`, a line each, in the order of their beginnings.
fn tree(spans: &[Span], parent: &str) -> String {
    fn add(spans: &[Span], parent: &str, depth: usize, text: &mut String) {
        for span in spans.iter().filter(|span| span.parent == parent) {
            let error = span.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
            let indent = "  ".repeat(depth);
            text.push_str(&format!("{indent}{} {} {}{error}\n", span.kind, span.unit, span.name));
            add(spans, &span.id, depth + 1, text);
        }
    }
    let mut spans = spans.to_vec();
    spans.sort_by_key(|span| span.began);
    let mut text = String::new();
    add(&spans, parent, 0, &mut text);
    text
}

/// Waits until the trace is this tree.
fn wait_for(collector: &Collector, trace: &str, expected: &str) -> Vec<Span> {
    let expected: String = expected.lines().map(|line| format!("{line}\n")).collect();
    let shown = || tree(&collector.trace(trace), OUTSIDE);
    let found = lattice_tests::eventually(SETTLE, || (shown() == expected).then(|| collector.trace(trace)));
    found.unwrap_or_else(|| panic!("expected:\n{expected}\ngot:\n{}", shown()))
}

/// A request that belongs to a trace.
fn ask(address: SocketAddr, trace: &str, path: &str, body: &str, recorded: bool) -> Response {
    let traceparent = format!("00-{trace}-{OUTSIDE}-0{}", u8::from(recorded));
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut client = Client::connect(address).unwrap();
    client.send(method, path, &[("traceparent", &traceparent)], body.as_bytes()).unwrap()
}

/// A trace's id, made of a number.
fn id(number: u8) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}")
}

struct App {
    older: SocketAddr,
    newer: SocketAddr,
    fetch: SocketAddr,
    clerk: SocketAddr,
}

impl App {
    fn new() -> Self {
        Self { older: free_address(), newer: free_address(), fetch: free_address(), clerk: free_address() }
    }

    /// What is called from outside is in zone a, what that calls in zone b.
    fn manifest(&self, redis: &str, origin: &Origin) -> String {
        let place = |zone: &str| format!("placement: {{ require: {{ zone: [{zone}] }} }}");
        let (a, b) = (place("a"), place("b"));
        let component =
            |name: &str, guest: &str, more: &str| format!("    {name}: {{ image: {}, {more} }}\n", image(guest));
        let web = |name: &str, address: &SocketAddr, to: &str| {
            format!(
                "    {name}: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: {to} }}, {a} }}\n"
            )
        };
        let allow = format!("{{ to: internet, allow: [\"http://{}\", \"http://older.app.lattice\"] }}", origin.address);
        [
            head("app") + "  components:\n",
            component("older", "caller", &format!("links: {{ test:library: library }}, {a}")),
            component(
                "newer",
                "caller-p3",
                &format!("links: {{ test:library: newest, test:waits: newest, wasi:keyvalue: cache }}, {a}"),
            ),
            component("fetch", "fetcher", &format!("links: {{ wasi:http/outgoing-handler: {allow} }}, {a}")),
            component("clerk", "settings", &a),
            component("runner", "cli", &format!("env: {{ ACT: args }}, {b}")),
            component("library", "library", &b),
            component("newest", "library-p3", &b),
            component("taker", "messages", &format!("links: {{ wasmcloud:messaging: broker }}, {b}")),
            "  providers:\n".to_owned(),
            web("web", &self.older, "older"),
            web("web2", &self.newer, "newer"),
            web("web3", &self.fetch, "fetch"),
            web("web4", &self.clerk, "clerk"),
            format!("    cache: {{ use: keyvalue-redis, config: {{ url: \"{redis}\" }}, isolate: process, {b} }}\n"),
            format!("    internet: {{ use: http-client, config: {{ allowPrivate: true }}, {a} }}\n"),
            format!("    clock: {{ use: cron, schedules: {{ tick: {{ every: 1s, to: runner }} }}, {a} }}\n"),
            format!(
                "    broker: {{ use: messaging-nats, subscriptions: {{ \"jobs.>\": taker, other: taker }}, {a} }}\n"
            ),
        ]
        .concat()
    }
}

#[test]
fn a_request_is_one_tree_over_hosts_processes_and_messages() {
    let (collector, origin, redis) = (Collector::start(), Origin::plain(), RedisServer::start().unwrap());
    let mut lattice = Lattice::start_with(2, |host| {
        host.arguments = collector.arguments();
        host.arguments.extend(["--otlp-headers".to_owned(), "authorization=Bearer of-the-shop".to_owned()]);
        host.arguments.extend(["--otlp-resource".to_owned(), format!("deployment.environment={}", host.zone)]);
    });
    let app = App::new();
    lattice.apply(&app.manifest(&redis.url(), &origin));

    // To the database, in a process on another host.
    assert_eq!(ask(app.newer, &id(1), "/count?by=2", "", true).text(), "2 2\n");
    let spans = wait_for(
        &collector,
        &id(1),
        "server app/web2 GET /
  server app/newer wasi:http/incoming-handler.handle
    client app/newer lattice:keyvalue/store.increment
      server app/cache lattice:keyvalue/store.increment
        client app/cache INCRBY
    client app/newer lattice:keyvalue/store.set
      server app/cache lattice:keyvalue/store.set
        client app/cache SET
    client app/newer lattice:keyvalue/store.get
      server app/cache lattice:keyvalue/store.get
        client app/cache GET",
    );
    let of = |unit: &str, kind: &str| spans.iter().find(|span| span.unit == unit && span.kind == kind).unwrap();
    let (web, command) = (of("app/web2", "server"), of("app/cache", "client"));
    assert_eq!((&*web.attributes["http.route"], &*web.attributes["url.path"]), ("/", "/count"));
    assert_eq!(
        (&*web.attributes["http.request.method"], &*web.attributes["http.response.status_code"]),
        ("GET", "200")
    );
    assert_eq!(command.attributes["db.system.name"], "redis");
    assert_eq!((&*web.resource["deployment.environment"], &*command.resource["deployment.environment"]), ("a", "b"));
    assert_eq!(web.resource["service.instance.id"], lattice.host("a").id());
    assert_eq!(collector.authorization().as_deref(), Some("Bearer of-the-shop"));
    // No child is longer than its parent.
    for span in &spans {
        let parent = spans.iter().find(|other| other.id == span.parent);
        assert!(parent.is_none_or(|parent| parent.began <= span.began && span.ended <= parent.ended), "{spans:#?}");
    }

    // Between components of both generations, and a call that fails.
    assert_eq!(ask(app.newer, &id(2), "/outcome?ms=1", "", true).status, 200);
    wait_for(
        &collector,
        &id(2),
        "server app/web2 GET /
  server app/newer wasi:http/incoming-handler.handle
    client app/newer test:waits/waits.outcome
      server app/newest test:waits/waits.outcome
    client app/newer test:waits/waits.outcome
      server app/newest test:waits/waits.outcome",
    );
    assert_eq!(ask(app.older, &id(3), "/trap", "", true).status, 500);
    let failed = lattice.wait("the trace of a trap", SETTLE, || {
        let spans = collector.trace(&id(3));
        (spans.len() == 4).then_some(spans)
    });
    assert!(failed.iter().all(|span| span.error.is_some()), "{failed:#?}");
    assert!(failed.iter().any(|span| span.unit == "app/library" && span.error.as_ref().unwrap().contains("trap")));

    // Out of the lattice and back into it: who is asked is told of the trace.
    let answer = ask(app.fetch, &id(4), &format!("/?to=http://{}/headers", origin.address), "", true).text();
    let spans = wait_for(
        &collector,
        &id(4),
        "server app/web3 GET /
  server app/fetch wasi:http/incoming-handler.handle
    server app/internet lattice:http/client.send
      client app/internet GET",
    );
    let sent = spans.iter().find(|span| span.kind == "client").unwrap();
    assert!(answer.contains(&format!("00-{}-{}-01", id(4), sent.id)), "{answer}");
    assert_eq!(sent.attributes["url.full"], format!("http://{}/headers", origin.address));
    assert_eq!(ask(app.fetch, &id(5), "/?to=http://older.app.lattice/", "", true).text(), "ok\n");
    wait_for(
        &collector,
        &id(5),
        "server app/web3 GET /
  server app/fetch wasi:http/incoming-handler.handle
    server app/older wasi:http/incoming-handler.handle",
    );

    // By messages, which carry it.
    let nats = lattice.nats.url().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(nats).await.unwrap();
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("traceparent", format!("00-{}-{OUTSIDE}-01", id(6)));
        client.publish_with_headers("jobs.one", headers, "send other".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    wait_for(
        &collector,
        &id(6),
        "consumer app/broker process jobs.one
  client app/broker wasmcloud:messaging/handler.handle-message
    server app/taker wasmcloud:messaging/handler.handle-message
      client app/taker wasmcloud:messaging/consumer.publish
        server app/broker wasmcloud:messaging/consumer.publish
          producer app/broker send other
            consumer app/broker process other
              client app/broker wasmcloud:messaging/handler.handle-message
                server app/taker wasmcloud:messaging/handler.handle-message
                  client app/taker wasmcloud:messaging/consumer.publish
                    server app/broker wasmcloud:messaging/consumer.publish
                      producer app/broker send seen.other
      client app/taker wasmcloud:messaging/consumer.publish
        server app/broker wasmcloud:messaging/consumer.publish
          producer app/broker send seen.send",
    );

    // What a component logs says which trace it belongs to.
    assert_eq!(ask(app.clerk, &id(7), "/log/warn", "something odd", true).status, 200);
    lattice.wait("the line with its trace", SETTLE, || {
        let lines = lattice.ctl(&["logs", "app/clerk"]).stdout;
        lines.lines().any(|line| line.contains("something odd") && line.contains(&id(7))).then_some(())
    });

    // What nobody else has begun begins here: a request, and a call by the clock.
    assert_eq!(get(app.older, "/").unwrap().status, 200);
    for (unit, whole) in [
        ("app/web", "server app/web GET /\n  server app/older wasi:http/incoming-handler.handle\n"),
        (
            "app/clock",
            "internal app/clock schedule tick\n  client app/clock wasi:cli/run.run\n    server app/runner wasi:cli/run.run\n",
        ),
    ] {
        lattice.wait(&format!("a trace that begins at {unit}"), SETTLE, || {
            let spans = collector.spans();
            let mut roots = spans.iter().filter(|span| span.unit == unit && span.parent.is_empty());
            roots.any(|root| tree(&collector.trace(&root.trace), "") == whole).then_some(())
        });
    }
}

#[test]
fn only_what_is_sampled_is_traced_and_a_collector_may_come_late() {
    let address = free_address();
    let mut lattice = Lattice::start_with(1, |host| {
        let otlp = format!("http://{address}");
        host.arguments = ["--otlp", &otlp, "--trace-sample", "0"].map(str::to_owned).into();
    });
    let page = free_address();
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{page}\" }}, \
         routes: {{ /: page }} }}\n",
        head("shop"),
        image("trap"),
    ));
    for (number, recorded) in [(1, true), (2, false)] {
        assert_eq!(ask(page, &id(number), "/ok", "", recorded).status, 200);
    }
    for _ in 0..20 {
        assert_eq!(get(page, "/ok").unwrap().status, 200);
    }
    let told = || lattice.host("a").log().contains("cannot reach the collector").then_some(());
    assert!(
        lattice_tests::eventually(Duration::from_secs(20), told).is_some(),
        "nobody is told that there is no collector"
    );
    let collector = Collector::start_at(address);
    let known = "server shop/web GET /\n  server shop/page wasi:http/incoming-handler.handle";
    wait_for(&collector, &id(1), known);
    // Later than what is not to come.
    assert_eq!(ask(page, &id(3), "/ok", "", true).status, 200);
    wait_for(&collector, &id(3), known);
    assert_eq!(collector.spans().len(), 4, "{:#?}", collector.spans());
    // Metrics go there, too; the last ones when the host ends.
    let host = lattice.host("a");
    host.ask_to_end();
    assert_eq!(host.wait_ended(), Some(0));
    let took = collector.metric("lattice_unit_call_duration_seconds", &["shop", "page"]).expect("a metric");
    assert_eq!(took["count"], "23", "{took}");
    let counts: u64 =
        took["bucketCounts"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(counts, 23, "{took}");
    assert_eq!(collector.metric("lattice_nats_connected", &[]).expect("a metric")["asDouble"], 1.0);
}

#[test]
fn wrong_settings_are_refused() {
    for (arguments, words) in [
        (["--otlp", "localhost:4318"], "give a URL such as http://127.0.0.1:4318"),
        (["--otlp", "ftp://127.0.0.1"], "give a URL such as http://127.0.0.1:4318"),
        (["--trace-sample", "2"], "give a number from 0 (none) to 1 (all)"),
        (["--otlp-headers", "no header=x"], "`no header` is no header"),
        (["--otlp-resource", "alone"], "`alone` is not NAME=VALUE"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut host = std::process::Command::new(lattice_tests::places::program("lattice-host"));
        let output = host.arg("--data").arg(dir.path()).args(arguments).env_clear().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{arguments:?}: {said}");
    }
}
