//! SIP over a stream: bytes of a TLS connection come in, requests and responses as values go out, and back.
//!
//! RFC 3261 with RFC 4475 as the judge of what to tolerate. Nothing here opens a socket, resolves a name or acts on a
//! URI that a message carries.

mod syntax;
mod head;
mod name_addr;
mod via;
pub mod params;
pub mod uri;
pub mod header;
pub mod message;
pub mod framing;
pub mod validate;
mod status;
pub mod digest;
mod transaction;
pub mod locate;
mod dialog;
mod registration;
pub mod agent;
pub mod peer_name;

pub use agent::{Agent, AgentConfig, Body, Event, Output, Reply, RequestError, Termination};
pub use dialog::DialogId;
pub use framing::{Frame, Framer};
pub use header::{CSeq, Headers, NameAddr, Via, printable};
pub use message::{Message, Method, Request, Response};
pub use params::Params;
pub use status::reason_phrase;
pub use syntax::ParseError;
pub use transaction::TransactionKey;
pub use uri::{Host, SipUri, Uri};
pub use validate::{Rejection, validate_request, validate_response};

#[cfg(test)]
mod tests;
