//! Several calls in one message, and several answers in another: what a message costs its sender, the server and its
//! receiver is then shared. An entry is what a message of its own would hold: the headers' texts, and the payload.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    error::CallError,
    frame::{CallHead, FrameError, Headers, PROTOCOL, ReplyStatus, header},
    limits::MAX_BUNDLE,
};

/// Why a message is not a bundle of calls or answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error("entry {at} of a bundle cannot be read: {reason}")]
    Entry { at: usize, reason: String },
    #[error("a bundle has more than {MAX_BUNDLE} entries")]
    TooMany,
}

impl From<BundleError> for CallError {
    fn from(error: BundleError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

/// A call as it stands in a bundle, in postcard. The texts are those of the headers of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct CallEntry<'m> {
    id: [u8; 16],
    function: &'m str,
    deadline: &'m str,
    content_type: Option<&'m str>,
    caller: Option<&'m str>,
    traceparent: Option<&'m str>,
    session: Option<&'m str>,
    payload: &'m [u8],
}

impl Headers for CallEntry<'_> {
    fn get(&self, name: &'static str) -> Option<&str> {
        match name {
            header::PROTOCOL => Some(PROTOCOL),
            header::FUNCTION => Some(self.function),
            header::DEADLINE => Some(self.deadline),
            header::CONTENT_TYPE => self.content_type,
            header::CALLER => self.caller,
            header::TRACEPARENT => self.traceparent,
            header::SESSION => self.session,
            _ => None,
        }
    }
}

/// A call of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundledCall {
    /// Under which it is answered, and may be cancelled.
    pub id: Uuid,
    /// The others of the bundle may be right when this one is not.
    pub head: Result<CallHead, FrameError>,
    pub payload: Bytes,
}

/// A call as an entry of a bundle.
pub fn encode_call(id: Uuid, head: &CallHead, payload: &[u8]) -> Result<Vec<u8>, CallError> {
    let mut texts: [Option<String>; 6] = Default::default();
    const NAMES: [&str; 6] = [
        header::FUNCTION,
        header::DEADLINE,
        header::CONTENT_TYPE,
        header::CALLER,
        header::TRACEPARENT,
        header::SESSION,
    ];
    head.write(|name, text| {
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            texts[at] = Some(text);
        }
    });
    let [function, deadline, content_type, caller, traceparent, session] = &texts;
    let entry = CallEntry {
        id: id.into_bytes(),
        function: function.as_deref().unwrap_or_default(),
        deadline: deadline.as_deref().unwrap_or_default(),
        content_type: content_type.as_deref(),
        caller: caller.as_deref(),
        traceparent: traceparent.as_deref(),
        session: session.as_deref(),
        payload,
    };
    write(&entry, payload.len())
}

/// The calls of a bundle. The payloads share its memory.
pub fn decode_calls(bundle: &Bytes) -> Result<Vec<BundledCall>, BundleError> {
    read(bundle, |entry: CallEntry<'_>| BundledCall {
        id: Uuid::from_bytes(entry.id),
        head: CallHead::read(&entry),
        payload: bundle.slice_ref(entry.payload),
    })
}

/// An answer as it stands in a bundle, in postcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AnswerEntry<'m> {
    id: [u8; 16],
    status: &'m str,
    /// Where the payload is, when it is not here: the text of the header for payloads.
    place: Option<&'m str>,
    payload: &'m [u8],
}

impl Headers for AnswerEntry<'_> {
    fn get(&self, name: &'static str) -> Option<&str> {
        match name {
            header::STATUS => Some(self.status),
            header::PAYLOAD => self.place,
            _ => None,
        }
    }
}

/// An answer of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundledAnswer {
    /// That of the call.
    pub id: Uuid,
    pub status: Result<ReplyStatus, FrameError>,
    /// The text of the header for payloads.
    pub place: Option<String>,
    pub payload: Bytes,
}

/// An answer as an entry of a bundle.
pub fn encode_answer(id: Uuid, status: ReplyStatus, place: Option<&str>, payload: &[u8]) -> Result<Vec<u8>, CallError> {
    let entry = AnswerEntry { id: id.into_bytes(), status: &status.header_value(), place, payload };
    write(&entry, payload.len())
}

