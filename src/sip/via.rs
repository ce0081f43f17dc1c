//! `Via`: the way a request came and its response goes back (RFC 3261 §20.42, RFC 3581 for `rport`).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::params::Params;
use super::syntax::{self, ParseError, WSP};
use super::uri::Host;

const MALFORMED: ParseError = ParseError::Malformed("Via");

/// One hop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Via {
    /// `TLS`, `TCP`, `UDP`… as written.
    pub transport: String,
    /// The sender's own idea of its host (`sent-by`).
    pub host: Host,
    /// The port of `sent-by`, if written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params,
}

impl Via {
    /// Reads one hop, `SIP/2.0/TLS host:port;params`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (hop, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        let mut parts = hop.splitn(3, '/').map(|part| part.trim_matches(WSP));
        let mut part = || parts.next().ok_or(MALFORMED);
        let (protocol, version, rest) = (part()?, part()?, part()?);
        let (transport, sent_by) = rest.split_once(WSP).ok_or(MALFORMED)?;
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" || !syntax::is_token(transport) {
            return Err(MALFORMED);
        }
        let (host, port) = Host::parse_with_port(sent_by.trim_start_matches(WSP))?;
        Ok(Via { transport: transport.to_owned(), host, port, params: Params::of_header(params)? })
    }

    /// The `branch` that names the transaction; RFC 2543 phones send none.
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// The address that the request was seen to come from, with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let address = self.params.get("received")?;
        address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address).parse().ok()
    }

    /// The port that the request was seen to come from (RFC 3581 §4).
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport").and_then(syntax::number)?.try_into().ok()
    }
}

impl FromStr for Via {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Via::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}
