//! A container as guests hold it, and the names in it.

use std::{collections::VecDeque, sync::Arc};

use lattice_provider::blobstore::{BlobError, Blobstore};
use wasmtime::component::Resource;

use super::{
    Answer, CONTAINER, answer,
    bindings::wasi::blobstore::container::{self, ContainerMetadata, ObjectMetadata},
    there,
    values::{IncomingValue, OutgoingValue},
};
use crate::runtime::guest::Guest;

/// What a guest holds as `container`: its name.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Container(pub(super) String);

/// What a guest holds as `stream-object-names`: at most a page of names.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Names {
    container: String,
    ready: VecDeque<String>,
    /// Where the next page begins; none after the last one.
    cursor: Option<String>,
}

/// Names in one answer at the most: a guest decides, so it is clamped.
const MAX_NAMES: u64 = 10_000;

impl Names {
    /// Takes up to `most` names, and whether they were the last ones.
    async fn take(&mut self, store: &dyn Blobstore, most: usize) -> Result<(Vec<String>, bool), BlobError> {
        let mut taken = Vec::new();
        loop {
            let count = self.ready.len().min(most - taken.len());
            taken.extend(self.ready.drain(..count));
            // When enough was taken it still must be known whether there is a further name.
            if !self.ready.is_empty() || self.cursor.is_none() {
                return Ok((taken, self.ready.is_empty()));
            }
            let page = store.list_objects(self.container.clone(), self.cursor.clone()).await?;
            (self.ready, self.cursor) = (page.objects.into(), page.cursor);
        }
    }
}

impl Guest {
    /// What the store calls a container, and where calls to it go.
    fn container(&self, container: &Resource<Container>) -> Answer<(String, Arc<dyn Blobstore>)> {
        let name = self.table.get(container)?.0.clone();
        Ok(self.objects(CONTAINER).map(|objects| (objects.container(name), objects.store)))
    }

    async fn take_names(&mut self, names: Resource<Names>, most: u64) -> Answer<(Vec<String>, bool)> {
        let store = there!(self.objects(CONTAINER)).store;
        let most = usize::try_from(most.min(MAX_NAMES))?;
        answer(self.table.get_mut(&names)?.take(&*store, most).await)
    }
}

impl container::Host for Guest {}

impl container::HostContainer for Guest {
    async fn name(&mut self, container: Resource<Container>) -> Answer<String> {
        Ok(Ok(self.table.get(&container)?.0.clone()))
    }

    async fn info(&mut self, container: Resource<Container>) -> Answer<ContainerMetadata> {
        let (stored, store) = there!(self.container(&container)?);
        let created = store.container_created(stored).await;
        let name = self.table.get(&container)?.0.clone();
        answer(created.map(|created_at| ContainerMetadata { name, created_at }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<IncomingValue>> {
        let (name, store) = there!(self.container(&container)?);
        match store.read(name, object, start, end).await {
            Ok((size, data)) => Ok(Ok(self.table.push(IncomingValue { size, data })?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        object: String,
        value: Resource<OutgoingValue>,
    ) -> Answer<()> {
        let (name, store) = there!(self.container(&container)?);
        Ok(self.table.get_mut(&value)?.begin(store, name, object))
    }

    async fn list_objects(&mut self, container: Resource<Container>) -> Answer<Resource<Names>> {
        let (container, store) = there!(self.container(&container)?);
        // The first page is asked for here, so that a container that is not there is an error here.
        let page = there!(answer(store.list_objects(container.clone(), None).await)?);
        Ok(Ok(self.table.push(Names { container, ready: page.objects.into(), cursor: page.cursor })?))
    }

    async fn delete_object(&mut self, container: Resource<Container>, object: String) -> Answer<()> {
        let (name, store) = there!(self.container(&container)?);
        answer(store.delete_object(name, object).await)
    }

    async fn delete_objects(&mut self, container: Resource<Container>, objects: Vec<String>) -> Answer<()> {
        let (name, store) = there!(self.container(&container)?);
        answer(store.delete_objects(name, objects).await)
    }

    async fn has_object(&mut self, container: Resource<Container>, object: String) -> Answer<bool> {
        let (name, store) = there!(self.container(&container)?);
        answer(store.has_object(name, object).await)
    }

    async fn object_info(&mut self, container: Resource<Container>, object: String) -> Answer<ObjectMetadata> {
        let (stored, store) = there!(self.container(&container)?);
        let found = there!(answer(store.object_info(stored, object.clone()).await)?);
        let container = self.table.get(&container)?.0.clone();
        Ok(Ok(ObjectMetadata { name: object, container, created_at: found.created_at, size: found.size }))
    }

    async fn clear(&mut self, container: Resource<Container>) -> Answer<()> {
        let (name, store) = there!(self.container(&container)?);
        answer(store.clear_container(name).await)
    }

    async fn drop(&mut self, container: Resource<Container>) -> wasmtime::Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for Guest {
    async fn read_stream_object_names(&mut self, names: Resource<Names>, most: u64) -> Answer<(Vec<String>, bool)> {
        self.take_names(names, most).await
    }

    async fn skip_stream_object_names(&mut self, names: Resource<Names>, count: u64) -> Answer<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let names = Resource::new_borrow(names.rep());
            let (taken, last) = there!(self.take_names(names, count - skipped).await?);
            skipped += taken.len() as u64;
            if last || skipped == count {
                return Ok(Ok((skipped, last)));
            }
        }
    }

    async fn drop(&mut self, names: Resource<Names>) -> wasmtime::Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}
