//! Imports an interface that nobody serves.

use guest_http::{
    Guest, respond,
    wasi::http::types::{IncomingRequest, ResponseOutparam},
};

wit_bindgen::generate!({
    inline: r#"
        package acme:pricing@1.0.0;
        interface quote {
            /// The price of an article in cents.
            price: func(article: string) -> u64;
        }
        world customer {
            import quote;
        }
    "#,
});

struct Nobody;

impl Guest for Nobody {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        respond(out, 200, format!("{}\n", acme::pricing::quote::price("apple")));
    }
}

guest_http::export!(Nobody);
