//! Where one SIP message ends and the next begins on a stream (RFC 3261 §18.3), and the CRLFs that keep the stream
//! alive (RFC 5626 §3.5.1). Bytes in any portions come in, whole messages and faults go out.
//!
//! It never holds more than [`MAX_MESSAGE`], never reserves memory because a peer announces a length, and never guesses:
//! when the end of a message cannot be known, the flow has to be closed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::head::Head;
use super::header::NameAddr;
use super::message::{Message, Response, is_status_line};
use super::syntax::ParseError;

/// The most bytes of a whole message.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// The most bytes of a start line and headers.
pub const MAX_HEAD: usize = 32 * 1024;
/// How long a message may take to arrive after its first byte: 64·T1, as long as a transaction would wait.
pub const MAX_ARRIVAL: Duration = Duration::from_secs(32);

/// What the stream held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A message of good form.
    Message(Message),
    /// A double CRLF between messages: to be answered with one CRLF (RFC 5626 §3.5.1).
    Ping,
    /// A single CRLF between messages: the answer to our ping, or the stray one that RFC 3261 §7.5 wants ignored.
    Pong,
    /// Something that is no good message.
    Bad {
        /// The answer, if it was a request that can be answered at all.
        reply: Option<Response>,
        /// Whether the place in the stream is lost, so that the flow must be closed after the reply.
        fatal: bool,
        /// What was wrong, safe to log.
        reason: String,
    },
}

/// Cuts one stream into frames: [`Framer::push`] bytes, then take frames (it is an iterator) until `None`.
pub struct Framer {
    buffer: Vec<u8>,
    /// How much of the buffer is already used up.
    start: usize,
    state: State,
    /// When the newest bytes came.
    newest: Option<Instant>,
    /// When the first byte of what is still incomplete came.
    incomplete_since: Option<Instant>,
    overdue: bool,
}

enum State {
    /// Before or in a head, of which this many bytes hold no end.
    AwaitHead { searched: usize },
    /// The head is read, and this many bytes of body belong to it.
    AwaitBody { head: Head, length: usize },
    /// After a fatal fault: nothing more comes out.
    Lost,
}

impl Framer {
    /// A framer for a new stream.
    pub fn new() -> Self {
        Framer {
            buffer: Vec::new(),
            start: 0,
            state: State::AwaitHead { searched: 0 },
            newest: None,
            incomplete_since: None,
            overdue: false,
        }
    }

    /// Takes bytes from the stream.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() || matches!(self.state, State::Lost) {
            return;
        }
        self.newest = Some(now);
        self.incomplete_since.get_or_insert(now);
        self.buffer.extend(bytes);
    }

    /// When [`Framer::handle_timeout`] wants to be called: when the message that is arriving will have taken too long.
    pub fn wake(&self) -> Option<Instant> {
        self.incomplete_since.filter(|_| !self.overdue).map(|since| since + MAX_ARRIVAL)
    }

    /// Gives up an incomplete message that takes too long; the next frame says so.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.overdue |= self.wake().is_some_and(|deadline| now >= deadline);
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Marks bytes as used up. They are moved out once they are half of the buffer, so the cost stays linear.
    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start * 2 >= self.buffer.len() {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }

    fn await_head(&mut self, searched: usize) -> Option<Frame> {
        if let Some((frame, used)) = keep_alive(self.pending()) {
            self.consume(used);
            return frame;
        }
        let pending = self.pending();
        let from = searched.saturating_sub(3);
        let Some(end) = pending[from..].windows(4).position(|w| w == b"\r\n\r\n").map(|at| from + at + 2) else {
            let searched = pending.len();
            self.state = State::AwaitHead { searched };
            return if searched > MAX_HEAD { self.too_long(None) } else { None };
        };
        if end > MAX_HEAD {
            return self.too_long(None);
        }
        let head = Head::read(&pending[..end]);
        self.consume(end + 2);
        match head.content_length() {
            Ok(Some(length)) if end + 2 + length > MAX_MESSAGE => self.too_long(Some(&head)),
            Ok(Some(length)) => {
                self.state = State::AwaitBody { head, length };
                self.poll()
            }
            Ok(None) => self.lost(Some(&head), &ParseError::Missing("Content-Length")),
            Err(error) => self.lost(Some(&head), &error),
        }
    }

    fn await_body(&mut self, head: Head, length: usize) -> Option<Frame> {
        let Some(body) = self.pending().get(..length) else {
            self.state = State::AwaitBody { head, length };
            return None;
        };
        let body = body.to_vec();
        self.consume(length);
        let reply_to = head.clone();
        Some(match Message::from_head(head, body) {
            Ok(message) => Frame::Message(message),
            Err(error) => Frame::Bad { reply: reply(&reply_to, &error), fatal: false, reason: error.to_string() },
        })
    }

    fn poll(&mut self) -> Option<Frame> {
        match std::mem::replace(&mut self.state, State::AwaitHead { searched: 0 }) {
            State::AwaitHead { searched: _ } if self.overdue => self.lost(None, &ParseError::Incomplete),
            State::AwaitBody { head, .. } if self.overdue => self.lost(Some(&head), &ParseError::Incomplete),
            State::AwaitHead { searched } => self.await_head(searched),
            State::AwaitBody { head, length } => self.await_body(head, length),
            State::Lost => {
                self.state = State::Lost;
                None
            }
        }
    }

    fn too_long(&mut self, head: Option<&Head>) -> Option<Frame> {
        self.lost(head, &ParseError::TooLarge("bytes"))
    }

    fn lost(&mut self, head: Option<&Head>, error: &ParseError) -> Option<Frame> {
        self.state = State::Lost;
        self.buffer = Vec::new();
        self.start = 0;
        let reply = head.and_then(|head| reply(head, error));
        Some(Frame::Bad { reply, fatal: true, reason: error.to_string() })
    }
}

