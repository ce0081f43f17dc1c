//! Framing: portions, pipelines, keep-alives, lengths, limits and slowness.

use std::time::{Duration, Instant};

use super::super::framing::{MAX_ARRIVAL, MAX_HEAD, MAX_MESSAGE};
use super::super::{Frame, Framer, Message, Response};
use super::{corpus, rfc4475};

fn frames(portions: &[&[u8]]) -> Vec<Frame> {
    let now = Instant::now();
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for portion in portions {
        framer.push(now, portion);
        frames.extend(framer.by_ref());
    }
    frames
}

/// An OPTIONS with this `Content-Length` line (or none) and this body.
fn options(length: &str, body: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:gw@localhost SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:4711;branch=z9hG4bK.a~1\r\n\
         From: sip:alice@localhost;tag=x\r\nTo: sip:gw@localhost\r\nCall-ID: c~1\r\nCSeq: 7 OPTIONS\r\n{length}\r\n{body}"
    )
    .into_bytes()
}

fn good() -> Vec<u8> {
    options("Content-Length: 0\r\n", "")
}

fn bad(frames: &[Frame]) -> (Option<&Response>, bool) {
    match frames {
        [Frame::Bad { reply, fatal, .. }] => (reply.as_ref(), *fatal),
        other => panic!("not one bad frame: {other:?}"),
    }
}

