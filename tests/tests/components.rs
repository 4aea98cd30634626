//! Components that call components: every type, resources, faults, in one host and across two.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, Lattice, get,
    lattice::{head, image},
    places::free_address,
};

/// An app whose caller and library run where it says.
fn app(address: SocketAddr, link: &str, caller: &str, library: &str) -> String {
    format!(
        "{}  components:\n    caller: {{ image: {}, links: {{ test:library: {{ to: library{link} }} }}{caller} }}\n    library: {{ image: \
         {}{library} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: caller }}{caller} \
         }}\n",
        head("calls"),
        image("caller"),
        image("library"),
    )
}

fn zone(zone: &str) -> String {
    format!(", placement: {{ require: {{ zone: [{zone}] }} }}")
}

/// Runs `check` on each of the ways on which the same calls must have the same answers, one lattice after the other.
fn on_each_road(mut check: impl FnMut(&str, &Lattice, SocketAddr)) {
    for (road, hosts, link, caller, library) in [
        ("local", 1, "", String::new(), String::new()),
        ("fused", 1, ", transport: fused", String::new(), String::new()),
        ("lattice, one host", 1, ", transport: lattice", String::new(), String::new()),
        ("lattice, two hosts", 2, "", zone("a"), zone("b")),
    ] {
        let lattice = Lattice::start(hosts);
        let address = free_address();
        lattice.apply(&app(address, link, &caller, &library));
        check(road, &lattice, address);
    }
}

fn text(address: SocketAddr, path: &str) -> String {
    get(address, path).unwrap().text()
}

#[test]
fn every_type_and_resource_behaves_the_same_on_each_road() {
    on_each_road(|road, _, address| {
        assert_eq!(text(address, "/all"), "all the same\n", "{road}");
        for bytes in [0, 1, 100_000, 1 << 20, 5 << 20] {
            assert_eq!(text(address, &format!("/bytes?n={bytes}")), format!("{bytes} bytes, the same\n"), "{road}");
        }
        // Resources of one caller are in one instance, a dropped one is gone at once, and each call finds a new one.
        let things = "(11, 13, 5) sum 18 alive 3 then 2 finished 13 made 6 left 1\n";
        for _ in 0..3 {
            assert_eq!(text(address, "/things"), things, "{road}");
        }
        assert_eq!(text(address, "/hold?ms=10"), "held 3\n", "{road}");
    });
}

/// Exports two versions of an interface, one that belongs to no package, and a function that is in none.
const NUMBERS: &str = r#"(component
    (core module $m
        (func (export "a") (result i32) i32.const 1)
        (func (export "b") (result i32) i32.const 2)
        (func (export "c") (result i32) i32.const 3)
        (func (export "d") (result i32) i32.const 4))
    (core instance $i (instantiate $m))
    (func $a (result u32) (canon lift (core func $i "a")))
    (func $b (result u32) (canon lift (core func $i "b")))
    (func $c (result u32) (canon lift (core func $i "c")))
    (func $d (result u32) (canon lift (core func $i "d")))
    (instance $one (export "get" (func $a)))
    (instance $two (export "get" (func $b)))
    (instance $inline (export "get" (func $c)))
    (export "test:many/number@0.1.0" (instance $one))
    (export "test:many/number@0.2.0" (instance $two))
    (export "inline" (instance $inline))
    (export "alone" (func $d)))"#;

/// Imports all of that, and makes one number of it.
const READER: &str = r#"(component
    (import "test:many/number@0.1.0" (instance $one (export "get" (func (result u32)))))
    (import "test:many/number@0.2.0" (instance $two (export "get" (func (result u32)))))
    (import "inline" (instance $inline (export "get" (func (result u32)))))
    (import "alone" (func $alone (result u32)))
    (core func $a (canon lower (func $one "get")))
    (core func $b (canon lower (func $two "get")))
    (core func $c (canon lower (func $inline "get")))
    (core func $d (canon lower (func $alone)))
    (core module $m
        (import "" "a" (func $a (result i32)))
        (import "" "b" (func $b (result i32)))
        (import "" "c" (func $c (result i32)))
        (import "" "d" (func $d (result i32)))
        (func $digit (param i32 i32) (result i32) (i32.add (i32.mul (local.get 0) (i32.const 10)) (local.get 1)))
        (func (export "read") (result i32)
            (call $digit (call $digit (call $digit (call $a) (call $b)) (call $c)) (call $d))))
    (core instance $i (instantiate $m (with "" (instance
        (export "a" (func $a)) (export "b" (func $b)) (export "c" (func $c)) (export "d" (func $d))))))
    (func (export "read") (result u32) (canon lift (core func $i "read"))))"#;

