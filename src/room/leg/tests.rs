//! One phone's sound in virtual time: what its packets do, and what packets of others do not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod clear;

use super::*;
use crate::audio::Language;
use crate::galene::Credentials;
use crate::policy::{KeyFacts, KeyingMethod, MayKey, MediaLevel, Rules, SignallingLevel, SuiteStrength, judge};
use crate::secret::Secret;
use crate::srtp::{MasterKey, Suite};

const CALL: CallNumber = CallNumber(7);
const SUITE: Suite = Suite::AesCm128HmacSha1_80;
const PAYLOAD_TYPE: u8 = 96;

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(5).wrapping_add(113);
            *byte = self.0;
        }
    }
}

fn may_key() -> MayKey {
    let facts = KeyFacts {
        call: CALL,
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: SuiteStrength::Full,
        current: None,
    };
    judge(&Rules::strict("conference@example.org"), &facts).allowed().unwrap()
}

fn key(byte: u8) -> MasterKey {
    MasterKey::new(SUITE, Secret::new(vec![byte; 30])).unwrap()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// The gateway's leg, and the phone's own SRTP contexts.
struct World {
    now: Instant,
    leg: Leg,
    hearing: Hearing,
    phone_out: Protector,
    phone_in: Unprotector,
    sequence: u16,
}

impl World {
    fn new(codec: Codec) -> World {
        let now = Instant::now();
        let config = RoomConfig {
            credentials: Credentials::Token(Secret::from("token")),
            robot_name: "robot".to_owned(),
            clock: WallClock { at: now, since_1970: Duration::from_secs(1_800_000_000) },
            language: Language::English,
        };
        let setup = LegSetup {
            call: CALL,
            participant: "☎ x #7".to_owned(),
            codec: PhoneCodec { codec, payload_type: PAYLOAD_TYPE },
            ssrc: Ssrc(0x0101_0101),
            keys: LegKeys::Agreed {
                protector: Box::new(Protector::new(&may_key(), &key(1)).unwrap()),
                unprotector: Box::new(Unprotector::new(&may_key(), &key(2)).unwrap()),
            },
            remote: RemoteMedia { rtp: Some(address(4000)), rtcp: Some(address(4001)), rtcp_mux: false },
            direction: TALKING,
            warning: None,
        };
        let link = Link::speaker(now, &config, CALL, &setup.participant);
        let mut leg = Leg::new(now, setup, link, &config, &mut Counting(1));
        leg.answered = true;
        leg.start(now);
        World {
            now,
            leg,
            hearing: Hearing::default(),
            phone_out: Protector::new(&may_key(), &key(2)).unwrap(),
            phone_in: Unprotector::new(&may_key(), &key(1)).unwrap(),
            sequence: 100,
        }
    }

    fn sealed_rtp(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let packet = RtpOut {
            payload_type: PAYLOAD_TYPE,
            marker: false,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 960,
            ssrc: Ssrc(9),
            payload: &[0xd5; 160],
        };
        self.phone_out.rtp(&packet).unwrap().as_bytes().to_vec()
    }

    fn sealed_rtcp(&mut self) -> Vec<u8> {
        let report = Compound { ssrc: Ssrc(9), sender: None, blocks: &[], cname: "phone", goodbye: false };
        self.phone_out.rtcp(&report.to_bytes()).unwrap().as_bytes().to_vec()
    }

    fn receive(&mut self, channel: Channel, from: u16, mut packet: Vec<u8>) {
        self.leg.phone_packet(self.now, channel, address(from), &mut packet);
    }

    fn after(&mut self, time: Duration) -> Option<EndReason> {
        self.now += time;
        match self.leg.check_patience(self.now)? {
            LegEvent::Ended(reason) => Some(reason),
            LegEvent::Zrtp(..) | LegEvent::Proved => panic!("that has nothing to do with patience"),
        }
    }

    /// One tick of sound to the phone; what left, and for where.
    fn tick(&mut self) -> Vec<(Channel, SocketAddr, Vec<u8>)> {
        self.now += Duration::from_millis(20);
        self.leg.listen(self.now, self.now, &mut self.hearing);
        self.leg.packets.drain(..).map(|(channel, to, packet)| (channel, to, packet.as_bytes().to_vec())).collect()
    }
}

const TALKING: Direction = Direction { from_phone: true, to_phone: true };
const ON_HOLD: Direction = Direction { from_phone: true, to_phone: false };
const INACTIVE: Direction = Direction { from_phone: false, to_phone: false };

#[test]
fn thirty_seconds_without_an_authentic_packet_end_a_call() {
    let mut world = World::new(Codec::Opus);
    assert_eq!(world.after(Duration::from_secs(29)), None);
    let packet = world.sealed_rtp();
    world.receive(Channel::Rtp, 4000, packet);
    assert_eq!(world.after(Duration::from_secs(29)), None, "a packet of sound keeps it");
    let report = world.sealed_rtcp();
    world.receive(Channel::Rtcp, 4001, report);
    assert_eq!(world.after(Duration::from_secs(29)), None, "a report alone keeps it");
    assert_eq!(world.after(Duration::from_secs(1)), Some(EndReason::MediaTimeout));
}

#[test]
fn nothing_forged_replayed_or_broken_keeps_a_call_or_moves_it() {
    let mut world = World::new(Codec::Opus);
    let genuine = world.sealed_rtp();
    let report = world.sealed_rtcp();
    world.receive(Channel::Rtp, 4000, genuine.clone());
    world.receive(Channel::Rtcp, 4001, report.clone());
    world.now += Duration::from_secs(29);
    for (channel, packet) in [(Channel::Rtp, genuine), (Channel::Rtcp, report)] {
        world.receive(channel, 6666, packet.clone()); // a replay
        for length in 0..packet.len() {
            world.receive(channel, 6666, packet[..length].to_vec());
        }
        for at in 0..packet.len() {
            let mut forged = packet.clone();
            forged[at] ^= 0x10;
            world.receive(channel, 6666, forged);
        }
    }
    let report = world.leg.report();
    assert_eq!(report.received, 1);
    assert!(report.auth_failures > 100, "they are counted: {}", report.auth_failures);
    assert_eq!(world.tick()[0].1, address(4000), "sound still goes to the phone");
    assert_eq!(world.leg.remote.rtcp, Some(address(4001)), "and so do reports");
    assert_eq!(world.after(Duration::from_secs(1)), Some(EndReason::MediaTimeout));
}

#[test]
fn an_authentic_packet_from_elsewhere_moves_the_phone() {
    let mut world = World::new(Codec::Opus);
    let (packet, report) = (world.sealed_rtp(), world.sealed_rtcp());
    world.receive(Channel::Rtp, 5000, packet);
    world.receive(Channel::Rtcp, 5001, report);
    assert_eq!(world.tick()[0].1, address(5000));
    assert_eq!(world.leg.remote.rtcp, Some(address(5001)));
}

#[test]
fn packets_of_the_other_kind_on_a_socket_are_not_looked_at() {
    let mut world = World::new(Codec::Opus);
    let (packet, report) = (world.sealed_rtp(), world.sealed_rtcp());
    world.receive(Channel::Rtcp, 5000, packet);
    world.receive(Channel::Rtp, 5001, report);
    assert_eq!(world.leg.report().received, 0);
    assert_eq!((world.leg.remote.rtp, world.leg.remote.rtcp), (Some(address(4000)), Some(address(4001))));
}

#[test]
fn a_held_call_lives_half_an_hour_in_silence_and_a_resumed_one_thirty_seconds() {
    for held in [ON_HOLD, INACTIVE] {
        let mut world = World::new(Codec::Pcmu);
        let remote = world.leg.remote;
        world.leg.update(world.now, held, remote);
        assert_eq!(world.after(Duration::from_secs(29 * 60)), None);
        world.leg.update(world.now, TALKING, remote);
        assert_eq!(world.after(Duration::from_secs(29)), None);
        assert_eq!(world.after(Duration::from_secs(1)), Some(EndReason::MediaTimeout));
    }
    let mut world = World::new(Codec::Pcmu);
    world.leg.update(world.now, INACTIVE, world.leg.remote);
    assert_eq!(world.after(Duration::from_secs(30 * 60)), Some(EndReason::MediaTimeout));
}

#[test]
fn a_held_phone_gets_no_sound_and_its_music_is_not_heard() {
    let mut world = World::new(Codec::Pcma);
    assert_eq!(world.tick().len(), 1);
    world.leg.update(world.now, ON_HOLD, world.leg.remote);
    assert!(!world.leg.is_heard());
    assert!((0..50).all(|_| world.tick().is_empty()));
    world.leg.update(world.now, TALKING, world.leg.remote);
    let (_, _, mut packet) = world.tick().remove(0);
    let opened = world.phone_in.rtp(&mut packet).unwrap();
    assert!(opened.header.marker, "sound begins anew after a pause (RFC 3551 §4.1)");
    assert_eq!(opened.payload.len(), 160);
}

#[test]
fn sound_to_the_phone_is_numbered_without_gaps_and_starts_low() {
    let mut world = World::new(Codec::Pcmu);
    let mut numbers = Vec::new();
    for _ in 0..10 {
        for (_, _, mut packet) in world.tick() {
            let opened = world.phone_in.rtp(&mut packet).unwrap();
            assert_eq!(opened.header.payload_type, PAYLOAD_TYPE);
            numbers.push((opened.index, opened.header.timestamp));
        }
    }
    assert!(numbers[0].0 < 0x8000, "the upper half could hide the first wrap (RFC 3711 §3.3.1)");
    assert!(numbers.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 && pair[1].1 == pair[0].1.wrapping_add(160)));
}

