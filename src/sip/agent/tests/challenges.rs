use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const CHALLENGE: &str = "Digest realm=\"example.org\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256";

/// Registered with a challenge, so that the realm is known.
fn world() -> World {
    let mut world = World::new(80);
    world.registrar.challenges = vec![CHALLENGE.to_owned()];
    world.run(Duration::from_millis(100));
    world.take(GATEWAY);
    world.sent.clear();
    world
}

fn call(world: &mut World) -> DialogId {
    let body = Some(Body::sdp("v=0"));
    world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", body, &Headers::new()).unwrap()
}

fn talking(world: &mut World) -> DialogId {
    let dialog = call(world);
    let Some(Event::Invite { key, .. }) = world.take(PHONE).pop() else { panic!("no INVITE") };
    world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK").with_sdp("v=0"));
    world.take(GATEWAY);
    world.take(PHONE);
    dialog
}

/// The phone, or someone on the way, answers the newest request of this method so.
fn answer(world: &mut World, method: &str, status: u16, challenge: &str) {
    let request = world.requests(GATEWAY, method).last().copied().unwrap().clone();
    let mut response = Response::to(&request, status, "no");
    let name = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
    response.headers.push(name, challenge);
    world.inject(GATEWAY, &String::from_utf8(response.to_bytes()).unwrap());
}

fn credentials(world: &World, method: &str) -> usize {
    let brings = |request: &&&Request| {
        request.headers.get("Authorization").is_some() || request.headers.get("Proxy-Authorization").is_some()
    };
    world.requests(GATEWAY, method).iter().filter(brings).count()
}

#[test]
fn a_proxy_that_asks_gets_credentials_and_the_ack_repeats_them() {
    let mut world = world();
    world.challenge = Some(CHALLENGE);
    talking(&mut world);
    let invites = world.requests(GATEWAY, "INVITE");
    assert_eq!(invites.len(), 2);
    let (first, second) = (&invites[0].headers, &invites[1].headers);
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    assert_eq!(
        (second.call_id(), second.get("From"), second.get("To")),
        (first.call_id(), first.get("From"), first.get("To"))
    );
    let value = second.get("Proxy-Authorization").unwrap();
    assert!(value.contains("nc=00000002"), "the REGISTER used this nonce before: {value}");
    assert!(value.contains("uri=\"sip:phone@example.org\""), "{value}");
    let acks = world.requests(GATEWAY, "ACK");
    assert_eq!(acks[0].headers.get("Proxy-Authorization"), None, "the ACK of the 407");
    assert_eq!(acks[1].headers.get("Proxy-Authorization"), Some(value), "the ACK of the 200");
    assert_eq!(acks[1].headers.cseq().unwrap().number, second.cseq().unwrap().number);
}

#[test]
fn a_proxy_may_ask_within_a_call() {
    let mut world = world();
    let dialog = talking(&mut world);
    world.challenge = Some(CHALLENGE);
    world.agents[GATEWAY].request(world.now, dialog, Method::INFO, None, &Headers::new()).unwrap();
    let Some(Event::Info { key, .. }) = world.take(PHONE).pop() else { panic!("no INFO") };
    world.agents[PHONE].respond(world.now, key, Reply::new(200, "OK"));
    assert!(matches!(&world.take(GATEWAY)[..], [Event::Response { response, .. }] if response.status == 200));
}

#[test]
fn whoever_we_talk_to_gets_no_credentials() {
    let mut world = world();
    world.passes =
        Box::new(|_, message| !matches!(message, Message::Request(r) if ["INFO", "BYE"].contains(&r.method.as_str())));
    let dialog = talking(&mut world);
    world.agents[GATEWAY].request(world.now, dialog, Method::INFO, None, &Headers::new()).unwrap();
    world.deliver();
    answer(&mut world, "INFO", 401, CHALLENGE);
    assert_eq!(credentials(&world, "INFO"), 0, "401 is the other user agent's");
    assert!(matches!(world.take(GATEWAY)[..], [Event::ChallengeRefused { .. }, Event::Response { .. }]));
    world.agents[GATEWAY].bye(world.now, dialog, None);
    world.deliver();
    for status in [401, 407] {
        answer(&mut world, "BYE", status, CHALLENGE);
    }
    assert_eq!(credentials(&world, "BYE"), 0, "providers let a BYE pass");
    assert_eq!(world.requests(GATEWAY, "BYE").len(), 1);
}

