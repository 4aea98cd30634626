//! Calls libraries out of a component of WASI 0.3, and answers over HTTP what came of it.
//!
//! - `/all` sends values of every type there and back
//! - `/at-once?n=N&ms=M` asks N questions at the same time, each of which takes M ms, and shows the answers
//! - `/outcome?ms=M` a good one and an error; `/bytes?n=N&ms=M` that many bytes
//! - `/count?by=N` adds to a number in a key-value store, and shows the sum

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

use exports::{test::waits::relay, wasi::http::handler::Guest};
use test::waits::{visits, waits};
use wasi::{
    http::types::{ErrorCode, Fields, Request, Response},
    keyvalue::{atomics, store},
};
use wit_bindgen::spawn_local;

#[path = "../../caller/src/all.rs"]
mod all;

wit_bindgen::generate!({
    inline: r#"
        package test:caller-p3;
        world caller {
            import wasi:http/types@0.3.0;
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import test:library/echo@1.2.0;
            import test:waits/waits@1.0.0;
            import test:waits/visits@1.0.0;
            export test:waits/relay@1.0.0;
            export wasi:http/handler@0.3.0;
        }
    "#,
    path: ["../../../wit/p3", "../../../wit/deps/keyvalue", "../library/wit", "../library-p3/wit"],
    world: "test:caller-p3/caller",
    additional_derives: [PartialEq, Clone],
    generate_all,
});

struct Caller;

impl Guest for Caller {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (count, milliseconds) = (number(query, "n"), number(query, "ms"));
        let answer = match path {
            "/all" => all::all(),
            "/at-once" => at_once(count as u32, milliseconds).await.join(" "),
            "/outcome" => format!(
                "{:?} {:?}",
                waits::outcome(milliseconds, Some("there".to_owned())).await,
                waits::outcome(milliseconds, None).await
            ),
            "/bytes" => bytes(count as usize, milliseconds).await,
            "/count" => counted(number(query, "by")).unwrap_or_else(|error| format!("{error:?}")),
            _ => "ok".to_owned(),
        };
        Ok(respond(format!("{answer}\n")))
    }
}

impl relay::Guest for Caller {
    async fn at_once(times: u32, milliseconds: u64) -> Vec<String> {
        at_once(times, milliseconds).await
    }

    async fn visits(times: u32, milliseconds: u64) -> Vec<(u32, u32)> {
        together(times, |_| visits::visit(milliseconds)).await
    }

    async fn guards() -> (u32, u32) {
        let lock = visits::Lock::new();
        let first = lock.acquire().await;
        let mut second = Box::pin(lock.acquire());
        poll_fn(|context| {
            assert!(second.as_mut().poll(context).is_pending(), "two guards at a time");
            Poll::Ready(())
        })
        .await;
        // Time to begin waiting for the one that is there.
        waits::wait(50, String::new()).await;
        let turn = first.turn();
        drop(first);
        (turn, second.await.turn())
    }
}

async fn at_once(times: u32, milliseconds: u64) -> Vec<String> {
    together(times, |n| waits::wait(milliseconds, format!("answer-{n}"))).await
}

/// The answers to questions that are asked at the same time.
async fn together<A: 'static, F: Future<Output = A> + 'static>(times: u32, ask: impl Fn(u32) -> F) -> Vec<A> {
    let question = |n: u32| Box::pin(ask(n)) as Pin<Box<dyn Future<Output = A>>>;
    let mut open: Vec<_> = (0..times).map(|n| (question(n), None)).collect();
    poll_fn(move |context| {
        for (question, answer) in open.iter_mut().filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(said) = question.as_mut().poll(context) {
                *answer = Some(said);
            }
        }
        if open.iter().any(|(_, answer)| answer.is_none()) {
            return Poll::Pending;
        }
        Poll::Ready(open.iter_mut().filter_map(|(_, answer)| answer.take()).collect())
    })
    .await
}

async fn bytes(count: usize, milliseconds: u64) -> String {
    let sent: Vec<u8> = (0..count).map(|n| (n * 31 % 251) as u8).collect();
    let same = waits::bytes(milliseconds, sent.clone()).await == sent;
    if same { format!("{count} bytes, the same") } else { "changed".to_owned() }
}

fn counted(by: u64) -> Result<String, store::Error> {
    let bucket = store::open("default")?;
    let sum = atomics::increment(&bucket, "count", by)?;
    bucket.set("seen", sum.to_string().as_bytes())?;
    let seen = bucket.get("seen")?.unwrap_or_default();
    Ok(format!("{sum} {}", String::from_utf8_lossy(&seen)))
}

fn number(query: &str, name: &str) -> u64 {
    let find = |pair: &str| pair.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok();
    query.split('&').find_map(find).unwrap_or(0)
}

fn respond(body: String) -> Response {
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(body.into_bytes()).await;
    });
    let (_, trailers) = wit_future::new(|| Ok(None));
    Response::new(Fields::new(), Some(reader), trailers).0
}

export!(Caller);
