//! From what a session description proposes to keys at work: one seam for every way of agreeing on keys.
//!
//! In: an [`AudioOffer`] and policy's proof that it may be answered; for ZRTP also packets of the phone. Out: an SRTP
//! context for each direction, which cannot be made without policy's second proof that the keys may be used.
//! [`Sdes`] has the keys in the descriptions, [`Zrtp`] agrees on them where the sound will go, [`Clear`] has none.

mod clear;
mod sdes;
mod zrtp;

pub use clear::Clear;
pub use sdes::{Agreed, KeyingError, Sdes, offer};
pub use zrtp::{Secured, Step, Zrtp, ZrtpSetup};

use crate::policy::{Exception, MediaLevel, OfferedKeying, SuiteStrength};
use crate::sdp::{AudioOffer, Profile};
use crate::srtp::{Protector, Suite, Unprotector};
use std::sync::Arc;
use zrtp_proto::HelloHash;

/// The SRTP contexts of one call.
pub struct Keys {
    /// From us to the phone.
    pub protector: Protector,
    /// From the phone to us.
    pub unprotector: Unprotector,
    /// The suite of both.
    pub suite: Suite,
    /// What the sound is worth with these keys.
    pub level: MediaLevel,
    /// The exception without which they would be refused.
    pub exception: Option<Arc<Exception>>,
}

/// What a description proposes, as a fact for [`judge`](crate::policy::judge).
pub fn offered(audio: &AudioOffer) -> OfferedKeying {
    let lines = audio.cryptos.iter().map(sdes::strength);
    let unreadable = (audio.unreadable_cryptos > 0).then_some(SuiteStrength::Unknown);
    let best = lines.chain(unreadable).max();
    match (audio.profile, best) {
        (Profile::UdpTlsRtpSavp | Profile::UdpTlsRtpSavpf, _) => OfferedKeying::Dtls,
        (Profile::RtpSavp | Profile::RtpSavpf, Some(best)) => OfferedKeying::Sdes(best),
        (Profile::RtpSavp | Profile::RtpSavpf, None) => OfferedKeying::SavpWithoutKey,
        // end to end is better than to the provider
        (Profile::RtpAvp | Profile::RtpAvpf, _) if announced(audio).is_some() => OfferedKeying::Zrtp,
        (Profile::RtpAvp | Profile::RtpAvpf, Some(best)) => OfferedKeying::SdesUnderAvp(best),
        (Profile::RtpAvp | Profile::RtpAvpf, None) if audio.fingerprint.is_some() => OfferedKeying::Dtls,
        (Profile::RtpAvp | Profile::RtpAvpf, None) => OfferedKeying::Clear,
    }
}

/// The Hello that a description announces, of the version that we speak (RFC 6189 §8).
pub fn announced(audio: &AudioOffer) -> Option<HelloHash> {
    HelloHash::choose(audio.zrtp_hashes.iter().map(String::as_str))
}

/// How strong a suite of ours is.
pub fn strength_of(suite: Suite) -> SuiteStrength {
    if suite.rtp_tag_len() < 10 { SuiteStrength::ShortTag } else { SuiteStrength::Full }
}

#[cfg(test)]
mod tests;
