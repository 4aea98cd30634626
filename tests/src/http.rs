//! A small HTTP/1.1 client that shows everything: keep-alive, raw bytes, and chunks as they come.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// Longer than any deadline of the lattice: an answer that takes this long will not come.
const TIMEOUT: Duration = Duration::from_secs(40);

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    /// Of the chunked body that ended last, each as its line.
    pub trailers: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_string(), trailers: Vec::new() })
    }

    /// What later requests have as their `Host`.
    pub fn named(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.send("GET", path, &[], b"")
    }

    /// One request and its response. The body is written while the response is read, as servers that stream need it.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-length: {}\r\n", body.len());
        }
        self.write(format!("{head}\r\n").as_bytes())?;
        let mut writer = self.stream.get_ref().try_clone()?;
        thread::scope(|scope| {
            let writing = scope.spawn(move || writer.write_all(body));
            let response = self.read(method == "HEAD");
            // A server that has refused the request need not read its body.
            let _ = writing.join();
            response
        })
    }

    /// Writes these bytes and nothing else.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Another handle to the connection, to write on while this one reads.
    pub fn writer(&self) -> io::Result<TcpStream> {
        self.stream.get_ref().try_clone()
    }

    /// Reads a whole response; one to HEAD has no body.
    pub fn read(&mut self, to_head: bool) -> io::Result<Response> {
        let mut response = self.read_head()?;
        if to_head || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.is_chunked() {
            while let Some(chunk) = self.read_chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| wrong("content-length"))?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Status and headers; the body is left to be read.
    pub fn read_head(&mut self) -> io::Result<Response> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| wrong(format!("`{line}` is no status line")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response { status, headers, body: Vec::new() });
            }
            let (name, value) = line.split_once(':').ok_or_else(|| wrong(format!("`{line}` is no header")))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length = usize::from_str_radix(&line, 16).map_err(|_| wrong(format!("`{line}` is no chunk length")))?;
        let mut chunk = vec![0; length];
        self.stream.read_exact(&mut chunk)?;
        // After a chunk an empty line; after the last one trailers may come first.
        self.trailers.clear();
        loop {
            match self.line()? {
                line if line.is_empty() => break,
                line => self.trailers.push(line),
            }
        }
        Ok((length > 0).then_some(chunk))
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
    Client::connect(address)?.send(method, path, &[], body)
}

/// One GET on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Response> {
    request(address, "GET", path, b"")
}
