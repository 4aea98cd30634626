//! Limits that both sides of a connection rely on. A value over a limit is refused with an error that names the limit.

use std::time::Duration;

/// Longest name of a lattice, app or unit, in bytes. Three of them, an instance and an interface fit NATS's 4 KiB control line.
pub const MAX_NAME: usize = 63;
/// Longest WIT interface name with its version, in bytes.
pub const MAX_INTERFACE: usize = 200;
/// Longest function name, in bytes.
pub const MAX_FUNCTION: usize = 200;
/// Longest key of a key-value bucket, in bytes. NATS key-value stores it escaped (three times as long) inside a subject.
pub const MAX_KEY: usize = 1024;
/// Longest name of a key-value bucket, in bytes.
pub const MAX_BUCKET: usize = 128;
/// Largest value of a key, in bytes.
pub const MAX_VALUE: usize = 1024 * 1024;
/// Room kept free in a NATS payload for headers and framing, in bytes.
pub const PAYLOAD_HEADROOM: usize = 16 * 1024;
/// Longest error text that crosses the wire, in bytes; longer ones are cut.
pub const MAX_ERROR_TEXT: usize = 4096;
/// How long a call may take when neither the link nor the caller says otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// The longest deadline that a message may ask for.
pub const MAX_DEADLINE: Duration = Duration::from_secs(3600);
/// How long an instance keeps resources for a holder that is silent; holders are heard three times as often.
pub const SESSION_LEASE: Duration = Duration::from_secs(30);
/// What holders of resources call: `renew()`, `drop(list<u32>)` and `end()`, each about the session in the headers.
pub const SESSION_INTERFACE: &str = "lattice:session/holder";
