//! The engine and Linphone's libbzrtp agree, over UDP on loopback: as initiator and as responder, with every common
//! algorithm, while packets get lost, and from one call to the next.
//!
//! Every combination runs once. `GALENE_SIPS_FULL=1` runs each with twenty seeds, and the slow cases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "libbzrtp has a real clock and a real socket")]

mod interop;

use interop::call::{Announced, Call, Ended, Memory};
use interop::peer::Peer;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use zrtp_proto::{
    AuthTag, AuxSecret, Cipher, Continuity, Hash, KeyAgreement, Offer, Receipt, Role, SasType, Secret, Warning,
};

const ALL_AGREEMENTS: [KeyAgreement; 2] = [KeyAgreement::Dh3k, KeyAgreement::X255];
const ROLES: [Role; 2] = [Role::Initiator, Role::Responder];

/// The peer is judged first: with another of its kind.
#[test]
fn libbzrtp_agrees_with_itself() {
    let mut a = Peer::spawn(&["--role", "initiator", "--loss", "10", "--seed", "1"]);
    let mut b = Peer::spawn(&["--role", "responder", "--loss", "10", "--seed", "2"]);
    a.start(b.port, Some(&b.hello_hash));
    b.start(a.port, Some(&a.hello_hash));
    let start = Instant::now();
    while !(a.is_secure() & b.is_secure()) {
        assert!(start.elapsed() < Duration::from_secs(20), "{:#?}\n{:#?}", a.log, b.log);
        std::thread::sleep(Duration::from_millis(5));
    }
    a.end();
    b.end();
    let (of_a, of_b) = (a.secure().unwrap(), b.secure().unwrap());
    assert!(of_a.initiator && !of_b.initiator);
    assert_eq!((of_a.sas, of_a.algorithms), (of_b.sas, of_b.algorithms));
    assert_eq!(a.keys("sending").unwrap(), b.keys("receiving").unwrap());
    assert_eq!(b.keys("sending").unwrap(), a.keys("receiving").unwrap());
    assert_eq!(a.exported().unwrap(), b.exported().unwrap());
}

#[test]
fn every_combination_agrees_at_ten_percent_loss() {
    let seeds = if full() { 20 } else { 1 };
    let mut runs = Vec::new();
    for seed in 1..=seeds {
        for role in ROLES {
            for agreement in ALL_AGREEMENTS {
                for cipher in [Cipher::Aes1, Cipher::Aes3] {
                    for auth_tag in [AuthTag::Hs32, AuthTag::Hs80] {
                        for hash in [Hash::S256, Hash::S384] {
                            runs.push((seed, role, agreement, cipher, auth_tag, hash));
                        }
                    }
                }
            }
        }
    }
    side_by_side(&runs, |&(seed, role, agreement, cipher, auth_tag, hash)| {
        let mut call = Call { loss: 10, seed, ..only(agreement, cipher, auth_tag, hash) };
        play(&mut call, role);
        let ended = call.make();
        let (ours, _) = ended.agreed();
        assert_eq!(ours.role, role);
        let suite = ours.suite;
        assert_eq!((suite.agreement, suite.cipher, suite.auth_tag, suite.hash), (agreement, cipher, auth_tag, hash));
    });
}

/// RFC 6189 §4.2: both commit, the larger hvi wins, and the loser answers as responder.
#[test]
fn two_commits_at_once_end_in_one_exchange() {
    let runs: Vec<(u64, KeyAgreement)> =
        (0..if full() { 40 } else { 8 }).flat_map(|seed| ALL_AGREEMENTS.map(|agreement| (seed, agreement))).collect();
    side_by_side(&runs, |&(seed, agreement)| {
        let mut call = Call { loss: seed % 2 * 10, seed, ..only(agreement, Cipher::Aes1, AuthTag::Hs80, Hash::S256) };
        call.config.timers.commit_delay = Duration::ZERO;
        call.make().agreed();
    });
}

