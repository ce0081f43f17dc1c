//! Peers and strangers that break the rules, one rule at a time. Every test fails when the check that it names is removed.

use super::support::{Memory, Network, Party, Seeded, kind};
use crate::message;
use crate::wire::{crc32c, seal};
use crate::*;
use std::time::{Duration, Instant};

const A: usize = 0;
const B: usize = 1;

/// A never commits by itself, B does at once: A is the responder. X25519, because it is fast.
fn responder_and_initiator() -> Network {
    with_agreement(KeyAgreement::X255)
}

fn with_agreement(agreement: KeyAgreement) -> Network {
    let [first, second] = [1, 2].map(|who| {
        Party::plain(who, 7, &Memory::default(), |config| {
            config.offer.agreements = vec![agreement];
            config.timers.commit_delay = Duration::from_secs(if who == 1 { 3600 } else { 0 });
        })
    });
    let mut network = Network::new(first, second);
    network.start_both();
    network
}

fn a_while(network: &mut Network) {
    let limit = network.now - network.begin + Duration::from_secs(30);
    network.run_until(limit, |parties| parties.iter().all(Party::is_over));
}

fn until_state(network: &mut Network, who: usize, state: &str) {
    network.run_until(Duration::from_secs(30), |parties| parties[who].engine.state_name() == state);
    assert_eq!(network.parties[who].engine.state_name(), state);
}

/// Changes octets of the message in a datagram, and makes the CRC right again.
fn change(datagram: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let end = datagram.len() - 4;
    change(&mut datagram[12..end]);
    let crc = crc32c(&datagram[..end]).to_le_bytes();
    datagram[end..].copy_from_slice(&crc);
}

/// Changes each message of this type on its way.
fn tamper(network: &mut Network, wanted: &'static str, how: impl Fn(&mut [u8]) + 'static) {
    network.filter = Box::new(move |_, datagram| {
        if kind(datagram) == wanted {
            change(datagram, &how);
        }
        true
    });
}

/// Who failed and why; the other side is told.
#[track_caller]
fn expect_failure(network: &mut Network, who: usize, failure: Failure) {
    a_while(network);
    assert_eq!(network.parties[who].failed, Some(failure));
    assert!(network.parties.iter().all(|party| party.secure.is_none() && party.remembered == 0));
    assert!(network.parties.iter().all(|party| party.send.is_none()));
    assert_eq!(network.parties[1 - who].failed, failure.code().map(Failure::PeerError), "the Error");
    let limit = network.now - network.begin + Duration::from_millis(100);
    network.run_until(limit, |_| false);
    assert_eq!(network.parties[who].engine.wake(), None, "Error is repeated though it was acknowledged");
    assert!(!format!("{failure}").is_empty());
}

/// Nobody used the packets of this kind, and the exchange did not come to an end with keys.
#[track_caller]
fn expect_stuck(network: &mut Network, victim: usize, state: &str) {
    let limit = network.now - network.begin + Duration::from_secs(3);
    network.run_until(limit, |parties| parties.iter().all(Party::is_over));
    assert_eq!(network.parties[victim].engine.state_name(), state);
    assert!(network.parties[victim].warnings.contains(&Warning::ForgedMessage));
    assert!(network.parties.iter().all(|party| party.secure.is_none()));
}

fn deliver(network: &mut Network, who: usize, datagram: &[u8]) -> (Receipt, Vec<Vec<u8>>) {
    let now = network.now;
    let receipt = network.parties[who].engine.handle_packet(now, datagram);
    let answers = network.parties[who].drain();
    (receipt, answers)
}

fn hello_of(network: &mut Network, who: usize) -> Vec<u8> {
    let message = network.parties[who].engine.hello_message().to_vec();
    seal(1, ssrc(who), &message)
}

const fn ssrc(who: usize) -> u32 {
    who as u32 + 1
}

// ── packets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn wrong_checksum() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for at in 0..hello.len() {
        let mut broken = hello.clone();
        broken[at] ^= 0x10;
        let (receipt, answers) = deliver(&mut network, A, &broken);
        let first_or_cookie = at == 0 || (4..8).contains(&at);
        let expected = if first_or_cookie { Dropped::NotZrtp } else { Dropped::Crc };
        assert_eq!(receipt, Receipt::Dropped(expected), "octet {at}");
        assert!(answers.is_empty());
    }
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Accepted);
}

#[test]
fn truncated_and_overlong() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for length in 0..hello.len() {
        let (receipt, answers) = deliver(&mut network, A, &hello[..length]);
        assert!(matches!(receipt, Receipt::Dropped(Dropped::NotZrtp | Dropped::Length | Dropped::Crc)), "{length}");
        assert!(answers.is_empty());
    }
    let message = hello[12..hello.len() - 4].to_vec();
    for length in (0..message.len()).step_by(4).chain([message.len() + 4, 5000]) {
        // a right checksum over the wrong length
        let mut other = message.clone();
        other.resize(length, 0);
        let (receipt, _) = deliver(&mut network, A, &seal(1, ssrc(B), &other));
        assert_eq!(receipt, Receipt::Dropped(Dropped::Length), "{length}");
    }
}

#[test]
fn length_field_off() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    for length in (0..64u16).chain([0xffff]) {
        let mut broken = hello.clone();
        let right = u16::from_be_bytes([hello[14], hello[15]]);
        change(&mut broken, |message| message[2..4].copy_from_slice(&length.to_be_bytes()));
        if length != right {
            assert_eq!(deliver(&mut network, A, &broken).0, Receipt::Dropped(Dropped::Length), "{length}");
        }
    }
}

