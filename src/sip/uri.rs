//! SIP and SIPS URIs (RFC 3261 §19.1), and others kept as they are. `%` escapes are kept, never acted on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::params::Params;
use super::syntax::{self, ParseError};

const MALFORMED: ParseError = ParseError::Malformed("URI");

/// A URI of any scheme.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Uri {
    /// `sip:` or `sips:`, taken apart.
    Sip(SipUri),
    /// Any other scheme (`tel:`, `isbn:`…), opaque.
    Other {
        /// The scheme as written, without the colon.
        scheme: String,
        /// All that follows the colon.
        opaque: String,
    },
}

/// `sip:user:password@host:port;params?headers` (RFC 3261 §19.1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipUri {
    /// `sips:` rather than `sip:`.
    pub secure: bool,
    /// The user part, escapes kept.
    pub user: Option<String>,
    /// The password, which no one should write.
    pub password: Option<String>,
    /// Domain or address.
    pub host: Host,
    /// The port if one is written.
    pub port: Option<u16>,
    /// `;transport=tls` and the like.
    pub params: Params,
    /// What follows `?`, escapes kept; see [`SipUri::header`].
    pub headers: Option<String>,
}

/// `host` of RFC 3261 §25.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// A domain name, in the case it was written.
    Name(String),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, printed in brackets.
    V6(Ipv6Addr),
}

impl Uri {
    /// Reads a whole URI; nothing may stand before or after it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(MALFORMED);
        }
        let (scheme, rest) = text.split_once(':').ok_or(MALFORMED)?;
        let secure = match () {
            () if scheme.eq_ignore_ascii_case("sip") => false,
            () if scheme.eq_ignore_ascii_case("sips") => true,
            () if is_scheme(scheme) && is_opaque(rest) => {
                return Ok(Uri::Other { scheme: scheme.to_owned(), opaque: rest.to_owned() });
            }
            () => return Err(MALFORMED),
        };
        SipUri::parse_after_scheme(secure, rest).map(Uri::Sip)
    }

    /// The SIP or SIPS URI, if it is one.
    pub fn as_sip(&self) -> Option<&SipUri> {
        match self {
            Uri::Sip(uri) => Some(uri),
            Uri::Other { .. } => None,
        }
    }

    /// The scheme as it is printed, without the colon.
    pub fn scheme(&self) -> &str {
        match self {
            Uri::Sip(uri) if uri.secure => "sips",
            Uri::Sip(_) => "sip",
            Uri::Other { scheme, .. } => scheme,
        }
    }

    /// Equality as RFC 3261 §19.1.4 defines it; other schemes are compared octet by octet.
    pub fn is_equivalent(&self, other: &Uri) -> bool {
        match (self, other) {
            (Uri::Sip(a), Uri::Sip(b)) => a.is_equivalent(b),
            (a, b) => a == b,
        }
    }
}

impl SipUri {
    /// A `sip:` URI of a host, with nothing else.
    pub fn new(host: Host) -> Self {
        SipUri { secure: false, user: None, password: None, host, port: None, params: Params::new(), headers: None }
    }

    fn parse_after_scheme(secure: bool, text: &str) -> Result<Self, ParseError> {
        // '@' is only allowed as the end of userinfo, so the first one decides: the user may hold ';', '?' and '/'.
        let (user, password, rest) = match text.split_once('@') {
            Some((userinfo, rest)) => {
                let (user, password) = match userinfo.split_once(':') {
                    Some((user, password)) => (user, Some(password)),
                    None => (userinfo, None),
                };
                if user.is_empty() || !is_user(user) || !password.is_none_or(is_user) {
                    return Err(MALFORMED);
                }
                (Some(user.to_owned()), password.map(str::to_owned), rest)
            }
            None => (None, None, text),
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) if is_escaped_text(headers, "[]/?:+$&=") => (rest, Some(headers.to_owned())),
            Some(_) => return Err(MALFORMED),
            None => (rest, None),
        };
        let (hostport, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = Host::parse_with_port(hostport)?;
        let params = Params::of_uri(params)?;
        Ok(SipUri { secure, user, password, host, port, params, headers })
    }

    /// The value of a header carried in the URI, unescaped: for `Replaces` in a `Refer-To`. Nothing adds it to a message.
    pub fn header(&self, name: &str) -> Option<String> {
        let fields = self.headers.as_deref()?.split('&').filter_map(|field| field.split_once('='));
        let (_, value) = fields.into_iter().find(|(own, _)| unescape(own).eq_ignore_ascii_case(name))?;
        Some(unescape(value))
    }

    /// The URI without port, parameters and headers: an address of record (RFC 3261 §10.3).
    pub fn address_of_record(&self) -> SipUri {
        let mut aor = SipUri::new(self.host.clone());
        aor.secure = self.secure;
        aor.user.clone_from(&self.user);
        aor
    }

