//! URIs, addresses, hops, parameters and lists, one by one.

use super::super::{CSeq, Framer, Headers, Host, Message, NameAddr, ParseError, Response, Uri, Via, printable};

fn headers(lines: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    lines.iter().for_each(|(name, value)| headers.push(name, value));
    headers
}

#[test]
fn uris_of_wrong_form_are_refused() {
    let wrong = [
        "",
        "sip",
        "sip:",
        ":a",
        "sip:@a",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        " sip:a",
        "sip:a ",
        "sip:a;",
        "sip:a;;b",
        "sip:a;=b",
        "sip:a;b=",
        "sip:a:",
        "sip:a:b",
        "sip:a:65536",
        "sip:a:-1",
        "sip:[::1",
        "sip:[::1]x",
        "sip:[fe80::1%25eth0]",
        "sip:2001:db8::10",
        "sip:%zz@a",
        "sip:%4@a",
        "sip:a<@b",
        "sip:a\"@b",
        "sip:-a",
        "sip:a-",
        "sip:a..b",
        "sip:.",
        "sip:a;b;B",
        "sip:127.1",
        "sip:0x7f000001",
        "sip:2130706433",
        "sip:192.0.2.1.",
        "sip:192.0.2.300",
        "sip:a\r\nb",
        "sip:a\0",
        "1a:b",
        "a:",
        "a:b c",
        "<sip:a>",
    ];
    for text in wrong {
        assert!(Uri::parse(text).is_err(), "{text:?} is accepted");
    }
}

