//! Components that answer by WASI 0.3: served, reused, and in a lattice.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, Lattice, eventually, get,
    lattice::{head, image},
    places::free_address,
    standalone::Server,
    wait,
};

/// The two numbers of `/count`: calls that the instance has taken, and those that it has.
fn count(address: SocketAddr) -> (u32, u32) {
    let text = get(address, "/count").unwrap().text();
    let (taken, now) = text.trim().split_once(' ').unwrap_or_else(|| panic!("{text}"));
    (taken.parse().unwrap(), now.parse().unwrap())
}

#[test]
fn bodies_stream_both_ways_with_trailers() {
    for options in [&[][..], &["--reuse", "100"]] {
        let server = Server::start("p3-hello", &[options, &["--max-body", "16MiB"]].concat());
        let mut client = Client::connect(server.address).unwrap();
        for _ in 0..2 {
            let head =
                b"POST / HTTP/1.1\r\nhost: x\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
            client.write(head).unwrap();
            assert_eq!(client.read_head().unwrap().status, 200);
            assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]), "before the last one is sent");
            client.write(b"6\r\nsecond\r\n").unwrap();
            assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"second"[..]));
            client.write(b"0\r\n\r\n").unwrap();
            assert_eq!(client.read_chunk().unwrap(), None);
            assert_eq!(client.trailers, ["x-length: 11"]);
        }
        let body: Vec<u8> = (0..8 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let echoed = client.send("POST", "/", &[], &body).unwrap();
        assert!(echoed.body == body, "8 MiB come back as they were, {} bytes did", echoed.body.len());
        let big = client.get("/big?bytes=10000000").unwrap();
        assert_eq!(big.body.len(), 10_000_000);
        assert!(big.body.starts_with(b"abcdefghijklmnopqrstuvwxyzabc"));
        assert_eq!(client.send("HEAD", "/", &[], b"").unwrap().body, b"");
        assert_eq!(client.get("/").unwrap().text(), "Hello from WASI 0.3!\n");
    }
}

#[test]
fn an_instance_serves_no_more_calls_than_it_may() {
    let fresh = Server::start("p3-hello", &[]);
    for _ in 0..3 {
        assert_eq!(count(fresh.address), (1, 1), "each call has an instance of its own");
    }
    let reused = Server::start("p3-hello", &["--reuse", "4"]);
    let taken: Vec<_> = (0..10).map(|_| count(reused.address).0).collect();
    assert_eq!(taken, [1, 2, 3, 4, 1, 2, 3, 4, 1, 2]);
    let address = reused.address;
    let waiting = |_| thread::spawn(move || assert_eq!(get(address, "/sleep?ms=20").unwrap().status, 200));
    let counting = |_| thread::spawn(move || assert!((1..=4).contains(&count(address).0)));
    for _ in 0..10 {
        let both: Vec<_> = (0..6).map(waiting).chain((0..6).map(counting)).collect();
        both.into_iter().for_each(|one| one.join().unwrap());
    }
}

#[test]
fn a_body_that_stalls_is_broken_off_at_the_deadline() {
    for options in [&["--timeout", "500ms"][..], &["--timeout", "500ms", "--reuse", "100"]] {
        let server = Server::start("p3-hello", options);
        let mut client = Client::connect(server.address).unwrap();
        client.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        let asked = Instant::now();
        assert_eq!(client.read_head().unwrap().status, 200);
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]));
        assert!(client.read_chunk().is_err(), "it never looks whole");
        assert!((400..5000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
        assert!(server.log().contains("no answer within 500 ms"), "{}", server.log());
        assert_eq!(count(server.address), (1, 1), "the instance has gone with it");
    }
}

#[test]
fn calls_that_wait_share_an_instance_up_to_a_bound() {
    let server = Server::start("p3-hello", &["--reuse", "1000"]);
    let address = server.address;
    let sleep = |_| thread::spawn(move || get(address, "/sleep?ms=1000").unwrap().text());
    let sleepers: Vec<_> = (0..40).map(sleep).collect();
    let started = Instant::now();
    let mut together: Vec<u32> = Vec::new();
    for sleeper in sleepers {
        let text = sleeper.join().unwrap();
        together.push(text.trim().strip_prefix("slept ").unwrap().parse().unwrap());
    }
    assert!(started.elapsed() < Duration::from_secs(8), "they wait at the same time");
    let most = *together.iter().max().unwrap();
    assert!((2..=16).contains(&most), "{together:?}");
    // All of them are over: what is left has nothing to do.
    assert_eq!(count(address).1, 1);
}

