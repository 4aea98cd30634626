//! Objects in one of the stores that the crate `object_store` knows: S3 and what speaks like it, Azure, Google, and memory.
//!
//! A container is a folder of one bucket: the object `b` of container `a` is `<prefix>/a/b` there. That a container was made
//! says an empty object, `<prefix>/.containers/a`; one that has objects is there without it.

mod config;
mod kinds;
mod names;
mod objects;
mod upload;

pub use self::{
    config::{AzureConfig, GcsConfig, MemoryConfig, S3Config, Secret},
    kinds::{Azure, Gcs, Memory, S3},
};
