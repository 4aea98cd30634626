//! The access log: a line for each request, when its response is over.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use lattice_provider::http::{Body, BodyError};

/// A request that is under way.
pub(crate) struct Access {
    client: SocketAddr,
    method: Method,
    host: String,
    path: String,
    began: Instant,
    /// 0 until there is a response.
    status: u16,
    /// Of the response's body, in bytes.
    sent: u64,
    whole: bool,
}

impl Access {
    /// Without the query: it may hold what is nobody's business.
    pub(crate) fn begin<B>(client: SocketAddr, request: &Request<B>, host: &str) -> Self {
        Self {
            client,
            method: request.method().clone(),
            host: host.to_owned(),
            path: request.uri().path().to_owned(),
            began: Instant::now(),
            status: 0,
            sent: 0,
            whole: false,
        }
    }

    /// The response, which writes the line when it is over.
    pub(crate) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.status = response.status().as_u16();
        self.whole = response.body().is_end_stream();
        response.map(|body| Body::Stream(Box::pin(Followed { body, access: self })))
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        tracing::info!(
            target: "lattice::access",
            client = %self.client,
            method = %self.method,
            host = self.host,
            path = self.path,
            status = self.status,
            bytes = self.sent,
            ms = self.began.elapsed().as_secs_f64() * 1000.0,
            // The client went away, or the component failed in the middle.
            cut = !self.whole,
            "request"
        );
    }
}

struct Followed {
    body: Body,
    access: Access,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.access.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(_)) => {}
            None => this.access.whole = true,
        }
        // The server asks no more once it knows that this was the end.
        this.access.whole |= this.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