/// A length field that is right for the datagram and wrong for the type.
#[test]
fn length_wrong_for_the_type() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    for kind in [
        b"Hello   ",
        b"HelloACK",
        b"Commit  ",
        b"DHPart1 ",
        b"DHPart2 ",
        b"Confirm1",
        b"Confirm2",
        b"Conf2ACK",
        b"Error   ",
        b"ErrorACK",
        b"GoClear ",
        b"ClearACK",
        b"SASrelay",
        b"RelayACK",
        b"Ping    ",
        b"PingACK ",
    ] {
        let mut taken = Vec::new();
        for words in 0..1000 {
            if message::parse(&message::build(kind, &[&vec![0; 4 * words]])).is_ok() {
                taken.push(words + 3);
            }
        }
        let expected: (usize, usize, usize) = match kind {
            b"Hello   " => (22, 22, 1), // all counts zero
            b"HelloACK" | b"Conf2ACK" | b"ErrorACK" | b"ClearACK" | b"RelayACK" => (3, 3, 1),
            b"Commit  " => (21, 1002, 982),               // judged with the key agreement
            b"DHPart1 " | b"DHPart2 " => (21, 1002, 982), // as well
            b"Confirm1" | b"Confirm2" => (19, 19 + 511, 512),
            b"Error   " => (4, 4, 1),
            b"GoClear " => (5, 5, 1),
            b"SASrelay" => (19, 1002, 984),
            b"Ping    " => (6, 6, 1),
            _ => (9, 9, 1),
        };
        assert_eq!((taken[0], taken[taken.len() - 1], taken.len()), expected, "{}", String::from_utf8_lossy(kind));
    }
}

#[test]
fn unknown_type_and_preamble() {
    let mut network = responder_and_initiator();
    let unknown = seal(1, ssrc(B), &message::build(b"Hello2  ", &[]));
    assert_eq!(deliver(&mut network, A, &unknown), (Receipt::Dropped(Dropped::UnknownType), vec![]));
    let mut preamble = hello_of(&mut network, B);
    change(&mut preamble, |message| message[0] = 0x51);
    assert_eq!(deliver(&mut network, A, &preamble), (Receipt::Dropped(Dropped::Malformed), vec![]));
}

#[test]
fn eight_algorithms() {
    for kind in 0..5 {
        let mut network = responder_and_initiator();
        network.parties[B].engine.change_hello(|hello| {
            let lists = [
                &mut hello.hashes,
                &mut hello.ciphers,
                &mut hello.auth_tags,
                &mut hello.agreements,
                &mut hello.sas_types,
            ];
            let list = lists.into_iter().nth(kind).unwrap();
            *list = vec![*b"XXXX"; 8];
        });
        let hello = hello_of(&mut network, B);
        assert_eq!(deliver(&mut network, A, &hello), (Receipt::Dropped(Dropped::Malformed), vec![]));
        // seven, all unknown, are no fault
        network.parties[B].engine.change_hello(|hello| hello.agreements = vec![*b"XXXX"; 7]);
        a_while(&mut network);
        assert!(network.both_secure());
    }
}

#[test]
fn the_twelve_unused_bits_are_ignored() {
    let mut network = responder_and_initiator();
    let mut hello = hello_of(&mut network, B);
    (hello[0], hello[1]) = (0x1e, 0xff);
    change(&mut hello, |_| {});
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Accepted);
}

// ── Hello ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Found by the responder at the Commit.
#[test]
fn hello_mac_of_the_initiator() {
    let mut network = responder_and_initiator();
    network.filter = Box::new(|from, datagram| {
        if from == B && kind(datagram) == "Hello" {
            change(datagram, |message| message[20] ^= 1);
        }
        true
    });
    expect_failure(&mut network, A, Failure::HelloMac);
}

/// Found by the initiator at DHPart1. hvi covers this Hello too, but the MAC tells first.
#[test]
fn hello_mac_of_the_responder() {
    let mut network = responder_and_initiator();
    network.filter = Box::new(|from, datagram| {
        if from == A && kind(datagram) == "Hello" {
            change(datagram, |message| message[20] ^= 1);
        }
        true
    });
    expect_failure(&mut network, B, Failure::HelloMac);
}

#[test]
fn hello_that_the_signalling_did_not_announce() {
    let mut network = responder_and_initiator();
    let now = network.now;
    let hash = network.parties[B].engine.hello_hash();
    network.parties[A].engine.announced(now, hash);
    let mut forged = hello_of(&mut network, B);
    change(&mut forged, |message| message[20] ^= 1);
    for _ in 0..3 {
        assert_eq!(deliver(&mut network, A, &forged), (Receipt::Dropped(Dropped::HelloHash), vec![]));
    }
    assert_eq!(network.parties[A].warnings, [Warning::HelloNotAnnounced]);
    // the right one is known by it, and so is all that follows
    let hello = hello_of(&mut network, B);
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Bound);
    network.run();
    assert!(network.both_secure());
    assert!(network.parties[A].secure.as_ref().unwrap().peer.announced);
    assert!(!network.parties[B].secure.as_ref().unwrap().peer.announced);
}

#[test]
fn announcement_that_comes_after_the_hello() {
    for right in [true, false] {
        let mut network = responder_and_initiator();
        until_state(&mut network, A, "SentDhPart1");
        let hash = if right { network.parties[B].engine.hello_hash() } else { HelloHash::of(b"another") };
        let now = network.now;
        network.parties[A].engine.announced(now, hash);
        if right {
            a_while(&mut network);
            assert!(network.both_secure() && network.parties[A].secure.as_ref().unwrap().peer.announced);
        } else {
            expect_failure(&mut network, A, Failure::HelloNotAnnounced);
        }
    }
    // and before the exchange begins it only forgets the Hello
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    let now = network.now;
    network.parties[A].engine.announced(now, HelloHash::of(b"another"));
    assert_eq!(deliver(&mut network, A, &hello).0, Receipt::Dropped(Dropped::HelloHash));
    assert!(network.parties[A].failed.is_none());
}

