//! Real programs for the tests: each wrapper starts one program of Debian's (or a Galène), drives it and stops it.
//!
//! Everything but the DNS server ([`dns`]) runs inside a network namespace of its own ([`netns::Netns`]), so nothing leaves
//! the machine and two test processes never meet. A missing program is a [`Failure`] that names it and its package, never a skipped test.
//! The wrappers block; use them from an ordinary `#[test]`, or from a multi-threaded runtime.

pub mod baresip;
pub mod capture;
pub mod chromium;
pub mod devtools;
pub mod dns;
pub mod galene;
pub mod gateway;
pub mod kamailio;
pub mod linphone;
pub mod meeting;
pub mod netns;
pub mod openssl;
pub mod program;
pub mod providers;
pub mod rig;
pub mod server;
pub mod speech;
pub mod tls_servers;

/// Whether the long runs are wanted: `GALENE_SIPS_FULL=1`.
pub fn full() -> bool {
    std::env::var("GALENE_SIPS_FULL").is_ok_and(|value| value == "1")
}

/// What went wrong with a real program, in words for the person who reads the test's output.
pub struct Failure(String);

/// The result of everything in this module.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// `unwrap` prints Debug: the same readable text, with its line breaks.
impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Adds to a lower error what was being done, as a [`Failure`].
pub trait Context<T> {
    /// The value, or a failure `what: error`.
    fn context(self, what: impl std::fmt::Display) -> Result<T>;
}

impl<T, E: std::fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl std::fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {error}")))
    }
}
