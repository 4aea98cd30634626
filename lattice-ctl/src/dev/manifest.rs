//! A manifest for a component that has none: a provider for each import, as simple as there is.

use std::{collections::BTreeSet, net::SocketAddr};

use lattice::{
    model::{catalog::is_ambient, check::ComponentFacts},
    wire::{Interface, UnitName},
};

use crate::failure::{Failure, Result};

/// A provider that needs no settings: its unit, what it is, and the packages and interfaces that lead to it.
struct Simple {
    unit: &'static str,
    /// As the manifest writes it.
    provider: &'static str,
    /// As a link's pattern: a package, or one of its interfaces.
    patterns: &'static [&'static str],
    link: &'static str,
}

const SIMPLE: [Simple; 4] = [
    Simple { unit: "cache", provider: "{ use: keyvalue-memory }", patterns: &["wasi:keyvalue"], link: "cache" },
    Simple { unit: "files", provider: "{ use: blob-memory }", patterns: &["wasi:blobstore"], link: "files" },
    Simple {
        unit: "messages",
        provider: "{ use: messaging-nats }",
        patterns: &["wasmcloud:messaging"],
        link: "messages",
    },
    Simple {
        unit: "internet",
        provider: "{ use: http-client }",
        patterns: &["wasi:http/outgoing-handler", "wasi:http/client"],
        link: "{ to: internet, allow: [\"https://*\"] }",
    },
];

impl Simple {
    /// The pattern that an import fits.
    fn pattern(&self, import: &Interface) -> Option<&'static str> {
        let fits = |pattern: &&&str| **pattern == import.package() || **pattern == import.unversioned();
        self.patterns.iter().find(fits).copied()
    }
}

/// The text of it. Units of the providers are not called as the component is.
pub(super) fn make(name: &UnitName, image: &str, facts: &ComponentFacts, address: SocketAddr) -> Result<String> {
    let (mut links, mut providers) = (BTreeSet::new(), BTreeSet::new());
    let mut nobody = Vec::new();
    for import in &facts.imports {
        let found = SIMPLE.iter().find_map(|simple| Some((simple, simple.pattern(import)?)));
        match found {
            Some((simple, pattern)) => {
                let unit = unit(simple.unit, name);
                links.insert(format!("{pattern}: {}", simple.link.replace(simple.unit, &unit)));
                providers.insert(format!("{unit}: {}", simple.provider));
            }
            None if is_ambient(import.package()) => {}
            None => nobody.push(import.to_string()),
        }
    }
    if !nobody.is_empty() {
        return Err(Failure::Refused {
            message: format!("nobody can be supplied for what it imports: {}", nobody.join(", ")),
            help: "write an app.yaml beside it that links them; README has the providers".to_owned(),
        });
    }
    let serves =
        |export: &Interface| ["wasi:http/incoming-handler", "wasi:http/handler"].contains(&export.unversioned());
    if facts.exports.iter().any(serves) {
        let web = unit("web", name);
        providers.insert(format!(
            "{web}: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ \"/\": {name} }} }}"
        ));
    }
    let mut text =
        format!("apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n  components:\n    {name}:\n");
    text += &format!("      image: ./{image}\n");
    if !links.is_empty() {
        text += "      links:\n";
        links.iter().for_each(|link| text += &format!("        {link}\n"));
    }
    if !providers.is_empty() {
        text += "  providers:\n";
        providers.iter().for_each(|provider| text += &format!("    {provider}\n"));
    }
    Ok(text)
}

fn unit(wanted: &str, component: &UnitName) -> String {
    if wanted == component.as_str() { format!("{wanted}-provider") } else { wanted.to_owned() }
}

#[cfg(test)]
mod tests {
    use lattice::model::manifest;

    use super::*;
    use crate::component::{inspect, tests::component};

    fn made(name: &str, imports: &[&str], exports: &[&str]) -> Result<String> {
        let facts = inspect(&component(imports, exports)).unwrap().facts;
        make(&name.parse().unwrap(), "it.wasm", &facts, "127.0.0.1:8000".parse().unwrap())
    }

    #[test]
    fn each_import_gets_a_provider() {
        let imports = [
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:io/streams@0.2.3",
            "wasi:http/outgoing-handler@0.2.3",
        ];
        let text = made("cart", &imports, &["wasi:http/incoming-handler@0.2.3"]).unwrap();
        let read = manifest::read(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
        assert_eq!(read.metadata.name.value, "cart");
        for part in
            ["wasi:keyvalue: cache\n", "cache: { use: keyvalue-memory }\n", "to: internet", "routes: { \"/\": cart }"]
        {
            assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        }
    }

    #[test]
    fn one_that_needs_nobody_gets_nobody() {
        let text = made("tool", &[], &["acme:pricing/quote@1.0.0"]).unwrap();
        assert!(!text.contains("providers") && !text.contains("links"), "{text}");
        manifest::read(&text).unwrap();
    }

    #[test]
    fn names_do_not_meet_and_what_nobody_has_is_named() {
        let text = made("cache", &["wasi:keyvalue/store@0.2.0-draft"], &[]).unwrap();
        assert!(text.contains("wasi:keyvalue: cache-provider\n"), "{text}");
        manifest::read(&text).unwrap();
        let failure = made("cart", &["acme:pricing/quote@1.0.0"], &[]).unwrap_err();
        assert!(failure.to_string().contains("acme:pricing/quote@1.0.0"), "{failure}");
    }
}
