//! What users get wrong, and what they are told: where it is, what it is, and the way out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, net::TcpListener, path::Path, process::Command, time::Instant};

use lattice_tests::{
    Lattice, Output, get,
    lattice::{head, image},
    places::{free_address, guest, program},
};
use tempfile::TempDir;

/// A folder with components, good and bad.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("lattice-test-").tempdir().unwrap();
    let counter = fs::read(guest("counter")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
    write("cut.wasm", &counter[..counter.len() / 2]);
    write("counter.wasm", &counter);
    write("core.wasm", b"\0asm\x01\0\0\0");
    write("text.wasm", b"Dear host, please run me.\n");
    write("nobody.wasm", &fs::read(guest("nobody")).unwrap());
    dir
}

/// `lattice-ctl apply` where there is no NATS: what is wrong with a manifest is told all the same.
fn apply(dir: &Path, manifest: &str) -> Output {
    fs::write(dir.join("app.yaml"), manifest).unwrap();
    let mut command = Command::new(program("lattice-ctl"));
    command.current_dir(dir).env_clear().env("NATS_URL", format!("nats://{}", free_address()));
    let output = command.args(["apply", "-f", "app.yaml"]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Expects exit code 3, the first line `error: app.yaml:{place}: {message}` and a help line with `help` in it.
fn refused(dir: &Path, manifest: &str, place: &str, message: &str, help: &str) {
    let output = apply(dir, manifest);
    assert_eq!((output.code, output.stdout.as_str()), (Some(3), ""), "{}", output.all());
    let first = output.stderr.lines().next().unwrap();
    assert_eq!(first, format!("error: app.yaml:{place}: {message}"), "{}", output.stderr);
    let way_out = output.stderr.lines().find_map(|line| line.trim_start().strip_prefix("help: "));
    let way_out = way_out.unwrap_or_else(|| panic!("no way out in\n{}", output.stderr));
    assert!(way_out.contains(help), "`{help}` is not in `{way_out}`");
}

fn shop(spec: &str) -> String {
    head("shop") + spec
}

#[test]
fn a_manifest_that_is_not_one_is_told_where_and_what_to_write() {
    let dir = folder();
    let dir = dir.path();
    let begin = "begin with `apiVersion: lattice/v1`";
    refused(dir, "just some words\n", "1:1", "this is not a manifest", begin);
    refused(dir, "", "1:1", "the manifest is empty", begin);
    refused(dir, "# later\n", "2:1", "the manifest is empty, or ends too early", begin);
    refused(dir, "apiVersion: [lattice/v1\n", "1:13", "expected a text here", "without brackets");
    refused(
        dir,
        "apiVersion: lattice/v2\nkind: App\nmetadata: {name: x}\nspec: {}\n",
        "1:13",
        "apiVersion is `lattice/v2`",
        "lattice/v1",
    );
    for text in ["apiVersion: lattice/v1\nkind: 'App\n", "apiVersion: lattice/v1\n\tkind: App\n", "kind: @App\n"] {
        let output = apply(dir, text);
        assert_eq!(output.code, Some(3), "{}", output.all());
        let line = output.stderr.lines().next().unwrap();
        assert!(line.starts_with("error: app.yaml:") && line.contains(": not YAML: "), "{text:?}: {line}");
        assert!(output.stderr.contains("  help: look for a quote, bracket"), "{text:?}: {}", output.stderr);
    }
}

#[test]
fn a_wrong_key_type_or_name_is_told_where_it_stands() {
    let dir = folder();
    let dir = dir.path();
    let cart = |rest: &str| shop(&format!("  components:\n    cart: {{ {rest} }}\n"));
    refused(dir, &cart("imge: ./counter.wasm"), "6:13", "unknown key `imge`", "did you mean `image`?");
    let text = cart("image: ./counter.wasm, reuse: many");
    refused(dir, &text, "6:43", "expected a whole number, found `many`", "write digits alone, such as 2");
    let text = shop("  providers:\n    cache: { use: keyvalue-memory, replicas: many }\n");
    refused(dir, &text, "6:46", "`many` is no number of copies", "write a whole number, such as 2");
    let text = shop("  components: [cart]\n");
    refused(dir, &text, "5:15", "expected a mapping here", "`key: value`");
    refused(dir, &cart("replicas: 2"), "6:13", "`image` is missing", "add `image:` here");
    let text = cart("image: ./counter.wasm, links: { wasi:keyvalue: cahce }")
        + "  providers:\n    cache: { use: keyvalue-memory }\n";
    refused(dir, &text, "6:60", "there is no unit `cahce`", "did you mean `cache`?");
    let spelling =
        "has the character '.'; use lower-case letters, digits and '-', beginning and ending with a letter or digit";
    for (text, place, what) in [
        (head("my.shop") + "  providers:\n    cache: { use: keyvalue-memory }\n", "3:19", "app name \"my.shop\""),
        (shop("  providers:\n    my.cache: { use: keyvalue-memory }\n"), "6:5", "unit name \"my.cache\""),
    ] {
        let output = apply(dir, &text);
        assert_eq!(output.code, Some(3), "{}", output.all());
        assert!(
            output.stderr.starts_with(&format!("error: app.yaml:{place}: {what} {spelling}\n")),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn two_routes_that_collide_are_told_in_one_manifest_and_across_apps() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let web = |name: &str, route: &str| {
        format!(
            "    {name}: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ {route}: cart }} }}\n"
        )
    };
    let spec = format!("  components:\n    cart: {{ image: {} }}\n  providers:\n", image("hello"));
    let both = shop(&spec) + &web("web", "/x") + &web("other", "/x/");
    let output = lattice.try_apply(&both);
    let column = both.lines().last().unwrap().find("/x/").unwrap() + 1;
    let expected = format!("error: app.yaml:9:{column}: the route `/x` on {address} is taken by provider web\n");
    assert_eq!(output.code, Some(3));
    assert!(output.stderr.starts_with(&expected), "{}", output.stderr);
    assert!(output.stderr.contains("help: use another path, host name, method or address"), "{}", output.stderr);

    lattice.apply(&(shop(&spec) + &web("web", "/x")));
    let output = lattice.try_apply(&(head("rival") + &spec + &web("web", "/x")));
    assert_eq!(output.code, Some(3), "{}", output.all());
    let expected = format!("the route `/x` on {address} is taken by app shop (shop/web)\n");
    assert!(output.stderr.starts_with("error: app.yaml:8:") && output.stderr.contains(&expected), "{}", output.stderr);
    assert_eq!(lattice.ctl(&["status", "rival"]).code, Some(6), "nothing was changed");
    assert_eq!(get(address, "/x").unwrap().status, 200);
}

#[test]
fn an_image_that_is_no_component_is_told_for_what_it_is() {
    let dir = folder();
    let dir = dir.path();
    let cart = |image: &str| shop(&format!("  components:\n    cart: {{ image: {image} }}\n"));
    let at = dir.display();
    refused(
        dir,
        &cart("./conter.wasm"),
        "6:20",
        &format!("there is no file {at}/conter.wasm"),
        "did you mean `counter.wasm`",
    );
    refused(
        dir,
        &cart("build/x.wasm"),
        "6:20",
        &format!("there is no file {at}/build/x.wasm"),
        "relative to the manifest",
    );
    let core = "./core.wasm is a core WebAssembly module, not a component";
    refused(dir, &cart("./core.wasm"), "6:20", core, "wasm32-wasip2");
    let text = "./text.wasm is not WebAssembly: it begins with `Dear host, please run me`";
    refused(dir, &cart("./text.wasm"), "6:20", text, "name a component");
    let size = fs::metadata(dir.join("cut.wasm")).unwrap().len();
    let cut = format!("./cut.wasm is truncated: it ends after {size} bytes, in the middle of a section");
    refused(dir, &cart("./cut.wasm"), "6:20", &cut, "build or copy it again");
}

#[test]
fn imports_that_nobody_serves_are_all_told_with_who_could() {
    let dir = folder();
    let dir = dir.path();
    let cart = |image: &str| shop(&format!("  components:\n    cart: {{ image: ./{image}.wasm }}\n"));
    let message = "`cart` imports acme:pricing/quote@1.0.0, and no link satisfies it";
    refused(dir, &cart("nobody"), "6:5", message, "no provider that this lattice knows serves acme:pricing/quote");
    let output = apply(dir, &cart("counter"));
    assert_eq!(output.code, Some(3));
    for import in ["wasi:keyvalue/store@0.2.0-draft", "wasi:keyvalue/atomics@0.2.0-draft"] {
        let line = format!("error: app.yaml:6:5: `cart` imports {import}, and no link satisfies it\n");
        assert!(output.stderr.contains(&line), "{}", output.stderr);
    }
    let help = "help: add `links: { wasi:keyvalue: NAME }`, where NAME is a provider with `use:` one of keyvalue-memory, \
                keyvalue-redb, keyvalue-nats, keyvalue-redis, keyvalue-postgres\n";
    assert!(output.stderr.contains(help), "{}", output.stderr);
    assert!(output.stderr.ends_with("\napp.yaml has 2 problems; nothing was changed\n"), "{}", output.stderr);
}

#[test]
fn links_between_components_are_checked_before_anything_runs() {
    let dir = folder();
    let dir = dir.path();
    fs::copy(guest("hello"), dir.join("hello.wasm")).unwrap();
    let two = |link: &str| {
        shop(&format!(
            "  components:\n    cart: {{ image: ./nobody.wasm, links: {{ {link} }} }}\n    hello: {{ image: ./hello.wasm }}\n"
        ))
    };
    let message = "`hello` does not export acme:pricing/quote@1.0.0, which `cart` imports";
    refused(dir, &two("acme:pricing: hello"), "6:58", message, "`hello` exports wasi:http/incoming-handler@0.2.");
    let message = "`cart` cannot be linked to itself";
    refused(dir, &two("acme:pricing: cart"), "6:58", message, "another unit");
    // What other apps have only the lattice knows.
    let output = apply(dir, &two("acme:pricing: bank/pricing"));
    assert_eq!(output.code, Some(4), "{}", output.all());
    // All of it at once.
    let output = apply(dir, &two("acme:pricing: { to: hello, transport: fast }"));
    let first = output.stderr.lines().next().unwrap();
    assert_eq!((output.code, first), (Some(3), "error: app.yaml:6:82: unknown value `fast`"), "{}", output.stderr);
    let output = apply(dir, &two("acme:pricing: { to: hello, idempotent: [prize] }"));
    for text in [
        ":6:64: `hello` does not export acme:pricing/quote@1.0.0, which `cart` imports\n",
        ":6:84: `acme:pricing` has no function `prize`\n",
        "  help: did you mean `price`?\n",
        "\napp.yaml has 2 problems; nothing was changed\n",
    ] {
        assert!(output.stderr.contains(text), "{text}: {}", output.stderr);
    }
}

#[test]
fn a_component_takes_the_place_of_a_provider_when_the_types_agree() {
    let dir = folder();
    let dir = dir.path();
    for name in ["quoter", "kv"] {
        fs::copy(guest(name), dir.join(format!("{name}.wasm"))).unwrap();
    }
    let linked = |image: &str, links: &str| {
        shop(&format!(
            "  components:\n    cart: {{ image: ./{image}.wasm, links: {{ {links} }} }}\n    quoter: {{ image: ./quoter.wasm \
             }}\n  providers:\n    cache: {{ use: keyvalue-memory }}\n"
        ))
    };
    // Nothing is wrong but that there is no lattice. Of the interface 1.0.0 is imported, and 1.2.0 is exported.
    for (image, links) in [("nobody", "acme:pricing/quote: quoter"), ("counter", "wasi:keyvalue: quoter")] {
        let output = apply(dir, &linked(image, links));
        assert_eq!(output.code, Some(4), "{}", output.all());
    }
    let message = "`quoter` does not export wasi:keyvalue/batch@0.2.0-draft, which `cart` imports";
    let help = "link wasi:keyvalue/batch to a provider with `use:` one of keyvalue-memory";
    refused(dir, &linked("kv", "wasi:keyvalue: quoter"), "6:55", message, help);
    let message = "wasi:keyvalue/atomics@0.2.0-draft takes or returns the resource wasi:keyvalue/store.bucket, which `quoter` \
                   holds: it cannot go to `cache`";
    let apart = linked("counter", "wasi:keyvalue/store: quoter, wasi:keyvalue/atomics: cache");
    refused(dir, &apart, "6:97", message, "link wasi:keyvalue/store and wasi:keyvalue/atomics to the same unit");
}

#[test]
fn an_address_in_use_ends_apply_with_the_address_and_is_taken_when_it_is_free() {
    let lattice = Lattice::start(1);
    let taken = TcpListener::bind(free_address()).unwrap();
    let address = taken.local_addr().unwrap();
    let manifest = format!(
        "{}  components:\n    hello: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" \
         }}, routes: {{ /: hello }} }}\n",
        head("hello"),
        image("hello")
    );
    let asked = Instant::now();
    let output = lattice.try_apply(&manifest);
    assert_eq!(output.code, Some(5), "{}", output.all());
    assert!(asked.elapsed().as_secs() < 20, "told after {:?}", asked.elapsed());
    let reason = format!("address {address} is already in use by another program; stop it or choose another address");
    assert!(output.stderr.contains("  web: failed, on host ") && output.stderr.contains(&reason), "{}", output.stderr);
    assert!(output.stderr.contains("help: `lattice-ctl status hello --watch`"), "{}", output.stderr);
    assert!(lattice.ctl(&["status", "hello"]).stdout.contains(&reason));
    drop(taken);
    let status = lattice.wait_ready("hello");
    assert_eq!(status.counts("web"), (1, 1));
    assert_eq!(get(address, "/").unwrap().status, 200);
}

