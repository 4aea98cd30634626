//! Rows, and how they are shown.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{bench::Bench, stats::median};

/// One figure, with what it is compared to.
pub(crate) struct Row {
    pub(crate) name: String,
    unit: &'static str,
    /// A value for each round.
    values: Vec<f64>,
    baseline: Option<Baseline>,
    target: Option<Target>,
    notes: Vec<String>,
}

struct Baseline {
    name: String,
    values: Vec<f64>,
}

/// What the figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    ValueBelow(f64),
    ValueAtLeast(f64),
}

/// A row as others read it.
#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    baseline_name: Option<&'a str>,
    baseline_value: Option<f64>,
    ratio: Option<f64>,
}

impl Row {
    /// A figure that has nothing to compare it with.
    pub(crate) fn alone(name: &str, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.to_owned(), unit, values, baseline: None, target: None, notes: Vec::new() }
    }

    /// A figure and its baseline: `pairs` has both of each round.
    pub(crate) fn compared(
        name: &str,
        unit: &'static str,
        baseline: &str,
        pairs: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let (values, baselines) = pairs.into_iter().unzip();
        let baseline = Some(Baseline { name: baseline.to_owned(), values: baselines });
        Self { baseline, ..Self::alone(name, unit, values) }
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn value(&self) -> f64 {
        median(&self.values)
    }

    /// The median of the rounds' ratios: what disturbs the machine for a while disturbs both sides of a round.
    fn ratio(&self) -> Option<f64> {
        let baseline = self.baseline.as_ref()?;
        let ratios: Vec<_> = self.values.iter().zip(&baseline.values).map(|(ours, its)| ours / its).collect();
        Some(median(&ratios))
    }

    fn record(&self) -> Record<'_> {
        Record {
            name: &self.name,
            value: rounded(self.value()),
            unit: self.unit,
            baseline_name: self.baseline.as_ref().map(|baseline| baseline.name.as_str()),
            baseline_value: self.baseline.as_ref().map(|baseline| rounded(median(&baseline.values))),
            ratio: self.ratio().map(rounded),
        }
    }

    fn cells(&self) -> [String; 10] {
        let baseline = self.baseline.as_ref();
        let (target, met) = match self.target {
            None => (String::new(), ""),
            Some(target) => (target.to_string(), if target.met(self.value(), self.ratio()) { "yes" } else { "NO" }),
        };
        [
            self.name.clone(),
            figure(self.value()),
            self.unit.to_owned(),
            spread(&self.values),
            baseline.map_or_else(String::new, |baseline| baseline.name.clone()),
            baseline.map_or_else(String::new, |baseline| figure(median(&baseline.values))),
            baseline.map_or_else(String::new, |baseline| spread(&baseline.values)),
            self.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            target,
            met.to_owned(),
        ]
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RatioAtLeast(limit) => write!(f, "ratio >= {limit}"),
            Self::RatioAtMost(limit) => write!(f, "ratio <= {limit}"),
            Self::ValueBelow(limit) => write!(f, "< {limit}"),
            Self::ValueAtLeast(limit) => write!(f, ">= {limit}"),
        }
    }
}

impl Target {
    fn met(self, value: f64, ratio: Option<f64>) -> bool {
        match self {
            Self::RatioAtLeast(limit) => ratio.is_some_and(|ratio| ratio >= limit),
            Self::RatioAtMost(limit) => ratio.is_some_and(|ratio| ratio <= limit),
            Self::ValueBelow(limit) => value < limit,
            Self::ValueAtLeast(limit) => value >= limit,
        }
    }
}

const HEADINGS: [&str; 10] =
    ["row", "value", "unit", "min-max", "baseline", "value", "min-max", "ratio", "target", "met"];

/// The table, and below it what there is to say about rows.
pub(crate) fn print(rows: &[Row], bench: &Bench) {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let width = |column: usize| {
        let longest = cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        longest.max(HEADINGS[column].len())
    };
    let widths: [usize; 10] = std::array::from_fn(width);
    let line = |row: [&str; 10]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            1 | 5 | 7 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(HEADINGS);
    cells.iter().for_each(|row| line(std::array::from_fn(|column| row[column].as_str())));
    println!();
    for row in rows {
        row.notes.iter().for_each(|note| println!("{}: {note}", row.name));
    }
    println!(
        "{} rounds of {:.1} s, ours and baseline in turn; values are medians, the ratio is the median of the rounds' ratios.",
        bench.rounds,
        bench.times.measured.as_secs_f64()
    );
}

pub(crate) fn write_json(file: &Path, rows: &[Row]) -> Result<()> {
    let records: Vec<_> = rows.iter().map(Row::record).collect();
    let mut text = serde_json::to_string_pretty(&records)?;
    text.push('\n');
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// A number with as many digits as it deserves.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() < 2 { String::new() } else { format!("{}-{}", figure(least), figure(most)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_the_middle_round() {
        let row = Row::compared("row", "us", "its", [(10.0, 5.0), (100.0, 10.0), (9.0, 3.0)]);
        assert_eq!(row.ratio(), Some(3.0));
        let record = row.record();
        assert_eq!((record.value, record.baseline_value), (10.0, Some(5.0)));
        assert!(Target::RatioAtLeast(3.0).met(10.0, row.ratio()));
        assert!(!Target::ValueBelow(10.0).met(10.0, None));
    }
}
