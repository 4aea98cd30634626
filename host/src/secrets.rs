//! The secrets that this host can read: sealed ones of the lattice, files in a folder, and variables of its environment.
//! Each is one app's.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use lattice::{
    bus::{Bus, View},
    model::{
        app::ComponentSpec,
        secret::{self, MAX_SECRET, ReferenceError, SealError, SealedSecret, SecretSource, SecretValue},
    },
    wire::{AppName, LatticeName, SecretName},
};
use nkeys::XKey;
use serde_json::{Map, Value};

/// What variables of the environment begin with that hold secrets; app and name follow, as in `LATTICE_SECRET_SHOP__DB`.
const VARIABLE: &str = "LATTICE_SECRET_";
/// Shorter texts are not hidden in messages: they would stand in too many words.
const SHORT: usize = 4;
/// What stands in the place of a secret.
const HIDDEN: &str = "***";

/// Why a host has no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read the secrets key {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is not the seed of an xkey: {reason}; `lattice-ctl secrets keygen` makes one", path.display())]
    Seed { path: PathBuf, reason: String },
}

/// Reads the seeds of xkeys, each from a file of its own.
pub(crate) fn read_keys(paths: &[PathBuf]) -> Result<Vec<XKey>, KeyError> {
    let read = |path: &PathBuf| {
        let seed = |reason: nkeys::error::Error| KeyError::Seed { path: path.clone(), reason: reason.to_string() };
        let text = fs::read_to_string(path).map_err(|source| KeyError::File { path: path.clone(), source })?;
        XKey::from_seed(text.trim()).map_err(seed)
    };
    paths.iter().map(read).collect()
}

/// Why a secret cannot be read. None of these has a part of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("secret `{0}`: this host does not know the lattice's secrets yet")]
    Early(SecretName),
    #[error("secret `{name}`: the lattice has none of app {app}; `lattice-ctl secrets put {app}/{name}` puts it there")]
    Missing { app: AppName, name: SecretName },
    #[error("secret `{name}`: this host has no key to open it; start it with --secrets-key")]
    NoKey { name: SecretName },
    #[error("secret `{name}`: {source}")]
    Sealed { name: SecretName, source: SealError },
    #[error("secret `{name}`: this host has no folder of secrets; start it with --secrets-dir")]
    NoFolder { name: SecretName },
    #[error("secret `{name}`: cannot read {}: {reason}", path.display())]
    File { name: SecretName, path: PathBuf, reason: String },
    #[error("secret `{name}`: this host's environment has no {variable}")]
    Variable { name: SecretName, variable: String },
    #[error(
        "secret `{name}`: `--` in {app}/{name} cannot stand in the name of a variable; use another name, or a file"
    )]
    Dashes { app: AppName, name: SecretName },
    #[error("secret `{name}` is no text, which the setting has to be")]
    NoText { name: SecretName },
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// The secrets of all apps.
pub(crate) struct Secrets {
    lattice: LatticeName,
    keys: Vec<XKey>,
    folder: Option<PathBuf>,
    sealed: View<SealedSecret>,
    /// What this host has kept of them; it stands until the lattice has told its own.
    kept: BTreeMap<String, (SealedSecret, u64)>,
}

impl Secrets {
    /// Those of a lattice. They follow it for as long as they live.
    pub(crate) fn follow(
        bus: &Bus,
        keys: Vec<XKey>,
        folder: Option<PathBuf>,
        kept: BTreeMap<String, (SealedSecret, u64)>,
    ) -> Self {
        Self { lattice: bus.lattice().clone(), keys, folder, sealed: bus.store().secrets().follow(), kept }
    }

    /// A sealed secret with its revision; `None` when there is none.
    fn sealed(&self, app: &AppName, name: &SecretName) -> Result<Option<(SealedSecret, u64)>, SecretError> {
        let (view, key) = (self.sealed.borrow(), key(app, name));
        match view.as_ref() {
            Some(all) => Ok(all.get(&key).map(|entry| (entry.value.clone(), entry.revision))),
            None => self.kept.get(&key).cloned().map(Some).ok_or_else(|| SecretError::Early(name.clone())),
        }
    }

