//! Sends on what it is sent, by WASI 0.2: `/?connect=MS&first=MS&between=MS&to=URL`, where all but `to` may be left out.
//! The response comes back as it comes; an error is a 502 with its name.

use guest_http::{
    Guest, number, read_each, respond, target,
    wasi::{
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, IncomingBody, IncomingRequest, IncomingResponse, Method, OutgoingBody,
                OutgoingRequest, OutgoingResponse, RequestOptions, ResponseOutparam, Scheme,
            },
        },
        io::streams::OutputStream,
    },
    write_all,
};

struct Fetcher;

impl Guest for Fetcher {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (_, query) = target(&request);
        match send(&request, &query) {
            Ok(response) => answer(response, out),
            Err(error) => respond(out, 502, format!("{error:?}\n")),
        }
    }
}

fn send(request: &IncomingRequest, query: &str) -> Result<IncomingResponse, ErrorCode> {
    let url = query.split_once("to=").map_or("", |(_, url)| url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let has_body = !matches!(request.method(), Method::Get | Method::Head);
    let outgoing = OutgoingRequest::new(Fields::new());
    let _ = outgoing.set_method(&request.method());
    let _ = outgoing.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http }));
    if outgoing.set_authority(Some(authority)).is_err() || outgoing.set_path_with_query(Some(path)).is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    let options = RequestOptions::new();
    let wait = |name| number(query, name).map(|ms| ms * 1_000_000);
    let _ = options.set_connect_timeout(wait("connect"));
    let _ = options.set_first_byte_timeout(wait("first"));
    let _ = options.set_between_bytes_timeout(wait("between"));
    let body = has_body.then(|| outgoing.body().ok()).flatten();
    let response = outgoing_handler::handle(outgoing, Some(options))?;
    if let Some(body) = body {
        if let (Ok(incoming), Ok(to)) = (request.consume(), body.write()) {
            if let Ok(from) = incoming.stream() {
                let _ = read_each(&from, |chunk| write_all(&to, chunk));
            }
        }
        let _ = OutgoingBody::finish(body, None);
    }
    response.subscribe().block();
    match response.get() {
        Some(Ok(outcome)) => outcome,
        Some(Err(())) | None => Err(ErrorCode::InternalError(None)),
    }
}

fn answer(response: IncomingResponse, out: ResponseOutparam) {
    let headers = Fields::new();
    for name in ["content-type", "location", "trailer"] {
        let values = response.headers().get(name);
        if !values.is_empty() {
            let _ = headers.set(name, &values);
        }
    }
    let ours = OutgoingResponse::new(headers);
    let _ = ours.set_status_code(response.status());
    let (Ok(incoming), Ok(body)) = (response.consume(), ours.body()) else { return };
    ResponseOutparam::set(out, Ok(ours));
    // Without `finish` the body counts as broken off, and the caller sees that.
    if !copy(&incoming, body.write().ok()) {
        return;
    }
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    let trailers = match trailers.get() {
        Some(Ok(Ok(Some(trailers)))) => Some(Fields::clone(&trailers)),
        _ => None,
    };
    let _ = OutgoingBody::finish(body, trailers);
}

fn copy(incoming: &IncomingBody, to: Option<OutputStream>) -> bool {
    let (Ok(from), Some(to)) = (incoming.stream(), to) else { return false };
    match read_each(&from, |chunk| write_all(&to, chunk)) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("response: {error}");
            false
        }
    }
}

guest_http::export!(Fetcher);
