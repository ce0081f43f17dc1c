//! Coming, being refused, being removed, leaving.

use super::*;

const LISTENER: Member = Member::Ours(ConnectionId::Listener);

type Refusing = fn(&str) -> Option<&'static str>;

fn speaker(number: u32) -> Member {
    Member::Ours(ConnectionId::Phone(CallNumber(number)))
}

fn refused(sip_status: u16, reason: &str) -> RoomEvent {
    RoomEvent::Refused { call: CallNumber(1), reason: JoinRefused { sip_status, reason: reason.to_owned() } }
}

/// Nothing is left of the room, and the clients left the group as Galène wants it.
fn assert_over(world: &mut World) {
    world.run(3 * SECOND);
    assert!(world.room.is_empty());
    assert!(world.connected.is_empty(), "{:?}", world.connected);
    assert!(world.closed.iter().all(|(_, code)| *code == 1000), "{:?}", world.closed);
    assert!(world.sockets.values().all(|(owner, _)| matches!(owner, Member::Web(_))), "{:?}", world.sockets);
    assert_eq!(world.room.wake(), None, "an empty room sleeps");
    assert!(world.room.report().legs.is_empty());
}

#[test]
fn a_caller_whom_the_group_refuses_is_told_so_once_with_the_right_status() {
    let cases: [(Refusing, u16); 4] = [
        (|_| Some("not authorised"), 403),
        (|_| Some("this group is locked"), 403),
        (|_| Some("too many users"), 486),
        (|_| Some("group does not exist"), 480),
    ];
    for (refuses, status) in cases {
        let mut world = World::new();
        world.galene.refuses = refuses;
        world.join(1, Codec::Opus);
        world.run(SECOND);
        let expected = refused(status, &format!("the group refuses the caller: {}", refuses("").unwrap()));
        let events = world.events_of(1);
        assert_eq!(events[0], expected);
        assert!(matches!(events[1..], [RoomEvent::Ended { .. }]), "{events:?}");
        assert_over(&mut world);
    }
}

#[test]
fn one_refused_caller_does_not_disturb_the_others() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene.refuses = |name| (name == "☎ 2").then_some("too many users");
    world.join(2, Codec::Opus);
    world.run(SECOND);
    assert!(matches!(world.events_of(2)[0], RoomEvent::Refused { .. }));
    assert_eq!(world.events_of(1).len(), 1);
    assert_eq!(world.leg(1).participant.state, "publishing");
}

#[test]
fn without_the_listening_client_no_caller_gets_in() {
    let mut world = World::new();
    world.galene.refuses = |name| (name == "Phone gateway").then_some("too many users");
    world.join(1, Codec::Opus);
    world.join(2, Codec::Opus);
    world.run(SECOND);
    for number in [1, 2] {
        assert!(matches!(world.events_of(number)[0], RoomEvent::Refused { .. }));
    }
    assert_over(&mut world);
}

#[test]
fn a_group_that_never_answers_is_given_up_after_15_s() {
    for connected in [true, false] {
        let mut world = World::new();
        world.galene.answers = false;
        if !connected {
            world.galene.reachable = Err(("connection refused", false));
        }
        world.join(1, Codec::Opus);
        world.run(14 * SECOND);
        assert!(world.events.is_empty());
        world.run(2 * SECOND);
        assert!(matches!(&world.events_of(1)[0], RoomEvent::Refused { reason, .. } if reason.sip_status == 480));
        assert_over(&mut world);
    }
}

#[test]
fn a_group_that_cannot_be_had_is_given_up_at_once() {
    let mut world = World::new();
    world.galene.reachable = Err(("the group has moved", true));
    world.join(1, Codec::Opus);
    assert_eq!(world.events_of(1)[0], refused(480, "the conference cannot be joined"));
    assert_over(&mut world);
}

#[test]
fn what_a_caller_is_told_names_no_host() {
    for (permanent, told) in [(true, "the conference cannot be joined"), (false, "the conference does not answer")] {
        let mut world = World::new();
        world.galene.reachable = Err(("cannot connect to galene.internal (10.0.0.7:8443)", permanent));
        world.join(1, Codec::Opus);
        world.run(16 * SECOND);
        assert_eq!(world.events_of(1)[0], refused(480, told));
    }
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene_breaks();
    world.galene.reachable = Err(("cannot connect to galene.internal (10.0.0.7:8443)", false));
    world.run(121 * SECOND);
    let sentence = world.ended(1).unwrap().sentence();
    assert_eq!(sentence, "the conference server went away: it did not come back in time");
}

