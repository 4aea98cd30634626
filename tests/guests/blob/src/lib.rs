//! All of wasi:blobstore behind HTTP, for the tests. `/all` uses every function in a container of its own and answers 200,
//! or 500 with what was not as it should be. In the container `t`:
//!
//! - `POST /cut/NAME?size=N` writes N bytes and drops the value without finishing it: 204
//! - `POST /early?size=N` writes N bytes to a value that is not written to any object: 200 and the bytes that it took
//! - `GET /pieces/NAME?count=N` reads N times 4 KiB of an object, and leaves the rest

use guest_http::{
    Guest, number, respond, target,
    wasi::{
        blobstore::{
            blobstore::{self, ObjectId},
            container::Container,
            types::{IncomingValue, OutgoingValue},
        },
        http::types::{IncomingRequest, ResponseOutparam},
        io::streams::{InputStream, OutputStream, StreamError},
    },
};

struct Blob;

impl Guest for Blob {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        let size = number(&query, "size").unwrap_or(0);
        let answer = match path.split('/').skip(1).collect::<Vec<_>>()[..] {
            ["all"] => all().map(|()| (200, String::new())),
            ["cut", name] => cut(name, size).map(|()| (204, String::new())),
            ["early"] => early(size).map(|taken| (200, taken.to_string())),
            ["pieces", name] => pieces(name, number(&query, "count").unwrap_or(1)).map(|read| (200, read.to_string())),
            _ => Ok((404, String::new())),
        };
        let (status, text) = answer.unwrap_or_else(|error| (500, error));
        respond(out, status, text);
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

fn write_all(to: &OutputStream, bytes: &[u8]) -> Result<(), String> {
    let mut pieces = bytes.chunks(4096);
    pieces.try_for_each(|piece| to.blocking_write_and_flush(piece)).map_err(explain)
}

fn explain(error: StreamError) -> String {
    match error {
        StreamError::Closed => "closed".to_owned(),
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
    }
}

fn put(container: &Container, name: &str, bytes: &[u8]) -> Result<(), String> {
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
    same("a second body", value.outgoing_value_write_body().is_err(), true)?;
    container.write_data(name, &value)?;
    same("a second object", container.write_data("other", &value).is_err(), true)?;
    write_all(&body, bytes)?;
    drop(body);
    OutgoingValue::finish(value)
}

fn get(container: &Container, name: &str, start: u64, end: u64) -> Result<Vec<u8>, String> {
    let value = container.get_data(name, start, end)?;
    let size = value.size();
    let bytes = IncomingValue::incoming_value_consume_sync(value)?;
    same("the size of a value", size, bytes.len() as u64)?;
    Ok(bytes)
}

fn read_all(from: &InputStream) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        match from.blocking_read(64 * 1024) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return Ok(all),
            Err(error) => return Err(explain(error)),
        }
    }
}

fn all() -> Result<(), String> {
    if blobstore::container_exists("t")? {
        blobstore::delete_container("t")?;
    }
    same("an absent container", blobstore::get_container("t").err().as_deref(), Some("no such container"))?;
    let made = blobstore::create_container("t")?;
    same("its name", made.name()?, "t".to_owned())?;
    same("its info", made.info()?.name, "t".to_owned())?;
    let t = blobstore::get_container("t")?;
    objects(&t)?;
    names(&t)?;
    t.clear()?;
    same("a cleared container", t.has_object("n/1")?, false)?;
    blobstore::delete_container("t")?;
    same("a container that is gone", t.has_object("o").err().as_deref(), Some("no such container"))?;
    same("a listing of it", t.list_objects().err().as_deref(), Some("no such container"))?;
    same("a write to it", put(&t, "o", b"x").err().as_deref(), Some("no such container"))?;
    blobstore::create_container("t").map(drop)
}

fn objects(t: &Container) -> Result<(), String> {
    let absent = t.get_data("o", 0, u64::MAX).err();
    same("an absent object", absent.as_deref(), Some("no such object"))?;
    put(t, "o", b"")?;
    same("an empty object", get(t, "o", 0, u64::MAX)?, Vec::new())?;
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    put(t, "o", &large)?;
    same("whether a large one is right", get(t, "o", 0, u64::MAX)? == large, true)?;
    same("a part", get(t, "o", 10, 12)?, vec![10, 11, 12])?;
    let stream = IncomingValue::incoming_value_consume_async(t.get_data("o", 1, 2_000_000)?)?;
    same("whether it is right as a stream", read_all(&stream)? == large[1..=2_000_000], true)?;
    drop(stream);
    let info = t.object_info("o")?;
    same("its info", (info.name.as_str(), info.container.as_str(), info.size), ("o", "t", 3_000_000))?;

    let id = |object: &str| ObjectId { container: "t".to_owned(), object: object.to_owned() };
    blobstore::copy_object(&id("o"), &id("p"))?;
    blobstore::move_object(&id("p"), &id("q/r"))?;
    same("a moved object", (t.has_object("p")?, t.has_object("q/r")?), (false, true))?;
    same("whether it is right", get(t, "q/r", 0, u64::MAX)? == large, true)?;
    let copied = blobstore::copy_object(&id("absent"), &id("p"));
    same("a copy of nothing", copied.err().as_deref(), Some("no such object"))?;
    t.delete_object("absent")?;
    t.delete_objects(&["o".to_owned(), "q/r".to_owned(), "absent".to_owned()])?;
    same("deleted objects", (t.has_object("o")?, t.has_object("q/r")?), (false, false))?;
    let refused = put(t, "../x", b"x").err().unwrap_or_default();
    same("a name that leads elsewhere", refused.contains("is no name of an object"), true)?;
    // What is not written to any object is no object, and no error.
    let value = OutgoingValue::new_outgoing_value();
    OutgoingValue::finish(value)
}

fn names(t: &Container) -> Result<(), String> {
    let empty = t.list_objects()?;
    same("an empty listing", empty.read_stream_object_names(10)?, (Vec::new(), true))?;
    for n in 0..25 {
        put(t, &format!("n/{n}"), b"v")?;
    }
    let listing = t.list_objects()?;
    let (mut names, last) = listing.read_stream_object_names(10)?;
    same("the first names", (names.len(), last), (10, false))?;
    same("some that were skipped", listing.skip_stream_object_names(5)?, (5, false))?;
    let (rest, last) = listing.read_stream_object_names(10)?;
    same("all names", (rest.len(), last), (10, true))?;
    names.extend(rest);
    names.sort();
    names.dedup();
    same("different names", names.len(), 20)?;
    let again = t.list_objects()?;
    same("all that were skipped", again.skip_stream_object_names(1000)?, (25, true))
}

fn cut(name: &str, size: u64) -> Result<(), String> {
    let t = blobstore::get_container("t")?;
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
    t.write_data(name, &value)?;
    write_all(&body, &vec![1; size as usize])
}

fn early(size: u64) -> Result<u64, String> {
    let value = OutgoingValue::new_outgoing_value();
    let body = value.outgoing_value_write_body().map_err(|()| "no body")?;
    let mut taken = 0;
    while taken < size {
        if body.blocking_write_and_flush(&[0; 4096]).is_err() {
            break;
        }
        taken += 4096;
    }
    Ok(taken)
}

fn pieces(name: &str, count: u64) -> Result<u64, String> {
    let t = blobstore::get_container("t")?;
    let stream = IncomingValue::incoming_value_consume_async(t.get_data(name, 0, u64::MAX)?)?;
    (0..count).try_fold(0, |read, _| Ok(read + stream.blocking_read(4096).map_err(explain)?.len() as u64))
}

guest_http::export!(Blob);
