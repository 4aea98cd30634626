//! What is wrong with a manifest: the thing, the place and the way out.

use serde_saphyr::{Location, Spanned};

/// A place in the manifest's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Offset in bytes from the beginning of the text.
    pub offset: usize,
    /// Length in bytes, at least 1.
    pub len: usize,
}

/// One error in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    pub message: String,
    pub place: Option<Place>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Problem {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, help: None }
    }

    /// A problem with the value that stands at `at`.
    pub fn at<T>(at: &Spanned<T>, message: impl Into<String>) -> Self {
        Self::new(message).located(at.referenced)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn located(mut self, location: Location) -> Self {
        self.place = place(location);
        self
    }
}

pub(super) fn place(location: Location) -> Option<Place> {
    if location.line() == 0 {
        return None;
    }
    let span = location.span();
    let offset = span.byte_offset().unwrap_or(span.offset());
    let len = span.byte_len().unwrap_or(span.len());
    Some(Place {
        line: location.line() as usize,
        column: location.column() as usize,
        offset: offset as usize,
        len: (len as usize).max(1),
    })
}

/// " (did you mean `x`?)" when one of `known` is near `word`.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The help for an unknown word: the nearest known one, or all of them.
pub fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all: Vec<_> = known.into_iter().map(|k| format!("`{k}`")).collect();
            if all.is_empty() {
                "there are none to choose from".to_owned()
            } else {
                format!("known are {}", all.join(", "))
            }
        }
    }
}
