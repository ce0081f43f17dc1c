//! Shared secrets (RFC 6189 §4.3): their hashes in DHPart1 and DHPart2, which of them match, and what becomes of the cache.

use crate::hash::{mac, short};
use crate::message::SecretIds;
use crate::secret::same;
use crate::{AbsentSecret, AuxSecret, CacheEntry, Continuity, Hash, Lifetime, Purpose, Random, Retained, Role, Secret};

/// What we have in common with a peer, as far as we know, at the beginning of an exchange.
pub(crate) struct Known {
    rs1: Option<Retained>,
    rs2: Option<Retained>,
    verified: bool,
    /// Whether there was an entry at all: `Lifetime::NONE` must then forget it.
    had_entry: bool,
    aux: Option<Secret>,
}

/// The secrets that both sides turned out to have; empty is null.
pub(crate) struct Shared {
    pub(crate) s1: Secret,
    pub(crate) s2: Secret,
}

impl Known {
    pub(crate) fn new(entry: Option<CacheEntry>, aux: Option<Secret>) -> Self {
        let had_entry = entry.is_some();
        let CacheEntry { rs1, rs2, verified } = entry.unwrap_or_default();
        let alive = |secret: &Retained| secret.lifetime > Lifetime::NONE && !secret.secret.is_empty();
        Known { rs1: rs1.filter(alive), rs2: rs2.filter(alive), verified, had_entry, aux }
    }

    /// The hashes that we send in this role. For a secret that we do not have "a random value is generated" (§4.3).
    pub(crate) fn ids(&self, kind: Hash, role: Role, own_h3: &[u8; 32], random: &mut dyn Random) -> SecretIds {
        let mut absent = |which| {
            let mut id = [0; 8];
            random.fill(Purpose::AbsentSecret(role, which), &mut id);
            id
        };
        SecretIds {
            rs1: self.rs1.as_ref().map_or_else(|| absent(AbsentSecret::Rs1), |rs| retained_id(kind, &rs.secret, role)),
            rs2: self.rs2.as_ref().map_or_else(|| absent(AbsentSecret::Rs2), |rs| retained_id(kind, &rs.secret, role)),
            // auxsecretIDi = MAC(auxsecret, Initiator's H3)
            aux: self.aux.as_ref().map_or_else(|| absent(AbsentSecret::Aux), |aux| aux_id(kind, aux, own_h3)),
            pbx: absent(AbsentSecret::Pbx),
        }
    }

    /// Which secrets the peer has too, by the hashes in its DHPart, where it acts as `peer_role`.
    pub(crate) fn compare(&self, kind: Hash, peer_role: Role, peer_h3: &[u8; 32], theirs: &SecretIds) -> Shared {
        let id_of = |rs: &Option<Retained>| rs.as_ref().map(|rs| retained_id(kind, &rs.secret, peer_role));
        let ours = [id_of(&self.rs1), id_of(&self.rs2)];
        let has = |mine: usize, id: &[u8; 8]| ours[mine].as_ref().is_some_and(|own| same(own, id));
        // "If the initiator's rs1 matches the responder's rs1 or rs2, then s1 MUST be set to the initiator's rs1. If and only if
        // that match fails, then if the initiator's rs2 matches the responder's rs1 or rs2, then s1 […] the initiator's rs2."
        // Each pair is (our index, their id), the initiator's rs1 first.
        let order = match peer_role {
            Role::Initiator => [(0, &theirs.rs1), (1, &theirs.rs1), (0, &theirs.rs2), (1, &theirs.rs2)],
            Role::Responder => [(0, &theirs.rs1), (0, &theirs.rs2), (1, &theirs.rs1), (1, &theirs.rs2)],
        };
        let matched = order.iter().find(|(mine, id)| has(*mine, id)).map(|(mine, _)| *mine);
        let s1 = match matched {
            Some(0) => &self.rs1,
            Some(_) => &self.rs2,
            None => &None,
        };
        let s2 = self.aux.as_ref().filter(|aux| same(&aux_id(kind, aux, peer_h3), &theirs.aux));
        Shared {
            s1: s1.as_ref().map_or_else(null, |rs| rs.secret.duplicate()),
            s2: s2.map_or_else(null, Secret::duplicate),
        }
    }

    pub(crate) fn continuity(&self, shared: &Shared) -> Continuity {
        if !shared.s1.is_empty() {
            Continuity::Match
        } else if self.rs1.is_some() || self.rs2.is_some() {
            Continuity::Mismatch
        } else {
            Continuity::FirstContact
        }
    }

    pub(crate) fn aux(&self, shared: &Shared) -> AuxSecret {
        match (&self.aux, shared.s2.is_empty()) {
            (None, _) => AuxSecret::None,
            (Some(_), true) => AuxSecret::Mismatch,
            (Some(_), false) => AuxSecret::Match,
        }
    }

    /// Our flag V: verified in an earlier call, and the secret of that chain matched in this one (§7.1).
    pub(crate) fn verified(&self, continuity: Continuity) -> bool {
        self.verified && continuity == Continuity::Match
    }

    pub(crate) fn had_entry(&self) -> bool {
        self.had_entry
    }

    /// The entry as it was, with flag V cleared: what remains when the SAS of this exchange was found different (§7.1).
    pub(crate) fn unverified(&self) -> CacheEntry {
        CacheEntry {
            rs1: self.rs1.as_ref().map(Retained::duplicate),
            rs2: self.rs2.as_ref().map(Retained::duplicate),
            verified: false,
        }
    }

    /// The entry after this exchange: "discards their old rs2 and copies their old rs1 to rs2" (§4.6.1).
    pub(crate) fn updated(&self, new: &Secret, lifetime: Lifetime, verified: bool) -> CacheEntry {
        let rs1 = Some(Retained { secret: new.duplicate(), lifetime });
        CacheEntry { rs1, rs2: self.rs1.as_ref().map(Retained::duplicate), verified }
    }
}

fn null() -> Secret {
    Secret::new(Vec::new())
}

/// rs1IDi = MAC(rs1, "Initiator"), rs1IDr = MAC(rs1, "Responder"), leftmost 64 bits.
fn retained_id(kind: Hash, secret: &Secret, sender: Role) -> [u8; 8] {
    let text: &[u8] = match sender {
        Role::Initiator => b"Initiator",
        Role::Responder => b"Responder",
    };
    short(mac(kind, secret.expose(), &[text]).expose())
}

fn aux_id(kind: Hash, secret: &Secret, sender_h3: &[u8; 32]) -> [u8; 8] {
    short(mac(kind, secret.expose(), &[sender_h3]).expose())
}
