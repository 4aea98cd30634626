//! wasi:blobstore through components, on several backends, near and far.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    io::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use lattice_tests::{
    Client, Lattice,
    lattice::{head, image},
    places::free_address,
    request,
};

/// The listener and the component in zone a; `store` is the rest of the provider.
fn app(guest: &str, address: SocketAddr, store: &str) -> String {
    let here = "placement: { require: { zone: [a] } }";
    format!(
        "{}  components:\n    {guest}: {{ image: {}, limits: {{ timeout: 60s }}, links: {{ wasi:blobstore: store }}, {here} \
         }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\", maxBody: 1GiB }}, routes: {{ /: \
         {guest} }}, {here} }}\n    store: {{ {store} }}\n",
        head(guest),
        image(guest)
    )
}

/// Asks, and gives status and text.
fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let response = request(address, method, path, b"").unwrap();
    (response.status, response.text())
}

/// What the guest writes and what it leaves unfinished.
fn all_functions(address: SocketAddr) {
    assert_eq!(ask(address, "GET", "/all"), (200, String::new()));
    for size in [0, 1000, 3_000_000] {
        assert_eq!(ask(address, "POST", &format!("/cut/o?size={size}")), (204, String::new()));
        assert_eq!(ask(address, "GET", "/pieces/o"), (500, "no such object".to_owned()));
    }
    let (status, taken) = ask(address, "POST", "/early?size=100000000");
    let taken: u64 = taken.parse().unwrap();
    assert!(status == 200 && (500_000..=1_100_000).contains(&taken), "{status}: {taken} bytes were taken");
}

/// The backend in each of four places: in the component's host, on the other one, and each as a process of its own.
fn everywhere(backend: &str) {
    let lattice = Lattice::start(2);
    for isolate in ["host", "process"] {
        for zone in ["a", "b"] {
            println!("isolate: {isolate}, zone {zone}");
            let address = free_address();
            let store = format!("{backend}, isolate: {isolate}, placement: {{ require: {{ zone: [{zone}] }} }}");
            lattice.apply(&app("blob", address, &store));
            all_functions(address);
            assert_eq!(lattice.ctl(&["delete", "blob"]).code, Some(0));
        }
    }
}

fn fs(root: &Path) -> String {
    format!("use: blob-fs, config: {{ root: \"{}\" }}", root.display())
}

#[test]
fn files_serve_every_function_in_each_place() {
    let root = tempfile::tempdir().unwrap();
    everywhere(&fs(root.path()));
}

#[test]
fn memory_serves_every_function_in_each_place() {
    everywhere("use: blob-memory");
}

#[test]
fn files_are_dropped_and_got_and_the_store_is_swapped_under_the_component() {
    let (lattice, address, root) = (Lattice::start(2), free_address(), tempfile::tempdir().unwrap());
    let other = "placement: { require: { zone: [b] } }";
    let large: Vec<u8> = (0..20_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let stores = [
        fs(root.path()),
        format!("use: blob-memory, {other}"),
        format!("{}, isolate: process, {other}", fs(root.path())),
    ];
    for (round, store) in stores.iter().enumerate() {
        println!("{store}");
        lattice.apply(&app("files", address, store));
        if round == 2 {
            // What the first store had is still there.
            assert_eq!(ask(address, "GET", "/"), (200, "a b/c\nlarge\n".to_owned()));
        }
        assert_eq!(ask(address, "GET", "/none"), (404, "no such object\n".to_owned()));
        assert_eq!(request(address, "PUT", "/a%20b/c", b"small").unwrap().status, 204);
        assert_eq!(request(address, "PUT", "/large", &large).unwrap().status, 204);
        assert_eq!(ask(address, "GET", "/a%20b/c"), (200, "small".to_owned()));
        let got = request(address, "GET", "/large", b"").unwrap();
        assert_eq!(got.header("content-length"), Some("20000000"));
        assert!(got.body == large, "what came back is something else");
        assert_eq!(ask(address, "GET", "/"), (200, "a b/c\nlarge\n".to_owned()));
        assert_eq!(ask(address, "PUT", "/a/../b").0, 400);
        cut(address);
        assert_eq!(ask(address, "GET", "/cut"), (404, "no such object\n".to_owned()));
    }
    assert_eq!(std::fs::read(root.path().join("files/large")).unwrap(), large);
    assert_eq!(ask(address, "DELETE", "/large"), (204, String::new()));
    assert_eq!(ask(address, "GET", "/"), (200, "a b/c\n".to_owned()));
    nothing_is_left(&root.path().join(".lattice"));
}

/// An upload whose client goes away in the middle.
fn cut(address: SocketAddr) {
    let client = Client::connect(address).unwrap();
    let mut writer = client.writer().unwrap();
    write!(writer, "PUT /cut HTTP/1.1\r\nhost: h\r\ncontent-length: 5000000\r\n\r\n").unwrap();
    writer.write_all(&vec![1; 3_000_000]).unwrap();
    drop((writer, client));
}

/// What was not finished goes soon.
fn nothing_is_left(folder: &Path) {
    let began = Instant::now();
    while std::fs::read_dir(folder).unwrap().count() > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            std::fs::read_dir(folder).unwrap().collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
