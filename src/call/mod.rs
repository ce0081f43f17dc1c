//! The dialog side of phone calls: one [`Line`] for each account, and on it its calls.
//!
//! In: bytes of the account's TLS connection, what the room says. Out: bytes, and what the room shall do. One INVITE
//! on its way:
//!
//! ```text
//!  INVITE ─▶ offer ─▶ judge ─┬─ no ─▶ 488 with a Warning
//!                            └─ MayAnswer ─▶ keys ─▶ MayKey ─▶ two UDP ports ─▶ 180, a place in the room
//!                                                                 room is ready ─▶ 200 ─▶ ACK ─▶ … ─▶ BYE
//! ```
//!
//! and one without an offer, where the phone's description comes last and is judged no less:
//!
//! ```text
//!  INVITE ─▶ judge ─┬─ no suite may be offered ─▶ 488
//!                   └─ two UDP ports ─▶ 200 with our offer ─▶ ACK with the answer ─▶ judge ─┬─ no ─▶ BYE with a Reason
//!                                                                 a place in the room ◀─ keys ◀─┘
//! ```
//!
//! Sans-IO. Sound never passes here. A panic in one call ends that call.

mod line;
mod name;
mod phone_call;
#[cfg(test)]
mod tests;

pub use line::{CallReport, Line, LineConfig, LineReport, MediaPorts, Output, SoundReport};
pub use name::{claimed_name, participant_name};
