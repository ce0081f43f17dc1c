//! The address of a group: what an invitation link says.
//!
//! In: `https://host[:port]/…/group/NAME/[?token=T]` as people paste it. Out: where to ask for the group's status, and
//! the token apart from it. Plain `http` is refused: the token would travel in clear.

use crate::secret::Secret;
use std::fmt;

/// The port of `https` and `wss` (RFC 9110 §4.2.2, RFC 6455 §3).
const DEFAULT_PORT: u16 = 443;

/// Where a group is, and the invitation to it. `Debug` and `Display` never show the token.
#[derive(Debug)]
pub struct GroupAddress {
    url: Url,
    name: String,
    token: Option<Secret<String>>,
}

/// Why a group's address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `http:`, `ws:`, or no scheme at all.
    #[error("the group's address does not begin with https:// ; copy the whole invitation link")]
    NotHttps,
    /// The part between the slashes is no host name or IP address.
    #[error("the group's address names no valid host; international names are written in their xn-- form")]
    BadHost,
    /// Not a number from 1 to 65535.
    #[error("the group's address has no valid port")]
    BadPort,
    /// `https://user:password@host`.
    #[error("the group's address contains a user name; user name and password have their own settings")]
    UserInfo,
    /// No `/group/NAME/`, or a name that Galène does not allow.
    #[error("the group's address has no valid /group/NAME/ in it")]
    NoGroup,
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the group's address has a broken percent escape")]
    BadEscape,
}

impl GroupAddress {
    /// Reads an invitation link, or the plain address of a group.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (mut url, query) = Url::parse(text.trim(), "https://")?;
        let path = url.path.trim_end_matches('/');
        let start = path.find("/group/").ok_or(AddressError::NoGroup)? + "/group/".len();
        let name = unescape(&path[start..])?;
        if !valid_group_name(&name) {
            return Err(AddressError::NoGroup);
        }
        url.path = format!("{path}/");
        let token = query.split('&').find_map(|pair| pair.strip_prefix("token=")).filter(|token| !token.is_empty());
        let token = token.map(unescape).transpose()?.map(Secret::new);
        Ok(GroupAddress { url, name, token })
    }

    /// The host that is configured: the only one that ever sees the token. Lower case, without brackets.
    pub fn host(&self) -> &str {
        &self.url.host
    }

    /// The port of the host's HTTPS server.
    pub fn port(&self) -> u16 {
        self.url.port
    }

    /// The group's name as the address has it; the status may give the definitive one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of the status, for a GET request to [`host`](Self::host).
    pub fn status_path(&self) -> String {
        format!("{}.status", self.url.path)
    }

    /// The value of the Host header.
    pub fn authority(&self) -> String {
        self.url.authority()
    }

    /// The invitation's token.
    pub fn token(&self) -> Option<&Secret<String>> {
        self.token.as_ref()
    }
}

/// The address without its token.
impl fmt::Display for GroupAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.url.authority(), self.url.path)
    }
}

/// What we need of a URL (RFC 3986 §3).
#[derive(Debug)]
pub(super) struct Url {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

impl Url {
    /// Reads a URL with exactly this scheme; gives back its query as well. A fragment is dropped.
    pub(super) fn parse<'a>(text: &'a str, scheme: &str) -> Result<(Url, &'a str), AddressError> {
        let matches = text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let rest = if matches { &text[scheme.len()..] } else { return Err(AddressError::NotHttps) };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(AddressError::UserInfo);
        }
        if path.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(AddressError::NoGroup);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => {
                let (host, port) = literal.split_once(']').ok_or(AddressError::BadHost)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| AddressError::BadHost)?;
                (host, port)
            }
            None => {
                let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
                let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                if host.is_empty() || !host.chars().all(valid) {
                    return Err(AddressError::BadHost);
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some("") => DEFAULT_PORT,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(AddressError::BadPort)?
            }
            None if port.is_empty() => DEFAULT_PORT,
            _ => return Err(AddressError::BadPort),
        };
        Ok((Url { host: host.to_ascii_lowercase(), port, path: path.to_owned() }, query))
    }

    pub(super) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == DEFAULT_PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// Galène's rule: a clean relative path without backslash, and no leading period.
fn valid_group_name(name: &str) -> bool {
    let clean = |part: &str| !matches!(part, "" | "." | "..");
    !name.starts_with('.') && !name.contains(['\\', '\0']) && name.split('/').all(clean)
}

/// Decodes percent escapes (RFC 3986 §2.1).
fn unescape(text: &str) -> Result<String, AddressError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&digit| (digit as char).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            (b'%', ..) => return Err(AddressError::BadEscape),
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| AddressError::BadEscape)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn an_invitation_is_split_into_place_and_token() {
        let address =
            GroupAddress::parse("https://Galene.Example.org:8443/group/r%C3%A9union/sub/?token=a%2Bb").unwrap();
        assert_eq!((address.host(), address.port()), ("galene.example.org", 8443));
        assert_eq!(address.name(), "réunion/sub");
        assert_eq!(address.status_path(), "/group/r%C3%A9union/sub/.status");
        assert!(address.token().unwrap().equals(b"a+b"));
    }

    #[test]
    fn the_token_is_never_shown() {
        let address = GroupAddress::parse("https://h.example/group/g/?x=1&token=SECRET#token=OTHER").unwrap();
        assert!(!format!("{address:?} {address}").contains("SECRET"));
        assert_eq!(address.to_string(), "https://h.example/group/g/");
    }

    #[test]
    fn a_missing_slash_a_server_behind_a_path_and_an_ipv6_host_are_understood() {
        let address = GroupAddress::parse(" https://[2001:DB8::1]:8443/video/group/g ").unwrap();
        assert_eq!((address.host(), address.authority().as_str()), ("2001:db8::1", "[2001:db8::1]:8443"));
        assert_eq!((address.name(), address.status_path().as_str()), ("g", "/video/group/g/.status"));
        assert!(address.token().is_none());
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        use AddressError::*;
        for (text, error) in [
            ("http://h/group/g/", NotHttps),
            ("ws://h/group/g/", NotHttps),
            ("h/group/g/", NotHttps),
            ("", NotHttps),
            ("https:///group/g/", BadHost),
            ("https://é.example/group/g/", BadHost),
            ("https://[::1/group/g/", BadHost),
            ("https://[h]/group/g/", BadHost),
            ("https://h:0/group/g/", BadPort),
            ("https://h:65536/group/g/", BadPort),
            ("https://h:+1/group/g/", BadPort),
            ("https://[::1]x/group/g/", BadPort),
            ("https://user:pw@h/group/g/", UserInfo),
            ("https://h/", NoGroup),
            ("https://h/group/", NoGroup),
            ("https://h/group/../g/", NoGroup),
            ("https://h/group/%2e%2e/g/", NoGroup),
            ("https://h/group/.g/", NoGroup),
            ("https://h/group/a//b/", NoGroup),
            ("https://h/group/a%5cb/", NoGroup),
            ("https://h/group/a b/", NoGroup),
            ("https://h/group/g\r\nX: y/", NoGroup),
            ("https://h/group/%zz/", BadEscape),
            ("https://h/group/%f", BadEscape),
            ("https://h/group/%ff/", BadEscape),
        ] {
            assert_eq!(GroupAddress::parse(text).map(|_| ()), Err(error), "{text:?}");
        }
    }
}
