//! Watches: whether each leads to a component that wants to be told of changes.

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        app::{Isolation, Limits},
        catalog::{ProviderKind, WITH_WATCHES},
        manifest::Provider,
        problem::Problem,
        watch::WatchSpec,
    },
    wire::{AppName, MAX_BUCKET},
};

/// What a component must export to be told of changes, and in which version.
const EXPORT: &str = "wasi:keyvalue/watcher@0.2.0-draft";

impl Checker<'_> {
    pub(super) fn watches(
        &mut self,
        app: &AppName,
        kind: &ProviderKind,
        provider: &Provider,
        isolate: Isolation,
    ) -> Vec<WatchSpec> {
        let first = provider.watches.first_key();
        match kind.has_watches() {
            true => self.only_inside(first, "watches", isolate),
            false => self.only_of(first, kind.name, "watches", WITH_WATCHES),
        }
        provider.watches.0.iter().filter_map(|(bucket, to)| self.watch(app, bucket, to)).collect()
    }

    fn watch(&mut self, app: &AppName, bucket: &Spanned<String>, to: &Spanned<String>) -> Option<WatchSpec> {
        if bucket.value.len() > MAX_BUCKET {
            let problem = Problem::at(bucket, "this is no name of a bucket");
            self.problems.push(problem.help(format!("it has at most {MAX_BUCKET} bytes")));
        }
        let unit = self.target(app, to)?;
        self.must_export(to, EXPORT, "is told of no changes", "be told of changes");
        let timeout_ms = Limits::default().timeout_ms;
        Some(WatchSpec { bucket: bucket.value.clone(), to: unit, timeout_ms })
    }
}
