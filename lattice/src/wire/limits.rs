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
/// Longest name of a container of objects, in bytes.
pub const MAX_CONTAINER: usize = 128;
/// Longest name of an object, in bytes: what S3 takes.
pub const MAX_OBJECT: usize = 1024;
/// Names in one call that removes several objects.
pub const MAX_OBJECTS: usize = 10_000;
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
/// Calls in one message, or answers in another, at the most.
pub const MAX_BUNDLE: usize = 256;
/// Calls and answers that go together are not put together beyond this, in bytes. More would only wait longer for its last one.
pub const BUNDLE_BYTES: usize = 64 * 1024;
/// The largest payload of a call that shares a message with others, in bytes. What is larger gains nothing by it.
pub const MAX_BUNDLED: usize = 8 * 1024;
/// Largest payload of a call or a reply, in bytes. What does not fit a NATS message travels as a stream.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// All payloads of one process that travel as streams at a time, in bytes. One that does not fit is refused.
pub const MAX_GATHERED: usize = 256 * 1024 * 1024;
/// Largest part of an HTTP body that goes with its head in one message, in bytes; the rest follows as a stream.
pub const MAX_INLINE: usize = 256 * 1024;
/// Largest piece of a stream that is sent as one message, in bytes.
pub const CHUNK: usize = 128 * 1024;
/// What a sender may have sent and the receiver not yet used, for one stream, in bytes: also the most that a stream
/// takes of the receiver's memory. With 1 MiB a stream waits for credit on a busy machine: 0.65 of the speed of plain
/// messages, where 4 MiB gives 0.8.
pub const WINDOW: u64 = 4 * 1024 * 1024;
/// The smallest window. Streams of one process share [`WINDOWS`], and get smaller windows when they are many.
pub const MIN_WINDOW: u64 = 64 * 1024;
/// All windows of one process together, in bytes, as long as they are not at their smallest. Below what nats-server
/// keeps for a slow client (64 MB), or many streams at once would cut the connection.
pub const WINDOWS: u64 = 32 * 1024 * 1024;
/// What the smallest piece takes of a window, in bytes: also tiny pieces cost memory where they wait.
pub const MIN_CHARGE: u64 = 1024;
/// Largest trailers of a stream, in bytes.
pub const MAX_TRAILERS: usize = 16 * 1024;
/// Streams that a process has under way at a time, in either direction. One more is refused.
pub const MAX_STREAMS: usize = 4096;
/// Each side of a stream says at least this often that it is alive.
pub const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A side of a stream that has said nothing for so long is gone.
pub const SILENCE: Duration = Duration::from_secs(6);
/// How long an offer that nobody holds waits to be taken.
pub const OFFER_LAPSE: Duration = Duration::from_secs(10);
