//! What holds an account, for how long, and what ends it.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::*;
use crate::peers::{Ratchet, Record, Shown};
use crate::policy::Floors;

const DAY: u64 = 86_400;
const ALICE: &str = "alice@Example.org";

fn day(day: u64) -> UnixTime {
    UnixTime(20_000 * DAY + day * DAY + 100)
}

fn shown(days: &[u64]) -> Ratchet {
    let ratchet = Ratchet::default();
    for at in days {
        ratchet.succeeded(ALICE, Shown::Digest, day(*at));
    }
    ratchet
}

#[test]
fn three_different_days_hold_an_account_and_three_times_on_one_day_do_not() {
    let holds = |days: &[u64]| shown(days).floors("alice@example.org", day(10)).digest;
    assert!(!holds(&[]) && !holds(&[1]) && !holds(&[1, 2]));
    assert!(!holds(&[1, 1, 1]) && !holds(&[1, 1, 2, 2, 2]));
    assert!(holds(&[1, 2, 3]) && holds(&[1, 5, 9]) && holds(&[3, 2, 1]), "whatever the clock does in between");
    let ratchet = Ratchet::default();
    for seconds in [0, 1, DAY - 101] {
        ratchet.succeeded(ALICE, Shown::Digest, UnixTime(day(1).0 + seconds));
    }
    assert!(!ratchet.floors(ALICE, day(1)).digest, "one day from its first second to its last");
}

#[test]
fn what_one_account_shows_holds_that_account_to_that_alone() {
    let ratchet = shown(&[1, 2, 3]);
    assert_eq!(ratchet.floors(ALICE, day(3)), Floors { digest: true, ..Floors::default() });
    assert_eq!(ratchet.floors("bob@example.org", day(3)), Floors::default());
    for (kind, floors) in [
        (Shown::Tls, Floors { tls: true, ..Floors::default() }),
        (Shown::Media, Floors { media: true, ..Floors::default() }),
    ] {
        let ratchet = Ratchet::default();
        (1..=3).for_each(|at| drop(ratchet.succeeded(ALICE, kind, day(at))));
        assert_eq!(ratchet.floors(ALICE, day(3)), floors);
    }
}

#[test]
fn it_holds_for_180_days_after_the_last_success_and_then_three_days_count_anew() {
    let ratchet = shown(&[1, 2, 3, 50]);
    assert!(ratchet.floors(ALICE, day(50 + 180)).digest);
    assert!(!ratchet.floors(ALICE, UnixTime(day(50 + 180).0 + 1)).digest);
    ratchet.succeeded(ALICE, Shown::Digest, day(231));
    ratchet.succeeded(ALICE, Shown::Digest, day(232));
    assert!(!ratchet.floors(ALICE, day(232)).digest, "the old days do not count any more");
    ratchet.succeeded(ALICE, Shown::Digest, day(233));
    assert!(ratchet.floors(ALICE, day(233)).digest);
}

#[test]
fn only_clearing_ends_it_before_and_it_can_begin_again() {
    let ratchet = shown(&[1, 2, 3]);
    assert_eq!(ratchet.clear("bob@example.org", day(4)).len(), 4);
    assert!(ratchet.floors(ALICE, day(4)).digest);
    let written = ratchet.clear("alice@example.org", day(4));
    assert!(!ratchet.floors(ALICE, day(4)).digest);
    assert_eq!(Ratchet::new(written).floors(ALICE, day(4)), Floors::default(), "nor after a restart");
    (5..=7).for_each(|at| drop(ratchet.succeeded(ALICE, Shown::Digest, day(at))));
    assert!(ratchet.floors(ALICE, day(7)).digest);
}

#[test]
fn what_is_written_is_the_whole_truth_and_is_written_once_a_day() {
    let ratchet = Ratchet::default();
    let mut rows: Vec<Record> = Vec::new();
    for at in [1, 1, 2, 2, 3, 3, 9] {
        rows.extend(ratchet.succeeded(ALICE, Shown::Tls, day(at)));
    }
    assert_eq!(rows.len(), 4);
    let reread = Ratchet::new(rows.split_off(3));
    assert_eq!(reread.floors(ALICE, day(9)), Floors { tls: true, ..Floors::default() });
    assert_eq!(reread.list()[0].since(), Some(UnixTime(20_003 * DAY)));
    assert!(!reread.floors(ALICE, day(190)).tls && reread.floors(ALICE, day(189)).tls);
}

#[test]
fn a_caller_is_held_only_if_a_person_verified_him_and_only_since_the_account_was_cleared() {
    let book = PeerBook::default();
    let ratchet = Ratchet::default();
    let caller = |name: &str| Caller::from_text(&format!("{name}@example.org")).unwrap();
    let before = |name: &str, now| ratchet.caller(&book, ALICE, &caller(name), now);
    for (zid, name) in [(1, "bob"), (2, "carol"), (3, "carol")] {
        let mut cache = PeerCache::new(&book, ALICE, caller(name), day(1));
        let _ = cache.lookup(&Zid([zid; 12]));
        let rs1 = Some(Retained { secret: Secret::new(vec![zid; 32]), lifetime: Lifetime::FOREVER });
        let entry = Some(CacheEntry { rs1, rs2: None, verified: false });
        drop(cache.remember(Remember { peer: Zid([zid; 12]), entry }, None, day(1)));
    }
    book.verify(&PeerKey::new(ALICE, caller("carol"), Zid([3; 12])), day(1)).unwrap();
    assert_eq!(before("bob", day(2)), CallerBefore::HadZrtp);
    assert_eq!(before("carol", day(2)), CallerBefore::Verified, "with either device");
    assert_eq!(before("dave", day(2)), CallerBefore::Unknown);
    assert_eq!(ratchet.caller(&book, "other@example.org", &caller("carol"), day(2)), CallerBefore::Unknown);
    assert_eq!(ratchet.caller(&book, ALICE, &Caller::Anonymous, day(2)), CallerBefore::Unknown);
    assert_eq!(before("carol", day(181)), CallerBefore::Verified);
    assert_eq!(before("carol", day(182)), CallerBefore::Unknown);
    ratchet.clear(ALICE, day(3));
    assert_eq!((before("carol", day(4)), before("bob", day(4))), (CallerBefore::Unknown, CallerBefore::Unknown));
}
