//! Recorded values: CRC, SAS, zrtp-hash, the steps of X1M1, an exchange of two LINPHONE-ZRTPCPP, and every derived value of
//! the recorded handshakes from its own inputs.

use super::{data, hex, octets, unhex};
use crate::chain::continues;
use crate::confirm;
use crate::derive::{Direction, kdf};
use crate::hash::{hash, message_mac_holds};
use crate::message::{self, Message};
use crate::wire::{self, Content};
use crate::*;
use serde_json::Value;

fn values() -> Value {
    data(include_str!("../../tests/data/values.json"))
}

/// The message in a datagram.
fn open(datagram: &[u8]) -> Vec<u8> {
    match wire::open(datagram).unwrap().content {
        Content::Message(message) => message.to_vec(),
        Content::Fragment(_) => panic!("a fragment"),
    }
}

#[test]
fn crc_on_the_wire_is_least_significant_octet_first() {
    for case in values()["crc32c"].as_array().unwrap() {
        let crc = wire::crc32c(&octets(case, "input").unwrap());
        assert_eq!(format!("{crc:08x}"), case["crc32c_value"]);
        assert_eq!(hex(&crc.to_le_bytes()), case["wire_octets"]);
    }
}

#[test]
fn sas_is_shown_as_recorded() {
    let values = values();
    let sas = |case: &Value| Sas::new(u32::from_str_radix(case["sasvalue"].as_str().unwrap(), 16).unwrap());
    for case in values["sas_base32"].as_array().unwrap() {
        let shown = sas(case).base32();
        assert_eq!(shown.to_string(), case["base32"]);
        assert_eq!(format!("{}{}", shown.called_says(), shown.caller_says()), case["base32"]);
    }
    for case in values["sas_base256"].as_array().unwrap() {
        assert_eq!(serde_json::json!(sas(case).words()), case["words"]);
    }
    assert_eq!(
        (values["sas_base32"].as_array().unwrap().len(), values["sas_base256"].as_array().unwrap().len()),
        (9, 7)
    );
}

#[test]
fn zrtp_hash_is_of_the_message_alone() {
    for case in values()["zrtp_hash"].as_array().unwrap() {
        let datagram = octets(case, "hello_packet").unwrap();
        // the recording has no CRC
        let message =
            wire::message(&datagram[12..]).or_else(|_| wire::message(&datagram[12..datagram.len() - 4])).unwrap();
        assert_eq!(HelloHash::of(message).to_string(), case["value"]);
    }
}

#[test]
fn every_derived_value_of_the_recordings_comes_out() {
    let all = data(include_str!("../../tests/data/handshakes.json"));
    let mut derived = 0;
    for recording in all.as_array().unwrap() {
        let kind =
            Hash::from_name(recording["algorithms"]["hash"].as_str().unwrap().as_bytes().try_into().unwrap()).unwrap();
        let (s0, context) = (octets(recording, "s0").unwrap(), octets(recording, "kdf_context").unwrap());
        for (label, value) in recording["keys"].as_object().unwrap() {
            let value = unhex(value.as_str().unwrap());
            assert_eq!(hex(kdf(kind, &s0, label.as_bytes(), &context, value.len()).expose()), hex(&value), "{label}");
            derived += 1;
        }
        let (zid_i, zid_r) = (octets(recording, "zid_i").unwrap(), octets(recording, "zid_r").unwrap());
        assert_eq!(context, [zid_i, zid_r, octets(recording, "total_hash").unwrap()].concat());
    }
    assert_eq!(derived, EXPECTED_DERIVED);
}

const EXPECTED_DERIVED: usize = 571;

