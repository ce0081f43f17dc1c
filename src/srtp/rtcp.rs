//! RTCP (RFC 3550 §6): SR, RR, SDES with a CNAME and BYE are written and read; other packets are stepped over.
//!
//! In: a compound packet that SRTCP has authenticated. Out: its packets, borrowed from it.
//! The parser allocates nothing and refuses the whole compound if its lengths do not add up (RFC 3550 A.2).

use crate::units::Ssrc;

/// The bytes of a packet that SRTCP leaves in clear: the first header and the sender's SSRC.
pub(super) const CLEAR_LEN: usize = 8;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const CNAME: u8 = 1;
/// The most report blocks, and the most sources, that five bits can count.
const MAX_COUNT: usize = 31;

/// The SSRC of who sent a packet, from the bytes that are clear even in SRTCP.
/// `None` if they are not the beginning of RTCP.
pub(super) fn sender(packet: &[u8]) -> Option<Ssrc> {
    let clear = packet.first_chunk::<CLEAR_LEN>()?;
    let is_rtcp = clear[0] >> 6 == 2 && (192..=223).contains(&clear[1]);
    is_rtcp.then_some(Ssrc(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]])))
}

/// What a sender says of its own stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SenderInfo {
    /// Wall-clock time, in NTP's 32.32 bits since 1900.
    pub ntp: u64,
    /// The same moment in the stream's RTP clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent since the stream began, wrapping.
    pub packets: u32,
    /// Payload bytes sent since the stream began, wrapping.
    pub octets: u32,
}

/// What a receiver says of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Packets lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the stream began; below zero if some came twice. 24 bits with sign.
    pub cumulative_lost: i32,
    /// The highest sequence number, with its cycles in the upper 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR from this source; 0 if there was none.
    pub last_sr: u32,
    /// The time since that SR came, in 65536ths of a second.
    pub delay_since_last_sr: u32,
}

const BLOCK_LEN: usize = 24;

impl ReportBlock {
    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff);
        out.extend(self.ssrc.0.to_be_bytes());
        out.push(self.fraction_lost);
        out.extend(&lost.to_be_bytes()[1..]);
        for word in [self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr] {
            out.extend(word.to_be_bytes());
        }
    }

    fn read(bytes: &[u8; BLOCK_LEN]) -> ReportBlock {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        ReportBlock {
            ssrc: Ssrc(word(0)),
            fraction_lost: bytes[4],
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }
    }
}

/// A compound packet to send: a report, who we are, and perhaps a goodbye (RFC 3550 §6.1).
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    /// Our SSRC.
    pub ssrc: Ssrc,
    /// Our stream, if it sent anything since the last report: makes the report an SR, otherwise it is an RR.
    pub sender: Option<SenderInfo>,
    /// What we received; the first 31 count.
    pub blocks: &'a [ReportBlock],
    /// Our canonical name, the same for the whole call (RFC 7022 §4.2 makes it random). 255 bytes count.
    pub cname: &'a str,
    /// True if this is our last packet: adds a BYE.
    pub goodbye: bool,
}

impl Compound<'_> {
    /// The packet, to be sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        let blocks = &self.blocks[..self.blocks.len().min(MAX_COUNT)];
        let kind = if self.sender.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        write_packet(&mut out, kind, blocks.len(), |out| {
            out.extend(self.ssrc.0.to_be_bytes());
            if let Some(sender) = self.sender {
                out.extend(sender.ntp.to_be_bytes());
                for word in [sender.rtp_timestamp, sender.packets, sender.octets] {
                    out.extend(word.to_be_bytes());
                }
            }
            blocks.iter().for_each(|block| block.write(out));
        });
        write_packet(&mut out, SOURCE_DESCRIPTION, 1, |out| {
            let cname = &self.cname.as_bytes()[..self.cname.len().min(255)];
            out.extend(self.ssrc.0.to_be_bytes());
            out.extend([CNAME, cname.len() as u8]);
            out.extend(cname);
            out.push(0); // ends the list of items; the chunk is then filled up (RFC 3550 §6.5)
        });
        if self.goodbye {
            write_packet(&mut out, GOODBYE, 1, |out| out.extend(self.ssrc.0.to_be_bytes()));
        }
        out
    }
}

