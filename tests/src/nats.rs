//! NATS's own protocol, as far as it takes to send what no client of ours would.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// A connection to nats-server.
pub struct RawNats {
    stream: BufReader<TcpStream>,
    inbox: String,
}

/// What came back: headers as they stand, and the payload.
#[derive(Debug)]
pub struct Reply {
    pub headers: String,
    pub payload: Vec<u8>,
}

impl RawNats {
    pub fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("nats://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut raw = Self { stream: BufReader::new(stream), inbox: "test.inbox".to_owned() };
        raw.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n");
        raw.send(b"SUB test.inbox 1\r\n");
        raw.flush();
        raw
    }

    /// Takes what is sent there as well, before anything has come.
    pub fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 2\r\n").as_bytes());
        self.flush();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Waits until the server has taken everything.
    pub fn flush(&mut self) {
        self.send(b"PING\r\n");
        while self.line() != "PONG" {}
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        assert!(!line.is_empty(), "NATS closed the connection");
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        assert!(!line.starts_with("-ERR"), "NATS refuses what the test sends: {line}");
        line
    }

    /// Publishes a message; `headers` are written as they are, after the version line, and wants a reply if asked to.
    pub fn publish(&mut self, subject: &str, headers: Option<&[u8]>, payload: &[u8], reply: bool) {
        let reply = if reply { format!(" {}", self.inbox) } else { String::new() };
        let mut message = Vec::new();
        match headers {
            Some(headers) => {
                let block = [b"NATS/1.0\r\n", headers, b"\r\n"].concat();
                let (head, total) = (block.len(), block.len() + payload.len());
                message.extend(format!("HPUB {subject}{reply} {head} {total}\r\n").into_bytes());
                message.extend(block);
            }
            None => message.extend(format!("PUB {subject}{reply} {}\r\n", payload.len()).into_bytes()),
        }
        message.extend(payload);
        message.extend(b"\r\n");
        self.send(&message);
    }

    /// The next message, in our inbox or where we have subscribed.
    pub fn reply(&mut self) -> Reply {
        loop {
            let line = self.line();
            if line == "PING" {
                self.send(b"PONG\r\n");
            }
            let fields: Vec<_> = line.split(' ').collect();
            let number = |at: usize| fields[fields.len() - at].parse::<usize>().unwrap();
            let (head, total) = match fields[0] {
                "MSG" => (0, number(1)),
                "HMSG" => (number(2), number(1)),
                _ => continue,
            };
            let mut bytes = vec![0; total + 2];
            self.stream.read_exact(&mut bytes).unwrap();
            bytes.truncate(total);
            let payload = bytes.split_off(head);
            return Reply { headers: String::from_utf8_lossy(&bytes).into_owned(), payload };
        }
    }
}
