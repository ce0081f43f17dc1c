//! Randomness is injected: the engine has no source of its own.
//!
//! Each draw says what it is for. A program ignores that and fills the octets from its operating system; a test can answer
//! each draw by name and so replay a recorded handshake octet by octet.

use crate::Role;

/// What a draw of random octets is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Purpose {
    /// 2 octets: the first sequence number (RFC 6189 §5).
    SequenceNumber,
    /// 32 octets: H0, from which the hash chain is made (§9).
    HashPreimage,
    /// The secret value of DH3k (32 or 64 octets), X25519 (32), P-256 (32) or P-384 (48).
    SecretValue,
    /// 64 octets: d ‖ z of an ML-KEM-512 key pair (FIPS 203 algorithm 16).
    MlKemKeyPair,
    /// 32 octets: m of an ML-KEM-512 encapsulation (FIPS 203 algorithm 17).
    MlKemMessage,
    /// 16 octets: the nonce that X1M1 commits to in DHPart2.
    Nonce,
    /// 8 octets: stands for the hash of a shared secret that we do not have (§4.3), so that nobody sees that we do not.
    AbsentSecret(Role, AbsentSecret),
    /// 16 octets: initialization vector of our Confirm message (§5.7).
    ConfirmIv,
}

/// Which shared secret is absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AbsentSecret {
    /// rs1, the newest retained secret.
    Rs1,
    /// rs2, the one before it.
    Rs2,
    /// auxsecret, agreed outside ZRTP.
    Aux,
    /// pbxsecret, which this engine never has.
    Pbx,
}

/// A source of cryptographically secure random octets.
///
/// Any closure that fills a slice is one: `|octets: &mut [u8]| my_source.fill(octets)`.
/// A source that cannot deliver must not return.
pub trait Random: Send {
    /// Fills `octets`.
    fn fill(&mut self, purpose: Purpose, octets: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Random for F {
    fn fill(&mut self, _purpose: Purpose, octets: &mut [u8]) {
        self(octets);
    }
}
