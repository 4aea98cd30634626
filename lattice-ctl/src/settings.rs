//! Settings of providers, as the providers themselves see them: a host is asked.

use lattice::{
    bus::Bus,
    model::{
        app::UnitSpec,
        asked::Question,
        check::CheckedApp,
        inventory::HostRecord,
        manifest::Manifest,
        problem::Problem,
        settings::{Finding, SettingsOf, SettingsOfProgram, setting},
    },
    wire::{CallError, UnitId},
};
use lattice_view::{asking::ask, world::World};
use serde::{Serialize, de::DeserializeOwned};

use crate::output::Output;

/// So many hosts are asked when others do not answer.
const HOSTS: usize = 3;

/// What the app's providers find wrong with their settings. Without a host that can tell, a note says so.
pub(crate) async fn check(
    bus: &Bus,
    world: &World,
    app: &CheckedApp,
    manifest: &Manifest,
    output: &mut Output,
) -> Vec<Problem> {
    let of = |(name, spec): (&lattice::wire::UnitName, &UnitSpec)| match spec {
        UnitSpec::Provider(provider) if provider.program.is_none() => Some(SettingsOf {
            unit: UnitId::new(app.name.clone(), name.clone()),
            kind: provider.kind.clone(),
            config: provider.config.clone(),
        }),
        _ => None,
    };
    let all: Vec<_> = app.units.iter().filter_map(of).collect();
    if all.is_empty() {
        return Vec::new();
    }
    match first_answer::<Vec<Finding>>(bus, may_tell(world), Question::Settings, &(&all,)).await {
        Some(Ok(findings)) => {
            let found = all.iter().zip(findings).filter_map(|(of, finding)| Some((of, finding?)));
            found.map(|(of, finding)| problem(manifest, &of.unit, &of.kind, &finding)).collect()
        }
        Some(Err(error)) => {
            output.note(&format!("the settings of providers were not checked by a host: {error}"));
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// What the app's own programs find wrong with their settings: a host runs each for that, from the lattice's artifacts.
pub(crate) async fn check_programs(
    bus: &Bus,
    world: &World,
    app: &CheckedApp,
    manifest: &Manifest,
    output: &mut Output,
) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, spec) in &app.units {
        let UnitSpec::Provider(provider) = spec else { continue };
        let Some(program) = provider.program.clone() else { continue };
        let unit = UnitId::new(app.name.clone(), name.clone());
        if matches!(bus.artifacts().has(&program.digest).await, Ok(false)) {
            output.note(&format!(
                "the settings of {unit} are checked by its program when that is in the lattice: by `apply`"
            ));
            continue;
        }
        let of = SettingsOfProgram { unit, program, config: provider.config.clone() };
        let hosts = may_tell(world).filter(|host| lattice_control::may_take(spec, host));
        match first_answer::<Finding>(bus, hosts, Question::Program, &(&of,)).await {
            Some(Ok(finding)) => {
                found.extend(finding.map(|finding| problem(manifest, &of.unit, name.as_str(), &finding)));
            }
            Some(Err(error)) => {
                output.note(&format!("the settings of {} were not checked by its program: {error}", of.unit));
            }
            None => {}
        }
    }
    found
}

fn may_tell(world: &World) -> impl Iterator<Item = &HostRecord> {
    world.live_hosts().filter(|host| !host.leaving)
}

/// What the first of some hosts says that answers, or why the last one did not. `None` without a host: it is said elsewhere that there is
/// none.
async fn first_answer<'h, T: DeserializeOwned>(
    bus: &Bus,
    hosts: impl Iterator<Item = &'h HostRecord>,
    question: Question,
    arguments: &impl Serialize,
) -> Option<Result<T, CallError>> {
    let mut answer = None;
    for host in hosts.take(HOSTS) {
        answer = Some(ask(bus, host, question, arguments).await);
        if matches!(answer, Some(Ok(_))) {
            break;
        }
    }
    answer
}

/// The finding at the setting that it begins with, else at the provider.
fn problem(manifest: &Manifest, unit: &UnitId, says: &str, finding: &str) -> Problem {
    let provider = manifest.spec.providers.0.iter().find(|(name, _)| name.value == unit.unit.as_str());
    let message = format!("{says}: {finding}");
    let Some((name, provider)) = provider else { return Problem::new(message) };
    let key = setting(finding);
    match provider.config.0.iter().find(|(setting, _)| setting.value == key) {
        Some((_, value)) => Problem::at(value, message),
        None => Problem::at(provider.kind.as_ref().unwrap_or(name), message),
    }
}
