//! The receiving half of SRTP: datagrams come in, payloads that authenticated go out.
//!
//! The order is always: length, replay, authentication, and only then state (RFC 3711 §3.3).
//! Bytes that do not authenticate change nothing, whatever they are, and cost no memory.

use super::cipher::{Cipher, Failed, Position, Protocol};
use super::kdf::{KeyError, MasterKey};
use super::rtp::{FIXED_LEN, RtpHeader};
use super::sources::Sources;
use super::{MAX_PACKET, rtcp};
use crate::policy::Receiving;
use crate::units::unfold_sequence;
use std::fmt;

/// A packet that authenticated.
#[derive(PartialEq, Eq, Debug)]
pub struct RtpPacket<'a> {
    /// Its header.
    pub header: RtpHeader,
    /// The sequence number with its rollover counter: ROC · 2^16 + SEQ.
    pub index: u64,
    /// The decrypted payload without padding.
    pub payload: &'a [u8],
}

/// Why a packet was dropped. Nothing of it may be used, and the buffer's content is no longer the packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Rejected {
    /// Too short for a header and a tag.
    #[error("the packet is too short")]
    TooShort,
    /// Not version 2, or with a header longer than the packet.
    #[error("the packet's header is malformed")]
    BadHeader,
    /// A packet of this index was accepted before, or the index is older than the replay window.
    #[error("the packet was received before or is too old")]
    Replayed,
    /// The tag is wrong.
    #[error("the packet's authentication tag is wrong")]
    AuthFailed,
    /// The SRTCP packet authenticated, but is not encrypted, which was never agreed.
    #[error("the RTCP packet is not encrypted")]
    NotEncrypted,
    /// The packet authenticated, but its padding goes beyond it.
    #[error("the packet's padding is malformed")]
    BadPadding,
}

impl From<Failed> for Rejected {
    fn from(_: Failed) -> Self {
        Rejected::AuthFailed
    }
}

/// The receiving keys of one call, with what was received under them.
pub struct Unprotector {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_tag_len: usize,
    rtcp_tag_len: usize,
    gcm: bool,
    pub(super) rtp_sources: Sources,
    pub(super) rtcp_sources: Sources,
}

impl Unprotector {
    /// Prepares the keys, which policy has allowed.
    pub fn new(_proof: &impl Receiving, master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Unprotector {
            rtp: Cipher::new(master, Protocol::Rtp)?,
            rtcp: Cipher::new(master, Protocol::Rtcp)?,
            rtp_tag_len: master.suite().rtp_tag_len(),
            rtcp_tag_len: master.suite().rtcp_tag_len(),
            gcm: master.suite().is_gcm(),
            rtp_sources: Sources::default(),
            rtcp_sources: Sources::default(),
        })
    }

    /// Opens an SRTP packet in place (RFC 3711 §3.3, RFC 7714 §8).
    pub fn rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<RtpPacket<'a>, Rejected> {
        let end = packet.len().checked_sub(self.rtp_tag_len).filter(|end| *end >= FIXED_LEN);
        let end = end.ok_or(Rejected::TooShort)?;
        let (packet, tag) = packet.split_at_mut(end);
        let header = RtpHeader::parse(packet).ok_or(Rejected::BadHeader)?;
        let index = match self.rtp_sources.window(header.ssrc) {
            Some(window) => {
                let index = unfold_sequence(window.newest(), header.sequence);
                if index >> 48 != 0 || !window.is_new(index) {
                    return Err(Rejected::Replayed);
                }
                self.open(&header, index, packet, tag)?;
                index
            }
            None => self.open_first(&header, packet, tag)?,
        };
        self.rtp_sources.accept(header.ssrc, index);
        let payload = header.payload(packet).ok_or(Rejected::BadPadding)?;
        Ok(RtpPacket { header, index, payload })
    }

    /// Opens the first packet that comes from a source, and returns its index.
    ///
    /// Its rollover counter began at 0, and its sequence number should have begun below 2^15 (RFC 4568 §6.4), but of many
    /// phones it may be anything. So the stream may have wrapped before its first packet got here; RFC 3711 §3.3.1 alone
    /// would then guess wrong for the whole call. The tag tells which it was.
    fn open_first(&self, header: &RtpHeader, packet: &mut [u8], tag: &[u8]) -> Result<u64, Rejected> {
        let index = u64::from(header.sequence);
        let mut copy = [0; MAX_PACKET];
        let Some(copy) = copy.get_mut(..packet.len()).filter(|_| index < 1 << 15) else {
            return self.open(header, index, packet, tag).map(|()| index);
        };
        copy.copy_from_slice(packet);
        if self.open(header, index, packet, tag).is_ok() {
            return Ok(index);
        }
        packet.copy_from_slice(copy);
        let index = index + (1 << 16);
        self.open(header, index, packet, tag).map(|()| index)
    }

    fn open(&self, header: &RtpHeader, index: u64, packet: &mut [u8], tag: &[u8]) -> Result<(), Rejected> {
        let (clear, text) = packet.split_at_mut(header.len);
        Ok(self.rtp.open(&Position::rtp(header.ssrc, index), clear, text, tag)?)
    }

    /// Opens an SRTCP packet in place and returns the compound RTCP packet (RFC 3711 §3.4, RFC 7714 §9).
    pub fn rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Rejected> {
        let end = packet.len().checked_sub(4 + self.rtcp_tag_len).filter(|end| *end >= rtcp::CLEAR_LEN);
        let end = end.ok_or(Rejected::TooShort)?;
        let (packet, trailer) = packet.split_at_mut(end);
        let ssrc = rtcp::sender(packet).ok_or(Rejected::BadHeader)?;
        let (tag, word) = if self.gcm {
            trailer.split_at(self.rtcp_tag_len)
        } else {
            let (word, tag) = trailer.split_at(4);
            (tag, word)
        };
        let word = u32::from_be_bytes(word.try_into().map_err(|_| Rejected::TooShort)?);
        let (encrypted, index) = (word >> 31 == 1, word & 0x7fff_ffff);
        if self.rtcp_sources.window(ssrc).is_some_and(|window| !window.is_new(u64::from(index))) {
            return Err(Rejected::Replayed);
        }
        let position = Position::rtcp(ssrc, index, encrypted).ok_or(Rejected::BadHeader)?;
        // Of a packet that is not encrypted, everything is "header" (RFC 7714 §9.3).
        let (clear, text) = packet.split_at_mut(if encrypted { rtcp::CLEAR_LEN } else { end });
        self.rtcp.open(&position, clear, text, tag)?;
        if !encrypted {
            return Err(Rejected::NotEncrypted);
        }
        self.rtcp_sources.accept(ssrc, u64::from(index));
        Ok(packet)
    }
}

impl fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unprotector")
            .field("rtp_sources", &self.rtp_sources)
            .field("rtcp_sources", &self.rtcp_sources)
            .finish_non_exhaustive()
    }
}
