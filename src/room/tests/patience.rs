//! How long a silent phone is waited for.

use super::*;

const NORMAL: Direction = Direction { from_phone: true, to_phone: true };
const HELD: Direction = Direction { from_phone: true, to_phone: false };

fn when_ended(world: &World) -> Option<Duration> {
    let ended = |event: &&(Instant, RoomEvent)| matches!(event.1, RoomEvent::Ended { .. });
    world.events.iter().find(ended).map(|(at, _)| at.duration_since(world.start))
}

fn turn(world: &mut World, direction: Direction) {
    let remote = RemoteMedia { rtp: Some(world.phone(1).rtp), rtcp: Some(world.phone(1).rtcp), rtcp_mux: false };
    world.room.update(world.now, CallNumber(1), direction, remote);
    world.settle();
}

/// Alone with one phone, after 2 s, and it falls dark.
fn dark(codec: Codec) -> World {
    let mut world = World::with_phones(&[codec]);
    world.phone(1).goes_dark();
    world
}

#[test]
fn a_call_ends_30_s_after_the_last_authenticated_packet() {
    let mut world = dark(Codec::Pcmu);
    world.run(29 * SECOND);
    assert_eq!(world.ended(1), None);
    world.run(2 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
    let after = when_ended(&world).unwrap();
    assert!(after > 31 * SECOND && after <= 32 * SECOND, "{after:?}");
}

#[test]
fn a_phone_that_never_sends_anything_is_ended_30_s_after_the_answer() {
    let mut world = World::new();
    world.galene.keeps_waiting = Some(Member::Ours(ConnectionId::Listener));
    let (mut phone, setup) = Phone::new(1, Codec::Opus);
    phone.goes_dark();
    world.phones.insert(CallNumber(1), phone);
    world.room.join(world.now, setup);
    world.run(10 * SECOND);
    world.lets_in();
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
    world.run(29 * SECOND);
    assert_eq!(world.ended(1), None, "the time counts from the answer");
    world.run(2 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
}

#[test]
fn rtcp_alone_keeps_a_call_alive() {
    let mut world = dark(Codec::Opus);
    for _ in 0..12 {
        world.run(10 * SECOND);
        let report = world.phone(1).report();
        let from = world.phone(1).rtcp;
        world.arrives(1, Channel::Rtcp, from, &report);
    }
    assert_eq!(world.ended(1), None);
    world.run(31 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
}

#[test]
fn a_phone_that_holds_may_be_silent_for_30_minutes() {
    let mut world = dark(Codec::Pcmu);
    turn(&mut world, HELD);
    world.run(29 * 60 * SECOND + 50 * SECOND);
    assert_eq!(world.ended(1), None);
    world.run(20 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
}

#[test]
fn after_a_hold_the_30_s_begin_anew() {
    let mut world = dark(Codec::Pcmu);
    turn(&mut world, HELD);
    world.run(60 * SECOND);
    turn(&mut world, NORMAL);
    world.run(29 * SECOND);
    assert_eq!(world.ended(1), None);
    world.run(2 * SECOND);
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
}