    /// Equality as RFC 3261 §19.1.4 defines it.
    pub fn is_equivalent(&self, other: &SipUri) -> bool {
        let same_text = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (Some(a), Some(b)) => normalized(a) == normalized(b),
            (None, None) => true,
            _ => false,
        };
        self.secure == other.secure
            && same_text(&self.user, &other.user)
            && same_text(&self.password, &other.password)
            && self.host.is_same(&other.host)
            && self.port == other.port
            && self.same_params(other)
            && self.same_headers(other)
    }

    fn same_params(&self, other: &SipUri) -> bool {
        // One-sided, these count; all others are ignored when only one side has them.
        let never_ignored = ["user", "ttl", "method", "maddr"];
        let covered = |a: &Params, b: &Params| {
            a.iter().all(|(name, value)| match (b.contains(name), value, b.get(name)) {
                (true, Some(a), Some(b)) => normalized(a).eq_ignore_ascii_case(&normalized(b)),
                (true, a, b) => a == b,
                (false, ..) => !never_ignored.iter().any(|n| name.eq_ignore_ascii_case(n)),
            })
        };
        covered(&self.params, &other.params) && covered(&other.params, &self.params)
    }

    fn same_headers(&self, other: &SipUri) -> bool {
        let sorted = |uri: &SipUri| {
            let mut fields: Vec<String> = uri.headers.iter().flat_map(|h| h.split('&')).map(normalized).collect();
            fields.sort();
            fields
        };
        sorted(self) == sorted(other)
    }
}

impl Host {
    /// Reads a host and an optional `:port` (`hostport`, `sent-by`).
    pub(super) fn parse_with_port(text: &str) -> Result<(Self, Option<u16>), ParseError> {
        let name_end = if text.starts_with('[') { text.find(']').ok_or(MALFORMED)? } else { 0 };
        let (host, port) = match text[name_end..].find(':') {
            Some(colon) => (&text[..name_end + colon], Some(&text[name_end + colon + 1..])),
            None => (text, None),
        };
        let port = match port.map(|digits| syntax::number(digits.trim_start_matches(syntax::WSP))) {
            None => None,
            Some(number) => Some(number.and_then(|n| u16::try_from(n).ok()).ok_or(ParseError::Malformed("port"))?),
        };
        Ok((Host::parse(host.trim_end_matches(syntax::WSP))?, port))
    }

    /// Reads a domain name, an IPv4 address, or an IPv6 address in brackets.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("host");
        if let Some(address) = text.strip_prefix('[') {
            let address = address.strip_suffix(']').ok_or(MALFORMED)?;
            // RFC 3261's grammar lets a third colon stand before an embedded IPv4 address (RFC 5118 §4.10).
            let address = if address.contains('.') { address.replacen(":::", "::", 1) } else { address.to_owned() };
            return address.parse().map(Host::V6).map_err(|_| MALFORMED);
        }
        if let Ok(address) = text.parse() {
            return Ok(Host::V4(address));
        }
        // The last label must not read as a number, or other spellings of an address (`127.1`, `0x7f000001`) would
        // pass for names. (`toplabel` asks for a letter at its beginning; hosts like `3cx` exist all the same.)
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let edges = |c: char| c.is_ascii_alphanumeric() || c == '_';
            label.starts_with(edges)
                && label.ends_with(edges)
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        let top = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let numeric = top.starts_with("0x") || top.bytes().all(|b| b.is_ascii_digit());
        if name.len() <= 253 && !numeric && name.split('.').all(is_label) {
            Ok(Host::Name(text.to_owned()))
        } else {
            Err(MALFORMED)
        }
    }

    /// The same host: names are compared without case.
    pub fn is_same(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        }
    }
}

impl FromStr for Uri {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Uri::parse(text)
    }
}

impl From<SipUri> for Uri {
    fn from(uri: SipUri) -> Self {
        Uri::Sip(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Uri::Sip(uri) => uri.fmt(f),
            Uri::Other { scheme, opaque } => write!(f, "{scheme}:{opaque}"),
        }
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)?;
        match &self.headers {
            Some(headers) => write!(f, "?{headers}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Text of `unreserved` characters (RFC 3261 §25.1), `extra` ones and whole `%HH` escapes.
/// Letters beyond ASCII are let through: phones forget to escape them, and nothing can be smuggled in one.
pub(super) fn is_escaped_text(text: &str, extra: &str) -> bool {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let valid = match character {
            '%' => (0..2).all(|_| rest.next().is_some_and(|c| c.is_ascii_hexdigit())),
            c => c.is_alphanumeric() || "-_.!~*'()".contains(c) || extra.contains(c),
        };
        if !valid {
            return false;
        }
    }
    true
}

/// `user` and `password`; `#` is not in the grammar but is on every dial pad.
fn is_user(text: &str) -> bool {
    is_escaped_text(text, "&=+$,;?/#")
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_opaque(text: &str) -> bool {
    !text.is_empty() && !text.contains(['<', '>', '"'])
}

/// Undoes `%HH` escapes, once.
fn unescape(text: &str) -> String {
    let decoded = decode(text, |_| true);
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The form in which two texts are compared (RFC 3261 §19.1.4): escapes of unreserved characters are undone, of
/// reserved ones kept, since `%40` and `@` differ.
fn normalized(text: &str) -> String {
    let decoded = decode(text, |byte| !b";/?:@&=+$,%".contains(&byte));
    String::from_utf8_lossy(&decoded).into_owned()
}

fn decode(text: &str, wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes.get(at..at + 3).filter(|e| e[0] == b'%').and_then(|e| {
            let digit = |b: u8| char::from(b).to_digit(16);
            u8::try_from(digit(e[1])? * 16 + digit(e[2])?).ok()
        });
        match escape {
            Some(byte) if wanted(byte) => {
                decoded.push(byte);
                at += 3;
            }
            Some(_) => {
                decoded.extend(bytes[at..at + 3].to_ascii_uppercase());
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}
