//! Ports for the servers of tests.

use std::{
    env,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
};

/// A port of this machine that nobody listens on, and that no other test is given for as long as this lives: tests run
/// side by side in several processes, and between looking at a port and listening on it there is time for another.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// A lock on a file that stands for the port; the system frees it when the process ends.
    _lock: File,
}

impl Port {
    /// A free one in `range`. It should lie below those that the system gives to clients: one that tries to reach a stopped
    /// server again and again could otherwise be given that very port, and answer itself.
    pub fn free(range: Range<u16>) -> io::Result<Self> {
        let dir = env::temp_dir().join(format!("lattice-ports-{}", rustix::process::getuid().as_raw()));
        fs::create_dir_all(&dir)?;
        for _ in 0..1000 {
            let number =
                range.start + (RandomState::new().hash_one("port") % u64::from(range.end - range.start)) as u16;
            let lock = File::options().create(true).append(true).open(dir.join(number.to_string()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(io::Error::other(format!("no free port from {} to {}", range.start, range.end)))
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_a_port_that_somebody_has() {
        let range = 19_990..19_992;
        let held: Vec<_> = std::iter::from_fn(|| Port::free(range.clone()).ok()).collect();
        assert!(held.len() <= 2 && (held.len() < 2 || held[0].number() != held[1].number()));
        assert!(Port::free(range.clone()).is_err());
        let freed = held.first().map(Port::number);
        drop(held);
        assert!(freed.is_none() || Port::free(range).is_ok());
    }
}