#[test]
fn the_exchange_of_two_linphone_zrtpcpp_checks() {
    let values = values();
    let captured = &values["captured"][0];
    let mut messages = Vec::new();
    for packet in captured["packets"].as_array().unwrap() {
        messages.push((packet["ssrc"].as_str().unwrap().to_owned(), open(&octets(packet, "hex").unwrap())));
    }
    assert_eq!(messages.len(), 9);
    let initiator = captured["initiator_ssrc"].as_str().unwrap();
    let responder = captured["responder_ssrc"].as_str().unwrap();
    let of = |ssrc: &str, kind: &[u8; 8]| {
        messages.iter().find(|(from, message)| from == ssrc && &message[4..12] == kind).unwrap().1.clone()
    };
    let link = |ssrc: &str, at: usize| -> [u8; 32] {
        unhex(captured["hash_chains"][ssrc][at].as_str().unwrap()).try_into().unwrap()
    };
    for ssrc in [initiator, responder] {
        for at in 0..3 {
            assert!(continues(&link(ssrc, at), &link(ssrc, at + 1)));
        }
        assert!(message_mac_holds(&link(ssrc, 2), &of(ssrc, b"Hello   ")));
    }
    let (commit, part1, part2) = (of(initiator, b"Commit  "), of(responder, b"DHPart1 "), of(initiator, b"DHPart2 "));
    assert!(message_mac_holds(&link(initiator, 1), &commit));
    let Ok(Message::Commit(parsed)) = message::parse(&commit) else { panic!() };
    let suite = parsed.suite(&Offer::default()).unwrap();
    assert_eq!(suite.agreement, KeyAgreement::Dh3k);
    let (hvi, _) = parsed.commitment(suite.agreement).unwrap();
    assert_eq!(hash(suite.hash, &[&part2, &of(responder, b"Hello   ")])[..32], hvi[..]);
    for (message, at) in [(part1, 1), (part2, 1)] {
        let from = if &message[4..12] == b"DHPart1 " { responder } else { initiator };
        let (Ok(Message::DhPart1(part)) | Ok(Message::DhPart2(part))) = message::parse(&message) else { panic!() };
        assert_eq!(part.h1, link(from, at));
        assert!(message_mac_holds(&link(from, 0), &message));
    }
    for (number, (sender, ssrc, kind)) in
        [(Role::Responder, responder, b"Confirm1"), (Role::Initiator, initiator, b"Confirm2")].into_iter().enumerate()
    {
        let side = if sender == Role::Initiator { "i" } else { "r" };
        let key = |name: &str| Secret::new(octets(captured, &format!("keys/{name}{side}")).unwrap());
        let keys = Direction {
            srtp_key: key("zrtpkey"),
            srtp_salt: key("zrtpkey"),
            mac_key: key("mackey"),
            zrtp_key: key("zrtpkey"),
        };
        let message = of(ssrc, kind);
        let (Ok(Message::Confirm1(confirm)) | Ok(Message::Confirm2(confirm))) = message::parse(&message) else {
            panic!()
        };
        let Ok(Ok(plain)) = confirm::open(&confirm, suite.hash, suite.cipher, &keys) else {
            panic!("Confirm does not open")
        };
        assert_eq!(*plain.h0, link(ssrc, 0));
        assert_eq!(hex(&plain.h0[..]), captured["confirm_plaintexts"][number].as_str().unwrap()[..64]);
        assert_eq!(plain.lifetime, Lifetime::FOREVER);
    }
}

/// Cipher and MAC of Confirm, from the recorded keys, both ways.
#[test]
fn recorded_confirms_open_and_seal() {
    let all = data(include_str!("../../tests/data/handshakes.json"));
    let mut opened = 0;
    for recording in all.as_array().unwrap() {
        let name = |kind: &str| recording["algorithms"][kind].as_str().unwrap().as_bytes().try_into().unwrap();
        let (kind, cipher) = (Hash::from_name(name("hash")).unwrap(), Cipher::from_name(name("cipher")).unwrap());
        for (sender, which) in [(Role::Responder, "Confirm1"), (Role::Initiator, "Confirm2")] {
            let key = |label: &str| Secret::new(octets(recording, &format!("keys/{sender:?} {label}")).unwrap());
            let keys = Direction {
                srtp_key: key("SRTP master key"),
                srtp_salt: key("SRTP master salt"),
                mac_key: key("HMAC key"),
                zrtp_key: key("ZRTP key"),
            };
            let packets = recording["packets"].as_array().unwrap().iter();
            let message = packets
                .map(|packet| octets(packet, "hex").unwrap())
                .find(|datagram| &datagram[16..24] == which.as_bytes());
            let message = open(&message.unwrap());
            let (Ok(Message::Confirm1(confirm)) | Ok(Message::Confirm2(confirm))) = message::parse(&message) else {
                panic!()
            };
            let Ok(Ok(plain)) = confirm::open(&confirm, kind, cipher, &keys) else { panic!("{}", recording["name"]) };
            let recorded = octets(recording, &format!("confirm/{which}/plaintext")).unwrap();
            assert_eq!(plain.h0[..], recorded[..32]);
            // a PBX' flag E is not ours to send
            if recorded[35] & 8 == 0 {
                assert_eq!(hex(&confirm::seal(sender, kind, cipher, &keys, confirm.iv, &plain)), hex(&message));
            }
            opened += 1;
        }
    }
    assert_eq!(opened, 96);
}
