//! The dashboard, in a real browser.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use lattice_tests::{
    Client, Lattice, Load,
    browser::Browser,
    get,
    lattice::{SETTLE, head, image},
    places::free_address,
};
use serde_json::Value;

/// `lattice-ctl ui`, until it is dropped.
struct Ui {
    process: Child,
    /// With its key.
    url: String,
}

impl Ui {
    fn start(lattice: &Lattice, args: &[&str]) -> Self {
        let mut command = lattice.command(&[&["ui"], args].concat());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim_end().to_owned() }
    }

    fn address(&self) -> SocketAddr {
        self.url.split('/').nth(2).unwrap().parse().unwrap()
    }

    /// What a browser keeps that has the key.
    fn cookie(&self) -> String {
        let response = get(self.address(), &format!("/?{}", self.url.split_once('?').unwrap().1)).unwrap();
        assert_eq!((response.status, response.header("location")), (303, Some("/")));
        let cookie = response.header("set-cookie").unwrap().to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A page on one host, and its counter and store on another.
fn app(address: SocketAddr) -> String {
    format!(
        "{}  components:\n    page: {{ image: {}, links: {{ wasi:keyvalue: cache }}, placement: {{ require: {{ zone: [a] }} }} }}\n    clerk: {{ image: {} }}\n  providers:\n    \
         web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: page, /log: clerk }}, placement: {{ require: \
         {{ zone: [a] }} }} }}\n    cache: {{ use: keyvalue-memory, placement: {{ require: {{ zone: [b] }} }} }}\n",
        head("shop"),
        image("counter"),
        image("settings"),
    )
}

#[test]
fn the_page_shows_the_lattice_as_it_is_and_changes_it_where_it_may() {
    // The one that stays plans: it is the one that tells who is lost.
    let mut lattice = Lattice::start_with(2, |host| {
        if host.zone == "b" {
            host.arguments = vec!["--no-control".to_owned()];
        }
    });
    let address = free_address();
    lattice.apply(&app(address));
    let ui = Ui::start(&lattice, &["--allow-changes"]);
    let mut browser = Browser::start();
    browser.shape(1280, 900, false);
    browser.open(&ui.url);
    // What there is, and that it is well.
    for unit in ["page", "clerk", "web", "cache"] {
        browser.wait(&format!("document.querySelector('[data-unit=\"shop/{unit}\"][data-state=ready]')"));
    }
    assert_eq!(browser.get("document.querySelectorAll('#hosts [data-host]').length"), 2);
    assert_eq!(browser.get("location.search"), "", "the key is not in the address any more");
    // Calls over NATS stand at their link, while there are some.
    let load = Load::start(address, "/", 2);
    browser
        .wait("/[1-9][0-9.]*\\/s/.test(document.querySelector('[data-label=\"shop/page>shop/cache\"]').textContent)");
    drop(load.finish());

    // A unit, by the keyboard: its log as it comes, and why it is where it is.
    browser.get("document.querySelector('[data-unit=\"shop/clerk\"]').focus()");
    browser.press("Enter");
    browser.wait("location.hash === '#/shop/clerk' && document.querySelector('#detail').checkVisibility()");
    assert_eq!(lattice_tests::request(address, "POST", "/log/warn", b"a word <b>for</b> the log").unwrap().status, 200);
    browser.wait("document.querySelector('#detail-log').textContent.includes('a word <b>for</b> the log')");
    browser.wait("/it was there|best place/.test(document.querySelector('#detail').textContent)");
    browser.screenshot("dashboard-unit");
    browser.press("Escape");
    browser.wait("!document.querySelector('#detail').checkVisibility()");
    assert_eq!(browser.get("document.activeElement.dataset.unit"), "shop/clerk", "the focus is where it was");

    // It is changed as the command line does it, and asked before.
    browser.click("[data-unit=\"shop/clerk\"]");
    browser.wait("document.querySelector('#detail [data-do=scale]')");
    browser.get("document.querySelector('#detail input[type=number]').value = 2");
    browser.click("#detail [data-do=scale]");
    browser.click("[data-do=confirm]");
    browser.wait("document.querySelector('#said').textContent.includes('revision 2')");
    lattice.wait("two copies", SETTLE, || (lattice.status("shop").instances("clerk").len() == 2).then_some(()));
    browser.wait("document.querySelector('#events').textContent.includes('app.applied')");

    // A host that dies is seen, and what it ran moves.
    let victim = lattice.host("b").id();
    lattice.host("b").kill();
    browser.wait(&format!("document.querySelector('#hosts [data-host=\"{victim}\"]').textContent.includes('lost')"));
    browser.wait("document.querySelector('[data-unit=\"shop/cache\"]').dataset.state !== 'ready'");
    browser.wait("document.querySelector('#events [data-event=\"host.lost\"]')");
    browser.screenshot("dashboard-lost-host");

    // On a phone, by night: nothing sticks out of the page.
    browser.shape(320, 640, true);
    assert_eq!(browser.get("document.documentElement.scrollWidth <= 320"), true);
    browser.screenshot("dashboard-phone");
    browser.shape(1280, 900, true);
    browser.screenshot("dashboard-night");

    // The program ends: the page says so, and goes on showing what it knew.
    drop(ui);
    browser.wait("!document.querySelector('#banner').hidden");
    browser.wait("document.querySelector('[data-unit=\"shop/page\"]')");
    browser.complaints.retain(|complaint| !complaint.contains("ERR_CONNECTION") && !complaint.contains("ERR_EMPTY"));
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[test]
fn only_who_has_the_key_sees_anything_and_without_leave_nothing_is_changed() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {}, secrets: {{}} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: page }} }}\n",
        head("shop"),
        image("trap"),
    ));
    let ui = Ui::start(&lattice, &[]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        Client::connect(ui.address()).unwrap().send(method, path, headers, body.as_bytes()).unwrap()
    };
    for path in ["/", "/app.js", "/api/picture", "/?key=wrong", "/api/picture?key=", "/api/log"] {
        let refused = ask("GET", path, &[("cookie", "lattice-ui-x=y")], "");
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.text().contains("the address that `lattice-ctl ui` has printed"), "{}", refused.text());
    }
    let cookie = ui.cookie();
    let with = [("cookie", cookie.as_str())];
    let json = |path: &str| -> Value { serde_json::from_str(&ask("GET", path, &with, "").text()).unwrap() };
    let page = ask("GET", "/", &with, "");
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let picture = json("/api/picture");
    assert_eq!((&picture["changes"], &picture["apps"][0]["status"]["ready"]), (&false.into(), &true.into()));
    assert_eq!(picture["apps"][0]["scalable"].as_array().unwrap().len(), 2);
    assert_eq!(json("/api/unit?app=shop&unit=page")["why"]["ready"], 1);
    // The log goes on where it has ended.
    let first = json("/api/log?app=shop&unit=page");
    assert!(!first["lines"].as_array().unwrap().is_empty(), "{first}");
    let cursor = first["cursor"].as_str().unwrap();
    let encoded: String = cursor.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(json(&format!("/api/log?app=shop&unit=page&cursor={encoded}"))["lines"], Value::Array(Vec::new()));
    // What cannot be is said with its reason.
    for (path, status, words) in [
        ("/api/unit?app=shp&unit=page", 404, "did you mean `shop`?"),
        ("/api/unit?app=shop&unit=pag", 404, "did you mean `page`?"),
        ("/api/unit?app=shop", 400, "does not say `unit`"),
        ("/api/log?cursor=nonsense", 400, "cursor: "),
        ("/api/log?app=Not+An+App", 400, "app: "),
    ] {
        let answer = ask("GET", path, &with, "");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert!(answer.text().contains(words), "{path}: {}", answer.text());
    }
    assert_eq!(ask("GET", "/../Cargo.toml", &with, "").status, 404);
    assert_eq!(ask("DELETE", "/", &with, "").status, 405);
    let change = r#"{"do":"scale","app":"shop","unit":"page","replicas":0}"#;
    let as_json = [with[0], ("content-type", "application/json")];
    let refused = ask("POST", "/api/do", &as_json, change);
    assert!(refused.status == 400 && refused.text().contains("--allow-changes"), "{}", refused.text());
    assert_eq!(lattice.status("shop").of_revision("page", 1), 1);

    // With leave, what is no change is refused, and so is one that another page could have sent.
    let ui = Ui::start(&lattice, &["--allow-changes"]);
    let cookie = ui.cookie();
    let send = |kind: &str, body: &str| {
        let headers = [("cookie", cookie.as_str()), ("content-type", kind)];
        Client::connect(ui.address()).unwrap().send("POST", "/api/do", &headers, body.as_bytes()).unwrap()
    };
    assert_eq!(send("text/plain", change).status, 400);
    assert_eq!(send("application/json", "{\"do\":\"delete\",\"app\":\"shop\"}").status, 400);
    let done = send("application/json", r#"{"do":"pause","app":"shop"}"#);
    assert!(done.status == 400 && done.text().contains("has run everywhere already"), "{}", done.text());
}

