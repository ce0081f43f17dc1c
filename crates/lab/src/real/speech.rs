//! Speech to say: espeak-ng speaks a text into a WAV file.

use std::path::Path;
use std::process::Command;

use super::program::{require, run};
use super::{Context, Result};
use crate::measure::correlate_in_pieces;
use crate::wav::Wav;

/// Speaks `text` and returns it at 48 kHz, with a peak of half of full scale.
///
/// # Errors
/// Without espeak-ng or sox.
pub fn speak(directory: &Path, voice: &str, text: &str) -> Result<Wav> {
    let raw = directory.join("speech.raw.wav");
    let file = directory.join("speech.wav");
    run(Command::new(require("espeak-ng")?).args(["-v", voice, "-s", "140", "-w"]).arg(&raw).arg(text))?;
    let mut sox = Command::new(require("sox")?);
    sox.arg(&raw).args(["-r", "48000", "-c", "1", "-b", "16"]).arg(&file).args(["norm", "-6"]);
    run(&mut sox)?;
    Wav::read(&file).context("speech")
}

/// How well `said`, which its speaker repeats without a pause, is found once as a whole in `heard` (both 48 kHz):
/// a correlation from 0 to 1. `heard` must be at least twice as long.
///
/// Windows that have room for little more than one repetition are searched one after the other, because over the
/// edge of what was heard, half of a repetition can correlate better than a whole one.
pub fn heard_once(said: &[i16], heard: &[i16]) -> f64 {
    const RATE: u32 = 48_000;
    const DRIFT: usize = RATE as usize / 20;
    let window = said.len() + said.len() / 4 + DRIFT;
    let starts = (0..=heard.len().saturating_sub(window)).step_by(said.len().max(4) / 4);
    let values = starts.map(|start| {
        let part = &heard[start..heard.len().min(start + window)];
        correlate_in_pieces(said, part, RATE, window, DRIFT).value
    });
    values.fold(0.0, f64::max)
}
