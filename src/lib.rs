//! galene-sips: a secure-by-default gateway between SIP phones and Galène conferences.
//!
//! The modules are the stations of a call's journey, in travelling order:
//!
//! ```text
//!  phone ──TLS──▶ io ─▶ sip ─▶ sdp ─▶ policy ─▶ keying ─▶ srtp ─▶ audio ─▶ room ─▶ galene ─▶ io ──WSS/UDP──▶ Galène
//!                        text   offer   verdict    keys      packets  frames   mixing   WebRTC
//!                        └────── call: one phone call owns one of each ──────┘
//! ```
//!
//! Everything below [`io`] is sans-IO: a machine takes `(now, input)` and is polled for outputs until it says
//! when to wake it. It reads no clock, opens no socket and draws no randomness of its own.
//! Imports go only down the layer table of ARCHITECTURE.md; a test reads that table.

pub mod units;
pub mod secret;

pub mod sip;
pub mod sdp;
pub mod policy;
pub mod keying;
pub mod peers;
pub mod srtp;
pub mod audio;
pub mod room;
pub mod galene;
pub mod call;
pub mod audit;

pub mod config;
pub mod io;
pub mod cli;
