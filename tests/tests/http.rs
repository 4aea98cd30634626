//! HTTP as clients meet it: with the component on the listener's host.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, Lattice, get,
    lattice::{head, image},
    places::free_address,
    request,
};

/// An app of one component; `server` and `component` are further settings of the two.
fn app(name: &str, guest: &str, address: SocketAddr, route: &str, server: &str, component: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}{component} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\"{server} }}, routes: {{ \"{route}\": main }} }}\n",
        head(name),
        image(guest)
    )
}

#[test]
fn a_connection_serves_many_requests_also_two_at_once_and_head_has_no_body() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", "", ""));
    let mut client = Client::connect(address).unwrap();
    for number in 0..10 {
        let body = format!("body {number}");
        let response = client.send("POST", "/", &[("content-type", "text/x-test")], body.as_bytes()).unwrap();
        assert_eq!((response.status, response.text()), (200, body));
        assert_eq!(response.header("content-type"), Some("text/x-test"));
    }
    let whole = client.get("/big?bytes=100").unwrap();
    let head = client.send("HEAD", "/big?bytes=100", &[], b"").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), whole.header("content-type"));
    assert_eq!(client.get("/status?code=204").unwrap().status, 204);
    assert_eq!(client.get("/status?code=418").unwrap().status, 418);

    // Two requests in one write: the second must not be lost while the first is answered.
    let two = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nfirstPOST / HTTP/1.1\r\nhost: x\r\ncontent-length: \
               6\r\n\r\nsecond";
    client.write(two.as_bytes()).unwrap();
    assert_eq!(client.read(false).unwrap().text(), "first");
    assert_eq!(client.read(false).unwrap().text(), "second");
    // One and a half: the first is answered although the second is not whole yet.
    client.write(b"GET /status HTTP/1.1\r\nhost: x\r\n\r\nGET /status?code=418 HT").unwrap();
    assert_eq!(client.read(false).unwrap().status, 200);
    client.write(b"TP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read(false).unwrap().status, 418);

    let last = client.send("GET", "/status?code=200", &[("connection", "close")], b"").unwrap();
    assert_eq!(last.status, 200);
    assert!(client.is_closed());

    // Header values reach the component, and what belongs to the connection does not stay with it.
    let response = Client::connect(address).unwrap().send("GET", "/headers", &[("x-one", "1")], b"").unwrap();
    assert!(response.text().contains("x-one: 1\n"), "{}", response.text());
}

#[test]
fn routes_go_by_host_name_and_path_and_apps_share_an_address() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("one", "hello", address, "/", "", ""));
    lattice.apply(&app("two", "echo", address, "/two", "", ""));
    lattice.apply(
        &app("three", "kv", address, "shop.example.com/", "", ", links: { wasi:keyvalue: cache }")
            .replace("  providers:\n", "  providers:\n    cache: { use: keyvalue-memory }\n"),
    );
    let ask = |host: &str, path: &str| Client::connect(address).unwrap().named(host).get(path).unwrap();
    assert_eq!(ask("anything", "/").text(), "Hello from the lattice!\n");
    assert_eq!(ask("anything", "/twofold").text(), "Hello from the lattice!\n", "a prefix ends at a slash");
    assert_eq!(ask("anything", "/two/status").text(), "");
    assert_eq!(ask("anything", "/two?x=1").status, 200);
    assert_eq!(ask("shop.example.com", "/incr/a").text(), "1\n");
    assert_eq!(ask("SHOP.example.com:8080", "/incr/a").text(), "2\n", "names have no case, and the port is cut off");

    assert_eq!(lattice.ctl(&["delete", "one"]).code, Some(0));
    let nowhere = ask("www.example.com", "/nowhere");
    assert_eq!((nowhere.status, nowhere.text().as_str()), (404, "no route for www.example.com/nowhere\n"));
    assert_eq!(ask("anything", "/two").status, 200, "the other apps are still there");
    assert_eq!(ask("shop.example.com", "/incr/a").text(), "3\n");
}

#[test]
fn routes_go_by_method_and_a_new_version_gets_its_share() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let manifest = |share: &str| {
        format!(
            "{}  components:\n    main: {{ image: {} }}\n    next: {{ image: {}, placement: {{ require: {{ zone: [b] }} }} }}\n  \
             providers:\n    web:\n      use: http-server\n      config: {{ address: \"{address}\", cors: {{ origins: \
             [https://app.example] }} }}\n      placement: {{ require: {{ zone: [a] }} }}\n      routes: {{ \"*.example.com/\": {share}, \
             \"POST /\": next }}\n",
            head("canary"),
            image("hello"),
            image("echo"),
        )
    };
    // `next` is on the other host, `main` on either.
    let shares = |main: u32, next: u32| {
        lattice.apply(&manifest(&format!("{{ main: {main}, next: {next} }}")));
        let mut client = Client::connect(address).unwrap().named("shop.example.com");
        let answers: Vec<_> = (0..40).map(|_| client.get("/status").unwrap().text()).collect();
        answers.iter().filter(|text| text.is_empty()).count()
    };
    assert_eq!(shares(1, 0), 0);
    assert!((9..=11).contains(&shares(3, 1)), "a quarter");
    assert_eq!(shares(0, 1), 40);
    let links = lattice.ctl(&["get", "links"]);
    assert!(links.stdout.contains("*.example.com/ (weight 1)"), "{}", links.all());

    let mut client = Client::connect(address).unwrap().named("www.example.net");
    assert_eq!(client.send("POST", "/x", &[], b"hi").unwrap().text(), "hi");
    let refused = client.get("/x").unwrap();
    assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")));
    let asked = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let allowed = client.send("OPTIONS", "/x", &asked, b"").unwrap();
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some("https://app.example")));
}

