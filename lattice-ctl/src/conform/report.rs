//! What came out, for people and for programs.

use std::time::Duration;

use lattice_provider::conformance::{self, Check};
use serde::Serialize;

use super::{ConformFailure, lasting::Checked, suites::Kind, target::Target};
use crate::{
    cli::Format,
    failure::Result,
    output::{Output, Paint, plain, table},
};

/// So much of a reason is shown, in characters: a check may hold a whole value against another one.
const MAX_REASON: usize = 400;

/// What came out of one check.
#[derive(Debug)]
pub(super) enum Outcome {
    Ok,
    Failed(String),
    /// It was not made, and why.
    LeftOut(&'static str),
}

impl From<Check> for Outcome {
    fn from(check: Check) -> Self {
        match check {
            Ok(()) => Self::Ok,
            Err(reason) => Self::Failed(reason),
        }
    }
}

/// All that came out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    provider: String,
    interfaces: Vec<String>,
    passed: usize,
    failed: usize,
    left_out: usize,
    seconds: f64,
    checks: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    interface: &'static str,
    check: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The name of a check as people say it.
pub(super) fn in_words(check: &str) -> String {
    check.rsplit("::").next().unwrap_or(check).replace('_', " ")
}

impl Report {
    pub(super) fn new(target: &Target) -> Self {
        Self {
            provider: target.name.clone(),
            interfaces: target.interfaces.iter().map(ToString::to_string).collect(),
            passed: 0,
            failed: 0,
            left_out: 0,
            seconds: 0.0,
            checks: Vec::new(),
        }
    }

    fn add(&mut self, kind: Kind, check: &str, outcome: Outcome) {
        let (count, outcome, reason) = match outcome {
            Outcome::Ok => (&mut self.passed, "ok", None),
            Outcome::Failed(reason) => (&mut self.failed, "failed", Some(reason)),
            Outcome::LeftOut(reason) => (&mut self.left_out, "left-out", Some(reason.to_owned())),
        };
        *count += 1;
        let reason = reason.map(|reason| shortened(&plain(&reason)));
        self.checks.push(Line { interface: kind.interface(), check: in_words(check), outcome, reason });
    }

    pub(super) fn suite(&mut self, kind: Kind, report: &conformance::Report) {
        for (check, outcome) in report.checks() {
            self.add(kind, check, outcome.clone().into());
        }
    }

    pub(super) fn lasting(&mut self, kind: Kind, Checked(checked): Checked) {
        for (check, outcome) in checked {
            self.add(kind, check, outcome);
        }
    }

    /// Prints it; an error when a check has failed. `log` is the end of the provider's own.
    pub(super) fn print(mut self, took: Duration, log: &str, output: &mut Output) -> Result<()> {
        self.seconds = (took.as_secs_f64() * 10.0).round() / 10.0;
        let Self { provider, passed, failed, left_out, seconds, .. } = &self;
        let made = passed + failed;
        if output.format == Format::Table {
            self.table(output)?;
            let left_out = if *left_out > 0 { format!(", {left_out} left out") } else { String::new() };
            let line = format!("{provider}: {passed} of {made} checks passed in {seconds:.1} s{left_out}");
            let line = output.paint(if *failed == 0 { Paint::Green } else { Paint::Red }, &line);
            output.line(&line)?;
        } else {
            output.value(&self)?;
        }
        if *failed == 0 {
            return Ok(());
        }
        if !log.is_empty() {
            output.note(&format!("the log of {provider} ends like this:{log}"));
        }
        Err(ConformFailure::DoesNotConform { name: provider.clone(), failed: *failed, made }.into())
    }

    fn table(&self, output: &mut Output) -> Result<()> {
        // With one capability there is no need to say which.
        let several = self.checks.iter().any(|line| Some(line.interface) != self.checks.first().map(|l| l.interface));
        let rows = self.checks.iter().map(|line| {
            let check = if several { format!("{} {}", line.interface, line.check) } else { line.check.clone() };
            let outcome = match line.outcome {
                "ok" => "ok".to_owned(),
                "failed" => format!("FAILED {}", line.reason.as_deref().unwrap_or_default()),
                _ => format!("- {}", line.reason.as_deref().unwrap_or_default()),
            };
            vec![check, outcome]
        });
        let lines = table(&["CHECK", "OUTCOME"], rows);
        let (header, rest) = lines.split_first().map_or(("", &[][..]), |(header, rest)| (header.as_str(), rest));
        let header = output.paint(Paint::Bold, header);
        output.line(&header)?;
        rest.iter().try_for_each(|line| output.line(line))
    }
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason.to_owned(),
    }
}
