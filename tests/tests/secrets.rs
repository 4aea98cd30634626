//! Secrets: who is given them has them, also when they change, and nobody finds them anywhere else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use lattice_provider::conformance::servers::RedisServer;
use lattice_tests::{
    Lattice, get,
    lattice::{SETTLE, head, image},
    places::{free_address, program},
    request,
};
use tempfile::TempDir;

/// Hosts with the same key, and with folders of secrets.
fn start(hosts: usize, keys: &TempDir) -> Lattice {
    let key = new_key(keys.path(), "first.xk");
    let folder = keys.path().join("secrets");
    fs::create_dir_all(folder.join("shop")).unwrap();
    Lattice::start_with(hosts, |host| {
        host.arguments =
            vec!["--secrets-key".into(), key.clone(), "--secrets-dir".into(), folder.display().to_string()];
        host.variables = vec![("LATTICE_SECRET_SHOP__API_TOKEN".into(), "from-the-environment".into())];
    })
}

fn new_key(folder: &Path, name: &str) -> String {
    let path = folder.join(name).display().to_string();
    let made = std::process::Command::new(program("lattice-ctl")).args(["secrets", "keygen", &path]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    path
}

/// Puts a secret there by standard input.
fn put(lattice: &Lattice, id: &str, value: &[u8]) -> String {
    let mut put = lattice.command(&["secrets", "put", id]);
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(value).unwrap();
    let output = put.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A component that shows its secrets to whoever asks.
fn shop(address: SocketAddr, secrets: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}, reuse: 100, secrets: {secrets} }}\n  providers:\n    web: {{ use: \
         http-server, config: {{ address: \"{address}\" }}, routes: {{ /: main }} }}\n",
        head("shop"),
        image("settings")
    )
}

/// That no file below `folder` has `secret` in it: what NATS and hosts keep, and what they log.
fn assert_nowhere(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            assert_nowhere(&path, secret);
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} stands in {}", path.display());
        }
    }
}

#[test]
fn a_component_reads_what_it_is_given_and_the_new_value_when_it_changes() {
    let keys = tempfile::tempdir().unwrap();
    let lattice = start(2, &keys);
    let address = free_address();
    fs::write(keys.path().join("secrets/shop/certificate"), [0xff, 0xfe]).unwrap();
    assert!(put(&lattice, "shop/db", b"hunter2-one\n").contains(", which 2 hosts can open"));
    put(&lattice, "other/db", b"another-app's");
    let secrets = "{ password: db, cert: { file: certificate }, token: { env: api-token }, gone: { file: gone } }";
    lattice.apply(&shop(address, secrets));
    let ask = |name: &str| get(address, &format!("/secret/{name}")).map(|r| (r.status, r.body)).unwrap();
    assert_eq!(ask("password"), (200, b"hunter2-one".to_vec()));
    assert_eq!(ask("cert"), (206, vec![0xff, 0xfe]));
    assert_eq!(ask("token"), (200, b"from-the-environment".to_vec()));
    // By the name of the manifest, and not by that of the store.
    assert_eq!(ask("db").0, 404);
    let (status, reason) = ask("gone");
    let reason = String::from_utf8(reason).unwrap();
    assert!(status == 502 && reason.ends_with("shop/gone: there is no such file"), "{reason}");

    put(&lattice, "shop/db", b"hunter2-two");
    lattice.wait("the new secret", SETTLE, || (ask("password").1 == b"hunter2-two").then_some(()));
    assert_eq!(lattice.ctl(&["secrets", "delete", "shop/db"]).code, Some(0));
    lattice.wait("that the secret is gone", SETTLE, || (ask("password").0 == 404).then_some(()));
    let starts = lattice.hosts.iter().map(|host| host.log().matches("ready unit=shop/main").count()).sum::<usize>();
    let log = lattice.hosts.iter().map(|host| host.log()).collect::<String>();
    assert!(starts <= 1, "the component was not started anew:\n{log}");
    for secret in ["hunter2-one", "hunter2-two", "another-app's", "from-the-environment"] {
        assert_nowhere(lattice.dir(), secret);
        assert_nowhere(lattice.nats.dir(), secret);
    }
    assert!(!lattice.ctl(&["status", "-o", "yaml"]).all().contains("hunter2"));
}

