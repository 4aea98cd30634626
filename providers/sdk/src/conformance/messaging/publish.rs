//! Messages that are sent: each arrives as it was, or is refused.

use std::{collections::BTreeSet, time::Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{AT_ONCE, Post, next};
use crate::{
    conformance::{Check, same},
    messaging::{BrokerMessage, Consumer},
};

const TASKS: usize = 16;
const EACH: usize = 50;
/// Of the large message, in bytes, where the broker takes it.
const LARGE: usize = 1024 * 1024;

pub(super) async fn any_bytes_arrive_as_they_are(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let all: Bytes = (0..=255).collect::<Vec<u8>>().into();
    for (name, body) in [("a", Bytes::new()), ("a.b", all), ("ключ", Bytes::from("\r\nPUB x 1\r\n"))] {
        let message = post.message(name, body);
        post.publish(message.clone()).await?;
        same("what arrives", next(&mut messages).await?, message)?;
    }
    Ok(())
}

pub(super) async fn where_an_answer_goes_arrives_too(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let message = BrokerMessage {
        reply_to: Some(format!("{}.answer", post.subject)),
        ..post.message("question", Bytes::from("question"))
    };
    post.publish(message.clone()).await?;
    same("what arrives", next(&mut messages).await?, message)
}

pub(super) async fn messages_arrive_in_order_and_once(post: Post) -> Check {
    let mut messages = post.listen().await?;
    for number in 0..EACH {
        post.publish(post.message("number", number.to_string())).await?;
    }
    for number in 0..EACH {
        same("the next message", next(&mut messages).await?.body, Bytes::from(number.to_string()))?;
    }
    // What came twice comes before this one.
    post.publish(post.message("end", Bytes::new())).await?;
    same("what comes after the last one", next(&mut messages).await?, post.message("end", Bytes::new()))
}

pub(super) async fn a_large_message_arrives(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let size = LARGE.min(post.broker.max_payload());
    let body: Bytes = (0..size).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    post.publish(post.message("large", body.clone())).await?;
    let arrived = next(&mut messages).await?.body;
    same("its size", arrived.len(), size)?;
    same("whether it is the same", arrived == body, true)
}

pub(super) async fn what_is_too_large_is_refused(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let client = post.broker.nats().ok_or("the broker is not NATS")?;
    let size = client.max_payload() + 1;
    let outcome = post.consumer.publish(post.message("too-large", Bytes::from(vec![7; size]))).await;
    same(format!("whether a message of {size} bytes is refused"), outcome.is_err(), true)?;
    post.publish(post.message("after", Bytes::from("after"))).await?;
    same("what arrives", next(&mut messages).await?, post.message("after", Bytes::from("after")))
}

/// Fails unless all three ways to a subject are refused, and at once.
async fn refused(post: &Post, subject: &str) -> Check {
    let shown: String = subject.chars().take(60).collect();
    let started = Instant::now();
    let to = |subject: &str, reply_to| BrokerMessage { subject: subject.to_owned(), body: Bytes::from("x"), reply_to };
    let published = post.consumer.publish(to(subject, None)).await;
    same(format!("whether publishing to {shown:?} is refused"), published.is_err(), true)?;
    let answered = post.consumer.publish(to(&format!("{}.a", post.subject), Some(subject.to_owned()))).await;
    same(format!("whether asking for an answer at {shown:?} is refused"), answered.is_err(), true)?;
    let asked = post.consumer.request(subject.to_owned(), Bytes::from("x"), 10_000).await;
    same(format!("whether a request to {shown:?} is refused"), asked.is_err(), true)?;
    let took = started.elapsed();
    if took < AT_ONCE { Ok(()) } else { Err(format!("refusing {shown:?} took {took:?}")) }
}

pub(super) async fn what_is_no_subject_is_refused(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let inside = post.subject.clone();
    for bad in ["", ".", " ", "a b", "a..b", "a.", ".a", "a\tb", "a\r\nPUB b 0\r\n", "*", ">", "a.*", "a.>"] {
        refused(&post, bad).await?;
    }
    for bad in [format!("{inside}.a b"), format!("{inside}.*"), format!("{inside}.>"), "x".repeat(10_000)] {
        refused(&post, &bad).await?;
    }
    // Nothing of all that has come before it.
    post.publish(post.message("after", Bytes::new())).await?;
    same("what arrives", next(&mut messages).await?, post.message("after", Bytes::new()))
}

pub(super) async fn reserved_subjects_are_refused(post: Post) -> Check {
    let lattice = post.broker.lattice();
    let calls = format!("lattice.{lattice}.call.shop.cache.0123456789abcdef.lattice:keyvalue/store");
    for reserved in ["$JS.API.INFO", "$SYS.REQ.SERVER.PING", "$KV.x.y", "lattice", "lattice.a.b", &calls] {
        refused(&post, reserved).await?;
    }
    Ok(())
}

pub(super) async fn nothing_is_lost_between_tasks(post: Post) -> Check {
    let mut messages = post.listen().await?;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let post = post.clone();
        tasks.spawn(async move {
            for number in 0..EACH {
                post.publish(post.message("number", format!("{task} {number}"))).await?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.map_err(|error| error.to_string())??;
    }
    let mut arrived = BTreeSet::new();
    for _ in 0..TASKS * EACH {
        arrived.insert(next(&mut messages).await?.body);
    }
    same("how many different messages arrived", arrived.len(), TASKS * EACH)
}
