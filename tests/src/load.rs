//! Connections that ask all the time, and keep every answer.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    http::{Client, Response},
    wait::wait,
};

/// After a failure, so that a server that refuses is not asked as fast as the machine can.
const PAUSE: Duration = Duration::from_millis(50);

/// Before each request of a gentle load.
const GENTLE: Duration = Duration::from_millis(5);

/// One request, and what came of it: the body of a good answer, or what went wrong.
#[derive(Debug, Clone)]
pub struct Answer {
    pub outcome: Result<String, String>,
    pub at: Instant,
    pub took: Duration,
}

/// Sends a request and reads its response.
type Ask = dyn Fn(&mut Client) -> io::Result<Response>;

/// The connections. They stop after the request that they are in.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<Answer>>>,
}

impl Load {
    /// Begins to ask for `path` over this many keep-alive connections.
    pub fn start(address: SocketAddr, path: &str, connections: usize) -> Self {
        let path = path.to_owned();
        Self::of(address, connections, 200, move |client| client.get(&path))
    }

    /// As [`Load::start`], with a pause before each request: for a minute of it, beside other tests.
    pub fn gentle(address: SocketAddr, path: &str, connections: usize) -> Self {
        let path = path.to_owned();
        Self::of(address, connections, 200, move |client| {
            thread::sleep(GENTLE);
            client.get(&path)
        })
    }

    /// As [`Load::start`], for other requests, whose good answers have another `status`.
    pub fn of(
        address: SocketAddr,
        connections: usize,
        status: u16,
        send: impl Fn(&mut Client) -> io::Result<Response> + Clone + Send + 'static,
    ) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..connections)
            .map(|_| {
                let (send, stop, answered) = (send.clone(), Arc::clone(&stop), Arc::clone(&answered));
                thread::spawn(move || ask(address, status, &send, &stop, &answered))
            })
            .collect();
        Self { stop, answered, threads }
    }

    /// Answers until now.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits for so many more answers.
    pub fn wait_for(&self, more: u64) {
        let enough = self.answered() + more;
        wait("answers under load", Duration::from_secs(60), || (self.answered() >= enough).then_some(()));
    }

    /// Ends the connections and gives all answers.
    pub fn finish(mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).flat_map(|thread| thread.join().unwrap()).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One connection's work. After a failure it connects anew: one failure must not hide the next.
fn ask(address: SocketAddr, status: u16, send: &Ask, stop: &AtomicBool, answered: &AtomicU64) -> Vec<Answer> {
    let mut connection = None;
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let at = Instant::now();
        let outcome = ask_once(address, status, send, &mut connection);
        let failed = outcome.is_err();
        answers.push(Answer { outcome, at, took: at.elapsed() });
        answered.fetch_add(1, Ordering::Relaxed);
        if failed {
            connection = None;
            thread::sleep(PAUSE);
        }
    }
    answers
}

fn ask_once(address: SocketAddr, status: u16, send: &Ask, connection: &mut Option<Client>) -> Result<String, String> {
    let client = match connection {
        Some(client) => client,
        None => connection.insert(Client::connect(address).map_err(|error| format!("cannot connect: {error}"))?),
    };
    let response = send(client).map_err(|error| format!("no whole response: {error}"))?;
    if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        *connection = None;
    }
    if response.status == status {
        return Ok(response.text());
    }
    Err(format!("status {}: {}", response.status, response.text().trim()))
}

/// What went wrong, each with how often it did.
pub fn failures(answers: &[Answer]) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for error in answers.iter().filter_map(|answer| answer.outcome.as_ref().err()) {
        *counts.entry(error.clone()).or_default() += 1;
    }
    counts.into_iter().collect()
}
