//! Whatever calls, people and administrators do: the flag is what the last of them said of the present chain of secrets, and the
//! changes, written in their order, give the book again.

use super::{ACCOUNT, NOW, by_voice, known, retained, zid};
use crate::peers::{Caller, Change, Edit, Peer, PeerBook, PeerCache, PeerKey};
use proptest::prelude::*;
use std::collections::BTreeMap;
use zrtp_proto::{Cache as _, CacheEntry, Lookup, Remember};

#[derive(Clone, Debug)]
enum Step {
    /// A call that is secure, with what is said of its SAS at the end.
    Call {
        caller: u8,
        peer: u8,
        mismatch: bool,
        comparison: Option<bool>,
    },
    Verify {
        caller: u8,
        peer: u8,
    },
    Unverify {
        caller: u8,
        peer: u8,
    },
    Forget {
        caller: u8,
        peer: u8,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..3u8, 1..4u8);
    prop_oneof![
        4 => (who(), any::<bool>(), any::<Option<bool>>()).prop_map(|((caller, peer), mismatch, comparison)| Step::Call { caller, peer, mismatch, comparison }),
        1 => who().prop_map(|(caller, peer)| Step::Verify { caller, peer }),
        1 => who().prop_map(|(caller, peer)| Step::Unverify { caller, peer }),
        1 => who().prop_map(|(caller, peer)| Step::Forget { caller, peer }),
        1 => Just(Step::Restart),
    ]
}

fn caller(number: u8) -> Caller {
    match number {
        0 => Caller::Anonymous,
        number => Caller::Address(format!("caller{number}@example.org")),
    }
}

/// The store, as `io` would keep it.
#[derive(Default)]
struct Disk(BTreeMap<PeerKey, Peer>);

impl Disk {
    fn write(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            match change.edit {
                Edit::Put(peer) => drop(self.0.insert(peer.key.clone(), *peer)),
                Edit::Delete(key) => drop(self.0.remove(&key)),
            }
        }
    }
}

/// What RFC 6189 and a person's word make of a peer: newest secret, the one before, the flag.
type Model = BTreeMap<(u8, u8), (u8, Option<u8>, bool)>;

fn make_call(book: &PeerBook, model: &mut Model, disk: &mut Disk, step: &Step, secret: u8) {
    let Step::Call { caller: from, peer, mismatch, comparison } = *step else { return };
    let mut cache = PeerCache::new(book, ACCOUNT, caller(from), NOW);
    let before = match cache.lookup(&zid(peer)) {
        Lookup::Known(entry) => Some(entry),
        _ => None,
    };
    let (rs1, verified) = match &before {
        Some(CacheEntry { rs1: Some(rs1), verified, .. }) => (Some(rs1.secret.expose()[0]), *verified),
        _ => (None, false),
    };
    let mismatch = mismatch && before.is_some();
    let updated = |verified| Some(CacheEntry { rs1: retained(secret), rs2: rs1.and_then(retained), verified });
    let remember = |entry, person| cache.remember(Remember { peer: zid(peer), entry }, person, NOW);
    let old = model.get(&(from, peer)).copied();
    if !mismatch {
        disk.write(remember(updated(verified), None));
        model.insert((from, peer), (secret, rs1, verified));
    }
    cache.release();
    match comparison {
        Some(true) => {
            disk.write(remember(updated(true), Some(by_voice())));
            model.insert((from, peer), (secret, rs1, true));
        }
        Some(false) => {
            disk.write(remember(before.map(|entry| CacheEntry { verified: false, ..entry }), None));
            match old {
                Some((rs1, rs2, _)) => drop(model.insert((from, peer), (rs1, rs2, false))),
                None => drop(model.remove(&(from, peer))),
            }
        }
        None => {}
    }
}

proptest! {
    #[test]
    fn the_book_is_what_was_said_and_the_store_is_the_book(steps in proptest::collection::vec(step(), 0..40)) {
        let (mut book, mut model, mut disk) = (PeerBook::default(), Model::new(), Disk::default());
        for (secret, step) in (1..).zip(&steps) {
            let key = |from, peer| PeerKey::new(ACCOUNT, caller(from), zid(peer));
            match *step {
                Step::Call { .. } => make_call(&book, &mut model, &mut disk, step, secret),
                Step::Verify { caller, peer } => {
                    let done = book.verify(&key(caller, peer), NOW);
                    prop_assert_eq!(done.is_ok(), model.contains_key(&(caller, peer)));
                    model.entry((caller, peer)).and_modify(|entry| entry.2 = true);
                    disk.write(done);
                }
                Step::Unverify { caller, peer } => {
                    model.entry((caller, peer)).and_modify(|entry| entry.2 = false);
                    disk.write(book.unverify(&key(caller, peer)));
                }
                Step::Forget { caller, peer } => {
                    model.remove(&(caller, peer));
                    disk.write(book.forget(&key(caller, peer)));
                }
                Step::Restart => book = PeerBook::new(disk.0.values().map(Peer::duplicate).collect(), NOW),
            }
            for from in 0..3 {
                for peer in 1..4 {
                    let expected = model.get(&(from, peer)).map(|(rs1, rs2, verified)| (Some(*rs1), *rs2, *verified));
                    prop_assert_eq!(known(&book, caller(from), peer), expected, "after {:?}", step);
                }
            }
            let restarted = PeerBook::new(disk.0.values().map(Peer::duplicate).collect(), NOW);
            let people_see = |book: &PeerBook| {
                book.list(NOW).into_iter().map(|peer| (peer.key, peer.verification, peer.first_seen)).collect::<Vec<_>>()
            };
            prop_assert_eq!(people_see(&restarted), people_see(&book));
        }
    }
}
