//! What a datagram on a media port is: the first byte tells (RFC 7983 §7), and for RTCP the second (RFC 5761 §4).
//!
//! A guess by shape, never a judgement: each protocol still checks its own packets.

/// The protocols that share a media port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Datagram {
    /// STUN (RFC 8489).
    Stun,
    /// ZRTP (RFC 6189 §5).
    Zrtp,
    /// DTLS (RFC 5764).
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
}

impl Datagram {
    /// What this datagram looks like; `None` if like nothing that we speak.
    pub fn of(bytes: &[u8]) -> Option<Datagram> {
        match *bytes.first()? {
            0..=3 => Some(Datagram::Stun),
            16..=19 => (bytes.get(4..8)? == b"ZRTP").then_some(Datagram::Zrtp),
            20..=63 => Some(Datagram::Dtls),
            128..=191 => match *bytes.get(1)? {
                192..=223 => Some(Datagram::Rtcp),
                _ => Some(Datagram::Rtp),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        assert_eq!(Datagram::of(&[]), None);
        assert_eq!(Datagram::of(&[0, 1, 0, 0]), Some(Datagram::Stun));
        assert_eq!(Datagram::of(b"\x10\x00\x12\x34ZRTP\xca\xfe\xba\xbe"), Some(Datagram::Zrtp));
        assert_eq!(Datagram::of(b"\x10\x00\x12\x34ZRTQ\xca\xfe\xba\xbe"), None, "the cookie must be there");
        assert_eq!(Datagram::of(&[22, 254, 253]), Some(Datagram::Dtls));
        assert_eq!(Datagram::of(&[64, 0]), None, "TURN channels are not ours");
        assert_eq!(Datagram::of(&[0x80]), None);
        assert_eq!(Datagram::of(&[0x80, 0]), Some(Datagram::Rtp));
        assert_eq!(Datagram::of(&[0x80, 0x80 | 111]), Some(Datagram::Rtp), "Opus with the marker bit");
        assert_eq!(Datagram::of(&[0x80, 200]), Some(Datagram::Rtcp), "a sender report");
        assert_eq!(Datagram::of(&[0xbf, 206]), Some(Datagram::Rtcp), "feedback");
    }
}
