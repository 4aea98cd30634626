//! A guest book behind HTTP. `GET /` shows the newest entries, `GET /NAME` those of a guest, `POST /NAME` adds one.

wit_bindgen::generate!({
    inline: r#"
        package acme:guestbook;
        world guestbook {
            include lattice:worlds/http@0.1.0;
            import wasmcloud:postgres/query@0.1.1-draft;
        }
    "#,
    path: ["../../wit", "../../wit/postgres"],
    world: "acme:guestbook/guestbook",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasmcloud::postgres::{
    query::{query, query_batch},
    types::{PgValue, QueryError},
};

struct Guestbook;

/// Status and text of an answer.
type Answer = (u16, String);

/// Longest text of an entry, in bytes.
const MAX_TEXT: usize = 2000;
/// How many entries are shown.
const SHOWN: i64 = 20;

impl Guest for Guestbook {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (status, text) = answer(&request).unwrap_or_else(failed);
        respond(out, status, &text);
    }
}

fn answer(request: &IncomingRequest) -> Result<Answer, QueryError> {
    let target = request.path_with_query().unwrap_or_default();
    let guest = decode(target.split('?').next().unwrap_or_default().trim_start_matches('/'));
    match (request.method(), guest) {
        (Method::Get, guest) => show(&guest).map(|text| (200, text)),
        (Method::Post, guest) if guest.is_empty() => Ok((400, "say who you are: POST /NAME\n".to_owned())),
        (Method::Post, guest) => match body(request) {
            Some(text) => add(guest, text).map(|number| (201, format!("{number}\n"))),
            None => Ok((400, format!("write a text of at most {MAX_TEXT} bytes\n"))),
        },
        _ => Ok((405, "GET or POST\n".to_owned())),
    }
}

fn failed(error: QueryError) -> Answer {
    let (QueryError::InvalidParams(text) | QueryError::InvalidQuery(text) | QueryError::Unexpected(text)) = error;
    (503, format!("{text}\n"))
}

/// Two calls that do this at the same time may meet; the second one then finds the table.
fn with_table<T>(work: impl Fn() -> Result<T, QueryError>) -> Result<T, QueryError> {
    match work() {
        Err(QueryError::InvalidQuery(said)) if said.contains("42P01") => {
            let made = query_batch(
                "CREATE TABLE IF NOT EXISTS guestbook (id bigserial PRIMARY KEY, guest text NOT NULL, entry text NOT NULL, \
                 written timestamptz NOT NULL DEFAULT now())",
            );
            work().map_err(|error| made.err().unwrap_or(error))
        }
        outcome => outcome,
    }
}

/// The number of the new entry.
fn add(guest: String, text: String) -> Result<i64, QueryError> {
    let rows = with_table(|| {
        let params = [PgValue::Text(guest.clone()), PgValue::Text(text.clone())];
        query("INSERT INTO guestbook (guest, entry) VALUES ($1, $2) RETURNING id", &params)
    })?;
    match rows.first().and_then(|row| row.first()).map(|entry| &entry.value) {
        Some(PgValue::Int8(number)) => Ok(*number),
        _ => Err(QueryError::Unexpected("the new entry has no number".to_owned())),
    }
}

/// The newest entries, of one guest or of all.
fn show(guest: &str) -> Result<String, QueryError> {
    let sql = "SELECT guest, entry FROM guestbook WHERE $1 = '' OR guest = $1 ORDER BY id DESC LIMIT $2";
    let rows = with_table(|| query(sql, &[PgValue::Text(guest.to_owned()), PgValue::Int8(SHOWN)]))?;
    let mut page = String::new();
    for row in rows {
        if let [PgValue::Text(guest), PgValue::Text(entry)] =
            row.iter().map(|entry| &entry.value).collect::<Vec<_>>()[..]
        {
            page.push_str(&format!("{guest}: {entry}\n"));
        }
    }
    Ok(if page.is_empty() { "nobody was here yet\n".to_owned() } else { page })
}

/// The request's body; `None` when it is empty, too long or no text.
fn body(request: &IncomingRequest) -> Option<String> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    // The stream ends with an error, too.
    while let Ok(more) = stream.blocking_read(MAX_TEXT as u64 + 1) {
        bytes.extend(more);
        if bytes.len() > MAX_TEXT {
            return None;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// `%41` is an A.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
        // The stream takes at most 4096 bytes at once.
        for part in text.as_bytes().chunks(4096) {
            // A caller that has gone away is nothing that we could tell anyone.
            if stream.blocking_write_and_flush(part).is_err() {
                break;
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}

export!(Guestbook);
