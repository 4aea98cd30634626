//! `inspect`: what a component is, from a file or as it runs.

use std::{collections::BTreeMap, fs, path::Path};

use lattice::{
    model::{
        app::{AppRecord, UnitSpec, links_of_import},
        catalog::is_ambient,
    },
    wire::{Interface, UnitId},
};
use lattice_view::world::World;
use serde::Serialize;
use wit_component::{DecodedWasm, WitPrinter};

use crate::{
    cli::{Format, Global, InspectArgs},
    component::inspect,
    failure::{Failure, Result},
    output::Output,
};

/// What is told, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    /// The file, or the unit.
    of: String,
    digest: String,
    bytes: u64,
    imports: Vec<Import>,
    exports: Vec<String>,
    wit: String,
}

#[derive(Debug, Serialize)]
struct Import {
    interface: String,
    /// Where it leads, for a unit: `null` when it needs no link. Of a file nobody can say.
    to: Option<Vec<String>>,
}

pub(crate) async fn run(global: &Global, args: &InspectArgs, output: &mut Output) -> Result<()> {
    let path = Path::new(&args.of);
    // A unit is called by two words with a / between them, and so may be a file: what is there is meant.
    let (bytes, unit) = match path.exists() {
        true => {
            let read = fs::read(path);
            (read.map_err(|source| Failure::File { what: "cannot read", path: path.to_owned(), source })?, None)
        }
        false => {
            let unit: UnitId = args.of.parse().map_err(|_| Failure::NotFound {
                message: format!("there is no file {}", args.of),
                help: "name a component's file, or a unit as APP/UNIT".to_owned(),
            })?;
            let bus = global.connect().await?;
            let world = World::read(&bus).await?;
            let record = world.app(unit.app.as_str(), &global.lattice)?.value.clone();
            let spec = record.units.get(&unit.unit).ok_or_else(|| Failure::no_unit(&record, &unit.unit))?;
            let digest = match &spec.spec {
                UnitSpec::Component(component) => component.digest.clone(),
                UnitSpec::Provider(provider) => match &provider.program {
                    Some(program) => {
                        return Err(Failure::Refused {
                            message: format!("{unit} is a program: {}", program.image),
                            help: "it has no WIT in it; `lattice-ctl get providers -o json` has what is known of it"
                                .to_owned(),
                        });
                    }
                    None => {
                        return Err(Failure::Refused {
                            message: format!("{unit} is the provider {}", provider.kind),
                            help: "it is a part of the host; README lists its settings".to_owned(),
                        });
                    }
                },
            };
            (bus.artifacts().get(&digest).await?.to_vec(), Some((unit, record)))
        }
    };
    let report = report(args.of.clone(), &bytes, unit.as_ref())?;
    if output.format != Format::Table {
        return output.value(&report);
    }
    output.line(&format!("{}: {} KiB, {}", report.of, report.bytes.div_ceil(1024), report.digest))?;
    for Import { interface, to } in &report.imports {
        let to = to.as_ref().map(|to| format!(" -> {}", to.join(", "))).unwrap_or_default();
        output.line(&format!("import {interface}{to}"))?;
    }
    for export in &report.exports {
        output.line(&format!("export {export}"))?;
    }
    output.line("")?;
    output.line(report.wit.trim_end())
}

fn report(of: String, bytes: &[u8], unit: Option<&(UnitId, AppRecord)>) -> Result<Report> {
    let wrong = |message: String, help: &str| Failure::Refused { message, help: help.to_owned() };
    let inspected = inspect(bytes).map_err(|error| wrong(format!("{of} {error}"), error.help()))?;
    let damaged =
        |error: &dyn std::fmt::Display| wrong(format!("{of} is a damaged component: {error:#}"), "build it again");
    let decoded = wit_component::decode(bytes).map_err(|error| damaged(&error))?;
    let (resolve, main) = match &decoded {
        DecodedWasm::Component(resolve, world) => (resolve, resolve.worlds[*world].package),
        DecodedWasm::WitPackage(resolve, package) => (resolve, Some(*package)),
    };
    let mut printer = WitPrinter::default();
    // What WASI has is known by its name.
    if let Some(main) = main {
        let ours = resolve.packages.iter().filter(|(id, package)| *id != main && package.name.namespace != "wasi");
        let ours: Vec<_> = ours.map(|(id, _)| id).collect();
        printer.print(resolve, main, &ours).map_err(|error| damaged(&error))?;
    }
    let import = |interface: &Interface| Import {
        interface: interface.to_string(),
        to: unit.and_then(|unit| leads(unit, interface)),
    };
    Ok(Report {
        of,
        digest: inspected.facts.digest.to_string(),
        bytes: bytes.len() as u64,
        imports: inspected.facts.imports.iter().map(import).collect(),
        exports: inspected.facts.exports.iter().map(ToString::to_string).collect(),
        wit: printer.output.to_string(),
    })
}

/// Where an import of a unit leads.
fn leads((unit, record): &(UnitId, AppRecord), import: &Interface) -> Option<Vec<String>> {
    let UnitSpec::Component(component) = &record.units.get(&unit.unit)?.spec else { return None };
    let links: BTreeMap<_, _> = links_of_import(import, &component.links).into_iter().collect();
    let to: Vec<_> = links.values().flatten().map(|link| link.to.to_string()).collect();
    match to.is_empty() && is_ambient(import.package()) {
        true => None,
        false if to.is_empty() => Some(vec!["nobody".to_owned()]),
        false => Some(to),
    }
}