    /// The sealed secrets among `sources`, by their keys, for the journal.
    pub(crate) fn to_keep<'s>(
        &self,
        app: &AppName,
        sources: impl IntoIterator<Item = &'s SecretSource>,
    ) -> Vec<(String, (SealedSecret, u64))> {
        let entry = |source: &SecretSource| match source {
            SecretSource::Lattice(name) => Some((key(app, name), self.sealed(app, name).ok()??)),
            SecretSource::File(_) | SecretSource::Env(_) => None,
        };
        sources.into_iter().filter_map(entry).collect()
    }

    /// The public xkey to which others seal what this host shall read.
    pub(crate) fn public_key(&self) -> Option<String> {
        self.keys.first().map(XKey::public_key)
    }

    /// The store's revision of the newest change among `sources`, and 0 when there is none. What a unit was started with is
    /// out of date when this grows.
    pub(crate) fn revision<'s>(&self, app: &AppName, sources: impl IntoIterator<Item = &'s SecretSource>) -> u64 {
        let entry = |source: &SecretSource| match source {
            SecretSource::Lattice(name) => Some(self.sealed(app, name).ok()??.1),
            SecretSource::File(_) | SecretSource::Env(_) => None,
        };
        sources.into_iter().filter_map(entry).max().unwrap_or(0)
    }

    /// A receiver that wakes when a sealed secret has changed.
    pub(crate) fn changes(&self) -> View<SealedSecret> {
        self.sealed.clone()
    }

    /// One secret of `app`.
    pub(crate) fn read(&self, app: &AppName, source: &SecretSource) -> Result<SecretValue, SecretError> {
        match source {
            SecretSource::Lattice(name) => self.open(app, name),
            SecretSource::File(name) => self.file(app, name),
            SecretSource::Env(name) => {
                let variable = variable(app, name)?;
                match std::env::var_os(&variable) {
                    Some(value) => Ok(SecretValue::new(value.into_encoded_bytes())),
                    None => Err(SecretError::Variable { name: name.clone(), variable }),
                }
            }
        }
    }

    fn open(&self, app: &AppName, name: &SecretName) -> Result<SecretValue, SecretError> {
        let missing = || SecretError::Missing { app: app.clone(), name: name.clone() };
        let (sealed, _) = self.sealed(app, name)?.ok_or_else(missing)?;
        if self.keys.is_empty() {
            return Err(SecretError::NoKey { name: name.clone() });
        }
        let opened = sealed.open((&self.lattice, app, name), &self.keys);
        opened.map_err(|source| SecretError::Sealed { name: name.clone(), source })
    }

    /// `<folder>/<app>/<name>`, without the end of its last line. Neither name can leave the folder.
    fn file(&self, app: &AppName, name: &SecretName) -> Result<SecretValue, SecretError> {
        let folder = self.folder.as_deref().ok_or_else(|| SecretError::NoFolder { name: name.clone() })?;
        let path = folder.join(app.as_str()).join(name.as_str());
        let failed = |reason: String| SecretError::File { name: name.clone(), path: path.clone(), reason };
        let mut bytes = match limited(&path) {
            Ok(bytes) if bytes.len() > MAX_SECRET => return Err(failed(SealError::TooLong.to_string())),
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(failed("there is no such file".to_owned()));
            }
            Err(error) => return Err(failed(error.to_string())),
        };
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(SecretValue::new(bytes))
    }

    /// The settings of a provider of `app`, with secrets where `config` refers to them.
    pub(crate) fn settings(&self, app: &AppName, config: &Map<String, Value>) -> Result<Settings, SecretError> {
        let mut hidden = Vec::new();
        let mut read = |source: &SecretSource| match self.read(app, source)? {
            SecretValue::Text(text) => {
                hidden.push(text.clone());
                Ok(text)
            }
            SecretValue::Bytes(_) => Err(SecretError::NoText { name: source.name().clone() }),
        };
        let config = secret::resolve(config, &mut read)?;
        Ok(Settings { config, veil: Veil::new(hidden) })
    }
}

/// The variable of a secret. No two have the same: one dash is one underscore, and two stand between app and name alone.
fn variable(app: &AppName, name: &SecretName) -> Result<String, SecretError> {
    if app.as_str().contains("--") || name.as_str().contains("--") {
        return Err(SecretError::Dashes { app: app.clone(), name: name.clone() });
    }
    let upper = |text: &str| text.replace('-', "_").to_uppercase();
    Ok(format!("{VARIABLE}{}__{}", upper(app.as_str()), upper(name.as_str())))
}

fn key(app: &AppName, name: &SecretName) -> String {
    format!("{app}.{name}")
}

