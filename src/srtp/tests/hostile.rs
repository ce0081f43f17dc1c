//! Forged, replayed, cut and misshapen packets: they are refused, and change nothing.
use super::super::cipher::{Cipher, Position, Protocol};
use super::super::sources::Sources;
use super::*;

fn state(receiver: &Unprotector) -> (Sources, Sources) {
    (receiver.rtp_sources.clone(), receiver.rtcp_sources.clone())
}

/// Gives `wire` to both halves of the receiver, which must refuse it and stay as it is.
fn refused(receiver: &mut Unprotector, wire: &[u8]) {
    let before = state(receiver);
    assert!(receiver.rtp(&mut wire.to_vec()).is_err());
    assert!(receiver.rtcp(&mut wire.to_vec()).is_err());
    assert_eq!(state(receiver), before);
}

#[test]
fn a_packet_cut_to_any_length_changes_nothing() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let rtp = sender.rtp(&packet(1, &[7; 40])).unwrap();
        let rtcp = sender.rtcp(&report(SSRC, 6)).unwrap();
        for wire in [rtp.as_bytes(), rtcp.as_bytes()] {
            for len in 0..wire.len() {
                refused(&mut receiver, &wire[..len]);
                refused(&mut receiver, &wire[wire.len() - len..]);
            }
        }
        assert!(receiver.rtp(&mut rtp.as_bytes().to_vec()).is_ok());
        assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok());
    }
}

#[test]
fn what_is_too_short_for_header_and_tag_is_called_so() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let rtp = sender.rtp(&packet(1, b"")).unwrap();
        let rtcp = sender.rtcp(&report(SSRC, 0)).unwrap();
        for len in 0..rtp.as_bytes().len() {
            assert_eq!(receiver.rtp(&mut rtp.as_bytes()[..len].to_vec()), Err(Rejected::TooShort));
        }
        for len in 0..rtcp.as_bytes().len() {
            assert_eq!(receiver.rtcp(&mut rtcp.as_bytes()[..len].to_vec()), Err(Rejected::TooShort));
        }
        assert!(receiver.rtp(&mut rtp.as_bytes().to_vec()).is_ok());
        assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok());
    }
}

#[test]
fn packets_of_nothing_but_one_byte_are_refused_at_any_length() {
    for suite in Suite::ALL {
        let (_, mut receiver) = pair(suite);
        for byte in [0x00, 0x80, 0x81, 0x8f, 0x90, 0xb0, 0xc8, 0xff] {
            for len in 0..2000 {
                refused(&mut receiver, &vec![byte; len]);
            }
        }
    }
}

#[test]
fn a_replayed_packet_is_refused_and_the_next_is_accepted() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        for n in 1..50 {
            let rtp = sender.rtp(&packet(n, b"sound")).unwrap();
            let rtcp = sender.rtcp(&report(SSRC, 2)).unwrap();
            assert!(receiver.rtp(&mut rtp.as_bytes().to_vec()).is_ok());
            assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok());
            assert_eq!(receiver.rtp(&mut rtp.as_bytes().to_vec()), Err(Rejected::Replayed));
            assert_eq!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()), Err(Rejected::Replayed));
        }
    }
}

#[test]
fn a_forged_packet_far_ahead_does_not_move_the_window() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        receiver.rtp(&mut sender.rtp(&packet(1, b"sound")).unwrap().as_bytes().to_vec()).unwrap();
        receiver.rtcp(&mut sender.rtcp(&report(SSRC, 2)).unwrap().as_bytes().to_vec()).unwrap();
        let rtp = sender.rtp(&packet(2, b"sound")).unwrap();
        let rtcp = sender.rtcp(&report(SSRC, 2)).unwrap();
        for sequence in [2, 3, 200, 30_000, 40_000, 65_535u16] {
            let mut forged = rtp.as_bytes().to_vec();
            forged[2..4].copy_from_slice(&sequence.to_be_bytes());
            forged[15] ^= 1;
            refused(&mut receiver, &forged);
        }
        for index in [1, 2, 300, 0x7fff_ffff_u32] {
            let at = if suite.is_gcm() { rtcp.as_bytes().len() - 4 } else { rtcp.as_bytes().len() - 14 };
            let mut forged = rtcp.as_bytes().to_vec();
            forged[at..at + 4].copy_from_slice(&(index | 1 << 31).to_be_bytes());
            forged[9] ^= 1;
            refused(&mut receiver, &forged);
        }
        assert!(receiver.rtp(&mut rtp.as_bytes().to_vec()).is_ok());
        assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok());
    }
}

