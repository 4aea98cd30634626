//! The references in `docs`, made from what they tell of: the command line, the schema of manifests, and the catalog of providers. The tests
//! hold that they are what is in `docs`; with LATTICE_RECORD=1 they write it.

use std::{fs, path::Path};

use clap::{Command, CommandFactory};
use lattice::model::catalog::{self, ProviderKind};
use serde_json::Value;

use crate::{
    cli::{Cli, hidden},
    schema::schema,
};

const WIDTH: usize = 100;

/// A command and those below it, each with its help.
fn command(path: &str, command: &Command, text: &mut String) {
    let plain = command.clone().bin_name(path).term_width(WIDTH);
    let help = plain.disable_help_subcommand(true).render_long_help().to_string();
    let lines: Vec<_> = help.lines().map(str::trim_end).collect();
    *text += &format!("\n## {path}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        self::command(&format!("{path} {}", below.get_name()), below, text);
    }
}

fn cli() -> String {
    let mut text =
        "# lattice-ctl\n\nAll commands, as `--help` tells them. The options of the first go with each of the others.\n"
            .to_owned();
    command("lattice-ctl", &hidden(Cli::command()), &mut text);
    text
}

/// What a value may be, in words.
fn kind(value: &Value) -> String {
    if let Some(choices) = value["anyOf"].as_array() {
        let mut kinds: Vec<_> = choices.iter().map(kind).collect();
        kinds.dedup();
        return kinds.join(" or ");
    }
    if let Some(choices) = value["enum"].as_array() {
        return choices
            .iter()
            .map(|choice| format!("`{}`", choice.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(", ");
    }
    match &value["const"] {
        Value::Null => {}
        Value::String(text) => return format!("`{text}`"),
        other => return format!("`{other}`"),
    }
    match (value["type"].as_str(), value["pattern"].as_str()) {
        (Some("string"), Some("^[0-9]+(ms|s|m|h)$")) => "time: `500ms`, `10s`, `5m`, `2h`".to_owned(),
        (Some("string"), Some("^[0-9]+(B|KiB|MiB|GiB)?$")) => "size: `64MiB`".to_owned(),
        (Some("string"), Some("^[0-9]+%$")) => "percent: `50%`".to_owned(),
        (Some("string"), _) => "text".to_owned(),
        (Some("integer"), _) => "number".to_owned(),
        (Some("boolean"), _) => "`true`, `false`".to_owned(),
        (Some("array"), _) => format!("list of {}", kind(&value["items"])),
        (Some("object"), _) => "mapping".to_owned(),
        _ => "any".to_owned(),
    }
}

/// A line for each key below a place.
fn keys(place: &str, value: &Value, text: &mut String) {
    let choices = value["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    for choice in choices {
        // A list of what may also stand there alone has no keys of its own.
        let items = &choice["items"];
        let known = |item: &Value| choices.contains(item);
        if choice["type"] != "array"
            || !(known(items) || items["anyOf"].as_array().is_some_and(|all| all.iter().all(known)))
        {
            keys(place, choice, text);
        }
    }
    if value["type"] == "array" {
        return keys(&format!("{place}[]"), &value["items"], text);
    }
    if value["additionalProperties"].is_object() {
        let (place, inner) = (format!("{place}.NAME"), &value["additionalProperties"]);
        return keys(&place, inner, text);
    }
    let required: Vec<_> = value["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, below) in value["properties"].as_object().into_iter().flatten() {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        let about =
            below["description"].as_str().or_else(|| below["anyOf"][0]["description"].as_str()).unwrap_or_default();
        let needed = if required.contains(&name.as_str()) { "yes" } else { "" };
        *text += &format!("| `{place}` | {} | {needed} | {} |\n", kind(below), about.replace('|', "\\|"));
        keys(&place, below, text);
    }
}

fn manifest() -> String {
    let mut text = "# Manifests\n\nEvery key of a manifest, as `lattice-ctl schema` has them. What stands in brackets is what holds without it. NAME is a \
                    name of yours.\n\n| key | value | needed | what it is |\n|---|---|---|---|\n"
        .to_owned();
    keys("", &schema(), &mut text);
    text
}

fn provider(kind: &ProviderKind) -> String {
    let mut text = format!("\n## {}\n\n", kind.name);
    if let Some(capability) = kind.capability {
        let imports: Vec<_> = capability.imports.iter().map(|import| format!("`{import}`")).collect();
        text += &format!("For components that import {}.", imports.join(", "));
        text += if kind.can_isolate { " It may run as a process of its own (`isolate: process`).\n" } else { "\n" };
    }
    for (has, key) in [
        (kind.has_routes, "routes"),
        (kind.has_subscriptions, "subscriptions"),
        (kind.has_watches(), "watches"),
        (kind.name == catalog::CRON, "schedules"),
    ] {
        if has {
            text += &format!("It calls components by its `{key}:`.\n");
        }
    }
    if kind.config.is_empty() {
        return text + "\nIt has no settings.\n";
    }
    text += "\n| setting | needed | what it is |\n|---|---|---|\n";
    for key in kind.config {
        let needed = if key.required { "yes" } else { "" };
        text += &format!("| `{}` | {needed} | {} |\n", key.name, key.about.replace('|', "\\|"));
    }
    text
}

fn providers() -> String {
    let mut text = "# Providers\n\nWhat can stand in `use:`, with every setting of `config:`. Any setting may be a secret: `{ secret: NAME }`.\n".to_owned();
    catalog::PROVIDERS.iter().for_each(|kind| text += &provider(kind));
    text
}

#[test]
fn the_references_are_what_they_tell_of() {
    for (name, text) in [("cli", cli()), ("manifest", manifest()), ("providers", providers())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/{name}.md"));
        if std::env::var_os("LATTICE_RECORD").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        let differs = there.lines().zip(text.lines()).find(|(there, now)| there != now);
        assert!(there == text, "docs/{name}.md is of another time; LATTICE_RECORD=1 writes it anew: {differs:?}");
    }
}

/// The words of a command line, as a shell takes them apart; what comes after `#`, `<`, `>`, `|` or `&&` is not one of them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    let end = words.iter().position(|word| ["#", "<", ">", "|", "&&", "&"].contains(&word.as_str()));
    words.truncate(end.unwrap_or(words.len()));
    words
}

#[test]
fn every_command_in_the_docs_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path().join("README.md"));
    let files = docs.chain(examples).chain([root.join("README.md")]);
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "md") && path.is_file());
    let (mut seen, mut wrong) = (0, Vec::new());
    // What is made here is its own proof.
    for file in files.filter(|path| !path.ends_with("cli.md")) {
        for line in fs::read_to_string(&file).unwrap().replace("\\\n", " ").lines() {
            let Some(line) = line.trim_start().trim_start_matches("$ ").strip_prefix("lattice-ctl ") else { continue };
            let words = [vec!["lattice-ctl".to_owned()], words(line)].concat();
            seen += 1;
            if let Err(error) = Cli::command().try_get_matches_from(&words)
                && error.exit_code() != 0
            {
                wrong.push(format!(
                    "{}: {}: {}",
                    file.display(),
                    words.join(" "),
                    error.to_string().lines().next().unwrap_or_default()
                ));
            }
        }
    }
    assert!(wrong.is_empty() && seen > 30, "of {seen} commands:\n{}", wrong.join("\n"));
}
