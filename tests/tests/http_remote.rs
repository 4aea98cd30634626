//! HTTP with the component on another host than the listener: a small request is one message on NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{net::SocketAddr, time::Instant};

use lattice_tests::{
    Client, Lattice, get,
    lattice::{head, image},
    places::free_address,
    request,
};

/// The listener in zone a, the component in zone b.
fn remote(guest: &str, address: SocketAddr, component: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}, placement: {{ require: {{ zone: [b] }} }}{component} }}\n  providers:\n    web: {{ \
         use: http-server, config: {{ address: \"{address}\", maxBody: 32MiB }}, routes: {{ /: main }}, placement: {{ require: \
         {{ zone: [a] }} }} }}\n",
        head("remote"),
        image(guest)
    )
}

#[test]
fn requests_and_responses_cross_hosts_and_too_large_bodies_are_refused_with_the_limit() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&remote("echo", address, ""));
    let mut client = Client::connect(address).unwrap();
    let small = client.send("POST", "/", &[("content-type", "text/x-test")], b"across").unwrap();
    assert_eq!((small.status, small.text().as_str()), (200, "across"));
    assert_eq!(small.header("content-type"), Some("text/x-test"));
    assert_eq!(client.send("HEAD", "/big?bytes=10", &[], b"").unwrap().body, b"");
    assert_eq!(client.get("/status?code=418").unwrap().status, 418);
    // nats-server carries 8 MiB in a message.
    for size in [1 << 20, 4 << 20, 9 << 20, 32 << 20] {
        let body = vec![7; size];
        assert!(client.send("POST", "/", &[], &body).unwrap().body == body, "{size} bytes");
        assert_eq!(get(address, &format!("/big?bytes={size}")).unwrap().body.len(), size);
    }
    let refused = request(address, "POST", "/", &vec![7; 33 << 20]).unwrap();
    assert_eq!(refused.status, 413);
    assert_eq!(refused.text(), "a request body of 34603008 bytes is over the limit of 33554432 bytes\n");
    let mut chunked = Client::connect(address).unwrap();
    chunked.write(b"POST /count HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let chunk = format!("100000\r\n{}\r\n", "z".repeat(1 << 20));
    // The server may refuse, and close, before all is sent.
    let _ = (0..33).try_for_each(|_| chunked.write(chunk.as_bytes()));
    if let Ok(refused) = chunked.read(false) {
        assert_eq!(refused.status, 413);
    }
    assert_eq!(client.send("POST", "/", &[], b"after").unwrap().text(), "after");
}

#[test]
fn limits_and_deadlines_hold_across_hosts() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&remote("echo", address, ", limits: { concurrency: 1, timeout: 1s }"));
    // Of two at once, one has the place and the other is refused.
    let asked = Instant::now();
    let mut clients = [(); 2].map(|()| Client::connect(address).unwrap());
    for client in &mut clients {
        client.write(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    let mut responses = clients.each_mut().map(|client| (client.read(false).unwrap(), asked.elapsed()));
    responses.sort_by_key(|(response, _)| response.status);
    let [(refused, _), (late, took)] = responses;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!((late.status, late.text().as_str()), (504, "no answer within 1000 ms\n"));
    assert!((950..3000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(get(address, "/status").unwrap().status, 200);
}

#[test]
fn faults_of_a_component_on_another_host_reach_the_caller() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&remote("trap", address, ", limits: { memory: 32MiB, timeout: 500ms }"));
    for (path, status) in [("/trap", 500), ("/eat", 500), ("/stack", 500), ("/loop", 504), ("/silent", 500)] {
        assert_eq!(get(address, path).unwrap().status, status, "{path}");
        assert_eq!(get(address, "/").unwrap().status, 200);
    }
}
