//! The packets of an Ogg file (RFC 3533 §6) that holds Opus and nothing else (RFC 7845).
//!
//! In: one of our own recordings. Out: its packets of sound, and how much of the beginning the decoder needs to find its feet.
//! Checksums and granule positions are not looked at: the files are built into the program, and a test decodes each.

/// "OggS", then version, flags, position, serial, sequence and checksum, then the number of segments.
const PAGE_HEADER: usize = 27;

/// What an Ogg file holds.
pub(super) struct Packets {
    /// Samples at 48 kHz to be thrown away first (RFC 7845 §4.2).
    pub(super) skip: usize,
    /// The packets of sound.
    pub(super) sound: Vec<Vec<u8>>,
}

impl Packets {
    /// Reads a whole file; `None` if it is no such file.
    pub(super) fn read(mut file: &[u8]) -> Option<Packets> {
        let mut packets = Vec::new();
        let mut packet = Vec::new();
        while !file.is_empty() {
            let header = file.get(..PAGE_HEADER).filter(|header| header.starts_with(b"OggS"))?;
            let lengths = file.get(PAGE_HEADER..PAGE_HEADER + usize::from(header[26]))?;
            file = &file[PAGE_HEADER + lengths.len()..];
            for &length in lengths {
                packet.extend_from_slice(file.get(..usize::from(length))?);
                file = &file[usize::from(length)..];
                // a segment of 255 octets goes on in the next
                if length < 255 {
                    packets.push(std::mem::take(&mut packet));
                }
            }
        }
        let head = packets.first().filter(|head| head.starts_with(b"OpusHead"))?;
        let skip = usize::from(u16::from_le_bytes([*head.get(10)?, *head.get(11)?]));
        packets.get(1).filter(|tags| tags.starts_with(b"OpusTags"))?;
        Some(Packets { skip, sound: packets.split_off(2) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn page(packets: &[&[u8]]) -> Vec<u8> {
        let mut lengths = Vec::new();
        for packet in packets {
            lengths.extend(std::iter::repeat_n(255, packet.len() / 255));
            lengths.push((packet.len() % 255) as u8);
        }
        let mut page = b"OggS".to_vec();
        page.resize(PAGE_HEADER - 1, 0);
        page.push(lengths.len() as u8);
        page.extend(lengths);
        packets.iter().for_each(|packet| page.extend_from_slice(packet));
        page
    }

    #[test]
    fn packets_of_any_length_are_read_and_what_is_cut_off_is_not() {
        let head = b"OpusHead\x01\x01\x38\x01\x80\x3e\0\0\0\0\0";
        let long = [7u8; 510];
        let file = [page(&[head]), page(&[b"OpusTags"]), page(&[b"abc", &long, b""])].concat();
        let packets = Packets::read(&file).unwrap();
        assert_eq!(packets.skip, 312);
        assert_eq!(packets.sound, [&b"abc"[..], &long, b""]);
        for length in 1..file.len() {
            if let Some(packets) = Packets::read(&file[..length]) {
                assert!(packets.sound.is_empty(), "only whole pages are read: {length}");
            }
        }
        assert!(Packets::read(b"RIFF").is_none());
        assert!(Packets::read(&page(&[b"OpusTags", b"OpusHead"])).is_none());
    }
}
