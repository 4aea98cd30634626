//! Counts the visits of each path in a key-value store. Which one that is the manifest says.

wit_bindgen::generate!({ path: "wit", world: "component", generate_all });

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::keyvalue::{atomics, store};

struct Component;

impl Guest for Component {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match count(path.split('?').next().unwrap_or_default()) {
            Ok(visits) => respond(out, 200, &format!("{visits}\n")),
            Err(error) => respond(out, 503, &format!("{error:?}\n")),
        }
    }
}

/// One more visit; returns how many that makes.
fn count(path: &str) -> Result<u64, store::Error> {
    let bucket = store::open("default")?;
    atomics::increment(&bucket, &format!("visits{}", path.replace('/', ".")), 1)
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    // Cannot fail: the status is between 100 and 999.
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        // A caller that has gone away is nothing that we could tell anyone.
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

export!(Component);
