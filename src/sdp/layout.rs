//! The sections of a session, which keep their number and order for as long as it lasts (RFC 3264 §8): one is the sound,
//! all others stay refused. A description of ours, offer or answer, is our sound put in its place.

use super::audio::{AudioOffer, Codec, Profile};
use super::crypto::CryptoAttribute;
use super::text::{Attribute, Connection, Media, Origin, SessionDescription};
use std::net::SocketAddr;

/// Where the sound of a session stands, and under what name.
#[derive(Clone, Debug)]
pub struct Layout {
    sections: Vec<Section>,
    sound: usize,
    mid: Option<String>,
    bundled: bool,
}

/// The head of a section, as we repeat it.
#[derive(Clone, Debug)]
struct Section {
    kind: String,
    protocol: String,
    formats: Vec<String>,
}

/// Our end of a session, as it is described.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// Where we receive RTP.
    pub rtp: SocketAddr,
    /// The port for RTCP where it is not multiplexed.
    pub rtcp: u16,
    /// `o=`: our number of this session.
    pub session_id: u64,
    /// `o=`: grows by one with each change.
    pub version: u64,
}

impl Layout {
    /// A session that we begin: nothing but sound.
    pub fn ours(profile: Profile) -> Self {
        let protocol = profile.as_str().to_owned();
        let sound = Section { kind: "audio".to_owned(), protocol, formats: Vec::new() };
        Layout { sections: vec![sound], sound: 0, mid: None, bundled: false }
    }

    /// The session that a phone's description lays out around the section that we take.
    pub(super) fn of(description: &SessionDescription, audio: &AudioOffer) -> Self {
        let section = |media: &Media| Section {
            kind: media.kind.clone(),
            protocol: media.protocol.clone(),
            formats: media.formats.clone(),
        };
        let sections = description.media.iter().map(section).collect();
        Layout { sections, sound: audio.index, mid: audio.mid.clone(), bundled: audio.bundled }
    }

    /// The place of the sound, from 0.
    pub(super) fn sound(&self) -> usize {
        self.sound
    }

    /// The profile of the sound, as written.
    pub(super) fn protocol(&self) -> &str {
        self.sections.get(self.sound).map_or("", |section| &section.protocol)
    }

    /// Whether a description has the same sections, all but the sound refused.
    pub(super) fn is_kept_by(&self, description: &SessionDescription) -> bool {
        let same = |(place, (ours, theirs)): (usize, (&Section, &Media))| {
            ours.kind.eq_ignore_ascii_case(&theirs.kind) && (place == self.sound || theirs.port == 0)
        };
        self.sections.len() == description.media.len()
            && self.sections.iter().zip(&description.media).enumerate().all(same)
    }

    /// A description of ours.
    pub(super) fn describe(&self, local: &Local, mut sound: OurSection) -> SessionDescription {
        let mut session = Vec::new();
        if let Some(mid) = &self.mid {
            sound.attributes.push(Attribute::new("mid", mid.clone()));
            if self.bundled {
                session.push(Attribute::new("group", format!("BUNDLE {mid}")));
            }
        }
        let mut sound = Some(sound);
        let media = self.sections.iter().enumerate().map(|(place, section)| {
            let taken = if place == self.sound { sound.take() } else { None };
            let (port, formats, attributes) = match taken {
                Some(sound) => (local.rtp.port(), sound.formats, sound.attributes),
                // a refused section keeps its place (RFC 3264 §6, §8.2)
                None => (0, section.formats.clone(), Vec::new()),
            };
            let (kind, protocol) = (section.kind.clone(), section.protocol.clone());
            Media { kind, port, protocol, formats, connection: None, attributes }
        });
        let media = media.collect();
        let connection = Connection::Ip(local.rtp.ip());
        SessionDescription {
            origin: Origin {
                username: "-".to_owned(),
                session_id: local.session_id.to_string(),
                version: local.version.to_string(),
                connection: connection.clone(),
            },
            connection: Some(connection),
            attributes: session,
            media,
        }
    }
}

/// The lines of a section that we write.
#[derive(Default)]
pub(super) struct OurSection {
    formats: Vec<String>,
    attributes: Vec<Attribute>,
}

/// What a description of ours says about keys: one way of agreeing on them, never two.
#[derive(Debug)]
pub enum OurKeying {
    /// The keys themselves: in an offer in our order of preference, in an answer the one under the tag that we accept.
    Sdes(Vec<CryptoAttribute>),
    /// ZRTP will agree on them: the hash of our Hello (RFC 6189 §8.1).
    Zrtp(String),
    /// Nothing: the sound is clear, as a dated exception allows.
    Clear,
}

impl OurKeying {
    /// Under which profile a session of ours carries it.
    pub(super) fn profile(&self) -> Profile {
        match self {
            OurKeying::Sdes(_) => Profile::RtpSavp,
            // Linphone takes ZRTP under no other, and RFC 6189 §8 does not forbid it
            OurKeying::Zrtp(_) | OurKeying::Clear => Profile::RtpAvp,
        }
    }
}

impl OurSection {
    pub(super) fn keying(&mut self, keying: &OurKeying) {
        match keying {
            OurKeying::Sdes(lines) => lines.iter().for_each(|line| self.line("crypto", line.to_value())),
            OurKeying::Zrtp(hash) => self.line("zrtp-hash", hash.clone()),
            OurKeying::Clear => {}
        }
    }

    pub(super) fn line(&mut self, name: &str, value: impl Into<String>) {
        self.attributes.push(Attribute::new(name, value));
    }

    pub(super) fn flag(&mut self, name: &str) {
        self.attributes.push(Attribute::flag(name));
    }

    pub(super) fn codec(&mut self, payload_type: u8, codec: Codec) {
        self.formats.push(payload_type.to_string());
        self.line("rtpmap", format!("{payload_type} {}", codec.rtpmap()));
        if codec == Codec::Opus {
            self.line("fmtp", format!("{payload_type} useinbandfec=1"));
        }
    }

    pub(super) fn telephone_event(&mut self, payload_type: u8, clock: u32) {
        self.formats.push(payload_type.to_string());
        self.line("rtpmap", format!("{payload_type} telephone-event/{clock}"));
        self.line("fmtp", format!("{payload_type} 0-15"));
    }

    /// `a=rtcp`, where RTCP is not on the next port (RFC 3605).
    pub(super) fn rtcp_port(&mut self, local: &Local) {
        if Some(local.rtcp) != local.rtp.port().checked_add(1) {
            self.line("rtcp", local.rtcp.to_string());
        }
    }
}
