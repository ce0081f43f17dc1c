//! The RTP header (RFC 3550 §5.1): read from a packet, written into one.
//!
//! CSRC list and header extension are stepped over. Padding is looked at after decryption only, for it is encrypted.

use crate::units::Ssrc;

/// The fixed header's length in bytes.
pub(super) const FIXED_LEN: usize = 12;

/// The fields of an RTP header, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// The marker bit: for sound, the first packet after silence (RFC 3551 §4.1).
    pub marker: bool,
    /// The payload type, 0–127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload's RTP clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: Ssrc,
    /// The P bit: the payload ends with padding.
    pub padding: bool,
    /// Bytes from the packet's start to the payload: fixed header, CSRC list, header extension.
    pub len: usize,
}

impl RtpHeader {
    /// Reads the header at the front of `packet`, which may be protected or not.
    /// `None` for another version than 2 and where CSRC list or extension go beyond the packet.
    pub fn parse(packet: &[u8]) -> Option<RtpHeader> {
        let (fixed, rest) = packet.split_first_chunk::<FIXED_LEN>()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let csrcs = usize::from(fixed[0] & 0x0f) * 4;
        let mut len = FIXED_LEN + csrcs;
        if fixed[0] & 0x10 != 0 {
            let extension = rest.get(csrcs..)?.first_chunk::<4>()?;
            len += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
        }
        (len <= packet.len()).then_some(RtpHeader {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            padding: fixed[0] & 0x20 != 0,
            len,
        })
    }

    /// The payload of the unprotected `packet` that this header was read from, without its padding.
    /// `None` if the padding's count is 0 or goes beyond the payload (RFC 3550 §5.1).
    pub fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let payload = packet.get(self.len..)?;
        if !self.padding {
            return Some(payload);
        }
        match usize::from(*payload.last()?) {
            0 => None,
            count => payload.get(..payload.len().checked_sub(count)?),
        }
    }
}

/// The fixed header without padding, extension and CSRC list.
pub(super) fn fixed_header(
    marker: bool,
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: Ssrc,
) -> [u8; FIXED_LEN] {
    let mut header = [0; FIXED_LEN];
    header[0] = 0x80;
    header[1] = u8::from(marker) << 7 | payload_type & 0x7f;
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..].copy_from_slice(&ssrc.0.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_written_header_reads_back() {
        let packet = fixed_header(true, 111, 0xFEDC, 0x8765_4321, Ssrc(0xCAFE_BABE));
        let expected = RtpHeader {
            marker: true,
            payload_type: 111,
            sequence: 0xFEDC,
            timestamp: 0x8765_4321,
            ssrc: Ssrc(0xCAFE_BABE),
            padding: false,
            len: 12,
        };
        assert_eq!(RtpHeader::parse(&packet), Some(expected));
        assert_eq!(expected.payload(&packet), Some(&[][..]));
    }

    #[test]
    fn csrc_list_and_extension_are_stepped_over_and_padding_is_cut_off() {
        let mut packet = fixed_header(false, 0, 1, 160, Ssrc(5)).to_vec();
        packet[0] |= 0x20 | 0x10 | 2; // padding, extension, two CSRCs
        packet.extend([1; 8]);
        packet.extend([0xBE, 0xDE, 0, 1, 0x10, 0xFF, 0, 0]);
        packet.extend(b"sound");
        packet.extend([0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.len, 12 + 8 + 8);
        assert_eq!(header.payload(&packet), Some(&b"sound"[..]));
        for len in 0..header.len {
            assert_eq!(RtpHeader::parse(&packet[..len]), None, "cut to {len} bytes");
        }
    }

    #[test]
    fn padding_that_cannot_be_is_refused() {
        let mut packet = fixed_header(false, 0, 1, 160, Ssrc(5)).to_vec();
        packet[0] |= 0x20;
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.payload(&packet), None, "no byte for the count");
        packet.extend([9, 9, 3]);
        assert_eq!(header.payload(&packet), Some(&[][..]), "nothing but padding");
        for count in [0, 4, 255] {
            packet[14] = count;
            assert_eq!(header.payload(&packet), None, "{count}");
        }
    }

    #[test]
    fn only_version_2_is_rtp() {
        for version in [0, 1, 3] {
            let mut packet = fixed_header(false, 0, 1, 160, Ssrc(5));
            packet[0] = version << 6;
            assert_eq!(RtpHeader::parse(&packet), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(header) = RtpHeader::parse(&bytes) {
                prop_assert!(header.len <= bytes.len());
                let _ = header.payload(&bytes);
            }
        }
    }
}
