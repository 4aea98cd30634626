//! Streams inside one process: the same pumps and dispatcher as over NATS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::{sync::mpsc, time::timeout};

use super::{Incoming, Piece, Source};
use crate::{
    bus::Bus,
    wire::{CallError, MAX_TRAILERS, OFFER_LAPSE, Ticket, WINDOW, stream::StreamError},
};

const SOON: Duration = Duration::from_secs(20);

fn bus() -> Bus {
    Bus::memory("default".parse().unwrap())
}

fn source(pieces: impl Stream<Item = Result<Piece, CallError>> + Send + 'static) -> Source {
    Box::pin(pieces)
}

/// As many bytes, in pieces of odd sizes.
fn numbered(total: usize) -> (Vec<u8>, Source) {
    let bytes: Vec<u8> = (0..total).map(|at| (at * 7 % 251) as u8).collect();
    let mut rest = Bytes::from(bytes.clone());
    let mut size = 1;
    let pieces = std::iter::from_fn(move || {
        size = size * 3 % 300_007;
        let piece = rest.split_to(rest.len().min(size));
        (!piece.is_empty()).then_some(Ok(Piece::Data(piece)))
    });
    (bytes, source(stream::iter(pieces)))
}

async fn read(mut incoming: Incoming) -> Result<(Vec<u8>, Bytes), StreamError> {
    let (mut bytes, mut last) = (Vec::new(), Bytes::new());
    while let Some(piece) = timeout(SOON, incoming.next()).await.expect("a piece or an end") {
        match piece? {
            Piece::Data(piece) => bytes.extend_from_slice(&piece),
            Piece::Trailers(trailers) => last = trailers,
        }
    }
    Ok((bytes, last))
}

/// A source that counts how often it is asked, and says when it is dropped.
struct Watched {
    asked: Arc<AtomicUsize>,
    _dropped: mpsc::Sender<()>,
}

impl Stream for Watched {
    type Item = Result<Piece, CallError>;
    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::task::Poll::Ready(Some(Ok(Piece::Data(Bytes::from_static(&[7; 8192])))))
    }
}

fn watched() -> (Source, Arc<AtomicUsize>, mpsc::Receiver<()>) {
    let (sender, dropped) = mpsc::channel(1);
    let asked = Arc::new(AtomicUsize::new(0));
    (source(Watched { asked: asked.clone(), _dropped: sender }), asked, dropped)
}

#[tokio::test]
async fn bytes_and_trailers_arrive_as_they_were_sent() {
    let bus = bus();
    for total in [0, 1, 1000, 5_000_000] {
        let (bytes, pieces) = numbered(total);
        let last = stream::iter([Ok(Piece::Trailers(Bytes::from_static(b"last")))]);
        let offer = bus.offer(source(pieces.chain(last))).await.unwrap();
        let ticket: Ticket = offer.ticket().to_string().parse().unwrap();
        let (read, trailers) = read(bus.take(&ticket).await.unwrap()).await.unwrap();
        assert!(read == bytes, "{total} bytes");
        assert_eq!(trailers, "last");
    }
}

#[tokio::test]
async fn an_error_of_the_source_is_the_error_of_the_reader() {
    let bus = bus();
    let failed = CallError::TooLarge { what: "a request body".into(), size: 2, limit: 1 };
    let pieces = [Ok(Piece::Data(Bytes::from_static(b"half"))), Err(failed.clone())];
    let offer = bus.offer(source(stream::iter(pieces))).await.unwrap();
    let mut incoming = bus.take(&offer.ticket()).await.unwrap();
    assert_eq!(incoming.next().await, Some(Ok(Piece::Data(Bytes::from_static(b"half")))));
    assert_eq!(incoming.next().await, Some(Err(StreamError::Failed(failed))));
    assert_eq!(incoming.next().await, None);
    let long = Bytes::from(vec![0; MAX_TRAILERS + 1]);
    let offer = bus.offer(source(stream::iter([Ok(Piece::Trailers(long))]))).await.unwrap();
    let error = read(bus.take(&offer.ticket()).await.unwrap()).await.unwrap_err().to_string();
    assert_eq!(error, "a stream's trailers of 16385 bytes is over the limit of 16384 bytes");
}