#[test]
fn versions_apart_and_names_without_a_package_find_each_other_on_each_road() {
    for (road, hosts, option, reader, numbers) in [
        ("local", 1, "", String::new(), String::new()),
        ("fused", 1, ", transport: fused", String::new(), String::new()),
        ("lattice, two hosts", 2, "", zone("a"), zone("b")),
    ] {
        let lattice = Lattice::start(hosts);
        lattice.write("numbers.wasm", wat::parse_str(NUMBERS).unwrap());
        lattice.write("reader.wasm", wat::parse_str(READER).unwrap());
        let link = format!("{{ to: numbers{option} }}");
        lattice.apply(&format!(
            "{}  components:\n    numbers: {{ image: ./numbers.wasm{numbers} }}\n    reader: {{ image: ./reader.wasm{reader}, links: \
             {{ \"test:many\": {link}, inline: {link}, $root: {link} }} }}\n",
            head("names"),
        ));
        let output = lattice.ctl(&["call", "names/reader", "read"]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(0), "1234\n"), "{road}: {}", output.all());
        if road != "fused" {
            let is = |function: &str, expected: &str| {
                let output = lattice.ctl(&["call", "names/numbers", function]);
                assert_eq!((output.code, output.stdout.as_str()), (Some(0), expected), "{road}: {}", output.all());
            };
            is("test:many/number@0.1.0.get", "1\n");
            is("test:many/number@0.2.0.get", "2\n");
            is("inline.get", "3\n");
            is("alone", "4\n");
        }
    }
}

/// Answers with its number.
fn numbered(number: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
        (core module $m (func (export "get") (result i32) i32.const {number}))
        (core instance $i (instantiate $m))
        (func $get (result u32) (canon lift (core func $i "get")))
        (instance $number (export "get" (func $get)))
        (export "test:many/number@0.1.0" (instance $number)))"#
    );
    wat::parse_str(text).unwrap()
}

