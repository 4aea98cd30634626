//! A request for a client to send, and what comes back.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{RequestHead, ResponseHead};
use crate::wire::CallError;

/// The head of a request that a client is to send out of the lattice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRequestHead {
    pub request: RequestHead,
    /// Where the caller's link lets requests go, as the manifest writes it: `https://*.example.com:8443`.
    pub allow: Vec<String>,
    pub timeouts: Timeouts,
}

/// How long the caller waits at each step; where nothing is said, as long as the client does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// For a connection, with its TLS.
    pub connect: Option<Duration>,
    /// From then on, for the response to begin.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the response's body.
    pub between_bytes: Option<Duration>,
}

/// The head of the reply.
pub type ClientReplyHead = Result<ResponseHead, HttpFault>;

/// Why a request has no response, in the words of `wasi:http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct HttpFault {
    pub code: FaultCode,
    /// What exactly happened, where the code alone does not say.
    pub detail: Option<String>,
}

impl fmt::Display for HttpFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => write!(f, "{}: {detail}", self.code),
            None => write!(f, "{}", self.code),
        }
    }
}

impl HttpFault {
    pub fn new(code: FaultCode, detail: impl fmt::Display) -> Self {
        Self { code, detail: Some(detail.to_string()) }
    }
}

/// What a failed call means to who sent a request by it.
impl From<&CallError> for HttpFault {
    fn from(error: &CallError) -> Self {
        let code = match error {
            CallError::NoInstance(_) => FaultCode::DestinationUnavailable,
            CallError::Overloaded(_) => FaultCode::ConnectionLimitReached,
            CallError::Deadline(_) => FaultCode::ResponseTimeout,
            CallError::Denied(_) => FaultCode::RequestDenied,
            CallError::TooLarge { .. } => FaultCode::RequestBodySize,
            _ => FaultCode::InternalError,
        };
        Self::new(code, error)
    }
}

impl From<FaultCode> for HttpFault {
    fn from(code: FaultCode) -> Self {
        Self { code, detail: None }
    }
}

/// Cases of `error-code` in `wasi:http/types`: those that a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum FaultCode {
    DnsTimeout,
    DnsError,
    DestinationNotFound,
    DestinationUnavailable,
    DestinationIpProhibited,
    ConnectionRefused,
    ConnectionTerminated,
    ConnectionTimeout,
    ConnectionReadTimeout,
    ConnectionLimitReached,
    TlsProtocolError,
    TlsCertificateError,
    TlsAlertReceived,
    RequestDenied,
    RequestBodySize,
    RequestMethodInvalid,
    RequestUriInvalid,
    ResponseIncomplete,
    ResponseHeaderSectionSize,
    ResponseTimeout,
    ProtocolError,
    InternalError,
}

const NAMES: [(FaultCode, &str); 22] = [
    (FaultCode::DnsTimeout, "DNS-timeout"),
    (FaultCode::DnsError, "DNS-error"),
    (FaultCode::DestinationNotFound, "destination-not-found"),
    (FaultCode::DestinationUnavailable, "destination-unavailable"),
    (FaultCode::DestinationIpProhibited, "destination-IP-prohibited"),
    (FaultCode::ConnectionRefused, "connection-refused"),
    (FaultCode::ConnectionTerminated, "connection-terminated"),
    (FaultCode::ConnectionTimeout, "connection-timeout"),
    (FaultCode::ConnectionReadTimeout, "connection-read-timeout"),
    (FaultCode::ConnectionLimitReached, "connection-limit-reached"),
    (FaultCode::TlsProtocolError, "TLS-protocol-error"),
    (FaultCode::TlsCertificateError, "TLS-certificate-error"),
    (FaultCode::TlsAlertReceived, "TLS-alert-received"),
    (FaultCode::RequestDenied, "HTTP-request-denied"),
    (FaultCode::RequestBodySize, "HTTP-request-body-size"),
    (FaultCode::RequestMethodInvalid, "HTTP-request-method-invalid"),
    (FaultCode::RequestUriInvalid, "HTTP-request-URI-invalid"),
    (FaultCode::ResponseIncomplete, "HTTP-response-incomplete"),
    (FaultCode::ResponseHeaderSectionSize, "HTTP-response-header-section-size"),
    (FaultCode::ResponseTimeout, "HTTP-response-timeout"),
    (FaultCode::ProtocolError, "HTTP-protocol-error"),
    (FaultCode::InternalError, "internal-error"),
];

impl From<FaultCode> for &'static str {
    fn from(code: FaultCode) -> &'static str {
        NAMES.iter().find(|(known, _)| *known == code).map_or("internal-error", |(_, name)| name)
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((*self).into())
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no error-code of wasi:http that is known here")]
pub struct UnknownCode(String);

impl TryFrom<String> for FaultCode {
    type Error = UnknownCode;
    fn try_from(text: String) -> Result<Self, UnknownCode> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(code, _)| *code).ok_or(UnknownCode(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode_http, encode_http};

    #[test]
    fn every_code_comes_back() {
        for (code, name) in NAMES {
            assert_eq!(code.to_string(), name);
            let head: ClientReplyHead = Err(HttpFault::new(code, "why"));
            let (back, body): (ClientReplyHead, _) = decode_http(&encode_http(&head, b"").unwrap()).unwrap();
            assert_eq!((back, body.len()), (head, 0));
        }
        assert!(FaultCode::try_from("weather".to_owned()).is_err());
    }
}
