//! Schedules: when a function of a component is called, and what becomes of calls that nobody could make in time. All
//! times are milliseconds since 1970.

use std::{fmt, str::FromStr};

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use serde::{Deserialize, Serialize};

use crate::wire::{Interface, UnitId};

/// The shortest time between two calls.
pub const MIN_EVERY_MS: u64 = 1000;
/// How late a call may begin before it counts as missed, when a schedule does not say: longer than another host needs to
/// take over.
pub const DEFAULT_LATE_MS: u64 = 30_000;
/// How many missed calls are made up for, at the most.
pub const MAX_MISSED: usize = 100;

/// One schedule of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    /// Unique in its provider.
    pub name: String,
    pub when: When,
    pub to: UnitId,
    /// The function that is called; it takes nothing.
    pub interface: Interface,
    pub function: String,
    /// Whether it returns a `result`.
    pub fallible: bool,
    /// How long the component may take, in milliseconds: its own limit.
    pub timeout_ms: u64,
    pub missed: Missed,
    pub late_ms: u64,
}

/// What becomes of calls that nobody made in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Nothing.
    #[default]
    Skip,
    /// The newest one is made, whatever their number.
    Once,
    /// Each is made, one after another.
    All,
}

impl FromStr for Missed {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All),
            _ => Err(()),
        }
    }
}

/// When calls are due.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum When {
    /// An expression of cron in a time zone.
    Cron { cron: Box<Cron>, zone: Tz },
    /// At every multiple of so many milliseconds since 1970.
    Every(u64),
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Written {
    Cron { expression: String, zone: String },
    EveryMs(u64),
}

/// Why something is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("`{expression}` is no expression of cron: {reason}")]
    Expression { expression: String, reason: String },
    #[error("`{0}` is at no time in the years to come")]
    Never(String),
    #[error("`{0}` is no time zone")]
    Zone(String),
    #[error("{} s is the shortest time between two calls", MIN_EVERY_MS / 1000)]
    TooOften,
}

impl When {
    /// From five fields (minute, hour, day of the month, month, day of the week) or six, of which the first is seconds.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = zone.parse().map_err(|_| ScheduleError::Zone(zone.to_owned()))?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression).map_err(|error| ScheduleError::Expression {
            expression: expression.to_owned(),
            reason: error.to_string(),
        })?;
        let when = Self::Cron { cron: Box::new(cron), zone };
        // As of a fixed day: a schedule that was good does not become wrong by waiting.
        when.next(FIXED_DAY).map(|_| when).ok_or_else(|| ScheduleError::Never(expression.to_owned()))
    }

    /// Once in so many milliseconds.
    pub fn every(ms: u64) -> Result<Self, ScheduleError> {
        if ms < MIN_EVERY_MS { Err(ScheduleError::TooOften) } else { Ok(Self::Every(ms)) }
    }

    /// The first time after `after`.
    pub fn next(&self, after: u64) -> Option<u64> {
        match self {
            Self::Every(ms) => (after / ms).checked_add(1)?.checked_mul(*ms),
            Self::Cron { cron, zone } => {
                let found = cron.find_next_occurrence(&local(after, *zone)?, false).ok()?;
                Some(instant(&found)).filter(|found| *found > after)
            }
        }
    }

    /// The last time that is not after `until`.
    fn latest(&self, until: u64) -> Option<u64> {
        match self {
            Self::Every(ms) => Some(until - until % ms),
            Self::Cron { cron, zone } => {
                let found = cron.find_previous_occurrence(&local(until, *zone)?, true).ok()?;
                Some(instant(&found)).filter(|found| *found <= until)
            }
        }
    }
}

/// 2024-01-01: within eight years from then a leap day falls on every day of the week that it can.
const FIXED_DAY: u64 = 1_704_067_200_000;

fn local(at: u64, zone: Tz) -> Option<DateTime<Tz>> {
    let utc: DateTime<Utc> = Utc.timestamp_millis_opt(i64::try_from(at).ok()?).single()?;
    Some(utc.with_timezone(&zone))
}

