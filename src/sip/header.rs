//! The header fields of a message (RFC 3261 §7.3, §20): an ordered list of names and unfolded values, and the typed
//! reading of those that this program understands. Values are kept as they came, so what is not understood is intact.

use std::fmt;
use std::str::FromStr;

pub use super::name_addr::NameAddr;
pub use super::via::Via;

use super::message::Method;
use super::syntax::{self, ParseError, WSP};

/// More hops, routes or contacts than any real message has.
const MAX_LIST: usize = 128;

/// Compact forms (RFC 3261 §7.3.3 and the IANA registry of SIP header fields).
const COMPACT: [(&str, &str); 20] = [
    ("a", "Accept-Contact"),
    ("b", "Referred-By"),
    ("c", "Content-Type"),
    ("d", "Request-Disposition"),
    ("e", "Content-Encoding"),
    ("f", "From"),
    ("i", "Call-ID"),
    ("j", "Reject-Contact"),
    ("k", "Supported"),
    ("l", "Content-Length"),
    ("m", "Contact"),
    ("n", "Identity-Info"),
    ("o", "Event"),
    ("r", "Refer-To"),
    ("s", "Subject"),
    ("t", "To"),
    ("u", "Allow-Events"),
    ("v", "Via"),
    ("x", "Session-Expires"),
    ("y", "Identity"),
];

/// Header fields in order. Names are compared without case; a compact name becomes the long one when it enters.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No header fields.
    pub const fn new() -> Self {
        Headers(Vec::new())
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The value of each field of this name, one per header line.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The non-empty elements of a comma-separated header, over all its lines. Commas in quoted strings and angle
    /// brackets do not separate.
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.elements(name).filter(|element| !element.is_empty())
    }

    fn elements<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all(name).flat_map(|line| syntax::split(line, b','))
    }

    /// Whether a comma-separated header names this token, such as `Supported: outbound`.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token))
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The number of header lines.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: &str, value: impl ToString) {
        self.0.push((long_name(name).to_owned(), value.to_string()));
    }

    /// Adds a field before all others: a `Via`.
    pub fn push_front(&mut self, name: &str, value: impl ToString) {
        self.0.insert(0, (long_name(name).to_owned(), value.to_string()));
    }

    /// Replaces all fields of this name by one, in the place of the first.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        let name = long_name(name);
        let place = self.0.iter().position(|(own, _)| own.eq_ignore_ascii_case(name));
        self.remove(name);
        self.0.insert(place.unwrap_or(self.0.len()), (name.to_owned(), value.to_string()));
    }

    /// Takes out all fields of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// The value of a header that must be there exactly once.
    pub fn single(&self, name: &'static str) -> Result<&str, ParseError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(ParseError::Missing(name)),
            (Some(_), Some(_)) => Err(ParseError::Repeated(name)),
        }
    }

    /// All hops, topmost first. At least one.
    pub fn via(&self) -> Result<Vec<Via>, ParseError> {
        let hops: Vec<Via> = self.parse_list("Via")?;
        if hops.is_empty() { Err(ParseError::Missing("Via")) } else { Ok(hops) }
    }

    /// The hop that sent the message to us, or for a response the one that is us.
    pub fn top_via(&self) -> Result<Via, ParseError> {
        Via::parse(self.elements("Via").next().ok_or(ParseError::Missing("Via"))?)
    }

    /// `From`, with its tag.
    pub fn from(&self) -> Result<NameAddr, ParseError> {
        NameAddr::parse(self.single("From")?).map_err(named("From"))
    }

    /// `To`, with its tag if the dialog has one.
    pub fn to(&self) -> Result<NameAddr, ParseError> {
        NameAddr::parse(self.single("To")?).map_err(named("To"))
    }

    /// `Call-ID`, compared octet by octet (RFC 3261 §20.8).
    pub fn call_id(&self) -> Result<&str, ParseError> {
        let id = self.single("Call-ID")?;
        if id.is_empty() || id.contains(WSP) { Err(ParseError::Malformed("Call-ID")) } else { Ok(id) }
    }

    /// `CSeq`.
    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        self.single("CSeq")?.parse()
    }

    /// The contacts. The `*` of a deregistration (RFC 3261 §10.2.2) is no address: ask [`Headers::get`] for it first.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, ParseError> {
        self.parse_list("Contact")
    }

    /// `Route`, topmost first.
    pub fn routes(&self) -> Result<Vec<NameAddr>, ParseError> {
        self.parse_list("Route")
    }

    /// `Record-Route`, topmost first.
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, ParseError> {
        self.parse_list("Record-Route")
    }

    /// `Max-Forwards`, if there is one (RFC 2543 peers send none).
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        match self.single("Max-Forwards") {
            Err(ParseError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
            Ok(text) => syntax::number(text)
                .and_then(|hops| u8::try_from(hops).ok())
                .map(Some)
                .ok_or(ParseError::Malformed("Max-Forwards")),
        }
    }

    /// `Expires` in seconds; `None` if there is none or it is malformed, which RFC 3261 §20.19 wants treated alike.
    pub fn expires(&self) -> Option<u32> {
        self.get("Expires").and_then(syntax::number)
    }

    /// The media type of the body without its parameters, in lower case: `application/sdp`.
    pub fn content_type(&self) -> Option<String> {
        let value = self.get("Content-Type")?;
        let media_type = value.split(';').next()?;
        Some(media_type.chars().filter(|c| !WSP.contains(c)).collect::<String>().to_ascii_lowercase())
    }

    fn parse_list<T: FromStr<Err = ParseError>>(&self, name: &'static str) -> Result<Vec<T>, ParseError> {
        let mut list = Vec::new();
        for element in self.elements(name) {
            if list.len() == MAX_LIST {
                return Err(ParseError::TooLarge(name));
            }
            list.push(element.parse().map_err(named(name))?);
        }
        Ok(list)
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a (String, String);
    type IntoIter = std::slice::Iter<'a, (String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Shows what is safe in a log: no answer to a challenge, no raw control character.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |name: &str| ["Authorization", "Proxy-Authorization"].iter().any(|s| s.eq_ignore_ascii_case(name));
        let shown = self.iter().map(|(name, value)| (name, if secret(name) { "(hidden)" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// Names the header in which a part was malformed.
fn named(name: &'static str) -> impl Fn(ParseError) -> ParseError {
    move |error| match error {
        ParseError::Malformed(_) | ParseError::Repeated(_) => ParseError::Malformed(name),
        other => other,
    }
}

fn long_name(name: &str) -> &str {
    match COMPACT.iter().find(|(compact, _)| compact.eq_ignore_ascii_case(name)) {
        Some((_, long)) => long,
        None => name,
    }
}

/// `CSeq: 314159 INVITE` (RFC 3261 §20.16).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CSeq {
    /// The sequence number.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl FromStr for CSeq {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("CSeq");
        let (number, method) = text.split_once(WSP).ok_or(MALFORMED)?;
        Ok(CSeq {
            number: syntax::number(number).ok_or(MALFORMED)?,
            method: Method::parse(method.trim_start_matches(WSP)).ok_or(MALFORMED)?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Text from the network made safe to show: control characters, and those that change direction or hide
/// (`U+202E` and its kin), appear as escapes, so that no line can be broken, faked or turned around.
pub fn printable(text: &str) -> String {
    let hidden = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || hidden(character) {
            safe.extend(character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}
