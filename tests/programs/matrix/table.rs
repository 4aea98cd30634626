//! What came out, as a matrix for each capability: a row for each check, a column for each backend.

use std::time::Duration;

use super::{Column, Line};

/// What a check that has no row in a backend's report is shown as.
const MISSING: &str = "missing";

/// Prints all of it. Whether nothing failed and nothing is missing.
pub(crate) fn print(columns: &[Column], took: Duration) -> bool {
    let lines = || columns.iter().flat_map(|column| &column.report.checks);
    let interfaces = distinct(lines().map(|line| line.interface.as_str()));
    let (mut ok, mut bad, mut left_out) = (0, 0, 0);
    for interface in &interfaces {
        let of = |column: &&Column| column.report.checks.iter().any(|line| line.interface == *interface);
        let columns: Vec<_> = columns.iter().filter(of).collect();
        let checks = distinct(lines().filter(|line| line.interface == *interface).map(|line| line.check.as_str()));
        let mut rows = vec![vec![(*interface).to_owned()]];
        rows[0].extend(columns.iter().map(|column| column.name.to_owned()));
        for check in checks {
            let mut row = vec![check.to_owned()];
            for column in &columns {
                let line = column.report.checks.iter().find(|line| line.check == check && line.interface == *interface);
                let (cell, count) = match line.map(|line| line.outcome.as_str()) {
                    Some("ok") => ("ok", &mut ok),
                    Some("left-out") => ("-", &mut left_out),
                    Some(_) => ("FAILED", &mut bad),
                    None => (MISSING, &mut bad),
                };
                *count += 1;
                row.push(cell.to_owned());
            }
            rows.push(row);
        }
        println!("\n{}", aligned(&rows));
    }
    println!();
    for column in columns {
        reasons(column);
        bad += usize::from(column.trouble.is_some());
    }
    let seconds = took.as_secs_f64();
    println!(
        "{} backends, {ok} checks ok, {bad} failed or missing, {left_out} left out, in {seconds:.1} s",
        columns.len()
    );
    bad == 0
}

/// Why cells of a column are not `ok`.
fn reasons(column: &Column) {
    if let Some(trouble) = &column.trouble {
        println!("FAILED {}: {trouble}", column.name);
    }
    let with = |outcome: &'static str| column.report.checks.iter().filter(move |line| line.outcome == outcome);
    for Line { check, reason, .. } in with("failed") {
        println!("FAILED {}: {check}: {}", column.name, reason.as_deref().unwrap_or_default());
    }
    for why in distinct(with("left-out").filter_map(|line| line.reason.as_deref())) {
        let count = with("left-out").filter(|line| line.reason.as_deref() == Some(why)).count();
        println!("-      {}: {count} left out: {why}", column.name);
    }
}

/// Each once, in the order of its first place.
fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// Rows whose cells stand under each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
