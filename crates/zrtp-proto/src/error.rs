//! Why a packet was ignored, and why an exchange failed: one variant per misdeed, with the codes of RFC 6189 §5.9.

use core::fmt;

/// Why a packet was ignored. Noise and forgeries end here; they change nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Dropped {
    /// No ZRTP packet: first nibble or magic cookie.
    NotZrtp,
    /// Checksum.
    Crc,
    /// Too short, too long, or the length field does not say what there is.
    Length,
    /// A message type that is in no version of the protocol.
    UnknownType,
    /// A field has no possible value.
    Malformed,
    /// A fragment that cannot belong to a message within the bounds.
    Fragment,
    /// A fragment; the message is not complete yet.
    Incomplete,
    /// Not from the SSRC with which the exchange runs.
    Ssrc,
    /// A Hello that the signalling did not announce.
    HelloHash,
    /// A Hello with a higher version: the peer comes down to ours (§4.1.1).
    Version,
    /// Does not continue the peer's hash chain (§9).
    HashChain,
    /// A Confirm whose MAC is wrong. The third one ends the exchange.
    ConfirmMac,
    /// A message that has no meaning in this state, or differs from the one that it repeats.
    Unexpected,
    /// A Commit that lost the contention (§4.2).
    LostContention,
    /// Another exchange with this peer is under way.
    Busy,
    /// Too many requests of this kind.
    RateLimited,
}

/// Why an exchange failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The peer sent an Error with this code. Before [`Output::Secure`](crate::Output::Secure) nobody can authenticate one.
    PeerError(u32),
    /// No answer to our Commit, DHPart2 or Confirm2, or the initiator fell silent.
    Timeout,
    /// A message with a right checksum and hash chain and a wrong structure.
    Malformed,
    /// The peer's version is too old.
    Version,
    /// The Commit has a hash type that we did not offer, or that does not go with the key agreement.
    HashType,
    /// The Commit has a cipher that we did not offer.
    CipherType,
    /// The Commit has a key agreement that we did not offer (DH2k, EC52, Mult, …).
    KeyAgreement,
    /// The Commit has an authentication tag that we did not offer.
    AuthTag,
    /// The Commit has a SAS type that we did not offer.
    SasType,
    /// The peer wants Preshared mode, which this engine does not speak.
    Preshared,
    /// The peer wants Multistream while a Diffie-Hellman exchange is under way.
    Multistream,
    /// The public value is 0, 1, p−1 or out of range; not on the curve; of low order; or not a valid ML-KEM key.
    PublicValue,
    /// hvi is not the hash of what it commits to: somebody is in the middle.
    Commitment,
    /// The MAC of the peer's Hello is wrong: somebody changed it.
    HelloMac,
    /// The MAC of the peer's Commit is wrong: somebody changed it.
    CommitMac,
    /// The MAC of the peer's DHPart1 or DHPart2 is wrong: somebody changed it.
    DhPartMac,
    /// The MAC of the peer's Confirm is wrong: the two sides do not have the same keys.
    ConfirmMac,
    /// The peer has our ZID: our own packets come back, or somebody sends them.
    EqualZid,
    /// The peer has our SSRC.
    SsrcCollision,
    /// The signalling announced another Hello than the one with which the exchange began.
    HelloNotAnnounced,
}

impl Failure {
    /// The code of the Error that we send for it; `None` where we send none.
    pub const fn code(self) -> Option<u32> {
        Some(match self {
            Failure::PeerError(_) => return None,
            Failure::Malformed => 0x10,
            // "MUST be treated as a security exception" (§8.1.1), but no code is defined for it: the general one
            Failure::HelloMac | Failure::CommitMac | Failure::DhPartMac | Failure::Multistream => 0x20,
            Failure::Version => 0x30,
            Failure::HelloNotAnnounced => 0x40,
            Failure::HashType => 0x51,
            Failure::CipherType => 0x52,
            Failure::KeyAgreement => 0x53,
            Failure::AuthTag => 0x54,
            Failure::SasType => 0x55,
            Failure::Preshared => 0x56,
            Failure::PublicValue => 0x61,
            Failure::Commitment => 0x62,
            Failure::ConfirmMac => 0x70,
            Failure::EqualZid => 0x90,
            Failure::SsrcCollision => 0x91,
            Failure::Timeout => 0xb0,
        })
    }

    /// Whether it means that somebody interferes, as far as one can tell; the rest are faults and disagreements.
    pub const fn suggests_attack(self) -> bool {
        matches!(
            self,
            Failure::PublicValue
                | Failure::Commitment
                | Failure::HelloMac
                | Failure::CommitMac
                | Failure::DhPartMac
                | Failure::ConfirmMac
                | Failure::HelloNotAnnounced
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::PeerError(code) => return write!(f, "the peer ended the exchange with error 0x{code:x}"),
            Failure::Timeout => "the peer stopped answering",
            Failure::Malformed => "the peer sent a malformed message",
            Failure::Version => "the peer's ZRTP version is too old",
            Failure::HashType => "the peer chose a hash that was not offered",
            Failure::CipherType => "the peer chose a cipher that was not offered",
            Failure::KeyAgreement => "the peer chose a key agreement that was not offered",
            Failure::AuthTag => "the peer chose an SRTP tag that was not offered",
            Failure::SasType => "the peer chose a SAS type that was not offered",
            Failure::Preshared => "the peer wants Preshared mode",
            Failure::Multistream => "the peer wants Multistream mode during a key agreement",
            Failure::PublicValue => "the peer's public value is not valid",
            Failure::Commitment => "the peer's key is not the one that it committed to",
            Failure::HelloMac => "the peer's Hello was changed on the way",
            Failure::CommitMac => "the peer's Commit was changed on the way",
            Failure::DhPartMac => "the peer's DHPart was changed on the way",
            Failure::ConfirmMac => "the two sides have different keys",
            Failure::EqualZid => "the peer has our own ZID",
            Failure::SsrcCollision => "the peer has our own SSRC",
            Failure::HelloNotAnnounced => "the peer's Hello is not the one that the signalling announced",
        })
    }
}

impl std::error::Error for Failure {}
