//! `schema`: the shape of a manifest as a JSON schema, for editors. What it says of a provider's settings comes from the catalog.

use lattice::model::catalog;
use serde_json::{Map, Value, json};

use crate::{failure::Result, output::Output};

pub(crate) fn run(output: &mut Output) -> Result<()> {
    output.line(&serde_json::to_string_pretty(&schema()).unwrap_or_default())
}

/// A text of a form.
fn text(about: &str, pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern, "description": about })
}

fn time(about: &str) -> Value {
    text(about, "^[0-9]+(ms|s|m|h)$")
}

fn size(about: &str) -> Value {
    text(about, "^[0-9]+(B|KiB|MiB|GiB)?$")
}

fn string(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn count(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "description": about })
}

fn list(of: &Value, about: &str) -> Value {
    json!({ "type": "array", "items": of, "description": about })
}

/// A mapping whose keys are names of the user's.
fn map(of: &Value, about: &str) -> Value {
    json!({ "type": "object", "additionalProperties": of, "description": about })
}

/// A mapping with these keys and no others.
fn object(about: &str, required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
        "description": about,
    })
}

/// Those who share calls, each with a weight.
fn shares(about: &str) -> Value {
    map(&json!({ "type": "integer", "minimum": 0 }), about)
}

fn any_of(choices: &[Value]) -> Value {
    json!({ "anyOf": choices })
}

fn replicas() -> Value {
    let follow = object(
        "As many copies as the calls under way need",
        &["max", "inFlight"],
        json!({
            "min": { "type": "integer", "minimum": 0, "description": "at least so many (1); with 0 none runs while nobody calls" },
            "max": count("at most so many"),
            "inFlight": count("calls under way that one copy is for"),
            "window": time("how long a copy stays that is not needed (60s)"),
        }),
    );
    any_of(&[json!({ "type": "integer", "minimum": 0, "description": "copies, each on another host (1)" }), follow])
}

fn placement() -> Value {
    let labels =
        map(&list(&string("a value of the label"), "the values"), "for each label the values that a host may have");
    let spread = object(
        "Evenly over the values of a label",
        &["by"],
        json!({
            "by": string("the label"), "maxSkew": count("by how many copies two values may differ"),
        }),
    );
    object(
        "On which hosts it may run",
        &[],
        json!({
            "require": labels,
            "prefer": labels,
            "spread": any_of(&[string("a label over whose values copies are spread evenly"), spread]),
            "apart": list(&string("UNIT, or APP/UNIT"), "units that it never shares a host with"),
            "tolerate": list(&string("a taint"), "taints of hosts that do not keep it away"),
            "offline": { "enum": ["keep", "stop"], "description": "what it does on a host that is cut off (keep)" },
        }),
    )
}

fn rollout() -> Value {
    let portion = |about: &str| {
        any_of(&[
            json!({ "type": "integer", "minimum": 0, "description": about }),
            text("a part of all copies", "^[0-9]+%$"),
        ])
    };
    object(
        "How a new revision comes to the hosts",
        &[],
        json!({
            "maxSurge": portion("hosts at a time that run the old copy and the new one (25%)"),
            "maxUnavailable": portion("hosts at a time that run neither (0)"),
            "minReady": time("how long a new copy must have taken calls before others follow (0s)"),
            "deadline": time("without progress for so long it has failed (10m)"),
            "maxErrors": text("more failed calls of a new copy than that, and it has failed (50%)", "^[0-9]+%$"),
            "onFailure": { "enum": ["hold", "rollback"], "description": "what becomes of one that has failed (hold)" },
        }),
    )
}

fn share() -> Value {
    let with = any_of(&[string("`all`, or an app"), list(&string("an app"), "apps")]);
    let options = object(
        "With whom, and whose the data is",
        &["with"],
        json!({
            "with": with, "data": { "enum": ["own", "common"], "description": "whether each app has its own buckets and containers (own)" },
        }),
    );
    any_of(&[with, options])
}

/// A value that may be a secret of the lattice, of a file or of the environment.
fn secret() -> Value {
    let name = string("the secret's name");
    any_of(&[
        string("the name of a secret in the lattice's store"),
        object("A secret in the lattice's store", &["secret"], json!({ "secret": name })),
        object("A secret in a file of the host", &["file"], json!({ "file": name })),
        object("A secret in the host's environment", &["env"], json!({ "env": name })),
    ])
}

