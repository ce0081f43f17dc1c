use super::world::*;
use crate::sip::agent::*;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);

#[test]
fn a_hundred_invites_at_once_are_all_answered_and_leave_no_ghost() {
    let mut world = World::registered(100);
    let now = world.now;
    let calls: Vec<DialogId> = (0..100)
        .map(|_| {
            let body = Some(Body::sdp("v=0"));
            world.agents[PHONE].invite(now, "sip:gateway@example.org", body, &Headers::new()).unwrap()
        })
        .collect();
    let events = world.take(GATEWAY);
    assert_eq!(events.len(), 100);
    for event in events {
        let Event::Invite { key, .. } = event else { panic!("{event:?}") };
        world.agents[GATEWAY].respond(now, key, Reply::new(200, "OK").with_sdp("v=0"));
    }
    world.run(Duration::from_secs(1));
    let acknowledged = world.take(GATEWAY).iter().filter(|event| matches!(event, Event::Acknowledged { .. })).count();
    assert_eq!(acknowledged, 100);
    for call in calls {
        world.agents[PHONE].bye(world.now, call, None);
    }
    world.run(LONG);
    world.assert_empty();
}

#[test]
fn a_flood_gets_503_and_the_call_that_is_up_can_still_be_ended() {
    let mut world = World::registered(101);
    let (gateway, phone) = world.talking();
    for number in 0..2000 {
        world.inject(GATEWAY, &raw_invite(&format!("f{number}")));
    }
    let invites = world.take(GATEWAY);
    assert!(invites.len() < MAX_DIALOGS, "{}", invites.len());
    let refused = world.responses(GATEWAY, "INVITE").iter().filter(|status| **status == 503).count();
    assert_eq!(invites.len() + refused, 2000, "every one is handed up or refused");
    let last = world.sent.iter().rev().find_map(|(_, message)| match message {
        Message::Response(response) if response.status == 503 => Some(response.clone()),
        _ => None,
    });
    let retry: u32 = last.unwrap().headers.get("Retry-After").unwrap().parse().unwrap();
    assert!((5..15).contains(&retry));
    assert!(world.agents[GATEWAY].servers.len() <= MAX_SERVER_TRANSACTIONS);
    world.agents[PHONE].bye(world.now, phone, None);
    assert_eq!(world.take(GATEWAY), [Event::Bye { dialog: gateway, reason: None }]);
    // Nobody answers the flood: 180 s until 480, 64*T1 for its ACK.
    world.run(Duration::from_secs(181) + LONG);
    world.assert_empty();
}

#[test]
fn a_flood_of_options_leaves_nothing() {
    let mut world = World::registered(102);
    for number in 0..2000 {
        let options = raw("OPTIONS", "<sip:gateway@example.org>", &format!("o{number}"), 1, "", "");
        assert_eq!(world.ask(&options).map(|response| response.status), Some(200));
        world.sent.clear();
    }
    world.assert_empty();
}

/// Whatever two users do, whatever the network loses, and whenever flows break: when they have hung up and 64*T1 have
/// passed, nothing is left, and no timer ever stood still (the world checks that).
#[test]
fn random_histories_leave_no_state() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        let mut random = Seeded(seed ^ 0xabcd);
        let mut losses = Seeded(seed ^ 0x1234);
        let loss = [0, 5, 30][(seed % 3) as usize];
        world.passes = Box::new(move |_, _| losses.below(100) >= loss);
        let mut dialogs: [Vec<DialogId>; 2] = [Vec::new(), Vec::new()];
        let mut requests: [Vec<TransactionKey>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..60 {
            step(&mut world, &mut random, &mut dialogs, &mut requests);
        }
        world.passes = Box::new(|_, _| true);
        for who in [GATEWAY, PHONE] {
            if !world.up[who] {
                world.connect(who);
            }
            for dialog in &dialogs[who] {
                world.agents[who].bye(world.now, *dialog, None);
            }
        }
        // What is left on one side only is swept by that side's own timers: ringing is the longest.
        world.run(Duration::from_secs(181) + LONG + LONG);
        for who in [GATEWAY, PHONE] {
            for event in world.take(who) {
                if let Event::Invite { dialog, .. } = event {
                    world.agents[who].bye(world.now, dialog, None);
                }
            }
        }
        world.run(LONG);
        let registering = world.agents[GATEWAY].clients.values().filter(|own| own.is_register()).count();
        assert_eq!(world.agents[GATEWAY].clients.len(), registering, "seed {seed}");
        assert!(world.agents[PHONE].clients.is_empty(), "seed {seed}");
        for agent in &world.agents {
            assert!(agent.dialogs.is_empty(), "seed {seed}: {:?}", agent.dialogs.keys());
            assert_eq!(agent.servers.len(), 0, "seed {seed}");
        }
    }
}

