use super::{ACCOUNT, NOW, alice, by_voice, call, compared, entry, exchange, known, retained, zid};
use crate::peers::book::MOST_PEERS;
use crate::peers::{Caller, Edit, Kept, Peer, PeerBook, PeerKey, PeerQuery, Refused, Remembered};
use crate::units::UnixTime;
use zrtp_proto::{Cache as _, CacheEntry, Lifetime, Lookup, Retained, Secret, Zid};

fn key(number: u8) -> PeerKey {
    PeerKey::new(ACCOUNT, alice(), zid(number))
}

#[test]
fn the_engine_alone_cannot_verify() {
    let book = PeerBook::default();
    let (cache, _) = exchange(&book, alice(), 1, entry(1, None, true));
    assert_eq!(known(&book, alice(), 1), Some((Some(1), None, false)), "nobody has compared anything");
    let _ = compared(&cache, 1, entry(1, None, true), Some(by_voice()));
    assert_eq!(known(&book, alice(), 1), Some((Some(1), None, true)));
    let _ = exchange(&book, alice(), 1, entry(2, Some(1), true));
    assert_eq!(book.list(NOW)[0].verification, Some(by_voice()), "who said it stays known");
}

#[test]
fn a_bad_comparison_takes_back_what_the_engine_says_and_no_more() {
    let book = PeerBook::default();
    let (cache, _) = exchange(&book, alice(), 1, entry(1, None, false));
    let _ = compared(&cache, 1, entry(1, None, true), Some(by_voice()));
    let (cache, _) = exchange(&book, alice(), 1, entry(2, Some(1), true));
    let changes = compared(&cache, 1, entry(1, None, false), Some(by_voice()));
    assert_eq!(known(&book, alice(), 1), Some((Some(1), None, false)), "the older secret stays, unverified");
    assert!(matches!(&changes[..], [change] if matches!(&change.edit, Edit::Put(peer) if peer.verification.is_none())));

    let (cache, _) = exchange(&book, alice(), 2, entry(9, None, false));
    let changes = compared(&cache, 2, None, None);
    assert_eq!(known(&book, alice(), 2), None, "a first contact is forgotten as a whole");
    assert!(matches!(&changes[..], [change] if matches!(&change.edit, Edit::Delete(gone) if *gone == key(2))));
}

#[test]
fn a_word_on_an_earlier_call_does_not_undo_a_later_one() {
    let book = PeerBook::default();
    let (first, _) = exchange(&book, alice(), 1, entry(1, None, false));
    let _ = exchange(&book, alice(), 1, entry(2, Some(1), false));
    let _ = compared(&first, 1, entry(1, None, true), Some(by_voice()));
    assert_eq!(known(&book, alice(), 1), Some((Some(2), Some(1), true)));
}

#[test]
fn one_exchange_with_a_peer_at_a_time() {
    let book = PeerBook::default();
    let (mut first, mut second) = (call(&book, alice()), call(&book, alice()));
    assert!(matches!(first.lookup(&zid(1)), Lookup::Unknown));
    assert!(matches!(first.lookup(&zid(1)), Lookup::Unknown), "the same call may ask again");
    assert!(matches!(second.lookup(&zid(1)), Lookup::Busy));
    assert!(matches!(second.lookup(&zid(2)), Lookup::Unknown), "another device");
    assert!(matches!(call(&book, Caller::Anonymous).lookup(&zid(1)), Lookup::Unknown), "another caller");
    let in_the_engine = first.clone();
    drop(first);
    assert!(matches!(call(&book, alice()).lookup(&zid(1)), Lookup::Busy));
    drop(in_the_engine);
    assert!(matches!(second.lookup(&zid(1)), Lookup::Unknown));
    assert!(matches!(call(&book, alice()).lookup(&zid(2)), Lookup::Unknown), "it has left the one for the other");
    second.release();
    second.release();
    assert!(matches!(call(&book, alice()).lookup(&zid(1)), Lookup::Unknown));
}

#[test]
fn an_administrator_vouches_and_takes_it_back() {
    let book = PeerBook::default();
    assert_eq!(book.verify(&key(1), NOW).map(drop), Err(Refused::Unknown));
    let (_, _) = exchange(&book, alice(), 1, entry(1, None, false));
    {
        let mut under_way = call(&book, alice());
        let _ = under_way.lookup(&zid(1));
        assert_eq!(book.verify(&key(1), NOW).map(drop), Err(Refused::Busy));
    }
    assert!(book.verify(&key(1), NOW).is_ok());
    assert_eq!(known(&book, alice(), 1), Some((Some(1), None, true)));
    let mut under_way = call(&book, alice());
    let _ = under_way.lookup(&zid(1));
    assert!(book.unverify(&key(1)).is_ok());
    let _ = compared(&under_way, 1, entry(2, Some(1), true), None);
    drop(under_way);
    assert_eq!(known(&book, alice(), 1), Some((Some(2), Some(1), false)), "also for the exchange under way");
}

