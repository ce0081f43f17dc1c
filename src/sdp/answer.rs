//! Answers (RFC 3264 §6): ours, written; and a phone's to our offer, read.
//!
//! Our answer accepts one section of sound with one codec and one key and refuses every other section.
//! A phone's answer is held against our offer: what was not offered cannot be answered. Whether its key is good enough is
//! not asked here: it is judged as the key of an offer is.

use super::audio::{AudioOffer, Direction, OfferedCodec};
use super::layout::{Layout, Local, OurKeying, OurSection};
use super::offer::OurOffer;
use super::text::SessionDescription;

/// What we answer to an offer.
#[derive(Debug)]
pub struct OurAnswer<'a> {
    /// The offer's sections. The profile stays the offer's, so opportunistic SRTP stays RTP/AVP (RFC 8643 §3.2).
    pub layout: &'a Layout,
    /// The codec, one of the offer's.
    pub codec: OfferedCodec,
    /// The payload type of telephone-event, one of the offer's.
    pub telephone_event: Option<u8>,
    /// Our key, or the hash of our Hello.
    pub keying: OurKeying,
    /// Whether RTCP shares RTP's port: only if the offer says so.
    pub rtcp_mux: bool,
    /// Who sends, of what the offer allows.
    pub direction: Direction,
    /// Our end.
    pub local: Local,
}

impl OurAnswer<'_> {
    /// The answer as a description.
    pub fn description(&self) -> SessionDescription {
        let mut section = OurSection::default();
        section.codec(self.codec.payload_type, self.codec.codec);
        if let Some(payload_type) = self.telephone_event {
            section.telephone_event(payload_type, self.codec.codec.clock());
        }
        section.keying(&self.keying);
        match self.rtcp_mux {
            true => section.flag("rtcp-mux"),
            false => section.rtcp_port(&self.local),
        }
        section.flag(self.direction.as_str());
        self.layout.describe(&self.local, section)
    }
}

/// A phone's answer to our offer.
#[derive(Debug)]
pub struct Answer {
    /// What it says.
    pub audio: AudioOffer,
}

/// Why an answer does not fit our offer: the call ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AnswerError {
    /// Not the offered sections, or not sound over RTP in the place of the sound.
    #[error("the phone's answer does not have the sections that were offered")]
    Sections,
    /// Port 0.
    #[error("the phone's answer refuses the sound")]
    Refused,
    /// Answered under another profile, for example RTP/AVP.
    #[error("the phone's answer has another profile than the one that was offered")]
    Profile,
    /// No codec, or none of ours.
    #[error("the phone's answer names no codec that was offered")]
    Codec,
    /// Not exactly one key where keys were offered (RFC 4568 §5.1.2), or any where none were.
    #[error("the phone's answer does not take exactly one of the offered keys")]
    Crypto,
    /// Multiplexing that was not offered (RFC 5761 §5.1.1).
    #[error("the phone's answer multiplexes RTCP although that was not offered")]
    RtcpMux,
}

impl Answer {
    /// Finds the sound in an answer.
    ///
    /// # Errors
    /// [`AnswerError::Sections`], [`AnswerError::Refused`].
    pub fn read(ours: &OurOffer, description: &SessionDescription) -> Result<Answer, AnswerError> {
        if !ours.layout.is_kept_by(description) {
            return Err(AnswerError::Sections);
        }
        let place = ours.layout.sound();
        if description.media.get(place).is_none_or(|media| media.port == 0) {
            return Err(AnswerError::Refused);
        }
        let audio = AudioOffer::read(description, place).ok_or(AnswerError::Sections)?;
        Ok(Answer { audio })
    }

    /// Holds the sound against our offer: the codec that was chosen.
    ///
    /// # Errors
    /// The other [`AnswerError`]s. That the key is for an offered line is for `keying` to see.
    pub fn codec(&self, ours: &OurOffer) -> Result<OfferedCodec, AnswerError> {
        let audio = &self.audio;
        if !audio.profile.as_str().eq_ignore_ascii_case(ours.layout.protocol()) {
            return Err(AnswerError::Profile);
        }
        let keys = match &ours.keying {
            OurKeying::Sdes(_) => 1,
            OurKeying::Zrtp(_) | OurKeying::Clear => 0,
        };
        if audio.cryptos.len() != keys || audio.unreadable_cryptos > 0 {
            return Err(AnswerError::Crypto);
        }
        if audio.rtcp_mux && !ours.rtcp_mux {
            return Err(AnswerError::RtcpMux);
        }
        let offered = |codec: &OfferedCodec| ours.codecs.contains(&(codec.payload_type, codec.codec));
        audio.codecs.iter().copied().find(offered).ok_or(AnswerError::Codec)
    }
}
