//! What happens while we wait: one line that is rewritten on a terminal, a line a change elsewhere. It goes to stderr,
//! so that stdout has results alone.

use crate::output::Output;

/// The line of progress.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last: String,
}

/// To the beginning of the line, and nothing of it left.
const CLEAR: &str = "\r\x1b[K";

impl Progress {
    /// Shows `line`, if it is news.
    pub(crate) fn show(&mut self, output: &mut Output, line: &str) {
        if self.last == line {
            return;
        }
        self.last = line.to_owned();
        if output.remarks_are_terminal {
            // A line that the terminal would wrap could not be rewritten.
            let width = terminal_width().saturating_sub(1);
            let short: String = line.chars().take(width).collect();
            output.remark(&format!("{CLEAR}{short}"));
        } else {
            output.remark(&format!("{line}\n"));
        }
    }

    /// Leaves the place to the result.
    pub(crate) fn clear(&mut self, output: &mut Output) {
        if output.remarks_are_terminal && !self.last.is_empty() {
            output.remark(CLEAR);
        }
        self.last.clear();
    }
}

fn terminal_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col)).max(20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;

    #[test]
    fn in_a_pipe_each_change_is_a_line() {
        let (mut output, captured) = Output::captured(Format::Table);
        let mut progress = Progress::default();
        for line in ["a", "a", "b"] {
            progress.show(&mut output, line);
        }
        progress.clear(&mut output);
        assert_eq!(captured.remarks(), "a\nb\n");
    }
}
