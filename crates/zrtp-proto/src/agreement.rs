//! Key agreements as a seam: who makes a public value and a shared secret, and in which message each value travels.
//!
//! ```text
//!             Commit          DHPart1            DHPart2
//! DH, ECDH    -               public value r     public value i
//! X1M1        public key i    ciphertext r       nonce i
//! ```
//!
//! The engine's own are in `software.rs` and `hybrid.rs`; a program that has others (a faster modular exponentiation, a token, a stub in a
//! fuzz target) gives them to [`Engine::with_agreements`](crate::Engine::with_agreements).

use crate::{Cipher, Hash, KeyAgreement, Random, Secret};

pub(crate) mod software;
#[cfg(feature = "x1m1")]
mod hybrid;

/// Makes one side's half of a key agreement.
pub trait Agreements: Send {
    /// The initiator's half, before its Commit. The secret value of DH3k is twice as long as the key of `cipher` (§5.1.5).
    fn initiator(&mut self, kind: KeyAgreement, cipher: Cipher, random: &mut dyn Random) -> Box<dyn Agreement>;

    /// The responder's half, when the Commit is there: `commit_value` is what it carries for the agreement, empty for all
    /// but X1M1.
    fn responder(
        &mut self,
        kind: KeyAgreement,
        cipher: Cipher,
        hash: Hash,
        commit_value: &[u8],
        random: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue>;
}

/// One side's half of a running key agreement. Holds its secret value and wipes it.
pub trait Agreement: Send {
    /// What the initiator's Commit carries; empty for all but X1M1.
    fn commit_value(&self) -> &[u8];

    /// What our DHPart1 or DHPart2 carries.
    fn part_value(&self) -> &[u8];

    /// DHResult (§4.4.1.4), from what the peer's DHPart carries; its length is already checked.
    fn finish(self: Box<Self>, peer_part_value: &[u8], hash: Hash) -> Result<Secret, BadPublicValue>;
}

/// The peer's value is not one that a correct peer sends (Error 0x61).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPublicValue;

/// Lengths in octets of what travels in Commit, DHPart1 and DHPart2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// In the Commit, after hvi.
    pub commit: usize,
    /// In DHPart1.
    pub part1: usize,
    /// In DHPart2.
    pub part2: usize,
}

impl KeyAgreement {
    /// Lengths of its values.
    pub const fn sizes(self) -> Sizes {
        match self {
            KeyAgreement::Dh3k => Sizes { commit: 0, part1: 384, part2: 384 },
            KeyAgreement::X255 => Sizes { commit: 0, part1: 32, part2: 32 },
            KeyAgreement::Ec25 => Sizes { commit: 0, part1: 64, part2: 64 },
            KeyAgreement::Ec38 => Sizes { commit: 0, part1: 96, part2: 96 },
            #[cfg(feature = "x1m1")]
            KeyAgreement::X1m1 => Sizes { commit: 32 + 800, part1: 32 + 768, part2: 16 },
        }
    }
}
