//! Opus, both ways: what the peer says, and what it hears of one stream.

use super::Hearing;
use std::time::Instant;

/// Samples of one 20 ms packet.
pub(super) const FRAME: usize = 960;

/// Longest gap that is filled so that the record keeps its time, in samples.
const LONGEST_GAP: i64 = 60 * 48_000;

/// Encodes what we publish.
#[derive(Default)]
pub(super) struct Voice {
    encoder: Option<opus::Encoder>,
    sequence: u64,
}

impl Voice {
    pub(super) fn packet(&mut self, frame: &[i16]) -> Option<(u64, u32, Vec<u8>)> {
        if self.encoder.is_none() {
            self.encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).ok();
        }
        let packet = self.encoder.as_mut()?.encode_vec(frame, 1200).ok()?;
        let sequence = self.sequence;
        self.sequence += 1;
        let timestamp = sequence.wrapping_mul(FRAME as u64) as u32;
        Some((sequence, timestamp, packet))
    }
}

/// Decodes one stream that we hear.
pub(super) struct Talker {
    pub(super) name: String,
    decoder: Option<opus::Decoder>,
    next: Option<(u64, u32)>,
    last: Option<Instant>,
}

impl Talker {
    pub(super) fn new(name: String) -> Self {
        let decoder = opus::Decoder::new(48_000, opus::Channels::Mono).ok();
        Talker { name, decoder, next: None, last: None }
    }

    pub(super) fn hear(&mut self, now: Instant, sequence: u64, timestamp: u32, payload: &[u8], hearing: &mut Hearing) {
        hearing.first.get_or_insert(now);
        hearing.packets += 1;
        if let Some(last) = self.last.replace(now) {
            hearing.longest_gap = hearing.longest_gap.max(now.saturating_duration_since(last));
        }
        let Some(decoder) = &mut self.decoder else { return };
        if let Some((next_sequence, next_timestamp)) = self.next {
            if sequence < next_sequence {
                return; // late: its place is taken
            }
            hearing.lost += sequence - next_sequence;
            let missing = i64::from(timestamp.wrapping_sub(next_timestamp) as i32);
            let mut missing = missing.clamp(0, LONGEST_GAP) as usize;
            let mut concealed = [0i16; FRAME];
            for _ in 0..(sequence - next_sequence).min(5) {
                let length = missing.min(FRAME);
                if length == FRAME && decoder.decode(&[], &mut concealed, false).is_ok() {
                    hearing.samples.extend_from_slice(&concealed);
                    missing -= length;
                }
            }
            hearing.samples.resize(hearing.samples.len() + missing, 0);
        }
        let mut samples = [0i16; 6 * FRAME];
        let length = decoder.decode(payload, &mut samples, false).unwrap_or(0);
        hearing.samples.extend_from_slice(&samples[..length]);
        self.next = Some((sequence + 1, timestamp.wrapping_add(length as u32)));
    }
}
