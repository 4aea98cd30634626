use super::*;
use crate::model::manifest::{parse, read};

/// An application as users of wadm write them.
const COUNTER: &str = r#"apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: counter
  annotations:
    version: v0.3.0
    description: "counts visits"
spec:
  components:
    - name: visits
      type: component
      properties:
        image: ghcr.io/acme/visits:1.0.0
        config:
          - name: visits-config
            properties: { greeting: hello, limit: 10 }
      traits:
        - type: spreadscaler
          properties:
            instances: 20
            spread:
              - { name: east, requirements: { zone: east }, weight: 80 }
              - { name: west, requirements: { zone: west }, weight: 20 }
        - type: link
          properties:
            target: { name: store, config: [{ name: redis-url, properties: { url: "redis://127.0.0.1:6379" } }] }
            namespace: wasi
            package: keyvalue
            interfaces: [store, atomics]
        - type: link
          properties:
            target: internet
            namespace: wasi
            package: http
            interfaces: [outgoing-handler]
    - name: audit
      type: component
      properties:
        image: file://./build/audit.wasm
      traits:
        - type: daemonscaler
          properties: { instances: 5, spread: [{ requirements: { disk: ssd } }] }
        - type: link
          properties:
            name: archive
            target: { name: store, config: [{ name: other-url, properties: { URL: "redis://127.0.0.1:6380" } }] }
            namespace: wasi
            package: keyvalue
            interfaces: [store]
        - type: link
          properties: { target: visits, namespace: acme, package: visits, interfaces: [count, reset] }
    - name: web
      type: capability
      properties:
        image: ghcr.io/wasmcloud/http-server:0.27.0
      traits:
        - type: link
          properties:
            target: { name: visits }
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source: { config: [{ name: address, properties: { address: "127.0.0.1:8080", cors_allowed_origins: '["https://a.example"]' } }] }
    - name: store
      type: capability
      properties: { image: "ghcr.io/wasmcloud/keyvalue-redis:0.28.2" }
    - name: internet
      type: capability
      properties: { image: "ghcr.io/wasmcloud/http-client:0.13.1" }
    - name: bus
      type: capability
      properties:
        image: ghcr.io/wasmcloud/messaging-nats:0.27.0
      traits:
        - type: link
          properties:
            target: audit
            namespace: wasmcloud
            package: messaging
            interfaces: [handler]
            source: { config: [{ name: subjects, properties: { subscriptions: "orders.>, refunds", cluster_uris: "nats://10.0.0.1:4222" } }] }
"#;

const CONVERTED: &str = r#"apiVersion: lattice/v1
kind: App
metadata:
  name: counter
spec:
  components:
    audit:
      image: file://./build/audit.wasm
      links:
        "acme:visits/count": visits
        "acme:visits/reset": visits
        "wasi:keyvalue":
          name: archive
          to: store-2
      perHost: 1
      placement:
        require:
          disk:
          - ssd
    visits:
      config:
        greeting: hello
        limit: 10
      image: oci://ghcr.io/acme/visits:1.0.0
      links:
        "wasi:http/outgoing-handler":
          allow:
          - https://*
          to: internet
        "wasi:keyvalue": store
      placement:
        require:
          zone:
          - east
          - west
        spread: zone
      replicas: 2
  providers:
    bus:
      config:
        url: nats://10.0.0.1:4222
      subscriptions:
        orders.>: audit
        refunds: audit
      use: messaging-nats
    internet:
      use: http-client
    store:
      config:
        url: redis://127.0.0.1:6379
      use: keyvalue-redis
    store-2:
      config:
        url: redis://127.0.0.1:6380
      use: keyvalue-redis
    web:
      config:
        address: 127.0.0.1:8080
        cors:
          origins:
          - https://a.example
      routes:
        /: visits
      use: http-server
"#;

fn problems(source: &str) -> Vec<String> {
    let show = |problem: &Problem| {
        let place = problem.place.map_or("?".to_owned(), |place| format!("{}:{}", place.line, place.column));
        format!("{place}: {} / {}", problem.message, problem.help.as_deref().unwrap_or("-"))
    };
    read(source).map(|_| Vec::new()).unwrap_or_else(|problems| problems.iter().map(show).collect())
}

#[test]
fn an_application_becomes_an_app_of_ours() {
    let manifest = read(COUNTER).unwrap();
    let printed = print(&manifest).unwrap();
    assert_eq!(printed, CONVERTED);
    // It is a manifest, and says the same.
    assert_eq!(print(&parse(&printed).unwrap()).unwrap(), printed);
    assert_eq!(
        manifest.notes,
        [
            "visits: requests are allowed to all hosts by https; name those that are asked without encryption, or fewer, in `allow`",
            "visits: weights are left out: each entry of `spread` is one host",
            "store: links with other settings lead to a provider of their own, store-2",
        ]
    );
}

