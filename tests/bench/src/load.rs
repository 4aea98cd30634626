//! Load over HTTP/1.1: some connections, each with one request at a time. One thread, so that it takes little from
//! the servers that it shares the machine with.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{bench::Times, machine, stats::Latencies};

/// Answers of the servers that are measured are far below this.
const LONGEST_ANSWER: usize = 64 * 1024;
/// How long the last answers may take.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// What became of a load.
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// CPU time of the servers for one request, in microseconds.
    pub(crate) cpu_us: f64,
    /// All requests with status 200, also those of the warm-up.
    pub(crate) answered: u64,
}

/// Where and how.
pub(crate) struct Client<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    /// Processes whose CPU time is counted, with their children.
    pub(crate) servers: &'a [u32],
}

const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

impl Client<'_> {
    /// Sends requests for as long as `times` says. Any answer but 200 is an error.
    pub(crate) fn run(&self, times: Times) -> Result<Load> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let limit = times.warm_up + times.measured + LAST_ANSWERS;
        let run = async { tokio::time::timeout(limit, self.load(times)).await };
        match runtime.block_on(run) {
            Ok(outcome) => outcome,
            Err(_) => bail!("http://{}{}: requests without an answer", self.address, self.path),
        }
    }

    async fn load(&self, times: Times) -> Result<Load> {
        let phase = Arc::new(AtomicU8::new(WARM_UP));
        let request = format!("GET {} HTTP/1.1\r\nhost: {}\r\n\r\n", self.path, self.address);
        let request: Arc<[u8]> = request.into_bytes().into();
        let mut workers = Vec::new();
        for _ in 0..self.connections {
            let stream = TcpStream::connect(self.address).await.context("cannot connect")?;
            stream.set_nodelay(true)?;
            workers.push(tokio::spawn(work(stream, request.clone(), phase.clone())));
        }
        sleep(times.warm_up).await;
        let (cpu, start) = (machine::cpu_seconds(self.servers)?, Instant::now());
        phase.store(MEASURE, Ordering::Relaxed);
        sleep(times.measured).await;
        phase.store(STOP, Ordering::Relaxed);
        let (seconds, cpu) = (start.elapsed().as_secs_f64(), machine::cpu_seconds(self.servers)? - cpu);
        let (mut latencies, mut answered) = (Latencies::default(), 0);
        for worker in workers {
            let (its, count) = worker.await?.with_context(|| format!("http://{}{}", self.address, self.path))?;
            latencies.append(its);
            answered += count;
        }
        if latencies.is_empty() {
            bail!("http://{}{}: no answer within {:?}", self.address, self.path, times.measured);
        }
        let requests = latencies.len() as f64;
        Ok(Load {
            rate: requests / seconds,
            p50_us: latencies.percentile(0.5),
            p99_us: latencies.percentile(0.99),
            cpu_us: cpu * 1e6 / requests,
            answered,
        })
    }
}

/// One connection. Returns what it measured, and how many answers it had in all.
async fn work(mut stream: TcpStream, request: Arc<[u8]>, phase: Arc<AtomicU8>) -> Result<(Latencies, u64)> {
    let (mut latencies, mut answered) = (Latencies::default(), 0);
    let mut buffer = Vec::with_capacity(4096);
    while phase.load(Ordering::Relaxed) != STOP {
        let start = Instant::now();
        stream.write_all(&request).await.context("cannot send")?;
        read_answer(&mut stream, &mut buffer).await?;
        answered += 1;
        if phase.load(Ordering::Relaxed) == MEASURE {
            latencies.push(start.elapsed());
        }
    }
    Ok((latencies, answered))
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.context("cannot receive")? == 0 {
            bail!("the server closed the connection after {:?}", String::from_utf8_lossy(buffer));
        }
        match answer_length(buffer)? {
            Some(length) if length == buffer.len() => return Ok(()),
            Some(_) => bail!("more bytes than the answer has"),
            None if buffer.len() > LONGEST_ANSWER => bail!("an answer of more than {LONGEST_ANSWER} bytes"),
            None => {}
        }
    }
}

/// How many bytes the answer has, when all of it is there.
fn answer_length(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let mut lines = bytes[..head].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let status = lines.next().unwrap_or_default();
    if !status.starts_with(b"HTTP/1.1 200") {
        bail!("not a 200: {}", String::from_utf8_lossy(bytes));
    }
    let body = head + 4;
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { bail!("a header without a colon") };
        let value = line[colon + 1..].trim_ascii();
        if line[..colon].eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value)?.parse::<usize>().context("content-length")?.min(LONGEST_ANSWER);
            return Ok((bytes.len() >= body + length).then_some(body + length));
        }
        if line[..colon].eq_ignore_ascii_case(b"transfer-encoding") {
            return Ok(chunks_length(&bytes[body..])?.map(|length| body + length));
        }
    }
    bail!("an answer without a length")
}

