//! Bodies on their way: of any size in little memory, and whole or an error.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderValue, Method, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::{Web, bytes, origin, request, soon, url};
use crate::{
    conformance::{Check, memory::watched, same},
    http::{Body, BodyError},
};

const PIECE: usize = 64 * 1024;
/// Pieces of a large body: 256 MiB.
const PIECES: usize = 4096;
/// How much more memory the provider's process may have while one goes through it, in MiB.
const MEMORY: u64 = 64;

fn streamed(pieces: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Body {
    Body::Stream(Box::pin(StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))))
}

pub(super) async fn bodies_of_any_size_go_both_ways(web: Web) -> Check {
    let origin = origin().await?;
    for size in [0, 1, 4095, 4096, PIECE - 1, PIECE, PIECE + 1, 131_072, 1_000_000, 10_000_000] {
        let sent: Bytes = (0..size).map(|n| (n % 251) as u8).collect();
        let echo = request(Method::POST, &url(origin.address, "/echo"), Body::Full(sent.clone()))?;
        let found = bytes(web.send(echo).await?).await?;
        same(format!("whether {size} bytes come back as they were"), found == sent, true)?;
    }
    Ok(())
}

pub(super) async fn large_bodies_need_little_memory(web: Web) -> Check {
    let origin = origin().await?;
    let pieces = stream::iter((0..PIECES).map(|n| Ok(Bytes::from(vec![(n % 251) as u8; PIECE]))));
    let echo = request(Method::POST, &url(origin.address, "/echo"), streamed(pieces))?;
    let through = async {
        let (mut body, mut at) = (web.send(echo).await?.into_body(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("after {at} bytes: {error}"))?;
            let Ok(data) = frame.into_data() else { continue };
            for byte in data {
                if byte != (at / PIECE % 251) as u8 {
                    return Err(format!("byte {at} is {byte}"));
                }
                at += 1;
            }
        }
        same("how much has come back", at, PIECES * PIECE)
    };
    let (outcome, most) = watched(web.process, through).await;
    outcome?;
    let whole = (PIECES * PIECE) >> 20;
    if most > MEMORY {
        Err(format!("{whole} MiB took {most} MiB of memory; {MEMORY} MiB is the limit"))
    } else {
        Ok(())
    }
}

pub(super) async fn trailers_arrive(web: Web) -> Check {
    let origin = origin().await?;
    let mut asking = request(Method::GET, &url(origin.address, "/trailers"), Body::Empty)?;
    asking.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    let body = web.send(asking).await?.into_body().collect().await.map_err(|error| error.to_string())?;
    let found = body.trailers().and_then(|trailers| trailers.get("x-end")).cloned();
    same("the trailer", found, Some(HeaderValue::from_static("well")))?;
    same("what stands before it", body.to_bytes(), Bytes::from("before"))
}

pub(super) async fn a_response_that_is_cut_is_an_error(web: Web) -> Check {
    let origin = origin().await?;
    let cut = bytes(web.get(origin.address, "/die").await?).await;
    same(format!("whether {cut:?} is an error"), cut.is_err(), true)?;
    same("an answer after it", web.text(origin.address, "/hello").await?, "hello".to_owned())
}

pub(super) async fn a_request_that_is_cut_is_cut_for_the_server(web: Web) -> Check {
    let origin = origin().await?;
    let whole = stream::iter((0..4).map(|_| Ok(Bytes::from(vec![1; PIECE]))));
    let cut = whole.chain(stream::iter([Err("the sender has stopped".into())]));
    let count = request(Method::POST, &url(origin.address, "/count"), streamed(cut))?;
    let sent = web.send(count).await;
    same("whether a request that is cut has an answer", sent.is_ok(), false)?;
    soon("the server has seen that it was cut", || origin.seen.cut.load(Ordering::Relaxed) == 1).await?;
    same("an answer after it", web.text(origin.address, "/hello").await?, "hello".to_owned())
}

pub(super) async fn a_reader_that_stops_ends_the_response(web: Web) -> Check {
    let origin = origin().await?;
    let reading = || origin.seen.endless.load(Ordering::Relaxed);
    let mut body = web.get(origin.address, "/endless").await?.into_body();
    let first = body.frame().await;
    same("whether a body without an end begins", matches!(first, Some(Ok(_))), true)?;
    // Without a reader it must not be read, either.
    tokio::time::sleep(Duration::from_millis(100)).await;
    same("whether it goes on", reading(), 1)?;
    drop(body);
    soon("nobody reads it any more", || reading() == 0).await
}
