//! Answers HTTP by WASI 0.3.
//!
//! - `/sleep?ms=N` answers after a while; `/count` how many calls this instance has taken, and how many it has now;
//!   `/big?bytes=N` answers that many bytes; `/trap`, `/loop`, `/eat` misbehave; `/late` traps in the midst of its body;
//!   `/fetch?to=HOST:PORT` sends a request and tells its status; `/env` its environment
//! - a body that is sent comes back as it comes, with trailers; everything else says hello

use std::sync::atomic::{AtomicU32, Ordering};

use exports::wasi::http::handler::Guest;
use wasi::{
    cli::environment,
    clocks::monotonic_clock,
    http::{
        client,
        types::{ErrorCode, Fields, Method, Request, Response, Scheme},
    },
};
use wit_bindgen::{StreamReader, StreamResult, spawn_local};

wit_bindgen::generate!({ path: "../../../wit/p3", world: "http", generate_all });

/// What one write into a body carries.
const CHUNK: usize = 64 * 1024;

static TAKEN: AtomicU32 = AtomicU32::new(0);
static NOW: AtomicU32 = AtomicU32::new(0);

struct Hello;

impl Guest for Hello {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
        let now = NOW.fetch_add(1, Ordering::Relaxed) + 1;
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let response = match path {
            "/sleep" => {
                monotonic_clock::wait_for(number(query, "ms") * 1_000_000).await;
                text(format!("slept {now}\n"))
            }
            "/count" => text(format!("{taken} {now}\n")),
            "/big" => big(number(query, "bytes") as usize),
            "/trap" => panic!("asked to panic"),
            "/loop" => spin(),
            "/eat" => eat(),
            "/late" => late(),
            "/fetch" => text(format!("{}\n", fetch(query.trim_start_matches("to=")).await)),
            "/env" => text(environment::get_environment().iter().map(|(k, v)| format!("{k}={v}\n")).collect()),
            _ if matches!(request.get_method(), Method::Post) => echo(request),
            _ => text("Hello from WASI 0.3!\n".to_owned()),
        };
        NOW.fetch_sub(1, Ordering::Relaxed);
        Ok(response)
    }
}

fn number(query: &str, name: &str) -> u64 {
    let find = |pair: &str| pair.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok();
    query.split('&').find_map(find).unwrap_or(0)
}

fn headers(content_type: &[u8]) -> Fields {
    let fields = Fields::new();
    let _ = fields.append("content-type", content_type);
    fields
}

fn text(body: String) -> Response {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(body.into_bytes()).await;
    });
    without_trailers(headers(b"text/plain; charset=utf-8"), reader)
}

fn without_trailers(headers: Fields, body: StreamReader<u8>) -> Response {
    let (_, trailers) = wit_future::new(|| Ok(None));
    Response::new(headers, Some(body), trailers).0
}

/// Letters in turn, so that a piece that is lost or twice there shows.
fn big(mut bytes: usize) -> Response {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        let chunk: Vec<u8> = (b'a'..=b'z').cycle().take(CHUNK / 26 * 26).collect();
        while bytes > 0 {
            let now = bytes.min(chunk.len());
            if !writer.write_all(chunk[..now].to_vec()).await.is_empty() {
                return;
            }
            bytes -= now;
        }
    });
    without_trailers(headers(b"application/octet-stream"), reader)
}

fn late() -> Response {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"not all of it".to_vec()).await;
        monotonic_clock::wait_for(50_000_000).await;
        panic!("asked to panic late");
    });
    without_trailers(headers(b"text/plain"), reader)
}

fn echo(request: Request) -> Response {
    let (_, done) = wit_future::new(|| Ok(()));
    let (mut from, their_trailers) = Request::consume_body(request, done);
    let (mut to, reader) = wit_stream::new();
    let (trailers_writer, trailers) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        let mut length = 0;
        loop {
            let (result, chunk) = from.read(Vec::with_capacity(CHUNK)).await;
            length += chunk.len();
            if !to.write_all(chunk).await.is_empty() || !matches!(result, StreamResult::Complete(_)) {
                break;
            }
        }
        drop(to);
        let trailers = match their_trailers.await {
            Ok(theirs) => {
                let ours = Fields::new();
                let _ = ours.append("x-length", length.to_string().as_bytes());
                for (name, value) in theirs.map(|theirs| theirs.copy_all()).unwrap_or_default() {
                    let _ = ours.append(&name, &value);
                }
                Ok(Some(ours))
            }
            Err(error) => Err(error),
        };
        let _ = trailers_writer.write(trailers).await;
    });
    let headers = headers(b"application/octet-stream");
    // Without it no trailer goes over HTTP/1.1.
    let _ = headers.append("trailer", b"x-length");
    Response::new(headers, Some(reader), trailers).0
}

async fn fetch(authority: &str) -> String {
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, trailers, None);
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some("/"));
    match client::send(request).await {
        Ok(response) => format!("status {}", response.get_status_code()),
        Err(error) => format!("error: {error:?}"),
    }
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns).wrapping_add(1);
    }
}

/// Takes memory until there is none.
fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

export!(Hello);
