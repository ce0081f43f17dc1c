//! The codecs between phones and Galène: frames of samples to payloads, and payloads to samples.
//!
//! G.711 lives at 8 kHz; Opus is encoded from, and decoded to, 8 or 48 kHz directly, so only G.711 is ever resampled.

use super::conceal::Concealer;
use super::g711::Law;
use super::opus::{self, OpusDecoder, OpusEncoder};
use super::resample::Downsampler;
use super::{MS, Ticks};
use crate::units::SampleRate;

/// A codec that the gateway speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// Opus (RFC 6716, RFC 7587).
    Opus,
    /// G.711 µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
}

impl Codec {
    /// The codec's RTP clock: always 48 kHz for Opus (RFC 7587 §4.1), 8 kHz for G.711 (RFC 3551 §4.5.14).
    pub const fn rate(self) -> SampleRate {
        match self {
            Codec::Opus => SampleRate::Hz48000,
            Codec::Pcmu | Codec::Pcma => SampleRate::Hz8000,
        }
    }

    /// RTP ticks in one of our 20 ms packets.
    pub const fn frame_ticks(self) -> u32 {
        self.rate().hz() / 50
    }
}

/// Why a codec could not do its work.
#[derive(thiserror::Error, Debug)]
pub enum CodecError {
    /// libopus refused.
    #[error("the Opus codec failed: {0}")]
    Opus(#[from] ::opus::Error),
    /// A frame was not 20 ms long.
    #[error("a frame of {got} samples was given to an encoder that takes {expected}")]
    FrameLength {
        /// Samples in 20 ms at the encoder's rate.
        expected: usize,
        /// Samples given.
        got: usize,
    },
}

/// Makes payloads of 20 ms frames.
pub struct Encoder {
    rate: SampleRate,
    kind: EncoderKind,
}

enum EncoderKind {
    Opus(Box<OpusEncoder>),
    G711 { law: Law, down: Option<Box<Downsampler>>, octets: [u8; SampleRate::Hz8000.frame()] },
}

impl Encoder {
    /// An encoder whose frames come at `rate`. Give sound that was never more than 8 kHz at 8 kHz: Opus then costs half.
    pub fn new(codec: Codec, rate: SampleRate) -> Result<Encoder, CodecError> {
        let g711 = |law| {
            let down = (rate == SampleRate::Hz48000).then(|| Box::new(Downsampler::new()));
            EncoderKind::G711 { law, down, octets: [0; SampleRate::Hz8000.frame()] }
        };
        let kind = match codec {
            Codec::Opus => EncoderKind::Opus(Box::new(OpusEncoder::new(rate)?)),
            Codec::Pcmu => g711(Law::Mu),
            Codec::Pcma => g711(Law::A),
        };
        Ok(Encoder { rate, kind })
    }

    /// Encodes exactly 20 ms. The payload is valid until the next call.
    pub fn encode(&mut self, frame: &[i16]) -> Result<&[u8], CodecError> {
        if frame.len() != self.rate.frame() {
            return Err(CodecError::FrameLength { expected: self.rate.frame(), got: frame.len() });
        }
        match &mut self.kind {
            EncoderKind::Opus(encoder) => encoder.encode(frame),
            EncoderKind::G711 { law, down, octets } => {
                let mut narrow = [0; SampleRate::Hz8000.frame()];
                let samples = match down {
                    Some(down) => {
                        down.frame(frame, &mut narrow);
                        &narrow[..]
                    }
                    None => frame,
                };
                for (octet, &sample) in octets.iter_mut().zip(samples) {
                    *octet = law.encode(sample);
                }
                Ok(octets)
            }
        }
    }
}

/// Payloads of one sender to samples, at the decoder's own rate.
pub(super) struct Decoder {
    rate: SampleRate,
    kind: DecoderKind,
}

enum DecoderKind {
    Opus(OpusDecoder),
    G711 { law: Law, concealer: Box<Concealer> },
}

impl Decoder {
    /// G.711 decodes to 8 kHz whatever `wanted` is; the talker brings it up at the very end.
    pub(super) fn new(codec: Codec, wanted: SampleRate) -> Result<Decoder, CodecError> {
        let g711 = |law| DecoderKind::G711 { law, concealer: Box::new(Concealer::new()) };
        Ok(match codec {
            Codec::Opus => Decoder { rate: wanted, kind: DecoderKind::Opus(OpusDecoder::new(wanted)?) },
            Codec::Pcmu => Decoder { rate: SampleRate::Hz8000, kind: g711(Law::Mu) },
            Codec::Pcma => Decoder { rate: SampleRate::Hz8000, kind: g711(Law::A) },
        })
    }

