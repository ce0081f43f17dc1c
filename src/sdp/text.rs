//! The syntax of session descriptions (RFC 8866): text in, lines by section out, and back.
//!
//! Attributes are kept whether known or not. Lines that say nothing about a call (`i= u= e= p= b= r= z=`) and the
//! obsolete `k=` are read and dropped. Lines may end with CRLF or LF; ours end with CRLF.

use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroize;

const MAX_BYTES: usize = 64 * 1024;
const MAX_LINES: usize = 1024;
const MAX_MEDIA: usize = 32;
const MAX_FORMATS: usize = 64;

/// A session description.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDescription {
    /// `o=`.
    pub origin: Origin,
    /// The session's `c=`.
    pub connection: Option<Connection>,
    /// The session's `a=` lines.
    pub attributes: Vec<Attribute>,
    /// The `m=` sections.
    pub media: Vec<Media>,
}

/// `o=`: who made the description, and which version of it this is (RFC 8866 §5.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The user, or `-`.
    pub username: String,
    /// The session's number; a decimal number of any length.
    pub session_id: String,
    /// Grows by one with each change of the description.
    pub version: String,
    /// The maker's host. Never used for anything.
    pub connection: Connection,
}

/// `IN IP4 address`: where packets go (RFC 8866 §5.7).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Connection {
    /// An address.
    Ip(IpAddr),
    /// A host name, another network type, or a multicast address with its TTL: kept, never resolved, never used.
    Other(String),
}

/// An `m=` section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// `audio`, `video`, ...
    pub kind: String,
    /// The RTP port; 0 rejects the stream.
    pub port: u16,
    /// The profile, such as `RTP/SAVP`.
    pub protocol: String,
    /// Payload types, in the order of preference.
    pub formats: Vec<String>,
    /// The section's own `c=`.
    pub connection: Option<Connection>,
    /// The section's `a=` lines.
    pub attributes: Vec<Attribute>,
}

/// An `a=` line. Its value is wiped when dropped and keys are hidden in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// What stands before the colon.
    pub name: String,
    /// What stands after it.
    pub value: Option<String>,
}

/// Why a text is no session description.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// More bytes, lines, sections or formats than any phone sends.
    #[error("the session description is too large ({0})")]
    TooLarge(&'static str),
    /// A line is not `x=value`, or stands where it may not.
    #[error("line {0} of the session description is not valid")]
    BadLine(usize),
    /// `v=0`, `o=` or `c=` is missing.
    #[error("the session description has no valid {0} line")]
    Missing(&'static str),
}

impl SessionDescription {
    /// Reads a description.
    ///
    /// # Errors
    /// [`SdpError`], which names the line.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_BYTES {
            return Err(SdpError::TooLarge("bytes"));
        }
        let mut version = false;
        let mut origin = None;
        let mut session = SessionLines::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if number > MAX_LINES {
                return Err(SdpError::TooLarge("lines"));
            }
            if line.is_empty() {
                continue;
            }
            let bad = || SdpError::BadLine(number);
            let (letter, value) = line.split_once('=').ok_or_else(bad)?;
            if value.contains(['\r', '\0']) || (!version && letter != "v") {
                return Err(bad());
            }
            match letter {
                "v" if !version && value == "0" => version = true,
                "o" if origin.is_none() && session.media.is_empty() => {
                    origin = Some(Origin::parse(value).ok_or_else(bad)?);
                }
                "c" => session.connection(Connection::parse(value).ok_or_else(bad)?),
                "a" => session.attribute(Attribute::parse(value)),
                "m" if session.media.len() >= MAX_MEDIA => return Err(SdpError::TooLarge("media sections")),
                "m" => session.media.push(Media::parse(value).ok_or_else(bad)?),
                "s" | "t" | "i" | "u" | "e" | "p" | "b" | "r" | "z" | "k" => {}
                _ => return Err(bad()),
            }
        }
        if !version {
            return Err(SdpError::Missing("v="));
        }
        let origin = origin.ok_or(SdpError::Missing("o="))?;
        let SessionLines { connection, attributes, media } = session;
        if connection.is_none() && media.iter().any(|media| media.connection.is_none() && media.port != 0) {
            return Err(SdpError::Missing("c="));
        }
        Ok(SessionDescription { origin, connection, attributes, media })
    }

    /// The value of the session's first attribute of this name; an empty string if it has no value.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        values(&self.attributes, name).next()
    }
}