/// §4.1.2: both sides have to choose the same key agreement whichever of them commits; libbzrtp never leaves the deadlock
/// of two Commits that name different ones.
#[test]
fn opposite_preferences_lead_to_the_same_key_agreement() {
    let [dh3k, x255] = ALL_AGREEMENTS;
    let runs: Vec<(u64, [KeyAgreement; 2])> =
        (0..4).flat_map(|seed| [(seed, [dh3k, x255]), (seed, [x255, dh3k])]).collect();
    side_by_side(&runs, |&(seed, ours)| {
        let mut call = Call { seed, ..Call::new() };
        call.config.timers.commit_delay = Duration::ZERO;
        call.config.offer.agreements = ours.to_vec();
        call.peer = options(&["--offer", &[ours[1].name(), ours[0].name()].join(",")]);
        let ended = call.make();
        assert_eq!(ended.agreed().0.suite.agreement, KeyAgreement::X255);
    });
}

/// What Debian's linphonec offers, against all that we offer.
#[test]
fn our_whole_offer_meets_the_one_of_a_phone() {
    side_by_side(&ROLES, |&role| {
        let mut call = Call::new();
        call.peer = options(&["--offer", "DH3k,Mult,AES1,S256,HS80,HS32,B32"]);
        play(&mut call, role);
        let ended = call.make();
        let (ours, _) = ended.agreed();
        assert_eq!((ours.suite.agreement, ours.suite.cipher), (KeyAgreement::Dh3k, Cipher::Aes1));
        assert_eq!(ours.continuity, Continuity::FirstContact);
        assert_eq!((ours.verified, ours.verified_here, ours.peer_discloses), (false, false, false));
        assert!(ended.warnings.is_empty(), "{}", ended.story());
    });
}

#[test]
fn the_sas_can_be_two_words() {
    let mut call = Call::new();
    call.config.offer.sas_types = vec![SasType::B256];
    call.peer = options(&["--offer", "X255,B256"]);
    let ended = call.make();
    let (ours, theirs) = ended.agreed();
    assert_eq!(ours.suite.sas, SasType::B256);
    assert!(theirs.sas.contains(':'), "{}", theirs.sas);
}

#[test]
fn the_second_call_finds_the_retained_secret() {
    side_by_side(&ROLES, |&role| {
        let acquaintance = Acquaintance::new(&format!("second-call-{role:?}"));
        let first = acquaintance.call(role, &[]);
        assert_eq!(first.agreed().0.continuity, Continuity::FirstContact);
        let secret = acquaintance.ours.rs1();
        let second = acquaintance.call(role, &[]);
        let (ours, theirs) = second.agreed();
        assert_eq!((ours.continuity, theirs.cache_mismatch), (Continuity::Match, false), "{}", second.story());
        assert_eq!((ours.verified, theirs.verified), (false, false), "nobody compared a SAS");
        assert_eq!(acquaintance.ours.len(), 1);
        assert_ne!(acquaintance.ours.rs1(), secret);
        // the retained secret is good only if it went into the keys: the third call rests on the second's
        let third = acquaintance.call(role, &[]);
        assert_eq!(third.agreed().0.continuity, Continuity::Match);
    });
}

/// §4.3, §4.6.1: rs2 is for the case that one side missed the end of an exchange.
#[test]
fn a_side_that_missed_the_last_call_is_still_known() {
    side_by_side(&ROLES, |&role| {
        for we_missed_it in [true, false] {
            let acquaintance = Acquaintance::new(&format!("missed-{role:?}-{we_missed_it}"));
            acquaintance.call_and_compare(role, true, true);
            let (ours, theirs) = (acquaintance.ours.backup(), std::fs::read(&acquaintance.theirs).unwrap());
            acquaintance.call(role, &[]).agreed();
            match we_missed_it {
                true => acquaintance.ours.restore(ours),
                false => std::fs::write(&acquaintance.theirs, theirs).unwrap(),
            }
            let third = acquaintance.call(role, &[]);
            let (ours, theirs) = third.agreed();
            assert_eq!((ours.continuity, theirs.cache_mismatch), (Continuity::Match, false), "{}", third.story());
            assert_eq!((ours.verified, theirs.verified), (true, true));
        }
    });
}

