//! `lattice-ctl conform` as its users meet it: a good provider, wrong ones, and what cannot be checked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    env, fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lattice_provider::conformance::servers::{NatsServer, RedisServer};
use lattice_tests::{
    Output,
    places::{free_address, nats_py, path_with_nats, program, repository},
    process::{children, runs, signal},
    wait,
};
use rustix::process::Signal;
use serde_json::Value;

const STORE: &str = "lattice:keyvalue/store@0.1.0";

const SOON: Duration = Duration::from_secs(30);

/// The command, on a NATS server of its own unless one is named.
fn command(arguments: &[&str]) -> Command {
    // Beside nats-server what providers and the commands of --stop and --start need: python3, sh and the like.
    let (nats, ours) = (path_with_nats(), env::var_os("PATH").unwrap_or_default());
    let path = env::join_paths(env::split_paths(&nats).chain(env::split_paths(&ours))).unwrap();
    let mut ctl = Command::new(program("lattice-ctl"));
    ctl.env_clear().env("PATH", path).arg("conform").args(arguments).stdin(Stdio::null());
    ctl
}

fn conform(arguments: &[&str]) -> Output {
    Output::from(command(arguments).output().unwrap())
}

/// A program of the tests that is a provider.
fn faulty() -> String {
    program("faulty-keyvalue").display().to_string()
}

/// What came out of one check, by the table.
fn outcome<'o>(output: &'o Output, check: &str) -> &'o str {
    let line = output.stdout.lines().find_map(|line| line.strip_prefix(check));
    line.unwrap_or_else(|| panic!("no check `{check}`: {}", output.all())).trim()
}

