//! Makes short links. `POST /` with a URL as body gives a path, `GET` of that path leads to the URL, and with a `+` behind it
//! shows how often it did. What is known is in a key-value store, and the component knows nothing about which: the
//! manifest links `wasi:keyvalue` to one.

wit_bindgen::generate!({
    path: "../../wit",
    world: "lattice:worlds/http-keyvalue",
    generate_all,
});

use exports::wasi::http::incoming_handler::Guest;
use wasi::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasi::keyvalue::{
    atomics,
    store::{self, Bucket},
};

struct Shortener;

/// Longest URL, in bytes.
const MAX_URL: usize = 2000;
/// What a code is written in.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// The key under which is how many codes were given.
const GIVEN: &str = "given";

const USAGE: &str = "\
POST /      with a URL as body: a short path that leads to it
GET /CODE   leads to the URL
GET /CODE+  shows the URL, and how often somebody was led to it
";

/// What is answered: status, the `location` that it names, and the text.
struct Answer {
    status: u16,
    location: Option<String>,
    text: String,
}

impl Answer {
    fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, location: None, text: text.into() }
    }

    fn at(status: u16, location: String) -> Self {
        Self { status, text: format!("{location}\n"), location: Some(location) }
    }
}

impl Guest for Shortener {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        respond(out, &answer(&request).unwrap_or_else(|error| Answer::text(503, format!("{}\n", explain(&error)))));
    }
}

fn answer(request: &IncomingRequest) -> Result<Answer, store::Error> {
    let target = request.path_with_query().unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().trim_start_matches('/');
    match (request.method(), path) {
        (Method::Get, "") => Ok(Answer::text(200, USAGE)),
        (Method::Get, path) => match path.strip_suffix('+') {
            Some(code) => show(code),
            None => follow(path),
        },
        (Method::Post, "") => match body(request).as_deref().map(str::trim).filter(|text| is_url(text)) {
            Some(url) => shorten(url),
            None => Ok(Answer::text(400, format!("send http://... or https://..., of at most {MAX_URL} bytes\n"))),
        },
        _ => Ok(Answer::text(405, USAGE)),
    }
}

/// The codes are counted, so that two links never have the same one.
fn shorten(url: &str) -> Result<Answer, store::Error> {
    let bucket = store::open("default")?;
    let code = in_digits(atomics::increment(&bucket, GIVEN, 1)?);
    bucket.set(&url_of(&code), url.as_bytes())?;
    Ok(Answer::at(201, format!("/{code}")))
}

/// Not a redirect for ever (308): a browser would keep that, and the next visit would not be counted.
fn follow(code: &str) -> Result<Answer, store::Error> {
    let bucket = store::open("default")?;
    let Some(url) = find(&bucket, code)? else { return Ok(unknown(code)) };
    atomics::increment(&bucket, &visits_of(code), 1)?;
    Ok(Answer::at(302, url))
}

fn show(code: &str) -> Result<Answer, store::Error> {
    let bucket = store::open("default")?;
    let Some(url) = find(&bucket, code)? else { return Ok(unknown(code)) };
    // Each store keeps numbers in its own way; adding nothing is how to read one in all of them.
    let visits = atomics::increment(&bucket, &visits_of(code), 0)?;
    Ok(Answer::text(200, format!("{url}\nvisits: {visits}\n")))
}

fn unknown(code: &str) -> Answer {
    Answer::text(404, format!("/{code} leads nowhere\n"))
}

/// What no code can be is not asked for.
fn find(bucket: &Bucket, code: &str) -> Result<Option<String>, store::Error> {
    if !is_code(code) {
        return Ok(None);
    }
    let url = bucket.get(&url_of(code))?;
    Ok(url.and_then(|url| String::from_utf8(url).ok()))
}

fn url_of(code: &str) -> String {
    format!("url.{code}")
}

fn visits_of(code: &str) -> String {
    format!("visits.{code}")
}

/// As long as the largest number at most.
fn is_code(text: &str) -> bool {
    (1..=13).contains(&text.len()) && text.bytes().all(|byte| DIGITS.contains(&byte))
}

fn in_digits(mut number: u64) -> String {
    let mut code = Vec::new();
    while number > 0 || code.is_empty() {
        code.insert(0, char::from(DIGITS[(number % 36) as usize]));
        number /= 36;
    }
    code.into_iter().collect()
}

/// Whether a browser can be led there: http or https, a host, and nothing that a header cannot carry.
fn is_url(text: &str) -> bool {
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let Some(rest) = scheme.and_then(|scheme| text.get(scheme.len()..)) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The request's body; `None` when it is longer than any URL may be, or no text.
fn body(request: &IncomingRequest) -> Option<String> {
    let body = request.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    // The stream ends with an error, too.
    while let Ok(more) = stream.blocking_read(MAX_URL as u64) {
        bytes.extend(more);
        // Room for the end of a line.
        if bytes.len() > MAX_URL + 2 {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

fn explain(error: &store::Error) -> &str {
    match error {
        store::Error::NoSuchStore => "no such store",
        store::Error::AccessDenied => "access denied",
        store::Error::Other(text) => text,
    }
}

fn respond(out: ResponseOutparam, answer: &Answer) {
    let headers = Fields::new();
    // None of these can fail: no name is a forbidden one, a URL is all visible ASCII, and the status is between 100 and 999.
    let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
    if let Some(location) = &answer.location {
        let _ = headers.set("location", &[location.clone().into_bytes()]);
    }
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(answer.status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        // A caller that has gone away is nothing that we could tell anyone.
        let _ = stream.blocking_write_and_flush(answer.text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}

export!(Shortener);
