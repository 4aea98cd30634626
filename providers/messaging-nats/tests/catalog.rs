use lattice_provider::conformance;
use lattice_provider_messaging_nats::Messaging;
use serde_json::json;

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<Messaging>(&[
        ("url", json!("nats://127.0.0.1:4222,nats://127.0.0.1:4223")),
        ("creds", json!("/etc/nats/app.creds")),
        ("nkey", json!("/etc/nats/app.nk")),
        ("user", json!("app")),
        ("password", json!("secret")),
        ("caFile", json!("/etc/nats/ca.pem")),
        ("confirm", json!(true)),
        ("replicas", json!(3)),
    ])
    .unwrap();
}
