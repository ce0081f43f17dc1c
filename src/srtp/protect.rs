//! The sending half of SRTP: payloads and RTCP go in, [`Sealed`] packets come out.
//!
//! The caller chooses SSRC and sequence number; the rollover counter (RFC 3711 §3.3.1) is kept here.
//! A packet index is never used twice, because that would give away both packets.

use super::cipher::{Cipher, Failed, Position, Protocol};
use super::kdf::{KeyError, MasterKey};
use super::rtp::{FIXED_LEN, fixed_header};
use super::sources::Sources;
use super::{Datagram, MAX_PACKET, rtcp};
use crate::policy::MayKey;
use crate::units::{Ssrc, unfold_sequence};
use std::fmt;

/// An encrypted and authenticated packet, one of ZRTP's, or one that a dated exception lets be clear; ready for the wire.
///
/// Only this module and [`ClearSender`](super::ClearSender) make one, so a socket that takes nothing else sends nothing in clear. It holds its bytes itself.
#[derive(PartialEq, Eq)]
pub struct Sealed {
    bytes: [u8; MAX_PACKET],
    len: usize,
}

impl Sealed {
    /// The datagram.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// A packet of the ZRTP engine, which carries no sound. `None` for everything else.
    pub(crate) fn zrtp(packet: &[u8]) -> Option<Self> {
        let mut sealed = Sealed::new();
        let zrtp = Datagram::of(packet) == Some(Datagram::Zrtp);
        (zrtp && sealed.push(packet).is_ok()).then_some(sealed)
    }

    /// A clear RTP packet, for [`ClearSender`](super::ClearSender) alone.
    pub(super) fn open_rtp(packet: &RtpOut<'_>) -> Result<Self, ProtectError> {
        if packet.payload_type > 127 {
            return Err(ProtectError::BadHeader);
        }
        let mut sealed = Sealed::new();
        sealed.push(&fixed_header(
            packet.marker,
            packet.payload_type,
            packet.sequence,
            packet.timestamp,
            packet.ssrc,
        ))?;
        sealed.push(packet.payload)?;
        Ok(sealed)
    }

    /// A clear RTCP packet, for [`ClearSender`](super::ClearSender) alone.
    pub(super) fn open(packet: &[u8]) -> Result<Self, ProtectError> {
        let mut sealed = Sealed::new();
        sealed.push(packet)?;
        Ok(sealed)
    }

    fn new() -> Self {
        Sealed { bytes: [0; MAX_PACKET], len: 0 }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), ProtectError> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end).ok_or(ProtectError::TooLong)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.len)
    }
}

/// An RTP packet to send.
#[derive(Clone, Copy, Debug)]
pub struct RtpOut<'a> {
    /// The negotiated payload type, 0–127.
    pub payload_type: u8,
    /// The marker bit: the first packet after silence.
    pub marker: bool,
    /// The sequence number. Begin a stream below 2^15, lest the receiver lose the packets around the first wrap and
    /// never learn the rollover counter (RFC 4568 §6.4).
    pub sequence: u16,
    /// The timestamp, in units of the payload's RTP clock.
    pub timestamp: u32,
    /// The stream's synchronisation source.
    pub ssrc: Ssrc,
    /// The payload.
    pub payload: &'a [u8],
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProtectError {
    /// The packet would be longer than [`MAX_PACKET`].
    #[error("the packet is too long to be sent")]
    TooLong,
    /// The payload type is above 127, or the bytes are not RTCP.
    #[error("the packet is not well-formed")]
    BadHeader,
    /// The index was used before, or is too far from the newest one to be sure that the receiver would guess it.
    #[error("this sequence number was used before or is out of order")]
    Reused,
    /// 2^48 RTP packets or 2^31 RTCP packets have been sent: the key's life is over (RFC 3711 §9.2).
    #[error("the key has sealed as many packets as it may")]
    Exhausted,
    /// The same key was used with eight sources already.
    #[error("too many sources for one key")]
    TooManySources,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<Failed> for ProtectError {
    fn from(_: Failed) -> Self {
        ProtectError::Library
    }
}

/// The sending keys of one call, with the indices that they have used.
pub struct Protector {
    rtp: Cipher,
    rtcp: Cipher,
    gcm: bool,
    pub(super) sources: Sources,
    pub(super) rtcp_index: u32,
}

impl Protector {
    /// Prepares the keys, which policy has allowed.
    ///
    /// Once per master key: a second `Protector` of the same key knows nothing of the indices that the first one used,
    /// and the same index twice gives away both packets (RFC 3711 §9.1). Keep this one when a re-INVITE keeps the key.
    pub fn new(_proof: &MayKey, master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Protector {
            rtp: Cipher::new(master, Protocol::Rtp)?,
            rtcp: Cipher::new(master, Protocol::Rtcp)?,
            gcm: master.suite().is_gcm(),
            sources: Sources::default(),
            rtcp_index: 0,
        })
    }

    /// Seals an RTP packet (RFC 3711 §3.3, RFC 7714 §8). A refused packet uses no index up.
    pub fn rtp(&mut self, packet: &RtpOut<'_>) -> Result<Sealed, ProtectError> {
        let mut sealed = Sealed::open_rtp(packet)?;
        let index = self.next_index(packet.ssrc, packet.sequence)?;
        let position = Position::rtp(packet.ssrc, index);
        let (header, text) = sealed.bytes[..sealed.len].split_at_mut(FIXED_LEN);
        let tag = self.rtp.seal(&position, header, text)?;
        sealed.push(tag.as_bytes())?;
        self.sources.accept(packet.ssrc, index);
        Ok(sealed)
    }

    /// Seals a compound RTCP packet (RFC 3711 §3.4, RFC 7714 §9).
    pub fn rtcp(&mut self, compound: &[u8]) -> Result<Sealed, ProtectError> {
        let ssrc = rtcp::sender(compound).ok_or(ProtectError::BadHeader)?;
        let position = Position::rtcp(ssrc, self.rtcp_index, true).ok_or(ProtectError::Exhausted)?;
        let mut sealed = Sealed::new();
        sealed.push(compound)?;
        let (header, text) = sealed.bytes[..sealed.len].split_at_mut(rtcp::CLEAR_LEN);
        let tag = self.rtcp.seal(&position, header, text)?;
        let (first, second) =
            if self.gcm { (tag.as_bytes(), &position.word[..]) } else { (&position.word[..], tag.as_bytes()) };
        sealed.push(first)?;
        sealed.push(second)?;
        self.rtcp_index += 1;
        Ok(sealed)
    }

    /// The packet index of `sequence`, if it is free.
    fn next_index(&self, ssrc: Ssrc, sequence: u16) -> Result<u64, ProtectError> {
        let Some(window) = self.sources.window(ssrc) else {
            return if self.sources.is_full() { Err(ProtectError::TooManySources) } else { Ok(u64::from(sequence)) };
        };
        let index = unfold_sequence(window.newest(), sequence);
        if index >> 48 != 0 {
            return Err(ProtectError::Exhausted);
        }
        // A stream's first packets have no index before 0 to unfold to; the receiver would not guess 2^16 further on.
        let within_reach = index < window.newest() + (1 << 15);
        if window.is_new(index) && within_reach { Ok(index) } else { Err(ProtectError::Reused) }
    }
}

impl fmt::Debug for Protector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protector").field("sources", &self.sources).finish_non_exhaustive()
    }
}
