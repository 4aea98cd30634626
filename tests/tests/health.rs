//! Components that say how they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use lattice_provider::conformance::servers::RedisServer;
use lattice_tests::{
    Lattice, get,
    lattice::{SETTLE, head, image},
    places::free_address,
};

#[test]
fn a_component_that_says_that_it_is_not_well_is_degraded_until_it_says_otherwise() {
    let mut redis = RedisServer::start().unwrap();
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    counter: {{ image: {}, health: {{ path: /healthz, every: 200ms }}, links: {{ wasi:keyvalue: cache }} }}\n  \
         providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: counter }} }}\n    cache: {{ use: \
         keyvalue-redis, config: {{ url: \"{}\" }} }}\n",
        head("shop"),
        image("counter"),
        redis.url()
    ));
    assert_eq!(get(address, "/").unwrap().status, 200);
    redis.stop();
    let unwell = || lattice.try_status("shop").filter(|status| status.state("counter") == "degraded");
    lattice.wait("a counter that is not well", SETTLE, unwell);
    let told = lattice.ctl(&["status", "shop"]).stdout;
    assert!(told.contains("GET /healthz says that it is not well: 503"), "{told}");
    redis.restart().unwrap();
    lattice.wait_ready("shop");
}

#[test]
fn a_component_takes_calls_only_when_it_is_well() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let app = |image_of: &str, health: &str| {
        format!(
            "{}  components:\n    page: {{ image: {}, health: {{ path: {health} }}, rollout: {{ deadline: 3s, onFailure: rollback }} }}\n    \
             price: {{ image: {}, health: {{ call: acme:pricing/quote.currency }} }}\n  providers:\n    web: {{ use: http-server, config: {{ \
             address: \"{address}\" }}, routes: {{ /: page }} }}\n",
            head("shop"),
            image(image_of),
            image("quoter")
        )
    };
    lattice.apply(&app("hello", "/"));
    // The new one panics when it is asked.
    let output = lattice.try_apply(&app("trap", "/trap"));
    assert_eq!(output.code, Some(7), "{}", output.all());
    let told = "rolled back to 1, as 2 failed: page: no progress for 3s: failed on host";
    assert!(output.stderr.contains(told), "{}", output.all());
    assert!(output.stderr.contains("GET /trap says that it is not well: "), "{}", output.all());
    let status = lattice.wait_ready("shop");
    assert_eq!((status.of_revision("page", 1), status.complete()), (1, Some(3)));
    assert_eq!(get(address, "/trap").unwrap().status, 200, "the first one answers everything");
    // A function of which nobody knows, and the manifest's line.
    let output = lattice.try_apply(&app("hello", "/").replace("quote.currency", "quote.price"));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains("`price` takes parameters"), "{}", output.all());
}
