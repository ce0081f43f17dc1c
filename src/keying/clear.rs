//! No keys: a description that proposes none, and an exception that lets its sound be clear.
//!
//! In: policy's proof that the description may be answered. Out: the two halves of a clear leg, which cannot be made without
//! policy's second proof.

use crate::policy::{ClearFacts, Exception, MayAnswer, Refusal, Rules, judge};
use crate::srtp::{ClearReceiver, ClearSender};
use std::sync::Arc;

/// The sound of a clear call, both ways.
pub struct Clear {
    /// From us to the phone.
    pub sender: ClearSender,
    /// From the phone to us.
    pub receiver: Box<ClearReceiver>,
    /// What allows it.
    pub exception: Arc<Exception>,
}

impl Clear {
    /// Answers a description without keys.
    ///
    /// # Errors
    /// Policy's refusal.
    pub fn new(proof: &MayAnswer, rules: &Rules) -> Result<Clear, Refusal> {
        let facts = ClearFacts { call: proof.call(), current: proof.current() };
        let may_be_clear = judge(rules, &facts).allowed()?;
        Ok(Clear {
            sender: ClearSender::new(&may_be_clear),
            receiver: Box::new(ClearReceiver::new(&may_be_clear)),
            exception: Arc::clone(may_be_clear.exception()),
        })
    }
}
