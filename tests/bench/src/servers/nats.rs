//! Plain responders over NATS.

use anyhow::{Context, Result, bail};
use async_nats::{Client, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

/// Answers where it receives: nothing is cheaper.
pub(super) async fn echo(url: &str, subject: String, answer: Option<usize>) -> Result<()> {
    let (client, mut requests) = subscribe(url, subject).await?;
    let fixed = answer.map(|length| Bytes::from(vec![b'x'; length]));
    while let Some(request) = requests.next().await {
        let reply = request.reply.context("a message that wants no reply")?;
        client.publish(reply, fixed.clone().unwrap_or(request.payload)).await?;
    }
    bail!("NATS is gone")
}

/// Many messages for each request.
pub(super) async fn flood(url: &str, subject: String, messages: usize, length: usize) -> Result<()> {
    let (client, mut requests) = subscribe(url, subject).await?;
    let message = Bytes::from(vec![b'x'; length]);
    while let Some(request) = requests.next().await {
        let reply = request.reply.context("a message that wants no reply")?;
        for _ in 0..messages {
            client.publish(reply.clone(), message.clone()).await?;
        }
    }
    bail!("NATS is gone")
}

/// One more request for each request.
pub(super) async fn relay(url: &str, subject: String, to: String) -> Result<()> {
    let (client, mut requests) = subscribe(url, subject).await?;
    let to = Subject::from(to);
    while let Some(request) = requests.next().await {
        let (client, to) = (client.clone(), to.clone());
        tokio::spawn(async move {
            let Some(reply) = request.reply else { return };
            // Who waits for an answer that fails here reports it.
            if let Ok(answer) = client.request(to, request.payload).await {
                let _ = client.publish(reply, answer.payload).await;
            }
        });
    }
    bail!("NATS is gone")
}

/// One INCR for each request.
pub(super) async fn increment(url: &str, subject: String, redis: &str, key: String) -> Result<()> {
    let connection = super::redis_connection(redis).await?;
    let (client, mut requests) = subscribe(url, subject).await?;
    while let Some(request) = requests.next().await {
        let (client, mut connection, key) = (client.clone(), connection.clone(), key.clone());
        tokio::spawn(async move {
            let Some(reply) = request.reply else { return };
            if let Ok(number) = redis::cmd("INCR").arg(key).query_async::<u64>(&mut connection).await {
                let _ = client.publish(reply, format!("{number}\n").into()).await;
            }
        });
    }
    bail!("NATS is gone")
}

async fn subscribe(url: &str, subject: String) -> Result<(Client, Subscriber)> {
    let client = async_nats::connect(url).await?;
    let requests = client.subscribe(subject.clone()).await?;
    client.flush().await?;
    super::ready(subject);
    Ok((client, requests))
}
