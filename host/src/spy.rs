//! Calls that somebody looks at. While nobody does, a call pays for one look at a flag.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use lattice::{
    model::{
        recording::{Raw, RawCall, RawOutcome},
        spy::{Call, MOST_CALLS, MOST_KEPT, MOST_RAW, MOST_TEXT, MOST_TOLD, Outcome, Page, Query, SHOWS, Value, Way},
    },
    trace::{self, Place},
    wire::{
        CallError, ClientReplyHead, ClientRequestHead, RequestHead, ResponseHead, UnitId, decode_http, value::json,
    },
};
use serde_json::json;

use crate::{links::Outgoing, logbook::now};

/// What is looked at, and what was seen.
pub(crate) struct Spy {
    /// Whether anybody looks.
    on: AtomicBool,
    /// Of those who look at a part: the calls that they might have seen.
    count: AtomicU64,
    // A lock, held to add a call or to copy some, and only while somebody looks.
    seen: Mutex<Seen>,
    began: u64,
}

#[derive(Default)]
struct Seen {
    /// Who looks, and until when.
    queries: Vec<(Query, Instant)>,
    calls: VecDeque<Call>,
    /// What they have of whole calls, in bytes.
    raw: usize,
    last: u64,
}

/// A call that is looked at, while it is under way.
pub(crate) struct Watched {
    at_us: u64,
    began: Instant,
    whole: bool,
    /// The trace that it belongs to.
    trace: Option<String>,
    /// Where its work belongs, when it would belong to nothing else.
    pub(crate) place: Option<Place>,
}

impl Watched {
    fn new(whole: bool) -> Self {
        let current = trace::place();
        let place = if whole && current.is_none() { trace::unrecorded() } else { None };
        let trace = match whole {
            true => current.as_ref().or(place.as_ref()).map(Place::trace_id),
            false => trace::recorded_id(),
        };
        Self { at_us: now(), began: Instant::now(), whole, trace, place }
    }
}

impl Default for Spy {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), count: AtomicU64::new(0), seen: Mutex::default(), began: now() }
    }
}

impl Spy {
    /// Whether a call from one unit to another is looked at.
    pub(crate) fn sees(&self, from: &UnitId, to: &UnitId) -> bool {
        self.on.load(Ordering::Relaxed) && self.is_asked_for(from, to)
    }

    #[cold]
    fn is_asked_for(&self, from: &UnitId, to: &UnitId) -> bool {
        let mut seen = self.seen();
        self.forget(&mut seen);
        seen.queries.iter().any(|(query, _)| query.asks_for(from, to))
    }

    /// The same of calls that are shown as a whole.
    pub(crate) fn sees_whole(&self, from: &UnitId, to: &UnitId) -> bool {
        self.on.load(Ordering::Relaxed)
            && self.seen().queries.iter().any(|(query, _)| query.whole && query.asks_for(from, to))
    }

    /// Begins to look at a call, if it is one of those that are shown.
    pub(crate) fn watch(&self, from: &UnitId, to: &UnitId) -> Option<Watched> {
        if !self.on.load(Ordering::Relaxed) {
            return None;
        }
        let mut seen = self.seen();
        self.forget(&mut seen);
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let shown = |(query, _): &(Query, Instant)| {
            query.asks_for(from, to) && count.is_multiple_of(u64::from(query.sample.max(1)))
        };
        let mut queries = seen.queries.iter().filter(|query| shown(query)).peekable();
        queries.peek()?;
        Some(Watched::new(queries.any(|(query, _)| query.whole)))
    }

    /// Keeps a call of a function that has ended.
    pub(crate) fn saw(
        &self,
        watched: Watched,
        (from, to, way): (&UnitId, &UnitId, Way),
        call: &Outgoing<'_>,
        outcome: Result<&Bytes, &CallError>,
    ) {
        let names = (call.interface.to_string(), call.function.to_owned());
        let raw = watched.whole.then(|| whole((from, to), call, outcome)).flatten();
        let arguments = match call.shape {
            Some(shape) => value(json::arguments_to_json(shape, &call.payload).ok(), call.payload.len()),
            None => {
                request(&call.payload).map_or(Value::Bytes(call.payload.len()), |head| asked(&head.method, &head.uri))
            }
        };
        let returned = |bytes: &Bytes| match call.shape {
            Some(shape) => value(json::result_to_json(shape.result.as_ref(), bytes).ok(), bytes.len()),
            None => {
                response(bytes).map_or(Value::Bytes(bytes.len()), |head| Value::Json(json!({ "status": head.status })))
            }
        };
        self.keep(watched, (from, to, way), names, arguments, outcome.map(returned), raw);
    }

