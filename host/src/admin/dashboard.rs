//! The dashboard, where it is asked for: the page of `lattice-ctl ui`, which changes nothing here.
//!
//! Whoever reaches the address can read metrics, but not what apps log and are made of. So the page is for those who have
//! a key, which stands in a file: hosts that have the same file let the same browsers in.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use http::{Request, Response, StatusCode};
use lattice::bus::Bus;
use lattice_provider::http::Body;
use lattice_view::page::{Door, Page};
use uuid::Uuid;

use crate::files;

/// The shortest key, and the longest one.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=128;

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    #[error("cannot read or write the dashboard's key {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} has no key for the dashboard: one is 16 to 128 letters, digits, `-` and `_`; without the file one is made", path.display())]
    Key { path: PathBuf },
}

/// The page and who is let in.
pub(super) struct Dashboard {
    door: Door,
    /// There when the host has joined.
    page: OnceLock<Page>,
}

impl Dashboard {
    /// For browsers that have the key in a file; one is made where there is no such file.
    pub(super) fn new(path: &Path) -> Result<Self, DashboardError> {
        let failed = |source| DashboardError::File { path: path.to_owned(), source };
        let key = match std::fs::read_to_string(path) {
            Ok(key) => key.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = Uuid::new_v4().simple().to_string();
                files::write_whole(path, format!("{key}\n").as_bytes(), files::OWN).map_err(failed)?;
                tracing::info!(file = %path.display(), "made a key for the dashboard: it is opened by /?key=KEY");
                key
            }
            Err(error) => return Err(failed(error)),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !LENGTHS.contains(&key.len()) || !key.chars().all(plain) {
            return Err(DashboardError::Key { path: path.to_owned() });
        }
        let hint = "open /?key=KEY, with the key of the file that this host has by --dashboard\n";
        Ok(Self { door: Door::new(key, hint), page: OnceLock::new() })
    }

    /// Shows the lattice of `bus` from now on.
    pub(super) fn open(&self, bus: &Bus) {
        // A host joins once in its life.
        let _ = self.page.set(Page::new(bus.clone(), None));
    }

    pub(super) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = match (self.door.answer(&request), self.page.get()) {
            (Some(response), _) => response,
            (None, Some(page)) => page.answer(request).await,
            (None, None) => {
                let mut response = Response::new(Body::Full("the host has not joined its lattice yet\n".into()));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                response
            }
        };
        Door::guard(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_what_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        Dashboard::new(&file).unwrap();
        let key = std::fs::read_to_string(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        Dashboard::new(&file).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
        for wrong in ["", "short", "sixteen letters and more", &"k".repeat(129)] {
            std::fs::write(&file, wrong).unwrap();
            let error = Dashboard::new(&file).err().unwrap().to_string();
            assert!(error.contains("16 to 128"), "{error}");
        }
        let error = Dashboard::new(dir.path()).err().unwrap().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}
