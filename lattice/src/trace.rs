//! The trace that the work under way belongs to, and what of it is recorded.
//!
//! Which trace that is follows calls through code that does not know of it: it belongs to the task, or to whoever polls a future
//! by [`under`]. A *span* is one piece of work, with its beginning, its end and what can be said of it. Spans are recorded where
//! the process has been told where they go ([`record`]) and the trace is one of those that are recorded; everywhere else they are
//! not made, and the only cost is to ask.
//!
//! ```
//! # use lattice::trace::{self, Kind, Span, spanned};
//! # use lattice::wire::UnitId;
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let unit: UnitId = "shop/cart".parse().unwrap();
//! let (send, spans) = std::sync::mpsc::channel::<(UnitId, Span)>();
//! trace::record(1.0, move |unit, span| drop(send.send((unit, span))));
//! let work = async { Err::<(), _>("no bread") };
//! let outer = trace::root(Kind::Server, &unit, || "order".into());
//! let _ = spanned(outer, async { spanned(trace::below(Kind::Client, &unit, || "bake".into()), work).await }).await;
//! let (bake, order) = (spans.recv().unwrap().1, spans.recv().unwrap().1);
//! assert_eq!((bake.name.as_str(), bake.error.as_deref()), ("bake", Some("no bread")));
//! assert_eq!(bake.parent, Some(order.context));
//! # });
//! ```

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Display,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll, ready},
    time::{SystemTime, UNIX_EPOCH},
};

use pin_project_lite::pin_project;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::{Interface, TraceContext, UnitId};

/// Where work belongs: the span that it is a part of, and who does it, where that span is one of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    context: TraceContext,
    unit: Option<UnitId>,
}

impl From<TraceContext> for Place {
    fn from(context: TraceContext) -> Self {
        Self { context, unit: None }
    }
}

tokio::task_local! {
    static CURRENT: Place;
}

impl Place {
    /// The id of the trace: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        self.context.trace_id()
    }
}

/// Where the spans of this process go, and which traces that begin here are recorded.
struct Recorder {
    /// From 0, none, to 1, all.
    part: f64,
    take: Box<dyn Fn(UnitId, Span) + Send + Sync>,
}

static RECORDER: OnceLock<Recorder> = OnceLock::new();

/// From now on spans go to `take`: of traces that have begun elsewhere and are recorded there, and of this part (0 to 1) of those that
/// begin here. Once for a process; `false` when there was somebody already.
pub fn record(part: f64, take: impl Fn(UnitId, Span) + Send + Sync + 'static) -> bool {
    RECORDER.set(Recorder { part, take: Box::new(take) }).is_ok()
}

/// Whether spans are recorded in this process.
pub fn is_on() -> bool {
    RECORDER.get().is_some()
}

/// Takes a span that another process has recorded for `unit`.
pub fn hand_in(unit: &UnitId, span: Span) {
    if let Some(recorder) = RECORDER.get() {
        (recorder.take)(unit.clone(), span);
    }
}

/// What the work under way belongs to; `None` when that is no trace.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|place| place.context).ok()
}

/// The same, for work that goes on elsewhere.
pub fn place() -> Option<Place> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Whether spans of the work under way are recorded here.
pub fn is_recorded() -> bool {
    is_on() && current().is_some_and(|context| context.sampled)
}

/// The id of the trace that the work under way belongs to, where its spans are recorded here: what a line of a log says of it.
pub fn recorded_id() -> Option<String> {
    is_recorded().then(current)?.map(|context| context.trace_id())
}

/// What a span is, as others see it: the words of OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Internal,
    /// Work for who has called.
    Server,
    /// A call, and waiting for its answer.
    Client,
    /// A message that is sent,
    Producer,
    /// and one that is taken.
    Consumer,
}

/// What is said of a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Number(i64),
    Text(String),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// A piece of work that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub context: TraceContext,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TraceContext>,
    pub name: String,
    pub kind: Kind,
    /// In nanoseconds since 1970, by the clock of the machine.
    pub began: u64,
    pub ended: u64,
    /// By the names of OpenTelemetry's semantic conventions, where there are such.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<Cow<'static, str>, Value>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Work under way that is recorded. What is dropped before it was said how it ended has been given up.
#[derive(Debug)]
pub struct Open(Option<Box<(UnitId, Span)>>);

/// A span of the work under way, when that is recorded. `unit` does the work; `name` is asked for only then.
pub fn below(kind: Kind, unit: &UnitId, name: impl FnOnce() -> String) -> Option<Open> {
    RECORDER.get()?;
    let parent = current().filter(|context| context.sampled)?;
    Open::new(parent.with_span(new_span())?, Some(parent), kind, unit, name)
}