#[test]
fn equal_zid() {
    let [first, second] =
        [1, 2].map(|who| Party::plain(who, 1, &Memory::default(), |config| config.zid = Zid([9; 12])));
    let mut network = Network::new(first, second);
    network.start_both();
    a_while(&mut network);
    assert!(network.parties.iter().any(|party| party.failed == Some(Failure::EqualZid)));
    assert!(network.parties.iter().all(|party| party.secure.is_none()));
}

#[test]
fn equal_ssrc() {
    let [first, second] = [1, 2].map(|who| Party::plain(who, 1, &Memory::default(), |config| config.ssrc = 9));
    let mut network = Network::new(first, second);
    network.start_both();
    a_while(&mut network);
    assert!(network.parties.iter().any(|party| party.failed == Some(Failure::SsrcCollision)));
    assert!(network.parties.iter().all(|party| party.secure.is_none()));
}

#[test]
fn higher_versions_are_ignored_lower_ones_refused() {
    for (version, expected) in
        [(*b"1.20", Some(Dropped::Version)), (*b"2.00", Some(Dropped::Version)), (*b"x.yz", Some(Dropped::Malformed))]
    {
        let mut network = responder_and_initiator();
        network.parties[B].engine.change_hello(|hello| hello.version = version);
        let hello = hello_of(&mut network, B);
        let (receipt, answers) = deliver(&mut network, A, &hello);
        assert_eq!(receipt, Receipt::Dropped(expected.unwrap()));
        let acknowledged = version != *b"x.yz";
        assert_eq!(
            answers.iter().map(|answer| kind(answer)).collect::<Vec<_>>(),
            if acknowledged { vec!["HelloACK"] } else { vec![] }
        );
    }
    let mut network = responder_and_initiator();
    network.parties[B].engine.change_hello(|hello| hello.version = *b"1.00");
    let hello = hello_of(&mut network, B);
    let (_, answers) = deliver(&mut network, A, &hello);
    assert_eq!(network.parties[A].failed, Some(Failure::Version));
    assert_eq!(answers[1][24..28], 0x30u32.to_be_bytes());
    // the fourth character does not count
    let mut network = responder_and_initiator();
    network.parties[B].engine.change_hello(|hello| hello.version = *b"1.1a");
    a_while(&mut network);
    assert!(network.both_secure());
}

#[test]
fn hello_changed_in_the_middle() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    let mut changed = hello.clone();
    change(&mut changed, |message| message[20] ^= 1);
    assert_eq!(deliver(&mut network, A, &changed), (Receipt::Dropped(Dropped::Unexpected), vec![]));
    assert_eq!(network.parties[A].warnings, [Warning::SecondHello]);
    until_state(&mut network, A, "SentDhPart1");
    assert_eq!(deliver(&mut network, A, &changed), (Receipt::Dropped(Dropped::Unexpected), vec![]));
    // the right one is still acknowledged, its HelloACK may have got lost
    let (receipt, answers) = deliver(&mut network, A, &hello);
    assert_eq!((receipt, answers.len()), (Receipt::Accepted, 1));
    a_while(&mut network);
    assert!(network.both_secure());
    assert_eq!(deliver(&mut network, A, &hello), (Receipt::Dropped(Dropped::Unexpected), vec![]));
}

/// As the initiator we wait for the peer's Commit, which tells whose Hello is its own, and in the end commit by ourselves.
#[test]
fn two_hellos_delay_our_commit() {
    let mut network = responder_and_initiator();
    let now = network.now;
    let mut stranger = Party::plain(3, 1, &Memory::default(), |_| {});
    stranger.engine.start(now);
    network.parties[B].engine = Party::plain(2, 9, &Memory::default(), |_| {}).engine;
    network.parties[B].engine.start(now);
    network.parties[B].drain();
    deliver(&mut network, B, &seal(1, ssrc(A), &message::build(b"HelloACK", &[])));
    let hello = hello_of(&mut network, A);
    deliver(&mut network, B, &hello);
    assert_eq!(network.parties[B].engine.wake(), Some(now + Duration::from_millis(150)));
    deliver(&mut network, B, &stranger.drain().remove(0));
    assert_eq!(network.parties[B].engine.wake(), Some(now + Duration::from_secs(1)));
}

/// A stranger's Hello that comes first must not keep the peer out: the Commit says whose Hello counts.
#[test]
fn forged_hellos_do_not_crowd_out_the_peer() {
    let mut network = responder_and_initiator();
    for number in 0..10 {
        let mut stranger =
            Party::plain(3, number, &Memory::default(), |config| config.zid = Zid([number as u8 + 20; 12]));
        let now = network.now;
        stranger.engine.start(now);
        let hello = stranger.drain().remove(0);
        let (receipt, _) = deliver(&mut network, A, &hello);
        // memory for them is bounded
        assert_eq!(receipt == Receipt::Dropped(Dropped::Unexpected), number >= 3, "{number}");
        if number == 0 {
            let hello = hello_of(&mut network, B);
            deliver(&mut network, A, &hello);
        }
    }
    a_while(&mut network);
    assert!(network.both_secure());
    assert_eq!(network.parties[A].secure.as_ref().unwrap().peer.zid, Zid([2; 12]));
    assert!(network.parties[A].warnings.contains(&Warning::SecondHello));
}

