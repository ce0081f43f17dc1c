//! Requests and responses (RFC 3261 §7): one whole message's bytes in, a value out, and back.
//!
//! The parser checks the form of the start line and of each header line. What the headers mean, and whether the
//! mandatory ones are there, is for `validate`. `Content-Length` never appears among a message's headers: the parser
//! takes it out when it has cut the body, and the printer writes it from the body.

use std::borrow::Cow;
use std::fmt;

use super::head::Head;
use super::header::Headers;
use super::syntax::{self, ParseError};
use super::uri::Uri;

/// The most header lines a message may have.
const MAX_HEADERS: usize = 256;

/// A request or a response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request (RFC 3261 §7.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, known to us or not.
    pub method: Method,
    /// The Request-URI.
    pub uri: Uri,
    /// All header fields but `Content-Length`.
    pub headers: Headers,
    /// The body, of any bytes.
    pub body: Vec<u8>,
}

/// A response (RFC 3261 §7.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase, possibly empty; from the network it may hold any character but CR and LF.
    pub reason: String,
    /// All header fields but `Content-Length`.
    pub headers: Headers,
    /// The body, of any bytes.
    pub body: Vec<u8>,
}

/// The name of a method: a token, compared with case (RFC 3261 §7.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Method(Cow<'static, str>);

impl Method {
    /// RFC 3261 §17.1.1.3
    pub const ACK: Method = Method(Cow::Borrowed("ACK"));
    /// RFC 3261 §15
    pub const BYE: Method = Method(Cow::Borrowed("BYE"));
    /// RFC 3261 §9
    pub const CANCEL: Method = Method(Cow::Borrowed("CANCEL"));
    /// RFC 6086
    pub const INFO: Method = Method(Cow::Borrowed("INFO"));
    /// RFC 3261 §13
    pub const INVITE: Method = Method(Cow::Borrowed("INVITE"));
    /// RFC 3428
    pub const MESSAGE: Method = Method(Cow::Borrowed("MESSAGE"));
    /// RFC 6665
    pub const NOTIFY: Method = Method(Cow::Borrowed("NOTIFY"));
    /// RFC 3261 §11
    pub const OPTIONS: Method = Method(Cow::Borrowed("OPTIONS"));
    /// RFC 3262
    pub const PRACK: Method = Method(Cow::Borrowed("PRACK"));
    /// RFC 3515
    pub const REFER: Method = Method(Cow::Borrowed("REFER"));
    /// RFC 3261 §10
    pub const REGISTER: Method = Method(Cow::Borrowed("REGISTER"));
    /// RFC 6665
    pub const SUBSCRIBE: Method = Method(Cow::Borrowed("SUBSCRIBE"));
    /// RFC 3311
    pub const UPDATE: Method = Method(Cow::Borrowed("UPDATE"));

    /// The method of this name; `None` if it is no token.
    pub fn parse(name: &str) -> Option<Self> {
        syntax::is_token(name).then(|| Method(Cow::Owned(name.to_owned())))
    }

    /// The name, for `match`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Message {
    /// Reads exactly one message: head, empty line, body. Bytes after the body that `Content-Length` announces are
    /// ignored, as in a datagram; without `Content-Length` all that follows is the body (RFC 3261 §18.3).
    pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
        let (head, body) = Head::cut(bytes).ok_or(ParseError::Incomplete)?;
        let head = Head::read(head);
        let body = match head.content_length()? {
            Some(length) => body.get(..length).ok_or(ParseError::Incomplete)?,
            None => body,
        };
        Message::from_head(head, body.to_vec())
    }

    /// Makes a message of a head and the body that was cut off for it.
    pub(super) fn from_head(head: Head, body: Vec<u8>) -> Result<Message, ParseError> {
        let Head { start_line, mut headers, malformed } = head;
        if malformed {
            return Err(ParseError::HeaderLine);
        }
        if headers.len() > MAX_HEADERS {
            return Err(ParseError::TooLarge("header lines"));
        }
        headers.remove("Content-Length");
        match StartLine::parse(&start_line)? {
            StartLine::Request(method, uri) => Ok(Message::Request(Request { method, uri, headers, body })),
            StartLine::Status(status, reason) => Ok(Message::Response(Response { status, reason, headers, body })),
        }
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Message::Request(request) => request.to_bytes(),
            Message::Response(response) => response.to_bytes(),
        }
    }

    /// The header fields of either kind.
    pub fn headers(&self) -> &Headers {
        match self {
            Message::Request(request) => &request.headers,
            Message::Response(response) => &response.headers,
        }
    }
}

