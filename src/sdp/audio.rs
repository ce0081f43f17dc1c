//! What one audio section means: profile, codecs, keys, addresses, direction.
//!
//! The same reading serves a phone's offer and a phone's answer. Attributes of ICE, RTCP feedback, extended reports
//! and anything unknown are passed over.

use super::crypto::CryptoAttribute;
use super::text::{Connection, Media, SessionDescription};
use std::net::{IpAddr, SocketAddr};

const MAX_CRYPTOS: usize = 32;

/// How RTP is carried: the third word of an `m=` line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// RTP/AVP (RFC 3551).
    RtpAvp,
    /// RTP/AVPF (RFC 4585).
    RtpAvpf,
    /// RTP/SAVP (RFC 3711).
    RtpSavp,
    /// RTP/SAVPF (RFC 5124).
    RtpSavpf,
    /// UDP/TLS/RTP/SAVP (RFC 5764).
    UdpTlsRtpSavp,
    /// UDP/TLS/RTP/SAVPF (RFC 5764).
    UdpTlsRtpSavpf,
}

impl Profile {
    const ALL: [Profile; 6] = [
        Profile::RtpAvp,
        Profile::RtpAvpf,
        Profile::RtpSavp,
        Profile::RtpSavpf,
        Profile::UdpTlsRtpSavp,
        Profile::UdpTlsRtpSavpf,
    ];

    /// As written in an `m=` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::RtpAvp => "RTP/AVP",
            Profile::RtpAvpf => "RTP/AVPF",
            Profile::RtpSavp => "RTP/SAVP",
            Profile::RtpSavpf => "RTP/SAVPF",
            Profile::UdpTlsRtpSavp => "UDP/TLS/RTP/SAVP",
            Profile::UdpTlsRtpSavpf => "UDP/TLS/RTP/SAVPF",
        }
    }

    /// The profile of this name.
    pub fn parse(name: &str) -> Option<Profile> {
        Profile::ALL.into_iter().find(|profile| profile.as_str().eq_ignore_ascii_case(name))
    }
}

/// The codecs that a phone may speak to us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 7587).
    Opus,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// As written in an `a=rtpmap` line. Opus is always 48000/2, whatever is inside (RFC 7587 §7).
    pub const fn rtpmap(self) -> &'static str {
        match self {
            Codec::Opus => "opus/48000/2",
            Codec::Pcmu => "PCMU/8000",
            Codec::Pcma => "PCMA/8000",
        }
    }

    /// The name alone, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The RTP clock, in hertz.
    pub const fn clock(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma => 8_000,
        }
    }

    fn from_rtpmap(map: &str) -> Option<Codec> {
        // one channel may be left out (RFC 8866 §6.6)
        let map = map.trim().strip_suffix("/1").unwrap_or(map.trim());
        [Codec::Opus, Codec::Pcmu, Codec::Pcma].into_iter().find(|codec| codec.rtpmap().eq_ignore_ascii_case(map))
    }

    /// The static payload types of RFC 3551 §6, which need no `a=rtpmap`.
    fn from_static(payload_type: u8) -> Option<Codec> {
        match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            _ => None,
        }
    }
}

/// A codec under the payload type that the offer gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfferedCodec {
    /// 0 to 127.
    pub payload_type: u8,
    /// What it means.
    pub codec: Codec,
    /// Opus: the most bits per second that the phone wants to receive (`maxaveragebitrate`, RFC 7587 §6.1).
    pub max_bitrate: Option<u32>,
}

/// Who sends, seen from the side that wrote the line (RFC 8866 §6.7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// The writer only: for us, on hold.
    SendOnly,
    /// The reader only.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// As written in an `a=` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The same, seen from the other side.
    pub const fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow: an answer is `offer.reversed().and(wish)` (RFC 3264 §6.1).
    pub const fn and(self, other: Direction) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

