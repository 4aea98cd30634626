//! A component that answers an HTTP request by `wasi:http/incoming-handler@0.2`, without a task of its own.
//!
//! The guest is polled by whoever wants the response: first for its head, then, inside the body, for what follows.
//! Only a guest that goes on after its body has ended gets a task, to end in peace. Dropping the response ends it.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use lattice::{
    trace::{self, Place, inside},
    wire::{CallError, header::TRACEPARENT},
};
use lattice_provider::http::{Body, BodyError, HttpHandler};
use tokio::{sync::oneshot, time::Sleep};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::http::types::{ErrorCode, Scheme},
        body::HyperOutgoingBody,
    },
};

use super::{
    component::{HttpExport, LoadedComponent, Permit},
    concurrent,
};

type Outcome = Result<Response<HyperOutgoingBody>, ErrorCode>;

#[async_trait]
impl HttpHandler for LoadedHttp {
    async fn handle(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        let component = &self.0;
        if trace::is_recorded()
            && let Some(context) = trace::current()
            && let Ok(context) = HeaderValue::try_from(context.to_string())
        {
            // What the guest sends on is a part of its own work, not of its caller's.
            request.headers_mut().insert(TRACEPARENT, context);
        }
        let permit = component.permit()?;
        if let Some(HttpExport::Service(_)) = &component.blueprint.http {
            let answered = concurrent::handle(component, permit, request).await;
            let answered = answered.inspect(|response| component.answered(response.status()));
            return answered.inspect_err(|error| component.record(error));
        }
        let (sender, receiver) = oneshot::channel();
        let mut run = Run::new(component.clone(), permit, request, sender);
        let mut head = receiver;
        let outcome = std::future::poll_fn(|cx| run.poll_head(cx, &mut head)).await;
        let response = outcome.inspect_err(|error| component.record(error))?;
        component.answered(response.status());
        let (parts, body) = response.into_parts();
        Ok(Response::from_parts(parts, run.into_body(body)))
    }
}

/// A loaded component as an HTTP handler.
pub struct LoadedHttp(pub Arc<LoadedComponent>);

/// Ends when the guest has ended.
type GuestWork = dyn Future<Output = Result<(), CallError>> + Send;

/// A guest at work on one request.
struct Run {
    component: Arc<LoadedComponent>,
    /// `None` when it has ended.
    guest: Option<Pin<Box<GuestWork>>>,
    deadline: Instant,
    /// Made when the guest first waits: most calls never do, and a timer for each would cost more than it gives.
    timer: Option<Pin<Box<Sleep>>>,
    /// Where its work belongs, whoever lets it work.
    place: Option<Place>,
}

impl Run {
    fn new(
        component: Arc<LoadedComponent>,
        permit: Permit,
        request: Request<Body>,
        sender: oneshot::Sender<Outcome>,
    ) -> Self {
        let deadline = Instant::now() + component.timeout;
        let guest = Box::pin(answer(component.clone(), permit, request, sender));
        Self { component, guest: Some(guest), deadline, timer: None, place: trace::place() }
    }

