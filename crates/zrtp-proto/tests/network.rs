//! Two engines in virtual time, over networks of all kinds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

mod support;

use std::time::Duration;
use support::{Memory, Network, Party, Seeded, kind};
use zrtp_proto::*;

fn pair(seed: u64) -> [Party; 2] {
    [1, 2].map(|who| Party::plain(who, seed, &Memory::default(), |_| {}))
}

fn network(seed: u64) -> Network {
    let [first, second] = pair(seed);
    Network::new(first, second)
}

#[test]
fn a_good_network_needs_ten_packets() {
    let mut network = network(1);
    network.start_both().run();
    assert!(network.both_secure());
    network.check_agreement();
    let sent = network.parties.iter().map(|party| party.sent.len()).sum::<usize>();
    assert!(sent <= 12, "{sent}: {:?} {:?}", network.parties[0].sent, network.parties[1].sent);
    // the keys in the caches and for the application are the same
    let [first, second] = &network.parties;
    assert_eq!(first.memory.rs1(), second.memory.rs1());
    let exported = first.engine.export(b"test", 32).unwrap();
    assert!(exported.equals(second.engine.export(b"test", 32).unwrap().expose()));
    assert!(!exported.equals(first.engine.export(b"else", 32).unwrap().expose()));
}

#[test]
fn exported_keys_have_bounds() {
    let mut network = network(1);
    assert!(network.parties[0].engine.export(b"early", 32).is_none());
    network.start_both().run();
    let engine = &network.parties[0].engine;
    let longest = network.parties[0].secure.as_ref().unwrap().suite.hash.octets();
    assert!(engine.export(b"label", longest).is_some());
    for (label, octets) in [(&b"label"[..], 0), (b"label", longest + 1), (b"", 32), (b"la\0bel", 32)] {
        assert!(engine.export(label, octets).is_none(), "{label:?} {octets}");
    }
}

/// 30 % loss each way, duplication, reordering, random starts, RFC timers.
#[test]
fn of_a_thousand_handshakes_over_a_bad_network_990_become_secure() {
    let (mut secure, mut slowest) = (0, Duration::ZERO);
    for seed in 0..1000 {
        let mut dice = Seeded(seed);
        let only = match dice.below(20) {
            0 => vec![KeyAgreement::Dh3k],
            1 => vec![KeyAgreement::Ec25],
            2 => vec![KeyAgreement::Ec38],
            3..12 => vec![KeyAgreement::X255],
            _ => Offer::default().agreements,
        };
        let delay = dice.below(2) * 150;
        let [first, second] = [1, 2].map(|who| {
            Party::plain(who, seed, &Memory::default(), |config| {
                config.offer.agreements = only.clone();
                config.timers.commit_delay = Duration::from_millis(delay);
            })
        });
        let mut network = Network::bad(first, second, seed);
        network.start(0, Duration::from_millis(dice.below(400)));
        network.start(1, Duration::from_millis(dice.below(400)));
        network.run();
        network.check_agreement();
        secure += usize::from(network.both_secure());
        slowest = slowest.max(network.now - network.begin);
    }
    println!("{secure} of 1000 secure, the slowest after {slowest:?}");
    assert!(secure >= 990, "{secure}");
}

#[test]
fn one_side_may_be_five_seconds_late() {
    for late in 0..2 {
        let mut network = network(2);
        network.start(1 - late, Duration::ZERO);
        network.start(late, Duration::from_secs(5));
        network.deaf_until[late] = Some(network.begin + Duration::from_secs(5));
        network.run();
        // the one in time has given up by then, and begins anew when it hears the other
        assert!(network.parties[1 - late].unanswered);
        assert!(network.parties[1 - late].count("Hello") > 21);
        assert!(network.both_secure());
        network.check_agreement();
    }
}

#[test]
fn a_call_whose_path_opens_after_five_seconds_begins_anew() {
    let mut network = network(3);
    network.start_both();
    network.deaf_until = [Some(network.begin + Duration::from_secs(5)); 2];
    network.run_until(Duration::from_secs(5), |_| false);
    assert!(network.parties.iter().all(|party| party.unanswered && party.count("Hello") == 21));
    // as its caller does when ICE has ended or the first packet arrives
    network.start(0, Duration::from_secs(5));
    network.run();
    assert!(network.both_secure());
    network.check_agreement();
}

#[test]
fn with_evidence_hellos_last_twelve_seconds() {
    for announced in [false, true] {
        let [mut first, second] = pair(4);
        let hash = second.engine.hello_hash();
        let now = std::time::Instant::now();
        if announced {
            first.engine.announced(now, hash);
        }
        let mut network = Network::new(first, second);
        network.start(0, Duration::ZERO);
        network.filter = Box::new(|_, _| false);
        let mut last = Duration::ZERO;
        for _ in 0..200 {
            let before = network.parties[0].count("Hello");
            let step = network.now - network.begin + Duration::from_millis(100);
            network.run_until(step, |_| false);
            network.now = network.begin + step;
            if network.parties[0].count("Hello") > before {
                last = step;
            }
        }
        assert!(network.parties[0].unanswered);
        if announced {
            assert!(last >= Duration::from_secs(12), "{last:?}");
        } else {
            assert!(last < Duration::from_secs(4), "{last:?}");
        }
    }
}

