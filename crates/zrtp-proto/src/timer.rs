//! Retransmission and rate limits as data (RFC 6189 §6). No clock: every moment comes from outside.

use crate::Schedule;
use std::time::{Duration, Instant};

/// A running row of retransmissions.
#[derive(Debug)]
pub(crate) struct Repeats {
    pub(crate) at: Instant,
    interval: Duration,
    sent: u32,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Repeat,
    Exhausted,
}

impl Repeats {
    /// The message has just been sent for the first time.
    pub(crate) fn start(now: Instant, schedule: &Schedule) -> Self {
        Repeats { at: now + schedule.first, interval: schedule.first, sent: 0 }
    }

    /// What to do at this moment; the schedule may have become longer meanwhile. "Starts at T1 seconds and doubles after
    /// every retransmission, capping at".
    pub(crate) fn due(&mut self, now: Instant, schedule: &Schedule) -> Due {
        if now < self.at {
            return Due::Nothing;
        }
        if self.sent >= schedule.count {
            return Due::Exhausted;
        }
        self.sent += 1;
        self.interval = (self.interval * 2).min(schedule.cap);
        self.at = now + self.interval;
        Due::Repeat
    }
}

impl Schedule {
    /// From the first transmission to the end.
    pub(crate) fn total(&self) -> Duration {
        let mut interval = self.first;
        let mut total = interval;
        for _ in 0..self.count.min(10_000) {
            interval = (interval * 2).min(self.cap);
            total += interval;
        }
        total
    }
}

/// Bounds answers to messages that nobody authenticates: ten at once, twenty a second.
#[derive(Debug)]
pub(crate) struct Limit {
    left: u32,
    since: Option<Instant>,
}

const BURST: u32 = 10;
const EVERY: Duration = Duration::from_millis(50);

impl Limit {
    pub(crate) fn new() -> Self {
        Limit { left: BURST, since: None }
    }

    /// Whether one more answer is allowed now.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned =
            (now.saturating_duration_since(since).as_millis() / EVERY.as_millis()).min(u128::from(BURST)) as u32;
        if earned > 0 {
            self.left = (self.left + earned).min(BURST);
            self.since = Some(now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timers;

    #[test]
    fn the_schedules_last_as_long_as_the_rfc_says() {
        let timers = Timers::default();
        // the RFC counts the waits between transmissions: "50 + 100 + 18*200 ms", "150 + 300 + 600 + 7*1200 ms"
        let waits = |schedule: &Schedule| schedule.total() - schedule.cap;
        assert_eq!(waits(&timers.hello), Duration::from_millis(3750));
        assert_eq!(waits(&timers.exchange), Duration::from_millis(9450));
        assert!(waits(&timers.hello_expected) >= Duration::from_secs(12));
    }

    #[test]
    fn repeats_double_up_to_the_cap_and_end() {
        let start = Instant::now();
        let schedule = Timers::default().hello;
        let mut repeats = Repeats::start(start, &schedule);
        let mut moments = Vec::new();
        loop {
            let now = repeats.at;
            match repeats.due(now, &schedule) {
                Due::Repeat => moments.push((now - start).as_millis()),
                _ => break,
            }
        }
        assert_eq!(moments[..4], [50, 150, 350, 550]);
        assert_eq!(moments.len(), 20);
    }

    #[test]
    fn answers_are_limited_and_recover() {
        let start = Instant::now();
        let mut limit = Limit::new();
        assert_eq!((0..50).filter(|_| limit.allows(start)).count(), 10);
        assert_eq!((0..50).filter(|_| limit.allows(start + Duration::from_millis(110))).count(), 2);
        assert_eq!((0..50).filter(|_| limit.allows(start + Duration::from_secs(60))).count(), 10);
    }
}
