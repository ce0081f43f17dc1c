//! A talker over bad networks, with bad clocks and with arbitrary numbers, in virtual time.
//!
//! `cargo test --test audio -- --nocapture` prints the figures.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail loudly; its figures are of interest")]

mod senders;
mod simulation;

use galene_sips::audio::{Codec, Heard};
use galene_sips::units::SampleRate::{self, Hz8000, Hz48000};
use galene_sips_lab::measure::{correlate_in_pieces, tone_share};
use galene_sips_lab::sound::{sine, speech_like};
use simulation::{Network, Outcome, Run};

/// Each codec at each rate that it is heard at.
const PATHS: [(Codec, SampleRate); 4] =
    [(Codec::Opus, Hz48000), (Codec::Opus, Hz8000), (Codec::Pcma, Hz8000), (Codec::Pcmu, Hz48000)];

fn speech(rate: SampleRate, seconds: u32, seed: u64) -> Vec<i16> {
    speech_like(rate.hz(), (rate.hz() * seconds) as usize, seed)
}

fn tone(rate: SampleRate, seconds: u32) -> Vec<i16> {
    sine(rate.hz(), 440.0, 0.3, (rate.hz() * seconds) as usize)
}

fn share_of_tone(outcome: &Outcome) -> f64 {
    // past the first second, in which playout begins
    tone_share(&outcome.pcm[outcome.rate.hz() as usize..], outcome.rate.hz(), 440.0)
}

/// 5 % random loss, and delays between 10 and 50 ms that reorder packets.
fn lossy() -> Network {
    Box::new(|_, dice| (dice.between(0.0, 1.0) >= 0.05).then(|| dice.between(10.0, 50.0)))
}

#[test]
fn loss_and_reordering_conceal_what_was_lost_and_hardly_more() {
    for (codec, rate) in PATHS {
        for seed in 1..=4 {
            let mut run = Run::new(codec, rate, speech(rate, 60, seed));
            run.network = lossy();
            run.seed = seed;
            let outcome = run.go();
            let statistics = outcome.statistics;
            let concealed = outcome.count(Heard::Concealed, 0.0..60.0);
            println!(
                "{codec:?} at {rate:?}, seed {seed}: sent {}, lost {}, concealed {concealed}, silent {}, {statistics:?}",
                outcome.sent,
                outcome.lost,
                outcome.count(Heard::Silence, 1.0..59.0)
            );
            assert!(outcome.lost > 100);
            assert!(concealed <= outcome.lost + outcome.sent / 100);
            assert!(concealed >= outcome.lost * 9 / 10, "what is lost must show");
            assert_eq!(statistics.concealed, concealed as u64);
            assert!(codec != Codec::Opus || statistics.recovered > statistics.lost / 2, "error correction is used");
            assert_eq!(outcome.count(Heard::Silence, 1.0..59.0), 0);
        }
    }
}

#[test]
fn a_tone_passes_unharmed_when_nothing_is_lost() {
    for (codec, rate) in PATHS {
        for ppm in [0.0, 1_000.0, -1_000.0] {
            let mut run = Run::new(codec, rate, tone(rate, 60));
            run.ppm = ppm;
            let outcome = run.go();
            let share = share_of_tone(&outcome);
            println!("{codec:?} at {rate:?}, {ppm:+} ppm: {:.2} % tone", share * 100.0);
            assert!(share > 0.98, "{share}");
            assert_eq!(outcome.count(Heard::Concealed, 0.0..60.0), 0);
        }
    }
}