#[test]
fn contention_ends_with_one_initiator() {
    for seed in 0..40 {
        for agreement in Offer::default().agreements {
            let [first, second] = [1, 2].map(|who| {
                Party::plain(who, seed, &Memory::default(), |config| {
                    config.offer.agreements = vec![agreement];
                    config.timers.commit_delay = Duration::ZERO;
                })
            });
            if agreement == KeyAgreement::Dh3k && seed > 3 {
                continue; // slow
            }
            let mut network = Network::new(first, second);
            network.start_both().run();
            assert!(network.both_secure());
            network.check_agreement();
            assert!(network.parties.iter().all(|party| party.count("Commit") == 1), "no contention");
            assert!(network.parties.iter().all(|party| party.remembered == 1));
        }
    }
}

#[test]
fn a_lost_conf2ack_is_sent_again() {
    let mut network = network(5);
    let mut lost = 0;
    network.filter = Box::new(move |_, datagram| {
        let lose = kind(datagram) == "Conf2ACK" && lost < 3;
        lost += usize::from(lose);
        !lose
    });
    network.start_both().run();
    assert!(network.both_secure());
    network.check_agreement();
    let sent = network.parties.iter().map(|party| party.count("Conf2ACK")).sum::<usize>();
    assert_eq!(sent, 4);
    assert!(network.parties.iter().all(|party| party.remembered == 1));
}

#[test]
fn authentic_srtp_stands_for_a_conf2ack() {
    let mut network = network(6);
    network.filter = Box::new(|_, datagram| kind(datagram) != "Conf2ACK");
    network.start_both();
    network.run_until(Duration::from_secs(3), |parties| parties.iter().any(|party| party.secure.is_some()));
    let initiator = usize::from(network.parties[0].secure.is_some());
    assert!(network.parties[initiator].secure.is_none());
    // "MUST receive either […] Conf2ACK […] or […] SRTP media […] before updating the initiator's cache"
    assert_eq!(network.parties[initiator].remembered, 0);
    assert!(network.parties[initiator].receive.is_some());
    let now = network.now;
    network.parties[initiator].engine.srtp_authenticated(now);
    network.run();
    assert!(network.both_secure());
    network.check_agreement();
    assert_eq!(network.parties[initiator].remembered, 1);
    assert_eq!(network.parties[initiator].engine.wake(), None, "Confirm2 goes on");
}

#[test]
fn an_initiator_whose_confirm2_is_never_answered_stores_nothing_and_the_next_call_matches_by_rs2() {
    let memories = [Memory::default(), Memory::default()];
    let call = |seed, filter: fn(&[u8]) -> bool| {
        let [first, second] = [0, 1].map(|who| {
            Party::plain(who as u8 + 1, seed, &memories[who], |config| {
                // the first always commits
                config.timers.commit_delay = Duration::from_secs(who as u64);
            })
        });
        let mut network = Network::new(first, second);
        network.filter = Box::new(move |_, datagram| filter(datagram));
        network.start_both().run();
        network
    };
    assert!(call(1, |_| true).both_secure());
    let broken = call(2, |datagram| kind(datagram) != "Conf2ACK");
    assert_eq!(broken.parties[0].failed, Some(Failure::Timeout));
    assert!(broken.parties[1].secure.is_some());
    assert_ne!(memories[0].rs1(), memories[1].rs1(), "the two generals disagree");
    let third = call(3, |_| true);
    assert!(third.parties.iter().all(|party| party.secure.as_ref().unwrap().continuity == Continuity::Match));
    assert_eq!(memories[0].rs1(), memories[1].rs1());
}

/// "If this extended Hello retry schedule is exhausted without receiving a HelloACK or Commit message, a late Commit message from
/// the peer SHOULD still be accepted" (§6).
#[test]
fn a_late_commit_is_accepted() {
    let [first, second] = [1, 2].map(|who| {
        Party::plain(who, 1, &Memory::default(), |config| {
            config.timers.commit_delay = Duration::from_secs(if who == 1 { 3600 } else { 14 });
        })
    });
    let mut network = Network::new(first, second);
    network.filter = Box::new(|from, datagram| from == 0 || kind(datagram) != "HelloACK");
    network.start_both();
    network.run_until(Duration::from_secs(13), |_| false);
    assert!(network.parties[0].unanswered && network.parties[0].count("Hello") == 63);
    assert_eq!(network.parties[0].engine.wake(), None);
    network.run();
    assert!(network.both_secure());
    network.check_agreement();
}

#[test]
fn an_engine_can_go_to_another_thread() {
    fn goes<T: Send + 'static>(_: &T) {}
    goes(&network(1).parties[0].engine);
}

#[test]
fn a_silent_initiator_is_given_up_after_ten_seconds() {
    let mut network = network(7);
    network.filter = Box::new(|_, datagram| kind(datagram) != "DHPart2" && kind(datagram) != "Error");
    network.start_both();
    network.run();
    assert!(network.parties.iter().all(|party| party.failed == Some(Failure::Timeout)));
    assert!(network.parties.iter().all(|party| party.remembered == 0));
    let took = network.now - network.begin;
    assert!((Duration::from_secs(9)..Duration::from_secs(12)).contains(&took), "{took:?}");
}