/// Shows how much waits, not what: it may hold keys.
impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer").field("pending", &self.pending().len()).finish_non_exhaustive()
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for Framer {
    type Item = Frame;

    /// The next frame; `None` until more bytes come.
    fn next(&mut self) -> Option<Frame> {
        let frame = self.poll();
        let idle = matches!(self.state, State::AwaitHead { .. } | State::Lost) && self.pending().is_empty();
        self.incomplete_since = match (idle, &frame) {
            (true, _) => None,
            // What follows a whole frame came with the newest bytes at the latest.
            (false, Some(_)) => self.newest,
            (false, None) => self.incomplete_since,
        };
        frame
    }
}

/// The keep-alive that the bytes begin with and its length. A run of CRLFs longer than a ping is answered as one ping.
/// `None` as frame: it might become one with the next byte.
fn keep_alive(bytes: &[u8]) -> Option<(Option<Frame>, usize)> {
    let pairs = bytes.chunks(2).take_while(|pair| *pair == b"\r\n").count();
    match (pairs, &bytes[pairs * 2..]) {
        (0, b"" | b"\r") | (1, b"\r") => Some((None, 0)),
        (0, _) => None,
        (1, _) => Some((Some(Frame::Pong), 2)),
        (pairs, _) => Some((Some(Frame::Ping), pairs * 2)),
    }
}

/// The answer to a request that cannot be read as a message, from those of its headers that can (RFC 3261 §8.2.6).
/// There is none to a response, to an ACK (§17), or without a `Via` and `CSeq` by which its sender could know it.
fn reply(head: &Head, error: &ParseError) -> Option<Response> {
    if is_status_line(&head.start_line) || head.start_line.starts_with(b"ACK ") {
        return None;
    }
    head.headers.get("Via").and(head.headers.get("CSeq"))?;
    let mut response = Response::to_headers(&head.headers, error.status(), &error.reason_phrase());
    if let Some(to) = response.headers.get("To").and_then(|to| NameAddr::parse(to).ok()).filter(|to| to.tag().is_none())
    {
        // One tag for each retransmission of the request (RFC 3261 §8.2.7), so it is made of what names the request.
        let mut hash = DefaultHasher::new();
        head.headers
            .iter()
            .filter(|(name, _)| ["Via", "Call-ID", "CSeq"].contains(name))
            .for_each(|f| f.hash(&mut hash));
        response.headers.set("To", to.with_tag(&format!("{:016x}", hash.finish())));
    }
    Some(response)
}
