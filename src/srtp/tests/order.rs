//! Sequence numbers: wraps, loss, reordering, and indices that must not be used twice.
use super::super::sources::MAX_SOURCES;
use super::*;

const SUITES: [Suite; 2] = [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm];

/// Seals packets with these sequence numbers in this order.
fn seal(sender: &mut Protector, sequences: impl IntoIterator<Item = u16>) -> Vec<Vec<u8>> {
    sequences.into_iter().map(|n| sender.rtp(&packet(n, &n.to_be_bytes())).unwrap().as_bytes().to_vec()).collect()
}

fn open(receiver: &mut Unprotector, wire: &[u8]) -> Result<u64, Rejected> {
    receiver.rtp(&mut wire.to_vec()).map(|opened| opened.index)
}

#[test]
fn the_rollover_counter_goes_on_over_several_wraps_with_loss_around_each() {
    for suite in SUITES {
        let (mut sender, mut receiver) = pair(suite);
        for index in 0..200_000u64 {
            let wire = &seal(&mut sender, [index as u16])[0];
            let near_wrap = !(100..65_436).contains(&(index % 65_536));
            let lost = if near_wrap { index % 65_536 > 65_500 || index % 65_536 < 40 } else { index % 512 != 0 };
            if index < 40 || !lost {
                assert_eq!(open(&mut receiver, wire), Ok(index), "{suite:?}");
            }
        }
    }
}

#[test]
fn packets_in_any_order_around_a_wrap_all_arrive_once() {
    for suite in SUITES {
        let (mut sender, mut receiver) = pair(suite);
        let wire = seal(&mut sender, (0..100u16).map(|n| n.wrapping_sub(50)));
        open(&mut receiver, &wire[0]).unwrap();
        // 37 and 100 have no common divisor, so this visits each packet once, jumping to and fro over the wrap
        for n in (1..100).map(|n| n * 37 % 100) {
            assert_eq!(open(&mut receiver, &wire[n]), Ok(65_486 + n as u64), "{suite:?}");
        }
        for packet in &wire {
            assert_eq!(open(&mut receiver, packet), Err(Rejected::Replayed));
        }
    }
}

#[test]
fn a_stream_that_wrapped_before_its_first_packet_arrived_is_heard() {
    for suite in SUITES {
        let (mut sender, mut receiver) = pair(suite);
        let wire = seal(&mut sender, [65_534, 65_535, 0, 1, 2]);
        assert_eq!(open(&mut receiver, &wire[3]), Ok(65_537), "{suite:?}");
        assert_eq!(open(&mut receiver, &wire[1]), Ok(65_535), "the late one of before the wrap");
        assert_eq!(open(&mut receiver, &wire[4]), Ok(65_538));
    }
}

#[test]
fn a_packet_older_than_the_window_is_refused_although_it_is_true() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
    let wire = seal(&mut sender, 1000..1129);
    assert_eq!(open(&mut receiver, &wire[128]), Ok(1128));
    assert_eq!(open(&mut receiver, &wire[0]), Err(Rejected::Replayed), "128 older");
    assert_eq!(open(&mut receiver, &wire[1]), Ok(1001), "127 older");
}

#[test]
fn the_sender_never_uses_an_index_twice() {
    let (mut sender, _) = pair(Suite::AeadAes256Gcm);
    seal(&mut sender, [10, 12, 11]);
    for again in [10, 11, 12] {
        assert_eq!(sender.rtp(&packet(again, b"other")), Err(ProtectError::Reused));
    }
    seal(&mut sender, [500]);
    assert_eq!(sender.rtp(&packet(13, b"free, but who knows")), Err(ProtectError::Reused));
    assert!(sender.rtp(&packet(501, b"goes on")).is_ok());
}

#[test]
fn the_sender_does_not_reach_back_before_its_first_packet_into_another_cycle() {
    let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80);
    seal(&mut sender, [3]);
    assert_eq!(sender.rtp(&packet(65_530, b"")), Err(ProtectError::Reused));
    assert!(sender.rtp(&packet(4, b"")).is_ok());
}

#[test]
fn a_refused_packet_uses_no_index_up() {
    let (mut sender, mut receiver) = pair(Suite::AeadAes128Gcm);
    assert_eq!(sender.rtp(&packet(1, &[0; MAX_PACKET - 27])), Err(ProtectError::TooLong));
    assert_eq!(sender.rtp(&RtpOut { payload_type: 128, ..packet(1, b"") }), Err(ProtectError::BadHeader));
    let longest = sender.rtp(&packet(1, &[0; MAX_PACKET - 28])).unwrap();
    assert_eq!(longest.as_bytes().len(), MAX_PACKET);
    assert_eq!(open(&mut receiver, longest.as_bytes()), Ok(1));
    for bad in [&[][..], &[0x80, 201, 0, 0], &[0x40, 201, 0, 1, 0, 0, 0, 1], &[0x80, 0, 0, 1, 0, 0, 0, 1]] {
        assert_eq!(sender.rtcp(bad), Err(ProtectError::BadHeader));
    }
    assert_eq!(sender.rtcp(&report(SSRC, 1)).unwrap().as_bytes()[28..], [0x80, 0, 0, 0], "the first index is 0");
}

#[test]
fn a_key_ends_after_2_48_rtp_packets() {
    let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80);
    sender.sources.accept(SSRC, (1 << 48) - 2);
    assert!(sender.rtp(&packet(0xffff, b"the last")).is_ok());
    assert_eq!(sender.rtp(&packet(0, b"one more")), Err(ProtectError::Exhausted));
}

#[test]
fn a_key_ends_after_2_31_rtcp_packets() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        sender.rtcp_index = 0x7fff_ffff;
        let last = sender.rtcp(&report(SSRC, 1)).unwrap();
        assert!(receiver.rtcp(&mut last.as_bytes().to_vec()).is_ok());
        assert_eq!(sender.rtcp(&report(SSRC, 1)), Err(ProtectError::Exhausted));
    }
}

#[test]
fn one_key_serves_eight_sending_sources_and_no_ninth() {
    let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80);
    for ssrc in 0..MAX_SOURCES as u32 {
        assert!(sender.rtp(&RtpOut { ssrc: Ssrc(ssrc), ..packet(1, b"") }).is_ok());
    }
    let ninth = RtpOut { ssrc: Ssrc(99), ..packet(1, b"") };
    assert_eq!(sender.rtp(&ninth), Err(ProtectError::TooManySources), "forgetting one would free its indices");
}

#[test]
fn a_receiver_keeps_a_rollover_counter_for_each_source() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
    for index in 65_000..66_000u64 {
        for (ssrc, index) in [(1, index), (2, index - 64_000)] {
            let sealed = sender.rtp(&RtpOut { ssrc: Ssrc(ssrc), ..packet(index as u16, b"") }).unwrap();
            assert_eq!(open(&mut receiver, sealed.as_bytes()), Ok(index));
        }
    }
    assert_eq!(receiver.rtp_sources.window(Ssrc(1)).unwrap().newest(), 65_999);
    assert_eq!(receiver.rtp_sources.window(Ssrc(2)).unwrap().newest(), 1_999);
}
