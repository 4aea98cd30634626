//! What the repository shows to newcomers runs as it stands, and no guest is there for nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, net::SocketAddr, path::PathBuf};

use lattice_provider::conformance::servers::{NatsServer, POSTGRES_PASSWORD, PostgresServer};
use lattice_tests::{
    Client, Lattice, Load, get,
    lattice::{SETTLE, image},
    load::failures,
    places::{free_address, nats_py, repository},
    request,
};
use serde_json::{Value, json};

fn folders(below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(below)).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn every_example_runs_and_answers() {
    let postgres = PostgresServer::start().unwrap();
    let lattice = Lattice::start_with_programs(2, &["a", "b"], NatsServer::start);
    let mut ran = 0;
    for manifest in folders("examples").into_iter().map(|folder| folder.join("app.yaml")).filter(|path| path.exists()) {
        let name = manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&manifest).unwrap();
        let address = free_address();
        let (example, file) = ("127.0.0.1:8080", format!("./{name}.wasm"));
        assert!(text.contains(example) && text.contains(&file), "{} names neither", manifest.display());
        let here = manifest.parent().unwrap().display().to_string();
        let text = text.replace(example, &address.to_string()).replace(&file, &image(&name));
        // What is relative to the example's folder; and Python's NATS client, which a user would have installed.
        let text = text.replace("/tmp/lattice-files", &lattice.dir().join("files").display().to_string());
        let text = text.replace(": ../", &format!(": {here}/../")).replace(": ./wit", &format!(": {here}/wit"));
        let python = format!("serves: [acme:ledger/book@1.0.0]\n      env: {{ PYTHONPATH: {} }}", nats_py().display());
        let text = text.replace("postgres://guest:guest@127.0.0.1:5432/guestbook", &postgres.url());
        let said = lattice.apply(&text.replace("serves: [acme:ledger/book@1.0.0]", &python));
        assert!(said.contains(&format!("at http://{address}/")), "{said}");
        assert_eq!(get(address, "/").unwrap().status, 200, "{name}");
        if name == "python" {
            // Here, because its interpreter is compiled for half a minute.
            the_list_in_python(address);
        }
        ran += 1;
    }
    assert!(ran >= 3, "{ran} examples");
}