#[tokio::test]
async fn nothing_is_asked_of_a_source_before_it_is_taken_and_no_more_than_a_window_after() {
    let bus = bus();
    let (pieces, asked, mut dropped) = watched();
    let offer = bus.offer(pieces).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let mut incoming = bus.take(&offer.ticket()).await.unwrap();
    incoming.next().await.unwrap().unwrap();
    // The other side does what it can; then nothing moves any more.
    let mut before = 0;
    while before != asked.load(Ordering::Relaxed) {
        before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(before * 8192 <= 2 * WINDOW as usize, "{before} pieces of 8 KiB");
    drop(incoming);
    assert_eq!(timeout(SOON, dropped.recv()).await, Ok(None), "the source goes with its reader");
    drop(offer);
}

#[tokio::test]
async fn an_offer_that_is_dropped_is_withdrawn_also_when_it_is_under_way() {
    let bus = bus();
    let (pieces, _, mut dropped) = watched();
    let offer = bus.offer(pieces).await.unwrap();
    let ticket = offer.ticket();
    drop(offer);
    assert_eq!(timeout(SOON, dropped.recv()).await, Ok(None));
    let late = read(bus.take(&ticket).await.unwrap()).await.unwrap_err().to_string();
    assert!(late.contains("not offered any more"), "{late}");

    let (pieces, ..) = watched();
    let offer = bus.offer(pieces).await.unwrap();
    let mut incoming = bus.take(&offer.ticket()).await.unwrap();
    incoming.next().await.unwrap().unwrap();
    drop(offer);
    let error = read(incoming).await.unwrap_err().to_string();
    assert_eq!(error, "the connection failed: the sender gave the stream up");
}

#[tokio::test]
async fn an_offer_that_was_left_lapses_and_one_that_is_held_does_not() {
    let bus = bus();
    let (left, _, mut gone) = watched();
    let (held, _, mut kept) = watched();
    let offer = bus.offer(held).await.unwrap();
    bus.offer(left).await.unwrap().leave();
    assert_eq!(timeout(OFFER_LAPSE + SOON, gone.recv()).await, Ok(None));
    assert!(kept.try_recv().is_err_and(|e| e == mpsc::error::TryRecvError::Empty));
    drop(offer);
}

#[tokio::test]
async fn a_stream_has_one_receiver_and_tickets_of_nobody_are_errors() {
    let bus = bus();
    let (pieces, ..) = watched();
    let offer = bus.offer(pieces).await.unwrap();
    let mut first = bus.take(&offer.ticket()).await.unwrap();
    first.next().await.unwrap().unwrap();
    let second = read(bus.take(&offer.ticket()).await.unwrap()).await.unwrap_err().to_string();
    assert_eq!(second, "the connection failed: somebody else has taken the stream");
    first.next().await.unwrap().unwrap();
    let nobody = Ticket { process: uuid::Uuid::now_v7(), stream: uuid::Uuid::now_v7() };
    assert_eq!(read(bus.take(&nobody).await.unwrap()).await, Err(StreamError::Nobody));
}

#[tokio::test]
async fn many_streams_pass_one_reader_that_stands_still() {
    let bus = bus();
    let (endless, ..) = watched();
    let stalled = bus.offer(endless).await.unwrap();
    let mut standing = bus.take(&stalled.ticket()).await.unwrap();
    standing.next().await.unwrap().unwrap();
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                let (bytes, pieces) = numbered(200_000);
                let ticket = bus.offer(pieces).await.unwrap().leave();
                assert!(read(bus.take(&ticket).await.unwrap()).await.unwrap().0 == bytes);
            })
        })
        .collect();
    for task in tasks {
        timeout(SOON, task).await.unwrap().unwrap();
    }
    standing.next().await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_have_a_limit() {
    let bus = bus();
    let streams = bus.streams().await.unwrap();
    let offers: Vec<_> = (0..crate::wire::MAX_STREAMS).map(|_| streams.offer(watched().0).unwrap()).collect();
    let refused = streams.offer(watched().0).unwrap_err();
    assert!(matches!(refused, CallError::Overloaded(_)), "{refused}");
    drop(offers);
    let freed = async {
        while streams.offer(watched().0).is_err() {
            tokio::task::yield_now().await
        }
    };
    timeout(SOON, freed).await.unwrap();
}
