//! The trace context of the work under way. It follows calls through code that does not know of it.

use std::future::Future;

tokio::task_local! {
    static TRACEPARENT: String;
}

/// Runs `work` as part of a trace: the calls that it makes carry the W3C trace context `traceparent`.
pub async fn traced<F: Future>(traceparent: String, work: F) -> F::Output {
    TRACEPARENT.scope(traceparent, work).await
}

pub(super) fn current() -> Option<String> {
    TRACEPARENT.try_with(Clone::clone).ok()
}
