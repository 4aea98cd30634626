//! What a component's bytes say of themselves.

use std::collections::BTreeMap;

use lattice::{
    model::{check::ComponentFacts, shape::InterfaceShape},
    wire::{Digest, Interface},
};
use wit_component::DecodedWasm;
use wit_parser::{InterfaceId, Resolve, TypeDefKind, WorldItem, WorldKey};

use crate::shape::Shapes;

const MAGIC: &[u8] = b"\0asm";
/// The format's version, and the layer that tells a component from a core module.
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
const CORE_MODULE: [u8; 4] = [1, 0, 0, 0];

/// A component that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspected {
    pub(crate) facts: ComponentFacts,
}

/// Why bytes are no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InspectError {
    #[error("is empty")]
    Empty,
    #[error("is a core WebAssembly module, not a component")]
    CoreModule,
    #[error("is not WebAssembly: it begins with {0}")]
    NotWasm(String),
    #[error("is WebAssembly in text form, not binary")]
    Text,
    #[error("has WebAssembly's format version {0:02x?}, which is not that of a component")]
    Version([u8; 4]),
    #[error("is truncated: it ends after {len} bytes, in the middle of a section")]
    Truncated { len: usize },
    #[error("is a WIT package in binary form, not a component")]
    WitPackage,
    #[error("is a damaged component: {0}")]
    Damaged(String),
}

impl InspectError {
    pub(crate) fn help(&self) -> &'static str {
        match self {
            Self::CoreModule => {
                "compile for the target wasm32-wasip2, which makes components, or turn the module into one with \
                 `wasm-tools component new`"
            }
            Self::Text => "turn it into binary with `wasm-tools parse`",
            Self::WitPackage => "name the component that was built from it",
            Self::Empty | Self::Truncated { .. } => "build or copy it again",
            Self::Version(_) | Self::Damaged(_) => "build it again with a current toolchain",
            Self::NotWasm(_) => "name a component: a .wasm file made for the target wasm32-wasip2",
        }
    }
}

/// Reads a component's digest, imports and exports.
pub(crate) fn inspect(bytes: &[u8]) -> Result<Inspected, InspectError> {
    check_header(bytes)?;
    check_sections(bytes)?;
    let (resolve, world) = match wit_component::decode(bytes) {
        Ok(DecodedWasm::Component(resolve, world)) => (resolve, world),
        Ok(DecodedWasm::WitPackage(..)) => return Err(InspectError::WitPackage),
        Err(error) => return Err(InspectError::Damaged(format!("{error:#}"))),
    };
    let world = &resolve.worlds[world];
    let mut shapes = Shapes::of_world(&resolve, world);
    let imports = interfaces(&resolve, &mut shapes, &world.imports)?;
    let exports = interfaces(&resolve, &mut shapes, &world.exports)?;
    let names = |shapes: &BTreeMap<Interface, InterfaceShape>| shapes.keys().cloned().collect();
    Ok(Inspected {
        facts: ComponentFacts {
            digest: Digest::of(bytes),
            imports: names(&imports),
            exports: names(&exports),
            import_shapes: imports,
            export_shapes: exports,
            wit: None,
        },
    })
}

/// The interfaces of one side of a world. Functions that stand by themselves there are one, too.
fn interfaces<'a>(
    resolve: &Resolve,
    shapes: &mut Shapes<'_>,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Result<BTreeMap<Interface, InterfaceShape>, InspectError> {
    let mut found = BTreeMap::new();
    let mut root = InterfaceShape::default();
    for (key, item) in items {
        let (name, id) = match (key, item) {
            (WorldKey::Name(name), WorldItem::Function(function)) => {
                root.functions.insert(name.clone(), shapes.function(function));
                continue;
            }
            (WorldKey::Name(_), WorldItem::Type { .. }) => continue,
            (WorldKey::Name(name), WorldItem::Interface { id, .. }) => (name.clone(), *id),
            (WorldKey::Interface(id), _) => (resolve.id_of(*id).unwrap_or_default(), *id),
        };
        if does_something(resolve, id) {
            found.insert(interface(&name)?, shapes.of(id));
        }
    }
    if !root.functions.is_empty() {
        found.insert(interface(Interface::ROOT)?, root);
    }
    Ok(found)
}

fn interface(name: &str) -> Result<Interface, InspectError> {
    name.parse().map_err(|error| InspectError::Damaged(format!("{error}")))
}

/// An interface of plain types is imported for their names alone, and needs nobody to serve it.
fn does_something(resolve: &Resolve, id: InterfaceId) -> bool {
    let interface = &resolve.interfaces[id];
    let is_resource = |id| matches!(resolve.types[id].kind, TypeDefKind::Resource);
    !interface.functions.is_empty() || interface.types.values().any(|id| is_resource(*id))
}

fn check_header(bytes: &[u8]) -> Result<(), InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).trim_start().to_owned();
        let wat = text.starts_with("(module") || text.starts_with("(component") || text.starts_with(";;");
        return Err(if wat { InspectError::Text } else { InspectError::NotWasm(beginning(bytes)) });
    };
    match rest.first_chunk::<4>() {
        Some(&COMPONENT) => Ok(()),
        Some(&CORE_MODULE) => Err(InspectError::CoreModule),
        Some(&version) => Err(InspectError::Version(version)),
        None => Err(InspectError::Truncated { len: bytes.len() }),
    }
}

/// How bytes begin, for people to recognise.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    match bytes {
        [0x7f, b'E', b'L', b'F', ..] => return "the mark of a native program (ELF)".to_owned(),
        [b'P', b'K', 3, 4, ..] => return "the mark of a zip archive".to_owned(),
        [0x1f, 0x8b, ..] => return "the mark of gzip".to_owned(),
        _ => {}
    }
    let line = bytes.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = &line[..line.len().min(24)];
    match std::str::from_utf8(line) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => format!("`{text}`"),
        _ => {
            let hex: Vec<_> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
            format!("the bytes {}", hex.join(" "))
        }
    }
}

