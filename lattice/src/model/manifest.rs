//! The manifest, as the user writes it. Every value that a later check may complain about remembers where it stands.

mod defaults;
mod health;
mod link;
mod placement;
mod rollout;
mod scale;
mod schedule;
mod share;
mod subscription;
mod targets;

use std::{collections::BTreeMap, fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_saphyr::{Error, Location, Spanned};

pub(super) use self::scale::resolve as resolve_scale;
pub use self::{
    defaults::{ComponentDefaults, Defaults, DefaultsRecord, ProviderDefaults},
    health::Health,
    link::{Link, Links},
    placement::{Placement, Spread},
    rollout::Rollout,
    scale::Replicas,
    schedule::Schedule,
    share::{Data, Share, Sharers},
    subscription::Subscription,
    targets::Targets,
};
use super::{
    app::{Limits, ProcessLimits},
    outbound::INTERNAL,
    problem::{Problem, place, suggest},
    wadm,
};

/// A whole manifest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub api_version: Spanned<String>,
    pub kind: Spanned<String>,
    pub metadata: Metadata,
    pub spec: Spec,
    /// What is odd about how it was written, and does no harm.
    #[serde(skip)]
    pub notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    pub name: Spanned<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    #[serde(default)]
    pub components: Entries<Component>,
    #[serde(default)]
    pub providers: Entries<Provider>,
}

/// A mapping in the order of the file, with the place of each key.
#[derive(Debug)]
pub struct Entries<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Entries<T> {
    pub(super) fn first_key(&self) -> Option<&Spanned<String>> {
        self.0.first().map(|(key, _)| key)
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// A file, relative to the manifest; or `sha256:...` of an artifact that the lattice has.
    pub image: Spanned<String>,
    /// How many copies, spread over hosts. One when neither this nor `perHost` is there.
    pub replicas: Option<Spanned<Replicas>>,
    /// `1`: one copy on every host that the placement allows.
    pub per_host: Option<Spanned<u32>>,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub rollout: Rollout,
    #[serde(default)]
    pub limits: ManifestLimits,
    /// How many calls an instance may serve before it is thrown away; 1 (a fresh instance a call) when absent.
    pub reuse: Option<Spanned<u32>>,
    /// How it is found out whether it is well.
    pub health: Option<Health>,
    /// Environment variables that the component may see. It sees no others.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the component reads by `wasi:config`.
    #[serde(default)]
    pub config: Entries<Spanned<serde_json::Value>>,
    /// What the component may read by `wasmcloud:secrets`: the name that it asks for, and the secret, see
    /// [`source`](super::secret::source).
    #[serde(default)]
    pub secrets: Entries<Spanned<serde_json::Value>>,
    /// `ns:pkg` or `ns:pkg/interface`, and who serves it.
    #[serde(default)]
    pub links: Entries<Links>,
    /// The other apps that may link to it.
    pub share: Option<Share>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestLimits {
    pub memory: Option<Spanned<String>>,
    pub timeout: Option<Spanned<String>>,
    pub concurrency: Option<Spanned<u32>>,
}

/// What a provider process may take of its machine.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestProcessLimits {
    pub memory: Option<Spanned<String>>,
    /// Whole processors.
    pub cpus: Option<Spanned<u32>>,
    pub files: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Provider {
    /// The name of a provider that the host knows. Either this or `image`.
    #[serde(rename = "use")]
    pub kind: Option<Spanned<String>>,
    /// A program of one's own: a file, relative to the manifest; or `sha256:...` of one that the lattice has.
    pub image: Option<Spanned<String>>,
    /// The WIT interfaces that a program answers.
    #[serde(default)]
    pub serves: Vec<Spanned<String>>,
    /// A file or folder with the WIT of what a program serves.
    pub wit: Option<Spanned<String>>,
    /// Environment variables of a program.
    #[serde(default)]
    pub env: Entries<String>,
    #[serde(default)]
    pub config: Entries<Spanned<serde_json::Value>>,
    /// `process`: as a process of its own, supervised by the host. `host` (the default): inside the host.
    pub isolate: Option<Spanned<String>>,
    #[serde(default)]
    pub limits: ManifestProcessLimits,
    pub replicas: Option<Spanned<Replicas>>,
    pub per_host: Option<Spanned<u32>>,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default)]
    pub rollout: Rollout,
    /// For an HTTP server: `[METHOD ][host]/path` to the component that answers.
    #[serde(default)]
    pub routes: Entries<Targets>,
    /// For messages: a subject, which may have wildcards, to the component that is given them.
    #[serde(default)]
    pub subscriptions: Entries<Subscription>,
    /// For calls by the clock.
    #[serde(default)]
    pub schedules: Entries<Schedule>,
    /// For a store of keys: a bucket, to the component that is told of its changes.
    #[serde(default)]
    pub watches: Entries<Spanned<String>>,
    /// The other apps that may link to it.
    pub share: Option<Share>,
}

