//! A server that understands Azure's blob storage: Azurite.

use std::{io, net::SocketAddr, path::Path, process::Command};

use super::{Quit, Server};

/// Azurite with one account. Its accounts have no containers at first.
#[derive(Debug)]
pub struct AzureServer(Server);

/// The account.
pub const AZURE_ACCOUNT: &str = "tester";
/// What it signs in with: base64 of any bytes.
pub const AZURE_KEY: &str = "YSBrZXkgdGhhdCBub2JvZHkgZWxzZSBoYXMgYW5kIHRlc3RzIGRv";

impl AzureServer {
    pub fn start() -> io::Result<Self> {
        // What it knows of objects waits in its memory, and reaches the disk when it is asked to end.
        Server::start("LATTICE_AZURITE", "azurite-blob", command, Quit::Terminate).map(Self)
    }

    /// Of the account.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{AZURE_ACCOUNT}", self.0.port.number())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.port.address()
    }

    /// Ends it. What it stored stays.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Ends it when it runs, and starts it on the same port with what it stored.
    pub fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }
}

fn command(program: &Path, dir: &Path, port: u16) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"]).arg(dir.join("data"));
    command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
    command.env("AZURITE_ACCOUNTS", format!("{AZURE_ACCOUNT}:{AZURE_KEY}"));
    Ok(command)
}
