//! Bodies on their way through a connection.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1};
use lattice::{
    model::outbound::Origin,
    wire::{FaultCode, HttpFault},
};
use lattice_provider::http::{Body, BodyError};
use tokio::time::{Instant, Sleep};

use crate::{
    fault::{self, Stage},
    pool::{Pool, Sender},
};

/// When a request's body went on last.
#[derive(Clone)]
pub(crate) struct Progress {
    begun: Instant,
    /// In milliseconds since then.
    last: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), last: Arc::default() }
    }

    pub(crate) fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    fn note(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// The body of a request.
pub(crate) struct Upload {
    pub(crate) body: Body,
    pub(crate) progress: Progress,
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_ready() {
            self.progress.note();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Gives a connection back when the response has been read.
pub(crate) struct GiveBack {
    pub(crate) pool: Arc<Pool>,
    pub(crate) origin: Origin,
    pub(crate) address: IpAddr,
    pub(crate) sender: http1::SendRequest<Upload>,
}

/// How long a connection may take to be ready again when its response has ended, as the request may not have.
const READY: Duration = Duration::from_secs(5);

impl GiveBack {
    fn now(self) {
        let Self { pool, origin, address, mut sender } = self;
        if sender.is_ready() {
            pool.keep(&origin, Sender::Older(sender), address);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Ok(Ok(())) = tokio::time::timeout(READY, sender.ready()).await {
                    pool.keep(&origin, Sender::Older(sender), address);
                }
            });
        }
    }
}

/// The body of a response.
pub(crate) struct Download {
    inner: Incoming,
    back: Option<GiveBack>,
    /// Between two pieces.
    limit: Duration,
    /// Made when the body first waits.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Download {
    pub(crate) fn wrap(inner: Incoming, back: Option<GiveBack>, limit: Duration) -> Body {
        let mut download = Self { inner, back, limit, timer: None, waiting: false };
        if download.inner.is_end_stream() {
            download.end();
            return Body::Empty;
        }
        Body::Stream(Box::pin(download))
    }

    fn end(&mut self) {
        if let Some(back) = self.back.take() {
            back.now();
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.waiting, true) {
            let until = Instant::now() + self.limit;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

impl http_body::Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            if this.poll_late(cx).is_pending() {
                return Poll::Pending;
            }
            this.back = None;
            return Poll::Ready(Some(Err(HttpFault::from(FaultCode::ConnectionReadTimeout).into())));
        };
        this.waiting = false;
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if this.inner.is_end_stream() {
                    this.end();
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                this.back = None;
                Some(Err(fault::exchange(&error, Stage::Body).into()))
            }
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