fn links() -> Value {
    let unit = string("UNIT, or APP/UNIT of another app");
    let options = object(
        "A link with options",
        &["to"],
        json!({
            "to": any_of(&[unit.clone(), shares("units that share the calls, each with its weight")]),
            "name": string("by which the component may choose it (default)"),
            "transport": { "enum": ["auto", "local", "fused", "lattice"], "description": "how calls travel (auto)" },
            "deadline": time("how long a call may take (10s)"),
            "idempotent": any_of(&[string("a function, or `*`"), list(&string("a function"), "functions that may run twice")]),
            "allow": list(&string("a host, with a scheme and a port if need be"), "where requests may go"),
        }),
    );
    any_of(&[unit.clone(), options.clone(), list(&any_of(&[unit, options]), "several, by name")])
}

fn component() -> Value {
    object(
        "A Wasm component",
        &["image"],
        json!({
            "image": string("a file beside the manifest, oci://..., https://...@sha256:..., or sha256:... of what the lattice has"),
            "replicas": replicas(),
            "perHost": { "const": 1, "description": "one copy on every host that the placement allows" },
            "placement": placement(),
            "rollout": rollout(),
            "limits": object("What it may use", &[], json!({
                "memory": size("linear memory of one instance (128MiB)"),
                "timeout": time("how long one call may take (10s)"),
                "concurrency": count("calls at a time in one host (256)"),
            })),
            "reuse": count("calls that an instance may serve before it is thrown away (1)"),
            "health": object("How it is found out whether it is well", &[], json!({
                "path": text("a path that is asked for by HTTP", "^/"),
                "call": string("a function without parameters: ns:pkg/interface.function"),
                "every": time("between two questions (10s)"),
                "timeout": time("how long an answer may take (1s)"),
            })),
            "env": map(&json!({ "type": "string" }), "all that the component sees of an environment"),
            "config": map(&json!(true), "what it reads by wasi:config"),
            "secrets": map(&secret(), "what it reads by wasmcloud:secrets"),
            "links": map(&links(), "ns:pkg or ns:pkg/interface, and who serves it"),
            "share": share(),
        }),
    )
}

fn provider() -> Value {
    let targets = any_of(&[string("a component"), shares("components, and their shares of the requests")]);
    let subscription = object(
        "A subscription with options",
        &["to"],
        json!({
            "to": string("a component"),
            "inFlight": count("messages at a time"),
            "stream": string("the JetStream stream that brings them"),
            "deliveries": count("how often a message comes"),
            "backoff": time("before it comes again"),
            "deadLetter": string("the subject of messages that have come as often as they may"),
        }),
    );
    let schedule = object(
        "Calls by the clock",
        &["to"],
        json!({
            "to": string("a component"),
            "cron": string("as in `0 6 * * mon`"),
            "timezone": string("as in Europe/Berlin (UTC)"),
            "every": time("instead of `cron`"),
            "call": string("ns:pkg/interface.function (wasi:cli/run.run)"),
            "missed": { "enum": ["skip", "once", "all"], "description": "what becomes of calls that were missed (skip)" },
            "late": time("how late a call may be"),
        }),
    );
    let mut schema = object(
        "A provider of a capability",
        &[],
        json!({
            "use": { "enum": catalog::PROVIDERS.iter().map(|provider| provider.name).collect::<Vec<_>>(), "description": "one of the catalog" },
            "image": string("a program of your own: a file, oci://..., or sha256:... of what the lattice has"),
            "serves": list(&string("ns:pkg/interface@version"), "the interfaces that a program answers"),
            "wit": string("a file or folder with the WIT of what a program serves"),
            "env": map(&json!({ "type": "string" }), "environment variables of a program"),
            "config": map(&json!(true), "its settings; each may be { secret: NAME }"),
            "isolate": { "enum": ["host", "process"], "description": "where it runs (host)" },
            "limits": object("What a process may take of its machine", &[], json!({
                "memory": size("with its children"), "cpus": count("processors"), "files": count("open files"),
            })),
            "replicas": { "type": "integer", "minimum": 0, "description": "copies, each on another host (1)" },
            "perHost": { "const": 1, "description": "one copy on every host that the placement allows" },
            "placement": placement(),
            "rollout": rollout(),
            "routes": map(&targets, "`[METHOD ][host]/path`, and who answers"),
            "subscriptions": map(&any_of(&[string("a component"), subscription]), "a subject, and who is given its messages"),
            "schedules": map(&schedule, "calls by the clock"),
            "watches": map(&string("a component"), "a bucket, and who is told of its changes"),
            "share": share(),
        }),
    );
    schema["oneOf"] = json!([{ "required": ["use"] }, { "required": ["image"] }]);
    schema["allOf"] = catalog::PROVIDERS.iter().map(settings).collect();
    schema
}

