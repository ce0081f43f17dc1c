//! The responder: contention, DHPart1, Confirm1, Conf2ACK (RFC 6189 §4.2, §4.4.1.2, §4.6).

use super::confirming::Refusal;
use super::initiator::commitment;
use super::state::{Candidate, Confirmed, Exchange, Keyed, SentCommit, SentDhPart1, State};
use super::{Engine, Trust};
use crate::chain::continues;
use crate::derive::{Keys, Transcript};
use crate::hash::message_mac_holds;
use crate::message::{self, Commit, Confirm, DhPart};
use crate::retained::Known;
use crate::secret::same;
use crate::{Agreement, BadPublicValue, Dropped, Failure, Lookup, Output, Role, Secret, Suite};
use std::time::Instant;

impl Engine {
    pub(super) fn on_commit(
        &mut self,
        now: Instant,
        ssrc: u32,
        commit: &Commit<'_>,
        octets: &[u8],
    ) -> Result<Trust, Dropped> {
        if let State::SentDhPart1(state) = &self.state {
            return self.repeat_dh_part1(state.exchange.commit == octets);
        }
        if !matches!(self.state, State::Discovery | State::SentCommit(_)) {
            return Err(Dropped::Unexpected);
        }
        // H2 = the preimage of the H3 in the peer's Hello: this also tells the peer's Hello from a forged one
        let mut candidates = self.candidates.iter().filter(|candidate| candidate.ssrc == ssrc);
        let peer = candidates.find(|peer| continues(&commit.h2, &peer.hello.h3)).cloned().ok_or(Dropped::HashChain)?;
        if !message_mac_holds(&commit.h2, &peer.message) {
            return self.fail_with(now, Failure::HelloMac);
        }
        if commit.zid != peer.hello.zid {
            return self.fail_with(now, Failure::Malformed);
        }
        if let State::SentCommit(own) = &self.state {
            match contention(&own.hvi, commit) {
                Contention::WeWin => return Err(Dropped::LostContention),
                Contention::Software => return self.fail_with(now, Failure::Multistream),
                Contention::TheyWin => {}
            }
        }
        let suite = match commit.suite(&self.config.offer) {
            Ok(suite) => suite,
            Err(failure) => return self.fail_with(now, failure),
        };
        let Some((hvi, value)) = commit.commitment(suite.agreement) else {
            return self.fail_with(now, Failure::Malformed);
        };
        let (known, own_half) = self.take_over(&peer)?;
        let half = match self.responder_half(&suite, own_half, value) {
            Ok(half) => half,
            Err(BadPublicValue) => return self.fail_with(now, Failure::PublicValue),
        };
        let ids = known.ids(suite.hash, Role::Responder, &self.chain.h3, self.random.as_mut());
        let part1 =
            message::build_with_mac(b"DHPart1 ", &[&self.chain.h1, &ids.octets(), half.part_value()], &self.chain.h0);
        self.end_discovery();
        self.repeats = None;
        self.silence_at = Some(now + self.config.timers.silence);
        self.transmit(&part1);
        let trust = Trust::from_announced(peer.announced);
        let exchange = Exchange { peer, suite, known, commit: octets.to_vec() };
        self.state = State::SentDhPart1(Box::new(SentDhPart1 { exchange, half, part1, peer_h2: commit.h2, hvi: *hvi }));
        Ok(trust)
    }

    fn repeat_dh_part1(&mut self, same_commit: bool) -> Result<Trust, Dropped> {
        let State::SentDhPart1(state) = &self.state else { return Err(Dropped::Unexpected) };
        if !same_commit {
            return Err(Dropped::Unexpected);
        }
        let (part1, trust) = (state.part1.clone(), Trust::from_announced(state.exchange.peer.announced));
        self.transmit(&part1);
        Ok(trust)
    }

    /// What we know of the peer, and what is left of our own Commit if it has just lost the contention.
    fn take_over(&mut self, peer: &Candidate) -> Result<(Known, Option<OwnHalf>), Dropped> {
        match core::mem::replace(&mut self.state, State::Discovery) {
            State::SentCommit(own) if own.exchange.peer.hello.zid == peer.hello.zid => {
                let SentCommit { exchange, half, .. } = *own;
                return Ok((exchange.known, Some(OwnHalf { suite: exchange.suite, half })));
            }
            other => self.state = other,
        }
        let entry = match self.cache.lookup(&peer.hello.zid) {
            Lookup::Busy => return Err(Dropped::Busy),
            Lookup::Unknown => None,
            Lookup::Known(entry) => Some(entry),
        };
        Ok((Known::new(entry, self.config.aux_secret.as_ref().map(Secret::duplicate)), None))
    }

    /// "The responder's DH public value should only be discarded if it does not match the initiator's DH key size" (§4.2).
    fn responder_half(
        &mut self,
        suite: &Suite,
        own: Option<OwnHalf>,
        commit_value: &[u8],
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        if let Some(own) = own {
            let fits = own.suite.agreement == suite.agreement && own.suite.cipher == suite.cipher;
            // a value that travelled in our Commit belongs to the initiator's role
            if fits && own.half.commit_value().is_empty() {
                return Ok(own.half);
            }
        }
        self.agreements.responder(suite.agreement, suite.cipher, suite.hash, commit_value, self.random.as_mut())
    }

