//! `doctor`: looks at everything that a lattice stands on, and says what is wrong with it and how it is mended.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures_util::future::join_all;
use lattice::{
    bus::{Bus, NatsCondition},
    model::{asked::Question, condition::Condition, inventory::HostRecord, status::UnitState},
    wire::CallError,
};
use lattice_view::{
    asking::ask,
    world::{World, now_ms},
};
use serde::Serialize;

use crate::{
    cli::{Format, Global},
    failure::{Failure, Result},
    output::{Output, Paint},
    problems::count,
    toolchain::{self, Rustc, TARGET},
};

/// A machine's clock may differ by so much from the one that this runs on.
const CLOCKS: Duration = Duration::from_secs(2);
/// A disk with less free is nearly full: this part of it, and so much.
const LEAST_FREE: (u64, u64) = (20, 1 << 30);
/// The round trip to NATS takes longer only when something is wrong, or far away.
const SLOW: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Something to know, and nothing to do now.
    Note,
    Bad,
}

/// What one look has found.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    /// What was looked at.
    what: String,
    detail: String,
    /// How it is mended; `null` when nothing is to be done.
    mend: Option<String>,
}

/// Everything that was found.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, what: &str, detail: String) {
        self.0.push(Finding { verdict: Verdict::Ok, what: what.to_owned(), detail, mend: None });
    }

    fn note(&mut self, what: &str, detail: String, mend: String) {
        self.0.push(Finding { verdict: Verdict::Note, what: what.to_owned(), detail, mend: Some(mend) });
    }

    fn bad(&mut self, what: &str, detail: String, mend: String) {
        self.0.push(Finding { verdict: Verdict::Bad, what: what.to_owned(), detail, mend: Some(mend) });
    }
}

pub(crate) async fn run(global: &Global, output: &mut Output) -> Result<()> {
    let mut report = Report::default();
    match global.connect().await {
        Ok(bus) => {
            nats(&bus, &mut report).await;
            match World::read(&bus).await {
                Ok(world) => {
                    lattice(&world, &mut report);
                    machines(&bus, &world, &mut report).await;
                    units(&world, &mut report);
                }
                Err(error) => {
                    let mend = "look at the logs of the servers of NATS: JetStream has no leader, or no room";
                    report.bad("store", error.to_string(), mend.to_owned());
                }
            }
        }
        Err(failure) => {
            let mend = failure.help().unwrap_or_else(|| "see the message".to_owned());
            report.bad("NATS", failure.to_string(), mend);
        }
    }
    toolchain(&mut report);
    show(&report, output)?;
    match report.0.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::Unwell(bad)),
    }
}