fn chunks_length(bytes: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let length = std::str::from_utf8(&bytes[at..at + line])?;
        let length = usize::from_str_radix(length, 16).with_context(|| format!("{length:?} is no chunk length"))?;
        at += line + 2 + length.min(LONGEST_ANSWER) + 2;
        if bytes.len() < at {
            return Ok(None);
        }
        if length == 0 {
            return Ok(Some(at));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Connections that go on asking while something is done to the servers.
pub(crate) struct Background {
    state: Arc<State>,
    thread: thread::JoinHandle<Result<Pauses>>,
}

#[derive(Default)]
struct State {
    phase: AtomicU8,
    answered: AtomicU64,
}

/// What clients have seen meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// The longest time of one connection without a good answer.
    pub(crate) longest: Duration,
    /// Requests that were not answered with 200.
    pub(crate) failed: u64,
    /// What the first of them was.
    pub(crate) failure: Option<String>,
    pub(crate) answered: u64,
}

/// After a failure, so that a server that refuses is not asked as fast as the machine can.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// A request without an answer for so long has failed.
const NO_ANSWER: Duration = Duration::from_secs(30);

impl Background {
    pub(crate) fn start(address: SocketAddr, path: &'static str, connections: usize) -> Self {
        let state = Arc::<State>::default();
        let its = state.clone();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let workers: Vec<_> =
                    (0..connections).map(|_| tokio::spawn(watch(address, path, its.clone()))).collect();
                let mut all = Pauses::default();
                for worker in workers {
                    let pauses = worker.await?;
                    all.longest = all.longest.max(pauses.longest);
                    all.failed += pauses.failed;
                    all.failure = all.failure.or(pauses.failure);
                    all.answered += pauses.answered;
                }
                Ok(all)
            })
        };
        Self { state, thread: thread::spawn(work) }
    }

    /// Waits for so many more good answers.
    pub(crate) fn wait_for(&self, more: u64) -> Result<()> {
        let wanted = self.state.answered.load(Ordering::Relaxed) + more;
        let end = Instant::now() + NO_ANSWER;
        while self.state.answered.load(Ordering::Relaxed) < wanted {
            if Instant::now() > end || self.thread.is_finished() {
                bail!("not {more} more answers within {NO_ANSWER:?}");
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends it after the requests that are under way.
    pub(crate) fn finish(self) -> Result<Pauses> {
        self.state.phase.store(STOP, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load has panicked"))?
    }
}

/// One connection, and another one after each failure.
async fn watch(address: SocketAddr, path: &str, state: Arc<State>) -> Pauses {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let (mut pauses, mut connection, mut buffer) = (Pauses::default(), None, Vec::with_capacity(4096));
    let mut last = Instant::now();
    while state.phase.load(Ordering::Relaxed) != STOP {
        let ask = async {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => {
                    let stream = TcpStream::connect(address).await.context("cannot connect")?;
                    stream.set_nodelay(true)?;
                    stream
                }
            };
            stream.write_all(request.as_bytes()).await.context("cannot send")?;
            read_answer(&mut stream, &mut buffer).await?;
            anyhow::Ok(stream)
        };
        let outcome = tokio::time::timeout(NO_ANSWER, ask).await;
        match outcome.unwrap_or_else(|_| bail!("no answer within {NO_ANSWER:?}")) {
            Ok(stream) => {
                connection = Some(stream);
                pauses.answered += 1;
                state.answered.fetch_add(1, Ordering::Relaxed);
                pauses.longest = pauses.longest.max(last.elapsed());
                last = Instant::now();
            }
            Err(error) => {
                pauses.failed += 1;
                pauses.failure.get_or_insert_with(|| format!("{error:#}"));
                sleep(AFTER_FAILURE).await;
            }
        }
    }
    // One that has ended without another good answer has waited until now.
    pauses.longest = pauses.longest.max(last.elapsed());
    pauses
}

/// Asks until a 200 comes, and returns how long that took; for an app that is just starting.
pub(crate) fn first_answer(address: SocketAddr, path: &str, limit: Duration) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let start = Instant::now();
    runtime.block_on(async {
        loop {
            let ask = async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(request.as_bytes()).await?;
                read_answer(&mut stream, &mut Vec::new()).await
            };
            match tokio::time::timeout(Duration::from_secs(1), ask).await {
                Ok(Ok(())) => return Ok(start.elapsed()),
                Ok(Err(error)) if start.elapsed() > limit => {
                    return Err(error.context(format!("http://{address}{path}: no 200 within {limit:?}")));
                }
                Err(_) if start.elapsed() > limit => bail!("http://{address}{path}: no 200 within {limit:?}"),
                Ok(Err(_)) | Err(_) => sleep(Duration::from_millis(1)).await,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_with_a_length_and_in_chunks() -> Result<()> {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(answer_length(whole)?, Some(whole.len()));
        assert_eq!(answer_length(&whole[..whole.len() - 1])?, None);
        assert_eq!(answer_length(&whole[..20])?, None);
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n18\r\nHello from the lattice!\n\r\n0\r\n\r\n";
        assert_eq!(answer_length(chunked)?, Some(chunked.len()));
        assert_eq!(answer_length(&chunked[..chunked.len() - 1])?, None);
        Ok(())
    }

    #[test]
    fn what_is_no_good_answer() {
        assert!(answer_length(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(answer_length(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n").is_err());
    }
}
