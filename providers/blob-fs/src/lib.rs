//! Objects as files: each container is a folder of `root`, and an object's name is the path of its file in it.
//!
//! A file that is written is in the folder `.lattice` of the root until it is whole, and is then renamed to its place: also
//! when the process is killed, there is the old object or the new one. All paths are looked up beneath an open folder, so
//! that neither `..` nor a symbolic link leads out of it.

mod listing;
mod place;
mod temporary;

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cap_std::{ambient_authority, fs::Dir};
use futures_util::{StreamExt, stream};
use lattice::wire::UnitId;
use lattice_provider::{
    ByteStream, Capability, Provider, StartContext, StartError,
    blobstore::{BlobError, Blobstore, INLINE, Metadata, ObjectPage, range},
};
use serde::Deserialize;

use self::{
    place::{Container, blocking, failed, seconds},
    temporary::Temporary,
};

/// Where the files are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// An absolute path; made when it is not there.
    pub root: PathBuf,
}

/// What is read or written at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// The backend.
pub struct Files {
    root: Arc<Dir>,
}

#[async_trait]
impl Provider for Files {
    const KIND: &'static str = "blob-fs";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        if config.root.is_absolute() {
            return Ok(());
        }
        Err(StartError::Config(format!("root: {} is no absolute path", config.root.display())))
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        Self::check(&config, &context.unit)?;
        let root = config.root;
        let opened = blocking(move || {
            let cannot = |error: io::Error| BlobError::Other(format!("cannot open {}: {error}", root.display()));
            std::fs::create_dir_all(&root).map_err(cannot)?;
            let dir = Dir::open_ambient_dir(&root, ambient_authority()).map_err(cannot)?;
            temporary::prepare(&dir).map_err(cannot)?;
            Ok(dir)
        });
        let root = Arc::new(opened.await.map_err(|error| StartError::Backend(error.to_string()))?);
        Ok(Capability::blobstore(Self { root }))
    }
}

impl Files {
    /// Does something with a container where it may block.
    async fn at<T: Send + 'static>(
        &self,
        container: String,
        work: impl FnOnce(&Container) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let root = self.root.clone();
        blocking(move || work(&Container::open(root, container)?)).await
    }
}

#[async_trait]
impl Blobstore for Files {
    async fn create_container(&self, container: String) -> Result<(), BlobError> {
        let root = self.root.clone();
        blocking(move || match root.create_dir(&container) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(&error)),
            _ => Container::open(root, container).map(drop),
        })
        .await
    }

    async fn delete_container(&self, container: String) -> Result<(), BlobError> {
        self.at(container, Container::remove).await
    }

    async fn container_exists(&self, container: String) -> Result<bool, BlobError> {
        match self.at(container, |_| Ok(())).await {
            Ok(()) => Ok(true),
            Err(BlobError::NoSuchContainer) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn container_created(&self, container: String) -> Result<u64, BlobError> {
        let created = |container: &Container| {
            let metadata = container.dir.dir_metadata().map_err(|error| failed(&error))?;
            Ok(seconds(metadata.created().or_else(|_| metadata.modified())))
        };
        self.at(container, created).await
    }

    async fn clear_container(&self, container: String) -> Result<(), BlobError> {
        self.at(container, Container::clear).await
    }

    async fn read(
        &self,
        container: String,
        object: String,
        start: u64,
        end: u64,
    ) -> Result<(u64, ByteStream), BlobError> {
        self.at(container, move |container| {
            let (file, size) = container.file(&object)?;
            let (start, length) = range(start, end, size)?;
            let part = Part { file, at: start, left: length };
            let data = if length <= INLINE { part.whole()?.into() } else { part.stream() };
            Ok((length, data))
        })
        .await
    }

    async fn write(&self, container: String, object: String, mut data: ByteStream) -> Result<(), BlobError> {
        let root = self.root.clone();
        let open = move || {
            let temporary = Temporary::new(&root)?;
            Ok((Container::open(root, container)?, temporary))
        };
        let (container, mut temporary) = blocking(open).await?;
        let mut pieces = Vec::with_capacity(CHUNK);
        loop {
            let piece = data.next().await.transpose()?;
            if let Some(piece) = &piece
                && pieces.len() + piece.len() <= CHUNK
            {
                pieces.extend_from_slice(piece);
                continue;
            }
            let last = piece.is_none();
            let write = move || {
                temporary.write(&pieces)?;
                temporary.write(&piece.unwrap_or_default())?;
                pieces.clear();
                Ok((temporary, pieces))
            };
            (temporary, pieces) = blocking(write).await?;
            if last {
                break;
            }
        }
        blocking(move || container.put(temporary, &object)).await
    }

    async fn object_info(&self, container: String, object: String) -> Result<Metadata, BlobError> {
        self.at(container, move |container| {
            let metadata = container.metadata(&object)?;
            Ok(Metadata { size: metadata.len(), created_at: seconds(metadata.modified()) })
        })
        .await
    }

    async fn has_object(&self, container: String, object: String) -> Result<bool, BlobError> {
        match self.at(container, move |container| container.metadata(&object)).await {
            Ok(_) => Ok(true),
            Err(BlobError::NoSuchObject) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn list_objects(&self, container: String, cursor: Option<String>) -> Result<ObjectPage, BlobError> {
        self.at(container, move |container| {
            listing::page(&container.dir, cursor.as_deref()).map_err(|error| failed(&error))
        })
        .await
    }

    async fn delete_object(&self, container: String, object: String) -> Result<(), BlobError> {
        self.at(container, move |container| container.delete(&object)).await
    }

    async fn delete_objects(&self, container: String, objects: Vec<String>) -> Result<(), BlobError> {
        self.at(container, move |container| objects.iter().try_for_each(|object| container.delete(object))).await
    }

    async fn copy_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        let root = self.root.clone();
        self.at(container, move |container| {
            let (mut file, _) = container.file(&object)?;
            let to = Container::open(root.clone(), to_container)?;
            let mut temporary = Temporary::new(&root)?;
            temporary.copy(&mut file)?;
            to.put(temporary, &to_object)
        })
        .await
    }

    async fn move_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        let root = self.root.clone();
        self.at(container, move |container| {
            container.metadata(&object)?;
            Container::open(root, to_container)?.take(container, &object, &to_object)
        })
        .await
    }
}

/// A part of an open file.
struct Part {
    file: std::fs::File,
    /// In bytes, from the file's beginning.
    at: u64,
    left: u64,
}

impl Part {
    /// The next bytes, at most `most`; fewer only at the end of the part.
    fn next(&mut self, most: usize) -> io::Result<Bytes> {
        use std::io::{Read, Seek, SeekFrom};
        let length = self.left.min(most as u64);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(most));
        self.file.seek(SeekFrom::Start(self.at))?;
        (&self.file).take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length {
            return Err(io::Error::other("the file was cut while it was read"));
        }
        self.at += length;
        self.left -= length;
        Ok(bytes.into())
    }

    fn whole(mut self) -> Result<Bytes, BlobError> {
        self.next(usize::try_from(INLINE).unwrap_or(CHUNK)).map_err(|error| failed(&error))
    }

    fn stream(self) -> ByteStream {
        ByteStream::new(stream::try_unfold(self, |mut part| async move {
            if part.left == 0 {
                return Ok(None);
            }
            let read = blocking(move || part.next(CHUNK).map(|bytes| (bytes, part)).map_err(|error| failed(&error)));
            let cut = |error: BlobError| lattice_provider::wit::CallError::Transport(error.to_string());
            read.await.map(Some).map_err(cut)
        }))
    }
}
