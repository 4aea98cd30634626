//! Schedules: whether each is one, and calls a function that can be called so.

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        app::Limits,
        catalog::{CRON, ProviderKind},
        manifest::{Provider, Schedule, resolve_duration},
        problem::{Problem, suggest},
        schedule::{DEFAULT_LATE_MS, Missed, ScheduleError, ScheduleSpec, When},
    },
    wire::{AppName, Interface},
};

/// The function that is called when the schedule does not say.
const RUN: &str = "wasi:cli/run.run";
const CRON_HELP: &str = "write minute, hour, day of the month, month and day of the week, as in `0 3 * * MON-FRI`";

impl Checker<'_> {
    pub(super) fn schedules(&mut self, app: &AppName, kind: &ProviderKind, provider: &Provider) -> Vec<ScheduleSpec> {
        if kind.name != CRON {
            self.only_of(provider.schedules.first_key(), kind.name, "schedules", CRON);
        }
        let all = &provider.schedules.0;
        all.iter().filter_map(|(name, schedule)| self.schedule(app, name, schedule)).collect()
    }

    fn schedule(&mut self, app: &AppName, name: &Spanned<String>, schedule: &Schedule) -> Option<ScheduleSpec> {
        // It is a part of a key in the store, as names of units are.
        let named = self.name::<crate::wire::UnitName>(name);
        let to = self.target(app, &schedule.to);
        let when = self.when(name, schedule);
        let function = to.is_some().then(|| self.scheduled_function(schedule)).flatten();
        let missed = match &schedule.missed {
            None => Missed::default(),
            Some(word) => word.value.parse().unwrap_or_else(|()| {
                let problem = Problem::at(word, format!("unknown value `{}`", word.value));
                self.problems.push(problem.help("write `skip`, `once` or `all`"));
                Missed::default()
            }),
        };
        let late_ms = match &schedule.late {
            Some(late) => resolve_duration(late, &mut self.problems)?,
            None => DEFAULT_LATE_MS,
        };
        let (interface, function, fallible) = function?;
        let timeout_ms = Limits::default().timeout_ms;
        let (name, when, to) = (named?.as_str().to_owned(), when?, to?);
        Some(ScheduleSpec { name, when, to, interface, function, fallible, timeout_ms, missed, late_ms })
    }

    fn when(&mut self, name: &Spanned<String>, schedule: &Schedule) -> Option<When> {
        let Schedule { cron, timezone, every, .. } = schedule;
        if let (Some(zone), None) = (timezone, cron) {
            let problem = Problem::at(zone, "only `cron` has a time zone");
            self.problems.push(problem.help("remove `timezone:`"));
        }
        match (cron, every) {
            (Some(expression), None) => {
                let zone = timezone.as_ref().map_or("UTC", |zone| &zone.value);
                When::cron(&expression.value, zone)
                    .map_err(|error| self.no_schedule(expression, timezone.as_ref(), &error))
                    .ok()
            }
            (None, Some(every)) => {
                let ms = resolve_duration(every, &mut self.problems)?;
                When::every(ms).map_err(|error| self.problems.push(Problem::at(every, error.to_string()))).ok()
            }
            (Some(cron), Some(_)) => {
                let problem = Problem::at(cron, "`cron` and `every` exclude each other");
                self.problems.push(problem.help("keep one of them"));
                None
            }
            (None, None) => {
                let problem = Problem::at(name, format!("the schedule `{}` does not say when", name.value));
                self.problems.push(problem.help("add `cron: \"0 3 * * *\"` or `every: 10m`"));
                None
            }
        }
    }

    fn no_schedule(&mut self, cron: &Spanned<String>, zone: Option<&Spanned<String>>, error: &ScheduleError) {
        let (at, help) = match (error, zone) {
            (ScheduleError::Zone(_), Some(zone)) => (zone, "write a name such as Europe/Berlin, or UTC"),
            _ => (cron, CRON_HELP),
        };
        self.problems.push(Problem::at(at, error.to_string()).help(help));
    }

    /// Interface and function, and whether it returns a `result`.
    fn scheduled_function(&mut self, schedule: &Schedule) -> Option<(Interface, String, bool)> {
        let to = &schedule.to;
        if self.is_provider(&to.value) {
            let problem = Problem::at(to, format!("`{}` is a provider, which is not called by schedules", to.value));
            self.problems.push(problem.help("name a component"));
            return None;
        }
        let at = schedule.call.as_ref().unwrap_or(to);
        let call = schedule.call.as_ref().map_or(RUN, |call| &call.value);
        let form = "write ns:pkg/interface.function, as in `acme:report/daily.make`";
        let Some((wanted, function)) = call.rsplit_once('.') else {
            self.problems.push(Problem::at(at, format!("`{call}` is no function of an interface")).help(form));
            return None;
        };
        // Its binary could not be read, which has been told.
        let facts = self.facts.get(&to.value)?;
        let exported = facts.export_shapes.iter().find(|(interface, _)| interface.matches(wanted));
        let Some((interface, shape)) = exported else {
            let problem = Problem::at(at, format!("`{}` does not export {wanted}", to.value));
            let known: Vec<_> = facts.export_shapes.keys().map(ToString::to_string).collect();
            self.problems.push(problem.help(suggest(wanted, known.iter().map(String::as_str))));
            return None;
        };
        let Some(shape) = shape.functions.get(function) else {
            let problem = Problem::at(at, format!("{interface} has no function `{function}`"));
            self.problems.push(problem.help(suggest(function, shape.functions.keys().map(String::as_str))));
            return None;
        };
        match fallible(&shape.signature) {
            Some(fallible) => Some((interface.clone(), function.to_owned(), fallible)),
            None => {
                let problem = Problem::at(at, format!("{interface}.{function} is `{}`", shape.signature));
                self.problems
                    .push(problem.help("a schedule calls what takes nothing, and returns nothing or a `result`"));
                None
            }
        }
    }
}

/// Whether a function that takes nothing returns a `result`; `None` for one that takes or returns anything else.
fn fallible(signature: &str) -> Option<bool> {
    match signature.trim_start_matches("async ").strip_prefix("func()")? {
        "" => Some(false),
        result if result == " -> result" || result.starts_with(" -> result<") => Some(true),
        _ => None,
    }
}
