//! Hellos that lie: changed, forged, not announced, of another version, with our own identity.

use super::*;

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
    let commit = network.parties[B].engine.forge_commit("S256AES1HS80X255B32 ", &[7; 32]);
    let (receipt, answers) = deliver(&mut network, A, &seal(2, ssrc(B), &commit));
    assert_eq!((receipt, answers), (Receipt::Dropped(Dropped::HashChain), vec![]));
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
