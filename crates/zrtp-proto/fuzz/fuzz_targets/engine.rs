//! An engine in any state, its key agreement a stub, against whatever the fuzzer makes of its peer's messages.
//! What an input means stands in `tests/support/fuzz.rs`; the inputs worth keeping are in
//! `tests/data/corpus.txt`, in hex.

#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/support/fuzz.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    drive::run(input);
});
