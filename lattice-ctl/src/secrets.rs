//! `secrets`: what the lattice keeps sealed. A value goes in here, and comes out in hosts alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    str::FromStr,
};

use lattice::{
    bus::{Bus, StoreError},
    model::{
        app::AppRecord,
        secret::{MAX_SECRET, SealedSecret, SecretSource, SecretValue},
    },
    wire::{AppName, SecretName},
};
use lattice_view::world::World;
use nkeys::XKey;
use serde::Serialize;

use crate::{
    cli::{Format, Global, PutSecretArgs, SecretsCommand},
    failure::{Failure, Result},
    get::{Row, print},
    output::Output,
};

/// A secret of an app, as in `shop/db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretId {
    app: AppName,
    name: SecretName,
}

impl FromStr for SecretId {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (app, name) = text.split_once('/').ok_or("write APP/NAME, as in shop/db")?;
        let id = || Ok(Self { app: app.parse()?, name: name.parse()? });
        id().map_err(|error: lattice::wire::IdError| error.to_string())
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.name)
    }
}

impl SecretId {
    /// Its key in the store.
    fn key(&self) -> String {
        format!("{}.{}", self.app, self.name)
    }
}

pub(crate) async fn run(global: &Global, command: &SecretsCommand, output: &mut Output) -> Result<()> {
    match command {
        SecretsCommand::Put(args) => {
            let value = read_value(args.from_file.as_deref())?;
            put(&global.connect().await?, args, value, output).await
        }
        SecretsCommand::List { app } => list(&global.connect().await?, app.as_ref(), output).await,
        SecretsCommand::Delete { secret } => delete(&global.connect().await?, secret, output).await,
        SecretsCommand::Keygen { file } => {
            let key = write_key(file)?;
            output.line(&format!("{}: the seed of {key}; give it to hosts with --secrets-key", file.display()))
        }
    }
}

/// The names of the secrets that the lattice has of an app.
pub(crate) async fn of_app(bus: &Bus, app: &str) -> std::result::Result<BTreeSet<String>, StoreError> {
    let all = bus.store().secrets().list().await?;
    let of_app = |key: &String| Some(key.split_once('.').filter(|(of, _)| *of == app)?.1.to_owned());
    Ok(all.keys().filter_map(of_app).collect())
}

/// Makes a key and writes its seed for this user alone; returns what others may know of it.
pub(crate) fn write_key(file: &Path) -> Result<String> {
    let key = XKey::new();
    let seed = key.seed().map_err(|error| Failure::Other(format!("cannot make a key: {error}")))?;
    write_seed(file, &seed)?;
    Ok(key.public_key())
}

/// Writes a key's seed for this user alone, where no file is.
pub(crate) fn write_seed(file: &Path, seed: &str) -> Result<()> {
    let failed = |source| Failure::File { what: "cannot write the key", path: file.to_owned(), source };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut new = new.map_err(failed)?;
    new.write_all(seed.as_bytes()).and_then(|()| new.write_all(b"\n")).and_then(|()| new.sync_all()).map_err(failed)
}

fn read_value(file: Option<&Path>) -> Result<SecretValue> {
    let limited = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        // One more than there may be: sealing will say that it is too long.
        from.take(MAX_SECRET as u64 + 2).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = match file {
        Some(path) => {
            let failed = |source| Failure::File { what: "cannot read the secret", path: path.to_owned(), source };
            limited(&mut fs::File::open(path).map_err(failed)?).map_err(failed)?
        }
        None => {
            let read = limited(&mut io::stdin().lock());
            let mut bytes = read.map_err(|e| Failure::Other(format!("cannot read the secret from stdin: {e}")))?;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            bytes
        }
    };
    if bytes.is_empty() {
        let message = "the secret is empty".to_owned();
        return Err(Failure::Refused {
            message,
            help: "write it to stdin, or name a file with --from-file".to_owned(),
        });
    }
    Ok(SecretValue::new(bytes))
}

/// What `-o json` prints of a secret that was stored.
#[derive(Debug, Serialize)]
struct Stored<'a> {
    app: &'a AppName,
    name: &'a SecretName,
    key: &'a str,
    revision: u64,
    hosts: usize,
}

