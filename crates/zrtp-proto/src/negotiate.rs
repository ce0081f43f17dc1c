//! Which algorithms an initiator chooses (RFC 6189 §4.1.2), from our offer and the peer's Hello.

use crate::algorithms::Name;
use crate::message::Hello;
use crate::{AuthTag, Cipher, Hash, KeyAgreement, Offer, SasType, Suite};

/// The initiator's choice. There always is one: what is mandatory is in every list, written or not.
pub(crate) fn choose(ours: &Offer, peer: &Hello) -> Suite {
    let theirs = understood(peer);
    let agreement = key_agreement(ours, &theirs);
    let strong = prefers_strength(agreement);
    let hash = match agreement {
        // MUST be SHA-384 (§5.1.5)
        KeyAgreement::Ec38 => Hash::S384,
        // the peer's first: bzrtp as responder hashes its shared secrets with the hash that it would have chosen itself, and
        // under any other none of them would ever match
        _ => pick(&theirs.hashes, &ours.hashes, strong, &[Hash::S512, Hash::S384, Hash::S256], Hash::S256),
    };
    Suite {
        agreement,
        hash,
        cipher: pick(&ours.ciphers, &theirs.ciphers, strong, &[Cipher::Aes3, Cipher::Aes1], Cipher::Aes1),
        auth_tag: pick(&ours.auth_tags, &theirs.auth_tags, false, &[], AuthTag::Hs80),
        sas: pick(&ours.sas_types, &theirs.sas_types, false, &[], SasType::B32),
    }
}

/// The peer's lists without the names that we do not know, with what is mandatory.
fn understood(peer: &Hello) -> Offer {
    fn known<T>(names: &[Name], from_name: fn(Name) -> Option<T>) -> Vec<T> {
        names.iter().filter_map(|name| from_name(*name)).collect()
    }
    Offer {
        hashes: known(&peer.hashes, Hash::from_name),
        ciphers: known(&peer.ciphers, Cipher::from_name),
        auth_tags: known(&peer.auth_tags, AuthTag::from_name),
        agreements: known(&peer.agreements, KeyAgreement::from_name),
        sas_types: known(&peer.sas_types, SasType::from_name),
    }
    .completed()
}

/// "Each endpoint compares the first item on their own list with the first item on the other endpoint's list", after what
/// is not in common has gone, "and SHOULD choose the faster of the two".
fn key_agreement(ours: &Offer, theirs: &Offer) -> KeyAgreement {
    // EC38 needs S384 on both sides
    let s384 = ours.hashes.contains(&Hash::S384) && theirs.hashes.contains(&Hash::S384);
    let common = |list: &[KeyAgreement], other: &[KeyAgreement]| {
        list.iter().copied().find(|kind| other.contains(kind) && (s384 || *kind != KeyAgreement::Ec38))
    };
    let first = common(&ours.agreements, &theirs.agreements).unwrap_or(KeyAgreement::Dh3k);
    let second = common(&theirs.agreements, &ours.agreements).unwrap_or(KeyAgreement::Dh3k);
    if slowness(first) <= slowness(second) { first } else { second }
}

/// The RFC's ranking from fastest to slowest, with bzrtp's additions where bzrtp puts them: both sides must come to the
/// same result, because bzrtp resolves no contention between two different key agreements.
fn slowness(kind: KeyAgreement) -> u8 {
    match kind {
        KeyAgreement::X255 => 0,
        KeyAgreement::Ec25 => 1,
        KeyAgreement::Dh3k => 2,
        KeyAgreement::Ec38 => 3,
        #[cfg(feature = "x1m1")]
        KeyAgreement::X1m1 => 4,
    }
}

/// With these the strongest common hash and cipher are taken, as bzrtp does, instead of the first in our list.
fn prefers_strength(kind: KeyAgreement) -> bool {
    match kind {
        KeyAgreement::X255 | KeyAgreement::Ec25 | KeyAgreement::Dh3k => false,
        KeyAgreement::Ec38 => true,
        #[cfg(feature = "x1m1")]
        KeyAgreement::X1m1 => true,
    }
}

/// What both lists have: the strongest, or the first of the list that `leads`.
fn pick<T: Copy + PartialEq>(leads: &[T], other: &[T], by_strength: bool, strength: &[T], mandatory: T) -> T {
    let order = if by_strength { strength } else { leads };
    order.iter().copied().find(|item| leads.contains(item) && other.contains(item)).unwrap_or(mandatory)
}
