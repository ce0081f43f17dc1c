//! The four transaction machines (RFC 3261 §17 with the Accepted states of RFC 6026), for a reliable transport only.
//!
//! Requests and responses of one exchange come in; what to send, whether to tell the user agent, and when to look again
//! come out. Over TLS nothing is retransmitted here: timers A, E and G do not run, D, I, J and K are zero. What remains
//! are the limits of [`TIMEOUT`] (B, F, H, L, M), held as one deadline per transaction, so that no state outlives it.

use std::time::Duration;

mod client;
mod server;

pub(super) use client::{ClientTransaction, Expiry, Heard, Purpose, Sent};
pub(super) use server::{ServerMatch, ServerTransaction, ServerTransactions};

/// The estimate of a round trip (RFC 3261 §17.1.1.1).
pub(super) const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of a 2xx (RFC 3261 §13.3.1.4).
pub(super) const T2: Duration = Duration::from_secs(4);
/// 64*T1: how long one side waits for the other (timers B, F, H, L, M).
pub(super) const TIMEOUT: Duration = Duration::from_secs(32);
/// How long a called or calling phone may ring without news (timer C of RFC 3261 §16.6, used here for user agents).
pub(super) const RINGING: Duration = Duration::from_secs(180);

/// Names a transaction between the agent and its user. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionKey(pub(super) u64);
