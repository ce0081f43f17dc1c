//! What a line learns of its account for the ratchet, and how it is held to it.
//!
//! In: a registration, keys in force, a claimed caller. Out: rows for the store; rules with floors, by which `policy` judges.

use super::{Line, Output};
use crate::peers::{Caller, CallerBefore, Shown};
use crate::policy::{Floors, LoginScheme, MediaLevel, Rules, TlsVersion};
use crate::units::CallNumber;
use std::time::Instant;

impl Line {
    /// A person has cleared the account: the next connection begins as if nothing had been shown.
    pub fn ratchet_cleared(&mut self) {
        self.agent.may_weaken();
    }

    /// What a new call of this caller is judged by: the rules of today, and what account and caller are held to.
    pub(super) fn rules_for(&self, caller: &Caller, now: Instant) -> Rules {
        let zrtp = &self.config.zrtp;
        let floors = zrtp.ratchet.floors(&self.config.account, zrtp.clock.unix(now));
        let caller = self.caller_before(caller, now) == CallerBefore::Verified;
        Rules { floors: Floors { caller, ..floors }, ..Rules::clone(&self.rules) }
    }

    pub(super) fn caller_before(&self, caller: &Caller, now: Instant) -> CallerBefore {
        let zrtp = &self.config.zrtp;
        zrtp.ratchet.caller(&zrtp.peers, &self.config.account, caller, zrtp.clock.unix(now))
    }

    /// The provider has registered the account.
    pub(super) fn registered_with(&mut self, now: Instant) {
        if self.agent.digest_in_use() == Some(LoginScheme::DigestSha2) {
            self.succeeded(now, Shown::Digest);
        }
        if self.tls >= Some(TlsVersion::Tls13) {
            self.succeeded(now, Shown::Tls);
        }
    }

    /// A call has keys that both sides have confirmed, or acknowledged.
    pub(super) fn sound_is_protected(&mut self, now: Instant, number: CallNumber) {
        let protection = self.calls.get(&number).and_then(|call| call.protection());
        if protection.is_some_and(|(level, _)| level >= MediaLevel::Srtp) {
            self.succeeded(now, Shown::Media);
        }
    }

    fn succeeded(&mut self, now: Instant, shown: Shown) {
        let zrtp = &self.config.zrtp;
        if let Some(record) = zrtp.ratchet.succeeded(&self.config.account, shown, zrtp.clock.unix(now)) {
            self.outputs.push_back(Output::Hold(vec![record]));
        }
    }
}