#[test]
fn what_is_missing_or_cannot_be_opened_is_said() {
    let keys = tempfile::tempdir().unwrap();
    let mut lattice = start(1, &keys);
    let address = free_address();
    let refused = lattice.try_apply(&shop(address, "{ password: db }"));
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    for text in ["the lattice has no secret `db` of app shop", "`lattice-ctl secrets put shop/db`"] {
        assert!(refused.stderr.contains(text), "{text}: {}", refused.stderr);
    }
    put(&lattice, "shop/db", b"hunter2-one");
    lattice.apply(&shop(address, "{ password: db }"));
    let listed = lattice.ctl(&["secrets", "list", "-o", "json"]).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let row = &listed[0];
    assert_eq!((&row["app"], &row["name"], &row["hosts"]), (&"shop".into(), &"db".into(), &1.into()), "{listed}");
    assert_eq!(row["units"], serde_json::json!(["main"]));

    // With another key the host is there, and cannot read it; with both it can.
    let both = lattice.hosts[0].arguments.clone();
    let other = new_key(keys.path(), "second.xk");
    lattice.hosts[0].kill();
    lattice.hosts[0].arguments[1] = other.clone();
    lattice.hosts[0].spawn();
    lattice.hosts[0].wait_ready();
    let asked = || get(address, "/secret/password").ok().map(|response| (response.status, response.text()));
    let (_, reason) = lattice.wait("the refusal", SETTLE, || asked().filter(|(status, _)| *status == 503));
    assert!(reason.contains("secret `db`: it was sealed to X") && reason.contains("of which this host has no key"));
    lattice.hosts[0].kill();
    lattice.hosts[0].arguments[1] = format!("{other},{}", both[1]);
    lattice.hosts[0].spawn();
    lattice.hosts[0].wait_ready();
    lattice.wait("the secret", SETTLE, || asked().filter(|(status, text)| *status == 200 && text == "hunter2-one"));
    // New ones are sealed to the first.
    let public = fs::read_to_string(&other).unwrap();
    let public = nkeys::XKey::from_seed(public.trim()).unwrap().public_key();
    assert!(put(&lattice, "shop/db", b"hunter2-two").contains(&public));
    lattice.wait("the new secret", SETTLE, || asked().filter(|(_, text)| text == "hunter2-two"));
}

/// Sets Redis's password, with the one that it has now.
fn set_password(redis: &RedisServer, old: Option<&str>, new: &str) {
    let mut stream = TcpStream::connect(redis.url().trim_start_matches("redis://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let auth = old.map(|old| format!("AUTH {old}\r\n")).unwrap_or_default();
    stream.write_all(format!("{auth}CONFIG SET requirepass {new}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.lines().all(|line| line == "+OK"), "{answer}");
}

#[test]
fn a_provider_is_given_its_secret_and_started_anew_when_it_changes() {
    let keys = tempfile::tempdir().unwrap();
    let lattice = start(2, &keys);
    let redis = RedisServer::start().unwrap();
    let url = |password: &str| redis.url().replace("redis://", &format!("redis://:{password}@"));
    set_password(&redis, None, "hunter2-one");
    put(&lattice, "kv/redis", url("hunter2-one").as_bytes());
    let mut password = "hunter2-one";
    for (isolate, next) in [("host", "hunter2-two"), ("process", "hunter2-three")] {
        let address = free_address();
        lattice.apply(&format!(
            "{}  components:\n    kv: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    web: {{ use: \
             http-server, config: {{ address: \"{address}\" }}, routes: {{ /: kv }} }}\n    cache: {{ use: keyvalue-redis, \
             isolate: {isolate}, config: {{ url: {{ secret: redis }} }} }}\n",
            head("kv"),
            image("kv")
        ));
        assert_eq!(request(address, "POST", "/set/one", isolate.as_bytes()).unwrap().status, 204);
        // A wrong one is told without itself, and the instance that works goes on.
        put(&lattice, "kv/redis", url("hunter2-wrong").as_bytes());
        let reason = lattice.wait("the refusal of a wrong password", SETTLE, || {
            let status = lattice.ctl(&["status", "kv", "-o", "yaml"]).all();
            assert!(!status.contains("hunter2"), "{status}");
            status.contains("Password authentication failed").then_some(status)
        });
        assert!(!reason.contains("hunter2"), "{reason}");
        assert_eq!(get(address, "/get/one").unwrap().text(), isolate, "the old instance serves");
        set_password(&redis, Some(password), next);
        put(&lattice, "kv/redis", url(next).as_bytes());
        lattice.wait_ready("kv");
        assert_eq!(get(address, "/get/one").unwrap().text(), isolate);
        password = next;
    }
    for secret in ["hunter2-one", "hunter2-two", "hunter2-three", "hunter2-wrong"] {
        assert_nowhere(lattice.dir(), secret);
        assert_nowhere(lattice.nats.dir(), secret);
    }
}
