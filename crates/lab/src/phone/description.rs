//! The phone's session descriptions: written as text, so that they may be as odd as a test wants, and read with the
//! library's parser but without its judgement. A phone answers and accepts what the gateway never would.

use crate::{Failure, Outcome};
use galene_sips::sdp::{
    AudioOffer, Codec, CryptoAttribute, Direction, Offer, OfferedCodec, Profile, SessionDescription,
};
use galene_sips::srtp::Suite;
use std::fmt::Write;
use std::net::SocketAddr;

/// How the phone protects its sound, and which sound it speaks.
#[derive(Clone, Debug)]
pub struct MediaOptions {
    /// The profile in the m-line. With `RtpAvp` and no suites, sound goes in clear.
    pub profile: Profile,
    /// The SDES suites that it offers and accepts, best first; none: no `a=crypto`.
    pub suites: Vec<Suite>,
    /// The codecs, best first.
    pub codecs: Vec<Codec>,
    /// Offers RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// Further lines in the media section.
    pub extra_lines: Vec<String>,
}

impl Default for MediaOptions {
    /// What Linphone does: SAVP with AES-CM, Opus before G.711.
    fn default() -> Self {
        MediaOptions {
            profile: Profile::RtpSavp,
            suites: vec![Suite::AesCm128HmacSha1_80],
            codecs: vec![Codec::Opus, Codec::Pcmu, Codec::Pcma],
            rtcp_mux: false,
            extra_lines: Vec::new(),
        }
    }
}

impl MediaOptions {
    /// No encryption at all.
    pub fn clear() -> MediaOptions {
        MediaOptions { profile: Profile::RtpAvp, suites: Vec::new(), ..MediaOptions::default() }
    }

    /// One codec only.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> MediaOptions {
        self.codecs = vec![codec];
        self
    }

    /// One suite only.
    #[must_use]
    pub fn suite(mut self, suite: Suite) -> MediaOptions {
        self.suites = vec![suite];
        self
    }
}

/// What does not change from one description of a call to the next.
pub(super) struct Local {
    pub(super) session: u64,
    pub(super) rtp: SocketAddr,
    pub(super) rtcp: u16,
}

/// Our description: an offer of everything, or an answer that names one codec and one key.
pub(super) fn write(
    local: &Local,
    version: u64,
    profile: Profile,
    codecs: &[OfferedCodec],
    events: &[(u8, u32)],
    cryptos: &[CryptoAttribute],
    mux: bool,
    direction: Direction,
    extra: &[String],
) -> String {
    let ip = local.rtp.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let mut formats: Vec<String> = codecs.iter().map(|codec| codec.payload_type.to_string()).collect();
    formats.extend(events.iter().map(|(payload_type, _)| payload_type.to_string()));
    let mut text = format!(
        "v=0\r\no=lab {} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {} {} {}\r\n",
        local.session,
        local.rtp.port(),
        profile.as_str(),
        formats.join(" ")
    );
    let mut line = |value: String| {
        let _ = write!(text, "a={value}\r\n");
    };
    for codec in codecs {
        line(format!("rtpmap:{} {}", codec.payload_type, codec.codec.rtpmap()));
        if codec.codec == Codec::Opus {
            line(format!("fmtp:{} useinbandfec=1", codec.payload_type));
        }
    }
    for (payload_type, clock) in events {
        line(format!("rtpmap:{payload_type} telephone-event/{clock}"));
    }
    for crypto in cryptos {
        line(format!("crypto:{}", crypto.to_value()));
    }
    if mux {
        line("rtcp-mux".into());
    } else {
        line(format!("rtcp:{}", local.rtcp));
    }
    line(direction.as_str().into());
    for extra in extra {
        let _ = write!(text, "{extra}\r\n");
    }
    text
}

/// The codecs under the payload types that an offer of ours gives them.
pub(super) fn offered(codecs: &[Codec]) -> Vec<OfferedCodec> {
    codecs
        .iter()
        .map(|&codec| {
            let payload_type = match codec {
                Codec::Opus => 96,
                Codec::Pcmu => 0,
                Codec::Pcma => 8,
            };
            OfferedCodec { payload_type, codec, max_bitrate: None }
        })
        .collect()
}

/// telephone-event for each clock among the codecs.
pub(super) fn events(codecs: &[Codec]) -> Vec<(u8, u32)> {
    [(101, 48_000), (102, 8_000)]
        .into_iter()
        .filter(|(_, clock)| codecs.iter().any(|codec| codec.clock() == *clock))
        .collect()
}

/// The audio section that the other side described.
pub(super) fn read(body: &[u8]) -> Outcome<AudioOffer> {
    let description = SessionDescription::parse(std::str::from_utf8(body)?)?;
    if description.media.first().is_some_and(|media| media.port == 0) {
        return Err(Failure::from("the other side refused the medium"));
    }
    Ok(Offer::read(&description)?.audio)
}
