//! Who hears what.

use super::*;

#[test]
fn a_phone_is_ready_once_when_the_listening_and_the_speaking_client_are_in_and_publish() {
    for waits in [Member::Ours(ConnectionId::Listener), Member::Ours(ConnectionId::Phone(CallNumber(1)))] {
        let mut world = World::new();
        world.galene.keeps_waiting = Some(waits);
        world.path = false;
        world.join(1, Codec::Opus);
        assert_eq!(world.connected, BTreeSet::from([ConnectionId::Listener, ConnectionId::Phone(CallNumber(1))]));
        world.run(SECOND);
        assert!(world.events.is_empty(), "{waits:?} is not in");
        world.lets_in();
        world.run(SECOND);
        assert!(world.events.is_empty(), "its sound cannot flow yet");
        world.path = true;
        world.run(3 * SECOND);
        assert_eq!(world.events_of(1), [RoomEvent::Ready { call: CallNumber(1) }]);
        world.run(30 * SECOND);
        assert_eq!(world.events_of(1).len(), 1);
        assert_eq!(
            (world.leg(1).participant.state, world.leg(1).participant.participant.as_str()),
            ("publishing", "☎ 1")
        );
    }
}

#[test]
fn opus_of_a_phone_reaches_the_group_untouched_and_numbered_from_below() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.phone(1).says(440.0);
    let before = world.phone(1).said.len();
    world.run(3 * SECOND);
    let said = world.phones[&CallNumber(1)].said[before..].to_vec();
    let stream = world.stream(1);
    let end = stream.packets.len() - said.len();
    let heard: Vec<Vec<u8>> = stream.packets[end..].iter().map(|packet| packet.payload.clone()).collect();
    assert_eq!(heard, said, "bit by bit");
    assert!(stream.packets[0].sequence < 16 && stream.packets[0].marker, "{:?}", stream.packets[0]);
    for pair in stream.packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(960));
        assert!(!pair[1].marker);
    }
    assert!(stream.ears.share(440.0) > 0.98);
}

#[test]
fn gaps_and_disorder_of_opus_are_left_to_the_listener() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.phone(1).goes_dark();
    let packets: Vec<Vec<u8>> = (0..6u8).map(|n| world.phone(1).packet(&[n; 20])).collect();
    let from = world.phone(1).rtp;
    let count = world.stream(1).packets.len();
    for n in [0, 2, 1, 5] {
        world.arrives(1, Channel::Rtp, from, &packets[n]);
        world.run(20 * MS);
    }
    let heard = &world.stream(1).packets[count..];
    let numbers: Vec<u64> = heard.iter().map(|packet| packet.sequence - heard[0].sequence).collect();
    assert_eq!(numbers, [0, 2, 1, 5]);
    assert!(heard.iter().zip([0, 2, 1, 5]).all(|(packet, n)| packet.payload == [n; 20]));
}

#[test]
fn g711_of_a_phone_arrives_in_the_group_as_opus() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let mut world = World::with_phones(&[codec]);
        world.phone(1).says(440.0);
        world.run(3 * SECOND);
        let stream = world.stream(1);
        assert!(stream.ears.share(440.0) > 0.95, "{codec:?}: {}", stream.ears.share(440.0));
        assert!(stream.packets[0].sequence < 16);
        let longest = stream.packets.iter().map(|packet| packet.payload.len()).max();
        assert!(longest.unwrap() < 100, "encoded at 8 kHz: {longest:?}");
        for pair in stream.packets.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1, "no gap in the numbers, even over a pause");
        }
    }
}

#[test]
fn phones_of_every_codec_hear_a_talker_of_the_group_and_only_him() {
    let codecs = [Codec::Opus, Codec::Pcmu, Codec::Pcma];
    let mut world = World::with_phones(&codecs);
    let talker = world.talker("bob", 440.0);
    world.run(4 * SECOND);
    assert!(world.web[talker].publishing);
    assert_eq!(world.room.report().streams, 1);
    for number in 1..=3 {
        let share = world.phone(number).ears.share(440.0);
        assert!(share > 0.95, "phone {number}: {share}");
    }
    let first = world.phone(1).heard[0].clone();
    assert!(first.marker && first.sequence < 0x8000);
    let heard = &world.phone(1).heard;
    for pair in heard.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(960));
        assert!(!pair[1].marker && pair[1].ssrc == pair[0].ssrc);
    }
}

#[test]
fn the_first_word_of_a_talker_is_not_lost() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.talker("bob", 440.0);
    world.run(500 * MS);
    let packets = world.room.hearing.received();
    let sent = world.web[1].sent();
    assert_eq!(packets, sent, "each packet that was sent reached the jitter buffer");
}

