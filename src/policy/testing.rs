//! Exceptions and their proofs, for the tests of other modules. As anywhere, only `judge` makes a proof.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::{AccountRules, ClearFacts, Downgrade, Exception, MayBeClear, Rules, judge};
use crate::units::{CallNumber, Date};
use std::sync::Arc;

/// The last day of [`exception`].
pub(crate) const LAST_DAY: Date = Date { year: 2027, month: 2, day: 1 };

pub(crate) fn exception(allow: Downgrade) -> Arc<Exception> {
    Arc::new(Exception {
        allow,
        reason: "PBX without SRTP until March".to_owned(),
        expires: LAST_DAY,
        accepted_by: "ops@example.org".to_owned(),
    })
}

/// The strictest rules with these exceptions.
pub(crate) fn excepting(account: &str, allow: &[Downgrade]) -> AccountRules {
    AccountRules::new(Rules::strict(account), allow.iter().map(|allow| exception(*allow)).collect())
}

pub(crate) fn may_be_clear() -> MayBeClear {
    let rules = excepting("gateway@example.org", &[Downgrade::MediaClear]).on(LAST_DAY);
    judge(&rules, &ClearFacts { call: CallNumber(1), current: None }).allowed().unwrap()
}
