//! 8 kHz to 48 kHz and back: one windowed-sinc low-pass at 4 kHz, used polyphase, 2 ms of delay each way.
//!
//! Only G.711 needs it; Opus is encoded and decoded at either rate.

use crate::units::SampleRate;
use std::sync::LazyLock;

const FACTOR: usize = 6;
/// Taps per phase.
const TAPS: usize = 32;
const LENGTH: usize = FACTOR * TAPS;
const NARROW: usize = SampleRate::Hz8000.frame();
const WIDE: usize = SampleRate::Hz48000.frame();

/// The prototype: a sinc under a Kaiser window, -6 dB at 3.95 kHz, more than 60 dB down from 4.45 kHz. Sum: 1.
static PROTOTYPE: LazyLock<[f32; LENGTH]> = LazyLock::new(|| {
    let middle = (LENGTH - 1) as f64 / 2.0;
    let cutoff = 2.0 * 3_950.0 / 48_000.0;
    let beta = 5.65;
    let mut taps = [0.0; LENGTH];
    for (n, tap) in taps.iter_mut().enumerate() {
        let x = n as f64 - middle;
        let angle = std::f64::consts::PI * cutoff * x;
        let window = bessel_i0(beta * (1.0 - (x / (middle + 0.5)).powi(2)).sqrt()) / bessel_i0(beta);
        *tap = angle.sin() / angle * cutoff * window;
    }
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| (tap / sum) as f32)
});

