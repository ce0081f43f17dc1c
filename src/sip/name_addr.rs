//! `From`, `To`, `Contact`, `Route` and their kin: an address with an optional name and header parameters
//! (RFC 3261 §20.10, §25.1 `name-addr`, `addr-spec`).

use std::fmt;
use std::str::FromStr;

use super::params::Params;
use super::syntax::{self, ParseError, WSP};
use super::uri::Uri;

const MALFORMED: ParseError = ParseError::Malformed("address");

/// `"Display name" <uri>;params`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameAddr {
    /// The name without quotes and escapes; `None` if there is none or it is empty.
    pub display_name: Option<String>,
    /// The address.
    pub uri: Uri,
    /// Parameters of the header, such as `tag` and `expires`; those of the URI are in the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without name and parameters.
    pub fn new(uri: impl Into<Uri>) -> Self {
        NameAddr { display_name: None, uri: uri.into(), params: Params::new() }
    }

    /// Reads one header value.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim_matches(WSP);
        match open_bracket(text)? {
            Some(open) => Self::parse_bracketed(&text[..open], &text[open + 1..]),
            None => Self::parse_bare(text),
        }
    }

    fn parse_bracketed(name: &str, rest: &str) -> Result<Self, ParseError> {
        let name = name.trim_matches(WSP);
        // A name without quotes should be tokens only; `Bell, Alexander <sip:…>` is understood all the same
        // (RFC 4475 §3.1.2.15), what could be the end of another address is not.
        if !name.starts_with('"') && name.contains(['"', ';', '>']) {
            return Err(MALFORMED);
        }
        let (uri, params) = rest.split_once('>').ok_or(MALFORMED)?;
        Ok(NameAddr {
            display_name: Some(syntax::unquote(name).into_owned()).filter(|name| !name.is_empty()),
            uri: Uri::parse(uri.trim_matches(WSP))?,
            params: Params::of_header(params)?,
        })
    }

    /// `addr-spec` form: what follows the first `;` belongs to the header, and a URI that holds `,`, `;` or `?` must
    /// be in brackets (RFC 3261 §20).
    fn parse_bare(text: &str) -> Result<Self, ParseError> {
        let (uri, params) = text.split_at(text.find(';').unwrap_or(text.len()));
        if uri.contains([',', '?']) || params.contains('@') {
            return Err(MALFORMED);
        }
        let uri = Uri::parse(uri.trim_end_matches(WSP))?;
        Ok(NameAddr { display_name: None, uri, params: Params::of_header(params)? })
    }

    /// The `tag` parameter (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The same address with this tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", tag);
        self
    }
}

/// Where the `<` of a `name-addr` stands; `None` for an `addr-spec`.
fn open_bracket(text: &str) -> Result<Option<usize>, ParseError> {
    if !text.starts_with('"') {
        // In an addr-spec a `<` can only be inside a quoted parameter value.
        return Ok(text.find('<').filter(|&open| !text[..open].contains('"')));
    }
    let name = syntax::quoted_len(text).ok_or(MALFORMED)?;
    let gap = text[name..].len() - text[name..].trim_start_matches(WSP).len();
    if text[name + gap..].starts_with('<') { Ok(Some(name + gap)) } else { Err(MALFORMED) }
}

impl FromStr for NameAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        NameAddr::parse(text)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display_name {
            write!(f, "{} ", syntax::quote(name))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}
