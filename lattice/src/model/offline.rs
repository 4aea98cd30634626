//! A bundle: apps with all that they are made of in one file, for a host that has no lattice at all.
//!
//! It is a tar file: `bundle.json`, which names everything; `bundle.sig`, a signature of it, where somebody vouches for it; and
//! `artifacts/<digest>`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    app::{AppRecord, UnitSpec},
    secret::SealedSecret,
    signature::Signature,
};
use crate::wire::{Digest, LatticeName};

const HEAD: &str = "bundle.json";
const SIGNATURE: &str = "bundle.sig";
const ARTIFACTS: &str = "artifacts/";
/// The longest head, in bytes.
const MAX_HEAD: u64 = 64 << 20;

/// What a bundle says it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleHead {
    /// Version of this structure.
    pub version: u32,
    /// The lattice that it was made in.
    pub lattice: LatticeName,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    pub apps: Vec<AppRecord>,
    /// By `<app>.<name>`, sealed as they are in the lattice.
    pub secrets: BTreeMap<String, SealedSecret>,
    /// Of its artifacts.
    pub signatures: Vec<Signature>,
}

/// A whole bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    pub head: BundleHead,
    /// Of the head, and so of everything that it names.
    pub signature: Option<Signature>,
    pub artifacts: BTreeMap<Digest, Bytes>,
}

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("is no bundle: {0}")]
    Format(String),
    #[error("is of version {0}, which this release cannot read")]
    Version(u32),
    #[error("is damaged: {digest} has the digest {found}")]
    Damaged { digest: Digest, found: Digest },
    #[error("lacks {0}, which its apps need")]
    Missing(Digest),
}

impl BundleHead {
    pub const VERSION: u32 = 1;

    /// The artifacts that its apps need.
    pub fn needs(&self) -> BTreeSet<Digest> {
        self.apps.iter().flat_map(|app| app.units.values()).flat_map(|unit| unit.spec.artifacts()).collect()
    }

    /// As it is signed.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleError> {
        serde_json::to_vec_pretty(self).map_err(|error| BundleError::Format(error.to_string()))
    }
}

/// Why a unit cannot run without a lattice, if so.
pub fn needs_nats(spec: &UnitSpec) -> Option<String> {
    let UnitSpec::Provider(provider) = spec else { return None };
    let own = provider.config.contains_key("url");
    match (provider.kind.as_str(), provider.isolate) {
        (_, super::app::Isolation::Process) => Some("a process of its own is called over NATS".to_owned()),
        (kind @ ("keyvalue-nats" | "blob-nats"), _) => Some(format!("{kind} keeps its data in NATS")),
        ("messaging-nats", _) if !own => {
            Some("messaging-nats without a `url` of its own uses that of the lattice".to_owned())
        }
        _ => None,
    }
}

