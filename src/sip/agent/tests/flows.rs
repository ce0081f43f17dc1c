use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(40);

#[test]
fn the_flow_is_pinged_every_24_to_30_seconds() {
    let mut world = World::registered(20);
    world.run(Duration::from_secs(300));
    assert!((10..=12).contains(&world.pings[GATEWAY]), "{}", world.pings[GATEWAY]);
    assert_eq!(world.closed[GATEWAY], None);
}

#[test]
fn a_server_that_never_answers_pings_is_not_given_up() {
    let mut world = World::new(21);
    world.registrar.pongs = false;
    world.run(Duration::from_secs(300));
    assert_eq!(world.closed[GATEWAY], None);
}

#[test]
fn a_server_that_answered_once_is_given_up_when_it_stops() {
    let mut world = World::registered(22);
    world.run(Duration::from_secs(31));
    world.registrar.pongs = false;
    world.run(Duration::from_secs(41));
    assert!(world.closed[GATEWAY].as_ref().unwrap().contains("keep-alive"));
    // What was learnt about the old flow is not held against the new one.
    world.closed[GATEWAY] = None;
    world.connect(GATEWAY);
    world.run(Duration::from_secs(100));
    assert_eq!(world.closed[GATEWAY], None);
}

#[test]
fn a_server_that_promised_pongs_is_held_to_it_from_the_first_ping() {
    for promise in [("Require", "outbound"), ("Flow-Timer", "20")] {
        let mut world = World::new(23);
        world.registrar.pongs = false;
        world.registrar.extra = vec![promise];
        world.run(Duration::from_secs(41));
        assert!(world.closed[GATEWAY].is_some(), "{promise:?}");
    }
}

#[test]
fn flow_timer_sets_the_pace() {
    let mut world = World::new(24);
    world.registrar.extra = vec![("Flow-Timer", "10")];
    world.run(Duration::from_secs(100));
    assert!((10..=12).contains(&world.pings[GATEWAY]), "{}", world.pings[GATEWAY]);
}

#[test]
fn a_ping_of_the_server_is_answered() {
    let mut world = World::registered(25);
    world.inject(GATEWAY, "\r\n\r\n");
    assert_eq!(world.pongs[GATEWAY], 1);
    world.inject(GATEWAY, "\r\n");
    assert_eq!(world.pongs[GATEWAY], 1, "a pong is not answered");
}

#[test]
fn what_is_not_sip_closes_the_flow() {
    let mut world = World::registered(26);
    world.inject(GATEWAY, "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKx\r\n\r\n");
    assert!(world.closed[GATEWAY].is_some());
}

#[test]
fn a_call_survives_the_loss_of_the_flow_and_ends_over_the_next_one() {
    for gruu in [false, true] {
        let mut world = World::registered(27);
        if gruu {
            world.registrar.binding = ";expires=600;pub-gruu=\"sip:gateway@example.org;gr=1\"";
            world.disconnect(GATEWAY);
            world.connect(GATEWAY);
        }
        let (gateway, _) = world.talking();
        world.disconnect(GATEWAY);
        world.run(LONG);
        world.take(GATEWAY);
        world.sent.clear();
        world.connect(GATEWAY);
        world.run(MOMENT);
        let updates = world.requests(GATEWAY, "UPDATE");
        if gruu {
            assert!(updates.is_empty(), "the address is the same");
        } else {
            let contact = updates[0].headers.get("Contact").unwrap();
            assert!(contact.contains(":40003"), "the phone learns the new address: {contact}");
            let Some(Event::Update { key, .. }) = world.take(PHONE).pop() else { panic!("no UPDATE") };
            world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK"));
        }
        world.take(GATEWAY);
        world.agents[GATEWAY].bye(world.now, gateway, None);
        assert!(matches!(world.take(PHONE)[..], [Event::Bye { .. }]));
        world.run(LONG);
        world.assert_empty();
    }
}