/// The part of a description that repeats in each section.
#[derive(Default)]
struct SessionLines {
    connection: Option<Connection>,
    attributes: Vec<Attribute>,
    media: Vec<Media>,
}

impl SessionLines {
    /// A section may have several `c=` only for multicast (RFC 8866 §5.7), so the first one counts.
    fn connection(&mut self, connection: Connection) {
        let place = match self.media.last_mut() {
            Some(media) => &mut media.connection,
            None => &mut self.connection,
        };
        place.get_or_insert(connection);
    }

    fn attribute(&mut self, attribute: Attribute) {
        match self.media.last_mut() {
            Some(media) => media.attributes.push(attribute),
            None => self.attributes.push(attribute),
        }
    }
}

impl Origin {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.splitn(4, ' ');
        let mut word = || words.next().filter(|word| !word.is_empty()).map(str::to_owned);
        Some(Origin {
            username: word()?,
            session_id: word()?,
            version: word()?,
            connection: Connection::parse(&word()?)?,
        })
    }
}

impl Connection {
    /// The address counts, not the family written before it: Linphone writes `IN IP6 127.0.0.1`.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (network, _family, address) = (words.next()?, words.next()?, words.next()?);
        Some(match address.parse() {
            Ok(ip) if network == "IN" => Connection::Ip(ip),
            _ => Connection::Other(value.to_owned()),
        })
    }
}

impl Media {
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let kind = words.next()?.to_owned();
        let port = words.next()?;
        let port = port.split_once('/').map_or(port, |(port, _count)| port).parse().ok()?;
        let protocol = words.next()?.to_owned();
        let formats: Vec<String> = words.take(MAX_FORMATS + 1).map(str::to_owned).collect();
        (1..=MAX_FORMATS).contains(&formats.len()).then(|| Media {
            kind,
            port,
            protocol,
            formats,
            connection: None,
            attributes: Vec::new(),
        })
    }

    /// The values of all attributes of this name; an empty string where there is none.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.attributes, name)
    }

    /// The value of the first attribute of this name; an empty string if it has no value.
    pub fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.values(name).next()
    }
}

fn values<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.name == name).map(|a| a.value.as_deref().unwrap_or(""))
}

impl Attribute {
    /// `a=name`.
    pub fn flag(name: &str) -> Self {
        Attribute { name: name.to_owned(), value: None }
    }

    /// `a=name:value`.
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Attribute { name: name.to_owned(), value: Some(value.into()) }
    }

    fn parse(line: &str) -> Self {
        match line.split_once(':') {
            Some((name, value)) => Attribute::new(name, value),
            None => Attribute::flag(line),
        }
    }
}

impl Drop for Attribute {
    fn drop(&mut self) {
        self.value.zeroize();
    }
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "rtpmap" | "fmtp" | "mid" | "group" | "rtcp" | "zrtp-hash" => write!(f, "{self}"),
            // anything else may be a key in some dialect
            name if self.value.is_some() => write!(f, "{name}:…"),
            name => f.write_str(name),
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}:{value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connection::Ip(ip @ IpAddr::V4(_)) => write!(f, "IN IP4 {ip}"),
            Connection::Ip(ip @ IpAddr::V6(_)) => write!(f, "IN IP6 {ip}"),
            Connection::Other(other) => f.write_str(other),
        }
    }
}

impl fmt::Display for SessionDescription {
    /// Prints the lines in the order of RFC 8866 §5.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { username, session_id, version, connection } = &self.origin;
        write!(f, "v=0\r\no={username} {session_id} {version} {connection}\r\ns=-\r\n")?;
        if let Some(connection) = &self.connection {
            write!(f, "c={connection}\r\n")?;
        }
        write!(f, "t=0 0\r\n")?;
        for attribute in &self.attributes {
            write!(f, "a={attribute}\r\n")?;
        }
        for media in &self.media {
            write!(f, "m={} {} {} {}\r\n", media.kind, media.port, media.protocol, media.formats.join(" "))?;
            if let Some(connection) = &media.connection {
                write!(f, "c={connection}\r\n")?;
            }
            for attribute in &media.attributes {
                write!(f, "a={attribute}\r\n")?;
            }
        }
        Ok(())
    }
}
