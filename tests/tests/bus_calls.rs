//! Calls between two processes' worth of bus, on a real NATS: large payloads, calls that are given up, and calls that
//! share messages.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use lattice::{
    bus::{Bus, CallHandler, NatsOptions, Pace, Serving},
    wire::{CallError, CallHead, CallSubject, MAX_MESSAGE, Served},
};
use lattice_provider::conformance::servers::NatsServer;
use tokio::{sync::mpsc, time::timeout};

const SOON: Duration = Duration::from_secs(30);

async fn bus(url: &str) -> Bus {
    let options = NatsOptions { urls: vec![url.to_owned()], ..Default::default() };
    Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap()
}

/// `turn` answers with the payload turned round, `grow` with as many bytes as it says, `busy` with an error; `sleep` never
/// answers, and says when it begins and when it is dropped.
struct Handler {
    events: mpsc::Sender<Event>,
}

#[derive(Debug, PartialEq)]
enum Event {
    Began,
    Dropped,
}

struct Told(mpsc::Sender<Event>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.try_send(Event::Dropped);
    }
}

#[async_trait]
impl CallHandler for Handler {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        match head.function.as_str() {
            "sleep" => {
                let _told = Told(self.events.clone());
                self.events.send(Event::Began).await.unwrap();
                std::future::pending().await
            }
            "grow" => Ok(vec![7; std::str::from_utf8(&payload).unwrap().parse().unwrap()].into()),
            "busy" => Err(CallError::Overloaded("app/unit".into())),
            // Long enough for others to come.
            "later" => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(payload)
            }
            _ => Ok(payload.iter().rev().copied().collect()),
        }
    }
}

struct Callee {
    subject: CallSubject,
    serving: Serving,
    events: mpsc::Receiver<Event>,
}

impl Callee {
    async fn next(&mut self) -> Event {
        timeout(SOON, self.events.recv()).await.unwrap().unwrap()
    }
}

async fn serve(bus: &Bus, pace: Pace) -> Callee {
    let (lattice, unit, instance) =
        (bus.lattice().clone(), "app/unit".parse().unwrap(), "0123456789abcdef".parse().unwrap());
    let served = Served { lattice, unit, instance };
    let (sender, events) = mpsc::channel(64);
    let serving = bus.serve(&served, Arc::new(Handler { events: sender }), pace).await.unwrap();
    let Served { lattice, unit, instance } = served;
    Callee { subject: CallSubject { lattice, unit, instance, interface: "a:b/c".parse().unwrap() }, serving, events }
}