impl Request {
    /// A request without header fields and body.
    pub fn new(method: Method, uri: Uri) -> Self {
        Request { method, uri, headers: Headers::new(), body: Vec::new() }
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&format!("{} {} SIP/2.0", self.method, self.uri), &self.headers, &self.body)
    }
}

impl Response {
    /// A response without header fields and body.
    pub fn new(status: u16, reason: &str) -> Self {
        Response { status, reason: reason.to_owned(), headers: Headers::new(), body: Vec::new() }
    }

    /// A response to a request, with the header fields that RFC 3261 §8.2.6.2 has copied from it. The caller adds the
    /// `To` tag.
    pub fn to(request: &Request, status: u16, reason: &str) -> Self {
        Self::to_headers(&request.headers, status, reason)
    }

    pub(super) fn to_headers(request: &Headers, status: u16, reason: &str) -> Self {
        let mut response = Response::new(status, reason);
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            for value in request.all(name) {
                response.headers.push(name, value);
            }
        }
        response
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        print(&format!("SIP/2.0 {:03} {}", self.status, self.reason), &self.headers, &self.body)
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Message::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Message::Response(response)
    }
}

/// Shows the length of the body, never its content: it may hold media keys.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start_line = format_args!("{} {}", self.method, self.uri);
        write!(f, "Request({start_line}, {:?}, {} bytes)", self.headers, self.body.len())
    }
}

/// Shows the length of the body, never its content: it may hold media keys.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} {:?}, {:?}, {} bytes)", self.status, self.reason, self.headers, self.body.len())
    }
}

enum StartLine {
    Request(Method, Uri),
    Status(u16, String),
}

impl StartLine {
    fn parse(line: &[u8]) -> Result<Self, ParseError> {
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return Err(ParseError::StartLine);
        }
        if is_status_line(line) { Self::parse_status(line) } else { Self::parse_request(line) }
    }

    fn parse_request(line: &[u8]) -> Result<Self, ParseError> {
        let line = std::str::from_utf8(line).map_err(|_| ParseError::StartLine)?;
        // Single spaces, and none elsewhere: a Request-URI with a space in it must not be guessed at (RFC 4475 §3.1.2.8).
        let mut parts = line.split(' ');
        let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::StartLine);
        };
        check_version(version)?;
        let method = Method::parse(method).ok_or(ParseError::StartLine)?;
        Ok(StartLine::Request(method, Uri::parse(uri).map_err(|_| ParseError::Malformed("Request-URI"))?))
    }

    fn parse_status(line: &[u8]) -> Result<Self, ParseError> {
        let line = String::from_utf8_lossy(line);
        let (version, rest) = line.split_once(' ').ok_or(ParseError::StartLine)?;
        check_version(version)?;
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        match syntax::number(code).and_then(|code| u16::try_from(code).ok()) {
            Some(status @ 100..=699) if code.len() == 3 => Ok(StartLine::Status(status, reason.to_owned())),
            _ => Err(ParseError::Malformed("status code")),
        }
    }
}

/// Whether a start line is a status line, of whatever version: no method can hold a `/`.
pub(super) fn is_status_line(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"))
}

fn check_version(text: &str) -> Result<(), ParseError> {
    if text.eq_ignore_ascii_case("SIP/2.0") {
        return Ok(());
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.get(..4).zip(text.get(4..)).and_then(|(name, number)| Some((name, number.split_once('.')?))) {
        Some((name, (major, minor))) if name.eq_ignore_ascii_case("SIP/") && digits(major) && digits(minor) => {
            Err(ParseError::version(text))
        }
        _ => Err(ParseError::StartLine),
    }
}

fn print(start_line: &str, headers: &Headers, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512 + body.len());
    let mut line = |text: &mut dyn Iterator<Item = &str>| {
        // No value can end its line early, wherever it came from.
        for part in text {
            bytes.extend(part.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        }
        bytes.extend(b"\r\n");
    };
    line(&mut [start_line].into_iter());
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length")) {
        line(&mut [name, ": ", value].into_iter());
    }
    line(&mut ["Content-Length: ", &body.len().to_string()].into_iter());
    line(&mut [].into_iter());
    bytes.extend(body);
    bytes
}
