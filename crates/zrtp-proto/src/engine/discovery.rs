//! Hello and HelloACK (RFC 6189 §4.1, §5.2, §5.3, §6), and when it is time to commit.

use super::state::{Candidate, State};
use super::{Engine, Trust};
use crate::message::{self, Hello, VERSION};
use crate::timer::Due;
use crate::{Dropped, Failure, Lookup, Output, Warning};
use core::cmp::Ordering;
use std::time::{Duration, Instant};

/// How many different Hellos are kept. More than one comes only from a forger, who must not crowd out the peer.
const MOST_CANDIDATES: usize = 4;
/// How long a Commit waits for another exchange with the same peer to end.
const BUSY: Duration = Duration::from_millis(200);
/// With several candidates only the peer's own Commit says which Hello is its own: it gets this much time for it.
const DOUBT: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) fn on_hello(&mut self, now: Instant, ssrc: u32, hello: Hello, octets: &[u8]) -> Result<Trust, Dropped> {
        if self.announced.is_some_and(|hash| !hash.matches(octets)) {
            self.warn(Warning::HelloNotAnnounced);
            return Err(Dropped::HelloHash);
        }
        if self.state.is_over() {
            return Err(Dropped::Unexpected);
        }
        let announced = self.announced.is_some();
        let known = self.candidates.iter().any(|candidate| candidate.message == octets && candidate.ssrc == ssrc);
        if !matches!(self.state, State::Discovery) {
            // the Hello is settled from Commit on; only a HelloACK that got lost is repeated
            if !known {
                return Err(Dropped::Unexpected);
            }
            self.transmit(&message::build(b"HelloACK", &[]));
            return Ok(Trust::from_announced(announced));
        }
        match compare_versions(&hello.version) {
            None => return Err(Dropped::Malformed),
            Some(order) => {
                // "A HelloACK is sent regardless if the version number in the Hello is supported" (§5.3)
                if order != Ordering::Equal {
                    self.answer(now, &message::build(b"HelloACK", &[]))?;
                }
                match order {
                    Ordering::Greater => return Err(Dropped::Version),
                    Ordering::Less => return self.fail_with(now, Failure::Version),
                    Ordering::Equal => {}
                }
            }
        }
        if hello.zid == self.config.zid {
            return self.fail_with(now, Failure::EqualZid);
        }
        if ssrc == self.config.ssrc {
            return self.fail_with(now, Failure::SsrcCollision);
        }
        if !known {
            self.add_candidate(now, Candidate { ssrc, hello, message: octets.to_vec(), announced })?;
        }
        self.transmit(&message::build(b"HelloACK", &[]));
        if self.early_ack == Some(ssrc) && self.hello_sent && !self.hello_acknowledged {
            self.acknowledged();
        }
        // a peer that begins late, or is heard for the first time, must hear us too
        if !self.hello_acknowledged && self.hello_repeats.is_none() {
            self.start(now);
        }
        self.plan_commit(now);
        Ok(Trust::from_announced(announced))
    }

    fn add_candidate(&mut self, now: Instant, candidate: Candidate) -> Result<(), Dropped> {
        if !self.candidates.is_empty() {
            self.warn(Warning::SecondHello);
        }
        // the same H3 with another content: somebody changed the Hello, and the first one stands until its MAC is checked
        let changed = self.candidates.iter().any(|other| other.hello.h3 == candidate.hello.h3);
        if changed || self.candidates.len() == MOST_CANDIDATES {
            return Err(Dropped::Unexpected);
        }
        if self.candidates.is_empty() {
            self.outputs.push_back(Output::PeerFound(candidate.describe()));
        } else {
            self.commit_at = self.commit_at.map(|at| at.max(now + DOUBT));
        }
        self.candidates.push(candidate);
        Ok(())
    }

    pub(super) fn on_hello_ack(&mut self, now: Instant, ssrc: u32) -> Result<Trust, Dropped> {
        if !matches!(self.state, State::Discovery) || self.hello_acknowledged || !self.hello_sent {
            return Err(Dropped::Unexpected);
        }
        if self.candidates.is_empty() {
            // whose it is the Hello will say; a forger's must not keep ours from the peer, so it goes on being repeated
            self.early_ack = Some(ssrc);
            return Ok(Trust::None);
        }
        self.acknowledged();
        self.plan_commit(now);
        Ok(Trust::None)
    }

    fn acknowledged(&mut self) {
        self.hello_acknowledged = true;
        self.hello_repeats = None;
    }

    /// A Commit "can only be sent after receiving both a Hello message and a HelloACK message" (§5.4).
    fn plan_commit(&mut self, now: Instant) {
        if !matches!(self.state, State::Discovery) || !self.hello_acknowledged || self.commit_at.is_some() {
            return;
        }
        let delay = match self.candidates.as_slice() {
            [] => return,
            // it never sends a Commit: waiting for one is useless
            [only] if only.hello.is_passive => Duration::ZERO,
            [_] => self.config.timers.commit_delay,
            _ => self.config.timers.commit_delay.max(DOUBT),
        };
        self.commit_at = Some(now + delay);
        self.commit_if_due(now);
    }

    pub(super) fn commit_if_due(&mut self, now: Instant) {
        if self.commit_at.is_none_or(|at| at > now) {
            return;
        }
        self.commit_at = None;
        let Some(peer) = self.candidates.first().cloned() else { return };
        match self.cache.lookup(&peer.hello.zid) {
            Lookup::Busy => self.commit_at = Some(now + BUSY),
            Lookup::Unknown => self.commit(now, peer, None),
            Lookup::Known(entry) => self.commit(now, peer, Some(entry)),
        }
    }

    pub(super) fn repeat_hello(&mut self, now: Instant) {
        let timers = &self.config.timers;
        // "If a ZRTP endpoint has evidence that the other party is a ZRTP endpoint […] it SHOULD extend its own Hello retry
        // schedule to span at least 12 seconds" (§6)
        let evidence = self.announced.is_some() || !self.candidates.is_empty();
        let schedule = if evidence { timers.hello_expected } else { timers.hello };
        let Some(repeats) = &mut self.hello_repeats else { return };
        match repeats.due(now, &schedule) {
            Due::Nothing => {}
            Due::Repeat => {
                let hello = self.hello.clone();
                self.transmit(&hello);
            }
            Due::Exhausted => {
                self.hello_repeats = None;
                self.unanswered();
            }
        }
    }

    pub(super) fn unanswered(&mut self) {
        if self.answer_by.take().is_some() && matches!(self.state, State::Discovery) {
            self.outputs.push_back(Output::Unanswered);
        }
    }
}

/// The peer's version against ours: "MUST include only the first three octets of the version field" (§4.1.1).
fn compare_versions(theirs: &[u8; 4]) -> Option<Ordering> {
    let [major, dot, minor, _] = theirs;
    let sane = major.is_ascii_digit() && *dot == b'.' && minor.is_ascii_digit();
    sane.then(|| theirs[..3].cmp(&VERSION[..3]))
}
