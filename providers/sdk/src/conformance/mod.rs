//! The kit that proves a backend right. A backend's own tests run it, in the process and through the lattice:
//!
//! ```
//! # use lattice_provider::{Capability, keyvalue::KeyValue};
//! async fn proof(backend: impl KeyValue) {
//!     let Capability::KeyValue(backend) = Capability::key_value(backend) else { return };
//!     lattice_provider::conformance::key_value(backend, "in the process").await.assert();
//! }
//! ```

mod blob;
mod config;
mod key_value;
mod listing;
mod numbers;
#[cfg(feature = "conformance")]
pub mod ports;
#[cfg(feature = "conformance")]
pub mod postgres;
#[cfg(feature = "conformance")]
mod process;
mod remote;
#[cfg(feature = "conformance")]
pub mod servers;

use std::{fmt::Write, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

pub use self::{
    blob::{BlobTest, blobstore},
    config::configuration,
    remote::{DirectCaller, LatticeCaller, blobs_through_lattice, context, through_lattice},
};
#[cfg(feature = "conformance")]
pub use self::{postgres::postgres, process::ProviderProcess};
use crate::keyvalue::{KeyValue, KeyValueError};

/// What a check found wrong.
pub(crate) type Check = Result<(), String>;

/// How long a check may take: nothing hangs.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// What came out of the kit.
#[derive(Debug)]
#[must_use]
pub struct Report {
    name: String,
    checks: Vec<(&'static str, Check)>,
}

impl Report {
    /// The checks that failed, each with the reason.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.checks.iter().filter_map(|(name, check)| Some((*name, check.as_ref().err()?.as_str())))
    }

    /// Panics when a check has failed, and says which: for tests.
    #[track_caller]
    pub fn assert(&self) {
        let mut text = String::new();
        for (check, reason) in self.failures() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {check}: {reason}");
        }
        assert!(text.is_empty(), "{}: some of {} checks failed:{text}", self.name, self.checks.len());
    }
}

/// A backend under test, and the bucket that one check has for itself.
#[derive(Clone)]
pub(crate) struct Subject {
    backend: Arc<dyn KeyValue>,
    bucket: String,
}

type CheckFn = fn(Subject) -> BoxFuture<'static, Check>;

macro_rules! checks {
    ($($path:path),* $(,)?) => {
        &[$((stringify!($path), (|subject| Box::pin($path(subject))) as CheckFn)),*]
    };
}

const KEY_VALUE: &[(&str, CheckFn)] = checks![
    key_value::a_value_comes_and_goes,
    key_value::any_bytes_are_a_value,
    key_value::odd_keys_are_keys,
    key_value::keys_and_values_have_limits,
    key_value::buckets_are_apart,
    key_value::batches_keep_their_order,
    numbers::numbers_add_up,
    numbers::what_is_no_number_stays,
    numbers::nothing_is_lost_between_tasks,
    listing::an_empty_bucket_has_no_keys,
    listing::every_key_is_listed,
    listing::keys_that_stay_are_listed_while_others_come_and_go,
    listing::long_keys_make_short_pages,
];

/// Every check of key-value against a backend. It has the limits in front of it that
/// [`Capability::key_value`](crate::Capability::key_value) puts there; the buckets that it uses were empty.
pub async fn key_value(backend: Arc<dyn KeyValue>, name: &str) -> Report {
    let mut checks = Vec::with_capacity(KEY_VALUE.len());
    for (check, run) in KEY_VALUE {
        let subject = Subject { backend: backend.clone(), bucket: format!("check {check}") };
        let outcome = tokio::time::timeout(CHECK_LIMIT, run(subject)).await;
        checks.push((*check, outcome.unwrap_or_else(|_| Err(format!("not done within {CHECK_LIMIT:?}")))));
    }
    Report { name: name.to_owned(), checks }
}

/// What a backend said, as the reason why a check failed.
pub(crate) fn failed(doing: impl std::fmt::Display) -> impl FnOnce(KeyValueError) -> String {
    move |error| format!("{doing}: {error}")
}

/// Fails a check unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: impl std::fmt::Display, found: T, expected: T) -> Check {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}
