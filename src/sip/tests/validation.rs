//! Each rule of the validation by itself: one change to a good message, one verdict.

use super::super::{Message, validate_request, validate_response};

const HEADERS: &str = "Via: SIP/2.0/TLS 127.0.0.1:4711;branch=z9hG4bK.a~1\r\nFrom: <sip:a@example.org>;tag=1\r\n\
    To: <sip:gw@example.org>\r\nCall-ID: 1~-\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.1>\r\nMax-Forwards: 70\r\n\r\n";

/// The verdict on a good INVITE in which one text is replaced by another.
fn invite(from: &str, to: &str) -> Result<(), u16> {
    let text = format!("INVITE sip:gw@example.org SIP/2.0\r\n{HEADERS}");
    assert!(text.contains(from));
    match Message::parse(text.replacen(from, to, 1).as_bytes()) {
        Ok(Message::Request(request)) => validate_request(&request).map_err(|rejection| rejection.status),
        other => panic!("{other:?}"),
    }
}

/// The verdict on a good response in which one text is replaced by another.
fn response(from: &str, to: &str) -> Result<(), u16> {
    match Message::parse(format!("SIP/2.0 200 OK\r\n{HEADERS}").replacen(from, to, 1).as_bytes()) {
        Ok(Message::Response(response)) => validate_response(&response).map_err(|rejection| rejection.status),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_message_is_accepted() {
    assert_eq!((invite("", ""), response("", "")), (Ok(()), Ok(())));
}

#[test]
fn what_old_phones_leave_out_is_not_missed() {
    for absent in [";branch=z9hG4bK.a~1", ";tag=1", "Contact: <sip:a@192.0.2.1>\r\n", "Max-Forwards: 70\r\n"] {
        assert_eq!(invite(absent, ""), Ok(()), "{absent}");
    }
}

#[test]
fn each_mandatory_header_must_be_there_once_and_be_well_formed() {
    let lines = [
        ("Via", "SIP/2.0/TLS 127.0.0.1:4711;branch=z9hG4bK.a~1", ""),
        ("From", "<sip:a@example.org>;tag=1", "f: <sip:b@example.org>;tag=1\r\n"),
        ("To", "<sip:gw@example.org>", "t: <sip:b@example.org>\r\n"),
        ("Call-ID", "1~-", "i: 2\r\n"),
        ("CSeq", "1 INVITE", "CSeq: 1 INVITE\r\n"),
    ];
    for (name, value, twice) in lines {
        let line = format!("{name}: {value}\r\n");
        let malformed = format!("{name}: \r\n");
        let repeated = format!("{line}{twice}");
        assert_eq!((invite(&line, ""), response(&line, "")), (Err(400), Err(400)), "{name} missing");
        assert_eq!((invite(&line, &malformed), response(&line, &malformed)), (Err(400), Err(400)), "{name} empty");
        if !twice.is_empty() {
            assert_eq!((invite(&line, &repeated), response(&line, &repeated)), (Err(400), Err(400)), "{name} twice");
        }
    }
    // a request may have passed proxies; a response to us has only our own hop
    let two_hops = ("Via: ", "Via: SIP/2.0/TLS proxy;branch=z9hG4bKp\r\nVia: ");
    assert_eq!(invite(two_hops.0, two_hops.1), Ok(()));
    assert_eq!(response(two_hops.0, two_hops.1), Err(400));
}

#[test]
fn values_beyond_their_bounds_are_refused() {
    assert_eq!(invite("CSeq: 1", "CSeq: 2147483647"), Ok(()));
    assert_eq!(invite("CSeq: 1", "CSeq: 2147483648"), Err(400));
    assert_eq!(invite("1 INVITE", "1 invite"), Err(400));
    assert_eq!(invite("1 INVITE", "1 OPTIONS"), Err(400));
    assert_eq!(invite("s: 70", "s: 255"), Ok(()));
    assert_eq!(invite("s: 70", "s: 256"), Err(400));
    assert_eq!(invite("s: 70", "s: 70\r\nMax-Forwards: 70"), Err(400));
    assert_eq!(invite("z9hG4bK.a~1", "z9hG4bK"), Err(400));
}

#[test]
fn tags_are_tokens() {
    for (tag, verdict) in [(";tag=~-.x", Ok(())), (";tag", Err(400)), (";tag=\"x\"", Err(400)), (";tag=a:b", Err(400))]
    {
        assert_eq!(invite(";tag=1", tag), verdict, "{tag}");
        assert_eq!(invite("<sip:gw@example.org>", &format!("<sip:gw@example.org>{tag}")), verdict, "{tag}");
    }
}

#[test]
fn addresses_that_would_be_used_must_be_readable() {
    assert_eq!(invite("Contact: <sip:a@192.0.2.1>", "Contact: *"), Err(400));
    assert_eq!(invite("Contact: <sip:a@192.0.2.1>", "Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>"), Err(400));
    assert_eq!(invite("Contact: <sip:a@192.0.2.1>", "Contact: <sip:a@192.0.2.1"), Err(400));
    for name in ["Route", "Record-Route"] {
        assert_eq!(invite("Max", &format!("{name}: <sip:a;lr>, <sip:b;lr>\r\nMax")), Ok(()), "{name}");
        assert_eq!(invite("Max", &format!("{name}: <sip:a;lr>, sip b\r\nMax")), Err(400), "{name}");
    }
    assert_eq!(response("Max", "Record-Route: x\r\nMax"), Err(400));
}

#[test]
fn the_request_uri_must_be_one_that_we_could_be() {
    assert_eq!(invite("INVITE sip:gw@example.org", "INVITE sips:gw@example.org"), Ok(()));
    assert_eq!(invite("INVITE sip:gw@example.org", "INVITE tel:+49301234"), Err(416));
    assert_eq!(invite("INVITE sip:gw@example.org", "INVITE sip:gw@example.org?Route=x"), Err(400));
}

#[test]
fn headers_that_are_acted_upon_cannot_say_two_things() {
    for name in ["Content-Type", "Expires", "Replaces", "Refer-To", "Session-Expires"] {
        assert_eq!(invite("Max", &format!("{name}: a\r\nMax")), Ok(()), "{name}");
        assert_eq!(invite("Max", &format!("{name}: a\r\n{name}: a\r\nMax")), Err(400), "{name}");
    }
    // compact and long are the same header
    assert_eq!(invite("Max", "c: a/b\r\nContent-Type: c/d\r\nMax"), Err(400));
}

#[test]
fn a_deregistration_may_have_a_star() {
    let text = format!("REGISTER sip:example.org SIP/2.0\r\n{HEADERS}").replace("1 INVITE", "1 REGISTER");
    for (contact, verdict) in [("*", true), ("*\r\nContact: <sip:a@b>", false), ("*, <sip:a@b>", false)] {
        let text = text.replace("<sip:a@192.0.2.1>", contact);
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(validate_request(&request).is_ok(), verdict, "{contact}");
    }
}