/// The sum of a hundred numbers.
const ADDER: &str = r#"(component
    (import "test:many/number@0.1.0" (instance $number (export "get" (func (result u32)))))
    (core func $get (canon lower (func $number "get")))
    (core module $m
        (import "" "get" (func $get (result i32)))
        (func (export "sum") (result i32) (local $left i32) (local $sum i32)
            (local.set $left (i32.const 100))
            (loop $again
                (local.set $sum (i32.add (local.get $sum) (call $get)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
            (local.get $sum)))
    (core instance $i (instantiate $m (with "" (instance (export "get" (func $get))))))
    (func (export "sum") (result u32) (canon lift (core func $i "sum"))))"#;

#[test]
fn units_share_the_calls_of_a_link_by_weight() {
    let lattice = Lattice::start(2);
    lattice.write("adder.wasm", wat::parse_str(ADDER).unwrap());
    lattice.write("zero.wasm", numbered(0));
    lattice.write("one.wasm", numbered(1));
    // One is beside the caller, the other on another host.
    let (here, there) = (zone("a"), zone("b"));
    let app = |weights: &str| {
        format!(
            "{}  components:\n    zero: {{ image: ./zero.wasm{here} }}\n    one: {{ image: ./one.wasm{there} }}\n    adder: {{ image: \
             ./adder.wasm{here}, links: {{ \"test:many\": {{ to: {{ {weights} }} }} }} }}\n",
            head("shares"),
        )
    };
    for (weights, ones) in
        [("zero: 90, one: 10", 10u32), ("zero: 1, one: 1", 50), ("zero: 1, one: 0", 0), ("one: 5", 100)]
    {
        lattice.apply(&app(weights));
        let output = lattice.ctl(&["call", "shares/adder", "sum"]);
        let sum: u32 = output.stdout.trim().parse().unwrap_or_else(|_| panic!("{}", output.all()));
        assert!(sum.abs_diff(ones) <= 2, "{sum} of 100 calls, by {weights}");
    }
    let links = lattice.ctl(&["get", "links"]);
    assert!(links.stdout.contains("one (weight 5)"), "{}", links.all());
}

#[test]
fn a_caller_with_resources_stays_with_the_unit_that_made_them() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let (here, there) = (zone("a"), zone("b"));
    lattice.apply(&format!(
        "{}  components:\n    caller: {{ image: {}, links: {{ test:library: {{ to: {{ library: 1, next: 1 }} }} }}{here} }}\n    library: {{ \
         image: {library}{here} }}\n    next: {{ image: {library}{there} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: caller }}{here} }}\n",
        head("calls"),
        image("caller"),
        library = image("library"),
    ));
    let things = "(11, 13, 5) sum 18 alive 3 then 2 finished 13 made 6 left 1\n";
    for _ in 0..10 {
        assert_eq!(text(address, "/things"), things);
        assert_eq!(text(address, "/all"), "all the same\n");
    }
}

#[test]
fn each_fault_is_a_value_where_the_function_has_room_for_it() {
    on_each_road(|road, lattice, address| {
        let asked = Instant::now();
        let failed = get(address, "/trap").unwrap();
        assert_eq!((failed.status, failed.text().as_str()), (500, "the component failed\n"), "{road}");
        if road == "fused" {
            // The library runs in the caller alone.
            assert!(lattice.status("calls").instances("library").is_empty());
            assert!(lattice.ctl(&["status", "calls"]).stdout.contains("fused into caller"));
            // Components that are one share their fate.
            assert_eq!(get(address, "/trap-with-result").unwrap().status, 500);
            assert_eq!(text(address, "/sleep-with-result?ms=20"), "Ok(20)\n");
            return;
        }
        let told = || {
            let instance = lattice.status("calls").instances("caller").pop()?;
            (instance.traps == 1).then_some(instance.last_fault)
        };
        let fault = lattice.wait("the trap in the status", Duration::from_secs(5), told);
        assert!(
            fault.contains("test:library/faults@1.2.0#trap of calls/library: the callee failed"),
            "{road}: {fault}"
        );
        let value = text(address, "/trap-with-result");
        assert!(value.starts_with("Err(\"the callee failed: "), "{road}: {value}");
        let value = text(address, "/trap-with-case");
        assert!(value.starts_with("Err(Error::Other(\"the callee failed: "), "{road}: {value}");
        assert_eq!(text(address, "/sleep?ms=20"), "slept 20\n", "{road}");
        assert!(asked.elapsed() < Duration::from_secs(8), "{road}: {:?}", asked.elapsed());
    });
}

#[test]
fn one_interface_of_a_package_stays_apart_where_its_own_link_says_so() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let (caller, library) = (image("caller"), image("library"));
    lattice.apply(&format!(
        "{}  components:\n    caller:\n      image: {caller}\n      links:\n        test:library: {{ to: part, transport: fused }}\n        \
         test:library/faults: library\n    part: {{ image: {library} }}\n    library: {{ image: {library} }}\n  providers:\n    web: \
         {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: caller }} }}\n",
        head("calls"),
    ));
    assert_eq!(text(address, "/all"), "all the same\n");
    // What traps is not a part of the caller.
    let value = text(address, "/trap-with-result");
    assert!(value.starts_with("Err(\"the callee failed: "), "{value}");
    assert_eq!(lattice.status("calls").instances("library").len(), 1);
    assert!(lattice.status("calls").instances("part").is_empty());
}

#[test]
fn a_call_ends_at_the_link_s_deadline() {
    let lattice = Lattice::start(2);
    let address = free_address();
    for (caller, library) in [("", ""), (&*zone("a"), &*zone("b"))] {
        lattice.apply(&app(address, ", deadline: 300ms", caller, library));
        let asked = Instant::now();
        for path in ["/sleep-with-result?ms=3000", "/spin"] {
            let answer = text(address, path);
            // What is left of the time where it ends.
            let left = answer.strip_prefix("Err(\"no answer within ").and_then(|rest| rest.strip_suffix(" ms\")\n"));
            let left = left.and_then(|left| left.parse::<u64>().ok());
            assert!(left.is_some_and(|left| (200..=300).contains(&left)), "{path}: {answer}");
        }
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
}

#[test]
fn limits_of_the_callee_are_errors_of_their_own() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let limits = ", limits: { memory: 16MiB, concurrency: 1 }";
    lattice.apply(&app(address, "", &zone("a"), &format!("{}{limits}", zone("b"))));
    assert_eq!(get(address, "/eat").unwrap().status, 500);
    let fault = || lattice.status("calls").instances("library").pop().filter(|i| i.traps > 0).map(|i| i.last_fault);
    let fault = lattice.wait("the fault in the status", Duration::from_secs(5), fault);
    assert_eq!(fault, "the callee failed: out of memory: the limit is 16777216 bytes");
    let busy = thread::spawn(move || text(address, "/sleep?ms=2000"));
    let asleep = || lattice.hosts[1].log().contains("asleep").then_some(());
    lattice.wait("the call under way", Duration::from_secs(2), asleep);
    let refused = text(address, "/sleep-with-result?ms=1");
    assert_eq!(refused, "Err(\"calls/library is at its concurrency limit\")\n");
    assert_eq!(busy.join().unwrap(), "slept 2000\n");
}

