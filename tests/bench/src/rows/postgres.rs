//! One row out of PostgreSQL through a component, and with tokio-postgres alone.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Request;
use lattice_host::runtime::{LoadedHttp, Runtime};
use lattice_provider::{Provider, conformance::servers::PostgresServer, http::Body};
use lattice_provider_postgres::Postgres;
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls, Statement};

use super::inside::{self, Import};
use crate::{
    bench::Bench,
    report::{Row, Target},
    stats::{like_a_host, one_by_one},
};

/// The statement of examples/guestbook that shows its entries, and what is shown at most.
const SHOW: &str = "SELECT guest, entry FROM guestbook WHERE $1 = '' OR guest = $1 ORDER BY id DESC LIMIT $2";
const SHOWN: i64 = 20;
const GUEST: &str = "ann";
const ENTRY: &str = "It was good, and not expensive.";

/// The statement, prepared on a connection of our own.
struct Direct {
    client: Client,
    show: Statement,
}

impl Direct {
    async fn connect(server: &PostgresServer) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).await?;
        // As the provider has it.
        stream.set_nodelay(true)?;
        let config: tokio_postgres::Config = server.url().parse()?;
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tokio::spawn(connection);
        let show = client.prepare(SHOW).await?;
        Ok(Self { client, show })
    }

    async fn show(&self) -> Result<()> {
        let rows = self.client.query(&self.show, &[&GUEST, &SHOWN]).await?;
        ensure!(rows.len() == 1, "{} rows, not one", rows.len());
        ensure!(rows[0].try_get::<_, &str>(0)? == GUEST && rows[0].try_get::<_, &str>(1)? == ENTRY, "another row");
        Ok(())
    }
}

pub(super) fn query(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let server = PostgresServer::start()?;
    let (tasks, engine, times) = (like_a_host()?, Runtime::new()?, bench.times);
    let config = serde_json::from_value(serde_json::json!({ "url": server.url() }))?;
    let provider = tasks.block_on(Postgres::start(inside::context(dir.path())?, config))?;
    let import =
        Import { link: "wasmcloud:postgres", interfaces: &["wasmcloud:postgres/query@0.1.1-draft"], allow: Vec::new() };
    let guestbook = |reuse| inside::component(bench, &engine, "guestbook", &import, &provider, reuse).map(Arc::new);
    let (fresh, reused) = (guestbook(1)?, guestbook(1000)?);
    tasks.block_on(write(&fresh))?;
    let direct = Arc::new(tasks.block_on(Direct::connect(&server))?);
    let shown: Arc<str> = format!("{GUEST}: {ENTRY}\n").into();
    let through = |component: &Arc<LoadedHttp>| -> Result<f64> {
        let (component, shown) = (component.clone(), shown.clone());
        let mut latencies = one_by_one(&tasks, times, move || {
            let (component, shown) = (component.clone(), shown.clone());
            async move { inside::get(&component, &format!("/{GUEST}"), shown.as_bytes()).await }
        })?;
        Ok(latencies.percentile(0.5))
    };
    let rounds = bench.rounds(|| {
        let (fresh, reused, direct) = (through(&fresh)?, through(&reused)?, direct.clone());
        let mut plain = one_by_one(&tasks, times, move || {
            let direct = direct.clone();
            async move { direct.show().await }
        })?;
        Ok((fresh, reused, plain.percentile(0.5)))
    })?;
    let row = |name: &str, of: fn(&(f64, f64, f64)) -> f64| {
        Row::compared(name, "us", "tokio-postgres, prepared", rounds.iter().map(|round| (of(round), round.2)))
    };
    Ok(vec![
        row("pg_query", |round| round.0).target(Target::RatioAtMost(1.5)).note(
            "p50 of a whole HTTP request to examples/guestbook without a socket: fresh instance, request and response \
             through wasi:http, one row of wasmcloud:postgres/query",
        ),
        row("pg_query.reuse", |round| round.1).note("the same with an instance that lives on"),
    ])
}

/// The one entry. The guest book makes its table.
async fn write(guestbook: &LoadedHttp) -> Result<()> {
    let entry = Body::Full(Bytes::from_static(ENTRY.as_bytes()));
    let request = Request::post(format!("http://localhost/{GUEST}")).body(entry)?;
    let (status, body) = inside::send(guestbook, request).await?;
    ensure!(status == 201, "the guest book answered {status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}