fn the_list_in_python(address: SocketAddr) {
    let ask = |method: &str, path: &str, body: &str| -> (u16, Value) {
        let response = request(address, method, path, body.as_bytes()).unwrap();
        assert_eq!(response.header("content-type"), Some("application/json"));
        (response.status, serde_json::from_slice(&response.body).unwrap())
    };
    let item = |number: u32, text: &str| json!({ "number": number, "text": text });
    assert_eq!(ask("GET", "/", ""), (200, json!([])));
    assert_eq!(ask("POST", "/", r#"{"text": "buy milk"}"#), (201, item(1, "buy milk")));
    assert_eq!(
        ask("POST", "/", r#"{"text": "say \"hello\" to J\u00fcrgen"}"#),
        (201, item(2, "say \"hello\" to J\u{fc}rgen"))
    );
    assert_eq!(ask("DELETE", "/1", ""), (200, json!([item(2, "say \"hello\" to J\u{fc}rgen")])));
    assert_eq!(ask("DELETE", "/1", ""), (404, json!({ "error": "there is no 1" })));
    for (wrong, status) in [("", 400), ("text", 400), ("{}", 400), (r#"{"text": 1}"#, 400), ("[]", 400)] {
        assert_eq!(ask("POST", "/", wrong).0, status, "{wrong}");
    }
    assert_eq!(ask("POST", "/", &"x".repeat(20_000)), (400, json!({ "error": "at most 10000 bytes" })));
    assert_eq!(ask("POST", "/", r#"{"text": "sleep"}"#), (201, item(3, "sleep")));
    let (status, list) = ask("GET", "/", "");
    assert_eq!((status, list[0]["number"].as_u64(), list[1]["text"].as_str()), (200, Some(2), Some("sleep")));
}

/// Sends a URL to be shortened; gives what its short path is.
fn shorten(address: SocketAddr, url: &str) -> String {
    let made = request(address, "POST", "/", url.as_bytes()).unwrap();
    let path = made.header("location").unwrap_or_default().to_owned();
    assert_eq!((made.status, made.text()), (201, format!("{path}\n")), "{url}");
    path
}

fn visit(address: SocketAddr, path: &str, url: &str) {
    let led = get(address, path).unwrap();
    assert_eq!((led.status, led.header("location")), (302, Some(url)), "{path}");
}

fn visits(address: SocketAddr, path: &str, url: &str, count: usize) {
    let shown = get(address, &format!("{path}+")).unwrap();
    assert_eq!((shown.status, shown.text()), (200, format!("{url}\nvisits: {count}\n")), "{path}");
}

#[test]
fn short_links_are_followed_and_counted_and_their_store_is_swapped_while_they_are_made() {
    let folder = repository().join("examples/url-shortener");
    let text = fs::read_to_string(folder.join("app.yaml")).unwrap();
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    // The lines that the README tells to change.
    let stores = ["links: { use: keyvalue-memory }", "links: { use: keyvalue-redb }"];
    assert!(stores.iter().all(|line| readme.contains(&format!("\n    {line}\n"))));
    assert!(text.contains(&format!("\n    {}\n", stores[0])));
    let (lattice, address) = (Lattice::start(1), free_address());
    let text = text.replace("127.0.0.1:8080", &address.to_string());
    let text = text.replace("./url-shortener.wasm", &image("url-shortener"));
    lattice.apply(&text);
    let component = lattice.status("url-shortener").what("shortener");
    what_is_no_url_or_no_code(address);
    let load = Load::of(address, 8, 201, |client| client.send("POST", "/", &[], b"https://example.com/under/load"));
    let url = "https://example.com/a?b=c&d=%20#e";
    let mut kept: Option<String> = None;
    // Back and forth: what the second one knew it still knows, and the first one has forgotten all.
    for store in [stores[0], stores[1], stores[0], stores[1]] {
        lattice.apply(&text.replacen(stores[0], store, 1));
        if let (Some(kept), true) = (&kept, store == stores[1]) {
            visits(address, kept, url, 2);
        }
        let path = shorten(address, url);
        visits(address, &path, url, 0);
        visit(address, &path, url);
        visit(address, &path, url);
        visits(address, &path, url, 2);
        kept = (store == stores[1]).then_some(path).or(kept);
        load.wait_for(100);
    }
    let answers = load.finish();
    assert_eq!(failures(&answers), [], "of {} requests", answers.len());
    assert_eq!(lattice.status("url-shortener").what("shortener"), component, "the component stays as it is");

    let path = shorten(address, url);
    let load = Load::of(address, 8, 302, {
        let path = path.clone();
        move |client| client.get(&path)
    });
    load.wait_for(200);
    let answers = load.finish();
    assert_eq!(failures(&answers), []);
    visits(address, &path, url, answers.len());
}

fn what_is_no_url_or_no_code(address: SocketAddr) {
    let with_length = |length: usize| format!("https://example.com/{}", "x".repeat(length - 20));
    let (longest, too_long, far_too_long) = (with_length(2000), with_length(2001), with_length(3_000_000));
    for wrong in [
        "",
        "example.com",
        "ftp://example.com/",
        "javascript:alert(1)",
        "http://",
        "https:///path",
        "http://?query",
        "http://a b/",
        "http://a/\r\nset-cookie: b",
        "http://\u{e4}.example/",
        too_long.as_str(),
        far_too_long.as_str(),
    ] {
        let refused = request(address, "POST", "/", wrong.as_bytes()).unwrap();
        assert_eq!((refused.status, refused.header("location")), (400, None), "{:.40}", wrong);
    }
    for right in [longest.as_str(), "HTTP://EXAMPLE.COM", "http://[::1]:8080/"] {
        visit(address, &shorten(address, &format!("{right}\n")), right);
    }
    for unknown in ["/zzz", "/zzz+", "/+", "/given", "/A", "/1/2", "/.1", "/%31"] {
        assert_eq!(get(address, unknown).unwrap().status, 404, "{unknown}");
    }
    assert_eq!(request(address, "PUT", "/1", b"http://a/").unwrap().status, 405);
}

/// The guest book with the database's provider here or there, in the host or beside it.
fn guestbook(address: SocketAddr, postgres: &PostgresServer, db: &str) -> String {
    let text = fs::read_to_string(repository().join("examples/guestbook/app.yaml")).unwrap();
    let here = "placement: { require: { zone: [a] } }";
    text.replace("127.0.0.1:8080", &address.to_string())
        .replace("image: ./guestbook.wasm", &format!("{here}\n      image: {}", image("guestbook")))
        .replace("use: http-server", &format!("{here}\n      use: http-server"))
        .replace("use: postgres", &format!("use: postgres\n      {db}"))
        .replace("postgres://guest:guest@127.0.0.1:5432/guestbook", &postgres.url())
}

#[test]
fn the_guestbook_keeps_what_is_written_as_it_is() {
    let mut postgres = PostgresServer::start().unwrap();
    let lattice = Lattice::start(2);
    let address = free_address();
    let evil = "Robert'); DROP TABLE guestbook;--";
    let mut written = 0;
    for isolate in ["host", "process"] {
        for zone in ["a", "b"] {
            let db = format!("isolate: {isolate}\n      placement: {{ require: {{ zone: [{zone}] }} }}");
            lattice.apply(&guestbook(address, &postgres, &db));
            let mut client = Client::connect(address).unwrap();
            for entry in ["hello", evil] {
                written += 1;
                let response = client.send("POST", "/Robert%27--", &[], entry.as_bytes()).unwrap();
                assert_eq!((response.status, response.text()), (201, format!("{written}\n")), "{isolate}, zone {zone}");
            }
            let shown = client.get("/Robert%27--").unwrap().text();
            assert!(shown.starts_with(&format!("Robert'--: {evil}\nRobert'--: hello\n")), "{shown}");
            assert_eq!(client.get("/nobody").unwrap().text(), "nobody was here yet\n");
        }
    }
    // The last one is a process on the other host.
    postgres.stop();
    let why = format!("cannot reach postgres://127.0.0.1:{}: Connection refused", postgres.port());
    lattice.wait("the database's absence in the status", SETTLE, || {
        let status = lattice.ctl(&["status", "guestbook"]).all();
        assert!(!status.contains(POSTGRES_PASSWORD), "{status}");
        status.contains(&why).then_some(())
    });
    let response = get(address, "/").unwrap();
    assert_eq!((response.status, response.text()), (503, format!("{why}\n")));
    postgres.restart().unwrap();
    lattice.wait_ready("guestbook");
    let again = || get(address, "/").ok().filter(|response| response.status == 200);
    let shown = lattice.wait("the guest book again", SETTLE, again).text();
    assert_eq!(shown.lines().count(), written);
}

#[test]
fn every_guest_is_used_by_a_test() {
    let tests = fs::read_dir(repository().join("tests/tests")).unwrap();
    let files = tests.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let text: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    for guest in folders("tests/guests") {
        let name = guest.file_name().unwrap().to_str().unwrap().to_owned();
        // What the guests share, and where they are built.
        if !["http", "target"].contains(&name.as_str()) {
            assert!(text.contains(&format!("\"{name}\"")), "no test uses the guest {name}");
        }
    }
}
