//! What is around a value: heads, headers, subjects and names.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Input, Target};
use crate::wire::{
    AppName, CallHead, CallSubject, ClientReplyHead, ClientRequestHead, ContentType, Digest, Headers, HostId,
    InstanceId, Interface, LatticeName, ReplyStatus, RequestHead, ResponseHead, StreamSubject, Ticket, UnitId,
    UnitName,
    bundle::{decode_answers, decode_calls, encode_answer, encode_call},
    decode, decode_http, encode, encode_http, header,
};

pub(super) const CODEC: Target = Target {
    name: "codec",
    run: codec,
    samples: &[b"\x05carts\x01a\x02hi\x01", b"[\"carts\",[\"a\",[104,105]],1]", b"\xff\xff\xff\xff\x0f"],
};
pub(super) const HTTP: Target = Target {
    name: "http_head",
    run: http,
    samples: &[
        b"\0\0\0\x1d\x03GET\x0ahttp://a/b\x01\x01x\x02yz\x00\x00body",
        b"\0\0\0\x05\xc8\x01\x00\x00\x00body",
        b"\0\0\0\x10\x03GET\x01/\xff\xff\xff\xff\x0f",
    ],
};
pub(super) const HEADERS: Target = Target {
    name: "call_head",
    run: headers,
    samples: &[
        b"\x001\n\x01lattice:keyvalue/store@0.1.0#get\n\x021500\n\x03shop/cart\n\x05application/json\n",
        b"\x001\n\x01a:b/c#d\n\x021\n\x07018bcfe568007000800000000000abcd\n\x04ok\n",
    ],
};
pub(super) const BUNDLE: Target = Target {
    name: "bundle",
    run: bundle,
    samples: &[
        b"0123456789abcdef\x07a:b/c#d\x031500\x00\x01\x09shop/cart\x00\x00\x02hi0123456789abcdeg\x00\x00\x00\x00\x00\x00\x00",
        b"0123456789abcdef\x02ok\x00\x02hi0123456789abcdeg\x04trap\x01\x03a b\x00",
    ],
};
pub(super) const NAMES: Target = Target {
    name: "names",
    run: names,
    samples: &[
        b"shop",
        b"shop/cart",
        b"wasi:keyvalue/store@0.2.0-draft",
        b"lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store",
        b"lattice.default.stream.018bcfe568007000800000000000abcd.018bcfe568007000800000000000abce",
        b"018bcfe568007000800000000000abcd.018bcfe568007000800000000000abce",
        b"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        b"NAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ],
};

/// Decoders of typed values, by either content type: what they read they write the same again.
fn codec(data: &[u8]) {
    type Value = (String, Option<(String, Vec<u8>)>, Result<u64, (bool, Vec<Vec<u32>>)>);
    for content_type in [ContentType::Postcard, ContentType::Json] {
        let Ok(value) = decode::<Value>(content_type, data) else { continue };
        let again = encode(content_type, &value);
        let Ok(again) = again else { panic!("{again:?}: {value:?}") };
        assert_eq!(decode(content_type, &again), Ok(value));
    }
}

fn http(data: &[u8]) {
    let payload = Bytes::copy_from_slice(data);
    http_of::<RequestHead>(&payload);
    http_of::<ResponseHead>(&payload);
    http_of::<ClientRequestHead>(&payload);
    http_of::<ClientReplyHead>(&payload);
}

fn http_of<H: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(payload: &Bytes) {
    let Ok((head, body)) = decode_http::<H>(payload) else { return };
    let again = encode_http(&head, &body);
    let Ok(again) = again else { panic!("{again:?}: {head:?}") };
    assert_eq!(decode_http(&again), Ok((head, body)));
}

/// Headers out of the input: a number that stands for a name, then a line.
struct Pairs(Vec<(&'static str, String)>);

impl Headers for Pairs {
    fn get(&self, name: &'static str) -> Option<&str> {
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

fn headers(data: &[u8]) {
    const NAMES: [&str; 8] = [
        header::PROTOCOL,
        header::FUNCTION,
        header::DEADLINE,
        header::CALLER,
        header::STATUS,
        header::CONTENT_TYPE,
        header::TRACEPARENT,
        header::SESSION,
    ];
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| line.split_first());
    let pair = |(name, value): (&u8, &[u8])| {
        (NAMES[usize::from(*name) % NAMES.len()], String::from_utf8_lossy(value).into_owned())
    };
    let pairs = Pairs(lines.map(pair).collect());
    if let Ok(status) = ReplyStatus::read(&pairs) {
        let again = Pairs(vec![(header::STATUS, status.header_value())]);
        assert_eq!(ReplyStatus::read(&again), Ok(status));
    }
    let Ok(head) = CallHead::read(&pairs) else { return };
    let mut again = Pairs(Vec::new());
    head.write(|name, value| again.0.push((name, value)));
    assert_eq!(CallHead::read(&again), Ok(head));
}

/// What is read of a bundle is written again as it was.
fn bundle(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(calls) = decode_calls(&bytes) {
        for call in &calls {
            let Ok(head) = &call.head else { continue };
            let again = encode_call(call.id, head, &call.payload).map(Bytes::from);
            let Ok(again) = again else { panic!("{again:?}: {call:?}") };
            assert_eq!(decode_calls(&again).as_deref(), Ok(std::slice::from_ref(call)));
        }
    }
    if let Ok(answers) = decode_answers(&bytes) {
        for answer in &answers {
            let Ok(status) = answer.status else { continue };
            let again = encode_answer(answer.id, status, answer.place.as_deref(), &answer.payload).map(Bytes::from);
            let Ok(again) = again else { panic!("{again:?}: {answer:?}") };
            assert_eq!(decode_answers(&again).as_deref(), Ok(std::slice::from_ref(answer)));
        }
    }
}

/// Names and subjects are what they say they are.
fn names(data: &[u8]) {
    let text = Input(data).text(4096);
    name::<LatticeName>(&text, true);
    name::<AppName>(&text, true);
    name::<UnitName>(&text, true);
    name::<HostId>(&text, true);
    name::<InstanceId>(&text, true);
    name::<Interface>(&text, false);
    name::<UnitId>(&text, false);
    name::<Digest>(&text, false);
    name::<CallSubject>(&text, false);
    name::<StreamSubject>(&text, false);
    name::<Ticket>(&text, false);
    // Subjects have it without the version.
    let dotted = text.parse::<Interface>().is_ok_and(|interface| interface.unversioned().contains('.'));
    assert!(!dotted, "{text:?} is more than one token");
}

fn name<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(text: &str, token: bool) {
    let Ok(value) = text.parse::<T>() else { return };
    let shown = value.to_string();
    assert!(shown.bytes().all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>'), "{shown:?} is no part of a subject");
    assert!(!token || !shown.contains('.'), "{shown:?} is more than one token");
    match shown.parse::<T>() {
        Ok(again) => assert_eq!(again, value),
        Err(_) => panic!("{text:?} was read, and {shown:?} cannot be"),
    }
}
