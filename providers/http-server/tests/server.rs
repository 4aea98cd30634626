//! The server as clients meet it, with a handler of the test's own behind it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lattice::wire::CallError;
use lattice_provider::{
    async_trait,
    http::{Body, HttpHandler},
};
use lattice_provider_http_server::{Config, HttpServers, ListenError, Listening};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

/// Says who it is, and what it was asked.
struct Echo(&'static str);

#[async_trait]
impl HttpHandler for Echo {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let header = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        let said = json!({
            "who": self.0,
            "method": parts.method.as_str(),
            "uri": parts.uri.to_string(),
            "for": header("x-forwarded-for"),
            "proto": header("x-forwarded-proto"),
            "body": body.collect().await.map_or(0, |body| body.to_bytes().len()),
        });
        Ok(Response::new(Bytes::from(said.to_string()).into()))
    }
}

async fn listen(
    servers: &HttpServers,
    owner: &str,
    config: serde_json::Value,
    routes: &[(&str, &'static str)],
) -> Result<Listening, ListenError> {
    let config = Config::parse(config.as_object().unwrap()).unwrap();
    let route =
        |(pattern, who): &(&str, &'static str)| (pattern.parse().unwrap(), Arc::new(Echo(who)) as Arc<dyn HttpHandler>);
    servers.add(owner.parse().unwrap(), None, &config, routes.iter().map(route).collect()).await
}

const ONE: &str = "0123456789abcdef";
const TWO: &str = "fedcba9876543210";

struct Answer {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn said(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

async fn read<B>(response: Response<B>) -> Answer
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, version: parts.version, headers: parts.headers, body }
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Empty::new()).unwrap()
}

/// One request in HTTP/1.1; the host name is a header.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request(method, path, headers)).await.unwrap()).await
}

#[tokio::test]
async fn routes_are_chosen_by_host_path_and_method() {
    let servers = HttpServers::default();
    let routes = [
        ("/", "all"),
        ("GET /items", "readers"),
        ("POST /items", "writers"),
        ("*.example.com/", "tenants"),
        ("shop.example.com/", "shop"),
    ];
    let listening = listen(&servers, ONE, json!({ "address": "127.0.0.1:0" }), &routes).await.unwrap();
    let who = async |method, host, path| {
        let answer = ask(listening.address, method, path, &[("host", host)]).await;
        (
            answer.status.as_u16(),
            serde_json::from_slice(&answer.body).map_or("-".into(), |v: serde_json::Value| v["who"].clone()),
        )
    };
    assert_eq!(who("GET", "a", "/items").await, (200, json!("readers")));
    assert_eq!(who("POST", "a", "/items/3").await, (200, json!("writers")));
    // Nobody names the method, and `/` takes any.
    assert_eq!(who("DELETE", "a", "/items").await, (200, json!("all")));
    assert_eq!(who("GET", "shop.example.com:8080", "/items").await, (200, json!("shop")));
    assert_eq!(who("GET", "Blue.Shop.Example.com", "/").await, (200, json!("tenants")));
    assert_eq!(who("GET", "example.com", "/").await, (200, json!("all")));
    listening.close(Duration::ZERO).await;

    let routes = [("GET /items", "readers"), ("PUT /items", "writers")];
    let listening = listen(&servers, ONE, json!({ "address": "127.0.0.1:0" }), &routes).await.unwrap();
    let answer = ask(listening.address, "DELETE", "/items", &[("host", "a")]).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["allow"]), (405, &"GET, PUT".parse().unwrap()));
    assert_eq!(ask(listening.address, "GET", "/other", &[("host", "a")]).await.status, 404);
}

