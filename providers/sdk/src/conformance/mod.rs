//! The kit that proves a backend right. `lattice-ctl conform` runs it against any provider as a process; a backend's own tests
//! run it in the process and through the lattice:
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
#[cfg(feature = "suites")]
mod http_client;
mod key_value;
mod lasting;
mod lifetime;
mod listing;
mod memory;
#[cfg(feature = "suites")]
mod messaging;
mod numbers;
#[cfg(feature = "conformance")]
pub mod ports;
#[cfg(feature = "suites")]
pub mod postgres;
#[cfg(feature = "conformance")]
mod process;
mod remote;
#[cfg(feature = "conformance")]
pub mod servers;
mod suite;
#[cfg(feature = "conformance")]
pub mod watches;

use std::{sync::Arc, time::Duration};

#[cfg(feature = "conformance")]
pub use self::process::ProviderProcess;
pub use self::{
    blob::{BlobTest, blobstore, blobstore_lasting, blobstore_suite},
    config::configuration,
    lasting::Lasting,
    remote::{DirectCaller, JsonCaller, LatticeCaller, blobs_through_lattice, context, through_lattice},
    suite::{Check, Report, Suite},
};
#[cfg(feature = "suites")]
pub use self::{
    http_client::{http_client_suite, origin},
    messaging::{messaging_lasting, messaging_suite},
    postgres::{postgres, postgres_lasting, postgres_suite},
};
use self::{
    lifetime::Mortal,
    suite::{CheckFn, checks},
};
use crate::keyvalue::{KeyValue, KeyValueError};

/// How long a check may take: nothing hangs.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// A backend under test, and the bucket that one check has for itself.
#[derive(Clone)]
pub(crate) struct Subject {
    backend: Arc<dyn KeyValue>,
    bucket: String,
}

const KEY_VALUE: &[(&str, CheckFn<Subject>)] = checks![
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

const LIFETIME: &[(&str, CheckFn<Mortal>)] = checks![
    lifetime::an_entry_lives_as_long_as_it_should,
    lifetime::each_write_begins_a_lifetime_anew,
    lifetime::what_has_gone_is_as_if_it_had_never_been,
    lifetime::of_many_only_those_are_listed_that_live,
];

/// Every check of key-value against a backend. It has the limits in front of it that
/// [`Capability::key_value`](crate::Capability::key_value) puts there; the buckets that it uses were empty.
pub async fn key_value(backend: Arc<dyn KeyValue>, name: &str) -> Report {
    key_value_suite(backend, "").run(name, |_| ()).await
}

/// Every check of a backend whose setting `ttl` is `lifetime`, which should be about a second: they wait for it.
pub async fn key_value_lifetime(backend: Arc<dyn KeyValue>, lifetime: Duration, name: &str) -> Report {
    let mut suite = Suite::new(CHECK_LIMIT);
    for (name, check) in LIFETIME {
        let subject = Subject { backend: backend.clone(), bucket: format!("check {name}") };
        suite.add(name, check(Mortal { subject, lifetime }));
    }
    suite.run(name, |_| ()).await
}

/// The same, to be made; the names of its buckets begin with `tag`, and are empty again when it has run.
pub fn key_value_suite(backend: Arc<dyn KeyValue>, tag: &str) -> Suite {
    let mut suite = Suite::new(CHECK_LIMIT);
    for (name, check) in KEY_VALUE {
        let subject = Subject { backend: backend.clone(), bucket: format!("{tag}check {name}") };
        suite.add(name, async move {
            let outcome = check(subject.clone()).await;
            subject.clear().await;
            outcome
        });
    }
    suite
}

/// What is written to a key-value store, to be looked for later.
pub fn key_value_lasting(backend: Arc<dyn KeyValue>, tag: &str) -> impl Lasting + use<> {
    Subject { backend, bucket: format!("{tag}lasting") }
}

/// What a backend said, as the reason why a check failed.
pub(crate) fn failed(doing: impl std::fmt::Display) -> impl FnOnce(KeyValueError) -> String {
    move |error| format!("{doing}: {error}")
}

/// Fails a check unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: impl std::fmt::Display, found: T, expected: T) -> Check {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}
