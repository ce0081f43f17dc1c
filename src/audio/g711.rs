//! G.711: one octet per 8 kHz sample, µ-law or A-law (ITU-T G.711).
//!
//! Samples are 16 bit wide; the two and three low bits that the 14-bit and 13-bit laws do not have are cut, negative
//! values in ones' complement, as the reference code of ITU-T G.191 does it.

/// One of the two companding laws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Law {
    /// µ-law: North America, Japan (PCMU).
    Mu,
    /// A-law: everywhere else (PCMA).
    A,
}

impl Law {
    /// The octet for a sample.
    pub(super) fn encode(self, sample: i16) -> u8 {
        match self {
            Law::Mu => mu_encode(sample),
            Law::A => a_encode(sample),
        }
    }

    /// The sample of an octet. Every octet is valid.
    pub(super) fn decode(self, octet: u8) -> i16 {
        match self {
            Law::Mu => mu_decode(octet),
            Law::A => a_decode(octet),
        }
    }
}

/// 33 in the 14-bit scale of G.711 table 2: added, it makes every segment begin at a power of two.
const MU_BIAS: i32 = 33 << 2;

fn magnitude(sample: i16) -> i32 {
    i32::from(if sample < 0 { !sample } else { sample })
}

fn mu_encode(sample: i16) -> u8 {
    let biased = (magnitude(sample) + MU_BIAS).min(0x7fff);
    // bit 7 of the biased magnitude leads in segment 0, bit 14 in segment 7
    let segment = (biased >> 7).ilog2();
    let step = (biased >> (segment + 3)) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    // all bits are sent inverted
    !(sign | (segment << 4) as u8 | step as u8)
}

fn mu_decode(octet: u8) -> i16 {
    let code = i32::from(!octet);
    let segment = (code >> 4) & 7;
    let value = ((((code & 0x0f) << 3) + MU_BIAS) << segment) - MU_BIAS;
    (if code & 0x80 == 0 { value } else { -value }) as i16
}

fn a_encode(sample: i16) -> u8 {
    let value = magnitude(sample) >> 4;
    // segments 0 and 1 are one straight line; from there on each is twice as steep
    let segment = (value >> 4).checked_ilog2().map_or(0, |bit| bit + 1);
    let step = if segment < 2 { value & 0x0f } else { (value >> (segment - 1)) & 0x0f };
    let sign = if sample < 0 { 0 } else { 0x80 };
    // the even bits are sent inverted
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

fn a_decode(octet: u8) -> i16 {
    let code = i32::from(octet ^ 0x55);
    let (segment, step) = ((code >> 4) & 7, code & 0x0f);
    let value = match segment {
        0 => (step << 4) + 8,
        _ => ((step << 4) + 0x108) << (segment - 1),
    };
    (if code & 0x80 != 0 { value } else { -value }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The positive decision values of G.711 tables 1a and 2a, built from the recommendation's own words: how many
    /// intervals of which width, in its 13-bit or 14-bit scale.
    fn decision_values(law: Law) -> Vec<i32> {
        let widths: &[(usize, i32)] = match law {
            Law::A => &[(32, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128)],
            Law::Mu => &[(1, 1), (15, 2), (16, 4), (16, 8), (16, 16), (16, 32), (16, 64), (16, 128), (16, 256)],
        };
        let mut values = vec![0];
        for &(count, width) in widths {
            for _ in 0..count {
                values.push(values[values.len() - 1] + width);
            }
        }
        values
    }

    /// What the octet of the n-th positive or negative interval is, and the 16-bit value in its middle.
    fn interval(law: Law, n: usize, negative: bool) -> (u8, i32) {
        let values = decision_values(law);
        let sum = values[n] + values[n + 1];
        let octet = match law {
            Law::A => (n as u8 | if negative { 0 } else { 0x80 }) ^ 0x55,
            Law::Mu => !(n as u8 | if negative { 0x80 } else { 0 }),
        };
        // µ-law's first interval is read as zero, not as its middle
        let middle = if law == Law::Mu && n == 0 { 0 } else { sum };
        // half the sum, brought from 13 or 14 bits to 16
        let value = if law == Law::A { middle * 8 / 2 } else { middle * 4 / 2 };
        (octet, if negative { -value } else { value })
    }

    #[test]
    fn the_tables_end_where_the_recommendation_says() {
        assert_eq!(decision_values(Law::A).last(), Some(&4096));
        assert_eq!(decision_values(Law::Mu).last(), Some(&8159));
    }

    #[test]
    fn every_octet_decodes_to_the_middle_of_its_interval() {
        for law in [Law::A, Law::Mu] {
            for n in 0..128 {
                for negative in [false, true] {
                    let (octet, value) = interval(law, n, negative);
                    assert_eq!(i32::from(law.decode(octet)), value, "{law:?} interval {n}");
                }
            }
        }
    }

    #[test]
    fn every_sample_encodes_to_the_interval_that_holds_it() {
        for law in [Law::A, Law::Mu] {
            let values = decision_values(law);
            let scale = if law == Law::A { 8 } else { 4 };
            for sample in i16::MIN..=i16::MAX {
                let size = magnitude(sample);
                let n = values[1..128].iter().take_while(|&&value| size >= value * scale).count();
                assert_eq!(law.encode(sample), interval(law, n, sample < 0).0, "{law:?} {sample}");
            }
        }
    }

    #[test]
    fn every_octet_survives_a_round_trip_except_negative_zero() {
        for octet in 0..=255 {
            assert_eq!(Law::A.encode(Law::A.decode(octet)), octet);
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(octet)), expected);
        }
    }

    #[test]
    fn well_known_octets_come_out() {
        assert_eq!((Law::Mu.encode(0), Law::A.encode(0)), (0xff, 0xd5));
        assert_eq!((Law::Mu.decode(0x00), Law::Mu.decode(0x80)), (-32124, 32124));
        assert_eq!((Law::A.decode(0x2a), Law::A.decode(0xaa)), (-32256, 32256));
    }
}
