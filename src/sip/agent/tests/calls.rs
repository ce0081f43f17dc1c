use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(50);
/// Longer than 64*T1.
const LONG: Duration = Duration::from_secs(40);

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
    let statuses: Vec<u16> = world
        .take(GATEWAY)
        .iter()
        .map(|event| match event {
            Event::Response { response, dialog, .. } if *dialog == call => response.status,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, [180, 200]);
    assert_eq!(world.requests(GATEWAY, "ACK").len(), 1);
    world.agents[GATEWAY].bye(world.now, call, None);
    world.run(MOMENT);
    assert!(matches!(world.take(PHONE)[..], [Event::Acknowledged { .. }, Event::Bye { .. }]));
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_call_outlives_its_flow_and_is_ended_over_the_next_one() {
    let mut world = World::registered(4);
    let (gateway, _) = world.talking();
    world.disconnect(GATEWAY);
    world.run(Duration::from_secs(5));
    assert!(world.take(GATEWAY).iter().all(|event| !matches!(event, Event::Terminated { .. })), "the call goes on");
    world.connect(GATEWAY);
    world.run(MOMENT);
    world.agents[GATEWAY].bye(world.now, gateway, None);
    assert!(world.take(PHONE).iter().any(|event| matches!(event, Event::Bye { .. })));
    world.run(LONG);
    world.assert_empty();
}
