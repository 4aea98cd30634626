//! Manifests of wadm, applied as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use lattice_provider::conformance::servers::RedisServer;
use lattice_tests::{Lattice, get, lattice::image, places::free_address};

#[test]
fn an_application_of_wadm_runs_and_goes_on_as_an_app_of_ours() {
    let redis = RedisServer::start().unwrap();
    let lattice = Lattice::start(2);
    let address = free_address();
    let application = format!(
        r#"apiVersion: core.oam.dev/v1beta1
kind: Application
metadata:
  name: counter
  annotations: {{ version: v1.0.0 }}
spec:
  components:
    - name: counter
      type: component
      properties:
        image: file://{}
      traits:
        - type: spreadscaler
          properties: {{ instances: 10, spread: [{{ name: b, requirements: {{ zone: b }} }}] }}
        - type: link
          properties:
            target:
              name: store
              config: [{{ name: redis, properties: {{ url: "{}" }} }}]
            namespace: wasi
            package: keyvalue
            interfaces: [store, atomics]
    - name: web
      type: capability
      properties: {{ image: "ghcr.io/wasmcloud/http-server:0.27.0" }}
      traits:
        - type: link
          properties:
            target: counter
            namespace: wasi
            package: http
            interfaces: [incoming-handler]
            source: {{ config: [{{ name: address, properties: {{ address: "{address}" }} }}] }}
    - name: store
      type: capability
      properties: {{ image: "ghcr.io/wasmcloud/keyvalue-redis:0.28.2" }}
"#,
        image("counter"),
        redis.url()
    );
    lattice.apply(&application);
    assert_eq!(get(address, "/").unwrap().body, b"1\n");
    let status = lattice.wait_ready("counter");
    assert_eq!(lattice.zone_of(&status.hosts("counter")[0]), "b");
    // What it has become is the same app.
    let output = lattice.ctl(&["convert", "-f", "app.yaml"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert!(lattice.apply(&output.stdout).contains("app counter: unchanged (revision 1)"));
    assert_eq!(lattice.ctl(&["convert", "-f", "app.yaml"]).code, Some(1), "that is one of ours");
    // A revision that was written so can be gone back to.
    assert_eq!(lattice.ctl(&["scale", "counter/counter", "per-host"]).code, Some(0));
    lattice.apply(&application);
    let output = lattice.ctl(&["rollback", "counter"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert_eq!(get(address, "/").unwrap().body, b"2\n");

    let output = lattice.try_apply(&application.replace("keyvalue-redis", "keyvalue-couchbase"));
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains("keyvalue-couchbase:0.28.2 has no counterpart here"), "{}", output.all());
    assert!(output.stderr.contains("app.yaml:36:"), "{}", output.all());
}
