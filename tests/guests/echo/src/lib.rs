//! Shows a component's surroundings: what it is sent, and what it may reach.
//!
//! - `/headers` the request's headers; `/env` its environment; `/file`, `/connect`, `/fetch?to=HOST:PORT` try what a
//!   component without a grant must not do, and say what came of it
//! - `/sleep?ms=N` answers after a while; `/big?bytes=N` answers that many bytes; `/status?code=N` with that status
//! - `/count` the length of the request's body, or the error that it ended with, which also goes to stderr
//! - everything else: the request's body and trailers, chunk by chunk as it comes

mod reach;

use guest_http::{
    CHUNK, Guest, number, read_body, read_each, respond, respond_with, target,
    wasi::{
        clocks::monotonic_clock,
        http::types::{Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
        io::streams::OutputStream,
    },
};

struct Echo;

impl Guest for Echo {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        match path.as_str() {
            "/headers" => respond(out, 200, headers(&request)),
            "/env" => {
                respond(out, 200, std::env::vars().map(|(key, value)| format!("{key}={value}\n")).collect::<String>())
            }
            "/file" => respond(out, 200, format!("{}\n", reach::file("/etc/passwd"))),
            "/connect" => respond(out, 200, format!("{}\n", reach::connect((127, 0, 0, 1), 1))),
            "/fetch" => {
                let to = query.split('&').find_map(|pair| pair.strip_prefix("to=")).unwrap_or("127.0.0.1:1");
                respond(out, 200, format!("{}\n", reach::fetch(to)));
            }
            "/sleep" => {
                let nanoseconds = number(&query, "ms").unwrap_or(0) * 1_000_000;
                monotonic_clock::subscribe_duration(nanoseconds).block();
                respond(out, 200, "slept\n");
            }
            "/big" => {
                let bytes = number(&query, "bytes").unwrap_or(0);
                respond_with(out, 200, "application/octet-stream", |stream| fill(stream, bytes));
            }
            "/count" => count(&request, out),
            "/status" => respond(out, number(&query, "code").and_then(|code| code.try_into().ok()).unwrap_or(200), ""),
            _ => echo(&request, out),
        }
    }
}

fn headers(request: &IncomingRequest) -> String {
    let line = |(name, value): (String, Vec<u8>)| format!("{name}: {}\n", String::from_utf8_lossy(&value));
    request.headers().entries().into_iter().map(line).collect()
}

/// Letters in turn, so that a piece that is lost or twice there shows.
fn fill(stream: &OutputStream, mut bytes: u64) {
    let chunk: Vec<u8> = (b'a'..=b'z').cycle().take(CHUNK as usize).collect();
    while bytes > 0 {
        let now = bytes.min(CHUNK);
        if stream.blocking_write_and_flush(&chunk[..now as usize]).is_err() {
            return;
        }
        bytes -= now;
    }
}

fn count(request: &IncomingRequest, out: ResponseOutparam) {
    match read_body(request) {
        Ok(bytes) => respond(out, 200, format!("{}\n", bytes.len())),
        Err(error) => {
            eprintln!("body: {error}");
            respond(out, 400, format!("{error}\n"));
        }
    }
}

fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let headers = Fields::new();
    for name in ["content-type", "trailer"] {
        let values = request.headers().get(name);
        if !values.is_empty() {
            let _ = headers.set(name, &values);
        }
    }
    let Ok(incoming) = request.consume() else { return };
    let response = OutgoingResponse::new(headers);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let (Ok(from), Ok(to)) = (incoming.stream(), body.write()) {
        let copied = read_each(&from, |chunk| guest_http::write_all(&to, chunk));
        if copied.is_err() {
            // Without `finish` the body counts as broken off, and the caller sees that.
            return;
        }
    }
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = match trailers.get() {
        Some(Ok(Ok(Some(trailers)))) => Some(Fields::clone(&trailers)),
        _ => None,
    };
    let _ = OutgoingBody::finish(body, trailers);
}

guest_http::export!(Echo);