#[test]
fn an_instance_is_called_as_often_as_reuse_says() {
    let lattice = Lattice::start(1);
    let calls = || {
        let output = lattice.ctl(&["call", "calls/library", "test:library/things.calls", "[]"]);
        output.stdout.trim().parse::<u32>().unwrap_or_else(|_| panic!("{}", output.all()))
    };
    lattice.apply(&app(free_address(), "", "", ""));
    assert_eq!([calls(), calls()], [1, 1]);
    lattice.apply(&app(free_address(), "", "", ", reuse: 3"));
    assert_eq!([calls(), calls(), calls(), calls(), calls()], [1, 2, 3, 1, 2]);
    // A trap ends the instance.
    assert!(!lattice.ctl(&["call", "calls/library", "test:library/faults.trap", "[]"]).stderr.is_empty());
    assert_eq!([calls(), calls()], [1, 2]);
}

#[test]
fn a_caller_that_goes_away_frees_the_callee() {
    let lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&app(address, "", &zone("a"), &format!("{}, limits: {{ concurrency: 1 }}", zone("b"))));
    let mut client = Client::connect(address).unwrap();
    client.write(b"GET /sleep?ms=8000 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let asleep = || lattice.hosts[1].log().contains("asleep").then_some(());
    lattice.wait("the call under way", Duration::from_secs(5), asleep);
    assert!(text(address, "/sleep-with-result?ms=1").contains("concurrency limit"));
    drop(client);
    let left = Instant::now();
    lattice.wait("the callee to be free", Duration::from_secs(3), || {
        (text(address, "/sleep-with-result?ms=1") == "Ok(1)\n").then_some(())
    });
    assert!(left.elapsed() < Duration::from_secs(1), "{:?}", left.elapsed());
}

