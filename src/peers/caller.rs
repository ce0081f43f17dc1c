//! Who calls, in the one form under which peers are kept: the address of record of the From header, normalised.
//!
//! | of the address | is |
//! |---|---|
//! | scheme | `sip` and `sips` are the same, and not kept; `tel` is kept |
//! | user | kept, in its case (RFC 3261 §19.1.4); escapes that need not be are undone, all others in upper case |
//! | a global telephone number | without its visual separators, `+49 (30) 1-2` is `+493012` (RFC 3966 §5) |
//! | password, parameters, headers | dropped |
//! | host | in lower case, without a final dot; addresses in their shortest form |
//! | port | dropped if it is SIP's (5060, 5061), else kept |
//! | `anonymous`, `….invalid`, no user (RFC 3323 §4.1.1.3), another scheme, more than 256 octets | no address: [`Caller::Anonymous`] |
//!
//! Anybody can claim any address. It is part of a peer's name so that whoever has agreed on a secret under his own address is a
//! stranger under somebody else's.

use crate::sip::{Host, SipUri, Uri};
use std::fmt;

/// Longest address that is kept.
const LONGEST: usize = 256;

/// SIP's ports, over whatever transport.
const DEFAULT_PORTS: [u16; 2] = [5060, 5061];

/// Who calls.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Caller {
    /// Nobody knows: such peers are told apart by their ZID alone.
    Anonymous,
    /// A normalised address, printable ASCII: `user@host`, `user@host:port` or `tel:number`.
    Address(String),
}

impl Caller {
    /// The caller that this address means.
    pub fn from_uri(uri: &Uri) -> Caller {
        let address = match uri {
            Uri::Sip(uri) => sip(uri),
            Uri::Other { scheme, opaque } if scheme.eq_ignore_ascii_case("tel") => {
                let number = opaque.split(';').next().unwrap_or_default();
                // a local number means something only together with its parameters (RFC 3966 §5.1.5)
                Some(format!("tel:{}", global_number(number).unwrap_or_else(|| unescaped(opaque))))
            }
            Uri::Other { .. } => None,
        };
        match address {
            Some(address) if address.len() <= LONGEST => Caller::Address(address),
            _ => Caller::Anonymous,
        }
    }

    /// The caller that a person means: a URI, an address without its scheme, or `anonymous`.
    pub fn from_text(text: &str) -> Option<Caller> {
        if text.eq_ignore_ascii_case("anonymous") {
            return Some(Caller::Anonymous);
        }
        let has_scheme = ["sip:", "sips:", "tel:"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let uri = if has_scheme { Uri::parse(text) } else { Uri::parse(&format!("sip:{text}")) };
        Some(Caller::from_uri(&uri.ok()?)).filter(|caller| *caller != Caller::Anonymous)
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<&str> {
        match self {
            Caller::Anonymous => None,
            Caller::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address().unwrap_or("anonymous"))
    }
}

fn sip(uri: &SipUri) -> Option<String> {
    let user = uri.user.as_deref().map(|user| global_number(user).unwrap_or_else(|| unescaped(user)))?;
    let host = match &uri.host {
        Host::Name(name) => name.trim_end_matches('.').to_ascii_lowercase(),
        address => address.to_string(),
    };
    if user.eq_ignore_ascii_case("anonymous") || host == "invalid" || host.ends_with(".invalid") {
        return None;
    }
    Some(match uri.port.filter(|port| !DEFAULT_PORTS.contains(port)) {
        Some(port) => format!("{user}@{host}:{port}"),
        None => format!("{user}@{host}"),
    })
}

/// `+` and digits, with or without visual separators (RFC 3966 §3).
fn global_number(text: &str) -> Option<String> {
    let digits: String = text.strip_prefix('+')?.chars().filter(|c| !"-.()".contains(*c)).collect();
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| format!("+{digits}"))
}

/// Unreserved characters (RFC 3261 §25.1) as they are, reserved ones as they were written, everything else as an escape.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = match rest {
            [b'%', high, low, ..] => hexadecimal(*high, *low),
            _ => None,
        };
        let (octet, escaped) = (escape.unwrap_or(*first), escape.is_some());
        rest = if escaped { &rest[3..] } else { after };
        let plain = octet.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&octet);
        if plain || (octet.is_ascii_graphic() && !escaped) {
            out.push(char::from(octet));
        } else {
            out += &format!("%{octet:02X}");
        }
    }
    out
}

fn hexadecimal(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
