//! Settings of providers, as the providers themselves see them: a host is asked.

use lattice::{
    bus::Bus,
    model::{
        app::UnitSpec,
        asked::Question,
        check::CheckedApp,
        manifest::Manifest,
        problem::Problem,
        settings::{Finding, SettingsOf, setting},
    },
    wire::UnitId,
};
use lattice_view::{asking::ask, world::World};

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
    let mut why = None;
    for host in world.live_hosts().filter(|host| !host.leaving).take(HOSTS) {
        match ask::<Vec<Finding>>(bus, host, Question::Settings, &(&all,)).await {
            Ok(findings) => {
                let found = all.iter().zip(findings).filter_map(|(of, finding)| Some((of, finding?)));
                return found.map(|(of, finding)| problem(manifest, of, &finding)).collect();
            }
            Err(error) => why = Some(error),
        }
    }
    // Without a host it is said elsewhere that there is none.
    if let Some(error) = why {
        output.note(&format!("the settings of providers were not checked by a host: {error}"));
    }
    Vec::new()
}

/// The finding at the setting that it begins with, else at the provider.
fn problem(manifest: &Manifest, of: &SettingsOf, finding: &str) -> Problem {
    let provider = manifest.spec.providers.0.iter().find(|(name, _)| name.value == of.unit.unit.as_str());
    let message = format!("{}: {finding}", of.kind);
    let Some((name, provider)) = provider else { return Problem::new(message) };
    let key = setting(finding);
    match provider.config.0.iter().find(|(setting, _)| setting.value == key) {
        Some((_, value)) => Problem::at(value, message),
        None => Problem::at(provider.kind.as_ref().unwrap_or(name), message),
    }
}