/// Cron knows whole seconds.
fn instant(at: &DateTime<Tz>) -> u64 {
    u64::try_from(at.timestamp()).unwrap_or(0) * 1000
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { cron, zone } => write!(f, "{} {zone}", cron.as_str()),
            Self::Every(ms) => write!(f, "every {ms} ms"),
        }
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<Written> for When {
    type Error = ScheduleError;
    fn try_from(written: Written) -> Result<Self, ScheduleError> {
        match written {
            Written::Cron { expression, zone } => Self::cron(&expression, &zone),
            Written::EveryMs(ms) => Self::every(ms),
        }
    }
}

impl From<When> for Written {
    fn from(when: When) -> Self {
        match when {
            When::Cron { cron, zone } => {
                Self::Cron { expression: cron.as_str().to_owned(), zone: zone.name().to_owned() }
            }
            When::Every(ms) => Self::EveryMs(ms),
        }
    }
}

/// The value of `ticks.<app>.<unit>.<schedule>`: how far a schedule has come. Whoever wants to make a call writes it first,
/// over the revision that was read, so that one alone makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Version of this structure.
    pub version: u32,
    /// The call that was made or passed over last; before the first, when the schedule began.
    pub at: u64,
    /// Whether that call is under way.
    pub open: bool,
}

impl Tick {
    pub const VERSION: u32 = 1;
}

/// What is to be done about a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing before this time.
    At(u64),
    /// The call of this time.
    Now(u64),
    /// All calls up to this time were missed, and are passed over.
    Missed(u64),
    /// Nothing any more.
    Never,
}

/// What is to be done at `now`, when the call of `last` was the last one.
pub fn due(spec: &ScheduleSpec, last: u64, now: u64) -> Due {
    let Some(next) = spec.when.next(last) else { return Due::Never };
    if next > now {
        return Due::At(next);
    }
    let Some(latest) = spec.when.latest(now).filter(|latest| *latest >= next) else { return Due::Now(next) };
    match spec.missed {
        Missed::Once => Due::Now(latest),
        Missed::All => Due::Now(first_of(&spec.when, next, latest)),
        Missed::Skip if now - latest > spec.late_ms => Due::Missed(latest),
        Missed::Skip => Due::Now(latest),
    }
}

