//! The permission to make SRTP contexts, as a call with verified signalling gets it.

use galene_sips::policy::{KeyFacts, KeyingMethod, MayKey, Rules, SignallingLevel, SuiteStrength, judge};
use galene_sips::units::CallNumber;

pub(crate) fn proof() -> MayKey {
    let facts = KeyFacts {
        call: CallNumber(1),
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: SuiteStrength::Full,
        current: None,
    };
    judge(&Rules::strict("alice@sip.example.org"), &facts).allowed().unwrap()
}
