//! Whether the flow is alive: CRLF pings and pongs (RFC 5626 §3.5.1, §4.4.1).
//!
//! Time comes in, "ping now" and "dead" come out. A pong that fails to come proves something only if the other side is
//! known to send them.

use crate::units::Random;
use std::time::{Duration, Instant};

/// How long a pong may take (RFC 5626 §4.4.1).
const PONG_WAIT: Duration = Duration::from_secs(10);
/// The longest interval, what Linphone does. RFC 5626 would allow more, but a dead flow is a phone that does not ring.
const INTERVAL: Duration = Duration::from_secs(30);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Beat {
    Nothing,
    Ping,
    Dead,
}

/// The keep-alive of one flow.
pub(super) struct Keepalive {
    interval: Duration,
    next_ping: Instant,
    pong_due: Option<Instant>,
    /// The registrar answers pings: it said so (`Require: outbound`, `Flow-Timer`) or it did before.
    answers: bool,
}

impl Keepalive {
    pub(super) fn new(now: Instant, random: &mut dyn Random) -> Self {
        let mut keepalive = Keepalive { interval: INTERVAL, next_ping: now, pong_due: None, answers: false };
        keepalive.plan(now, random);
        keepalive
    }

    /// Between 80 and 100 % of the interval (RFC 5626 §4.4.1).
    fn plan(&mut self, now: Instant, random: &mut dyn Random) {
        let mut byte = [0];
        random.fill(&mut byte);
        self.next_ping = now + self.interval * (80 + u32::from(byte[0]) % 21) / 100;
    }

    /// What the 200 to REGISTER says: the server wants a ping within `flow_timer`, or promises pongs.
    pub(super) fn promised(
        &mut self,
        now: Instant,
        flow_timer: Option<Duration>,
        outbound: bool,
        random: &mut dyn Random,
    ) {
        self.answers |= outbound || flow_timer.is_some();
        let interval = flow_timer.map_or(INTERVAL, |timer| timer.clamp(SHORTEST_INTERVAL, INTERVAL));
        if interval != self.interval {
            self.interval = interval;
            self.plan(now, random);
        }
    }

    pub(super) fn pong(&mut self) {
        if self.pong_due.take().is_some() {
            self.answers = true;
        }
    }

    pub(super) fn beat(&mut self, now: Instant, random: &mut dyn Random) -> Beat {
        if self.pong_due.is_some_and(|due| due <= now) {
            self.pong_due = None;
            if self.answers {
                return Beat::Dead;
            }
        }
        if self.next_ping <= now {
            self.plan(now, random);
            self.pong_due.get_or_insert(now + PONG_WAIT);
            return Beat::Ping;
        }
        Beat::Nothing
    }

    pub(super) fn wake(&self) -> Instant {
        self.pong_due.map_or(self.next_ping, |due| due.min(self.next_ping))
    }
}
