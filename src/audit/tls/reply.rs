//! Reads a server's first flight: records, alerts and handshake messages that come in clear (RFC 5246 §7, RFC 8446 §4).
//!
//! In: bytes as they arrive, from whoever answers. Out: a [`Reply`], which says what could be read and how it ended.
//! Bounded, tolerant of what it need not know, and never a panic.

use super::suites::{self, Exchange};
use crate::audit::facts::Version;
use crate::sip::printable;

/// More than this is no first flight.
const MOST: usize = 160 * 1024;
/// RFC 5246 §6.2.3: the longest record.
const LONGEST_RECORD: usize = (1 << 14) + 2048;

/// The fixed random of a HelloRetryRequest (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// The alerts that a first flight may end in (RFC 8446 §6.2, RFC 7507 §4).
const ALERTS: [(u8, &str); 13] = [
    (10, "unexpected_message"),
    (40, "handshake_failure"),
    (47, "illegal_parameter"),
    (49, "access_denied"),
    (50, "decode_error"),
    (70, "protocol_version"),
    (71, "insufficient_security"),
    (80, "internal_error"),
    (86, "inappropriate_fallback"),
    (109, "missing_extension"),
    (112, "unrecognized_name"),
    (116, "certificate_required"),
    (120, "no_application_protocol"),
];

/// What came back to one hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The ServerHello or HelloRetryRequest.
    pub hello: Option<ServerHello>,
    /// The certificates in DER, as sent; in clear in TLS ≤ 1.2 only.
    pub chain: Vec<Vec<u8>>,
    /// A stapled OCSP answer.
    pub staple: Option<Vec<u8>>,
    /// What the ServerKeyExchange shows.
    pub key: Option<Key>,
    /// Whether it asks for a certificate of the client's.
    pub certificate_request: bool,
    /// How it ended.
    pub end: End,
}

/// What a ServerHello says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerHello {
    /// The version that it chose.
    pub version: Version,
    /// The suite that it chose.
    pub suite: u16,
    /// The group that it chose or asks for, in TLS 1.3.
    pub group: Option<u16>,
    /// Whether it chose compression.
    pub compression: bool,
    /// RFC 7627.
    pub extended_master_secret: bool,
    /// RFC 5746.
    pub secure_renegotiation: bool,
    /// RFC 6520.
    pub heartbeat: bool,
    /// The protocol that it selected.
    pub alpn: Option<String>,
}

/// What a ServerKeyExchange shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A group by its number.
    Group(u16),
    /// A prime of so many bits.
    Prime(u32),
    /// Something else.
    Other,
}

/// How a reply ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With the last message of the flight.
    Complete,
    /// With a fatal alert.
    Alert(u8),
    /// The server closed or reset the connection.
    Closed,
    /// Nothing more came.
    Silent,
    /// With something that is not TLS.
    NotTls,
    /// There was no connection; why.
    NotConnected(String),
}

impl End {
    /// Whether the server said or showed that it does not want this.
    pub fn is_refusal(&self) -> bool {
        matches!(self, End::Alert(_) | End::Closed)
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            End::Complete => "it answered".to_owned(),
            End::Alert(number) => match ALERTS.iter().find(|(known, _)| known == number) {
                Some((_, name)) => format!("it sent the alert {name}"),
                None => format!("it sent the alert {number}"),
            },
            End::Closed => "it closed the connection".to_owned(),
            End::Silent => "it did not answer in time".to_owned(),
            End::NotTls => "its answer is not TLS".to_owned(),
            End::NotConnected(why) => format!("no connection: {why}"),
        }
    }
}

impl Reply {
    /// No answer, for this reason.
    pub fn nothing(end: End) -> Self {
        Reply { hello: None, chain: Vec::new(), staple: None, key: None, certificate_request: false, end }
    }
}

/// Collects bytes until a reply is complete.
pub struct Reader {
    records: Vec<u8>,
    messages: Vec<u8>,
    total: usize,
    reply: Reply,
    complete: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Before the first byte.
    pub fn new() -> Self {
        let reply = Reply::nothing(End::Silent);
        Reader { records: Vec::new(), messages: Vec::new(), total: 0, reply, complete: false }
    }

