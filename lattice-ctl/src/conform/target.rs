//! Which provider it is, and with which settings.

use std::{env, fs, path::PathBuf};

use lattice::{model::catalog, wire::Interface};
use serde_json::{Map, Value};

use super::ConformFailure;
use crate::cli::ConformArgs;

/// What is checked.
pub(super) struct Target {
    /// As the user named it.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// Whether it is one of the catalog.
    pub(super) known: bool,
    pub(super) interfaces: Vec<Interface>,
    /// Whether its data is gone with its process.
    pub(super) in_memory: bool,
    pub(super) config: Map<String, Value>,
    pub(super) env: Vec<(String, String)>,
}

impl Target {
    pub(super) fn find(args: &ConformArgs) -> Result<Self, ConformFailure> {
        let name = args.provider.clone();
        let config = config(&args.config)?;
        if let Some(kind) = catalog::find(&name) {
            if let Some(option) = for_programs(args) {
                let message = format!("{option} is for executables; what {name} does is known");
                return Err(ConformFailure::Usage { message, help: format!("leave {option} out") });
            }
            let path = executable_of(&name);
            let (interfaces, in_memory) = (kind.interfaces(), kind.in_memory());
            return Ok(Self { name, path, known: true, interfaces, in_memory, config, env: Vec::new() });
        }
        let path = PathBuf::from(&name);
        if !path.is_file() {
            return Err(match name.contains('/') {
                true => ConformFailure::NoExecutable { name, path },
                false => ConformFailure::NoProvider { name },
            });
        }
        if args.serves.is_empty() {
            return Err(ConformFailure::Usage {
                message: format!("what {name} serves is not known"),
                help: "say it, as in `--serves lattice:keyvalue/store@0.1.0`".to_owned(),
            });
        }
        let (interfaces, in_memory, env) = (args.serves.clone(), args.in_memory, args.env.clone());
        Ok(Self { name, path, known: false, interfaces, in_memory, config, env })
    }

    /// Where its executable is, whatever folder it is started in.
    pub(super) fn executable(&self) -> Result<PathBuf, ConformFailure> {
        let missing = || ConformFailure::NoExecutable { name: self.name.clone(), path: self.path.clone() };
        let path = std::path::absolute(&self.path).map_err(|_| missing())?;
        if path.is_file() { Ok(path) } else { Err(missing()) }
    }
}

/// The first option that only executables take.
fn for_programs(args: &ConformArgs) -> Option<&'static str> {
    let given =
        [("--serves", !args.serves.is_empty()), ("--in-memory", args.in_memory), ("--env", !args.env.is_empty())];
    given.into_iter().find_map(|(option, given)| given.then_some(option))
}

/// Where hosts look for it as well: beside this program.
fn executable_of(name: &str) -> PathBuf {
    let program = format!("lattice-provider-{name}");
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(&program)));
    beside.unwrap_or_else(|| PathBuf::from(program))
}

/// All settings as one.
fn config(given: &[String]) -> Result<Map<String, Value>, ConformFailure> {
    let mut all = Map::new();
    for text in given {
        if let Some(file) = text.strip_prefix('@') {
            let read = fs::read_to_string(file);
            let read = read.map_err(|error| wrong(&format!("cannot read {file}: {error}")))?;
            all.extend(object(&read, &format!("{file} is"))?);
        } else if text.trim_start().starts_with('{') {
            all.extend(object(text, "it is")?);
        } else {
            let (key, value) = text.split_once('=').ok_or_else(|| wrong(&format!("`{text}` has no `=`")))?;
            if key.is_empty() {
                return Err(wrong(&format!("`{text}` has no key before its `=`")));
            }
            all.insert(key.to_owned(), setting(value));
        }
    }
    Ok(all)
}

fn object(text: &str, what: &str) -> Result<Map<String, Value>, ConformFailure> {
    serde_json::from_str(text).map_err(|error| wrong(&format!("{what} no JSON object: {error}")))
}

/// What stands after a `=`.
fn setting(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Null) | Err(_) => Value::from(text),
        Ok(value) => value,
    }
}

fn wrong(why: &str) -> ConformFailure {
    ConformFailure::Usage {
        message: format!("--config: {why}"),
        help: "write KEY=VALUE, as in `--config url=redis://127.0.0.1:6379`, a JSON object, or @FILE with one"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(given: &[&str]) -> Result<Value, String> {
        let given: Vec<_> = given.iter().map(|text| (*text).to_owned()).collect();
        config(&given).map(Value::Object).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_in_all_three_ways() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("settings.json");
        fs::write(&file, r#"{"password": "secret"}"#).unwrap();
        let from_file = format!("@{}", file.display());
        let found = parsed(&[
            "url=redis://127.0.0.1:6379/?a=b",
            "poolSize=3",
            "confirm=true",
            "accessKeyId=007",
            "text=\"3\"",
            "empty=",
            "list=[\"10.0.0.0/8\"]",
            r#"{"region": "eu", "poolSize": 4}"#,
            &from_file,
        ]);
        let expected = json!({
            "url": "redis://127.0.0.1:6379/?a=b", "poolSize": 4, "confirm": true, "accessKeyId": "007", "text": "3",
            "empty": "", "list": ["10.0.0.0/8"], "region": "eu", "password": "secret",
        });
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn what_is_no_setting_is_told() {
        for (text, reason) in [
            ("url", "--config: `url` has no `=`"),
            ("=x", "--config: `=x` has no key before its `=`"),
            ("{\"url\": }", "--config: it is no JSON object: expected value at line 1 column 9"),
            ("@/no/such/file", "--config: cannot read /no/such/file: No such file or directory (os error 2)"),
        ] {
            assert_eq!(parsed(&[text]), Err(reason.to_owned()));
        }
    }
}
