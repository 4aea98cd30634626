//! What a host says of itself to whoever looks after its machine.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::Duration,
};

use lattice_tests::{
    Lattice, get,
    host::Host,
    lattice::{SETTLE, head, image},
    places::free_address,
};

/// What stands before a value: the metric's name, and its labels as they are written.
type Sample = (String, String);

/// Reads metrics, and checks that each is announced before it comes, and written as it should be.
fn samples(text: &str) -> BTreeMap<Sample, f64> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let (mut known, mut samples) = (BTreeSet::new(), BTreeMap::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(about) = line.strip_prefix("# ") {
            let (what, rest) = about.split_once(' ').unwrap();
            let name = rest.split(' ').next().unwrap().to_owned();
            assert!(["HELP", "TYPE"].contains(&what), "{line}");
            assert!(what == "TYPE" || known.insert(name), "told twice: {line}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        assert!(known.iter().any(|known| name.starts_with(known.as_str())), "{line}");
        let before = samples.insert((name.to_owned(), labels.to_owned()), value.parse().unwrap_or(f64::NAN));
        assert!(before.is_none(), "twice: {line}");
    }
    samples
}

fn scrape(address: SocketAddr) -> BTreeMap<Sample, f64> {
    let answer = get(address, "/metrics").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    samples(&answer.text())
}

/// The sum of the samples of this name that have all of these labels.
fn sum(samples: &BTreeMap<Sample, f64>, name: &str, labels: &[&str]) -> f64 {
    let fits = |(sample, _): &(&Sample, &f64)| sample.0 == name && labels.iter().all(|label| sample.1.contains(label));
    samples.iter().filter(fits).map(|(_, value)| value).sum()
}

fn app(address: SocketAddr) -> String {
    format!(
        "{}  components:\n    page: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
         routes: {{ /: page }} }}\n",
        head("shop"),
        image("trap"),
    )
}

#[test]
fn a_host_counts_its_calls_and_says_whether_it_is_ready() {
    let (admin, address) = (free_address(), free_address());
    let mut lattice = Lattice::start_with(1, |host| host.arguments = vec!["--admin".to_owned(), admin.to_string()]);
    assert_eq!(get(admin, "/livez").unwrap().text(), "alive\n");
    assert_eq!(get(admin, "/readyz").unwrap().text(), "ready\n");
    assert_eq!(get(admin, "/").unwrap().status, 404);
    lattice.apply(&app(address));
    for _ in 0..20 {
        assert_eq!(get(address, "/ok").unwrap().status, 200);
    }
    assert_eq!(get(address, "/trap").unwrap().status, 500);
    let page = ["app=\"shop\"", "unit=\"page\""];
    // A guest may end a moment after its answer.
    let metrics = lattice.wait("the calls", SETTLE, || {
        let metrics = scrape(admin);
        (sum(&metrics, "lattice_unit_call_duration_seconds_count", &page) == 21.0).then_some(metrics)
    });
    assert_eq!(sum(&metrics, "lattice_unit_call_duration_seconds_bucket", &[page[0], page[1], "le=\"+Inf\""]), 21.0);
    assert!(sum(&metrics, "lattice_unit_call_duration_seconds_sum", &page) > 0.0);
    assert_eq!(sum(&metrics, "lattice_unit_faults_total", &[page[0], page[1], "kind=\"trap\""]), 1.0);
    assert_eq!(sum(&metrics, "lattice_unit_faults_total", &page), 1.0);
    assert_eq!(sum(&metrics, "lattice_unit_calls_in_flight", &page), 0.0);
    assert_eq!(sum(&metrics, "lattice_unit_state", &["state=\"ready\""]), 2.0);
    assert_eq!(sum(&metrics, "lattice_unit_starts_total", &["app=\"shop\""]), 2.0);
    assert_eq!(sum(&metrics, "lattice_control_leading", &[]), 1.0);
    assert!(sum(&metrics, "lattice_control_plans_total", &[]) >= 1.0);
    assert_eq!(sum(&metrics, "lattice_nats_connected", &[]), 1.0);
    let id = lattice.hosts[0].id();
    assert_eq!(sum(&metrics, "lattice_host_info", &[&format!("host=\"{id}\"")]), 1.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
        assert!(sum(&metrics, name, &[]) > 0.0, "{name}: {metrics:?}");
    }
    dashboard_knows(&metrics);

    // Without NATS it serves on, and is not to be taken out of service.
    lattice.nats.stop();
    lattice.wait("a word about NATS", SETTLE, || {
        let answer = get(admin, "/readyz").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().contains("NATS cannot be reached").then_some(())
    });
    assert_eq!(sum(&scrape(admin), "lattice_nats_connected", &[]), 0.0);
    lattice.nats.restart().unwrap();
    lattice.wait_ready("shop");

    // What is gone is not told any more.
    assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));
    lattice.wait("the end of what was told of the app", SETTLE, || {
        (!scrape(admin).keys().any(|(_, labels)| labels.contains("app=\"shop\""))).then_some(())
    });
}

/// The names in docs/grafana.json are those of metrics.
fn dashboard_knows(metrics: &BTreeMap<Sample, f64>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/grafana.json");
    let dashboard: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut panels = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in words.filter(|word| word.starts_with("lattice_") || word.starts_with("process_")) {
                assert!(metrics.keys().any(|(known, _)| known == name), "{name} in {query}");
                panels += 1;
            }
        }
    }
    assert!(panels >= 6);
}

#[test]
fn a_host_that_waits_for_nats_lives_and_is_not_ready_and_systemd_is_told() {
    let admin = free_address();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).unwrap();
    systemd.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let hear = || {
        let mut bytes = [0; 64];
        let length = systemd.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let mut lattice = Lattice::start(1);
    lattice.nats.stop();
    let host = lattice.host("a");
    host.kill();
    host.arguments = vec!["--admin".to_owned(), admin.to_string()];
    host.variables.push(("NOTIFY_SOCKET".to_owned(), socket.display().to_string()));
    host.variables.push(("WATCHDOG_USEC".to_owned(), "400000".to_owned()));
    host.spawn();
    let answer = lattice.wait("an answer", SETTLE, || get(admin, "/readyz").ok());
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("has not joined the lattice default yet: it waits for NATS"), "{}", answer.text());
    assert_eq!(get(admin, "/livez").unwrap().status, 200);
    assert!(scrape(admin).keys().any(|(name, _)| name == "lattice_host_info"));
    lattice.nats.restart().unwrap();
    lattice.hosts[0].wait_ready();
    assert_eq!(get(admin, "/readyz").unwrap().status, 200);
    assert_eq!(hear(), "READY=1");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    lattice.hosts[0].ask_to_end();
    while hear() != "STOPPING=1" {}
    assert_eq!(lattice.host("a").wait_ended(), Some(0));
}

#[test]
fn an_address_that_is_taken_is_an_error_at_once() {
    let lattice = Lattice::start(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Host::new(lattice.dir(), "other", &lattice.nats.url()).command();
    let output = command.args(["--admin", &address]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("--admin: address") && error.contains("already in use"), "{error}");
}
