//! Where a server is: names to addresses, by the system's resolver.
//!
//! Only names that the operator configured are looked up, never one that a message names.

use std::net::SocketAddr;
use tokio::net::lookup_host;

/// A name could not be turned into an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the address of {host}: {why}")]
pub struct ResolveError {
    /// The name.
    pub host: String,
    /// What the system said.
    pub why: String,
}

/// All addresses of a host (A and AAAA), in the system's order (RFC 6724).
pub async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
    let fail = |why: String| ResolveError { host: host.to_owned(), why };
    let bare = host.trim_matches(['[', ']']);
    let found: Vec<SocketAddr> = lookup_host((bare, port)).await.map_err(|error| fail(error.to_string()))?.collect();
    match found.is_empty() {
        true => Err(fail("it has no address".to_owned())),
        false => Ok(found),
    }
}
