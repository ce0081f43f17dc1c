//! Hash chain, MACs, commitment and Confirm: one link or octet wrong at a time.

use super::*;

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

/// The length of a DHPart belongs to the key agreement; one that does not fit is dropped, and the right one still counts.
#[test]
fn dh_parts_of_another_length() {
    for (wanted, receiver, state) in [("DHPart1", B, "SentCommit"), ("DHPart2", A, "SentDhPart1")] {
        for octets in [-4i32, 4, 32] {
            let mut network = responder_and_initiator();
            let taken = std::sync::Arc::new(std::sync::Mutex::new(None));
            let take = taken.clone();
            network.filter = Box::new(move |_, datagram| {
                let first = kind(datagram) == wanted && take.lock().unwrap().is_none();
                if first {
                    *take.lock().unwrap() = Some(datagram.clone());
                }
                !first
            });
            network.run_until(Duration::from_secs(5), |_| taken.lock().unwrap().is_some());
            let datagram = taken.lock().unwrap().clone().unwrap();
            let mut message = datagram[12..datagram.len() - 4].to_vec();
            message.resize((message.len() as i32 + octets) as usize, 0);
            let words = (message.len() / 4) as u16;
            message[2..4].copy_from_slice(&words.to_be_bytes());
            let (receipt, answers) = deliver(&mut network, receiver, &seal(9, ssrc(1 - receiver), &message));
            assert_eq!((receipt, answers), (Receipt::Dropped(Dropped::Length), vec![]), "{wanted} {octets}");
            assert_eq!(network.parties[receiver].engine.state_name(), state);
            a_while(&mut network);
            assert!(network.both_secure());
        }
    }
}