#[test]
fn a_host_shows_it_beside_its_metrics_to_those_who_have_the_key() {
    let (admin, folder) = (free_address(), tempfile::tempdir().unwrap());
    let file = folder.path().join("dashboard.key");
    let mut lattice = Lattice::start_with(2, |host| {
        if host.zone == "a" {
            host.arguments = vec!["--admin".to_owned(), admin.to_string()];
            host.arguments.extend(["--dashboard".to_owned(), file.display().to_string()]);
        }
    });
    lattice.apply(&app(free_address()));
    let key = std::fs::read_to_string(&file).unwrap();
    let key = key.trim();
    // The machine's own tools need none.
    assert_eq!(get(admin, "/readyz").unwrap().status, 200);
    assert!(get(admin, "/metrics").unwrap().text().contains("lattice_host_info"));
    for path in ["/", "/app.js", "/api/picture", "/?key=wrong", "/livez/../api/log"] {
        let refused = get(admin, path).unwrap();
        assert!(refused.status == 403 && refused.text().contains("--dashboard"), "{path}: {}", refused.text());
    }
    let mut browser = Browser::start();
    browser.shape(1280, 900, false);
    browser.open(&format!("http://{admin}/?key={key}"));
    for unit in ["page", "clerk", "web", "cache"] {
        browser.wait(&format!("document.querySelector('[data-unit=\"shop/{unit}\"][data-state=ready]')"));
    }
    assert_eq!(browser.get("document.querySelectorAll('#hosts [data-host]').length"), 2);
    // What other hosts know is there as well.
    let (there, here) = (lattice.host("b").id(), lattice.host("a").id());
    browser.click("[data-unit=\"shop/cache\"]");
    browser.wait(&format!("document.querySelector('#detail').textContent.includes('{}')", &there[..8]));
    assert_eq!(browser.get("document.querySelector('#detail [data-do=scale]')"), Value::Null, "nothing can be changed");
    let change = r#"{"do":"cordon","host":"HOST"}"#.replace("HOST", &here);
    let cookie = format!("lattice-ui-{}={key}", &key[..8]);
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    let refused = Client::connect(admin).unwrap().send("POST", "/api/do", &headers, change.as_bytes()).unwrap();
    assert!(refused.status == 400 && refused.text().contains("this page changes nothing"), "{}", refused.text());

    // Without NATS it shows what it knew, and says that it is old.
    lattice.nats.stop();
    browser.wait("document.querySelector('#notes').textContent.includes('NATS cannot be reached')");
    browser.wait("document.querySelector('[data-unit=\"shop/page\"]')");
    lattice.nats.restart().unwrap();
    browser.wait("!document.querySelector('#notes').textContent.includes('NATS cannot be reached')");
    browser.complaints.retain(|complaint| !complaint.contains("Failed to load resource"));
    assert_eq!(browser.complaints, Vec::<String>::new());
}
