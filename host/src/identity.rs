//! Who this host is: an nkey made on the first start.

use std::{
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use lattice::wire::HostId;
use nkeys::{KeyPair, KeyPairType};

/// Why the host has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot make the data folder {}: {source}; choose another one with --data", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("cannot read or write the host's key {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is not the key of a host: {reason}; restore it from a backup, or remove it to become a new host", path.display())]
    Damaged { path: PathBuf, reason: String },
}

/// The id of the host that lives in `data`. The key's seed stays in `host.nk`, readable for its owner alone.
pub fn load(data: &Path) -> Result<HostId, IdentityError> {
    std::fs::create_dir_all(data).map_err(|source| IdentityError::Folder { path: data.to_owned(), source })?;
    let path = data.join("host.nk");
    let file = |source| IdentityError::File { path: path.clone(), source };
    let damaged = |reason: String| IdentityError::Damaged { path: path.clone(), reason };
    let key = match std::fs::read_to_string(&path) {
        Ok(seed) => KeyPair::from_seed(seed.trim()).map_err(|e| damaged(e.to_string()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::new_server();
            let seed = key.seed().map_err(|e| damaged(e.to_string()))?;
            let mut new =
                std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(file)?;
            new.write_all(seed.as_bytes()).and_then(|()| new.sync_all()).map_err(file)?;
            key
        }
        Err(error) => return Err(file(error)),
    };
    if key.key_pair_type() != KeyPairType::Server {
        return Err(damaged("it is an nkey of another kind".to_owned()));
    }
    key.public_key().parse().map_err(|e: lattice::wire::IdError| damaged(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_stays_and_is_private() {
        let data = tempfile::tempdir().unwrap();
        let first = load(data.path()).unwrap();
        assert_eq!(load(data.path()).unwrap(), first);
        let mode = std::fs::metadata(data.path().join("host.nk")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_key_is_not_replaced_behind_your_back() {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("host.nk"), "SNXX").unwrap();
        let error = load(data.path()).unwrap_err().to_string();
        assert!(error.contains("is not the key of a host") && error.contains("restore it"), "{error}");
    }
}
