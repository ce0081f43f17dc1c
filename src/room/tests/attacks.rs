//! Packets of strangers: whoever has no key changes nothing.

use super::*;

const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 66)), 6666);

/// What a packet that counts would change.
fn state(world: &World) -> (u64, Option<Instant>, usize, usize) {
    let leg = &world.room.legs[&CallNumber(1)];
    (world.leg(1).received, leg.patience_ends(), world.stream(1).packets.len(), world.events.len())
}

/// One phone in the call that sends nothing any more.
fn quiet_call() -> World {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.phone(1).goes_dark();
    world.run(SECOND);
    world
}

/// Each bit of the header and some of the rest flipped, and each length.
fn spoiled(packet: &[u8]) -> Vec<Vec<u8>> {
    let flipped = (0..packet.len() * 8).filter(|bit| bit / 8 < 16 || bit % 8 == bit / 8 % 8).map(|bit| {
        let mut copy = packet.to_vec();
        copy[bit / 8] ^= 1 << (bit % 8);
        copy
    });
    let cut = (0..packet.len()).map(|len| packet[..len].to_vec());
    let longer = std::iter::once([packet, &[0]].concat());
    flipped.chain(cut).chain(longer).collect()
}

/// The sound of the next second goes where the phone is.
fn sound_goes_to_the_phone(world: &mut World) {
    let (heard, astray) = (world.phone(1).heard.len(), world.phone(1).astray);
    world.run(SECOND);
    assert_eq!(world.phone(1).astray, astray, "nothing goes anywhere else");
    assert_eq!(world.phone(1).heard.len(), heard + 50);
}

#[test]
fn forged_and_truncated_rtp_changes_nothing() {
    let mut world = quiet_call();
    let packet = world.phone(1).packet(&[0x48; 40]);
    let before = state(&world);
    for forged in spoiled(&packet) {
        for from in [world.phones[&CallNumber(1)].rtp, STRANGER] {
            world.arrives(1, Channel::Rtp, from, &forged);
        }
    }
    assert_eq!(state(&world), before);
    assert!(world.leg(1).auth_failures > 100);
    sound_goes_to_the_phone(&mut world);
    world.arrives(1, Channel::Rtp, world.phones[&CallNumber(1)].rtp, &packet);
    assert_eq!(state(&world).0, before.0 + 1, "the packet itself is still good");
}

#[test]
fn forged_and_truncated_rtcp_changes_nothing() {
    let mut world = quiet_call();
    let report = world.phone(1).report();
    let before = state(&world);
    for forged in spoiled(&report) {
        for from in [world.phones[&CallNumber(1)].rtcp, STRANGER] {
            world.arrives(1, Channel::Rtcp, from, &forged);
        }
    }
    assert_eq!(state(&world), before);
    world.run(20 * SECOND);
    assert_eq!(world.phone(1).astray, 0);
    world.arrives(1, Channel::Rtcp, world.phones[&CallNumber(1)].rtcp, &report);
    assert!(state(&world).1 > before.1, "the report itself is still good");
}

#[test]
fn a_replayed_packet_changes_nothing() {
    let mut world = quiet_call();
    let packets: Vec<Vec<u8>> = (0..5).map(|_| world.phone(1).packet(&[0x48; 40])).collect();
    let report = world.phone(1).report();
    let (rtp, rtcp) = (world.phone(1).rtp, world.phone(1).rtcp);
    packets.iter().for_each(|packet| world.arrives(1, Channel::Rtp, rtp, packet));
    world.arrives(1, Channel::Rtcp, rtcp, &report);
    let before = state(&world);
    world.run(SECOND);
    for packet in &packets {
        world.arrives(1, Channel::Rtp, STRANGER, packet);
        world.arrives(1, Channel::Rtp, rtp, packet);
    }
    world.arrives(1, Channel::Rtcp, STRANGER, &report);
    assert_eq!(state(&world), before);
    world.run(10 * SECOND);
    assert_eq!(world.phone(1).astray, 0);
}

#[test]
fn a_packet_of_another_call_or_of_our_own_changes_nothing() {
    let mut world = World::with_phones(&[Codec::Opus, Codec::Opus]);
    world.phone(1).goes_dark();
    world.phone(2).goes_dark();
    world.run(SECOND);
    let before = state(&world);
    let others = world.phone(2).packet(&[0x48; 40]);
    world.arrives(1, Channel::Rtp, STRANGER, &others);
    // what we send to the phone comes back to us
    let (ours, _) = &mut phone::contexts(CallNumber(1), 1)[0];
    let packet = crate::srtp::RtpOut {
        payload_type: 96,
        marker: false,
        sequence: 1,
        timestamp: 1,
        ssrc: crate::units::Ssrc(1),
        payload: &[0x48; 40],
    };
    let reflected = ours.rtp(&packet).unwrap();
    world.arrives(1, Channel::Rtp, STRANGER, reflected.as_bytes());
    assert_eq!(state(&world), before);
}

