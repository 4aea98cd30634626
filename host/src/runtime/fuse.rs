//! Components that are composed into one when they are loaded: calls between them never leave the guest.

use lattice::wire::Interface;
use wac_graph::{
    CompositionGraph, EncodeOptions, NodeId, PackageId,
    types::{ItemKind, Package},
};

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
        let names = named(&graph, main, part.interfaces);
        plug(&mut graph, instance, package, &names)?;
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

/// What `main` imports of `interfaces`, by the names of its imports.
fn named(graph: &CompositionGraph, main: PackageId, interfaces: Vec<Interface>) -> Vec<String> {
    let imports = &graph.types()[graph[main].ty()].imports;
    let names = interfaces.into_iter().flat_map(|interface| match interface.unversioned() {
        Interface::ROOT => {
            let alone = imports.iter().filter(|(_, kind)| matches!(kind, ItemKind::Func(_) | ItemKind::Type(_)));
            alone.map(|(name, _)| name.clone()).collect()
        }
        _ => vec![interface.to_string()],
    });
    names.collect()
}

/// Satisfies those imports of `instance` that `names` names with exports of an instance of `part`.
fn plug(graph: &mut CompositionGraph, instance: NodeId, part: PackageId, names: &[String]) -> Result<(), FuseError> {
    let exports = exports(graph, part);
    let part = graph.instantiate(part);
    for import in names {
        let serves = |export: &&String| match (export.parse::<Interface>(), import.parse::<Interface>()) {
            (Ok(export), Ok(import)) => export.satisfies(&import),
            _ => *export == import,
        };
        let export = exports.iter().find(serves).ok_or_else(|| FuseError::Missing(import.clone()))?;
        let export = graph.alias_instance_export(part, export).map_err(compose_error)?;
        graph.set_instantiation_argument(instance, import, export).map_err(compose_error)?;
    }
    Ok(())
}
