//! The lattice's store is lost while everything runs, and what is known of it comes back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::time::Duration;

use async_nats::jetstream;
use lattice_tests::{
    Lattice, Load,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
    wait,
};

/// Puts an empty bucket in the place of the one that has all that the lattice is.
fn lose(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let jetstream = jetstream::new(async_nats::connect(url).await.unwrap());
        let stream = "KV_lattice-default";
        let config = jetstream.get_stream(stream).await.unwrap().cached_info().config.clone();
        jetstream.delete_stream(stream).await.unwrap();
        jetstream.create_stream(config).await.unwrap();
    });
}

#[test]
fn hosts_go_on_without_the_store_s_knowledge_and_apply_brings_it_back() {
    let lattice = Lattice::start(2);
    let addresses = [free_address(), free_address()];
    let app = |name: &str, at: usize| {
        format!(
            "{}  components:\n    hello: {{ image: {}, perHost: 1 }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
             \"{}\" }}, placement: {{ require: {{ zone: [a] }} }}, routes: {{ /: hello }} }}\n",
            head(name),
            image("hello"),
            addresses[at]
        )
    };
    for (at, name) in ["shop", "blog"].into_iter().enumerate() {
        lattice.apply(&app(name, at));
    }
    let before: Vec<_> = ["shop", "blog"].map(|name| lattice.wait_ready(name).hosts("hello")).into();
    let loads = addresses.map(|address| Load::start(address, "/", 2));
    loads.iter().for_each(|load| load.wait_for(50));
    lose(&lattice.nats.url());
    // Long enough that hosts have told again what they run, every 30 s, and somebody could plan by that.
    std::thread::sleep(Duration::from_secs(40));
    loads.iter().for_each(|load| load.wait_for(50));
    for (at, name) in ["shop", "blog"].into_iter().enumerate() {
        let applied = || (lattice.try_apply(&app(name, at)).code == Some(0)).then_some(());
        // While the store knows but one of the two, it leaves hosts alone that run both.
        if name == "blog" {
            wait("both apps", SETTLE, applied);
        } else {
            lattice.write("app.yaml", app(name, at));
            assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]).code, Some(0));
        }
    }
    for (name, before) in ["shop", "blog"].into_iter().zip(before) {
        assert_eq!(lattice.wait_ready(name).hosts("hello"), before, "{name}");
    }
    for load in loads {
        load.wait_for(50);
        let answers = load.finish();
        let failed = failures(&answers);
        assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    }
    // The lattice is whole: something new is done.
    assert_eq!(lattice.ctl(&["delete", "blog"]).code, Some(0));
}