async fn put(bus: &Bus, args: &PutSecretArgs, value: SecretValue, output: &mut Output) -> Result<()> {
    let id = &args.secret;
    let world = World::read(bus).await?;
    let keys = keys_of_hosts(&world);
    let key = match &args.key {
        Some(key) => key.clone(),
        None => only_key(&keys)?,
    };
    let sealed = SealedSecret::seal((bus.lattice(), &id.app, &id.name), value, &key);
    let sealed = sealed.map_err(|error| Failure::Refused {
        message: format!("secret {id}: {error}"),
        help: "`lattice-ctl secrets keygen FILE` makes a key and shows its public part".to_owned(),
    })?;
    let revision = bus.store().secrets().put(&id.key(), &sealed).await?;
    let hosts = keys.get(&key).copied().unwrap_or(0);
    if output.format != Format::Table {
        return output.value(&Stored { app: &id.app, name: &id.name, key: &key, revision, hosts });
    }
    if hosts == 0 {
        output.note("no live host says that it can open it; start hosts with --secrets-key");
    }
    output.line(&format!(
        "secret {id}: sealed to {key}, which {hosts} {} open",
        if hosts == 1 { "host can" } else { "hosts can" }
    ))
}

/// The public xkeys that live hosts tell, each with how many do.
fn keys_of_hosts(world: &World) -> BTreeMap<String, usize> {
    let mut keys = BTreeMap::new();
    for key in world.live_hosts().filter_map(|host| host.secrets_key.clone()) {
        *keys.entry(key).or_default() += 1;
    }
    keys
}

fn only_key(keys: &BTreeMap<String, usize>) -> Result<String> {
    let mut names = keys.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Failure::Refused {
            message: "no live host has a key for secrets".to_owned(),
            help:
                "make one with `lattice-ctl secrets keygen FILE` and start hosts with --secrets-key FILE, or name its \
                   public part with --key"
                    .to_owned(),
        }),
        (Some(_), Some(_)) => Err(Failure::Refused {
            message: format!(
                "hosts have different keys for secrets: {}",
                keys.keys().cloned().collect::<Vec<_>>().join(", ")
            ),
            help: "give all hosts the same first --secrets-key, or choose with --key".to_owned(),
        }),
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    app: String,
    name: String,
    key: String,
    revision: u64,
    /// Live hosts that seal to the same key.
    hosts: usize,
    /// The units that are given it.
    units: Vec<String>,
}

impl Row for Listed {
    const HEADER: &'static [&'static str] = &["APP", "SECRET", "HOSTS", "UNITS", "KEY"];
    fn cells(&self) -> Vec<String> {
        vec![self.app.clone(), self.name.clone(), self.hosts.to_string(), self.units.join(", "), self.key.clone()]
    }
}

async fn list(bus: &Bus, app: Option<&AppName>, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let keys = keys_of_hosts(&world);
    let all = bus.store().secrets().list().await?;
    let row = |(key, entry): (&String, &lattice::bus::Entry<SealedSecret>)| {
        let id = key.split_once('.').and_then(|(of, name)| format!("{of}/{name}").parse::<SecretId>().ok())?;
        let units = world.apps.get(id.app.as_str()).map(|app| units_with(&app.value, &id.name)).unwrap_or_default();
        let hosts = keys.get(&entry.value.recipient).copied().unwrap_or(0);
        let (key, revision) = (entry.value.recipient.clone(), entry.revision);
        app.is_none_or(|only| *only == id.app).then(|| Listed {
            app: id.app.to_string(),
            name: id.name.to_string(),
            key,
            revision,
            hosts,
            units,
        })
    };
    print(&all.iter().filter_map(row).collect::<Vec<_>>(), output)
}

/// The units of an app that are given a secret of it.
fn units_with(app: &AppRecord, name: &SecretName) -> Vec<String> {
    let wanted = SecretSource::Lattice(name.clone());
    let given = app.units.iter().filter(|(_, unit)| unit.spec.secrets().contains(&wanted));
    given.map(|(unit, _)| unit.to_string()).collect()
}