#[test]
fn a_forgotten_peer_is_not_brought_back_by_a_call() {
    let book = PeerBook::default();
    let (old_call, _) = exchange(&book, alice(), 1, entry(1, None, false));
    assert_eq!(old_call.remembered(), Remembered::Pending);
    assert!(book.forget(&key(1)).is_ok());
    for comparison in [entry(1, None, true), entry(1, None, false), None] {
        assert!(compared(&old_call, 1, comparison, Some(by_voice())).is_empty());
    }
    assert_eq!(known(&book, alice(), 1), None);
    assert_eq!(old_call.remembered(), Remembered::No);
    let (new_call, _) = exchange(&book, alice(), 1, entry(5, None, false));
    assert!(compared(&old_call, 1, entry(1, None, true), Some(by_voice())).is_empty());
    assert_eq!(known(&book, alice(), 1), Some((Some(5), None, false)));
    assert_eq!((old_call.remembered(), new_call.remembered()), (Remembered::No, Remembered::Pending));
}

#[test]
fn what_could_not_be_written_is_known_but_not_remembered() {
    let book = PeerBook::default();
    let (cache, changes) = exchange(&book, alice(), 1, entry(1, None, false));
    assert_eq!(cache.remembered(), Remembered::Pending);
    book.written(&[changes[0].number], false);
    assert_eq!(cache.remembered(), Remembered::No);
    assert_eq!(known(&book, alice(), 1), Some((Some(1), None, false)));
    let later = compared(&cache, 1, entry(1, None, true), Some(by_voice()));
    book.written(&[changes[0].number], true);
    assert_eq!(cache.remembered(), Remembered::Pending, "the later change is not written yet");
    book.written(&[later[0].number], true);
    assert_eq!(cache.remembered(), Remembered::Yes);
}

#[test]
fn a_known_caller_with_an_unknown_device_is_told() {
    let book = PeerBook::default();
    let _ = exchange(&book, alice(), 1, entry(1, None, false));
    assert!(book.verify(&key(1), NOW).is_ok());
    let acquaintance = |caller: Caller, number| {
        let mut cache = call(&book, caller);
        assert_eq!(cache.acquaintance(), None);
        let _ = cache.lookup(&zid(number));
        cache.acquaintance().unwrap_or_else(|| unreachable!("it was looked up"))
    };
    let known = acquaintance(alice(), 1);
    assert!(known.peer.is_some() && !known.is_unknown_device_of_known_caller());
    let other = acquaintance(alice(), 2);
    assert!(other.is_unknown_device_of_known_caller() && other.other_devices == 1);
    let bob = Caller::Address("bob@example.org".to_owned());
    let under_other_name = acquaintance(bob, 1);
    assert!(!under_other_name.is_unknown_device_of_known_caller());
    assert_eq!(under_other_name.other_address, Some(alice()));
    let _ = exchange(&book, Caller::Anonymous, 1, entry(1, None, false));
    assert!(!acquaintance(Caller::Anonymous, 3).is_unknown_device_of_known_caller(), "nobody is known by that name");
    // it stays as it was when the exchange began
    let mut cache = call(&book, alice());
    let _ = cache.lookup(&zid(2));
    let _ = compared(&cache, 2, entry(7, None, false), None);
    assert!(cache.acquaintance().is_some_and(|found| found.is_unknown_device_of_known_caller()));
}

