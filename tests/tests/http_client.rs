//! Components that send HTTP requests out of the lattice, and to each other by name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, Lattice, Response, get,
    lattice::{head, image},
    origin::Origin,
    places::free_address,
    process::memory,
};

/// Both versions of the guest that sends on what it gets.
const FETCHERS: [&str; 2] = ["fetcher", "fetcher-p3"];

/// A fetcher with a link, and what else there is: `where_client` is the rest of the client's own line.
fn app(guest: &str, address: SocketAddr, allow: &[String], client: &str, more: &str) -> String {
    let interface = if guest == "fetcher" { "wasi:http/outgoing-handler" } else { "wasi:http/client" };
    format!(
        "{}  components:\n    front: {{ image: {}, placement: {{ require: {{ zone: [a] }} }}, limits: {{ timeout: 20s }}, links: {{ \
         {interface}: {{ to: internet, deadline: 15s, allow: {allow:?} }} }} }}\n{more}  providers:\n    internet: {{ use: \
         http-client{client} }}\n    web: {{ use: http-server, config: {{ address: \"{address}\", maxBody: 256MiB }}, routes: {{ /: \
         front }}, placement: {{ require: {{ zone: [a] }} }} }}\n",
        head("out"),
        image(guest),
    )
}

fn fetch(front: SocketAddr, url: &str) -> Response {
    get(front, &format!("/?to={url}")).unwrap()
}

/// Waits for the routes of a revision to be those that answer.
fn ready(lattice: &Lattice, front: SocketAddr, url: &str, status: u16) {
    lattice.wait("the link of the newest revision", Duration::from_secs(10), || {
        (fetch(front, url).status == status).then_some(())
    });
}

#[test]
fn requests_go_where_the_link_allows_and_nowhere_else() {
    let (lattice, origin, other) = (Lattice::start(1), Origin::plain(), Origin::plain());
    for guest in FETCHERS {
        let front = free_address();
        let allow = [format!("http://{}", origin.address), "http://localhost:1".to_owned()];
        lattice.apply(&app(guest, front, &allow, ", placement: { require: { zone: [a] } }", ""));
        let url = format!("http://{}", origin.address);
        ready(&lattice, front, &url, 200);
        assert_eq!(fetch(front, &format!("{url}/hello")).text(), "hello", "{guest}");
        for denied in
            [format!("http://{}", other.address), "https://example.com".to_owned(), "http://a.lattice".to_owned()]
        {
            let answer = fetch(front, &denied);
            assert_eq!(
                (answer.status, answer.text().trim()),
                (502, "ErrorCode::HttpRequestDenied"),
                "{guest} {denied}"
            );
        }
        // The name is allowed, and what it stands for is this machine.
        assert_eq!(fetch(front, "http://localhost:1").text().trim(), "ErrorCode::DestinationIpProhibited");
        let redirect = fetch(front, &format!("{url}/redirect?to=http://{}/", other.address));
        assert_eq!((redirect.status, redirect.header("location").is_some()), (302, true));
        assert_eq!(other.connections(), 0);
        let headers = fetch(front, &format!("{url}/headers")).text();
        assert!(headers.contains(&format!("host: {}\n", origin.address)), "{headers}");
        lattice.ctl(&["delete", "out"]);
    }
}

