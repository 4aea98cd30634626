use lattice::{
    model::app::{ComponentSpec, LinkTarget, Scale, UnitRecord},
    wire::Digest,
};

use super::*;
use crate::wait::tests::{Fake, TINY};

async fn printed(fake: &Fake, what: What, format: Format) -> String {
    let (mut output, captured) = Output::captured(format);
    let world = World::read(&fake.bus).await.unwrap();
    list(&world, what, 90_000, &mut output).unwrap();
    captured.out()
}

#[tokio::test(start_paused = true)]
async fn lists_as_tables() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    fake.plan(&record, &["A"]).await;
    fake.runs("A", &record).await;
    fake.beat("A").await;
    fake.runs("B", &record).await;
    assert_eq!(
        printed(&fake, What::Apps, Format::Table).await,
        "APP   STATE  UNITS  REVISION  LABELS\nshop  ready  1/1    1\n"
    );
    assert_eq!(
        printed(&fake, What::Hosts, Format::Table).await,
        "HOST      STATE  RELEASE  UNITS  UPTIME  PROGRAMS  LABELS  TAINTS\n\
         NAAAAAAA  alive  0.1.0    1      90s     no        zone=a\n\
         NBBBBBBB  lost   0.1.0    1      -       no        zone=a\n"
    );
    assert_eq!(
        printed(&fake, What::Providers, Format::Table).await,
        "APP   UNIT   STATE  READY  USE              ISOLATE  REVISION  HOSTS     ADDRESS\n\
         shop  cache  ready  1/1    keyvalue-memory  host     1         NAAAAAAA\n"
    );
    assert_eq!(printed(&fake, What::Components, Format::Json).await, "[]\n");
}

#[tokio::test(start_paused = true)]
async fn the_names_of_fields_stay() {
    let fake = Fake::new();
    let record = fake.app(TINY).await;
    fake.runs("A", &record).await;
    let value: serde_json::Value = serde_json::from_str(&printed(&fake, What::Providers, Format::Json).await).unwrap();
    let keys: Vec<_> = value[0].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "app", "unit", "use", "image", "digest", "isolate", "revision", "state", "replicas", "ready", "hosts",
        "address", "reason",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let yaml = printed(&fake, What::Hosts, Format::Yaml).await;
    assert!(yaml.contains("short_id: NAAAAAAA\n") && yaml.contains("uptime_seconds: null\n"), "{yaml}");
}

#[tokio::test(start_paused = true)]
async fn links_of_components_have_names() {
    let fake = Fake::new();
    let mut record = fake.app(TINY).await;
    let link = |name: &str, idempotent: &[&str]| LinkSpec {
        name: name.into(),
        transport: Transport::Lattice,
        deadline_ms: Some(200),
        idempotent: idempotent.iter().map(|f| (*f).to_owned()).collect(),
        ..LinkSpec::new("acme:pricing/quote", "shop/pricing".parse().unwrap(), LinkTarget::Wit)
    };
    let shared = LinkSpec { weight: Some(10), ..link("shared", &[]) };
    let spec = UnitSpec::Component(ComponentSpec {
        image: "cart.wasm".into(),
        scale: Scale::PerHost,
        links: vec![link("default", &[]), link("main", &["price", "list"]), shared],
        ..ComponentSpec::of(Digest::of(b""))
    });
    record.units.insert("cart".parse().unwrap(), UnitRecord { revision: 1, spec });
    fake.bus.store().apps().put("shop", &record).await.unwrap();
    assert_eq!(
        printed(&fake, What::Links, Format::Table).await,
        "APP   FROM  INTERFACE           NAME     TO                   TRANSPORT  DEADLINE  IDEMPOTENT  ROUTE\n\
         shop  cart  acme:pricing/quote  default  pricing              lattice    200ms     -\n\
         shop  cart  acme:pricing/quote  main     pricing              lattice    200ms     price,list\n\
         shop  cart  acme:pricing/quote  shared   pricing (weight 10)  lattice    200ms     -\n"
    );
    let json: serde_json::Value = serde_json::from_str(&printed(&fake, What::Links, Format::Json).await).unwrap();
    assert_eq!((&json[1]["name"], &json[1]["idempotent"][1]), (&"main".into(), &"list".into()));
}
