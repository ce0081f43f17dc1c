//! A leg whose keys ZRTP has still to bring: what passes through it, and that nothing is heard or sent before they are confirmed.

use super::*;

const ZRTP: &[u8] = b"\x10\0\0\x01ZRTP and the rest";

/// A phone whose contexts the room does not have yet.
fn joined(codec: Codec) -> (World, Box<Protector>, Box<Unprotector>) {
    let mut world = World::new();
    let (phone, mut setup) = Phone::new(1, codec);
    let LegKeys::Agreed { protector, unprotector } = std::mem::replace(&mut setup.keys, LegKeys::Awaited) else {
        panic!("a phone of SDES");
    };
    world.phones.insert(CallNumber(1), phone);
    world.room.join(world.now, setup);
    world.phone(1).says(440.0);
    world.talker("web", 1000.0);
    world.run(3 * SECOND);
    assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
    (world, protector, unprotector)
}

impl World {
    fn order(&mut self, order: LegOrder) {
        self.room.order(self.now, CallNumber(1), order);
        self.settle();
    }

    fn group_heard(&self) -> usize {
        self.web[EARS].streams.iter().filter(|stream| stream.username == "☎ 1").map(|stream| stream.packets.len()).sum()
    }

    fn assert_silence(&self) {
        let phone = &self.phones[&CallNumber(1)];
        assert!(phone.heard.is_empty() && phone.reports.is_empty(), "nothing is sent");
        assert_eq!(self.group_heard(), 0, "nothing is heard");
    }
}

#[test]
fn nothing_is_heard_or_sent_until_both_sides_have_confirmed_the_keys() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let (mut world, protector, unprotector) = joined(codec);
        world.assert_silence();
        let leg = world.leg(1);
        assert!(leg.before_keys > 100 && leg.received == 0 && leg.auth_failures == 0, "{leg:?}");

        // the phone may have confirmed; whether it has, only its packets tell
        world.order(LegOrder::Receive(unprotector));
        world.run(2 * SECOND);
        world.assert_silence();
        assert!(world.leg(1).received > 50);
        let proofs = world.events_of(1).into_iter().filter(|event| matches!(event, RoomEvent::Proved { .. }));
        assert_eq!(proofs.count(), 1, "said once");

        world.order(LegOrder::Speak(protector));
        world.run(3 * SECOND);
        assert!(world.stream(1).ears.share(440.0) > 0.9, "{codec:?}: the group hears the phone");
        assert!(world.phone(1).ears.share(1000.0) > 0.9, "{codec:?}: the phone hears the group");
        assert_eq!(world.phone(1).astray, 0);
    }
}

#[test]
fn a_call_that_ends_before_it_is_secure_says_nothing_in_clear() {
    let (mut world, ..) = joined(Codec::Opus);
    world.run(10 * SECOND);
    world.room.leave(world.now, CallNumber(1));
    world.settle();
    world.assert_silence();
}

#[test]
fn zrtp_passes_from_anybody_moves_nobody_and_goes_where_the_phone_is() {
    let (mut world, ..) = joined(Codec::Opus);
    let (described, stranger) = (world.phone(1).rtp, SocketAddr::from(([203, 0, 113, 9], 4000)));
    let sent = |world: &mut World| {
        let packet = crate::srtp::Sealed::zrtp(ZRTP).unwrap();
        world.room.order(world.now, CallNumber(1), LegOrder::Send(Box::new(packet)));
        let Some(Output::ToPhone(_, Channel::Rtp, to, packet)) = world.room.poll() else { panic!("no packet") };
        assert_eq!(packet.as_bytes(), ZRTP);
        to
    };
    world.arrives(1, Channel::Rtp, stranger, ZRTP);
    let zrtp = RoomEvent::Zrtp { call: CallNumber(1), from: stranger, packet: ZRTP.to_vec() };
    assert_eq!(world.events_of(1).pop(), Some(zrtp));
    assert_eq!(sent(&mut world), described, "a packet that nobody authenticated moves nothing");
    world.order(LegOrder::Address(stranger));
    assert_eq!(sent(&mut world), stranger, "the announced Hello came from there");
    world.arrives(1, Channel::Rtcp, stranger, ZRTP);
    assert_eq!(world.events_of(1).len(), 2, "not on the port of RTCP");
}

#[test]
fn without_an_agreement_on_zrtp_its_packets_are_noise() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.arrives(1, Channel::Rtp, SocketAddr::from(([203, 0, 113, 9], 4000)), ZRTP);
    assert_eq!(world.events_of(1).len(), 1, "{:?}", world.events_of(1));
}