fn show(report: &Report, output: &mut Output) -> Result<()> {
    if output.format != Format::Table {
        return output.value(&report.0);
    }
    let width = report.0.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    for Finding { verdict, what, detail, mend } in &report.0 {
        let (paint, word) = match verdict {
            Verdict::Ok => (Paint::Green, "ok  "),
            Verdict::Note => (Paint::Yellow, "note"),
            Verdict::Bad => (Paint::Red, "bad "),
        };
        let word = output.paint(paint, word);
        output.line(&format!("{word}  {what:width$}  {detail}"))?;
        if let Some(mend) = mend {
            output.line(&format!("      {:width$}  -> {mend}", ""))?;
        }
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

async fn nats(bus: &Bus, report: &mut Report) {
    let NatsCondition { server, version, round_trip, storage, streams } = match bus.condition().await {
        Ok(Some(condition)) => condition,
        Ok(None) => return,
        Err(error) => {
            let mend = "start nats-server with -js, and give the account JetStream";
            return report.bad("JetStream", error.to_string(), mend.to_owned());
        }
    };
    let server = format!("nats-server {version} ({server}), {:.1} ms away", round_trip.as_secs_f64() * 1000.0);
    match round_trip > SLOW {
        true => report.note("NATS", server, "name a server that is nearer, or one at this site (--nats)".to_owned()),
        false => report.ok("NATS", server),
    }
    match storage {
        (used, Some(most)) if used >= most / 10 * 9 => report.bad(
            "JetStream",
            format!("{} of {} are used", mib(used), mib(most)),
            "give JetStream more room, or remove what nobody needs: `lattice-ctl artifact prune`".to_owned(),
        ),
        (used, Some(most)) => report.ok("JetStream", format!("{} of {} are used", mib(used), mib(most))),
        (used, None) => report.ok("JetStream", format!("{} are used", mib(used))),
    }
    for stream in &streams {
        if let Some(problem) = &stream.problem {
            let mend = "most of its servers must run: look at their logs, and at `nats stream report`";
            report.bad("stream", format!("{}: {problem}", stream.name), mend.to_owned());
        } else if !stream.behind.is_empty() {
            let detail = format!("{}: the copies on {} are behind", stream.name, stream.behind.join(", "));
            report.bad("stream", detail, "start these servers, or wait until they have caught up".to_owned());
        }
    }
    if streams.iter().all(|stream| stream.problem.is_none() && stream.behind.is_empty()) {
        let copies = streams.iter().map(|stream| stream.copies).min().unwrap_or(0);
        let copies = if copies == 1 { "one copy".to_owned() } else { format!("{copies} copies") };
        report.ok("streams", format!("{}, {copies} of each", mib(streams.iter().map(|stream| stream.bytes).sum())));
    }
}

/// Major and minor number of a release.
fn minor(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn lattice(world: &World, report: &mut Report) {
    let alive: Vec<_> = world.live_hosts().collect();
    let lost: Vec<_> =
        world.hosts.values().map(|entry| &entry.value).filter(|host| !world.alive.contains(&host.host)).collect();
    match alive.is_empty() {
        true => report.bad("hosts", "none is alive".to_owned(), "start one with `lattice-host`".to_owned()),
        false => report.ok("hosts", format!("{} alive", alive.len())),
    }
    if !lost.is_empty() {
        let names: Vec<_> = lost.iter().map(|host| host.host.short()).collect();
        let mend = "start them again, or `lattice-ctl host forget` those that will not come back";
        report.bad("hosts", format!("{} lost: {}", lost.len(), names.join(", ")), mend.to_owned());
    }
    if let Some(holding) = world.holding() {
        let mend = "look at what is between the hosts and NATS: most of them fell silent at once";
        report.bad("planning", holding.to_string(), mend.to_owned());
    }
    let ours = minor(env!("CARGO_PKG_VERSION"));
    let apart = |release: &str| match (minor(release), ours) {
        (Some(theirs), Some(ours)) => theirs.0 != ours.0 || theirs.1.abs_diff(ours.1) > 1,
        _ => true,
    };
    let mut releases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in alive.iter().filter(|host| apart(&host.release)) {
        releases.entry(&host.release).or_default().push(host.host.short());
    }
    for (release, hosts) in releases {
        let detail = format!("{release} on {}, {} here", hosts.join(", "), env!("CARGO_PKG_VERSION"));
        report.bad(
            "releases",
            detail,
            "bring them together: neighbouring minor releases work with each other".to_owned(),
        );
    }
}

/// What hosts say of their machines.
async fn machines(bus: &Bus, world: &World, report: &mut Report) {
    let answers = join_all(world.live_hosts().map(async |host| {
        let began = now_ms();
        let answer = ask::<Condition>(bus, host, Question::Condition, &[(); 0]).await;
        (host, answer, began, now_ms())
    }));
    for (host, answer, began, ended) in answers.await {
        machine(host, answer, began, ended, report);
    }
}

fn machine(
    host: &HostRecord,
    answer: std::result::Result<Condition, CallError>,
    began: u64,
    ended: u64,
    report: &mut Report,
) {
    let what = format!("host {}", host.host.short());
    let condition = match answer {
        Ok(condition) => condition,
        Err(error) => {
            let mend = "look at its log: it beats, and does not answer; an older release cannot";
            return report.bad(&what, error.to_string(), mend.to_owned());
        }
    };
    let before = report.0.len();
    // It was read some time between these two.
    let (ahead, behind) = (condition.clock_ms.saturating_sub(ended), began.saturating_sub(condition.clock_ms));
    for (by, word) in [(ahead, "ahead of"), (behind, "behind")] {
        let by = Duration::from_millis(by);
        if by > CLOCKS {
            let mend = "set its clock, or this one's (NTP): calls by the clock and certificates go by it";
            report.bad(&what, format!("its clock is {} s {word} this machine's", by.as_secs()), mend.to_owned());
        }
    }
    let Condition { disk_free, disk_size, data, .. } = &condition;
    let (part, least) = LEAST_FREE;
    if *disk_size > 0 && *disk_free < (disk_size / part).min(least) {
        let detail = format!("{} of {} are free on the disk of {data}", mib(*disk_free), mib(*disk_size));
        report.bad(&what, detail, "make room, or move it with --data".to_owned());
    }
    if let Some(unkept) = &condition.unkept {
        let mend = "make room on its disk: until then it could not be started again without the lattice";
        report.bad(&what, unkept.clone(), mend.to_owned());
    }
    let Condition { files_open, files_most, .. } = condition;
    if files_most > 0 && files_open > files_most / 10 * 8 {
        let detail = format!("{files_open} of {files_most} files and connections are open");
        report.bad(&what, detail, "raise the limit of open files (LimitNOFILE=, ulimit -n)".to_owned());
    }
    if report.0.len() == before {
        let free = if *disk_size > 0 { format!(", {} free", mib(*disk_free)) } else { String::new() };
        report.ok(&what, format!("{}{free}, {}", host.release, count(host.instances.len(), "instance")));
    }
}

fn units(world: &World, report: &mut Report) {
    let mut well = 0;
    for record in world.apps.values().map(|entry| &entry.value) {
        for unit in world.status(record).units {
            let name = format!("{}/{}", record.name, unit.unit);
            let reason = unit.reason.unwrap_or_else(|| unit.state.to_string());
            let mend = format!("`lattice-ctl why {name}` says more");
            match unit.state {
                UnitState::Ready => well += 1,
                UnitState::Progressing => report.note("unit", format!("{name}: {reason}"), mend),
                UnitState::Failed | UnitState::Degraded => report.bad("unit", format!("{name}: {reason}"), mend),
            }
        }
    }
    report.ok("units", format!("{well} well"));
}

/// Only who writes components needs one.
fn toolchain(report: &mut Report) {
    let found = toolchain::rustc();
    let sysroot = |rustc: &Path| toolchain::sysroot(rustc).unwrap_or_default();
    match found {
        Ok(Rustc::Active) => {
            report.ok("toolchain", format!("rustc for {TARGET} ({})", sysroot(Path::new("rustc"))));
        }
        Ok(Rustc::Other(rustc)) => report.ok("toolchain", format!("rustc for {TARGET} ({})", rustc.display())),
        Err(why) => report.note("toolchain", why.message(), format!("only for components in Rust: {}", why.mend())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(change: impl FnOnce(&mut Condition)) -> Vec<(Verdict, String)> {
        let host = HostRecord::of(format!("N{}", "A".repeat(55)).parse().unwrap());
        let mut condition = Condition {
            clock_ms: 5_000_000,
            data: "/var/lib/lattice".to_owned(),
            disk_free: 50 << 30,
            disk_size: 100 << 30,
            files_open: 100,
            files_most: 1024,
            unkept: None,
        };
        change(&mut condition);
        let mut report = Report::default();
        machine(&host, Ok(condition), 4_999_000, 5_000_500, &mut report);
        report.0.into_iter().map(|finding| (finding.verdict, finding.detail)).collect()
    }

    #[test]
    fn what_is_wrong_with_a_machine_is_named() {
        assert_eq!(told(|_| ()), [(Verdict::Ok, ", 51200 MiB free, 0 instances".to_owned())]);
        let bad = |change: fn(&mut Condition)| {
            let told = told(change);
            assert!(told.len() == 1 && told[0].0 == Verdict::Bad, "{told:?}");
            told[0].1.clone()
        };
        assert_eq!(bad(|c| c.clock_ms += 3_600_500), "its clock is 3600 s ahead of this machine's");
        assert_eq!(bad(|c| c.clock_ms -= 61_000), "its clock is 60 s behind this machine's");
        assert_eq!(bad(|c| c.disk_free = 0), "0 MiB of 102400 MiB are free on the disk of /var/lib/lattice");
        assert_eq!(bad(|c| c.files_open = 1000), "1000 of 1024 files and connections are open");
        assert_eq!(
            bad(|c| c.unkept = Some("the journal cannot be written".to_owned())),
            "the journal cannot be written"
        );
        // A small disk is not nearly full because it is small.
        assert_eq!(told(|c| (c.disk_size, c.disk_free) = (4 << 30, 1 << 30))[0].0, Verdict::Ok);
    }

    #[test]
    fn releases_are_read() {
        assert_eq!((minor("0.1.0"), minor("1.20.3-rc.1"), minor("")), (Some((0, 1)), Some((1, 20)), None));
    }
}
