//! The ZRTP packet (RFC 6189 §5): 12 octets of header, a message, a CRC. In: datagrams. Out: the message inside, or why there is none.
//!
//! Nothing is copied or allocated before magic cookie, length and CRC are right.

use crate::Dropped;

/// Magic cookie 'ZRTP'.
const COOKIE: [u8; 4] = *b"ZRTP";
/// Every message begins with this.
pub(crate) const PREAMBLE: [u8; 2] = [0x50, 0x5a];
const HEADER: usize = 12;
const CRC: usize = 4;
/// Preamble, length and type.
pub(crate) const MESSAGE_HEADER: usize = 12;
/// The first octet of a fragment: an extension of bzrtp, not in the RFC.
const FRAGMENT: u8 = 0x11;
/// No message that we speak is longer: a Confirm with the longest signature has 530 words.
const LONGEST_MESSAGE: usize = 4096;

/// What a datagram holds.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) ssrc: u32,
    pub(crate) content: Content<'a>,
}

#[derive(Debug)]
pub(crate) enum Content<'a> {
    /// A whole message, whose length field is right.
    Message(&'a [u8]),
    /// A piece of one.
    Fragment(Fragment<'a>),
}

/// A piece of a message; lengths in octets.
#[derive(Debug)]
pub(crate) struct Fragment<'a> {
    pub(crate) message_id: u16,
    pub(crate) total: usize,
    pub(crate) offset: usize,
    pub(crate) data: &'a [u8],
}

/// Whether a datagram on an RTP port is ZRTP: first octet 16–19 (RFC 7983) and the magic cookie.
pub fn is_zrtp(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (16..20).contains(first)) && datagram.get(4..8) == Some(&COOKIE)
}

/// Opens a datagram.
pub(crate) fn open(datagram: &[u8]) -> Result<Packet<'_>, Dropped> {
    let first = *datagram.first().ok_or(Dropped::NotZrtp)?;
    if first >> 4 != 1 || datagram.get(4..8) != Some(&COOKIE) {
        return Err(Dropped::NotZrtp);
    }
    if datagram.len() < HEADER + MESSAGE_HEADER + CRC || datagram.len() > HEADER + LONGEST_MESSAGE + CRC {
        return Err(Dropped::Length);
    }
    let (covered, crc) = datagram.split_at(datagram.len() - CRC);
    if crc32c(covered).to_le_bytes() != crc {
        return Err(Dropped::Crc);
    }
    let ssrc = number32(&covered[8..12]);
    let body = &covered[HEADER..];
    // "The 12 unused bits are set to zero and MUST be ignored when received", except for bzrtp's mark of a fragment
    let content = if first == FRAGMENT { Content::Fragment(fragment(body)?) } else { Content::Message(message(body)?) };
    Ok(Packet { ssrc, content })
}

/// Checks preamble and length field of a message.
pub(crate) fn message(octets: &[u8]) -> Result<&[u8], Dropped> {
    if octets.len() < MESSAGE_HEADER || octets.len() != 4 * usize::from(number16(&octets[2..4])) {
        return Err(Dropped::Length);
    }
    if octets[..2] != PREAMBLE {
        return Err(Dropped::Malformed);
    }
    Ok(octets)
}

fn fragment(body: &[u8]) -> Result<Fragment<'_>, Dropped> {
    let words = |at: usize| 4 * usize::from(number16(&body[at..at + 2]));
    let (total, offset, length) = (words(2), words(4), words(6));
    let data = &body[8..];
    if data.len() != length || length == 0 || offset + length > total || total > LONGEST_MESSAGE {
        return Err(Dropped::Fragment);
    }
    Ok(Fragment { message_id: number16(&body[..2]), total, offset, data })
}

/// Makes a datagram of a message. "The 12 unused bits are set to zero"; bzrtp takes nothing else.
pub(crate) fn seal(sequence: u16, ssrc: u32, message: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(HEADER + message.len() + CRC);
    datagram.extend([0x10, 0x00]);
    datagram.extend(sequence.to_be_bytes());
    datagram.extend(COOKIE);
    datagram.extend(ssrc.to_be_bytes());
    datagram.extend(message);
    // least significant octet first on the wire
    let crc = crc32c(&datagram).to_le_bytes();
    datagram.extend(crc);
    datagram
}

pub(crate) fn number16(octets: &[u8]) -> u16 {
    octets.iter().take(2).fold(0, |number, octet| number << 8 | u16::from(*octet))
}

pub(crate) fn number32(octets: &[u8]) -> u32 {
    octets.iter().take(4).fold(0, |number, octet| number << 8 | u32::from(*octet))
}

/// CRC-32C (RFC 4960 appendix B).
pub(crate) fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc, octet| (crc >> 8) ^ TABLE[((crc ^ u32::from(*octet)) & 0xff) as usize])
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}
