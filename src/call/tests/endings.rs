//! How calls end, whoever ends them.

use super::*;

#[test]
fn a_caller_who_gives_up_while_joining_leaves_the_room() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    world.wants.clear();
    world.phone.cancel(world.now, dialog);
    world.run(10 * MS);
    assert_eq!(world.statuses(dialog).last(), Some(&487));
    assert_eq!(world.wanted(), ["leave 1"]);
    world.room(RoomEvent::Ready { call: CallNumber(1) });
    world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::Left });
    assert_eq!(world.statuses(dialog).last(), Some(&487), "what comes late is nothing");
    assert!(world.states().is_empty() && world.wanted().is_empty());
}

#[test]
fn an_invite_and_its_cancel_in_one_breath_leave_nothing() {
    for body in [offer(), String::new()] {
        let mut world = World::new();
        world.passes = Box::new(|_, _| false);
        let request = |method: &str, extra: &str, body: &str| {
            format!(
                "{method} sip:gateway@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS 198.51.100.7;branch=z9hG4bKraw\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:a@example.org>;tag=a\r\nTo: <sip:gateway@example.org>\r\nCall-ID: raw\r\n\
                 CSeq: 1 {method}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let kind = "Contact: <sip:a@198.51.100.7>\r\nContent-Type: application/sdp\r\n";
        let both = request("INVITE", kind, &body) + &request("CANCEL", "", "");
        world.line.handle_bytes(world.now, both.as_bytes());
        world.settle();
        let status = |message: &Message| match message {
            Message::Response(response) => (response.status, response.headers.cseq().unwrap().method.to_string()),
            Message::Request(request) => panic!("{request:?}"),
        };
        let sent: Vec<(u16, String)> = world.sent.iter().map(status).collect();
        let expected = [(100, "INVITE"), (200, "CANCEL"), (487, "INVITE")];
        assert_eq!(sent, expected.map(|(status, method)| (status, method.to_owned())));
        assert!(world.states().is_empty());
        let wanted = world.wanted();
        assert!(!wanted.iter().any(|want| want.starts_with("join")), "{wanted:?}");
        assert_eq!(wanted.iter().filter(|want| *want == "forget 1").count(), 1, "{wanted:?}");
        world.run(40 * SECOND);
        assert!(world.requests("BYE").is_empty() && world.wanted().is_empty());
    }
}

#[test]
fn ports_that_come_after_the_caller_has_given_up_are_forgotten() {
    let mut world = World::new();
    world.ports_open = false;
    let dialog = world.call(&offer());
    world.run(SECOND);
    world.phone.cancel(world.now, dialog);
    world.run(SECOND);
    world.wants.clear();
    world.open_ports(CallNumber(1));
    world.settle();
    assert_eq!(world.wanted(), ["forget 1"]);
    world.line.ports_failed(world.now, CallNumber(1), "late");
    world.settle();
    assert!(world.wanted().is_empty());
}

#[test]
fn when_the_room_ends_a_call_the_phone_is_told_why() {
    let reasons = [
        (EndReason::Kicked("no \"music\"".to_owned()), "removed the caller: no 'music'"),
        (EndReason::MediaTimeout, "no sound came"),
        (EndReason::GroupGone("gone".to_owned()), "the conference server went away: gone"),
        (EndReason::Defect, "a defect"),
    ];
    for (reason, words) in reasons {
        let (mut world, dialog) = World::talking();
        world.room(RoomEvent::Ended { call: CallNumber(1), reason });
        world.run(SECOND);
        let said = world.bye(dialog).expect("a BYE");
        assert!(said.starts_with("SIP;cause=200;text=\"") && said.ends_with('"') && said.contains(words), "{said}");
        assert!(world.states().is_empty());
        assert!(world.wanted().is_empty(), "the room knows");
    }
}

#[test]
fn a_room_that_ends_while_joining_refuses_the_call() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::Defect });
    assert_eq!(world.statuses(dialog), [180, 480]);
    assert!(world.states().is_empty());
}

#[test]
fn a_call_whose_ack_is_lost_is_ended() {
    let mut world = World::new();
    world.passes =
        Box::new(|_, message| !matches!(message, Message::Request(request) if request.method == Method::ACK));
    world.call(&offer());
    world.wants.clear();
    world.run(30 * SECOND);
    assert_eq!(world.states(), ["answered"]);
    world.run(5 * SECOND);
    assert!(world.states().is_empty());
    assert_eq!(world.wanted(), ["leave 1"]);
    assert_eq!(world.requests("BYE").len(), 1);
}

#[test]
fn a_call_that_the_room_never_answers_is_ended() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    world.wants.clear();
    world.run(400 * SECOND);
    assert_eq!(world.statuses(dialog).last(), Some(&480));
    assert_eq!(world.wanted(), ["leave 1"]);
    assert!(world.states().is_empty());
}

#[test]
fn the_administrator_ends_a_call() {
    let (mut world, dialog) = World::talking();
    assert!(!world.line.hang_up(world.now, CallNumber(7), "no such call"));
    assert!(world.line.hang_up(world.now, CallNumber(1), "the administrator ended it"));
    world.run(10 * MS);
    assert!(world.bye(dialog).unwrap().contains("the administrator ended it"));
    assert_eq!(world.wanted(), ["leave 1"]);
}

#[test]
fn the_administrator_ends_a_call_that_is_joining() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    world.wants.clear();
    assert!(world.line.hang_up(world.now, CallNumber(1), "the administrator ended it"));
    world.run(10 * MS);
    assert_eq!(world.statuses(dialog), [180, 480]);
    assert_eq!(world.wanted(), ["leave 1"]);
}

#[test]
fn a_call_outlives_its_connection() {
    let (mut world, dialog) = World::talking();
    world.disconnect();
    assert_eq!(world.line.report(world.now).registration, "the cable is out");
    assert_eq!(world.states(), ["talking"], "its sound does not need the connection");
    world.run(20 * SECOND);
    world.connect();
    world.run(SECOND);
    assert!(world.line.report(world.now).registered);
    assert_eq!(world.states(), ["talking"]);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&offer())).status, 200);
    world.wants.clear();
    world.phone.bye(world.now, dialog, None);
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["leave 1"]);
}

#[test]
fn a_bye_of_ours_waits_for_the_next_connection() {
    let (mut world, dialog) = World::talking();
    world.disconnect();
    world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::MediaTimeout });
    assert_eq!(world.bye(dialog), None);
    world.run(5 * SECOND);
    world.connect();
    world.run(SECOND);
    assert!(world.bye(dialog).is_some());
}

#[test]
fn nobody_can_be_called_over_a_connection_that_is_gone() {
    let mut world = World::new();
    world.disconnect();
    let bytes = b"INVITE sip:gateway@example.org SIP/2.0\r\n\r\n";
    world.line.handle_bytes(world.now, bytes);
    world.settle();
    assert!(world.wanted().is_empty() && world.sent.is_empty());
}

#[test]
fn a_connection_that_was_judged_for_another_account_is_not_used() {
    let mut world = World::new();
    world.disconnect();
    world.sent.clear();
    world.line.flow_up(world.now, SocketAddr::from(([192, 0, 2, 1], 50_001)), proof("mallory@example.org"));
    world.settle();
    assert!(world.sent.is_empty(), "not a byte");
    assert!(world.wanted()[0].starts_with("close: "));
}
