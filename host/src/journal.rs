//! What a host keeps on its disk, so that it can go on after a restart while the lattice is away: its newest assignment, and
//! the sealed secrets of the units in it. Components and programs lie beside it, by digest.
//!
//! ```text
//! agent -- newest state, by watch --> keeper: writes the file whole, so that a crash leaves the old or the new one
//! ```

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use lattice::{
    model::{assignment::Assignment, secret::SealedSecret},
    wire::LatticeName,
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::files::{OWN, keep as keep_file};

const FILE: &str = "journal.json";
const VERSION: u32 = 1;
/// How long to wait before what could not be kept is tried again: a disk that is full has room some time.
const RETRY: Duration = Duration::from_secs(10);

/// Where the artifacts lie of which the journal speaks. It is of no use without them.
pub(crate) trait Shelf: Send + Sync + 'static {
    /// What the units need and is not there; it is fetched when that is asked for.
    fn missing(&self, assignment: &Assignment, fetch: bool) -> impl Future<Output = Option<String>> + Send;

    /// Hears what could not be kept, or that everything was.
    fn hear(&self, problem: Option<String>);
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    lattice: LatticeName,
    pub(crate) assignment: Assignment,
    /// By their keys in the lattice's store, with their revisions there.
    pub(crate) secrets: BTreeMap<String, (SealedSecret, u64)>,
}

impl Kept {
    pub(crate) fn new(
        lattice: &LatticeName,
        assignment: Assignment,
        secrets: BTreeMap<String, (SealedSecret, u64)>,
    ) -> Self {
        Self { version: VERSION, lattice: lattice.clone(), assignment, secrets }
    }
}

/// Reads what was kept of `lattice` in the data folder. A file that cannot be understood is as good as none.
pub(crate) fn read(data: &Path, lattice: &LatticeName) -> Option<Kept> {
    let path = data.join(FILE);
    let text = std::fs::read(&path).ok()?;
    match serde_json::from_slice::<Kept>(&text) {
        Ok(kept) if kept.version == VERSION && kept.lattice == *lattice => Some(kept),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the journal cannot be read; it is written anew");
            None
        }
    }
}

/// Keeps the newest of what is told, until `stop` and the last word.
pub(crate) async fn keep(
    data: PathBuf,
    shelf: impl Shelf,
    mut newest: watch::Receiver<Option<Kept>>,
    stop: CancellationToken,
) {
    let (mut written, mut again) = (None, false);
    loop {
        let kept = newest.borrow_and_update().clone();
        let (mut problem, mut whole) = (None, true);
        if let Some(newest) = &kept {
            if kept != written {
                match write(&data, newest).await {
                    Ok(()) => written = kept.clone(),
                    Err(error) => {
                        tracing::warn!(%error, data = %data.display(), "cannot write the journal; trying again");
                        problem = Some(format!("the journal cannot be written: {error}"));
                    }
                }
            }
            let missing = shelf.missing(&newest.assignment, again).await;
            whole = problem.is_none() && missing.is_none();
            // At first what is missing is on its way to the units themselves.
            shelf.hear(problem.or(missing.filter(|_| again)));
        }
        again = tokio::select! {
            changed = newest.changed() => if changed.is_err() { return } else { false },
            () = stop.cancelled() => if newest.has_changed().unwrap_or(false) { false } else { return },
            () = sleep(RETRY), if !whole => true,
        };
    }
}

async fn write(data: &Path, kept: &Kept) -> std::io::Result<()> {
    keep_file(data.join(FILE), serde_json::to_vec(kept)?, OWN).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn kept(generation: u64) -> Kept {
        let host = format!("N{}", "A".repeat(55)).parse().unwrap();
        let assignment = Assignment { version: 1, host, term: 1, generation, units: BTreeMap::new(), given_up: false };
        Kept::new(&"default".parse().unwrap(), assignment, BTreeMap::new())
    }

    impl Shelf for () {
        async fn missing(&self, _: &Assignment, _: bool) -> Option<String> {
            None
        }
        fn hear(&self, problem: Option<String>) {
            assert_eq!(problem, None);
        }
    }

    #[tokio::test]
    async fn the_newest_is_kept_and_what_is_no_journal_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let lattice = "default".parse().unwrap();
        assert_eq!(read(dir.path(), &lattice), None);
        let (tell, told) = watch::channel(Some(kept(1)));
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(dir.path().to_owned(), (), told, stop.clone()));
        tell.send_replace(Some(kept(2)));
        stop.cancel();
        keeper.await.unwrap();
        assert_eq!(read(dir.path(), &lattice), Some(kept(2)));
        assert_eq!(read(dir.path(), &"other".parse().unwrap()), None, "it is of another lattice");
        for broken in [&b""[..], b"{", &serde_json::to_vec(&kept(1)).unwrap()[..40]] {
            std::fs::write(dir.path().join(FILE), broken).unwrap();
            assert_eq!(read(dir.path(), &lattice), None);
        }
    }
}
