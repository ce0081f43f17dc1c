//! Offers (RFC 3264 §5, §8): a phone's, read; and our own, written.
//!
//! From a phone's offer one audio section is taken, the best protected one; the others will be refused in the answer.

use super::audio::{AudioOffer, Codec, Direction, Profile};
use super::crypto::CryptoAttribute;
use super::layout::{Layout, Local, OurSection};
use super::text::SessionDescription;

/// A phone's offer.
#[derive(Debug)]
pub struct Offer {
    /// The audio section to answer.
    pub audio: AudioOffer,
    /// Where it stands, so that all sections can be answered.
    pub layout: Layout,
}

/// Why an offer cannot be answered at all: a 488.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OfferError {
    /// No section is sound over RTP.
    #[error("the offer contains no sound over RTP")]
    NoAudio,
    /// None of Opus, PCMU and PCMA.
    #[error("the offer contains none of the codecs Opus, PCMU and PCMA")]
    NoCodec,
}

impl Offer {
    /// Takes the meaning from a description.
    ///
    /// # Errors
    /// [`OfferError`]. A missing key is none: that is for policy to say.
    pub fn read(description: &SessionDescription) -> Result<Offer, OfferError> {
        let audio = (0..description.media.len())
            .filter_map(|index| AudioOffer::read(description, index))
            // of equals the first: `min_by_key` keeps it
            .min_by_key(|audio| std::cmp::Reverse(preference(audio)))
            .ok_or(OfferError::NoAudio)?;
        if audio.codecs.is_empty() {
            return Err(OfferError::NoCodec);
        }
        let layout = Layout::of(description, &audio);
        Ok(Offer { audio, layout })
    }
}

/// Some phones offer the same sound twice, in clear and encrypted. Take the one that can be spoken and is encrypted.
fn preference(audio: &AudioOffer) -> (bool, bool, bool) {
    let keyed = !audio.cryptos.is_empty();
    let secure = matches!(audio.profile, Profile::RtpSavp | Profile::RtpSavpf);
    (!audio.codecs.is_empty(), keyed, keyed && secure)
}

/// What we offer: sound with SDES keys.
#[derive(Debug)]
pub struct OurOffer {
    /// The session's sections.
    pub layout: Layout,
    /// The keys, in our order of preference.
    pub cryptos: Vec<CryptoAttribute>,
    /// The codecs under their payload types, in our order of preference.
    pub codecs: Vec<(u8, Codec)>,
    /// telephone-event: payload type and clock.
    pub telephone_events: Vec<(u8, u32)>,
    /// Whether RTCP may share RTP's port. Its own port is named beside, for who does not want that (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Who sends.
    pub direction: Direction,
    /// Our end.
    pub local: Local,
}

impl OurOffer {
    /// The first offer of a session: all that we can speak.
    pub fn first(cryptos: Vec<CryptoAttribute>, local: Local) -> Self {
        OurOffer {
            layout: Layout::ours(),
            cryptos,
            codecs: vec![(96, Codec::Opus), (0, Codec::Pcmu), (8, Codec::Pcma)],
            telephone_events: vec![(97, 48_000), (101, 8_000)],
            rtcp_mux: true,
            direction: Direction::SendRecv,
            local,
        }
    }

    /// The offer as a description.
    pub fn description(&self) -> SessionDescription {
        let mut section = OurSection::default();
        for (payload_type, codec) in &self.codecs {
            section.codec(*payload_type, *codec);
        }
        for (payload_type, clock) in &self.telephone_events {
            section.telephone_event(*payload_type, *clock);
        }
        for crypto in &self.cryptos {
            section.line("crypto", crypto.to_value());
        }
        section.rtcp_port(&self.local);
        if self.rtcp_mux {
            section.flag("rtcp-mux");
        }
        section.flag(self.direction.as_str());
        self.layout.describe(&self.local, section)
    }
}
