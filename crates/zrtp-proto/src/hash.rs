//! Hashes and MACs: the negotiated one (RFC 6189 §5.1.2.1) and the implicit one, SHA-256, of hash chain and message MACs (§5.1.2.2).

use crate::{Hash, Secret, secret::same};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// Length of the MACs in messages and of the hashes of shared secrets: the leftmost 64 bits.
pub(crate) const SHORT: usize = 8;

/// The negotiated hash over the parts one after the other.
pub(crate) fn hash(kind: Hash, parts: &[&[u8]]) -> Vec<u8> {
    fn run<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
        let mut state = D::new();
        for part in parts {
            state.update(part);
        }
        state.finalize().to_vec()
    }
    match kind {
        Hash::S256 => run::<Sha256>(parts),
        Hash::S384 => run::<Sha384>(parts),
        Hash::S512 => run::<Sha512>(parts),
    }
}

/// HMAC with the negotiated hash over the parts one after the other.
pub(crate) fn mac(kind: Hash, key: &[u8], parts: &[&[u8]]) -> Secret {
    fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Secret {
        // HMAC takes a key of any length, so there is no error to handle; were there one, nothing would match
        let Ok(mut state) = <M as KeyInit>::new_from_slice(key) else { return Secret::new(Vec::new()) };
        for part in parts {
            state.update(part);
        }
        Secret::new(state.finalize().into_bytes().to_vec())
    }
    match kind {
        Hash::S256 => run::<Hmac<Sha256>>(key, parts),
        Hash::S384 => run::<Hmac<Sha384>>(key, parts),
        Hash::S512 => run::<Hmac<Sha512>>(key, parts),
    }
}

/// The MAC at the end of Hello, Commit and DHPart, keyed by a link of the hash chain.
pub(crate) fn message_mac(link: &[u8; 32], message_without_mac: &[u8]) -> [u8; SHORT] {
    short(mac(Hash::S256, link, &[message_without_mac]).expose())
}

/// Whether the last 8 octets of a whole message are its MAC under this link.
pub(crate) fn message_mac_holds(link: &[u8; 32], message: &[u8]) -> bool {
    let (body, tail) = message.split_at(message.len().saturating_sub(SHORT));
    same(&message_mac(link, body), tail)
}

/// The leftmost 64 bits.
pub(crate) fn short(octets: &[u8]) -> [u8; SHORT] {
    let mut out = [0; SHORT];
    for (to, from) in out.iter_mut().zip(octets) {
        *to = *from;
    }
    out
}

/// The next image in a hash chain.
pub(crate) fn image(preimage: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(preimage).into()
}
