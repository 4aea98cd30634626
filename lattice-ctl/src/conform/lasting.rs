//! What every provider promises beside the rules of its interface: what it has acknowledged is there when its process was
//! killed, and when its backend was away; and while that is away, calls fail at once, and its health says so.

use std::time::{Duration, Instant};

use lattice_provider::{
    Health,
    conformance::{Check, Lasting},
};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{process::Provider, report::Outcome};

/// Things that are written before something is taken away.
const BEFORE: u32 = 50;
/// How long a call may take while the backend is away.
const AT_ONCE: Duration = Duration::from_secs(3);
/// Calls that are made meanwhile.
const CALLS: u32 = 5;
/// How long calls may still succeed when the backend was taken away: a command may return too early.
const GONE: Duration = Duration::from_secs(15);
/// How long the health may take to tell it.
const TOLD: Duration = Duration::from_secs(20);
/// How long a provider may take to find its backend again.
const RECOVERY: Duration = Duration::from_secs(30);
/// How long a command of the user may take.
const COMMAND: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

const FAIL_AT_ONCE: &str = "calls_fail_at_once_while_the_backend_is_away";
const HEALTH: &str = "its_health_says_that_the_backend_is_away";
const RECOVERS: &str = "it_recovers_when_the_backend_is_back";
const KEPT: &str = "what_was_acknowledged_is_there_when_the_backend_is_back";
const KILLED: &str = "what_was_acknowledged_is_there_when_the_process_was_killed";

/// The shell commands that take the backend away and bring it back.
#[derive(Clone, Copy)]
pub(super) struct Backend<'a> {
    pub(super) stop: Option<&'a str>,
    pub(super) start: Option<&'a str>,
}

