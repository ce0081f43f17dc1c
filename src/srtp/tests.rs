//! Both halves together, and the vectors of the RFCs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod hostile;
mod order;
mod vectors;

use super::*;
use crate::policy::{KeyFacts, KeyingMethod, MayKey, Rules, SignallingLevel, SuiteStrength, judge};
use crate::secret::Secret;
use crate::units::{CallNumber, Ssrc};
use proptest::prelude::*;

pub(super) const SSRC: Ssrc = Ssrc(0xCAFE_BABE);

pub(super) fn proof() -> MayKey {
    let facts = KeyFacts {
        call: CallNumber(1),
        signalling: SignallingLevel::Verified,
        method: KeyingMethod::Sdes,
        suite: SuiteStrength::Full,
        current: None,
    };
    judge(&Rules::strict("alice@sip.example.org"), &facts).allowed().unwrap()
}

pub(super) fn master(suite: Suite) -> MasterKey {
    let bytes = (0..suite.key_len() + suite.salt_len()).map(|n| (n * 7 + 3) as u8).collect();
    MasterKey::new(suite, Secret::new(bytes)).unwrap()
}

/// The two ends of one direction.
pub(super) fn pair(suite: Suite) -> (Protector, Unprotector) {
    let master = master(suite);
    (Protector::new(&proof(), &master).unwrap(), Unprotector::new(&proof(), &master).unwrap())
}

pub(super) fn packet(sequence: u16, payload: &[u8]) -> RtpOut<'_> {
    RtpOut { payload_type: 111, marker: false, sequence, timestamp: u32::from(sequence) * 960, ssrc: SSRC, payload }
}

/// A receiver report of 8 bytes and `more` words.
pub(super) fn report(ssrc: Ssrc, more: u8) -> Vec<u8> {
    let mut bytes = vec![0x80, 201, 0, 1 + more];
    bytes.extend(ssrc.0.to_be_bytes());
    bytes.extend((0..more * 4).map(|n| n ^ 0x55));
    bytes
}

fn any_suite() -> impl Strategy<Value = Suite> {
    prop::sample::select(Suite::ALL.to_vec())
}

proptest! {
    #[test]
    fn what_was_protected_comes_out_as_it_went_in(
        suite in any_suite(),
        marker: bool,
        payload_type in 0u8..128,
        first: u16,
        timestamp: u32,
        ssrc: u32,
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1400), 1..6),
    ) {
        let (mut sender, mut receiver) = pair(suite);
        for (n, payload) in (0u16..).zip(&payloads) {
            let sequence = first.wrapping_add(n);
            let out = RtpOut { payload_type, marker, sequence, timestamp, ssrc: Ssrc(ssrc), payload };
            let sealed = sender.rtp(&out).unwrap();
            let mut wire = sealed.as_bytes().to_vec();
            prop_assert_eq!(wire.len(), 12 + payload.len() + suite.rtp_tag_len());
            let opened = receiver.rtp(&mut wire).unwrap();
            prop_assert_eq!(opened.payload, &payload[..]);
            prop_assert_eq!(opened.index, u64::from(first) + u64::from(n));
            let expected = RtpHeader { marker, payload_type, sequence, timestamp, ssrc: Ssrc(ssrc), padding: false, len: 12 };
            prop_assert_eq!(opened.header, expected);
        }
    }

    #[test]
    fn rtcp_comes_out_as_it_went_in(suite in any_suite(), ssrc: u32, words in prop::collection::vec(0u8..60, 1..6)) {
        let (mut sender, mut receiver) = pair(suite);
        for more in words {
            let plain = report(Ssrc(ssrc), more);
            let mut wire = sender.rtcp(&plain).unwrap().as_bytes().to_vec();
            prop_assert_eq!(wire.len(), plain.len() + 4 + suite.rtcp_tag_len());
            prop_assert_eq!(receiver.rtcp(&mut wire).unwrap(), &plain[..]);
        }
    }

    #[test]
    fn a_packet_with_any_bit_turned_is_refused(
        suite in any_suite(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        at: prop::sample::Index,
        bit in 0u8..8,
    ) {
        let (mut sender, mut receiver) = pair(suite);
        let rtp = sender.rtp(&packet(7, &payload)).unwrap();
        let mut forged = rtp.as_bytes().to_vec();
        let byte = at.index(forged.len());
        forged[byte] ^= 1 << bit;
        prop_assert!(receiver.rtp(&mut forged).is_err());
        let rtcp = sender.rtcp(&report(SSRC, 6)).unwrap();
        let mut forged = rtcp.as_bytes().to_vec();
        let byte = at.index(forged.len());
        forged[byte] ^= 1 << bit;
        prop_assert!(receiver.rtcp(&mut forged).is_err());
        prop_assert!(receiver.rtp(&mut rtp.as_bytes().to_vec()).is_ok(), "the true packet is still good");
        prop_assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok(), "the true report is still good");
    }
}

