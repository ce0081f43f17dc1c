//! Where a server is: names to addresses, by the system's resolver.
//!
//! Only names that the operator configured are looked up, never one that a message names.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long the system's resolver may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
    let Ok(found) = timeout(PATIENCE, lookup_host((bare, port))).await else {
        return Err(fail(format!("no answer from DNS within {} s", PATIENCE.as_secs())));
    };
    let found: Vec<SocketAddr> = found.map_err(|error| fail(error.to_string()))?.collect();
    match found.is_empty() {
        true => Err(fail("it has no address".to_owned())),
        false => Ok(found),
    }
}
