//! Ten minutes of anything: nothing panics, nothing grows.

use super::*;

#[test]
fn ten_minutes_of_random_packets_leave_no_growth() {
    let mut world = World::with_phones(&[Codec::Pcmu, Codec::Pcma]);
    world.talker("bob", 440.0);
    world.phone(1).goes_dark();
    world.phone(2).goes_dark();
    let mut dice = Seeded(3);
    let mut largest = [0; 3];
    for minute in 0..10 {
        for _ in 0..3_000 {
            for number in [1, 2] {
                let mut packet = vec![0; dice.next() as usize % 300];
                dice.fill(&mut packet);
                let authentic = world.phone(number).packet(&packet[..packet.len().min(200)]);
                let channel = if dice.next().is_multiple_of(8) { Channel::Rtcp } else { Channel::Rtp };
                if let [first, second, ..] = &mut packet[..] {
                    *first = 0x80 | *first & 0x3f;
                    *second = if channel == Channel::Rtcp { 200 + *second % 8 } else { *second };
                }
                let from =
                    SocketAddr::from((dice.next().to_be_bytes()[..4].try_into().map(|ip: [u8; 4]| ip).unwrap(), 4000));
                world.room.phone_packet(world.now, CallNumber(number), channel, from, &mut packet);
                // sound that is none, lost and late at random, from a phone that moves about
                if !dice.next().is_multiple_of(4) {
                    let from = world.phone(number).rtp;
                    world.room.phone_packet(world.now, CallNumber(number), Channel::Rtp, from, &mut authentic.clone());
                }
            }
            world.run(20 * MS);
        }
        let room = &world.room;
        let queues: usize = room.legs.values().map(|leg| leg.packets.len()).sum();
        let sizes = [room.outputs.capacity(), queues, room.hearing.streams()];
        if minute == 0 {
            largest = sizes;
        }
        assert!(
            sizes.iter().zip(&largest).all(|(size, first)| size <= first),
            "minute {minute}: {sizes:?}, {largest:?}"
        );
    }
    for number in [1, 2] {
        assert_eq!(world.events_of(number), [RoomEvent::Ready { call: CallNumber(number) }]);
    }
    world.run(3 * SECOND);
    assert!(world.phone(1).ears.share(440.0) > 0.95, "and the talker is heard as ever");
}
