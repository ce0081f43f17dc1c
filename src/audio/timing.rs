//! How punctually packets arrive, and how long playout should therefore wait.
//!
//! The transit of a packet is its arrival minus its timestamp. Its absolute value means nothing, the two clocks
//! having nothing in common; the fastest packet of the last seconds is the base, and how much later than the base
//! the others came is the jitter that the target delay must cover. As the window moves, the base follows a sender's
//! clock that runs fast or slow.

use super::{FRAME, MS, Ticks};
use std::collections::VecDeque;

/// What the window holds at most.
const PACKETS: usize = 256;
const WINDOW: Ticks = 6_000 * MS;

/// Until this many packets were seen, the target does not fall.
const TRUSTED: usize = 50;

/// The target covers all but this share of the packets in the window.
const ALLOWED_LATE: f64 = 0.01;

/// Beyond the jitter: the last sample of a frame must be there when its first is played. It also gives forward error
/// correction the next packet, with which it works.
const MIN_TARGET: Ticks = FRAME;

/// What people still talk across.
const MAX_TARGET: Ticks = 200 * MS;

/// Before anything is known.
const FIRST_TARGET: Ticks = 2 * FRAME;

/// A packet this much faster than the fastest: the network has changed, and what was measured before is void.
const FASTER: Ticks = 100 * MS;

struct Arrival {
    at: Ticks,
    transit: Ticks,
}

/// The arrivals of the last seconds.
pub(super) struct Arrivals {
    window: VecDeque<Arrival>,
    sorted: Vec<Ticks>,
    base: Ticks,
    target: Ticks,
    floor: Ticks,
    jitter: f64,
    previous: Option<Ticks>,
}

impl Arrivals {
    pub(super) fn new() -> Arrivals {
        Arrivals {
            window: VecDeque::with_capacity(PACKETS),
            sorted: Vec::with_capacity(PACKETS),
            base: 0,
            target: FIRST_TARGET,
            floor: FIRST_TARGET,
            jitter: 0.0,
            previous: None,
        }
    }

    /// Takes note of a packet. `overtaken`: others that were sent after it are here already.
    pub(super) fn observe(&mut self, at: Ticks, transit: Ticks, overtaken: bool) {
        // RFC 3550 §6.4.1
        if let Some(previous) = self.previous {
            self.jitter += ((transit - previous).abs() as f64 - self.jitter) / 16.0;
        }
        self.previous = Some(transit);
        let lateness = self.lateness(transit).unwrap_or(0);
        if lateness < -FASTER {
            self.void();
        }
        if overtaken && lateness > MAX_TARGET {
            // no delay that we could choose would have caught it
            return;
        }
        while self.window.len() >= PACKETS || self.window.front().is_some_and(|first| at - first.at > WINDOW) {
            self.window.pop_front();
        }
        self.window.push_back(Arrival { at, transit });
        self.measure();
    }

    fn measure(&mut self) {
        self.sorted.clear();
        self.sorted.extend(self.window.iter().map(|arrival| arrival.transit));
        let Some(&fastest) = self.sorted.iter().min() else { return };
        let late = (self.sorted.len() as f64 * ALLOWED_LATE) as usize;
        let slowest = self.sorted.len() - 1 - late;
        let (_, &mut slow, _) = self.sorted.select_nth_unstable(slowest);
        self.base = fastest;
        if self.window.len() >= TRUSTED {
            self.floor = MIN_TARGET;
        }
        self.target = (slow - fastest + MIN_TARGET).clamp(self.floor, MAX_TARGET);
    }

    /// How much later than the fastest packet something with this transit comes. `None` before the first packet.
    pub(super) fn lateness(&self, transit: Ticks) -> Option<Ticks> {
        (!self.window.is_empty()).then_some(transit - self.base)
    }

    /// The fastest transit of late.
    pub(super) fn base(&self) -> Ticks {
        self.base
    }

    /// How long after the fastest possible moment a sample should be played.
    pub(super) fn target(&self) -> Ticks {
        self.target
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub(super) fn jitter(&self) -> Ticks {
        self.jitter as Ticks
    }

    /// The sender began a new timeline: old transits mean nothing any more, but the network is likely the same.
    pub(super) fn restart(&mut self) {
        self.previous = None;
        self.void();
    }

    /// A backlog was thrown away: its packets, which waited somewhere, say nothing about jitter.
    pub(super) fn forget_backlog(&mut self) {
        let limit = self.base + FIRST_TARGET;
        self.window.retain(|arrival| arrival.transit <= limit);
        self.floor = MIN_TARGET;
        self.measure();
    }

    fn void(&mut self) {
        self.window.clear();
        self.floor = self.target.clamp(FIRST_TARGET, MAX_TARGET / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(lateness: impl Fn(i64) -> Ticks, count: i64) -> Arrivals {
        let mut arrivals = Arrivals::new();
        for n in 0..count {
            arrivals.observe(n * 20 * MS, 12_345 + lateness(n), false);
        }
        arrivals
    }

    #[test]
    fn punctual_packets_bring_the_target_down_to_20_ms() {
        let steady = arrivals(|_| 0, 20);
        assert_eq!(steady.target(), FIRST_TARGET, "not on the word of 20 packets");
        assert_eq!(arrivals(|_| 0, 100).target(), MIN_TARGET);
        assert_eq!(arrivals(|_| 0, 100).jitter(), 0);
    }

    #[test]
    fn the_target_covers_the_jitter_and_never_passes_200_ms() {
        let jittery = arrivals(|n| n * 7 % 41 * MS, 300);
        assert_eq!(jittery.base(), 12_345);
        assert_eq!(jittery.target(), 60 * MS);
        assert_eq!(arrivals(|n| n * 7 % 4_001 * MS, 300).target(), MAX_TARGET);
    }

    #[test]
    fn one_straggler_in_a_hundred_does_not_count() {
        assert_eq!(arrivals(|n| if n == 200 { 500 * MS } else { 0 }, 300).target(), MIN_TARGET);
    }

    #[test]
    fn a_network_that_became_faster_is_measured_anew_without_what_it_overtook() {
        let mut faster = arrivals(|n| if n < 300 { n % 30 * MS } else { -450 * MS }, 301);
        assert_eq!(faster.base(), 12_345 - 450 * MS);
        let measured = faster.target();
        assert!(measured <= 49 * MS);
        for n in 0..20 {
            faster.observe((6_020 + n) * MS, 12_345 - n * MS, true);
        }
        assert_eq!(faster.target(), measured);
    }

    #[test]
    fn the_base_follows_a_slow_clock() {
        let slow = arrivals(|n| n * 20 * MS / 1_000, 3_000);
        let behind = slow.lateness(12_345 + 60 * MS);
        assert!(behind <= Some(6 * MS), "{behind:?}");
        assert!(slow.target() <= 26 * MS);
    }

    #[test]
    fn jitter_is_what_rfc_3550_calls_jitter() {
        // transit alternates between 0 and 10 ms: the mean difference is 10 ms
        assert!((arrivals(|n| n % 2 * 10 * MS, 300).jitter() - 10 * MS).abs() < MS / 4);
    }
}
