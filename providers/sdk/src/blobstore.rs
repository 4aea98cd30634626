//! Stores of objects: `wasi:blobstore@0.2.0-draft` without its resources. Container and object are names that go with each
//! call, so any instance of any backend can answer any call; what is read and written are streams.

mod cutter;

use async_trait::async_trait;
use lattice::wire::{MAX_CONTAINER, MAX_OBJECT, MAX_OBJECTS};

use crate::ByteStream;

mod made {
    crate::generate!({ path: "../../wit/blobstore" });
}

pub use cutter::Cutter;
pub use made::store::{
    Error as BlobError, FUNCTIONS, Handler as BlobstoreHandler, Metadata, ObjectPage, Remote as BlobstoreRemote,
    Store as Blobstore, interface,
};

impl BlobError {
    /// An error of a backend, in words.
    pub fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Objects of at most so many bytes may go with the answer instead of a stream of their own: it saves a round trip.
pub const INLINE: u64 = 64 * 1024;
/// How many names a page has at most.
pub const PAGE: usize = 1000;
/// How many bytes the names of a page have, or a few more: a page of long names fits a message of a stock NATS server.
const PAGE_BYTES: usize = 256 * 1024;

/// Makes a page out of names that come in order, from the cursor on.
#[derive(Debug, Default)]
pub struct PageBuilder {
    page: ObjectPage,
    bytes: usize,
}

impl PageBuilder {
    /// Takes the next name, or returns `false`: the page is full. The cursor is then the last name that it has.
    pub fn push(&mut self, name: impl Into<String>) -> bool {
        if self.page.objects.len() >= PAGE || self.bytes >= PAGE_BYTES {
            self.page.cursor = self.page.objects.last().cloned();
            return false;
        }
        let name = name.into();
        self.bytes += name.len();
        self.page.objects.push(name);
        true
    }

