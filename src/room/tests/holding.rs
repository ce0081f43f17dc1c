//! What a re-INVITE changes: hold, resume, another address, new keys.

use super::*;
use crate::units::Ssrc;

const NORMAL: Direction = Direction { from_phone: true, to_phone: true };
const HELD: Direction = Direction { from_phone: true, to_phone: false };

fn described(world: &World) -> RemoteMedia {
    let phone = &world.phones[&CallNumber(1)];
    RemoteMedia { rtp: Some(phone.rtp), rtcp: Some(phone.rtcp), rtcp_mux: false }
}

fn turn(world: &mut World, direction: Direction) {
    world.room.update(world.now, CallNumber(1), direction, described(world));
    world.settle();
}

fn rekey(world: &mut World, seed: u8) {
    let [(our_protector, our_unprotector), (protector, unprotector)] = phone::contexts(CallNumber(1), seed);
    world.room.rekey(world.now, CallNumber(1), MediaLevel::Srtp, our_protector, our_unprotector);
    world.phone(1).protector = protector;
    world.phone(1).unprotector = unprotector;
    world.settle();
}

/// The numbers of what the group got of the phone.
fn numbers(world: &World) -> Vec<u64> {
    world.stream(1).packets.iter().map(|packet| packet.sequence).collect()
}

fn assert_numbers_are_new(world: &World) {
    let (numbers, distinct) = (numbers(world), numbers(world).into_iter().collect::<BTreeSet<u64>>());
    assert_eq!(numbers.len(), distinct.len(), "no number twice: {numbers:?}");
}

#[test]
fn on_hold_no_sound_flows_and_afterwards_it_flows_again_in_the_same_stream() {
    for codec in [Codec::Opus, Codec::Pcma] {
        let mut world = World::with_phones(&[codec]);
        world.talker("bob", 440.0);
        world.phone(1).says(700.0);
        world.run(3 * SECOND);
        assert!(world.stream(1).ears.share(700.0) > 0.9);
        let last = world.phone(1).heard.last().unwrap().clone();

        turn(&mut world, HELD);
        let (heard, forwarded) = (world.phone(1).heard.len(), world.stream(1).packets.len());
        world.run(20 * SECOND);
        assert_eq!(world.phone(1).heard.len(), heard, "{codec:?}: nothing is sent to a phone that holds");
        assert_eq!(world.stream(1).packets.len(), forwarded, "{codec:?}: nobody wants its music");
        assert!(world.phone(1).reports.len() > 2, "but RTCP goes on (RFC 3264 §5.1)");

        turn(&mut world, NORMAL);
        world.run(3 * SECOND);
        let first = &world.phone(1).heard[heard];
        assert!(
            first.marker && first.ssrc == last.ssrc && first.sequence == last.sequence.wrapping_add(1),
            "{first:?}"
        );
        let passed = first.timestamp.wrapping_sub(last.timestamp) / codec.rate().hz();
        assert!((20..=21).contains(&passed), "{codec:?}: its clock ran on, {passed} s");
        assert!(world.phone(1).ears.share(440.0) > 0.9, "{codec:?}");
        assert!(world.stream(1).ears.share(700.0) > 0.9, "{codec:?}");
        let resumed = &world.stream(1).packets[forwarded];
        let before = &world.stream(1).packets[forwarded - 1];
        assert!(resumed.marker && resumed.sequence == before.sequence + 1);
        let passed = resumed.timestamp.wrapping_sub(before.timestamp) / 48_000;
        assert!((20..=21).contains(&passed), "{codec:?}: towards the group too, {passed} s");
    }
}

#[test]
fn a_phone_that_only_listens_or_only_does_not_want_sound_is_not_heard() {
    for direction in [Direction { from_phone: false, to_phone: true }, Direction { from_phone: false, to_phone: false }]
    {
        let mut world = World::with_phones(&[Codec::Opus, Codec::Opus]);
        world.phone(1).says(700.0);
        world.phone(2).says(300.0);
        turn(&mut world, direction);
        let forwarded = world.stream(1).packets.len();
        world.run(2 * SECOND);
        assert_eq!(world.stream(1).packets.len(), forwarded);
        assert!(world.phone(2).ears.share(700.0) < 0.01);
        assert_eq!(world.phone(1).ears.share(300.0) > 0.9, direction.to_phone);
    }
}

#[test]
fn a_hold_of_many_packets_does_not_lose_the_group_s_count() {
    let mut world = World::with_phones(&[Codec::Opus]);
    turn(&mut world, HELD);
    world.phone(1).goes_dark();
    let from = world.phone(1).rtp;
    for _ in 0..40_000 {
        let packet = world.phone(1).packet(&[0x48; 3]);
        world.room.phone_packet(world.now, CallNumber(1), Channel::Rtp, from, &mut packet.clone());
    }
    turn(&mut world, NORMAL);
    world.phone(1).says(440.0);
    world.run(3 * SECOND);
    assert!(world.stream(1).ears.share(440.0) > 0.9);
    assert_numbers_are_new(&world);
}

