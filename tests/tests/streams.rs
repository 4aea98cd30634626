//! Bodies of any size between a listener on one host and a component on another.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    env,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Client, Lattice, eventually, get,
    lattice::{head, image},
    places::free_address,
    process::memory,
    proxy::{Fault, Proxy},
};

/// In which both hosts know of a stream that it is broken: the silence that is allowed, and some time on a busy machine.
const BOUND: Duration = Duration::from_secs(12);
/// Longer than the silence after which a side of a stream is lost.
const PAUSE: Duration = Duration::from_secs(8);
const PIECE: usize = 1 << 16;

/// The listener in zone a, the component in zone b.
fn remote(address: SocketAddr, limits: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}, placement: {{ require: {{ zone: [b] }} }}, limits: {{ {limits} }} }}\n  \
         providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\", maxBody: 64GiB }}, routes: {{ /: main }}, \
         placement: {{ require: {{ zone: [a] }} }} }}\n",
        head("remote"),
        image("echo")
    )
}

fn start(limits: &str) -> (Lattice, SocketAddr) {
    let (lattice, address) = (Lattice::start(2), free_address());
    lattice.apply(&remote(address, limits));
    (lattice, address)
}

/// The piece at this place of a body: all differ from their neighbours.
fn piece(at: usize) -> Vec<u8> {
    vec![(at % 251) as u8; PIECE]
}

/// A request whose body is so many pieces long, which another thread writes.
fn post(address: SocketAddr, path: &str, count: usize) -> (Client, JoinHandle<io::Result<()>>) {
    let mut client = Client::connect(address).unwrap();
    let length = count * PIECE;
    client.write(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n").as_bytes()).unwrap();
    let mut writer = client.writer().unwrap();
    (client, thread::spawn(move || (0..count).try_for_each(|at| writer.write_all(&piece(at)))))
}

/// Reads chunks and checks them, until the end, an error, or `length` bytes in all.
fn read(client: &mut Client, from: usize, length: usize) -> io::Result<usize> {
    let mut read = from;
    while read < length {
        let Some(chunk) = client.read_chunk()? else { break };
        for at in [0, chunk.len() - 1] {
            assert_eq!(usize::from(chunk[at]), (read + at) / PIECE % 251, "at {}", read + at);
        }
        read += chunk.len();
    }
    Ok(read)
}

/// Waits for a place of a component that has only one.
fn wait_free(lattice: &Lattice, address: SocketAddr, limit: Duration) {
    let free = || get(address, "/status").ok().filter(|response| response.status == 200);
    lattice.wait("the component's place", limit, free);
}

#[test]
fn gibibytes_cross_hosts_in_bounded_memory() {
    let mib: usize = env::var("LATTICE_STREAM_MIB").map_or(2048, |text| text.parse().unwrap());
    let (lattice, address) = start("timeout: 300s");
    let length = mib << 20;
    assert_eq!(Client::connect(address).unwrap().send("POST", "/", &[], &piece(0)).unwrap().body, piece(0));
    let memories = || [0, 1].map(|host| memory(lattice.hosts[host].pid()));
    let before = memories();
    let begun = Instant::now();
    let (mut client, writing) = post(address, "/", length / PIECE);
    assert_eq!(client.read_head().unwrap().status, 200);
    let (mut read_so_far, mut most) = (0, before);
    for step in 1..=64 {
        read_so_far = read(&mut client, read_so_far, length / 64 * step).unwrap();
        let now = memories();
        most = [0, 1].map(|host| most[host].max(now[host]));
    }
    assert_eq!(read(&mut client, read_so_far, usize::MAX).unwrap(), length);
    writing.join().unwrap().unwrap();
    let (took, grown) = (begun.elapsed(), [0, 1].map(|host| (most[host] - before[host]) >> 20));
    println!(
        "{mib} MiB there and back in {took:?}, {:.0} MiB/s; the hosts grew by {grown:?} MiB",
        mib as f64 / took.as_secs_f64()
    );
    // Two windows, the buffers on their way, and what the allocator keeps.
    assert!(grown.iter().all(|grown| *grown < 100), "{grown:?} MiB");
}

#[test]
fn a_reader_that_stops_is_waited_for_and_one_that_leaves_frees_the_component() {
    let (lattice, address) = start("timeout: 60s, concurrency: 1");
    let length = 1024 * PIECE;
    let (mut client, writing) = post(address, "/", 1024);
    assert_eq!(client.read_head().unwrap().status, 200);
    let read_so_far = read(&mut client, 0, length / 4).unwrap();
    thread::sleep(PAUSE);
    assert_eq!(get(address, "/status").unwrap().status, 503, "the body is still on its way");
    assert_eq!(read(&mut client, read_so_far, usize::MAX).unwrap(), length);
    writing.join().unwrap().unwrap();
    wait_free(&lattice, address, BOUND);

    let (mut client, writing) = post(address, "/", 1 << 14);
    assert_eq!(client.read_head().unwrap().status, 200);
    read(&mut client, 0, length / 4).unwrap();
    client.writer().unwrap().shutdown(std::net::Shutdown::Both).unwrap();
    drop(client);
    assert!(writing.join().unwrap().is_err());
    wait_free(&lattice, address, Duration::from_secs(3));
}

#[test]
fn a_writer_that_stops_is_waited_for_and_one_that_leaves_is_told_to_the_component() {
    let (lattice, address) = start("timeout: 60s, concurrency: 1");
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
    assert_eq!(client.read_head().unwrap().status, 200);
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]), "both directions at once");
    thread::sleep(PAUSE);
    client.write(b"6\r\nsecond\r\n").unwrap();
    assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"second"[..]));
    client.write(b"0\r\n\r\n").unwrap();
    assert_eq!(client.read_chunk().unwrap(), None);
    wait_free(&lattice, address, BOUND);

    // It is told, or it is ended because nobody waits for it any more, whichever comes first.
    let told = || {
        let mut client = Client::connect(address).unwrap();
        client.write(b"POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        drop(client);
        wait_free(&lattice, address, Duration::from_secs(3));
        lattice.hosts[1].log().contains("body: connection terminated").then_some(())
    };
    lattice.wait("what the component says of it", Duration::from_secs(30), told);
}