impl Manifest {
    /// Every link with the component that has it, in the order of the file.
    pub fn links(&self) -> impl Iterator<Item = (&Spanned<String>, &Component, &Link)> {
        self.spec.components.0.iter().flat_map(|(key, component)| {
            let links = component.links.0.iter().flat_map(|(_, links)| &links.0);
            links.map(move |link| (key, component, link))
        })
    }

    /// Whether it names units of other apps, which only the lattice knows.
    pub fn reaches_out(&self) -> bool {
        self.links().any(|(.., link)| {
            let mut allowed = link.allow.iter().flat_map(|allow| &allow.value);
            link.to.value.contains('/') || allowed.any(|origin| origin.value.contains(INTERNAL))
        })
    }
}

/// Reads a manifest's text, of ours or of wadm.
pub fn read(source: &str) -> Result<Manifest, Vec<Problem>> {
    if wadm::is_one(source) { wadm::convert(source) } else { parse(source).map_err(|problem| vec![problem]) }
}

/// Reads the text of a manifest of ours. The first error ends it: what follows a broken line means nothing.
pub fn parse(source: &str) -> Result<Manifest, Problem> {
    let manifest: Manifest = serde_saphyr::from_str(source).map_err(|error| problem(source, &error))?;
    if manifest.api_version.value != "lattice/v1" {
        let found = &manifest.api_version.value;
        return Err(Problem::at(&manifest.api_version, format!("apiVersion is `{found}`"))
            .help("write `apiVersion: lattice/v1`"));
    }
    if manifest.kind.value != "App" {
        return Err(Problem::at(&manifest.kind, format!("kind is `{}`", manifest.kind.value)).help("write `kind: App`"));
    }
    Ok(manifest)
}

pub(super) fn problem(source: &str, error: &Error) -> Problem {
    let error = error.without_snippet();
    let problem = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            Problem::new(format!("unknown key `{field}`")).help(suggest(field, expected.iter().copied()))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            Problem::new(format!("unknown value `{variant}`")).help(suggest(variant, expected.iter().copied()))
        }
        Error::SerdeMissingField { field, .. } => {
            Problem::new(format!("`{field}` is missing")).help(format!("add `{field}:` here"))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            Problem::new(format!("expected {expected}, found {unexpected}"))
        }
        Error::DuplicateMappingKey { key, .. } => {
            Problem::new(format!("the key `{}` stands here twice", key.as_deref().unwrap_or("?")))
                .help("remove one of the two")
        }
        _ if source.trim().is_empty() => Problem::new("the manifest is empty").help(BEGINNING_HELP),
        Error::Eof { .. } => Problem::new("the manifest is empty, or ends too early").help(BEGINNING_HELP),
        Error::Unexpected { expected: "mapping start", .. } if !source.contains(':') => {
            Problem::new("this is not a manifest").help(BEGINNING_HELP)
        }
        Error::Unexpected { expected, .. } => expected_shape(expected),
        Error::InvalidScalar { ty, .. } => expected_scalar(ty, scalar_at(source, error)),
        Error::ExternalMessage { msg, .. } => {
            Problem::new(format!("not YAML: {}", first_line(msg))).help(NOT_YAML_HELP)
        }
        other => Problem::new(first_line(&other.to_string())),
    };
    match error.location() {
        Some(location) => problem.located(location),
        None => problem,
    }
}

const BEGINNING_HELP: &str = "begin with `apiVersion: lattice/v1`";
const NOT_YAML_HELP: &str = "look for a quote, bracket or `: ` too many or too few, and indent with spaces";

fn expected_shape(expected: &str) -> Problem {
    match expected {
        "mapping start" => Problem::new("expected a mapping here").help("write lines of the form `key: value`"),
        "sequence start" => Problem::new("expected a list here").help("write `[one, two]`"),
        "string scalar" => Problem::new("expected a text here").help("write one value, without brackets"),
        other => Problem::new(format!("expected {other} here")),
    }
}

fn expected_scalar(ty: &str, found: Option<&str>) -> Problem {
    let found = found.map_or(String::new(), |text| format!(", found `{text}`"));
    match ty {
        "bool" => Problem::new(format!("expected true or false{found}")),
        _ if ty.starts_with(['u', 'i']) => {
            Problem::new(format!("expected a whole number{found}")).help("write digits alone, such as 2")
        }
        other => Problem::new(format!("expected {other}{found}")),
    }
}

