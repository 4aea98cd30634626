//! Components that are composed into one when they are loaded: calls between them never leave the guest.

use lattice::wire::Interface;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId, types::Package};

/// A component that becomes a part of another one.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// What of the other one's imports it satisfies.
    pub(super) interfaces: Vec<Interface>,
}

/// Why components cannot be composed.
#[derive(Debug, thiserror::Error)]
pub enum FuseError {
    #[error("cannot read a component that is to be fused: {0}")]
    Read(String),
    #[error("nothing exports {0}, for which it is to be fused")]
    Missing(String),
    #[error("cannot compose the components: {0}")]
    Compose(String),
}

/// One component out of `main` and what satisfies its imports. What the parts import themselves is imported by the whole.
pub(super) fn compose(main: Vec<u8>, parts: Vec<Part>) -> Result<Vec<u8>, FuseError> {
    let mut graph = CompositionGraph::new();
    let main = register(&mut graph, "main", main)?;
    let instance = graph.instantiate(main);
    for (number, part) in parts.into_iter().enumerate() {
        let package = register(&mut graph, &format!("part-{number}"), part.bytes)?;
        plug(&mut graph, instance, package, &part.interfaces)?;
    }
    for name in exports(&graph, main) {
        let export = graph.alias_instance_export(instance, &name).map_err(compose_error)?;
        graph.export(export, &name).map_err(compose_error)?;
    }
    graph.encode(EncodeOptions::default()).map_err(compose_error)
}

fn compose_error(error: impl std::fmt::Display) -> FuseError {
    FuseError::Compose(error.to_string())
}

fn register(graph: &mut CompositionGraph, name: &str, bytes: Vec<u8>) -> Result<PackageId, FuseError> {
    let package = Package::from_bytes(name, None, bytes, graph.types_mut());
    let package = package.map_err(|error| FuseError::Read(format!("{error:#}")))?;
    graph.register_package(package).map_err(compose_error)
}

fn exports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    graph.types()[graph[package].ty()].exports.keys().cloned().collect()
}

/// Satisfies those imports of `instance` that `interfaces` name with exports of an instance of `part`.
fn plug(
    graph: &mut CompositionGraph,
    instance: NodeId,
    part: PackageId,
    interfaces: &[Interface],
) -> Result<(), FuseError> {
    let exports: Vec<Interface> = exports(graph, part).iter().filter_map(|name| name.parse().ok()).collect();
    let part = graph.instantiate(part);
    for import in interfaces {
        let export = exports.iter().find(|export| export.satisfies(import));
        let export = export.ok_or_else(|| FuseError::Missing(import.to_string()))?;
        let export = graph.alias_instance_export(part, &export.to_string()).map_err(compose_error)?;
        graph.set_instantiation_argument(instance, &import.to_string(), export).map_err(compose_error)?;
    }
    Ok(())
}
