#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lattice::wire::fuzz::run("value_elements", data));