/// §7.1: "erase the cached shared secret from this session"; that of the call before still proves who it is.
#[test]
fn a_sas_that_differs_takes_back_the_call_and_the_verification() {
    side_by_side(&ROLES, |&role| {
        let acquaintance = Acquaintance::new(&format!("differs-{role:?}"));
        acquaintance.call_and_compare(role, true, true);
        let kept = acquaintance.ours.rs1();
        let mut second = acquaintance.call(role, &[]);
        assert!(second.agreed().0.verified);
        assert_ne!(acquaintance.ours.rs1(), kept);
        second.sas_compared(false);
        assert_eq!(acquaintance.ours.rs1(), kept);
        let third = acquaintance.call(role, &[]);
        let (ours, theirs) = third.agreed();
        assert_eq!((ours.continuity, ours.verified, ours.verified_here), (Continuity::Match, false, false));
        assert!(!theirs.verified, "{}", third.story());
    });
}

#[test]
fn ten_calls_in_a_row_with_loss_keep_the_chain_of_secrets() {
    let acquaintance = Acquaintance::new("ten-calls");
    for number in 0..10 {
        let mut call = acquaintance.prepared(&[]);
        (call.loss, call.seed) = (15, number);
        let ended = call.make();
        let (ours, theirs) = ended.agreed();
        let expected = if number == 0 { Continuity::FirstContact } else { Continuity::Match };
        assert_eq!((ours.continuity, theirs.cache_mismatch), (expected, false), "call {number}: {}", ended.story());
    }
}

/// §7.1: the flag V says that both compared the SAS in an earlier call.
#[test]
fn a_compared_sas_shows_in_the_second_call() {
    side_by_side(&ROLES, |&role| {
        let acquaintance = Acquaintance::new(&format!("verified-{role:?}"));
        acquaintance.call_and_compare(role, true, true);
        let second = acquaintance.call(role, &[]);
        let (ours, theirs) = second.agreed();
        assert_eq!((ours.verified, ours.verified_here, theirs.verified), (true, true, true), "{}", second.story());
    });
}

#[test]
fn a_sas_compared_by_one_side_alone_is_not_verified() {
    side_by_side(&ROLES, |&role| {
        for ours_did in [true, false] {
            let acquaintance = Acquaintance::new(&format!("one-side-{role:?}-{ours_did}"));
            acquaintance.call_and_compare(role, ours_did, !ours_did);
            let second = acquaintance.call(role, &[]);
            let (ours, theirs) = second.agreed();
            assert_eq!((ours.verified, ours.verified_here, theirs.verified), (false, ours_did, false));
            assert_eq!(ours.continuity, Continuity::Match);
        }
    });
}

/// §4.3.2, §4.6.1.1: the warning comes again in every call until the SAS is compared, then no more.
#[test]
fn a_peer_that_lost_its_secrets_is_noticed_until_the_sas_is_compared() {
    side_by_side(&ROLES, |&role| {
        let acquaintance = Acquaintance::new(&format!("lost-{role:?}"));
        acquaintance.call_and_compare(role, true, true);
        let kept = acquaintance.ours.rs1();
        let second = acquaintance.call(role, &["--forget"]);
        let (ours, theirs) = second.agreed();
        assert_eq!((ours.continuity, ours.verified, ours.verified_here), (Continuity::Mismatch, false, false));
        assert!(!theirs.cache_mismatch && !theirs.verified, "it knows nothing that could mismatch");
        assert_eq!(acquaintance.ours.rs1(), kept, "an unexplained mismatch changes nothing");
        let mut third = acquaintance.call(role, &[]);
        let (ours, theirs) = third.agreed();
        assert_eq!((ours.continuity, theirs.cache_mismatch), (Continuity::Mismatch, true), "{}", third.story());
        third.sas_compared(true);
        assert_ne!(acquaintance.ours.rs1(), kept);
        // libbzrtp was not told; it keeps its old secret, of the second call, which we never had
        acquaintance.call_and_compare(role, true, true);
        let last = acquaintance.call(role, &[]);
        let (ours, theirs) = last.agreed();
        assert_eq!(
            (ours.continuity, ours.verified, theirs.verified),
            (Continuity::Match, true, true),
            "{}",
            last.story()
        );
    });
}

