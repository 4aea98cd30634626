//! An HTTP message in one payload: a length, the head in postcard, then the body as it is.
//!
//! A body that is not small and there at once goes on in a stream, whose ticket is in the head: what is in the payload
//! comes first, then the stream's bytes. The stream's trailers are then those of the body, as pairs in postcard.

mod client;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::client::{ClientReplyHead, ClientRequestHead, FaultCode, HttpFault, Timeouts, UnknownCode};
use super::{
    codec::{CodecError, ContentType, decode, encode},
    subject::Ticket,
};

/// The head of a request. Header values are bytes: HTTP does not promise UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    pub method: String,
    /// Absolute: scheme, authority, path and query.
    pub uri: String,
    pub headers: Vec<(String, Bytes)>,
    /// Of a body that is in the payload as a whole.
    pub trailers: Vec<(String, Bytes)>,
    /// The stream of what follows the bytes in the payload.
    pub rest: Option<Ticket>,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    pub status: u16,
    pub headers: Vec<(String, Bytes)>,
    /// Of a body that is in the payload as a whole.
    pub trailers: Vec<(String, Bytes)>,
    /// The stream of what follows the bytes in the payload.
    pub rest: Option<Ticket>,
}

/// Why a payload is not an HTTP message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFrameError {
    #[error("an HTTP message of {0} bytes is too short")]
    Short(usize),
    #[error("the head of an HTTP message is {head} bytes long, of {available} that are there")]
    HeadLength { head: u32, available: usize },
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// One payload from a head and a body.
pub fn encode_http<H: Serialize>(head: &H, body: &[u8]) -> Result<Bytes, HttpFrameError> {
    let head = encode(ContentType::Postcard, head)?;
    let length =
        u32::try_from(head.len()).map_err(|_| HttpFrameError::HeadLength { head: u32::MAX, available: head.len() })?;
    let mut payload = BytesMut::with_capacity(4 + head.len() + body.len());
    payload.put_u32(length);
    payload.put_slice(&head);
    payload.put_slice(body);
    Ok(payload.freeze())
}

/// The head and the body of a payload; the body is not copied.
pub fn decode_http<H: DeserializeOwned>(payload: &Bytes) -> Result<(H, Bytes), HttpFrameError> {
    let length = payload.first_chunk::<4>().ok_or(HttpFrameError::Short(payload.len()))?;
    let length = u32::from_be_bytes(*length);
    let rest = payload.slice(4..);
    let split = usize::try_from(length).ok().filter(|n| *n <= rest.len());
    let split = split.ok_or(HttpFrameError::HeadLength { head: length, available: rest.len() })?;
    Ok((decode(ContentType::Postcard, &rest[..split])?, rest.slice(split..)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_request_comes_back(
            method in "[A-Z]{1,8}", uri in "\\PC{0,60}", body: Vec<u8>,
            headers in proptest::collection::vec(("[a-z-]{1,12}", proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
        ) {
            let headers: Vec<_> = headers.into_iter().map(|(n, v)| (n, Bytes::from(v))).collect();
            let ticket = Ticket { process: uuid::Uuid::now_v7(), stream: uuid::Uuid::now_v7() };
            let head = RequestHead { method, uri, trailers: headers.clone(), headers, rest: Some(ticket) };
            let payload = encode_http(&head, &body).unwrap();
            let (back, rest): (RequestHead, _) = decode_http(&payload).unwrap();
            prop_assert_eq!(back, head);
            prop_assert_eq!(&rest[..], &body[..]);
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = decode_http::<RequestHead>(&bytes);
            let _ = decode_http::<ResponseHead>(&bytes);
        }
    }
}