#[test]
fn a_message_split_at_any_byte_is_the_same_message() {
    for (name, bytes) in corpus() {
        let whole = vec![Frame::Message(Message::parse(&bytes).unwrap())];
        for at in 0..=bytes.len() {
            assert_eq!(frames(&[&bytes[..at], &bytes[at..]]), whole, "{name} split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(frames(&single), whole, "{name} byte by byte");
    }
}

#[test]
fn a_hundred_pipelined_messages_are_a_hundred_messages_in_any_portions() {
    for (name, bytes) in corpus() {
        let message = Frame::Message(Message::parse(&bytes).unwrap());
        let pipeline = bytes.repeat(100);
        for size in [pipeline.len(), 1, 999, 16_384] {
            if size == 1 && bytes.len() > 700 {
                continue; // the test above has been there
            }
            let portions: Vec<&[u8]> = pipeline.chunks(size).collect();
            let frames = frames(&portions);
            assert!(
                frames.len() == 100 && frames.iter().all(|frame| *frame == message),
                "{name} in portions of {size}"
            );
        }
    }
}

#[test]
fn a_double_crlf_is_a_ping_and_a_single_one_a_pong() {
    let message = Frame::Message(Message::parse(&good()).unwrap());
    assert_eq!(frames(&[b"\r\n"]), [Frame::Pong]);
    assert_eq!(frames(&[b"\r", b"\n"]), [Frame::Pong]);
    assert_eq!(frames(&[b"\r\n\r\n"]), [Frame::Ping]);
    assert_eq!(frames(&[b"\r\n\r", b"\n"]), [Frame::Ping]);
    assert_eq!(frames(&[b"\r\n", b"\r\n"]), [Frame::Pong, Frame::Pong]);
    assert_eq!(frames(&[&b"\r\n".repeat(1000)]), [Frame::Ping]);
    let with_pong = [&b"\r\n"[..], &good()].concat();
    assert_eq!(frames(&[&with_pong]), [Frame::Pong, message.clone()]);
    let between = [good(), b"\r\n\r\n".to_vec(), good()].concat();
    assert_eq!(frames(&[&between]), [message.clone(), Frame::Ping, message]);
}

#[test]
fn octets_that_follow_a_body_are_the_next_message() {
    let frames = frames(&[&rfc4475("dblreq")]);
    let kinds: Vec<_> = frames
        .iter()
        .take(3)
        .map(|frame| match frame {
            Frame::Message(Message::Request(request)) => request.method.as_str(),
            Frame::Pong => "pong",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["REGISTER", "pong", "INVITE"]);
}

#[test]
fn a_length_that_cannot_be_trusted_is_answered_and_closes_the_flow() {
    let lengths = [
        "",
        "Content-Length:\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 0x1\r\n",
        "Content-Length: 1 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: 4294967296\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nl: 1\r\n",
        "Content-Length: 1\r\nContent-Length : 2\r\n",
    ];
    for length in lengths {
        let stream = [options(length, "x"), good()].concat();
        let frames = frames(&[&stream]);
        let (reply, fatal) = bad(&frames);
        let reply = reply.unwrap();
        assert!(fatal, "{length:?}");
        assert_eq!(reply.status, 400, "{length:?}");
        assert_eq!(reply.headers.get("Via"), Some("SIP/2.0/TLS 127.0.0.1:4711;branch=z9hG4bK.a~1"));
        assert_eq!(reply.headers.cseq().unwrap().number, 7);
        assert!(reply.headers.to().unwrap().tag().is_some());
        assert!(Message::parse(&reply.to_bytes()).is_ok());
    }
}

#[test]
fn a_fault_inside_known_bounds_is_answered_and_the_flow_goes_on() {
    for (name, status) in [("badvers", 505), ("ltgtruri", 400), ("lwsruri", 400), ("lwsstart", 400), ("trws", 400)] {
        let stream = [rfc4475(name), good()].concat();
        let frames = frames(&[&stream]);
        let Frame::Bad { reply: Some(reply), fatal: false, .. } = &frames[0] else { panic!("{name}: {frames:?}") };
        assert_eq!(reply.status, status, "{name}");
        assert!(matches!(frames.last(), Some(Frame::Message(_))), "{name}");
    }
}

#[test]
fn neither_a_response_nor_an_ack_is_ever_answered() {
    let ack = String::from_utf8(options("", "")).unwrap().replace("OPTIONS", "ACK");
    let response = ack.replace("ACK sip:gw@localhost SIP/2.0", "SIP/2.0 200 OK");
    for text in [ack, response] {
        assert_eq!(bad(&frames(&[text.as_bytes()])), (None, true), "{text}");
    }
    let big_code = frames(&[&rfc4475("bigcode")]);
    assert_eq!(bad(&big_code), (None, false));
}

#[test]
fn the_same_request_is_answered_with_the_same_tag_and_another_one_with_another() {
    let tag = |bytes: &[u8]| bad(&frames(&[bytes])).0.unwrap().headers.to().unwrap().tag().unwrap().to_owned();
    let other = String::from_utf8(options("", "")).unwrap().replace("c~1", "c~2");
    assert_eq!(tag(&options("", "")), tag(&options("", "")));
    assert_ne!(tag(&options("", "")), tag(other.as_bytes()));
}

#[test]
fn the_limits_are_sharp() {
    let empty = options("X: \r\nContent-Length: 0\r\n", "").len() - 2;
    let head = |size: usize| options(&format!("X: {}\r\nContent-Length: 0\r\n", "x".repeat(size - empty)), "");
    assert!(matches!(frames(&[&head(MAX_HEAD)])[..], [Frame::Message(_)]));
    assert_eq!(bad(&frames(&[&head(MAX_HEAD + 1)])), (None, true));

    let head = options("Content-Length: 00000\r\n", "").len();
    let body = |size: usize| options(&format!("Content-Length: {size:05}\r\n"), &"x".repeat(size));
    assert!(matches!(frames(&[&body(MAX_MESSAGE - head)])[..], [Frame::Message(_)]));
    let too_long = frames(&[&body(MAX_MESSAGE - head + 1)]);
    let (reply, fatal) = bad(&too_long);
    assert!(fatal);
    assert_eq!(reply.unwrap().status, 513);
}

#[test]
fn bytes_without_any_head_are_given_up_at_the_limit() {
    let now = Instant::now();
    let mut framer = Framer::new();
    for _ in 0..MAX_HEAD {
        framer.push(now, b"x");
        assert_eq!(framer.next(), None);
    }
    framer.push(now, b"x");
    assert!(matches!(framer.next(), Some(Frame::Bad { reply: None, fatal: true, .. })));
    framer.push(now, &good());
    assert_eq!(framer.next(), None);
    assert_eq!(framer.wake(), None);
}

#[test]
fn a_message_that_drips_in_is_given_up_after_32_seconds() {
    let start = Instant::now();
    let mut framer = Framer::new();
    framer.push(start, &good());
    assert!(matches!(framer.next(), Some(Frame::Message(_))));
    assert_eq!(framer.next(), None);
    assert_eq!(framer.wake(), None, "nothing is incomplete");
    let bytes = good();
    for second in 0..32 {
        let now = start + Duration::from_secs(second);
        framer.push(now, &bytes[second as usize..=second as usize]);
        framer.handle_timeout(now);
        assert_eq!(framer.next(), None);
        assert_eq!(framer.wake(), Some(start + MAX_ARRIVAL));
    }
    framer.handle_timeout(start + MAX_ARRIVAL);
    assert!(matches!(framer.next(), Some(Frame::Bad { reply: None, fatal: true, .. })));
    assert_eq!(framer.wake(), None);
}

#[test]
fn a_body_that_never_comes_is_answered_when_its_time_is_over() {
    let start = Instant::now();
    let mut framer = Framer::new();
    framer.push(start, &rfc4475("clerr"));
    assert_eq!(framer.next(), None);
    let deadline = framer.wake().unwrap();
    framer.handle_timeout(deadline - Duration::from_millis(1));
    assert_eq!(framer.next(), None);
    framer.handle_timeout(deadline);
    let Some(Frame::Bad { reply: Some(reply), fatal: true, .. }) = framer.next() else { panic!("no answer") };
    assert_eq!(reply.status, 400);
}

#[test]
fn the_time_of_a_message_begins_when_the_one_before_it_is_complete() {
    let start = Instant::now();
    let later = start + Duration::from_secs(30);
    let (first, second) = (good(), good());
    let mut framer = Framer::new();
    framer.push(start, &first[..20]);
    assert_eq!(framer.next(), None);
    framer.push(later, &[&first[20..], &second[..20]].concat());
    assert!(matches!(framer.next(), Some(Frame::Message(_))));
    assert_eq!(framer.next(), None);
    assert_eq!(framer.wake(), Some(later + MAX_ARRIVAL));
}