#[test]
fn the_peer_notices_that_we_lost_our_secrets() {
    side_by_side(&ROLES, |&role| {
        let acquaintance = Acquaintance::new(&format!("we-lost-{role:?}"));
        acquaintance.call_and_compare(role, true, true);
        acquaintance.ours.forget();
        let second = acquaintance.call(role, &[]);
        let (ours, theirs) = second.agreed();
        assert_eq!((ours.continuity, ours.verified), (Continuity::FirstContact, false));
        assert_eq!((theirs.cache_mismatch, theirs.verified), (true, false), "{}", second.story());
    });
}

/// libbzrtp as responder hashes its secrets with the hash that it would have chosen, whatever the Commit says.
#[test]
fn the_hash_is_one_with_which_the_secrets_match() {
    side_by_side(&["S256,S384", "S384,S256"], |&theirs| {
        let acquaintance = Acquaintance::new(&format!("hash-{theirs}"));
        for expected in [Continuity::FirstContact, Continuity::Match] {
            let mut call = acquaintance.prepared(&["--offer", &format!("X255,{theirs}")]);
            call.config.offer.hashes = vec![Hash::S384, Hash::S256];
            play(&mut call, Role::Initiator);
            let ended = call.make();
            let (ours, _) = ended.agreed();
            assert_eq!(ours.continuity, expected, "{}", ended.story());
            assert!(theirs.starts_with(ours.suite.hash.name()));
        }
    });
}

#[test]
fn an_auxiliary_secret_is_compared() {
    const SECRET: [u8; 5] = *b"gates";
    let cases = [
        (true, Some("6761746573"), AuxSecret::Match, "match"),
        (true, Some("6761746574"), AuxSecret::Mismatch, "mismatch"),
        (true, None, AuxSecret::Mismatch, "unset"),
        (false, Some("6761746573"), AuxSecret::None, "mismatch"),
        (false, None, AuxSecret::None, "unset"),
    ];
    side_by_side(&ROLES, |&role| {
        side_by_side(&cases, |&(we_have_it, theirs, we_find, they_find)| {
            let mut call = Call::new();
            play(&mut call, role);
            call.config.aux_secret = we_have_it.then(|| Secret::new(SECRET.to_vec()));
            call.peer.extend(theirs.into_iter().flat_map(|secret| options(&["--auxiliary", secret])));
            let ended = call.make();
            let (secure, peer) = ended.agreed();
            assert_eq!((secure.aux, peer.auxiliary.as_str()), (we_find, they_find), "{}", ended.story());
        });
    });
}

#[test]
fn the_announced_hello_binds_the_packets_to_the_signalling() {
    for (announced, receipt) in [(Announced::Right, Receipt::Bound), (Announced::Nothing, Receipt::Accepted)] {
        let ended = Call { announced_to_engine: announced, announced_to_peer: announced, ..Call::new() }.make();
        let (ours, _) = ended.agreed();
        assert_eq!(ours.peer.announced, announced == Announced::Right);
        // HelloACK and Conf2ACK have nothing in them that could bind them
        let messages = ended.receipts.iter().filter(|other| **other == receipt).count();
        assert!(messages >= 3, "{}", ended.story());
        assert!(receipt == Receipt::Bound || !ended.receipts.contains(&Receipt::Bound), "{}", ended.story());
    }
}

#[test]
fn a_hello_that_was_not_announced_leads_nowhere() {
    let ten_hellos = Duration::from_secs(2);
    let cases = [(Announced::Wrong, Announced::Right), (Announced::Right, Announced::Wrong)];
    side_by_side(&cases, |&(announced_to_engine, announced_to_peer)| {
        let ended = Call { announced_to_engine, announced_to_peer, patience: ten_hellos, ..Call::new() }.make();
        ended.nobody_is_secure();
        let ours = announced_to_engine == Announced::Wrong;
        assert_eq!(ended.warnings.contains(&Warning::HelloNotAnnounced), ours, "{}", ended.story());
        // BZRTP_ERROR_HELLOHASH_MISMATCH
        assert_eq!(ended.peer.errors().contains(&"0x0080"), !ours, "{}", ended.story());
    });
}