/// What a provider of the catalog has in its `config:`.
fn settings(kind: &catalog::ProviderKind) -> Value {
    let keys: Map<_, _> =
        kind.config.iter().map(|key| (key.name.to_owned(), json!({ "description": key.about }))).collect();
    let required: Vec<_> = kind.config.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut then = json!({
        "properties": { "config": { "properties": keys, "additionalProperties": false, "required": required } },
    });
    if !required.is_empty() {
        then["required"] = json!(["config"]);
    }
    json!({ "if": { "properties": { "use": { "const": kind.name } }, "required": ["use"] }, "then": then })
}

pub(crate) fn schema() -> Value {
    let mut schema = object(
        "An app of a lattice",
        &["apiVersion", "kind", "metadata", "spec"],
        json!({
            "apiVersion": { "const": "lattice/v1" },
            "kind": { "const": "App" },
            "metadata": object("What it is called", &["name"], json!({
                "name": text("the app's name", "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"),
                "labels": map(&json!({ "type": "string" }), "for people"),
            })),
            "spec": object("What it is made of", &[], json!({
                "components": map(&component(), "Wasm components, by their names"),
                "providers": map(&provider(), "providers of capabilities, by their names"),
            })),
        }),
    );
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Manifest of a lattice's app");
    schema
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
mod tests {
    use std::{fs, path::Path};

    use lattice::model::manifest::parse;

    use super::*;

    fn instance(yaml: &str) -> Value {
        serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
    }

    /// The manifests in the project's own documents and examples.
    fn manifests() -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut found = Vec::new();
        let mut folders = vec![root.join("examples")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "yaml") {
                    let text = fs::read_to_string(&path).unwrap();
                    if text.contains("apiVersion: lattice/v1") {
                        found.push((path.display().to_string(), text));
                    }
                }
            }
        }
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        let blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        found.extend(blocks.filter(|b| b.starts_with("apiVersion")).map(|b| ("README.md".to_owned(), b.to_owned())));
        found
    }

    #[test]
    fn it_takes_every_manifest_of_ours() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let all = manifests();
        assert!(all.len() > 5, "{}", all.len());
        for (name, text) in all {
            let errors: Vec<_> = validator
                .iter_errors(&instance(&text))
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{name}: {errors:#?}");
        }
    }

    /// One of each key.
    const WHOLE: &str = include_str!("schema/whole.yaml");

    #[test]
    fn the_parser_knows_every_key_of_it_and_neither_takes_others() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        parse(WHOLE).unwrap();
        let whole = instance(WHOLE);
        let errors: Vec<_> =
            validator.iter_errors(&whole).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        // Every key of the schema is there.
        let mut missing = Vec::new();
        compare(&schema(), &whole, "", &mut missing);
        assert!(missing.is_empty(), "whole.yaml lacks {missing:?}");
        // One key more anywhere, and neither takes it.
        let lines: Vec<_> = WHOLE.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.trim_end().ends_with("# closed")) {
            let indent = " ".repeat(line.len() - line.trim_start().len() + 2);
            let more = [&lines[..=at], &[format!("{indent}zzz: 1").as_str()], &lines[at + 1..]].concat().join("\n");
            assert!(parse(&more).is_err(), "the parser takes\n{more}");
            assert!(!validator.is_valid(&instance(&more)), "the schema takes\n{more}");
        }
    }

    /// Notes the keys of `schema` that `value` does not have.
    fn compare(schema: &Value, value: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, below) in schema["properties"].as_object().into_iter().flatten() {
            // The units of the file have either one or the other.
            let is_choice =
                ["use", "image", "replicas", "perHost", "serves", "wit", "cron", "every"].contains(&name.as_str());
            match value.get(name) {
                Some(value) => compare(below, value, &format!("{path}/{name}"), missing),
                None if is_choice => {}
                None => missing.push(format!("{path}/{name}")),
            }
        }
        let below = schema.get("additionalProperties").filter(|below| below.is_object());
        if let (Some(below), Some((name, value))) = (below, value.as_object().and_then(|values| values.iter().next())) {
            compare(below, value, &format!("{path}/{name}"), missing);
        }
    }

    #[test]
    fn settings_are_those_of_the_catalog() {
        let validator = jsonschema::validator_for(&schema()).unwrap();
        let with = |provider: &str| {
            instance(&format!(
                "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec: {{ providers: {{ p: {provider} }} }}\n"
            ))
        };
        for (provider, is_valid) in [
            ("{ use: http-server, config: { address: '127.0.0.1:80' } }", true),
            ("{ use: http-server }", false),
            ("{ use: http-server, config: { adress: '127.0.0.1:80' } }", false),
            ("{ use: keyvalue-memory, config: { ttl: 10m } }", true),
            ("{ use: nothing }", false),
            ("{ image: ./ledger, config: { any: 1 } }", true),
            ("{ image: ./ledger, use: keyvalue-memory }", false),
        ] {
            assert_eq!(validator.is_valid(&with(provider)), is_valid, "{provider}");
        }
    }
}
