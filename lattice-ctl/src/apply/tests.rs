use std::{fs, path::Path, time::Duration};

use lattice::{
    model::{
        app::{ProviderSpec, UnitRecord, UnitSpec},
        assignment::Assignment,
    },
    wire::UnitId,
};
use wasm_encoder::PrimitiveValType;

use super::*;
use crate::{
    cli::Format,
    component::tests::{component, typed},
    failure::Failure,
    output::Captured,
    wait::tests::{Fake, TINY, host},
};

const SHOP: &str = r#"apiVersion: lattice/v1
kind: App
metadata:
  name: shop
spec:
  components:
    cart:
      image: ./cart.wasm
      links:
        wasi:keyvalue: cache
  providers:
    web: { use: http-server, config: { address: "127.0.0.1:8080" }, routes: { "/": cart } }
    cache: { use: keyvalue-memory }
"#;

fn write_component(folder: &Path) -> Vec<u8> {
    let bytes = component(&["wasi:keyvalue/store@0.2.0-draft"], &["wasi:http/incoming-handler@0.2.3"]);
    fs::write(folder.join("cart.wasm"), &bytes).unwrap();
    bytes
}

async fn apply_text(fake: &Fake, folder: &Path, text: &str, no_wait: bool) -> (Result<()>, Captured) {
    let (mut output, captured) = Output::captured(Format::Table);
    let source = Source { name: "shop.yaml".into(), text: text.into(), folder: folder.into() };
    let waiting = Waiting { no_wait, timeout: Duration::from_secs(20) };
    let outcome = match source.parse() {
        Ok(manifest) => apply(&fake.bus, &source, &manifest, &Registries::default(), None, waiting, &mut output).await,
        Err(failure) => Err(failure),
    };
    (outcome, captured)
}

async fn said(fake: &Fake, folder: &Path, text: &str) -> String {
    let (outcome, captured) = apply_text(fake, folder, text, true).await;
    outcome.unwrap();
    captured.out()
}

async fn rejected(fake: &Fake, folder: &Path, text: &str) -> String {
    let failure = apply_text(fake, folder, text, true).await.0.unwrap_err();
    assert_eq!(failure.exit_code(), 3);
    let Failure::Rejected(rejected) = failure else { panic!("expected problems, got {failure}") };
    rejected.render(false)
}

#[tokio::test(start_paused = true)]
async fn revisions_grow_with_changes_alone() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let bytes = write_component(dir.path());
    assert_eq!(said(&fake, dir.path(), SHOP).await, "app shop: revision 1 (added: cache, cart, web)\n");
    assert_eq!(said(&fake, dir.path(), SHOP).await, "app shop: unchanged (revision 1)\n");
    let commented = SHOP.replace("kind: App", "kind: App # a comment");
    assert_eq!(said(&fake, dir.path(), &commented).await, "app shop: unchanged (revision 1)\n");
    let swapped = SHOP.replace("keyvalue-memory", "keyvalue-nats");
    assert_eq!(said(&fake, dir.path(), &swapped).await, "app shop: revision 2 (changed: cache)\n");
    let renamed = SHOP.replace("cache", "store");
    assert_eq!(
        said(&fake, dir.path(), &renamed).await,
        "app shop: revision 3 (changed: cart; added: store; removed: cache)\n"
    );
    let labelled = renamed.replace("  name: shop", "  name: shop\n  labels: { team: a }");
    assert_eq!(said(&fake, dir.path(), &labelled).await, "app shop: revision 4 (labels or shares changed)\n");
    assert!(fake.bus.artifacts().has(&Digest::of(&bytes)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_same_file_with_new_bytes_is_a_new_revision() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let old = Digest::of(&write_component(dir.path()));
    said(&fake, dir.path(), SHOP).await;
    let exports = ["wasi:http/incoming-handler@0.2.3", "wasi:cli/run@0.2.3"];
    fs::write(dir.path().join("cart.wasm"), component(&["wasi:keyvalue/store@0.2.0-draft"], &exports)).unwrap();
    assert_eq!(said(&fake, dir.path(), SHOP).await, "app shop: revision 2 (changed: cart)\n");
    // What the lattice has can be named by its digest, without the file.
    let pinned = SHOP.replace("./cart.wasm", old.as_str());
    fs::remove_file(dir.path().join("cart.wasm")).unwrap();
    assert_eq!(said(&fake, dir.path(), &pinned).await, "app shop: revision 3 (changed: cart)\n");
}

#[tokio::test(start_paused = true)]
async fn all_problems_are_told_at_once_and_nothing_changes() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let text = SHOP.replace("keyvalue-memory", "keyvalue-memroy").replace("127.0.0.1:8080", "localhost");
    let rendered = rejected(&fake, dir.path(), &text).await;
    let firsts: Vec<_> = rendered.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(
        firsts,
        [
            format!("error: shop.yaml:8:14: there is no file {}/cart.wasm", dir.path().display()).as_str(),
            "error: shop.yaml:12:49: `localhost` is not an address to listen on",
            "error: shop.yaml:13:19: there is no provider `keyvalue-memroy`",
        ]
    );
    assert!(rendered.ends_with("shop.yaml has 3 problems; nothing was changed\n"), "{rendered}");
    assert!(fake.bus.store().apps().list().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_import_that_nobody_serves_is_drawn() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    write_component(dir.path());
    let text = SHOP.replace("      links:\n        wasi:keyvalue: cache\n", "");
    let expected = "\
error: shop.yaml:7:5: `cart` imports wasi:keyvalue/store@0.2.0-draft, and no link satisfies it
   ╭─[shop.yaml:7:5]
 6 │   components:
 7 │     cart:
   ·     ──┬─
   ·       ╰── here
 8 │       image: ./cart.wasm
   ╰────
  help: add `links: { wasi:keyvalue: NAME }`, where NAME is a provider with `use:` one of keyvalue-memory, keyvalue-redb, keyvalue-nats, keyvalue-redis, keyvalue-postgres
";
    assert_eq!(rejected(&fake, dir.path(), &text).await, expected);
}

#[tokio::test(start_paused = true)]
async fn routes_of_other_apps_are_taken() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    write_component(dir.path());
    said(&fake, dir.path(), SHOP).await;
    let other = SHOP.replace("name: shop", "name: other");
    let rendered = rejected(&fake, dir.path(), &other).await;
    assert!(
        rendered
            .starts_with("error: shop.yaml:12:79: the route `/` on 127.0.0.1:8080 is taken by app shop (shop/web)\n"),
        "{rendered}"
    );
}

