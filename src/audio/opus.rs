//! Opus (RFC 6716) through libopus: mono, 8 or 48 kHz, with in-band forward error correction.
//!
//! Payloads come from the network: their length is read from the table-of-contents octet here before libopus sees
//! them, and whatever libopus refuses is concealed by the caller.

use super::{MS, Ticks, codec::CodecError};
use crate::units::SampleRate;
use opus::{Application, Bitrate, Channels};

/// The largest Opus frame (RFC 6716 §3.4 R2); our packets hold one frame.
const MAX_FRAME: usize = 1275;

/// The largest duration of a packet (RFC 6716 §3.4 R5).
const MAX_DURATION: Ticks = 120 * MS;

/// The losses that the encoder arms itself against: enough that it always puts the low-bit-rate copy in.
const EXPECTED_LOSS_PERCENT: i32 = 10;

/// How long the sound in a payload is (RFC 6716 §3.1, §3.2); `None` if no decoder could say.
pub(super) fn duration(payload: &[u8]) -> Option<Ticks> {
    let toc = *payload.first()?;
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => Ticks::from(payload.get(1)? & 0x3f),
    };
    let duration = count * frame_duration(toc);
    (duration > 0 && duration <= MAX_DURATION).then_some(duration)
}

/// RFC 6716 table 2.
fn frame_duration(toc: u8) -> Ticks {
    let config = toc >> 3;
    match config {
        0..12 => [10 * MS, 20 * MS, 40 * MS, 60 * MS][usize::from(config & 3)],
        12..16 => [10 * MS, 20 * MS][usize::from(config & 1)],
        _ => (5 * MS / 2) << (config & 3),
    }
}

/// Does the payload carry a copy of the frame before it (RFC 6716 §4.2.4)? Only single-frame packets are looked
/// into; no sender is known to put the copy into others.
pub(super) fn carries_previous(payload: &[u8]) -> bool {
    let (Some(&toc), Some(&first)) = (payload.first(), payload.get(1)) else { return false };
    let celt_only = toc >> 3 >= 16;
    if celt_only || toc & 3 != 0 {
        return false;
    }
    // one voice activity flag per 20 ms of SILK, then the flag we look for
    let silk_frames = (frame_duration(toc) / (20 * MS)).max(1);
    let stereo = toc & 4 != 0;
    let mono_flag = first >> (7 - silk_frames) & 1 == 1;
    mono_flag || (stereo && first >> (6 - 2 * silk_frames) & 1 == 1)
}

/// libopus' decoder, mono.
pub(super) struct OpusDecoder {
    inner: opus::Decoder,
}

impl OpusDecoder {
    pub(super) fn new(rate: SampleRate) -> Result<OpusDecoder, CodecError> {
        Ok(OpusDecoder { inner: opus::Decoder::new(rate.hz(), Channels::Mono)? })
    }

    /// Decodes a payload into `out`, which must be as long as its duration. False if libopus refused it.
    pub(super) fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> bool {
        !payload.is_empty() && self.inner.decode(payload, out, false).is_ok_and(|written| written == out.len())
    }

    /// Decodes the copy that the payload *after* a gap carries of what was lost; libopus guesses where it has none.
    pub(super) fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        !next.is_empty() && self.inner.decode(next, out, true).is_ok_and(|written| written == out.len())
    }

    /// Continues the sound by guesswork; silence if that fails. `out` is a multiple of 2.5 ms long.
    pub(super) fn conceal(&mut self, out: &mut [i16]) {
        if !self.inner.decode(&[], out, false).is_ok_and(|written| written == out.len()) {
            out.fill(0);
        }
    }

    /// Forgets the sender heard so far.
    pub(super) fn reset(&mut self) {
        // resetting a valid decoder cannot fail
        let _ = self.inner.reset_state();
    }
}

/// libopus' encoder: speech, mono, 20 ms.
pub(super) struct OpusEncoder {
    inner: opus::Encoder,
    packet: [u8; MAX_FRAME],
}

impl OpusEncoder {
    pub(super) fn new(rate: SampleRate) -> Result<OpusEncoder, CodecError> {
        let mut inner = opus::Encoder::new(rate.hz(), Channels::Mono, Application::Voip)?;
        inner.set_complexity(5)?;
        inner.set_bitrate(Bitrate::Bits(match rate {
            SampleRate::Hz8000 => 24_000,
            SampleRate::Hz48000 => 32_000,
        }))?;
        inner.set_inband_fec(true)?;
        inner.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
        Ok(OpusEncoder { inner, packet: [0; MAX_FRAME] })
    }

    pub(super) fn encode(&mut self, frame: &[i16]) -> Result<&[u8], CodecError> {
        let length = self.inner.encode(frame, &mut self.packet)?;
        Ok(&self.packet[..length])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn durations_of_all_table_of_contents_octets_agree_with_libopus() {
        let mut known = 0;
        for toc in 0..=255 {
            for frames in 0..=255 {
                let payload = [toc, frames, 0];
                let ours = duration(&payload);
                let theirs = opus::packet::get_nb_samples(&payload, 48_000).ok().filter(|&samples| samples > 0);
                assert_eq!(ours, theirs.map(|samples| samples as Ticks), "{payload:?}");
                known += usize::from(ours.is_some());
            }
        }
        assert!(known > 40_000);
        assert_eq!(duration(&[]), None);
        assert_eq!(duration(&[0x03]), None, "code 3 without its frame count");
    }

    #[test]
    fn an_encoder_of_either_rate_makes_20_ms_that_carry_the_frame_before() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz48000] {
            let mut encoder = OpusEncoder::new(rate).unwrap();
            let frame: Vec<i16> = (0..rate.frame()).map(|n| ((n * n * 7919) % 8000) as i16 - 4000).collect();
            let mut carrying = 0;
            for _ in 0..10 {
                let payload = encoder.encode(&frame).unwrap();
                assert_eq!(duration(payload), Some(20 * MS));
                carrying += usize::from(carries_previous(payload));
            }
            assert!(carrying >= 8, "{carrying} at {rate:?}");
        }
    }

    #[test]
    fn refused_payloads_leave_the_decoder_working() {
        let mut encoder = OpusEncoder::new(SampleRate::Hz48000).unwrap();
        let mut decoder = OpusDecoder::new(SampleRate::Hz48000).unwrap();
        let good = encoder.encode(&[100; 960]).unwrap().to_vec();
        let mut out = [0; 960];
        assert!(!decoder.decode(&[], &mut out));
        // code 1: two frames of equal size need an even rest
        assert!(!decoder.decode(&[0b0000_1001, 1, 2, 3, 4, 5, 6, 7], &mut out));
        assert!(!decoder.recover(&[0xff, 0xff], &mut out));
        assert!(decoder.decode(&good, &mut out));
    }
}
