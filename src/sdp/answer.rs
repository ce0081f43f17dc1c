//! Answers (RFC 3264 §6): ours, written; and a phone's to our offer, read.
//!
//! Our answer accepts one section of sound with one codec and one key and refuses every other section.
//! A phone's answer is held against our offer: what was not offered cannot be answered.

use super::audio::{AudioOffer, Direction, OfferedCodec};
use super::crypto::CryptoAttribute;
use super::offer::{Offer, OurOffer, OurSection, description};
use super::text::{Attribute, Media, SessionDescription};
use std::net::SocketAddr;

/// What we choose from an offer.
#[derive(Debug)]
pub struct AnswerChoice<'a> {
    /// The codec, one of the offer's.
    pub codec: OfferedCodec,
    /// The payload type of telephone-event, one of the offer's.
    pub telephone_event: Option<u8>,
    /// Our key, under the tag of the offer's line that we accept.
    pub crypto: &'a CryptoAttribute,
    /// Where we receive RTP.
    pub local_rtp: SocketAddr,
    /// The port for RTCP, where the offer does not multiplex.
    pub local_rtcp: u16,
    /// What we would like; the answer says what both sides allow.
    pub direction: Direction,
    /// `o=`: our number of this session.
    pub session_id: u64,
    /// `o=`: grows by one with each change.
    pub version: u64,
}

/// The answer to an offer. The profile is the offer's, so opportunistic SRTP stays RTP/AVP (RFC 8643 §3.2).
pub fn answer(offer: &Offer, choice: &AnswerChoice<'_>) -> SessionDescription {
    let audio = &offer.audio;
    let mut section = OurSection::default();
    section.codec(choice.codec.payload_type, choice.codec.codec);
    if let Some(payload_type) = choice.telephone_event {
        section.telephone_event(payload_type, choice.codec.codec.clock());
    }
    section.attributes.push(Attribute::new("crypto", choice.crypto.to_value()));
    section.rtcp(choice.local_rtp.port(), choice.local_rtcp, audio.rtcp_mux);
    let direction = audio.direction.reversed().and(choice.direction);
    section.attributes.push(Attribute::flag(direction.as_str()));
    let mut session = Vec::new();
    if let Some(mid) = &audio.mid {
        section.attributes.push(Attribute::new("mid", mid.clone()));
        if audio.bundled {
            session.push(Attribute::new("group", format!("BUNDLE {mid}")));
        }
    }
    let mut accepted = Some(section);
    let media = offer.sections.iter().enumerate().map(|(index, offered)| {
        let taken = if index == audio.index { accepted.take() } else { None };
        let (port, formats, attributes) = match taken {
            Some(section) => (choice.local_rtp.port(), section.formats, section.attributes),
            // a refused section keeps its place (RFC 3264 §6)
            None => (0, offered.formats.clone(), Vec::new()),
        };
        let (kind, protocol) = (offered.kind.clone(), offered.protocol.clone());
        Media { kind, port, protocol, formats, connection: None, attributes }
    });
    let media = media.collect();
    description(choice.local_rtp, choice.session_id, choice.version, session, media)
}

/// A phone's answer to our offer.
#[derive(Debug)]
pub struct Answer {
    /// What it says; exactly one `a=crypto` line is left in it.
    pub audio: AudioOffer,
    /// The codec that it chose.
    pub codec: OfferedCodec,
}

/// Why an answer does not fit our offer: the call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// Not one section for our one, or not sound.
    #[error("the answer does not have the one section of sound that was offered")]
    Sections,
    /// Port 0.
    #[error("the phone refused the sound")]
    Refused,
    /// Answered under another profile, for example RTP/AVP.
    #[error("the answer has another profile than the RTP/SAVP that was offered")]
    Profile,
    /// No codec, or none of ours.
    #[error("the answer names no codec that was offered")]
    Codec,
    /// Not one key, or its tag and suite are not of one line that was offered (RFC 4568 §5.1.3).
    #[error("the answer does not take exactly one of the offered keys")]
    Crypto,
    /// Multiplexing that was not offered (RFC 5761 §5.1.1).
    #[error("the answer multiplexes RTCP although that was not offered")]
    RtcpMux,
}

impl Answer {
    /// Holds an answer against our offer.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn read(ours: &OurOffer, description: &SessionDescription) -> Result<Answer, AnswerError> {
        let [media] = description.media.as_slice() else { return Err(AnswerError::Sections) };
        if !media.kind.eq_ignore_ascii_case("audio") {
            return Err(AnswerError::Sections);
        }
        if media.port == 0 {
            return Err(AnswerError::Refused);
        }
        if !media.protocol.eq_ignore_ascii_case(OurOffer::PROFILE.as_str()) {
            return Err(AnswerError::Profile);
        }
        let audio = AudioOffer::read(description, 0).ok_or(AnswerError::Sections)?;
        let offered = |codec: &OfferedCodec| {
            ours.codecs.contains(&codec.codec) && OurOffer::payload_type(codec.codec) == codec.payload_type
        };
        let codec = audio.codecs.iter().copied().find(offered).ok_or(AnswerError::Codec)?;
        let [crypto] = audio.cryptos.as_slice() else { return Err(AnswerError::Crypto) };
        let accepted =
            ours.cryptos.iter().any(|line| line.tag == crypto.tag && line.suite.eq_ignore_ascii_case(&crypto.suite));
        if !accepted || audio.unreadable_cryptos > 0 {
            return Err(AnswerError::Crypto);
        }
        if audio.rtcp_mux && ours.local_rtcp != ours.local_rtp.port() {
            return Err(AnswerError::RtcpMux);
        }
        Ok(Answer { audio, codec })
    }
}