    pub(super) fn on_dh_part2(&mut self, now: Instant, part: &DhPart<'_>, octets: &[u8]) -> Result<Trust, Dropped> {
        if let State::SentConfirm1(keyed) = &self.state {
            return self.repeat_confirm1(keyed.peer_part == octets);
        }
        let State::SentDhPart1(state) = &self.state else { return Err(Dropped::Unexpected) };
        let suite = state.exchange.suite;
        if part.value.len() != suite.agreement.sizes().part2 {
            return Err(Dropped::Length);
        }
        if !continues(&part.h1, &state.peer_h2) {
            return Err(Dropped::HashChain);
        }
        if !message_mac_holds(&part.h1, &state.exchange.commit) {
            return self.fail_with(now, Failure::CommitMac);
        }
        // before anything is done with the public value: this commitment is what makes a short SAS enough
        if !same(&commitment(suite.hash, octets, &self.hello), &state.hvi) {
            return self.fail_with(now, Failure::Commitment);
        }
        let State::SentDhPart1(state) = core::mem::replace(&mut self.state, State::Discovery) else {
            return Err(Dropped::Unexpected);
        };
        let SentDhPart1 { exchange, half, part1, .. } = *state;
        let Ok(dh_result) = half.finish(part.value, suite.hash) else {
            self.state = State::Failed(Some(Box::new(exchange.peer)));
            return self.fail_with(now, Failure::PublicValue);
        };
        let shared = exchange.known.compare(suite.hash, Role::Initiator, &exchange.peer.hello.h3, &part.ids);
        let transcript = Transcript {
            responder_hello: &self.hello,
            commit: &exchange.commit,
            part1: &part1,
            part2: octets,
            initiator: exchange.peer.hello.zid,
            responder: self.config.zid,
        };
        let keys = Keys::derive(&suite, &transcript, &dh_result, &shared);
        let (continuity, aux) = (exchange.known.continuity(&shared), exchange.known.aux(&shared));
        let trust = Trust::from_announced(exchange.peer.announced);
        let (peer_part, peer_h1) = (octets.to_vec(), part.h1);
        let mut keyed =
            Keyed { exchange, keys, continuity, aux, peer_part, peer_h1, answer: Vec::new(), bad_confirms: 0 };
        keyed.answer = self.own_confirm(Role::Responder, &keyed);
        self.transmit(&keyed.answer);
        self.state = State::SentConfirm1(Box::new(keyed));
        Ok(trust)
    }

    fn repeat_confirm1(&mut self, same_part2: bool) -> Result<Trust, Dropped> {
        let State::SentConfirm1(keyed) = &self.state else { return Err(Dropped::Unexpected) };
        if !same_part2 {
            return Err(Dropped::Unexpected);
        }
        let (confirm1, trust) = (keyed.answer.clone(), Trust::from_announced(keyed.exchange.peer.announced));
        self.transmit(&confirm1);
        Ok(trust)
    }

    pub(super) fn on_confirm2(&mut self, now: Instant, confirm: &Confirm<'_>, octets: &[u8]) -> Result<Trust, Dropped> {
        if let State::Secure(done) = &self.state {
            // our Conf2ACK got lost; bzrtp does not take SRTP in its place, so this is answered for ever
            if done.confirm2 != octets {
                return Err(Dropped::Unexpected);
            }
            let trust = Trust::from_announced(done.peer.announced);
            self.answer(now, &message::build(b"Conf2ACK", &[]))?;
            return Ok(trust);
        }
        let State::SentConfirm1(keyed) = &self.state else { return Err(Dropped::Unexpected) };
        let plain = match self.open_confirm(keyed, Role::Initiator, confirm) {
            Err(Refusal::BadMac) => return self.on_bad_confirm(now),
            Ok(plain) => plain,
            Err(Refusal::Drop(dropped)) => return Err(dropped),
            Err(Refusal::Fail(failure)) => return self.fail_with(now, failure),
        };
        let State::SentConfirm1(keyed) = core::mem::replace(&mut self.state, State::Discovery) else {
            return Err(Dropped::Unexpected);
        };
        self.silence_at = None;
        let trust = Trust::from_announced(keyed.exchange.peer.announced);
        // the initiator may send SRTP as soon as it has our Conf2ACK: be ready before it leaves
        self.outputs.push_back(Output::ReceiveKeys(keyed.keys.srtp(Role::Initiator, &keyed.exchange.suite)));
        self.transmit(&message::build(b"Conf2ACK", &[]));
        self.finish(Role::Responder, Confirmed::new(*keyed, &plain), octets.to_vec());
        Ok(trust)
    }
}

/// The key agreement of a Commit of ours that lost.
struct OwnHalf {
    suite: Suite,
    half: Box<dyn Agreement>,
}

/// Whose Commit counts.
enum Contention {
    WeWin,
    TheyWin,
    /// "a software error has occurred and the ZRTP negotiation should be terminated"
    Software,
}

/// Both sides sent a Commit (§4.2). Ours is for a Diffie-Hellman mode.
fn contention(own_hvi: &[u8; 32], commit: &Commit<'_>) -> Contention {
    if commit.is_multistream() {
        return Contention::Software;
    }
    // "the Preshared Commit MUST be discarded and the DH Commit proceeds"
    if commit.is_preshared() {
        return Contention::WeWin;
    }
    // "the Commit message with the lowest hvi […] MUST be discarded", "compared as large unsigned integers"
    match commit.tail.first_chunk::<32>() {
        Some(theirs) if theirs > own_hvi => Contention::TheyWin,
        _ => Contention::WeWin,
    }
}
