//! What has happened since we last looked, for whoever follows events. Pure: nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::{
        app::AppRecord,
        assignment::PlanReport,
        event::{Happening, Kind},
        rollout::RolloutReport,
    },
    wire::{AppName, HostId},
};

use crate::liveness::Verdict;

/// The lattice as it was when we last looked.
#[derive(Default)]
pub(crate) struct News {
    before: Option<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Whether each is alive; those of which nobody can say keep what they were.
    hosts: BTreeMap<HostId, bool>,
    apps: BTreeMap<AppName, App>,
}

/// How far an app has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct App {
    revision: u64,
    complete: u64,
    failed: bool,
}

impl App {
    fn of(revision: u64, rollout: Option<&RolloutReport>) -> Self {
        let complete = rollout.map_or(0, |rollout| rollout.complete);
        Self { revision, complete, failed: rollout.is_some_and(|rollout| rollout.failed.is_some()) }
    }
}

impl News {
    /// What is new. `known` are the hosts that have an inventory; `plans` is what controllers have written of apps, by which one that has just
    /// begun knows how far they were.
    pub(crate) fn look<'a>(
        &mut self,
        known: &BTreeSet<HostId>,
        verdict: &Verdict,
        apps: impl IntoIterator<Item = &'a AppRecord>,
        reports: &BTreeMap<AppName, PlanReport>,
        plans: impl IntoIterator<Item = (&'a AppName, &'a PlanReport)>,
    ) -> Vec<Happening> {
        let before = self.before.take().unwrap_or_else(|| Seen {
            // Which hosts were there it does not know: those that are now are no news.
            hosts: known.iter().map(|host| (host.clone(), verdict.alive.contains(host))).collect(),
            apps: plans
                .into_iter()
                .map(|(app, plan)| (app.clone(), App::of(plan.revision, plan.rollout.as_ref())))
                .collect(),
        });
        let was = |host: &HostId| before.hosts.get(host).copied();
        let mut now = Seen::default();
        for host in known {
            let alive = match verdict.silent.contains(host) {
                true => was(host),
                false => Some(verdict.alive.contains(host)),
            };
            now.hosts.extend(alive.map(|alive| (host.clone(), alive)));
        }
        let mut news = Vec::new();
        for (host, alive) in &now.hosts {
            let kind = match (was(host), alive) {
                (None, true) => Kind::HostJoined,
                (Some(true), false) => Kind::HostLost,
                (Some(false), true) => Kind::HostBack,
                _ => continue,
            };
            news.push(Happening::new(kind, host, []));
        }
        for record in apps {
            let rollout = reports.get(&record.name).filter(|report| report.revision == record.revision);
            let rollout = rollout.and_then(|report| report.rollout.as_ref());
            let then = before.apps.get(&record.name).copied();
            let app = App::of(record.revision, rollout);
            // One that was not planned in this round is as far as it was.
            let app =
                if rollout.is_none() { App { complete: then.map_or(0, |then| then.complete), ..app } } else { app };
            now.apps.insert(record.name.clone(), app);
            if then.is_none_or(|then| then.revision != app.revision) {
                let cause = (!record.cause.is_empty()).then(|| record.cause.clone());
                let data = [("revision", app.revision.into()), ("cause", cause.into())];
                news.push(Happening::new(Kind::AppApplied, &record.name, data));
            }
            let new =
                |of: fn(App) -> bool| of(app) && then.is_none_or(|then| then.revision != app.revision || !of(then));
            if new(|app| app.complete == app.revision) {
                news.push(Happening::new(Kind::RolloutComplete, &record.name, [("revision", app.revision.into())]));
            }
            if let Some(failed) = rollout.and_then(|rollout| rollout.failed.as_ref()).filter(|_| new(|app| app.failed))
            {
                let data = [
                    ("revision", app.revision.into()),
                    ("unit", failed.unit.to_string().into()),
                    ("reason", failed.reason.clone().into()),
                ];
                news.push(Happening::new(Kind::RolloutFailed, &record.name, data));
            }
        }
        let left = before.hosts.keys().filter(|host| !known.contains(*host));
        news.extend(left.map(|host| Happening::new(Kind::HostLeft, host, [])));
        let deleted = before.apps.keys().filter(|app| !now.apps.contains_key(*app));
        news.extend(deleted.map(|app| Happening::new(Kind::AppDeleted, app, [])));
        self.before = Some(now);
        news
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use lattice::model::rollout::RolloutFailure;

    use super::*;

    fn host(letter: &str) -> HostId {
        format!("N{}", letter.repeat(55)).parse().unwrap()
    }

    fn app(revision: u64) -> AppRecord {
        let units = BTreeMap::from([]);
        let record =
            AppRecord::next("shop".parse().unwrap(), None, String::new(), [].into(), units, [].into()).unwrap();
        AppRecord { revision, cause: "apply".to_owned(), ..record }
    }

    fn told(
        news: &mut News,
        known: &[&str],
        alive: &[&str],
        silent: &[&str],
        app: Option<&AppRecord>,
        report: Option<RolloutReport>,
    ) -> Vec<String> {
        let of = |letters: &[&str]| letters.iter().map(|letter| host(letter)).collect::<BTreeSet<_>>();
        let verdict = Verdict { alive: of(alive), silent: of(silent) };
        let reports = app.into_iter().map(|app| {
            let report = PlanReport { version: 1, revision: app.revision, units: [].into(), rollout: report.clone() };
            (app.name.clone(), report)
        });
        let happened = news.look(&of(known), &verdict, app, &reports.collect(), []);
        happened.iter().map(|h| format!("{} {}", h.kind.name(), h.subject.get(..2).unwrap_or(&h.subject))).collect()
    }

    #[test]
    fn hosts_come_are_lost_come_back_and_leave() {
        let mut news = News::default();
        assert!(told(&mut news, &["A"], &["A"], &[], None, None).is_empty(), "what is there is no news");
        assert_eq!(told(&mut news, &["A", "B"], &["A", "B"], &[], None, None), ["host.joined NB"]);
        assert!(told(&mut news, &["A", "B"], &["A"], &["B"], None, None).is_empty(), "nobody can say");
        assert_eq!(told(&mut news, &["A", "B"], &["A"], &[], None, None), ["host.lost NB"]);
        assert!(told(&mut news, &["A", "B"], &["A"], &[], None, None).is_empty(), "told once");
        assert_eq!(told(&mut news, &["A", "B"], &["A", "B"], &[], None, None), ["host.back NB"]);
        assert_eq!(told(&mut news, &["A"], &["A"], &[], None, None), ["host.left NB"]);
    }

    #[test]
    fn a_controller_that_begins_goes_on_where_the_one_before_has_written() {
        let plan = |revision| {
            let rollout = Some(RolloutReport { complete: revision, failed: None });
            PlanReport { version: 1, revision, units: [].into(), rollout }
        };
        let (shop, gone) = ("shop".parse().unwrap(), "gone".parse().unwrap());
        let (verdict, reports) = (Verdict::default(), BTreeMap::from([(app(3).name, plan(3))]));
        let happened = |before: u64| {
            let (before, of_gone) = (plan(before), plan(1));
            let plans = [(&shop, &before), (&gone, &of_gone)];
            let news = News::default().look(&BTreeSet::new(), &verdict, [&app(3)], &reports, plans);
            news.iter().map(|happening| format!("{} {}", happening.kind.name(), happening.subject)).collect::<Vec<_>>()
        };
        assert_eq!(happened(3), ["app.deleted gone"]);
        assert_eq!(happened(2), ["app.applied shop", "rollout.complete shop", "app.deleted gone"]);
    }

    #[test]
    fn apps_are_applied_come_through_fail_and_go() {
        let mut news = News::default();
        told(&mut news, &[], &[], &[], None, None);
        let done = |complete| Some(RolloutReport { complete, failed: None });
        assert_eq!(told(&mut news, &[], &[], &[], Some(&app(1)), done(0)), ["app.applied sh"]);
        assert_eq!(told(&mut news, &[], &[], &[], Some(&app(1)), done(1)), ["rollout.complete sh"]);
        assert!(told(&mut news, &[], &[], &[], Some(&app(1)), done(1)).is_empty());
        let failed = RolloutFailure { unit: "cart".parse().unwrap(), reason: "it traps".to_owned() };
        let failed = Some(RolloutReport { complete: 1, failed: Some(failed) });
        assert_eq!(
            told(&mut news, &[], &[], &[], Some(&app(2)), failed.clone()),
            ["app.applied sh", "rollout.failed sh"]
        );
        assert!(told(&mut news, &[], &[], &[], Some(&app(2)), failed).is_empty());
        assert_eq!(told(&mut news, &[], &[], &[], None, None), ["app.deleted sh"]);
    }
}