#[test]
fn who_may_not_present_or_cannot_publish_listens_only() {
    let mut world = World::new();
    world.galene.permissions = vec![];
    world.join(1, Codec::Opus);
    world.run(100 * MS);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }], "nothing to wait for");
    assert_eq!(world.leg(1).participant.state, "joined");

    let mut world = World::new();
    world.path = false;
    world.join(1, Codec::Opus);
    world.run(4900 * MS);
    assert!(world.events.is_empty());
    world.run(200 * MS);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
}

#[test]
fn a_kicked_phone_is_ended_and_the_others_stay() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    world.server(
        speaker(1),
        json!({"type": "usermessage", "kind": "kicked", "privileged": true, "value": "no music please"}),
    );
    world.settle();
    assert_eq!(world.ended(1), Some(EndReason::Kicked("no music please".to_owned())));
    world.run(5 * SECOND);
    assert!(world.asked.iter().filter(|(_, id)| *id == ConnectionId::Phone(CallNumber(1))).count() == 1, "for good");
    assert_eq!(world.ended(2), None);
    assert!(EndReason::Kicked(String::new()).sentence().ends_with("removed the caller"));
}

#[test]
fn a_participant_who_only_pretends_to_be_the_server_kicks_nobody() {
    let mut world = World::with_phones(&[Codec::Opus]);
    for forged in [
        json!({"type": "usermessage", "kind": "kicked", "value": "x"}),
        json!({"type": "usermessage", "kind": "kicked", "source": "mallory", "privileged": true, "value": "x"}),
        json!({"type": "usermessage", "kind": "mute", "source": "mallory", "privileged": false}),
    ] {
        world.server(speaker(1), forged.clone());
        world.server(LISTENER, forged);
    }
    world.settle();
    assert_eq!(world.events.len(), 1);
    assert_eq!(world.leg(1).participant.state, "publishing");
}

#[test]
fn when_the_listening_client_is_kicked_every_call_ends() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    world.server(LISTENER, json!({"type": "usermessage", "kind": "kicked", "privileged": true, "value": ""}));
    world.settle();
    for number in [1, 2] {
        assert_eq!(world.ended(number), Some(EndReason::Kicked(String::new())));
    }
    assert_over(&mut world);
}

#[test]
fn after_the_last_call_the_listening_client_leaves_too() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    for number in [1, 2] {
        world.room.leave(world.now, CallNumber(number));
        world.settle();
        assert_eq!(world.ended(number), Some(EndReason::Left));
    }
    assert!(!world.room.is_empty(), "for a moment, in case that the caller tries again");
    assert_over(&mut world);
    assert_eq!(world.closed.len(), 3);
}

#[test]
fn who_calls_again_soon_finds_the_listening_client() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.room.leave(world.now, CallNumber(1));
    world.run(SECOND);
    world.join(2, Codec::Opus);
    world.run(5 * SECOND);
    assert_eq!(world.events_of(2), [RoomEvent::Ready { call: CallNumber(2) }]);
    assert_eq!(world.asked.iter().filter(|(_, id)| *id == ConnectionId::Listener).count(), 1);
    world.room.leave(world.now, CallNumber(2));
    assert_over(&mut world);
    world.join(3, Codec::Opus);
    world.run(SECOND);
    assert_eq!(world.events_of(3), [RoomEvent::Ready { call: CallNumber(3) }], "and an empty room begins again");
}

#[test]
fn who_leaves_while_joining_is_gone_at_any_moment() {
    for moment in 0..4 {
        let mut world = World::new();
        world.galene.answers = moment > 0;
        world.path = moment > 1;
        world.galene.keeps_waiting = (moment == 3).then_some(LISTENER);
        world.join(1, Codec::Opus);
        world.run(100 * MS * moment);
        world.room.leave(world.now, CallNumber(1));
        world.settle();
        let ready = RoomEvent::Ready { call: CallNumber(1) };
        assert_eq!(world.events_of(1).contains(&ready), moment == 2, "moment {moment}");
        assert_eq!(world.ended(1), Some(EndReason::Left));
        assert_over(&mut world);
    }
}

