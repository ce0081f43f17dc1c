//! Messages that are made to hurt: big, deep, broken. They may be refused, they may not panic or take long.

use std::time::{Duration, Instant};

use super::super::{Frame, Framer, Message, NameAddr, Uri, Via, printable, validate_request, validate_response};
use super::{corpus, messages};

/// Reads bytes in every way this module offers; says how many messages there were.
fn read_in_every_way(bytes: &[u8]) -> usize {
    let mut read = 0;
    let mut framer = Framer::new();
    framer.push(Instant::now(), bytes);
    let framed = framer.by_ref().filter_map(|frame| match frame {
        Frame::Message(message) => Some(message),
        Frame::Bad { reply, reason, .. } => {
            assert_eq!(reason, printable(&reason));
            if let Some(reply) = reply {
                assert!(Message::parse(&reply.to_bytes()).is_ok(), "a reply that cannot be read");
            }
            None
        }
        Frame::Ping | Frame::Pong => None,
    });
    for message in framed.chain(Message::parse(bytes)) {
        read += 1;
        let headers = message.headers();
        let outcome = match &message {
            Message::Request(request) => validate_request(request),
            Message::Response(response) => validate_response(response),
        };
        if let Err(rejection) = outcome {
            assert_eq!(rejection.reason, printable(&rejection.reason));
        }
        let _ = (headers.via(), headers.top_via(), headers.from(), headers.to(), headers.call_id(), headers.cseq());
        let _ = (headers.contacts(), headers.routes(), headers.record_routes(), headers.max_forwards());
        let _ = (headers.expires(), headers.content_type(), headers.list("Supported").count());
        for (_, value) in headers.iter() {
            let _ = (NameAddr::parse(value), Via::parse(value), Uri::parse(value));
            assert!(!printable(value).contains(char::is_control));
        }
        assert_eq!(Message::parse(&message.to_bytes()).as_ref(), Ok(&message));
    }
    read
}

fn request_with(header_lines: &str) -> Vec<u8> {
    format!(
        "INVITE sip:gw@localhost SIP/2.0\r\nTo: sip:gw@localhost\r\nFrom: sip:a@localhost;tag=1\r\nCall-ID: 1\r\n\
         CSeq: 1 INVITE\r\n{header_lines}Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn big_hostile_messages_are_done_with_quickly() {
    let via = "SIP/2.0/TLS a;branch=z9hG4bKa";
    let attacks = [
        ("6000 headers", format!("Via: {via}\r\n{}", "a:b\r\n".repeat(6000))),
        ("60 kB header", format!("Via: {via}\r\nX: {}\r\n", "x".repeat(60_000))),
        ("30 kB header", format!("Via: {via}\r\nX: {}\r\n", "x".repeat(30_000))),
        ("20000 parameters", format!("Via: {via}{}\r\n", ";a".repeat(20_000))),
        ("15000 parameters", format!("Via: {via}{}\r\n", ";a".repeat(15_000))),
        ("3000 hops", format!("Via: {}\r\n", vec!["SIP/2.0/TLS a"; 3000].join(","))),
        ("2000 hops", format!("Via: {}\r\n", vec!["SIP/2.0/TLS a"; 2000].join(","))),
        ("15000 commas", format!("Via: {via}\r\nContact: {}\r\n", ",".repeat(15_000))),
        ("quotes and brackets", format!("Via: {via}\r\nContact: {}\r\n", "\"<".repeat(30_000))),
        ("15 kB of them", format!("Via: {via}\r\nContact: {}\r\n", "\"<".repeat(15_000))),
        ("brackets", format!("Via: {via}\r\nRoute: {}\r\n", "<".repeat(30_000))),
        ("backslashes", format!("Via: {via}\r\nRoute: \"{}\r\n", "\\".repeat(30_000))),
        ("folds", format!("Via: {via}\r\nX: a{}\r\n", "\r\n ".repeat(10_000))),
        ("carriage returns", format!("Via: {via}\r\nX: {}\r\n", "\r".repeat(30_000))),
        ("escapes", format!("Via: {via}\r\nContact: <sip:{}@a>\r\n", "%00".repeat(10_000))),
        ("colons", format!("Via: {via}\r\nContact: <sip:[{}]>\r\n", ":".repeat(30_000))),
        ("dots", format!("Via: {via}\r\nContact: <sip:{}>\r\n", "a.".repeat(15_000))),
        ("digits", format!("Via: {via}\r\nMax-Forwards: {}\r\n", "0".repeat(30_000))),
    ];
    for (name, lines) in attacks {
        let bytes = request_with(&lines);
        let start = Instant::now();
        read_in_every_way(&bytes);
        assert!(start.elapsed() < Duration::from_millis(300), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn a_message_in_single_bytes_costs_linear_time() {
    let bytes = request_with(&format!("Via: SIP/2.0/TLS a\r\nX: {}\r\n", "x\r\n ".repeat(7_000)));
    let now = Instant::now();
    let mut framer = Framer::new();
    let mut frames = 0;
    for _ in 0..10 {
        for byte in bytes.chunks(1) {
            framer.push(now, byte);
            frames += framer.by_ref().count();
        }
    }
    assert_eq!(frames, 10);
    assert!(now.elapsed() < Duration::from_millis(500), "{:?}", now.elapsed());
}

#[test]
fn crlf_runs_in_odd_portions_cost_linear_time() {
    let now = Instant::now();
    let mut framer = Framer::new();
    framer.push(now, b"\r");
    for _ in 0..50_000 {
        framer.push(now, b"\n\r");
        let _ = framer.by_ref().count();
    }
    assert!(now.elapsed() < Duration::from_millis(500), "{:?}", now.elapsed());
}

/// Deterministic noise (xorshift), so that a failure can be repeated.
struct Noise(u64);

impl Noise {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

fn mutate(noise: &mut Noise, bytes: &mut Vec<u8>, other: &[u8]) {
    const SPECIAL: &[u8] = b"\r\n\0\t :;,<>\"\\@%[]()=?&/\x1b\x7f\x80\xff09-";
    for _ in 0..=noise.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = noise.below(bytes.len());
        match noise.below(7) {
            0 => bytes[at] ^= 1 << noise.below(8),
            1 => bytes[at] = SPECIAL[noise.below(SPECIAL.len())],
            2 => bytes.insert(at, SPECIAL[noise.below(SPECIAL.len())]),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + noise.below(20)).min(bytes.len()))),
            5 => {
                let copy = bytes[at..(at + noise.below(100)).min(bytes.len())].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => {
                let from = noise.below(other.len());
                bytes.splice(at..at, other[from..(from + noise.below(60)).min(other.len())].iter().copied());
            }
        }
    }
}

#[test]
fn mutated_messages_are_read_or_refused_and_never_panic() {
    let mut seeds = corpus();
    seeds.extend(messages("rfc4475"));
    seeds.extend(messages("rfc5118"));
    let mut noise = Noise(0x5eed_2026_1124);
    let mut read = 0;
    for _ in 0..30_000 {
        let mut bytes = seeds[noise.below(seeds.len())].1.clone();
        let other = &seeds[noise.below(seeds.len())].1;
        mutate(&mut noise, &mut bytes, other);
        read += usize::from(read_in_every_way(&bytes) > 0);
    }
    assert!((3_000..29_000).contains(&read), "{read} of 30000 were read: the mutations are too weak or too strong");
}
