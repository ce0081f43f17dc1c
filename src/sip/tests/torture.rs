//! RFC 4475 and RFC 5118, message by message.

use serde_json::Value;

use super::super::{Host, Message, Method, NameAddr, Uri, validate_request, validate_response};
use super::{data, messages, request, rfc4475, rfc4475_request};

/// What the parser and the validation make of a message: `Ok`, or the status that a request gets.
/// For a response the status only says that it is dropped.
fn verdict(bytes: &[u8]) -> Result<(), u16> {
    match Message::parse(bytes).map_err(|error| error.status())? {
        Message::Request(request) => validate_request(&request).map_err(|rejection| rejection.status),
        Message::Response(response) => validate_response(&response).map_err(|rejection| rejection.status),
    }
}

#[test]
fn each_message_of_rfc_4475_gets_a_verdict_that_its_label_allows() {
    let labels: Value = serde_json::from_slice(&std::fs::read(data("rfc4475").join("labels.json")).unwrap()).unwrap();
    let labels = labels["messages"].as_array().unwrap();
    assert_eq!(labels.len(), 49);
    for label in labels {
        let name = label["name"].as_str().unwrap();
        let verdict = verdict(&rfc4475(name));
        let allowed = label["expect"]["status_any_of"].as_array();
        let status_is_allowed = |status: u16| allowed.is_none_or(|list| list.iter().any(|s| *s == status));
        let ok = match (label["parse"].as_str().unwrap(), verdict) {
            ("accept", Ok(())) | ("either", Ok(())) => true,
            // "accept" is about the form; an unknown scheme, for one, is refused for its meaning.
            ("accept", Err(status)) => allowed.is_some() && status_is_allowed(status) || dropped_by_meaning(name),
            ("either" | "reject", Err(status)) => status_is_allowed(status),
            _ => false,
        };
        assert!(ok, "{name}: {verdict:?}, label {label}");
    }
}

/// A response that is well formed and to be discarded all the same: it has two `Via`s.
fn dropped_by_meaning(name: &str) -> bool {
    name == "bcast"
}

#[test]
fn the_messages_of_rfc_4475_that_are_refused_are_exactly_these() {
    let refused: Vec<(String, u16)> =
        messages("rfc4475").into_iter().filter_map(|(name, bytes)| Some((name, verdict(&bytes).err()?))).collect();
    let expected = [
        ("badbranch", 400),
        ("baddn", 400), // the archive's bytes end without the empty line
        ("badinv01", 400),
        ("badvers", 505),
        ("bcast", 400),
        ("bigcode", 400),
        ("clerr", 400),
        ("escruri", 400),
        ("extra-test", 400),
        ("insuf", 400),
        ("ltgtruri", 400),
        ("lwsruri", 400),
        ("lwsstart", 400),
        ("mcl01", 400),
        ("mismatch01", 400),
        ("mismatch02", 400),
        ("multi01", 400),
        ("ncl", 400),
        ("novelsc", 416),
        ("quotbal", 400),
        ("regbadct", 400),
        ("scalar02", 400),
        ("scalarlg", 400),
        ("trws", 400),
        ("unkscm", 416),
    ];
    assert_eq!(refused, expected.map(|(name, status)| (name.to_owned(), status)));
}

#[test]
fn twelve_of_twelve_messages_of_rfc_5118_are_judged_right() {
    let messages = messages("rfc5118");
    assert_eq!(messages.len(), 12);
    for (name, bytes) in messages {
        // The only wrong one has an IPv6 address without brackets.
        let expected = if name == "ipv6-bad" { Err(400) } else { Ok(()) };
        assert_eq!(verdict(&bytes), expected, "{name}");
    }
}

#[test]
fn addresses_of_rfc_5118_are_read_as_meant() {
    let of = |name: &str| request(&std::fs::read(data("rfc5118").join(format!("{name}.dat"))).unwrap());
    let uri_of = |name: &str| match of(name).uri {
        Uri::Sip(uri) => (uri.host, uri.port),
        other => panic!("{other}"),
    };
    let v6 = |text: &str| Host::V6(text.parse().unwrap());
    assert_eq!(uri_of("port-ambiguous"), (v6("2001:db8::10:5070"), None));
    assert_eq!(uri_of("port-unambiguous"), (v6("2001:db8::10"), Some(5070)));
    assert_eq!(uri_of("ipv6-bug-abnf-3-colons"), (v6("2001:db8::192.0.2.1"), None));
    assert_eq!(uri_of("ipv6-correct-abnf-2-colons"), (v6("2001:db8::192.0.2.1"), None));
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let received = of(name).headers.top_via().unwrap().received();
        assert_eq!(received, Some("2001:db8::9:255".parse().unwrap()), "{name}");
    }
    let mapped = of("ipv4-mapped-ipv6").headers.top_via().unwrap();
    assert_eq!((mapped.host, mapped.port), (v6("::ffff:192.0.2.10"), Some(19823)));
}

