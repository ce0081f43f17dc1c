//! One participant of a Galène group, over WebSocket and WebRTC.
//!
//! In: the server's WebSocket messages, UDP datagrams, Opus packets to publish. Out: messages and datagrams to send,
//! sockets to open, and [`Event`]s: who joined, who talks, what they say and write. Specified by `galene-protocol.md`
//! of the Galène project, protocol version 2.
//!
//! ```text
//!  invitation ─▶ address ─GET .status─▶ status ─▶ wss endpoint       before there is a connection
//!  text ──▶ message ──▶ client ──▶ stream ──▶ link (str0m) ──▶ datagrams
//! ```
//!
//! Sans-IO. Never follows a redirect, never resolves a name that a message contains, never uses an operator's rights.

mod address;
mod client;
mod event;
mod link;
mod message;
mod status;
mod stream;
#[cfg(test)]
mod tests;

pub use address::{AddressError, GroupAddress};
pub use client::{Client, ClientConfig, Credentials, Role};
pub use event::{Chat, Event, NoticeLevel, Output, StreamId, UserChange};
pub use link::warm_up;
pub use message::MESSAGE_LIMIT;
pub use status::{Endpoint, StatusError};
