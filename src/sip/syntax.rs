//! The lexical rules that all parts of a SIP message share (RFC 3261 §25.1): tokens, quoted strings, and lists that are
//! split outside of quotes and angle brackets. Text comes in with its folding undone; every pass is linear.

use std::borrow::Cow;

use super::header::printable;

/// Why bytes from the network are not the SIP message, header or URI that they should be.
///
/// The text is safe to log and fits in a reason phrase: what is quoted from the peer is made printable and cut.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParseError {
    /// The first line is neither a request line nor a status line (RFC 3261 §7.1, §7.2).
    #[error("malformed start line")]
    StartLine,
    /// A request of another protocol version (RFC 3261 §21.5.6).
    #[error("SIP version {0} is not supported")]
    Version(String),
    /// A header line without a name, without a colon, or with a bare CR or LF in it.
    #[error("malformed header line")]
    HeaderLine,
    /// A value that breaks its grammar; the text names the header or the part.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A header that must be there is not.
    #[error("missing {0} header field")]
    Missing(&'static str),
    /// A header that may appear once appears again.
    #[error("more than one {0}")]
    Repeated(&'static str),
    /// More than this program is willing to hold; the text says of what.
    #[error("too much: {0}")]
    TooLarge(&'static str),
    /// The bytes end before the message does.
    #[error("the message is incomplete")]
    Incomplete,
}

impl ParseError {
    /// Quotes at most 16 characters of a foreign version.
    pub(super) fn version(text: &str) -> Self {
        ParseError::Version(printable(&text.chars().take(16).collect::<String>()))
    }

    /// The status that a request with this fault is answered with.
    pub fn status(&self) -> u16 {
        match self {
            ParseError::Version(_) => 505,
            ParseError::TooLarge(_) => 513,
            _ => 400,
        }
    }

    /// The reason phrase of that answer; it names the fault, as RFC 3261 §21.4.1 asks.
    pub fn reason_phrase(&self) -> String {
        let standard = match self.status() {
            505 => "Version Not Supported",
            513 => "Message Too Large",
            _ => "Bad Request",
        };
        format!("{standard}: {self}")
    }
}

/// Space and horizontal tab; folds are already undone, so this is all the LWS that is left.
pub(super) const WSP: [char; 2] = [' ', '\t'];

/// `token` of RFC 3261 §25.1.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// The decimal number that the whole text is: digits only (no sign, no space), not above `u32::MAX`.
pub(super) fn number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The byte length of the quoted string that `text` begins with, both quotes included; `None` if it never ends.
pub(super) fn quoted_len(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    if bytes.next()?.1 != b'"' {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => {
                bytes.next()?;
            }
            _ => {}
        }
    }
    None
}

/// The content of a quoted string, its escapes undone; text that is not quoted comes back as it is.
pub(super) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    Cow::Owned(plain)
}

/// A quoted string with this content. CR and LF, which no escape can carry (RFC 3261 §25.1), become spaces.
pub(super) fn quote(content: &str) -> String {
    let mut quoted = String::with_capacity(content.len() + 2);
    quoted.push('"');
    for character in content.chars() {
        match character {
            '\r' | '\n' => quoted.push(' '),
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_ascii_control() => quoted.extend(['\\', control]),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// The pieces between `separator`s that stand outside of quoted strings and angle brackets, trimmed.
///
/// An unbalanced quote or bracket runs to the end of the text, so the last piece holds it and its parser refuses it.
pub(super) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let end = find_outside(current, separator);
        rest = end.map(|at| &current[at + 1..]);
        Some(current[..end.unwrap_or(current.len())].trim_matches(WSP))
    })
}

/// Where `wanted` first stands outside of quoted strings and angle brackets.
pub(super) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut bracketed = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            byte if byte == wanted && !bracketed => return Some(at),
            b'"' if !bracketed => at += quoted_len(&text[at..])? - 1,
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ => {}
        }
        at += 1;
    }
    None
}
