//! The initiator: Commit, DHPart2, Confirm2 (RFC 6189 §4.4.1.1, §4.4.1.3, §4.6).

use super::confirming::Refusal;
use super::state::{Candidate, Confirmed, Exchange, Keyed, SentCommit, State};
use super::{Engine, Trust};
use crate::chain::continues;
use crate::derive::{Keys, Transcript};
use crate::hash::{hash, image, message_mac_holds};
use crate::message::{self, Confirm, DhPart};
use crate::retained::Known;
use crate::{CacheEntry, Dropped, Failure, Output, Role, Secret, negotiate};
use std::time::Instant;

impl Engine {
    /// Commits to a DHPart2 that is made now and never changed.
    pub(super) fn commit(&mut self, now: Instant, peer: Candidate, entry: Option<CacheEntry>) {
        let suite = negotiate::choose(&self.config.offer, &peer.hello);
        #[cfg(test)]
        let suite = self.recorded.suite.unwrap_or(suite);
        let known = Known::new(entry, self.config.aux_secret.as_ref().map(Secret::duplicate));
        let random = self.random.as_mut();
        let half = self.agreements.initiator(suite.agreement, suite.cipher, random);
        let ids = known.ids(suite.hash, Role::Initiator, &self.chain.h3, random);
        let part2 =
            message::build_with_mac(b"DHPart2 ", &[&self.chain.h1, &ids.octets(), half.part_value()], &self.chain.h0);
        // hvi = hash(initiator's DHPart2 message || responder's Hello message), the leftmost 256 bits
        let hvi = commitment(suite.hash, &part2, &peer.message);
        let commit = message::build_with_mac(
            b"Commit  ",
            &[&self.chain.h2, &self.config.zid.0, &suite.names(), &hvi, half.commit_value()],
            &self.chain.h1,
        );
        #[cfg(test)]
        let (commit, hvi) = self.recorded.losing_commit(commit, hvi);
        self.end_discovery();
        self.transmit_until_answered(now, commit.clone());
        let exchange = Exchange { peer, suite, known, commit };
        self.state = State::SentCommit(Box::new(SentCommit { exchange, half, part2, hvi }));
    }

    pub(super) fn on_dh_part1(&mut self, now: Instant, part: &DhPart<'_>, octets: &[u8]) -> Result<Trust, Dropped> {
        let State::SentCommit(state) = &self.state else { return Err(Dropped::Unexpected) };
        let Exchange { peer, suite, .. } = &state.exchange;
        if part.value.len() != suite.agreement.sizes().part1 {
            return Err(Dropped::Length);
        }
        // "the initiator computes the responder's missing H2 by hashing the responder's H1" (§9)
        let peer_h2 = image(&part.h1);
        if !continues(&peer_h2, &peer.hello.h3) {
            return Err(Dropped::HashChain);
        }
        if !message_mac_holds(&peer_h2, &peer.message) {
            return self.fail_with(now, Failure::HelloMac);
        }
        let State::SentCommit(state) = core::mem::replace(&mut self.state, State::Discovery) else {
            return Err(Dropped::Unexpected);
        };
        let SentCommit { exchange, half, part2, .. } = *state;
        let suite = exchange.suite;
        let Ok(dh_result) = half.finish(part.value, suite.hash) else {
            self.state = State::Failed(Some(Box::new(exchange.peer)));
            return self.fail_with(now, Failure::PublicValue);
        };
        let shared = exchange.known.compare(suite.hash, Role::Responder, &exchange.peer.hello.h3, &part.ids);
        let transcript = Transcript {
            responder_hello: &exchange.peer.message,
            commit: &exchange.commit,
            part1: octets,
            part2: &part2,
            initiator: self.config.zid,
            responder: exchange.peer.hello.zid,
        };
        let keys = Keys::derive(&suite, &transcript, &dh_result, &shared);
        let (continuity, aux) = (exchange.known.continuity(&shared), exchange.known.aux(&shared));
        let trust = Trust::from_announced(exchange.peer.announced);
        self.transmit_until_answered(now, part2);
        self.state = State::SentDhPart2(Box::new(Keyed {
            exchange,
            keys,
            continuity,
            aux,
            peer_part: octets.to_vec(),
            peer_h1: part.h1,
            answer: Vec::new(),
            bad_confirms: 0,
        }));
        Ok(trust)
    }

    pub(super) fn on_confirm1(&mut self, now: Instant, confirm: &Confirm<'_>) -> Result<Trust, Dropped> {
        let State::SentDhPart2(keyed) = &self.state else { return Err(Dropped::Unexpected) };
        let plain = match self.open_confirm(keyed, Role::Responder, confirm) {
            Err(Refusal::BadMac) => return self.on_bad_confirm(now),
            Ok(plain) => plain,
            Err(Refusal::Drop(dropped)) => return Err(dropped),
            Err(Refusal::Fail(failure)) => return self.fail_with(now, failure),
        };
        let State::SentDhPart2(keyed) = core::mem::replace(&mut self.state, State::Discovery) else {
            return Err(Dropped::Unexpected);
        };
        // the responder may send SRTP as soon as it has our Confirm2: be ready before it leaves
        self.outputs.push_back(Output::ReceiveKeys(keyed.keys.srtp(Role::Responder, &keyed.exchange.suite)));
        let confirm2 = self.own_confirm(Role::Initiator, &keyed);
        self.transmit_until_answered(now, confirm2);
        let trust = Trust::from_announced(keyed.exchange.peer.announced);
        self.state = State::SentConfirm2(Box::new(Confirmed::new(*keyed, &plain)));
        Ok(trust)
    }

    /// Conf2ACK, or authentic SRTP in its place.
    pub(super) fn on_conf2_ack(&mut self) -> Result<Trust, Dropped> {
        let State::SentConfirm2(_) = &self.state else { return Err(Dropped::Unexpected) };
        let State::SentConfirm2(confirmed) = core::mem::replace(&mut self.state, State::Discovery) else {
            return Err(Dropped::Unexpected);
        };
        self.repeats = None;
        self.finish(Role::Initiator, *confirmed, Vec::new());
        Ok(Trust::None)
    }
}

/// hvi.
pub(super) fn commitment(kind: crate::Hash, part2: &[u8], responder_hello: &[u8]) -> [u8; 32] {
    let digest = hash(kind, &[part2, responder_hello]);
    let mut hvi = [0; 32];
    for (to, from) in hvi.iter_mut().zip(digest) {
        *to = from;
    }
    hvi
}
