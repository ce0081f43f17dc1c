//! CPU time of each side for a whole handshake: all that its engine does from `Engine::new` to `Secure`, without a network.
//! Prints one line per key agreement: median and 90th percentile of both sides, in microseconds, and beside them the median
//! of a side in libbzrtp where that has the algorithms; it must be installed.
//!
//! `cargo bench -p zrtp-proto`, or with a number of handshakes: `cargo bench -p zrtp-proto -- 500`.

#![allow(clippy::disallowed_methods, clippy::print_stdout, missing_docs, reason = "a benchmark measures and prints")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark may fail loudly")]

#[path = "../tests/interop/program.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod libbzrtp;

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use zrtp_proto::{AuthTag, Cipher, Config, Engine, Hash, KeyAgreement, NoCache, Output, Zid};

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200);
    println!(
        "{:<22} {:>12} {:>12} {:>12} {:>12} {:>12}   (µs, {rounds} handshakes)",
        "", "initiator", "p90", "responder", "p90", "libbzrtp"
    );
    let suites = [
        ("DH3k S256 AES1 HS80", KeyAgreement::Dh3k, Hash::S256, Cipher::Aes1, AuthTag::Hs80),
        ("DH3k S256 AES3 HS80", KeyAgreement::Dh3k, Hash::S256, Cipher::Aes3, AuthTag::Hs80),
        ("X255 S256 AES1 HS80", KeyAgreement::X255, Hash::S256, Cipher::Aes1, AuthTag::Hs80),
        ("EC25 S256 AES1 HS80", KeyAgreement::Ec25, Hash::S256, Cipher::Aes1, AuthTag::Hs80),
        ("EC38 S384 AES3 HS80", KeyAgreement::Ec38, Hash::S384, Cipher::Aes3, AuthTag::Hs80),
        #[cfg(feature = "x1m1")]
        ("X1M1 S512 AES3 GCM", KeyAgreement::X1m1, Hash::S512, Cipher::Aes3, AuthTag::Gcm),
    ];
    for (name, agreement, hash, cipher, tag) in suites {
        let mut taken = [Vec::new(), Vec::new()];
        for round in 0..rounds {
            let change = |config: &mut Config| {
                config.offer.agreements = vec![agreement];
                (config.offer.hashes, config.offer.ciphers, config.offer.auth_tags) =
                    (vec![hash], vec![cipher], vec![tag]);
            };
            let times = handshake(round, change);
            taken[0].push(times[0]);
            taken[1].push(times[1]);
        }
        let [initiator, responder] = taken.map(|mut times| {
            times.sort();
            [times[times.len() / 2], times[times.len() * 9 / 10]].map(|time| time.as_secs_f64() * 1e6)
        });
        let theirs = match agreement {
            KeyAgreement::Dh3k | KeyAgreement::X255 => {
                libbzrtp::cpu_time_per_side(rounds, &name.replace(' ', ",")).as_micros().to_string()
            }
            _ => "-".to_owned(),
        };
        println!(
            "{name:<22} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {theirs:>12}",
            initiator[0], initiator[1], responder[0], responder[1]
        );
    }
}

/// What this thread has used: another program's share of the processor is not in it.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Time of the initiator and of the responder.
fn handshake(seed: u64, change: impl Fn(&mut Config)) -> [Duration; 2] {
    let mut taken = [Duration::ZERO; 2];
    let mut sides = [0u8, 1].map(|who| {
        let before = cpu_time();
        let mut config = Config::new(Zid([who; 12]), u32::from(who));
        change(&mut config);
        // the first commits at once, the second leaves it to him
        config.timers.commit_delay = Duration::from_secs(u64::from(who) * 60);
        let engine = Engine::new(config, random(2 * seed + u64::from(who)), NoCache);
        taken[usize::from(who)] += cpu_time() - before;
        engine
    });
    let now = Instant::now();
    sides.iter_mut().for_each(|engine| engine.start(now));
    let mut secure = 0;
    while secure < 2 {
        for who in 0..2 {
            while let Some(output) = sides[who].poll() {
                match output {
                    Output::Transmit(datagram) => {
                        let before = cpu_time();
                        sides[1 - who].handle_packet(now, &datagram);
                        taken[1 - who] += cpu_time() - before;
                    }
                    Output::Secure(_) => secure += 1,
                    _ => {}
                }
            }
        }
    }
    taken
}

/// Reproducible, for a benchmark only.
fn random(mut seed: u64) -> impl FnMut(&mut [u8]) + Send {
    move |octets| {
        for octet in octets {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *octet = (seed >> 56) as u8;
        }
    }
}
