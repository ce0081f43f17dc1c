//! What TLS a server speaks, found out with hand-made handshakes that end after the server's first flight.
//!
//! ```text
//!  Scan ──Ask(Hello)──▶ io::audit::tls ──a fresh connection──▶ server
//!    ▲                        │
//!    └──────── Reply ◀─ Reader┘        … until Scan says Done: TlsFacts, and the certificate if it came in clear
//! ```
//!
//! No key is ever agreed on: TLS ≤ 1.2 shows suite, group and certificate before the client's key exchange, and TLS 1.3
//! names suite and group in a HelloRetryRequest when the client offers groups without a share (RFC 8446 §4.1.4). So a
//! group can be asked for that no library here can compute, post-quantum ones among them.

mod conclude;
pub mod groups;
pub mod hello;
pub mod reply;
pub mod scan;
pub mod suites;
