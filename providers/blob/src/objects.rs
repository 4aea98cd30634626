//! Containers and objects as paths of one bucket.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use lattice_provider::{
    ByteStream, Health, HealthReporter,
    blobstore::{BlobError, Blobstore, INLINE, Metadata, ObjectPage, PageBuilder, is_object, range},
    wit::{Bytes, CallError},
};
use object_store::{Error, GetOptions, GetResult, ObjectMeta, ObjectStore, path::Path};

use crate::{names::Names, upload};

/// The folder of the objects that say which containers there are. No container is called so.
const CONTAINERS: &str = ".containers";
/// How often a part is asked for when its object is written at the same time.
const TRIES: usize = 3;

/// Any store.
#[derive(Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Empty, or with a slash at its end.
    prefix: String,
    names: Names,
    health: HealthReporter,
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, folder: &Path, names: Names, health: HealthReporter) -> Self {
        let prefix = if folder.as_ref().is_empty() { String::new() } else { format!("{folder}/") };
        Self { store, prefix, names, health }
    }

    fn path(&self, container: &str, object: &str) -> Result<Path, BlobError> {
        let object = self.names.stored(object);
        Path::parse(format!("{}{container}/{object}", self.prefix)).map_err(BlobError::other)
    }

    fn folder(&self, container: &str) -> Result<Path, BlobError> {
        Path::parse(format!("{}{container}", self.prefix)).map_err(BlobError::other)
    }

    fn marker(&self, container: &str) -> Result<Path, BlobError> {
        self.path(CONTAINERS, container)
    }

    /// What the store said, and with it how it is.
    fn said<T>(&self, outcome: object_store::Result<T>) -> Result<T, BlobError> {
        match outcome {
            Ok(value) => {
                self.health.report(Health::Ready);
                Ok(value)
            }
            Err(Error::NotFound { .. }) => Err(BlobError::NoSuchObject),
            Err(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => Err(BlobError::AccessDenied),
            Err(error) => {
                // No answer, or none that can be read.
                if matches!(error, Error::Generic { .. }) {
                    self.health.report(Health::Degraded(error.to_string()));
                }
                Err(BlobError::other(error))
            }
        }
    }

    /// What is known of an object; `None` when it is not there.
    async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, BlobError> {
        match self.said(self.store.head(path).await) {
            Ok(found) => Ok(Some(found)),
            Err(BlobError::NoSuchObject) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self, container: &str) -> Result<bool, BlobError> {
        if self.head(&self.marker(container)?).await?.is_some() {
            return Ok(true);
        }
        let folder = self.folder(container)?;
        Ok(self.said(self.store.list(Some(&folder)).next().await.transpose())?.is_some())
    }

    async fn there(&self, container: &str) -> Result<(), BlobError> {
        if self.exists(container).await? { Ok(()) } else { Err(BlobError::NoSuchContainer) }
    }

    /// Says of an object that is not there whether its container is.
    async fn or_no_container<T>(&self, outcome: Result<T, BlobError>, container: &str) -> Result<T, BlobError> {
        if matches!(outcome, Err(BlobError::NoSuchObject)) {
            self.there(container).await?;
        }
        outcome
    }

    /// An object, as it is at one moment.
    async fn get(&self, path: &Path, start: u64, end: u64) -> Result<Option<GetResult>, BlobError> {
        if (start, end) == (0, u64::MAX) {
            return self.said(self.store.get(path).await).map(Some);
        }
        let mut last = BlobError::NoSuchObject;
        for _ in 0..TRIES {
            let found = self.said(self.store.head(path).await)?;
            let (start, length) = range(start, end, found.size)?;
            if length == 0 {
                return Ok(None);
            }
            let (range, if_match) = (Some((start..start + length).into()), found.e_tag);
            match self.store.get_opts(path, GetOptions { range, if_match, ..Default::default() }).await {
                Err(error @ Error::Precondition { .. }) => last = BlobError::other(error),
                outcome => return self.said(outcome).map(Some),
            }
        }
        Err(last)
    }

    async fn remove_all(&self, paths: impl Stream<Item = Result<Path, Error>> + Send) -> Result<(), BlobError> {
        let mut removed = self.store.delete_stream(paths.boxed());
        while let Some(outcome) = removed.next().await {
            match self.said(outcome) {
                Ok(_) | Err(BlobError::NoSuchObject) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<(), BlobError> {
        let (source, target) = (self.path(from.0, from.1)?, self.path(to.0, to.1)?);
        if self.head(&source).await?.is_none() {
            return self.or_no_container(Err(BlobError::NoSuchObject), from.0).await;
        }
        self.there(to.0).await?;
        if source == target {
            return Ok(());
        }
        self.said(self.store.copy(&source, &target).await)
    }
}

#[async_trait]
impl Blobstore for Objects {
    async fn create_container(&self, container: String) -> Result<(), BlobError> {
        let marker = self.marker(&container)?;
        if self.head(&marker).await?.is_some() {
            return Ok(());
        }
        self.said(self.store.put(&marker, Bytes::new().into()).await).map(drop)
    }

    async fn delete_container(&self, container: String) -> Result<(), BlobError> {
        self.clear_container(container.clone()).await?;
        match self.said(self.store.delete(&self.marker(&container)?).await) {
            Err(BlobError::NoSuchObject) => Ok(()),
            outcome => outcome,
        }
    }

    async fn container_exists(&self, container: String) -> Result<bool, BlobError> {
        self.exists(&container).await
    }

    async fn container_created(&self, container: String) -> Result<u64, BlobError> {
        match self.head(&self.marker(&container)?).await? {
            Some(marker) => Ok(seconds(&marker)),
            None => self.there(&container).await.map(|()| 0),
        }
    }

    async fn clear_container(&self, container: String) -> Result<(), BlobError> {
        self.there(&container).await?;
        let folder = self.folder(&container)?;
        self.remove_all(self.store.list(Some(&folder)).map_ok(|found| found.location)).await
    }

    async fn read(
        &self,
        container: String,
        object: String,
        start: u64,
        end: u64,
    ) -> Result<(u64, ByteStream), BlobError> {
        let found = self.get(&self.path(&container, &object)?, start, end).await;
        let Some(found) = self.or_no_container(found, &container).await? else {
            return Ok((0, Bytes::new().into()));
        };
        let length = found.range.end - found.range.start;
        if length <= INLINE {
            return Ok((length, self.said(found.bytes().await)?.into()));
        }
        Ok((length, ByteStream::new(whole(found.into_stream(), length))))
    }

    async fn write(&self, container: String, object: String, data: ByteStream) -> Result<(), BlobError> {
        let path = self.path(&container, &object)?;
        self.there(&container).await?;
        let (store, own) = (self.store.clone(), self.clone());
        // In a task of its own: when the caller goes away the data ends with an error, and what was sent is taken back.
        let upload = tokio::spawn(async move { upload::upload(&*store, &path, data, |said| own.said(said)).await });
        upload.await.map_err(BlobError::other)?
    }

    async fn object_info(&self, container: String, object: String) -> Result<Metadata, BlobError> {
        let found = self.said(self.store.head(&self.path(&container, &object)?).await);
        let found = self.or_no_container(found, &container).await?;
        Ok(Metadata { size: found.size, created_at: seconds(&found) })
    }

    async fn has_object(&self, container: String, object: String) -> Result<bool, BlobError> {
        if self.head(&self.path(&container, &object)?).await?.is_some() {
            return Ok(true);
        }
        self.there(&container).await.map(|()| false)
    }

    async fn list_objects(&self, container: String, cursor: Option<String>) -> Result<ObjectPage, BlobError> {
        let folder = self.folder(&container)?;
        let mut listed = match &cursor {
            Some(cursor) => self.store.list_with_offset(Some(&folder), &self.path(&container, cursor)?),
            None => self.store.list(Some(&folder)),
        };
        let within = format!("{folder}/");
        let mut page = PageBuilder::default();
        while let Some(found) = self.said(listed.next().await.transpose())? {
            // What others have put beside may have names that components cannot say.
            let stored = found.location.as_ref().strip_prefix(&within);
            let Some(name) = stored.map(|stored| self.names.own(stored)).filter(|name| is_object(name)) else {
                continue;
            };
            if !page.push(name) {
                break;
            }
        }
        let page = page.finish();
        if page.objects.is_empty() {
            self.there(&container).await?;
        }
        Ok(page)
    }

    async fn delete_object(&self, container: String, object: String) -> Result<(), BlobError> {
        self.delete_objects(container, vec![object]).await
    }

    async fn delete_objects(&self, container: String, objects: Vec<String>) -> Result<(), BlobError> {
        self.there(&container).await?;
        let paths: Result<Vec<_>, _> = objects.iter().map(|object| self.path(&container, object).map(Ok)).collect();
        self.remove_all(stream::iter(paths?)).await
    }

    async fn copy_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        self.copy((&container, &object), (&to_container, &to_object)).await
    }

    async fn move_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        self.copy((&container, &object), (&to_container, &to_object)).await?;
        if (&container, &object) == (&to_container, &to_object) {
            return Ok(());
        }
        // A container that has no other object and was never made would be gone with it.
        self.create_container(container.clone()).await?;
        self.delete_object(container, object).await
    }
}

fn seconds(found: &ObjectMeta) -> u64 {
    u64::try_from(found.last_modified.timestamp()).unwrap_or(0)
}

/// What a store sends, as an error when it is not of this length.
fn whole(
    pieces: impl Stream<Item = object_store::Result<Bytes>> + Send + 'static,
    length: u64,
) -> impl Stream<Item = Result<Bytes, CallError>> + Send + 'static {
    let cut = |text: String| Err(CallError::Transport(text));
    let state = (Box::pin(pieces), length);
    stream::try_unfold(state, move |(mut pieces, left)| async move {
        match pieces.next().await {
            Some(Ok(piece)) if piece.len() as u64 <= left => {
                let left = left - piece.len() as u64;
                Ok(Some((piece, (pieces, left))))
            }
            None if left == 0 => Ok(None),
            Some(Err(error)) => cut(error.to_string()),
            Some(Ok(_)) => cut("the store has sent more than the object has".into()),
            None => cut(format!("the store has sent {left} bytes less than the object has")),
        }
    })
}