fn step(
    world: &mut World,
    random: &mut Seeded,
    dialogs: &mut [Vec<DialogId>; 2],
    requests: &mut [Vec<TransactionKey>; 2],
) {
    let who = random.below(2) as usize;
    let now = world.now;
    let pick = |random: &mut Seeded, length: usize| random.below(length.max(1) as u64) as usize;
    let dialog = dialogs[who].get(pick(random, dialogs[who].len())).copied();
    let key = requests[who].get(pick(random, requests[who].len())).copied();
    let body = (random.below(4) > 0).then(|| Body::sdp("v=0"));
    let target = ["sip:phone@example.org", "sip:gateway@example.org"][who];
    match random.below(14) {
        0 | 1 => dialogs[who].extend(world.agents[who].invite(now, target, body, &Headers::new())),
        2..=4 => {
            let status = [180, 183, 200, 200, 200, 486, 488][pick(random, 7)];
            if let Some(key) = key {
                world.agents[who].respond(now, key, Reply::new(status, "x").with_sdp("v=0"));
            }
        }
        5 => dialog.into_iter().for_each(|dialog| world.agents[who].cancel(now, dialog)),
        6 => dialog.into_iter().for_each(|dialog| world.agents[who].bye(now, dialog, None)),
        7 => dialog.into_iter().for_each(|dialog| world.agents[who].ack(now, dialog, body.clone())),
        8 | 9 => {
            let method = [Method::INVITE, Method::UPDATE, Method::INFO, Method::OPTIONS][pick(random, 4)].clone();
            if let Some(dialog) = dialog {
                world.agents[who].request(now, dialog, method, body, &Headers::new()).ok();
            }
        }
        10 if world.up[who] => world.disconnect(who),
        10 => world.connect(who),
        11 => world.run(Duration::from_secs(random.below(70))),
        _ => world.run(Duration::from_millis(random.below(700))),
    }
    for who in [GATEWAY, PHONE] {
        if !world.up[who] && random.below(3) == 0 {
            world.connect(who);
        }
        for event in world.take(who) {
            match event {
                Event::Invite { dialog, key, .. } => {
                    dialogs[who].push(dialog);
                    requests[who].push(key);
                }
                Event::ReInvite { key, .. } | Event::Update { key, .. } | Event::Info { key, .. } => {
                    requests[who].push(key)
                }
                _ => {}
            }
        }
    }
}

/// Bytes of a good conversation, mangled: nothing panics, and what is kept stays within its bounds.
#[test]
fn mangled_messages_do_no_harm() {
    let mut random = Seeded(103);
    let mut samples: Vec<String> = ["INVITE", "BYE", "CANCEL", "ACK", "OPTIONS", "INFO", "UPDATE"]
        .iter()
        .map(|method| {
            raw(
                method,
                "<sip:gateway@example.org>;tag=x",
                "m",
                7,
                "Contact: <sip:s@a.example>\r\nRequire: x\r\n",
                "v=0",
            )
        })
        .collect();
    samples.push(raw_invite("m"));
    samples.push("SIP/2.0 401 No\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
        Call-ID: x\r\nCSeq: 1 REGISTER\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\nContent-Length: 0\r\n\r\n".to_owned());
    let mut world = World::registered(104);
    world.passes = Box::new(|_, _| false);
    for round in 0..6000 {
        if !world.up[GATEWAY] {
            world.connect(GATEWAY);
            while world.agents[GATEWAY].poll().is_some() {}
        }
        // Responses that find their transaction go deeper.
        if round % 50 == 0 {
            world.agents[GATEWAY].invite(world.now, "sip:phone@example.org", None, &Headers::new()).ok();
            world.deliver();
            if let Some(invite) = world.requests(GATEWAY, "INVITE").last() {
                let mut ok = Response::to(invite, 200, "OK");
                ok.headers.push("Contact", "<sip:p@a.example>");
                ok.headers.push("Record-Route", "<sip:p@a.example;lr>");
                samples.truncate(9);
                samples.push(String::from_utf8(ok.to_bytes()).unwrap());
            }
            world.sent.clear();
        }
        let mut bytes = samples[random.below(samples.len() as u64) as usize].clone().into_bytes();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len().max(1) as u64) as usize;
            match random.below(4) {
                0 if at < bytes.len() => bytes[at] = random.next() as u8,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n;,<>\"=:@ \0"[random.below(12) as usize]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut sent = 0;
        for step in 0..2 {
            match step {
                0 => world.agents[GATEWAY].handle_bytes(world.now, &bytes),
                _ => world.agents[GATEWAY].handle_timeout(world.now),
            }
            while let Some(output) = world.agents[GATEWAY].poll() {
                world.up[GATEWAY] &= !matches!(output, Output::CloseFlow(_));
                sent += usize::from(matches!(output, Output::Send(_)));
            }
            world.now += Duration::from_millis(random.below(300));
        }
        assert!(sent <= 8, "a message makes no more than a few");
        assert!(world.agents[GATEWAY].servers.len() <= 2 * MAX_SERVER_TRANSACTIONS);
    }
}