#[test]
fn a_trap_ends_the_calls_of_its_instance_and_no_others() {
    let server = Server::start("p3-hello", &["--reuse", "1000"]);
    let address = server.address;
    assert_eq!(count(address), (1, 1));
    // It waits, so the next ones join it; unless it came while one of them was at work, and got an instance of its own.
    let mut waiting = (0..20)
        .find_map(|_| {
            let mut client = Client::connect(address).unwrap();
            client.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            eventually(Duration::from_secs(1), || (count(address).1 == 2).then_some(())).map(|()| client)
        })
        .expect("a shared instance");
    let trapped = get(address, "/trap").unwrap();
    assert_eq!((trapped.status, trapped.text().as_str()), (500, "the component failed\n"));
    assert_eq!(waiting.read_head().unwrap().status, 500, "it has lost its instance");
    assert_eq!(count(address), (1, 1), "a new one");
    assert!(server.log().contains("unreachable"), "{}", server.log());

    // A body that breaks off is never taken for whole.
    let mut client = Client::connect(address).unwrap();
    client.write(b"GET /late HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"not all of it"[..]));
    assert!(client.read_chunk().is_err(), "the end was not reached");
    assert_eq!(get(address, "/").unwrap().status, 200);
}

#[test]
fn a_client_that_goes_away_frees_its_place_and_its_instance() {
    let server = Server::start("p3-hello", &["--reuse", "1000", "--concurrency", "4", "--timeout", "20s"]);
    for _ in 0..8 {
        let mut client = Client::connect(server.address).unwrap();
        client.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf").unwrap();
        assert_eq!(client.read_head().unwrap().status, 200, "{}", server.log());
        drop(client);
        let mut client = Client::connect(server.address).unwrap();
        client.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        drop(client);
        let free = || get(server.address, "/").ok().filter(|response| response.status == 200);
        wait("a free place", Duration::from_secs(5), free);
    }
    // No instance is left that still works for somebody who has gone.
    wait("nobody at work", Duration::from_secs(5), || (count(server.address).1 == 1).then_some(()));
}

#[test]
fn a_full_component_refuses_at_once() {
    let server = Server::start("p3-hello", &["--reuse", "10", "--concurrency", "1"]);
    let mut busy = Client::connect(server.address).unwrap();
    busy.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    assert_eq!(busy.read_head().unwrap().status, 200);
    let refused = get(server.address, "/").unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    busy.write(b"0\r\n\r\n").unwrap();
    let free = || get(server.address, "/").ok().filter(|response| response.status == 200);
    wait("room again", Duration::from_secs(5), free);
}

fn app(name: &str, guest: &str, address: SocketAddr, component: &str, web: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}{component} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ \"/\": main }}{web} }}\n",
        head(name),
        image(guest)
    )
}

#[test]
fn both_kinds_run_on_one_host_each_with_code_of_its_own() {
    let mut lattice = Lattice::start(1);
    let (new, old) = (free_address(), free_address());
    lattice.apply(&app("old", "hello", old, "", ""));
    let pools = |lattice: &Lattice| lattice.hosts[0].log_of_this_life().matches("instance pool").count();
    assert_eq!(pools(&lattice), 1, "nothing needs the second engine yet");
    lattice.apply(&app("new", "p3-hello", new, ", reuse: 100, env: { A: b }", ""));
    assert_eq!(pools(&lattice), 2);
    let answers = || {
        assert_eq!(get(new, "/").unwrap().text(), "Hello from WASI 0.3!\n");
        assert_eq!(get(old, "/").unwrap().text(), "Hello from the lattice!\n");
        assert!(get(new, "/fetch?to=127.0.0.1:1").unwrap().text().contains("HttpRequestDenied"));
    };
    answers();
    assert_eq!(get(new, "/trap").unwrap().status, 500);
    answers();
    lattice.wait("the fault in the status", Duration::from_secs(20), || {
        (lattice.status("new").instances("main")[0].traps == 1).then_some(())
    });

    lattice.hosts[0].ask_to_end();
    assert_eq!(lattice.hosts[0].wait_ended(), Some(0));
    lattice.hosts[0].spawn();
    lattice.hosts[0].wait_ready();
    let serves = || get(new, "/").ok().filter(|response| response.status == 200);
    lattice.wait("serving again", Duration::from_secs(60), serves);
    let serves = || get(old, "/").ok().filter(|response| response.status == 200);
    lattice.wait("serving again", Duration::from_secs(60), serves);
    answers();
    let log = lattice.hosts[0].log_of_this_life();
    assert!(!log.contains(" compiled "), "nothing is compiled again:\n{log}");
}

#[test]
fn a_component_of_wasi_0_3_is_called_from_another_host() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let zone = |zone: &str| format!(", placement: {{ require: {{ zone: [{zone}] }} }}");
    let component = format!("{}, reuse: 100, limits: {{ timeout: 1s }}", zone("b"));
    lattice.apply(&app("remote", "p3-hello", address, &component, &zone("a")));
    let mut client = Client::connect(address).unwrap();
    assert_eq!(client.get("/").unwrap().text(), "Hello from WASI 0.3!\n");
    let body = vec![7; 1 << 20];
    assert!(client.send("POST", "/", &[], &body).unwrap().body == body);
    assert_eq!(client.get("/big?bytes=100000").unwrap().body.len(), 100_000);
    assert_eq!(get(address, "/sleep?ms=60000").unwrap().status, 504);
    assert_eq!(get(address, "/trap").unwrap().status, 500);
    // Over NATS the whole body may be gathered before the head goes out; else it breaks off.
    if let Ok(late) = get(address, "/late") {
        assert_eq!(late.status, 502, "{}", late.text());
    }
    assert_eq!(client.get("/").unwrap().status, 200);
}
