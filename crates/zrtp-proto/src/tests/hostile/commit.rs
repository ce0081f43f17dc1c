//! Commits that choose what was not offered, and unlike Commits in contention.

use super::*;

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

/// A Commit comes from the SSRC of the Hello that it continues.
#[test]
fn commit_from_the_ssrc_of_another_hello() {
    let mut network = responder_and_initiator();
    let hello = hello_of(&mut network, B);
    deliver(&mut network, A, &hello);
    let now = network.now;
    let mut stranger = Party::plain(3, 1, &Memory::default(), |_| {});
    stranger.engine.start(now);
    deliver(&mut network, A, &stranger.drain().remove(0));
    let commit = network.parties[B].engine.forge_commit("S256AES1HS80X255B32 ", &[7; 32]);
    let (receipt, answers) = deliver(&mut network, A, &seal(2, 3, &commit));
    assert_eq!((receipt, answers), (Receipt::Dropped(Dropped::HashChain), vec![]));
    let (_, answers) = deliver(&mut network, A, &seal(2, ssrc(B), &commit));
    assert_eq!(kind(&answers[0]), "DHPart1");
}
