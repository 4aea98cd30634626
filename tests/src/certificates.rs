//! An authority of a test's own, and what it has signed.

use std::path::PathBuf;

use tempfile::TempDir;

/// A certificate for `localhost`, `api.test` and 127.0.0.1, in files that end with it.
pub struct Certificates {
    pub certificate: rcgen::Certificate,
    pub key: rcgen::KeyPair,
    dir: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "api.test", "127.0.0.1"].map(str::to_owned);
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        for (name, pem) in [("ca.pem", ca), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
            std::fs::write(dir.path().join(name), pem).unwrap();
        }
        Self { certificate, key, dir }
    }

    /// The authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub fn certificate_file(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    pub fn key_file(&self) -> PathBuf {
        self.dir.path().join("key.pem")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
