//! What a replay of a recorded handshake must take from the recording, because the engine would choose otherwise.

use crate::Suite;
use crate::algorithms::Name;

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

impl super::Engine {
    /// Replays: a Hello with these names, whether we speak them or not.
    pub(crate) fn replay(&mut self, lists: [Vec<Name>; 5], recorded: Recorded) {
        let mut hello = super::own_hello(&self.config, self.chain.h3);
        [hello.hashes, hello.ciphers, hello.auth_tags, hello.agreements, hello.sas_types] = lists;
        self.hello = hello.to_message(&self.chain.h2);
        self.recorded = recorded;
    }
}
