//! The HTTP client by itself: where it connects to, what it trusts, and how it fails. Names are resolved by the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use lattice::wire::{FaultCode, HttpFault, Timeouts};
use lattice_provider::http::{Body, HttpClient, Terms};
use lattice_provider_http_client::{Client, Config, Resolver};
use lattice_tests::origin::Origin;

/// Knows some names, and counts how often it was asked.
#[derive(Default)]
struct Names {
    known: HashMap<&'static str, Vec<IpAddr>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpFault> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if name == "slow.test" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        self.known.get(name).cloned().ok_or_else(|| HttpFault::new(FaultCode::DnsError, "no such name"))
    }
}

fn names(known: &[(&'static str, &[&str])]) -> Arc<Names> {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let known = known.iter().map(|(name, texts)| (*name, addresses(texts))).collect();
    Arc::new(Names { known, asked: AtomicUsize::new(0) })
}

fn config(json: serde_json::Value) -> Config {
    serde_json::from_value(json).unwrap()
}

fn client(json: serde_json::Value, names: Arc<Names>) -> Client {
    Client::new(&config(json), names).unwrap()
}

/// A client that may connect to this machine.
fn here() -> Client {
    client(serde_json::json!({ "allowPrivate": ["127.0.0.0/8"] }), names(&[("api.test", &["127.0.0.1"])]))
}

fn terms(allow: &[&str]) -> Terms {
    let allow: Vec<_> = allow.iter().map(|entry| entry.parse().unwrap()).collect();
    Terms { allow: allow.into(), timeouts: Timeouts::default() }
}

async fn get(client: &Client, url: &str, allow: &[&str]) -> Result<Response<Body>, HttpFault> {
    client.send(Request::get(url).body(Body::Empty).unwrap(), terms(allow)).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

async fn code(client: &Client, url: &str, allow: &[&str]) -> FaultCode {
    match get(client, url, allow).await {
        Ok(response) => panic!("{url} has answered {}", response.status()),
        Err(fault) => fault.code,
    }
}

#[tokio::test]
async fn only_what_is_allowed_is_looked_up_and_connected_to() {
    let origin = Origin::plain();
    let port = origin.address.port();
    let known = names(&[("api.test", &["127.0.0.1"])]);
    let client = client(serde_json::json!({}), known.clone());
    let url = format!("http://api.test:{port}");
    for (url, allow) in [
        (url.clone(), vec![]),
        (url.clone(), vec!["http://other.test".to_owned(), format!("https://api.test:{port}")]),
        (url.replace("http", "https"), vec![url.clone()]),
        (format!("{url}1/").replace(&port.to_string(), "1"), vec![url.clone()]),
    ] {
        let allow: Vec<_> = allow.iter().map(String::as_str).collect();
        assert_eq!(code(&client, &url, &allow).await, FaultCode::RequestDenied, "{url}");
    }
    assert_eq!(
        code(&client, "http://cart.shop.lattice", &["http://cart.shop.lattice"]).await,
        FaultCode::DestinationNotFound
    );
    assert_eq!(known.asked.load(Ordering::Relaxed), 0);
    // The name may be asked for; what it stands for may not be reached.
    assert_eq!(code(&client, &url, &[&url]).await, FaultCode::DestinationIpProhibited);
    assert_eq!(origin.connections(), 0);
    let address = format!("http://127.0.0.1:{port}");
    assert_eq!(text(get(&client, &url, &[&url, &address]).await.unwrap()).await, "hello");
    assert_eq!(text(get(&client, &url, &[&url, &format!("http://127.0.0.0:{port}/8")]).await.unwrap()).await, "hello");
    // A connection that is kept is no way around the check of its address.
    assert_eq!(origin.connections(), 1);
    assert_eq!(code(&client, &url, &[&url]).await, FaultCode::DestinationIpProhibited);
}

#[tokio::test]
async fn special_addresses_are_not_reached_by_names_or_in_odd_forms() {
    let special = ["127.0.0.1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "::1", "fd00::1", "0.0.0.0"];
    for address in special {
        let client = client(serde_json::json!({}), names(&[("rebind.test", &[address])]));
        assert_eq!(
            code(&client, "http://rebind.test", &["http://rebind.test"]).await,
            FaultCode::DestinationIpProhibited
        );
    }
    let client = client(serde_json::json!({}), names(&[]));
    for literal in ["https://127.0.0.1", "https://[::1]", "https://[::ffff:127.0.0.1]", "https://169.254.169.254"] {
        assert_eq!(code(&client, literal, &["https://*"]).await, FaultCode::DestinationIpProhibited, "{literal}");
    }
    for odd in ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "api.test.", "a%2eb.test", "u:p@api.test"]
    {
        let url = format!("https://{odd}/");
        match Request::get(&url).body(Body::Empty) {
            Ok(request) => {
                let fault = client.send(request, terms(&["https://*"])).await.err().unwrap();
                assert_eq!(fault.code, FaultCode::RequestUriInvalid, "{url}");
            }
            Err(error) => assert!(error.to_string().contains("invalid"), "{url}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_name_is_looked_up_once_and_only_its_good_addresses_are_tried() {
    let origin = Origin::plain();
    let url = format!("http://api.test:{}", origin.address.port());
    let known = names(&[("api.test", &["169.254.169.254", "10.9.8.7", "127.0.0.1"])]);
    let client = client(serde_json::json!({ "allowPrivate": ["127.0.0.1"] }), known.clone());
    let asked = Instant::now();
    assert_eq!(text(get(&client, &url, &[&url]).await.unwrap()).await, "hello");
    assert!(asked.elapsed() < Duration::from_millis(200), "no other address was tried");
    assert_eq!(known.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn connections_are_kept_and_counted() {
    let origin = Origin::plain();
    let url = format!("http://api.test:{}", origin.address.port());
    let client = here();
    for _ in 0..20 {
        assert_eq!(text(get(&client, &format!("{url}/hello"), &[&url]).await.unwrap()).await, "hello");
        // The connection is back when its task has run.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(origin.connections(), 1);
    let limited = serde_json::json!({ "allowPrivate": true, "maxConnections": 2, "keepAlive": "200ms" });
    let limited = self::client(limited, names(&[("api.test", &["127.0.0.1"])]));
    let slow = format!("{url}/sleep?ms=300");
    let allow = [url.as_str()];
    let calls = futures_util::future::join_all((0..3).map(|_| get(&limited, &slow, &allow))).await;
    let mut codes: Vec<_> = calls.into_iter().filter_map(|outcome| outcome.err().map(|fault| fault.code)).collect();
    assert_eq!(codes.pop(), Some(FaultCode::ConnectionLimitReached));
    assert!(codes.is_empty());
    // Those that waited too long were closed, and count no more.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let before = origin.connections();
    assert_eq!(text(get(&limited, &url, &[&url]).await.unwrap()).await, "hello");
    assert_eq!(origin.connections(), before + 1);
}

#[tokio::test]
async fn tls_is_checked_and_speaks_http_2() {
    let (older, newer) = (Origin::tls(false), Origin::tls(true));
    let known = names(&[("api.test", &["127.0.0.1"]), ("other.test", &["127.0.0.1"])]);
    for (origin, version) in [(&older, "HTTP/1.1"), (&newer, "HTTP/2.0")] {
        let url = format!("https://api.test:{}", origin.address.port());
        let trusting = serde_json::json!({ "allowPrivate": true, "caFile": origin.ca_file() });
        let client = client(trusting, known.clone());
        let said = text(get(&client, &format!("{url}/version"), &[&url]).await.unwrap()).await;
        assert_eq!(said, version);
        let headers = text(get(&client, &format!("{url}/headers"), &[&url]).await.unwrap()).await;
        assert_eq!(
            headers.contains(&format!("host: api.test:{}", origin.address.port())),
            version == "HTTP/1.1",
            "{headers}"
        );
        let calls =
            (0..20).map(|_| async { text(get(&client, &format!("{url}/sleep?ms=50"), &[&url]).await.unwrap()).await });
        assert!(futures_util::future::join_all(calls).await.iter().all(|said| said == "slept"));
        let other = url.replace("api.test", "other.test");
        assert_eq!(code(&client, &other, &[&other]).await, FaultCode::TlsCertificateError);
        let stranger = self::client(serde_json::json!({ "allowPrivate": true }), known.clone());
        assert_eq!(code(&stranger, &url, &[&url]).await, FaultCode::TlsCertificateError);
    }
    assert!(newer.connections() < 6, "{} connections for HTTP/2", newer.connections());
    let plain = Origin::plain();
    let url = format!("https://api.test:{}", plain.address.port());
    assert_eq!(code(&here(), &url, &[&url]).await, FaultCode::TlsProtocolError);
}

#[tokio::test]
async fn failures_have_their_own_codes() {
    let origin = Origin::plain();
    let url = format!("http://api.test:{}", origin.address.port());
    let client = here();
    let allow = [url.as_str(), "http://none.test", "http://slow.test", "http://api.test:1"];
    assert_eq!(code(&client, "http://none.test", &allow).await, FaultCode::DnsError);
    assert_eq!(code(&client, "http://api.test:1", &allow).await, FaultCode::ConnectionRefused);
    assert_eq!(code(&client, &format!("{url}/drop"), &allow).await, FaultCode::ConnectionTerminated);
    let hasty = |timeouts| Terms { timeouts, ..terms(&allow) };
    let soon = Some(Duration::from_millis(100));
    let send =
        async |url: &str, timeouts| client.send(Request::get(url).body(Body::Empty).unwrap(), hasty(timeouts)).await;
    let connect = Timeouts { connect: soon, ..Timeouts::default() };
    assert_eq!(send("http://slow.test", connect).await.err().unwrap().code, FaultCode::DnsTimeout);
    let first = Timeouts { first_byte: soon, ..Timeouts::default() };
    let late = send(&format!("{url}/sleep?ms=60000"), first).await.err().unwrap();
    assert_eq!(late.code, FaultCode::ConnectionReadTimeout);
    let between = Timeouts { between_bytes: soon, ..Timeouts::default() };
    let broken =
        send(&format!("{url}/stall?ms=60000"), between).await.unwrap().into_body().collect().await.err().unwrap();
    assert_eq!(broken.downcast_ref::<HttpFault>().unwrap().code, FaultCode::ConnectionReadTimeout);
    let cut = get(&client, &format!("{url}/die"), &allow).await.unwrap().into_body().collect().await.err().unwrap();
    assert_eq!(cut.downcast_ref::<HttpFault>().unwrap().code, FaultCode::ResponseIncomplete);
    let tunnel = Request::builder().method(Method::CONNECT).uri(&url).body(Body::Empty).unwrap();
    assert_eq!(client.send(tunnel, terms(&allow)).await.err().unwrap().code, FaultCode::RequestMethodInvalid);
}

#[tokio::test]
async fn redirects_are_answers_and_hosts_are_not_forged() {
    let origin = Origin::plain();
    let url = format!("http://api.test:{}", origin.address.port());
    let client = here();
    let to = "http://169.254.169.254/latest";
    let answer = get(&client, &format!("{url}/redirect?to={to}"), &[&url]).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (302, to));
    let request =
        Request::get(format!("{url}/headers")).header("host", "admin.test").header("host", "b").header("upgrade", "x");
    let headers = text(client.send(request.body(Body::Empty).unwrap(), terms(&[&url])).await.unwrap()).await;
    assert_eq!(headers, format!("host: api.test:{}\n", origin.address.port()));
}

#[tokio::test]
async fn bodies_stream_both_ways_with_trailers() {
    let origins = [Origin::plain(), Origin::tls(true)];
    for (origin, scheme) in origins.iter().zip(["http", "https"]) {
        let url = format!("{scheme}://api.test:{}", origin.address.port());
        let mut settings = serde_json::json!({ "allowPrivate": true });
        if scheme == "https" {
            settings["caFile"] = origin.ca_file().to_str().unwrap().into();
        }
        let client = client(settings, names(&[("api.test", &["127.0.0.1"])]));
        let pieces = stream::iter((0..256).map(|n| Ok(Frame::data(Bytes::from(vec![n as u8; 1 << 16])))));
        let body = Body::Stream(Box::pin(StreamBody::new(pieces.boxed())));
        let request = Request::post(format!("{url}/echo")).body(body).unwrap();
        let response = client.send(request, terms(&[&url])).await.unwrap();
        let back = response.into_body().collect().await.unwrap().to_bytes();
        assert!(back.len() == 256 << 16 && back.chunks(1 << 16).enumerate().all(|(n, chunk)| chunk[0] == n as u8));
        let asking = Request::get(format!("{url}/trailers")).header("te", "trailers").body(Body::Empty).unwrap();
        let trailing = client.send(asking, terms(&[&url])).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(trailing.trailers().unwrap()["x-end"], "well");
        // A body that breaks off is one for the server, too, and no connection is used again after it.
        let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err("it broke".into())]);
        let request =
            Request::post(format!("{url}/count")).body(Body::Stream(Box::pin(StreamBody::new(broken)))).unwrap();
        assert!(client.send(request, terms(&[&url])).await.is_err());
        assert_eq!(text(get(&client, &url, &[&url]).await.unwrap()).await, "hello");
    }
}