#[test]
fn an_unreachable_redis_ends_apply_with_its_address() {
    let lattice = Lattice::start(1);
    let nowhere = free_address();
    for isolate in ["host", "process"] {
        let manifest = format!(
            "{}  providers:\n    cache: {{ use: keyvalue-redis, isolate: {isolate}, config: {{ url: \"redis://{nowhere}\" }} }}\n",
            head("shop")
        );
        let output = lattice.try_apply(&manifest);
        assert_eq!(output.code, Some(5), "{}", output.all());
        assert!(
            output.stderr.contains("  cache: ") && output.stderr.contains(&nowhere.to_string()),
            "{}",
            output.stderr
        );
        let status = lattice.ctl(&["status", "shop"]).stdout;
        assert!(status.contains(&nowhere.to_string()), "{status}");
        assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));
    }
}

#[test]
fn a_provider_refuses_settings_that_it_does_not_understand() {
    let dir = folder();
    let dir = dir.path();
    let cache =
        |config: &str| shop(&format!("  providers:\n    cache: {{ use: keyvalue-redis, config: {{ {config} }} }}\n"));
    let unknown = cache("url: \"redis://127.0.0.1\", prefx: x");
    refused(dir, &unknown, "6:71", "keyvalue-redis has no setting `prefx`", "did you mean `prefix`?");
    let missing = cache("prefix: x");
    refused(dir, &missing, "6:19", "keyvalue-redis needs the setting `url`", "redis://127.0.0.1:6379");
}

