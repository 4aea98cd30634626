//! An HTTP front of a ledger. Who keeps the book is for the manifest to say: the component imports `acme:ledger/book`.

wit_bindgen::generate!({
    inline: r#"
        package acme:front;
        world front {
            include lattice:worlds/http@0.1.0;
            import acme:ledger/book@1.0.0;
        }
    "#,
    path: ["../../wit", "wit"],
    world: "acme:front/front",
    generate_all,
});

use acme::ledger::book::{self, BookError, Entry};
use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Front;

/// Status and text of an answer.
type Answer = (u16, String);

/// How many entries an account's page shows.
const SHOWN: u32 = 10;
/// Longest note that is read, in bytes.
const MAX_NOTE: usize = 200;

impl Guest for Front {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (status, text) = answer(&request).unwrap_or_else(failed);
        respond(out, status, &text);
    }
}

fn answer(request: &IncomingRequest) -> Result<Answer, BookError> {
    let target = request.path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let Some(account) = path.strip_prefix("/accounts/").filter(|name| !name.is_empty()) else {
        let usage = "GET /accounts/NAME, or POST /accounts/NAME?amount=NUMBER\n";
        return Ok((if path == "/" { 200 } else { 404 }, usage.to_owned()));
    };
    match request.method() {
        Method::Get => show(account),
        Method::Post => match query.strip_prefix("amount=").and_then(|amount| amount.parse().ok()) {
            Some(amount) => {
                let entry = Entry { account: account.to_owned(), amount, note: note(request) };
                book::post(&entry).map(|number| (201, format!("{number}\n")))
            }
            None => Ok((400, "say ?amount=NUMBER, in whole units\n".to_owned())),
        },
        _ => Ok((405, "GET or POST\n".to_owned())),
    }
}

/// The balance, and the newest entries.
fn show(account: &str) -> Result<Answer, BookError> {
    let mut text = format!("{}\n", book::balance(account)?);
    for entry in book::history(account, SHOWN)? {
        text.push_str(format!("{:+} {}", entry.amount, entry.note.unwrap_or_default()).trim_end());
        text.push('\n');
    }
    Ok((200, text))
}

/// The request's body, when it has one.
fn note(request: &IncomingRequest) -> Option<String> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut note = Vec::new();
    // The stream ends with an error, too; what has come until then is the note.
    while let Ok(more) = stream.blocking_read((MAX_NOTE - note.len()) as u64) {
        note.extend(more);
        if note.len() == MAX_NOTE {
            break;
        }
    }
    let text = String::from_utf8_lossy(&note).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn failed(error: BookError) -> Answer {
    match error {
        BookError::NoSuchAccount => (404, "no such account\n".to_owned()),
        BookError::Overdrawn(has) => (409, format!("the account has only {has}\n")),
        BookError::Other(text) => (503, format!("{text}\n")),
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

export!(Front);
