//! Azure's blob storage, as Azurite understands it, with a container in it.

use std::{io, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use lattice_provider::conformance::servers::{AZURE_ACCOUNT, AZURE_KEY, AzureServer};
use ring::hmac;

use crate::http::Client;

/// The account's only container.
pub const CONTAINER: &str = "container";

/// Starts one, and makes the container, which nothing of ours does by itself.
pub fn start() -> io::Result<AzureServer> {
    let server = AzureServer::start()?;
    let date = httpdate::fmt_http_date(SystemTime::now());
    let version = "2021-12-02";
    // The request as it is signed: the lines between are headers that it has not.
    let resource = format!("/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{CONTAINER}\nrestype:container");
    let text = format!("PUT{}x-ms-date:{date}\nx-ms-version:{version}\n{resource}", "\n".repeat(12));
    let key = STANDARD.decode(AZURE_KEY).map_err(io::Error::other)?;
    let signature = STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes()));
    let authorization = format!("SharedKey {AZURE_ACCOUNT}:{signature}");
    let headers = [
        ("x-ms-date", date.as_str()),
        ("x-ms-version", version),
        ("authorization", authorization.as_str()),
        ("content-length", "0"),
    ];
    let path = format!("/{AZURE_ACCOUNT}/{CONTAINER}?restype=container");
    let made = Client::connect(server.address())?.send("PUT", &path, &headers, b"")?;
    if made.status == 201 {
        return Ok(server);
    }
    Err(io::Error::other(format!("Azurite makes no container: {} {}", made.status, made.text())))
}