#[test]
fn header_extension_csrc_list_and_padding_arrive() {
    // We never send these, so a packet is sealed by hand, as a phone would.
    for suite in Suite::ALL {
        let mut plain = vec![0x80 | 0x20 | 0x10 | 1, 0x80 | 9, 0, 5, 0, 0, 0, 160, 0xCA, 0xFE, 0xBA, 0xBE];
        plain.extend([0, 0, 0, 1]);
        plain.extend([0xBE, 0xDE, 0, 1, 0x10, 0x7F, 0, 0]);
        plain.extend(b"sound\0\0\x03");
        let cipher = cipher::Cipher::new(&master(suite), cipher::Protocol::Rtp).unwrap();
        let (header, text) = plain.split_at_mut(24);
        let tag = cipher.seal(&cipher::Position::rtp(SSRC, 5), header, text).unwrap();
        plain.extend(tag.as_bytes());
        let (_, mut receiver) = pair(suite);
        let opened = receiver.rtp(&mut plain).unwrap();
        assert_eq!((opened.payload, opened.header.len), (&b"sound"[..], 24));
        assert!(opened.header.marker);
    }
}

#[test]
fn debug_shows_no_key_and_no_payload() {
    let (mut sender, receiver) = pair(Suite::AeadAes128Gcm);
    assert_eq!(format!("{:?}", sender.rtp(&packet(1, b"secret")).unwrap()), "Sealed(34 bytes)");
    let both = format!("{sender:?} {receiver:?}");
    assert!(both.contains("cafebabe") && !both.contains("salt") && !both.contains("key"), "{both}");
}

#[test]
fn keys_of_one_call_open_nothing_of_another() {
    for suite in Suite::ALL {
        let (mut sender, _) = pair(suite);
        let other = MasterKey::new(suite, Secret::new(vec![9; suite.key_len() + suite.salt_len()])).unwrap();
        let mut receiver = Unprotector::new(&proof(), &other).unwrap();
        let rtp = sender.rtp(&packet(1, b"sound")).unwrap();
        assert_eq!(receiver.rtp(&mut rtp.as_bytes().to_vec()), Err(Rejected::AuthFailed));
        let rtcp = sender.rtcp(&report(SSRC, 2)).unwrap();
        assert_eq!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()), Err(Rejected::AuthFailed));
    }
}

#[test]
fn only_a_packet_of_zrtp_is_sealed_without_keys() {
    let zrtp = b"\x10\0\0\x01ZRTP and the rest";
    assert_eq!(Sealed::zrtp(zrtp).unwrap().as_bytes(), zrtp);
    let rtp = [&[0x80, 0, 0, 1], &zrtp[4..]].concat();
    for other in [&rtp[..], &[0x80, 200, 0, 1], &[20, 254, 253], b"\x10\0\0\x01zrtp", b""] {
        assert_eq!(Sealed::zrtp(other), None, "{other:?}");
    }
    assert_eq!(Sealed::zrtp(&[&zrtp[..], &[0; MAX_PACKET]].concat()), None, "longer than any packet");
}
