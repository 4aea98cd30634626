//! Connections that ask for the next number all the time, and keep every answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Longer than any deadline of the lattice: an answer that takes this long will not come.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The counter's answers are a few bytes; anything that claims to be longer is no number.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One request, and what came of it.
pub(super) struct Answer {
    pub(super) outcome: Result<u64>,
    pub(super) took: Duration,
}

/// The connections. Dropped, they stop after the request that they are in.
pub(super) struct Load {
    answers: Receiver<Answer>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins to ask over this many keep-alive connections.
    pub(super) fn start(address: &str, connections: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, answers) = channel();
        let threads = (0..connections)
            .map(|_| {
                let (address, stop, sender) = (address.to_owned(), Arc::clone(&stop), sender.clone());
                thread::spawn(move || ask(&address, &stop, &sender))
            })
            .collect();
        Self { answers, stop, threads }
    }

    /// The next answer, if one comes in time.
    pub(super) fn next(&self, wait: Duration) -> Option<Answer> {
        self.answers.recv_timeout(wait).ok()
    }

    /// The answers that have come and that nobody has taken yet.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Answer> + '_ {
        self.answers.try_iter()
    }

    /// Ends the connections and gives the answers that nobody has taken yet.
    pub(super) fn finish(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and its answer is missing from the count.
            let _ = thread.join();
        }
        self.answers.try_iter().collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection's work. After a failure it connects anew: one failure must not hide the next.
fn ask(address: &str, stop: &AtomicBool, answers: &Sender<Answer>) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let outcome = ask_once(address, &mut connection);
        if outcome.is_err() {
            connection = None;
            // A server that refuses would else be asked as fast as the machine can.
            thread::sleep(Duration::from_millis(50));
        }
        if answers.send(Answer { outcome, took: start.elapsed() }).is_err() {
            return;
        }
    }
}

fn ask_once(address: &str, connection: &mut Option<BufReader<TcpStream>>) -> Result<u64> {
    let reader = match connection {
        Some(reader) => reader,
        None => {
            let stream = TcpStream::connect(address).context("cannot connect")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            connection.insert(BufReader::new(stream))
        }
    };
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    reader.get_mut().write_all(request.as_bytes()).context("cannot send")?;
    let (status, body, keep_alive) = read_response(reader).context("no whole response")?;
    if !keep_alive {
        *connection = None;
    }
    if status != 200 {
        bail!("status {status}: {}", body.trim());
    }
    body.trim().parse().with_context(|| format!("`{}` is no number", body.trim()))
}

/// Status, body, and whether the connection stays open.
fn read_response(reader: &mut impl BufRead) -> Result<(u16, String, bool)> {
    let line = read_line(reader)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("`{line}` is no status line"))?;
    let (mut length, mut chunked, mut keep_alive) = (None, false, true);
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').with_context(|| format!("`{line}` is no header"))?;
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = Some(value.parse::<usize>()?),
            ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
            ("connection", value) => keep_alive = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    match length {
        _ if chunked => read_chunks(reader, &mut body)?,
        Some(length) => read_exactly(reader, length, &mut body)?,
        None => bail!("a response without a length"),
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned(), keep_alive))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(reader)?;
        let length = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(length, 16).with_context(|| format!("`{line}` is no chunk length"))?;
        read_exactly(reader, length, body)?;
        // After a chunk an empty line; after the last one trailers may come first.
        while !read_line(reader)?.is_empty() {}
        if length == 0 {
            return Ok(());
        }
    }
}

fn read_exactly(reader: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> Result<()> {
    if length > LONGEST_ANSWER || body.len() + length > LONGEST_ANSWER {
        bail!("a body of {length} bytes");
    }
    let start = body.len();
    body.resize(start + length, 0);
    Ok(reader.read_exact(&mut body[start..])?)
}

fn read_line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    if reader.by_ref().take(LONGEST_ANSWER as u64).read_line(&mut line)? == 0 {
        bail!("the connection was closed");
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_with_a_length_and_in_chunks() -> Result<()> {
        let mut two =
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n12\nHTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\
                       connection: close\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\n"
                .as_bytes();
        assert_eq!(read_response(&mut two)?, (200, "12\n".to_owned(), true));
        assert_eq!(read_response(&mut two)?, (503, "no!".to_owned(), false));
        assert!(read_response(&mut two).is_err());
        Ok(())
    }

    #[test]
    fn what_is_no_answer() {
        for text in
            ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"]
        {
            assert!(read_response(&mut text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(read_response(&mut "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".as_bytes()).is_err());
    }
}
