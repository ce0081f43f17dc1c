//! Calls of real phones, packet by packet: each opens, makes sense, and sealing it again gives the same bytes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod proof;

use base64::{Engine, engine::general_purpose::STANDARD};
use galene_sips::secret::Secret;
use galene_sips::srtp::rtcp::{self, Packet};
use galene_sips::srtp::{Datagram, MasterKey, Protector, Reception, Rejected, RtpHeader, RtpOut, Suite, Unprotector};
use proof::proof;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const CM_128: &[u8] = include_bytes!("data/srtp/linphone-aes-cm-128.pcap");
const CM_256: &[u8] = include_bytes!("data/srtp/linphone-aes-cm-256.pcap");

#[test]
fn the_caller_with_aes_128_is_understood() {
    let key = "soPdi64GEGl16hi9qhelX39L0fnbeose/lEg1DWE";
    check(CM_128, 23786, Suite::AesCm128HmacSha1_80, key, Found { rtp: 153, repeated: 2, reports: 1 });
}

#[test]
fn the_callee_with_aes_128_is_understood() {
    let key = "yTrz/udbfA8rlYZQTd2uRe9mXXw1XLySPX3OUAUc";
    check(CM_128, 21134, Suite::AesCm128HmacSha1_80, key, Found { rtp: 153, repeated: 0, reports: 2 });
}

#[test]
fn the_caller_with_aes_256_is_understood() {
    let key = "YEbvz1wfJo8QDDfc9Vj+q6S9gtd+ZEEdKykpZr8u4LrjYumtL3zVy57ZBBLzYg==";
    check(CM_256, 23784, Suite::Aes256CmHmacSha1_80, key, Found { rtp: 151, repeated: 0, reports: 1 });
}

#[test]
fn the_callee_with_aes_256_is_understood() {
    let key = "Pz5cUy3pte6VcXHA+e9KcO/yG9jVeEiUptUOyxOQJnkNWGXxZoC91PcFA/UFvA==";
    check(CM_256, 21126, Suite::Aes256CmHmacSha1_80, key, Found { rtp: 152, repeated: 0, reports: 2 });
}

/// What one direction of a recorded call holds.
#[derive(PartialEq, Eq, Default, Debug)]
struct Found {
    rtp: usize,
    /// Packets sent again as they are: Linphone does so with the end of a DTMF digit (RFC 4733 §2.5.1.4).
    repeated: usize,
    reports: usize,
}

/// Opens what comes from `port` and, for RTCP, from the next one.
fn check(pcap: &[u8], port: u16, suite: Suite, inline: &str, expected: Found) {
    let key = MasterKey::new(suite, Secret::new(STANDARD.decode(inline).unwrap())).unwrap();
    let mut receiver = Unprotector::new(&proof(), &key).unwrap();
    let mut sender = Protector::new(&proof(), &key).unwrap();
    let mut reception: Option<Reception> = None;
    let mut seen = HashSet::new();
    let mut found = Found::default();
    let start = Instant::now();
    for (time, from, wire) in datagrams(pcap) {
        let mut buffer = wire.to_vec();
        match Datagram::of(wire) {
            Some(Datagram::Rtp) if from == port => {
                let opened = match receiver.rtp(&mut buffer) {
                    Ok(opened) => opened,
                    Err(Rejected::Replayed) if seen.contains(wire) => {
                        found.repeated += 1;
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                };
                seen.insert(wire);
                found.rtp += 1;
                let RtpHeader { marker, payload_type, sequence, timestamp, ssrc, .. } = opened.header;
                assert!([96, 99].contains(&payload_type), "Opus or telephone-event");
                let again = RtpOut { payload_type, marker, sequence, timestamp, ssrc, payload: opened.payload };
                assert_eq!(sender.rtp(&again).unwrap().as_bytes(), wire);
                match &mut reception {
                    Some(reception) => reception.packet(start + time, opened.index, timestamp),
                    None => reception = Some(Reception::new(start + time, ssrc, 48_000, opened.index, timestamp)),
                }
            }
            Some(Datagram::Rtcp) if from == port + 1 => {
                let packets: Vec<_> = rtcp::parse(receiver.rtcp(&mut buffer).unwrap()).unwrap().collect();
                let [Packet::SenderReport(ssrc, sent, _), Packet::Cname(who, name), Packet::Other(207)] = packets[..]
                else {
                    panic!("{packets:?}");
                };
                assert_eq!((ssrc, who), (reception.as_ref().unwrap().ssrc(), ssrc));
                assert!(name == b"sip:alice@localhost" || name == b"sip:bob@localhost");
                assert_eq!(sent.packets as usize, found.rtp + found.repeated);
                found.reports += 1;
            }
            _ => {}
        }
    }
    assert_eq!(found, expected);
    let reception = reception.unwrap();
    assert_eq!((reception.received(), reception.lost()), (found.rtp as u64, 0));
    assert!(reception.jitter() < Duration::from_millis(1), "on one machine: {:?}", reception.jitter());
}

/// The UDP datagrams of a classic little-endian pcap file of Ethernet and IPv4: time, source port, payload.
fn datagrams(pcap: &[u8]) -> Vec<(Duration, u16, &[u8])> {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!((word(pcap), word(&pcap[20..])), (0xa1b2_c3d4, 1));
    let (mut rest, mut found) = (&pcap[24..], Vec::new());
    while !rest.is_empty() {
        let time = Duration::new(u64::from(word(rest)), word(&rest[4..]) * 1000);
        let (frame, after) = rest[16..].split_at(word(&rest[8..]) as usize);
        assert_eq!((&frame[12..14], frame[14], frame[23]), (&[8, 0][..], 0x45, 17), "IPv4 without options, UDP");
        let port = u16::from_be_bytes([frame[34], frame[35]]);
        let len = usize::from(u16::from_be_bytes([frame[38], frame[39]]));
        found.push((time, port, &frame[42..34 + len]));
        rest = after;
    }
    found
}
