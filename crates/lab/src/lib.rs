//! The laboratory: what demo and tests share. Nothing of it is in the shipped program.
//!
//! It stands in for everything that the gateway meets: a certificate authority with good and bad certificates, a
//! Galène, a SIP provider, a phone and a bad network. It binds loopback addresses only, keeps its tasks in values
//! that end them when dropped, and is no oracle for what it shares with the library.

pub mod certificates;
pub mod group_peer;
pub mod group_server;
pub mod measure;
pub mod phone;
pub mod real;
pub mod registrar;
pub mod relay;
pub mod scene;
pub mod sound;
pub mod tls_responder;
pub mod tls_trap;
pub mod wav;

/// Why a part of the laboratory could not do its work. A test shows it and fails.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the laboratory's fallible functions return.
pub type Outcome<T> = Result<T, Failure>;
