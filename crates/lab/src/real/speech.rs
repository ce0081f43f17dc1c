//! Speech to say: espeak-ng speaks a text into a WAV file.

use std::path::Path;
use std::process::Command;

use super::program::{require, run};
use super::{Context, Result};
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
