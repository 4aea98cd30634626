//! What holds in a whole lattice where a manifest says nothing.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::{Manifest, ManifestLimits, Rollout, problem};
use crate::model::problem::Problem;

/// The value of `defaults.all`: kept as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultsRecord {
    /// Version of this structure.
    pub version: u32,
    pub text: String,
}

impl DefaultsRecord {
    pub const VERSION: u32 = 1;
    /// Its key.
    pub const KEY: &'static str = "all";
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Defaults {
    #[serde(default)]
    pub components: ComponentDefaults,
    #[serde(default)]
    pub providers: ProviderDefaults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentDefaults {
    #[serde(default)]
    pub limits: ManifestLimits,
    #[serde(default)]
    pub rollout: Rollout,
    pub reuse: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderDefaults {
    #[serde(default)]
    pub rollout: Rollout,
}

/// Takes what is not there from somewhere else.
fn fill<T: Clone>(value: &mut Option<T>, default: &Option<T>) {
    if value.is_none() {
        value.clone_from(default);
    }
}

impl Rollout {
    fn fill_in(&mut self, default: &Self) {
        fill(&mut self.max_surge, &default.max_surge);
        fill(&mut self.max_unavailable, &default.max_unavailable);
        fill(&mut self.min_ready, &default.min_ready);
        fill(&mut self.deadline, &default.deadline);
        fill(&mut self.max_errors, &default.max_errors);
        fill(&mut self.on_failure, &default.on_failure);
    }
}

impl Defaults {
    /// Reads and checks them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let defaults: Self = serde_saphyr::from_str(text).map_err(|error| vec![problem(text, &error)])?;
        let mut problems = Vec::new();
        defaults.components.limits.resolve(&mut problems);
        defaults.components.rollout.resolve(&mut problems);
        defaults.providers.rollout.resolve(&mut problems);
        if let Some(reuse) = defaults.components.reuse.as_ref().filter(|reuse| reuse.value == 0) {
            problems.push(Problem::at(reuse, "reuse 0 would serve no call").help("write 1 or more"));
        }
        if problems.is_empty() { Ok(defaults) } else { Err(problems) }
    }

    /// Puts them where the manifest says nothing.
    pub fn fill_in(&self, manifest: &mut Manifest) {
        let ComponentDefaults { limits, rollout, reuse } = &self.components;
        for (_, component) in &mut manifest.spec.components.0 {
            fill(&mut component.limits.memory, &limits.memory);
            fill(&mut component.limits.timeout, &limits.timeout);
            fill(&mut component.limits.concurrency, &limits.concurrency);
            component.rollout.fill_in(rollout);
            fill(&mut component.reuse, reuse);
        }
        for (_, provider) in &mut manifest.spec.providers.0 {
            provider.rollout.fill_in(&self.providers.rollout);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::model::{manifest::parse, rollout::OnFailure};

    #[test]
    fn what_a_manifest_says_stands() {
        let text = "components:\n  limits: { memory: 64MiB, timeout: 2s }\n  rollout: { minReady: 10s, onFailure: rollback }\n  \
                    reuse: 5\nproviders:\n  rollout: { minReady: 3s }\n";
        let mut manifest = parse(
            "apiVersion: lattice/v1\nkind: App\nmetadata: { name: shop }\nspec:\n  components:\n    a: { image: a.wasm, limits: { timeout: 9s }, \
             rollout: { onFailure: hold } }\n    b: { image: b.wasm }\n  providers:\n    c: { use: keyvalue-memory }\n",
        )
        .unwrap();
        Defaults::parse(text).unwrap().fill_in(&mut manifest);
        let [(_, a), (_, b)] = &manifest.spec.components.0[..] else { panic!("two components") };
        let limits = |limits: &ManifestLimits| limits.resolve(&mut Vec::new());
        assert_eq!((limits(&a.limits).memory_bytes, limits(&a.limits).timeout_ms), (64 << 20, 9000));
        assert_eq!((limits(&b.limits).memory_bytes, limits(&b.limits).timeout_ms), (64 << 20, 2000));
        let rollout = |rollout: &Rollout| rollout.resolve(&mut Vec::new());
        assert_eq!((rollout(&a.rollout).min_ready_ms, rollout(&a.rollout).on_failure), (10_000, OnFailure::Hold));
        assert_eq!(rollout(&b.rollout).on_failure, OnFailure::Rollback);
        assert_eq!(b.reuse.as_ref().unwrap().value, 5);
        assert_eq!(rollout(&manifest.spec.providers.0[0].1.rollout).min_ready_ms, 3000);
    }

    #[test]
    fn what_is_wrong_with_them_is_told() {
        for text in
            ["components: { limits: { memory: much } }", "components: { limts: {} }", "components: { reuse: 0 }"]
        {
            assert_eq!(Defaults::parse(text).unwrap_err().len(), 1, "{text}");
        }
    }
}