async fn delete(bus: &Bus, id: &SecretId, output: &mut Output) -> Result<()> {
    let table = bus.store().secrets();
    if table.get(&id.key()).await?.is_none() {
        let known = of_app(bus, id.app.as_str()).await?.iter().map(|name| format!("{}/{name}", id.app)).collect();
        return Err(Failure::NoSecret { id: id.clone(), lattice: bus.lattice().clone(), known });
    }
    table.delete(&id.key()).await?;
    if let Some(app) = bus.store().apps().get(id.app.as_str()).await? {
        let units = units_with(&app.value, &id.name);
        if !units.is_empty() {
            output.note(&format!("app {} still gives it to {}", id.app, units.join(", ")));
        }
    }
    output.say(&format!("secret {id}: deleted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::tests::Fake;

    fn args(secret: &str, key: Option<String>) -> PutSecretArgs {
        PutSecretArgs { secret: secret.parse().unwrap(), from_file: None, key }
    }

    #[tokio::test]
    async fn a_secret_is_stored_sealed_listed_and_deleted() {
        let fake = Fake::new();
        let key = XKey::new();
        let (mut output, captured) = Output::captured(Format::Table);
        let put_it = args("shop/db", Some(key.public_key()));
        put(&fake.bus, &put_it, SecretValue::Text("hunter2".into()), &mut output).await.unwrap();
        let stored = fake.bus.store().secrets().get("shop.db").await.unwrap().unwrap().value;
        let (app, name) = ("shop".parse().unwrap(), "db".parse().unwrap());
        let opened = stored.open((fake.bus.lattice(), &app, &name), std::slice::from_ref(&key));
        assert_eq!(opened.unwrap(), SecretValue::Text("hunter2".into()));
        assert_eq!(of_app(&fake.bus, "shop").await.unwrap(), BTreeSet::from(["db".to_owned()]));
        assert!(of_app(&fake.bus, "sho").await.unwrap().is_empty());
        list(&fake.bus, None, &mut output).await.unwrap();
        let shown = captured.out();
        assert!(shown.contains("shop  db      0") && shown.contains(&key.public_key()), "{shown}");
        assert!(captured.remarks().contains("no live host says that it can open it"));
        delete(&fake.bus, &put_it.secret, &mut output).await.unwrap();
        let gone = delete(&fake.bus, &put_it.secret, &mut output).await.unwrap_err();
        assert_eq!((gone.to_string().as_str(), gone.exit_code()), ("lattice default has no secret `shop/db`", 6));
    }

    #[tokio::test]
    async fn without_a_key_nothing_is_sealed() {
        let fake = Fake::new();
        let (mut output, _) = Output::captured(Format::Table);
        let value = || SecretValue::Text("hunter2".into());
        let none = put(&fake.bus, &args("shop/db", None), value(), &mut output).await.unwrap_err();
        assert_eq!(none.to_string(), "no live host has a key for secrets");
        let wrong = put(&fake.bus, &args("shop/db", Some("XABC".into())), value(), &mut output).await.unwrap_err();
        assert!(wrong.to_string().starts_with("secret shop/db: `XABC` is not the public xkey"), "{wrong}");
        assert!(fake.bus.store().secrets().list().await.unwrap().is_empty());
        let two = BTreeMap::from([("XA".to_owned(), 1), ("XB".to_owned(), 2)]);
        let message = only_key(&two).unwrap_err().to_string();
        assert_eq!(message, "hosts have different keys for secrets: XA, XB");
    }

    #[test]
    fn a_key_is_private_and_never_written_over() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/secrets.xk");
        let public = write_key(&file).unwrap();
        let seed = fs::read_to_string(&file).unwrap();
        assert_eq!(XKey::from_seed(seed.trim()).unwrap().public_key(), public);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_key(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), seed);
    }

    #[test]
    fn secrets_are_named_by_app_and_name() {
        assert_eq!("shop/db".parse::<SecretId>().unwrap().key(), "shop.db");
        for wrong in ["db", "shop/", "/db", "shop/a.b", "a/b/c"] {
            assert!(wrong.parse::<SecretId>().is_err(), "{wrong}");
        }
    }
}