#[test]
fn values_stand_where_they_were_written() {
    let manifest = read(COUNTER).unwrap();
    let (_, visits) = &manifest.spec.components.0[0];
    assert_eq!(visits.image.referenced.line(), 13);
    let (key, links) = &visits.links.0[0];
    assert_eq!((key.referenced.line(), links.0[0].to.referenced.line()), (26, 26));
}

#[test]
fn what_has_no_counterpart_is_told_at_its_line() {
    for (from, to, problem) in [
        (
            "ghcr.io/wasmcloud/keyvalue-redis:0.28.2",
            "ghcr.io/wasmcloud/keyvalue-vault:0.5.0",
            "66:28: the provider ghcr.io/wasmcloud/keyvalue-vault:0.5.0 has no counterpart here / write a manifest of ours",
        ),
        (
            "type: daemonscaler",
            "type: autoscaler",
            "41:17: the trait `autoscaler` has no counterpart here / known are link",
        ),
        (
            ", properties: { url: \"redis://127.0.0.1:6379\" }",
            "",
            "26:53: the configuration `redis-url` is kept in a wasmCloud lattice",
        ),
        (
            "{ url: \"redis://127.0.0.1:6379\" }",
            "{ urls: x }",
            "26:84: `urls` of keyvalue-redis has no counterpart here / remove it; keyvalue-redis has",
        ),
        ("        image: ghcr.io/acme/visits:1.0.0\n", "", "10:13: `visits` has no image"),
        (
            "    - name: internet\n      type: capability",
            "    - name: internet\n      type: gadget",
            "68:13: `internet` is of the type `gadget`",
        ),
        ("kind: Application", "kind: Deployment", "2:7: kind is `Deployment` / write `kind: Application`"),
        (
            "            package: keyvalue\n            interfaces: [store, atomics]",
            "            interfaces: [store]",
            "24:17: a link needs `namespace`",
        ),
        (
            "cors_allowed_origins: '[\"https://a.example\"]'",
            "cors_allowed_origins: all",
            "63:112: `cors_allowed_origins` is not a list of texts",
        ),
        ("  name: counter", "  nmae: counter", "4:3: unknown key `nmae` / did you mean `name`?"),
    ] {
        assert!(COUNTER.contains(from), "{from}");
        let found = problems(&COUNTER.replacen(from, to, 1));
        assert!(found.first().is_some_and(|found| found.starts_with(problem)), "{from}: {found:#?}");
    }
}

#[test]
fn secrets_are_those_of_the_lattice() {
    let source = r#"apiVersion: core.oam.dev/v1beta1
kind: Application
metadata: { name: shop, annotations: { "experimental.wasmcloud.dev/shared": "true" } }
spec:
  policies: [{ name: vault, type: policy.secret.wasmcloud.dev/v1alpha1, properties: { backend: nats-kv } }]
  components:
    - name: cart
      type: actor
      properties:
        image: ./cart.wasm
        secrets: [{ name: token, properties: { policy: vault, key: api-token } }]
      traits:
        - type: link
          properties:
            target:
              name: db
              config: [{ name: db, properties: { POSTGRES_HOST: db.internal, POSTGRES_PASSWORD: "p@ss", POSTGRES_TLS_REQUIRED: "true" } }]
            namespace: wasmcloud
            package: postgres
            interfaces: [query]
        - type: link
          properties: { target: rates, namespace: acme, package: rates, interfaces: [today] }
        - type: link
          properties:
            target: { name: store, secrets: [{ name: url, properties: { policy: vault, key: redis-url } }] }
            namespace: wasi
            package: keyvalue
            interfaces: [store]
    - { name: db, type: capability, properties: { image: "ghcr.io/wasmcloud/sqldb-postgres:0.8" } }
    - { name: store, type: capability, properties: { image: "ghcr.io/wasmcloud/keyvalue-redis:0.8" } }
    - { name: rates, type: component, properties: { application: { name: bank, component: rates } } }
"#;
    let printed = print(&read(source).unwrap()).unwrap();
    for line in [
        "        token: api-token\n",
        "        url: postgres://postgres:p%40ss@db.internal:5432/postgres\n",
        "        tls: require\n",
        "          secret: redis-url\n",
        "        \"acme:rates/today\": bank/rates\n",
        "        \"wasmcloud:postgres\": db\n",
        "      share: all\n",
    ] {
        assert!(printed.contains(line), "{line} in {printed}");
    }
    assert!(!printed.contains("    rates:\n"), "it belongs to the other app: {printed}");
    let with_field = source.replace("key: api-token", "key: api-token, field: value");
    assert!(problems(&with_field)[0].contains("a secret here is one value, without fields"));
    let in_parts = source.replace("config: [{ name: db,", "secrets: [{ name: postgres_password, properties: { policy: vault, key: pw } }]\n              config: [{ name: db,").replace(", POSTGRES_PASSWORD: \"p@ss\"", "");
    assert!(problems(&in_parts)[0].contains("a part of a database's address cannot be a secret by itself"));
}
