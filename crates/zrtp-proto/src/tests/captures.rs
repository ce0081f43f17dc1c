//! Captures of calls between real phones (linphonec 5.1.65): every packet parses, and every hash chain and MAC checks that
//! what is in the capture lets check. H0 is encrypted, so the MACs of the DHParts are out of reach.

use super::{data, unhex};
use crate::chain::continues;
use crate::hash::{image, message_mac_holds};
use crate::message::{self, Message};
use crate::wire::{self, Content};
use std::collections::BTreeMap;

/// What one phone sent in one handshake.
#[derive(Default)]
struct Sent {
    hello: Option<([u8; 32], Vec<u8>)>,
    commit: Option<([u8; 32], Vec<u8>)>,
    h1: Option<[u8; 32]>,
}

#[test]
fn captured_packets_parse_and_their_chains_and_macs_check() {
    let all = data(include_str!("../../tests/data/captures.json"));
    let (mut packets, mut hellos, mut commits, mut chains) = (0, 0, 0, 0);
    for (name, capture) in all.as_object().unwrap() {
        let mut phones: BTreeMap<u32, Sent> = BTreeMap::new();
        for packet in capture.as_array().unwrap() {
            let datagram = unhex(packet["hex"].as_str().unwrap());
            assert!(wire::is_zrtp(&datagram));
            let opened = wire::open(&datagram).unwrap();
            let Content::Message(octets) = opened.content else { panic!("{name}: a fragment") };
            assert_eq!(wire::seal(wire::number16(&datagram[2..4]), opened.ssrc, octets), datagram);
            packets += 1;
            let sent = phones.entry(opened.ssrc).or_default();
            match message::parse(octets).unwrap() {
                Message::Hello(hello) => sent.hello = Some((hello.h3, octets.to_vec())),
                Message::Commit(commit) => sent.commit = Some((commit.h2, octets.to_vec())),
                Message::DhPart1(part) | Message::DhPart2(part) => sent.h1 = Some(part.h1),
                _ => {}
            }
        }
        for sent in phones.values() {
            let Some((h3, hello)) = &sent.hello else { continue };
            if let Some((h2, commit)) = &sent.commit {
                assert!(continues(h2, h3), "{name}: H2");
                assert!(message_mac_holds(h2, hello), "{name}: Hello");
                (hellos, chains) = (hellos + 1, chains + 1);
                if let Some(h1) = &sent.h1 {
                    assert!(continues(h1, h2), "{name}: H1");
                    assert!(message_mac_holds(h1, commit), "{name}: Commit");
                    (commits, chains) = (commits + 1, chains + 1);
                }
            } else if let Some(h1) = &sent.h1 {
                assert!(continues(&image(h1), h3), "{name}: H1");
                assert!(message_mac_holds(&image(h1), hello), "{name}: Hello");
                (hellos, chains) = (hellos + 1, chains + 1);
            }
        }
    }
    assert_eq!(all.as_object().unwrap().len(), 10);
    println!("{packets} packets, {hellos} Hello MACs, {commits} Commit MACs, {chains} links");
    assert_eq!((packets, hellos, commits), EXPECTED);
}

const EXPECTED: (usize, usize, usize) = (159, 18, 18);

#[test]
fn packets_of_modes_that_we_do_not_speak_parse_too() {
    let all = data(include_str!("../../tests/data/other.json"));
    let mut packets = 0;
    for recording in all.as_array().unwrap() {
        for packet in recording["packets"].as_array().unwrap() {
            let datagram = unhex(packet.as_str().unwrap());
            if let Content::Message(octets) = wire::open(&datagram).unwrap().content {
                message::parse(octets).unwrap();
                packets += 1;
            }
        }
    }
    assert!(packets > 100, "{packets}");
}
