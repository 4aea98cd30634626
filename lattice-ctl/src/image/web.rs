//! Files behind URLs, whose digest is known.

use std::time::Duration;

use bytes::Bytes;
use lattice::{bus::MAX_ARTIFACT, wire::Digest};

use super::{Wrong, innermost, too_large, wrong};

const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(30);

/// The bytes behind `url`, if they have this digest. `ca` are certificates in PEM that its server may be known by.
pub(super) async fn fetch(url: &str, digest: &Digest, ca: &[u8]) -> Result<Bytes, Wrong> {
    let failed = |error: reqwest::Error| {
        wrong(format!("cannot fetch {url}: {}", innermost(&error)), "check the address and the network, or name a file")
    };
    let mut client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(READ).https_only(true);
    for certificate in reqwest::Certificate::from_pem_bundle(ca).map_err(failed)? {
        client = client.add_root_certificate(certificate);
    }
    let mut response = client.build().map_err(failed)?.get(url).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(wrong(format!("{url} is answered with {}", response.status()), "correct the address"));
    }
    too_large(url, response.content_length().unwrap_or(0))?;
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&part);
        if bytes.len() > MAX_ARTIFACT {
            too_large(url, bytes.len() as u64)?;
        }
    }
    match Digest::of(&bytes) {
        found if found == *digest => Ok(bytes.into()),
        found => Err(wrong(
            format!("{url} has the digest {found}, not {digest}"),
            "somebody has changed it; look at what it is now before you write its digest into the manifest",
        )),
    }
}
