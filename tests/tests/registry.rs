//! Images in registries, and behind URLs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::fs;

use lattice_provider::conformance::servers::RegistryServer;
use lattice_tests::{
    Lattice, Output,
    certificates::Certificates,
    get,
    lattice::{head, image},
    places::free_address,
};
use serde_json::Value;

fn json(output: &Output) -> Value {
    assert_eq!(output.code, Some(0), "{}", output.all());
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn a_component_comes_from_a_registry_once_and_then_from_the_lattice() {
    let mut registry = RegistryServer::start().unwrap();
    let lattice = Lattice::start(2);
    let name = format!("oci://{}/acme/hello:1.0", registry.name());
    let pushed = json(&lattice.ctl(&["push", &image("hello"), &name, "-o", "json"]));
    let again = json(&lattice.ctl(&["push", &image("hello"), &name, "-o", "json"]));
    assert_eq!(pushed, again, "the same bytes are the same image");
    let address = free_address();
    let manifest = |image: &str| {
        format!(
            "{}  components:\n    hello: {{ image: \"{image}\" }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
             \"{address}\" }}, routes: {{ /: hello }} }}\n",
            head("shop")
        )
    };
    lattice.apply(&manifest(&name));
    assert_eq!(get(address, "/").unwrap().status, 200);
    let status = lattice.wait_ready("shop");
    assert_eq!(Some(status.what("hello").as_str()), pushed["digest"].as_str());
    // By the digest of the image, which nobody can move.
    let pinned = format!("oci://{}/acme/hello@{}", registry.name(), pushed["image_digest"].as_str().unwrap());
    lattice.apply(&manifest(&pinned));
    let output = lattice.try_apply(&manifest(&name.replace(":1.0", ":2.0")));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains(&format!("{} has no image", registry.name())), "{}", output.all());
    assert!(output.stderr.contains("app.yaml:6:21"), "{}", output.all());

    // The registry is not needed for what the lattice has.
    registry.stop();
    let output = lattice.ctl(&["scale", "shop/hello", "2"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    let output = lattice.ctl(&["rollback", "shop", "--to", "1"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    // And it is, where a tag has to be looked up.
    let output = lattice.try_apply(&manifest(&name));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains(&format!("cannot reach {}", registry.name())), "{}", output.all());
}

#[test]
fn a_registry_with_tls_is_known_by_its_authority_and_serves_files_too() {
    let certificates = Certificates::new();
    let (cert, key) = (certificates.certificate_file(), certificates.key_file());
    let tls = format!("  tls: {{ certificate: \"{}\", key: \"{}\" }}", cert.display(), key.display());
    let registry = RegistryServer::start_with(&tls, "").unwrap();
    let mut lattice = Lattice::start(1);
    let name = format!("oci://{}/acme/hello:1.0", registry.name());
    // Nobody vouches for it.
    let strange = lattice.write("strange.pem", fs::read(Certificates::new().ca_file()).unwrap()).display().to_string();
    let output = lattice.ctl(&["push", &image("hello"), &name, "--registry-ca", &strange]);
    assert_eq!(output.code, Some(1), "{}", output.all());
    assert!(
        output.stderr.contains("cannot reach 127.0.0.1:") && output.stderr.contains("--registry-ca"),
        "{}",
        output.all()
    );

    lattice.variables.push(("LATTICE_REGISTRY_CA".into(), certificates.ca_file().display().to_string()));
    let pushed = json(&lattice.ctl(&["push", &image("hello"), &name, "-o", "json"]));
    let digest = pushed["digest"].as_str().unwrap().to_owned();
    let manifest = |image: &str| format!("{}  components:\n    hello: {{ image: \"{image}\" }}\n", head("shop"));
    let url = format!("https://{}/v2/acme/hello/blobs/{digest}", registry.name());
    let wrong = format!("{url}@sha256:{}", "0".repeat(64));
    let output = lattice.try_apply(&manifest(&wrong));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains(&format!("has the digest {digest}, not sha256:000")), "{}", output.all());
    lattice.apply(&manifest(&format!("{url}@{digest}")));
    assert_eq!(lattice.wait_ready("shop").what("hello"), digest);
    lattice.apply(&manifest(&name));
}

#[test]
fn who_has_logged_in_may_push_and_pull_programs_too() {
    let dir = tempfile::tempdir().unwrap();
    // `open sesame`, by bcrypt.
    let passwords = dir.path().join("htpasswd");
    fs::write(&passwords, "ann:$2b$05$Qbt0qlUf94HLvlAKsxVNHueHCT5HCzSnKJ.5abUcPw8L9gNd4JONC\n").unwrap();
    let auth = format!("auth: {{ htpasswd: {{ realm: test, path: \"{}\" }} }}", passwords.display());
    let registry = RegistryServer::start_with("", &auth).unwrap();
    let mut lattice = Lattice::start(1);
    let program = "#!/bin/sh\necho hello\n";
    let file = lattice.write("tool.sh", program).display().to_string();
    let name = format!("oci://{}/acme/tool:1", registry.name());
    let output = lattice.ctl(&["push", &file, &name]);
    assert_eq!(output.code, Some(1), "{}", output.all());
    assert!(
        output.stderr.contains("does not let you at") && output.stderr.contains("docker login"),
        "{}",
        output.all()
    );

    // As `docker login` writes it: `ann:open sesame` in base64.
    let login = serde_json::json!({ "auths": { registry.name(): { "auth": "YW5uOm9wZW4gc2VzYW1l" } } });
    lattice.write("config.json", login.to_string());
    lattice.variables.push(("DOCKER_CONFIG".into(), lattice.dir().display().to_string()));
    assert_eq!(lattice.ctl(&["push", &file, &name]).code, Some(0));
    let output = lattice.ctl(&["pull", &name, "again.sh"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert_eq!(fs::read_to_string(lattice.dir().join("again.sh")).unwrap(), program);
    // It is no component.
    let output = lattice.try_apply(&format!("{}  components:\n    tool: {{ image: \"{name}\" }}\n", head("shop")));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains("holds no WebAssembly"), "{}", output.all());
    let text = lattice.write("notes.txt", "nothing to run").display().to_string();
    let output = lattice.ctl(&["push", &text, &name]);
    assert!(output.code == Some(1) && output.stderr.contains("is not a program"), "{}", output.all());
}
