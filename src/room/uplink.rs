//! The numbers of a phone's sound on its way to Galène.
//!
//! In: where a packet was in the phone's own stream, or that a frame was encoded. Out: its place in ours.

use std::time::{Duration, Instant};

/// 20 ms in Opus's RTP clock (RFC 7587 §4.1).
const OPUS_FRAME: u32 = 960;

/// The numbering of our stream to Galène. It begins low and no number is used twice, whatever the phone does: a receiver
/// that misses a wrap hears nothing more, and a number used twice gives away both packets.
#[derive(Default)]
pub(super) struct Uplink {
    /// The next number.
    sequence: u64,
    timestamp: u32,
    sent_at: Option<Instant>,
    /// Of the stream that is forwarded now; `None` after anything that breaks its numbering.
    forwarded: Option<Forwarded>,
    /// G.711: the last frame was sent.
    flowing: bool,
}

#[derive(Clone, Copy)]
struct Forwarded {
    /// What to add to the phone's numbers …
    sequence: i64,
    /// … and timestamps.
    timestamp: u32,
    /// What came before the stream's first packet has no number.
    first: u64,
}

impl Uplink {
    /// A new stream to Galène.
    pub(super) fn restart(&mut self) {
        *self = Uplink::default();
    }

    /// Other keys, another source, a hold: what comes next takes the next number, with the marker of a beginning.
    pub(super) fn pause(&mut self) {
        self.forwarded = None;
        self.flowing = false;
    }

    /// Where a forwarded packet goes. Gaps and order are kept, so that the listener's own jitter buffer can judge them.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        index: u64,
        timestamp: u32,
        marker: bool,
    ) -> Option<(u64, u32, bool)> {
        let begins = self.forwarded.is_none();
        let place = *self.forwarded.get_or_insert_with(|| {
            let passed = self.sent_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            let passed = (passed.as_millis() as u32).wrapping_mul(OPUS_FRAME / 20).max(OPUS_FRAME);
            Forwarded {
                sequence: self.sequence as i64 - index as i64,
                timestamp: self.timestamp.wrapping_add(passed).wrapping_sub(timestamp),
                first: self.sequence,
            }
        });
        let sequence = u64::try_from(index as i64 + place.sequence).ok().filter(|number| *number >= place.first)?;
        let timestamp = timestamp.wrapping_add(place.timestamp);
        if sequence >= self.sequence {
            self.sequence = sequence + 1;
            self.timestamp = timestamp;
            self.sent_at = Some(now);
        }
        Some((sequence, timestamp, marker || begins))
    }

    /// Where the frame of this tick goes: time passes whether it is sent or not.
    pub(super) fn frame(&mut self, sent: bool) -> (u64, u32, bool) {
        self.timestamp = self.timestamp.wrapping_add(OPUS_FRAME);
        let place = (self.sequence, self.timestamp, !self.flowing);
        self.flowing = sent;
        self.sequence += u64::from(sent);
        place
    }
}
