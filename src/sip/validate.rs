//! Whether a message of good form also means something (RFC 3261 §8.1.1, §8.2, §8.1.3): what a user agent asks before
//! it looks for a transaction. RFC 4475 is the judge of what must be refused and what should not be.

use super::header::Headers;
use super::message::{Method, Request, Response};
use super::syntax::{self, ParseError};
use super::uri::Uri;

/// Why a message is refused. The text is safe to log and to send as a reason phrase.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Rejection {
    /// What to answer a request with. Never answer an ACK; a response is dropped.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
}

impl From<ParseError> for Rejection {
    fn from(error: ParseError) -> Self {
        Rejection { status: error.status(), reason: error.reason_phrase() }
    }
}

/// Headers whose first value is acted upon, so that a second one would be a way to say two things.
const AT_MOST_ONE: [&str; 10] = [
    "Content-Type",
    "Content-Encoding",
    "Event",
    "Expires",
    "Min-SE",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "Session-Expires",
    "Subject",
];

/// Checks a request. What RFC 2543 phones leave out (branch, tags, `Max-Forwards`, `Contact`) is not missed here.
///
/// Which methods, extensions and bodies are understood is not asked here either.
pub fn validate_request(request: &Request) -> Result<(), Rejection> {
    let headers = &request.headers;
    validate_common(headers)?;
    if headers.cseq()?.method != request.method {
        return Err(bad("CSeq names another method"));
    }
    // The magic cookie alone is no transaction's name (RFC 4475 §3.2.1).
    if headers.top_via()?.branch().is_some_and(|branch| branch.eq_ignore_ascii_case("z9hG4bK")) {
        return Err(bad("empty branch"));
    }
    headers.max_forwards()?;
    headers.routes()?;
    match headers.get("Contact") {
        Some("*") if request.method == Method::REGISTER && headers.all("Contact").count() == 1 => {}
        _ if headers.contacts()?.len() > 1 && request.method == Method::INVITE => {
            return Err(ParseError::Repeated("Contact").into());
        }
        _ => {}
    }
    match &request.uri {
        Uri::Other { .. } => Err(Rejection { status: 416, reason: "Unsupported URI Scheme".to_owned() }),
        // RFC 3261 §19.1.1: not allowed in a Request-URI, and never to become headers (RFC 4475 §3.1.2.11).
        Uri::Sip(uri) if uri.headers.is_some() => Err(bad("headers in the Request-URI")),
        Uri::Sip(_) => Ok(()),
    }
}

/// Checks a response. One `Via` too many means that it is for someone else (RFC 3261 §8.1.3.3).
pub fn validate_response(response: &Response) -> Result<(), Rejection> {
    validate_common(&response.headers)?;
    if response.headers.via()?.len() > 1 {
        return Err(ParseError::Repeated("Via").into());
    }
    Ok(())
}

fn validate_common(headers: &Headers) -> Result<(), Rejection> {
    headers.via()?;
    headers.call_id()?;
    for address in [headers.from()?, headers.to()?] {
        if address.params.contains("tag") && !address.tag().is_some_and(syntax::is_token) {
            return Err(ParseError::Malformed("tag").into());
        }
    }
    // RFC 3261 §8.1.1.5
    if headers.cseq()?.number >= 1 << 31 {
        return Err(ParseError::Malformed("CSeq").into());
    }
    headers.record_routes()?;
    match AT_MOST_ONE.into_iter().find(|name| headers.all(name).count() > 1) {
        Some(name) => Err(ParseError::Repeated(name).into()),
        None => Ok(()),
    }
}

fn bad(detail: &str) -> Rejection {
    Rejection { status: 400, reason: format!("Bad Request: {detail}") }
}
