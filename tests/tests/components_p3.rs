//! Calls between components of WASI 0.2 and 0.3: the same answers in each combination, in one host and across two, and
//! many at a time out of one instance.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, get,
    lattice::{head, image},
    places::free_address,
};

/// A caller of each generation. The values go to the library `echo`; each caller and library runs where `road` says.
struct App {
    older: SocketAddr,
    newer: SocketAddr,
}

impl App {
    fn new() -> Self {
        Self { older: free_address(), newer: free_address() }
    }

    fn manifest(&self, echo: &str, road: &Road) -> String {
        let Road { link, callers, libraries, .. } = road;
        let to = |unit: &str| format!("{{ to: {unit}{link} }}");
        let component = |name: &str, more: &str| format!("    {name}: {{ image: {}{more} }}\n", image(name));
        let web = |name: &str, address: &SocketAddr, to: &str| {
            format!(
                "    {name}: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: {to} }}{callers} }}\n"
            )
        };
        let older = format!(", links: {{ test:library: {}, test:library/echo: {} }}{callers}", to("library"), to(echo));
        let newer = format!(
            ", links: {{ test:library: {}, test:waits: {}, wasi:keyvalue: store }}{callers}",
            to(echo),
            to("library-p3")
        );
        [
            head("calls"),
            "  components:\n".to_owned(),
            component("caller", &older),
            component("caller-p3", &newer),
            component("library", libraries),
            component("library-p3", libraries),
            format!("  providers:\n    store: {{ use: keyvalue-memory{libraries} }}\n"),
            web("web-older", &self.older, "caller"),
            web("web-newer", &self.newer, "caller-p3"),
        ]
        .concat()
    }
}

/// How calls travel.
struct Road {
    name: &'static str,
    hosts: usize,
    link: &'static str,
    callers: &'static str,
    libraries: &'static str,
}

const ROADS: [Road; 3] = [
    Road { name: "local", hosts: 1, link: "", callers: "", libraries: "" },
    Road { name: "lattice, one host", hosts: 1, link: ", transport: lattice", callers: "", libraries: "" },
    Road {
        name: "lattice, two hosts",
        hosts: 2,
        link: "",
        callers: ", placement: { require: { zone: [a] } }",
        libraries: ", placement: { require: { zone: [b] } }",
    },
];

fn text(address: SocketAddr, path: &str) -> String {
    get(address, path).unwrap().text()
}

#[test]
fn each_generation_calls_each_with_the_same_answers() {
    for road in &ROADS {
        let lattice = Lattice::start(road.hosts);
        let app = App::new();
        // 0.2 -> 0.3 and 0.3 -> 0.3, then 0.2 -> 0.2 and 0.3 -> 0.2.
        for echo in ["library-p3", "library"] {
            lattice.apply(&app.manifest(echo, road));
            for (generation, address) in [("0.2", app.older), ("0.3", app.newer)] {
                assert_eq!(text(address, "/all"), "all the same\n", "{generation} -> {echo}, {}", road.name);
            }
        }
        assert_eq!(text(app.newer, "/outcome?ms=20"), "Ok(\"there\") Err(\"there is none\")\n", "{}", road.name);
        for bytes in [0, 1, 100_000, 3 << 20] {
            let answer = text(app.newer, &format!("/bytes?ms=1&n={bytes}"));
            assert_eq!(answer, format!("{bytes} bytes, the same\n"), "{}", road.name);
        }
    }
}

#[test]
fn questions_asked_at_the_same_time_wait_together() {
    const WAIT: Duration = Duration::from_millis(200);
    const TIMES: u32 = 20;
    for road in &ROADS {
        let lattice = Lattice::start(road.hosts);
        let app = App::new();
        lattice.apply(&app.manifest("library-p3", road));
        let answers: Vec<_> = (0..TIMES).map(|n| format!("answer-{n}")).collect();
        let asked = Instant::now();
        let got = text(app.newer, &format!("/at-once?n={TIMES}&ms={}", WAIT.as_millis()));
        let took = asked.elapsed();
        assert_eq!(got, format!("{}\n", answers.join(" ")), "{}", road.name);
        assert!(took >= WAIT && took < WAIT * TIMES / 2, "{}: {took:?}", road.name);
        // An exported function of its own that is async, called from outside of any component.
        let asked = Instant::now();
        let output = lattice.ctl(&["call", "calls/caller-p3", "test:waits/relay.at-once", "[10, 200]"]);
        let took = asked.elapsed();
        let expected: Vec<_> = (0..10).map(|n| format!("\"answer-{n}\"")).collect();
        assert_eq!(output.stdout.trim(), format!("[{}]", expected.join(",")), "{}: {}", road.name, output.all());
        assert!(took < WAIT * 8, "{}: {took:?}", road.name);
    }
}