    /// The rate of the samples that come out.
    pub(super) fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Samples in a duration.
    pub(super) fn samples(&self, ticks: Ticks) -> usize {
        usize::try_from(ticks / self.ticks_per_sample()).unwrap_or(0)
    }

    /// Ticks from one sample to the next.
    pub(super) fn ticks_per_sample(&self) -> Ticks {
        Ticks::from(SampleRate::Hz48000.hz() / self.rate.hz())
    }

    /// How long a payload sounds; `None` for one that is no payload of this codec.
    pub(super) fn duration(&self, payload: &[u8]) -> Option<Ticks> {
        match self.kind {
            DecoderKind::Opus(_) => opus::duration(payload),
            DecoderKind::G711 { .. } => {
                let duration = payload.len() as Ticks * self.ticks_per_sample();
                (duration > 0 && duration <= 120 * MS).then_some(duration)
            }
        }
    }

    /// Does this payload say that the sender is silent until it speaks again (Opus DTX, RFC 6716 §2.1.9)?
    pub(super) fn is_rest(&self, payload: &[u8]) -> bool {
        matches!(self.kind, DecoderKind::Opus(_)) && payload.len() <= 2
    }

    /// Does `next` carry a copy of the sound before it?
    pub(super) fn carries_previous(&self, next: &[u8]) -> bool {
        matches!(self.kind, DecoderKind::Opus(_)) && opus::carries_previous(next)
    }

    /// Appends the sound of a payload; its guess, and false, if the payload is malformed.
    pub(super) fn decode(&mut self, payload: &[u8], duration: Ticks, pcm: &mut Vec<i16>) -> bool {
        let out = grow(pcm, self.samples(duration));
        match &mut self.kind {
            DecoderKind::Opus(decoder) => {
                let good = decoder.decode(payload, out);
                if !good {
                    decoder.conceal(out);
                }
                good
            }
            DecoderKind::G711 { law, concealer } => {
                for (sample, &octet) in out.iter_mut().zip(payload) {
                    *sample = law.decode(octet);
                }
                concealer.good(out);
                true
            }
        }
    }

    /// Appends what `next` knows about the sound lost just before it.
    pub(super) fn recover(&mut self, next: &[u8], duration: Ticks, pcm: &mut Vec<i16>) {
        let samples = self.samples(duration);
        match &mut self.kind {
            DecoderKind::Opus(decoder) => {
                let out = grow(pcm, samples);
                if !decoder.recover(next, out) {
                    decoder.conceal(out);
                }
            }
            DecoderKind::G711 { concealer, .. } => concealer.conceal(grow(pcm, samples)),
        }
    }

    /// Appends a guess. `duration` is a multiple of 2.5 ms.
    pub(super) fn conceal(&mut self, duration: Ticks, pcm: &mut Vec<i16>) {
        let out = grow(pcm, self.samples(duration));
        match &mut self.kind {
            DecoderKind::Opus(decoder) => decoder.conceal(out),
            DecoderKind::G711 { concealer, .. } => concealer.conceal(out),
        }
    }

    /// Forgets the sender heard so far.
    pub(super) fn reset(&mut self) {
        match &mut self.kind {
            DecoderKind::Opus(decoder) => decoder.reset(),
            DecoderKind::G711 { concealer, .. } => **concealer = Concealer::new(),
        }
    }
}

/// Appends zeros and returns them to be written.
fn grow(pcm: &mut Vec<i16>, samples: usize) -> &mut [i16] {
    let start = pcm.len();
    pcm.resize(start + samples, 0);
    &mut pcm[start..]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn an_encoder_refuses_a_frame_that_is_not_20_ms() {
        for codec in [Codec::Opus, Codec::Pcmu, Codec::Pcma] {
            let mut encoder = Encoder::new(codec, SampleRate::Hz8000).unwrap();
            assert!(matches!(encoder.encode(&[0; 960]), Err(CodecError::FrameLength { expected: 160, got: 960 })));
            assert!(encoder.encode(&[0; 160]).is_ok());
        }
    }

    #[test]
    fn g711_payloads_are_160_octets_from_either_rate() {
        for rate in [SampleRate::Hz8000, SampleRate::Hz48000] {
            let mut encoder = Encoder::new(Codec::Pcma, rate).unwrap();
            assert_eq!(encoder.encode(&vec![0; rate.frame()]).unwrap().len(), 160);
        }
    }

    #[test]
    fn g711_payloads_of_any_length_up_to_120_ms_have_their_duration() {
        let decoder = Decoder::new(Codec::Pcmu, SampleRate::Hz48000).unwrap();
        assert_eq!(decoder.duration(&[0; 80]), Some(10 * MS));
        assert_eq!(decoder.duration(&[0; 480]), Some(60 * MS));
        assert_eq!(decoder.duration(&[]), None);
        assert_eq!(decoder.duration(&[0; 1400]), None);
    }
}
