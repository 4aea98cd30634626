//! Days, times and moments: the database counts from the year 2000.

use std::fmt::Write;

use super::{Misfit, reader::Reader};
use crate::made::types::{Date, Interval, Offset, Time, TimeTz, Timestamp, TimestampTz};

const DAY: i64 = 86_400_000_000;
/// From 0000-03-01 to 2000-01-01, in days.
const TO_2000: i64 = 730_425;
/// A cycle of the calendar: 400 years in days.
const CYCLE: i64 = 146_097;

/// The day so many days after 2000-01-01.
fn civil(days: i64) -> (i32, u32, u32) {
    let days = days + TO_2000;
    let (cycle, day) = (days.div_euclid(CYCLE), days.rem_euclid(CYCLE));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    // A count of days has 32 bits, or is what is left of 64 bits of microseconds: its year has fewer than 32.
    ((cycle * 400 + year + next) as i32, month as u32, day as u32)
}

pub(super) fn date(raw: &mut Reader<'_>) -> Result<Date, Misfit> {
    Ok(match raw.i32()? {
        i32::MAX => Date::PositiveInfinity,
        i32::MIN => Date::NegativeInfinity,
        days => Date::Ymd(civil(days.into())),
    })
}

/// `micros` are within a day, or are a whole one.
fn time_of(micros: i64) -> Time {
    let seconds = micros / 1_000_000;
    Time {
        hour: (seconds / 3600) as u32,
        min: (seconds / 60 % 60) as u32,
        sec: (seconds % 60) as u32,
        micro: (micros % 1_000_000) as u32,
    }
}

pub(super) fn time(raw: &mut Reader<'_>) -> Result<Time, Misfit> {
    match raw.i64()? {
        micros @ 0..=DAY => Ok(time_of(micros)),
        _ => Err("a time that is in no day".into()),
    }
}

pub(super) fn time_tz(raw: &mut Reader<'_>) -> Result<TimeTz, Misfit> {
    let time = time(raw)?;
    // Seconds to the west.
    let east = -i64::from(raw.i32()?);
    Ok(TimeTz { timesonze: zone(east), time })
}

fn zone(east: i64) -> String {
    let (sign, seconds) = (if east < 0 { '-' } else { '+' }, east.abs());
    let mut text = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

pub(super) fn timestamp(raw: &mut Reader<'_>) -> Result<Timestamp, Misfit> {
    let infinite = |date| Timestamp { date, time: Time::default() };
    Ok(match raw.i64()? {
        i64::MAX => infinite(Date::PositiveInfinity),
        i64::MIN => infinite(Date::NegativeInfinity),
        micros => Timestamp { date: Date::Ymd(civil(micros.div_euclid(DAY))), time: time_of(micros.rem_euclid(DAY)) },
    })
}

pub(super) fn timestamp_tz(raw: &mut Reader<'_>) -> Result<TimestampTz, Misfit> {
    Ok(TimestampTz { timestamp: timestamp(raw)?, offset: Offset::WesternHemisphereSecs(0) })
}

/// The text of a day; what must stand behind all else of a moment is returned.
fn put_day(out: &mut String, date: &Date) -> Option<&'static str> {
    let (year, month, day) = match date {
        Date::PositiveInfinity => {
            out.push_str("infinity");
            return None;
        }
        Date::NegativeInfinity => {
            out.push_str("-infinity");
            return None;
        }
        Date::Ymd(ymd) => *ymd,
    };
    let (shown, era) = if year > 0 { (i64::from(year), "") } else { (1 - i64::from(year), " BC") };
    let _ = write!(out, "{shown:04}-{month:02}-{day:02}");
    Some(era)
}

pub(super) fn put_date(out: &mut String, date: &Date) -> Result<(), Misfit> {
    let era = put_day(out, date);
    out.push_str(era.unwrap_or_default());
    Ok(())
}

pub(super) fn put_time(out: &mut String, time: &Time) -> Result<(), Misfit> {
    let Time { hour, min, sec, micro } = *time;
    if micro >= 1_000_000 {
        return Err(Misfit(format!("{micro} microseconds are a second or more")));
    }
    let _ = write!(out, "{hour:02}:{min:02}:{sec:02}.{micro:06}");
    Ok(())
}

pub(super) fn put_time_tz(out: &mut String, value: &TimeTz) -> Result<(), Misfit> {
    put_time(out, &value.time)?;
    let _ = write!(out, " {}", value.timesonze);
    Ok(())
}

pub(super) fn put_timestamp(out: &mut String, value: &Timestamp) -> Result<(), Misfit> {
    put_moment(out, value, "")
}

pub(super) fn put_timestamp_tz(out: &mut String, value: &TimestampTz) -> Result<(), Misfit> {
    let east = match value.offset {
        Offset::EasternHemisphereSecs(seconds) => i64::from(seconds),
        Offset::WesternHemisphereSecs(seconds) => -i64::from(seconds),
    };
    put_moment(out, &value.timestamp, &zone(east))
}

fn put_moment(out: &mut String, value: &Timestamp, zone: &str) -> Result<(), Misfit> {
    if let Some(era) = put_day(out, &value.date) {
        out.push(' ');
        put_time(out, &value.time)?;
        out.push_str(zone);
        out.push_str(era);
    }
    Ok(())
}

/// A range of days.
pub(super) fn put_interval(out: &mut String, value: &Interval) -> Result<(), Misfit> {
    out.push(if value.start_inclusive { '[' } else { '(' });
    if value.start != Date::NegativeInfinity {
        put_date(out, &value.start)?;
    }
    out.push(',');
    if value.end != Date::PositiveInfinity {
        put_date(out, &value.end)?;
    }
    out.push(if value.end_inclusive { ']' } else { ')' });
    Ok(())
}

pub(super) fn interval(raw: &mut Reader<'_>) -> Result<Interval, Misfit> {
    let flags = raw.u8()?;
    let has = |bit: u8| flags & bit != 0;
    if has(1) {
        // No day is in it; the database writes every such range like this.
        let day = Date::Ymd((2000, 1, 1));
        return Ok(Interval { start: day.clone(), start_inclusive: false, end: day, end_inclusive: false });
    }
    let mut bound = |unbounded: bool, infinite: Date| match unbounded {
        true => Ok(infinite),
        false => date(&mut Reader::new(raw.sized()?.ok_or("a range without its end")?)),
    };
    let start = bound(has(8), Date::NegativeInfinity)?;
    let end = bound(has(16), Date::PositiveInfinity)?;
    Ok(Interval { start, start_inclusive: has(2), end, end_inclusive: has(4) })
}

/// A span of time, which has no case of its own: as the database reads it.
pub(super) fn span(raw: &mut Reader<'_>) -> Result<String, Misfit> {
    let (micros, days, months) = (raw.i64()?, raw.i32()?, raw.i32()?);
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (seconds, part) = (micros / 1_000_000, micros % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{months} mons {days} days {sign}{hours:02}:{minutes:02}:{seconds:02}");
    if part != 0 {
        let _ = write!(text, ".{part:06}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, (2000, 1, 1)),
            (59, (2000, 2, 29)),
            (60, (2000, 3, 1)),
            (-1, (1999, 12, 31)),
            (-730_485, (0, 1, 1)),
            (8765, (2023, 12, 31)),
            (-2_451_545, (-4713, 11, 24)),
        ] {
            assert_eq!(civil(days), expected, "{days}");
        }
    }

    #[test]
    fn zones_are_written_as_they_are_read() {
        assert_eq!((zone(0), zone(-3600), zone(20_730)), ("+00:00".into(), "-01:00".into(), "+05:45:30".into()));
    }
}