#[test]
fn a_component_of_wasi_0_3_keeps_something() {
    for road in &ROADS {
        let lattice = Lattice::start(road.hosts);
        let app = App::new();
        lattice.apply(&app.manifest("library-p3", road));
        assert_eq!(text(app.newer, "/count?by=40"), "40 40\n", "{}", road.name);
        assert_eq!(text(app.newer, "/count?by=2"), "42 42\n", "{}", road.name);
        let output = lattice.ctl(&["call", "calls/store", "lattice:keyvalue/store.get", r#"["default", "seen"]"#]);
        assert_eq!(output.stdout.trim(), r#"{"ok":"NDI="}"#, "{}: {}", road.name, output.all());
    }
}

#[test]
fn calls_share_instances_as_far_as_reuse_says() {
    const REUSE: u32 = 5;
    const TIMES: u32 = 12;
    for road in &ROADS {
        let lattice = Lattice::start(road.hosts);
        let app = App::new();
        let visits = || {
            let call = ["call", "calls/caller-p3", "test:waits/relay.visits", &format!("[{TIMES}, 200]")];
            let output = lattice.ctl(&call);
            serde_json::from_str::<Vec<(u32, u32)>>(&output.stdout).unwrap_or_else(|_| panic!("{}", output.all()))
        };
        lattice.apply(&app.manifest("library-p3", road));
        assert_eq!(visits(), [(1, 1); TIMES as usize], "each call has an instance of its own, {}", road.name);
        let manifest = app.manifest("library-p3", road);
        let image = format!("library-p3: {{ image: {}", image("library-p3"));
        lattice.apply(&manifest.replace(&image, &format!("{image}, reuse: {REUSE}")));
        let seen = visits();
        let instances = seen.iter().filter(|(begun, _)| *begun == 1).count() as u32;
        assert!((TIMES.div_ceil(REUSE)..TIMES).contains(&instances), "{}: {seen:?}", road.name);
        assert!(seen.iter().all(|(begun, inside)| *begun <= REUSE && *inside <= REUSE), "{}: {seen:?}", road.name);
        assert!(seen.iter().any(|(_, inside)| *inside > 1), "{}: {seen:?}", road.name);
        // One after the other, too: no instance has more than its share, and each is used up.
        let begun = (0..TIMES).map(|_| {
            let output = lattice.ctl(&["call", "calls/library-p3", "test:waits/visits.visit", "[0]"]);
            serde_json::from_str::<(u32, u32)>(&output.stdout).unwrap_or_else(|_| panic!("{}", output.all())).0
        });
        let begun: Vec<_> = begun.collect();
        assert!(begun.iter().all(|begun| *begun <= REUSE), "{}: {begun:?}", road.name);
        assert!(begun.contains(&REUSE), "{}: {begun:?}", road.name);
    }
}

#[test]
fn calls_on_one_resource_do_not_wait_for_each_other() {
    for road in &ROADS {
        let lattice = Lattice::start(road.hosts);
        let app = App::new();
        lattice.apply(&app.manifest("library-p3", road));
        let asked = Instant::now();
        let output = lattice.ctl(&["call", "calls/caller-p3", "test:waits/relay.guards", "[]"]);
        assert_eq!(output.stdout.trim(), "[1,2]", "{}: {}", road.name, output.all());
        assert!(asked.elapsed() < Duration::from_secs(3), "{}: {:?}", road.name, asked.elapsed());
    }
}

#[test]
fn components_of_wasi_0_3_are_fused_too() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    caller-p3:\n      image: {}\n      links:\n        test:library: {{ to: library-p3, transport: fused }}\n        \
         test:waits: {{ to: library-p3, transport: fused }}\n        wasi:keyvalue: store\n    library-p3: {{ image: {} }}\n  \
         providers:\n    store: {{ use: keyvalue-memory }}\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
         routes: {{ /: caller-p3 }} }}\n",
        head("calls"),
        image("caller-p3"),
        image("library-p3"),
    ));
    assert_eq!(text(address, "/all"), "all the same\n");
    assert_eq!(text(address, "/outcome?ms=20"), "Ok(\"there\") Err(\"there is none\")\n");
    assert_eq!(text(address, "/bytes?ms=1&n=100000"), "100000 bytes, the same\n");
    let asked = Instant::now();
    assert_eq!(text(address, "/at-once?n=5&ms=200"), "answer-0 answer-1 answer-2 answer-3 answer-4\n");
    assert!(asked.elapsed() < Duration::from_millis(800), "{:?}", asked.elapsed());
    assert_eq!(text(address, "/count?by=3"), "3 3\n");
}
