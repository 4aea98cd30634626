//! What stands in the headers of a call and of its reply, so that `nats sub` shows a readable call.

use std::time::Duration;

use uuid::Uuid;

use super::{
    codec::ContentType,
    error::{CallError, ErrorCode},
    id::{Interface, UnitId},
    limits::{MAX_DEADLINE, MAX_FUNCTION},
    trace::TraceContext,
};

/// The version of this protocol. A receiver refuses another one by name.
pub const PROTOCOL: &str = "1";

/// Names of the headers.
pub mod header {
    /// Protocol version, on every call.
    pub const PROTOCOL: &str = "lattice-protocol";
    /// `namespace:package/interface[@version]#function`.
    pub const FUNCTION: &str = "lattice-function";
    /// Milliseconds that the caller will still wait.
    pub const DEADLINE: &str = "lattice-deadline";
    /// `app/unit` of the caller.
    pub const CALLER: &str = "lattice-caller";
    /// `ok`, or the code of an error whose text is the payload.
    pub const STATUS: &str = "lattice-status";
    /// `application/postcard` or `application/json`.
    pub const CONTENT_TYPE: &str = "content-type";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// The session that the call belongs to: it runs in the instance that holds the resources made there.
    pub const SESSION: &str = "lattice-session";
    /// On a call: its id, under which it may be cancelled.
    pub const CALL: &str = "lattice-call";
    /// On a message to the subject of a call, without a reply subject: the id of the call that its caller gave up.
    pub const CANCEL: &str = "lattice-cancel";
    /// On a request to the subject of a call that is no call: whether somebody listens there. Answered with `ok`.
    pub const PROBE: &str = "lattice-probe";
    /// On a call or a reply whose payload travels as a stream: `<ticket> <length in bytes>`.
    pub const PAYLOAD: &str = "lattice-payload";
    /// On a message that holds several calls, or several answers: how many, see [`wire::bundle`](crate::wire::bundle).
    pub const BUNDLE: &str = "lattice-bundle";
    /// On each frame of a stream: what it is, see [`wire::stream`](crate::wire::stream).
    pub const STREAM: &str = "lattice-stream";
}

/// Header pairs, as they are handed to and taken from a transport.
pub trait Headers {
    fn get(&self, name: &'static str) -> Option<&str>;
}

/// Everything about a call except its arguments and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallHead {
    pub interface: Interface,
    pub function: String,
    /// How long the caller will wait from now on.
    pub deadline: Duration,
    pub caller: Option<UnitId>,
    pub content_type: ContentType,
    pub traceparent: Option<TraceContext>,
    /// The session that holds the resources which the call is about.
    pub session: Option<Uuid>,
}

/// Why headers are not those of a call or a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("header {0} is missing")]
    Missing(&'static str),
    #[error("header {name} is \"{value}\", which is not {expected}")]
    Bad { name: &'static str, value: String, expected: &'static str },
    #[error("the message is of protocol version {found}; this process speaks version {PROTOCOL}")]
    Version { found: String },
}

fn bad(name: &'static str, value: &str, expected: &'static str) -> FrameError {
    FrameError::Bad { name, value: value.chars().take(128).collect(), expected }
}

/// Whether a message is of the protocol that this process speaks.
pub fn check_version(headers: &impl Headers) -> Result<(), FrameError> {
    match headers.get(header::PROTOCOL) {
        Some(PROTOCOL) => Ok(()),
        Some(other) => Err(FrameError::Version { found: other.chars().take(16).collect() }),
        None => Err(FrameError::Missing(header::PROTOCOL)),
    }
}