#[test]
fn a_body_that_grows_over_the_limit_is_refused_while_the_component_has_not_answered() {
    let (lattice, address) = (Lattice::start(2), free_address());
    lattice.apply(&remote(address, "timeout: 60s").replace("maxBody: 64GiB", "maxBody: 1MiB"));
    let mut client = Client::connect(address).unwrap();
    client.write(b"POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..16 {
        client.write(b"10000\r\n").and_then(|()| client.write(&piece(0))).and_then(|()| client.write(b"\r\n")).unwrap();
    }
    client.write(b"5\r\nabcde").unwrap();
    let refused = client.read(false).unwrap();
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(get(address, "/status").unwrap().status, 200);
}

#[test]
fn trailers_cross_hosts() {
    let (_lattice, address) = start("timeout: 10s");
    let mut stream = TcpStream::connect(address).unwrap();
    let request = "POST / HTTP/1.1\r\nhost: x\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\nconnection: \
                   close\r\n\r\n3\r\nabc\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    // A second packet, so that the body is not there at once.
    thread::sleep(Duration::from_millis(100));
    stream.write_all(b"3\r\ndef\r\n0\r\nx-sum: 42\r\n\r\n").unwrap();
    let response = io::read_to_string(stream).unwrap();
    assert!(
        response.contains("abc") && response.contains("def") && response.ends_with("0\r\nx-sum: 42\r\n\r\n"),
        "{response}"
    );
}

#[test]
fn a_host_that_is_killed_breaks_the_body_off() {
    let (mut lattice, address) = start("timeout: 120s, concurrency: 1");
    let (mut client, writing) = post(address, "/", 1 << 16);
    assert_eq!(client.read_head().unwrap().status, 200);
    let read_so_far = read(&mut client, 0, 1 << 20).unwrap();
    lattice.host("b").kill();
    let killed = Instant::now();
    read(&mut client, read_so_far, usize::MAX).expect_err("never a short success");
    assert!(killed.elapsed() < BOUND, "{:?}", killed.elapsed());
    drop(client);
    assert!(writing.join().unwrap().is_err());
    lattice.host("b").spawn();
    lattice.host("b").wait_ready();
    wait_free(&lattice, address, Duration::from_secs(30));

    let (mut client, writing) = post(address, "/", 1 << 16);
    assert_eq!(client.read_head().unwrap().status, 200);
    let read_so_far = read(&mut client, 0, 1 << 20).unwrap();
    lattice.host("a").kill();
    read(&mut client, read_so_far, usize::MAX).expect_err("never a short success");
    drop(client);
    assert!(writing.join().unwrap().is_err());
    lattice.host("a").spawn();
    lattice.host("a").wait_ready();
    // The component on the other host has been told, or has found out by the silence.
    wait_free(&lattice, address, BOUND + Duration::from_secs(10));
}