/// Walks the outermost sections: each says how long it is, so a file that was cut off is told from a broken one.
fn check_sections(bytes: &[u8]) -> Result<(), InspectError> {
    let truncated = InspectError::Truncated { len: bytes.len() };
    let mut rest = &bytes[8..];
    while let Some((_, after_id)) = rest.split_first() {
        let (size, after_size) = leb(after_id).ok_or(truncated.clone())?;
        rest = usize::try_from(size).ok().and_then(|size| after_size.get(size..)).ok_or(truncated.clone())?;
    }
    Ok(())
}

/// A number in WebAssembly's variable length, of at most 32 bits.
fn leb(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use wasm_encoder::{
        ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType, ExportSection, InstanceType, Module,
        PrimitiveValType,
    };

    use super::*;

    /// A component with these imports and exports, of one function `run` each.
    pub(crate) fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
        typed(&without_numbers(imports), &without_numbers(exports))
    }

    fn without_numbers<'n>(names: &[&'n str]) -> Vec<(&'n str, Option<PrimitiveValType>)> {
        names.iter().map(|name| (*name, None)).collect()
    }

    /// A component whose functions `run` take a number of these types. What it exports it imports under another name,
    /// in a package that needs no link: that spares it code.
    pub(crate) fn typed(
        imports: &[(&str, Option<PrimitiveValType>)],
        exports: &[(&str, Option<PrimitiveValType>)],
    ) -> Vec<u8> {
        let mut builder = ComponentBuilder::default();
        for (index, (interface, number)) in imports.iter().chain(exports).enumerate() {
            let mut instance = InstanceType::new();
            let params = number.iter().map(|ty| ("number", ComponentValType::Primitive(*ty)));
            instance.ty().function().params(params.collect::<Vec<_>>()).result(None);
            instance.export("run", ComponentTypeRef::Func(0));
            let ty = ComponentTypeRef::Instance(builder.type_instance(None, &instance));
            if index < imports.len() {
                builder.import(*interface, ty);
            } else {
                let inner = builder.import(format!("wasi:cli/inner-{index}"), ty);
                builder.export(*interface, ComponentExportKind::Instance, inner, None);
            }
        }
        builder.finish()
    }

    fn names(interfaces: &[Interface]) -> Vec<String> {
        interfaces.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_component_tells_its_imports_and_exports() {
        let bytes = component(
            &["wasi:keyvalue/store@0.2.0-draft", "wasi:io/streams@0.2.3"],
            &["wasi:http/incoming-handler@0.2.3"],
        );
        let inspected = inspect(&bytes).unwrap();
        assert_eq!(inspected.facts.digest, Digest::of(&bytes));
        assert_eq!(names(&inspected.facts.exports), ["wasi:http/incoming-handler@0.2.3"]);
        assert!(names(&inspected.facts.imports).contains(&"wasi:keyvalue/store@0.2.0-draft".to_owned()));
    }

    #[test]
    fn functions_come_with_their_types() {
        let quote: Interface = "acme:pricing/quote@1.0.0".parse().unwrap();
        let bytes = typed(&[], &[("acme:pricing/quote@1.0.0", Some(PrimitiveValType::U64))]);
        let facts = inspect(&bytes).unwrap().facts;
        assert_eq!(facts.export_shapes[&quote].functions["run"].signature, "func(number: u64)");
    }

    #[test]
    fn functions_and_types_without_an_interface() {
        let mut builder = ComponentBuilder::default();
        let (ty, mut function) = builder.type_function(None);
        function.params([] as [(&str, ComponentValType); 0]).result(None);
        builder.import("now", ComponentTypeRef::Func(ty));
        let empty = builder.type_instance(None, &InstanceType::new());
        builder.import("acme:shared/types", ComponentTypeRef::Instance(empty));
        let inspected = inspect(&builder.finish()).unwrap();
        assert_eq!(names(&inspected.facts.imports), ["$root"]);
        let root = &inspected.facts.import_shapes[&inspected.facts.imports[0]];
        assert_eq!(root.functions["now"].signature, "func()");
    }

    #[test]
    fn what_is_no_component_is_named() {
        let mut module = Module::new();
        module.section(&ExportSection::new());
        let good = component(&["wasi:io/streams@0.2.3"], &[]);
        let cut = &good[..good.len() - 3];
        for (bytes, expected) in [
            (module.finish().as_slice(), "is a core WebAssembly module, not a component"),
            (b"", "is empty"),
            (b"#!/bin/sh\necho", "is not WebAssembly: it begins with `#!/bin/sh`"),
            (b"\x7fELF\x02\x01", "is not WebAssembly: it begins with the mark of a native program (ELF)"),
            (b"\xff\xfe\x00", "is not WebAssembly: it begins with the bytes ff fe 00"),
            (b"\n (module)", "is WebAssembly in text form, not binary"),
            (b"\0asm\x0d", "is truncated: it ends after 5 bytes, in the middle of a section"),
            (
                b"\0asm\x07\0\x01\0",
                "has WebAssembly's format version [07, 00, 01, 00], which is not that of a component",
            ),
        ] {
            assert_eq!(inspect(bytes).unwrap_err().to_string(), expected);
        }
        assert_eq!(inspect(cut), Err(InspectError::Truncated { len: cut.len() }));
        let mut broken = good;
        broken.extend([99, 1, 0]);
        assert!(matches!(inspect(&broken), Err(InspectError::Damaged(_))));
    }
}
