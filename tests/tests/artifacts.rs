//! Artifacts: who vouches for them, who still needs them, and apps that leave the lattice in a file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use lattice_tests::{
    Lattice, get,
    host::Host,
    lattice::{SETTLE, head, image},
    places::{free_address, program},
    request, wait,
};

fn web(address: SocketAddr, image: &str) -> String {
    format!(
        "{}  components:\n    page: {{ image: {image} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: page }} }}\n",
        head("shop")
    )
}

/// Makes a signer's key; returns what others know it by.
fn keygen(dir: &Path, name: &str) -> String {
    let ctl =
        Command::new(program("lattice-ctl")).current_dir(dir).args(["artifact", "keygen", name]).output().unwrap();
    assert!(ctl.status.success());
    let said = String::from_utf8(ctl.stdout).unwrap();
    said.split("--trust ").nth(1).unwrap().split('`').next().unwrap().to_owned()
}

#[test]
fn a_host_that_trusts_somebody_runs_nothing_else() {
    let keys = tempfile::tempdir().unwrap();
    let (trusted, _) = (keygen(keys.path(), "signer.nk"), keygen(keys.path(), "stranger.nk"));
    let mut lattice = Lattice::start_with(1, |host| {
        host.arguments = vec!["--trust".to_owned(), trusted.clone()];
    });
    let key = |name: &str| keys.path().join(name).display().to_string();
    let address = free_address();
    lattice.write("app.yaml", web(address, &image("hello")));
    for args in [&["apply", "-f", "app.yaml"][..], &["apply", "-f", "app.yaml", "--sign", &key("stranger.nk")]] {
        let output = lattice.ctl(args);
        assert_eq!(output.code, Some(5), "{}", output.all());
        assert!(output.stderr.contains("trusts nobody who has signed sha256:"), "{}", output.stderr);
    }
    let planned = |args: &[&str]| lattice.ctl(&[&["plan", "-f", "other.yaml"][..], args].concat()).stdout;
    lattice.write("other.yaml", web(free_address(), &image("hello")).replace("name: shop", "name: other"));
    assert!(planned(&[]).contains("trusts nobody who has signed sha256:"), "{}", planned(&[]));
    let as_signed = planned(&["--sign", &key("signer.nk")]);
    assert!(!as_signed.contains("trusts nobody") && as_signed.contains("other/page"), "{as_signed}");
    // Somebody who may looks at it, and signs it as it is: it starts by itself.
    let signed = lattice.ctl(&["artifact", "sign", "shop", "--key", &key("signer.nk")]);
    assert_eq!(signed.code, Some(0), "{}", signed.all());
    lattice.wait_ready("shop");
    assert_eq!(get(address, "/").unwrap().status, 200);
    let listed = lattice.ctl(&["artifact", "list", "-o", "json"]);
    assert!(listed.stdout.contains(&trusted), "{}", listed.all());
    // Another one is another artifact; what runs goes on.
    lattice.write("app.yaml", web(address, &image("trap")));
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml"]).code, Some(5));
    assert_eq!(get(address, "/").unwrap().status, 200);
    let output = lattice.ctl(&["apply", "-f", "app.yaml", "--sign", &key("signer.nk")]);
    assert_eq!(output.code, Some(0), "{}", output.all());

    // Without the lattice the host still knows what was signed.
    lattice.write("app.yaml", web(address, &image("hello")));
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml"]).code, Some(0));
    lattice.host("a").kill();
    lattice.nats.stop();
    lattice.host("a").spawn();
    let answer = || get(address, "/").ok().filter(|answer| answer.status == 200);
    lattice.wait("the page without the lattice", SETTLE, answer);
}