#[test]
fn clear_rtp_and_rtcp_change_nothing() {
    let mut world = quiet_call();
    let before = state(&world);
    for len in [12, 13, 22, 60, 172, 1500, 2048] {
        let mut rtp = vec![0x48; len];
        rtp[..4].copy_from_slice(&[0x80, 96, 0x9c, 0x45]);
        world.arrives(1, Channel::Rtp, STRANGER, &rtp);
        let mut rtcp = vec![0; len];
        rtcp[..8].copy_from_slice(&[0x80, 201, 0, 1, 0, 0, 1, 1]);
        world.arrives(1, Channel::Rtcp, STRANGER, &rtcp);
    }
    assert_eq!(state(&world), before);
    sound_goes_to_the_phone(&mut world);
}

#[test]
fn what_is_neither_rtp_nor_rtcp_is_not_answered() {
    let mut world = quiet_call();
    let before = state(&world);
    let stun = [&[0u8, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    let dtls = [22u8, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0];
    let zrtp = b"\x10\x00\x12\x34ZRTP\xca\xfe\xba\xbePZ\x00\x03Hello   ";
    for noise in [&stun[..], &dtls, zrtp, b"", b"\0", b"\xff", b"\x80", b"OPTIONS sip:x SIP/2.0\r\n\r\n"] {
        for channel in [Channel::Rtp, Channel::Rtcp] {
            world.room.phone_packet(world.now, CallNumber(1), channel, STRANGER, &mut noise.to_vec());
            assert!(world.room.poll().is_none(), "{noise:?}");
        }
    }
    assert_eq!(state(&world), before);
}

#[test]
fn forged_packets_do_not_keep_a_call_alive() {
    let mut world = quiet_call();
    let packet = world.phone(1).packet(&[0x48; 40]);
    let forged = spoiled(&packet);
    for n in 0..35 {
        forged.iter().for_each(|forged| world.arrives(1, Channel::Rtp, STRANGER, forged));
        world.run(SECOND);
        assert_eq!(world.ended(1).is_some(), n >= 28, "second {n}");
    }
    assert_eq!(world.ended(1), Some(EndReason::MediaTimeout));
}

#[test]
fn an_authenticated_packet_from_a_new_address_moves_the_phone() {
    let mut world = World::with_phones(&[Codec::Opus]);
    let elsewhere = SocketAddr::from(([192, 0, 2, 77], 5004));
    world.phone(1).rtp = elsewhere;
    let packet = world.phone(1).packet(&[0x48; 40]);
    world.arrives(1, Channel::Rtp, elsewhere, &packet);
    sound_goes_to_the_phone(&mut world);
    // RTCP has an address of its own
    world.phone(1).rtcp = SocketAddr::from(([192, 0, 2, 77], 5005));
    let (report, from) = (world.phone(1).report(), world.phones[&CallNumber(1)].rtcp);
    world.arrives(1, Channel::Rtcp, from, &report);
    let reports = world.phone(1).reports.len();
    world.run(10 * SECOND);
    assert!(world.phone(1).reports.len() > reports && world.phone(1).astray == 0);
}

#[test]
fn rtp_at_the_port_of_rtcp_and_the_other_way_round_is_ignored() {
    let mut world = quiet_call();
    let before = state(&world);
    let (packet, report) = (world.phone(1).packet(&[0x48; 40]), world.phone(1).report());
    world.arrives(1, Channel::Rtcp, STRANGER, &packet);
    world.arrives(1, Channel::Rtp, STRANGER, &report);
    assert_eq!(state(&world), before);
    world.run(10 * SECOND);
    assert_eq!(world.phone(1).astray, 0);
}

#[test]
fn with_rtcp_mux_reports_go_and_come_on_the_port_of_rtp() {
    let mut world = World::new();
    let (mut phone, mut setup) = Phone::new(1, Codec::Opus);
    setup.remote = RemoteMedia { rtp: Some(phone.rtp), rtcp: Some(phone.rtp), rtcp_mux: true };
    phone.goes_dark();
    world.phones.insert(CallNumber(1), phone);
    world.room.join(world.now, setup);
    world.run(10 * SECOND);
    let before = world.room.legs[&CallNumber(1)].patience_ends();
    let report = world.phone(1).report();
    world.phone(1).rtp = SocketAddr::from(([192, 0, 2, 77], 5004));
    world.arrives(1, Channel::Rtp, world.phones[&CallNumber(1)].rtp, &report);
    assert!(world.room.legs[&CallNumber(1)].patience_ends() > before);
    world.run(10 * SECOND);
    let phone = world.phone(1);
    assert!(phone.reports.len() >= 2 && phone.reports.iter().all(|(_, channel, _)| *channel == Channel::Rtp));
    assert_eq!(phone.astray, 0, "the address of both has moved");
}