/// What a phone's audio section says.
#[derive(Debug)]
pub struct AudioOffer {
    /// The section's place in the description, from 0.
    pub index: usize,
    /// How RTP is carried.
    pub profile: Profile,
    /// The readable `a=crypto` lines with distinct tags, in the offerer's order.
    pub cryptos: Vec<CryptoAttribute>,
    /// How many `a=crypto` lines could not be read.
    pub unreadable_cryptos: usize,
    /// The values of `a=zrtp-hash`, one for each version that the phone speaks (RFC 6189 §8).
    pub zrtp_hashes: Vec<String>,
    /// `a=fingerprint`, as written (RFC 8122).
    pub fingerprint: Option<String>,
    /// The codecs that we know, in the offerer's order.
    pub codecs: Vec<OfferedCodec>,
    /// telephone-event (RFC 4733): payload type and clock.
    pub telephone_events: Vec<(u8, u32)>,
    /// Who sends, seen from the phone.
    pub direction: Direction,
    /// RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// Where RTP goes; `None` if the description names no unicast address of a host.
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP goes; the same as RTP with `rtcp_mux`.
    pub remote_rtcp: Option<SocketAddr>,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
    /// Whether the section is in a BUNDLE group (RFC 9143).
    pub bundled: bool,
}

impl AudioOffer {
    /// Reads a section; `None` if it is no audio that we could speak: another kind or profile, or rejected (port 0).
    pub(super) fn read(description: &SessionDescription, index: usize) -> Option<AudioOffer> {
        let media = description.media.get(index)?;
        let profile = Profile::parse(&media.protocol)?;
        if !media.kind.eq_ignore_ascii_case("audio") || media.port == 0 {
            return None;
        }
        let either = |name| media.value(name).or_else(|| description.value(name)).map(str::to_owned);
        let (cryptos, unreadable_cryptos) = cryptos(media);
        let (codecs, telephone_events) = payload_types(media);
        let rtcp_mux = media.value("rtcp-mux").is_some();
        let (address, held) = address(description, media);
        let remote_rtp = address.map(|ip| SocketAddr::new(ip, media.port));
        let mid = media.value("mid").map(str::to_owned);
        let bundled = rtcp_mux && mid.as_deref().is_some_and(|mid| in_bundle(description, mid));
        let sending = direction(description, media);
        Some(AudioOffer {
            index,
            profile,
            cryptos,
            unreadable_cryptos,
            zrtp_hashes: zrtp_hashes(description, media),
            fingerprint: either("fingerprint"),
            codecs,
            telephone_events,
            direction: if held { sending.and(Direction::SendOnly) } else { sending },
            rtcp_mux,
            remote_rtp,
            remote_rtcp: if rtcp_mux { remote_rtp } else { rtcp(media, address) },
            mid,
            bundled,
        })
    }

    /// The codec to speak: the first that we know, because the offerer's order is his preference (RFC 3264 §6.1).
    pub fn first_codec(&self) -> Option<OfferedCodec> {
        self.codecs.first().copied()
    }

    /// The telephone-event whose clock is that of `codec`: they share one RTP stream (RFC 4733 §2.1).
    pub fn telephone_event(&self, codec: Codec) -> Option<u8> {
        self.telephone_events.iter().find(|(_, clock)| *clock == codec.clock()).map(|(payload_type, _)| *payload_type)
    }
}

/// Those of the section, else those of the session.
fn zrtp_hashes(description: &SessionDescription, media: &Media) -> Vec<String> {
    let of_media: Vec<String> = media.values("zrtp-hash").take(MAX_CRYPTOS).map(str::to_owned).collect();
    match of_media.is_empty() {
        true => description.value("zrtp-hash").map(str::to_owned).into_iter().collect(),
        false => of_media,
    }
}

fn cryptos(media: &Media) -> (Vec<CryptoAttribute>, usize) {
    let mut readable: Vec<CryptoAttribute> = Vec::new();
    let mut unreadable = 0;
    for line in media.values("crypto").take(MAX_CRYPTOS) {
        match CryptoAttribute::parse(line) {
            // "the tag MUST be unique" (RFC 4568 §4.1): an answer to a doubtful one would be ambiguous
            Ok(crypto) if readable.iter().all(|other| other.tag != crypto.tag) => readable.push(crypto),
            _ => unreadable += 1,
        }
    }
    (readable, unreadable)
}

