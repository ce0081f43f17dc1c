//! What tests do to an engine from inside: replay a recording, or turn it into a peer that breaks the rules.
#![allow(clippy::unwrap_used, clippy::panic, reason = "only tests are here")]

use super::state::State;
use super::{Engine, own_hello};
use crate::algorithms::Name;
use crate::chain::OwnChain;
use crate::derive::Direction;
use crate::hash::{mac, short};
use crate::{Role, Suite, confirm, message};

/// Choices of a recorded endpoint.
#[derive(Default)]
pub(crate) struct Recorded {
    /// Its choice of algorithms.
    pub(crate) suite: Option<Suite>,
    /// Its Commit that lost the contention: it commits to a DHPart2 that was never sent and cannot be recomputed.
    pub(crate) commit: Option<Vec<u8>>,
}

impl Recorded {
    pub(crate) fn losing_commit(&self, commit: Vec<u8>, hvi: [u8; 32]) -> (Vec<u8>, [u8; 32]) {
        match &self.commit {
            None => (commit, hvi),
            Some(recorded) => {
                let mut hvi = [0; 32];
                hvi.copy_from_slice(&recorded[76..108]);
                (recorded.clone(), hvi)
            }
        }
    }
}

impl Engine {
    /// Replays: a Hello with these names, whether we speak them or not.
    pub(crate) fn replay(&mut self, lists: [Vec<Name>; 5], recorded: Recorded) {
        let mut hello = own_hello(&self.config, self.chain.h3);
        [hello.hashes, hello.ciphers, hello.auth_tags, hello.agreements, hello.sas_types] = lists;
        self.hello = hello.to_message(&self.chain.h2);
        self.recorded = recorded;
    }

    /// A Hello with these flags, version and SSRC.
    pub(crate) fn change_hello(&mut self, change: impl FnOnce(&mut message::Hello)) {
        let mut hello = own_hello(&self.config, self.chain.h3);
        change(&mut hello);
        self.hello = hello.to_message(&self.chain.h2);
    }

    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    pub(crate) fn hello_message(&self) -> &[u8] {
        &self.hello
    }

    pub(crate) fn chain_mut(&mut self) -> &mut OwnChain {
        &mut self.chain
    }

    /// A Commit with a right chain and MAC and this content.
    pub(crate) fn forge_commit(&self, names: &str, tail: &[u8]) -> Vec<u8> {
        let parts: &[&[u8]] = &[&self.chain.h2, &self.config.zid.0, names.as_bytes(), tail];
        message::build_with_mac(b"Commit  ", parts, &self.chain.h1)
    }

    /// Spoils the MAC of the DHPart that we have made, consistently: total_hash and hvi fit, only the MAC is wrong.
    pub(crate) fn spoil_dh_part_mac(&mut self) {
        match &mut self.state {
            State::SentDhPart1(state) => *state.part1.last_mut().unwrap() ^= 1,
            State::SentCommit(state) => {
                *state.part2.last_mut().unwrap() ^= 1;
                let suite = state.exchange.suite;
                state.hvi = super::initiator::commitment(suite.hash, &state.part2, &state.exchange.peer.message);
                let tail = [&state.hvi, state.half.commit_value()].concat();
                let parts: &[&[u8]] = &[&self.chain.h2, &self.config.zid.0, &suite.names(), &tail];
                let commit = message::build_with_mac(b"Commit  ", parts, &self.chain.h1);
                state.exchange.commit = commit.clone();
                self.repeats.as_mut().unwrap().1 = commit;
            }
            _ => panic!("no DHPart of our own"),
        }
    }

    /// A Confirm of ours with a right MAC and this text inside.
    pub(crate) fn forge_confirm(&self, sender: Role, text: &[u8]) -> Vec<u8> {
        let keyed = match &self.state {
            State::SentDhPart2(keyed) | State::SentConfirm1(keyed) => keyed,
            State::SentConfirm2(confirmed) => &confirmed.keyed,
            _ => panic!("no keys"),
        };
        let suite = &keyed.exchange.suite;
        let keys: &Direction = keyed.keys.direction(sender);
        let mut text = text.to_vec();
        confirm::cfb_for_tests(suite.cipher, keys.zrtp_key.expose(), [3; 16], &mut text);
        let tag = short(mac(suite.hash, keys.mac_key.expose(), &[&text]).expose());
        let kind = if sender == Role::Initiator { b"Confirm2" } else { b"Confirm1" };
        message::build(kind, &[&tag, &[3; 16], &text])
    }
}