/// The same, done by who does the work under way.
pub fn step(kind: Kind, name: impl FnOnce() -> String) -> Option<Open> {
    RECORDER.get()?;
    let unit = place()?.unit?;
    below(kind, &unit, name)
}

/// A span of work that begins here: of a trace of its own when the work under way belongs to none, and that is one of those that are
/// recorded.
pub fn root(kind: Kind, unit: &UnitId, name: impl FnOnce() -> String) -> Option<Open> {
    let recorder = RECORDER.get()?;
    if current().is_some() {
        return below(kind, unit, name);
    }
    let trace = Uuid::new_v4().into_bytes();
    // The last seven bytes are as good as random, and others that sample look at them, too.
    let [.., a, b, c, d, e, f, g] = trace;
    let chance = u64::from_be_bytes([0, a, b, c, d, e, f, g]) as f64 / (1u64 << 56) as f64;
    if chance >= recorder.part {
        return None;
    }
    Open::new(TraceContext::new(trace, new_span(), true)?, None, kind, unit, name)
}

/// A trace of its own that nobody records: by its id it is known what is a part of one work.
pub fn unrecorded() -> Option<Place> {
    TraceContext::new(Uuid::new_v4().into_bytes(), new_span(), false).map(Place::from)
}

fn new_span() -> [u8; 8] {
    let [span @ .., _, _, _, _, _, _, _, _] = Uuid::new_v4().into_bytes();
    span
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

impl Open {
    fn new(
        context: TraceContext,
        parent: Option<TraceContext>,
        kind: Kind,
        unit: &UnitId,
        name: impl FnOnce() -> String,
    ) -> Option<Self> {
        let (name, began) = (name(), now());
        let span = Span { context, parent, name, kind, began, ended: began, attributes: BTreeMap::new(), error: None };
        Some(Self(Some(Box::new((unit.clone(), span)))))
    }

    /// What those are told that go on with it elsewhere.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.1.context)
    }

    /// Where what is done in it belongs.
    pub fn place(&self) -> Option<Place> {
        self.0.as_ref().map(|open| Place { context: open.1.context, unit: Some(open.0.clone()) })
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.0 {
            open.1.attributes.insert(key.into(), value.into());
        }
    }

    /// The same, of a new one.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// It has ended; with an error, badly.
    pub fn end(mut self, error: Option<&dyn Display>) {
        self.close(error);
    }

    fn close(&mut self, error: Option<&dyn Display>) {
        let Some(open) = self.0.take() else { return };
        let (unit, mut span) = *open;
        // The clock may have been set back.
        span.ended = now().max(span.began);
        span.error = error.map(|error| error.to_string());
        hand_in(&unit, span);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close(Some(&"nobody waited for it any more"));
    }
}

/// A span for a call of a function, which is named like it.
pub fn call(kind: Kind, unit: &UnitId, interface: &Interface, function: &str) -> Option<Open> {
    let open = below(kind, unit, || format!("{}.{function}", interface.unversioned()))?;
    Some(open.with("rpc.service", interface.to_string()).with("rpc.method", function))
}

pin_project! {
    /// See [`under`].
    pub struct Under<F> {
        place: Option<Place>,
        #[pin]
        work: F,
    }
}

/// Work that belongs to `place`, or where there is none to what it belonged to before.
pub fn under<F: Future>(place: Option<Place>, work: F) -> Under<F> {
    Under { place, work }
}

impl<F: Future> Future for Under<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        inside(this.place.as_ref(), || this.work.poll(cx))
    }
}

/// The same of work that does not wait.
pub fn inside<T>(place: Option<&Place>, work: impl FnOnce() -> T) -> T {
    match place {
        Some(place) => CURRENT.sync_scope(place.clone(), work),
        None => work(),
    }
}

pin_project! {
    /// See [`spanned`].
    pub struct Spanned<F> {
        open: Option<Open>,
        #[pin]
        work: F,
    }
}

/// Work in a span of its own, which ends with it, well or not; without a span just the work.
pub fn spanned<T, E: Display, F: Future<Output = Result<T, E>>>(open: Option<Open>, work: F) -> Spanned<F> {
    Spanned { open, work }
}

impl<T, E: Display, F: Future<Output = Result<T, E>>> Future for Spanned<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let place = this.open.as_ref().and_then(Open::place);
        let outcome = ready!(inside(place.as_ref(), || this.work.poll(cx)));
        if let Some(open) = this.open.take() {
            open.end(outcome.as_ref().err().map(|error| error as &dyn Display));
        }
        Poll::Ready(outcome)
    }
}
