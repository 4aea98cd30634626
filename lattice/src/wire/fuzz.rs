//! What must hold for any bytes at all: the targets of `fuzz/`, which `tests/fuzz.rs` runs for some seconds as well.
//!
//! A target panics when something is wrong. Its input comes from whoever would break it.

mod messages;
mod streams;
mod values;

/// One target.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs that are right, to begin with.
    pub samples: &'static [&'static [u8]],
}

/// All targets. Each has a file of its name in `fuzz/fuzz_targets`.
pub const TARGETS: &[Target] = &[
    values::BYTES,
    values::JSON,
    values::ROUND_TRIP,
    values::ELEMENTS,
    messages::CODEC,
    messages::HTTP,
    messages::HEADERS,
    messages::BUNDLE,
    messages::NAMES,
    streams::FRAME,
    streams::RECEIVER,
    streams::SENDER,
    streams::PAIR,
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(data),
        None => panic!("there is no target {name}"),
    }
}

/// Bytes as a source of decisions. It never runs dry: zeros follow.
struct Input<'d>(&'d [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> u64 {
        (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn take(&mut self, most: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.take(most)).into_owned()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
