//! Streams that values carry. Whoever offers one does not know whether its reader is in this process or in another
//! one: it waits where both find it, and in this process it is handed over as it is, without NATS.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, future::try_join_all};
use tokio::sync::watch;
use uuid::Uuid;

use super::{LazyStreams, Offer, Piece, Source, Streams};
use crate::wire::{
    CallError, MAX_MESSAGE, MAX_STREAMS, OFFER_LAPSE, Ticket,
    value::{
        Pieces,
        binary::{TICKET, put_content},
    },
};

/// Where the streams of values are offered and taken. A cheap handle.
#[derive(Clone)]
pub struct Exchange {
    offers: Offers,
    streams: LazyStreams,
    connected: watch::Receiver<bool>,
}

impl Exchange {
    pub(in super::super) fn new(streams: LazyStreams, connected: watch::Receiver<bool>) -> Self {
        Self { offers: Offers::default(), streams, connected }
    }

    /// The way to other processes; `None` while NATS is away, when there are none to be reached.
    async fn streams(&self) -> Result<Option<Streams>, CallError> {
        if *self.connected.borrow() { self.streams.get().await.map(Some) } else { Ok(None) }
    }

    /// Offers a stream. Dropping the offer withdraws it; [`HandedOut::leave`] lets it wait for its reader.
    pub async fn offer(&self, source: Source) -> Result<HandedOut, CallError> {
        let offers = &self.offers;
        let Some(streams) = self.streams().await? else {
            let ticket = Ticket { process: Uuid::nil(), stream: Uuid::now_v7() };
            offers.put(ticket, source, None)?;
            return Ok(HandedOut { ticket, offers: Some(offers.clone()) });
        };
        let stream = Arc::new(std::sync::OnceLock::new());
        let offer =
            streams.offer(Box::pin(Claimed { offers: offers.clone(), stream: stream.clone(), source: None }))?;
        let ticket = offer.ticket();
        offers.put(ticket, source, Some(offer))?;
        // Nobody asks the source of an offer for anything before its ticket is known.
        let _ = stream.set(ticket.stream);
        Ok(HandedOut { ticket, offers: Some(offers.clone()) })
    }

    /// What takes streams from wherever they are offered.
    pub async fn taker(&self) -> Result<Taker, CallError> {
        Ok(Taker { offers: self.offers.clone(), streams: self.streams().await? })
    }
}

/// Takes streams. A cheap handle.
#[derive(Clone)]
pub struct Taker {
    offers: Offers,
    streams: Option<Streams>,
}

impl Taker {
    /// Takes a stream. Dropping what this returns tells its sender to stop.
    pub fn take(&self, ticket: &Ticket) -> Result<Pieces, CallError> {
        if let Some(entry) = self.offers.remove(&ticket.stream) {
            return Ok(Box::pin(entry.source.filter_map(async |piece| data(piece))));
        }
        let away = || CallError::Transport(format!("the stream {ticket} is not here, and NATS is away"));
        let incoming = self.streams.as_ref().ok_or_else(away)?.take(ticket)?;
        Ok(Box::pin(incoming.filter_map(async |piece| data(piece.map_err(CallError::from)))))
    }
}

impl Taker {
    /// The value in `bytes` with all that its streams carry in place of their tickets, which are at `tickets`. It waits
    /// until all of them have ended.
    pub async fn gather(&self, bytes: &[u8], tickets: &[(usize, Ticket)]) -> Result<Vec<u8>, CallError> {
        let contents = tickets.iter().map(|(_, ticket)| async { gather(self.take(ticket)?).await });
        let contents = try_join_all(contents).await?;
        let (mut whole, mut copied) = (Vec::with_capacity(bytes.len()), 0);
        for ((at, _), content) in tickets.iter().zip(contents) {
            // Whoever found the tickets found them in these bytes, in order.
            whole.extend_from_slice(bytes.get(copied..*at).unwrap_or_default());
            put_content(&mut whole, &content);
            copied = at + TICKET;
        }
        whole.extend_from_slice(bytes.get(copied..).unwrap_or_default());
        fits(whole.len()).map(|()| whole)
    }
}

/// All that comes, as one.
pub async fn gather(mut pieces: Pieces) -> Result<Bytes, CallError> {
    let Some(first) = pieces.next().await.transpose()? else { return Ok(Bytes::new()) };
    fits(first.len())?;
    let Some(second) = pieces.next().await.transpose()? else { return Ok(first) };
    let mut whole = BytesMut::from(&first[..]);
    let mut next = Some(second);
    while let Some(piece) = next {
        fits(whole.len() + piece.len())?;
        whole.extend_from_slice(&piece);
        next = pieces.next().await.transpose()?;
    }
    Ok(whole.freeze())
}

fn fits(length: usize) -> Result<(), CallError> {
    if length <= MAX_MESSAGE {
        return Ok(());
    }
    let what = "what a stream carries".to_owned();
    Err(CallError::TooLarge { what, size: length as u64, limit: MAX_MESSAGE as u64 })
}

/// Values have no trailers.
fn data(piece: Result<Piece, CallError>) -> Option<Result<Bytes, CallError>> {
    match piece {
        Ok(Piece::Data(bytes)) => Some(Ok(bytes)),
        Ok(Piece::Trailers(_)) => None,
        Err(error) => Some(Err(error)),
    }
}

/// A stream that waits for its reader. Dropping it withdraws the stream, unless somebody has it.
#[must_use]
pub struct HandedOut {
    ticket: Ticket,
    offers: Option<Offers>,
}

