//! Sends on what it is sent, by WASI 0.3: `/?to=URL`. The response comes back as it comes; an error is a 502 with its name.

use exports::wasi::http::handler::Guest;
use wasi::http::{
    client,
    types::{ErrorCode, Fields, Method, Request, Response, Scheme},
};
use wit_bindgen::spawn_local;

wit_bindgen::generate!({ path: "../../../wit/p3", world: "http", generate_all });

struct Fetcher;

impl Guest for Fetcher {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        match send(request, &target).await {
            Ok(response) => {
                let status = response.get_status_code();
                let headers = response.get_headers();
                let ours = Fields::new();
                for name in ["content-type", "location", "trailer"] {
                    for value in headers.get(name) {
                        let _ = ours.append(name, &value);
                    }
                }
                let (_, done) = wit_future::new(|| Ok(()));
                let (body, trailers) = Response::consume_body(response, done);
                let (response, _) = Response::new(ours, Some(body), trailers);
                let _ = response.set_status_code(status);
                Ok(response)
            }
            Err(error) => {
                let (mut writer, body) = wit_stream::new();
                spawn_local(async move {
                    writer.write_all(format!("{error:?}\n").into_bytes()).await;
                });
                let (_, trailers) = wit_future::new(|| Ok(None));
                let (response, _) = Response::new(Fields::new(), Some(body), trailers);
                let _ = response.set_status_code(502);
                Ok(response)
            }
        }
    }
}

async fn send(request: Request, target: &str) -> Result<Response, ErrorCode> {
    let url = target.split_once("to=").map_or("", |(_, url)| url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let method = request.get_method();
    let (outgoing, _) = if matches!(method, Method::Get | Method::Head) {
        let (_, trailers) = wit_future::new(|| Ok(None));
        Request::new(Fields::new(), None, trailers, None)
    } else {
        let (_, done) = wit_future::new(|| Ok(()));
        let (body, trailers) = Request::consume_body(request, done);
        Request::new(Fields::new(), Some(body), trailers, None)
    };
    let _ = outgoing.set_method(&method);
    let _ = outgoing.set_scheme(Some(&if scheme == "https" { Scheme::Https } else { Scheme::Http }));
    if outgoing.set_authority(Some(authority)).is_err() || outgoing.set_path_with_query(Some(path)).is_err() {
        return Err(ErrorCode::HttpRequestUriInvalid);
    }
    client::send(outgoing).await
}

export!(Fetcher);
