//! The streams inside of typed values, on their way out of a process and into one.

use bytes::Bytes;
use futures_util::StreamExt;

use super::{Exchange, HandedOut, Piece, gather};
use crate::wire::{
    CallError,
    value::{ByteStream, FunctionShape, WitType, json},
};

fn streams<T: WitType>(value: &mut T) -> Vec<&mut ByteStream> {
    let mut found = Vec::new();
    value.streams(&mut found);
    found
}

impl Exchange {
    /// Offers the streams in `value`, which holds their tickets then. What is here as one goes as it is.
    pub async fn hand_out<T: WitType + Send>(&self, value: &mut T) -> Result<Vec<HandedOut>, CallError> {
        let mut offers = Vec::new();
        for stream in streams(value) {
            let Some(pieces) = stream.take_pieces() else { continue };
            let offer = self.offer(Box::pin(pieces.map(|piece| piece.map(Piece::Data)))).await?;
            stream.give_away(|| offer.ticket());
            offers.push(offer);
        }
        Ok(offers)
    }

    /// Takes the streams that `value` has the tickets of.
    pub async fn take_in<T: WitType + Send>(&self, value: &mut T) -> Result<(), CallError> {
        let mut streams = streams(value);
        streams.retain(|stream| stream.ticket().is_some());
        if streams.is_empty() {
            return Ok(());
        }
        let taker = self.taker().await?;
        for stream in streams {
            if let Some(ticket) = stream.ticket() {
                *stream = taker.take(&ticket)?.into();
            }
        }
        Ok(())
    }

    /// Waits until all that the streams in `value` carry is there, at most [`MAX_MESSAGE`](crate::wire::MAX_MESSAGE) of each.
    pub async fn gather_in<T: WitType + Send>(&self, value: &mut T) -> Result<(), CallError> {
        self.take_in(value).await?;
        for stream in streams(value) {
            if let Some(pieces) = stream.take_pieces() {
                *stream = gather(pieces).await?.into();
            }
        }
        Ok(())
    }

    /// The arguments in `payload` in JSON, where streams are all that they carry: for whoever speaks nothing else.
    pub async fn arguments_in_json(&self, shape: &FunctionShape, payload: &Bytes) -> Result<Bytes, CallError> {
        let tickets = shape.scan_arguments(payload)?.tickets;
        if tickets.is_empty() {
            return Ok(json::arguments_to_json(shape, payload)?.into());
        }
        let gathered = self.taker().await?.gather(payload, &tickets).await?;
        Ok(json::arguments_to_json(shape, &gathered)?.into())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use crate::{
        bus::Bus,
        wire::{
            CallError,
            value::{ByteStream, from_bytes, to_bytes},
        },
    };

    fn slow(pieces: &'static [Result<&'static [u8], &'static str>]) -> ByteStream {
        let piece = |piece: &Result<&'static [u8], &str>| match piece {
            Ok(bytes) => Ok(Bytes::from_static(bytes)),
            Err(text) => Err(CallError::Transport((*text).to_owned())),
        };
        ByteStream::new(stream::iter(pieces.iter().map(piece)))
    }

    type Value = (u8, Vec<ByteStream>, Option<Result<ByteStream, String>>);

    #[tokio::test]
    async fn streams_go_with_their_value_and_a_cut_is_an_error() {
        let exchange = Bus::memory("default".parse().unwrap()).exchange();
        let whole = ByteStream::from(Bytes::from_static(b"whole"));
        let mut value: Value = (7, vec![slow(&[Ok(b"a"), Ok(b"b")]), whole], Some(Ok(slow(&[Ok(b"c"), Err("cut")]))));
        let offers = exchange.hand_out(&mut value).await.unwrap();
        assert_eq!(offers.len(), 2);
        let mut there: Value = from_bytes(&to_bytes(&value)).unwrap();
        exchange.take_in(&mut there).await.unwrap();
        drop(offers);
        let (seven, mut list, last) = there;
        assert_eq!((seven, list[1].whole()), (7, Some(&Bytes::from_static(b"whole"))));
        exchange.gather_in(&mut list).await.unwrap();
        assert_eq!(list[0].whole(), Some(&Bytes::from_static(b"ab")));
        let mut last = last.unwrap().unwrap();
        assert_eq!(exchange.gather_in(&mut last).await, Err(CallError::Transport("cut".into())));
    }

    #[tokio::test]
    async fn what_nobody_offered_is_an_error() {
        let exchange = Bus::memory("default".parse().unwrap()).exchange();
        let mut there: ByteStream = from_bytes(&to_bytes(&slow(&[]))).unwrap();
        assert!(exchange.gather_in(&mut there).await.is_err());
    }
}
