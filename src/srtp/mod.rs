//! SRTP and SRTCP (RFC 3711) with the six suites of [`Suite`] and no other; RTP and RTCP (RFC 3550) around them.
//!
//! In: a [`MasterKey`] and policy's proof that it may be used; then payloads to [`Protector`], datagrams to [`Unprotector`].
//! Out: [`Sealed`] packets, the only thing that a media socket sends, and payloads that authenticated. What a dated exception lets
//! be clear goes through [`ClearSender`] and [`ClearReceiver`], which nothing but its proof makes.
//!
//! Never: otherwise a packet without authentication, without encryption or twice; state for a packet that did not authenticate;
//! an allocation per packet; a MKI, a key derivation rate other than 0, or NULL and F8 ciphers.
//!
//! A socket that sends [`Sealed`] packets only,
//!
//! ```
//! use galene_sips::srtp::Sealed;
//!
//! fn send(packet: &Sealed) -> usize {
//!     packet.as_bytes().len()
//! }
//! ```
//!
//! sends nothing that was not sealed here, for nobody else can make one:
//!
//! ```compile_fail,E0451
//! use galene_sips::srtp::{MAX_PACKET, Sealed};
//!
//! let forged = Sealed { bytes: [0; MAX_PACKET], len: 12 };
//! ```
//!
//! And nobody gets keys to work without policy's proof:
//!
//! ```compile_fail,E0061
//! use galene_sips::srtp::{MasterKey, Protector};
//!
//! fn keys(master: &MasterKey) {
//!     let _ = Protector::new(master);
//! }
//! ```
//!
//! and nobody sends in clear without the proof of an exception:
//!
//! ```compile_fail,E0061
//! use galene_sips::srtp::ClearSender;
//!
//! fn clear() -> ClearSender {
//!     ClearSender::new()
//! }
//! ```

mod cipher;
mod clear;
mod demultiplex;
mod kdf;
mod protect;
mod reception;
mod replay;
pub mod rtcp;
mod rtp;
mod sources;
mod suite;
#[cfg(test)]
mod tests;
mod unprotect;

pub use clear::{ClearReceiver, ClearSender};
pub use demultiplex::Datagram;
pub use kdf::{KeyError, MasterKey};
pub use protect::{ProtectError, Protector, RtpOut, Sealed};
pub use reception::Reception;
pub use rtp::RtpHeader;
pub use suite::Suite;
pub use unprotect::{Rejected, RtpPacket, Unprotector};

/// The longest packet that is sent: what an Ethernet frame carries.
pub const MAX_PACKET: usize = 1500;
