//! A component behind HTTP the way `wasmtime serve` does it: wasmtime-wasi-http's own handler, the pooling allocator
//! as it comes, a task for each connection and each request, and as many requests for an instance as `wasmtime serve`
//! gives it: one where it is of WASI 0.2, 128 where it is of 0.3, 16 of them at a time.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    time::{Sleep, sleep_until},
};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, StoreContextMut, StoreLimits,
    component::{Component, GuestTaskId, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    handler::{
        HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
    },
    p2, p3,
};

/// The data of a store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    limits: StoreLimits,
    hooks: NoClient,
}

impl Guest {
    pub(crate) fn new() -> Self {
        Self {
            wasi: WasiCtx::builder().inherit_stdout().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            limits: StoreLimits::default(),
            hooks: NoClient,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The components that are measured send no requests of their own.
struct NoClient;

impl WasiHttpHooks for NoClient {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = SendResult> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

type SendResult = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

/// How many requests one instance may have.
#[derive(Clone, Copy)]
struct Reuse {
    in_all: usize,
    at_a_time: usize,
}

const OF_0_2: Reuse = Reuse { in_all: 1, at_a_time: 1 };
const OF_0_3: Reuse = Reuse { in_all: 128, at_a_time: 16 };
/// How long an instance of 0.3 is kept without a request.
const IDLE: Duration = Duration::from_secs(1);

/// Makes instances.
struct Instances {
    engine: Engine,
    pre: ProxyPre<Guest>,
    reuse: Reuse,
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Idle;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Idle, Reuse>> {
        let mut store = Store::new(&self.engine, Guest::new());
        store.limiter(|guest| &mut guest.limits);
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let (view, state) = (WasiHttpView::http as fn(&mut Guest) -> WasiHttpCtxView<'_>, self.reuse);
        Ok(Instance { store, proxy, view, expiration: Idle(None), state })
    }
}

/// Ends an instance that has nothing to do; no time limit for requests, as without `-W timeout`.
struct Idle(Option<Pin<Box<Sleep>>>);

impl WorkerExpiration for Idle {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>, status: WorkerStatus, since: Instant) -> Poll<()> {
        if status != WorkerStatus::Idle {
            return Poll::Pending;
        }
        let until = (since + IDLE).into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

impl WorkerState for Reuse {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, now: usize, total: usize) -> ShouldAccept {
        if total >= self.in_all {
            ShouldAccept::Never
        } else if now >= self.at_a_time {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<Guest>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("worker error: {error:?}");
        }
    }
}

pub(super) async fn serve(file: &Path) -> Result<()> {
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default()));
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    p3::add_to_linker(&mut linker)?;
    let pre = linker.instantiate_pre(&Component::from_file(&engine, file)?)?;
    let (pre, reuse) = match p3::bindings::ServicePre::new(pre.clone()) {
        Ok(pre) => (ProxyPre::P3(pre), OF_0_3),
        Err(_) => (ProxyPre::P2(p2::bindings::ProxyPre::new(pre)?), OF_0_2),
    };
    let handler = ProxyHandler::new(Instances { engine, pre, reuse });
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    super::ready(socket.local_addr()?);
    loop {
        let (stream, _) = socket.accept().await?;
        stream.set_nodelay(true)?;
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let handler = handler.clone();
                async move { Ok::<_, Infallible>(respond(&handler, request).await) }
            });
            // The client closes its connections when it has what it wants.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn respond(handler: &ProxyHandler<Instances>, request: Request<Incoming>) -> Response<WasiBody> {
    let request = request.map(|body| body.map_err(|_| Error::HttpProtocolError).boxed_unsync());
    match handler.handle((), request).await {
        Ok(response) => response,
        Err(error) => {
            let body = Full::from(format!("{error:#}\n")).map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
