//! Everything that is wrong with one manifest, drawn beside its text.

use std::fmt;

use lattice::model::problem::{Place, Problem};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// A manifest that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The file, as the user named it.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}", self.name, count(self.problems.len(), "problem"))
    }
}

impl Rejected {
    /// All problems, in the order of the file. The first line of each says the place, also for those who only grep.
    pub(crate) fn render(&self, color: bool) -> String {
        let mut theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        theme.characters.error = "error:".to_owned();
        let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false).with_links(false);
        let source = NamedSource::new(&self.name, self.text.clone());
        let mut rendered = String::new();
        for problem in &self.problems {
            let drawn = Drawn { rejected: self, problem, source: &source };
            let mut report = String::new();
            // Writing to a string does not fail; what the handler cannot draw still has its first line.
            if handler.render_report(&mut report, &drawn).is_err() {
                report = format!("error: {drawn}\n");
            }
            rendered.push_str(report.trim_start());
            rendered.push('\n');
        }
        if self.problems.len() > 1 {
            rendered.push_str(&format!("{self}; nothing was changed\n"));
        }
        rendered.trim_end().to_owned() + "\n"
    }
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[derive(Debug)]
struct Drawn<'a> {
    rejected: &'a Rejected,
    problem: &'a Problem,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problem.place {
            Some(Place { line, column, .. }) => {
                write!(f, "{}:{line}:{column}: {}", self.rejected.name, self.problem.message)
            }
            None => write!(f, "{}: {}", self.rejected.name, self.problem.message),
        }
    }
}

impl std::error::Error for Drawn<'_> {}

impl Diagnostic for Drawn<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.place.map(|_| self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.problem.place?;
        let (offset, len) = within_line(&self.rejected.text, place);
        let label = LabeledSpan::new(Some("here".to_owned()), offset, len);
        Some(Box::new(std::iter::once(label)))
    }
}

/// The part of `place` that is in the text and on its first line: a whole mapping would be drawn over many.
fn within_line(text: &str, place: Place) -> (usize, usize) {
    let mut offset = place.offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let rest = text[offset..].lines().next().unwrap_or_default();
    let mut len = place.len.min(rest.trim_end().len());
    while !rest.is_char_boundary(len) {
        len -= 1;
    }
    (offset, len)
}

#[cfg(test)]
mod tests {
    use lattice::model::{check::check, manifest::parse};

    use super::*;

    fn rejected(text: &str, problems: Vec<Problem>) -> Rejected {
        Rejected { name: "shop.yaml".into(), text: text.into(), problems }
    }

    #[test]
    fn a_problem_is_drawn_where_it_is() {
        let text = "apiVersion: lattice/v1\nkind: App\nmetadata:\n  name: shop\nspec:\n  components:\n    cart:\n      imge: ./cart.wasm\n";
        let problem = parse(text).unwrap_err();
        let expected = "\
error: shop.yaml:8:7: unknown key `imge`
   ╭─[shop.yaml:8:7]
 7 │     cart:
 8 │       imge: ./cart.wasm
   ·       ──┬─
   ·         ╰── here
   ╰────
  help: did you mean `image`?
";
        assert_eq!(rejected(text, vec![problem]).render(false), expected);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "apiVersion: lattice/v1\nkind: App\nmetadata: { name: Shop }\nspec:\n  providers:\n    cache: { use: keyvalue-rediss }\n";
        let problems = check(&parse(text).unwrap(), &Default::default(), []).unwrap_err();
        let rendered = rejected(text, problems).render(false);
        assert!(rendered.starts_with("error: shop.yaml:3:19: app name \"Shop\" has the character 'S'"), "{rendered}");
        assert!(rendered.contains("\nerror: shop.yaml:6:19: there is no provider `keyvalue-rediss`\n"), "{rendered}");
        assert!(rendered.contains("  help: did you mean `keyvalue-redis`?\n"), "{rendered}");
        assert!(rendered.ends_with("\nshop.yaml has 2 problems; nothing was changed\n"), "{rendered}");
    }

    #[test]
    fn places_at_the_edges_are_drawn() {
        for (text, offset, len) in [("", 0, 1), ("kind: ü", 6, 1), ("a: b\nc: d\n", 10, 1), ("a: b\nc: d\n", 3, 900)] {
            let place = Place { line: 1, column: 1, offset, len };
            let problem = Problem { message: "wrong".into(), place: Some(place), help: None };
            let rendered = rejected(text, vec![problem]).render(false);
            assert!(rendered.starts_with("error: shop.yaml:1:1: wrong\n"), "{rendered}");
            assert!(!rendered.contains("Failed to read"), "{rendered}");
        }
    }
}