#[test]
fn folding_compact_names_and_odd_spaces_change_nothing_in_wsinv() {
    let request = rfc4475_request("wsinv");
    let headers = &request.headers;
    assert_eq!(request.uri.to_string(), "sip:vivekg@chair-dnrc.example.com;unknownparam");
    assert_eq!(headers.to().unwrap().tag(), Some("1918181833n"));
    let from = headers.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some(r#"J Rosenberg \""#));
    assert_eq!(from.tag(), Some("98asjd8"));
    assert_eq!(headers.max_forwards().unwrap(), Some(68));
    let cseq = headers.cseq().unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::INVITE));
    assert_eq!(headers.get("Subject"), Some(""));
    assert_eq!(headers.get("NewFangledHeader"), Some("newfangled value continued newfangled value"));
    let hops: Vec<_> = headers.via().unwrap().iter().map(|via| via.to_string()).collect();
    assert_eq!(
        hops,
        [
            "SIP/2.0/UDP 192.0.2.2;branch=390skdjuw",
            "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8",
            "SIP/2.0/UDP 192.168.255.111;branch=z9hG4bK30239",
        ]
    );
    let contact = &headers.contacts().unwrap()[0];
    assert_eq!(contact.display_name.as_deref(), Some(r#"Quoted string """#));
    assert_eq!(contact.params.get("newparam"), Some("newvalue"));
    assert!(contact.params.contains("secondparam"));
    assert_eq!(contact.params.get("q"), Some("0.33"));
    assert_eq!(request.body.len(), 150);
}

#[test]
fn intmeth_keeps_its_method_its_user_part_and_the_nul_in_its_display_name() {
    let request = rfc4475_request("intmeth");
    assert_eq!(request.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let uri = request.uri.as_sip().unwrap();
    assert_eq!(uri.user.as_deref(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(uri.password.as_deref(), Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
    assert_eq!(request.headers.to().unwrap().display_name.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    let from = request.headers.from().unwrap();
    assert_eq!(from.display_name.as_deref(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(from.tag(), Some("_token~1'+`*%!-."));
    assert_eq!(from.params.unquoted("fromParam''~+*_!.-%").unwrap(), "работающий");
    assert_eq!(request.headers.call_id().unwrap(), r#"intmeth.word%ZK-!.*_+'@word`~)(><:\/"][?}{"#);
}

#[test]
fn percent_escapes_are_kept_and_a_percent_sign_elsewhere_is_none() {
    let request = rfc4475_request("esc01");
    assert_eq!(request.uri.as_sip().unwrap().user.as_deref(), Some("sips%3Auser%40example.com"));
    let contact = request.headers.contacts().unwrap()[0].uri.clone();
    assert_eq!(contact.to_string(), "sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31");

    let request = rfc4475_request("esc02");
    assert_ne!(request.method, Method::REGISTER);
    assert_eq!(request.headers.contacts().unwrap().len(), 2);
    assert_eq!(request.headers.to().unwrap().display_name.as_deref(), Some("%Z%45"));

    let request = rfc4475_request("escnull");
    let contacts = request.headers.contacts().unwrap();
    assert!(!contacts[0].uri.is_equivalent(&contacts[1].uri));
}

#[test]
fn parameters_belong_to_the_header_outside_of_brackets_and_to_the_uri_inside() {
    let contact = |name: &str| rfc4475_request(name).headers.contacts().unwrap().remove(0);
    let in_uri = |contact: &NameAddr| contact.uri.as_sip().unwrap().params.contains("unknownparam");
    let (outside, inside) = (contact("cparam01"), contact("cparam02"));
    assert!(outside.params.contains("unknownparam") && !in_uri(&outside));
    assert!(in_uri(&inside) && inside.params.is_empty());
    assert_eq!(rfc4475_request("semiuri").uri.as_sip().unwrap().user.as_deref(), Some("user;par=u%40example.net"));
}

#[test]
fn header_lines_that_only_look_like_others_stay_apart() {
    let request = rfc4475_request("longreq");
    assert_eq!(request.headers.via().unwrap().len(), 34);
    assert_eq!(rfc4475_request("transports").headers.via().unwrap()[3].transport, "UNKNOWN");
    let route_in_contact = rfc4475_request("regescrt");
    assert_eq!(route_in_contact.headers.get("Route"), None);
    let contact = route_in_contact.headers.contacts().unwrap().remove(0);
    assert_eq!(contact.uri.as_sip().unwrap().header("route").as_deref(), Some("<sip:sip.example.com>"));
}

#[test]
fn bodies_may_hold_any_bytes_and_datagrams_may_have_a_tail() {
    let multipart = rfc4475_request("mpart01");
    assert_eq!(multipart.body.len(), 553);
    assert!(multipart.body.contains(&0));
    let double = rfc4475_request("dblreq");
    assert_eq!((double.method, double.body.len()), (Method::REGISTER, 0));
}

#[test]
fn reason_phrases_may_be_missing_or_of_any_script() {
    let reason = |name: &str| match Message::parse(&rfc4475(name)).unwrap() {
        Message::Response(response) => response.reason,
        Message::Request(_) => panic!("{name} is a response"),
    };
    assert_eq!(reason("noreason"), "");
    assert_eq!(reason("unreason"), "= 2**3 * 5**2 но сто девяносто девять - простое");
}

#[test]
fn display_names_without_quotes_are_understood() {
    let mut bytes = rfc4475("baddn");
    bytes.extend(b"\r\n");
    let request = request(&bytes);
    assert_eq!(validate_request(&request), Ok(()));
    assert_eq!(request.headers.from().unwrap().display_name.as_deref(), Some("Bell, Alexander"));
}