#[test]
fn without_a_link_or_an_entry_nothing_is_sent() {
    let (lattice, origin, front) = (Lattice::start(1), Origin::plain(), free_address());
    let text = app("fetcher", front, &[], "", "");
    let said = lattice.try_apply(&text.replace(", allow: []", "")).all();
    assert!(said.contains("may send requests nowhere"), "{said}");
    let url = format!("http://{}", origin.address);
    assert_eq!(fetch(front, &url).text().trim(), "ErrorCode::HttpRequestDenied");
    let refused = lattice.try_apply(&app("fetcher", front, &["example.com".to_owned()], "", ""));
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    assert!(refused.all().contains("does not begin with http:// or https://"), "{}", refused.all());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_client_on_another_host_or_as_a_process_is_the_same() {
    let lattice = Lattice::start(2);
    let (plain, tls) = (Origin::plain(), Origin::tls(true));
    let config =
        format!(", config: {{ caFile: {:?}, allowPrivate: [127.0.0.1] }}", tls.ca_file().display().to_string());
    let url = format!("http://{}", plain.address);
    let secure = format!("https://localhost:{}", tls.address.port());
    let allow = [url.clone(), secure.clone(), "http://127.0.0.1:1".to_owned()];
    let elsewhere = format!("{config}, placement: {{ require: {{ zone: [b] }} }}");
    for (guest, client) in
        [("fetcher", &elsewhere), ("fetcher-p3", &elsewhere), ("fetcher", &format!("{config}, isolate: process"))]
    {
        let front = free_address();
        lattice.apply(&app(guest, front, &allow, client, ""));
        ready(&lattice, front, &url, 200);
        assert_eq!(fetch(front, &format!("{secure}/version")).text(), "HTTP/2.0", "{guest}{client}");
        assert_eq!(fetch(front, "http://127.0.0.1:1").text().trim(), "ErrorCode::ConnectionRefused");
        assert_eq!(fetch(front, "http://127.0.0.1:2").text().trim(), "ErrorCode::HttpRequestDenied");
        bodies(front, &url, &secure);
        lattice.ctl(&["delete", "out"]);
    }
}

/// Large bodies each way, and one that is cut.
fn bodies(front: SocketAddr, url: &str, secure: &str) {
    const SIZE: usize = 24 << 20;
    for url in [url, secure] {
        let body = fetch(front, &format!("{url}/big?bytes={SIZE}")).body;
        assert!(body.len() == SIZE && body.iter().zip((b'a'..=b'z').cycle().take(1 << 16)).all(|(a, b)| *a == b));
        let mut sender = Client::connect(front).unwrap();
        let counted = sender.send("POST", &format!("/?to={url}/count"), &[], &vec![7; SIZE]).unwrap();
        assert_eq!(counted.text(), SIZE.to_string());
        assert!(get(front, &format!("/?to={url}/die")).is_err(), "a cut body is never a short success");
        assert_eq!(fetch(front, &format!("{url}/hello")).text(), "hello");
    }
}

#[test]
fn bodies_stream_in_bounded_memory_and_connections_are_kept() {
    const SIZE: usize = 200 << 20;
    let (mut lattice, origin, front) = (Lattice::start(1), Origin::plain(), free_address());
    let url = format!("http://{}", origin.address);
    let patient = app("fetcher", front, std::slice::from_ref(&url), "", "");
    lattice.apply(&patient.replace("timeout: 20s", "timeout: 60s").replace("deadline: 15s", "deadline: 60s"));
    let pid = lattice.host("a").pid();
    bodies(front, &url, &url);
    let before = (origin.connections(), memory(pid));
    for _ in 0..20 {
        assert_eq!(fetch(front, &url).text(), "hello");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(origin.connections() <= before.0 + 1, "{} connections", origin.connections());
    let reader = thread::spawn({
        let url = url.clone();
        move || fetch(front, &format!("{url}/big?bytes={SIZE}")).body.len()
    });
    let mut most = 0;
    while !reader.is_finished() {
        most = most.max(memory(pid));
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(reader.join().unwrap(), SIZE);
    assert!(most < before.1 + (64 << 20), "{most} bytes after {}", before.1);
}

#[test]
fn slow_servers_meet_the_guests_own_timeouts() {
    let (lattice, origin, front) = (Lattice::start(1), Origin::plain(), free_address());
    let url = format!("http://{}", origin.address);
    lattice.apply(&app("fetcher", front, std::slice::from_ref(&url), "", ""));
    let asked = Instant::now();
    let late = get(front, &format!("/?first=200&to={url}/sleep?ms=60000")).unwrap();
    assert_eq!((late.status, late.text().trim()), (502, "ErrorCode::ConnectionReadTimeout"));
    assert!(get(front, &format!("/?between=200&to={url}/stall?ms=60000")).is_err());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(fetch(front, &format!("{url}/stall?ms=100")).text(), "begin end");
    let text = app("fetcher", front, std::slice::from_ref(&url), "", "").replace("deadline: 15s", "deadline: 500ms");
    lattice.apply(&text);
    let asked = Instant::now();
    let late = fetch(front, &format!("{url}/sleep?ms=60000"));
    assert_eq!((late.status, late.text().trim()), (502, "ErrorCode::HttpResponseTimeout"));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn components_reach_each_other_by_name() {
    let lattice = Lattice::start(2);
    for (guest, zone) in [("fetcher", "a"), ("fetcher", "b"), ("fetcher-p3", "a"), ("fetcher-p3", "b")] {
        let front = free_address();
        let more = format!(
            "    echo: {{ image: {}, placement: {{ require: {{ zone: [{zone}] }} }} }}\n    hidden: {{ image: {} }}\n",
            image("echo"),
            image("echo")
        );
        lattice.apply(&app(guest, front, &["http://echo.out.lattice".to_owned()], "", &more));
        for name in ["echo.out.lattice", "echo.lattice", "ECHO.out.lattice:80"] {
            assert_eq!(
                fetch(front, &format!("http://{name}/big?bytes=300000")).body.len(),
                300_000,
                "{guest} {zone} {name}"
            );
        }
        let mut sender = Client::connect(front).unwrap();
        let body = vec![5; 3 << 20];
        let counted = sender.send("POST", "/?to=http://echo.lattice/count", &[], &body).unwrap();
        assert_eq!(counted.text(), format!("{}\n", body.len()));
        for name in ["hidden.out.lattice", "echo.other.lattice", "none.lattice", "echo.out.lattice:81"] {
            let denied = fetch(front, &format!("http://{name}/"));
            assert_eq!(denied.text().trim(), "ErrorCode::HttpRequestDenied", "{name}");
        }
        lattice.ctl(&["delete", "out"]);
    }
    let front = free_address();
    let wrong = app("fetcher", front, &["http://ecko.out.lattice".to_owned()], "", "");
    let refused = lattice.try_apply(&wrong);
    assert_eq!(refused.code, Some(3));
    assert!(refused.all().contains("is no component of this app"), "{}", refused.all());
}
