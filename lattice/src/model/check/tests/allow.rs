//! Links to an HTTP client.

use super::*;
use crate::model::app::LinkSpec;

const APP: &str = r#"apiVersion: lattice/v1
kind: App
metadata: { name: shop }
spec:
  components:
    front:
      image: ./front.wasm
      links:
        wasi:http/outgoing-handler: { to: internet, allow: ["https://api.example.com"] }
    cart: { image: ./cart.wasm }
    report: { image: ./report.wasm }
  providers:
    internet: { use: http-client }
    cache: { use: keyvalue-memory }
"#;

fn component(imports: &[&str], exports: &[&str]) -> ComponentFacts {
    let parse = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    ComponentFacts {
        digest: Digest::of(b""),
        imports: parse(imports),
        exports: parse(exports),
        import_shapes: BTreeMap::new(),
        export_shapes: BTreeMap::new(),
        wit: None,
    }
}

const OUT: [&str; 2] = ["wasi:http/types@0.2.3", "wasi:http/outgoing-handler@0.2.3"];

fn checked(text: &str, front: &[&str]) -> Result<CheckedApp, Vec<Problem>> {
    let facts = BTreeMap::from([
        ("front".to_owned(), component(front, &[])),
        ("cart".to_owned(), component(&[], &["wasi:http/incoming-handler@0.2.3"])),
        ("report".to_owned(), component(&[], &["wasi:cli/run@0.2.3"])),
    ]);
    check(&parse(text).map_err(|problem| vec![problem])?, &facts, &[])
}

/// What is said of `APP` with another link.
fn told(link: &str) -> Vec<String> {
    let text = APP.replacen(r#"{ to: internet, allow: ["https://api.example.com"] }"#, link, 1);
    checked(&text, &OUT).err().into_iter().flatten().map(|problem| show(&problem)).collect()
}

fn links(app: &CheckedApp) -> &[LinkSpec] {
    let UnitSpec::Component(front) = &app.units[&"front".parse().unwrap()] else { panic!("front is a component") };
    &front.links
}

#[test]
fn what_is_allowed_is_part_of_the_link() {
    let text = APP.replace("https://api.example.com", r#"https://API.example.com:443", "http://cart.lattice"#);
    let app = checked(&text, &OUT).unwrap();
    let [link] = links(&app) else { panic!("one link") };
    let allow: Vec<_> = link.allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["https://api.example.com", "http://cart.shop.lattice"]);
    assert_eq!(link.target, crate::model::app::LinkTarget::Capability);
    assert!(app.notes.is_empty(), "{:?}", app.notes);
    // The record that hosts read has the entries as they are written.
    let json = serde_json::to_string(link).unwrap();
    assert!(json.contains(r#""allow":["https://api.example.com","http://cart.shop.lattice"]"#), "{json}");
    assert_eq!(serde_json::from_str::<LinkSpec>(&json).unwrap(), *link);
}

#[test]
fn the_whole_package_can_be_linked() {
    let text = APP.replace("wasi:http/outgoing-handler:", "wasi:http:");
    assert_eq!(links(&checked(&text, &OUT).unwrap()).len(), 1);
    let found = checked(&text, &OUT[..1]).unwrap_err();
    assert!(show(&found[0]).contains("which does not serve `wasi:http`"), "{found:?}");
}

#[test]
fn a_link_that_allows_nothing_is_noted() {
    let text = APP.replace(r#", allow: ["https://api.example.com"]"#, "");
    let app = checked(&text, &OUT).unwrap();
    assert!(app.notes[0].starts_with("`front` may send requests nowhere"), "{:?}", app.notes);
}

#[test]
fn what_cannot_be_allowed_is_told_at_its_place() {
    assert_eq!(
        told(r#"{ to: internet, allow: ["https://a.example", "api.example.com"] }"#),
        ["9:82: `api.example.com` does not begin with http:// or https:// / \
          write a scheme and a host, such as `https://api.example.com`, `https://*.example.com:8443`, \
          `http://10.0.0.7:8080` or `http://10.0.0.0/8`"]
    );
    for (entry, reason) in [
        ("http://carts.shop.lattice", "is no component of this app / did you mean `cart`?"),
        ("http://report.shop.lattice", "answers no HTTP requests"),
        ("http://cart.other.lattice", "is a unit of another app"),
        ("https://cart.shop.lattice", "has a scheme or port that components do not have"),
        ("http://cart.shop.lattice:8080", "has a scheme or port that components do not have"),
        ("http://*.shop.lattice", "names no component"),
        ("http://a.b.c.lattice", "is not the name of a component"),
    ] {
        let found = told(&format!("{{ to: internet, allow: [\"{entry}\"] }}"));
        assert!(found.len() == 1 && found[0].starts_with("9:") && found[0].contains(reason), "{entry}: {found:?}");
    }
}

#[test]
fn only_links_to_a_client_allow() {
    let found = told(r#"{ to: cart, allow: ["https://a.example"] }"#);
    assert!(
        found.iter().any(|told| told.contains("`allow` is not for a link of `wasi:http/outgoing-handler` to `cart`"))
    );
    let found = told("{ to: internet, allow: https://a.example }");
    assert!(found[0].contains("expected a list here"), "{found:?}");
    let found = told("cache");
    assert!(found[0].contains("does not serve `wasi:http/outgoing-handler`"), "{found:?}");
    assert!(found[0].contains("http-client"), "{found:?}");
}

#[test]
fn both_versions_of_the_interface_go_one_way() {
    let both = [OUT[0], OUT[1], "wasi:http/client@0.3.0"];
    let found = checked(APP, &both).unwrap_err();
    assert!(show(&found[0]).contains("and their links differ"), "{found:?}");
    assert!(checked(&APP.replace("wasi:http/outgoing-handler:", "wasi:http:"), &both).is_ok());
}