impl CallHead {
    /// Hands each header to `put`.
    pub fn write(&self, mut put: impl FnMut(&'static str, String)) {
        put(header::PROTOCOL, PROTOCOL.to_owned());
        put(header::FUNCTION, format!("{}#{}", self.interface, self.function));
        put(header::DEADLINE, self.deadline.as_millis().to_string());
        // Each header takes time of the caller, the server and the callee: what is meant without it is not said.
        if self.content_type != ContentType::default() {
            put(header::CONTENT_TYPE, self.content_type.to_string());
        }
        if let Some(caller) = &self.caller {
            put(header::CALLER, caller.to_string());
        }
        if let Some(traceparent) = &self.traceparent {
            put(header::TRACEPARENT, traceparent.to_string());
        }
        if let Some(session) = &self.session {
            put(header::SESSION, session.simple().to_string());
        }
    }

    /// Reads the headers of a call.
    pub fn read(headers: &impl Headers) -> Result<Self, FrameError> {
        let need = |name| headers.get(name).ok_or(FrameError::Missing(name));
        check_version(headers)?;
        let text = need(header::FUNCTION)?;
        let wrong = || bad(header::FUNCTION, text, "namespace:package/interface[@version]#function");
        let (interface, function) = text.split_once('#').ok_or_else(wrong)?;
        if function.is_empty() || function.len() > MAX_FUNCTION {
            return Err(wrong());
        }
        let millis = need(header::DEADLINE)?;
        let deadline = millis
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| bad(header::DEADLINE, millis, "a number of milliseconds"))?;
        let content_type = match headers.get(header::CONTENT_TYPE) {
            None => ContentType::default(),
            Some(text) => {
                text.parse().map_err(|_| bad(header::CONTENT_TYPE, text, "application/postcard or application/json"))?
            }
        };
        let caller = match headers.get(header::CALLER) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| bad(header::CALLER, text, "app/unit"))?),
        };
        let session = match headers.get(header::SESSION) {
            None => None,
            Some(text) => Some(Uuid::try_parse(text).map_err(|_| bad(header::SESSION, text, "a UUID"))?),
        };
        Ok(Self {
            interface: interface.parse().map_err(|_| wrong())?,
            function: function.to_owned(),
            deadline: deadline.min(MAX_DEADLINE),
            caller,
            content_type,
            // Anything else is dropped rather than carried on.
            traceparent: headers.get(header::TRACEPARENT).and_then(|text| text.parse().ok()),
            session,
        })
    }
}

/// The outcome that the headers of a reply tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyStatus {
    Ok,
    /// The payload is the error's text.
    Error(ErrorCode),
}

impl ReplyStatus {
    /// The value of the status header.
    pub fn header_value(&self) -> String {
        match self {
            Self::Ok => "ok".to_owned(),
            Self::Error(code) => code.to_string(),
        }
    }

    /// Reads the headers of a reply.
    pub fn read(headers: &impl Headers) -> Result<Self, FrameError> {
        match headers.get(header::STATUS) {
            None => Err(FrameError::Missing(header::STATUS)),
            Some("ok") => Ok(Self::Ok),
            Some(code) => {
                code.parse().map(Self::Error).map_err(|()| bad(header::STATUS, code, "ok or a known error code"))
            }
        }
    }
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Headers for HashMap<&'static str, String> {
        fn get(&self, name: &'static str) -> Option<&str> {
            HashMap::get(self, name).map(String::as_str)
        }
    }

    fn head() -> CallHead {
        CallHead {
            interface: "lattice:keyvalue/store@0.1.0".parse().unwrap(),
            function: "get".into(),
            deadline: Duration::from_millis(1500),
            caller: Some("shop/cart".parse().unwrap()),
            content_type: ContentType::Json,
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
            session: Some(Uuid::from_u128(7)),
        }
    }

    fn headers(head: &CallHead) -> HashMap<&'static str, String> {
        let mut map = HashMap::new();
        head.write(|name, value| {
            map.insert(name, value);
        });
        map
    }

    #[test]
    fn a_head_comes_back() {
        assert_eq!(CallHead::read(&headers(&head())).unwrap(), head());
    }

    #[test]
    fn another_protocol_version_is_named() {
        let mut map = headers(&head());
        map.insert(header::PROTOCOL, "2".into());
        let error = CallHead::read(&map).unwrap_err().to_string();
        assert_eq!(error, "the message is of protocol version 2; this process speaks version 1");
    }

    proptest! {
        #[test]
        fn garbage_in_a_header_is_an_error_and_never_a_panic(which in 0usize..5, text in "\\PC{0,80}") {
            let name = [header::PROTOCOL, header::FUNCTION, header::DEADLINE, header::CALLER, header::CONTENT_TYPE][which];
            let mut map = headers(&head());
            map.insert(name, text);
            let _ = CallHead::read(&map);
        }
    }
}