/// The modified Bessel function of the first kind, order zero: its power series.
fn bessel_i0(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..40 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// The inner product, in eight independent sums that need not wait for each other.
fn dot(taps: &[f32], samples: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    for (taps, samples) in taps.chunks_exact(8).zip(samples.chunks_exact(8)) {
        for n in 0..8 {
            sums[n] += taps[n] * samples[n];
        }
    }
    sums.iter().sum()
}

fn to_sample(value: f32) -> i16 {
    // `as` saturates
    value.round() as i16
}

/// 8 kHz frames to 48 kHz frames.
pub struct Upsampler {
    phases: [[f32; TAPS]; FACTOR],
    /// The last `TAPS - 1` samples of the frame before, then the frame.
    window: [f32; TAPS - 1 + NARROW],
}

impl Upsampler {
    /// Begins in silence.
    pub fn new() -> Upsampler {
        let mut phases = [[0.0; TAPS]; FACTOR];
        for (n, tap) in PROTOTYPE.iter().enumerate() {
            // reversed, so that old samples meet late taps; times six, for the five zeros between samples
            phases[n % FACTOR][TAPS - 1 - n / FACTOR] = tap * FACTOR as f32;
        }
        Upsampler { phases, window: [0.0; TAPS - 1 + NARROW] }
    }

    /// Converts one 20 ms frame: 160 samples to 960. A frame of another length is cut or filled with silence.
    pub fn frame(&mut self, narrow: &[i16], wide: &mut [i16]) {
        if !load(&mut self.window, TAPS - 1, narrow) {
            return wide.fill(0);
        }
        for (samples, out) in self.window.windows(TAPS).zip(wide.chunks_exact_mut(FACTOR)) {
            for (out, taps) in out.iter_mut().zip(&self.phases) {
                *out = to_sample(dot(taps, samples));
            }
        }
    }
}

impl Default for Upsampler {
    fn default() -> Upsampler {
        Upsampler::new()
    }
}

/// 48 kHz frames to 8 kHz frames.
pub struct Downsampler {
    /// The last `LENGTH - FACTOR` samples of the frame before, then the frame.
    window: [f32; LENGTH - FACTOR + WIDE],
}

impl Downsampler {
    /// Begins in silence.
    pub fn new() -> Downsampler {
        Downsampler { window: [0.0; LENGTH - FACTOR + WIDE] }
    }

    /// Converts one 20 ms frame: 960 samples to 160. A frame of another length is cut or filled with silence.
    pub fn frame(&mut self, wide: &[i16], narrow: &mut [i16]) {
        if !load(&mut self.window, LENGTH - FACTOR, wide) {
            return narrow.fill(0);
        }
        // the prototype is symmetric, so it needs no reversing
        for (samples, out) in self.window.windows(LENGTH).step_by(FACTOR).zip(narrow) {
            *out = to_sample(dot(&*PROTOTYPE, samples));
        }
    }
}

impl Default for Downsampler {
    fn default() -> Downsampler {
        Downsampler::new()
    }
}

/// Moves the last `kept` samples to the front and puts the new frame behind them. False if all of it is silence.
fn load(window: &mut [f32], kept: usize, frame: &[i16]) -> bool {
    let start = window.len() - kept;
    window.copy_within(start.., 0);
    let mut new = frame.iter();
    for slot in &mut window[kept..] {
        *slot = new.next().map_or(0.0, |&sample| f32::from(sample));
    }
    window.iter().any(|&sample| sample != 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(rate: f64, hz: f64, samples: usize) -> Vec<i16> {
        let step = 2.0 * std::f64::consts::PI * hz / rate;
        (0..samples).map(|n| ((n as f64 * step).sin() * 16_000.0) as i16).collect()
    }

    fn up(narrow: &[i16]) -> Vec<i16> {
        let mut upsampler = Upsampler::new();
        let mut wide = vec![0; narrow.len() * FACTOR];
        for (frame, out) in narrow.chunks(NARROW).zip(wide.chunks_mut(WIDE)) {
            upsampler.frame(frame, out);
        }
        wide
    }

    fn down(wide: &[i16]) -> Vec<i16> {
        let mut downsampler = Downsampler::new();
        let mut narrow = vec![0; wide.len() / FACTOR];
        for (frame, out) in wide.chunks(WIDE).zip(narrow.chunks_mut(NARROW)) {
            downsampler.frame(frame, out);
        }
        narrow
    }

    /// Signal to error in dB between `heard` and `expected`, past the start.
    fn snr(expected: impl Fn(usize) -> f64, heard: &[i16]) -> f64 {
        let (mut signal, mut error) = (0.0, 1e-9);
        for (n, &sample) in heard.iter().enumerate().skip(500) {
            signal += expected(n).powi(2);
            error += (expected(n) - f64::from(sample)).powi(2);
        }
        10.0 * (signal / error).log10()
    }

    #[test]
    fn telephone_tones_come_up_to_48_khz_unchanged_but_for_2_ms() {
        // the delay is that of half the prototype: 95.5 samples of 48 kHz
        for hz in [300.0, 1_000.0, 3_400.0] {
            let wide = up(&sine(8_000.0, hz, 8_000));
            let step = 2.0 * std::f64::consts::PI * hz / 48_000.0;
            let snr = snr(|n| ((n as f64 - 95.5) * step).sin() * 16_000.0, &wide);
            assert!(snr > 45.0, "{hz} Hz: {snr} dB");
        }
    }

    #[test]
    fn telephone_tones_come_down_to_8_khz_unchanged_but_for_2_ms() {
        for hz in [300.0, 1_000.0, 3_400.0] {
            let narrow = down(&sine(48_000.0, hz, 48_000));
            let step = 2.0 * std::f64::consts::PI * hz / 8_000.0;
            let snr = snr(|n| ((n as f64 - 90.5 / 6.0) * step).sin() * 16_000.0, &narrow);
            assert!(snr > 45.0, "{hz} Hz: {snr} dB");
        }
    }

    #[test]
    fn what_8_khz_cannot_carry_is_gone() {
        for hz in [4_500.0, 7_000.0, 12_000.0] {
            let narrow = down(&sine(48_000.0, hz, 48_000));
            let loudest = narrow.iter().skip(500).map(|sample| sample.unsigned_abs()).max();
            assert!(loudest < Some(32), "{hz} Hz: {loudest:?}");
        }
    }

    #[test]
    fn silence_is_silent_only_after_the_last_sound_has_died_away() {
        let mut upsampler = Upsampler::new();
        let mut wide = [1; WIDE];
        upsampler.frame(&[0; NARROW], &mut wide);
        assert_eq!(wide, [0; WIDE]);
        upsampler.frame(&[10_000; NARROW], &mut wide);
        upsampler.frame(&[], &mut wide);
        assert!(wide[..48].iter().all(|&sample| sample > 5_000));
        assert_eq!(wide[192..], [0; WIDE - 192]);
    }

    #[test]
    fn full_scale_does_not_wrap_around() {
        let square: Vec<i16> = (0..1_600).map(|n| if n / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let wide = up(&square);
        assert!(wide[2_000..].windows(2).all(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs() < 30_000));
    }
}
