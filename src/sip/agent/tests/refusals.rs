use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const OWN: &str = "<sip:gateway@example.org>";
const CONTACT: &str = "Contact: <sip:s@198.51.100.7>\r\n";

/// Method, To, header lines, body, the status expected, and a header field of the response.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str, u16, Option<(&'a str, &'a str)>);

#[test]
fn requests_that_mean_nothing_here_get_the_right_status() {
    let sdp = format!("{CONTACT}Content-Type: application/sdp\r\n");
    let text = format!("{CONTACT}Content-Type: text/plain\r\n");
    let gzip = format!("{sdp}Content-Encoding: gzip\r\n");
    let table: &[Row<'_>] = &[
        ("REFER", OWN, "Refer-To: <sip:premium@example.net>\r\n", "", 405, Some(("Allow", ALLOW))),
        ("SUBSCRIBE", OWN, "Event: presence\r\n", "", 405, Some(("Allow", ALLOW))),
        ("NOTIFY", OWN, "Event: refer\r\n", "", 405, Some(("Allow", ALLOW))),
        ("MESSAGE", OWN, "", "", 405, Some(("Allow", ALLOW))),
        ("REGISTER", OWN, "", "", 405, Some(("Allow", ALLOW))),
        ("PUBLISH", OWN, "", "", 405, Some(("Allow", ALLOW))),
        ("PRACK", OWN, "", "", 405, Some(("Allow", ALLOW))),
        ("DANCE", OWN, "", "", 501, Some(("Allow", ALLOW))),
        ("invite", OWN, "", "", 501, None),
        ("BYE", OWN, "", "", 481, None),
        ("INFO", OWN, "", "", 481, None),
        ("UPDATE", OWN, "", "", 481, None),
        ("CANCEL", OWN, "", "", 481, None),
        ("INVITE", "<sip:gateway@example.org>;tag=gone", CONTACT, "", 481, None),
        ("BYE", "<sip:gateway@example.org>;tag=gone", "", "", 481, None),
        ("REFER", "<sip:gateway@example.org>;tag=gone", "", "", 481, None),
        ("OPTIONS", "<sip:gateway@example.org>;tag=gone", "", "", 481, None),
        ("OPTIONS", OWN, "", "", 200, Some(("Accept", "application/sdp"))),
        (
            "INVITE",
            OWN,
            "Require: 100rel, gruu, foo\r\nContact: <sip:a@b.example>\r\n",
            "",
            420,
            Some(("Unsupported", "100rel, foo")),
        ),
        ("INVITE", OWN, "Require: timer\r\nContact: <sip:a@b.example>\r\n", "", 420, Some(("Unsupported", "timer"))),
        ("OPTIONS", OWN, "Require: foo\r\n", "", 420, Some(("Unsupported", "foo"))),
        ("INVITE", OWN, &text, "hello", 415, Some(("Accept", "application/sdp"))),
        ("INVITE", OWN, CONTACT, "hello", 415, Some(("Accept", "application/sdp"))),
        ("INVITE", OWN, &gzip, "hello", 415, Some(("Accept-Encoding", "identity"))),
        ("INVITE", OWN, "", "", 400, None),
        ("INVITE", OWN, "Contact: <tel:+4930>\r\n", "", 400, None),
        ("INVITE", OWN, "Contact: *\r\n", "", 400, None),
    ];
    for (number, (method, to, extra, body, status, header)) in table.iter().enumerate() {
        let mut world = World::registered(60);
        let request = raw(method, to, &format!("r{number}"), 1, extra, body);
        let response = world.ask(&request).unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(response.status, *status, "{request}");
        if let Some((name, value)) = header {
            assert_eq!(response.headers.get(name), Some(*value), "{request}");
        }
        assert!(response.headers.to().unwrap().tag().is_some(), "a tag: {request}");
        assert_eq!(response.headers.all("Via").count(), 2);
        assert_eq!(world.take(GATEWAY), [], "nothing is handed up");
        assert!(world.agents[GATEWAY].dialogs.is_empty());
        world.run(Duration::from_secs(33));
        world.assert_empty();
    }
}

#[test]
fn an_ack_from_nowhere_is_never_answered() {
    let mut world = World::registered(61);
    assert_eq!(world.ask(&raw("ACK", "<sip:gateway@example.org>;tag=gone", "a", 1, "", "")), None);
    assert_eq!(world.ask(&raw("ACK", OWN, "b", 1, "Require: foo\r\n", "x")), None);
}

#[test]
fn methods_that_are_not_handled_are_not_handled_in_a_call_either() {
    let mut world = World::registered(62);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    world.inject(GATEWAY, &raw("ACK", &to, "x", 1, "", ""));
    let mut ask =
        |method: &str, cseq: u32, extra: &str| world.ask(&raw(method, &to, "x", cseq, extra, "")).unwrap().status;
    assert_eq!(ask("REFER", 2, "Refer-To: <sip:premium@example.net>\r\n"), 405);
    assert_eq!(ask("PRACK", 3, "RAck: 1 1 INVITE\r\n"), 481);
    assert_eq!(ask("OPTIONS", 4, ""), 200);
    assert_eq!(ask("INFO", 5, "Require: foo\r\n"), 420);
    assert_eq!(ask("OPTIONS", 5, ""), 500, "the CSeq number must grow");
    assert_eq!(ask("OPTIONS", 2, ""), 500);
    assert_eq!(ask("BYE", 1, ""), 500, "not even a BYE of the past");
    assert_eq!(ask("BYE", 6, ""), 200);
}

