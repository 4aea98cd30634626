//! A proxy before NATS that harms the messages of streams: it drops, repeats or swaps one, or lets nothing through.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Drop,
    Repeat,
    /// It comes after the next one of its kind.
    Late,
}

/// What is to be done to which message.
#[derive(Debug, Clone)]
struct Plan {
    fault: Fault,
    /// The kind of the frame.
    kind: String,
    /// How many of that kind pass before.
    spare: usize,
}

#[derive(Default)]
struct State {
    // Two threads a connection; a lock for as long as a message is looked at.
    plan: Mutex<Option<Plan>>,
    done: AtomicBool,
    stalled: AtomicBool,
}

/// Listens until the test process ends.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy to the server at `url`.
    pub fn start(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<State>::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let pair = [(&client, &server), (&server, &client)];
                for (from, to) in pair.map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap())) {
                    let state = shared.clone();
                    thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Harms one frame of this kind (`data`, `credit`, `end`, ...), after `spare` of them.
    pub fn harm(&self, fault: Fault, kind: &str, spare: usize) {
        self.state.done.store(false, Ordering::SeqCst);
        *self.state.plan.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Plan { fault, kind: kind.to_owned(), spare });
    }

    /// Whether the frame came by.
    pub fn has_harmed(&self) -> bool {
        self.state.done.load(Ordering::SeqCst)
    }

    /// Lets nothing through from now on, and closes nothing.
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again, what was held up first.
    pub fn resume(&self) {
        self.state.stalled.store(false, Ordering::SeqCst);
    }
}

impl State {
    /// What is to be done to this message.
    fn judge(&self, message: &[u8]) -> Option<Plan> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = plan.as_mut()?;
        if !is(message, &wanted.kind) {
            return None;
        }
        if wanted.spare > 0 {
            wanted.spare -= 1;
            return None;
        }
        self.done.store(true, Ordering::SeqCst);
        plan.take()
    }
}

/// Whether a message is a frame of this kind.
fn is(message: &[u8], kind: &str) -> bool {
    let text = format!("lattice-stream: {kind}");
    // Headers stand at the front.
    message[..message.len().min(1024)].windows(text.len()).any(|window| window == text.as_bytes())
}

fn carry(from: TcpStream, mut to: TcpStream, state: &State) {
    let mut from = BufReader::with_capacity(1 << 18, from);
    let mut late: Option<(String, Vec<u8>)> = None;
    while let Ok(Some(message)) = read(&mut from) {
        while state.stalled.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        let followed = late.take_if(|(kind, _)| is(&message, kind));
        let sent = match state.judge(&message).map(|plan| (plan.fault, plan.kind)) {
            None => to.write_all(&message),
            Some((Fault::Drop, _)) => Ok(()),
            Some((Fault::Repeat, _)) => to.write_all(&message).and_then(|()| to.write_all(&message)),
            Some((Fault::Late, kind)) => {
                late = Some((kind, message));
                continue;
            }
        };
        if sent.and_then(|()| followed.map_or(Ok(()), |(_, late)| to.write_all(&late))).is_err() {
            break;
        }
    }
    // The other thread ends with its reads.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// One operation of NATS's protocol, with its payload.
fn read(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    if from.read_until(b'\n', &mut message)? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&message).into_owned();
    let mut words = line.split_ascii_whitespace();
    if let Some("MSG" | "HMSG" | "PUB" | "HPUB") = words.next() {
        let length: u64 = words.next_back().and_then(|word| word.parse().ok()).unwrap_or(0);
        from.take(length + 2).read_to_end(&mut message)?;
    }
    Ok(Some(message))
}
