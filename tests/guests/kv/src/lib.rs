//! All of wasi:keyvalue behind HTTP, for the tests. `?bucket=NAME` picks the bucket; `default` without it. `?link=NAME`
//! picks the link.
//!
//! - `/get/K` the value, 404 without one; `/set/K` writes the body; `/delete/K`; `/exists/K` true or false
//! - `/incr/K?by=N` the new number
//! - `/list?cursor=N` keys a line, then `cursor: N` where there is more
//! - `/get-many`, `/delete-many` keys a line in the body; `/set-many` `key=value` a line
//!
//! Keys are what follows in the path, with %XX decoded. Errors: 404 no such store, 403 access denied, 503 other.

use guest_http::{
    Guest, number, read_body, respond, target,
    wasi::{
        http::types::{IncomingRequest, ResponseOutparam},
        keyvalue::{
            atomics, batch,
            store::{self, Bucket, Error},
        },
    },
};

wit_bindgen::generate!({ path: "../../../wit/wasmcloud", world: "chooses-links" });

use wasmcloud::bus::lattice::{CallTargetInterface, set_link_name};

struct Kv;

impl Guest for Kv {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        let name = query.split('&').find_map(|pair| pair.strip_prefix("bucket=")).unwrap_or("default");
        if let Some(link) = query.split('&').find_map(|pair| pair.strip_prefix("link=")) {
            let interface = |name| CallTargetInterface::new("wasi", "keyvalue", name);
            if let Err(error) = set_link_name(link, vec![interface("store"), interface("atomics"), interface("batch")])
            {
                return respond(out, 400, error);
            }
        }
        let (status, body) = match store::open(name).and_then(|bucket| serve(&bucket, &path, &query, &request)) {
            Ok(answer) => answer,
            Err(error) => explain(error),
        };
        respond(out, status, body);
    }
}

type Answer = (u16, Vec<u8>);

fn serve(bucket: &Bucket, path: &str, query: &str, request: &IncomingRequest) -> Result<Answer, Error> {
    let (operation, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    let key = decode(rest);
    let body = || read_body(request).map_err(Error::Other);
    match operation {
        "get" => Ok(bucket.get(&key)?.map_or((404, Vec::new()), |value| (200, value))),
        "set" => bucket.set(&key, &body()?).map(|()| done()),
        "delete" => bucket.delete(&key).map(|()| done()),
        "exists" => bucket.exists(&key).map(|exists| text(&exists.to_string())),
        "incr" => atomics::increment(bucket, &key, number(query, "by").unwrap_or(1)).map(|sum| text(&sum.to_string())),
        "list" => bucket.list_keys(number(query, "cursor")).map(|page| {
            let cursor = page.cursor.map(|cursor| format!("cursor: {cursor}"));
            text(&page.keys.into_iter().chain(cursor).collect::<Vec<_>>().join("\n"))
        }),
        "get-many" => batch::get_many(bucket, &lines(&body()?)).map(|pairs| text(&show(pairs))),
        "delete-many" => batch::delete_many(bucket, &lines(&body()?)).map(|()| done()),
        "set-many" => {
            let pairs: Vec<_> = lines(&body()?)
                .iter()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
                .collect();
            batch::set_many(bucket, &pairs).map(|()| done())
        }
        _ => Ok((400, b"no such operation\n".to_vec())),
    }
}

fn show(pairs: Vec<Option<(String, Vec<u8>)>>) -> String {
    let line = |pair: Option<(String, Vec<u8>)>| match pair {
        Some((key, value)) => format!("{key}={}", String::from_utf8_lossy(&value)),
        None => "-".to_owned(),
    };
    pairs.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

fn lines(body: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(body).lines().map(str::to_owned).collect()
}

fn text(text: &str) -> Answer {
    (200, format!("{text}\n").into_bytes())
}

fn done() -> Answer {
    (204, Vec::new())
}

fn explain(error: Error) -> Answer {
    match error {
        Error::NoSuchStore => (404, b"no such store\n".to_vec()),
        Error::AccessDenied => (403, b"access denied\n".to_vec()),
        Error::Other(text) => (503, format!("{text}\n").into_bytes()),
    }
}

/// Undoes %XX; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape =
            text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escape.unwrap_or(bytes[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

guest_http::export!(Kv);