#[test]
fn what_nobody_needs_is_removed_and_nothing_else() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let digests = |lattice: &Lattice| {
        let listed = lattice.ctl(&["artifact", "list", "-o", "json"]);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).unwrap();
        listed.into_iter().map(|artifact| artifact["digest"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    lattice.apply(&web(address, &image("hello")));
    lattice.apply(&web(address, &image("trap")));
    assert_eq!(digests(&lattice).len(), 2);
    // One is the newest, and the app can go back to the other.
    let pruned = lattice.ctl(&["artifact", "prune", "--older-than", "1ms"]);
    assert_eq!((pruned.code, pruned.stdout.as_str()), (Some(0), ""), "{}", pruned.all());
    assert_eq!(lattice.ctl(&["rollback", "shop"]).code, Some(0));
    assert_eq!(get(address, "/").unwrap().status, 200);

    assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));
    // It is young: somebody may be about to apply it.
    assert_eq!(lattice.ctl(&["artifact", "prune"]).stdout, "");
    let old = ["artifact", "prune", "--older-than", "1ms"];
    let dry = lattice.ctl(&[&old[..], &["--dry-run"]].concat());
    assert_eq!(dry.stdout.lines().count(), 2, "{}", dry.all());
    assert_eq!(digests(&lattice).len(), 2);
    assert_eq!(lattice.ctl(&old).stdout, dry.stdout);
    assert_eq!(digests(&lattice).len(), 0);
    // Nothing in the store is left of it, and it can come again.
    lattice.apply(&web(address, &image("hello")));
    assert_eq!(get(address, "/").unwrap().status, 200);
}

/// A host with a bundle, in whose surroundings there is nothing else.
fn bundled(dir: &Path, bundle: &Path, arguments: &[&str]) -> Host {
    let mut host = Host::new(dir, "a", "nats://127.0.0.1:1");
    host.arguments = vec!["--bundle".to_owned(), bundle.display().to_string()];
    host.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    host
}

#[test]
fn an_app_leaves_the_lattice_in_a_file_and_runs_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let (trusted, stranger) = (keygen(dir.path(), "signer.nk"), keygen(dir.path(), "stranger.nk"));
    let address = free_address();
    let file = dir.path().join("shop.bundle");
    {
        let lattice = Lattice::start(1);
        let app = |store: &str| {
            format!(
                "{}  components:\n    count: {{ image: {}, links: {{ wasi:keyvalue: store }} }}\n  providers:\n    store: {{ use: {store} \
                 }}\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: count }} }}\n",
                head("shop"),
                image("counter")
            )
        };
        let to = file.display().to_string();
        let key = dir.path().join("signer.nk").display().to_string();
        let bundle = ["bundle", "shop", "--to", &to, "--sign", &key];
        lattice.apply(&app("keyvalue-nats"));
        let refused = lattice.ctl(&bundle);
        assert_eq!(refused.code, Some(1), "{}", refused.all());
        assert!(
            refused.stderr.contains("shop/store cannot run without NATS: keyvalue-nats keeps"),
            "{}",
            refused.stderr
        );
        lattice.apply(&app("keyvalue-redb"));
        let bundled = lattice.ctl(&bundle);
        assert_eq!(bundled.code, Some(0), "{}", bundled.all());
    }
    // The lattice is gone, with its NATS.
    let mut host = bundled(dir.path(), &file, &["--trust", &trusted]);
    host.spawn();
    host.wait_ready();
    let count = || request(address, "POST", "/a", b"").ok().filter(|answer| answer.status == 200);
    let text = |answer: lattice_tests::Response| answer.text();
    let first = wait("the first answer", SETTLE, count);
    assert!(text(first).contains('1'));
    host.kill();
    host.spawn();
    host.wait_ready();
    let second = wait("the same after a crash", Duration::from_secs(20), count);
    assert!(text(second).contains('2'), "what it keeps is there");
    host.kill();

    // One that nobody signed whom it trusts, or that was changed, is not run.
    let refused = |bundle: &Path, trust: &str| {
        let mut command = bundled(&dir.path().join("other"), bundle, &["--trust", trust]).command();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    fs::create_dir(dir.path().join("other")).unwrap();
    assert!(refused(&file, &stranger).contains("is signed by nobody whom this host trusts"));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(4).position(|window| window == b"\0asm").unwrap() + 5000;
    bytes[at] ^= 1;
    let changed = dir.path().join("changed.bundle");
    fs::write(&changed, bytes).unwrap();
    let error = refused(&changed, &trusted);
    assert!(error.contains("changed.bundle is damaged: sha256:"), "{error}");
    assert!(refused(&dir.path().join("none"), &trusted).contains("cannot be read: No such file"));
}