#[test]
fn a_bye_without_a_flow_goes_out_over_the_next_one() {
    let mut world = World::registered(28);
    let (gateway, _) = world.talking();
    world.disconnect(GATEWAY);
    world.agents[GATEWAY].bye(world.now, gateway, None);
    world.run(Duration::from_secs(10));
    assert_eq!(world.take(PHONE), []);
    world.connect(GATEWAY);
    assert!(matches!(world.take(PHONE)[..], [Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_request_whose_answer_was_lost_with_the_flow_is_repeated_not_doubled() {
    let mut world = World::registered(29);
    world.registrar.binding = ";expires=600;pub-gruu=\"sip:gateway@example.org;gr=1\"";
    world.disconnect(GATEWAY);
    world.connect(GATEWAY);
    let (gateway, _) = world.talking();
    let hold = Some(Body::sdp("hold"));
    world.agents[GATEWAY].request(world.now, gateway, Method::INVITE, hold, &Headers::new()).unwrap();
    let Some(Event::ReInvite { key, .. }) = world.take(PHONE).pop() else { panic!("no re-INVITE") };
    world.disconnect(GATEWAY);
    world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK").with_sdp("held"));
    world.deliver();
    world.connect(GATEWAY);
    // The repeated INVITE is swallowed by the phone's transaction; its 2xx comes again until the ACK.
    world.run(LONG);
    assert_eq!(world.take(PHONE).len(), 1, "only the ACK");
    let responses: Vec<Event> =
        world.take(GATEWAY).into_iter().filter(|event| matches!(event, Event::Response { .. })).collect();
    assert!(matches!(&responses[..], [Event::Response { response, .. }] if response.status == 200), "{responses:?}");
}

#[test]
fn a_refusal_without_a_flow_reaches_the_caller_over_the_next_one() {
    let mut world = World::registered(30);
    let (_, _, key) = world.call();
    world.take(PHONE);
    world.disconnect(GATEWAY);
    world.agents[GATEWAY].respond(world.now, key, Reply::new(486, "Busy Here"));
    world.connect(GATEWAY);
    world.deliver();
    assert!(matches!(&world.take(PHONE)[..], [Event::Response { response, .. }] if response.status == 486));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_call_that_is_cancelled_before_it_could_leave_never_rings() {
    let mut world = World::registered(31);
    world.disconnect(GATEWAY);
    let body = Some(Body::sdp("v=0"));
    let call = world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", body, &Headers::new()).unwrap();
    world.agents[GATEWAY].cancel(world.now, call);
    assert!(matches!(&world.take(GATEWAY)[..], [Event::Response { response, .. }] if response.status == 487));
    world.connect(GATEWAY);
    world.run(MOMENT);
    assert!(world.requests(GATEWAY, "INVITE").is_empty());
    world.assert_empty();
}

#[test]
fn a_ringing_phone_is_cancelled_even_if_the_flow_was_lost_meanwhile() {
    for before in [true, false] {
        let mut world = World::registered(32);
        let body = Some(Body::sdp("v=0"));
        let call = world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", body, &Headers::new()).unwrap();
        let Some(Event::Invite { key, dialog, .. }) = world.take(PHONE).pop() else { panic!("no INVITE") };
        world.agents[PHONE].respond(world.now, key, Reply::new(180, "Ringing"));
        world.deliver();
        world.passes = Box::new(move |from, _| !(before && from == GATEWAY));
        if before {
            world.agents[GATEWAY].cancel(world.now, call);
            world.deliver();
        }
        world.disconnect(GATEWAY);
        world.agents[GATEWAY].cancel(world.now, call);
        world.run(MOMENT);
        world.passes = Box::new(|_, _| true);
        world.connect(GATEWAY);
        assert_eq!(world.take(PHONE), [Event::Cancelled { dialog }], "{before}");
        world.run(LONG);
        world.assert_empty();
    }
}

#[test]
fn a_call_is_not_given_up_because_a_request_found_no_flow() {
    let mut world = World::registered(33);
    let (gateway, _) = world.talking();
    world.disconnect(GATEWAY);
    world.agents[GATEWAY].request(world.now, gateway, Method::INFO, None, &Headers::new()).unwrap();
    world.run(LONG);
    assert!(matches!(&world.take(GATEWAY)[..], [Event::Response { response, .. }] if response.status == 408));
    assert!(world.agents[GATEWAY].dialogs.contains_key(&gateway));
}