#[test]
fn a_body_is_whole_or_broken_off_when_nats_restarts() {
    let (mut lattice, address) = start("timeout: 60s");
    let length = 4096 * PIECE;
    let (mut client, writing) = post(address, "/", 4096);
    assert_eq!(client.read_head().unwrap().status, 200);
    let read_so_far = read(&mut client, 0, 1 << 20).unwrap();
    lattice.nats.restart().unwrap();
    let restarted = Instant::now();
    match read(&mut client, read_so_far, usize::MAX) {
        Ok(read) => assert_eq!(read, length),
        Err(_) => assert!(restarted.elapsed() < BOUND, "{:?}", restarted.elapsed()),
    }
    drop(client);
    let _ = writing.join().unwrap();
    wait_free(&lattice, address, Duration::from_secs(30));
}

#[test]
fn small_messages_are_enough() {
    let lattice = Lattice::start_on(2, NatsServer::start_small, |_, nats| nats.url());
    let address = free_address();
    lattice.apply(&remote(address, "timeout: 60s"));
    for size in [100, 40_000, 65_536, 1 << 20, 16 << 20] {
        let body = vec![7; size];
        let mut client = Client::connect(address).unwrap();
        assert!(client.send("POST", "/", &[], &body).unwrap().body == body, "{size} bytes");
        assert_eq!(get(address, &format!("/big?bytes={size}")).unwrap().body.len(), size);
    }
}

#[test]
fn a_message_that_the_network_loses_or_repeats_breaks_the_body_off() {
    for (fault, kind) in [(Fault::Drop, "data"), (Fault::Repeat, "data"), (Fault::Late, "data")] {
        let proxies = std::cell::RefCell::new(Vec::new());
        let lattice = Lattice::start_on(2, NatsServer::start, |zone, nats| {
            if zone == "b" {
                return nats.url();
            }
            proxies.borrow_mut().push(Proxy::start(&nats.url()));
            proxies.borrow()[0].url()
        });
        let (address, proxy) = (free_address(), &proxies.borrow()[0]);
        lattice.apply(&remote(address, "timeout: 60s"));
        proxy.harm(fault, kind, 100);
        let (mut client, writing) = post(address, "/", 4096);
        assert_eq!(client.read_head().unwrap().status, 200);
        let begun = Instant::now();
        read(&mut client, 0, usize::MAX).expect_err("never a short success");
        assert!(proxy.has_harmed());
        assert!(begun.elapsed() < BOUND, "{fault:?} {:?}", begun.elapsed());
        drop(client);
        let _ = writing.join().unwrap();
        assert_eq!(get(address, "/status").unwrap().status, 200);
    }
}

#[test]
fn hundreds_of_bodies_pass_one_that_nobody_reads() {
    let (_lattice, address) = start("timeout: 60s");
    let (mut standing, writing) = post(address, "/", 1 << 12);
    assert_eq!(standing.read_head().unwrap().status, 200);
    let threads: Vec<_> = (0..200)
        .map(|_| {
            thread::spawn(move || {
                let (mut client, writing) = post(address, "/", 16);
                assert_eq!(client.read_head().unwrap().status, 200);
                assert_eq!(read(&mut client, 0, usize::MAX).unwrap(), 16 * PIECE);
                writing.join().unwrap().unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(read(&mut standing, 0, usize::MAX).unwrap(), PIECE << 12);
    writing.join().unwrap().unwrap();
}

#[test]
fn a_caller_that_goes_away_frees_the_component_at_once() {
    let (lattice, address) = start("timeout: 60s, concurrency: 1");
    for _ in 0..3 {
        // Who asks whether the place is taken may itself have it when the request comes; then it is sent again.
        let begin = || {
            let mut client = Client::connect(address).unwrap();
            client.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let taken = || (get(address, "/status").ok()?.status == 503).then_some(());
            eventually(Duration::from_secs(1), taken).map(|()| client)
        };
        drop(lattice.wait("the component's work", BOUND, begin));
        wait_free(&lattice, address, Duration::from_secs(1));
    }
}
