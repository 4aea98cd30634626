//! The CLI by hand, against a lattice that runs, and `up`, which starts one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, get,
    lattice::{SETTLE, head, image},
    places::{free_address, path_with_nats, program},
    process::{children, runs, signal},
    wait,
};
use rustix::process::Signal;
use serde_json::Value;

fn hello(app: &str, address: SocketAddr) -> String {
    format!(
        "{}  components:\n    hello: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" \
         }}, routes: {{ /: hello }} }}\n",
        head(app),
        image("hello")
    )
}

/// A process that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn manifests_come_from_stdin_and_nobody_waits_when_told_not_to() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let file = lattice.write("piped.yaml", hello("piped", address));
    let mut apply = lattice.command(&["apply", "-f", "-", "-o", "json"]);
    let output = apply.stdin(Stdio::from(File::open(&file).unwrap())).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["app"], &report["unchanged"]), (&"piped".into(), &false.into()), "{report}");
    assert_eq!(report["status"]["ready"], true, "{report}");

    // Not even for what will never be ready.
    let taken = TcpListener::bind(free_address()).unwrap();
    lattice.write("never.yaml", hello("never", taken.local_addr().unwrap()));
    let asked = Instant::now();
    let output = lattice.ctl(&["apply", "-f", "never.yaml", "--no-wait"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    let output = lattice.ctl(&["apply", "-f", "never.yaml", "--timeout", "2s"]);
    assert_eq!(output.code, Some(5), "{}", output.all());
    assert!(output.stderr.contains("app never (revision 1) is not ready"), "{}", output.all());
    assert_eq!(lattice.ctl(&["delete", "-f", "never.yaml"]).code, Some(0));
    let output = lattice.ctl(&["delete", "pipd"]);
    assert_eq!(output.code, Some(6));
    assert!(output.stderr.contains("help: did you mean `piped`?"), "{}", output.stderr);
}

#[test]
fn whoever_is_overtaken_is_told() {
    let lattice = Lattice::start(1);
    let taken = TcpListener::bind(free_address()).unwrap();
    lattice.write("app.yaml", hello("app", taken.local_addr().unwrap()));
    let mut first = lattice.command(&["apply", "-f", "app.yaml"]);
    let mut first = Killed(first.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    lattice.wait("the first revision", SETTLE, || lattice.try_status("app"));
    lattice.apply(&hello("app", free_address()));
    let status = wait("the end of the first", SETTLE, || first.0.try_wait().unwrap());
    let text = std::io::read_to_string(first.0.stderr.take().unwrap()).unwrap();
    assert_eq!(status.code(), Some(7), "{text}");
    assert!(text.contains("app app: revision 1 was replaced by revision 2 (apply) before it was ready"), "{text}");
}

#[test]
fn lists_come_as_table_json_and_yaml_without_colours() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&hello("hello", address));
    for (what, column, field) in [
        ("apps", "REVISION", "units_ready"),
        ("hosts", "UPTIME", "short_id"),
        ("components", "DIGEST", "digest"),
        ("providers", "ADDRESS", "isolate"),
        ("links", "ROUTE", "transport"),
    ] {
        let table = lattice.ctl(&["get", what]);
        assert!(table.code == Some(0) && table.stdout.lines().next().unwrap().contains(column), "{}", table.all());
        assert!(!table.all().contains('\x1b'), "no colours where there is no terminal");
        let json: Value = serde_json::from_str(&lattice.ctl(&["get", what, "-o", "json"]).stdout).unwrap();
        let rows = json.as_array().unwrap();
        assert_eq!(rows.len(), if what == "hosts" { 2 } else { 1 }, "{what}: {json}");
        assert!(rows.iter().all(|row| row.get(field).is_some()), "{what} has no {field}: {json}");
        let yaml = lattice.ctl(&["get", what, "-o", "yaml"]).stdout;
        assert!(yaml.starts_with("- ") && yaml.contains(&format!("{field}: ")), "{what}: {yaml}");
        assert_eq!(table.stdout.lines().count(), rows.len() + 1, "{what}: {}", table.stdout);
    }
    let coloured = lattice.ctl(&["status", "--color", "always"]).stdout;
    assert!(coloured.contains("\x1b["), "{coloured}");
}

#[test]
fn status_follows_what_happens() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&hello("hello", address));
    let log = lattice.dir().join("watched");
    let mut watch = lattice.command(&["status", "hello", "--watch"]);
    let mut watch = Killed(watch.stdout(File::create(&log).unwrap()).spawn().unwrap());
    let shown = |text: &str| {
        let what = format!("`{text}` in the status");
        wait(&what, SETTLE, || fs::read_to_string(&log).unwrap().contains(text).then_some(()));
    };
    shown("app hello: ready (revision 1)");
    lattice.apply(&hello("hello", free_address()));
    shown("app hello: ready (revision 2)");
    assert_eq!(lattice.ctl(&["delete", "hello"]).code, Some(0));
    shown("app hello: gone");
    signal(watch.0.id(), Signal::INT);
    let status = wait("the end of the watch", SETTLE, || watch.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "Ctrl-C is how a watch ends");
}

#[test]
fn up_starts_what_is_missing_and_ends_it_with_ctrl_c() {
    let dir = tempfile::Builder::new().prefix("lattice-test-").tempdir().unwrap();
    let (address, nats) = (free_address(), free_address());
    fs::write(dir.path().join("app.yaml"), hello("hello", address)).unwrap();
    let log = dir.path().join("up.log");
    let mut up = Command::new(program("lattice-ctl"));
    up.current_dir(dir.path()).env_clear().env("NATS_URL", format!("nats://{nats}")).env("PATH", path_with_nats());
    let file = File::options().create(true).append(true).open(&log).unwrap();
    up.args(["up", "app.yaml"]).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut up = Killed(up.spawn().unwrap());
    let said = || fs::read_to_string(&log).unwrap();
    let serves = || {
        assert!(up.0.try_wait().unwrap().is_none(), "it has ended:\n{}", said());
        get(address, "/").ok().filter(|response| response.text() == "Hello from the lattice!\n")
    };
    wait("the app", SETTLE, serves);
    wait("the log", SETTLE, || said().contains("joined the lattice").then_some(()));
    let started = children(up.0.id(), "");
    assert_eq!(started.len(), 2, "nats-server and a host: {started:?}");
    signal(up.0.id(), Signal::INT);
    let status = wait("the end of `up`", SETTLE, || up.0.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", said());
    wait("the end of what it started", SETTLE, || started.iter().all(|pid| !runs(*pid)).then_some(()));
    assert!(get(address, "/").is_err());
}
