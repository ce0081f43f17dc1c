use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(50);
/// Longer than 64*T1.
const LONG: Duration = Duration::from_secs(40);

fn statuses(events: &[Event]) -> Vec<u16> {
    let status = |event: &Event| match event {
        Event::Response { response, .. } => response.status,
        other => panic!("{other:?}"),
    };
    events.iter().map(status).collect()
}

fn is_request(message: &Message, method: &str) -> bool {
    matches!(message, Message::Request(request) if request.method.as_str() == method)
}

fn is_response(message: &Message, status: u16) -> bool {
    matches!(message, Message::Response(response) if response.status == status)
}

#[test]
fn a_phone_calls_is_answered_and_hangs_up() {
    let mut world = World::registered(1);
    let (_, phone) = world.talking();
    world.agents[PHONE].bye(world.now, phone, Some("Q.850;cause=16".to_owned()));
    let events = world.take(GATEWAY);
    assert!(matches!(&events[..], [Event::Bye { reason: Some(reason), .. }] if reason == "Q.850;cause=16"));
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 200]);
    assert_eq!(world.responses(GATEWAY, "BYE"), [200]);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn the_gateway_hangs_up() {
    let mut world = World::registered(2);
    let (gateway, _) = world.talking();
    world.agents[GATEWAY].bye(world.now, gateway, None);
    assert!(matches!(world.take(PHONE)[..], [Event::Bye { .. }]));
    let byes = world.requests(GATEWAY, "BYE");
    assert_eq!(byes[0].headers.get("Route"), Some("<sip:proxy.example.org;lr;ftag=x>"), "the route set is followed");
    assert_eq!(byes[0].uri.to_string(), "sip:phone@192.0.2.1:40002;transport=tls", "the Request-URI is their Contact");
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn the_gateway_calls_the_phone() {
    let mut world = World::registered(3);
    let body = Some(Body::sdp("v=0"));
    let call = world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", body, &Headers::new()).unwrap();
    let Some(Event::Invite { key, .. }) = world.take(PHONE).pop() else { panic!("no INVITE") };
    world.agents[PHONE].respond(world.now, key, Reply::new(180, "Ringing"));
    world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    assert_eq!(statuses(&world.take(GATEWAY)), [180, 200]);
    assert_eq!(world.requests(GATEWAY, "ACK").len(), 1);
    world.agents[GATEWAY].bye(world.now, call, None);
    world.run(MOMENT);
    assert!(matches!(world.take(PHONE)[..], [Event::Acknowledged { .. }, Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn an_answer_says_who_and_how() {
    let mut world = World::registered(4);
    world.talking();
    let ok = world.sent.iter().find(|(who, message)| *who == GATEWAY && is_response(message, 200));
    let Some((_, Message::Response(ok))) = ok else { panic!("no 200") };
    assert_eq!(ok.headers.get("Contact"), Some("<sip:gateway@192.0.2.1:40001;transport=tls>"));
    assert_eq!(ok.headers.get("Record-Route"), Some("<sip:proxy.example.org;lr;ftag=x>"));
    assert_eq!(ok.headers.get("Allow"), Some(ALLOW));
    assert_eq!(ok.headers.get("Content-Type"), Some("application/sdp"));
    assert_eq!(ok.body, b"v=0 answer");
    assert_eq!(ok.headers.all("Via").count(), 2);
}

#[test]
fn a_refusal_is_sent_once_and_acknowledged() {
    let mut world = World::registered(5);
    let (_, _, key) = world.call();
    world.agents[GATEWAY].respond(world.now, key, Reply::new(488, "Not Acceptable Here"));
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK"));
    assert_eq!(statuses(&world.take(PHONE)), [488]);
    world.run(LONG);
    assert_eq!(
        world.responses(GATEWAY, "INVITE"),
        [100, 488],
        "RFC 3261 §17.2.1: timer G is for unreliable transports"
    );
    assert_eq!(world.requests(PHONE, "ACK").len(), 1);
    world.assert_empty();
}

#[test]
fn a_refusal_whose_ack_is_lost_is_forgotten_after_64_t1() {
    let mut world = World::registered(6);
    let (_, _, key) = world.call();
    world.passes = Box::new(|_, message| !is_request(message, "ACK"));
    world.agents[GATEWAY].respond(world.now, key, Reply::new(488, "Not Acceptable Here"));
    world.run(Duration::from_secs(31));
    assert_eq!(world.agents[GATEWAY].servers.len(), 1);
    world.run(Duration::from_secs(2));
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 488]);
    world.assert_empty();
}

#[test]
fn a_caller_who_gives_up_gets_487_and_the_call_is_gone() {
    let mut world = World::registered(7);
    let (gateway, phone, key) = world.call();
    world.agents[GATEWAY].respond(world.now, key, Reply::new(180, "Ringing"));
    world.deliver();
    world.agents[PHONE].cancel(world.now, phone);
    assert_eq!(world.take(GATEWAY), [Event::Cancelled { dialog: gateway }]);
    assert_eq!(statuses(&world.take(PHONE)), [180, 487]);
    assert_eq!(world.responses(GATEWAY, "CANCEL"), [200]);
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("too late"));
    assert_eq!(world.take(PHONE), [], "no answer after 487");
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut world = World::registered(8);
    world.passes = Box::new(|_, message| !is_response(message, 100));
    let (_, phone, key) = world.call();
    world.agents[PHONE].cancel(world.now, phone);
    world.deliver();
    assert!(world.requests(PHONE, "CANCEL").is_empty());
    world.agents[GATEWAY].respond(world.now, key, Reply::new(180, "Ringing"));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Cancelled { .. }]));
    let (invite, cancel) = (world.requests(PHONE, "INVITE")[0], world.requests(PHONE, "CANCEL")[0]);
    assert_eq!(invite.headers.get("Via"), cancel.headers.get("Via"));
    assert_eq!(invite.headers.cseq().unwrap().number, cancel.headers.cseq().unwrap().number);
    assert_eq!(cancel.headers.get("To"), invite.headers.get("To"));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut world = World::registered(9);
    let (_, phone, key) = world.call();
    // The CANCEL comes after the answer left.
    world.passes = Box::new(|_, message| !is_request(message, "CANCEL"));
    world.agents[PHONE].cancel(world.now, phone);
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { .. }, Event::Bye { .. }]));
    assert_eq!(world.take(PHONE), [Event::Terminated { dialog: phone, why: Termination::AnsweredTooLate }]);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut world = World::registered(10);
    world.talking();
    let invite = world.requests(PHONE, "INVITE")[0].clone();
    let mut cancel = Request::new(Method::CANCEL, invite.uri.clone());
    let branch = invite.headers.top_via().unwrap().branch().unwrap().to_owned();
    cancel.headers.push("Via", format!("SIP/2.0/TLS proxy.example.org;branch=z9hG4bKproxy{branch}"));
    cancel.headers.push("Via", invite.headers.get("Via").unwrap());
    for name in ["From", "To", "Call-ID"] {
        cancel.headers.push(name, invite.headers.get(name).unwrap());
    }
    cancel.headers.push("CSeq", "1 CANCEL");
    world.sent.clear();
    world.inject(GATEWAY, &String::from_utf8(cancel.to_bytes()).unwrap());
    assert_eq!(world.responses(GATEWAY, "CANCEL"), [200]);
    assert!(world.responses(GATEWAY, "INVITE").is_empty());
    assert_eq!(world.take(GATEWAY), []);
}

