//! The way to stdout and stderr. The macros of the standard library panic when the reader has left; this does not.

use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use comfy_table::{ContentArrangement, Table, presets};
use lattice_view::asking::Remarks;
use serde::Serialize;

use crate::{
    cli::{Color, Format},
    failure::{Failure, Result},
};

/// Where results and remarks go.
pub(crate) struct Output {
    pub(crate) format: Format,
    out: Box<dyn Write + Send>,
    remarks: Box<dyn Write + Send>,
    paint: bool,
    paint_remarks: bool,
    /// Whether stdout can be redrawn.
    pub(crate) out_is_terminal: bool,
    /// Whether stderr can be redrawn.
    pub(crate) remarks_are_terminal: bool,
}

/// The few colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Bold,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

impl Output {
    /// Standard output and standard error.
    pub(crate) fn terminal(format: Format, color: Color) -> Self {
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        let (out, remarks) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            format,
            out: Box::new(io::stdout()),
            remarks: Box::new(io::stderr()),
            paint: wanted(out),
            paint_remarks: wanted(remarks),
            out_is_terminal: out,
            remarks_are_terminal: remarks,
        }
    }

    /// Prints to stdout as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<()> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Print(error),
        })
    }

    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        self.text(&format!("{line}\n"))
    }

    /// A line for people: left out when the result is JSON or YAML.
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        if self.format == Format::Table { self.line(line) } else { Ok(()) }
    }

    /// Prints to stderr as it is. Nothing depends on whether somebody reads it.
    pub(crate) fn remark(&mut self, text: &str) {
        let _ = self.remarks.write_all(text.as_bytes()).and_then(|()| self.remarks.flush());
    }

    /// `note: ...` on stderr.
    pub(crate) fn note(&mut self, text: &str) {
        let word = paint(self.paint_remarks, Paint::Cyan, "note:");
        self.remark(&format!("{word} {text}\n"));
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let color = self.paint_remarks;
        if let Failure::Rejected(rejected) = failure {
            return self.remark(&rejected.render(color));
        }
        let mut text = format!("{} {failure}\n", paint(color, Paint::Red, "error:"));
        let mut source = std::error::Error::source(failure);
        while let Some(cause) = source {
            // Transparent errors and those that name their cause would say it twice.
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(&format!("  because: {cause_text}\n"));
            }
            source = cause.source();
        }
        if let Some(help) = failure.help() {
            text.push_str(&format!("{} {help}\n", paint(color, Paint::Cyan, "help:")));
        }
        self.remark(&text);
    }

    /// `text` in a colour, when stdout shows colours.
    pub(crate) fn paint(&self, color: Paint, text: &str) -> String {
        paint(self.paint, color, text)
    }

    /// Prints `value` to whoever has not asked for a table: those who have are told in lines.
    pub(crate) fn report<T: Serialize>(&mut self, value: &T) -> Result<()> {
        if self.format == Format::Table { Ok(()) } else { self.value(value) }
    }

    /// One of several values that come one after the other: of JSON each is a line, of YAML they are a sequence together.
    pub(crate) fn next_value<T: Serialize>(&mut self, value: &T) -> Result<()> {
        match self.format {
            Format::Yaml => self.value(&[value]),
            _ => {
                let line = serde_json::to_string(value).map_err(|error| Failure::Other(error.to_string()))?;
                self.line(&line)
            }
        }
    }

    /// A value as JSON or YAML, as the user asked.
    pub(crate) fn value<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let text = match self.format {
            Format::Yaml => serde_saphyr::to_string(value).map_err(|e| Failure::Other(e.to_string()))?,
            _ => serde_json::to_string_pretty(value).map_err(|e| Failure::Other(e.to_string()))?,
        };
        self.line(text.trim_end())
    }

    /// What is printed is for somebody who is no terminal.
    pub(crate) fn captured(format: Format) -> (Self, Captured) {
        let captured = Captured::default();
        let output = Self {
            format,
            out: Box::new(captured.0.clone()),
            remarks: Box::new(captured.1.clone()),
            paint: false,
            paint_remarks: false,
            out_is_terminal: false,
            remarks_are_terminal: false,
        };
        (output, captured)
    }
}

impl Remarks for Output {
    fn note(&mut self, text: &str) {
        Self::note(self, text);
    }
}

fn paint(wanted: bool, color: Paint, text: &str) -> String {
    if wanted { format!("\x1b[{}m{text}\x1b[0m", color.code()) } else { text.to_owned() }
}

/// A table without borders, one line a row.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|h| (*h).to_owned()));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    let last = header.len().saturating_sub(1);
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Text from the lattice in one line, without anything that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What was printed: results and remarks.
#[derive(Clone, Default)]
pub(crate) struct Captured(Shared, Shared);

/// A lock, held to add to it or to copy it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    pub(crate) fn out(&self) -> String {
        self.0.text()
    }

    pub(crate) fn remarks(&self) -> String {
        self.1.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_borders_and_no_trailing_space() {
        let rows = [vec!["a".into(), "one\ntwo\x1b[31m".into()], vec!["long-name".into(), String::new()]];
        assert_eq!(table(&["NAME", "WHY"], rows), ["NAME       WHY", "a          one two [31m", "long-name"]);
    }

    #[test]
    fn a_reader_that_left_is_no_error_of_ours() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (mut output, _) = Output::captured(Format::Table);
        output.out = Box::new(Closed);
        assert!(matches!(output.line("x"), Err(Failure::OutputClosed)));
    }

    #[test]
    fn failures_say_what_helps() {
        let (mut output, captured) = Output::captured(Format::Table);
        let lattice = "default".parse().unwrap();
        let failure = Failure::NoApp { name: "shp".into(), lattice, known: vec!["shop".into()] };
        output.failure(&failure);
        assert_eq!(captured.remarks(), "error: there is no app `shp` in lattice default\nhelp: did you mean `shop`?\n");
        assert_eq!(failure.exit_code(), 6);
    }
}