#[test]
fn nats_that_is_not_there_ends_apply_with_its_url() {
    let dir = folder();
    let output = apply(dir.path(), &shop("  providers:\n    cache: { use: keyvalue-memory }\n"));
    assert_eq!(output.code, Some(4), "{}", output.all());
    assert!(output.stderr.starts_with("error: cannot reach NATS at nats://127.0.0.1:"), "{}", output.stderr);
    assert!(output.stderr.contains("\nhelp: start nats-server with -js there"), "{}", output.stderr);
}

#[test]
fn a_provider_s_settings_are_checked_by_the_provider_before_anything_changes() {
    let lattice = Lattice::start(1);
    for (provider, line, why) in [
        (
            "use: http-client\n      config:\n        maxConnections: many",
            9,
            "http-client: maxConnections: invalid type: string \"many\"",
        ),
        ("use: blob-fs\n      config:\n        root: files", 9, "blob-fs: root: files is no absolute path"),
        (
            "use: blob-s3\n      config:\n        bucket: b\n        accessKeyId: a",
            10,
            "blob-s3: accessKeyId: goes together with secretAccessKey",
        ),
        (
            "use: http-server\n      config:\n        address: 127.0.0.1:0\n        maxBody: big",
            10,
            "http-server: maxBody: `big` is not",
        ),
        ("use: messaging-nats\n      config:\n        user: me", 9, "messaging-nats: user: is about another NATS"),
        ("use: keyvalue-redis\n      config:\n        url: http://x", 9, "keyvalue-redis: url: "),
        (
            "use: keyvalue-redb\n      config:\n        file: ../x",
            9,
            "keyvalue-redb: file: \"../x\" is not the name of a file",
        ),
        ("use: keyvalue-nats\n      config:\n        bucket: a.b", 9, "keyvalue-nats: bucket: \"a.b\" is not made of"),
        ("use: keyvalue-memory\n      config:\n        ttl: soon", 9, "keyvalue-memory: ttl: "),
        (
            "use: postgres\n      config:\n        url: postgres://x\n        poolSize: 0",
            10,
            "postgres: poolSize: 0 is not between",
        ),
        (
            "use: keyvalue-postgres\n      config:\n        url: postgres://x\n        table: a;b",
            10,
            "keyvalue-postgres: table: \"a;b\" is not a name",
        ),
    ] {
        let manifest = format!(
            "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec:\n  providers:\n    it:\n      {provider}\n"
        );
        let refused = lattice.try_apply(&manifest);
        assert_eq!(refused.code, Some(3), "{}", refused.all());
        assert!(refused.stderr.contains(why) && refused.stderr.contains(&format!(":{line}:")), "{}", refused.stderr);
    }
    assert_eq!(lattice.ctl(&["get", "apps", "-o", "json"]).stdout.trim(), "[]", "nothing was written");
    let taken = lattice.try_apply(
        "apiVersion: lattice/v1\nkind: App\nmetadata: { name: lattice }\nspec: { providers: { it: { use: http-client } } }\n",
    );
    assert!(
        taken.code == Some(3) && taken.stderr.contains("the name `lattice` is taken by the hosts"),
        "{}",
        taken.all()
    );
}
