//! A line's calls whose keys ZRTP agrees on: packets and time in, orders for the leg and the end of the exchange out.
//!
//! Nothing is said to be secure here but what `policy` allowed; a bad end is a BYE with its reason. A panic ends that call.

use super::{Line, Output};
use crate::keying::{Secured, Step, Zrtp};
use crate::peers::{Verification, Verifier};
use crate::policy::{Refusal, Rules, ZrtpOutcome};
use crate::room::LegOrder;
use crate::units::CallNumber;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

impl Line {
    /// The phone can be reached, or more surely than before: Hellos begin, or begin anew.
    pub(super) fn start_zrtp(&mut self, now: Instant, number: CallNumber) {
        self.with_zrtp(now, number, |zrtp, _| zrtp.start(now));
        self.pump_zrtp(now, number);
    }

    /// A ZRTP packet on the call's port, from anybody.
    pub(super) fn zrtp_packet(&mut self, now: Instant, number: CallNumber, from: SocketAddr, packet: &[u8]) {
        let is_bound = self.with_zrtp(now, number, |zrtp, _| zrtp.packet(now, packet));
        if is_bound == Some(true) {
            self.order(number, LegOrder::Address(from));
        }
        self.pump_zrtp(now, number);
    }

    /// The phone has sent an authentic packet.
    pub(super) fn proved(&mut self, now: Instant, number: CallNumber) {
        self.with_zrtp(now, number, |zrtp, _| zrtp.heard(now));
        self.pump_zrtp(now, number);
    }

    /// People have compared the code of a call. Equal: the phone counts as verified from its next call on. Not equal: the call
    /// ends, and the secret of this exchange is forgotten. Whoever calls this has made sure who says so.
    ///
    /// # Errors
    /// A sentence for who said it: there is no such call, or it has no code.
    pub fn sas_compared(
        &mut self,
        now: Instant,
        number: CallNumber,
        equal: bool,
        by: Verifier,
    ) -> Result<(), &'static str> {
        let at = self.config.zrtp.clock.unix(now);
        let call = self.calls.get_mut(&number).ok_or("there is no such call")?;
        let (Some(secured), Some(zrtp)) = (&mut call.secured, &mut call.zrtp) else {
            return Err("this call has no code to compare");
        };
        tracing::info!(call = %number, equal, ?by, "the code was compared");
        call.judged_by = equal.then_some(Verification { at, by });
        zrtp.sas_compared(equal);
        if equal {
            secured.compared = true;
            secured.level = zrtp.level(&call.rules, ZrtpOutcome::SecureVerified).unwrap_or(secured.level);
        }
        self.pump_zrtp(now, number);
        if !equal {
            let why = "the code was not the same on both sides: somebody may be listening in between";
            self.end_and_leave(now, number, 488, why);
        }
        self.pump(now);
        Ok(())
    }

    pub(super) fn zrtp_timeout(&mut self, now: Instant) {
        let due = |zrtp: &Zrtp| zrtp.wake().is_some_and(|at| at <= now);
        let calls = self.calls.values().filter(|call| call.zrtp.as_ref().is_some_and(due)).map(|call| call.number);
        for number in calls.collect::<Vec<_>>() {
            self.with_zrtp(now, number, |zrtp, _| zrtp.handle_timeout(now));
            self.pump_zrtp(now, number);
        }
    }

    pub(super) fn zrtp_wake(&self) -> Option<Instant> {
        self.calls.values().filter_map(|call| call.zrtp.as_ref()?.wake()).min()
    }

    /// Does what the call's ZRTP wants, in its order.
    pub(super) fn pump_zrtp(&mut self, now: Instant, number: CallNumber) {
        while let Some(step) = self.with_zrtp(now, number, |zrtp, rules| zrtp.poll(rules)).flatten() {
            match step {
                Step::Send(packet) => self.order(number, LegOrder::Send(packet)),
                Step::Receive(unprotector) => self.order(number, LegOrder::Receive(unprotector)),
                Step::Remember(remember) => {
                    let clock = self.config.zrtp.clock;
                    let Some(call) = self.calls.get_mut(&number) else { return };
                    let person = call.judged_by.take();
                    if let Some(cache) = &call.cache {
                        self.outputs.push_back(Output::Keep(cache.remember(remember, person, clock.unix(now))));
                    }
                }
                Step::Warning(sentence) => self.tell_warning(number, sentence),
                Step::Secure(secured, protector) => {
                    self.secured(number, *secured);
                    self.order(number, LegOrder::Speak(protector));
                    self.tell_secured(now, number);
                }
                Step::Over(refusal) => return self.insecure(now, number, &refusal),
            }
        }
    }

    fn order(&mut self, number: CallNumber, order: LegOrder) {
        self.outputs.push_back(Output::Order(number, order));
    }

    fn secured(&mut self, number: CallNumber, secured: Secured) {
        tracing::info!(
            call = %number, level = secured.level.as_str(), suite = secured.suite.as_str(),
            key_agreement = secured.key_agreement, sas = secured.sas, verified = secured.verified,
            first_contact = secured.first_contact, cache_mismatch = secured.cache_mismatch, zid = %secured.zid, "ZRTP is secure"
        );
        if let Some(call) = self.calls.get_mut(&number) {
            if let Some(cache) = &call.cache {
                cache.release();
            }
            call.secured = Some(secured);
        }
    }

    /// The call cannot go on: before it was secure nothing was heard in either direction.
    fn insecure(&mut self, now: Instant, number: CallNumber, refusal: &Refusal) {
        tracing::warn!(
            call = %number, account = self.config.account, reason = refusal.reason, remedy = refusal.hint,
            rule = refusal.rule.as_str(), "the call ends without having become secure"
        );
        let why = format!("{}. {}", refusal.reason, refusal.hint);
        self.end_and_leave(now, number, refusal.sip_status, &why);
    }

    /// Runs one step of a call's ZRTP, if it has one, so that a panic in it ends that call alone.
    fn with_zrtp<T>(
        &mut self,
        now: Instant,
        number: CallNumber,
        step: impl FnOnce(&mut Zrtp, &Rules) -> T,
    ) -> Option<T> {
        let call = self.calls.get_mut(&number)?;
        let (zrtp, rules) = (call.zrtp.as_mut()?, &*call.rules);
        let done = catch_unwind(AssertUnwindSafe(|| step(zrtp, rules))).ok();
        if done.is_none() {
            tracing::error!(call = %number, "ZRTP panicked; the call ends");
            self.end_and_leave(now, number, 500, "a defect of the gateway");
        }
        done
    }
}
