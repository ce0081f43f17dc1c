//! The head of a message, start line and header lines, read once and leniently (RFC 3261 §7.3.1): a fault is noted and
//! reading goes on, so that the length of the body is known and a request with a fault can still be answered.

use super::header::Headers;
use super::syntax::{self, ParseError, WSP};

/// A head whose end has been found.
#[derive(Clone)]
pub(super) struct Head {
    /// The first line.
    pub start_line: Vec<u8>,
    /// The header lines that have the form of one.
    pub headers: Headers,
    /// Whether there were others.
    pub malformed: bool,
}

impl Head {
    /// Splits bytes at the empty line that ends a head: the head with the CRLF of its last line, and the rest.
    pub(super) fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        Some((&bytes[..end + 2], &bytes[end + 4..]))
    }

    /// Reads the lines of a head.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut lines = physical_lines(bytes).peekable();
        let start_line = lines.next().unwrap_or_default().to_vec();
        let mut head = Head { start_line, headers: Headers::new(), malformed: false };
        let mut unfolded = Vec::new();
        while let Some(line) = lines.next() {
            // A fold may follow the colon, never come before it.
            let has_colon = line.contains(&b':');
            unfolded.clear();
            unfolded.extend(line);
            while let Some(continuation) = lines.next_if(|next| is_continuation(next)) {
                unfolded.push(b' ');
                unfolded.extend(continuation.trim_ascii_start());
            }
            if !has_colon || !head.read_line(&unfolded) {
                head.malformed = true;
            }
        }
        head
    }

    /// Takes a line in, or says that it has not the form of a header.
    fn read_line(&mut self, line: &[u8]) -> bool {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(Ok(name)), Some(value)) = (parts.next().map(std::str::from_utf8), parts.next()) else { return false };
        // White space may stand before the colon, never before the name: that would be a folded start line.
        let name = name.trim_end_matches(WSP);
        if !syntax::is_token(name) || value.contains(&b'\r') || value.contains(&b'\n') {
            return false;
        }
        self.headers.push(name, String::from_utf8_lossy(value).trim_matches(WSP));
        true
    }

    /// The length of the body that the head announces, `None` if it does not. Two announcements are one too many, even
    /// when they agree (RFC 3261 §7.3.1).
    pub(super) fn content_length(&self) -> Result<Option<usize>, ParseError> {
        match self.headers.single("Content-Length") {
            Err(ParseError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
            Ok(text) => syntax::number(text)
                .and_then(|length| usize::try_from(length).ok())
                .map(Some)
                .ok_or(ParseError::Malformed("Content-Length")),
        }
    }
}

fn is_continuation(line: &[u8]) -> bool {
    line.first().is_some_and(|&byte| byte == b' ' || byte == b'\t')
}

/// The lines between CRLFs; a bare CR or LF does not end one.
fn physical_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.windows(2).position(|pair| pair == b"\r\n").unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 2..).unwrap_or_default();
        Some(line)
    })
}
