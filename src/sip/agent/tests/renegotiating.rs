use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);

fn reinvite(world: &mut World, who: usize, dialog: DialogId) -> Result<TransactionKey, RequestError> {
    let body = Some(Body::sdp("again"));
    world.agents[who].request(world.now, dialog, Method::INVITE, body, &Headers::new())
}

fn status(events: &[Event]) -> u16 {
    match events {
        [Event::Response { response, .. }] => response.status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_phone_holds_and_resumes_and_its_new_contact_counts() {
    let mut world = World::registered(40);
    let (gateway, phone) = world.talking();
    world.disconnect(PHONE);
    world.connect(PHONE);
    for _ in 0..2 {
        reinvite(&mut world, PHONE, phone).unwrap();
        let Some(Event::ReInvite { key, dialog, .. }) = world.take(GATEWAY).pop() else { panic!("no re-INVITE") };
        assert_eq!(dialog, gateway);
        world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("held"));
        assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { .. }]));
        assert_eq!(status(&world.take(PHONE)), 200);
    }
    world.sent.clear();
    world.agents[GATEWAY].bye(world.now, gateway, None);
    world.deliver();
    assert_eq!(world.requests(GATEWAY, "BYE")[0].uri.to_string(), "sip:phone@192.0.2.1:40003;transport=tls");
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_refused_change_leaves_the_call_as_it_was() {
    let mut world = World::registered(41);
    let (gateway, phone) = world.talking();
    reinvite(&mut world, PHONE, phone).unwrap();
    let Some(Event::ReInvite { key, .. }) = world.take(GATEWAY).pop() else { panic!("no re-INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(488, "Not Acceptable Here"));
    assert_eq!(status(&world.take(PHONE)), 488);
    world.agents[GATEWAY].bye(world.now, gateway, None);
    assert!(matches!(world.take(PHONE)[..], [Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn offers_that_cross_get_491_on_both_sides() {
    let mut world = World::registered(42);
    let (gateway, phone) = world.talking();
    reinvite(&mut world, GATEWAY, gateway).unwrap();
    reinvite(&mut world, PHONE, phone).unwrap();
    assert_eq!(status(&world.take(GATEWAY)), 491);
    assert_eq!(status(&world.take(PHONE)), 491);
}

#[test]
fn a_second_offer_before_the_first_is_answered_is_refused() {
    let mut world = World::registered(43);
    let (gateway, phone) = world.talking();
    reinvite(&mut world, GATEWAY, gateway).unwrap();
    assert_eq!(reinvite(&mut world, GATEWAY, gateway), Err(RequestError::Pending));
    assert!(matches!(world.take(PHONE)[..], [Event::ReInvite { .. }]));
    // A phone that does not keep to that (RFC 3261 §14.2).
    let dialog = &world.agents[PHONE].dialogs[&phone];
    let (from, to, id) = (dialog.remote.to_string(), dialog.local.to_string(), dialog.call_id.clone());
    for (cseq, method) in [(90, "INVITE"), (91, "UPDATE")] {
        let second = format!(
            "{method} sip:phone@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS proxy.example.org;branch=z9hG4bK{method}\r\n\
             Via: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKy\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:x@192.0.2.9>\r\nContent-Type: application/sdp\r\nContent-Length: 1\r\n\r\nv"
        );
        world.inject(PHONE, &second);
        let Some((_, Message::Response(response))) = world.sent.iter().rev().find(|(who, _)| *who == PHONE) else {
            panic!("no response")
        };
        assert_eq!(response.status, 500, "{method}");
        assert!(response.headers.get("Retry-After").unwrap().parse::<u32>().unwrap() < 10);
    }
}

/// A call from a stranger, who sent no offer: the dialog, its INVITE, and the To of his next requests.
fn without_an_offer(world: &mut World) -> (DialogId, TransactionKey, String) {
    let invite = raw("INVITE", "<sip:gateway@example.org>", "x", 1, "Contact: <sip:s@198.51.100.7>\r\n", "");
    world.inject(GATEWAY, &invite);
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    (dialog, key, to)
}

/// A request of that stranger in the call, in a transaction of its own.
fn next(method: &str, to: &str, cseq: u32, extra: &str, body: &str) -> String {
    raw(method, to, "x", cseq, extra, body).replace("z9hG4bKpx", &format!("z9hG4bKp{cseq}"))
}

const SDP: &str = "Contact: <sip:s@198.51.100.7>\r\nContent-Type: application/sdp\r\n";

#[test]
fn while_our_offer_waits_for_the_ack_no_other_is_taken_or_made() {
    let mut world = World::registered(50);
    let (dialog, key, to) = without_an_offer(&mut world);
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("offer"));
    world.deliver();
    for (cseq, method) in [(2, "UPDATE"), (3, "INVITE")] {
        let offer = next(method, &to, cseq, SDP, "v=0\r\n");
        assert_eq!(world.ask(&offer).unwrap().status, 491, "{method} (RFC 3261 §14.2, RFC 3311 §5.2)");
    }
    assert_eq!(reinvite(&mut world, GATEWAY, dialog), Err(RequestError::Pending));
    assert_eq!(world.take(GATEWAY), [], "nothing is handed up");
    world.inject(GATEWAY, &next("UPDATE", &to, 4, "", ""));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Update { .. }]), "one without an offer only refreshes");
    world.inject(GATEWAY, &raw("ACK", &to, "x", 1, "Content-Type: application/sdp\r\n", "answer"));
    let events = world.take(GATEWAY);
    assert!(matches!(&events[..], [Event::Acknowledged { answer: Some(body), .. }] if body == b"answer"), "{events:?}");
    world.inject(GATEWAY, &next("UPDATE", &to, 5, SDP, "v=0\r\n"));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Update { .. }]));
}

