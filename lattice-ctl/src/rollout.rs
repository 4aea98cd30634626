//! `rollout`: how far a revision has come, and whether it goes on.

use lattice::{
    bus::Bus,
    model::{
        app::AppRecord,
        rollout::RolloutOrder,
        status::{AppStatus, RolloutState, RolloutStatus, UnitStatus},
    },
    wire::UnitName,
};
use lattice_view::world::World;
use serde::Serialize;

use crate::{
    cli::{Format, Global, RolloutCommand},
    failure::{Failure, Result},
    output::{Output, table},
    revision::{Written, again},
};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    app: &'a str,
    revision: u64,
    #[serde(flatten)]
    rollout: &'a RolloutStatus,
    units: Vec<Unit<'a>>,
}

#[derive(Debug, Serialize)]
struct Unit<'a> {
    unit: &'a UnitName,
    /// In which it last changed.
    revision: u64,
    wanted: u32,
    /// Copies of this revision, in whatever state.
    updated: usize,
    ready: u32,
    /// Copies of other revisions.
    before: usize,
}

impl<'a> Unit<'a> {
    fn of(unit: &'a UnitStatus) -> Self {
        let updated = unit.instances.iter().filter(|instance| instance.revision == unit.revision).count();
        let before = unit.instances.len() - updated;
        Self { unit: &unit.unit, revision: unit.revision, wanted: unit.wanted, updated, ready: unit.ready, before }
    }
}

pub(crate) async fn run(global: &Global, command: &RolloutCommand, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    match command {
        RolloutCommand::Status { app } => {
            let world = World::read(&bus).await?;
            show(&world.status(&world.app(app, bus.lattice())?.value), output)
        }
        RolloutCommand::Pause { app } => {
            let record = order(&bus, app, |_| RolloutOrder::Pause).await?;
            output.line(&format!("app {app}: the rollout of revision {} is paused", record.revision))
        }
        RolloutCommand::Resume { app, waiting } => {
            let record = order(&bus, app, |status| match status.state {
                RolloutState::Failed => RolloutOrder::Insist,
                _ => RolloutOrder::Proceed,
            });
            let record = record.await?;
            output.note(&format!("the rollout of revision {} goes on", record.revision));
            Written { record, changes: None }.see_through(&bus, *waiting, &[], output).await
        }
    }
}

/// Says how the rollout of the newest revision shall go on.
async fn order(bus: &Bus, app: &str, what: impl Fn(&RolloutStatus) -> RolloutOrder) -> Result<AppRecord> {
    again(async || {
        let world = World::read(bus).await?;
        let entry = world.app(app, bus.lattice())?;
        let mut record = entry.value.clone();
        let rollout = world.status(&record).rollout;
        if rollout.state == RolloutState::Complete {
            return Err(Failure::Refused {
                message: format!("app {app}: revision {} has run everywhere already", record.revision),
                help: format!("`lattice-ctl rollback {app}` goes back to an earlier one"),
            });
        }
        record.order = what(&rollout);
        if record.order != entry.value.order {
            bus.store().apps().update(app, &record, entry.revision).await?;
        }
        Ok(record)
    })
    .await
}

fn show(status: &AppStatus, output: &mut Output) -> Result<()> {
    let units: Vec<_> = status.units.iter().map(Unit::of).collect();
    if output.format != Format::Table {
        let AppStatus { app, revision, rollout, .. } = status;
        return output.value(&Report { app: app.as_str(), revision: *revision, rollout, units });
    }
    let rows = units.iter().map(|unit| {
        let Unit { wanted, updated, ready, before, .. } = unit;
        vec![
            unit.unit.to_string(),
            unit.revision.to_string(),
            format!("{updated}/{wanted}"),
            format!("{ready}/{wanted}"),
            before.to_string(),
        ]
    });
    let lines = table(&["UNIT", "REVISION", "UPDATED", "READY", "BEFORE"], rows);
    output.line(&format!("app {}: revision {}: {}", status.app, status.revision, sentence(&status.rollout)))?;
    lines.iter().try_for_each(|line| output.line(line))
}

/// `paused; revision 3 ran everywhere`
pub(crate) fn sentence(rollout: &RolloutStatus) -> String {
    let reason = rollout.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let before = match rollout {
        RolloutStatus { state: RolloutState::Complete, .. } => String::new(),
        RolloutStatus { complete: Some(complete), .. } => format!("; revision {complete} ran everywhere"),
        RolloutStatus { complete: None, .. } => "; none has run everywhere yet".to_owned(),
    };
    format!("{}{reason}{before}", rollout.state)
}

#[cfg(test)]
mod tests {
    use lattice::model::{
        assignment::PlanReport,
        rollout::{RolloutFailure, RolloutReport},
    };

    use super::*;
    use crate::wait::tests::{Fake, TINY};

    async fn report(fake: &Fake, rollout: RolloutReport) {
        let plans = fake.bus.store().plans();
        let plan = plans.get("shop").await.unwrap().unwrap().value;
        plans.put("shop", &PlanReport { rollout: Some(rollout), ..plan }).await.unwrap();
    }

    async fn shown(fake: &Fake) -> String {
        let world = World::read(&fake.bus).await.unwrap();
        let (mut output, captured) = Output::captured(Format::Table);
        show(&world.status(&world.apps["shop"].value), &mut output).unwrap();
        captured.out()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rollout_is_shown_paused_and_insisted_on() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.plan(&record, &["A"]).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        report(&fake, RolloutReport::default()).await;
        let unit = "UNIT   REVISION  UPDATED  READY  BEFORE\ncache  1         1/1      1/1    0\n";
        assert_eq!(
            shown(&fake).await,
            format!("app shop: revision 1: progressing; none has run everywhere yet\n{unit}")
        );
        order(&fake.bus, "shop", |_| RolloutOrder::Pause).await.unwrap();
        assert!(shown(&fake).await.starts_with("app shop: revision 1: paused; none"));
        let failed = RolloutFailure { unit: "cache".parse().unwrap(), reason: "5 of 5 calls failed".into() };
        report(&fake, RolloutReport { complete: 0, failed: Some(failed) }).await;
        assert!(shown(&fake).await.starts_with("app shop: revision 1: failed: cache: 5 of 5 calls failed; none"));
        let insisted = order(&fake.bus, "shop", |status| match status.state {
            RolloutState::Failed => RolloutOrder::Insist,
            _ => RolloutOrder::Proceed,
        });
        assert_eq!(insisted.await.unwrap().order, RolloutOrder::Insist);
        report(&fake, RolloutReport { complete: 1, failed: None }).await;
        assert!(shown(&fake).await.starts_with("app shop: revision 1: complete\n"));
        let refused = order(&fake.bus, "shop", |_| RolloutOrder::Pause).await.unwrap_err();
        assert_eq!(refused.to_string(), "app shop: revision 1 has run everywhere already");
    }
}
