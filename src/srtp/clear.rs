//! RTP and RTCP without encryption (RFC 3550), for the call that a dated exception allows to be clear, and for no other.
//!
//! In: payloads and datagrams, as [`Protector`](super::Protector) and [`Unprotector`](super::Unprotector) take them. Out: the same
//! as theirs, so that everything else of a call is as always. Only [`MayBeClear`] makes either half.
//!
//! Never: anything authentic. Whoever hands a datagram in has looked where it came from; nothing may be learnt from it.

use super::protect::{ProtectError, RtpOut, Sealed};
use super::rtcp;
use super::rtp::{FIXED_LEN, RtpHeader};
use super::sources::Sources;
use super::unprotect::{Rejected, RtpPacket};
use crate::policy::MayBeClear;
use crate::units::unfold_sequence;

/// The sending half.
#[derive(Debug)]
pub struct ClearSender(());

impl ClearSender {
    /// Only an exception makes one.
    pub fn new(_proof: &MayBeClear) -> Self {
        ClearSender(())
    }

    /// An RTP packet as it is.
    pub fn rtp(&mut self, packet: &RtpOut<'_>) -> Result<Sealed, ProtectError> {
        Sealed::open_rtp(packet)
    }

    /// A compound RTCP packet as it is.
    pub fn rtcp(&mut self, compound: &[u8]) -> Result<Sealed, ProtectError> {
        rtcp::sender(compound).ok_or(ProtectError::BadHeader)?;
        Sealed::open(compound)
    }
}

/// The receiving half. What comes twice or far too late is dropped, lest a number be used twice behind it.
#[derive(Debug)]
pub struct ClearReceiver {
    sources: Sources,
}

impl ClearReceiver {
    /// Only an exception makes one.
    pub fn new(_proof: &MayBeClear) -> Self {
        ClearReceiver { sources: Sources::default() }
    }

    /// Reads an RTP packet.
    pub fn rtp<'a>(&mut self, packet: &'a mut [u8]) -> Result<RtpPacket<'a>, Rejected> {
        if packet.len() < FIXED_LEN {
            return Err(Rejected::TooShort);
        }
        let header = RtpHeader::parse(packet).ok_or(Rejected::BadHeader)?;
        let payload = header.payload(packet).ok_or(Rejected::BadPadding)?;
        let index = match self.sources.window(header.ssrc) {
            None => u64::from(header.sequence),
            Some(window) => {
                let index = unfold_sequence(window.newest(), header.sequence);
                if !window.is_new(index) {
                    return Err(Rejected::Replayed);
                }
                index
            }
        };
        self.sources.accept(header.ssrc, index);
        Ok(RtpPacket { header, index, payload })
    }

    /// Reads a compound RTCP packet.
    pub fn rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], Rejected> {
        rtcp::sender(packet).ok_or(Rejected::BadHeader)?;
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use crate::policy::testing::may_be_clear;
    use crate::units::Ssrc;

    fn packet(sequence: u16) -> Vec<u8> {
        let out = RtpOut { payload_type: 0, marker: false, sequence, timestamp: 160, ssrc: Ssrc(5), payload: b"sound" };
        ClearSender::new(&may_be_clear()).rtp(&out).unwrap().as_bytes().to_vec()
    }

    #[test]
    fn what_is_sent_is_read_and_read_once() {
        let mut receiver = ClearReceiver::new(&may_be_clear());
        for (sequence, index) in [(65_535, 65_535), (0, 65_536), (2, 65_538), (1, 65_537)] {
            let mut packet = packet(sequence);
            let read = receiver.rtp(&mut packet).unwrap();
            assert_eq!((read.index, read.payload, read.header.ssrc), (index, &b"sound"[..], Ssrc(5)));
            assert_eq!(receiver.rtp(&mut packet).unwrap_err(), Rejected::Replayed);
        }
    }

    #[test]
    fn what_is_no_rtp_is_dropped() {
        let mut receiver = ClearReceiver::new(&may_be_clear());
        assert_eq!(receiver.rtp(&mut packet(1)[..11]).unwrap_err(), Rejected::TooShort);
        assert_eq!(receiver.rtp(&mut [0; 20]).unwrap_err(), Rejected::BadHeader);
        assert_eq!(receiver.rtcp(&mut [0x80, 200]).unwrap_err(), Rejected::BadHeader);
        let long = [0; super::super::MAX_PACKET];
        let out = RtpOut { payload_type: 0, marker: false, sequence: 1, timestamp: 0, ssrc: Ssrc(5), payload: &long };
        assert_eq!(ClearSender::new(&may_be_clear()).rtp(&out).unwrap_err(), ProtectError::TooLong);
        let out = RtpOut { payload_type: 128, payload: b"", ..out };
        assert_eq!(ClearSender::new(&may_be_clear()).rtp(&out).unwrap_err(), ProtectError::BadHeader);
    }
}
