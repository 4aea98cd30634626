//! `wasi:blobstore@0.2.0-draft` for guests: a container is a name that stays in the host, a value is a stream between the
//! guest and the store; each call goes where the manifest's link leads at that moment.

mod container;
mod values;

use std::sync::Arc;

use lattice_provider::blobstore::{BlobError, Blobstore};
use wasmtime::component::{HasSelf, Linker, Resource};

use self::{
    bindings::wasi::blobstore::{
        blobstore::{self, ObjectId},
        container as container_interface, types,
    },
    container::Container,
};
use super::guest::Guest;
use crate::links::Link;

mod bindings {
    wasmtime::component::bindgen!({
        path: ["../wit/deps/io", "../wit/deps/blobstore"],
        world: "wasi:blobstore/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:blobstore/types.outgoing-value": super::values::OutgoingValue,
            "wasi:blobstore/types.incoming-value": super::values::IncomingValue,
            "wasi:blobstore/container.container": super::container::Container,
            "wasi:blobstore/container.stream-object-names": super::container::Names,
        },
    });
}

/// The interfaces, without a version.
const BLOBSTORE: &str = "wasi:blobstore/blobstore";
const CONTAINER: &str = "wasi:blobstore/container";

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    container_interface::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    blobstore::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

/// The outer error traps (a host fault or a made-up handle); the inner one is a value for the guest.
type Answer<T> = wasmtime::Result<Result<T, String>>;

fn answer<T>(outcome: Result<T, BlobError>) -> Answer<T> {
    Ok(outcome.map_err(|error| error.to_string()))
}

/// Where objects are, and what containers are called there.
struct Objects {
    store: Arc<dyn Blobstore>,
    link: Arc<Link>,
}

impl Objects {
    /// What the store calls a guest's container.
    fn container(&self, name: String) -> String {
        self.link.stored_name(name)
    }
}

const UNLINKED: &str = "no link in the manifest satisfies this import";

impl Guest {
    /// By which link calls of `interface` go now.
    fn objects(&self, interface: &str) -> Result<Objects, String> {
        let links = self.links.capability(interface);
        let link = links.and_then(|links| links.get(self.link_names.chosen(interface)));
        let link = link.ok_or_else(|| UNLINKED.to_owned())?.clone();
        Ok(Objects { store: link.blobstore(self.until()), link })
    }
}

/// What a guest's call goes on with, or the guest's error.
macro_rules! there {
    ($outcome:expr) => {
        match $outcome {
            Ok(there) => there,
            Err(error) => return Ok(Err(error)),
        }
    };
}
use there;

impl blobstore::Host for Guest {
    async fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        let objects = there!(self.objects(BLOBSTORE));
        match objects.store.create_container(objects.container(name.clone())).await {
            Ok(()) => Ok(Ok(self.table.push(Container(name))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        let objects = there!(self.objects(BLOBSTORE));
        match objects.store.container_exists(objects.container(name.clone())).await {
            Ok(true) => Ok(Ok(self.table.push(Container(name))?)),
            Ok(false) => answer(Err(BlobError::NoSuchContainer)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn delete_container(&mut self, name: String) -> Answer<()> {
        let objects = there!(self.objects(BLOBSTORE));
        answer(objects.store.delete_container(objects.container(name)).await)
    }

    async fn container_exists(&mut self, name: String) -> Answer<bool> {
        let objects = there!(self.objects(BLOBSTORE));
        answer(objects.store.container_exists(objects.container(name)).await)
    }

    async fn copy_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let objects = there!(self.objects(BLOBSTORE));
        let (source, target) = (objects.container(from.container), objects.container(to.container));
        answer(objects.store.copy_object(source, from.object, target, to.object).await)
    }

    async fn move_object(&mut self, from: ObjectId, to: ObjectId) -> Answer<()> {
        let objects = there!(self.objects(BLOBSTORE));
        let (source, target) = (objects.container(from.container), objects.container(to.container));
        answer(objects.store.move_object(source, from.object, target, to.object).await)
    }
}
