//! `build`: a component from a project, or from a module.

use std::path::PathBuf;

use lattice::wire::{Digest, Interface};
use serde::Serialize;
use wit_component::ComponentEncoder;

use crate::{
    cli::BuildArgs,
    component::{InspectError, inspect},
    failure::{Failure, Result},
    output::Output,
    project::{Profile, Project},
};

/// What modules of WASI 0.1 import, and what turns that into WASI 0.2: for those with a `main`, and for those without.
const WASI_ONE: &str = "wasi_snapshot_preview1";

/// What was built, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    bytes: u64,
    digest: String,
    imports: Vec<String>,
    exports: Vec<String>,
}

pub(crate) async fn run(args: &BuildArgs, output: &mut Output) -> Result<()> {
    let project = Project::open(&args.project)?;
    let file = match &args.file {
        Some(file) => file.clone(),
        None => place(&project)?,
    };
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    project.build(profile, &file).await?;
    let bytes =
        std::fs::read(&file).map_err(|source| Failure::File { what: "cannot read", path: file.clone(), source })?;
    output.say(&format!("built {} ({} KiB)", file.display(), bytes.len().div_ceil(1024)))?;
    // What a program serves stands in its manifest.
    let (imports, exports) = match project {
        Project::Provider(_) => Default::default(),
        _ => {
            let facts = inspect(&bytes).map_err(|error| Failure::Other(error.to_string()))?.facts;
            (facts.imports, facts.exports)
        }
    };
    let names = |interfaces: Vec<Interface>| interfaces.iter().map(ToString::to_string).collect();
    output.report(&Report {
        bytes: bytes.len() as u64,
        digest: Digest::of(&bytes).to_string(),
        imports: names(imports),
        exports: names(exports),
        file,
    })
}

/// Where a project's component or program comes: beside its source.
pub(crate) fn place(project: &Project) -> Result<PathBuf> {
    if let Project::Provider(folder) = project {
        return Ok(folder.join(project.name()?.as_str()));
    }
    if let Project::File(file) = project {
        // A module stays what it is.
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        return Ok(file.with_file_name(format!("{name}.component.wasm")));
    }
    Ok(project.folder().join(format!("{}.wasm", project.name()?)))
}

/// The bytes of a component; a core module becomes one.
pub(crate) fn component(bytes: Vec<u8>) -> Result<Vec<u8>> {
    if !matches!(inspect(&bytes), Err(InspectError::CoreModule)) {
        return Ok(bytes);
    }
    let wrong = |reason: String| {
        Failure::Refused {
        message: format!("the module cannot become a component: {reason}"),
        help: "a module needs the types of its world in it, as wit-bindgen puts them there; for the target wasm32-wasip2 the \
               compiler makes a component itself"
            .to_owned(),
    }
    };
    // A command has a function `_start`; all else is called.
    let adapter = match exports_start(&bytes) {
        true => wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
        false => wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
    };
    let encoder = ComponentEncoder::default().validate(true).module(&bytes);
    let encoder = encoder.and_then(|encoder| encoder.adapter(WASI_ONE, adapter));
    encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| wrong(format!("{error:#}")))
}

/// Whether a module is a program.
fn exports_start(bytes: &[u8]) -> bool {
    let sections = wasmparser::Parser::new(0).parse_all(bytes).filter_map(|section| section.ok());
    let exports = sections.filter_map(|section| match section {
        wasmparser::Payload::ExportSection(exports) => Some(exports),
        _ => None,
    });
    exports.flatten().any(|export| export.is_ok_and(|export| export.name == "_start"))
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Instruction,
        MemorySection, MemoryType, Module, TypeSection, ValType,
    };

    use super::*;

    /// A module that imports a function of WASI 0.1, with a memory and an empty function of this name.
    fn module(import: &str, function: &str) -> Vec<u8> {
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        let (mut memories, mut exports, mut code) = (MemorySection::new(), ExportSection::new(), CodeSection::new());
        types.ty().function([ValType::I32], []);
        types.ty().function([], []);
        imports.import(import, "proc_exit", EntityType::Function(0));
        functions.function(1);
        memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
        exports.export("memory", ExportKind::Memory, 0).export(function, ExportKind::Func, 1);
        let mut body = Function::new([]);
        body.instruction(&Instruction::End);
        code.function(&body);
        let mut module = Module::new();
        module
            .section(&types)
            .section(&imports)
            .section(&functions)
            .section(&memories)
            .section(&exports)
            .section(&code);
        module.finish()
    }

    #[test]
    fn a_module_of_the_first_wasi_becomes_a_component() {
        let built = component(module(WASI_ONE, "_start")).unwrap();
        let facts = inspect(&built).unwrap().facts;
        let names: Vec<_> = facts.exports.iter().map(|export| export.unversioned().to_owned()).collect();
        assert_eq!(names, ["wasi:cli/run"]);
        // One that is a component already stays what it is.
        assert_eq!(component(built.clone()).unwrap(), built);
        let library = component(module(WASI_ONE, "quote"));
        assert!(library.is_ok_and(|bytes| inspect(&bytes).unwrap().facts.exports.is_empty()));
    }

    #[test]
    fn a_module_that_imports_something_else_is_refused_with_its_name() {
        let failure = component(module("env", "_start")).unwrap_err().to_string();
        assert!(failure.starts_with("the module cannot become a component: ") && failure.contains("env"), "{failure}");
    }
}