#[test]
fn leaving_twice_or_what_comes_late_means_nothing() {
    let mut world = World::with_phones(&[Codec::Opus]);
    let call = CallNumber(1);
    world.room.leave(world.now, call);
    world.settle();
    let events = world.events.len();
    world.room.leave(world.now, call);
    let [(protector, unprotector), _] = phone::contexts(call, 9);
    world.room.rekey(world.now, call, MediaLevel::Srtp, protector, unprotector);
    world.room.websocket_opened(world.now, ConnectionId::Phone(call), "g");
    world.room.websocket_text(world.now, ConnectionId::Phone(call), r#"{"type":"ping"}"#);
    world.room.websocket_failed(world.now, ConnectionId::Phone(call), "late", false);
    world.room.datagram(world.now, ConnectionId::Phone(call), StreamId(0), world.phones[&call].rtp, b"late");
    world.room.phone_packet(world.now, call, Channel::Rtp, world.phones[&call].rtp, &mut [0x80; 60]);
    world.settle();
    assert_eq!(world.events.len(), events);
}

#[test]
fn a_muted_phone_is_heard_by_nobody_and_hears_on() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = World::with_phones(&[codec, Codec::Opus]);
        world.phone(1).says(700.0);
        world.phone(2).says(300.0);
        world.run(2 * SECOND);
        assert!(world.phone(2).ears.share(700.0) > 0.9);
        world.server(speaker(1), json!({"type": "usermessage", "kind": "mute", "privileged": true, "username": "op"}));
        world.settle();
        let forwarded = world.stream(1).packets.len();
        world.run(3 * SECOND);
        assert_eq!(world.stream(1).packets.len(), forwarded, "{codec:?}");
        assert!(world.phone(2).ears.share(700.0) < 0.01, "{codec:?}");
        assert!(world.phone(1).ears.share(300.0) > 0.9, "{codec:?}");
        assert_eq!(world.leg(1).participant.state, "muted");
        assert_eq!(world.ended(1), None);
    }
}

#[test]
fn a_phone_that_loses_the_permission_to_speak_gets_it_back_with_it() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = World::with_phones(&[codec]);
        world.phone(1).says(700.0);
        world.run(2 * SECOND);
        let change =
            |permissions: Value| json!({"type": "joined", "kind": "change", "group": "g", "permissions": permissions});
        world.server(speaker(1), change(json!([])));
        world.run(2 * SECOND);
        assert_eq!(world.leg(1).participant.state, "joined");
        world.server(speaker(1), change(json!(["present"])));
        world.run(3 * SECOND);
        assert_eq!(world.leg(1).participant.state, "publishing");
        let stream = world.stream(1);
        assert!(stream.packets[0].sequence < 16 && stream.packets[0].marker, "{codec:?}: a new stream begins below");
        assert!(stream.ears.share(700.0) > 0.9, "{codec:?}");
        assert_eq!(world.events_of(1).len(), 1);
    }
}

#[test]
fn a_panic_in_one_call_ends_that_call_alone() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Opus]);
    world.talker("bob", 440.0);
    world.run(2 * SECOND);
    world.room.legs.get_mut(&CallNumber(1)).unwrap().breaks = true;
    world.run(3 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::Defect));
    assert!(!world.connected.contains(&ConnectionId::Phone(CallNumber(1))), "its participant has left");
    assert_eq!(world.ended(2), None);
    assert!(world.phone(2).ears.share(440.0) > 0.95, "not a packet is missing");
}

#[test]
fn a_panic_in_a_client_of_the_group_is_contained() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Opus]);
    let talker = world.talker("bob", 440.0);
    let phone = ConnectionId::Phone(CallNumber(1));
    world.room.with_client(world.now, phone, |_| panic!("a test breaks this client"));
    world.run(SECOND);
    assert_eq!(world.ended(1), Some(EndReason::Defect));
    world.room.with_client(world.now, ConnectionId::Listener, |_| panic!("a test breaks this client"));
    world.settle();
    world.web[talker].client.unpublish(world.now); // Galène would offer it to the new client by itself
    world.run(SECOND);
    world.web[talker].client.publish(world.now);
    world.run(5 * SECOND);
    assert_eq!(world.ended(2), None);
    assert!(world.phone(2).ears.share(440.0) > 0.95, "the listening client came back");
}
