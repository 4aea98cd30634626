//! What the HTTP guests share: the bindings, and answering without ceremony.
//!
//! An interface that a guest does not call is left out of its component, so the world here may name more than each uses.

wit_bindgen::generate!({
    inline: r#"
        package test:http;
        world guest {
            include lattice:worlds/http-keyvalue@0.1.0;
            include lattice:worlds/http-blobstore@0.1.0;
            import wasi:http/outgoing-handler@0.2.12;
            import wasi:config/store@0.2.0-draft;
            import wasi:logging/logging@0.1.0-draft;
            import wasi:clocks/monotonic-clock@0.2.12;
            import wasi:sockets/instance-network@0.2.12;
            import wasi:sockets/tcp@0.2.12;
            import wasi:sockets/tcp-create-socket@0.2.12;
        }
    "#,
    path: "../../../wit",
    world: "test:http/guest",
    generate_all,
    pub_export_macro: true,
    default_bindings_module: "guest_http",
});

pub use exports::wasi::http::incoming_handler::Guest;
use wasi::{
    http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::streams::{InputStream, OutputStream, StreamError},
};

/// The most that one blocking write takes, by its definition in wasi:io.
pub const CHUNK: u64 = 4096;

/// The path and the query, without the `?`.
pub fn target(request: &IncomingRequest) -> (String, String) {
    let target = request.path_with_query().unwrap_or_default();
    match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), query.to_owned()),
        None => (target, String::new()),
    }
}

/// The number `name=...` of a query.
pub fn number(query: &str, name: &str) -> Option<u64> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok())
}

/// Answers with a body that `write` writes.
pub fn respond_with(out: ResponseOutparam, status: u16, content_type: &str, write: impl FnOnce(&OutputStream)) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[content_type.as_bytes().to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        write(&stream);
    }
    let _ = OutgoingBody::finish(body, None);
}

/// Answers with a text or other bytes.
pub fn respond(out: ResponseOutparam, status: u16, body: impl AsRef<[u8]>) {
    respond_with(out, status, "text/plain; charset=utf-8", |stream| write_all(stream, body.as_ref()));
}

/// Writes until everything is written or the reader has gone.
pub fn write_all(stream: &OutputStream, bytes: &[u8]) {
    for chunk in bytes.chunks(CHUNK as usize) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
}

/// The chunks of a stream as they come; ends at its end, or gives the error that broke it.
pub fn read_each(stream: &InputStream, mut each: impl FnMut(&[u8])) -> Result<(), String> {
    loop {
        match stream.blocking_read(16 * CHUNK) {
            Ok(chunk) => each(&chunk),
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

/// The whole request body.
pub fn read_body(request: &IncomingRequest) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let body = request.consume().map_err(|()| "the body is taken")?;
    let stream = body.stream().map_err(|()| "the stream is taken")?;
    read_each(&stream, |chunk| bytes.extend_from_slice(chunk))?;
    Ok(bytes)
}