#[test]
fn a_dialog_is_named_by_both_tags_and_the_call_id() {
    let mut world = World::registered(63);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { dialog, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    let bye = raw("BYE", &to, "x", 2, "", "");
    for (own, other) in [("tag=st\r", "tag=other\r"), ("Call-ID: cx", "Call-ID: cy"), (&to[..], "<sip:g@e.org>;tag=x")]
    {
        assert_eq!(world.ask(&bye.replace(own, other)).unwrap().status, 481, "{other}");
    }
    world.inject(GATEWAY, &bye);
    assert_eq!(world.responses(GATEWAY, "BYE").last(), Some(&200));
}

#[test]
fn a_repeated_invite_gets_the_stored_response_and_rings_once() {
    let mut world = World::registered(64);
    for _ in 0..3 {
        world.inject(GATEWAY, &raw_invite("x"));
    }
    let events = world.take(GATEWAY);
    assert!(matches!(events[..], [Event::Invite { .. }]), "once");
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 100, 100]);
    let Some(Event::Invite { key, .. }) = events.into_iter().next() else { panic!() };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(486, "Busy Here"));
    world.inject(GATEWAY, &raw_invite("x"));
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 100, 100, 486, 486]);
    world.inject(GATEWAY, &raw("ACK", OWN, "x", 1, "", ""));
    assert_eq!(world.agents[GATEWAY].servers.len(), 0, "the ACK ends it");
}

#[test]
fn a_repeated_invite_after_the_answer_is_swallowed() {
    let mut world = World::registered(65);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.inject(GATEWAY, &raw_invite("x"));
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 200]);
    assert_eq!(world.take(GATEWAY), []);
}

#[test]
fn the_same_invite_over_another_way_is_merged() {
    let mut world = World::registered(66);
    world.inject(GATEWAY, &raw_invite("x"));
    let merged = raw_invite("x").replace("branch=z9hG4bKpx", "branch=z9hG4bKother");
    assert_eq!(world.ask(&merged).unwrap().status, 482);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Invite { .. }]));
}

#[test]
fn a_caller_of_the_last_century_without_branch_and_tags_is_served() {
    let mut world = World::registered(67);
    let old = |method: &str, to: &str| {
        raw(method, to, "x", 1, CONTACT, "")
            .replace(";branch=z9hG4bKpx", "")
            .replace(";branch=z9hG4bKcx", "")
            .replace(";tag=st", "")
    };
    world.inject(GATEWAY, &old("INVITE", OWN));
    world.inject(GATEWAY, &old("INVITE", OWN));
    let events = world.take(GATEWAY);
    let [Event::Invite { dialog, key, .. }] = &events[..] else { panic!("{events:?}") };
    world.agents[GATEWAY].respond(world.now, *key, Reply::new(200, "OK").with_sdp("v=0"));
    let to = world.agents[GATEWAY].dialogs[dialog].local.to_string();
    world.inject(GATEWAY, &old("ACK", &to));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { .. }]));
}

#[test]
fn an_answer_goes_back_over_the_flow_whatever_the_via_says() {
    // RFC 3261 §18.2.2, RFC 3581: the connection counts, not the address, port, maddr or missing rport in a Via
    for via in
        ["UDP 203.0.113.1:9", "TLS nowhere.invalid:1;maddr=224.2.0.1", "TLS 203.0.113.1;received=203.0.113.9;rport=7"]
    {
        let mut world = World::registered(71);
        let request = raw_invite("x").replace("TLS proxy.example.org", via);
        let gateway = &mut world.agents[GATEWAY];
        gateway.handle_bytes(world.now, request.as_bytes());
        let Some(Output::Send(bytes)) = gateway.poll() else { panic!("no response") };
        let Message::Response(response) = Message::parse(&bytes).unwrap() else { panic!("a request") };
        assert_eq!(response.status, 100);
        assert_eq!(response.headers.all("Via").next(), Some(format!("SIP/2.0/{via};branch=z9hG4bKpx").as_str()));
    }
}

#[test]
fn a_sips_request_gets_a_sips_contact() {
    let mut world = World::registered(68);
    let secure = raw_invite("x").replace("INVITE sip:", "INVITE sips:");
    world.inject(GATEWAY, &secure);
    let Some(Event::Invite { key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.deliver();
    let Some((_, Message::Response(response))) = world.sent.last() else { panic!("no response") };
    assert_eq!(response.headers.get("Contact"), Some("<sips:gateway@192.0.2.1:40001>"));
}

#[test]
fn the_100_brings_the_callers_timestamp_back() {
    let mut world = World::registered(69);
    world.inject(GATEWAY, &raw_invite("x").replace("Max-Forwards: 60", "Max-Forwards: 60\r\nTimestamp: 54.21"));
    let Some((_, Message::Response(trying))) = world.sent.last() else { panic!("no response") };
    assert_eq!((trying.status, trying.headers.get("Timestamp")), (100, Some("54.21")));
    assert_eq!(trying.headers.to().unwrap().tag(), None);
}

#[test]
fn an_invitation_expires_when_its_sender_says() {
    let mut world = World::registered(70);
    world.inject(GATEWAY, &raw_invite("x").replace("Max-Forwards: 60", "Expires: 20"));
    world.take(GATEWAY);
    world.run(Duration::from_secs(21));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Terminated { why: Termination::Unanswered, .. }]));
}
