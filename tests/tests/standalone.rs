//! `lattice-host run` and `lattice-host serve`: one component by itself, with what the command line grants.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, get,
    places::{guest, program},
    request,
    standalone::{Server, run, run_file},
};
use tempfile::tempdir;

/// The guests that are commands, for WASI 0.2 and 0.3.
const COMMANDS: [&str; 2] = ["cli", "p3-cli"];

fn plain(name: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = run(name, Path::new("/"), &[], args, "");
    (output.code, output.stdout)
}

#[test]
fn a_command_gets_its_arguments_and_input_and_its_exit_code_is_ours() {
    for name in COMMANDS {
        assert_eq!(plain(name, &["args", "one", "--two", "three four"]), (Some(0), "one|--two|three four\n".into()));
        assert_eq!(plain(name, &["args"]), (Some(0), "\n".into()), "{name}");
        let cat = run(name, Path::new("/"), &[], &["cat"], "what is said\n");
        assert_eq!((cat.code, cat.stdout.as_str()), (Some(0), "what is said\n"), "{name}");
        let failed = run(name, Path::new("/"), &[], &["fail"], "");
        assert_eq!((failed.code, failed.stderr.as_str()), (Some(1), "asked to fail\n"), "{name}");
        let trapped = run(name, Path::new("/"), &[], &["trap"], "");
        assert_eq!(trapped.code, Some(134), "{name}");
        assert!(trapped.stderr.contains("trapped") && trapped.stderr.contains("asked to panic"), "{}", trapped.stderr);
        assert_eq!(plain(name, &["exit", "0"]).0, Some(0), "{name}");
    }
    assert_eq!(plain("cli", &["name"]), (Some(0), "cli.wasm\n".into()));
    // WASI 0.2 has room for yes and no alone, 0.3 for a code.
    assert_eq!(plain("cli", &["exit", "7"]).0, Some(1));
    assert_eq!(plain("p3-cli", &["exit", "7"]).0, Some(7));
}

#[test]
fn a_command_sees_the_environment_that_it_is_given_and_no_other() {
    for name in COMMANDS {
        let env = |options: &[&str]| run(name, Path::new("/"), options, &["env"], "").stdout;
        assert_eq!(env(&[]), "", "{name}");
        assert_eq!(env(&["--env", "A=1", "--env", "B=x=y", "--env", "A=2"]), "B=x=y\nA=2\n", "{name}");
        assert_eq!(env(&["--env", "FROM_OUTSIDE", "--env", "NOT_THERE"]), "FROM_OUTSIDE=seen\n", "{name}");
        assert_eq!(env(&["--inherit-env"]), "FROM_OUTSIDE=seen\n", "{name}");
    }
}

#[test]
fn a_command_reaches_the_folders_that_it_is_granted_and_writes_only_where_it_may() {
    for (name, at) in [("cli", "/data/"), ("p3-cli", "")] {
        let dir = tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/file"), "content").unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        let act = |options: &[&str], args: &[&str]| {
            let output = run(name, dir.path(), options, args, "");
            (output.code, output.stdout)
        };
        let (file, new) = (format!("{at}file"), format!("{at}new"));
        assert_eq!(act(&["--dir", "data::/data"], &["read", &file]), (Some(0), "content".into()), "{name}");
        assert_eq!(act(&["--dir", "data::/data"], &["write", &new, "written"]).0, Some(0), "{name}");
        assert_eq!(fs::read_to_string(dir.path().join("data/new")).unwrap(), "written");

        let read_only = ["--dir", "data::/data::ro"];
        assert_eq!(act(&read_only, &["read", &new]), (Some(0), "written".into()), "{name}");
        assert_eq!(act(&read_only, &["write", &new, "again"]).0, Some(1), "{name}");
        assert_eq!(act(&read_only, &["write", &format!("{at}other"), "x"]).0, Some(1), "{name}");
        assert_eq!(fs::read_to_string(dir.path().join("data/new")).unwrap(), "written");
        assert!(!dir.path().join("data/other").exists());

        assert_eq!(act(&read_only, &["read", &format!("{at}../outside")]).0, Some(1), "{name} gets out");
        assert_eq!(act(&[], &["read", "/etc/passwd"]).0, Some(1), "{name}");
    }
}

#[test]
fn the_network_is_there_only_when_it_is_granted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let connect = |options: &[&str]| run("p3-cli", Path::new("/"), options, &["connect", &port], "");
    let denied = connect(&[]);
    assert_eq!(denied.code, Some(1));
    assert!(denied.stderr.contains("AccessDenied"), "{}", denied.stderr);
    assert_eq!(connect(&["--udp", "--dns", "--http"]).code, Some(1));
    assert_eq!(connect(&["--tcp"]).stdout, "connected\n");
    assert_eq!(connect(&["--allow-net"]).stdout, "connected\n");
    let resolve = |options: &[&str]| run("p3-cli", Path::new("/"), options, &["resolve", "localhost"], "");
    assert_eq!(resolve(&["--tcp"]).code, Some(1));
    assert_eq!(resolve(&["--dns"]).stdout, "something found\n");
}

