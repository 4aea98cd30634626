//! `ctx`: several lattices by name, each with the way to its NATS.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, parser::ValueSource};
use lattice::{bus::NatsOptions, model::problem::suggest, wire::LatticeName};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{ContextCommand, Format, Global},
    failure::{Failure, Result},
    get::{Row, print},
    output::Output,
};

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Contexts {
    /// The one that is used where none is named.
    #[serde(default)]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Context {
    lattice: LatticeName,
    nats: NatsOptions,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("lattice", &self.lattice)
            .field("nats", &self.nats.shown_urls())
            .finish_non_exhaustive()
    }
}

/// One of them, as it is listed: without what is secret.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    current: bool,
    lattice: LatticeName,
    /// Without passwords.
    nats: String,
    /// How it says who it is: creds, nkey, user, token, or null.
    login: Option<&'static str>,
}

impl Row for Listed {
    const HEADER: &'static [&'static str] = &["CURRENT", "NAME", "LATTICE", "NATS", "LOGIN"];
    fn cells(&self) -> Vec<String> {
        vec![
            if self.current { "*" } else { "" }.to_owned(),
            self.name.clone(),
            self.lattice.to_string(),
            self.nats.clone(),
            self.login.unwrap_or("-").to_owned(),
        ]
    }
}

/// Where they are kept.
fn place() -> Result<PathBuf> {
    let folder =
        |name: &str, below: &str| env::var_os(name).filter(|v| !v.is_empty()).map(|v| Path::new(&v).join(below));
    let folder = folder("XDG_CONFIG_HOME", "lattice").or_else(|| folder("HOME", ".config/lattice"));
    folder.map(|folder| folder.join("contexts.json")).ok_or_else(|| {
        Failure::Other("neither HOME nor XDG_CONFIG_HOME is set, so there is no place for contexts".to_owned())
    })
}

impl Contexts {
    fn read(path: &Path) -> Result<Self> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(Failure::File { what: "cannot read", path: path.to_owned(), source }),
        };
        serde_json::from_slice(&text).map_err(|error| Failure::Refused {
            message: format!("{} is no list of contexts: {error}", path.display()),
            help: "mend it, or remove it and set them anew with `lattice-ctl ctx set`".to_owned(),
        })
    }

    /// For its owner's eyes alone: there may be passwords in it.
    fn write(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let partial = path.with_extension(format!("partial.{}", std::process::id()));
        let text = serde_json::to_vec_pretty(self).map_err(|error| Failure::Other(error.to_string()))?;
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial))
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&partial, path));
        written.map_err(|source| Failure::File { what: "cannot write", path: path.to_owned(), source })
    }

    fn get(&self, name: &str) -> Result<&Context> {
        self.contexts.get(name).ok_or_else(|| Failure::NotFound {
            message: format!("there is no context `{name}`"),
            help: suggest(name, self.contexts.keys().map(String::as_str)),
        })
    }
}

/// Takes servers, credentials and lattice from the context that is named, or the current one. Who names servers means those; a lattice
/// that is named is meant in any case.
pub(crate) fn apply(global: &mut Global, matches: &ArgMatches) -> Result<()> {
    let said = |name: &str| matches.value_source(name).is_some_and(|source| source != ValueSource::DefaultValue);
    global.nats_named = said("urls");
    if global.nats_named && global.context.is_none() {
        return Ok(());
    }
    let contexts = match place() {
        Ok(place) => Contexts::read(&place)?,
        Err(_) if global.context.is_none() => return Ok(()),
        Err(failure) => return Err(failure),
    };
    let Some(name) = global.context.as_ref().or(contexts.current.as_ref()) else { return Ok(()) };
    let Context { lattice, nats } = contexts.get(name)?.clone();
    if !said("lattice") {
        global.lattice = lattice;
    }
    global.nats = nats;
    global.nats_named |= global.context.is_some();
    Ok(())
}

pub(crate) fn run(global: &Global, command: &ContextCommand, output: &mut Output) -> Result<()> {
    let place = place()?;
    let mut contexts = Contexts::read(&place)?;
    let done = match command {
        ContextCommand::List => {
            let listed = contexts.contexts.iter().map(|(name, context)| Listed {
                name: name.clone(),
                current: contexts.current.as_ref() == Some(name),
                lattice: context.lattice.clone(),
                nats: context.nats.shown_urls(),
                login: login(&context.nats),
            });
            let listed: Vec<_> = listed.collect();
            if listed.is_empty() && output.format == Format::Table {
                output.note("there are none; `lattice-ctl ctx set NAME --nats URL` makes one");
            }
            return print(&listed, output);
        }
        ContextCommand::Set { name } => {
            // Files are meant as they are here, and the context is used anywhere.
            let nats = global.nats.clone().absolute();
            let nats =
                nats.map_err(|error| Failure::Other(format!("cannot find the folder that this runs in: {error}")))?;
            contexts.contexts.insert(name.clone(), Context { lattice: global.lattice.clone(), nats });
            let current = contexts.current.get_or_insert_with(|| name.clone());
            format!("context {name} is set{}", if current == name { ", and used where none is named" } else { "" })
        }
        ContextCommand::Use { name } => {
            contexts.get(name)?;
            contexts.current = Some(name.clone());
            format!("context {name} is used where none is named")
        }
        ContextCommand::Remove { name } => {
            contexts.get(name)?;
            contexts.contexts.remove(name);
            contexts.current = contexts.current.filter(|current| current != name);
            format!("context {name} is removed")
        }
    };
    contexts.write(&place)?;
    output.say(&done)?;
    output.report(&serde_json::json!({ "current": contexts.current }))
}

fn login(nats: &NatsOptions) -> Option<&'static str> {
    let ways = [
        (nats.creds.is_some(), "creds"),
        (nats.nkey.is_some(), "nkey"),
        (nats.user.is_some(), "user"),
        (nats.token.is_some(), "token"),
        (nats.cert.is_some(), "certificate"),
    ];
    ways.into_iter().find(|(is, _)| *is).map(|(_, way)| way)
}