#[test]
fn flags_m_and_p_of_the_peer() {
    let mut network = responder_and_initiator();
    let mut hello = hello_of(&mut network, B);
    change(&mut hello, |message| message[76] |= 0x20);
    network.parties[A].engine.handle_packet(Instant::now(), &hello);
    let found = std::iter::from_fn(|| network.parties[A].engine.poll()).find_map(|output| match output {
        Output::PeerFound(peer) => Some(peer),
        _ => None,
    });
    assert!(found.unwrap().is_pbx);
    // P: it never commits, so we do, at once
    let mut network = responder_and_initiator();
    let mut hello = hello_of(&mut network, B);
    change(&mut hello, |message| message[76] |= 0x10);
    let now = network.now;
    network.parties[A].engine.start(now);
    deliver(&mut network, A, &seal(1, ssrc(B), &message::build(b"HelloACK", &[])));
    let (_, answers) = deliver(&mut network, A, &hello);
    assert!(answers.iter().any(|answer| kind(answer) == "Commit"));
}

// ── hash chain and MACs ──────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn h2_that_is_no_preimage_of_h3() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "Commit", |message| message[12] ^= 1);
    expect_stuck(&mut network, A, "Discovery");
}

#[test]
fn h1_that_is_no_preimage_of_h2_in_dh_part2() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "DHPart2", |message| message[12] ^= 1);
    expect_stuck(&mut network, A, "SentDhPart1");
}

#[test]
fn h1_that_is_no_preimage_of_h2_in_dh_part1() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "DHPart1", |message| message[12] ^= 1);
    expect_stuck(&mut network, B, "SentCommit");
}

#[test]
fn h0_that_is_no_preimage_of_h1_in_confirm1() {
    let mut network = responder_and_initiator();
    until_state(&mut network, A, "SentDhPart1");
    network.parties[A].engine.chain_mut().h0[0] ^= 1;
    expect_stuck(&mut network, B, "SentDhPart2");
}

#[test]
fn h0_that_is_no_preimage_of_h1_in_confirm2() {
    let mut network = responder_and_initiator();
    until_state(&mut network, B, "SentDhPart2");
    network.parties[B].engine.chain_mut().h0[0] ^= 1;
    expect_stuck(&mut network, A, "SentConfirm1");
}

/// A stranger's message does not stop the right one.
#[test]
fn the_right_message_after_a_forged_one_is_used() {
    let mut network = responder_and_initiator();
    let mut seen = std::collections::BTreeSet::new();
    network.filter = Box::new(move |_, datagram| {
        let kind = kind(datagram);
        let first = seen.insert(kind.clone());
        if first && ["Commit", "DHPart1", "DHPart2", "Confirm1", "Confirm2"].contains(&kind.as_str()) {
            change(datagram, |message| message[12] ^= 1);
        }
        true
    });
    a_while(&mut network);
    assert!(network.both_secure());
    network.check_agreement();
}

#[test]
fn commit_mac() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "Commit", |message| {
        // another SAS type that was offered: all is in order but the MAC
        assert_eq!(&message[72..76], b"B32 ");
        message[72..76].copy_from_slice(b"B256");
    });
    expect_failure(&mut network, A, Failure::CommitMac);
}

#[test]
fn dh_part_mac_of_the_responder() {
    let mut network = responder_and_initiator();
    let mut seen = false;
    network.filter = Box::new(move |_, datagram| kind(datagram) != "DHPart1" || core::mem::replace(&mut seen, true));
    until_state(&mut network, A, "SentDhPart1");
    network.parties[A].engine.spoil_dh_part_mac();
    expect_failure(&mut network, B, Failure::DhPartMac);
}

#[test]
fn dh_part_mac_of_the_initiator() {
    let mut network = responder_and_initiator();
    let mut seen = false;
    network.filter = Box::new(move |_, datagram| kind(datagram) != "Commit" || core::mem::replace(&mut seen, true));
    until_state(&mut network, B, "SentCommit");
    network.parties[B].engine.spoil_dh_part_mac();
    expect_failure(&mut network, A, Failure::DhPartMac);
}

/// CVE-2016-6271: without this check an attacker tries keys until the SAS fits.
#[test]
fn hvi() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "DHPart2", |message| message[44] ^= 1);
    expect_failure(&mut network, A, Failure::Commitment);
    // another public value, with a right MAC even: the commitment is to the whole message
    let mut network = responder_and_initiator();
    tamper(&mut network, "DHPart2", |message| message[80] ^= 1);
    expect_failure(&mut network, A, Failure::Commitment);
}

#[test]
fn confirm_mac_in_both_roles() {
    for (wanted, victim) in [("Confirm1", B), ("Confirm2", A)] {
        for at in [12, 20, 36, 75] {
            if at == 20 {
                continue; // the IV is not covered, H0 is: see below
            }
            let mut network = responder_and_initiator();
            tamper(&mut network, wanted, move |message| message[at] ^= 1);
            expect_failure(&mut network, victim, Failure::ConfirmMac);
        }
        // a changed IV spoils the first block, which is H0
        let mut network = responder_and_initiator();
        tamper(&mut network, wanted, |message| message[20] ^= 1);
        expect_stuck(&mut network, victim, if victim == B { "SentDhPart2" } else { "SentConfirm1" });
    }
}

/// A message that somebody changed on the way where nothing but total_hash covers it.
#[test]
fn changed_dh_part1_means_different_keys() {
    let mut network = responder_and_initiator();
    tamper(&mut network, "DHPart1", |message| message[44] ^= 1);
    expect_failure(&mut network, B, Failure::ConfirmMac);
}

