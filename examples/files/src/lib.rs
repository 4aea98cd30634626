//! A place to drop files: what is put to a path can be got from it. Where the files are, the component does not know: the
//! manifest links `wasi:blobstore` to a store. Bytes go from one stream to the other inside the host, however many there are.

wit_bindgen::generate!({
    path: "../../wit",
    world: "lattice:worlds/http-blobstore",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::{
    blobstore::{
        blobstore,
        container::Container,
        types::{IncomingValue, OutgoingValue},
    },
    http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::streams::{InputStream, OutputStream, StreamError},
};

struct Files;

/// Where all files are.
const CONTAINER: &str = "files";
/// What is moved at once, in bytes.
const PIECE: u64 = 64 * 1024;
/// Names that are asked for at once.
const NAMES: u64 = 1000;

impl Guest for Files {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let name = decode(path.split('?').next().unwrap_or_default().trim_start_matches('/'));
        let container = match container() {
            Ok(container) => container,
            Err(error) => return refuse(out, &error),
        };
        match (request.method(), name.as_str()) {
            (Method::Get, "") => list(&container, out),
            (Method::Get, name) => get(&container, name, out),
            (Method::Put, name) => done(out, put(&container, name, &request)),
            (Method::Delete, name) => done(out, container.delete_object(name)),
            _ => text(out, 405, "GET, PUT and DELETE are what can be asked for\n"),
        }
    }
}

fn container() -> Result<Container, String> {
    if blobstore::container_exists(CONTAINER)? {
        return blobstore::get_container(CONTAINER);
    }
    blobstore::create_container(CONTAINER)
}

/// Nobody sees the file before `finish`; without it there is none, or the older one.
fn put(container: &Container, name: &str, request: &IncomingRequest) -> Result<(), String> {
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no stream to write to")?;
    container.write_data(name, &value)?;
    let incoming = request.consume().map_err(|()| "no body")?;
    let from = incoming.stream().map_err(|()| "no body")?;
    pour(&from, &body)?;
    drop(body);
    OutgoingValue::finish(value)
}

/// Moves all that comes. That one of the two ends is its good end: whether it is a bad one of the other, `finish` says.
fn pour(from: &InputStream, to: &OutputStream) -> Result<(), String> {
    loop {
        match to.blocking_splice(from, PIECE) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn get(container: &Container, name: &str, out: ResponseOutparam) {
    let value = match container.get_data(name, 0, u64::MAX) {
        Ok(value) => value,
        Err(error) => return refuse(out, &error),
    };
    let size = value.size();
    let Ok(from) = IncomingValue::incoming_value_consume_async(value) else { return };
    let headers = Fields::new();
    // Neither name is a forbidden one.
    let _ = headers.set("content-type", &[b"application/octet-stream".to_vec()]);
    let _ = headers.set("content-length", &[size.to_string().into_bytes()]);
    let response = OutgoingResponse::new(headers);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    let Ok(to) = body.write() else { return };
    // What is not finished is cut, and the client sees that it is.
    if pour(&from, &to).is_ok() {
        drop(to);
        let _ = OutgoingBody::finish(body, None);
    }
}

fn list(container: &Container, out: ResponseOutparam) {
    let names = match container.list_objects() {
        Ok(names) => names,
        Err(error) => return refuse(out, &error),
    };
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    let Ok(to) = body.write() else { return };
    loop {
        let Ok((names, last)) = names.read_stream_object_names(NAMES) else { return };
        let lines: String = names.into_iter().map(|name| name + "\n").collect();
        if write(&to, lines.as_bytes()).is_err() {
            return;
        }
        if last {
            break;
        }
    }
    drop(to);
    let _ = OutgoingBody::finish(body, None);
}

/// The stream takes so many bytes at once.
fn write(to: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    bytes.chunks(4096).try_for_each(|piece| to.blocking_write_and_flush(piece))
}

fn done(out: ResponseOutparam, outcome: Result<(), String>) {
    match outcome {
        Ok(()) => text(out, 204, ""),
        Err(error) => refuse(out, &error),
    }
}

fn refuse(out: ResponseOutparam, error: &str) {
    let status = match error {
        "no such object" => 404,
        "access denied" => 403,
        error if error.contains("is no name of") => 400,
        _ => 503,
    };
    text(out, status, &format!("{error}\n"));
}

fn text(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    // It is between 100 and 999.
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(to) = body.write() {
        // A caller that has gone away is nothing that we could tell anyone.
        let _ = write(&to, text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

/// A path without its `%XX`.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

export!(Files);