    /// Lets the guest work. Ready when it has ended, well or not.
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let Some(guest) = &mut self.guest else { return Poll::Ready(Ok(())) };
        if let Poll::Ready(result) = inside(self.place.as_ref(), || guest.as_mut().poll(cx)) {
            self.guest = None;
            return Poll::Ready(result);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline.into())));
        if timer.as_mut().poll(cx).is_ready() {
            self.guest = None;
            return Poll::Ready(Err(CallError::Deadline(self.component.timeout)));
        }
        Poll::Pending
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut oneshot::Receiver<Outcome>,
    ) -> Poll<Result<Response<HyperOutgoingBody>, CallError>> {
        let ended = match self.poll_guest(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        match Pin::new(head).poll(cx) {
            Poll::Ready(Ok(Ok(response))) => Poll::Ready(Ok(response)),
            Poll::Ready(Ok(Err(code))) => {
                Poll::Ready(Err(CallError::Trap(format!("the component answered with the error {code:?}"))))
            }
            Poll::Ready(Err(_)) if ended => {
                Poll::Ready(Err(CallError::Trap("the component ended without a response".into())))
            }
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// The body of the response. When the guest has ended all of it is there: a body of one piece then becomes one
    /// whole, which goes out with its length in one write.
    fn into_body(self, mut inner: HyperOutgoingBody) -> Body {
        if self.guest.is_some() {
            return Body::Stream(Box::pin(GuestBody { run: Some(self), inner, ready: VecDeque::new() }));
        }
        let mut ready = VecDeque::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        loop {
            match Pin::new(&mut inner).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => ready.push_back(frame),
                Poll::Ready(None) if ready.is_empty() => return Body::Empty,
                Poll::Ready(None) if ready.len() == 1 && ready.front().is_some_and(Frame::is_data) => {
                    let whole = ready.pop_front().and_then(|frame| frame.into_data().ok());
                    return Body::Full(whole.unwrap_or_default());
                }
                Poll::Ready(None | Some(Err(_))) | Poll::Pending => {
                    return Body::Stream(Box::pin(GuestBody { run: Some(self), inner, ready }));
                }
            }
        }
    }
}

/// The guest's side of a call, from an instance to its end.
async fn answer(
    component: Arc<LoadedComponent>,
    _permit: Permit,
    request: Request<Body>,
    sender: oneshot::Sender<Outcome>,
) -> Result<(), CallError> {
    let Some(HttpExport::Proxy(indices)) = &component.blueprint.http else {
        return Err(CallError::NotServed(format!("{} answers no HTTP requests", component.unit())));
    };
    let mut instance = component.plain_instance(component.timeout).await?;
    let bad = |error: wasmtime::Error| CallError::BadMessage(format!("{error:#}"));
    let (store, proxy) = instance.http(indices).map_err(bad)?;
    let scheme = if request.uri().scheme_str() == Some("https") { Scheme::Https } else { Scheme::Http };
    let request = request.map(GuestInput);
    let request = store.data_mut().http().new_incoming_request(scheme, request).map_err(bad)?;
    let out = store.data_mut().http().new_response_outparam(sender).map_err(bad)?;
    match proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out).await {
        Ok(()) => {
            component.give_back(instance);
            Ok(())
        }
        Err(error) => Err(component.explain(store, &error)),
    }
}

/// A request's body as the guest reads it.
pub(super) struct GuestInput(pub(super) Body);

impl http_body::Body for GuestInput {
    type Data = Bytes;
    type Error = wasmtime_wasi_http::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|error| {
            tracing::debug!(%error, "a request's body ended early");
            match error.downcast_ref() {
                Some(CallError::TooLarge { size, .. }) => wasmtime_wasi_http::Error::HttpRequestBodySize(Some(*size)),
                _ => wasmtime_wasi_http::Error::ConnectionTerminated,
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

/// A response's body, with the guest that writes it.
struct GuestBody {
    run: Option<Run>,
    inner: HyperOutgoingBody,
    /// Frames that were there already.
    ready: VecDeque<Frame<Bytes>>,
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let this = &mut *self;
        if let Some(run) = &mut this.run
            && let Poll::Ready(ended) = run.poll_guest(cx)
        {
            let component = run.component.clone();
            this.run = None;
            if let Err(error) = ended {
                // The head is out: all that can still be told is that the body is not whole.
                component.record(&error);
                return Poll::Ready(Some(Err(error.into())));
            }
        }
        let frame = Pin::new(&mut this.inner).poll_frame(cx).map_err(BodyError::from);
        if let Poll::Ready(None) = frame
            && let Some(run) = this.run.take()
        {
            finish(run);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.run.is_none() && self.inner.is_end_stream()
    }
}

/// Lets a guest that has answered come to its own end, within its deadline.
fn finish(mut run: Run) {
    const LEAST: Duration = Duration::from_millis(100);
    run.deadline = run.deadline.max(Instant::now() + LEAST);
    tokio::spawn(async move {
        if let Err(error) = std::future::poll_fn(|cx| run.poll_guest(cx)).await {
            run.component.record(&error);
        }
    });
}