#[test]
fn signature_length_of_a_confirm() {
    for (words, given, good) in
        [(0, 0, true), (1, 1, true), (511, 511, true), (1, 0, false), (511, 0, false), (0, 1, false), (300, 299, false)]
    {
        let mut network = responder_and_initiator();
        until_state(&mut network, B, "SentDhPart2");
        until_state(&mut network, A, "SentConfirm1");
        network.filter = Box::new(|_, _| false);
        let h0 = network.parties[B].engine.chain_mut().h0;
        let word = ((words as u32) << 8).to_be_bytes();
        let text = [&h0[..], &word, &[0xff; 4], &vec![0x55; 4 * given]].concat();
        // the peer's keys are the victim's
        let confirm2 = network.parties[A].engine.forge_confirm(Role::Initiator, &text);
        let (receipt, _) = deliver(&mut network, A, &seal(9, ssrc(B), &confirm2));
        assert_eq!(receipt, Receipt::Accepted);
        if good {
            assert!(network.parties[A].secure.is_some(), "{words} {given}");
        } else {
            assert_eq!(network.parties[A].failed, Some(Failure::Malformed), "{words} {given}");
        }
    }
}

/// E, A and the undefined flags change nothing; V and D are heard.
#[test]
fn flags_of_a_confirm() {
    for flags in 0..=255u8 {
        let mut network = responder_and_initiator();
        until_state(&mut network, A, "SentConfirm1");
        let h0 = network.parties[B].engine.chain_mut().h0;
        let text = [&h0[..], &[0xff, 0xfe, 0, flags], &[0xff; 4]].concat();
        let confirm2 = network.parties[A].engine.forge_confirm(Role::Initiator, &text);
        deliver(&mut network, A, &seal(9, ssrc(B), &confirm2));
        let secure = network.parties[A].secure.as_ref().unwrap();
        assert_eq!(secure.peer_discloses, flags & 1 != 0);
        assert!(!secure.verified, "not by the peer's word alone");
    }
}

// ── public values ────────────────────────────────────────────────────────────────────────────────────────────────────

/// A peer whose public values are these octets.
struct Fixed(Vec<u8>, Vec<u8>);

struct FixedHalf {
    commit: Vec<u8>,
    part: Vec<u8>,
}

impl Agreements for Fixed {
    fn initiator(&mut self, _: KeyAgreement, _: Cipher, _: &mut dyn Random) -> Box<dyn Agreement> {
        Box::new(FixedHalf { commit: self.0.clone(), part: self.1.clone() })
    }

    fn responder(
        &mut self,
        _: KeyAgreement,
        _: Cipher,
        _: Hash,
        _: &[u8],
        _: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        Ok(Box::new(FixedHalf { commit: Vec::new(), part: self.1.clone() }))
    }
}

impl Agreement for FixedHalf {
    fn commit_value(&self) -> &[u8] {
        &self.commit
    }

    fn part_value(&self) -> &[u8] {
        &self.part
    }

    fn finish(self: Box<Self>, _: &[u8], _: Hash) -> Result<Secret, BadPublicValue> {
        Ok(Secret::new(vec![0; 32]))
    }
}

/// An attacker who sends this value, as responder and as initiator, with everything else right.
#[track_caller]
fn refuses_public_value(agreement: KeyAgreement, commit: &[u8], part1: &[u8], part2: &[u8], roles: &[Role]) {
    for attacker in roles {
        let config = |who: u8| {
            let mut config = Config::new(Zid([who; 12]), u32::from(who));
            config.offer.agreements = vec![agreement];
            let commits = (who == 2) == (*attacker == Role::Initiator);
            config.timers.commit_delay = Duration::from_secs(if commits { 0 } else { 3600 });
            config
        };
        let victim = Party::plain(1, 1, &Memory::default(), |own| *own = config(1));
        let part = if *attacker == Role::Initiator { part2 } else { part1 };
        let fixed = Fixed(commit.to_vec(), part.to_vec());
        let evil = Party::new(Engine::with_agreements(config(2), Seeded(5), NoCache, fixed), Memory::default());
        let mut network = Network::new(victim, evil);
        network.start_both();
        expect_failure(&mut network, A, Failure::PublicValue);
        assert_eq!(network.parties[B].failed, Some(Failure::PeerError(0x61)));
    }
}

const BOTH: &[Role] = &[Role::Initiator, Role::Responder];

#[test]
fn public_values_of_dh3k() {
    let prime = p3072();
    let number = |last: i8| {
        let mut value = prime.clone();
        value[383] = value[383].wrapping_add_signed(last); // the prime ends in ff: +1 carries
        value
    };
    let beyond = vec![0xff; 384]; // the top of the range
    let mut next = prime.clone();
    for octet in next.iter_mut().rev() {
        *octet = octet.wrapping_add(1);
        if *octet != 0 {
            break;
        }
    }
    let mut one = vec![0; 384];
    one[383] = 1;
    for value in [vec![0; 384], one, number(-1), prime.clone(), next, beyond] {
        refuses_public_value(KeyAgreement::Dh3k, &[], &value, &value, BOTH);
    }
}

fn p3072() -> Vec<u8> {
    super::unhex(concat!(
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd",
        "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed",
        "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f",
        "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b",
        "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510",
        "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7",
        "abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c",
        "bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff"
    ))
}

#[test]
fn public_values_of_x25519() {
    let mut one = [0; 32];
    one[0] = 1;
    // a point of order 8 (RFC 7748 §7: "the all-zero value" results)
    let order_8 = super::unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for value in [vec![0; 32], one.to_vec(), order_8] {
        refuses_public_value(KeyAgreement::X255, &[], &value, &value, BOTH);
    }
}

