//! What went wrong, in the words of `wasi:http`.

use std::{error::Error, io};

use lattice::wire::{CallError, FaultCode, HttpFault};

/// Where in an exchange a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before the response began.
    Head,
    Body,
}

/// The first error of a kind among an error and its causes.
fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// A failed exchange.
pub(crate) fn exchange(error: &hyper::Error, stage: Stage) -> HttpFault {
    if let Some(fault) = cause::<HttpFault>(error) {
        return fault.clone();
    }
    let code = if let Some(CallError::TooLarge { .. }) = cause(error) {
        FaultCode::RequestBodySize
    } else if error.is_parse_too_large() {
        FaultCode::ResponseHeaderSectionSize
    } else if error.is_parse() {
        FaultCode::ProtocolError
    } else if error.is_user() {
        // The request's own body broke off.
        FaultCode::InternalError
    } else if stage == Stage::Body {
        FaultCode::ResponseIncomplete
    } else if let Some(rustls) = cause::<rustls::Error>(error) {
        return HttpFault::new(tls_code(rustls), rustls);
    } else {
        FaultCode::ConnectionTerminated
    };
    let reason = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    HttpFault::new(code, reason)
}

/// A connection that did not come about.
pub(crate) fn connect(error: &io::Error) -> HttpFault {
    let code = match error.kind() {
        io::ErrorKind::ConnectionRefused => FaultCode::ConnectionRefused,
        io::ErrorKind::TimedOut => FaultCode::ConnectionTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FaultCode::ConnectionTerminated,
        _ => FaultCode::DestinationUnavailable,
    };
    HttpFault::new(code, error)
}

/// A TLS handshake that failed.
pub(crate) fn tls(error: &io::Error) -> HttpFault {
    let rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match rustls {
        Some(rustls) => HttpFault::new(tls_code(rustls), rustls),
        None if error.kind() == io::ErrorKind::UnexpectedEof => HttpFault::new(FaultCode::ConnectionTerminated, error),
        None => HttpFault::new(FaultCode::TlsProtocolError, error),
    }
}

fn tls_code(error: &rustls::Error) -> FaultCode {
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::InvalidCertRevocationList(_) => FaultCode::TlsCertificateError,
        rustls::Error::AlertReceived(_) => FaultCode::TlsAlertReceived,
        _ => FaultCode::TlsProtocolError,
    }
}
