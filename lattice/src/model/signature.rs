//! Who vouches for an artifact: signatures by nkeys over its digest.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use nkeys::{KeyPair, KeyPairType};
use serde::{Deserialize, Serialize};

use crate::wire::Digest;

/// The value of `signatures.<digest>.<signer>`, where the digest is its hexadecimal part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Version of this structure.
    pub version: u32,
    pub digest: Digest,
    /// The signer's public nkey.
    pub signer: String,
    /// In base64.
    pub signature: String,
}

/// Who has signed which artifacts, by what signatures say. Whether they are right is looked at by who runs an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signers(BTreeMap<Digest, BTreeSet<String>>);

impl Signers {
    /// Who has signed this one.
    pub fn of(&self, digest: &Digest) -> &BTreeSet<String> {
        const NOBODY: &BTreeSet<String> = &BTreeSet::new();
        self.0.get(digest).unwrap_or(NOBODY)
    }

    pub fn add(&mut self, digest: Digest, signer: String) {
        self.0.entry(digest).or_default().insert(signer);
    }
}

impl FromIterator<Signature> for Signers {
    fn from_iter<I: IntoIterator<Item = Signature>>(signatures: I) -> Self {
        let mut signers = Self::default();
        signatures.into_iter().for_each(|signature| signers.add(signature.digest, signature.signer));
        signers
    }
}

/// What is wrong with a key or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("this is no seed of an nkey that signs: {0}")]
    Seed(String),
    #[error("`{0}` is no public nkey of a signer")]
    Signer(String),
    #[error("the signature of {digest} by {signer} does not fit: {reason}")]
    Wrong { digest: Digest, signer: String, reason: String },
}

/// Signs artifacts.
pub struct Signer(KeyPair);

/// What is signed: so that it can be a signature of nothing else.
fn message(digest: &Digest) -> Vec<u8> {
    format!("lattice artifact {digest}").into_bytes()
}

impl Signer {
    /// A new key, and its seed, which nobody else shall see.
    ///
    /// # Errors
    /// When the machine has no randomness.
    pub fn generate() -> Result<(Self, String), SignatureError> {
        let key = KeyPair::new(KeyPairType::Account);
        let seed = key.seed().map_err(|error| SignatureError::Seed(error.to_string()))?;
        Ok((Self(key), seed))
    }

    /// # Errors
    /// When it is no seed.
    pub fn from_seed(seed: &str) -> Result<Self, SignatureError> {
        let key = KeyPair::from_seed(seed.trim()).map_err(|error| SignatureError::Seed(error.to_string()))?;
        Ok(Self(key))
    }

    /// By which others know it.
    pub fn public_key(&self) -> String {
        self.0.public_key()
    }

    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, digest: &Digest) -> Result<Signature, SignatureError> {
        let signature = self.0.sign(&message(digest)).map_err(|error| SignatureError::Seed(error.to_string()))?;
        Ok(Signature {
            version: Signature::VERSION,
            digest: digest.clone(),
            signer: self.public_key(),
            signature: STANDARD.encode(signature),
        })
    }
}

/// Whether `text` is the public key of somebody who can sign.
///
/// # Errors
/// When it is not.
pub fn check_signer(text: &str) -> Result<String, SignatureError> {
    let key = KeyPair::from_public_key(text).map_err(|_| SignatureError::Signer(text.to_owned()))?;
    Ok(key.public_key())
}

impl Signature {
    pub const VERSION: u32 = 1;

    /// Its key in the store.
    pub fn key(&self) -> String {
        format!("{}.{}", self.digest.hex(), self.signer)
    }

    /// Whether its signer has signed `digest` with it.
    ///
    /// # Errors
    /// When it is of something else, or of somebody else.
    pub fn verify(&self, digest: &Digest) -> Result<(), SignatureError> {
        let wrong =
            |reason: String| SignatureError::Wrong { digest: digest.clone(), signer: self.signer.clone(), reason };
        if self.digest != *digest {
            return Err(wrong(format!("it is of {}", self.digest)));
        }
        let signer = KeyPair::from_public_key(&self.signer).map_err(|_| SignatureError::Signer(self.signer.clone()))?;
        let signature = STANDARD.decode(&self.signature).map_err(|error| wrong(error.to_string()))?;
        signer.verify(&message(digest), &signature).map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_artifact_by_one_signer() {
        let (signer, seed) = Signer::generate().unwrap();
        let again = Signer::from_seed(&format!("{seed}\n")).unwrap();
        assert_eq!(check_signer(&again.public_key()).unwrap(), signer.public_key());
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        let signature = again.sign(&one).unwrap();
        signature.verify(&one).unwrap();
        assert!(signature.verify(&other).is_err());
        // None of it can be another's.
        let moved = Signature { digest: other.clone(), ..signature.clone() };
        assert!(moved.verify(&other).is_err());
        let claimed = Signature { signer: Signer::generate().unwrap().0.public_key(), ..signature.clone() };
        assert!(claimed.verify(&one).is_err());
        for broken in ["", "AAAA", "no base64!"] {
            assert!(Signature { signature: broken.into(), ..signature.clone() }.verify(&one).is_err());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(matches!(Signer::from_seed("hello"), Err(SignatureError::Seed(_))));
        let (signer, seed) = Signer::generate().unwrap();
        assert!(Signer::from_seed(&signer.public_key()).is_err());
        for text in ["", "hello", &seed] {
            assert!(check_signer(text).is_err(), "{text}");
        }
    }
}