#[test]
fn a_2xx_with_an_answer_leaves_the_dialog_open_for_the_next_offer() {
    let mut world = World::registered(51);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("answer"));
    world.inject(GATEWAY, &next("UPDATE", &to, 2, SDP, "v=0\r\n"));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Update { .. }]));
}

#[test]
fn the_ack_of_an_answer_is_not_taken_for_that_of_an_offer_that_followed() {
    let mut world = World::registered(54);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("answer"));
    world.inject(GATEWAY, &next("INVITE", &to, 2, "", ""));
    let Some(Event::ReInvite { key, .. }) = world.take(GATEWAY).pop() else { panic!("no re-INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("offer"));
    world.inject(GATEWAY, &next("ACK", &to, 1, "", ""));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Acknowledged { answer: None, .. }]));
    world.inject(GATEWAY, &next("ACK", &to, 2, "Content-Type: application/sdp\r\n", "v=0\r\n"));
    assert!(matches!(&world.take(GATEWAY)[..], [Event::Acknowledged { answer: Some(body), .. }] if body == b"v=0\r\n"));
}

#[test]
fn a_body_of_an_ack_that_is_no_session_description_is_no_answer() {
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n"] {
        let mut world = World::registered(52);
        let (_, key, to) = without_an_offer(&mut world);
        world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("offer"));
        world.inject(GATEWAY, &raw("ACK", &to, "x", 1, kind, "v=0\r\n"));
        let events = world.take(GATEWAY);
        assert!(
            matches!(&events[..], [Event::Acknowledged { answer: Some(body), .. }] if body.is_empty()),
            "{events:?}"
        );
    }
}

#[test]
fn an_early_dialog_takes_an_update_that_refreshes_it_and_none_that_offers() {
    let mut world = World::registered(53);
    world.inject(GATEWAY, &raw_invite("x"));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(180, "Ringing"));
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    let refused = world.ask(&next("UPDATE", &to, 2, SDP, "v=0\r\n")).unwrap();
    assert_eq!(refused.status, 500, "the offer of the INVITE has no answer yet (RFC 3311 §5.2)");
    assert!(refused.headers.get("Retry-After").unwrap().parse::<u32>().unwrap() <= 10);
    world.inject(GATEWAY, &next("UPDATE", &to, 3, "Contact: <sip:moved@198.51.100.8>\r\n", ""));
    assert!(matches!(world.take(GATEWAY)[..], [Event::Update { .. }]));
    let target = world.agents[GATEWAY].dialogs[&dialog].target.to_string();
    assert_eq!(target, "sip:moved@198.51.100.8", "the target is refreshed");
}

