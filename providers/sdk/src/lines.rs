//! What a process writes, line by line.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::Report;

/// The longest line that is kept, in bytes; the rest of a longer one is dropped.
const MAX_LINE: usize = 64 * 1024;

/// The lines of a stream.
pub struct Lines<R> {
    from: BufReader<R>,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(from: R) -> Self {
        Self { from: BufReader::new(from), line: Vec::new() }
    }

    /// The next line, `None` at the end. Cancel-safe: what has been read of a line is kept.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let available = self.from.fill_buf().await.ok()?;
            if available.is_empty() {
                return (!self.line.is_empty()).then(|| self.take());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            let room = MAX_LINE - self.line.len();
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.from.consume(used);
            if end.is_some() {
                return Some(self.take());
            }
        }
    }

    /// What a provider process reports next, `None` at the end. Other lines, most likely meant for people, go to `other`. Cancel-safe
    /// as well.
    pub async fn report(&mut self, mut other: impl FnMut(String)) -> Option<Report> {
        loop {
            let line = self.next().await?;
            match serde_json::from_str(&line) {
                Ok(report) => return Some(report),
                Err(_) => other(line),
            }
        }
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.line);
        String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_any_kind() {
        let long = "x".repeat(3 * MAX_LINE);
        let text = [b"one\r\n\n\xff\n", long.as_bytes(), b"\nlast"].concat();
        let mut lines = Lines::new(&text[..]);
        for expected in ["one", "", "\u{fffd}", &long[..MAX_LINE], "last"] {
            assert!(lines.next().await.as_deref() == Some(expected));
        }
        assert_eq!(lines.next().await, None);
    }
}
