//! A line's dated exceptions: which of them count today, and what the log says of them.
//!
//! In: the day, from whoever has a clock, and new rules after a reload. Out: the rules by which calls that begin are judged, and
//! warnings. A call that has begun keeps the rules of its beginning, so a day that ends or a reload never changes a running call.

use super::{CallReport, report};
use super::{Line, PhoneCall};
use crate::policy::{AccountRules, Exception, MediaLevel};
use crate::sip::DialogId;
use crate::sip::digest::Password;
use crate::units::{CallNumber, Date};
use std::sync::Arc;
use std::time::Instant;

impl Line {
    /// Says which day it is. Before that no exception counts. True if the day is a new one.
    pub fn begin_day(&mut self, today: Date) -> bool {
        if self.today == Some(today) {
            return false;
        }
        let first = self.today.replace(today).is_none();
        self.rules = Arc::new(self.config.rules.on(today));
        for exception in self.config.rules.exceptions() {
            self.note(exception, today, first);
        }
        true
    }

    /// The configuration was read again.
    pub fn change_rules(&mut self, rules: AccountRules) {
        let known = std::mem::replace(&mut self.config.rules, rules);
        let today = self.today;
        self.rules = Arc::new(match today {
            Some(today) => self.config.rules.on(today),
            None => self.config.rules.without_exceptions(),
        });
        let Some(today) = today else { return };
        for exception in self.config.rules.exceptions() {
            self.note(exception, today, !known.exceptions().contains(exception));
        }
    }

    /// Another password from now on.
    pub fn change_password(&mut self, now: Instant, password: Password) {
        self.agent.change_password(now, password);
        self.pump(now);
    }

    /// Points an exception out: when it is new here, some days before its end, and when it is over.
    fn note(&self, exception: &Exception, today: Date, is_new: bool) {
        let (account, days_left) = (&self.config.account, exception.days_left(today));
        let Exception { allow, reason, expires, accepted_by } = exception;
        let (allow, meaning) = (allow.as_str(), allow.meaning());
        if exception.is_in_force(today) && (is_new || exception.is_to_be_remembered(today)) {
            tracing::warn!(account, allow, meaning, reason, %expires, accepted_by, days_left, "an exception is in force");
        } else if days_left == -1 || (is_new && days_left < 0) {
            let remedy = "remove it from the configuration, and what needed it";
            tracing::warn!(account, allow, %expires, remedy, "an exception is over: what it allowed is refused");
        }
    }

    /// The strongest of the calls but this one: a clear phone must not come to one that is encrypted end to end.
    pub(super) fn strongest_but(&self, dialog: Option<DialogId>) -> Option<MediaLevel> {
        let others = self.calls.values().filter(|call| Some(call.dialog) != dialog);
        others.filter_map(PhoneCall::current).map(|current| current.level).max()
    }

    pub(super) fn report_call(&self, call: &PhoneCall, now: Instant) -> CallReport {
        report(call, self.signalling_exception.as_ref(), now)
    }
}

pub(super) fn warn_of(exception: &Exception, call: CallNumber, what: &str) {
    let Exception { allow, reason, expires, accepted_by } = exception;
    tracing::warn!(%call, allow = allow.as_str(), reason, %expires, accepted_by, "{what}");
}
