//! What an operator names to be audited: a domain, one server, or an account.

use std::fmt;
use std::net::IpAddr;

/// What is audited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The domain of the addresses, or the server's host, in lower case.
    pub host: String,
    /// The server's port, if it was named.
    pub port: Option<u16>,
    /// Whether a server was named, so that no search for the domain's servers is made.
    pub server: bool,
    /// The user part of an account's address.
    pub user: Option<String>,
}

/// It is none of the forms.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no target; write a domain (example.org), a server (sips:sip.example.org:5061) or an account (alice@example.org)"
)]
pub struct TargetError(String);

impl Target {
    /// Reads `DOMAIN`, `sips:HOST[:PORT]`, `user@domain` or `sip[s]:user@domain`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<Target, TargetError> {
        let wrong = || TargetError(crate::sip::printable(&text.chars().take(80).collect::<String>()));
        let trimmed = text.trim();
        let (scheme, rest) = match trimmed.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sips") || scheme.eq_ignore_ascii_case("sip") => {
                (Some(scheme.to_ascii_lowercase()), rest)
            }
            _ => (None, trimmed),
        };
        if let Some((user, domain)) = rest.split_once('@') {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()+%".contains(c);
            if user.is_empty() || !user.chars().all(plain) || !is_domain(domain) {
                return Err(wrong());
            }
            return Ok(Target { user: Some(user.to_owned()), server: false, port: None, host: lower(domain) });
        }
        match scheme.as_deref() {
            None if is_domain(rest) => Ok(Target { host: lower(rest), port: None, server: false, user: None }),
            Some("sips") => {
                let (host, port) = host_and_port(rest).ok_or_else(wrong)?;
                Ok(Target { host, port, server: true, user: None })
            }
            _ => Err(wrong()),
        }
    }

    /// The account's address, if one was named.
    pub fn account(&self) -> Option<String> {
        Some(format!("{}@{}", self.user.as_ref()?, self.host))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.user, self.server, self.port) {
            (Some(user), _, _) => write!(f, "{user}@{}", self.host),
            (None, false, _) => f.write_str(&self.host),
            (None, true, None) => write!(f, "sips:{}", self.host),
            (None, true, Some(port)) => write!(f, "sips:{}:{port}", self.host),
        }
    }
}

fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            (format!("[{address}]"), after.strip_prefix(':').or_else(|| after.is_empty().then_some(""))?)
        }
        None => match text.split_once(':') {
            Some((host, port)) if !port.is_empty() => (host.to_owned(), port),
            Some(_) => return None,
            None => (text.to_owned(), ""),
        },
    };
    let known = host.starts_with('[') || host.parse::<IpAddr>().is_ok() || is_domain(&host);
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok().filter(|port| *port != 0)?),
    };
    known.then(|| (lower(&host), port))
}

/// Letters, digits and hyphens between dots (RFC 952, RFC 1123); underscores are for services, not for hosts.
fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn the_forms_of_a_target() {
        for (text, shown) in [
            ("Example.ORG.", "example.org"),
            ("sips:sip.example.org", "sips:sip.example.org"),
            ("SIPS:sip.example.org:5062", "sips:sip.example.org:5062"),
            ("sips:192.0.2.1:5061", "sips:192.0.2.1:5061"),
            ("sips:[2001:db8::1]:5061", "sips:[2001:db8::1]:5061"),
            ("sips:[2001:db8::1]", "sips:[2001:db8::1]"),
            ("alice@example.org", "alice@example.org"),
            ("sip:alice@example.org", "alice@example.org"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Target::parse(text).map(|target| target.to_string()).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_said_to_be_none() {
        for text in [
            "",
            " ",
            "sip:example.org",
            "https://example.org",
            "a b",
            "-a.example",
            "example..org",
            "192.0.2.1",
            "@x",
            "a@",
            "sips:",
            "sips:host:0",
            "sips:host:65536",
            "sips:host:",
            "sips:[::1",
            "sips:[::1]x",
            "al\u{202e}ice@x.org",
            "a@b@c",
            "_sips._tcp.example.org",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
        let long = format!("{}.org", "a".repeat(64));
        assert!(Target::parse(&long).is_err());
        assert!(!Target::parse("x\u{1b}[31m").unwrap_err().to_string().contains('\u{1b}'));
    }
}
