//! RTCP (RFC 3550 §6).

use super::*;
use crate::srtp::rtcp::{Compound, Packet, ReportBlock, SenderInfo, parse};
use crate::units::Ssrc;

/// What our reports said: sender's part, blocks, whether there was a BYE.
struct Said {
    at: Instant,
    ssrc: Ssrc,
    sender: Option<SenderInfo>,
    blocks: Vec<ReportBlock>,
    cname: Vec<u8>,
    goodbye: bool,
}

fn reports(world: &World) -> Vec<Said> {
    let read = |(at, channel, compound): &(Instant, Channel, Vec<u8>)| {
        assert_eq!(*channel, Channel::Rtcp);
        let mut said = Said { at: *at, ssrc: Ssrc(0), sender: None, blocks: vec![], cname: vec![], goodbye: false };
        for (place, packet) in parse(compound).unwrap().enumerate() {
            match packet {
                Packet::SenderReport(ssrc, info, blocks) => {
                    assert_eq!(place, 0, "the report comes first");
                    (said.ssrc, said.sender, said.blocks) = (ssrc, Some(info), blocks.iter().collect());
                }
                Packet::ReceiverReport(ssrc, blocks) => {
                    assert_eq!(place, 0, "the report comes first");
                    (said.ssrc, said.blocks) = (ssrc, blocks.iter().collect());
                }
                Packet::Cname(ssrc, cname) => {
                    assert_eq!(ssrc, said.ssrc);
                    said.cname = cname.to_vec();
                }
                Packet::Goodbye(sources) => {
                    assert_eq!(sources.iter().collect::<Vec<_>>(), [said.ssrc]);
                    said.goodbye = true;
                }
                Packet::Other(kind) => panic!("{kind}"),
            }
        }
        said
    };
    world.phones[&CallNumber(1)].reports.iter().map(read).collect()
}

#[test]
fn a_report_is_sent_about_every_five_seconds() {
    let mut world = World::with_phones(&[Codec::Opus]);
    world.run(200 * SECOND);
    let reports = reports(&world);
    assert!((30..=52).contains(&reports.len()), "{}", reports.len());
    let waits: Vec<Duration> = reports.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect();
    assert!(waits.iter().all(|wait| *wait >= 2500 * MS && *wait <= 7520 * MS), "{waits:?}");
    assert!(waits.iter().collect::<BTreeSet<_>>().len() > 10, "spread, so that they do not fall into step");
    assert!(reports.iter().all(|report| report.cname == reports[0].cname && report.cname.len() == 24));
    assert!(reports.iter().all(|report| !report.goodbye));
}

#[test]
fn our_sender_reports_say_what_we_sent() {
    let mut world = World::with_phones(&[Codec::Pcmu]);
    world.run(60 * SECOND);
    let reports = reports(&world);
    let heard = &world.phones[&CallNumber(1)].heard;
    let (first, last) = (&reports[0], reports.last().unwrap());
    let (before, after) = (first.sender.unwrap(), last.sender.unwrap());
    let passed = last.at.duration_since(first.at);
    assert_eq!(after.octets, after.packets * 160);
    assert_eq!(u128::from(after.packets - before.packets), passed.as_millis() / 20);
    assert_eq!(u128::from(after.rtp_timestamp.wrapping_sub(before.rtp_timestamp)), passed.as_millis() * 8);
    let ntp = (after.ntp - before.ntp) as f64 / f64::from(u32::MAX);
    assert!((ntp - passed.as_secs_f64()).abs() < 0.001, "{ntp}");
    assert_eq!(after.ntp >> 32, 2_208_988_800 + 1_000_000_000 + last.at.duration_since(world.start).as_secs());
    assert_eq!(last.ssrc, heard[0].ssrc);
    assert!(heard.iter().any(|packet| packet.timestamp == after.rtp_timestamp), "on the stream's own clock");
}

#[test]
fn our_reports_say_what_we_received() {
    let mut world = World::with_phones(&[Codec::Pcmu]);
    world.phone(1).goes_dark();
    let lost_of_50 = 10;
    let (rtp, rtcp) = (world.phone(1).rtp, world.phone(1).rtcp);
    world.run(8 * SECOND);
    for n in 0..50 {
        let packet = world.phone(1).packet(&[0xff; 160]);
        if n < 50 - lost_of_50 - 1 || n == 49 {
            world.arrives(1, Channel::Rtp, rtp, &packet);
        }
        world.run(20 * MS);
    }
    let phone = world.phone(1);
    let info = SenderInfo { ntp: 0x1234_5678_9abc_def0, rtp_timestamp: 1, packets: 1, octets: 1 };
    let compound = Compound { ssrc: phone.ssrc, sender: Some(info), blocks: &[], cname: "phone", goodbye: false };
    let report = phone.protector.rtcp(&compound.to_bytes()).unwrap().as_bytes().to_vec();
    let (ssrc, sequence) = (phone.ssrc, phone.sequence.wrapping_sub(1));
    world.arrives(1, Channel::Rtcp, rtcp, &report);
    let (came, count) = (world.now, reports(&world).len());
    world.run(8 * SECOND);
    let reports = reports(&world);
    let said = &reports[count];
    let [block] = said.blocks[..] else { panic!("one block") };
    assert_eq!((block.ssrc, block.highest_sequence & 0xffff), (ssrc, u32::from(sequence)));
    assert_eq!(block.cumulative_lost, lost_of_50);
    assert!(block.fraction_lost > 0);
    assert_eq!(block.last_sr, 0x5678_9abc);
    let delay = f64::from(block.delay_since_last_sr) / 65_536.0;
    assert!((delay - said.at.duration_since(came).as_secs_f64()).abs() < 0.01);
    assert_eq!(world.leg(1).lost, 10);
    let later = &reports[count + 1..];
    assert!(later.iter().all(|said| said.blocks[0].fraction_lost == 0), "each loss is reported as news once");
}

#[test]
fn a_phone_that_holds_gets_receiver_reports() {
    let mut world = World::with_phones(&[Codec::Opus]);
    let remote = RemoteMedia { rtp: None, rtcp: None, rtcp_mux: false };
    world.run(10 * SECOND);
    world.room.update(world.now, CallNumber(1), Direction { from_phone: true, to_phone: false }, remote);
    let count = reports(&world).len();
    world.run(30 * SECOND);
    let reports = reports(&world);
    assert!(reports.len() > count + 3);
    assert!(reports[count + 1..].iter().all(|said| said.sender.is_none()), "nothing was sent since the last one");
    assert!(reports[..count].iter().all(|said| said.sender.is_some()));
}

#[test]
fn the_last_packet_says_goodbye_whoever_ends_the_call() {
    let ends: [fn(&mut World); 3] = [
        |world| world.room.leave(world.now, CallNumber(1)),
        |world| {
            let kick = json!({"type": "usermessage", "kind": "kicked", "privileged": true, "value": ""});
            world.server(Member::Ours(ConnectionId::Phone(CallNumber(1))), kick);
        },
        |world| {
            world.phone(1).goes_dark();
            world.run(31 * SECOND);
        },
    ];
    for end in ends {
        let mut world = World::with_phones(&[Codec::Opus]);
        world.run(SECOND);
        end(&mut world);
        world.settle();
        let reports = reports(&world);
        assert!(reports.last().unwrap().goodbye);
        assert_eq!(reports.iter().filter(|said| said.goodbye).count(), 1);
    }
}