/// Writes a bundle; `artifact` gives the bytes of each that the apps need.
///
/// # Errors
/// Those of `file`.
pub fn write(
    file: impl Write,
    head: &[u8],
    signature: Option<&Signature>,
    artifacts: &BTreeMap<Digest, Bytes>,
) -> Result<(), BundleError> {
    let mut tar = tar::Builder::new(file);
    let mut append = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes)
    };
    append(HEAD, head)?;
    if let Some(signature) = signature {
        let text = serde_json::to_vec(signature).map_err(|error| BundleError::Format(error.to_string()))?;
        append(SIGNATURE, &text)?;
    }
    for (digest, bytes) in artifacts {
        append(&format!("{ARTIFACTS}{}", digest.hex()), bytes)?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

/// Reads a bundle, all of it, and checks that it has what it says. Whether its signer is trusted is for others to say.
///
/// # Errors
/// When it is none, or not whole.
pub fn read(file: impl Read, most: u64) -> Result<Bundle, BundleError> {
    let mut tar = tar::Archive::new(file);
    let (mut head, mut signature, mut artifacts) = (None, None, BTreeMap::new());
    for entry in tar.entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let limit = if name.starts_with(ARTIFACTS) { most } else { MAX_HEAD };
        if entry.size() > limit {
            return Err(BundleError::Format(format!("{name} has {} bytes, and {limit} are the most", entry.size())));
        }
        let mut bytes = Vec::new();
        entry.take(limit).read_to_end(&mut bytes)?;
        let text = |error: serde_json::Error| BundleError::Format(format!("{name}: {error}"));
        match name.strip_prefix(ARTIFACTS) {
            Some(hex) => {
                let digest: Digest = format!("sha256:{hex}")
                    .parse()
                    .map_err(|_| BundleError::Format(format!("{name} is no artifact")))?;
                let found = Digest::of(&bytes);
                if found != digest {
                    return Err(BundleError::Damaged { digest, found });
                }
                artifacts.insert(digest, Bytes::from(bytes));
            }
            None if name == HEAD => head = Some(bytes),
            None if name == SIGNATURE => signature = Some(serde_json::from_slice::<Signature>(&bytes).map_err(text)?),
            None => return Err(BundleError::Format(format!("it has an entry {name}"))),
        }
    }
    let bytes = head.ok_or_else(|| BundleError::Format(format!("it has no {HEAD}")))?;
    let text = |error: serde_json::Error| BundleError::Format(format!("{HEAD}: {error}"));
    // The version first: what else is there depends on it.
    let version = serde_json::from_slice::<Versioned>(&bytes).map_err(text)?.version;
    if version != BundleHead::VERSION {
        return Err(BundleError::Version(version));
    }
    let head: BundleHead = serde_json::from_slice(&bytes).map_err(text)?;
    if let Some(signature) = &signature {
        signature.verify(&Digest::of(&bytes)).map_err(|error| BundleError::Format(error.to_string()))?;
    }
    match head.needs().into_iter().find(|digest| !artifacts.contains_key(digest)) {
        Some(missing) => Err(BundleError::Missing(missing)),
        None => Ok(Bundle { head, signature, artifacts }),
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::model::{
        app::{ComponentSpec, Isolation, ProviderSpec},
        signature::Signer,
    };

    const MOST: u64 = 1 << 20;

    fn bundle(signer: Option<&Signer>) -> Vec<u8> {
        let bytes = Bytes::from("component");
        let digest = Digest::of(&bytes);
        let spec = UnitSpec::Component(ComponentSpec::of(digest.clone()));
        let units = BTreeMap::from([("hello".parse().unwrap(), spec)]);
        let app =
            AppRecord::next("shop".parse().unwrap(), None, String::new(), BTreeMap::new(), units, BTreeMap::new());
        let head = BundleHead {
            version: BundleHead::VERSION,
            lattice: "default".parse().unwrap(),
            at_ms: 1,
            apps: vec![app.unwrap()],
            secrets: BTreeMap::new(),
            signatures: Vec::new(),
        };
        let head = head.to_bytes().unwrap();
        let signature = signer.map(|signer| signer.sign(&Digest::of(&head)).unwrap());
        let mut file = Vec::new();
        write(&mut file, &head, signature.as_ref(), &BTreeMap::from([(digest, bytes)])).unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_and_no_byte_of_it_may_change() {
        let (signer, _) = Signer::generate().unwrap();
        let file = bundle(Some(&signer));
        let read_back = read(&file[..], MOST).unwrap();
        assert_eq!(read_back.signature.as_ref().unwrap().signer, signer.public_key());
        assert_eq!(read_back.head.needs(), read_back.artifacts.keys().cloned().collect());
        assert_eq!(read(&bundle(None)[..], MOST).unwrap().signature, None);
        // Whatever byte is another, what is read is the same, or nothing.
        for at in (0..file.len()).step_by(7) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            if let Ok(found) = read(&changed[..], MOST) {
                assert_eq!((&found.head, &found.artifacts), (&read_back.head, &read_back.artifacts), "byte {at}");
            }
        }
        for cut in (0..file.len() - 1024).step_by(100) {
            assert!(read(&file[..cut], MOST).is_err(), "cut at {cut}");
        }
        assert!(read(&file[..], 3).unwrap_err().to_string().contains("are the most"));
        assert!(read(&b"hello"[..], MOST).is_err());
    }

    #[test]
    fn what_needs_nats_is_told() {
        let provider = |kind: &str| ProviderSpec::of(kind);
        assert_eq!(needs_nats(&UnitSpec::Provider(provider("keyvalue-redb"))), None);
        assert!(needs_nats(&UnitSpec::Provider(provider("keyvalue-nats"))).is_some());
        let own = ProviderSpec { isolate: Isolation::Process, ..provider("keyvalue-redb") };
        assert!(needs_nats(&UnitSpec::Provider(own)).is_some());
    }
}