    /// The page; its cursor is there when a name had no room.
    pub fn finish(self) -> ObjectPage {
        self.page
    }
}

/// The bytes from `start` to `end`, both included, that an object of `size` bytes has: where they begin, and how many.
pub fn range(start: u64, end: u64, size: u64) -> Result<(u64, u64), BlobError> {
    if start > end {
        return Err(BlobError::Other(format!("a range from {start} to {end} ends before it begins")));
    }
    let start = start.min(size);
    Ok((start, end.saturating_add(1).min(size) - start))
}

/// Why `name` is no name of a container. Those that begin with a dot are for the backends themselves.
fn container_ok(name: &str) -> Result<(), BlobError> {
    let bad = |why: &str| Err(BlobError::Other(format!("{name:?} is no name of a container: {why}")));
    match name {
        "" => bad("it is empty"),
        name if name.len() > MAX_CONTAINER => bad(&format!("it has more than {MAX_CONTAINER} bytes")),
        name if name.starts_with('.') => bad("it begins with a dot"),
        name if name.contains(['/', '\\']) || name.chars().any(char::is_control) => {
            bad("it has a slash or a control character")
        }
        _ => Ok(()),
    }
}

/// Why `name` is no name of an object: what every backend can keep is a path of parts.
fn object_ok(name: &str) -> Result<(), BlobError> {
    let bad = |why: &str| Err(BlobError::Other(format!("{name:?} is no name of an object: {why}")));
    match name {
        "" => bad("it is empty"),
        name if name.len() > MAX_OBJECT => bad(&format!("it has more than {MAX_OBJECT} bytes")),
        name if name.chars().any(char::is_control) => bad("it has a control character"),
        name if name.split('/').any(|part| matches!(part, "" | "." | "..")) => {
            bad("a part of it between slashes is empty, `.` or `..`")
        }
        _ => Ok(()),
    }
}

/// Whether it is a name that components may give to an object: what others have put beside them is not listed.
pub fn is_object(name: &str) -> bool {
    object_ok(name).is_ok()
}

/// Puts the rules for names in front of a backend, so that what one backend takes every other takes as well.
pub struct Limited<B>(pub B);

fn both_ok(container: &str, object: &str) -> Result<(), BlobError> {
    container_ok(container)?;
    object_ok(object)
}

#[async_trait]
impl<B: Blobstore> Blobstore for Limited<B> {
    async fn create_container(&self, container: String) -> Result<(), BlobError> {
        container_ok(&container)?;
        self.0.create_container(container).await
    }
    async fn delete_container(&self, container: String) -> Result<(), BlobError> {
        container_ok(&container)?;
        self.0.delete_container(container).await
    }
    async fn container_exists(&self, container: String) -> Result<bool, BlobError> {
        container_ok(&container)?;
        self.0.container_exists(container).await
    }
    async fn container_created(&self, container: String) -> Result<u64, BlobError> {
        container_ok(&container)?;
        self.0.container_created(container).await
    }
    async fn clear_container(&self, container: String) -> Result<(), BlobError> {
        container_ok(&container)?;
        self.0.clear_container(container).await
    }
    async fn read(
        &self,
        container: String,
        object: String,
        start: u64,
        end: u64,
    ) -> Result<(u64, ByteStream), BlobError> {
        both_ok(&container, &object)?;
        range(start, end, u64::MAX)?;
        self.0.read(container, object, start, end).await
    }
    async fn write(&self, container: String, object: String, data: ByteStream) -> Result<(), BlobError> {
        both_ok(&container, &object)?;
        self.0.write(container, object, data).await
    }
    async fn object_info(&self, container: String, object: String) -> Result<Metadata, BlobError> {
        both_ok(&container, &object)?;
        self.0.object_info(container, object).await
    }
    async fn has_object(&self, container: String, object: String) -> Result<bool, BlobError> {
        both_ok(&container, &object)?;
        self.0.has_object(container, object).await
    }
    async fn list_objects(&self, container: String, cursor: Option<String>) -> Result<ObjectPage, BlobError> {
        container_ok(&container)?;
        self.0.list_objects(container, cursor).await
    }
    async fn delete_object(&self, container: String, object: String) -> Result<(), BlobError> {
        both_ok(&container, &object)?;
        self.0.delete_object(container, object).await
    }
    async fn delete_objects(&self, container: String, objects: Vec<String>) -> Result<(), BlobError> {
        container_ok(&container)?;
        if objects.len() > MAX_OBJECTS {
            let count = objects.len();
            return Err(BlobError::Other(format!("{count} names in one call are over the limit of {MAX_OBJECTS}")));
        }
        objects.iter().try_for_each(|object| object_ok(object))?;
        self.0.delete_objects(container, objects).await
    }
    async fn copy_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        both_ok(&container, &object)?;
        both_ok(&to_container, &to_object)?;
        self.0.copy_object(container, object, to_container, to_object).await
    }
    async fn move_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        both_ok(&container, &object)?;
        both_ok(&to_container, &to_object)?;
        self.0.move_object(container, object, to_container, to_object).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_place_are_none() {
        for bad in ["", ".", "..", "a/..", "../a", "/a", "a/", "a//b", "a/./b", "a\0", "a\nb", &"x".repeat(1025)] {
            assert!(object_ok(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b", "...", ".a", "a b*?%~[]\\|", "é", &"x".repeat(1024)] {
            assert_eq!(object_ok(good), Ok(()), "{good:?}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "a\\b", "\0", &"x".repeat(129)] {
            assert!(container_ok(bad).is_err(), "{bad:?}");
        }
        assert_eq!(container_ok("photos of 2026"), Ok(()));
    }

    #[test]
    fn a_range_has_both_its_ends_and_stops_with_the_object() {
        assert_eq!(range(0, 0, 10), Ok((0, 1)));
        assert_eq!(range(3, 5, 10), Ok((3, 3)));
        assert_eq!(range(0, u64::MAX, 10), Ok((0, 10)));
        assert_eq!(range(10, 20, 10), Ok((10, 0)));
        assert_eq!(range(0, 5, 0), Ok((0, 0)));
        assert!(range(5, 4, 10).is_err());
    }

    #[test]
    fn a_page_ends_when_it_is_full() {
        let mut builder = PageBuilder::default();
        let taken = (0..).take_while(|n: &i32| builder.push(n.to_string())).count();
        assert_eq!(taken, PAGE);
        assert_eq!(builder.finish().cursor.as_deref(), Some("999"));
        let mut builder = PageBuilder::default();
        assert!(builder.push("only"));
        assert_eq!(builder.finish(), ObjectPage { objects: vec!["only".into()], cursor: None });
    }
}