fn payload_types(media: &Media) -> (Vec<OfferedCodec>, Vec<(u8, u32)>) {
    let (mut codecs, mut events) = (Vec::new(), Vec::new());
    for format in &media.formats {
        let Ok(payload_type @ 0..=127) = format.parse::<u8>() else { continue };
        let map = parameters(media, "rtpmap", payload_type);
        let codec = match map {
            Some(map) => Codec::from_rtpmap(map),
            None => Codec::from_static(payload_type),
        };
        if let Some(codec) = codec {
            let max_bitrate = match codec {
                Codec::Opus => fmtp(media, payload_type, "maxaveragebitrate"),
                Codec::Pcmu | Codec::Pcma => None,
            };
            codecs.push(OfferedCodec { payload_type, codec, max_bitrate });
        } else if let Some((name, clock)) = map.and_then(|map| map.split_once('/'))
            && name.eq_ignore_ascii_case("telephone-event")
            && let Ok(clock) = clock.trim_end_matches("/1").parse()
        {
            events.push((payload_type, clock));
        }
    }
    (codecs, events)
}

/// The rest of the `a=rtpmap` or `a=fmtp` line of this payload type.
fn parameters<'a>(media: &'a Media, name: &'a str, payload_type: u8) -> Option<&'a str> {
    media.values(name).find_map(|line| {
        let (number, rest) = line.split_once(' ')?;
        (number.parse() == Ok(payload_type)).then(|| rest.trim())
    })
}

fn fmtp(media: &Media, payload_type: u8, name: &str) -> Option<u32> {
    parameters(media, "fmtp", payload_type)?.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().parse().ok())?
    })
}

fn direction(description: &SessionDescription, media: &Media) -> Direction {
    let known = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
    let find = |present: &dyn Fn(&str) -> bool| known.into_iter().find(|direction| present(direction.as_str()));
    find(&|name| media.value(name).is_some())
        .or_else(|| find(&|name| description.value(name).is_some()))
        .unwrap_or(Direction::SendRecv)
}

/// The section's address, and whether it is the old way to say "on hold": 0.0.0.0 (RFC 3264 §8.4).
fn address(description: &SessionDescription, media: &Media) -> (Option<IpAddr>, bool) {
    match media.connection.as_ref().or(description.connection.as_ref()) {
        Some(Connection::Ip(ip)) if ip.is_unspecified() => (None, true),
        Some(Connection::Ip(ip)) => (unicast(*ip), false),
        _ => (None, false),
    }
}

fn unicast(ip: IpAddr) -> Option<IpAddr> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    (!ip.is_multicast() && !ip.is_unspecified() && !broadcast).then_some(ip)
}

/// `a=rtcp:port [IN IP4 address]` (RFC 3605), else the next port.
fn rtcp(media: &Media, address: Option<IpAddr>) -> Option<SocketAddr> {
    let Some(line) = media.value("rtcp") else {
        return Some(SocketAddr::new(address?, media.port.checked_add(1)?));
    };
    let (port, connection) = match line.split_once(' ') {
        Some((port, connection)) => (port, Some(connection)),
        None => (line, None),
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let ip = match connection {
        None => address?,
        Some(connection) => match Connection::parse(connection)? {
            Connection::Ip(ip) => unicast(ip)?,
            Connection::Other(_) => return None,
        },
    };
    Some(SocketAddr::new(ip, port))
}

fn in_bundle(description: &SessionDescription, mid: &str) -> bool {
    description.attributes.iter().filter(|attribute| attribute.name == "group").any(|attribute| {
        let mut words = attribute.value.as_deref().unwrap_or("").split_ascii_whitespace();
        words.next() == Some("BUNDLE") && words.any(|word| word == mid)
    })
}
