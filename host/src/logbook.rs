//! What this host remembers of its log, so that nobody has to go to its machine to read it: the newest lines of each unit, and those
//! of its own.
//!
//! There is one for the process, as there is one log.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::{self, Write as _},
    sync::{LazyLock, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use lattice::{
    model::log::{Level, Line, MOST_LINES, MOST_TEXT, Page, Query, Source},
    wire::UnitId,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// What is kept of a unit: so many lines, with so many bytes of text.
const LINES: usize = 1000;
const TEXT: usize = 64 * 1024;
/// Of how many units: those that have said something last.
const UNITS: usize = 512;

static BOOK: LazyLock<Logbook> = LazyLock::new(Logbook::default);

/// The part of the log's subscriber that remembers.
pub(crate) struct Remember;

/// What the host remembers.
pub(crate) fn read(query: &Query) -> Page {
    BOOK.read(query)
}

struct Logbook {
    began: u64,
    // A lock, held to add a line or to copy some.
    pages: Mutex<Pages>,
}

impl Default for Logbook {
    fn default() -> Self {
        Self { began: now(), pages: Mutex::default() }
    }
}

#[derive(Default)]
struct Pages {
    /// The number of the newest line.
    last: u64,
    units: BTreeMap<Option<UnitId>, Lines>,
}

/// The lines of a unit.
#[derive(Default)]
struct Lines {
    lines: VecDeque<Line>,
    text: usize,
}

impl Lines {
    fn add(&mut self, line: Line) {
        self.text += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES || (self.text > TEXT && self.lines.len() > 1) {
            self.text -= self.lines.pop_front().map_or(0, |line| line.text.len());
        }
    }

    fn newest(&self) -> u64 {
        self.lines.back().map_or(0, |line| line.number)
    }
}

impl Logbook {
    fn add(&self, level: Level, unit: Option<UnitId>, source: Source, text: String) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.last += 1;
        let line = Line { number: pages.last, at_us: now(), level, unit: unit.clone(), source, text };
        if !pages.units.contains_key(&unit) && pages.units.len() > UNITS {
            let oldest = pages.units.iter().filter(|(unit, _)| unit.is_some()).min_by_key(|(_, lines)| lines.newest());
            if let Some(oldest) = oldest.map(|(unit, _)| unit.clone()) {
                pages.units.remove(&oldest);
            }
        }
        pages.units.entry(unit).or_default().add(line);
    }

    fn read(&self, query: &Query) -> Page {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let units = pages.units.iter().filter(|(unit, _)| query.asks_for(unit.as_ref()));
        let wanted = |line: &&Line| line.number > query.after && line.at_us >= query.since_us;
        let mut found: Vec<_> = units.flat_map(|(_, lines)| &lines.lines).filter(wanted).collect();
        found.sort_unstable_by_key(|line| line.number);
        let skip = query.newest.map_or(0, |newest| found.len().saturating_sub(newest));
        let (mut page, mut text) = (Page { began: self.began, last: pages.last, ..Page::default() }, 0);
        for line in found.drain(..).skip(skip) {
            text += line.text.len();
            if page.lines.len() == MOST_LINES || (text > MOST_TEXT && !page.lines.is_empty()) {
                page.more = true;
                page.last = page.lines.last().map_or(pages.last, |line| line.number);
                break;
            }
            page.lines.push(line.clone());
        }
        page
    }
}

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let level = match *event.metadata().level() {
            tracing::Level::TRACE => Level::Trace,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::INFO => Level::Info,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::ERROR => Level::Error,
        };
        let source = match event.metadata().target() {
            "guest" => Source::Guest,
            "provider" => Source::Provider,
            _ => Source::Host,
        };
        BOOK.add(level, said.unit, source, said.message + &said.more);
    }
}

/// What an event says.
#[derive(Default)]
struct Said {
    unit: Option<UnitId>,
    message: String,
    more: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // To write into a text cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => {
                let value = format!("{value:?}");
                match value.parse() {
                    Ok(unit) if name == "unit" => {
                        self.unit = Some(unit);
                        Ok(())
                    }
                    _ if value.is_empty() => Ok(()),
                    _ => write!(self.more, " {name}={value}"),
                }
            }
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // Of a guest: the level is beside it, and whether it went to its output or its errors says little.
            "stream" | "level" => {}
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }
}

/// The time in microseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn add(book: &Logbook, unit: Option<&str>, text: &str) {
        book.add(Level::Info, unit.map(|unit| unit.parse().unwrap()), Source::Guest, text.to_owned());
    }

    fn texts(page: &Page) -> Vec<&str> {
        page.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_come_in_order_and_go_on_after_the_last() {
        let book = Logbook::default();
        add(&book, Some("shop/cart"), "one");
        add(&book, None, "the host's own");
        add(&book, Some("shop/web"), "two");
        let shop = Query { app: Some("shop".parse().unwrap()), ..Query::default() };
        let page = book.read(&shop);
        assert_eq!((texts(&page), page.last, page.more), (vec!["one", "two"], 3, false));
        add(&book, Some("shop/cart"), "three");
        assert_eq!(texts(&book.read(&Query { after: page.last, ..shop.clone() })), ["three"]);
        assert_eq!(texts(&book.read(&Query { newest: Some(2), ..shop.clone() })), ["two", "three"]);
        assert!(book.read(&Query { since_us: u64::MAX, ..shop }).lines.is_empty());
        assert_eq!(texts(&book.read(&Query::default())), ["one", "the host's own", "two", "three"]);
    }

    #[test]
    fn who_says_much_takes_nothing_from_others_and_an_answer_has_an_end() {
        let book = Logbook::default();
        add(&book, Some("shop/quiet"), "once");
        (0..5000).for_each(|number| add(&book, Some("shop/loud"), &number.to_string()));
        let page = book.read(&Query::default());
        assert_eq!((texts(&page)[0], page.lines.len()), ("once", LINES + 1));
        for unit in 0..6 {
            (0..LINES).for_each(|_| add(&book, Some(&format!("shop/u{unit}")), "x"));
        }
        let (mut after, mut lines, mut pages) = (0, 0, 0);
        loop {
            let page = book.read(&Query { after, ..Query::default() });
            (lines, pages, after) = (lines + page.lines.len(), pages + 1, page.last);
            if !page.more {
                break;
            }
        }
        assert_eq!((lines, pages), (7 * LINES + 1, 2));
        // One long line is kept, whatever its length.
        add(&book, Some("shop/long"), &"x".repeat(TEXT * 2));
        let long =
            Query { unit: Some("long".parse().unwrap()), app: Some("shop".parse().unwrap()), ..Query::default() };
        assert_eq!(book.read(&long).lines.len(), 1);
    }

    #[test]
    fn units_that_have_said_nothing_for_longest_are_forgotten() {
        let book = Logbook::default();
        add(&book, None, "the host's own");
        (0..=UNITS).for_each(|number| add(&book, Some(&format!("shop/u{number}")), "hello"));
        let page = book.read(&Query::default());
        assert_eq!(page.lines.len(), UNITS + 1);
        assert_eq!(texts(&page)[0], "the host's own");
        assert!(!page.lines.iter().any(|line| line.unit == "shop/u0".parse().ok()));
    }
}
