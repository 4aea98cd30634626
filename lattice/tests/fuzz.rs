//! The fuzz targets, for some time each: right inputs with some bytes changed, and bytes at random. A failure prints the
//! seed; `LATTICE_SEED` repeats it, and `LATTICE_FUZZ_SECONDS` runs each target for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env,
    hash::{BuildHasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use lattice::wire::{
    fuzz::{TARGETS, Target},
    value::samples::Dice,
};

/// Notes the most that the running thread asks for at once.
struct Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn asked(bytes: usize) {
    // While a thread ends there is nothing to count in.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: everything is the system's own allocator; the counter is a plain number of the thread.
#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that may be allocated at once for an input. serde takes a length's word for up to 1 MiB; JSON of some bytes
/// is longer than they are.
fn most(input: usize) -> usize {
    (2 << 20) + 64 * input
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// An input: a sample with some of it changed, or just bytes.
fn input(target: &Target, dice: &mut Dice) -> Vec<u8> {
    let longest = 1 << dice.below(12);
    let length = dice.below(longest);
    let mut bytes: Vec<u8> = match target.samples.len() {
        0 => (0..length).map(|_| dice.roll() as u8).collect(),
        count if dice.below(8) > 0 => target.samples[dice.below(count)].to_vec(),
        _ => (0..length).map(|_| dice.roll() as u8).collect(),
    };
    for _ in 0..dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.roll() as u8),
            2 => bytes.extend_from_within(at..),
            3 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_target_panics_or_allocates_from_a_length() {
    let seed = number("LATTICE_SEED").unwrap_or_else(|| RandomState::new().hash_one("seed"));
    let limit = Duration::from_millis(number("LATTICE_FUZZ_SECONDS").map_or(500, |seconds| seconds * 1000));
    for target in TARGETS {
        let begun = Instant::now();
        let mut dice = Dice::new(seed);
        let mut runs = 0u64;
        while begun.elapsed() < limit {
            let data = input(target, &mut dice);
            LARGEST.set(0);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&data))) {
                eprintln!("LATTICE_SEED={seed}: {} with {data:?}", target.name);
                resume_unwind(panic);
            }
            let largest = LARGEST.get();
            assert!(
                largest <= most(data.len()),
                "LATTICE_SEED={seed}: {} allocates {largest} bytes at once for {data:?}",
                target.name
            );
            runs += 1;
        }
        println!("{}: {runs} inputs", target.name);
        assert!(runs > 100, "{}: only {runs} inputs within {limit:?}", target.name);
    }
}

#[test]
fn each_target_can_be_fuzzed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    files.sort();
    targets.sort();
    assert_eq!(files, targets);
    for (name, path) in targets.iter().map(|name| (name, format!("{folder}/{name}.rs"))) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(&format!("run(\"{name}\", data)")), "{path} runs another target");
    }
}