    /// Takes what arrived; says whether the reply is complete, so that nothing more need be read.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.total = self.total.saturating_add(bytes.len());
        if !self.complete {
            self.records.extend(bytes);
            while !self.complete && self.take_record() {}
            if self.total > MOST && !self.complete {
                self.finish(End::NotTls);
            }
        }
        self.complete
    }

    /// The reply. `end` says how the connection ended; it counts only if the reply was not complete.
    pub fn end(mut self, end: End) -> Reply {
        if !self.complete {
            self.finish(end);
        }
        self.reply
    }

    fn finish(&mut self, end: End) {
        self.reply.end = end;
        self.complete = true;
    }

    /// Whether there was a whole record.
    fn take_record(&mut self) -> bool {
        let Some((kind, version, length)) = record_header(&self.records) else {
            if !looks_like_a_record(&self.records) {
                self.finish(End::NotTls);
            }
            return false;
        };
        if !(20..=23).contains(&kind) || version >> 8 != 3 || length > LONGEST_RECORD {
            self.finish(End::NotTls);
            return false;
        }
        if self.records.len() < 5 + length {
            return false;
        }
        let rest = self.records.split_off(5 + length);
        let record = std::mem::replace(&mut self.records, rest);
        match kind {
            21 => self.take_alert(&record[5..]),
            22 => {
                self.messages.extend(&record[5..]);
                while !self.complete && self.take_message() {}
            }
            // ChangeCipherSpec means nothing here, and data cannot come before the handshake
            20 => {}
            _ => self.finish(End::NotTls),
        }
        true
    }

    fn take_alert(&mut self, body: &[u8]) {
        match body {
            // RFC 6066 §3: unrecognized_name may be a warning, and the handshake goes on
            [1, description] if *description != 0 => {}
            [1, _] => self.finish(End::Closed),
            [2, description] => self.finish(End::Alert(*description)),
            _ => self.finish(End::NotTls),
        }
    }

    /// Whether there was a whole message.
    fn take_message(&mut self) -> bool {
        let Some(header) = self.messages.first_chunk::<4>() else { return false };
        let (kind, length) = (header[0], u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize);
        if length > MOST {
            self.finish(End::NotTls);
            return false;
        }
        if self.messages.len() < 4 + length {
            return false;
        }
        let rest = self.messages.split_off(4 + length);
        let message = std::mem::replace(&mut self.messages, rest);
        if self.read_message(kind, Fields(&message[4..])).is_none() {
            self.finish(End::NotTls);
        }
        true
    }

    /// `None` if the message cannot be read, or may not stand here.
    fn read_message(&mut self, kind: u8, mut body: Fields<'_>) -> Option<()> {
        match kind {
            0 => {} // HelloRequest may come at any time (RFC 5246 §7.4.1.1)
            2 if self.reply.hello.is_none() => {
                let hello = server_hello(body)?;
                let tls_13 = hello.version == Version::Tls13;
                self.reply.hello = Some(hello);
                if tls_13 {
                    self.finish(End::Complete); // what follows is encrypted, or waits for another hello
                }
            }
            _ if self.reply.hello.is_none() => return None,
            11 => self.reply.chain = certificates(body)?,
            22 => {
                let status = body.u8()?;
                let answer = body.list24()?;
                self.reply.staple = (status == 1).then(|| answer.0.to_vec());
            }
            12 => self.reply.key = Some(self.key(body)?),
            13 => self.reply.certificate_request = true,
            14 => self.finish(End::Complete),
            _ => {}
        }
        Some(())
    }

    fn key(&self, mut body: Fields<'_>) -> Option<Key> {
        Some(match suites::exchange(self.reply.hello.as_ref()?.suite) {
            // RFC 8422 §5.4: 3 is named_curve
            Exchange::Curve => match body.u8()? {
                3 => Key::Group(body.u16()?),
                _ => Key::Other,
            },
            Exchange::Prime => Key::Prime(bits(body.list16()?.0)),
            Exchange::Other => Key::Other,
        })
    }
}

/// The size of a big-endian number in bits.
pub fn bits(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = &number[zeros..];
    significant.first().map_or(0, |first| significant.len() as u32 * 8 - first.leading_zeros())
}

fn record_header(records: &[u8]) -> Option<(u8, u16, usize)> {
    let [kind, major, minor, high, low] = *records.first_chunk::<5>()?;
    Some((kind, u16::from_be_bytes([major, minor]), u16::from_be_bytes([high, low]).into()))
}

/// Whether the first bytes could become a record: what is not TLS is told after the first byte.
fn looks_like_a_record(start: &[u8]) -> bool {
    start.first().is_none_or(|kind| (20..=23).contains(kind)) && start.get(1).is_none_or(|major| *major == 3)
}

fn server_hello(mut body: Fields<'_>) -> Option<ServerHello> {
    let legacy_version = body.u16()?;
    let random = body.take(32)?;
    let _session = body.list8()?;
    let suite = body.u16()?;
    let compression = body.u8()? != 0;
    let mut hello = ServerHello {
        version: version(legacy_version)?,
        suite,
        group: None,
        compression,
        extended_master_secret: false,
        secure_renegotiation: false,
        heartbeat: false,
        alpn: None,
    };
    // a ServerHello without extensions may end here
    let mut extensions = if body.0.is_empty() { Fields(&[]) } else { body.list16()? };
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut value = extensions.list16()?;
        match kind {
            0xff01 => hello.secure_renegotiation = true,
            15 => hello.heartbeat = true,
            16 => hello.alpn = Some(printable(&String::from_utf8_lossy(value.list16()?.list8()?.0))),
            23 => hello.extended_master_secret = true,
            43 => hello.version = version(value.u16()?)?,
            51 => hello.group = Some(value.u16()?),
            _ => {}
        }
    }
    // the fixed random belongs to TLS 1.3 alone
    if random == RETRY && hello.version != Version::Tls13 {
        return None;
    }
    Some(hello)
}

fn certificates(mut body: Fields<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = body.list24()?;
    let mut found = Vec::new();
    while !list.0.is_empty() {
        found.push(list.list24()?.0.to_vec());
    }
    Some(found)
}

fn version(number: u16) -> Option<Version> {
    Some(match number {
        0x0300 => Version::Ssl3,
        0x0301 => Version::Tls10,
        0x0302 => Version::Tls11,
        0x0303 => Version::Tls12,
        0x0304 => Version::Tls13,
        _ => return None,
    })
}

/// What is left of a message to read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn list8(&mut self) -> Option<Fields<'a>> {
        let length = self.u8()?;
        self.take(length.into()).map(Fields)
    }

    fn list16(&mut self) -> Option<Fields<'a>> {
        let length = self.u16()?;
        self.take(length.into()).map(Fields)
    }

    fn list24(&mut self) -> Option<Fields<'a>> {
        let length = self.take(3)?;
        self.take(u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize).map(Fields)
    }
}

#[cfg(test)]
mod tests;
