use lattice_provider::conformance;
use lattice_provider_http_client::HttpClientProvider;
use serde_json::json;

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<HttpClientProvider>(&[
        ("allowPrivate", json!(["10.0.0.0/8", "127.0.0.1"])),
        ("caFile", json!("/etc/authorities.pem")),
        ("connectTimeout", json!("2s")),
        ("firstByteTimeout", json!("10s")),
        ("betweenBytesTimeout", json!("500ms")),
        ("keepAlive", json!("1m")),
        ("maxConnections", json!(16)),
    ])
    .unwrap();
}