/// A phone rings for a while, and one side's Hellos may be over when the other begins.
#[test]
fn a_late_start_is_met() {
    let lateness: &[u64] = if full() { &[700, 2000, 5000, 9000] } else { &[700] };
    side_by_side(lateness, |&milliseconds| {
        let late = Duration::from_millis(milliseconds);
        Call { engine_late: late, ..Call::new() }.make().agreed();
        Call { peer_late: late, ..Call::new() }.make().agreed();
    });
}

/// A wireless network on a bad day.
#[test]
fn thirty_percent_loss_only_takes_longer() {
    let runs: Vec<(u64, Role)> =
        (0..if full() { 20 } else { 2 }).flat_map(|seed| [(seed, Role::Initiator), (seed, Role::Responder)]).collect();
    side_by_side(&runs, |&(seed, role)| {
        let mut call = Call { loss: 30, seed, ..Call::new() };
        play(&mut call, role);
        call.make().agreed();
    });
}

#[test]
fn every_packet_twice_changes_nothing() {
    let runs: Vec<(Role, KeyAgreement)> =
        ALL_AGREEMENTS.into_iter().flat_map(|kind| [(Role::Initiator, kind), (Role::Responder, kind)]).collect();
    side_by_side(&runs, |&(role, agreement)| {
        let mut call = Call { copies: 2, ..only(agreement, Cipher::Aes3, AuthTag::Hs80, Hash::S256) };
        play(&mut call, role);
        let ended = call.make();
        ended.agreed();
        assert!(ended.warnings.is_empty(), "{}", ended.story());
    });
}

/// Us and one peer, who both keep what they learn.
struct Acquaintance {
    ours: Memory,
    theirs: PathBuf,
}

impl Acquaintance {
    fn new(name: &str) -> Self {
        let theirs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("libbzrtp-{name}.sqlite"));
        let _ = std::fs::remove_file(&theirs);
        Acquaintance { ours: Memory::default(), theirs }
    }

    fn prepared(&self, more: &[&str]) -> Call {
        let mut call = Call { memory: self.ours.clone(), ..Call::new() };
        call.peer = options(&["--offer", "X255", "--cache", self.theirs.to_str().unwrap()]);
        call.peer.extend(options(more));
        call
    }

    fn call(&self, role: Role, more: &[&str]) -> Ended {
        let mut call = self.prepared(more);
        play(&mut call, role);
        call.make()
    }

    /// A call in which the people on each side say whether the SAS is equal, or do not compare it.
    fn call_and_compare(&self, role: Role, we_do: bool, they_do: bool) {
        let mut call = self.prepared(&[]);
        play(&mut call, role);
        call.peer_verifies = they_do;
        let mut ended = call.make();
        ended.agreed();
        if we_do {
            ended.sas_compared(true);
        }
    }
}

impl Drop for Acquaintance {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.theirs);
    }
}

/// Both offer only these.
fn only(agreement: KeyAgreement, cipher: Cipher, auth_tag: AuthTag, hash: Hash) -> Call {
    let mut call = Call::new();
    call.config.offer = Offer {
        hashes: vec![hash],
        ciphers: vec![cipher],
        auth_tags: vec![auth_tag],
        agreements: vec![agreement],
        sas_types: vec![SasType::B32],
    };
    let names = [agreement.name(), cipher.name(), auth_tag.name(), hash.name()].join(",");
    call.peer = options(&["--offer", &names]);
    call
}

/// Gives the engine this role, by giving the peer the other.
fn play(call: &mut Call, role: Role) {
    let theirs = if role == Role::Initiator { "responder" } else { "initiator" };
    call.peer.extend(options(&["--role", theirs]));
}

fn options(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// Runs the cases eight at a time: they mostly wait for timers.
fn side_by_side<T: Sync>(cases: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(case);
                }
            });
        }
    });
}

fn full() -> bool {
    std::env::var("GALENE_SIPS_FULL").is_ok_and(|value| value == "1")
}
