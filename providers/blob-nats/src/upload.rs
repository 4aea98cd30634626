//! Writing an object: its chunks, and then what describes it.

use std::collections::{HashMap, VecDeque};

use async_nats::jetstream::{
    context::PublishAckFuture,
    object_store::{ObjectInfo, ObjectOptions},
};
use lattice_provider::{
    ByteStream,
    blobstore::{BlobError, Cutter},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    chunks::RUNS,
    container::{Container, Described, failed},
    names,
    runs::Runs,
};

/// Chunks that JetStream has not stored yet.
const UNDER_WAY: usize = 16;
/// How often a description is written when others write the same object.
const TRIES: u32 = 100;

/// Writes an object, which is there when this has returned well, and else is as it was.
pub(crate) async fn upload(container: &Container, object: &str, data: ByteStream) -> Result<(), BlobError> {
    let version = Uuid::now_v7().simple().to_string();
    let mut upload = Upload::new(container, &version);
    let written = upload.send(data).await;
    if written.is_err() {
        // What is still on its way would come after what is removed.
        upload.settled().await;
    }
    let described = match written {
        Ok(sent) => describe(container, object, &version, sent).await,
        Err(error) => Err(Undone { error, unused: true }),
    };
    let Err(Undone { error, unused }) = described else { return Ok(()) };
    if unused && let Err(error) = container.forget(&version).await {
        tracing::warn!(bucket = container.bucket, version, %error, "chunks of an object that was not written are left");
    }
    Err(error)
}

/// What is in the stream.
struct Sent {
    size: usize,
    chunks: usize,
    chunk: usize,
    runs: Runs,
    digest: String,
}

/// Why an object was not written, and whether it is certain that nobody needs its chunks.
struct Undone {
    error: BlobError,
    unused: bool,
}

struct Upload<'c> {
    container: &'c Container,
    subject: String,
    under_way: VecDeque<PublishAckFuture>,
    runs: Runs,
}

impl<'c> Upload<'c> {
    fn new(container: &'c Container, version: &str) -> Self {
        let subject = names::chunks(&container.bucket, version);
        Self { container, subject, under_way: VecDeque::new(), runs: Runs::default() }
    }

    async fn send(&mut self, data: ByteStream) -> Result<Sent, BlobError> {
        let chunk = self.container.chunk_size();
        let (mut size, mut chunks, mut sum) = (0, 0, Sha256::new());
        let mut cutter = Cutter::new(data, chunk);
        while !cutter.ended() {
            let piece = cutter.next().await?;
            if piece.is_empty() {
                break;
            }
            sum.update(&piece);
            size += piece.len();
            chunks += 1;
            self.at_most(UNDER_WAY - 1).await?;
            let sent = self.container.jetstream.context.publish(self.subject.clone(), piece);
            self.under_way.push_back(self.container.ask(sent).await?.map_err(|error| failed(&error))?);
        }
        self.at_most(0).await?;
        let runs = std::mem::take(&mut self.runs);
        Ok(Sent { size, chunks, chunk, runs, digest: names::checksum(&sum.finalize()) })
    }

    /// Waits until nothing is on its way any more, whatever becomes of it.
    async fn settled(&mut self) {
        while let Some(sent) = self.under_way.pop_front() {
            let _ = self.container.ask(sent).await;
        }
    }

    async fn at_most(&mut self, count: usize) -> Result<(), BlobError> {
        while self.under_way.len() > count {
            let Some(sent) = self.under_way.pop_front() else { return Ok(()) };
            let stored = self.container.ask(sent).await?.map_err(|error| failed(&error))?;
            self.runs.push(stored.sequence);
        }
        Ok(())
    }
}

/// Says that the object is these chunks, over whatever was there, and removes what nobody needs then.
async fn describe(container: &Container, object: &str, version: &str, sent: Sent) -> Result<(), Undone> {
    let unused = |error| Undone { error, unused: true };
    let last = sent.runs.next();
    let info = ObjectInfo {
        name: object.to_owned(),
        description: None,
        metadata: HashMap::from([(RUNS.to_owned(), sent.runs.to_string())]),
        headers: None,
        options: Some(ObjectOptions { link: None, max_chunk_size: Some(sent.chunk) }),
        bucket: container.bucket.clone(),
        nuid: version.to_owned(),
        size: sent.size,
        chunks: sent.chunks,
        modified: Some(async_nats::datetime::now()),
        digest: Some(sent.digest),
        deleted: false,
    };
    for _ in 0..TRIES {
        let before = container.described(object).await.map_err(unused)?;
        let over = before.as_ref().map_or(0, |found| found.revision);
        let number = match container.describe(object, &info, over).await {
            Ok(Described::Stored(number)) => number,
            Ok(Described::Overtaken) => continue,
            // Perhaps it was stored all the same.
            Err(error) => match container.described(object).await {
                Ok(Some(now)) if now.info.nuid == version => now.revision,
                Ok(_) => return Err(unused(error)),
                Err(_) => return Err(Undone { error, unused: false }),
            },
        };
        // The numbers of a stream only grow: it is not the one that has the chunks.
        if number < last {
            let _ = container.remove_newest(object).await;
            return Err(unused(BlobError::Other("the container was deleted while the object was written".into())));
        }
        if let Some(before) = before
            && let Err(error) = container.forget(&before.info.nuid).await
        {
            // The object is there; these are only in the way.
            tracing::warn!(bucket = container.bucket, object, %error, "chunks of an older version are left");
        }
        return Ok(());
    }
    Err(unused(BlobError::Other(format!("others wrote {object:?} each of {TRIES} times that we tried"))))
}
