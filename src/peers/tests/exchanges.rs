//! The book as the cache of real engines, with a phone on the other side that has an own book.

use super::{ACCOUNT, NOW, alice, by_voice};
use crate::peers::{Caller, PeerBook, PeerCache, Verification};
use std::time::{Duration, Instant};
use zrtp_proto::{Config, Continuity, Engine, Output, Secure, Zid};

struct End {
    engine: Engine,
    cache: PeerCache,
    secure: Option<Secure>,
}

impl End {
    fn new(book: &PeerBook, account: &str, caller: Caller, own: Zid, ssrc: u32) -> End {
        let cache = PeerCache::new(book, account, caller, NOW);
        let random = |octets: &mut [u8]| assert!(aws_lc_rs::rand::fill(octets).is_ok());
        End { engine: Engine::new(Config::new(own, ssrc), random, cache.clone()), cache, secure: None }
    }

    /// Does what the engine says; gives what it sends.
    fn drain(&mut self, person: Option<Verification>) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit(datagram) => sent.push(datagram),
                Output::Remember(remember) => drop(self.cache.remember(remember, person.clone(), NOW)),
                Output::Secure(secure) => {
                    self.cache.release();
                    self.secure = Some(*secure);
                }
                _ => {}
            }
        }
        sent
    }

    fn compared(&mut self, equal: bool) {
        self.engine.sas_compared(equal);
        self.drain(Some(by_voice()));
    }
}

/// A call of the phone to the gateway, until both are secure.
fn exchange(gateway: &PeerBook, phone: &PeerBook, caller: Caller) -> (End, End) {
    let mut now = Instant::now();
    let mut ours = End::new(gateway, ACCOUNT, caller.clone(), Zid([1; 12]), 1);
    let mut theirs = End::new(phone, "phone@example.org", Caller::Address(ACCOUNT.to_owned()), Zid([2; 12]), 2);
    ours.engine.start(now);
    theirs.engine.start(now);
    for _ in 0..400 {
        now += Duration::from_millis(10);
        ours.engine.handle_timeout(now);
        theirs.engine.handle_timeout(now);
        for datagram in ours.drain(None) {
            theirs.engine.handle_packet(now, &datagram);
        }
        for datagram in theirs.drain(None) {
            ours.engine.handle_packet(now, &datagram);
        }
        if ours.secure.is_some() && theirs.secure.is_some() {
            return (ours, theirs);
        }
    }
    unreachable!("no keys in 4 s")
}

fn continuity(end: &End) -> Option<(Continuity, bool)> {
    end.secure.as_ref().map(|secure| (secure.continuity, secure.verified))
}

#[test]
fn a_comparison_in_one_call_shows_in_the_next() {
    let (gateway, phone) = (PeerBook::default(), PeerBook::default());
    let (mut ours, mut theirs) = exchange(&gateway, &phone, alice());
    assert_eq!(continuity(&ours), Some((Continuity::FirstContact, false)));
    ours.compared(true);
    theirs.compared(true);
    let (ours, _) = exchange(&gateway, &phone, alice());
    assert_eq!(continuity(&ours), Some((Continuity::Match, true)));
    let (ours, _) = exchange(&gateway, &phone, alice());
    assert_eq!(continuity(&ours), Some((Continuity::Match, true)));
}

#[test]
fn the_same_device_under_another_address_is_a_stranger() {
    let (gateway, phone) = (PeerBook::default(), PeerBook::default());
    let (mut ours, mut theirs) = exchange(&gateway, &phone, alice());
    ours.compared(true);
    theirs.compared(true);
    let (ours, _) = exchange(&gateway, &phone, Caller::Address("bob@example.org".to_owned()));
    assert_eq!(continuity(&ours), Some((Continuity::FirstContact, false)));
    assert_eq!(ours.cache.acquaintance().and_then(|found| found.other_address), Some(alice()));
}

#[test]
fn a_phone_that_lost_its_memory_is_a_mismatch_until_it_is_compared_again() {
    let (gateway, phone) = (PeerBook::default(), PeerBook::default());
    let (mut ours, _) = exchange(&gateway, &phone, alice());
    ours.compared(true);
    let before = gateway.list(NOW);
    let phone = PeerBook::default();
    let (mut ours, _) = exchange(&gateway, &phone, alice());
    assert_eq!(continuity(&ours), Some((Continuity::Mismatch, false)));
    assert_eq!(gateway.list(NOW), before, "the cache stays as it was (RFC 6189 §4.6.1.1)");
    ours.compared(true);
    let (ours, _) = exchange(&gateway, &phone, alice());
    assert_eq!(ours.secure.map(|secure| (secure.continuity, secure.verified_here)), Some((Continuity::Match, true)));
}

#[test]
fn after_a_bad_comparison_the_secret_of_that_session_is_gone() {
    let (gateway, phone) = (PeerBook::default(), PeerBook::default());
    let (mut ours, _) = exchange(&gateway, &phone, alice());
    ours.compared(false);
    assert!(gateway.list(NOW).is_empty());
    let (ours, _) = exchange(&gateway, &phone, alice());
    assert_eq!(continuity(&ours), Some((Continuity::FirstContact, false)));
}