#[test]
fn public_values_off_the_curve() {
    for (agreement, octets) in [(KeyAgreement::Ec25, 64), (KeyAgreement::Ec38, 96)] {
        let mut off = vec![0; octets];
        off[octets - 1] = 1;
        for value in [vec![0; octets], vec![0xff; octets], off] {
            refuses_public_value(agreement, &[], &value, &value, BOTH);
        }
    }
}

#[cfg(feature = "x1m1")]
#[test]
fn public_values_of_x1m1() {
    let zero_x25519 = vec![0; 832];
    let mut too_large = vec![0; 832];
    too_large[..32].copy_from_slice(&[9; 32]);
    too_large[32..].fill(0xff); // coefficients of 4095, beyond the modulus
    let initiator = &[Role::Initiator];
    refuses_public_value(KeyAgreement::X1m1, &zero_x25519, &[0; 800], &[0; 16], initiator);
    refuses_public_value(KeyAgreement::X1m1, &too_large, &[0; 800], &[0; 16], initiator);
    refuses_public_value(KeyAgreement::X1m1, &[], &[0; 800], &[0; 16], &[Role::Responder]);
}

// ── Commit ───────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn commit_with_what_was_not_offered() {
    let cases = [
        ("S999AES1HS80X255B32 ", 0x51, Failure::HashType),
        ("S256AES2HS80X255B32 ", 0x52, Failure::CipherType),
        ("S256AES1HS80DH2kB32 ", 0x53, Failure::KeyAgreement),
        ("S256AES1HS80EC52B32 ", 0x53, Failure::KeyAgreement),
        ("S256AES1HS80EC25B32 ", 0x53, Failure::KeyAgreement), // we speak it, this engine does not offer it
        ("S256AES1HS80MultB32 ", 0x53, Failure::KeyAgreement),
        ("S256AES1SK32X255B32 ", 0x54, Failure::AuthTag),
        ("S256AES1HS80X255B999", 0x55, Failure::SasType),
        ("S256AES1HS80PrshB32 ", 0x56, Failure::Preshared),
        ("S256AES1HS80EC38B32 ", 0x51, Failure::HashType), // EC38 needs S384
        ("S512AES1HS80EC38B32 ", 0x51, Failure::HashType),
    ];
    for (names, code, failure) in cases {
        let agreement = if names.contains("EC38") { KeyAgreement::Ec38 } else { KeyAgreement::X255 };
        let mut network = with_agreement(agreement);
        let hello = hello_of(&mut network, B);
        deliver(&mut network, A, &hello);
        let commit = network.parties[B].engine.forge_commit(names, &[7; 32]);
        let (_, answers) = deliver(&mut network, A, &seal(2, ssrc(B), &commit));
        assert_eq!(network.parties[A].failed, Some(failure), "{names}");
        assert_eq!(answers.last().unwrap()[24..28], u32::to_be_bytes(code), "{names}");
    }
    let mut network = with_agreement(KeyAgreement::Ec38);
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    let commit = network.parties[B].engine.forge_commit("S384AES3HS80EC38B32 ", &[7; 32]);
    let (_, answers) = deliver(&mut network, A, &seal(2, ssrc(B), &commit));
    assert_eq!(kind(&answers[0]), "DHPart1");
}

#[test]
fn commit_with_another_zid_or_length() {
    for (zid, tail) in [(3, 32), (2, 31 * 4), (2, 28)] {
        let mut network = responder_and_initiator();
        let hello = hello_of(&mut network, B);
        deliver(&mut network, A, &hello);
        let mut commit = network.parties[B].engine.forge_commit("S256AES1HS80X255B32 ", &vec![7; tail]);
        commit[44] = zid;
        deliver(&mut network, A, &seal(2, ssrc(B), &commit));
        assert_eq!(network.parties[A].failed, Some(Failure::Malformed));
    }
}

/// In contention Preshared is discarded, Multistream is an error, and only the higher hvi wins.
#[test]
fn contention_of_unlike_commits() {
    for (names, hvi, expected) in [
        ("S256AES1HS80PrshB32 ", 0xff, None),
        ("S256AES1HS80MultB32 ", 0xff, Some(Failure::Multistream)),
        ("S256AES1HS80X255B32 ", 0x00, None),
    ] {
        let mut network = responder_and_initiator();
        network.filter = Box::new(|from, datagram| from != B || kind(datagram) != "Commit");
        until_state(&mut network, B, "SentCommit");
        let commit = network.parties[A].engine.forge_commit(names, &[hvi; 32]);
        let (receipt, answers) = deliver(&mut network, B, &seal(99, ssrc(A), &commit));
        match expected {
            None => {
                assert_eq!((receipt, answers), (Receipt::Dropped(Dropped::LostContention), vec![]), "{names}");
                assert_eq!(network.parties[B].engine.state_name(), "SentCommit");
            }
            Some(failure) => assert_eq!(network.parties[B].failed, Some(failure)),
        }
    }
    let mut network = responder_and_initiator();
    network.filter = Box::new(|from, datagram| from != B || kind(datagram) != "Commit");
    until_state(&mut network, B, "SentCommit");
    let commit = network.parties[A].engine.forge_commit("S256AES1HS80X255B32 ", &[0xff; 32]);
    let (_, answers) = deliver(&mut network, B, &seal(99, ssrc(A), &commit));
    assert_eq!(kind(&answers[0]), "DHPart1");
}

