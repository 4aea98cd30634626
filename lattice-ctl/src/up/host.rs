//! A host of our own.

use std::{env, fs, path::Path, time::Duration};

use lattice::bus::Bus;
use lattice_view::world::World;
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use crate::{
    child::Child,
    cli::Global,
    failure::{Failure, Result},
    secrets,
};

const PROGRAM: &str = "lattice-host";
/// How long a host may take to join.
const START: Duration = Duration::from_secs(30);
/// How long a sign of life outlives its host.
const BEAT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// Whether a host is alive. One sign of life may be the last one of a host that was just killed; two are not.
pub(super) async fn is_alive(bus: &Bus) -> Result<bool> {
    let beats = bus.store().beats();
    let first = beats.list().await?;
    let deadline = Instant::now() + BEAT;
    while !first.is_empty() && Instant::now() < deadline {
        let now = beats.list().await?;
        if now.iter().any(|(host, beat)| first.get(host).is_none_or(|before| before.revision != beat.revision)) {
            return Ok(true);
        }
        sleep(LOOK).await;
    }
    Ok(false)
}

/// The program that is beside this one, else the one on PATH.
pub(crate) fn program() -> Command {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(PROGRAM))).filter(|f| f.is_file());
    beside.map_or_else(|| Command::new(PROGRAM), Command::new)
}

/// Starts it.
pub(super) fn start(global: &Global, data: &Path, allow_programs: bool) -> Result<Child> {
    let key = data.join("secrets.xk");
    if !key.exists() {
        secrets::write_key(&key)?;
    }
    let mut command = program();
    command.args(["--lattice", global.lattice.as_str(), "--data"]).arg(data.join("host"));
    command.arg("--secrets-key").arg(key);
    if allow_programs {
        command.arg("--allow-programs");
    }
    // In the environment, not in arguments: everybody on the machine may read those.
    let nats = &global.nats;
    command.env("NATS_URL", nats.urls.join(","));
    let paths = [
        ("NATS_CREDS", &nats.creds),
        ("NATS_NKEY", &nats.nkey),
        ("NATS_CA", &nats.ca),
        ("NATS_CERT", &nats.cert),
        ("NATS_KEY", &nats.key),
    ];
    command.envs(paths.into_iter().filter_map(|(name, path)| Some((name, path.as_ref()?))));
    let texts = [("NATS_USER", &nats.user), ("NATS_PASSWORD", &nats.password), ("NATS_TOKEN", &nats.token)];
    command.envs(texts.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))));
    if nats.tls {
        command.env("NATS_TLS", "true");
    }
    Child::start(PROGRAM, &mut command, data).map_err(|failure| match failure {
        Failure::Start { message, .. } => Failure::Start {
            message,
            help: Some("put lattice-host beside lattice-ctl or on PATH; `cargo build --bins` makes both".to_owned()),
        },
        other => other,
    })
}

/// Waits until the host says that it is ready, and the lattice knows it.
pub(super) async fn until_joined(child: &mut Child, bus: &Bus) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        child.still_runs()?;
        let said = fs::read_to_string(&child.out).unwrap_or_default();
        if said.lines().any(|line| line.contains(" ready")) && !World::read(bus).await?.alive.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(child.failed(&format!("has not joined after {} s", START.as_secs())));
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::inventory::Beat;

    use super::*;
    use crate::wait::tests::{Fake, host};

    #[tokio::test(start_paused = true)]
    async fn the_last_sign_of_life_is_not_life() {
        let fake = Fake::new();
        assert!(!is_alive(&fake.bus).await.unwrap());
        fake.beat("A").await;
        assert!(!is_alive(&fake.bus).await.unwrap());
        let beats = fake.bus.store().beats();
        let (alive, ()) = tokio::join!(is_alive(&fake.bus), async {
            sleep(Duration::from_secs(1)).await;
            beats.put(host("A").as_str(), &Beat { count: 2, load: Default::default() }).await.unwrap();
        });
        assert!(alive.unwrap());
    }
}
