//! The only place that says yes.
//!
//! In come facts and the account's [`Rules`]; out comes a [`Verdict`]: a proof that the next step demands,
//! or a [`Refusal`] that says what happened, why, and what to do. [`judge`] is one pure function: no message, clock,
//! socket or secret reaches it, so its whole table can be tested.
//!
//! There is one proof per moment, and each can be had in one way only: by asking [`judge`] with facts that deserve it.
//! A test of another module that needs a proof does the same:
//!
//! ```
//! use galene_sips::policy::*;
//! use galene_sips::units::CallNumber;
//!
//! let rules = Rules::strict("alice@sip.example.org");
//! let facts = KeyFacts {
//!     call: CallNumber(1),
//!     signalling: SignallingLevel::Verified,
//!     method: KeyingMethod::Sdes,
//!     suite: SuiteStrength::Full,
//!     current: None,
//! };
//! let proof: MayKey = judge(&rules, &facts).allowed()?;
//! assert_eq!(proof.level(), MediaLevel::Srtp);
//! # Ok::<(), Refusal>(())
//! ```
//!
//! Nothing else makes one:
//!
//! ```compile_fail
//! use galene_sips::policy::*;
//! use galene_sips::units::CallNumber;
//!
//! let forged = MayKey { call: CallNumber(1), level: MediaLevel::Srtp, exception: None };
//! ```
//!
//! and a proof is good for one step, so it cannot be copied. This compiles for a refusal,
//!
//! ```
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::Refusal>();
//! ```
//!
//! and for no proof:
//!
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayConnect>();
//! ```
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayAuthenticate>();
//! ```
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayAnswer>();
//! ```
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayKey>();
//! ```
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayReceive>();
//! ```
//! ```compile_fail
//! fn copies<T: Clone>() {}
//! copies::<galene_sips::policy::MayBeClear>();
//! ```
//!
//! What the rules refuse, a dated [`Exception`] can allow, and nothing else. One comes into force on a day that somebody names,
//! by [`AccountRules::on`]; a proof that rests on one carries it. Nobody else puts one into force:
//!
//! ```compile_fail,E0423
//! use galene_sips::policy::*;
//!
//! fn forged(exception: std::sync::Arc<Exception>) -> InForce {
//!     InForce(vec![exception])
//! }
//! ```

mod exception;
mod facts;
mod floors;
mod rules;
mod verdict;

pub use exception::{AccountRules, Downgrade, Exception, InForce};
pub use facts::{
    Chain, ClearFacts, Connecting, Current, Directions, Handshake, HandshakeFault, KeyFacts, KeyingMethod, Login,
    LoginScheme, MediaLevel, Name, OfferFacts, OfferedKeying, Pin, SignallingLevel, SuiteStrength, TlsPeer, TlsVersion,
    Transport, UnconfirmedKeyFacts, Validity, ZrtpOutcome,
};
pub use floors::Floors;
pub use rules::{Moment, Rules, ZrtpHash, judge};
pub use verdict::{
    MayAnswer, MayAuthenticate, MayBeClear, MayConnect, MayKey, MayLogIn, MayReceive, Never, Receiving, Refusal, Rule,
    Verdict,
};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
