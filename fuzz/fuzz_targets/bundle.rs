#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lattice::wire::fuzz::run("bundle", data));