impl HandedOut {
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Leaves the stream to its reader. It lapses when nobody takes it within [`OFFER_LAPSE`].
    pub fn leave(mut self) {
        if let Some(offers) = self.offers.take() {
            offers.leave(&self.ticket.stream);
        }
    }
}

impl Drop for HandedOut {
    fn drop(&mut self) {
        if let Some(offers) = &self.offers {
            drop(offers.remove(&self.ticket.stream));
        }
    }
}

/// A source that nobody reads yet.
struct Entry {
    source: Source,
    /// Its way to other processes; dropping it says there that it is withdrawn.
    offer: Option<Offer>,
}

/// All streams of values that wait. A lock around a look-up.
#[derive(Clone, Default)]
struct Offers(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    entries: HashMap<Uuid, Entry>,
    /// Those that were left, in the order in which they lapse.
    left: VecDeque<(Instant, Uuid)>,
}

impl Offers {
    fn all(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, ticket: Ticket, source: Source, offer: Option<Offer>) -> Result<(), CallError> {
        let mut all = self.all();
        if all.entries.len() >= MAX_STREAMS {
            return Err(CallError::Overloaded(format!("this process ({MAX_STREAMS} streams wait for their readers)")));
        }
        all.entries.insert(ticket.stream, Entry { source, offer });
        Ok(())
    }

    fn remove(&self, stream: &Uuid) -> Option<Entry> {
        self.all().entries.remove(stream)
    }

    fn leave(&self, stream: &Uuid) {
        let mut lapsed = Vec::new();
        let mut all = self.all();
        let now = Instant::now();
        while let Some((_, old)) = all.left.pop_front_if(|(until, _)| *until <= now) {
            lapsed.extend(all.entries.remove(&old));
        }
        if all.entries.contains_key(stream) {
            all.left.push_back((now + OFFER_LAPSE, *stream));
        }
        drop(all);
        // Not under the lock: a source may be anything.
        drop(lapsed);
    }
}

/// The source of an offer to other processes: claims the real one when one of them has taken the stream.
struct Claimed {
    offers: Offers,
    stream: Arc<std::sync::OnceLock<Uuid>>,
    source: Option<Source>,
}

impl Stream for Claimed {
    type Item = Result<Piece, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.source.is_none() {
            let entry = self.stream.get().and_then(|stream| self.offers.remove(stream));
            let Some(entry) = entry else {
                return Poll::Ready(Some(Err(CallError::Transport("the stream was withdrawn".into()))));
            };
            if let Some(offer) = entry.offer {
                // It goes on without whoever offered it.
                offer.leave();
            }
            self.source = Some(entry.source);
        }
        match &mut self.source {
            Some(source) => Poll::Ready(ready!(source.as_mut().poll_next(cx))),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        // Nobody came for it.
        if let (None, Some(stream)) = (&self.source, self.stream.get()) {
            drop(self.offers.remove(stream));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::bus::Bus;

    fn source(pieces: &'static [&'static [u8]]) -> Source {
        Box::pin(stream::iter(pieces).map(|piece| Ok(Piece::Data(Bytes::from_static(piece)))))
    }

    #[tokio::test]
    async fn a_stream_is_taken_once_here_and_elsewhere() {
        let bus = Bus::memory("default".parse().unwrap());
        let exchange = bus.exchange();
        let taker = exchange.taker().await.unwrap();
        let offer = exchange.offer(source(&[b"ab", b"c"])).await.unwrap();
        let ticket = offer.ticket();
        offer.leave();
        assert_eq!(gather(taker.take(&ticket).unwrap()).await.unwrap(), b"abc".as_slice());
        assert!(gather(taker.take(&ticket).unwrap()).await.is_err(), "a second reader");
        // As somebody who does not share the list of offers.
        let offer = exchange.offer(source(&[b"ab", b"c"])).await.unwrap();
        let stranger = Taker { offers: Offers::default(), streams: taker.streams.clone() };
        let taken = gather(stranger.take(&offer.ticket()).unwrap());
        offer.leave();
        assert_eq!(taken.await.unwrap(), b"abc".as_slice());
        assert!(exchange.offers.all().entries.is_empty());
    }

    #[tokio::test]
    async fn without_nats_a_stream_reaches_whoever_is_here() {
        let streams = LazyStreams::new("default".parse().unwrap(), None, None);
        let exchange = Exchange::new(streams, watch::channel(false).1);
        let offer = exchange.offer(source(&[b"ab", b"c"])).await.unwrap();
        let ticket = offer.ticket();
        let taker = exchange.taker().await.unwrap();
        assert_eq!(gather(taker.take(&ticket).unwrap()).await.unwrap(), b"abc".as_slice());
        let error = taker.take(&ticket).err().unwrap();
        assert!(error.to_string().contains("NATS is away"), "{error}");
        offer.leave();
        assert!(exchange.offers.all().left.is_empty(), "what was taken does not lapse");
    }

    #[tokio::test]
    async fn an_offer_that_is_dropped_is_withdrawn() {
        let bus = Bus::memory("default".parse().unwrap());
        let exchange = bus.exchange();
        let offer = exchange.offer(source(&[b"ab"])).await.unwrap();
        let ticket = offer.ticket();
        drop(offer);
        assert!(gather(exchange.taker().await.unwrap().take(&ticket).unwrap()).await.is_err());
    }
}
