//! The bytes of `lattice:keyvalue/store`, so that a change of the code that makes them is no change of the wire.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    wire::{CallError, CallHead, ContentType, Interface, value::FunctionShape},
};
use lattice_provider::{
    Caller, Capability,
    keyvalue::{KeyPage, KeyValue, KeyValueError, KeyValueRemote, interface},
};

/// Knows one key.
struct One;

#[async_trait]
impl KeyValue for One {
    async fn get(&self, _: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        match key.as_str() {
            "k" => Ok(Some(Bytes::from_static(&[0, 255]))),
            "none" => Ok(None),
            "store" => Err(KeyValueError::NoSuchStore),
            "denied" => Err(KeyValueError::AccessDenied),
            _ => Err(KeyValueError::Other("no".into())),
        }
    }
    async fn set(&self, _: String, _: String, value: Bytes) -> Result<(), KeyValueError> {
        assert_eq!(value, [0u8, 255].as_slice());
        Ok(())
    }
    async fn delete(&self, _: String, _: String) -> Result<(), KeyValueError> {
        Ok(())
    }
    async fn exists(&self, _: String, key: String) -> Result<bool, KeyValueError> {
        Ok(key == "k")
    }
    async fn list_keys(&self, _: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        assert_eq!(cursor, Some(300));
        Ok(KeyPage { keys: vec!["k".into(), "l".into()], cursor: Some(u64::MAX) })
    }
    async fn increment(&self, _: String, _: String, delta: u64) -> Result<u64, KeyValueError> {
        Ok(delta + 1)
    }
    async fn get_many(&self, _: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        Ok(keys.into_iter().map(|key| (key == "k").then(|| Bytes::from_static(b"v"))).collect())
    }
    async fn set_many(&self, _: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        assert_eq!(pairs, [("k".to_owned(), Bytes::from_static(b"v"))]);
        Ok(())
    }
    async fn delete_many(&self, _: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        assert_eq!(keys, ["k", "l"]);
        Ok(())
    }
}

/// Calls the handler, and looks at the bytes on the way.
struct Watched {
    sent: &'static str,
    answered: &'static str,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn ask(function: &str, content_type: ContentType, payload: Bytes) -> Result<Bytes, CallError> {
    let head = CallHead {
        interface: interface(),
        function: function.to_owned(),
        deadline: Duration::from_secs(1),
        caller: None,
        content_type,
        traceparent: None,
        session: None,
    };
    Capability::key_value(One).handler(&Bus::memory("default".parse().unwrap())).call(head, payload).await
}

#[async_trait]
impl Caller for Watched {
    async fn call(
        &self,
        _: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        assert_eq!(hex(&payload), self.sent, "{function}");
        let answer = ask(function, ContentType::Postcard, payload).await?;
        assert_eq!(hex(&answer), self.answered, "{function}");
        Ok(answer)
    }
}

fn watched(sent: &'static str, answered: &'static str) -> KeyValueRemote {
    KeyValueRemote(Arc::new(Watched { sent, answered }))
}

#[tokio::test]
async fn each_function_has_its_bytes() {
    let (b, k) = (|| "b".to_owned(), || "k".to_owned());
    let value = watched("0162016b", "00010200ff").get(b(), k()).await;
    assert_eq!(value, Ok(Some(Bytes::from_static(&[0, 255]))));
    assert_eq!(watched("0162046e6f6e65", "0000").get(b(), "none".into()).await, Ok(None));
    assert_eq!(watched("01620573746f7265", "0100").get(b(), "store".into()).await, Err(KeyValueError::NoSuchStore));
    assert_eq!(watched("01620664656e696564", "0101").get(b(), "denied".into()).await, Err(KeyValueError::AccessDenied));
    assert_eq!(watched("016200", "0102026e6f").get(b(), String::new()).await, Err(KeyValueError::Other("no".into())));
    assert_eq!(watched("0162016b0200ff", "00").set(b(), k(), Bytes::from_static(&[0, 255])).await, Ok(()));
    assert_eq!(watched("0162016b", "00").delete(b(), k()).await, Ok(()));
    assert_eq!(watched("0162016b", "0001").exists(b(), k()).await, Ok(true));
    let page = watched("016201ac02", "0002016b016c01ffffffffffffffffff01").list_keys(b(), Some(300)).await.unwrap();
    assert_eq!(page, KeyPage { keys: vec!["k".into(), "l".into()], cursor: Some(u64::MAX) });
    assert_eq!(watched("0162016bac02", "00ad02").increment(b(), k(), 300).await, Ok(301));
    let values = watched("016202016b016c", "000201017600").get_many(b(), vec!["k".into(), "l".into()]).await;
    assert_eq!(values, Ok(vec![Some(Bytes::from_static(b"v")), None]));
    let pairs = vec![("k".to_owned(), Bytes::from_static(b"v"))];
    assert_eq!(watched("016201016b0176", "00").set_many(b(), pairs).await, Ok(()));
    assert_eq!(watched("016202016b016c", "00").delete_many(b(), vec!["k".into(), "l".into()]).await, Ok(()));
}

#[tokio::test]
async fn in_json_it_follows_the_table() {
    let ask = async |function: &str, arguments: &'static str| {
        let answer = ask(function, ContentType::Json, Bytes::from_static(arguments.as_bytes())).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(ask("get", r#"["b", "k"]"#).await, r#"{"ok":"AP8="}"#);
    assert_eq!(ask("get", r#"["b", "none"]"#).await, r#"{"ok":null}"#);
    assert_eq!(ask("get", r#"["b", "denied"]"#).await, r#"{"err":"access-denied"}"#);
    assert_eq!(ask("get", r#"["b", "?"]"#).await, r#"{"err":{"other":"no"}}"#);
    assert_eq!(ask("set", r#"["b", "k", "AP8="]"#).await, r#"{"ok":null}"#);
    assert_eq!(ask("set", r#"["b", "k", [0, 255]]"#).await, r#"{"ok":null}"#);
}
