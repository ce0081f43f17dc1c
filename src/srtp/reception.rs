//! How well a stream arrives: loss, jitter, highest sequence number (RFC 3550 §6.4.1, A.3, A.8).
//!
//! In: each packet that authenticated, and the sender reports. Out: report blocks for our RTCP, and numbers for people.

use super::rtcp::ReportBlock;
use crate::units::Ssrc;
use std::time::{Duration, Instant};

/// The statistics of one received stream (one SSRC).
#[derive(Clone, Debug)]
pub struct Reception {
    ssrc: Ssrc,
    clock_rate: u32,
    /// When the first packet came; arrival times count from here.
    start: Instant,
    first: u64,
    highest: u64,
    received: u64,
    /// Expected and received at the last report.
    reported: (u64, u64),
    transit: u32,
    /// Sixteen times the jitter, as in RFC 3550 A.8.
    jitter_16: u32,
    last_sr: Option<(Instant, u32)>,
}

impl Reception {
    /// The stream's first packet: its source, its extended sequence number ([`RtpPacket::index`](super::RtpPacket::index)), its
    /// timestamp and the rate of the clock that this counts (8000 for G.711, 48000 for Opus).
    pub fn new(now: Instant, ssrc: Ssrc, clock_rate: u32, index: u64, timestamp: u32) -> Self {
        Reception {
            ssrc,
            clock_rate,
            start: now,
            first: index,
            highest: index,
            received: 1,
            reported: (0, 0),
            transit: 0u32.wrapping_sub(timestamp),
            jitter_16: 0,
            last_sr: None,
        }
    }

    /// Each further packet.
    pub fn packet(&mut self, now: Instant, index: u64, timestamp: u32) {
        self.first = self.first.min(index);
        self.highest = self.highest.max(index);
        self.received += 1;
        let elapsed = now.saturating_duration_since(self.start).as_nanos();
        let arrival = (elapsed * u128::from(self.clock_rate) / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        let difference = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        // A sender that starts its timestamps anew must not leave an endless jitter behind.
        let difference = difference.min(self.clock_rate);
        self.jitter_16 = self.jitter_16 + difference - ((self.jitter_16 + 8) >> 4);
    }

    /// A sender report came from this source, with this NTP time.
    pub fn sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_sr = Some((now, (ntp >> 16) as u32));
    }

    /// The source.
    pub fn ssrc(&self) -> Ssrc {
        self.ssrc
    }

    /// Packets received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Packets that should have come between the first and the highest sequence number, and did not.
    pub fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }

    /// The interarrival jitter.
    pub fn jitter(&self) -> Duration {
        Duration::from_secs(1) * (self.jitter_16 >> 4) / self.clock_rate.max(1)
    }

    /// The block for our next report; what it says of loss counts since the block before.
    pub fn report(&mut self, now: Instant) -> ReportBlock {
        let (expected, received) = (self.expected(), self.received);
        let expected_since = expected - self.reported.0;
        let lost_since = expected_since.saturating_sub(received - self.reported.1);
        self.reported = (expected, received);
        let (last_sr, delay) = match self.last_sr {
            Some((at, ntp)) => (ntp, now.saturating_duration_since(at).as_millis() * 65_536 / 1000),
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8,
            cumulative_lost: i32::try_from(self.lost()).unwrap_or(i32::MAX).min(0x7f_ffff),
            highest_sequence: self.highest as u32,
            jitter: self.jitter_16 >> 4,
            last_sr,
            delay_since_last_sr: u32::try_from(delay).unwrap_or(u32::MAX),
        }
    }

    fn expected(&self) -> u64 {
        self.highest - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(20);

    /// Packets of 20 ms at 8 kHz; `late` is how late each comes, `None` if never.
    fn receive(first: u64, late: &[Option<u64>]) -> (Instant, Reception) {
        let start = Instant::now();
        let mut reception = Reception::new(start, Ssrc(7), 8000, first, 0);
        for (n, late) in (1u32..).zip(late) {
            if let Some(late) = late {
                reception.packet(start + FRAME * n + Duration::from_millis(*late), first + u64::from(n), 160 * n);
            }
        }
        (start, reception)
    }

    #[test]
    fn a_clean_stream_has_no_loss_and_no_jitter() {
        let (now, mut reception) = receive(65_500, &[Some(0); 99]);
        assert_eq!((reception.received(), reception.lost(), reception.jitter()), (100, 0, Duration::ZERO));
        let block = reception.report(now);
        assert_eq!(block.highest_sequence, 65_599, "one cycle and 63");
        assert_eq!(
            (block.fraction_lost, block.cumulative_lost, block.last_sr, block.delay_since_last_sr),
            (0, 0, 0, 0)
        );
    }

    #[test]
    fn a_report_says_what_was_lost_since_the_one_before() {
        let mut arrivals = vec![Some(0); 99];
        arrivals[10..35].fill(None);
        let (now, mut reception) = receive(0, &arrivals);
        assert_eq!(reception.lost(), 25);
        let block = reception.report(now);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (64, 25));
        let block = reception.report(now);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 25), "nothing new");
        reception.packet(now, 101, 0);
        assert_eq!(reception.report(now).fraction_lost, 128, "one of two");
        reception.packet(now, 100, 0);
        let block = reception.report(now);
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 25), "the late one came after all");
    }

    #[test]
    fn a_packet_older_than_the_first_counts_as_expected() {
        let (now, mut reception) = receive(100, &[]);
        reception.packet(now, 99, 0);
        assert_eq!((reception.received(), reception.lost()), (2, 0));
    }

    #[test]
    fn jitter_is_the_smoothed_difference_of_transit_times() {
        // Every second packet is 10 ms late: each transit differs by 80 units, towards which J goes by a 16th each time
        // and, with the integers of A.8, stays just below.
        let arrivals: Vec<_> = (0..400).map(|n| Some(if n % 2 == 0 { 10 } else { 0 })).collect();
        let (now, mut reception) = receive(0, &arrivals);
        assert_eq!(reception.report(now).jitter, 79);
        assert_eq!(reception.jitter(), Duration::from_micros(9_875));
        let (now, mut reception) = receive(0, &arrivals[..1]);
        assert_eq!(reception.report(now).jitter, 80 / 16, "after one step");
    }

    #[test]
    fn the_block_answers_the_last_sender_report() {
        let (now, mut reception) = receive(0, &[]);
        reception.sender_report(now, 0x1234_5678_9ABC_DEF0);
        let block = reception.report(now + Duration::from_millis(2500));
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x5678_9ABC, 163_840));
    }
}