#[tokio::test(start_paused = true)]
async fn apply_says_when_it_is_ready() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let record = fake.app(TINY).await;
    fake.plan(&record, &["A"]).await;
    fake.runs("A", &record).await;
    fake.beat("A").await;
    let (outcome, captured) = apply_text(&fake, dir.path(), TINY, false).await;
    outcome.unwrap();
    assert_eq!(captured.out(), "app shop: unchanged (revision 1)\napp shop: ready (revision 1): cache 1/1\n");
}

#[tokio::test(start_paused = true)]
async fn without_a_host_it_is_written_and_said() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let (outcome, captured) = apply_text(&fake, dir.path(), TINY, false).await;
    assert_eq!(outcome.unwrap_err().exit_code(), 5);
    assert_eq!(captured.out(), "app shop: revision 1 (added: cache)\n");
    let (outcome, captured) = apply_text(&fake, dir.path(), TINY, true).await;
    outcome.unwrap();
    assert_eq!(
        captured.remarks(),
        "note: no host has joined lattice default: start one with `lattice-host`; it will run what has been applied\n"
    );
}

#[tokio::test(start_paused = true)]
async fn an_app_that_comes_back_is_not_taken_for_the_old_one() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let spec = UnitSpec::Provider(ProviderSpec::of("keyvalue-nats"));
    let unit: UnitId = "shop/cache".parse().unwrap();
    let units = BTreeMap::from([(unit, UnitRecord { revision: 4, spec })]);
    let assignment = Assignment { version: 1, host: host("A"), term: 1, generation: 1, units, given_up: false };
    fake.bus.store().assignments().put(host("A").as_str(), &assignment).await.unwrap();
    assert_eq!(said(&fake, dir.path(), TINY).await, "app shop: revision 5 (added: cache)\n");
    let record = fake.bus.store().apps().get("shop").await.unwrap().unwrap().value;
    assert_eq!(record.units.values().map(|u| u.revision).collect::<Vec<_>>(), [5]);
}

#[tokio::test(start_paused = true)]
async fn writers_at_the_same_time_do_not_lose_a_change() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let texts = ["keyvalue-memory", "keyvalue-nats", "keyvalue-redb"].map(|kind| TINY.replace("keyvalue-memory", kind));
    let (a, b, c) = tokio::join!(
        apply_text(&fake, dir.path(), &texts[0], true),
        apply_text(&fake, dir.path(), &texts[1], true),
        apply_text(&fake, dir.path(), &texts[2], true),
    );
    for (outcome, _) in [a, b, c] {
        outcome.unwrap();
    }
    assert_eq!(fake.bus.store().apps().get("shop").await.unwrap().unwrap().value.revision, 3);
}

/// Two components, of which one calls the other.
const PAIR: &str = r"apiVersion: lattice/v1
kind: App
metadata: { name: pair }
spec:
  components:
    cart:
      image: ./cart.wasm
      links:
        acme:pricing: pricing
    pricing: { image: ./pricing.wasm }
";

fn write_pair(folder: &Path, import: (&str, PrimitiveValType), export: (&str, PrimitiveValType)) {
    let cart = typed(&[(import.0, Some(import.1))], &[]);
    let pricing = typed(&[], &[(export.0, Some(export.1))]);
    fs::write(folder.join("cart.wasm"), cart).unwrap();
    fs::write(folder.join("pricing.wasm"), pricing).unwrap();
}