#[test]
fn two_hundred_thousand_forged_sources_leave_no_trace() {
    for suite in [Suite::AesCm128HmacSha1_32, Suite::AeadAes256Gcm] {
        let (mut sender, mut receiver) = pair(suite);
        let first = sender.rtp(&packet(1, b"sound")).unwrap();
        receiver.rtp(&mut first.as_bytes().to_vec()).unwrap();
        let before = state(&receiver);
        let rtcp = sender.rtcp(&report(SSRC, 2)).unwrap();
        for ssrc in 0..200_000u32 {
            let mut forged = first.as_bytes().to_vec();
            forged[8..12].copy_from_slice(&ssrc.to_be_bytes());
            assert!(receiver.rtp(&mut forged).is_err());
            let mut forged = rtcp.as_bytes().to_vec();
            forged[4..8].copy_from_slice(&ssrc.to_be_bytes());
            assert!(receiver.rtcp(&mut forged).is_err());
        }
        assert_eq!(state(&receiver), before);
        assert!(receiver.rtcp(&mut rtcp.as_bytes().to_vec()).is_ok());
    }
}

#[test]
fn srtcp_without_encryption_is_refused_even_if_its_tag_is_right_and_needs_a_right_tag_to_be_called_so() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let cipher = Cipher::new(&master(suite), Protocol::Rtcp).unwrap();
        let goodbye = [0x81, 203, 0, 1, 0xCA, 0xFE, 0xBA, 0xBE];
        let position = Position::rtcp(SSRC, 0, false).unwrap();
        let tag = cipher.seal(&position, &goodbye, &mut []).unwrap();
        let wire = |tag: &[u8]| {
            let (first, second) = if suite.is_gcm() { (tag, &position.word[..]) } else { (&position.word[..], tag) };
            [&goodbye, first, second].concat()
        };
        let before = state(&receiver);
        assert_eq!(receiver.rtcp(&mut wire(tag.as_bytes())), Err(Rejected::NotEncrypted), "{suite:?}");
        assert_eq!(receiver.rtcp(&mut wire(&vec![0; suite.rtcp_tag_len()])), Err(Rejected::AuthFailed), "{suite:?}");
        assert_eq!(state(&receiver), before);
        let next = sender.rtcp(&report(SSRC, 2)).unwrap();
        assert!(receiver.rtcp(&mut next.as_bytes().to_vec()).is_ok(), "index 0 is still free");
    }
}

#[test]
fn an_unencrypted_report_of_any_length_is_refused() {
    for suite in Suite::ALL {
        let (_, mut receiver) = pair(suite);
        for len in 0..2000 {
            let mut wire = vec![0; len];
            wire.iter_mut().zip([0x81, 203, 0, 1, 0xCA, 0xFE, 0xBA, 0xBE]).for_each(|(to, from)| *to = from);
            refused(&mut receiver, &wire);
        }
    }
}

#[test]
fn a_true_packet_with_impossible_padding_is_refused_after_it_is_counted() {
    for suite in Suite::ALL {
        let mut plain = vec![0xA0, 9, 0, 5, 0, 0, 0, 160, 0xCA, 0xFE, 0xBA, 0xBE, 1, 2, 200];
        let cipher = Cipher::new(&master(suite), Protocol::Rtp).unwrap();
        let (header, text) = plain.split_at_mut(12);
        let tag = cipher.seal(&Position::rtp(SSRC, 5), header, text).unwrap();
        plain.extend(tag.as_bytes());
        let (_, mut receiver) = pair(suite);
        assert_eq!(receiver.rtp(&mut plain.clone()), Err(Rejected::BadPadding));
        assert_eq!(receiver.rtp(&mut plain), Err(Rejected::Replayed));
    }
}

#[test]
fn only_a_packet_that_authenticates_takes_the_place_of_a_known_source() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
    for ssrc in 0..8 {
        let sealed = sender.rtp(&RtpOut { ssrc: Ssrc(ssrc), ..packet(1, b"") }).unwrap();
        receiver.rtp(&mut sealed.as_bytes().to_vec()).unwrap();
    }
    let (mut other, _) = pair(Suite::AesCm128HmacSha1_80);
    let ninth = other.rtp(&RtpOut { ssrc: Ssrc(99), ..packet(1, b"") }).unwrap();
    let mut forged = ninth.as_bytes().to_vec();
    forged[12] ^= 1;
    refused(&mut receiver, &forged);
    receiver.rtp(&mut ninth.as_bytes().to_vec()).unwrap();
    assert!(receiver.rtp_sources.window(Ssrc(99)).is_some());
    assert!(receiver.rtp_sources.window(Ssrc(0)).is_none(), "the one not heard for longest made room");
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic_or_trace(
        suite in any_suite(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..1600),
        first in prop::option::of((0x80u8..0xc0, 192u8..224)),
    ) {
        if let (Some((zero, one)), true) = (first, bytes.len() > 1) {
            bytes[0] = zero;
            bytes[1] = one;
        }
        refused(&mut pair(suite).1, &bytes);
    }
}
