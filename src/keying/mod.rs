//! From what a session description proposes to keys at work: one seam for every way of agreeing on keys.
//!
//! In: an [`AudioOffer`](crate::sdp::AudioOffer) and policy's proof that it may be answered. Out: [`Keys`], an SRTP context
//! for each direction, which cannot be made without policy's second proof that the keys may be used.
//! This version agrees on keys in one way, [`Sdes`].

mod sdes;

pub use sdes::{Agreed, KeyingError, Sdes, offer, offered};

use crate::policy::MediaLevel;
use crate::srtp::{Protector, Suite, Unprotector};

/// The SRTP contexts of one call.
pub struct Keys {
    /// From us to the phone.
    pub protector: Protector,
    /// From the phone to us.
    pub unprotector: Unprotector,
    /// The suite of both.
    pub suite: Suite,
    /// What the sound is worth with these keys.
    pub level: MediaLevel,
}

#[cfg(test)]
mod tests;