#[test]
fn a_secret_ends_when_both_sides_said_and_its_verification_with_it() {
    let book = PeerBook::default();
    let short = Some(Retained { secret: Secret::new(vec![1; 32]), lifetime: Lifetime(100) });
    let (cache, _) = exchange(&book, alice(), 1, Some(CacheEntry { rs1: short, rs2: None, verified: false }));
    let later = UnixTime(NOW.0 + 60);
    let same = Some(Retained { secret: Secret::new(vec![1; 32]), lifetime: Lifetime(100) });
    let ok = Some(CacheEntry { rs1: same, rs2: None, verified: true });
    let _ = cache.remember(zrtp_proto::Remember { peer: zid(1), entry: ok }, Some(by_voice()), later);
    assert_eq!(book.list(later)[0].expires, Some(UnixTime(NOW.0 + 100)), "comparing does not lengthen it");
    let lifetime =
        |at| match crate::peers::PeerCache::new(&book, ACCOUNT, alice(), UnixTime(NOW.0 + at)).lookup(&zid(1)) {
            Lookup::Known(CacheEntry { rs1: Some(rs1), .. }) => rs1.lifetime,
            other => unreachable!("{other:?}"),
        };
    assert_eq!([lifetime(60), lifetime(99), lifetime(100)], [Lifetime(40), Lifetime(1), Lifetime::NONE]);
    let over = &book.list(UnixTime(NOW.0 + 100))[0];
    assert!(!over.has_secret && over.verification.is_none());
    assert_eq!(book.verify(&key(1), UnixTime(NOW.0 + 100)).map(drop), Err(Refused::NoSecret));

    let none = Some(Retained { secret: Secret::new(vec![2; 32]), lifetime: Lifetime::NONE });
    let (cache, changes) = exchange(&book, alice(), 2, Some(CacheEntry { rs1: none, rs2: None, verified: false }));
    assert!(changes.is_empty() && cache.remembered() == Remembered::No, "the peer wants nothing kept");
    let forever = CacheEntry { rs1: retained(3), rs2: None, verified: false };
    let _ = exchange(&book, alice(), 2, Some(forever));
    assert_eq!(book.list(NOW)[1].expires, None);
}

#[test]
fn strangers_cannot_fill_the_memory_or_push_out_a_verified_peer() {
    let seen = |number: u32, verification| {
        let mut zid = [0; 12];
        zid[8..].copy_from_slice(&number.to_be_bytes());
        let time = UnixTime(NOW.0 - 100_000 + u64::from(number));
        let rs1 = Some(Kept { secret: Secret::new(vec![1; 32]), expires: None });
        let key = PeerKey::new(ACCOUNT, alice(), Zid(zid));
        Peer { key, rs1, rs2: None, first_seen: time, last_seen: time, verification }
    };
    let strangers = (1..MOST_PEERS as u32).map(|number| seen(number, None));
    let verified = seen(0, Some(by_voice()));
    let book = PeerBook::new(std::iter::once(verified).chain(strangers).collect(), NOW);
    for (newcomer, oldest) in [(0xfe, 1), (0xff, 2)] {
        let (_, changes) = exchange(&book, alice(), newcomer, entry(1, None, false));
        let edits: Vec<&Edit> = changes.iter().map(|change| &change.edit).collect();
        assert!(
            matches!(edits[..], [Edit::Delete(key), Edit::Put(_)] if *key == seen(oldest, None).key),
            "the unverified one that was seen longest ago makes room: {edits:?}"
        );
    }
    let list = book.list(NOW);
    assert_eq!(list.len(), MOST_PEERS);
    assert_eq!(list[0].verification, Some(by_voice()), "it was seen before all of them");
    let (_, changes) = exchange(&book, alice(), 0xff, entry(2, Some(1), false));
    assert_eq!((changes.len(), book.list(NOW).len()), (1, MOST_PEERS), "whoever is there already needs no room");
}

#[test]
fn a_person_names_a_peer_by_what_the_list_shows() {
    let book = PeerBook::default();
    for (caller, number) in [(alice(), 0x1a), (alice(), 0x2b), (Caller::Anonymous, 0x1a)] {
        let _ = exchange(&book, caller, number, entry(1, None, false));
    }
    let count = |peer: &str, account: Option<&str>, caller: Option<&str>| {
        let [account, caller] = [account, caller].map(|text| text.map(str::to_owned));
        book.matching(&PeerQuery { peer: peer.to_owned(), account, caller }, NOW).len()
    };
    assert_eq!(count("1A1a", None, None), 2);
    assert_eq!(count("2b2b2b2b2b2b2b2b2b2b2b2b", None, None), 1);
    assert_eq!(count("sip:alice@EXAMPLE.org", None, None), 2);
    assert_eq!(count("1a1a", None, Some("anonymous")), 1);
    assert_eq!(count("anonymous", Some("conference@SIP.example.org"), None), 1);
    assert_eq!(count("1a1a", Some("other@sip.example.org"), None), 0);
    for nobody in ["1a1", "", "1a1b", "bob@example.org"] {
        assert_eq!(count(nobody, None, None), 0, "{nobody}");
    }
    assert_eq!(count("1a1a", None, Some("no address")), 0, "what cannot be read means nobody, not everybody");
}