#[test]
fn new_keys_begin_a_new_stream() {
    let mut world = World::new(Codec::Pcmu);
    world.tick();
    let before = world.leg.stream.ssrc;
    world.leg.stream.sequence = 0xfff0;
    let new =
        |byte| (Protector::new(&may_key(), &key(byte)).unwrap(), Unprotector::new(&may_key(), &key(byte)).unwrap());
    let (protector, unprotector) = (new(3).0, new(4).1);
    world.leg.rekey(MediaLevel::Srtp, protector, unprotector);
    let (_, _, mut packet) = world.tick().remove(0);
    let opened = new(3).1.rtp(&mut packet).map(|packet| (packet.header, packet.index)).unwrap();
    assert_ne!(opened.0.ssrc, before);
    assert!(opened.1 < 0x8000);
}

#[test]
fn reports_leave_every_few_seconds_and_a_last_one_says_goodbye() {
    let mut world = World::new(Codec::Pcmu);
    let packet = world.sealed_rtp();
    world.receive(Channel::Rtp, 4000, packet);
    let mut reports = Vec::new();
    for _ in 0..50 * 60 {
        reports.extend(world.tick().into_iter().filter(|(channel, ..)| *channel == Channel::Rtcp));
    }
    assert!((8..=24).contains(&reports.len()), "{} reports in a minute (RFC 3550 §6.2)", reports.len());
    let (_, to, mut first) = reports.remove(0);
    assert_eq!(to, address(4001));
    let compound = world.phone_in.rtcp(&mut first).unwrap();
    let Some(Packet::SenderReport(_, sender, blocks)) = rtcp::parse(compound).unwrap().next() else { panic!("no SR") };
    assert!(sender.packets > 100);
    assert_eq!(blocks.iter().next().unwrap().ssrc, Ssrc(9));

    world.leg.goodbye(world.now);
    let (_, _, mut last) =
        world.leg.packets.pop_back().map(|(c, to, packet)| (c, to, packet.as_bytes().to_vec())).unwrap();
    let compound = world.phone_in.rtcp(&mut last).unwrap();
    assert!(rtcp::parse(compound).unwrap().any(|packet| matches!(packet, Packet::Goodbye(_))));
}

#[test]
fn a_forwarded_stream_begins_low_and_keeps_its_gaps_and_order() {
    let (mut uplink, now) = (Uplink::default(), Instant::now());
    let place = |uplink: &mut Uplink, index: u64| {
        uplink.forward(now, index, index as u32 * 960, false).map(|(number, _, _)| number)
    };
    assert_eq!(place(&mut uplink, 65_000), Some(0));
    assert_eq!(place(&mut uplink, 65_003), Some(3), "two are lost");
    assert_eq!(place(&mut uplink, 65_002), Some(2), "one of them was only late");
    assert_eq!(place(&mut uplink, 64_999), None, "from before the beginning");
    uplink.pause();
    assert_eq!(place(&mut uplink, 5), Some(4), "another source goes on");
    assert_eq!(place(&mut uplink, 4), None, "and does not reach back into what was before");
    uplink.restart();
    assert_eq!(place(&mut uplink, 70_000), Some(0));
}