// ── repetitions and replays ──────────────────────────────────────────────────────────────────────────────────────────

/// Every message twice and thrice: one answer each time, always the same message, and one result.
#[test]
fn duplicates_of_all_are_answered_alike() {
    let mut network = responder_and_initiator();
    let mut sent: std::collections::BTreeMap<(usize, String), Vec<u8>> = Default::default();
    network.duplication = 100;
    network.filter = Box::new(move |from, datagram| {
        let message = datagram[12..datagram.len() - 4].to_vec();
        let first = sent.entry((from, kind(datagram))).or_insert_with(|| message.clone());
        assert_eq!(*first, message, "a repetition differs");
        true
    });
    a_while(&mut network);
    assert!(network.both_secure());
    network.check_agreement();
    let responder = &network.parties[A];
    assert_eq!(
        ["DHPart1", "Confirm1", "Conf2ACK"].map(|kind| responder.count(kind)),
        [2, 2, 2],
        "{:?}",
        responder.sent
    );
    assert!(network.parties.iter().all(|party| party.remembered == 1));
}

/// A repetition that is not the same is no repetition.
#[test]
fn changed_repetitions_are_not_answered() {
    let mut network = responder_and_initiator();
    let recorded = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::new()));
    let record = recorded.clone();
    network.filter = Box::new(move |_, datagram| {
        record.lock().unwrap().insert(kind(datagram), datagram.clone());
        true
    });
    for (state, repeated) in [("SentDhPart1", "Commit"), ("SentConfirm1", "DHPart2"), ("Secure", "Confirm2")] {
        until_state(&mut network, A, state);
        let same = recorded.lock().unwrap()[repeated].clone();
        assert_eq!(deliver(&mut network, A, &same).1.len(), 1, "{repeated}");
        let mut other = same;
        change(&mut other, |message| *message.last_mut().unwrap() ^= 1);
        assert_eq!(deliver(&mut network, A, &other), (Receipt::Dropped(Dropped::Unexpected), vec![]), "{repeated}");
    }
}

#[test]
fn packets_of_an_old_session() {
    let recorded = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = recorded.clone();
    let mut old = responder_and_initiator();
    old.filter = Box::new(move |from, datagram| {
        record.lock().unwrap().push((from, datagram.clone()));
        true
    });
    a_while(&mut old);
    assert!(old.both_secure());
    // the same parties call again; everything old comes before, during and after
    for moment in ["Discovery", "SentDhPart1", "SentConfirm1", "Secure"] {
        let [first, second] = [1, 2].map(|who| {
            Party::plain(who, 8, &Memory::default(), |config| {
                config.offer.agreements = vec![KeyAgreement::X255];
                config.timers.commit_delay = Duration::from_secs(if who == 1 { 3600 } else { 0 });
            })
        });
        let mut network = Network::new(first, second);
        network.start_both();
        until_state(&mut network, A, moment);
        for (from, datagram) in recorded.lock().unwrap().iter().filter(|(_, datagram)| kind(datagram) != "Hello") {
            let (receipt, _) = deliver(&mut network, 1 - from, datagram);
            let harmless = ["HelloACK", "Conf2ACK"].contains(&kind(datagram).as_str());
            assert!(harmless || matches!(receipt, Receipt::Dropped(_)), "{moment}: {}", kind(datagram));
        }
        a_while(&mut network);
        assert!(network.both_secure(), "{moment}");
        network.check_agreement();
    }
}

/// Somebody else's SSRC is somebody else's session.
#[test]
fn packets_of_another_ssrc() {
    let mut network = responder_and_initiator();
    network.filter = Box::new(|from, datagram| {
        if from == B && kind(datagram) == "DHPart2" {
            datagram[11] ^= 0x40;
            change(datagram, |_| {});
        }
        true
    });
    let limit = Duration::from_secs(3);
    network.run_until(limit, |_| false);
    assert_eq!(network.parties[A].engine.state_name(), "SentDhPart1");
}

// ── secure ───────────────────────────────────────────────────────────────────────────────────────────────────────────

fn secure_network() -> Network {
    let mut network = responder_and_initiator();
    a_while(&mut network);
    assert!(network.both_secure());
    network
}

#[test]
fn go_clear_in_a_secure_stream() {
    let mut network = secure_network();
    let go_clear = seal(50, ssrc(B), &message::build(b"GoClear ", &[&[0; 8]]));
    let (_, answers) = deliver(&mut network, A, &go_clear);
    assert_eq!(kind(&answers[0]), "Error");
    assert_eq!(answers[0][24..28], 0x100u32.to_be_bytes());
    assert_eq!(network.parties[A].warnings, [Warning::GoClearRefused]);
    assert_eq!(deliver(&mut network, A, &go_clear).1.len(), 0, "once");
    assert_eq!(network.parties[A].engine.state_name(), "Secure");
    assert_eq!(network.parties[A].engine.wake(), None);
}

#[test]
fn error_in_a_secure_stream() {
    let mut network = secure_network();
    let error = seal(50, ssrc(B), &message::build(b"Error   ", &[&0x70u32.to_be_bytes()]));
    let (receipt, answers) = deliver(&mut network, A, &error);
    assert_eq!(receipt, Receipt::Dropped(Dropped::Unexpected));
    assert_eq!(kind(&answers[0]), "ErrorACK");
    assert_eq!(network.parties[A].failed, None);
    assert_eq!(network.parties[A].engine.state_name(), "Secure");
}

