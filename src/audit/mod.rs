//! What encryption a SIP provider really supports, and whether this gateway would trust it.
//!
//! ```text
//!  io::audit ──probes──▶ provider
//!      │ facts::Facts: everything that was measured, nothing that was concluded
//!      ▼
//!  checks ──▶ findings ──▶ grade, verdict (policy::judge, as `run` asks it) ──▶ report: text, JSON, HTML
//! ```
//!
//! Everything here is pure: [`tls`] writes and reads handshakes, [`sip`] writes and reads requests, `io::audit` carries the
//! bytes. [`Facts`](facts::Facts) can be saved and judged again, so no conclusion hides in a probe. What could not be
//! measured is `Unknown`, with the reason, and never counts as good.

pub mod catalogue;
pub mod certificate;
mod checks;
pub mod facts;
pub mod finding;
mod grade;
mod judge;
pub mod ocsp;
pub mod report;
pub mod sip;
pub mod target;
pub mod tls;

pub use grade::is_worse;
pub use judge::{handshake, report};

#[cfg(test)]
mod tests;
