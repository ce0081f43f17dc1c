//! What the gateway remembers of ZRTP peers (RFC 6189 §4.9): retained secrets, and which of them a person has verified.
//!
//! In: what the engine asks and says ([`PeerCache`] is its cache), what a person found, what an administrator orders.
//! Out: knowledge for people, and [`Change`]s that `io` writes to the store in their order, and reports with [`PeerBook::written`].
//!
//! A peer is an account of ours, the caller's address and the ZID of its device, all three: a secret agreed on under one
//! address proves nothing under another. The flag "verified" is set by a person or was there before; what an engine says
//! can only take it away. A change that could not be written counts while the program runs, and [`Remembered::No`] says so.
//!
//! When is a secret on disk? *After* the exchange, off the path of the sound. §4.6.1 wants the cache updated after Confirm2 (responder)
//! or after Conf2ACK or the first authentic SRTP (initiator), which is when the engine says so; a later exchange reads the book, never
//! the disk. If the program dies in between, our newest secret is the peer's rs2, for which §4.6.1 keeps rs2: the next call still matches.

mod book;
mod cache;
mod caller;
mod peer;
mod ratchet;
#[cfg(test)]
mod tests;

pub use book::{Change, ChangeNumber, Edit, PeerBook, PeerQuery, Refused, Remembered, Summary};
pub use cache::{Acquaintance, PeerCache};
pub use caller::Caller;
pub use peer::{Kept, Peer, PeerKey, Verification, Verifier};
pub use ratchet::{CallerBefore, Ratchet, Record, Shown};
