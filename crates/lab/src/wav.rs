//! WAV files: 16-bit PCM, mono. What has more channels is mixed down; anything else is refused.

use std::fs;
use std::io;
use std::path::Path;

/// A sound and its rate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wav {
    /// Samples per second.
    pub rate: u32,
    /// The samples, mono.
    pub samples: Vec<i16>,
}

impl Wav {
    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Wav> {
        Wav::parse(&fs::read(path)?).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} is no 16-bit PCM WAV", path.display()))
        })
    }

    /// Writes a file.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.to_bytes())
    }

    /// Reads the bytes of a file; `None` if they are not 16-bit PCM.
    pub fn parse(bytes: &[u8]) -> Option<Wav> {
        if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
            return None;
        }
        let mut rest = bytes.get(12..)?;
        let mut format = None;
        loop {
            let name = rest.get(..4)?;
            let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
            // a program that writes to a pipe does not know the length and puts a very large one
            let body = &rest[8..rest.len().min(length.saturating_add(8))];
            match name {
                b"fmt " => format = Some(Format::parse(body)?),
                b"data" => return format.map(|format: Format| format.samples(body)),
                _ => {}
            }
            // chunks begin at even places
            rest = rest.get(length.checked_add(8 + length % 2)?..)?;
        }
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let data = self.samples.len() as u32 * 2;
        let mut bytes = Vec::with_capacity(44 + data as usize);
        bytes.extend(b"RIFF");
        bytes.extend((36 + data).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16_u32.to_le_bytes());
        bytes.extend(1_u16.to_le_bytes()); // PCM
        bytes.extend(1_u16.to_le_bytes()); // mono
        bytes.extend(self.rate.to_le_bytes());
        bytes.extend((self.rate * 2).to_le_bytes());
        bytes.extend(2_u16.to_le_bytes());
        bytes.extend(16_u16.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(data.to_le_bytes());
        bytes.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }
}

struct Format {
    channels: usize,
    rate: u32,
}

impl Format {
    fn parse(body: &[u8]) -> Option<Format> {
        let word = |at: usize| Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?));
        // 0xfffe: the extensible header, whose samples here are PCM nearly always
        let pcm = matches!(word(0)?, 1 | 0xfffe) && word(14)? == 16;
        let channels = usize::from(word(2)?);
        let rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
        (pcm && channels > 0 && rate > 0).then_some(Format { channels, rate })
    }

    fn samples(&self, data: &[u8]) -> Wav {
        let mono = |frame: &[u8]| {
            let sum: i32 = frame.chunks_exact(2).map(|two| i32::from(i16::from_le_bytes([two[0], two[1]]))).sum();
            (sum / self.channels as i32) as i16
        };
        Wav { rate: self.rate, samples: data.chunks_exact(2 * self.channels).map(mono).collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    fn example() -> Wav {
        Wav { rate: 8_000, samples: vec![0, 1, -1, i16::MAX, i16::MIN] }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let path = std::env::temp_dir().join(format!("galene-sips-wav-{}.wav", std::process::id()));
        example().write(&path).unwrap();
        let read = Wav::read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), example());
    }

    #[test]
    fn unknown_chunks_are_passed_over_and_unknown_lengths_mean_the_rest() {
        let bytes = example().to_bytes();
        let mut odd = bytes[..12].to_vec();
        odd.extend(b"LIST\x03\0\0\0abc\0");
        odd.extend(&bytes[12..40]);
        odd.extend(0xffff_ffff_u32.to_le_bytes());
        odd.extend(&bytes[44..]);
        assert_eq!(Wav::parse(&odd), Some(example()));
    }

    #[test]
    fn stereo_is_mixed_down() {
        let mut bytes = Wav { rate: 8_000, samples: vec![100, 300, -5, -7] }.to_bytes();
        bytes[22] = 2;
        assert_eq!(Wav::parse(&bytes), Some(Wav { rate: 8_000, samples: vec![200, -6] }));
    }

    #[test]
    fn other_files_and_cut_ones_are_refused() {
        let bytes = example().to_bytes();
        for length in 0..44 {
            assert_eq!(Wav::parse(&bytes[..length]), None, "{length}");
        }
        let mut float = bytes.clone();
        float[20] = 3;
        assert_eq!(Wav::parse(&float), None);
        let mut wide = bytes.clone();
        wide[34] = 24;
        assert_eq!(Wav::parse(&wide), None);
    }
}
