//! Orders over messages. `POST /NAME` sends a message `orders.NAME`; whoever is given it counts it; `GET /` shows the counts.

wit_bindgen::generate!({
    inline: r#"
        package acme:events;
        world events {
            include lattice:worlds/http-keyvalue@0.1.0;
            import wasmcloud:messaging/consumer@0.2.0;
            export wasmcloud:messaging/handler@0.2.0;
        }
    "#,
    path: ["../../wit", "../../wit/messaging"],
    world: "acme:events/events",
    generate_all,
});

use exports::{wasi::http::incoming_handler, wasmcloud::messaging::handler};
use wasi::{
    http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam},
    keyvalue::{
        atomics::increment,
        store::{Bucket, Error, open},
    },
};
use wasmcloud::messaging::{consumer::publish, types::BrokerMessage};

struct Events;

/// What messages of ours begin with.
const ORDERS: &str = "orders.";

impl handler::Guest for Events {
    fn handle_message(msg: handler::BrokerMessage) -> Result<(), String> {
        let name = msg.subject.strip_prefix(ORDERS).unwrap_or(&msg.subject);
        // An error brings the message again, after a pause; it is counted when the store is back.
        bucket().and_then(|counts| increment(&counts, name, 1)).map(drop).map_err(said)
    }
}

impl incoming_handler::Guest for Events {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let name = target.split('?').next().unwrap_or_default().trim_start_matches('/');
        let answer = match (request.method(), name) {
            (Method::Get, "") => counts().map_err(said),
            (Method::Post, name) if !name.is_empty() => order(name),
            _ => Err("GET / or POST /NAME".to_owned()),
        };
        match answer {
            Ok(text) => respond(out, 200, &text),
            Err(text) => respond(out, 400, &format!("{text}\n")),
        }
    }
}

fn order(name: &str) -> Result<String, String> {
    let message = BrokerMessage { subject: format!("{ORDERS}{name}"), body: Vec::new(), reply_to: None };
    publish(&message).map(|()| format!("ordered {name}\n"))
}

fn bucket() -> Result<Bucket, Error> {
    open("orders")
}

/// A line for each name.
fn counts() -> Result<String, Error> {
    let counts = bucket()?;
    let mut names = Vec::new();
    let mut cursor = None;
    loop {
        let page = counts.list_keys(cursor)?;
        names.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    names.sort();
    let mut text = String::new();
    for name in names {
        let count = counts.get(&name)?.unwrap_or_default();
        text.push_str(&format!("{name} {}\n", String::from_utf8_lossy(&count)));
    }
    Ok(text)
}

fn said(error: Error) -> String {
    match error {
        Error::NoSuchStore => "there is no such store".to_owned(),
        Error::AccessDenied => "the store refuses".to_owned(),
        Error::Other(text) => text,
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    // Cannot fail: the status is between 100 and 999.
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

export!(Events);
