//! One HTTP request that a component sends, and the same with hyper alone.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use lattice_host::runtime::{LoadedHttp, Runtime};
use lattice_provider::Provider;
use lattice_provider_http_client::{Config, HttpClientProvider};
use tokio::{net::TcpStream, sync::Mutex};

use super::inside::{self, Import};
use crate::{
    bench::Bench,
    report::{Row, Target},
    servers::{GREETING, spawn_http},
    stats::{like_a_host, one_by_one},
};

/// One kept connection of hyper's client. A lock, which nobody else ever has: a call has to have it to itself.
type Direct = Arc<Mutex<SendRequest<Empty<Bytes>>>>;

async fn connect(origin: SocketAddr) -> Result<Direct> {
    let stream = TcpStream::connect(origin).await?;
    // As the provider has it.
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Arc::new(Mutex::new(sender)))
}

async fn ask(direct: &Direct, origin: SocketAddr) -> Result<()> {
    let request = Request::get("/").header(header::HOST, origin.to_string()).body(Empty::new())?;
    let mut sender = direct.lock().await;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200 && body == GREETING, "the origin answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

pub(super) fn request(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let (_origin, origin) = spawn_http(dir.path(), &["hyper"])?;
    let (tasks, engine, times) = (like_a_host()?, Runtime::new()?, bench.times);
    let provider = tasks.block_on(HttpClientProvider::start(inside::context(dir.path())?, Config::default()))?;
    let import = Import {
        link: "wasi:http/outgoing-handler",
        interfaces: &["wasi:http/outgoing-handler@0.2.12"],
        allow: vec![format!("http://{origin}").parse()?],
    };
    let fetcher = |reuse| inside::component(bench, &engine, "fetcher", &import, &provider, reuse).map(Arc::new);
    let (fresh, reused) = (fetcher(1)?, fetcher(1000)?);
    let path: Arc<str> = format!("/?to=http://{origin}/").into();
    let through = |component: &Arc<LoadedHttp>| -> Result<f64> {
        let (component, path) = (component.clone(), path.clone());
        let mut latencies = one_by_one(&tasks, times, move || {
            let (component, path) = (component.clone(), path.clone());
            async move { inside::get(&component, &path, GREETING).await }
        })?;
        Ok(latencies.percentile(0.5))
    };
    let direct = tasks.block_on(connect(origin))?;
    let rounds = bench.rounds(|| {
        let (fresh, reused, direct) = (through(&fresh)?, through(&reused)?, direct.clone());
        let mut plain = one_by_one(&tasks, times, move || {
            let direct = direct.clone();
            async move { ask(&direct, origin).await }
        })?;
        Ok((fresh, reused, plain.percentile(0.5)))
    })?;
    let row = |name: &str, of: fn(&(f64, f64, f64)) -> f64| {
        Row::compared(name, "us", "hyper's client", rounds.iter().map(|round| (of(round), round.2)))
    };
    Ok(vec![
        row("http_client", |round| round.0).target(Target::RatioAtMost(1.5)).note(
            "p50 of a whole HTTP request to tests/guests/fetcher without a socket, which sends one to an origin on this \
             machine: fresh instance, both requests and responses through wasi:http, the link's checks, a kept connection",
        ),
        row("http_client.reuse", |round| round.1).note("the same with an instance that lives on"),
    ])
}
