//! `;name=value` parameters, of headers (RFC 3261 §7.3.1, `generic-param`) and of URIs (§19.1.1, `uri-parameter`).
//!
//! Values are kept as they stood on the wire, quotes and escapes included.

use std::borrow::Cow;
use std::fmt;

use super::syntax::{self, ParseError, WSP};

/// More parameters than any real message has; keeps the search for repeated names cheap.
const MAX_PARAMS: usize = 64;

/// Parameters in their order. Names are compared without case and appear once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Params(Vec<(String, Option<String>)>);

impl Params {
    /// No parameters.
    pub const fn new() -> Self {
        Params(Vec::new())
    }

    /// The parameters of a header: empty text, or `;` and more.
    pub(super) fn of_header(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, |name, value| syntax::is_token(name) && value.is_none_or(is_header_value))
    }

    /// The parameters of a URI: empty text, or `;` and more, without white space.
    pub(super) fn of_uri(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, |name, value| is_uri_part(name) && value.is_none_or(is_uri_part))
    }

    fn parse(text: &str, valid: impl Fn(&str, Option<&str>) -> bool) -> Result<Self, ParseError> {
        let mut params = Params::new();
        let Some(list) = text.trim_matches(WSP).strip_prefix(';') else {
            return if text.trim_matches(WSP).is_empty() {
                Ok(params)
            } else {
                Err(ParseError::Malformed("parameter"))
            };
        };
        for item in syntax::split(list, b';') {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (name.trim_end_matches(WSP), Some(value.trim_start_matches(WSP))),
                None => (item, None),
            };
            if !valid(name, value) {
                return Err(ParseError::Malformed("parameter"));
            }
            if params.contains(name) {
                return Err(ParseError::Repeated("parameter of a name"));
            }
            if params.0.len() == MAX_PARAMS {
                return Err(ParseError::TooLarge("parameters"));
            }
            params.0.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(params)
    }

    /// The value as it stands on the wire; `None` if there is no such parameter or it has no value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name)?.1.as_deref()
    }

    /// The value with its quotes and their escapes undone.
    pub fn unquoted(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(syntax::unquote)
    }

    /// Whether the parameter is there, with a value or without.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets a parameter to a token, or anything that is already in wire form.
    pub fn set(&mut self, name: &str, value: &str) {
        self.put(name, Some(value.to_owned()));
    }

    /// Sets a parameter to a quoted string with this content.
    pub fn set_quoted(&mut self, name: &str, content: &str) {
        self.put(name, Some(syntax::quote(content)));
    }

    /// Sets a parameter without a value, such as `lr` or `rport`.
    pub fn set_flag(&mut self, name: &str) {
        self.put(name, None);
    }

    /// Builder form of [`Params::set`].
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// Takes a parameter out.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and wire values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    fn find(&self, name: &str) -> Option<&(String, Option<String>)> {
        self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name))
    }

    fn put(&mut self, name: &str, value: Option<String>) {
        match self.0.iter_mut().find(|(own, _)| own.eq_ignore_ascii_case(name)) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.iter() {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

/// `gen-value`, and what is near it: a whole quoted string, or visible text without separators of its surroundings.
/// Addresses need `:` and `[]` (RFC 5118 §4.5); Linphone's tokens need nothing more.
fn is_header_value(value: &str) -> bool {
    if value.starts_with('"') {
        return syntax::quoted_len(value) == Some(value.len());
    }
    !value.is_empty() && value.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"\",;<>".contains(c))
}

/// `paramchar`s (RFC 3261 §25.1), `%` only as an escape. `=` is let through in values: some end in base64.
fn is_uri_part(text: &str) -> bool {
    !text.is_empty() && super::uri::is_escaped_text(text, "[]/:&+$=")
}