/// `next`, unless that is more than [`MAX_MISSED`] calls before `latest`.
fn first_of(when: &When, next: u64, latest: u64) -> u64 {
    let mut first = latest;
    for _ in 1..MAX_MISSED {
        match first.checked_sub(1).and_then(|before| when.latest(before)) {
            Some(before) if before >= next => first = before,
            _ => return next,
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> u64 {
        u64::try_from(DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()).unwrap()
    }

    fn spec(when: When, missed: Missed) -> ScheduleSpec {
        ScheduleSpec {
            name: "nightly".into(),
            when,
            to: "shop/report".parse().unwrap(),
            interface: "wasi:cli/run@0.2.0".parse().unwrap(),
            function: "run".into(),
            fallible: true,
            timeout_ms: 1000,
            missed,
            late_ms: DEFAULT_LATE_MS,
        }
    }

    #[test]
    fn times_are_those_of_the_zone() {
        let when = When::cron("30 3 * * *", "Europe/Berlin").unwrap();
        assert_eq!(when.next(at("2026-01-10T00:00:00Z")), Some(at("2026-01-10T02:30:00Z")));
        assert_eq!(when.next(at("2026-07-10T00:00:00Z")), Some(at("2026-07-10T01:30:00Z")));
        assert_eq!(when.next(at("2026-07-10T01:30:00Z")), Some(at("2026-07-11T01:30:00Z")), "not the same again");
        assert_eq!(when.latest(at("2026-07-10T01:30:00.500Z")), Some(at("2026-07-10T01:30:00Z")));
        let seconds = When::cron("*/20 * * * * *", "UTC").unwrap();
        assert_eq!(seconds.next(at("2026-07-10T00:00:05.250Z")), Some(at("2026-07-10T00:00:20Z")));
        let every = When::every(5000).unwrap();
        assert_eq!((every.next(4999), every.next(5000), every.latest(9999)), (Some(5000), Some(10_000), Some(5000)));
    }

    #[test]
    fn a_clock_that_is_changed_loses_no_daily_call() {
        for zone in ["Europe/Berlin", "America/New_York"] {
            let when = When::cron("30 2 * * *", zone).unwrap();
            let mut now = at("2026-01-01T12:00:00Z");
            let mut calls = 0;
            while let Some(next) = when.next(now).filter(|next| *next < at("2027-01-01T12:00:00Z")) {
                assert!(next > now && next - now <= 26 * 3_600_000, "{zone}: {now} {next}");
                (now, calls) = (next, calls + 1);
            }
            assert!((365..=366).contains(&calls), "{zone}: {calls} calls in a year");
        }
    }

    #[test]
    fn what_is_no_schedule_is_said() {
        for wrong in ["", "x", "* * * *", "61 * * * *", "* * * * * * *", "0 0 30 2 *"] {
            assert!(When::cron(wrong, "UTC").is_err(), "{wrong}");
        }
        assert!(When::cron("0 0 29 2 *", "UTC").is_ok(), "a leap day comes");
        assert_eq!(When::cron("* * * * *", "Mars/Olympus"), Err(ScheduleError::Zone("Mars/Olympus".into())));
        assert_eq!(When::every(999), Err(ScheduleError::TooOften));
    }

    #[test]
    fn schedules_are_stored_as_they_were_written() {
        for when in [When::cron("*/5 1-3 * * MON-FRI", "Asia/Tokyo").unwrap(), When::every(90_000).unwrap()] {
            let text = serde_json::to_string(&when).unwrap();
            assert_eq!(serde_json::from_str::<When>(&text).unwrap(), when, "{text}");
        }
        assert!(serde_json::from_str::<When>(r#"{"every-ms":0}"#).is_err());
    }

    #[test]
    fn missed_calls_are_what_the_policy_makes_of_them() {
        let minute = |missed| spec(When::every(60_000).unwrap(), missed);
        let (last, now) = (600_000, 600_000 + 5 * 60_000 + 10_000);
        assert_eq!(due(&minute(Missed::Skip), last, last + 59_999), Due::At(660_000));
        assert_eq!(due(&minute(Missed::Skip), last, now), Due::Now(900_000), "10 s late");
        assert_eq!(due(&minute(Missed::Skip), last, now + 30_000), Due::Missed(900_000));
        assert_eq!(due(&minute(Missed::Once), last, now + 30_000), Due::Now(900_000));
        assert_eq!(due(&minute(Missed::All), last, now + 30_000), Due::Now(660_000));
        let ages = 600_000 + 1_000_000 * 60_000;
        assert_eq!(due(&minute(Missed::All), last, ages), Due::Now(ages - (MAX_MISSED as u64 - 1) * 60_000));
    }

    proptest! {
        /// Whatever the clocks of those who look say: no call is made twice, calls are in order and at their times, and with
        /// `all` none is left out.
        #[test]
        fn each_call_is_made_once_and_in_order(
            every in 1u64..120, missed in 0usize..3, steps in proptest::collection::vec(0u64..200_000, 1..40),
        ) {
            let missed = [Missed::Skip, Missed::Once, Missed::All][missed];
            let spec = spec(When::every(every * 1000).unwrap(), missed);
            let (start, mut now) = (1_000_000_000, 1_000_000_000);
            let (mut last, mut made) = (start, Vec::new());
            for step in steps {
                now += step;
                loop {
                    match due(&spec, last, now) {
                        Due::Now(tick) => { prop_assert!(tick > last && tick <= now); made.push(tick); last = tick; }
                        Due::Missed(tick) => { prop_assert!(missed == Missed::Skip && tick > last && tick <= now); last = tick; }
                        Due::At(next) => { prop_assert!(next > now); break; }
                        Due::Never => prop_assert!(false),
                    }
                }
            }
            prop_assert!(made.iter().all(|tick| tick % (every * 1000) == 0));
            if missed == Missed::All && now - start < MAX_MISSED as u64 * 1000 {
                let all: Vec<_> = (start / (every * 1000) + 1..=now / (every * 1000)).map(|n| n * every * 1000).collect();
                prop_assert_eq!(made, all);
            }
        }
    }
}
