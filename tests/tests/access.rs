//! What provider processes may do in NATS where their host makes a user for each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{ConnectOptions, Event};
use lattice_tests::{
    Lattice, get,
    lattice::{head, image},
    operator::Operator,
    places::{free_address, program, repository},
    request,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);

/// One host that makes users, and a CLI that may do anything.
fn start(folder: &Path) -> Lattice {
    let operator = Operator::start(folder).unwrap();
    let Operator { nats, signing_key, creds } = operator;
    let arguments = ["--nats-creds", &creds, "--nats-signing-key", &signing_key].map(str::to_owned);
    let mut lattice = Lattice::start_on_with(
        1,
        || Ok(nats),
        |host| {
            host.arguments = arguments.to_vec();
            host.programs = true;
        },
    );
    lattice.variables = vec![("NATS_CREDS".to_owned(), creds)];
    lattice
}

/// Where the credentials of running processes are.
fn credentials(lattice: &Lattice) -> Vec<PathBuf> {
    let folder = lattice.hosts[0].data().join("credentials");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn providers_do_their_work_with_the_rights_that_they_need() {
    let folder = tempfile::tempdir().unwrap();
    let lattice = start(folder.path());
    let (numbers, files) = (free_address(), free_address());
    let own = program("lattice-provider-keyvalue-memory");
    for cache in [
        "{ use: keyvalue-nats, isolate: process }".to_owned(),
        "{ use: keyvalue-memory, isolate: process }".to_owned(),
        format!("{{ image: {}, serves: [lattice:keyvalue/store@0.1.0] }}", own.display()),
    ] {
        println!("{cache}");
        lattice.apply(&format!(
            "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    web: {{ use: http-server, \
             config: {{ address: \"{numbers}\" }}, routes: {{ /: counter }} }}\n    cache: {cache}\n",
            head("numbers"),
            image("counter"),
        ));
        for n in 1..=3 {
            assert_eq!(get(numbers, "/hits").unwrap().text().trim(), n.to_string(), "{cache}");
        }
    }
    for (store, root) in [("blob-nats", ""), ("blob-fs", ", config: { root: ROOT }")] {
        println!("{store}");
        let root = root.replace("ROOT", &folder.path().join("files").display().to_string());
        fs::create_dir_all(folder.path().join("files")).unwrap();
        lattice.apply(&format!(
            "{}  components:\n    files: {{ image: {}, limits: {{ timeout: 60s }}, links: {{ wasi:blobstore: store }} }}\n  providers:\n    \
             web: {{ use: http-server, config: {{ address: \"{files}\" }}, routes: {{ /: files }} }}\n    store: {{ use: {store}, isolate: \
             process{root} }}\n",
            head("files"),
            image("files"),
        ));
        // Larger than a message: it is a stream between two processes.
        let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(request(files, "PUT", "/large", &large).unwrap().status, 204);
        assert!(get(files, "/large").unwrap().body == large, "what came back is something else");
    }
    let found = credentials(&lattice);
    assert_eq!(found.len(), 2, "{found:?}");
    for file in &found {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    for app in ["numbers", "files"] {
        assert_eq!(lattice.ctl(&["delete", app]).code, Some(0));
    }
    lattice.wait("no credentials are left", SOON, || credentials(&lattice).is_empty().then_some(()));
}

/// What NATS says to a user who does this with these credentials.
async fn told<F: Future<Output = ()>>(
    url: &str,
    creds: &Path,
    work: impl FnOnce(async_nats::Client) -> F,
) -> Vec<String> {
    let said = Arc::<Mutex<Vec<String>>>::default();
    let hear = said.clone();
    let options = ConnectOptions::with_credentials_file(creds).await.unwrap().event_callback(move |event| {
        if let Event::ServerError(error) = event {
            hear.lock().unwrap().push(error.to_string());
        }
        async {}
    });
    let client = options.connect(url).await.unwrap();
    work(client.clone()).await;
    client.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::mem::take(&mut *said.lock().unwrap())
}

#[test]
fn a_program_hears_and_says_nothing_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let lattice = start(folder.path());
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    front: {{ image: {}, links: {{ acme:ledger/book: ledger }} }}\n  providers:\n    web: {{ use: http-server, \
         config: {{ address: \"{address}\" }}, routes: {{ /: front }} }}\n    ledger: {{ image: {}, serves: [acme:ledger/book@1.0.0], config: {{ currency: EUR }}, wit: {} }}\n",
        head("books"),
        image("bookkeeper"),
        program("ledger-provider").display(),
        repository().join("examples/ledger/wit").display(),
    ));
    assert_eq!(get(address, "/post?account=ann&amount=100").unwrap().text().trim(), "Ok(1)");
    let creds = credentials(&lattice).pop().unwrap();
    let url = lattice.nats.url();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let refused = |work: &'static str, subject: &'static str| {
        let said = runtime.block_on(told(&url, &creds, async |client| match work {
            "publish" => client.publish(subject, "x".into()).await.unwrap(),
            _ => drop(client.subscribe(subject).await.unwrap()),
        }));
        said.iter().any(|text| text.contains("Permissions Violation") || text.contains("permissions violation"))
    };
    for subject in [
        "lattice.default.call.books.front.x.wasi:http/incoming-handler",
        "$JS.API.STREAM.INFO.KV_lattice-default",
        "$KV.lattice-default.apps.books",
        "anything",
    ] {
        assert!(refused("publish", subject), "{subject}");
    }
    for subject in [">", "lattice.>", "lattice.default.call.books.front.>", "lattice.default.stream.*.*", "_INBOX.>"] {
        assert!(refused("subscribe", subject), "{subject}");
    }
    // Which these credentials show: what it needs is not refused.
    assert!(!refused("publish", "_INBOX.somebody.1") && !refused("publish", "lattice.default.reply.x.1"));
    // And it goes on.
    assert_eq!(get(address, "/post?account=ann&amount=1").unwrap().text().trim(), "Ok(2)");
    let listed: Value = serde_json::from_str(&lattice.ctl(&["get", "providers", "-o", "json"]).stdout).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|provider| provider["unit"] == "ledger"), "{listed}");
}

#[test]
fn a_key_that_is_none_ends_the_host_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::start(folder.path()).unwrap();
    let bad = folder.path().join("bad.nk");
    fs::write(&bad, "hello").unwrap();
    let mut host = lattice_tests::host::Host::new(folder.path(), "a", &operator.nats.url());
    for (arguments, reason) in [
        (
            vec!["--nats-creds", &operator.creds, "--nats-signing-key", bad.to_str().unwrap()],
            "has no seed of an account's key",
        ),
        (vec!["--nats-signing-key", &operator.signing_key], "--nats-creds"),
    ] {
        host.arguments = arguments.into_iter().map(str::to_owned).collect();
        let output = host.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{said}");
    }
}