#[test]
fn uris_of_right_form_are_taken_apart() {
    let uri =
        Uri::parse("SIPS:alice;x=1?y/z:pw@Example.ORG:5061;transport=tls;lr?Replaces=a%40b%3Bto-tag%3D1&h=").unwrap();
    let sip = uri.as_sip().unwrap();
    assert!(sip.secure);
    assert_eq!((sip.user.as_deref(), sip.password.as_deref()), (Some("alice;x=1?y/z"), Some("pw")));
    assert_eq!((&sip.host, sip.port), (&Host::Name("Example.ORG".into()), Some(5061)));
    assert_eq!(sip.params.get("Transport"), Some("tls"));
    assert!(sip.params.contains("LR") && sip.params.get("lr").is_none());
    assert_eq!(sip.header("replaces").as_deref(), Some("a@b;to-tag=1"));
    assert_eq!(sip.address_of_record().to_string(), "sips:alice;x=1?y/z@Example.ORG");
    for text in [
        "sip:localhost",
        "sip:3cx.local",
        "sip:a_b.example",
        "sip:*97@host",
        "sip:#1@host",
        "sip:ü@host",
        "tel:+4930123",
        "sip:a@[::1]:5061",
        "sip:a@host.",
    ] {
        assert_eq!(Uri::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn equality_of_uris_follows_rfc_3261() {
    let same = |a: &str, b: &str| {
        let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
        assert_eq!(a.is_equivalent(&b), b.is_equivalent(&a), "{a} {b}");
        a.is_equivalent(&b)
    };
    // the examples of §19.1.4
    assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
    assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
    assert!(same("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
    assert!(same(
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
    ));
    assert!(same(
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
    ));
    assert!(!same("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
    assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
    assert!(!same("sip:bob@biloxi.com;maddr=1.2.3.4", "sip:bob@biloxi.com"));
    assert!(!same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
    assert!(!same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
    assert!(!same("sip:a%2Bb@host", "sip:a+b@host"));
    assert!(!same("sip:a%00@host", "sip:a@host"));
    assert!(!same("sip:a@host", "sips:a@host"));
    assert!(same("tel:+49", "tel:+49"));
}

#[test]
fn addresses_are_read_with_and_without_brackets() {
    let read = |text: &str| {
        NameAddr::parse(text).map(|a| (a.display_name.unwrap_or_default(), a.uri.to_string(), a.params.to_string()))
    };
    let is = |name: &str, uri: &str, params: &str| Ok((name.to_owned(), uri.to_owned(), params.to_owned()));
    assert_eq!(read("sip:bob@localhost"), is("", "sip:bob@localhost", ""));
    assert_eq!(read("sip:bob@localhost;tag=~a-b.c"), is("", "sip:bob@localhost", ";tag=~a-b.c"));
    assert_eq!(
        read("<sip:bob@localhost;gr=urn:uuid:1-2>;tag=x"),
        is("", "sip:bob@localhost;gr=urn:uuid:1-2", ";tag=x")
    );
    assert_eq!(read("\"\" <sip:a@b>"), is("", "sip:a@b", ""));
    assert_eq!(read("\"a <b>, c\"<sip:a@b>"), is("a <b>, c", "sip:a@b", ""));
    assert_eq!(read("a@b <sip:a@b>"), is("a@b", "sip:a@b", ""));
    assert_eq!(read("sip:a@b;x=\"<;>\""), is("", "sip:a@b", ";x=\"<;>\""));
    for wrong in [
        "",
        "<>",
        "<sip:a",
        "sip:a>",
        "\"a <sip:b>",
        "\"a\" sip:b",
        "\"a\"",
        "a\"b <sip:c>",
        "<sip:a> x",
        "<sip:a>;",
        "<sip:a>;;x",
        "<sip:a>;x=",
        "<sip:a>;x y",
        "<sip:a>,<sip:b>",
        "sip:a,b@c",
        "sip:a?b=c",
        "sip:a;x=y@b",
        "<sip:a>;tag=1;TAG=2",
        "<sip:a>x;y",
        "x;y <sip:a>",
    ] {
        assert!(NameAddr::parse(wrong).is_err(), "{wrong:?} is accepted");
    }
}

#[test]
fn hops_are_read_with_spaces_ports_and_brackets() {
    let via = Via::parse("SIP / 2.0 / TLS \t [2001:db8::1] : 5061 ; rport=4711;received=192.0.2.1 ;branch = z9hG4bK-~")
        .unwrap();
    assert_eq!((via.transport.as_str(), via.port), ("TLS", Some(5061)));
    assert_eq!(via.branch(), Some("z9hG4bK-~"));
    assert_eq!((via.rport(), via.received()), (Some(4711), Some("192.0.2.1".parse().unwrap())));
    for wrong in [
        "",
        "SIP/2.0/TLS",
        "SIP/2.0 TLS a",
        "SIP/2.0/TLS ",
        "SIP/2.0/ a",
        "SIP/1.0/TLS a",
        "SIP/2.0/TLS a b",
        "SIP/2.0/TLS a;",
        "SIP/2.0/TLS a:x",
    ] {
        assert!(Via::parse(wrong).is_err(), "{wrong:?} is accepted");
    }
}

#[test]
fn lists_are_split_outside_of_quotes_and_brackets_and_over_lines() {
    let headers = headers(&[
        ("Contact", "\"a, \\\"b\" <sip:a@b,c>;x=\",\" , <sip:d@e>"),
        ("k", "outbound,,gruu ,"),
        ("m", "<sip:f@g>"),
        ("Supported", "path"),
    ]);
    let contacts: Vec<_> = headers.list("contact").collect();
    assert_eq!(contacts, ["\"a, \\\"b\" <sip:a@b,c>;x=\",\"", "<sip:d@e>", "<sip:f@g>"]);
    assert_eq!(headers.list("Supported").collect::<Vec<_>>(), ["outbound", "gruu", "path"]);
    assert!(headers.lists("supported", "GRUU") && !headers.lists("supported", "gru"));
    assert_eq!(headers.get("Supported"), Some("outbound,,gruu ,"));
}

#[test]
fn headers_that_must_be_single_are_missed_or_refused_by_name() {
    let none = Headers::new();
    assert_eq!(none.call_id(), Err(ParseError::Missing("Call-ID")));
    assert_eq!(none.via(), Err(ParseError::Missing("Via")));
    let two = headers(&[("From", "sip:a"), ("f", "sip:b"), ("Max-Forwards", "1"), ("Max-Forwards", "1")]);
    assert_eq!(two.from(), Err(ParseError::Repeated("From")));
    assert_eq!(two.max_forwards(), Err(ParseError::Repeated("Max-Forwards")));
}

#[test]
fn headers_can_be_replaced_in_place_and_taken_out() {
    let mut headers = headers(&[("Via", "1"), ("To", "a"), ("t", "b"), ("From", "c")]);
    headers.set("to", "z");
    headers.push_front("v", "0");
    headers.set("Subject", "new");
    headers.remove("from");
    let all: Vec<_> = headers.iter().collect();
    assert_eq!(all, [("Via", "0"), ("Via", "1"), ("to", "z"), ("Subject", "new")]);
}

#[test]
fn cseq_and_numbers_have_no_signs_and_no_overflow() {
    assert_eq!("4294967295 \t ACK".parse::<CSeq>().unwrap().number, u32::MAX);
    for wrong in ["", "1", "INVITE", "-1 INVITE", "+1 INVITE", "4294967296 INVITE", "1 IN VITE", "1  ", "1 a:b"] {
        assert!(wrong.parse::<CSeq>().is_err(), "{wrong:?} is accepted");
    }
    let expires = |value: &str| headers(&[("Expires", value)]).expires();
    assert_eq!((expires("600"), expires("x"), expires("99999999999")), (Some(600), None, None));
    let hops = |value: &str| headers(&[("Max-Forwards", value)]).max_forwards();
    assert_eq!((hops("255"), hops("256").is_err(), hops("").is_err()), (Ok(Some(255)), true, true));
}

#[test]
fn header_lines_cannot_be_forged_by_bare_line_ends_or_leading_spaces() {
    for line in [
        "X: a\nTo: sip:x",
        "X: a\rTo: sip:x",
        " To: sip:x",
        "To\r\n : sip:x",
        "T o: sip:x",
        ": sip:x",
        "To sip",
        "Tö: sip:x",
        "",
    ] {
        let text = format!("OPTIONS sip:a SIP/2.0\r\n{line}\r\nCall-ID: 1\r\n\r\n");
        // the last is an empty line and so ends the head
        let expected = if line.is_empty() { None } else { Some(ParseError::HeaderLine) };
        assert_eq!(Message::parse(text.as_bytes()).err(), expected, "{line:?}");
    }
    // the space before a colon belongs to no name
    let text = "OPTIONS sip:a SIP/2.0\r\nRoute : <sip:a>\r\n\r\n";
    assert_eq!(Message::parse(text.as_bytes()).unwrap().headers().get("Route"), Some("<sip:a>"));
}

#[test]
fn start_lines_are_taken_as_they_must_be() {
    let parse = |line: &str| Message::parse(format!("{line}\r\n\r\n").as_bytes());
    for right in [
        "OPTIONS sip:a SIP/2.0",
        "OPTIONS sip:a sip/2.0",
        "SIP/2.0 200 OK",
        "SIP/2.0 200",
        "SIP/2.0 699 ",
        "sip/2.0 100 a  b",
    ] {
        assert!(parse(right).is_ok(), "{right}: {:?}", parse(right));
    }
    for wrong in [
        "",
        "OPTIONS",
        "OPTIONS sip:a",
        "OPTIONS sip:a SIP/2.0 ",
        "OPTIONS  sip:a SIP/2.0",
        "OPT/IONS sip:a SIP/2.0",
        "GET / HTTP/1.1",
        "OPTIONS sip:a SIP/2",
        "OPTIONS sip:a SIP/2.x",
        "OPTIONS a SIP/2.0",
        "SIP/2.0 99 x",
        "SIP/2.0 700 x",
        "SIP/2.0 0200 OK",
        "SIP/2.0 -20 x",
        "SIP/2.0  200 OK",
        "HTTP/1.1 200 OK",
    ] {
        assert_eq!(parse(wrong).err().map(|e| e.status()), Some(400), "{wrong}");
    }
    for version in ["SIP/1.0", "SIP/2.1", "SIP/20.0", "SIP/02.00"] {
        assert_eq!(parse(&format!("OPTIONS sip:a {version}")).err().map(|e| e.status()), Some(505), "{version}");
    }
}

#[test]
fn printable_text_cannot_break_a_line_or_turn_it_around() {
    assert_eq!(printable("a\r\nb\0\u{1b}[31m\u{7f}\u{85}"), "a\\r\\nb\\u{0}\\u{1b}[31m\\u{7f}\\u{85}");
    assert_eq!(printable("\u{202e}x\u{200b}\u{2066}\u{feff}"), "\\u{202e}x\\u{200b}\\u{2066}\\u{feff}");
    assert_eq!(printable("Zoë 👋 \"q\" %0d"), "Zoë 👋 \"q\" %0d");
}

#[test]
fn debug_output_shows_no_key_and_no_answer_to_a_challenge() {
    let text = "INVITE sip:a@b SIP/2.0\r\nAuthorization: Digest response=\"5ecret\"\r\nproxy-authorization: 5ecret\r\n\
                Subject: \"\x1b[2J\"\r\nContent-Length: 32\r\n\r\na=crypto:1 A_SUITE inline:5ecret\r\n";
    let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("not a request") };
    let mut framer = Framer::new();
    framer.push(std::time::Instant::now(), &text.as_bytes()[..text.len() - 3]);
    assert!(framer.next().is_none());
    let response =
        Response { status: 200, reason: "OK".into(), headers: request.headers.clone(), body: request.body.clone() };
    for shown in [format!("{framer:?}"), format!("{request:?}"), format!("{response:?}"), format!("{response:#?}")] {
        assert!(
            !shown.contains("5ecret") && !shown.contains(format!("{:?}", b"5ec").trim_matches(['[', ']'])),
            "{shown}"
        );
        assert!(!shown.contains('\x1b'), "{shown}");
    }
    assert!(format!("{request:?}").contains("Subject"));
}
