//! Flights written by hand from the RFCs, and what random damage makes of them.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn server_hello(legacy: &str, random: &str, suite: &str, compression: &str, extensions: &str) -> Vec<u8> {
    let extensions = bytes(extensions);
    let mut body = bytes(&format!("{legacy} {random} 00 {suite} {compression}"));
    if !extensions.is_empty() {
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
    }
    message(2, &body)
}

fn random() -> String {
    "5a".repeat(32)
}

/// TLS 1.2 with everything: EMS, renegotiation, heartbeat, ALPN, two certificates, a staple, x25519, a request.
fn full_flight() -> Vec<u8> {
    let extensions = "0017 0000  ff01 0001 00  000f 0001 01  0010 0008 0006 05 7369702f32";
    let messages = [
        server_hello("0303", &random(), "c02f", "00", extensions),
        message(11, &bytes("00000b 000003 aabbcc 000002 ddee")),
        message(22, &bytes("01 000002 3000")),
        message(12, &bytes("03 001d 20")),
        message(13, &bytes("01 01 0002 0403 0000")),
        message(14, &[]),
    ]
    .concat();
    // the messages do not respect the records
    let (left, right) = messages.split_at(75);
    [record(21, &[1, 112]), record(22, left), record(22, right)].concat()
}

fn read(flight: &[u8]) -> Reply {
    let mut reader = Reader::new();
    reader.push(flight);
    reader.end(End::Silent)
}

#[test]
fn a_whole_flight_of_tls_12_is_read_however_it_arrives() {
    let expected = Reply {
        hello: Some(ServerHello {
            version: Version::Tls12,
            suite: 0xc02f,
            group: None,
            compression: false,
            extended_master_secret: true,
            secure_renegotiation: true,
            heartbeat: true,
            alpn: Some("sip/2".into()),
        }),
        chain: vec![vec![0xaa, 0xbb, 0xcc], vec![0xdd, 0xee]],
        staple: Some(vec![0x30, 0]),
        key: Some(Key::Group(29)),
        certificate_request: true,
        end: End::Complete,
    };
    assert_eq!(read(&full_flight()), expected);
    let mut reader = Reader::new();
    let flight = full_flight();
    for (at, byte) in flight.iter().enumerate() {
        assert_eq!(reader.push(&[*byte]), at + 1 == flight.len(), "complete with the last byte, not before");
    }
    assert_eq!(reader.end(End::Closed), expected);
}

#[test]
fn a_retry_request_names_suite_and_group() {
    let retry = "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c";
    let reply = read(&record(22, &server_hello("0303", retry, "1302", "00", "002b 0002 0304 0033 0002 11ec")));
    let hello = reply.hello.unwrap();
    assert_eq!((hello.version, hello.suite, hello.group), (Version::Tls13, 0x1302, Some(0x11ec)));
    assert_eq!(reply.end, End::Complete);
    // the same random in TLS 1.2 is nonsense
    assert_eq!(read(&record(22, &server_hello("0303", retry, "c02f", "00", ""))).end, End::NotTls);
}

#[test]
fn a_share_names_its_group_and_what_follows_is_not_read() {
    let hello = server_hello("0303", &random(), "1301", "00", "0033 0006 001d 0002 0102 002b 0002 0304");
    let reply = read(&[record(22, &hello), record(20, &[1]), record(23, &[0; 40])].concat());
    assert_eq!(reply.hello.unwrap().group, Some(29));
    assert_eq!(reply.end, End::Complete);
}

#[test]
fn the_prime_of_dhe_is_measured_without_its_leading_zeros() {
    let prime = format!("0081 00 {}", "ff".repeat(128));
    let flight = [
        server_hello("0301", &random(), "0033", "01", ""),
        message(12, &bytes(&format!("{prime} 0001 02"))),
        message(14, &[]),
    ]
    .concat();
    let reply = read(&record(22, &flight));
    assert_eq!(reply.key, Some(Key::Prime(1024)));
    let hello = reply.hello.unwrap();
    assert!(hello.compression && !hello.secure_renegotiation);
    assert_eq!(hello.version, Version::Tls10);
    assert_eq!((bits(&[]), bits(&[0, 0]), bits(&[1]), bits(&[0x7f, 0])), (0, 0, 1, 15));
}

#[test]
fn alerts_silence_and_ends_are_told_apart() {
    assert_eq!(read(&record(21, &[2, 70])).end, End::Alert(70));
    assert_eq!(read(&record(21, &[1, 0])).end, End::Closed, "close_notify");
    assert_eq!(read(&record(21, &[1, 112])).end, End::Silent, "a warning ends nothing");
    assert_eq!(read(&[]).end, End::Silent);
    assert_eq!(Reader::new().end(End::Closed).end, End::Closed);
    let (cut, mut reader) = (full_flight(), Reader::new());
    reader.push(&cut[..cut.len() - 1]);
    let reply = reader.end(End::Closed);
    assert_eq!((reply.hello.is_some(), reply.end), (true, End::Closed), "what came before the end counts");
}

#[test]
fn what_is_not_tls_is_told_after_the_first_bytes() {
    for garbage in
        [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"S", b"\x16\x02", b"\x80\x2e\x01\x03\x01", &[22, 3, 1, 0xff, 0xff]]
    {
        let mut reader = Reader::new();
        assert!(reader.push(garbage), "{garbage:?}");
        assert_eq!(reader.end(End::Silent).end, End::NotTls);
    }
    // a certificate before any hello; data before the end of the handshake
    assert_eq!(read(&record(22, &message(11, &[0, 0, 0]))).end, End::NotTls);
    assert_eq!(read(&record(23, &[0; 32])).end, End::NotTls);
}

#[test]
fn an_endless_flight_is_given_up() {
    let mut reader = Reader::new();
    reader.push(&record(22, &server_hello("0303", &random(), "c02f", "00", "")));
    let more = record(22, &[0; 16000]);
    let rounds = (0..100).take_while(|_| !reader.push(&more)).count();
    assert!(rounds < 12, "{rounds}");
    assert_eq!(reader.end(End::Silent).end, End::NotTls);
}

proptest! {
    #[test]
    fn damage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        piece in 1_usize..50,
    ) {
        let mut flight = full_flight();
        for (at, value) in changes {
            let at = at.index(flight.len());
            flight[at] = value;
        }
        flight.truncate(cut.index(flight.len() + 1));
        let mut reader = Reader::new();
        for part in flight.chunks(piece) {
            reader.push(part);
        }
        let reply = reader.end(End::Closed);
        prop_assert!(reply.chain.iter().map(Vec::len).sum::<usize>() <= flight.len());
    }

    #[test]
    fn noise_behind_a_good_hello_never_panics(kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let hello = server_hello("0303", &random(), "009e", "00", "");
        let _ = read(&[record(22, &hello), record(22, &message(kind, &body))].concat());
        let _ = read(&record(22, &body));
        let _ = read(&body);
    }
}
