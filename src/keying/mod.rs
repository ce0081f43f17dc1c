//! From what a session description proposes to keys at work: one seam for every way of agreeing on keys.
//!
//! In: an [`AudioOffer`] and policy's proof that it may be answered. Out: [`Keyed`], with an SRTP context for each
//! direction, which cannot be made without policy's second proof that the keys may be used.
//! This version agrees on keys in one way, [`sdes`].

pub mod sdes;

use crate::policy::{MediaLevel, OfferFacts, OfferedKeying, SignallingLevel, SuiteStrength};
use crate::sdp::{AudioOffer, CryptoAttribute, Profile};
use crate::secret::Secret;
use crate::srtp::{KeyError, Protector, Suite, Unprotector};
use crate::units::CallNumber;

/// The keys of a dialog: its SRTP contexts, until the leg takes them, and what its next offer or answer needs.
pub struct Keyed {
    suite: Suite,
    level: MediaLevel,
    ours: CryptoAttribute,
    theirs: Secret<Vec<u8>>,
    contexts: Option<(Protector, Unprotector)>,
}

impl Keyed {
    /// The new contexts, once. `None` if the keys are those of before, whose contexts go on with their rollover counters.
    pub fn take_contexts(&mut self) -> Option<(Protector, Unprotector)> {
        self.contexts.take()
    }

    /// Our `a=crypto` line: for the answer, and for a later offer that keeps the keys.
    pub fn ours(&self) -> &CryptoAttribute {
        &self.ours
    }

    /// The suite of both directions.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// What the sound is worth with these keys.
    pub fn level(&self) -> MediaLevel {
        self.level
    }
}

/// Why there are no keys. Whatever was agreed before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum KeyingError {
    /// Policy said no.
    #[error(transparent)]
    Refused(#[from] crate::policy::Refusal),
    /// The cryptographic library said no.
    #[error(transparent)]
    Srtp(#[from] KeyError),
    /// There is not one key to choose from.
    #[error("the description brings no key")]
    NoKey,
    /// An answer takes a line that was not offered (RFC 4568 §5.1.3).
    #[error("the answer takes a key line that was not offered")]
    NotOffered,
    /// An answer sends our own key back, so that our own packets would pass for the phone's.
    #[error("the answer brings our own key back")]
    Reflected,
}

/// What policy is to judge before a description is answered, or accepted as an answer.
pub fn offer_facts(
    call: CallNumber,
    signalling: SignallingLevel,
    audio: &AudioOffer,
    current: Option<MediaLevel>,
) -> OfferFacts {
    OfferFacts { call, signalling, keying: offered(audio), current }
}

/// How a description proposes to protect the sound.
fn offered(audio: &AudioOffer) -> OfferedKeying {
    let lines = audio.cryptos.iter().map(sdes::strength);
    let unreadable = (audio.unreadable_cryptos > 0).then_some(SuiteStrength::Unknown);
    let best = lines.chain(unreadable).max();
    match (audio.profile, best) {
        (Profile::UdpTlsRtpSavp | Profile::UdpTlsRtpSavpf, _) => OfferedKeying::Dtls,
        (Profile::RtpSavp | Profile::RtpSavpf, Some(best)) => OfferedKeying::Sdes(best),
        (Profile::RtpSavp | Profile::RtpSavpf, None) => OfferedKeying::SavpWithoutKey,
        (Profile::RtpAvp | Profile::RtpAvpf, Some(best)) => OfferedKeying::SdesUnderAvp(best),
        (Profile::RtpAvp | Profile::RtpAvpf, None) if audio.zrtp_hash.is_some() => OfferedKeying::Zrtp,
        (Profile::RtpAvp | Profile::RtpAvpf, None) if audio.fingerprint.is_some() => OfferedKeying::Dtls,
        (Profile::RtpAvp | Profile::RtpAvpf, None) => OfferedKeying::Clear,
    }
}

#[cfg(test)]
mod tests;
