//! The words that processes exchange. Nothing here does I/O or reads a clock, and no decoder allocates from a length
//! that came over the wire.

pub mod bundle;
mod codec;
mod error;
mod frame;
pub mod fuzz;
mod http;
mod id;
mod limits;
pub mod stream;
mod subject;
mod trace;
pub mod value;
pub mod version;

pub use codec::{CodecError, ContentType, decode, encode};
pub use error::{CallError, ErrorCode};
pub use frame::{CallHead, FrameError, Headers, PROTOCOL, ReplyStatus, check_version, header};
pub use http::{
    ClientReplyHead, ClientRequestHead, FaultCode, HttpFault, HttpFrameError, RequestHead, ResponseHead, Timeouts,
    UnknownCode, decode_http, encode_http,
};
pub use id::{AppName, Digest, HostId, IdError, InstanceId, Interface, LatticeName, SecretName, UnitId, UnitName};
pub use limits::*;
pub use subject::{
    ALL_CALLS, CallSubject, ProcessReplies, ProcessStreams, Served, StreamSubject, SubjectError, Ticket, ends_of_calls,
    event, replies_of,
};
pub use trace::TraceContext;
