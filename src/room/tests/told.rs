//! What changes for a phone in the group is told, or ends the call: never silence that nobody explains.

use super::*;

fn speaker(number: u32) -> Member {
    Member::Ours(ConnectionId::Phone(CallNumber(number)))
}

fn change(permissions: Value) -> Value {
    json!({"type": "joined", "kind": "change", "group": "g", "permissions": permissions})
}

fn mute() -> Value {
    json!({"type": "usermessage", "kind": "mute", "privileged": true, "source": "1", "username": "op\n"})
}

/// A room whose gateway may write to the chat, with one phone that says 700 Hz.
fn talking(codec: Codec) -> World {
    let mut world = World::new();
    world.galene.permissions.push("message");
    world.join(1, codec);
    world.phone(1).says(700.0);
    world.run(3 * SECOND);
    assert!(world.chats.is_empty(), "all is well: {:?}", world.chats);
    world
}

#[test]
fn a_muted_phone_is_told_of_and_heard_again_when_it_is_allowed_to_speak_anew() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = talking(codec);
        world.server(speaker(1), mute());
        world.server(speaker(1), mute());
        world.run(SECOND);
        let told = "☎ 1 was muted by op; to hear it again, forbid it to present and allow it again";
        assert_eq!(world.chats, [told], "once");
        assert_eq!(world.leg(1).participant.state, "muted");

        world.server(speaker(1), change(json!(["present", "message"])));
        world.run(SECOND);
        assert_eq!(world.leg(1).participant.state, "muted", "it could speak before, so nothing was given");
        world.server(speaker(1), change(json!(["message"])));
        world.run(SECOND);
        world.server(speaker(1), change(json!(["present", "message"])));
        world.run(3 * SECOND);
        assert_eq!(world.leg(1).participant.state, "publishing");
        assert!(world.stream(1).ears.share(700.0) > 0.9, "{codec:?}");
        let told = ["☎ 1 can listen but not speak: the group does not permit it", "☎ 1 can be heard"];
        assert_eq!(world.chats[1..], told);
    }
}

#[test]
fn being_muted_outlasts_a_break() {
    let mut world = talking(Codec::Pcmu);
    world.server(speaker(1), mute());
    world.run(SECOND);
    world.galene_breaks();
    world.galene_returns();
    world.run(5 * SECOND);
    assert_eq!(world.leg(1).participant.state, "muted");
    assert!(world.stream(1).ears.level() < -60.0);
}

#[test]
fn who_comes_without_the_permission_to_speak_is_answered_and_told_of() {
    let mut world = World::new();
    world.galene.permissions = vec!["message"];
    world.join(1, Codec::Opus);
    world.run(SECOND);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
    assert_eq!(world.chats, ["☎ 1 can listen but not speak: the group does not permit it"]);
    world.phone(1).says(700.0);
    world.server(speaker(1), change(json!(["present", "message"])));
    world.run(3 * SECOND);
    assert!(world.stream(1).ears.share(700.0) > 0.9);
    assert_eq!(world.chats[1..], ["☎ 1 can be heard"]);
}

#[test]
fn who_has_no_way_for_his_sound_is_told_of_until_there_is_one() {
    let mut world = World::new();
    world.galene.permissions.push("message");
    world.path = false;
    world.join(1, Codec::Opus);
    world.run(6 * SECOND);
    assert_eq!(world.chats, ["☎ 1 cannot be heard: its sound finds no way to the conference server"]);
    world.path = true;
    world.run(10 * SECOND);
    assert_eq!(world.chats[1..], ["☎ 1 can be heard"]);
}

#[test]
fn a_socket_that_cannot_be_had_is_tried_again() {
    let mut world = World::new();
    world.galene.permissions.push("message");
    world.bindable = false;
    world.join(1, Codec::Pcmu);
    world.phone(1).says(700.0);
    world.run(6 * SECOND);
    assert_eq!(world.chats, ["☎ 1 cannot be heard: its sound finds no way to the conference server"]);
    world.bindable = true;
    world.run(8 * SECOND);
    assert_eq!(world.chats[1..], ["☎ 1 can be heard"]);
    assert!(world.stream(1).ears.share(700.0) > 0.9);
}

