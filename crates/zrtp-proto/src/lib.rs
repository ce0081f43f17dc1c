#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// Layout: a packet travels wire → message → engine/{discovery, initiator, responder, secure}; keys come from agreement, retained
// and derive. `config`, `cache`, `random` and `output` are what the caller sees.

#[cfg(test)]
extern crate self as zrtp_proto; // the tests inside share the network of the tests outside

mod agreement;
mod chain;
mod confirm;
mod derive;
mod fragment;
mod hash;
mod message;
mod negotiate;
mod retained;
mod wire;
mod algorithms;
mod cache;
mod config;
mod engine;
mod error;
mod hello_hash;
mod output;
mod random;
mod sas;
mod secret;
mod timer;
#[cfg(test)]
mod tests;
mod words;

pub use agreement::software::Software;
pub use agreement::{Agreement, Agreements, BadPublicValue, Sizes};
pub use algorithms::{AuthTag, Cipher, Hash, KeyAgreement, Offer, SasType, Suite};
pub use cache::{Cache, CacheEntry, Lifetime, Lookup, NoCache, Remember, Retained};
pub use config::{Config, Schedule, Timers, Zid};
pub use engine::Engine;
pub use error::{Dropped, Failure};
pub use hello_hash::{HelloHash, NotAHelloHash};
pub use output::{AuxSecret, Continuity, Output, Peer, Receipt, Role, Secure, SrtpKeys, SrtpProfile, Warning};
pub use random::{AbsentSecret, Purpose, Random};
pub use sas::{Base32, Sas};
pub use secret::Secret;
pub use wire::is_zrtp;
