//! Retained secrets over several calls: key continuity, flag V, mismatches, expiry, the auxiliary secret.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    clippy::disallowed_methods,
    reason = "a test may fail loudly"
)]

mod support;

use std::time::{Duration, Instant};
use support::{Memory, Network, Party, Seeded};
use zrtp_proto::*;

/// Two parties with caches that outlive calls.
struct Pair {
    memories: [Memory; 2],
    calls: u64,
}

impl Pair {
    fn new() -> Self {
        Pair { memories: [Memory::default(), Memory::default()], calls: 0 }
    }

    fn call_with(&mut self, change: impl Fn(usize, &mut Config)) -> Network {
        self.calls += 1;
        let [first, second] = [0, 1]
            .map(|who| Party::plain(who as u8 + 1, self.calls, &self.memories[who], |config| change(who, config)));
        let mut network = Network::new(first, second);
        network.start_both().run();
        assert!(network.both_secure());
        network.check_agreement();
        network
    }

    fn call(&mut self) -> Network {
        self.call_with(|_, _| {})
    }
}

fn secure(network: &Network, who: usize) -> &Secure {
    network.parties[who].secure.as_ref().unwrap()
}

fn continuity(network: &Network) -> [Continuity; 2] {
    [0, 1].map(|who| secure(network, who).continuity)
}

fn compare_sas(network: &mut Network, who: usize, equal: bool) {
    network.parties[who].engine.sas_compared(equal);
    assert!(network.parties[who].drain().is_empty());
}

#[test]
fn a_sas_compared_in_one_call_is_verified_in_the_next_ones() {
    let mut pair = Pair::new();
    let mut first = pair.call();
    assert_eq!(continuity(&first), [Continuity::FirstContact; 2]);
    assert!(!secure(&first, 0).verified);
    compare_sas(&mut first, 0, true);
    let second = pair.call();
    assert_eq!(continuity(&second), [Continuity::Match; 2]);
    // one side's word is not enough for either
    assert_eq!([0, 1].map(|who| secure(&second, who).verified), [false, false]);
    assert_eq!([0, 1].map(|who| secure(&second, who).verified_here), [true, false]);
    let mut second = second;
    compare_sas(&mut second, 1, true);
    for _ in 0..2 {
        let later = pair.call();
        assert_eq!([0, 1].map(|who| secure(&later, who).verified), [true, true]);
    }
}

#[test]
fn a_lost_cache_is_a_mismatch_on_each_call_until_the_sas_is_compared() {
    let mut pair = Pair::new();
    let mut first = pair.call();
    compare_sas(&mut first, 0, true);
    compare_sas(&mut first, 1, true);
    let kept = pair.memories[0].rs1();
    pair.memories[1].wipe();
    let second = pair.call();
    assert_eq!(continuity(&second), [Continuity::Mismatch, Continuity::FirstContact]);
    assert!(!secure(&second, 0).verified && !secure(&second, 1).verified && !secure(&second, 0).verified_here);
    // "leaving the rs1/rs2 values unmodified in the cache"
    assert_eq!(pair.memories[0].rs1(), kept);
    assert_eq!(second.parties[0].remembered, 0);
    let mut third = pair.call();
    assert_eq!(continuity(&third), [Continuity::Mismatch, Continuity::Mismatch]);
    compare_sas(&mut third, 0, true);
    compare_sas(&mut third, 1, true);
    let fourth = pair.call();
    assert_eq!(continuity(&fourth), [Continuity::Match; 2]);
    assert!(secure(&fourth, 0).verified && secure(&fourth, 1).verified);
}

#[test]
fn a_sas_that_differs_forgets_this_secret_and_keeps_the_older_ones_unverified() {
    let mut pair = Pair::new();
    let mut first = pair.call();
    compare_sas(&mut first, 0, false);
    assert_eq!(pair.memories[0].rs1(), None, "the only secret is of this session");
    compare_sas(&mut first, 0, true);
    compare_sas(&mut first, 1, true);
    let older = pair.memories[0].rs1();
    assert!(older.is_some() && pair.memories[0].verified());
    let mut second = pair.call();
    assert_ne!(pair.memories[0].rs1(), older);
    compare_sas(&mut second, 0, false);
    assert_eq!(pair.memories[0].rs1(), older);
    assert!(!pair.memories[0].verified());
}

#[test]
fn after_a_mismatch_a_sas_that_differs_changes_no_secret() {
    let mut pair = Pair::new();
    let mut first = pair.call();
    compare_sas(&mut first, 0, true);
    let older = pair.memories[0].rs1();
    pair.memories[1].wipe();
    let mut second = pair.call();
    compare_sas(&mut second, 0, false);
    assert_eq!(pair.memories[0].rs1(), older);
    assert!(!pair.memories[0].verified());
}

#[test]
fn nothing_is_stored_before_the_sas_is_compared_and_nothing_of_it_after_the_call() {
    let mut party = Party::plain(1, 1, &Memory::default(), |_| {});
    party.engine.sas_compared(true);
    assert!(party.engine.poll().is_none());
}

fn lifetimes(pair: &Pair) -> [Option<Lifetime>; 2] {
    [0, 1].map(|who| {
        let map = pair.memories[who].0.lock().unwrap();
        map.values().next().and_then(|entry| entry.rs1.as_ref()).map(|rs| rs.lifetime)
    })
}

