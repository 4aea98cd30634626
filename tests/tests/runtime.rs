//! The host's runtime: other toolchains, its caches, its key and its data folder.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lattice_tests::{
    Client, Lattice, get,
    host::Host,
    lattice::{SETTLE, head, image},
    places::free_address,
};

fn app(name: &str, guest: &str, address: SocketAddr, component: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}{component} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: main }} }}\n",
        head(name),
        image(guest)
    )
}

#[test]
fn a_component_made_from_python_is_served() {
    let lattice = Lattice::start(1);
    let address = free_address();
    // Compiling an interpreter takes a while.
    lattice.write("app.yaml", app("python", "python-hello", address, ""));
    let output = lattice.ctl(&["apply", "-f", "app.yaml", "--timeout", "5m"]);
    if output.code != Some(0) {
        lattice.fail(&output.all());
    }
    let mut client = Client::connect(address).unwrap();
    for path in ["/", "/some/where?x=1"] {
        let response = client.get(path).unwrap();
        assert_eq!((response.status, response.text()), (200, format!("Hello from Python, {path}\n")));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn a_component_without_http_runs_too() {
    let lattice = Lattice::start(2);
    let said = lattice.apply(&format!(
        "{}  components:\n    tiny: {{ image: {}, perHost: 1 }}\n",
        head("tiny"),
        image("tiny")
    ));
    assert!(said.contains("tiny 2/2"), "{said}");
    assert_eq!(lattice.status("tiny").instances("tiny").len(), 2);
}

#[test]
fn an_instance_that_is_reused_serves_its_number_of_calls_and_a_fault_throws_it_away() {
    let lattice = Lattice::start(1);
    let (echo, trap) = (free_address(), free_address());
    lattice.apply(&app("echo", "echo", echo, ", reuse: 100"));
    lattice.apply(&app("trap", "trap", trap, ", reuse: 100, limits: { memory: 32MiB, timeout: 2s }"));
    let mut client = Client::connect(echo).unwrap();
    for number in 0..250 {
        let body = format!("call {number}");
        assert_eq!(client.send("POST", "/", &[], body.as_bytes()).unwrap().text(), body);
    }
    let mut client = Client::connect(trap).unwrap();
    for (path, status) in [("/trap", 500), ("/eat", 500), ("/loop", 504), ("/stack", 500)] {
        for _ in 0..3 {
            assert_eq!(client.get("/").unwrap().text(), "ok\n");
        }
        assert_eq!(client.get(path).unwrap().status, status, "{path}");
        assert_eq!(client.get("/").unwrap().text(), "ok\n", "after {path}");
    }
}

/// The one file with this ending below `folder`.
fn only_file(folder: &Path, ending: &str) -> PathBuf {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false if entry.to_str().unwrap().ends_with(ending) => found.push(entry),
                false => {}
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Changes one byte in the middle.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

/// Restarts the host and waits until it serves; gives what it has logged since then.
fn restart(lattice: &mut Lattice, address: SocketAddr, change: impl FnOnce(&Path)) -> String {
    lattice.hosts[0].ask_to_end();
    assert_eq!(lattice.hosts[0].wait_ended(), Some(0));
    change(lattice.hosts[0].data());
    lattice.hosts[0].spawn();
    lattice.hosts[0].wait_ready();
    let serves = || get(address, "/").ok().filter(|response| response.text() == "Hello from the lattice!\n");
    lattice.wait("serving again", SETTLE, serves);
    lattice.hosts[0].log_of_this_life()
}

#[test]
fn compiled_code_survives_a_restart_and_what_is_damaged_is_made_anew() {
    let mut lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("hello", "hello", address, ""));
    assert_eq!(lattice.hosts[0].log().matches(" compiled ").count(), 1);

    let log = restart(&mut lattice, address, |_| {});
    assert!(!log.contains(" compiled ") && log.contains("ready"), "nothing is compiled again:\n{log}");

    let log = restart(&mut lattice, address, |data| damage(&only_file(&data.join("compiled"), ".code")));
    assert!(log.contains("compiled code on disk is damaged; compiling again") && log.contains(" compiled "), "{log}");

    let log = restart(&mut lattice, address, |data| {
        fs::write(only_file(&data.join("compiled"), ".code"), "").unwrap();
        damage(&only_file(&data.join("artifacts"), ".wasm"));
    });
    assert!(log.contains("an artifact on disk is damaged; fetching it again") && log.contains(" compiled "), "{log}");

    let log = restart(&mut lattice, address, |_| {});
    assert!(!log.contains("damaged") && !log.contains(" compiled "), "what was made anew is whole:\n{log}");
}

#[test]
fn the_key_of_a_host_is_private_and_its_data_folder_is_its_own() {
    let lattice = Lattice::start(1);
    let host = &lattice.hosts[0];
    let mode = |name: &str| fs::metadata(host.data().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("host.nk"), 0o600);
    assert_eq!((mode("artifacts"), mode("compiled")), (0o700, 0o700), "compiled code is run as it is");
    let seed = fs::read_to_string(host.data().join("host.nk")).unwrap();
    assert!(seed.starts_with("SN"), "the seed of a server's nkey");
    assert!(!host.log().contains(seed.trim()), "it is never logged");

    let second = host.command().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    let expected = format!(
        "error: another lattice-host runs in the data folder {}; give each host its own with --data",
        host.data().display()
    );
    assert!(text.lines().any(|line| line == expected), "{text}");
    assert!(host.runs());
}

#[test]
fn a_host_waits_for_nats_and_says_so() {
    let mut lattice = Lattice::start(0);
    lattice.nats.stop();
    let mut host = Host::new(lattice.dir(), "late", &lattice.nats.url());
    host.spawn();
    lattice.wait("a word in the log", Duration::from_secs(10), || host.log().contains("trying again").then_some(()));
    assert!(host.log().contains("cannot reach NATS at nats://127.0.0.1:"), "{}", host.log());
    lattice.nats.restart().unwrap();
    host.wait_ready();
}
