//! Session descriptions: text in, what they offer out, and our own offers and answers.
//!
//! [`SessionDescription`] is the syntax (RFC 8866), [`CryptoAttribute`] one `a=crypto` line (RFC 4568),
//! [`Offer`] and [`Answer`] the meaning (RFC 3264) of what a phone sent, [`OurAnswer`] and [`OurOffer`] what we say.
//!
//! Bounded in every size, total over any input, and it never looks up a name that a description contains.
//! It decides nothing about security: that is `policy`'s, from facts that `keying` takes from here.

mod answer;
mod audio;
mod crypto;
mod layout;
mod offer;
mod text;

pub use answer::{Answer, AnswerError, OurAnswer};
pub use audio::{AudioOffer, Codec, Direction, OfferedCodec, Profile};
pub use crypto::{CryptoAttribute, CryptoError};
pub use layout::{Layout, Local};
pub use offer::{Offer, OfferError, OurOffer};
pub use text::{Attribute, Connection, Media, Origin, SdpError, SessionDescription};

#[cfg(test)]
mod tests;
