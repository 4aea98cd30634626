//! A connection's bytes as they come: a message that is too large is stopped before it is in memory, and the state of the
//! transaction, which the client does not tell, is read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket, encrypted or not.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Type and length of a message.
const HEAD: usize = 5;
/// What of a message is its length.
const LENGTH: u64 = 4;
/// The database is ready for the next statement, and says whether a transaction is open.
const READY: u8 = b'Z';

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    in_transaction: AtomicBool,
    /// The size of a message that was too large.
    too_large: AtomicU64,
}

impl Seen {
    /// Whether a transaction was open when the last statement had ended.
    pub(crate) fn in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Acquire)
    }

    /// The size in bytes of the message that has ended the connection.
    pub(crate) fn too_large(&self) -> Option<u64> {
        Some(self.too_large.load(Ordering::Acquire)).filter(|size| *size > 0)
    }
}

pub(crate) struct Watched {
    socket: Box<dyn Socket>,
    watch: Watch,
}

impl Watched {
    /// Messages may have `limit` bytes.
    pub(crate) fn new(socket: Box<dyn Socket>, limit: u64) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let watch = Watch { head: [0; HEAD], got: 0, left: 0, limit, seen: seen.clone() };
        (Self { socket, watch }, seen)
    }
}

/// Where in which message.
struct Watch {
    head: [u8; HEAD],
    got: usize,
    /// Bytes of the message's body that have not come yet.
    left: u64,
    limit: u64,
    seen: Arc<Seen>,
}

impl Watch {
    fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.got < HEAD {
                let count = bytes.len().min(HEAD - self.got);
                let (taken, rest) = bytes.split_at(count);
                self.head[self.got..self.got + count].copy_from_slice(taken);
                self.got += count;
                bytes = rest;
                if self.got < HEAD {
                    return Ok(());
                }
                self.begin()?;
            }
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at(count);
            if let (READY, Some(status)) = (self.head[0], taken.first()) {
                self.seen.in_transaction.store(*status != b'I', Ordering::Release);
            }
            self.left -= count as u64;
            bytes = rest;
            if self.left == 0 {
                self.got = 0;
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let [_, length @ ..] = self.head;
        let size = u64::from(u32::from_be_bytes(length));
        if size > self.limit {
            self.seen.too_large.store(size, Ordering::Release);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("a message of {size} bytes")));
        }
        self.left = size.saturating_sub(LENGTH);
        Ok(())
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        Poll::Ready(self.watch.see(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limit: u64) -> Watch {
        Watch { head: [0; HEAD], got: 0, left: 0, limit, seen: Arc::default() }
    }

    #[test]
    fn messages_are_told_apart_wherever_they_are_cut() {
        let bytes = b"D\0\0\0\x07abcZ\0\0\0\x05TS\0\0\0\x04Z\0\0\0\x05I";
        for cut in 0..bytes.len() {
            let mut watch = watch(100);
            watch.see(&bytes[..cut]).unwrap();
            assert_eq!(watch.seen.in_transaction(), (14..bytes.len()).contains(&cut), "{cut}");
            watch.see(&bytes[cut..]).unwrap();
            assert!(!watch.seen.in_transaction());
        }
    }

    #[test]
    fn what_is_too_large_is_stopped_at_its_head() {
        let mut watch = watch(100);
        assert!(watch.see(b"D\0\0\0\x64").is_ok());
        watch.see(&[0; 96]).unwrap();
        assert!(watch.see(b"D\0\0\0\x65").is_err());
        assert_eq!(watch.seen.too_large(), Some(101));
    }
}
