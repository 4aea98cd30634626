//! The names of buckets and subjects.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use lattice::wire::Digest;

/// What NATS allows: a stream's name has at most 255 characters, of which `OBJ_` takes four.
const LONGEST: usize = 251;
/// What is left of a bucket's name then is enough for any container.
pub(crate) const LONGEST_PREFIX: usize = 200;

/// The bucket of a container. Other characters than letters, digits and `-` are written `_XX`; what is too long then is a digest.
pub(crate) fn bucket(prefix: &str, container: &str) -> String {
    let mut bucket = prefix.to_owned();
    for byte in container.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => bucket.push(byte.into()),
            // Writing to a string cannot fail.
            other => drop(write!(bucket, "_{other:02X}")),
        }
    }
    if bucket.len() > LONGEST {
        let digest = Digest::of(container.as_bytes());
        // No name of a container begins like that: `x` is no digit.
        bucket = format!("{prefix}_x{}", digest.hex().get(..40).unwrap_or_default());
    }
    bucket
}

/// Whether it is where a lattice keeps artifacts, whichever.
pub(crate) fn is_of_a_lattice(bucket: &str) -> bool {
    bucket.starts_with("lattice-") && bucket.ends_with("-artifacts")
}

/// The stream of a bucket.
pub(crate) fn stream(bucket: &str) -> String {
    format!("OBJ_{bucket}")
}

/// The bucket of a stream.
pub(crate) fn bucket_of(stream: &str) -> Option<&str> {
    stream.strip_prefix("OBJ_")
}

/// Where an object is described.
pub(crate) fn description(bucket: &str, object: &str) -> String {
    format!("$O.{bucket}.M.{}", URL_SAFE.encode(object))
}

/// Where all objects are.
pub(crate) fn descriptions(bucket: &str) -> String {
    format!("$O.{bucket}.M.*")
}

/// Where the chunks of one version of an object are.
pub(crate) fn chunks(bucket: &str, version: &str) -> String {
    format!("$O.{bucket}.C.{version}")
}

/// Where the chunks of all versions are.
pub(crate) fn all_chunks(bucket: &str) -> String {
    chunks(bucket, "*")
}

/// The version that chunks with this subject are of.
pub(crate) fn version(subject: &str) -> Option<&str> {
    subject.rsplit_once(".C.").map(|(_, version)| version)
}

/// How NATS writes the checksum of an object.
pub(crate) fn checksum(sha256: &[u8]) -> String {
    format!("SHA-256={}", URL_SAFE.encode(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_one_bucket_whatever_its_name() {
        assert_eq!(bucket("default-shop-files-", "Photos-2026"), "default-shop-files-Photos-2026");
        assert_eq!(bucket("p-", "a b_c.é"), "p-a_20b_5Fc_2E_C3_A9");
        let (prefix, long) = ("p".repeat(LONGEST_PREFIX), "é".repeat(64));
        let digest = bucket(&prefix, &long);
        assert!(digest.len() <= LONGEST && digest.starts_with(&format!("{prefix}_x")), "{digest}");
        assert_ne!(digest, bucket(&prefix, &format!("{long}e")));
        assert_eq!(bucket(&prefix, &"a".repeat(51)).len(), LONGEST);
    }

    #[test]
    fn where_lattices_keep_artifacts_is_no_container() {
        assert!(is_of_a_lattice(&bucket("lattice-a-", "artifacts")));
        assert!(!is_of_a_lattice(&bucket("lattice-a-", "artifacts2")));
        assert!(!is_of_a_lattice(&bucket("default-shop-files-", "artifacts")));
    }
}
