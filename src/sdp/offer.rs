//! Offers (RFC 3264 §5): a phone's, read; and our own, written.
//!
//! From a phone's offer one audio section is taken, the best protected one; the others will be refused in the answer.

use super::audio::{AudioOffer, Codec, Direction, Profile};
use super::crypto::CryptoAttribute;
use super::text::{Attribute, Connection, Media, Origin, SessionDescription};
use std::net::SocketAddr;

/// A phone's offer.
#[derive(Debug)]
pub struct Offer {
    /// The audio section to answer.
    pub audio: AudioOffer,
    /// All sections, so that each can be answered.
    pub(super) sections: Vec<Section>,
}

/// The head of a section, as an answer repeats it.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: String,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
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
        let sections = description.media.iter().map(Section::of).collect();
        Ok(Offer { audio, sections })
    }
}

/// Some phones offer the same sound twice, in clear and encrypted. Take the one that can be spoken and is encrypted.
fn preference(audio: &AudioOffer) -> (bool, bool, bool) {
    let keyed = !audio.cryptos.is_empty();
    let secure = matches!(audio.profile, Profile::RtpSavp | Profile::RtpSavpf);
    (!audio.codecs.is_empty(), keyed, keyed && secure)
}

impl Section {
    fn of(media: &Media) -> Self {
        Section { kind: media.kind.clone(), protocol: media.protocol.clone(), formats: media.formats.clone() }
    }
}

/// What we offer: one section of sound under RTP/SAVP with SDES keys.
#[derive(Debug)]
pub struct OurOffer {
    /// The keys, in our order of preference.
    pub cryptos: Vec<CryptoAttribute>,
    /// The codecs, in our order of preference.
    pub codecs: Vec<Codec>,
    /// Where we receive RTP.
    pub local_rtp: SocketAddr,
    /// The port for RTCP. The same as RTP's offers `a=rtcp-mux`.
    pub local_rtcp: u16,
    /// Who sends.
    pub direction: Direction,
    /// `o=`: our number of this session.
    pub session_id: u64,
    /// `o=`: grows by one with each change.
    pub version: u64,
}

impl OurOffer {
    pub(super) const PROFILE: Profile = Profile::RtpSavp;

    /// The payload type under which we offer a codec.
    pub(super) const fn payload_type(codec: Codec) -> u8 {
        match codec {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::Opus => 96,
        }
    }

    /// telephone-event for each clock that is offered.
    pub(super) fn telephone_events(&self) -> Vec<(u8, u32)> {
        [(97, 48_000), (101, 8_000)]
            .into_iter()
            .filter(|(_, clock)| self.codecs.iter().any(|codec| codec.clock() == *clock))
            .collect()
    }

    /// The offer as a description.
    pub fn description(&self) -> SessionDescription {
        let events = self.telephone_events();
        let mut section = OurSection::default();
        for codec in &self.codecs {
            section.codec(Self::payload_type(*codec), *codec);
        }
        for (payload_type, clock) in events {
            section.telephone_event(payload_type, clock);
        }
        for crypto in &self.cryptos {
            section.attributes.push(Attribute::new("crypto", crypto.to_value()));
        }
        section.rtcp(self.local_rtp.port(), self.local_rtcp, self.local_rtcp == self.local_rtp.port());
        section.attributes.push(Attribute::flag(self.direction.as_str()));
        let media = Media {
            kind: "audio".to_owned(),
            port: self.local_rtp.port(),
            protocol: Self::PROFILE.as_str().to_owned(),
            formats: section.formats,
            connection: None,
            attributes: section.attributes,
        };
        description(self.local_rtp, self.session_id, self.version, Vec::new(), vec![media])
    }
}

/// The lines of a section that we write.
#[derive(Default)]
pub(super) struct OurSection {
    pub(super) formats: Vec<String>,
    pub(super) attributes: Vec<Attribute>,
}

impl OurSection {
    pub(super) fn codec(&mut self, payload_type: u8, codec: Codec) {
        self.formats.push(payload_type.to_string());
        self.attributes.push(Attribute::new("rtpmap", format!("{payload_type} {}", codec.rtpmap())));
        if codec == Codec::Opus {
            self.attributes.push(Attribute::new("fmtp", format!("{payload_type} useinbandfec=1")));
        }
    }

    pub(super) fn telephone_event(&mut self, payload_type: u8, clock: u32) {
        self.formats.push(payload_type.to_string());
        self.attributes.push(Attribute::new("rtpmap", format!("{payload_type} telephone-event/{clock}")));
        self.attributes.push(Attribute::new("fmtp", format!("{payload_type} 0-15")));
    }

    /// `a=rtcp-mux`, or `a=rtcp` where RTCP is not on the next port (RFC 3605).
    pub(super) fn rtcp(&mut self, rtp: u16, rtcp: u16, mux: bool) {
        if mux {
            self.attributes.push(Attribute::flag("rtcp-mux"));
        } else if Some(rtcp) != rtp.checked_add(1) {
            self.attributes.push(Attribute::new("rtcp", rtcp.to_string()));
        }
    }
}

/// A description of ours around its sections.
pub(super) fn description(
    local: SocketAddr,
    session_id: u64,
    version: u64,
    attributes: Vec<Attribute>,
    media: Vec<Media>,
) -> SessionDescription {
    let connection = Connection::Ip(local.ip());
    SessionDescription {
        origin: Origin {
            username: "-".to_owned(),
            session_id: session_id.to_string(),
            version: version.to_string(),
            connection: connection.clone(),
        },
        connection: Some(connection),
        attributes,
        media,
    }
}
