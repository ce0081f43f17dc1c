//! The phone's session descriptions: written as text, so that they may be as odd as a test wants, and read with the
//! library's parser but without its judgement. A phone answers and accepts what the gateway never would.

use super::zrtp::ZrtpMemory;
use crate::{Failure, Outcome};
use galene_sips::sdp::{
    AudioOffer, Codec, CryptoAttribute, Direction, Offer, OfferedCodec, Profile, SessionDescription,
};
use galene_sips::srtp::Suite;
use std::net::SocketAddr;

/// How the phone protects its sound, and which sound it speaks.
#[derive(Clone, Debug)]
pub struct MediaOptions {
    /// The profile in the m-line. With `RtpAvp`, no suites and no ZRTP, sound goes in clear.
    pub profile: Profile,
    /// The SDES suites that it offers and accepts, best first; none: no `a=crypto`.
    pub suites: Vec<Suite>,
    /// Agrees on keys with ZRTP (then without `suites`), and remembers here. No sound runs before it is secure.
    pub zrtp: Option<ZrtpMemory>,
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
            zrtp: None,
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

    /// ZRTP, as Linphone does it: RTP/AVP with `a=zrtp-hash`. Calls without it fail.
    pub fn zrtp(memory: &ZrtpMemory) -> MediaOptions {
        MediaOptions { zrtp: Some(memory.clone()), ..MediaOptions::clear() }
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
pub(super) struct Ours<'a> {
    pub(super) local: &'a Local,
    pub(super) version: u64,
    pub(super) profile: Profile,
    pub(super) codecs: &'a [OfferedCodec],
    /// telephone-event: payload type and clock.
    pub(super) events: &'a [(u8, u32)],
    pub(super) cryptos: &'a [CryptoAttribute],
    /// The value of `a=zrtp-hash`.
    pub(super) zrtp_hash: Option<&'a str>,
    pub(super) mux: bool,
    pub(super) direction: Direction,
    pub(super) extra_lines: &'a [String],
}

impl Ours<'_> {
    pub(super) fn text(&self) -> String {
        let address = self.local.rtp.ip();
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let codecs = self.codecs.iter().map(|codec| codec.payload_type);
        let formats: Vec<String> =
            codecs.chain(self.events.iter().map(|(event, _)| *event)).map(|format| format.to_string()).collect();
        let mut lines = vec![
            "v=0".to_owned(),
            format!("o=lab {} {} IN {family} {address}", self.local.session, self.version),
            "s=-".into(),
            format!("c=IN {family} {address}"),
            "t=0 0".into(),
            format!("m=audio {} {} {}", self.local.rtp.port(), self.profile.as_str(), formats.join(" ")),
        ];
        for codec in self.codecs {
            lines.push(format!("a=rtpmap:{} {}", codec.payload_type, codec.codec.rtpmap()));
            if codec.codec == Codec::Opus {
                lines.push(format!("a=fmtp:{} useinbandfec=1", codec.payload_type));
            }
        }
        lines.extend(self.events.iter().map(|(event, clock)| format!("a=rtpmap:{event} telephone-event/{clock}")));
        lines.extend(self.cryptos.iter().map(|crypto| format!("a=crypto:{}", crypto.to_value())));
        lines.extend(self.zrtp_hash.map(|hash| format!("a=zrtp-hash:{hash}")));
        lines.push(if self.mux { "a=rtcp-mux".into() } else { format!("a=rtcp:{}", self.local.rtcp) });
        lines.push(format!("a={}", self.direction.as_str()));
        lines.extend(self.extra_lines.iter().cloned());
        lines.join("\r\n") + "\r\n"
    }
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