#[tokio::test(start_paused = true)]
async fn components_are_linked_when_their_types_agree() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let (old, new) = ("acme:pricing/quote@1.0.0", "acme:pricing/quote@1.2.0");
    write_pair(dir.path(), (old, PrimitiveValType::U64), (new, PrimitiveValType::S64));
    let expected = "\
error: shop.yaml:9:23: `run` of acme:pricing/quote@1.0.0 is `func(number: u64)` where `cart` imports it, and `func(number: s64)` where `pricing` exports it
    ╭─[shop.yaml:9:23]
  8 │       links:
  9 │         acme:pricing: pricing
    ·                       ───┬───
    ·                          ╰── here
 10 │     pricing: { image: ./pricing.wasm }
    ╰────
  help: build both with the same WIT package
";
    assert_eq!(rejected(&fake, dir.path(), PAIR).await, expected);
    write_pair(dir.path(), (new, PrimitiveValType::U64), (old, PrimitiveValType::U64));
    let rendered = rejected(&fake, dir.path(), PAIR).await;
    let first =
        format!("error: shop.yaml:9:23: `cart` imports {new}, and `pricing` exports {old}, which does not serve it\n");
    assert!(rendered.starts_with(&first), "{rendered}");

    write_pair(dir.path(), (old, PrimitiveValType::U64), (new, PrimitiveValType::U64));
    assert_eq!(said(&fake, dir.path(), PAIR).await, "app pair: revision 1 (added: cart, pricing)\n");
    let named = PAIR.replace(": pricing\n", ": { to: pricing, name: main, idempotent: [run] }\n");
    let (outcome, captured) = apply_text(&fake, dir.path(), &named, true).await;
    outcome.unwrap();
    assert_eq!(captured.out(), "app pair: revision 2 (changed: cart)\n");
    let note = "note: `cart` has no default link for acme:pricing: calls in which it does not choose `main` fail\n";
    assert!(captured.remarks().starts_with(note), "{}", captured.remarks());
}

const BOOKS: &str = r#"apiVersion: lattice/v1
kind: App
metadata: { name: books }
spec:
  components:
    cart: { image: ./cart.wasm, links: { acme:ledger: ledger } }
  providers:
    ledger: { image: ./ledger.py, serves: [acme:ledger/book@1.0.0], wit: ./wit }
"#;

#[tokio::test(start_paused = true)]
async fn a_program_is_uploaded_with_its_wit_and_checked_against_it() {
    let (fake, dir) = (Fake::new(), tempfile::tempdir().unwrap());
    let cart = typed(&[("acme:ledger/book@1.0.0", Some(PrimitiveValType::U64))], &[]);
    fs::write(dir.path().join("cart.wasm"), cart).unwrap();
    fs::write(dir.path().join("ledger.py"), "#!/usr/bin/env python3\n").unwrap();
    fs::create_dir(dir.path().join("wit")).unwrap();
    let wit = |function: &str| {
        let text = format!("package acme:ledger@1.0.0; interface book {{ {function} }}");
        fs::write(dir.path().join("wit/ledger.wit"), text).unwrap();
    };
    wit("run: func(number: u64);");
    assert_eq!(said(&fake, dir.path(), BOOKS).await, "app books: revision 1 (added: cart, ledger)\n");
    assert_eq!(said(&fake, dir.path(), BOOKS).await, "app books: unchanged (revision 1)\n");
    let record = fake.bus.store().apps().list().await.unwrap().remove("books").unwrap().value;
    let program = record.units[&"ledger".parse().unwrap()].spec.program().unwrap().clone();
    for digest in [&program.digest, program.wit.as_ref().unwrap()] {
        assert!(fake.bus.artifacts().has(digest).await.unwrap());
    }
    fs::write(dir.path().join("ledger.py"), "#!/usr/bin/env python3\nprint()\n").unwrap();
    assert_eq!(said(&fake, dir.path(), BOOKS).await, "app books: revision 2 (changed: ledger)\n");

    let first = async || rejected(&fake, dir.path(), BOOKS).await.lines().next().unwrap_or_default().to_owned();
    wit("run: func(number: s64);");
    assert_eq!(
        first().await,
        "error: shop.yaml:6:55: `run` of acme:ledger/book@1.0.0 is `func(number: u64)` where `cart` imports it, and \
         `func(number: s64)` where `ledger` serves it"
    );
    wit("run: func(number: u64)");
    let told = first().await;
    assert!(told.starts_with("error: shop.yaml:8:74: cannot read the WIT in ./wit: "), "{told}");
    wit("run: func(number: u64);");
    fs::write(dir.path().join("ledger.py"), "print()\n").unwrap();
    assert_eq!(first().await, "error: shop.yaml:8:22: ./ledger.py is not a program: it begins with `print()`");
}