#[tokio::test]
async fn what_takes_over_a_connection_is_refused_in_words() {
    let servers = HttpServers::default();
    let listening = listen(&servers, ONE, json!({ "address": "127.0.0.1:0" }), &[("/", "all")]).await.unwrap();
    let headers = [("host", "a"), ("connection", "upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-version", "13")];
    let answer = ask(listening.address, "GET", "/", &headers).await;
    assert_eq!(answer.status, 501);
    assert!(std::str::from_utf8(&answer.body).unwrap().contains("no WebSocket"));
    // Whoever offers HTTP/2 in this way goes on without it.
    let headers =
        [("host", "a"), ("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "")];
    assert_eq!(ask(listening.address, "GET", "/", &headers).await.status, 200);
}

#[tokio::test]
async fn http2_is_spoken_without_tls_to_who_begins_with_it() {
    let servers = HttpServers::default();
    let listening = listen(&servers, ONE, json!({ "address": "127.0.0.1:0" }), &[("/", "all")]).await.unwrap();
    let connect = async || {
        let stream = TcpStream::connect(listening.address).await.unwrap();
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        (sender, tokio::spawn(connection))
    };
    let (mut sender, _running) = connect().await;
    // All of them at once, on one connection.
    let uri = |n| format!("http://shop.example.com/slow?{n}");
    let started = Instant::now();
    let many: Vec<_> = (0..20).map(|n| tokio::spawn(sender.send_request(request("GET", &uri(n), &[])))).collect();
    for (n, response) in many.into_iter().enumerate() {
        let answer = read(response.await.unwrap().unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.version), (200, Version::HTTP_2));
        assert_eq!(answer.said()["uri"], uri(n));
    }
    assert!(started.elapsed() < Duration::from_secs(3));

    // The beginning of HTTP/2 may come in pieces, and so may a method that begins as it does.
    let mut stream = TcpStream::connect(listening.address).await.unwrap();
    for piece in [&b"P"[..], b"R", b"OPFIND / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"] {
        stream.write_all(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("PROPFIND"), "{text}");

    // What is under way ends when the listener closes, and the connection with it.
    let (mut sender, running) = connect().await;
    let slow = tokio::spawn(sender.send_request(request("GET", &uri(0), &[])));
    tokio::time::sleep(Duration::from_millis(100)).await;
    listening.close(Duration::from_secs(5)).await;
    assert_eq!(slow.await.unwrap().unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn http2_can_be_left_out_and_an_idle_connection_ends() {
    let servers = HttpServers::default();
    let config = json!({ "address": "127.0.0.1:0", "http2": false });
    let listening = listen(&servers, ONE, config, &[("/", "all")]).await.unwrap();
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    assert!(sender.send_request(request("GET", "http://a/", &[])).await.is_err());

    let config = json!({ "address": "127.0.0.1:0", "headerTimeout": "200ms" });
    let listening = listen(&servers, TWO, config, &[("/", "all")]).await.unwrap();
    let stream = TcpStream::connect(listening.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    // A request that takes longer than the limit is none of an idle connection.
    assert_eq!(sender.send_request(request("GET", "http://a/slow", &[])).await.unwrap().status(), 200);
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_over_the_limit_is_turned_away_at_once() {
    let servers = HttpServers::default();
    let config = json!({ "address": "127.0.0.1:0", "maxConnections": 2 });
    let listening = listen(&servers, ONE, config, &[("/", "all")]).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(listening.address).await.unwrap());
    }
    // They count when they have been accepted.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut third = TcpStream::connect(listening.address).await.unwrap();
    let mut text = String::new();
    tokio::time::timeout(Duration::from_secs(2), third.read_to_string(&mut text)).await.unwrap().unwrap();
    assert!(text.starts_with("HTTP/1.1 503") && text.contains("as many clients"), "{text}");
    drop(held);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ask(listening.address, "GET", "/", &[("host", "a")]).await.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_get_what_the_settings_allow() {
    let servers = HttpServers::default();
    let config =
        json!({ "address": "127.0.0.1:0", "cors": { "origins": ["https://app.example"], "headers": ["x-key"] } });
    let listening = listen(&servers, ONE, config, &[("POST /items", "writers")]).await.unwrap();
    let address = listening.address;
    let asking = [("host", "a"), ("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let answer = ask(address, "OPTIONS", "/items", &asking).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(answer.headers["access-control-allow-headers"], "x-key");
    let answer = ask(address, "POST", "/items", &[("host", "a"), ("origin", "https://app.example")]).await;
    assert_eq!((answer.status.as_u16(), answer.said()["who"].clone()), (200, json!("writers")));
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example");
    let answer = ask(address, "POST", "/items", &[("host", "a"), ("origin", "https://evil.example")]).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn components_are_told_who_the_client_is() {
    let servers = HttpServers::default();
    let config = json!({ "address": "127.0.0.1:0", "forwarded": true });
    let listening = listen(&servers, ONE, config, &[("/", "all")]).await.unwrap();
    let answer = ask(listening.address, "GET", "/", &[("host", "a"), ("x-forwarded-for", "10.1.1.1")]).await.said();
    assert_eq!((&answer["for"], &answer["proto"]), (&json!("127.0.0.1"), &json!("http")));
    let listening = listen(&servers, TWO, json!({ "address": "127.0.0.1:0" }), &[("/", "all")]).await.unwrap();
    let answer = ask(listening.address, "GET", "/", &[("host", "a"), ("x-forwarded-for", "10.1.1.1")]).await.said();
    assert_eq!(answer["for"], "10.1.1.1", "nobody asked for it");
}

/// Writes a new certificate for `name` over the files, and returns it.
fn certify(dir: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()
}

fn files(dir: &Path) -> serde_json::Value {
    json!({ "cert": dir.join("cert.pem"), "key": dir.join("key.pem") })
}

async fn secured(
    address: SocketAddr,
    name: &'static str,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config =
        config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name).unwrap(), stream).await
}

#[tokio::test]
async fn tls_speaks_what_the_client_offers_and_shows_each_name_its_certificate() {
    let servers = HttpServers::default();
    let (shop, bank) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (shops, banks) = (certify(shop.path(), "shop.example"), certify(bank.path(), "bank.example"));
    let config = json!({ "address": "127.0.0.1:0", "tls": files(shop.path()) });
    let first = listen(&servers, ONE, config, &[("shop.example/", "shop")]).await.unwrap();
    // Two units share a listener by the address that they ask for. A secret is the text of a file.
    let text = |file: &str| std::fs::read_to_string(bank.path().join(file)).unwrap();
    let config = json!({ "address": "127.0.0.1:0", "tls": { "cert": text("cert.pem"), "key": text("key.pem") } });
    let second = listen(&servers, TWO, config, &[("bank.example/", "bank")]).await.unwrap();
    assert_eq!(first.address, second.address);

    let stream = secured(first.address, "shop.example", &shops, &["h2", "http/1.1"]).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(Bytes::from(vec![7; 300_000]));
    let post = Request::post("https://shop.example/x").body(body).unwrap();
    let answer = read(sender.send_request(post).await.unwrap()).await;
    assert_eq!(answer.version, Version::HTTP_2);
    let said = answer.said();
    assert_eq!((&said["who"], &said["uri"]), (&json!("shop"), &json!("https://shop.example/x")));
    assert_eq!(said["body"], 300_000);

    let stream = secured(first.address, "bank.example", &banks, &[]).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = read(sender.send_request(request("GET", "/", &[("host", "bank.example")])).await.unwrap()).await;
    assert_eq!((answer.version, answer.said()["who"].clone()), (Version::HTTP_11, json!("bank")));
    assert!(secured(first.address, "bank.example", &shops, &[]).await.is_err(), "another's certificate");

    // Who does not speak TLS disturbs nobody.
    let mut plain = TcpStream::connect(first.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), plain.read_to_end(&mut rest)).await.unwrap();
    assert!(!rest.starts_with(b"HTTP"));
    assert!(secured(first.address, "shop.example", &shops, &[]).await.is_ok());
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let servers = HttpServers::default();
    let dir = tempfile::tempdir().unwrap();
    let old = certify(dir.path(), "shop.example");
    let config = json!({ "address": "127.0.0.1:0", "tls": files(dir.path()) });
    let listening = listen(&servers, ONE, config, &[("/", "shop")]).await.unwrap();
    let shows = async |certificate: &CertificateDer<'static>| {
        secured(listening.address, "shop.example", certificate, &[]).await.is_ok()
    };
    assert!(shows(&old).await);
    std::fs::write(dir.path().join("cert.pem"), "half").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(shows(&old).await, "what cannot be read changes nothing");
    let new = certify(dir.path(), "shop.example");
    let started = Instant::now();
    while !shows(&new).await {
        assert!(started.elapsed() < Duration::from_secs(15), "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn files_that_make_no_certificate_are_named() {
    let servers = HttpServers::default();
    let dir = tempfile::tempdir().unwrap();
    let config = json!({ "address": "127.0.0.1:0", "tls": files(dir.path()) });
    let why = async || listen(&servers, ONE, config.clone(), &[("/", "shop")]).await.err().unwrap().to_string();
    let text = why().await;
    assert!(text.contains("cannot read") && text.contains("cert.pem"), "{text}");
    certify(dir.path(), "a.example");
    let key = std::fs::read(dir.path().join("key.pem")).unwrap();
    certify(dir.path(), "a.example");
    std::fs::write(dir.path().join("key.pem"), &key).unwrap();
    let text = why().await;
    assert!(text.contains("do not make a certificate with its key"), "{text}");
    std::fs::write(dir.path().join("key.pem"), "nothing").unwrap();
    let text = why().await;
    assert!(text.contains("key.pem has no private key in PEM"), "{text}");
}