/// What stands where the error is.
fn scalar_at<'s>(source: &'s str, error: &Error) -> Option<&'s str> {
    let place = place(error.location()?)?;
    source.get(place.offset..place.offset + place.len)
}

/// The library's own texts repeat the place and a drawing after the first line.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or(text);
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

impl ManifestLimits {
    /// The limits with the defaults filled in, or what is wrong with them.
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> Limits {
        let mut limits = Limits::default();
        if let Some(memory) = &self.memory
            && let Some(bytes) = resolve_memory(memory, LEAST_MEMORY, problems)
        {
            limits.memory_bytes = bytes;
        }
        if let Some(timeout) = &self.timeout
            && let Some(duration) = resolve_duration(timeout, problems)
        {
            limits.timeout_ms = duration;
        }
        match &self.concurrency {
            Some(concurrency) if concurrency.value == 0 => {
                problems.push(Problem::at(concurrency, "concurrency 0 would answer no call").help("write at least 1"))
            }
            Some(concurrency) => limits.concurrency = concurrency.value,
            None => {}
        }
        limits
    }
}

/// A page of a component's memory: the least that one can have.
const LEAST_MEMORY: (u64, &str) = (64 << 10, "64KiB");
/// Below this no provider of ours starts.
const LEAST_PROCESS_MEMORY: (u64, &str) = (16 << 20, "16MiB");
/// A provider has its standard streams, and connections to NATS and to what it is for.
const LEAST_FILES: u64 = 32;

impl ManifestProcessLimits {
    /// Where the first of them stands.
    pub(super) fn place(&self) -> Option<Location> {
        let memory = self.memory.as_ref().map(|limit| limit.referenced);
        let cpus = self.cpus.as_ref().map(|limit| limit.referenced);
        memory.or(cpus).or(self.files.as_ref().map(|limit| limit.referenced))
    }

    /// The limits, or what is wrong with them.
    pub(super) fn resolve(&self, problems: &mut Vec<Problem>) -> ProcessLimits {
        let memory = self.memory.as_ref();
        let memory_bytes = memory.and_then(|memory| resolve_memory(memory, LEAST_PROCESS_MEMORY, problems));
        if let Some(cpus) = self.cpus.as_ref().filter(|cpus| cpus.value == 0) {
            problems.push(Problem::at(cpus, "a process on no processor would do nothing").help("write at least 1"));
        }
        if let Some(files) = self.files.as_ref().filter(|files| files.value < LEAST_FILES) {
            let problem = Problem::at(files, format!("a provider needs more than {} files", files.value));
            problems.push(problem.help(format!("{LEAST_FILES} is the least")));
        }
        let (cpus, files) = (self.cpus.as_ref().map(|cpus| cpus.value), self.files.as_ref().map(|files| files.value));
        ProcessLimits { memory_bytes, cpus, files }
    }
}

/// Bytes from `64MiB`; a problem when it is something else, or less than `least`.
fn resolve_memory(text: &Spanned<String>, least: (u64, &str), problems: &mut Vec<Problem>) -> Option<u64> {
    let problem = match parse_size(&text.value) {
        Some(bytes) if bytes >= least.0 => return Some(bytes),
        Some(_) => Problem::at(text, format!("a memory limit of `{}` is too little", text.value))
            .help(format!("{} is the least", least.1)),
        None => Problem::at(text, format!("`{}` is not a size", text.value))
            .help("write a number with KiB, MiB or GiB, as in `64MiB`"),
    };
    problems.push(problem);
    None
}

/// Milliseconds from `5s`, `200ms` or `2m`; a problem when it is something else, or zero.
pub(super) fn resolve_duration(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<u64> {
    match parse_duration(&text.value) {
        Some(duration) if !duration.is_zero() => u64::try_from(duration.as_millis()).ok(),
        _ => {
            problems.push(
                Problem::at(text, format!("`{}` is not a time", text.value))
                    .help("write a number above 0 with ms, s or m, as in `200ms` or `5s`"),
            );
            None
        }
    }
}

/// A duration such as `200ms`, `5s`, `2m` or `1h`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let millis = match &text[split..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// A size in bytes such as `64MiB`.
pub fn parse_size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit = match text[split..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("100"), Some(100));
        assert_eq!(parse_size("64MB"), None);
        assert_eq!(parse_size("99999999999GiB"), None);
        assert_eq!(parse_duration("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("5"), None);
        assert_eq!(parse_duration("s"), None);
    }
}