#[test]
fn error_before_it_is_secure() {
    for state in ["SentDhPart1", "SentConfirm1"] {
        let mut network = responder_and_initiator();
        until_state(&mut network, A, state);
        let error = seal(50, ssrc(B), &message::build(b"Error   ", &[&0x70u32.to_be_bytes()]));
        let (_, answers) = deliver(&mut network, A, &error);
        assert_eq!(network.parties[A].failed, Some(Failure::PeerError(0x70)));
        assert_eq!(
            answers.iter().map(|answer| kind(answer)).collect::<Vec<_>>(),
            ["ErrorACK"],
            "no Error in answer to an Error"
        );
    }
}

#[test]
fn sas_relay_in_a_secure_stream() {
    let mut network = secure_network();
    let sas = network.parties[A].secure.as_ref().unwrap().sas;
    for relay in super::data(include_str!("../../tests/data/values.json"))["sasrelay"].as_array().unwrap() {
        if relay["type"] != "SASrelay" {
            continue;
        }
        let recorded = super::unhex(relay["hex"].as_str().unwrap());
        let datagram = seal(50, ssrc(B), &recorded[12..recorded.len() - 4]);
        let (_, answers) = deliver(&mut network, A, &datagram);
        assert_eq!(kind(&answers[0]), "RelayACK");
    }
    assert_eq!(network.parties[A].warnings, [Warning::SasRelayIgnored]);
    assert_eq!(network.parties[A].secure.as_ref().unwrap().sas, sas);
}

#[test]
fn ping_is_answered_within_a_rate() {
    let mut network = responder_and_initiator();
    let ping = seal(50, 0x1234_5678, &message::build(b"Ping    ", &[b"1.10", &[0xaa; 8]]));
    let (receipt, answers) = deliver(&mut network, A, &ping);
    assert_eq!(receipt, Receipt::Accepted);
    let answer = &answers[0];
    assert_eq!(kind(answer), "PingACK");
    assert_eq!(answer[12..answer.len() - 4].len(), 36);
    assert_eq!(answer[24..48], [&b"1.10"[..], &[1; 8], &[0xaa; 8], &0x1234_5678u32.to_be_bytes()].concat());
    let more: usize = (0..100).map(|_| deliver(&mut network, A, &ping).1.len()).sum();
    assert!(more < 10, "{more}");
}

// ── fragments ────────────────────────────────────────────────────────────────────────────────────────────────────────

fn fragment(id: u16, total_words: u16, offset_words: u16, data: &[u8]) -> Vec<u8> {
    let mut datagram = seal(1, ssrc(B), &[]);
    datagram.truncate(12);
    datagram[0] = 0x11;
    for number in [id, total_words, offset_words, (data.len() / 4) as u16] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(data);
    let crc = crc32c(&datagram).to_le_bytes();
    datagram.extend(crc);
    datagram
}

#[test]
fn fragments_make_a_message() {
    let mut network = responder_and_initiator();
    let message = network.parties[B].engine.hello_message().to_vec();
    let words = (message.len() / 4) as u16;
    let pieces = [fragment(5, words, 0, &message[..40]), fragment(5, words, 10, &message[40..])];
    // in any order, with repetitions
    assert_eq!(deliver(&mut network, A, &pieces[1]).0, Receipt::Dropped(Dropped::Incomplete));
    assert_eq!(deliver(&mut network, A, &pieces[1]).0, Receipt::Dropped(Dropped::Incomplete));
    let (receipt, answers) = deliver(&mut network, A, &pieces[0]);
    assert_eq!(receipt, Receipt::Accepted);
    assert_eq!(kind(&answers[0]), "HelloACK");
}

#[test]
fn fragments_out_of_bounds() {
    let mut network = responder_and_initiator();
    let mut refused =
        |datagram: &[u8]| assert_eq!(deliver(&mut network, A, datagram), (Receipt::Dropped(Dropped::Fragment), vec![]));
    refused(&fragment(1, 10, 11, &[0; 8])); // offset beyond the total
    refused(&fragment(1, 10, 9, &[0; 8])); // end beyond the total
    refused(&fragment(1, 0xffff, 0, &[0; 8])); // a message of 256 KiB
    refused(&fragment(1, 1025, 0, &[0; 8])); // more than 4 KiB
    refused(&fragment(1, 0, 0, &[0; 8]));
    // a length that is not what is there
    let mut lying = fragment(1, 10, 0, &[0; 8]);
    lying[19] = 3;
    change(&mut lying, |_| {});
    refused(&lying);
}

#[test]
fn fragments_that_overlap_or_are_too_many() {
    let mut network = responder_and_initiator();
    assert_eq!(deliver(&mut network, A, &fragment(1, 30, 0, &[0; 40])).0, Receipt::Dropped(Dropped::Incomplete));
    assert_eq!(deliver(&mut network, A, &fragment(1, 30, 9, &[0; 40])).0, Receipt::Dropped(Dropped::Fragment));
    for piece in 0..8 {
        assert_eq!(deliver(&mut network, A, &fragment(2, 30, piece, &[0; 4])).0, Receipt::Dropped(Dropped::Incomplete));
    }
    assert_eq!(deliver(&mut network, A, &fragment(2, 30, 8, &[0; 4])).0, Receipt::Dropped(Dropped::Fragment));
}

#[test]
fn fragments_live_for_two_seconds() {
    let mut network = responder_and_initiator();
    let message = network.parties[B].engine.hello_message().to_vec();
    let words = (message.len() / 4) as u16;
    deliver(&mut network, A, &fragment(5, words, 0, &message[..40]));
    network.now += Duration::from_millis(2001);
    assert_eq!(
        deliver(&mut network, A, &fragment(5, words, 10, &message[40..])).0,
        Receipt::Dropped(Dropped::Incomplete)
    );
}