    /// Keeps an HTTP request that was answered inside the process.
    pub(crate) fn saw_request<B>(
        &self,
        watched: Watched,
        (from, to): (&UnitId, &UnitId),
        asked: Value,
        outcome: &Result<Response<B>, CallError>,
    ) {
        let names = (lattice_provider::http::interface().to_string(), lattice_provider::http::HANDLE.to_owned());
        let status = |response: &Response<B>| Value::Json(json!({ "status": response.status().as_u16() }));
        self.keep(watched, (from, to, Way::Local), names, asked, outcome.as_ref().map(status), None);
    }

    fn keep(
        &self,
        watched: Watched,
        (from, to, way): (&UnitId, &UnitId, Way),
        (interface, function): (String, String),
        arguments: Value,
        outcome: Result<Value, &CallError>,
        raw: Option<RawCall>,
    ) {
        let took = watched.began.elapsed().as_micros();
        let mut call = Call {
            number: 0,
            at_us: watched.at_us,
            took_us: u64::try_from(took).unwrap_or(u64::MAX),
            from: from.clone(),
            to: to.clone(),
            interface,
            function,
            way,
            arguments,
            outcome: outcome.map_or_else(|error| Outcome::Error(error.to_string()), Outcome::Result),
            trace: watched.trace,
            raw,
        };
        let mut seen = self.seen();
        seen.last += 1;
        call.number = seen.last;
        seen.raw += length(&call);
        seen.calls.push_back(call);
        while seen.calls.len() > MOST_CALLS || seen.raw > MOST_KEPT {
            seen.raw -= seen.calls.pop_front().as_ref().map_or(0, length);
        }
    }

    /// The calls that were seen after the one with this number, of those that `query` asks for; from now on they are looked at.
    pub(crate) fn read(&self, query: Query, after: Option<u64>) -> Page {
        let mut seen = self.seen();
        let until = Instant::now() + SHOWS;
        match seen.queries.iter_mut().find(|(known, _)| *known == query) {
            Some((_, known)) => *known = until,
            None => seen.queries.push((query.clone(), until)),
        }
        self.on.store(true, Ordering::Relaxed);
        let after = after.unwrap_or(seen.last);
        let mut page = Page { began: self.began, calls: Vec::new(), last: seen.last };
        let mut told = 0;
        for call in seen.calls.iter().filter(|call| call.number > after && query.asks_for(&call.from, &call.to)) {
            told += length(call);
            if told > MOST_TOLD && !page.calls.is_empty() {
                // The rest is for the next question.
                page.last = page.calls.last().map_or(after, |call| call.number);
                break;
            }
            page.calls.push(call.clone());
        }
        page
    }

