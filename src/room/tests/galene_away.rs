//! Galène goes away, and comes back or not.

use super::*;

#[test]
fn calls_outlast_a_break_and_sound_returns_both_ways() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    world.talker("bob", 440.0);
    world.phone(1).says(700.0);
    world.run(2 * SECOND);
    world.galene_breaks();
    assert_eq!(world.leg(1).participant.state, "away");
    assert_eq!(world.room.report().streams, 0);
    world.run(60 * SECOND);
    assert!(world.phone(1).ears.level() < -60.0, "silence meanwhile");
    let sent = world.phone(2).heard.len();
    world.galene_returns();
    world.run(10 * SECOND);
    assert!(world.phone(2).heard.len() > sent + 450, "no pause in what phones get");
    for number in [1, 2] {
        assert_eq!(world.events_of(number), [RoomEvent::Ready { call: CallNumber(number) }], "nobody noticed");
        assert_eq!(world.leg(number).participant.state, "publishing");
    }
    assert!(world.phone(1).ears.share(440.0) > 0.95);
    let stream = world.stream(1);
    assert!(stream.ears.share(700.0) > 0.9 && stream.packets[0].sequence < 16);
}

#[test]
fn phones_of_a_room_hear_each_other_while_galene_is_away() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    world.galene_breaks();
    world.phone(1).says(700.0);
    world.run(3 * SECOND);
    assert!(world.phone(2).ears.share(700.0) > 0.9);
}

#[test]
fn the_way_back_is_tried_with_growing_waits() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.run(10 * SECOND);
    world.asked.clear();
    let broken = world.now;
    world.galene_breaks();
    world.run(10 * SECOND);
    let times: Vec<u128> = world
        .asked
        .iter()
        .filter(|(_, id)| *id == ConnectionId::Listener)
        .map(|(at, _)| at.duration_since(broken).as_millis())
        .collect();
    assert_eq!(times, [200, 700, 1_700, 3_700, 5_700, 7_700, 9_700]);
}

#[test]
fn a_server_that_lets_us_in_and_breaks_at_once_is_met_with_growing_waits_too() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.run(10 * SECOND);
    world.asked.clear();
    for _ in 0..200 {
        if world.connected.remove(&ConnectionId::Listener) {
            world.room.websocket_failed(world.now, ConnectionId::Listener, "broken", false);
        }
        world.run(100 * MS);
    }
    let tries = world.asked.iter().filter(|(_, id)| *id == ConnectionId::Listener).count();
    assert!((10..16).contains(&tries), "{tries} in 20 s");
}

#[test]
fn after_two_minutes_the_calls_are_given_up() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    let broken = world.now;
    world.galene_breaks();
    world.run(119 * SECOND);
    assert_eq!(world.ended(1), None);
    world.run(2 * SECOND);
    for number in [1, 2] {
        let Some(EndReason::GroupGone(why)) = world.ended(number) else { panic!("{:?}", world.ended(number)) };
        assert_eq!(why, "it did not come back in time");
    }
    let at = world.events.last().unwrap().0;
    assert_eq!(at.duration_since(broken), 120 * SECOND);
    world.run(3 * SECOND);
    assert!(world.room.is_empty() && world.room.wake().is_none());
}

#[test]
fn a_group_that_does_not_want_us_back_ends_the_call() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene_breaks();
    world.galene.refuses = |name| (name == "☎ 1").then_some("this group is locked");
    world.galene_returns();
    world.run(5 * SECOND);
    let gone = EndReason::GroupGone("the group refuses the caller: this group is locked".to_owned());
    assert_eq!(world.ended(1), Some(gone));
    assert!(!world.events_of(1).iter().any(|event| matches!(event, RoomEvent::Refused { .. })), "it was answered");
}

#[test]
fn a_caller_who_comes_while_galene_is_away_is_refused_soon() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene_breaks();
    world.join(2, Codec::Opus);
    world.run(16 * SECOND);
    assert!(matches!(&world.events_of(2)[0], RoomEvent::Refused { reason, .. } if reason.sip_status == 480));
    assert_eq!(world.ended(1), None);
}

#[test]
fn a_server_that_falls_silent_is_left_and_found_again() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.galene.answers = false;
    world.run(70 * SECOND);
    assert_eq!(world.leg(1).participant.state, "connecting");
    world.galene.answers = true;
    world.run(20 * SECOND);
    assert_eq!(world.leg(1).participant.state, "publishing");
    assert_eq!(world.events_of(1).len(), 1);
}
