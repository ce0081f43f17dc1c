//! A clear leg: the address of the session description is all that it knows, and packets prove nothing.

use super::*;
use crate::policy::testing::may_be_clear;
use crate::srtp::{ClearReceiver, ClearSender};

fn world(codec: Codec) -> World {
    let mut world = World::new(codec);
    let keys = LegKeys::Clear(ClearSender::new(&may_be_clear()), Box::new(ClearReceiver::new(&may_be_clear())));
    world.leg.contexts = Contexts::new(world.now, keys);
    world
}

fn packet(sequence: u16) -> Vec<u8> {
    let out = RtpOut {
        payload_type: PAYLOAD_TYPE,
        marker: false,
        sequence,
        timestamp: u32::from(sequence) * 960,
        ssrc: Ssrc(9),
        payload: &[0xd5; 160],
    };
    ClearSender::new(&may_be_clear()).rtp(&out).unwrap().as_bytes().to_vec()
}

fn report() -> Vec<u8> {
    Compound { ssrc: Ssrc(9), sender: None, blocks: &[], cname: "phone", goodbye: false }.to_bytes()
}

#[test]
fn sound_goes_out_in_clear_and_to_the_described_address() {
    let mut world = world(Codec::Pcmu);
    let (_, to, sent) = world.tick().remove(0);
    assert_eq!((to, sent.len()), (address(4000), 12 + 160));
    assert_eq!(sent[1] & 0x7f, PAYLOAD_TYPE);
}

#[test]
fn a_packet_counts_only_from_the_described_address_and_moves_nothing() {
    let mut world = world(Codec::Pcmu);
    world.receive(Channel::Rtp, 4000, packet(1));
    world.receive(Channel::Rtcp, 4001, report());
    assert_eq!((world.leg.report().received, world.leg.report().auth_failures), (1, 0));

    world.now += Duration::from_secs(29);
    world.receive(Channel::Rtp, 6666, packet(2));
    world.receive(Channel::Rtcp, 6667, report());
    world.receive(Channel::Rtcp, 4000, report());
    assert_eq!((world.leg.report().received, world.leg.report().auth_failures), (1, 3), "counted, not heard");
    assert_eq!((world.leg.remote.rtp, world.leg.remote.rtcp), (Some(address(4000)), Some(address(4001))));
    assert_eq!(world.tick()[0].1, address(4000), "sound still goes to the phone");
    assert_eq!(world.after(Duration::from_secs(1)), Some(EndReason::MediaTimeout), "and they keep no call");
}

#[test]
fn a_description_that_names_another_address_moves_it() {
    let mut world = world(Codec::Pcmu);
    let remote = RemoteMedia { rtp: Some(address(5000)), rtcp: Some(address(5001)), rtcp_mux: false };
    world.leg.update(world.now, TALKING, remote);
    assert_eq!(world.tick()[0].1, address(5000));
    world.receive(Channel::Rtp, 4000, packet(1));
    world.receive(Channel::Rtp, 5000, packet(2));
    assert_eq!(world.leg.report().received, 1);
}

#[test]
fn new_keys_end_the_clear_sound_in_both_directions() {
    let mut world = world(Codec::Pcmu);
    let protector = Protector::new(&may_key(), &key(1)).unwrap();
    let unprotector = Unprotector::new(&may_key(), &key(2)).unwrap();
    world.leg.rekey(MediaLevel::Srtp, protector, unprotector);
    world.receive(Channel::Rtp, 4000, packet(1));
    assert_eq!(world.leg.report().received, 0, "clear sound is not heard any more");
    let (_, _, mut sent) = world.tick().remove(0);
    assert_eq!(world.phone_in.rtp(&mut sent).unwrap().payload.len(), 160);
}

#[test]
fn no_zrtp_passes_a_clear_leg() {
    let mut world = world(Codec::Opus);
    let from = address(4000);
    let event = world.leg.phone_packet(world.now, Channel::Rtp, from, &mut b"\x10\0\0\x01ZRTP and the rest".to_vec());
    assert!(event.is_none());
}
