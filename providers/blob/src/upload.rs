//! One object on its way into a store: as one request when it is small, else in parts.

use bytes::Bytes;
use lattice_provider::{
    ByteStream,
    blobstore::{BlobError, Cutter},
};
use object_store::{MultipartUpload, ObjectStore, Result, path::Path};
use tokio::task::JoinSet;

/// Of what size parts are, in bytes; the last one may be smaller. It also is what is small enough for one request. S3 takes
/// 10,000 parts: an object has at most 80,000 MiB.
const PART: usize = 8 * 1024 * 1024;
/// Parts that are under way at a time.
const CONCURRENT: usize = 2;

/// Writes an object, which is there when this has returned well, and else is as it was. `said` says what an error means.
pub(crate) async fn upload(
    store: &dyn ObjectStore,
    path: &Path,
    data: ByteStream,
    said: impl Fn(Result<()>) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let mut cutter = Cutter::new(data, PART);
    let first = cutter.next().await?;
    if cutter.ended() {
        return said(store.put(path, first.into()).await.map(drop));
    }
    let mut upload = match store.put_multipart(path).await {
        Ok(upload) => upload,
        Err(error) => return said(Err(error)),
    };
    let sent = Parts { upload: &mut *upload, under_way: JoinSet::new() }.send(first, cutter).await;
    let sent = match sent {
        Ok(()) => upload.complete().await.map(drop).map_err(Failed::Store),
        failed => failed,
    };
    let Err(failed) = sent else { return said(Ok(())) };
    // Where that fails, the store's own rule for unfinished uploads clears it away.
    let _ = upload.abort().await;
    match failed {
        Failed::Store(error) => said(Err(error)),
        Failed::Data(error) => Err(error),
    }
}

enum Failed {
    Store(object_store::Error),
    Data(BlobError),
}

struct Parts<'u> {
    upload: &'u mut dyn MultipartUpload,
    under_way: JoinSet<Result<()>>,
}

impl Parts<'_> {
    /// Sends all parts. Nothing is under way any more when it returns.
    async fn send(mut self, first: Bytes, cutter: Cutter) -> Result<(), Failed> {
        let sent = self.all(first, cutter).await;
        if sent.is_err() {
            self.under_way.shutdown().await;
        }
        sent
    }

    async fn all(&mut self, first: Bytes, mut cutter: Cutter) -> Result<(), Failed> {
        self.begin(first);
        while !cutter.ended() {
            let part = cutter.next().await.map_err(Failed::Data)?;
            self.at_most(CONCURRENT - 1).await?;
            if !part.is_empty() {
                self.begin(part);
            }
        }
        self.at_most(0).await
    }

    fn begin(&mut self, part: Bytes) {
        self.under_way.spawn(self.upload.put_part(part.into()));
    }

    async fn at_most(&mut self, count: usize) -> Result<(), Failed> {
        while self.under_way.len() > count {
            match self.under_way.join_next().await {
                Some(Ok(outcome)) => outcome.map_err(Failed::Store)?,
                Some(Err(error)) => return Err(Failed::Data(BlobError::other(error))),
                None => return Ok(()),
            }
        }
        Ok(())
    }
}
