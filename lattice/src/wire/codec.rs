//! Values as bytes: postcard between our own processes, JSON for everybody else. The content type travels with them.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// How the bytes of a message are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentType {
    #[default]
    Postcard,
    Json,
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Postcard => "application/postcard",
            Self::Json => "application/json",
        })
    }
}

impl FromStr for ContentType {
    type Err = CodecError;
    fn from_str(text: &str) -> Result<Self, CodecError> {
        match text {
            "application/postcard" => Ok(Self::Postcard),
            "application/json" => Ok(Self::Json),
            other => Err(CodecError::ContentType(other.chars().take(64).collect())),
        }
    }
}

/// Why bytes are not the value that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("content type \"{0}\" is unknown; use application/postcard or application/json")]
    ContentType(String),
    #[error("cannot encode as {content_type}: {reason}")]
    Encode { content_type: ContentType, reason: String },
    #[error("cannot decode as {content_type}: {reason}")]
    Decode { content_type: ContentType, reason: String },
}

/// Encodes `value`.
pub fn encode<T: Serialize>(content_type: ContentType, value: &T) -> Result<Bytes, CodecError> {
    let done = match content_type {
        ContentType::Postcard => postcard::to_stdvec(value).map_err(|e| e.to_string()),
        ContentType::Json => serde_json::to_vec(value).map_err(|e| e.to_string()),
    };
    done.map(Bytes::from).map_err(|reason| CodecError::Encode { content_type, reason })
}

/// Decodes the whole of `bytes`; what is left over is an error.
pub fn decode<T: DeserializeOwned>(content_type: ContentType, bytes: &[u8]) -> Result<T, CodecError> {
    let fail = |reason: String| CodecError::Decode { content_type, reason };
    match content_type {
        ContentType::Postcard => {
            let (value, rest) = postcard::take_from_bytes(bytes).map_err(|e| fail(e.to_string()))?;
            if rest.is_empty() { Ok(value) } else { Err(fail(format!("{} bytes left over", rest.len()))) }
        }
        ContentType::Json => serde_json::from_slice(bytes).map_err(|e| fail(e.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_come_back_whole_and_refuse_the_rest() {
        let value = (String::from("k"), Some(vec![0u8, 255]), 7u64);
        for content_type in [ContentType::Postcard, ContentType::Json] {
            let bytes = encode(content_type, &value).unwrap();
            let back: (String, Option<Vec<u8>>, u64) = decode(content_type, &bytes).unwrap();
            assert_eq!(back, value);
            let mut longer = bytes.to_vec();
            longer.push(b'x');
            assert!(decode::<(String, Option<Vec<u8>>, u64)>(content_type, &longer).is_err());
            assert!(decode::<(String, Option<Vec<u8>>, u64)>(content_type, &bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_without_allocating_it() {
        let lie = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(decode::<Vec<u64>>(ContentType::Postcard, &lie).is_err());
        assert!(decode::<String>(ContentType::Postcard, &lie).is_err());
        assert!(decode::<Bytes>(ContentType::Postcard, &lie).is_err());
    }
}