/// What came out of these checks.
#[derive(Default)]
pub(super) struct Checked(pub(super) Vec<(&'static str, Outcome)>);

impl Checked {
    /// Of a capability by which nothing is written.
    pub(super) fn nothing() -> Self {
        let all = [FAIL_AT_ONCE, HEALTH, RECOVERS, KEPT, KILLED];
        Self(all.map(|name| (name, Outcome::LeftOut("nothing is written by it"))).into())
    }

    fn add(&mut self, name: &'static str, outcome: impl Into<Outcome>) {
        self.0.push((name, outcome.into()));
    }
}

pub(super) async fn check(
    provider: &mut Provider,
    lasting: &dyn Lasting,
    backend: Backend<'_>,
    in_memory: bool,
    begins: &mut impl FnMut(&'static str),
) -> Checked {
    let mut checked = Checked::default();
    let mut written = Written { lasting, next: 0, acknowledged: Vec::new() };
    let mut ready = lasting.prepare().await;
    if let (Some(stop), Some(start)) = (backend.stop, backend.start) {
        begins(FAIL_AT_ONCE);
        away(provider, &mut written, (stop, start), &ready, &mut checked).await;
        // What has come back may have been started without what was made before.
        if ready.is_ok() {
            ready = written.one().await;
        }
    } else {
        for name in [FAIL_AT_ONCE, HEALTH, RECOVERS, KEPT] {
            checked.add(name, Outcome::LeftOut("--stop and --start are not given"));
        }
    }
    begins(KILLED);
    let outcome = match (in_memory, lasting.keeps(), ready) {
        (true, ..) => Outcome::LeftOut("not kept: its data is in memory alone"),
        (_, false, _) => Outcome::LeftOut("not kept: a message is gone when it was brought"),
        (_, _, Ok(())) => killed(provider, &mut written).await.into(),
        (_, _, failed) => failed.into(),
    };
    checked.add(KILLED, outcome);
    lasting.clear().await;
    checked
}

/// What was written so far.
struct Written<'a> {
    lasting: &'a dyn Lasting,
    next: u32,
    acknowledged: Vec<u32>,
}

impl Written<'_> {
    /// Writes another one.
    async fn one(&mut self) -> Check {
        let number = self.next;
        self.next += 1;
        self.lasting.write(number).await?;
        self.acknowledged.push(number);
        Ok(())
    }

    /// The same, and looks whether it is there. Where nothing is kept, whoever looks may not be back yet: then it does not count.
    async fn another(&mut self) -> Check {
        let number = self.next;
        self.one().await?;
        if self.lasting.keeps() || self.lasting.has(number).await? {
            return Ok(());
        }
        self.acknowledged.pop();
        Err("what was acknowledged did not arrive".to_owned())
    }

    async fn some(&mut self) -> Check {
        for _ in 0..BEFORE {
            self.one().await?;
        }
        self.all_there().await
    }

    /// Fails when one of those that were acknowledged is not there.
    async fn all_there(&self) -> Check {
        let mut lost = Vec::new();
        for number in &self.acknowledged {
            if !self.lasting.has(*number).await? {
                lost.push(*number);
            }
        }
        match lost.first() {
            None => Ok(()),
            Some(first) => {
                let (lost, all) = (lost.len(), self.acknowledged.len());
                Err(format!("{lost} of {all} that were acknowledged are not there, the first is number {first}"))
            }
        }
    }
}

async fn killed(provider: &mut Provider, written: &mut Written<'_>) -> Check {
    written.some().await?;
    // One more, so that nothing was asked for since.
    written.one().await?;
    provider.restart().await.map_err(|failure| failure.to_string())?;
    written.all_there().await
}

/// The checks around a backend that goes and comes back.
async fn away(
    provider: &Provider,
    written: &mut Written<'_>,
    (stop, start): (&str, &str),
    ready: &Check,
    checked: &mut Checked,
) {
    let before = match ready {
        Ok(()) => written.some().await,
        Err(reason) => Err(reason.clone()),
    };
    let stopped = match before {
        Ok(()) => shell("--stop", stop).await,
        Err(reason) => Err(format!("before the backend was taken away: {reason}")),
    };
    let known = written.acknowledged.len();
    let gone = match &stopped {
        Ok(()) => until_gone(written).await,
        Err(reason) => Err(reason.clone()),
    };
    match gone {
        Ok(first) => {
            let others = fail_at_once(written).await;
            checked.add(FAIL_AT_ONCE, first.and(others));
            checked.add(HEALTH, health(provider, TOLD, |health| *health != Health::Ready).await);
        }
        Err(reason) => {
            checked.add(FAIL_AT_ONCE, Err(reason.clone()));
            checked.add(HEALTH, Err(reason));
        }
    }
    if !written.lasting.keeps() {
        // What is sent when nobody is there any more may be lost on its way.
        written.acknowledged.truncate(known);
    }
    let started = shell("--start", start).await;
    let recovered = match started.and(stopped) {
        Ok(()) => recovered(provider, written).await,
        Err(reason) => Err(reason),
    };
    let kept = match &recovered {
        Ok(()) => written.all_there().await,
        Err(reason) => Err(reason.clone()),
    };
    checked.add(RECOVERS, recovered);
    checked.add(KEPT, kept);
}

/// Runs a command of the user.
async fn shell(option: &str, command: &str) -> Check {
    let output = Command::new("sh").args(["-c", command]).kill_on_drop(true).output();
    let output = timeout(COMMAND, output).await;
    let output = output.map_err(|_| format!("the command of {option} has not ended after {} s", COMMAND.as_secs()))?;
    let output = output.map_err(|error| format!("the command of {option} cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("the command of {option} ended with {}: {}", output.status, said.trim()))
}

/// Calls until one fails, and gives whether that one ended in time; an error when none does.
async fn until_gone(written: &mut Written<'_>) -> Result<Check, String> {
    let given_up = Instant::now() + GONE;
    loop {
        match timed(written).await {
            Ok(Ok(())) if Instant::now() > given_up => {
                return Err(format!("calls succeed {} s after the backend was taken away", GONE.as_secs()));
            }
            Ok(Ok(())) => sleep(LOOK).await,
            Ok(Err(_)) => return Ok(Ok(())),
            Err(slow) => return Ok(Err(slow)),
        }
    }
}

async fn fail_at_once(written: &mut Written<'_>) -> Check {
    for _ in 0..CALLS {
        if timed(written).await?.is_ok() {
            return Err("a call succeeded while the backend was away".to_owned());
        }
    }
    Ok(())
}

/// One call, which must end in time.
async fn timed(written: &mut Written<'_>) -> Result<Check, String> {
    let started = Instant::now();
    let outcome = timeout(AT_ONCE * 4, written.one()).await;
    match (outcome, started.elapsed()) {
        (Ok(outcome), took) if took <= AT_ONCE => Ok(outcome),
        (Ok(_), took) => Err(format!("a call took {took:.1?}; {AT_ONCE:?} is the limit")),
        (Err(_), _) => Err(format!("a call did not end within {:?}", AT_ONCE * 4)),
    }
}

/// Waits until the process says that it is as `wanted`.
async fn health(provider: &Provider, limit: Duration, wanted: impl Fn(&Health) -> bool) -> Check {
    let mut health = provider.health().ok_or("its process is not there")?;
    let found = timeout(limit, health.wait_for(wanted)).await.map(|told| told.map(drop));
    match found {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err("its process has ended".to_owned()),
        Err(_) => Err(match &*health.borrow() {
            Health::Ready => format!("it still says `ready` after {} s", limit.as_secs()),
            Health::Degraded(why) => format!("it still says `degraded` after {} s: {why}", limit.as_secs()),
        }),
    }
}

async fn recovered(provider: &Provider, written: &mut Written<'_>) -> Check {
    let given_up = Instant::now() + RECOVERY;
    loop {
        let reason = match timeout(RECOVERY, written.another()).await {
            Ok(Ok(())) => break,
            Ok(Err(reason)) => reason,
            Err(_) => format!("a call did not end within {} s", RECOVERY.as_secs()),
        };
        if Instant::now() > given_up {
            return Err(format!("calls still fail {} s after it was back: {reason}", RECOVERY.as_secs()));
        }
        sleep(LOOK).await;
    }
    health(provider, RECOVERY, |health| *health == Health::Ready).await
}