#[test]
fn a_command_that_does_not_end_is_ended() {
    for (name, args) in [("cli", &["loop"][..]), ("p3-cli", &["sleep", "60000"])] {
        let started = Instant::now();
        let late = run(name, Path::new("/"), &["--timeout", "300ms"], args, "");
        assert_eq!(late.code, Some(124), "{}", late.all());
        assert!(late.stderr.contains("did not end in time"), "{}", late.stderr);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn what_cannot_run_is_explained() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("text"), "no wasm").unwrap();
    fs::write(dir.path().join("empty.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(dir.path().join("broken.wasm"), b"\0asm\x0d\0\x01\0\xff\xff").unwrap();
    let run = |file: &str| run_file(Path::new(file), dir.path(), &[], &[], "");
    for (file, reason) in [
        ("nowhere", "cannot read nowhere: "),
        ("text", "text is not WebAssembly"),
        ("empty.wasm", "empty.wasm exports no `_start`, so it is no command"),
        ("broken.wasm", "broken.wasm cannot be compiled: "),
        (guest("p3-hello").to_str().unwrap(), "exports no wasi:cli/run of WASI 0.2 or 0.3"),
        (guest("nobody").to_str().unwrap(), "imports what there is not here: "),
    ] {
        let output = run(file);
        assert_eq!(output.code, Some(1), "{file}");
        assert!(output.stderr.starts_with("error: ") && output.stderr.contains(reason), "{file}: {}", output.stderr);
    }
    let missing = run_file(&guest("cli"), dir.path(), &["--dir", "missing::/x"], &[], "");
    assert!(missing.stderr.starts_with("error: cannot open the folder missing: "), "{}", missing.stderr);
    for (file, reason) in [
        (guest("cli"), "exports neither wasi:http/incoming-handler@0.2 nor wasi:http/handler@0.3"),
        (dir.path().join("empty.wasm"), "is a core module, not a component"),
    ] {
        let output = Command::new(program("lattice-host")).arg("serve").arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(reason), "{text}");
    }
}

/// `(module (func (export "_start") ...))`: writes nothing, and exits with 42.
const MODULE: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $exit (i32.const 42))))"#;

#[test]
fn a_core_module_for_wasi_0_1_runs_too() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("module.wasm");
    fs::write(&file, wat::parse_str(MODULE).unwrap()).unwrap();
    assert_eq!(run_file(&file, dir.path(), &[], &[], "").code, Some(42));
}

#[test]
fn components_of_both_wasi_versions_are_served() {
    for (name, said) in [("hello", "Hello from the lattice!\n"), ("p3-hello", "Hello from WASI 0.3!\n")] {
        let mut server = Server::start(name, &[]);
        let mut client = Client::connect(server.address).unwrap();
        for _ in 0..3 {
            let answered = client.get("/").unwrap();
            assert_eq!((answered.status, answered.text().as_str()), (200, said), "{}", server.log());
        }
        server.ask_to_end();
        assert_eq!(server.wait_ended(), Some(0));
    }
}

#[test]
fn a_served_component_has_what_the_command_line_grants() {
    for (name, path) in [("echo", "/fetch?to="), ("p3-hello", "/fetch?to=")] {
        let other = Server::start("hello", &[]);
        let path = format!("{path}{}", other.address);
        let denied = Server::start(name, &["--env", "A=1"]);
        assert_eq!(get(denied.address, "/env").unwrap().text(), "A=1\n", "{name}");
        assert!(get(denied.address, &path).unwrap().text().contains("HttpRequestDenied"), "{name}");
        let granted = Server::start(name, &["--http"]);
        assert_eq!(get(granted.address, &path).unwrap().text(), "status 200\n", "{name}");
    }
}

#[test]
fn a_request_that_is_under_way_ends_before_the_server_does() {
    for name in ["echo", "p3-hello"] {
        let mut server = Server::start(name, &[]);
        let mut client = Client::connect(server.address).unwrap();
        client.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        assert_eq!(client.read_head().unwrap().status, 200);
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"first"[..]));
        server.ask_to_end();
        client.write(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
        assert_eq!(client.read_chunk().unwrap().as_deref(), Some(&b"second"[..]), "{name}");
        assert_eq!(client.read_chunk().unwrap(), None);
        assert_eq!(server.wait_ended(), Some(0));
    }
}

#[test]
fn limits_hold_when_served() {
    let server = Server::start("p3-hello", &["--timeout", "300ms", "--memory", "16MiB", "--max-body", "10KiB"]);
    for (path, status) in [("/sleep?ms=60000", 504), ("/loop", 504), ("/eat", 500), ("/trap", 500), ("/", 200)] {
        assert_eq!(get(server.address, path).unwrap().status, status, "{path}");
    }
    assert!(server.log().contains("out of memory: the limit is 16777216 bytes"), "{}", server.log());
    assert_eq!(request(server.address, "POST", "/", &[0; 20_000]).unwrap().status, 413);
}