#[test]
fn a_clock_1000_ppm_off_is_followed_for_ten_minutes() {
    for (codec, rate) in [(Codec::Opus, Hz8000), (Codec::Pcmu, Hz8000)] {
        for (ppm, first_sequence, first_timestamp) in [(1_000.0, 0xff80, u32::MAX - 5_000), (-1_000.0, 9, 0x8000_0000)]
        {
            let mut run = Run::new(codec, rate, speech(rate, 601, 7));
            run.ppm = ppm;
            run.first_sequence = first_sequence;
            run.first_timestamp = first_timestamp;
            run.network = Box::new(|_, dice| Some(dice.between(50.0, 60.0)));
            let outcome = run.go();
            let delays: Vec<f64> = (0..58).filter_map(|n| outcome.delay(10.0 + f64::from(n) * 10.0)).collect();
            let (least, most) =
                (delays.iter().copied().fold(f64::MAX, f64::min), delays.iter().copied().fold(0.0, f64::max));
            println!(
                "{codec:?} {ppm:+} ppm: delay {least:.0} to {most:.0} ms at {} places, {:?}",
                delays.len(),
                outcome.statistics
            );
            // some places are pauses of the speech
            assert!(delays.len() > 40, "{}", delays.len());
            // 20 ms packet, 50 to 60 ms network, 20 to 50 ms here, up to 7 ms codec
            assert!(least > 70.0 && most < 150.0, "{delays:?}");
            assert_eq!(outcome.count(Heard::Silence, 1.0..600.0), 0);
            assert!(outcome.count(Heard::Concealed, 1.0..600.0) < 30);
        }
    }
}

#[test]
fn a_talker_who_talked_before_we_joined_is_heard_at_once_whatever_his_numbers() {
    for (codec, rate) in PATHS {
        for (sequence, timestamp) in
            [(0, 0), (0xff00, 1), (0xffff, u32::MAX), (0xfffe, 0x7fff_ffff), (1, u32::MAX - 960)]
        {
            let mut run = Run::new(codec, rate, tone(rate, 3));
            run.first_sequence = sequence;
            run.first_timestamp = timestamp;
            // the first half second was before our time
            run.network = Box::new(|at, _| (at > 500.0).then_some(50.0));
            let outcome = run.go();
            let first = outcome.heard.iter().position(|&heard| heard == Heard::Sound).unwrap();
            // it arrived after 570 ms; the target delay is 40 ms at first
            assert!(first * 20 <= 640, "{codec:?} {sequence:#x}: heard after {} ms", first * 20);
            assert!(outcome.heard[first..].iter().all(|&heard| heard == Heard::Sound));
            assert_eq!(outcome.statistics.lost, 0);
        }
    }
}

#[test]
fn speech_is_still_that_speech_after_a_bad_network_and_a_bad_clock() {
    for (codec, rate) in PATHS {
        for (ppm, bad, least) in [(0.0, false, 0.95), (1_000.0, false, 0.9), (-1_000.0, false, 0.9), (200.0, true, 0.8)]
        {
            let mut run = Run::new(codec, rate, speech(rate, 20, 11));
            run.ppm = ppm;
            if bad {
                run.network = lossy();
            }
            let outcome = run.go();
            let hz = rate.hz() as usize;
            let found = correlate_in_pieces(&outcome.source[..18 * hz], &outcome.pcm, rate.hz(), hz / 2, hz / 10);
            println!("{codec:?} at {rate:?}, {ppm:+} ppm, 5 % loss {bad}: correlation {:.3}", found.value);
            assert!(found.value > least, "{found:?}");
        }
    }
}

#[test]
fn a_backlog_that_trickles_in_and_a_queue_that_swells_are_caught_up_with() {
    for (codec, rate) in [(Codec::Opus, Hz8000), (Codec::Pcma, Hz8000)] {
        // frozen for 5 s, then everything within a second
        let mut run = Run::new(codec, rate, speech(rate, 50, 3));
        run.network = Box::new(|at, _| {
            Some(if (20_000.0..26_000.0).contains(&at) { (26_000.0 - at) * 5.0 / 6.0 + 50.0 } else { 50.0 })
        });
        let outcome = run.go();
        let after = delays(&outcome, 27.0, 48.0);
        println!("{codec:?} trickle: {after:.0?}\n{:?}", outcome.statistics);
        assert!(
            after.len() > 20 && after.iter().all(|&(at, delay)| delay < 70.0 + if at < 34.0 { 250.0 } else { 60.0 })
        );

        // the delay swells to half a second and shrinks again, every 4 s
        let mut run = Run::new(codec, rate, speech(rate, 60, 3));
        run.network = Box::new(|at, _| Some(50.0 + 450.0 * (1.0 - (at / 4_000.0 * std::f64::consts::TAU).cos()) / 2.0));
        let outcome = run.go();
        let (silent, concealed) =
            (outcome.count(Heard::Silence, 1.0..59.0), outcome.count(Heard::Concealed, 1.0..59.0));
        println!("{codec:?} swelling: silent {silent}, concealed {concealed}, {:?}", outcome.statistics);
        assert!(silent == 0 && concealed < 300);
        let all = delays(&outcome, 10.0, 58.0);
        assert!(all.iter().all(|&(_, delay)| delay < 20.0 + 500.0 + 250.0), "{all:?}");
    }
}

