//! The bytes of `lattice:blobstore/store`, and its streams in both encodings.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use lattice::{
    bus::Bus,
    wire::{CallError, CallHead, ContentType, Interface, value::FunctionShape},
};
use lattice_provider::{
    ByteStream, Caller, Capability,
    blobstore::{BlobError, Blobstore, BlobstoreRemote, Metadata, ObjectPage, interface},
};

/// Knows one object, and takes no other.
struct One;

fn hello() -> ByteStream {
    ByteStream::new(stream::iter(["hel", "lo"].map(|piece| Ok(Bytes::from(piece)))))
}

async fn text(data: ByteStream) -> Result<String, CallError> {
    let pieces: Vec<Bytes> = data.try_collect().await?;
    Ok(String::from_utf8(pieces.concat()).unwrap())
}

#[async_trait]
impl Blobstore for One {
    async fn create_container(&self, _: String) -> Result<(), BlobError> {
        Ok(())
    }
    async fn delete_container(&self, _: String) -> Result<(), BlobError> {
        Err(BlobError::NoSuchContainer)
    }
    async fn container_exists(&self, container: String) -> Result<bool, BlobError> {
        Ok(container == "c")
    }
    async fn container_created(&self, _: String) -> Result<u64, BlobError> {
        Ok(300)
    }
    async fn clear_container(&self, _: String) -> Result<(), BlobError> {
        Err(BlobError::AccessDenied)
    }
    async fn read(&self, _: String, object: String, _: u64, _: u64) -> Result<(u64, ByteStream), BlobError> {
        match object.as_str() {
            "o" => Ok((5, hello())),
            "small" => Ok((5, Bytes::from("hello").into())),
            "cut" => {
                let cut = CallError::Transport("the disk is gone".into());
                Ok((5, ByteStream::new(hello().chain(stream::iter([Err(cut)])))))
            }
            _ => Err(BlobError::NoSuchObject),
        }
    }
    async fn write(&self, _: String, _: String, data: ByteStream) -> Result<(), BlobError> {
        assert_eq!(text(data).await?, "hello");
        Ok(())
    }
    async fn object_info(&self, _: String, _: String) -> Result<Metadata, BlobError> {
        Ok(Metadata { size: 5, created_at: 300 })
    }
    async fn has_object(&self, _: String, object: String) -> Result<bool, BlobError> {
        Ok(object == "o")
    }
    async fn list_objects(&self, _: String, cursor: Option<String>) -> Result<ObjectPage, BlobError> {
        Ok(ObjectPage { objects: vec!["o".into()], cursor })
    }
    async fn delete_object(&self, _: String, _: String) -> Result<(), BlobError> {
        Ok(())
    }
    async fn delete_objects(&self, _: String, objects: Vec<String>) -> Result<(), BlobError> {
        Err(BlobError::Other(objects.join(" ")))
    }
    async fn copy_object(&self, _: String, _: String, _: String, _: String) -> Result<(), BlobError> {
        Ok(())
    }
    async fn move_object(&self, _: String, _: String, _: String, _: String) -> Result<(), BlobError> {
        Ok(())
    }
}

async fn ask(bus: &Bus, function: &str, content_type: ContentType, payload: Bytes) -> Result<Bytes, CallError> {
    let head = CallHead {
        interface: interface(),
        function: function.to_owned(),
        deadline: Duration::from_secs(1),
        caller: None,
        content_type,
        traceparent: None,
        session: None,
    };
    Capability::blobstore(One).handler(bus).call(head, payload).await
}

/// Calls the handler as if it were elsewhere.
struct There(Bus);

#[async_trait]
impl Caller for There {
    async fn call(
        &self,
        _: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        ask(&self.0, function, ContentType::Postcard, payload).await
    }
}

fn bus() -> Bus {
    Bus::memory("default".parse().unwrap())
}

#[tokio::test]
async fn streams_go_with_calls_and_answers() {
    let (there, o) = (There(bus()), || ("c".to_owned(), "o".to_owned()));
    let exchange = there.0.exchange();
    let remote = BlobstoreRemote(Arc::new(there), exchange);
    let read = async |object: &str| {
        let (size, data) = remote.read("c".into(), object.into(), 0, 9).await?;
        assert_eq!(size, 5);
        text(data).await.map_err(BlobError::from)
    };
    assert_eq!(read("o").await, Ok("hello".to_owned()));
    assert_eq!(read("small").await, Ok("hello".to_owned()));
    assert_eq!(read("none").await, Err(BlobError::NoSuchObject));
    assert!(read("cut").await.unwrap_err().to_string().contains("the disk is gone"));
    remote.write(o().0, o().1, hello()).await.unwrap();
    remote.write(o().0, o().1, Bytes::from("hello").into()).await.unwrap();
    let cut = CallError::Transport("cut".into());
    let written = remote.write(o().0, o().1, ByteStream::new(stream::iter([Err(cut.clone())]))).await;
    assert_eq!(written, Err(cut.into()));
}

#[tokio::test]
async fn each_function_has_its_bytes() {
    let bus = bus();
    for (function, sent, answered) in [
        ("create-container", "\u{1}c", vec![0]),
        ("delete-container", "\u{1}c", vec![1, 0]),
        ("container-exists", "\u{1}c", vec![0, 1]),
        ("container-created", "\u{1}c", vec![0, 0xac, 2]),
        ("clear-container", "\u{1}c", vec![1, 2]),
        ("object-info", "\u{1}c\u{1}o", vec![0, 5, 0xac, 2]),
        ("has-object", "\u{1}c\u{1}o", vec![0, 1]),
        ("list-objects", "\u{1}c\u{1}\u{1}m", vec![0, 1, 1, b'o', 1, 1, b'm']),
        ("delete-object", "\u{1}c\u{1}o", vec![0]),
        ("delete-objects", "\u{1}c\u{1}\u{1}o", vec![1, 3, 1, b'o']),
        ("copy-object", "\u{1}c\u{1}o\u{1}d\u{1}p", vec![0]),
        ("move-object", "\u{1}c\u{1}o\u{1}d\u{1}p", vec![0]),
    ] {
        let found = ask(&bus, function, ContentType::Postcard, Bytes::from(sent)).await.unwrap();
        assert_eq!(found, answered, "{function}");
    }
    let small = ask(&bus, "read", ContentType::Postcard, Bytes::from("\u{1}c\u{5}small\0\u{9}")).await.unwrap();
    assert_eq!(small, [&[0, 5][..], &[0; 32], b"\x05hello"].concat());
}

#[tokio::test]
async fn in_json_a_stream_is_all_that_it_carries() {
    let bus = bus();
    let json = async |function: &str, arguments: &'static str| {
        let answer = ask(&bus, function, ContentType::Json, Bytes::from(arguments)).await;
        answer.map(|bytes| String::from_utf8(bytes.into()).unwrap())
    };
    assert_eq!(json("read", r#"["c", "o", 0, 9]"#).await.unwrap(), r#"{"ok":[5,"aGVsbG8="]}"#);
    assert_eq!(json("read", r#"["c", "none", 0, 9]"#).await.unwrap(), r#"{"err":"no-such-object"}"#);
    assert_eq!(json("write", r#"["c", "o", "aGVsbG8="]"#).await.unwrap(), r#"{"ok":null}"#);
    assert!(json("read", r#"["c", "cut", 0, 9]"#).await.unwrap_err().to_string().contains("the disk is gone"));
}
