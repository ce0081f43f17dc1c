//! Mono 16-bit WAV files, which all the real programs read and write, and speech to put in them.

use std::path::Path;
use std::process::Command;

use super::program::{require, run};
use super::{Context, Failure, Result};

/// Writes samples as a WAV file.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, rate: u32, samples: &[i16]) -> Result<()> {
    let length = u32::try_from(samples.len() * 2).context("samples")?;
    let mut bytes = Vec::with_capacity(44 + samples.len() * 2);
    bytes.extend(b"RIFF");
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend(1u16.to_le_bytes()); // PCM
    bytes.extend(1u16.to_le_bytes()); // mono
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(2u16.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(length.to_le_bytes());
    samples.iter().for_each(|sample| bytes.extend(sample.to_le_bytes()));
    std::fs::write(file, bytes).context(file.display())
}

/// Reads rate and samples of a mono 16-bit WAV file. The lengths in the header may be wrong, as in a file that is
/// still being written: what is there counts.
///
/// # Errors
/// When it is another kind of file.
pub fn read(file: &Path) -> Result<(u32, Vec<i16>)> {
    let bytes = std::fs::read(file).context(file.display())?;
    parse(&bytes).ok_or_else(|| Failure::new(format!("{}: not a mono 16-bit WAV file", file.display())))
}

fn parse(bytes: &[u8]) -> Option<(u32, Vec<i16>)> {
    let word = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let mut at = 12;
    let mut rate = None;
    loop {
        let length = word(at + 4)? as usize;
        let body = bytes.get(at + 8..)?;
        match bytes.get(at..at + 4)? {
            b"fmt " if body.get(2..4)? == [1, 0] && body.get(14..16)? == [16, 0] => rate = word(at + 12),
            b"fmt " => return None,
            b"data" => {
                let body = if length == 0 { body } else { &body[..length.min(body.len())] };
                let samples = body.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
                return Some((rate?, samples));
            }
            _ => {}
        }
        at += 8 + length + length % 2;
    }
}

/// A sine tone of amplitude 0.3, which no codec clips.
pub fn tone(rate: u32, frequency: f64, seconds: u32) -> Vec<i16> {
    let step = std::f64::consts::TAU * frequency / f64::from(rate);
    (0..rate * seconds).map(|n| (0.3 * f64::from(i16::MAX) * (step * f64::from(n)).sin()) as i16).collect()
}

/// Lets espeak-ng speak a text into a 48 kHz WAV file with `pad` seconds of silence after it.
///
/// # Errors
/// Without espeak-ng or sox.
pub fn speak(file: &Path, voice: &str, text: &str, pad: f32) -> Result<()> {
    let raw = file.with_extension("espeak.wav");
    run(Command::new(require("espeak-ng")?).args(["-v", voice, "-s", "140", "-w"]).arg(&raw).arg(text))?;
    let mut sox = Command::new(require("sox")?);
    sox.arg(&raw).args(["-r", "48000", "-c", "1", "-b", "16"]).arg(file);
    run(sox.args(["norm", "-6", "pad", "0", &pad.to_string()])).map(drop)
}