#[test]
fn bodies_stream_both_ways_when_local() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", ", maxBody: 16MiB", ""));
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    let head = client.read_head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]), "it comes before the last one is sent");
    client.write(b"6\r\nsecond\r\n").unwrap();
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"second"[..]));
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.read_chunk().unwrap(), None);

    let body: Vec<u8> = (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let echoed = client.send("POST", "/", &[], &body).unwrap();
    assert_eq!(echoed.status, 200);
    assert!(echoed.body == body, "8 MiB come back as they were, {} bytes did", echoed.body.len());
    let big = client.get("/big?bytes=10000000").unwrap();
    assert_eq!(big.body.len(), 10_000_000);
    assert!(big.body.starts_with(b"abcdefghijklmnopqrstuvwxyzabc"));
}

#[test]
fn requests_over_the_limits_and_bad_requests_are_refused() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", ", maxBody: 100KiB, maxHeaders: 16KiB", ""));
    // With the length announced it is refused before anything is sent.
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n").unwrap();
    let refused = client.read(false).unwrap();
    assert_eq!(refused.status, 413);
    assert_eq!(refused.text(), "a request body of 200000 bytes is over the limit of 102400 bytes\n");
    assert_eq!(request(address, "POST", "/", &vec![1; 100 << 10]).unwrap().body.len(), 100 << 10, "the limit itself");

    let huge = "y".repeat(40_000);
    let refused = Client::connect(address).unwrap().send("GET", "/", &[("x", &huge)], b"").unwrap();
    assert_eq!(refused.status, 431);
    for bad in
        ["NONSENSE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"]
    {
        let mut client = Client::connect(address).unwrap();
        client.write(bad.as_bytes()).unwrap();
        assert_eq!(client.read(false).unwrap().status, 400, "{bad:?}");
    }
    assert_eq!(get(address, "/status").unwrap().status, 200, "nobody else was hurt");
}

#[test]
fn a_body_that_grows_over_the_limit_never_looks_whole() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", ", maxBody: 100KiB", ""));
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("2000\r\n{}\r\n", "z".repeat(0x2000));
    // The server may close in the midst of it.
    let _ = client.write(chunk.repeat(20).as_bytes()).and_then(|()| client.write(b"0\r\n\r\n"));
    match client.read(false) {
        Ok(response) => assert_eq!(response.status, 413),
        Err(error) => println!("broken off: {error}"),
    }
    // A component that has not begun to answer does not hide what is wrong.
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    client.write(chunk.repeat(12).as_bytes()).unwrap();
    client.write(&chunk.as_bytes()[..6]).and_then(|()| client.write(&chunk.as_bytes()[6..6 + 5000])).unwrap();
    let refused = client.read(false).unwrap();
    assert_eq!((refused.status, refused.text().starts_with("a request body of ")), (413, true), "{}", refused.text());
    assert_eq!(get(address, "/status").unwrap().status, 200);
}

#[test]
fn a_full_component_refuses_at_once_and_says_when_to_come_again() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", "", ", limits: { concurrency: 1 }"));
    let mut busy = Client::connect(address).unwrap();
    busy.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    assert_eq!(busy.read_head().unwrap().status, 200);
    assert_eq!(busy.read_chunk().unwrap().as_deref(), Some(&b"first"[..]), "it is surely at work");
    for _ in 0..5 {
        let asked = Instant::now();
        let refused = get(address, "/status").unwrap();
        let took = asked.elapsed();
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
        assert_eq!(refused.text(), "echo/main is at its concurrency limit\n");
        assert!(took < Duration::from_millis(500), "at once, not after {took:?}");
    }
    busy.write(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    assert_eq!(busy.read_chunk().unwrap().as_deref(), Some(&b"second"[..]), "who was there first is not disturbed");
    assert_eq!(busy.read_chunk().unwrap(), None);
    let free = || get(address, "/status").ok().filter(|response| response.status == 200);
    lattice.wait("room again", Duration::from_secs(5), free);
}

#[test]
fn calls_end_at_their_deadline_whether_they_wait_or_compute() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("slow", "echo", address, "/", "", ", limits: { timeout: 300ms }"));
    lattice.apply(&app("spin", "trap", address, "/loop", "", ", limits: { timeout: 300ms }"));
    for path in ["/sleep?ms=60000", "/loop"] {
        let asked = Instant::now();
        let response = get(address, path).unwrap();
        let took = asked.elapsed();
        assert_eq!(response.status, 504, "{path}: {}", response.text());
        assert_eq!(response.text(), "no answer within 300 ms\n");
        assert!((250..2000).contains(&took.as_millis()), "{path} took {took:?}");
    }
    assert_eq!(get(address, "/sleep?ms=10").unwrap().status, 200);
}

#[test]
fn a_client_that_goes_away_disturbs_nobody() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", "", ", limits: { concurrency: 4, timeout: 2s }"));
    for _ in 0..8 {
        let mut client = Client::connect(address).unwrap();
        client.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
        // The component has begun to answer when the client leaves.
        assert_eq!(client.read_head().unwrap().status, 200);
        drop(client);
        let mut client = Client::connect(address).unwrap();
        client.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        drop(client);
    }
    let free = || get(address, "/status").ok().filter(|response| response.status == 200);
    lattice.wait("places that are free again", Duration::from_secs(5), free);
    let mut client = Client::connect(address).unwrap();
    for _ in 0..20 {
        assert_eq!(client.send("POST", "/", &[], b"whole").unwrap().text(), "whole");
    }
}

#[test]
fn a_component_is_told_that_its_client_went_away_in_the_middle_of_the_body() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, "/", "", ""));
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    drop(client);
    let told = || lattice.hosts[0].log().contains("body: connection terminated").then_some(());
    lattice.wait("what the component says of it", Duration::from_secs(10), told);
}