#[test]
fn the_shorter_lifetime_counts_on_both_sides() {
    let mut pair = Pair::new();
    pair.call_with(|who, config| config.lifetime = Lifetime(if who == 0 { 3600 } else { 60 }));
    assert_eq!(lifetimes(&pair), [Some(Lifetime(60)); 2]);
    pair.call();
    assert_eq!(lifetimes(&pair), [Some(Lifetime::FOREVER); 2]);
    // "if a cache entry already exists from an earlier call, the stored cache interval should be set to 0"
    pair.call_with(|who, config| config.lifetime = if who == 0 { Lifetime::NONE } else { Lifetime::FOREVER });
    assert_eq!(lifetimes(&pair), [None, None]);
    // and nothing is created
    let network =
        pair.call_with(|who, config| config.lifetime = if who == 0 { Lifetime::NONE } else { Lifetime::FOREVER });
    assert_eq!(lifetimes(&pair), [None, None]);
    assert_eq!(network.parties[1].remembered, 0);
}

#[test]
fn an_expired_secret_is_neither_used_nor_missed() {
    let mut pair = Pair::new();
    pair.call();
    for entry in pair.memories[0].0.lock().unwrap().values_mut() {
        entry.rs1.as_mut().unwrap().lifetime = Lifetime::NONE;
    }
    pair.memories[1].wipe();
    assert_eq!(continuity(&pair.call()), [Continuity::FirstContact; 2]);
}

/// §4.9.1: expiry 0, V = 0, random identifiers.
#[test]
fn a_cacheless_side_never_claims_to_have_verified() {
    let mut pair = Pair::new();
    let mut first = pair.call();
    compare_sas(&mut first, 0, true);
    compare_sas(&mut first, 1, true);
    let second =
        pair.call_with(|who, config| config.lifetime = if who == 0 { Lifetime::NONE } else { Lifetime::FOREVER });
    // side 0 still has its entry in this test and so matches, but its flag V is 0: side 1 must not see it as verified
    assert!(secure(&second, 1).verified_here && !secure(&second, 1).verified);
}

#[test]
fn no_cache_at_all_works() {
    let config = Config::new(Zid([1; 12]), 1);
    let first = Party::new(Engine::new(config, Seeded(1), NoCache), Memory::default());
    let second = Party::plain(2, 1, &Memory::default(), |_| {});
    let mut network = Network::new(first, second);
    network.start_both().run();
    assert!(network.both_secure());
}

#[test]
fn an_auxiliary_secret_matches_or_does_not_and_never_stops_the_exchange() {
    let secrets: [[Option<&[u8]>; 2]; 4] =
        [[None, None], [Some(b"shared"), Some(b"shared")], [Some(b"shared"), Some(b"other")], [Some(b"shared"), None]];
    let expected =
        [[AuxSecret::None; 2], [AuxSecret::Match; 2], [AuxSecret::Mismatch; 2], [AuxSecret::Mismatch, AuxSecret::None]];
    for (secrets, expected) in secrets.into_iter().zip(expected) {
        let mut pair = Pair::new();
        let network = pair.call_with(|who, config| config.aux_secret = secrets[who].map(Secret::from));
        assert_eq!([0, 1].map(|who| secure(&network, who).aux), expected);
    }
}

/// A cache that is busy with the same peer for a while.
struct Busy(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Cache for Busy {
    fn lookup(&mut self, _peer: &Zid) -> Lookup {
        if self.0.load(std::sync::atomic::Ordering::Relaxed) { Lookup::Busy } else { Lookup::Unknown }
    }
}

/// "Only one in-process ZRTP DH exchange may occur at a time between two ZRTP endpoints" (§4.4.1): others wait, in both roles.
#[test]
fn an_exchange_waits_while_another_with_the_same_peer_runs() {
    for busy_side_commits in [true, false] {
        let busy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        let mut config = Config::new(Zid([1; 12]), 1);
        config.timers.commit_delay = Duration::from_millis(if busy_side_commits { 0 } else { 60_000 });
        let first = Party::new(Engine::new(config, Seeded(1), Busy(busy.clone())), Memory::default());
        let second = Party::plain(2, 1, &Memory::default(), |config| {
            config.timers.commit_delay = Duration::from_millis(if busy_side_commits { 60_000 } else { 0 });
        });
        let mut network = Network::new(first, second);
        network.start_both();
        network.run_until(Duration::from_secs(2), |_| false);
        assert!(
            !network.parties[0].is_over()
                && network.parties[0].count("Commit") + network.parties[0].count("DHPart1") == 0
        );
        busy.store(false, std::sync::atomic::Ordering::Relaxed);
        network.run();
        assert!(network.both_secure());
        network.check_agreement();
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let mut pair = Pair::new();
    let network = pair.call_with(|_, config| config.aux_secret = Some(Secret::from(&b"AUXSECRET"[..])));
    let party = &network.parties[0];
    let mut config = Config::new(Zid([1; 12]), 1);
    config.aux_secret = Some(Secret::from(&b"AUXSECRET"[..]));
    let map = pair.memories[0].0.lock().unwrap();
    let shown =
        format!("{:?} {:?} {:?} {:?} {:?} {config:?}", party.engine, party.send, party.receive, party.secure, map);
    let numbers = |octets: &[u8]| format!("{octets:?}").trim_matches(['[', ']']).to_owned();
    for secret in [
        party.send.as_ref().unwrap().key.expose(),
        party.receive.as_ref().unwrap().salt.expose(),
        map.values().next().unwrap().rs1.as_ref().unwrap().secret.expose(),
        b"AUXSECRET",
    ] {
        assert!(!shown.contains(&numbers(&secret[..4])), "{shown}");
        assert!(!shown.contains("AUXSECRET"));
    }
}

#[test]
fn time_may_stand_still_or_jump() {
    let mut party = Party::plain(1, 1, &Memory::default(), |_| {});
    let now = Instant::now();
    party.engine.start(now);
    party.engine.start(now);
    for seconds in [0, 0, 1_000_000, 0, 2_000_000] {
        party.engine.handle_timeout(now + Duration::from_secs(seconds));
        party.drain();
    }
    assert!(party.sent.len() < 10);
}
