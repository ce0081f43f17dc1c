//! The book: by itself, with real engines on both sides, and against a model.

mod caller;
mod exchanges;
mod orders;
mod properties;
mod ratchet;

use super::{Caller, CallerBefore, Change, PeerBook, PeerCache, PeerKey, Verification, Verifier};
use crate::units::UnixTime;
use zrtp_proto::{Cache as _, CacheEntry, Lifetime, Lookup, Remember, Retained, Secret, Zid};

const ACCOUNT: &str = "conference@sip.example.org";
const NOW: UnixTime = UnixTime(1_800_000_000);

fn alice() -> Caller {
    Caller::Address("alice@example.org".to_owned())
}

fn zid(number: u8) -> Zid {
    Zid([number; 12])
}

fn retained(number: u8) -> Option<Retained> {
    Some(Retained { secret: Secret::new(vec![number; 32]), lifetime: Lifetime::FOREVER })
}

fn entry(rs1: u8, rs2: Option<u8>, verified: bool) -> Option<CacheEntry> {
    Some(CacheEntry { rs1: retained(rs1), rs2: rs2.and_then(retained), verified })
}

fn by_voice() -> Verification {
    let (operator, group) = ("jane".to_owned(), "reunion".to_owned());
    Verification { at: NOW, by: Verifier::Voice { operator, group, call: 3 } }
}

fn call(book: &PeerBook, caller: Caller) -> PeerCache {
    PeerCache::new(book, ACCOUNT, caller, NOW)
}

/// An exchange with this peer that ends with this entry.
fn exchange(book: &PeerBook, caller: Caller, peer: u8, entry: Option<CacheEntry>) -> (PeerCache, Vec<Change>) {
    let mut cache = call(book, caller);
    assert!(!matches!(cache.lookup(&zid(peer)), Lookup::Busy));
    let changes = cache.remember(Remember { peer: zid(peer), entry }, None, NOW);
    cache.release();
    (cache, changes)
}

fn compared(cache: &PeerCache, peer: u8, entry: Option<CacheEntry>, person: Option<Verification>) -> Vec<Change> {
    cache.remember(Remember { peer: zid(peer), entry }, person, NOW)
}

/// What the engine of the next call would be told: (rs1, rs2, verified).
fn known(book: &PeerBook, caller: Caller, peer: u8) -> Option<(Option<u8>, Option<u8>, bool)> {
    match call(book, caller).lookup(&zid(peer)) {
        Lookup::Known(CacheEntry { rs1, rs2, verified }) => {
            let first = |retained: Option<Retained>| retained.map(|retained| retained.secret.expose()[0]);
            Some((first(rs1), first(rs2), verified))
        }
        _ => None,
    }
}