#[test]
fn another_realm_or_a_weaker_algorithm_gets_no_credentials() {
    for challenge in
        ["Digest realm=\"evil\", nonce=\"n\", algorithm=SHA-256", "Digest realm=\"example.org\", nonce=\"n\""]
    {
        let mut world = world();
        world.challenge = Some(challenge);
        call(&mut world);
        let events = world.take(GATEWAY);
        assert!(
            matches!(&events[..], [Event::ChallengeRefused { .. }, Event::Response { response, .. }]
            if response.status == 407),
            "{events:?}"
        );
        assert_eq!(credentials(&world, "INVITE"), 0);
        world.run(Duration::from_secs(40));
        world.assert_empty();
    }
}

#[test]
fn a_call_cannot_set_the_realm_of_an_account_that_registers() {
    let mut world = World::registered(81);
    world.challenge = Some("Digest realm=\"evil\", nonce=\"n\"");
    call(&mut world);
    assert!(
        matches!(&world.take(GATEWAY)[..], [Event::ChallengeRefused { hint, .. }, _] if hint.contains("realm = \"evil\""))
    );
    assert_eq!(credentials(&world, "INVITE"), 0);
}

#[test]
fn one_request_meets_two_challenges_at_most() {
    let mut world = world();
    world.passes = Box::new(|_, message| !matches!(message, Message::Request(r) if r.method == Method::INVITE));
    call(&mut world);
    world.deliver();
    for _ in 0..10 {
        answer(&mut world, "INVITE", 407, "Digest realm=\"example.org\", nonce=\"m\", algorithm=SHA-256, stale=true");
    }
    assert_eq!(world.requests(GATEWAY, "INVITE").len(), 3);
    assert!(matches!(world.take(GATEWAY)[..], [Event::ChallengeRefused { .. }, Event::Response { .. }]));
}

#[test]
fn a_proxy_and_a_server_may_ask_one_after_the_other() {
    let mut world = world();
    world.passes = Box::new(|_, message| !matches!(message, Message::Request(r) if r.method == Method::INVITE));
    call(&mut world);
    world.deliver();
    answer(&mut world, "INVITE", 407, "Digest realm=\"example.org\", nonce=\"p\", algorithm=SHA-256");
    answer(&mut world, "INVITE", 401, "Digest realm=\"example.org\", nonce=\"s\", algorithm=SHA-256");
    let last = world.requests(GATEWAY, "INVITE")[2];
    assert!(last.headers.get("Proxy-Authorization").unwrap().contains("nonce=\"p\""));
    assert!(last.headers.get("Authorization").unwrap().contains("nonce=\"s\""));
    assert_eq!(last.headers.all("Proxy-Authorization").count(), 1);
}

#[test]
fn an_agent_that_does_not_register_takes_the_realm_from_its_first_call() {
    let mut world = world();
    world.passes = Box::new(|from, message| {
        from != PHONE || !matches!(message, Message::Request(r) if r.method == Method::INVITE)
    });
    world.agents[PHONE].invite(world.now, "sip:gateway@example.org", None, &Headers::new()).unwrap();
    world.deliver();
    let request = world.requests(PHONE, "INVITE")[0].clone();
    let mut response = Response::to(&request, 407, "no");
    response.headers.push("Proxy-Authenticate", CHALLENGE);
    world.inject(PHONE, &String::from_utf8(response.to_bytes()).unwrap());
    assert_eq!(world.requests(PHONE, "INVITE").len(), 2);
    assert_eq!(world.agents[PHONE].realm(), Some("example.org"));
}
