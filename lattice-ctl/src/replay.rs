//! `replay`: the calls of a recording again, of another build of the component.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use lattice::model::recording::{Heading, Replayed};

use crate::{
    cli::{Format, ReplayArgs},
    component,
    failure::{Failure, Result},
    output::{Output, Paint, plain},
    problems::count,
    up::host_program,
};

pub(crate) async fn run(args: &ReplayArgs, output: &mut Output) -> Result<()> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| Failure::File { what: "cannot read", path: path.to_owned(), source })
    };
    let text = String::from_utf8(read(&args.recording)?);
    let wrong = |reason: String| Failure::Refused {
        message: format!("{} is no recording: {reason}", args.recording.display()),
        help: "`lattice-ctl record APP/UNIT --out FILE` makes one".to_owned(),
    };
    let text = text.map_err(|error| wrong(error.to_string()))?;
    let (first, rest) = text.split_once('\n').ok_or_else(|| wrong("there is no call in it".to_owned()))?;
    let mut heading: Heading = serde_json::from_str(first).map_err(|error| wrong(error.to_string()))?;
    let inspected = component::inspect(&read(&args.component)?).map_err(|error| Failure::Refused {
        message: format!("{} {error}", args.component.display()),
        help: error.help().to_owned(),
    })?;
    // It may import something else by now.
    heading.component.imports = inspected.facts.imports;
    heading.component.exports = inspected.facts.exports;
    let line = serde_json::to_string(&heading).map_err(|error| wrong(error.to_string()))?;
    let temporary = |source| Failure::File { what: "cannot make a file in", path: std::env::temp_dir(), source };
    let mut script = tempfile::NamedTempFile::new().map_err(temporary)?;
    script.write_all(format!("{line}\n{rest}").as_bytes()).map_err(temporary)?;
    let mut host = host_program();
    host.arg("replay").arg(script.path()).arg(&args.component);
    host.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let start = |error: io::Error| Failure::Start {
        message: format!("cannot start lattice-host: {error}"),
        help: Some("put lattice-host beside lattice-ctl or on PATH".to_owned()),
    };
    let ended = host.output().await.map_err(start)?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let said = said.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
        return Err(Failure::Other(format!("it cannot be replayed: {}", plain(said))));
    }
    let lines = String::from_utf8_lossy(&ended.stdout).into_owned();
    let all = lines.lines().map(serde_json::from_str).collect::<std::result::Result<Vec<Replayed>, _>>();
    judge(&all.map_err(|error| Failure::Other(format!("lattice-host says something else: {error}")))?, output)
}

/// Prints what was otherwise; a failure when anything was.
fn judge(all: &[Replayed], output: &mut Output) -> Result<()> {
    let different = all.iter().filter(|replayed| !replayed.differences.is_empty());
    if output.format != Format::Table {
        all.iter().try_for_each(|replayed| output.next_value(replayed))?;
    } else {
        for (number, Replayed { call, differences }) in all.iter().enumerate() {
            for (at, difference) in differences.iter().enumerate() {
                if at == 0 {
                    let call = format!("call {}: {}", number + 1, plain(call));
                    output.line(&output.paint(Paint::Bold, &call))?;
                }
                output.line(&format!("  {}", plain(difference)))?;
            }
        }
    }
    match different.count() {
        0 => output.say(&format!("{}: all as recorded", count(all.len(), "call"))),
        different => Err(Failure::Differs { different, of: all.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_and_make_a_failure() {
        let (mut output, said) = Output::captured(Format::Table);
        let same = Replayed { call: "GET http://x/".to_owned(), differences: Vec::new() };
        judge(std::slice::from_ref(&same), &mut output).unwrap();
        assert_eq!(said.out(), "1 call: all as recorded\n");
        let other = Replayed { differences: vec!["it returned 1, and had returned 2".to_owned()], ..same.clone() };
        let failure = judge(&[same, other], &mut output).unwrap_err();
        assert_eq!(failure.to_string(), "1 of 2 calls went otherwise");
        assert!(said.out().ends_with("call 2: GET http://x/\n  it returned 1, and had returned 2\n"), "{}", said.out());
    }
}