fn limited(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_SECRET as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The settings of a provider with its secrets in the open. They are not for any record, log or message.
pub(crate) struct Settings {
    pub(crate) config: Map<String, Value>,
    pub(crate) veil: Veil,
}

/// Hides a provider's secrets in what it says: errors of libraries like to repeat what they were given.
#[derive(Clone, Default)]
pub(crate) struct Veil(Arc<[String]>);

impl Veil {
    fn new(secrets: Vec<String>) -> Self {
        let mut hidden: Vec<_> = secrets.into_iter().filter(|secret| secret.len() >= SHORT).collect();
        // What lies inside of another one would leave the rest of that in the open.
        hidden.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(hidden.into())
    }

    pub(crate) fn over(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| {
            // Also as a quoted text would have it.
            let escaped = secret.escape_debug().to_string();
            let text = text.replace(secret.as_str(), HIDDEN);
            if escaped == *secret { text } else { text.replace(&escaped, HIDDEN) }
        })
    }
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// What one component may read; by default nothing.
#[derive(Clone, Default)]
pub struct Granted(Option<Arc<Grant>>);

struct Grant {
    secrets: Arc<Secrets>,
    app: AppName,
    sources: BTreeMap<String, SecretSource>,
}

impl Granted {
    pub(crate) fn new(secrets: &Arc<Secrets>, app: &AppName, spec: &ComponentSpec) -> Self {
        let grant = || Grant { secrets: secrets.clone(), app: app.clone(), sources: spec.secrets.clone() };
        Self((!spec.secrets.is_empty()).then(|| Arc::new(grant())))
    }

    /// The secret that the component asks for, as it is now; `None` when the manifest gives it none of that name.
    pub(crate) fn get(&self, name: &str) -> Option<Result<SecretValue, SecretError>> {
        let grant = self.0.as_ref()?;
        grant.sources.get(name).map(|source| grant.secrets.read(&grant.app, source))
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().flat_map(|grant| &grant.sources)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppName {
        "shop".parse().unwrap()
    }

    fn file(name: &str) -> SecretSource {
        SecretSource::File(name.parse().unwrap())
    }

    #[tokio::test]
    async fn files_are_read_below_the_app_s_own_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("shop")).unwrap();
        fs::write(folder.path().join("shop/db"), "hunter2\n").unwrap();
        fs::write(folder.path().join("shop/key"), [0xff, b'\n', b'\n']).unwrap();
        fs::write(folder.path().join("shop/long"), vec![b'x'; MAX_SECRET + 1]).unwrap();
        fs::write(folder.path().join("other"), "another app's").unwrap();
        let bus = Bus::memory("default".parse().unwrap());
        let secrets = Secrets::follow(&bus, Vec::new(), Some(folder.path().to_owned()), BTreeMap::new());
        assert_eq!(secrets.read(&app(), &file("db")).unwrap(), SecretValue::Text("hunter2".into()));
        assert_eq!(secrets.read(&app(), &file("key")).unwrap(), SecretValue::Bytes(vec![0xff, b'\n']));
        let error = |name| secrets.read(&app(), &file(name)).unwrap_err().to_string();
        let path = |name: &str| folder.path().join("shop").join(name).display().to_string();
        assert_eq!(error("other"), format!("secret `other`: cannot read {}: there is no such file", path("other")));
        assert_eq!(
            error("long"),
            format!("secret `long`: cannot read {}: it is longer than 65536 bytes", path("long"))
        );
        let none = Secrets { folder: None, ..secrets }.read(&app(), &file("db")).unwrap_err();
        assert_eq!(none.to_string(), "secret `db`: this host has no folder of secrets; start it with --secrets-dir");
    }

    #[tokio::test]
    async fn sealed_secrets_are_read_with_any_key_of_the_host() {
        let bus = Bus::memory("default".parse().unwrap());
        let (old, new) = (XKey::new(), XKey::new());
        let name: SecretName = "db".parse().unwrap();
        let source = SecretSource::Lattice(name.clone());
        let secrets = Secrets::follow(&bus, vec![new.clone(), old.clone()], None, BTreeMap::new());
        assert!(matches!(secrets.read(&app(), &source), Err(SecretError::Early(_))));
        assert_eq!(secrets.public_key(), Some(new.public_key()));
        let mut changes = secrets.changes();
        for (value, key) in [("one", &old), ("two", &new)] {
            let text = SecretValue::Text(value.to_owned());
            let sealed = SealedSecret::seal((bus.lattice(), &app(), &name), text.clone(), &key.public_key()).unwrap();
            let revision = bus.store().secrets().put("shop.db", &sealed).await.unwrap();
            let arrived = |all: &Option<BTreeMap<_, lattice::bus::Entry<_>>>| {
                all.as_ref().and_then(|all| all.get("shop.db")).is_some_and(|entry| entry.revision == revision)
            };
            changes.wait_for(arrived).await.unwrap();
            assert_eq!(secrets.read(&app(), &source).unwrap(), text);
            assert_eq!(secrets.revision(&app(), [&source]), revision);
        }
        let other: AppName = "other".parse().unwrap();
        assert!(matches!(secrets.read(&other, &source), Err(SecretError::Missing { .. })));
        assert_eq!(secrets.revision(&other, [&source, &file("db")]), 0);
        let without = Secrets { keys: Vec::new(), ..secrets };
        assert!(matches!(without.read(&app(), &source), Err(SecretError::NoKey { .. })));
    }

    #[test]
    fn no_two_secrets_have_the_same_variable() {
        let of = |app: &str, name: &str| variable(&app.parse().unwrap(), &name.parse().unwrap());
        assert_eq!(of("shop", "eu-db").unwrap(), "LATTICE_SECRET_SHOP__EU_DB");
        assert_eq!(of("shop-eu", "db").unwrap(), "LATTICE_SECRET_SHOP_EU__DB");
        for (app, name) in [("a--b", "c"), ("a", "b--c")] {
            assert!(matches!(of(app, name), Err(SecretError::Dashes { .. })), "{app}/{name}");
        }
    }

    #[test]
    fn what_a_provider_says_has_no_secret_of_it() {
        let veil = Veil::new(vec!["hunter2".into(), "redis://:hunter2@x".into(), "a\"b\\c".into(), "x".into()]);
        let said = veil.over("cannot use redis://:hunter2@x, hunter2, \"a\\\"b\\\\c\" or a\"b\\c: x".to_owned());
        assert_eq!(said, "cannot use ***, ***, \"***\" or ***: x");
        assert!(!format!("{veil:?}").contains("hunter2"));
    }
}