#[test]
fn anything_can_be_called_in_json_and_what_is_wrong_is_named() {
    let lattice = Lattice::start(1);
    lattice.apply(&app(free_address(), "", "", ""));
    let call = |function: &str, arguments: &str| {
        lattice.ctl(&["call", "calls/library", &format!("test:library/{function}"), arguments])
    };
    for (function, arguments, result) in [
        (
            "echo.integers",
            "[255,-128,65535,-32768,7,-7,\"18446744073709551615\",-9]",
            "[255,-128,65535,-32768,7,-7,18446744073709551615,-9]",
        ),
        ("echo.floats", "[\"-inf\",\"nan\"]", "[\"-inf\",\"nan\"]"),
        ("echo.bytes", "[[1,2,3]]", "\"AQID\""),
        ("echo.shapes", r#"["#, ""),
        (
            "echo.shapes",
            r#"[["empty",{"circle":2.5},{"polygon":[{"x":1,"y":0.5}]},{"either":{"err":"e"}}]]"#,
            r#"["empty",{"circle":2.5},{"polygon":[{"x":1,"y":0.5}]},{"either":{"err":"e"}}]"#,
        ),
        ("echo.all-flags", r#"[["f0","f31"]]"#, r#"["f0","f31"]"#),
        ("echo.maybe", r#"[{"some":null}]"#, r#"{"some":null}"#),
        ("echo.nothing", "[]", "null"),
    ] {
        let output = call(function, arguments);
        if result.is_empty() {
            assert_eq!(output.code, Some(2), "{}", output.all());
        } else {
            assert_eq!((output.code, output.stdout.trim()), (Some(0), result), "{function}: {}", output.all());
        }
    }
    for (function, arguments, code, said) in [
        ("echo.integers", "[256,0,0,0,0,0,0,0]", 8, "a: expected u8, found 256"),
        ("echo.truth", "[true,false]", 8, "expected 1 arguments (a), found 2"),
        ("echo.point", "[]", 6, "one-point"),
        ("echo@1.3.0.truth", "[true]", 6, "1.2.0"),
        ("nowhere.truth", "[true]", 6, "test:library/nowhere"),
        ("faults.trap", "[]", 8, "the callee failed"),
        ("echo.outcome", r#"[{"err":"no"}]"#, 9, "no"),
    ] {
        let output = call(function, arguments);
        assert!(output.code == Some(code) && output.all().contains(said), "{function}: {}", output.all());
    }
}

#[test]
fn a_host_that_is_killed_under_a_call_or_a_resource_is_a_typed_error() {
    let mut lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&app(address, "", &zone("a"), &zone("b")));
    let calls = [
        (
            "/sleep-with-result?ms=60000",
            "asleep",
            "Err(\"the connection failed: the host of calls/library is lost\")\n",
        ),
        ("/hold?ms=3000", "holding", ""),
    ];
    for (path, said, expected) in calls {
        let call = thread::spawn(move || get(address, path).unwrap());
        let heard = || lattice.hosts.iter().any(|host| host.log().contains(said)).then_some(());
        lattice.wait(said, Duration::from_secs(10), heard);
        lattice.hosts[1].kill();
        let asked = Instant::now();
        let answer = call.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(9), "{path}: {:?}", asked.elapsed());
        if expected.is_empty() {
            assert_eq!(answer.status, 500, "{path}: {}", answer.text());
            let fault = || lattice.status("calls").instances("caller").pop().map(|i| i.last_fault);
            let gone = || fault().filter(|fault| fault.contains("the instance that held this resource is gone"));
            lattice.wait("the fault in the status", Duration::from_secs(5), gone);
        } else {
            assert_eq!(answer.text(), expected, "{path}");
        }
        lattice.hosts[1].spawn();
        lattice.hosts[1].wait_ready();
        lattice.wait("the library again", Duration::from_secs(30), || {
            (text(address, "/all") == "all the same\n").then_some(())
        });
    }
}

#[test]
fn an_instance_that_drains_keeps_the_resources_that_others_hold() {
    let lattice = Lattice::start(2);
    let address = free_address();
    for (caller, library) in [(zone("a"), zone("b")), (zone("a"), zone("a"))] {
        lattice.apply(&app(address, "", &caller, &library));
        let holding = |host: &lattice_tests::host::Host| host.log().matches("holding").count();
        let (before, drained) = (holding(&lattice.hosts[0]), drains(&lattice));
        let holder = thread::spawn(move || get(address, "/hold?ms=4000").unwrap());
        lattice.wait("the resource", Duration::from_secs(10), || (holding(&lattice.hosts[0]) > before).then_some(()));
        // Another environment is another instance.
        let newer = format!("{library}, env: {{ ROUND: \"{before}\" }}");
        let newer = app(address, "", &caller, &newer);
        thread::scope(|scope| {
            let applied = scope.spawn(|| lattice.apply(&newer));
            lattice.wait("the old instance to drain", Duration::from_secs(10), || {
                (drains(&lattice) > drained).then_some(())
            });
            // Meanwhile the new one has the calls.
            assert_eq!(text(address, "/things"), "(11, 13, 5) sum 18 alive 3 then 2 finished 13 made 6 left 1\n");
            assert!(!holder.is_finished(), "the old instance drained while the resource was held");
            let answer = holder.join().unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "held 3\n"), "{library}");
            applied.join().unwrap();
        });
    }
}

#[test]
fn an_instance_that_drains_ends_the_calls_that_it_has() {
    let lattice = Lattice::start(2);
    let address = free_address();
    for (caller, library) in [(zone("a"), zone("b")), (zone("a"), zone("a"))] {
        lattice.apply(&app(address, "", &caller, &library));
        let asleep = || lattice.hosts.iter().map(|host| host.log().matches("asleep").count()).sum::<usize>();
        let (before, drained) = (asleep(), drains(&lattice));
        let sleeper = thread::spawn(move || text(address, "/sleep?ms=5000"));
        lattice.wait("the call under way", Duration::from_secs(5), || (asleep() > before).then_some(()));
        let newer = app(address, "", &caller, &format!("{library}, env: {{ ROUND: \"{before}\" }}"));
        thread::scope(|scope| {
            let applied = scope.spawn(|| lattice.apply(&newer));
            let draining = || (drains(&lattice) > drained).then_some(());
            lattice.wait("the old instance to drain", Duration::from_secs(4), draining);
            assert!(!sleeper.is_finished(), "the old instance drained while it was called");
            // Longer than it takes a caller to look whether somebody is still there.
            assert_eq!(sleeper.join().unwrap(), "slept 5000\n", "{library}");
            applied.join().unwrap();
        });
    }
}

/// How often a library was told to drain.
fn drains(lattice: &Lattice) -> usize {
    let told = |line: &&str| line.contains("draining") && line.contains("calls/library");
    lattice.hosts.iter().map(|host| host.log().lines().filter(told).count()).sum()
}