/// Delay measured every half second from a time on; 0 where it cannot be (pauses of the speech).
fn delays(outcome: &Outcome, from: f64, to: f64) -> Vec<(f64, f64)> {
    let count = ((to - from) * 2.0) as u32;
    (0..count)
        .filter_map(|n| {
            let second = from + f64::from(n) / 2.0;
            Some((second, outcome.delay(second)?))
        })
        .collect()
}

#[test]
fn after_a_delay_step_the_delay_comes_back() {
    for (codec, rate) in [(Codec::Opus, Hz8000), (Codec::Pcma, Hz8000)] {
        let mut run = Run::new(codec, rate, speech(rate, 60, 3));
        run.network = Box::new(|at, _| Some(if (20_000.0..40_000.0).contains(&at) { 500.0 } else { 50.0 }));
        let outcome = run.go();
        let slow = delays(&outcome, 22.0, 40.0);
        let fast = delays(&outcome, 41.0, 58.0);
        println!("{codec:?} up: {slow:.0?}\n{codec:?} down: {fast:.0?}\n{:?}", outcome.statistics);
        assert!(slow.len() > 20 && fast.len() > 20);
        assert!(slow.iter().all(|&(at, delay)| at < 23.0 || delay < 20.0 + 500.0 + 60.0));
        assert!(fast.iter().all(|&(at, delay)| at < 44.0 || delay < 20.0 + 50.0 + 60.0));
    }
}

#[test]
fn after_an_outage_the_delay_comes_back_whether_the_backlog_arrives_or_not() {
    for (codec, rate) in [(Codec::Opus, Hz8000), (Codec::Pcma, Hz8000)] {
        for (outage, kept) in [(5_000.0, true), (5_000.0, false), (8_000.0, true)] {
            let mut run = Run::new(codec, rate, speech(rate, 50, 3));
            let end = 20_000.0 + outage;
            run.network = Box::new(move |at, _| {
                let frozen = (20_000.0..end).contains(&at);
                match (frozen, kept) {
                    (false, _) => Some(50.0),
                    // 3 s of packets are kept; all of them come at once
                    (true, true) if at > end - 3_140.0 => Some(end + 50.0 - at),
                    (true, _) => None,
                }
            });
            let outcome = run.go();
            let after = delays(&outcome, end / 1000.0 + 0.5, 48.0);
            println!("{codec:?} {outage} ms, backlog {kept}: {after:.0?}\n{:?}", outcome.statistics);
            assert!(after.len() > 20);
            let base = 20.0 + 50.0;
            assert!(after.iter().all(|&(_, delay)| delay < base + 100.0));
            assert!(after.iter().all(|&(at, delay)| at < end / 1000.0 + 5.0 || delay < base + 60.0));
            let back = end / 1000.0 + 0.4;
            assert_eq!(outcome.count(Heard::Silence, back..48.0), 0);
            assert_eq!(outcome.count(Heard::Silence, 21.0..20.0 + outage / 1000.0), outage as usize / 20 - 50);
        }
    }
}

#[test]
fn talkers_and_encoders_can_move_between_threads() {
    fn movable<T: Send>() {}
    movable::<galene_sips::audio::Talker>();
    movable::<galene_sips::audio::Encoder>();
}
