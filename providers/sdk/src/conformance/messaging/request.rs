//! Requests: each has its answer, or an error in time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{AT_ONCE, Post, SOON};
use crate::conformance::{Check, same};

const TASKS: usize = 16;
const EACH: usize = 20;
/// For answers that do not come.
const WAIT: Duration = Duration::from_millis(400);
/// Of a large answer, in bytes, where the broker takes it.
const LARGE: usize = 1024 * 1024;

/// What a service answers to `body`.
fn answered(body: &[u8]) -> Bytes {
    [b"answer to ", body].concat().into()
}

pub(super) async fn a_request_is_answered(post: Post) -> Check {
    let _service = post.answer(|body| vec![answered(&body)]).await?;
    let all: Vec<u8> = (0..=255).collect();
    for body in [Vec::new(), all] {
        let found = post.request("service", body.clone(), SOON).await?.body;
        same("the answer", found, answered(&body))?;
    }
    Ok(())
}

pub(super) async fn the_first_answer_counts(post: Post) -> Check {
    let _service = post.answer(|body| vec![answered(&body), Bytes::from("another one")]).await?;
    for body in ["one", "two", "three"] {
        same("the answer", post.request("service", body, SOON).await?.body, answered(body.as_bytes()))?;
    }
    Ok(())
}

pub(super) async fn a_request_that_nobody_answers_is_told_at_once(post: Post) -> Check {
    let started = Instant::now();
    let outcome = post.request("nobody", "x", SOON).await;
    same("whether a request without a service fails", outcome.is_err(), true)?;
    let took = started.elapsed();
    if took < AT_ONCE { Ok(()) } else { Err(format!("that nobody is there was told after {took:?}")) }
}

pub(super) async fn an_overdue_request_ends(post: Post) -> Check {
    let _silent = post.answer(|_| Vec::new()).await?;
    let started = Instant::now();
    let outcome = post.request("silent", "x", WAIT).await;
    let took = started.elapsed();
    same("whether a request without an answer fails", outcome.is_err(), true)?;
    if took >= WAIT && took < WAIT + AT_ONCE {
        Ok(())
    } else {
        Err(format!("{WAIT:?} were given, and it took {took:?}"))
    }
}

pub(super) async fn a_large_answer_arrives(post: Post) -> Check {
    let size = LARGE.min(post.broker.max_payload());
    let body = Bytes::from(vec![7; size]);
    let answer = body.clone();
    let _service = post.answer(move |_| vec![answer.clone()]).await?;
    same("whether the answer is whole", post.request("service", "x", SOON).await?.body == body, true)
}

pub(super) async fn answers_are_not_mixed_up(post: Post) -> Check {
    let _service = post.answer(|body| vec![answered(&body)]).await?;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let post = post.clone();
        tasks.spawn(async move {
            for number in 0..EACH {
                let body = format!("{task} {number}");
                let found = post.request("service", body.clone(), SOON).await?.body;
                same("the answer", found, answered(body.as_bytes()))?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|error| error.to_string())??;
    }
    Ok(())
}
