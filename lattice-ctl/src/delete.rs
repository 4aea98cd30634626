//! `delete`: removes an app, and waits until nothing of it runs.

use std::time::Duration;

use lattice::{
    bus::{Bus, Table},
    model::check::links_to,
    wire::AppName,
};
use lattice_view::world::{Follower, World};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout_at};

use crate::{
    cli::{DeleteArgs, Global, Waiting},
    failure::{Failure, Result},
    output::Output,
    progress::Progress,
    source::Source,
};

pub(crate) async fn run(global: &Global, args: &DeleteArgs, output: &mut Output) -> Result<()> {
    let name = match (&args.app, &args.file) {
        (Some(app), _) => app.clone(),
        (None, Some(file)) => Source::read(file)?.parse()?.metadata.name.value,
        (None, None) => return Err(Failure::Other("name an app".to_owned())),
    };
    delete(&global.connect().await?, &name, args.force, args.waiting, output).await
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    app: &'a str,
    /// Whether nothing of it runs any more.
    gone: bool,
}

async fn delete(bus: &Bus, name: &str, force: bool, waiting: Waiting, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let app = world.app(name, bus.lattice())?.value.name.clone();
    if !force {
        unused(&world, &app)?;
    }
    // Whatever somebody else makes of it meanwhile: it shall be gone.
    bus.store().apps().delete(name).await?;
    forget(&bus.store().history(), &app).await?;
    output.say(&format!("app {name}: deleted"))?;
    let gone = !waiting.no_wait;
    if gone {
        until_gone(bus, &app, waiting.timeout, output).await?;
        output.say(&format!("app {name}: nothing of it runs any more"))?;
        forget(&bus.store().ticks(), &app).await?;
    }
    output.report(&Report { app: name, gone })
}

/// Refuses while another app is linked to a unit of `app`.
fn unused(world: &World, app: &AppName) -> Result<()> {
    for other in world.apps.values().map(|entry| &entry.value) {
        if let Some((user, unit)) = links_to(other, app).first() {
            return Err(Failure::Refused {
                message: format!("app {app} is in use: `{user}` is linked to `{app}/{unit}`"),
                help: format!("change or delete app {} first, or add --force", other.name),
            });
        }
    }
    Ok(())
}

/// Deletes all that a table has of an app: one of the same name begins anew.
pub(crate) async fn forget<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static>(
    table: &Table<T>,
    app: &AppName,
) -> Result<()> {
    for key in table.list_of(app.as_str()).await?.keys() {
        table.delete(&format!("{app}.{key}")).await?;
    }
    Ok(())
}

async fn until_gone(bus: &Bus, app: &AppName, timeout: Duration, output: &mut Output) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let mut follower = Follower::new(bus);
    let mut progress = Progress::default();
    let mut last = Vec::new();
    let outcome = loop {
        let Ok(world) = timeout_at(deadline, follower.next()).await else {
            let message = format!("app {app} still runs {} s after it was deleted: ", timeout.as_secs());
            let remains = if last.is_empty() { "the store has not answered".to_owned() } else { last.join(", ") };
            break Err(Failure::NotReady { app: app.clone(), message: message + &remains });
        };
        last = world.remains(app);
        if last.is_empty() {
            break Ok(());
        }
        if world.apps.contains_key(app.as_str()) {
            break Err(Failure::Overtaken(format!("app {app} was applied again while it was being deleted")));
        }
        progress.show(output, &format!("app {app}: waiting for {}", last.join(", ")));
    };
    progress.clear(output);
    outcome
}

#[cfg(test)]
mod tests {
    use lattice::model::schedule::Tick;

    use super::*;
    use crate::{
        cli::Format,
        wait::tests::{Fake, TINY},
    };

    const WAITING: Waiting = Waiting { no_wait: false, timeout: Duration::from_secs(5) };

    #[tokio::test(start_paused = true)]
    async fn an_unknown_app_names_the_nearest() {
        let fake = Fake::new();
        fake.app(TINY).await;
        let (mut output, _) = Output::captured(Format::Table);
        let failure = delete(&fake.bus, "shpo", false, WAITING, &mut output).await.unwrap_err();
        assert_eq!(failure.exit_code(), 6);
        assert_eq!(failure.help().as_deref(), Some("did you mean `shop`?"));
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_until_no_live_host_runs_it() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        let (mut output, captured) = Output::captured(Format::Table);
        let failure = delete(&fake.bus, "shop", false, WAITING, &mut output).await.unwrap_err();
        assert_eq!(failure.exit_code(), 5);
        assert_eq!(failure.to_string(), "app shop still runs 5 s after it was deleted: cache on NAAAAAAA (ready)");
        assert!(fake.bus.store().apps().get("shop").await.unwrap().is_none());
        assert_eq!(captured.remarks(), "app shop: waiting for cache on NAAAAAAA (ready)\n");

        let ticks = fake.bus.store().ticks();
        for app in ["shop", "other"] {
            ticks.put(&format!("{app}.clock.beat"), &Tick { version: 1, at: 1, open: false }).await.unwrap();
        }
        // A host that is gone does not count.
        fake.bus.store().beats().delete(&crate::wait::tests::host("A").to_string()).await.unwrap();
        fake.app(TINY).await;
        delete(&fake.bus, "shop", false, WAITING, &mut output).await.unwrap();
        assert_eq!(ticks.list().await.unwrap().into_keys().collect::<Vec<_>>(), ["other.clock.beat"]);
        assert_eq!(captured.out(), "app shop: deleted\napp shop: deleted\napp shop: nothing of it runs any more\n");
    }
}
