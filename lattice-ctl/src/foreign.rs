//! Units of other apps that a manifest links to: what they are.

use std::collections::BTreeMap;

use lattice::{
    bus::Bus,
    model::{app::UnitSpec, check::ComponentFacts, manifest::Manifest},
};
use lattice_view::world::World;

use crate::{component::inspect, wit::Wit};

/// What the lattice knows of them, by `app/unit`. One whose artifact cannot be had is not among them: it is checked only by
/// the names of its interfaces when it is called.
pub(crate) async fn facts(bus: &Bus, world: &World, manifest: &Manifest) -> BTreeMap<String, ComponentFacts> {
    let mut facts = BTreeMap::new();
    for (.., link) in manifest.links() {
        let name = &link.to.value;
        let Some((app, unit)) = name.split_once('/').filter(|_| !facts.contains_key(name)) else { continue };
        let units = world.apps.get(app).map(|entry| &entry.value.units);
        let unit = units.and_then(|units| units.iter().find(|(known, _)| known.as_str() == unit));
        if let Some((_, unit)) = unit
            && let Some(found) = of(bus, &unit.spec).await
        {
            facts.insert(name.clone(), found);
        }
    }
    facts
}

/// Of a provider of the catalog there is nothing to know beyond its kind.
async fn of(bus: &Bus, spec: &UnitSpec) -> Option<ComponentFacts> {
    match spec {
        UnitSpec::Component(component) => {
            let bytes = bus.artifacts().get(&component.digest).await.ok()?;
            Some(inspect(&bytes).ok()?.facts)
        }
        UnitSpec::Provider(provider) => {
            let program = provider.program.as_ref()?;
            let wit = Wit::of(bus, program).await;
            if wit.is_none() && program.wit.is_some() {
                return None;
            }
            Some(ComponentFacts {
                digest: program.digest.clone(),
                imports: Vec::new(),
                exports: program.serves.clone(),
                import_shapes: BTreeMap::new(),
                export_shapes: wit.map(|wit| wit.shapes()).unwrap_or_default(),
                wit: program.wit.clone(),
            })
        }
    }
}