    /// Forgets who has not asked for a while, and what nobody asks for.
    fn forget(&self, seen: &mut Seen) {
        let now = Instant::now();
        seen.queries.retain(|(_, until)| now < *until);
        if seen.queries.is_empty() {
            (seen.calls, seen.raw) = (VecDeque::new(), 0);
            self.on.store(false, Ordering::Relaxed);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much of a call is kept beside what is shown, in bytes.
fn length(call: &Call) -> usize {
    call.raw.as_ref().map_or(0, |raw| {
        raw.arguments.0.len()
            + match &raw.outcome {
                RawOutcome::Result(bytes) => bytes.0.len(),
                RawOutcome::Error { text, .. } => text.len(),
            }
    })
}

/// The whole of a call, if it can be made again: what is in streams is gone when it was read, and a resource is of one instance.
fn whole((from, to): (&UnitId, &UnitId), call: &Outgoing<'_>, outcome: Result<&Bytes, &CallError>) -> Option<RawCall> {
    let is_bound = match call.shape {
        Some(shape) => shape.has_streams() || shape.takes_handles() || shape.returns_handles(),
        None => {
            let goes_on = request(&call.payload).is_some_and(|head| head.rest.is_some());
            goes_on || outcome.is_ok_and(|bytes| response(bytes).is_some_and(|head| head.rest.is_some()))
        }
    };
    let length = call.payload.len() + outcome.map_or(0, Bytes::len);
    (!is_bound && length <= MOST_RAW).then(|| RawCall {
        from: from.clone(),
        to: to.clone(),
        interface: call.interface.clone(),
        function: call.function.to_owned(),
        arguments: Raw(call.payload.clone()),
        outcome: RawOutcome::of(outcome.cloned()),
    })
}

/// What is shown of an HTTP request. Its headers and its body are its own.
pub(crate) fn of_request<B>(request: &Request<B>) -> Value {
    asked(request.method().as_str(), &request.uri().to_string())
}

fn asked(method: &str, uri: &str) -> Value {
    Value::Json(json!({ "method": method, "uri": uri }))
}

/// The head of an HTTP request in a payload, to a component or out of the lattice.
fn request(payload: &Bytes) -> Option<RequestHead> {
    let out = || decode_http::<ClientRequestHead>(payload).ok().map(|(head, _)| head.request);
    decode_http(payload).ok().map(|(head, _)| head).or_else(out)
}

fn response(payload: &Bytes) -> Option<ResponseHead> {
    let out = || decode_http::<ClientReplyHead>(payload).ok().and_then(|(head, _)| head.ok());
    decode_http(payload).ok().map(|(head, _)| head).or_else(out)
}

/// A value whose JSON is known, or only its length.
fn value(json: Option<Vec<u8>>, bytes: usize) -> Value {
    let json = json.filter(|json| json.len() <= MOST_TEXT).and_then(|json| serde_json::from_slice(&json).ok());
    json.map_or(Value::Bytes(bytes), Value::Json)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitId {
        name.parse().unwrap()
    }

    fn query(sample: u32) -> Query {
        Query { app: "shop".parse().unwrap(), unit: None, sample, whole: false }
    }

    fn see(spy: &Spy) {
        let (from, to) = (unit("shop/web"), unit("shop/cart"));
        if let Some(watched) = spy.watch(&from, &to) {
            let asked = of_request(&Request::get("/a").body(()).unwrap());
            spy.saw_request(watched, (&from, &to), asked, &Ok(Response::new(())));
        }
    }

    #[test]
    fn calls_are_seen_while_somebody_looks_and_once() {
        let spy = Spy::default();
        see(&spy);
        assert!(!spy.sees(&unit("shop/web"), &unit("shop/cart")));
        let page = spy.read(query(1), None);
        assert!(page.calls.is_empty(), "what was before is not seen");
        see(&spy);
        assert!(spy.sees(&unit("shop/web"), &unit("bank/x")) && !spy.sees(&unit("bank/y"), &unit("bank/x")));
        let page = spy.read(query(1), Some(page.last));
        assert_eq!(page.calls.len(), 1);
        assert_eq!(page.calls[0].arguments, Value::Json(json!({ "method": "GET", "uri": "/a" })));
        assert_eq!(page.calls[0].outcome, Outcome::Result(Value::Json(json!({ "status": 200 }))));
        assert!(spy.read(query(1), Some(page.last)).calls.is_empty());
        // Nobody has asked for a while.
        spy.seen().queries.iter_mut().for_each(|(_, until)| *until = Instant::now());
        see(&spy);
        assert!(!spy.on.load(Ordering::Relaxed) && spy.seen().calls.is_empty());
    }

    #[test]
    fn a_part_of_many_is_kept_and_no_more_than_there_is_room_for() {
        let spy = Spy::default();
        spy.read(query(10), None);
        (0..100).for_each(|_| see(&spy));
        assert_eq!(spy.read(query(10), Some(0)).calls.len(), 10);
        spy.read(query(1), None);
        (0..2 * MOST_CALLS).for_each(|_| see(&spy));
        assert_eq!(spy.read(query(1), Some(0)).calls.len(), MOST_CALLS);
    }

    #[test]
    fn what_is_long_is_its_length() {
        let long = format!("\"{}\"", "x".repeat(MOST_TEXT));
        assert_eq!(value(Some(long.into_bytes()), 9), Value::Bytes(9));
        assert_eq!((value(None, 3), value(Some(b"[1]".to_vec()), 3)), (Value::Bytes(3), Value::Json(json!([1]))));
    }
}
