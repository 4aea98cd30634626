//! hyper, by itself or in front of one call to something else.

use std::{convert::Infallible, net::Ipv4Addr};

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What is sent over NATS for a request: as long as the head of a small one.
const MESSAGE: &[u8] = &[b'x'; 100];

/// What answers a request where nothing is behind HTTP.
pub(crate) const GREETING: &[u8] = b"hello\n";

/// HTTP alone.
pub(super) async fn alone() -> Result<()> {
    serve(|| async { Ok(Bytes::from_static(GREETING)) }).await
}

/// HTTP -> a request over NATS -> back.
pub(super) async fn before_nats(url: &str, subject: String) -> Result<()> {
    let client = async_nats::connect(url).await?;
    let subject = async_nats::Subject::from(subject);
    serve(move || {
        let (client, subject) = (client.clone(), subject.clone());
        async move { Ok(client.request(subject, Bytes::from_static(MESSAGE)).await?.payload) }
    })
    .await
}

/// HTTP -> INCR in Redis -> back.
pub(super) async fn before_redis(url: &str, key: String) -> Result<()> {
    let connection = super::redis_connection(url).await?;
    serve(move || {
        let (mut connection, key) = (connection.clone(), key.clone());
        async move {
            let number: u64 = redis::cmd("INCR").arg(key).query_async(&mut connection).await?;
            Ok(Bytes::from(format!("{number}\n")))
        }
    })
    .await
}

async fn serve<F>(answer: impl Fn() -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<Bytes>> + Send,
{
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    super::ready(socket.local_addr()?);
    loop {
        let (stream, _) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => bail!("cannot accept: {error}"),
        };
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let answer = answer();
                async move { Ok::<_, Infallible>(respond(answer.await)) }
            });
            // The client closes its connections when it has what it wants.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn respond(answer: Result<Bytes>) -> Response<Full<Bytes>> {
    match answer {
        Ok(body) => Response::new(Full::new(body)),
        Err(error) => {
            let mut response = Response::new(Full::from(format!("{error:#}\n")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