/// Writes a header, the body, and zeros up to a whole number of 32-bit words.
fn write_packet(out: &mut Vec<u8>, kind: u8, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count as u8, kind, 0, 0]);
    body(out);
    out.resize(out.len().next_multiple_of(4), 0);
    let words = (out.len() - start) / 4 - 1;
    out[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
}

/// One packet of a compound packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// SR: a stream's sender, what it sent, what it received.
    SenderReport(Ssrc, SenderInfo, Blocks<'a>),
    /// RR: who sends it, what it received.
    ReceiverReport(Ssrc, Blocks<'a>),
    /// SDES with a CNAME: the first chunk's source and its name, which is data of a stranger.
    Cname(Ssrc, &'a [u8]),
    /// BYE: the sources that leave.
    Goodbye(Sources<'a>),
    /// Any other packet type: feedback, APP, XR, SDES without CNAME.
    Other(u8),
}

/// The report blocks of an SR or RR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks<'a>(&'a [u8]);

impl Blocks<'_> {
    /// Each block in turn.
    pub fn iter(&self) -> impl Iterator<Item = ReportBlock> {
        self.0.as_chunks().0.iter().map(ReportBlock::read)
    }
}

/// The sources of a BYE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sources<'a>(&'a [u8]);

impl Sources<'_> {
    /// Each source in turn.
    pub fn iter(&self) -> impl Iterator<Item = Ssrc> {
        self.0.as_chunks().0.iter().map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }
}

/// Reads a compound packet. `None` if any of its lengths is wrong; then nothing of it counts.
///
/// A packet alone is taken as well, whatever its type: phones send feedback so (RFC 5506).
pub fn parse(compound: &[u8]) -> Option<impl Iterator<Item = Packet<'_>>> {
    let mut rest = compound;
    while !rest.is_empty() {
        (_, rest) = split_packet(rest)?;
    }
    let mut rest = compound;
    Some(std::iter::from_fn(move || {
        let (packet, after) = split_packet(rest)?;
        rest = after;
        Some(packet)
    }))
}

/// Takes the first packet off.
fn split_packet(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let header = bytes.first_chunk::<4>()?;
    if header[0] >> 6 != 2 {
        return None;
    }
    let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (packet, after) = bytes.split_at_checked(4 + 4 * words)?;
    let mut body = &packet[4..];
    if header[0] & 0x20 != 0 {
        // padding is a whole number of words and only the last packet has it (RFC 3550 §6.4.1)
        let count = usize::from(*body.last()?);
        if count == 0 || count % 4 != 0 || !after.is_empty() {
            return None;
        }
        body = &body[..body.len().checked_sub(count)?];
    }
    Some((read_packet(header[1], usize::from(header[0] & 0x1f), body)?, after))
}

fn read_packet(kind: u8, count: usize, body: &[u8]) -> Option<Packet<'_>> {
    Some(match kind {
        SENDER_REPORT => {
            let (ssrc, body) = split_word(body)?;
            let (ntp, body) = body.split_first_chunk()?;
            let (rtp_timestamp, body) = split_word(body)?;
            let (packets, body) = split_word(body)?;
            let (octets, body) = split_word(body)?;
            let sender = SenderInfo { ntp: u64::from_be_bytes(*ntp), rtp_timestamp, packets, octets };
            Packet::SenderReport(Ssrc(ssrc), sender, Blocks(body.get(..count * BLOCK_LEN)?))
        }
        RECEIVER_REPORT => {
            let (ssrc, body) = split_word(body)?;
            Packet::ReceiverReport(Ssrc(ssrc), Blocks(body.get(..count * BLOCK_LEN)?))
        }
        SOURCE_DESCRIPTION if count > 0 => {
            let (ssrc, items) = split_word(body)?;
            match cname(items) {
                Some(name) => Packet::Cname(Ssrc(ssrc), name),
                None => Packet::Other(kind),
            }
        }
        GOODBYE => Packet::Goodbye(Sources(body.get(..count * 4)?)),
        _ => Packet::Other(kind),
    })
}

/// Finds the CNAME among a chunk's items.
fn cname(mut items: &[u8]) -> Option<&[u8]> {
    loop {
        let (&[kind, len], rest) = items.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(len))?;
        match kind {
            0 => return None,
            CNAME => return Some(text),
            _ => items = rest,
        }
    }
}

fn split_word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests;
