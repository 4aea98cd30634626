//! Counts the visits of each path. The count is in a key-value store, and the component knows nothing about which:
//! the manifest links `wasi:keyvalue` to one.

wit_bindgen::generate!({
    path: "../../wit",
    world: "lattice:worlds/http-keyvalue",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::keyvalue::{atomics, store};

struct Counter;

impl Guest for Counter {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match count(path.split('?').next().unwrap_or_default()) {
            Ok(visits) => respond(out, 200, &format!("{visits}\n")),
            Err(error) => respond(out, 503, &format!("{}\n", explain(&error))),
        }
    }
}

/// One more visit; returns how many that makes.
fn count(path: &str) -> Result<u64, store::Error> {
    let key = match path.trim_matches('/') {
        "" => "visits",
        path => path,
    };
    let bucket = store::open("default")?;
    atomics::increment(&bucket, key, 1)
}

fn explain(error: &store::Error) -> &str {
    match error {
        store::Error::NoSuchStore => "no such store",
        store::Error::AccessDenied => "access denied",
        store::Error::Other(text) => text,
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    // Neither can fail: the name is no forbidden one, and the status is between 100 and 999.
    let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        // A caller that has gone away is nothing that we could tell anyone.
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

export!(Counter);
