//! RTCP: layout, round trips, and lengths that do not add up.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
use super::*;
use proptest::prelude::*;

const SENDER: SenderInfo = SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_timestamp: 160, packets: 3, octets: 480 };
const BLOCK: ReportBlock = ReportBlock {
    ssrc: Ssrc(0xCAFE_BABE),
    fraction_lost: 64,
    cumulative_lost: -2,
    highest_sequence: 0x0001_0007,
    jitter: 80,
    last_sr: 0x1111_2222,
    delay_since_last_sr: 0x3333,
};

fn compound() -> Compound<'static> {
    Compound { ssrc: Ssrc(0xDEAD_BEEF), sender: Some(SENDER), blocks: &[BLOCK], cname: "abc", goodbye: true }
}

#[test]
fn the_layout_is_that_of_rfc_3550() {
    let expected = [
        &[0x81, 200, 0, 12, 0xDE, 0xAD, 0xBE, 0xEF][..],
        &[1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 160, 0, 0, 0, 3, 0, 0, 1, 0xE0],
        &[0xCA, 0xFE, 0xBA, 0xBE, 64, 0xFF, 0xFF, 0xFE, 0, 1, 0, 7, 0, 0, 0, 80],
        &[0x11, 0x11, 0x22, 0x22, 0, 0, 0x33, 0x33],
        &[0x81, 202, 0, 3, 0xDE, 0xAD, 0xBE, 0xEF, 1, 3, b'a', b'b', b'c', 0, 0, 0],
        &[0x81, 203, 0, 1, 0xDE, 0xAD, 0xBE, 0xEF],
    ];
    assert_eq!(compound().to_bytes(), expected.concat());
}

#[test]
fn a_written_compound_reads_back() {
    let bytes = compound().to_bytes();
    let packets: Vec<_> = parse(&bytes).unwrap().collect();
    let [Packet::SenderReport(from, sender, blocks), Packet::Cname(who, name), Packet::Goodbye(leaving)] = packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((from, sender, who, name), (Ssrc(0xDEAD_BEEF), SENDER, Ssrc(0xDEAD_BEEF), &b"abc"[..]));
    assert_eq!(blocks.iter().collect::<Vec<_>>(), [BLOCK]);
    assert_eq!(leaving.iter().collect::<Vec<_>>(), [Ssrc(0xDEAD_BEEF)]);
}

#[test]
fn who_sends_nothing_writes_a_receiver_report() {
    let bytes = Compound { sender: None, goodbye: false, ..compound() }.to_bytes();
    let packets: Vec<_> = parse(&bytes).unwrap().collect();
    assert!(matches!(packets[..], [Packet::ReceiverReport(Ssrc(0xDEAD_BEEF), _), Packet::Cname(..)]), "{packets:?}");
}

#[test]
fn names_and_blocks_beyond_the_counts_are_left_out_and_the_packet_stays_whole() {
    let (name, blocks) = ("n".repeat(300), [BLOCK; 40]);
    for len in 0..=300 {
        let bytes = Compound { cname: &name[..len], blocks: &blocks, ..compound() }.to_bytes();
        let packets: Vec<_> = parse(&bytes).unwrap().collect();
        let [Packet::SenderReport(_, _, blocks), Packet::Cname(_, read), Packet::Goodbye(_)] = packets[..] else {
            panic!("{len}: {packets:?}")
        };
        assert_eq!((blocks.iter().count(), read.len()), (31, len.min(255)));
    }
}

#[test]
fn a_compound_cut_anywhere_but_between_packets_is_refused() {
    let bytes = compound().to_bytes();
    for len in 0..bytes.len() {
        assert_eq!(parse(&bytes[..len]).is_some(), [0, 52, 68].contains(&len), "{len}");
    }
}

#[test]
fn a_count_beyond_the_packet_is_refused() {
    let mut bytes = compound().to_bytes();
    bytes[0] = 0x80 | 2;
    assert!(parse(&bytes).is_none(), "two blocks in the space of one");
    let mut bytes = compound().to_bytes();
    bytes[68] = 0x80 | 2;
    assert!(parse(&bytes).is_none(), "two sources in the space of one");
}

#[test]
fn padding_belongs_to_the_last_packet_and_is_cut_off() {
    let padded = |flag_at: usize, count: u8| {
        let mut bytes = compound().to_bytes();
        bytes.extend([0, 0, 0, count]);
        bytes[flag_at] |= 0x20;
        bytes[71] += 1; // BYE is one word longer
        parse(&bytes).map(|packets| packets.count())
    };
    assert_eq!(padded(68, 4), Some(3));
    assert_eq!(padded(0, 4), None, "the first packet is not the last");
    for count in [0, 1, 3, 12, 255] {
        assert_eq!(padded(68, count), None, "{count}");
    }
}

#[test]
fn unknown_packets_are_stepped_over() {
    let mut bytes = vec![0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]; // transport feedback
    bytes.extend([0x80, 203, 0, 0]); // BYE of nobody
    let packets: Vec<_> = parse(&bytes).unwrap().collect();
    assert!(matches!(packets[..], [Packet::Other(205), Packet::Goodbye(_)]), "{packets:?}");
}

#[test]
fn the_cname_is_found_behind_other_items() {
    let bytes = b"\x81\xca\0\x05\0\0\0\x07\x06\x04tool\x01\x02me\0\0\0\0\0\0";
    let packets: Vec<_> = parse(bytes).unwrap().collect();
    assert_eq!(packets, [Packet::Cname(Ssrc(7), b"me")]);
    let without = b"\x81\xca\0\x03\0\0\0\x07\x06\x04tool\0\0";
    assert_eq!(parse(without).unwrap().collect::<Vec<_>>(), [Packet::Other(202)]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 198u8..208) {
        if bytes.len() > 4 {
            bytes[0] = bytes[0] & 0x3f | 0x80;
            bytes[1] = kind;
            bytes[2] = 0;
            bytes[3] %= 50;
        }
        for packet in parse(&bytes).into_iter().flatten() {
            match packet {
                Packet::SenderReport(_, _, blocks) | Packet::ReceiverReport(_, blocks) => { blocks.iter().count(); }
                Packet::Goodbye(sources) => { sources.iter().count(); }
                _ => {}
            }
        }
    }
}