#[test]
fn a_2xx_is_sent_again_until_its_ack_arrives() {
    let mut world = World::registered(11);
    let (_, _, key) = world.call();
    let mut acks = 0;
    world.passes = Box::new(move |_, message| {
        acks += usize::from(is_request(message, "ACK"));
        !is_request(message, "ACK") || acks == 4
    });
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.run(LONG);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { .. }]), "once");
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 200, 200, 200, 200]);
    let acks = world.requests(PHONE, "ACK");
    assert!(acks.len() == 4 && acks.iter().all(|ack| *ack == acks[0]), "the same ACK each time");
    assert_eq!(statuses(&world.take(PHONE)), [200], "told once");
}

#[test]
fn a_2xx_that_is_never_acknowledged_ends_in_bye_after_64_t1() {
    let mut world = World::registered(12);
    let (gateway, _, key) = world.call();
    world.passes = Box::new(|_, message| !is_request(message, "ACK"));
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.run(Duration::from_secs(31));
    assert_eq!(world.take(GATEWAY), []);
    // 0, 0.5, 1.5, 3.5, 7.5, and then every 4 s.
    assert_eq!(world.responses(GATEWAY, "INVITE").len(), 1 + 10);
    world.run(Duration::from_secs(2));
    assert_eq!(world.take(GATEWAY), [Event::Terminated { dialog: gateway, why: Termination::NoAck }]);
    assert!(matches!(world.take(PHONE)[..], [Event::Response { .. }, Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut world = World::registered(13);
    let (gateway, _, key) = world.call();
    let mut acks = 0;
    world.passes = Box::new(move |_, message| {
        acks += usize::from(is_request(message, "ACK"));
        !is_request(message, "ACK") || acks > 1
    });
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.deliver();
    world.agents[GATEWAY].bye(world.now, gateway, None);
    world.deliver();
    assert!(world.requests(GATEWAY, "BYE").is_empty(), "RFC 3261 §15");
    world.run(Duration::from_secs(1));
    assert_eq!(world.requests(GATEWAY, "BYE").len(), 1);
    assert_eq!(world.take(GATEWAY), [], "the user who hung up hears no more");
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_caller_may_hang_up_before_the_answer() {
    let mut world = World::registered(14);
    let (gateway, _, _) = world.call();
    let invite = world.requests(PHONE, "INVITE")[0].clone();
    let to = world.agents[GATEWAY].dialogs[&gateway].local.to_string();
    let (from, id) = (invite.headers.get("From").unwrap(), invite.headers.call_id().unwrap());
    let bye = format!(
        "BYE sip:gateway@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS proxy.example.org;branch=z9hG4bKb\r\n\
         Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKc\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: 9 BYE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    world.inject(GATEWAY, &bye);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Bye { .. }]));
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 487]);
    assert_eq!(statuses(&world.take(PHONE)), [487]);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_call_that_nobody_answers_is_given_up_by_both_sides() {
    let mut world = World::registered(15);
    let (gateway, _, _) = world.call();
    world.run(Duration::from_secs(179));
    assert_eq!(world.take(GATEWAY), []);
    world.run(Duration::from_secs(2));
    assert_eq!(world.take(GATEWAY), [Event::Terminated { dialog: gateway, why: Termination::Unanswered }]);
    assert_eq!(statuses(&world.take(PHONE)), [480]);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_phone_that_rings_for_ever_is_cancelled_and_then_given_up() {
    let mut world = World::registered(16);
    let mut answered = false;
    world.passes = Box::new(move |from, message| {
        let passes = from == PHONE || !answered;
        answered |= is_response(message, 100);
        passes
    });
    world.call();
    world.run(Duration::from_secs(181));
    assert_eq!(world.requests(PHONE, "CANCEL").len(), 1);
    world.run(Duration::from_secs(33));
    assert_eq!(statuses(&world.take(PHONE)), [408]);
    assert!(world.agents[PHONE].dialogs.is_empty() && world.agents[PHONE].clients.is_empty());
}

#[test]
fn an_invite_without_any_response_ends_after_64_t1() {
    let mut world = World::registered(17);
    world.passes = Box::new(|_, message| !is_request(message, "INVITE"));
    world.agents[PHONE].invite(world.now, "sip:gateway@example.org", None, &Headers::new()).unwrap();
    world.run(Duration::from_secs(33));
    assert_eq!(statuses(&world.take(PHONE)), [408]);
    world.assert_empty();
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut world = World::registered(18);
    let phone = world.agents[PHONE].invite(world.now, "sip:gateway@example.org", None, &Headers::new()).unwrap();
    let Some(Event::Invite { key, request, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    assert!(request.body.is_empty());
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("offer"));
    world.run(Duration::from_secs(2));
    assert!(world.requests(PHONE, "ACK").is_empty());
    world.agents[PHONE].ack(world.now, phone, Some(Body::sdp("answer")));
    let events = world.take(GATEWAY);
    assert!(matches!(&events[..], [Event::Acknowledged { answer: Some(body), .. }] if body == b"answer"), "{events:?}");
    world.agents[PHONE].bye(world.now, phone, None);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn hanging_up_on_a_late_offer_acknowledges_it_first() {
    let mut world = World::registered(19);
    let phone = world.agents[PHONE].invite(world.now, "sip:gateway@example.org", None, &Headers::new()).unwrap();
    let Some(Event::Invite { key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("offer"));
    world.deliver();
    world.agents[PHONE].bye(world.now, phone, None);
    assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { .. }, Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_second_phone_that_answers_is_acknowledged_and_hung_up() {
    let mut world = World::registered(20);
    let body = Some(Body::sdp("v=0"));
    let call = world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", body, &Headers::new()).unwrap();
    let Some(Event::Invite { key, .. }) = world.take(PHONE).pop() else { panic!("no INVITE") };
    world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.take(GATEWAY);
    let mut other = Response::to(world.requests(GATEWAY, "INVITE")[0], 200, "OK");
    other.headers.set("To", "<sip:phone@example.org>;tag=other");
    other.headers.push("Contact", "<sip:other@198.51.100.9>");
    other.headers.push("Record-Route", "<sip:a.example.org;lr>, <sip:b.example.org;lr>");
    world.sent.clear();
    for _ in 0..2 {
        world.inject(GATEWAY, &String::from_utf8(other.to_bytes()).unwrap());
    }
    assert_eq!(world.take(GATEWAY), [], "the call goes on as it was");
    assert_eq!(world.requests(GATEWAY, "ACK").len(), 2, "one each time");
    let byes = world.requests(GATEWAY, "BYE");
    assert_eq!(byes.len(), 1);
    assert_eq!(byes[0].uri.to_string(), "sip:other@198.51.100.9");
    let routes: Vec<&str> = byes[0].headers.all("Route").collect();
    assert_eq!(routes, ["<sip:b.example.org;lr>", "<sip:a.example.org;lr>"]);
    world.agents[GATEWAY].bye(world.now, call, None);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn calling_the_own_address_makes_two_dialogs_and_no_loop() {
    let mut world = World::registered(21);
    let body = Some(Body::sdp("v=0"));
    let calling = world.agents[GATEWAY].invite(world.now, "sip:gateway@example.org", body, &Headers::new()).unwrap();
    world.passes = Box::new(|_, _| false);
    world.deliver();
    // The proxy sends it back over the same flow, and everything that follows.
    let mut turned = world.requests(GATEWAY, "INVITE")[0].clone();
    turned.headers.push_front("Via", "SIP/2.0/TLS proxy.example.org;branch=z9hG4bKturned");
    world.inject(GATEWAY, &String::from_utf8(turned.to_bytes()).unwrap());
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    assert_ne!(dialog, calling);
    world.agents[GATEWAY].respond(world.now, key, Reply::new(486, "Busy Here"));
    world.deliver();
    let Some((_, Message::Response(busy))) = world.sent.last().cloned() else { panic!("no response") };
    let mut busy = busy;
    let own = busy.headers.all("Via").nth(1).unwrap().to_owned();
    busy.headers.set("Via", own);
    world.inject(GATEWAY, &String::from_utf8(busy.to_bytes()).unwrap());
    assert_eq!(statuses(&world.take(GATEWAY)), [486]);
}

#[test]
fn an_address_that_is_no_sip_address_is_not_called() {
    let mut world = World::registered(22);
    for target in ["tel:+4930123", "phone", "", "sip:phone@example.org?Replaces=x", "sip:a@b\r\nX: y"] {
        let called = world.agents[GATEWAY].invite(world.now, target, None, &Headers::new());
        assert_eq!(called, Err(RequestError::Target), "{target}");
    }
    world.assert_empty();
}

#[test]
fn names_cannot_be_guessed_from_one_another() {
    let mut world = World::registered(23);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        world.call();
    }
    for invite in world.requests(PHONE, "INVITE") {
        let headers = &invite.headers;
        let names = [
            headers.call_id().unwrap().to_owned(),
            headers.from().unwrap().tag().unwrap().to_owned(),
            headers.top_via().unwrap().branch().unwrap().to_owned(),
        ];
        for name in names {
            assert!(name.len() >= 16, "{name}");
            assert!(seen.insert(name), "drawn twice");
        }
    }
}