#[test]
fn a_good_provider_conforms() {
    let redis = RedisServer::start().unwrap();
    let output = conform(&["keyvalue-redis", "--config", &format!("url={}", redis.url())]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert!(output.stderr.is_empty(), "{}", output.stderr);
    assert_eq!(outcome(&output, "nothing is lost between tasks"), "ok");
    assert_eq!(outcome(&output, "what was acknowledged is there when the process was killed"), "ok");
    assert_eq!(outcome(&output, "calls fail at once while the backend is away"), "- --stop and --start are not given");
    let last = output.stdout.lines().last().unwrap();
    assert!(last.starts_with("keyvalue-redis: 14 of 14 checks passed in "), "{last}");
    assert!(last.ends_with(" s, 4 left out"), "{last}");
    assert!(!output.stdout.contains('\x1b') && !output.stdout.contains("FAILED"), "{}", output.stdout);
    // It leaves nothing behind.
    let found = Command::new("sh").args(["-c", &keys(&redis)]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "*0\r\n");
}

/// A shell command that asks Redis for all its keys, by Redis's own protocol.
fn keys(redis: &RedisServer) -> String {
    let (_, port) = redis.url().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    format!("exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; printf \"KEYS *\\r\\n\" >&3; head -n 1 <&3'")
}

/// Does what shell commands ask for by a file: `stop` and `start` of a server.
fn obey(folder: &Path, mut server: RedisServer) -> [String; 2] {
    let ask = |what: &str| {
        let file = folder.join(what);
        format!("touch '{0}'; while [ -e '{0}' ]; do sleep 0.02; done", file.display())
    };
    let commands = ["stop", "start"].map(ask);
    let folder = folder.to_owned();
    thread::spawn(move || {
        // Until the folder goes with its test.
        while folder.is_dir() {
            for what in ["stop", "start"] {
                let file = folder.join(what);
                if file.exists() {
                    if what == "stop" {
                        server.stop()
                    } else {
                        server.restart().unwrap()
                    }
                    fs::remove_file(file).unwrap();
                }
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    commands
}

#[test]
fn a_backend_goes_and_comes_back_while_a_provider_serves() {
    let dir = tempfile::tempdir().unwrap();
    let redis = RedisServer::start().unwrap();
    let url = format!("url={}", redis.url());
    let [stop, start] = obey(dir.path(), redis);
    let output = conform(&["keyvalue-redis", "--config", &url, "--stop", &stop, "--start", &start, "-o", "json"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"], &report["left_out"]), (&18.into(), &0.into(), &0.into()));
    let checks = report["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 18, "{report}");
    assert!(checks.iter().all(|check| check["outcome"] == "ok" && check["interface"] == STORE), "{report}");
    assert_eq!(report["interfaces"], serde_json::json!([STORE]));
}

#[test]
fn a_backend_that_does_not_go_is_told() {
    // What `true` stops is nothing.
    let serves = ["--serves", STORE, "--in-memory", "--stop", "true", "--start", "true"];
    let output = conform(&[&[faulty().as_str()][..], &serves].concat());
    assert_eq!(output.code, Some(1), "{}", output.all());
    assert_eq!(
        outcome(&output, "calls fail at once while the backend is away"),
        "FAILED calls succeed 15 s after the backend was taken away"
    );
    assert!(outcome(&output, "its health says that the backend is away").starts_with("FAILED calls succeed"));
    assert_eq!(outcome(&output, "it recovers when the backend is back"), "ok");
    let output = conform(&[&[faulty().as_str()][..], &serves[..4], &["false", "--start", "true"]].concat());
    let reason = outcome(&output, "calls fail at once while the backend is away");
    assert_eq!(reason, "FAILED the command of --stop ended with exit status: 1:");
}

#[test]
fn what_a_stranger_does_wrong_is_named() {
    let run = |more: &[&str]| conform(&[&[faulty().as_str(), "--serves", STORE][..], more].concat());
    let good = run(&["--in-memory"]);
    assert_eq!(good.code, Some(0), "{}", good.all());
    let killed = "what was acknowledged is there when the process was killed";
    assert_eq!(outcome(&good, killed), "- not kept: its data is in memory alone");

    let forgets = run(&["--in-memory", "--config", "fault=forgets"]);
    assert_eq!(forgets.code, Some(1), "{}", forgets.all());
    assert_eq!(outcome(&forgets, "every key is listed"), "FAILED how many keys are listed: found 9900, expected 10000");
    assert!(forgets.stderr.contains("does not conform: "), "{}", forgets.all());

    let races = run(&["--in-memory", "--config", r#"{"fault": "races"}"#]);
    assert_eq!(races.code, Some(1), "{}", races.all());
    assert!(outcome(&races, "nothing is lost between tasks").starts_with("FAILED "), "{}", races.all());
    assert!(races.stdout.lines().last().unwrap().contains(": 12 of 13 checks passed in "), "{}", races.all());
    assert!(races.stderr.ends_with(&format!("error: {} does not conform: 1 of 13 checks failed\n", faulty())));

    // Without being told, it is taken for one that keeps its data.
    let forgetful = run(&[]);
    assert_eq!(forgetful.code, Some(1), "{}", forgetful.all());
    assert_eq!(
        outcome(&forgetful, killed),
        "FAILED 51 of 51 that were acknowledged are not there, the first is number 0"
    );
}

#[test]
fn a_stranger_in_another_language_conforms() {
    let python = repository().join("tests/programs/keyvalue.py");
    let (python, path) = (python.to_str().unwrap(), format!("PYTHONPATH={}", nats_py().display()));
    let output = conform(&[python, "--serves", STORE, "--in-memory", "--env", &path]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert!(output.stdout.contains(": 13 of 13 checks passed in "), "{}", output.all());
}

#[test]
fn a_provider_dies_under_its_checks_and_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("provider");
    // Ready, and gone a moment later.
    fs::write(&path, "#!/bin/sh\nread order\necho '{\"health\":\"ready\"}'\necho I fall >&2\n").unwrap();
    executable(&path);
    let output = conform(&[path.to_str().unwrap(), "--serves", "wasmcloud:messaging/consumer@0.2.0"]);
    assert_eq!(output.code, Some(1), "{}", output.all());
    assert!(outcome(&output, "a request is answered").contains("no instance of"), "{}", output.all());
    assert!(output.stderr.contains("ends like this:\n  | I fall\n"), "{}", output.all());
}

fn executable(path: &Path) {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(path, mode).unwrap();
}

#[test]
fn what_cannot_be_checked_is_told_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "no program\n").unwrap();
    let text = text.to_str().unwrap().to_owned();
    let ends = dir.path().join("ends");
    fs::write(&ends, "#!/bin/sh\necho out of luck >&2\nexit 3\n").unwrap();
    executable(&ends);
    let (ends, faulty, nobody) = (ends.to_str().unwrap().to_owned(), faulty(), free_address());
    let away = format!("url=redis://{nobody}");
    let nats = format!("nats://{nobody}");
    let serves = |path: &'static str| [path, "--serves", STORE];
    for (arguments, code, error, help) in [
        (&["keyvalue-rediss"][..], 6, "there is no provider `keyvalue-rediss`", "did you mean `keyvalue-redis`?"),
        (&serves("./no/such/file"), 6, "the executable of ./no/such/file is not at ./no/such/file", "name the path of"),
        (&["http-server"], 6, "there is no suite for http-server, which answers no calls", "there are suites for "),
        (&[&text, "--serves", "acme:ledger/book@1.0.0"], 6, "there is no suite for acme:ledger/book@1.0.0", STORE),
        (&[&text], 2, "is not known", "--serves lattice:keyvalue/store@0.1.0"),
        (&[&text, "--serves", "nonsense"], 6, "there is no suite for nonsense", STORE),
        (&["keyvalue-memory", "--in-memory"], 2, "--in-memory is for executables", "leave --in-memory out"),
        (&["keyvalue-redis", "--config", "url"], 2, "--config: `url` has no `=`", "write KEY=VALUE, as in"),
        (&["keyvalue-redis", "--config", "{"], 2, "--config: it is no JSON object", "write KEY=VALUE, as in"),
        (&["keyvalue-redis", "--stop", "true"], 2, "--start", ""),
        (&["keyvalue-redis", "--config", "urll=x"], 1, "unknown field `urll`", "url (required): such as redis://"),
        (&["keyvalue-redis"], 1, "missing field `url`", "prefix: what each key"),
        (&["keyvalue-redis", "--config", &away], 1, "cannot reach Redis at", "its settings"),
        (&[&faulty, "--serves", STORE, "--config", "fault=odd"], 1, "unknown variant `odd`", ""),
        (&[&text, "--serves", STORE], 1, "does not start: ", ""),
        (&[&ends, "--serves", STORE], 1, "it ended before it was ready (exit status: 3)\n  | out of luck", ""),
        (&["keyvalue-memory", "--nats", &nats], 4, "cannot reach NATS at nats://", "start nats-server"),
    ] {
        let output = conform(arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.all());
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", output.all());
        assert!(output.stderr.contains(error) && output.stderr.contains(help), "{arguments:?}: {}", output.all());
    }
}

#[test]
fn a_named_nats_is_used() {
    let server = NatsServer::start().unwrap();
    let output = conform(&["keyvalue-nats", "--nats", &server.url()]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    let buckets = fs::read_dir(server.dir().join("store/jetstream/$G/streams")).unwrap().flatten();
    let names: Vec<_> = buckets.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.iter().any(|name| name.starts_with("KV_default-conform")), "{names:?}");
}

#[test]
fn everything_that_was_started_ends_with_ctrl_c() {
    let mut ctl = command(&[&faulty(), "--serves", STORE]);
    let mut ctl = ctl.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = wait("a server and the provider", SOON, || {
        let children = children(ctl.id(), "");
        (children.len() == 2).then_some(children)
    });
    signal(ctl.id(), Signal::INT);
    let status = wait("its end", SOON, || ctl.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    let said = io::read_to_string(ctl.stderr.take().unwrap()).unwrap();
    assert_eq!(said, "error: stopped before all checks were made\n");
    wait("the end of what it started", SOON, || started.iter().all(|pid| !runs(*pid)).then_some(()));
}
