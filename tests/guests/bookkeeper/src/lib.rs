//! Calls a book that somebody else keeps, and answers over HTTP what came of it.
//!
//! `/post?account=A&amount=N`, with `&note=T` or `&large=BYTES` for a note of that size; `/balance?account=A`;
//! `/history?account=A&limit=N`

use guest_http::{
    Guest, number, respond, target,
    wasi::http::types::{IncomingRequest, ResponseOutparam},
};

wit_bindgen::generate!({
    inline: r#"
        package test:bookkeeper;
        world bookkeeper {
            import acme:ledger/book@1.0.0;
        }
    "#,
    path: "../../../examples/ledger/wit",
    world: "test:bookkeeper/bookkeeper",
    generate_all,
});

use acme::ledger::book::{self, Entry};

struct Bookkeeper;

fn text(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v.to_owned())
}

impl Guest for Bookkeeper {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        let account = text(&query, "account").unwrap_or_default();
        let answer = match path.as_str() {
            "/post" => {
                let amount = text(&query, "amount").and_then(|amount| amount.parse().ok()).unwrap_or(0);
                let large = number(&query, "large").map(|bytes| "x".repeat(bytes as usize));
                format!("{:?}", book::post(&Entry { account, amount, note: text(&query, "note").or(large) }))
            }
            "/balance" => format!("{:?}", book::balance(&account)),
            "/history" => format!("{:?}", book::history(&account, number(&query, "limit").unwrap_or(10) as u32)),
            _ => "ok".to_owned(),
        };
        respond(out, 200, format!("{answer}\n"));
    }
}

guest_http::export!(Bookkeeper);
