//! Dated exceptions: what an operator wrote down to be allowed for some time, although the rules refuse it.
//!
//! In: what the configuration says, and a day. Out: the [`Rules`] of that day. [`AccountRules::on`] is the only thing that brings an
//! exception into force, so nobody can judge by one without saying which day it is.

use super::facts::MediaLevel;
use super::rules::Rules;
use crate::units::Date;
use std::fmt;
use std::sync::Arc;

/// What an exception allows: exactly one thing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Downgrade {
    /// The sound of a phone may be clear. It lowers the account's minimum, never what a room has written.
    MediaClear,
    /// Chain, name and dates of the provider's certificate need not be good. The connection is worth `unverified`.
    TlsUnverified,
    /// The provider's certificate may name it by a wildcard only.
    TlsWildcardName,
}

impl Downgrade {
    /// All.
    pub const ALL: [Downgrade; 3] = [Downgrade::MediaClear, Downgrade::TlsUnverified, Downgrade::TlsWildcardName];

    /// The name that the configuration, logs and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Downgrade::MediaClear => "media-clear",
            Downgrade::TlsUnverified => "tls-unverified",
            Downgrade::TlsWildcardName => "tls-wildcard-name",
        }
    }

    /// What it means, for people who do not know the name: the end of a sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Downgrade::MediaClear => "phones may call without encryption, and anyone on the way can listen",
            Downgrade::TlsUnverified => {
                "the provider's certificate is not checked, so anyone on the way can pretend to be the provider"
            }
            Downgrade::TlsWildcardName => "the provider's certificate may name it by a wildcard only",
        }
    }
}

impl fmt::Display for Downgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A downgrade that somebody wrote down for one account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exception {
    /// What it allows.
    pub allow: Downgrade,
    /// Why.
    pub reason: String,
    /// Its last day.
    pub expires: Date,
    /// Who answers for it.
    pub accepted_by: String,
}

/// Days before its end at which an exception is pointed out again.
const REMINDERS: [i64; 3] = [14, 7, 1];

impl Exception {
    /// Days until its last one; negative when it is over.
    pub fn days_left(&self, today: Date) -> i64 {
        self.expires.days_since(today)
    }

    /// Whether it allows anything on this day: its last day is one of them.
    pub fn is_in_force(&self, today: Date) -> bool {
        self.days_left(today) >= 0
    }

    /// Whether people should be reminded of it on this day.
    pub fn is_to_be_remembered(&self, today: Date) -> bool {
        REMINDERS.contains(&self.days_left(today))
    }
}

/// The exceptions in force on one day. Made by [`AccountRules::on`] alone; [`InForce::default`] is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InForce(Vec<Arc<Exception>>);

impl InForce {
    /// The exception that allows this, if there is one.
    pub(super) fn allows(&self, downgrade: Downgrade) -> Option<Arc<Exception>> {
        self.0.iter().find(|exception| exception.allow == downgrade).map(Arc::clone)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Exception>> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an account demands on any day: its rules, and the exceptions that were written down for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountRules {
    rules: Rules,
    exceptions: Vec<Arc<Exception>>,
}

impl AccountRules {
    /// These rules with these exceptions. Whatever `rules` had in force counts no more.
    pub fn new(rules: Rules, exceptions: Vec<Arc<Exception>>) -> Self {
        AccountRules { rules: Rules { exceptions: InForce::default(), ..rules }, exceptions }
    }

    /// The rules of a day.
    pub fn on(&self, today: Date) -> Rules {
        let in_force = self.exceptions.iter().filter(|exception| exception.is_in_force(today));
        Rules { exceptions: InForce(in_force.map(Arc::clone).collect()), ..self.rules.clone() }
    }

    /// The rules without any exception: what holds as long as nobody says which day it is.
    pub fn without_exceptions(&self) -> Rules {
        self.rules.clone()
    }

    /// Everything that was written down, also what is over.
    pub fn exceptions(&self) -> &[Arc<Exception>] {
        &self.exceptions
    }

    /// Why this exception changes nothing, if it does not.
    pub fn idle(&self, downgrade: Downgrade) -> Option<&'static str> {
        match downgrade {
            Downgrade::MediaClear if self.rules.room_minimum > MediaLevel::Clear => {
                Some("it has no effect: the room's own media_minimum is not lowered by it")
            }
            Downgrade::MediaClear if self.rules.tries_zrtp_first() => Some(
                "it has no effect: with zrtp_hash = \"optional\" ZRTP is tried with every phone that offers no key",
            ),
            _ => None,
        }
    }
}

impl From<Rules> for AccountRules {
    fn from(rules: Rules) -> Self {
        AccountRules::new(rules, Vec::new())
    }
}