fn head(function: &str, deadline: Duration) -> CallHead {
    CallHead {
        interface: "a:b/c".parse().unwrap(),
        function: function.to_owned(),
        deadline,
        caller: None,
        content_type: Default::default(),
        traceparent: None,
        session: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_of_calls_and_replies_may_be_larger_than_a_message() {
    for nats in [NatsServer::start_small().unwrap(), NatsServer::start().unwrap()] {
        let (caller, callee) = (bus(&nats.url()).await, bus(&nats.url()).await);
        let served = serve(&callee, Pace::Heavy).await;
        let limit = caller.max_payload();
        for length in [0, limit - 1, limit, limit + 1, 1 << 20, 20 << 20] {
            let payload: Bytes = (0..length).map(|at| (at % 249) as u8).collect::<Vec<_>>().into();
            let reply = caller.call(&served.subject, &head("turn", SOON), payload.clone()).await.unwrap();
            assert!(reply.iter().rev().eq(payload.iter()), "{length} bytes");
        }
        let refused = caller.call(&served.subject, &head("turn", SOON), vec![0; MAX_MESSAGE + 1].into()).await;
        let text = refused.unwrap_err().to_string();
        assert_eq!(
            text,
            format!("a call's message of {} bytes is over the limit of {MAX_MESSAGE} bytes", MAX_MESSAGE + 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_its_caller_gives_up_ends_at_the_callee() {
    let nats = NatsServer::start().unwrap();
    let (caller, callee) = (bus(&nats.url()).await, bus(&nats.url()).await);
    for pace in [Pace::Light, Pace::Heavy] {
        let mut served = serve(&callee, pace).await;
        let mut best = SOON;
        for _ in 0..5 {
            let (subject, bus) = (served.subject.clone(), caller.clone());
            let call = tokio::spawn(async move { bus.call(&subject, &head("sleep", SOON), Bytes::new()).await });
            assert_eq!(served.next().await, Event::Began);
            let turned = caller.call(&served.subject, &head("turn", SOON), Bytes::from_static(b"ab")).await;
            assert_eq!(turned.unwrap(), "ba");
            assert!(served.events.try_recv().is_err(), "it waits");
            let given_up = Instant::now();
            call.abort();
            assert_eq!(served.next().await, Event::Dropped);
            best = best.min(given_up.elapsed());
        }
        // The best of them: a machine that has other things to do may keep one waiting.
        assert!(best < Duration::from_millis(100), "{best:?}");
        let late = caller.call(&served.subject, &head("sleep", Duration::from_millis(100)), Bytes::new()).await;
        assert_eq!(late.unwrap_err(), CallError::Deadline(Duration::from_millis(100)));
        assert_eq!((served.next().await, served.next().await), (Event::Began, Event::Dropped));
    }
}

/// A call that shares messages with others.
async fn together(bus: &Bus, to: &CallSubject, function: &str, payload: impl Into<Bytes>) -> Result<Bytes, CallError> {
    timeout(SOON, bus.call_together(to, &head(function, SOON), payload.into())).await.expect("no hang")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_messages_and_each_has_its_own_answer() {
    const CALLS: usize = 500;
    for nats in [NatsServer::start_small().unwrap(), NatsServer::start().unwrap()] {
        let (caller, callee, witness) = (bus(&nats.url()).await, bus(&nats.url()).await, bus(&nats.url()).await);
        let mut seen = witness.nats().unwrap().subscribe("lattice.default.call.>").await.unwrap();
        let _ = witness.nats().unwrap().request(witness.nats().unwrap().new_inbox(), Bytes::new()).await;
        for pace in [Pace::Light, Pace::Heavy] {
            let served = serve(&callee, pace).await;
            let calls = (0..CALLS).map(|number| {
                let (caller, to) = (caller.clone(), served.subject.clone());
                tokio::spawn(async move {
                    let text = format!("{number:08}");
                    match number % 4 {
                        0 => assert_eq!(
                            together(&caller, &to, "turn", text.clone()).await.unwrap(),
                            text.bytes().rev().collect::<Vec<_>>()
                        ),
                        1 => assert_eq!(together(&caller, &to, "later", text.clone()).await.unwrap(), text),
                        2 => assert_eq!(
                            together(&caller, &to, "busy", text).await.unwrap_err(),
                            CallError::Overloaded("app/unit".into())
                        ),
                        _ => assert_eq!(
                            together(&caller, &to, "grow", (number * 100).to_string()).await.unwrap(),
                            vec![7; number * 100]
                        ),
                    }
                })
            });
            for call in join_all(calls).await {
                call.unwrap();
            }
            let (mut messages, mut entries) = (0, 0);
            while entries < CALLS {
                let headers = timeout(SOON, seen.next()).await.unwrap().unwrap().headers.unwrap();
                // Calls that take longer than usual ask whether anybody is there.
                if headers.get("lattice-probe").is_some() {
                    continue;
                }
                messages += 1;
                // A call that had no company is a message of its own.
                entries += headers.get("lattice-bundle").map_or(1, |count| count.as_str().parse().unwrap());
            }
            assert_eq!(entries, CALLS);
            assert!(messages <= CALLS / 2, "{messages} messages for {CALLS} calls");
            served.serving.drain(SOON).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_do_not_fit_come_all_the_same() {
    for nats in [NatsServer::start_small().unwrap(), NatsServer::start().unwrap()] {
        let (caller, callee) = (bus(&nats.url()).await, bus(&nats.url()).await);
        let served = serve(&callee, Pace::Heavy).await;
        let limit = caller.max_payload();
        let lengths = [0, 1, 60_000, 64 << 10, limit - 1, limit, limit + 1, 3 << 20];
        let calls = lengths.map(|length| together(&caller, &served.subject, "grow", length.to_string()));
        for (answer, length) in join_all(calls).await.into_iter().zip(lengths) {
            assert_eq!(answer.unwrap().len(), length);
        }
        // Nor do these share a message, and they are called all the same.
        let large = vec![1; 100_000];
        assert_eq!(together(&caller, &served.subject, "later", large.clone()).await.unwrap(), large);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_that_share_a_message_each_ends_by_itself() {
    let nats = NatsServer::start().unwrap();
    let (caller, callee) = (bus(&nats.url()).await, bus(&nats.url()).await);
    for pace in [Pace::Light, Pace::Heavy] {
        let mut served = serve(&callee, pace).await;
        let sleepers: Vec<_> = (0..8)
            .map(|_| {
                let (caller, to) = (caller.clone(), served.subject.clone());
                tokio::spawn(async move { together(&caller, &to, "sleep", Bytes::new()).await })
            })
            .collect();
        for _ in &sleepers {
            assert_eq!(served.next().await, Event::Began);
        }
        for sleeper in &sleepers[..3] {
            sleeper.abort();
            assert_eq!(served.next().await, Event::Dropped);
        }
        assert_eq!(together(&caller, &served.subject, "turn", "ab").await.unwrap(), "ba");
        assert!(served.events.try_recv().is_err(), "the others wait on");
        let brief = head("sleep", Duration::from_millis(100));
        let late = caller.call_together(&served.subject, &brief, Bytes::new()).await;
        assert_eq!(late.unwrap_err(), CallError::Deadline(brief.deadline));
        assert_eq!((served.next().await, served.next().await), (Event::Began, Event::Dropped));
        // Who drains answers what has begun, and nothing that comes later.
        let (caller, to) = (caller.clone(), served.subject.clone());
        let later = {
            let (caller, to) = (caller.clone(), to.clone());
            tokio::spawn(async move { together(&caller, &to, "later", "x").await })
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
        sleepers.iter().for_each(|sleeper| sleeper.abort());
        timeout(SOON, served.serving.drain(SOON)).await.expect("no hang");
        let ended = later.await.unwrap();
        assert!(ended == Ok("x".into()) || ended == Err(CallError::NoInstance("app/unit".into())), "{ended:?}");
        let gone = join_all((0..5).map(|_| together(&caller, &to, "turn", "ab"))).await;
        assert!(gone.iter().all(|call| *call == Err(CallError::NoInstance("app/unit".into()))), "{gone:?}");
    }
}

/// A callee that takes what comes, and answers nothing by itself.
async fn mute(nats: &NatsServer) -> (async_nats::Client, async_nats::Subscriber, CallSubject) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let calls = client.subscribe("lattice.default.call.app.unit.0123456789abcdef.>").await.unwrap();
    // When this is answered, the server knows of it.
    let _ = client.request(client.new_inbox(), Bytes::new()).await;
    let to = CallSubject {
        lattice: "default".parse().unwrap(),
        unit: "app/unit".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
        interface: "a:b/c".parse().unwrap(),
    };
    (client, calls, to)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callee_that_is_gone_ends_all_calls_that_it_had() {
    let nats = NatsServer::start().unwrap();
    let caller = bus(&nats.url()).await;
    let (_callee, mut calls, to) = mute(&nats).await;
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let (caller, to) = (caller.clone(), to.clone());
            tokio::spawn(async move { together(&caller, &to, "turn", Bytes::new()).await })
        })
        .collect();
    timeout(SOON, calls.next()).await.unwrap().unwrap();
    let ended = Instant::now();
    calls.unsubscribe().await.unwrap();
    for call in waiting {
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error, CallError::Transport(_) | CallError::NoInstance(_)), "{error}");
    }
    assert!(ended.elapsed() < Duration::from_secs(10), "{:?}", ended.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_ends_the_calls_of_its_message() {
    let nats = NatsServer::start().unwrap();
    let caller = bus(&nats.url()).await;
    let (callee, mut calls, to) = mute(&nats).await;
    let none = || CallError::Transport("an answer that is none".into());
    for (header, payload, expected) in [
        (None, &b"\xff\xff"[..], none()),
        (Some(("lattice-status", "bad-message")), b"why", CallError::BadMessage("why".into())),
        (Some(("lattice-bundle", "1")), &[0; 3], none()),
    ] {
        let call = {
            let (caller, to) = (caller.clone(), to.clone());
            tokio::spawn(async move { together(&caller, &to, "turn", Bytes::new()).await })
        };
        let message = timeout(SOON, calls.next()).await.unwrap().unwrap();
        let mut headers = async_nats::HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value);
        }
        callee.publish_with_headers(message.reply.unwrap(), headers, Bytes::from_static(payload)).await.unwrap();
        let error = call.await.unwrap().unwrap_err();
        assert!(error.to_string().starts_with(&expected.to_string()), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_connection_fails_soon_and_is_not_made_later() {
    let mut nats = NatsServer::start().unwrap();
    let (caller, callee) = (bus(&nats.url()).await, bus(&nats.url()).await);
    let mut served = serve(&callee, Pace::Light).await;
    let connected = async |wanted: bool| {
        for bus in [&caller, &callee] {
            timeout(SOON, bus.connected().wait_for(|there| *there == wanted)).await.unwrap().unwrap();
        }
    };
    nats.stop();
    connected(false).await;
    let began = Instant::now();
    let sleep = head("sleep", SOON);
    let alone = caller.call(&served.subject, &sleep, Bytes::new());
    let (alone, shared) = tokio::join!(alone, together(&caller, &served.subject, "sleep", ""));
    for outcome in [alone, shared] {
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("there is no connection to NATS; the call was not sent"), "{text}");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    nats.restart().unwrap();
    connected(true).await;
    // The callee may be back a little later than the caller.
    let until = Instant::now() + SOON;
    let turned = loop {
        match caller.call(&served.subject, &head("turn", SOON), Bytes::from_static(b"ab")).await {
            Err(CallError::NoInstance(_)) if Instant::now() < until => tokio::task::yield_now().await,
            outcome => break outcome,
        }
    };
    assert_eq!(turned.unwrap(), "ba");
    assert!(served.events.try_recv().is_err(), "what has failed was not made");
}