#[test]
fn two_phones_hear_each_other_and_not_themselves() {
    for codecs in [[Codec::Opus, Codec::Opus], [Codec::Pcmu, Codec::Pcma], [Codec::Opus, Codec::Pcmu]] {
        let mut world = World::with_phones(&codecs);
        world.phone(1).says(300.0);
        world.phone(2).says(700.0);
        world.run(4 * SECOND);
        let shares = |world: &mut World, number: u32| {
            let ears = &world.phone(number).ears;
            (ears.share(300.0), ears.share(700.0))
        };
        let (first, second) = (shares(&mut world, 1), shares(&mut world, 2));
        assert!(first.1 > 0.9 && first.0 < 0.01, "{codecs:?}, the first phone hears {first:?}");
        assert!(second.0 > 0.9 && second.1 < 0.01, "{codecs:?}, the second phone hears {second:?}");
        assert!(world.stream(1).ears.share(300.0) > 0.9, "the group hears each from its own participant");
        assert!(world.stream(2).ears.share(700.0) > 0.9);
    }
}

#[test]
fn a_phone_never_hears_itself_while_others_talk_and_while_it_falls_silent() {
    for codec in [Codec::Opus, Codec::Pcmu] {
        let mut world = World::with_phones(&[codec, Codec::Opus]);
        world.talker("bob", 1100.0);
        world.phone(1).says(300.0);
        world.phone(2).says(700.0);
        world.run(4 * SECOND);
        let own = |world: &mut World| world.phone(1).ears.share(300.0);
        assert!(own(&mut world) < 0.01);
        for _ in 0..10 {
            world.phone(1).says(0.0);
            world.run(SECOND);
            assert!(own(&mut world) < 0.01, "silent");
            world.phone(1).says(300.0);
            world.run(SECOND);
            assert!(own(&mut world) < 0.01, "talking again");
        }
        let ears = &world.phone(1).ears;
        assert!(ears.share(700.0) > 0.4 && ears.share(1100.0) > 0.4);
    }
}

#[test]
fn a_phone_hears_nothing_of_itself_when_a_tick_is_late() {
    let mut world = World::with_phones(&[Codec::Pcmu, Codec::Pcmu]);
    world.phone(1).says(300.0);
    world.run(2 * SECOND);
    world.phone(1).says(0.0);
    let before = world.phone(1).ears.sound.len();
    for _ in 0..50 {
        // the room is woken up to 60 ms late
        world.everybody_speaks();
        world.now += 20 * MS;
        if world.now.duration_since(world.start).as_millis() % 60 < 20 {
            world.room.handle_timeout(world.now);
        }
        world.settle();
    }
    let sound = &world.phone(1).ears.sound[before..];
    let level = galene_sips_lab::measure::level_dbfs(sound);
    assert!(level < -60.0, "{level}");
}

#[test]
fn streams_of_our_own_phones_are_refused_by_the_listening_client() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Pcmu]);
    assert!(world.listener_refuses(1) && world.listener_refuses(2));
    assert_eq!(world.room.report().streams, 0);
    // of anybody else the same offer is taken
    world.sources.insert(ConnectionId::Phone(CallNumber(3)), "somebody".to_owned());
    assert!(!world.listener_refuses(3));
}

#[test]
fn our_own_phones_are_refused_after_either_client_came_back() {
    let mut world = World::with_phones(&[Codec::Opus]);
    for connection in [ConnectionId::Listener, ConnectionId::Phone(CallNumber(1))] {
        world.connected.remove(&connection);
        world.room.websocket_failed(world.now, connection, "broken", false);
        world.run(3 * SECOND);
        assert!(world.listener_refuses(1), "{connection:?}");
    }
}

#[test]
fn twenty_silent_phones_with_one_codec_hear_one_encoding() {
    let mut world = World::with_phones(&[Codec::Opus; 20]);
    world.talker("bob", 440.0);
    for number in 1..=20 {
        world.phone(number).heard.clear();
    }
    let before = world.room.hearing.encodings();
    world.run(2 * SECOND);
    assert_eq!(world.room.hearing.encodings() - before, 100, "one a tick");
    let payloads = |world: &mut World, number: u32| -> Vec<Vec<u8>> {
        world.phone(number).heard.iter().map(|packet| packet.payload.clone()).collect()
    };
    let first = payloads(&mut world, 1);
    assert_eq!(first.len(), 100);
    for number in 2..=20 {
        assert_eq!(payloads(&mut world, number), first, "phone {number}");
    }
    assert!(world.phone(20).ears.share(440.0) > 0.95);
}

#[test]
fn a_talker_who_leaves_is_forgotten() {
    let mut world = World::with_phones(&[Codec::Opus]);
    let talker = world.talker("bob", 440.0);
    world.run(2 * SECOND);
    assert_eq!(world.room.report().streams, 1);
    world.web[talker].client.unpublish(world.now);
    world.run(2 * SECOND);
    assert_eq!(world.room.report().streams, 0);
    assert!(world.phone(1).ears.level() < -60.0);
}
