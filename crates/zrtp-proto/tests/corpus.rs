//! The kept inputs of the fuzz target, and some thousand made by a seeded generator: the same run, without a fuzzer.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod support;
#[path = "support/fuzz.rs"]
mod drive;

use support::Seeded;

#[test]
fn kept_inputs_find_nothing() {
    let kept = include_str!("data/corpus.txt");
    for line in kept.lines() {
        let input: Vec<u8> =
            (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect();
        drive::run(&input);
    }
    assert!(kept.lines().count() >= 100);
}

#[test]
fn seeded_inputs_find_nothing() {
    let mut secure = 0;
    for seed in 0..2000 {
        let mut dice = Seeded(seed);
        let length = 1 + dice.below(600) as usize;
        let mut input: Vec<u8> = (0..length).map(|_| dice.number() as u8).collect();
        // mostly let messages through, so that the later states are reached
        for octet in &mut input {
            if dice.chance(60) {
                *octet &= 0x82;
            }
        }
        secure += usize::from(drive::run(&input));
    }
    // the fuzzer's way through the protocol is open
    assert!(secure >= 100, "{secure}");
}