/// The answers of a bundle. The payloads share its memory.
pub fn decode_answers(bundle: &Bytes) -> Result<Vec<BundledAnswer>, BundleError> {
    read(bundle, |entry: AnswerEntry<'_>| BundledAnswer {
        id: Uuid::from_bytes(entry.id),
        status: ReplyStatus::read(&entry),
        place: entry.place.map(str::to_owned),
        payload: bundle.slice_ref(entry.payload),
    })
}

/// What an entry takes beside its payload, mostly, in bytes.
const AROUND: usize = 160;

fn write<T: Serialize>(entry: &T, payload: usize) -> Result<Vec<u8>, CallError> {
    postcard::to_extend(entry, Vec::with_capacity(payload + AROUND))
        .map_err(|error| CallError::BadMessage(error.to_string()))
}

fn read<'m, E: Deserialize<'m>, T>(bundle: &'m Bytes, entry: impl Fn(E) -> T) -> Result<Vec<T>, BundleError> {
    let mut rest: &[u8] = bundle;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let at = entries.len();
        if at == MAX_BUNDLE {
            return Err(BundleError::TooMany);
        }
        let (read, left) =
            postcard::take_from_bytes(rest).map_err(|error| BundleError::Entry { at, reason: error.to_string() })?;
        entries.push(entry(read));
        rest = left;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::{ContentType, ErrorCode};

    fn head(deadline: u64, content_type: ContentType) -> CallHead {
        CallHead {
            interface: "acme:pricing/quote@1.2.0".parse().unwrap(),
            function: "price".into(),
            deadline: Duration::from_millis(deadline),
            caller: Some("shop/cart".parse().unwrap()),
            content_type,
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
            session: Some(Uuid::from_u128(9)),
        }
    }

    #[test]
    fn calls_and_answers_come_back_one_by_one() {
        let calls = [(head(1500, ContentType::Postcard), &b"one"[..]), (head(7, ContentType::Json), b"")];
        let entries = calls
            .iter()
            .enumerate()
            .map(|(id, (head, payload))| encode_call(Uuid::from_u128(id as u128), head, payload).unwrap());
        let bundle = Bytes::from(entries.collect::<Vec<_>>().concat());
        let back = decode_calls(&bundle).unwrap();
        assert_eq!(back.len(), 2);
        for (at, (call, (head, payload))) in back.iter().zip(&calls).enumerate() {
            assert_eq!((call.id, &call.head), (Uuid::from_u128(at as u128), &Ok(head.clone())));
            assert_eq!(call.payload, payload);
        }

        let busy = ReplyStatus::Error(ErrorCode::Overloaded);
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let bundle = [
            encode_answer(first, ReplyStatus::Ok, None, b"value").unwrap(),
            encode_answer(second, busy, Some("a.b 7"), b"").unwrap(),
        ];
        let back = decode_answers(&Bytes::from(bundle.concat())).unwrap();
        assert_eq!((back[0].id, &back[0].status, &*back[0].payload), (first, &Ok(ReplyStatus::Ok), &b"value"[..]));
        assert_eq!((back[1].id, &back[1].status, back[1].place.as_deref()), (second, &Ok(busy), Some("a.b 7")));
    }

    #[test]
    fn a_call_whose_head_is_wrong_leaves_the_others_alone() {
        let mut wrong = head(1, ContentType::Postcard);
        wrong.function = String::new();
        let entries = [wrong, head(2, ContentType::Postcard)].map(|head| encode_call(Uuid::nil(), &head, b"").unwrap());
        let back = decode_calls(&Bytes::from(entries.concat())).unwrap();
        assert!(back[0].head.is_err());
        assert!(back[1].head.is_ok());
    }

    #[test]
    fn what_is_cut_or_too_much_is_refused_by_name() {
        let one = encode_call(Uuid::nil(), &head(1, ContentType::Postcard), b"payload").unwrap();
        let cut = Bytes::from([&one[..], &one[..one.len() - 1]].concat());
        let error = decode_calls(&cut).unwrap_err();
        assert!(matches!(&error, BundleError::Entry { at: 1, .. }), "{error}");
        let full = Bytes::from(one.repeat(MAX_BUNDLE));
        assert_eq!(decode_calls(&full).unwrap().len(), MAX_BUNDLE);
        let over = Bytes::from(one.repeat(MAX_BUNDLE + 1));
        assert_eq!(decode_calls(&over).unwrap_err(), BundleError::TooMany);
    }
}