#[test]
fn a_cancelled_change_leaves_the_call_up() {
    let mut world = World::registered(44);
    let (gateway, phone) = world.talking();
    let key = reinvite(&mut world, PHONE, phone).unwrap();
    let Some(Event::ReInvite { key: theirs, .. }) = world.take(GATEWAY).pop() else { panic!("no re-INVITE") };
    let cancel = world.agents[PHONE].clients.get_mut(&key).unwrap();
    cancel.want_cancel();
    let cancel = cancel.take_cancel(world.now).unwrap();
    world.agents[PHONE].send(cancel.to_bytes());
    assert_eq!(world.take(GATEWAY), []);
    assert_eq!(status(&world.take(PHONE)), 487);
    world.agents[GATEWAY].respond(world.now, theirs, Reply::new(200, "OK").with_sdp("late"));
    assert_eq!(world.take(PHONE), []);
    world.agents[GATEWAY].bye(world.now, gateway, None);
    assert!(matches!(world.take(PHONE)[..], [Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn an_update_and_an_info_are_handed_up_and_answered() {
    let mut world = World::registered(45);
    let (_, phone) = world.talking();
    let now = world.now;
    world.agents[PHONE].request(now, phone, Method::UPDATE, Some(Body::sdp("v=0")), &Headers::new()).unwrap();
    let Some(Event::Update { key, .. }) = world.take(GATEWAY).pop() else { panic!("no UPDATE") };
    world.agents[GATEWAY].respond(now, key, Reply::new(200, "OK").with_sdp("v=0"));
    assert_eq!(status(&world.take(PHONE)), 200);
    let dtmf = Body { content_type: "application/dtmf-relay".to_owned(), bytes: b"Signal=7".to_vec() };
    world.agents[PHONE].request(now, phone, Method::INFO, Some(dtmf), &Headers::new()).unwrap();
    let Some(Event::Info { key, request, .. }) = world.take(GATEWAY).pop() else { panic!("no INFO") };
    assert_eq!(request.body, b"Signal=7");
    world.agents[GATEWAY].respond(now, key, Reply::new(200, "OK"));
    assert_eq!(status(&world.take(PHONE)), 200);
    world.run(LONG);
    assert!(world.agents[GATEWAY].servers.len() == 0 && world.agents[PHONE].clients.is_empty());
}

#[test]
fn a_side_that_does_not_know_the_call_or_is_silent_ends_it() {
    for (silent, why) in [(false, Termination::Unknown), (true, Termination::NoAnswer)] {
        let mut world = World::registered(46);
        let (gateway, phone) = world.talking();
        if silent {
            world.passes = Box::new(|from, _| from != PHONE);
        } else {
            world.agents[PHONE].dialogs.remove(&phone);
        }
        world.agents[GATEWAY].request(world.now, gateway, Method::INFO, None, &Headers::new()).unwrap();
        world.run(LONG);
        let events = world.take(GATEWAY);
        assert!(matches!(&events[..], [Event::Response { .. }, Event::Terminated { why: told, .. }] if *told == why));
        assert_eq!(world.requests(GATEWAY, "BYE").len(), usize::from(silent));
        world.run(LONG);
        assert!(world.agents[GATEWAY].dialogs.is_empty() && world.agents[GATEWAY].clients.is_empty());
    }
}

#[test]
fn a_hang_up_during_a_change_answers_the_change() {
    let mut world = World::registered(47);
    let (gateway, phone) = world.talking();
    reinvite(&mut world, PHONE, phone).unwrap();
    assert!(matches!(world.take(GATEWAY)[..], [Event::ReInvite { .. }]));
    world.agents[GATEWAY].bye(world.now, gateway, None);
    world.deliver();
    assert_eq!(world.responses(GATEWAY, "INVITE"), [100, 200, 100, 487]);
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_gruu_as_contact_is_the_request_uri_and_the_route_is_kept() {
    let mut world = World::registered(48);
    let extra =
        "Contact: <sip:s@example.net;gr=urn:uuid:2>\r\nRecord-Route: <sip:p2.example.org;lr>, <sip:p1.example.org>\r\n";
    world.inject(GATEWAY, &raw("INVITE", "<sip:gateway@example.org>", "g", 1, extra, ""));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    let to = world.agents[GATEWAY].dialogs[&dialog].local.to_string();
    world.inject(GATEWAY, &raw("ACK", &to, "g", 1, "", ""));
    world.agents[GATEWAY].bye(world.now, dialog, None);
    world.deliver();
    let bye = world.requests(GATEWAY, "BYE")[0];
    assert_eq!(bye.uri.to_string(), "sip:s@example.net;gr=urn:uuid:2");
    let routes: Vec<&str> = bye.headers.all("Route").collect();
    assert_eq!(routes, ["<sip:p2.example.org;lr>", "<sip:p1.example.org>"]);
}

#[test]
fn a_strict_router_gets_the_request_uri() {
    let mut world = World::registered(49);
    let extra = "Contact: <sip:s@example.net>\r\nRecord-Route: <sip:strict.example.org>, <sip:p1.example.org;lr>\r\n";
    world.inject(GATEWAY, &raw("INVITE", "<sip:gateway@example.org>", "g", 1, extra, ""));
    let Some(Event::Invite { dialog, key, .. }) = world.take(GATEWAY).pop() else { panic!("no INVITE") };
    world.agents[GATEWAY].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    let request = world.agents[GATEWAY].dialogs.get_mut(&dialog).unwrap().request(Method::INFO);
    assert_eq!(request.uri.to_string(), "sip:strict.example.org");
    let routes: Vec<&str> = request.headers.all("Route").collect();
    assert_eq!(routes, ["<sip:p1.example.org;lr>", "<sip:s@example.net>"]);
}
