//! Sounds to send: tones, noise, and something like speech that is the same on every machine.

use std::f64::consts::TAU;

/// A sine of `hz`, `samples` long, with an amplitude of 0 to 1 of full scale.
pub fn sine(rate: u32, hz: f64, amplitude: f64, samples: usize) -> Vec<i16> {
    let step = TAU * hz / f64::from(rate);
    (0..samples).map(|n| to_sample((n as f64 * step).sin() * amplitude)).collect()
}

/// White noise, uniformly distributed.
pub fn noise(samples: usize, amplitude: f64, seed: u64) -> Vec<i16> {
    let mut dice = Dice(seed);
    (0..samples).map(|_| to_sample(dice.between(-amplitude, amplitude))).collect()
}

/// Something like speech: syllables of 80 to 300 ms with a pitch that wanders between 90 and 220 Hz, two formants and
/// a rise and fall, some of them hisses, with pauses between words. About -20 dB of full scale.
pub fn speech_like(rate: u32, samples: usize, seed: u64) -> Vec<i16> {
    let mut dice = Dice(seed);
    let mut sound = Vec::with_capacity(samples);
    let rate = f64::from(rate);
    let mut pitch = 130.0;
    while sound.len() < samples {
        if dice.between(0.0, 1.0) < 0.15 {
            let pause = (dice.between(0.05, 0.4) * rate) as usize;
            sound.resize(sound.len() + pause, 0);
            continue;
        }
        let length = (dice.between(0.08, 0.3) * rate) as usize;
        let voiced = dice.between(0.0, 1.0) < 0.8;
        let loudness = dice.between(0.12, 0.35);
        let formants = [dice.between(300.0, 800.0), dice.between(900.0, 2_400.0)];
        let next_pitch = dice.between(90.0, 220.0);
        let mut phase = 0.0;
        for n in 0..length {
            let position = n as f64 / length as f64;
            let rise_and_fall = (position * TAU / 2.0).sin();
            let hz = pitch + (next_pitch - pitch) * position;
            phase += TAU * hz / rate;
            let value = if voiced { glottis(phase, hz, formants) } else { dice.between(-0.4, 0.4) };
            sound.push(to_sample(value * loudness * rise_and_fall));
        }
        pitch = next_pitch;
    }
    sound.truncate(samples);
    sound
}

/// The harmonics of a voice, each as strong as the formant next to it lets it be.
fn glottis(phase: f64, hz: f64, formants: [f64; 2]) -> f64 {
    let harmonics = (3_400.0 / hz) as u32;
    (1..=harmonics)
        .map(|harmonic| {
            let frequency = hz * f64::from(harmonic);
            let strength: f64 =
                formants.iter().map(|formant| 1.0 / (1.0 + ((frequency - formant) / 120.0).powi(2))).sum();
            (phase * f64::from(harmonic)).sin() * (strength + 0.02)
        })
        .sum::<f64>()
        / 2.0
}

fn to_sample(value: f64) -> i16 {
    // `as` saturates
    (value * 32_767.0) as i16
}

/// A seeded generator (SplitMix64): the same numbers on every machine. Not for secrets.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number at least `low` and below `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::level_dbfs;

    #[test]
    fn a_sine_has_its_level_and_its_length() {
        let tone = sine(48_000, 440.0, 1.0, 48_000);
        assert_eq!(tone.len(), 48_000);
        assert!((level_dbfs(&tone) + 3.01).abs() < 0.02);
    }

    #[test]
    fn speech_is_loud_enough_never_clipped_and_the_same_each_time() {
        for seed in 0..5 {
            let speech = speech_like(8_000, 80_000, seed);
            assert_eq!(speech.len(), 80_000);
            assert!(speech.iter().all(|&sample| sample.unsigned_abs() < 32_000));
            let level = level_dbfs(&speech);
            assert!((-32.0..-15.0).contains(&level), "{level}");
            assert_eq!(speech, speech_like(8_000, 80_000, seed));
            assert_ne!(speech, speech_like(8_000, 80_000, seed + 1));
        }
    }

    #[test]
    fn dice_are_splitmix64_and_even() {
        assert_eq!(Dice(1).roll(), 0x910a_2dec_8902_5cc1);
        let mut dice = Dice(1);
        let mean = (0..100_000).map(|_| dice.between(2.0, 4.0)).sum::<f64>() / 100_000.0;
        assert!((mean - 3.0).abs() < 0.01, "{mean}");
    }
}