#[test]
fn without_the_permission_to_write_nothing_is_written() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.server(speaker(1), mute());
    world.run(SECOND);
    assert_eq!(world.leg(1).participant.state, "muted");
    assert!(world.chats.is_empty());
    assert_eq!(world.room.report().may_write, Some(false));
    let listener = Member::Ours(ConnectionId::Listener);
    world.server(listener, change(json!(["present", "message"])));
    assert_eq!(world.room.report().may_write, Some(true));
    world.room.say(world.now, None, "a code");
    world.run(SECOND);
    assert_eq!(world.chats, ["a code"]);
    world.server(listener, change(json!(["present"])));
    world.room.say(world.now, None, "another code");
    world.run(SECOND);
    assert_eq!((world.room.report().may_write, world.chats.len()), (Some(false), 1));
}

#[test]
fn a_group_without_opus_refuses_the_call_and_ends_one_that_was_there() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene.opus = false;
    world.join(2, Codec::Pcmu);
    world.run(SECOND);
    let RoomEvent::Refused { reason, .. } = &world.events_of(2)[0] else { panic!("{:?}", world.events_of(2)) };
    assert_eq!(reason.sip_status, 480, "not 488: the phone would only try again with another offer");
    assert!(reason.reason.contains("does not speak Opus"), "{}", reason.reason);
    assert_eq!(world.ended(1), None);
    world.galene_breaks();
    world.galene_returns();
    world.run(5 * SECOND);
    assert!(matches!(world.ended(1), Some(EndReason::GroupGone(why)) if why.contains("does not speak Opus")));
}

#[test]
fn a_name_that_is_taken_is_changed_once() {
    let mut world = World::new();
    world.galene.taken = Some("☎ 1");
    world.join(1, Codec::Opus);
    world.run(2 * SECOND);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
    assert_eq!(world.leg(1).participant.participant, "☎ 1 (2)");

    let mut world = World::new();
    world.galene.taken = Some("Phone gateway");
    world.join(1, Codec::Opus);
    world.run(2 * SECOND);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
    world.galene.taken = Some("Phone gateway (2)");
    world.connected.remove(&ConnectionId::Listener);
    world.room.websocket_failed(world.now, ConnectionId::Listener, "broken", false);
    world.run(2 * SECOND);
    let gone = "the group refuses the caller: not authorised: this username is taken";
    assert_eq!(world.ended(1), Some(EndReason::GroupGone(gone.to_owned())));
}

#[test]
fn the_name_of_the_invitation_is_the_one_that_is_shown() {
    let mut world = World::new();
    world.galene.token_name = Some("Front door");
    world.galene.permissions = vec!["message"];
    world.join(1, Codec::Opus);
    world.run(SECOND);
    assert_eq!(world.leg(1).participant.participant, "Front door");
    assert_eq!(world.chats, ["Front door can listen but not speak: the group does not permit it"]);
}

#[test]
fn a_refusal_that_may_pass_does_not_end_a_call_that_was_there() {
    type Refusing = fn(&str) -> Option<&'static str>;
    let passing: [Refusing; 4] = [
        |_| Some("too many users"),
        |_| Some("there are no operators in this group"),
        |_| Some("group does not exist"),
        |_| Some("internal server error"),
    ];
    for refuses in passing {
        let mut world = World::with_phones(&[Codec::Opus]);
        world.galene_breaks();
        world.galene.refuses = refuses;
        world.galene.reachable = Ok(());
        world.run(60 * SECOND);
        assert_eq!(world.ended(1), None, "our own lost clients may be the ones too many");
        world.galene.refuses = |_| None;
        world.run(5 * SECOND);
        assert_eq!(world.leg(1).participant.state, "publishing");

        world.galene_breaks();
        world.galene.refuses = refuses;
        world.galene.reachable = Ok(());
        world.run(121 * SECOND);
        let why = "it did not come back in time".to_owned();
        assert_eq!(world.ended(1), Some(EndReason::GroupGone(why)));
    }
}
