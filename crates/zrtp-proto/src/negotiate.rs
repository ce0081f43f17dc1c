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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use crate::Zid;

    fn hello(lists: [&[&[u8; 4]]; 5]) -> Hello {
        let [hashes, ciphers, auth_tags, agreements, sas_types] =
            lists.map(|list| list.iter().map(|name| **name).collect::<Vec<_>>());
        Hello {
            version: *b"1.10",
            client_id: [0; 16],
            h3: [0; 32],
            zid: Zid([0; 12]),
            is_pbx: false,
            is_passive: false,
            hashes,
            ciphers,
            auth_tags,
            agreements,
            sas_types,
        }
    }

    /// The key agreement that both sides choose, each from its own list first.
    fn agreed(ours: &[KeyAgreement], theirs: &[&[u8; 4]]) -> KeyAgreement {
        let offer = Offer { agreements: ours.to_vec(), ..Offer::default() }.completed();
        let chosen = choose(&offer, &hello([&[b"S384"], &[], &[], theirs, &[]])).agreement;
        let their_offer = understood(&hello([&[b"S384"], &[], &[], theirs, &[]]));
        let names: Vec<Name> = offer.agreements.iter().map(|kind| kind.name().as_bytes().try_into().unwrap()).collect();
        let mut mirrored = hello([&[b"S384"], &[], &[], &[], &[]]);
        mirrored.agreements = names;
        assert_eq!(choose(&their_offer, &mirrored).agreement, chosen, "the two sides disagree");
        chosen
    }

    #[test]
    fn a_peer_that_says_nothing_gets_what_is_mandatory() {
        let suite = choose(&Offer::default(), &hello([&[]; 5]));
        assert_eq!(suite.names(), b"S256AES1HS80DH3kB32 ");
        let strange = hello([&[b"N256"], &[b"2FS1"], &[b"SK32"], &[b"EC52", b"DH2k", b"Mult", b"Prsh"], &[b"B999"]]);
        assert_eq!(choose(&Offer::default(), &strange).names(), b"S256AES1HS80DH3kB32 ");
    }

    #[test]
    fn the_faster_of_the_two_first_choices_wins() {
        use KeyAgreement::{Dh3k, Ec25, Ec38, X255};
        // the RFC's example
        assert_eq!(agreed(&[Dh3k, Ec25], &[b"EC38", b"EC25", b"DH3k"]), Ec25);
        assert_eq!(agreed(&[Dh3k], &[b"X255", b"DH3k"]), Dh3k);
        assert_eq!(agreed(&[X255, Dh3k], &[b"DH3k", b"X255"]), X255);
        assert_eq!(agreed(&[Ec38, Dh3k], &[b"EC38"]), Ec38);
        assert_eq!(agreed(&[Ec38], &[b"X255"]), Dh3k);
    }

    /// Against the list of Linphone's apps: only an algorithm that the app has too turns X1M1 off when it stands before it.
    #[cfg(feature = "x1m1")]
    #[test]
    fn x1m1_needs_the_first_place_in_the_common_list() {
        use KeyAgreement::{Dh3k, X1m1, X255};
        let app: &[&[u8; 4]] = &[b"X1M1", b"X1K1", b"DH3k", b"Mult"];
        assert_eq!(agreed(&[X1m1, X255, Dh3k], app), X1m1);
        assert_eq!(agreed(&[X255, X1m1, Dh3k], app), X1m1);
        assert_eq!(agreed(&[Dh3k, X1m1], app), Dh3k);
        let lists: [&[&[u8; 4]]; 5] =
            [&[b"S256", b"S512"], &[b"AES1", b"AES3"], &[b"GCM ", b"HS80", b"HS32"], app, &[b"B32 "]];
        assert_eq!(choose(&Offer::default(), &hello(lists)).names(), b"S512AES3GCM X1M1B32 ");
        // an app without post-quantum code
        let lists: [&[&[u8; 4]]; 5] = [&[b"S256"], &[b"AES1"], &[b"HS80", b"HS32"], &[b"DH3k", b"Mult"], &[b"B32 "]];
        assert_eq!(choose(&Offer::default(), &hello(lists)).names(), b"S256AES1HS80DH3kB32 ");
    }

    #[test]
    fn ec38_goes_with_s384_or_not_at_all() {
        let offer = Offer { agreements: vec![KeyAgreement::Ec38], ..Offer::default() }.completed();
        let with = choose(&offer, &hello([&[b"S256", b"S384"], &[b"AES1", b"AES3"], &[], &[b"EC38"], &[]]));
        assert_eq!(with.names(), b"S384AES3HS80EC38B32 ");
        let without = choose(&offer, &hello([&[b"S256"], &[], &[], &[b"EC38"], &[]]));
        assert_eq!(without.agreement, KeyAgreement::Dh3k);
    }
}