#[test]
fn an_address_that_is_only_repeated_does_not_move_the_phone_back() {
    let mut world = World::with_phones(&[Codec::Opus]);
    let first = described(&world);
    // behind a NAT: its packets come from elsewhere
    world.phone(1).rtp = SocketAddr::from(([192, 0, 2, 77], 5004));
    world.run(SECOND);
    world.phone(1).goes_dark();
    world.room.update(world.now, CallNumber(1), NORMAL, first);
    world.run(SECOND);
    assert_eq!(world.phone(1).astray, 0);
    let moved = SocketAddr::from(([192, 0, 2, 88], 6000));
    world.room.update(world.now, CallNumber(1), NORMAL, RemoteMedia { rtp: Some(moved), ..first });
    world.phone(1).rtp = moved;
    world.run(SECOND);
    assert_eq!(world.phone(1).astray, 0, "a new address counts before anything came from it");
    world.room.update(world.now, CallNumber(1), NORMAL, RemoteMedia { rtp: None, ..first });
    world.run(SECOND);
    assert_eq!(world.phone(1).astray, 0, "no address is no news");
}

#[test]
fn new_keys_begin_a_new_stream_both_ways() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = World::with_phones(&[codec]);
        world.talker("bob", 440.0);
        world.phone(1).says(700.0);
        world.run(3 * SECOND);
        let (last, heard) = (world.phone(1).heard.last().unwrap().clone(), world.phone(1).heard.len());
        rekey(&mut world, 99);
        world.phone(1).sequence = 7;
        world.run(3 * SECOND);
        let first = &world.phone(1).heard[heard];
        assert!(first.ssrc != last.ssrc && first.marker && first.sequence < 0x8000, "{first:?}");
        assert!(world.phone(1).ears.share(440.0) > 0.9 && world.stream(1).ears.share(700.0) > 0.9, "{codec:?}");
        assert_numbers_are_new(&world);
        assert_eq!((world.leg(1).lost, world.leg(1).auth_failures), (0, 0));
        let total = world.phone(1).heard.len() as u64;
        assert_eq!(world.leg(1).sent, total, "the report counts on");
    }
}

#[test]
fn after_new_keys_the_old_ones_are_worth_nothing() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.phone(1).goes_dark();
    let old = world.phone(1).packet(&[0x48; 40]);
    rekey(&mut world, 99);
    let received = world.leg(1).received;
    world.arrives(1, Channel::Rtp, SocketAddr::from(([203, 0, 113, 66], 6666)), &old);
    assert_eq!((world.leg(1).received, world.leg(1).auth_failures), (received, 1));
    world.run(SECOND);
    assert_eq!(world.phone(1).astray, 0);
}

#[test]
fn a_phone_that_counts_from_below_under_new_keys_is_still_heard() {
    let mut world = World::with_phones(&[Codec::Opus]);
    // 65 536 packets and more: the rollover counter is 1 or 2
    world.phone(1).goes_dark();
    let from = world.phone(1).rtp;
    for _ in 0..70_000 {
        let packet = world.phone(1).packet(&[0x48; 3]);
        world.room.phone_packet(world.now, CallNumber(1), Channel::Rtp, from, &mut packet.clone());
        world.settle();
    }
    rekey(&mut world, 99);
    world.phone(1).sequence = 7;
    world.phone(1).says(440.0);
    world.run(3 * SECOND);
    assert!(world.stream(1).ears.share(440.0) > 0.9, "the same source under new keys, far behind its old numbers");
    assert_numbers_are_new(&world);
    assert_eq!(world.leg(1).lost, 0);
}

#[test]
fn no_number_towards_the_group_is_used_twice_however_a_phone_changes_its_source() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.phone(1).goes_dark();
    let (from, before) = (world.phone(1).rtp, world.stream(1).packets.len());
    let packet = |world: &mut World, source: u32, sequence: u16| {
        world.phone(1).ssrc = Ssrc(source);
        world.phone(1).sequence = sequence;
        world.phone(1).packet(&[0x48; 10])
    };
    let late: Vec<Vec<u8>> = [103, 102, 101].into_iter().map(|sequence| packet(&mut world, 1, sequence)).collect();
    for (source, sequence) in [(1, 110), (1, 111), (2, 110), (2, 111), (1, 112), (3, 5), (2, 109), (3, 4), (1, 109)] {
        let packet = packet(&mut world, source, sequence);
        world.arrives(1, Channel::Rtp, from, &packet);
    }
    late.iter().for_each(|packet| world.arrives(1, Channel::Rtp, from, packet));
    world.run(SECOND);
    assert_eq!(world.leg(1).auth_failures, 0, "all of them were authentic and new");
    // the group's own replay protection would hide a number that was used twice: so each of them must arrive
    let numbers = numbers(&world)[before..].to_vec();
    let expected: Vec<u64> = (numbers[0]..numbers[0] + 9).collect();
    assert_eq!(numbers, expected, "and those that came too late have no number");
}
