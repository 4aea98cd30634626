//! The smallest component that answers HTTP.

wit_bindgen::generate!({
    path: "../../wit",
    world: "lattice:worlds/http",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Hello;

impl Guest for Hello {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            // A caller that has gone away is nothing that we could tell anyone.
            let _ = stream.blocking_write_and_flush(b"Hello from the lattice!\n");
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

export!(Hello);
