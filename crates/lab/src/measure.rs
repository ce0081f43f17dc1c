//! What was heard, in numbers: the share of a tone in a sound, and how alike two sounds are, wherever they begin.

/// Sounds are measured in pieces of this length, so that a clock that drifts, or a period that a jitter buffer took
/// out, does not count as a fault of the sound.
const PIECE_MS: usize = 100;

/// The share (0 to 1) of the power of `samples` that lies in a tone of `hz`. Silence has none.
///
/// The tone is fitted by least squares to each 100 ms, so its phase may wander.
pub fn tone_share(samples: &[i16], rate: u32, hz: f64) -> f64 {
    let step = std::f64::consts::TAU * hz / f64::from(rate);
    let (mut tone, mut all) = (0.0, 0.0);
    for piece in samples.chunks(rate as usize * PIECE_MS / 1000) {
        let (mut xs, mut xc, mut ss, mut cc, mut sc, mut xx) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (n, &sample) in piece.iter().enumerate() {
            let (sin, cos) = (n as f64 * step).sin_cos();
            let x = f64::from(sample);
            xs += x * sin;
            xc += x * cos;
            ss += sin * sin;
            cc += cos * cos;
            sc += sin * cos;
            xx += x * x;
        }
        let determinant = ss * cc - sc * sc;
        if determinant > 1e-9 {
            // the energy of the projection on the plane of sine and cosine
            tone += (xs * xs * cc - 2.0 * xs * xc * sc + xc * xc * ss) / determinant;
        }
        all += xx;
    }
    if all > 0.0 { tone / all } else { 0.0 }
}

/// The level in dB relative to full scale (a square wave at full scale has 0); -127 for silence.
pub fn level_dbfs(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    if energy == 0.0 {
        return -127.0;
    }
    (10.0 * (energy / samples.len() as f64 / 32_767.0_f64.powi(2)).log10()).max(-127.0)
}

/// The best place of one sound in another.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Match {
    /// Normalised correlation there: 1 for the same sound at any volume, about 0 for another.
    pub value: f64,
    /// Samples by which `heard` is later than `reference`.
    pub lag: isize,
}

/// The normalised cross-correlation of two sounds at one rate, at the best lag of at most `max_lag` samples either
/// way. Only lags at which at least half of the shorter sound overlaps count.
pub fn correlate(reference: &[i16], heard: &[i16], max_lag: usize) -> Match {
    let mut best = Match { value: 0.0, lag: 0 };
    if reference.is_empty() || heard.is_empty() {
        return best;
    }
    let size = (reference.len() + heard.len()).next_power_of_two();
    let products = products(reference, heard, size);
    let (reference_energy, heard_energy) = (energies(reference), energies(heard));
    let least = (reference.len().min(heard.len()) / 2).max(1) as isize;
    let (length, other) = (reference.len() as isize, heard.len() as isize);
    let max_lag = max_lag as isize;
    for lag in (-max_lag).max(least - length)..=max_lag.min(other - least) {
        // reference[from..to] lies over heard[from + lag..to + lag]
        let (from, to) = (0.max(-lag), length.min(other - lag));
        if to - from < least {
            continue;
        }
        let energy = |sums: &[f64], from: isize, to: isize| sums[to as usize] - sums[from as usize];
        let over = energy(&reference_energy, from, to) * energy(&heard_energy, from + lag, to + lag);
        let value = products[lag.rem_euclid(size as isize) as usize] / over.sqrt();
        if over > 0.0 && value > best.value {
            best = Match { value, lag };
        }
    }
    best
}

/// Like [`correlate`], but for sound that came through a jitter buffer: each half second of the reference is looked
/// for by itself within `max_drift` samples of where the whole was found, and the correlations are averaged by
/// energy. The lag is that of the whole.
pub fn correlate_in_pieces(reference: &[i16], heard: &[i16], rate: u32, max_lag: usize, max_drift: usize) -> Match {
    let whole = correlate(reference, heard, max_lag);
    let piece_length = rate as usize / 2;
    let (mut sum, mut weight) = (0.0, 0.0);
    for (number, piece) in reference.chunks(piece_length).enumerate() {
        let energy: f64 = piece.iter().map(|&sample| f64::from(sample).powi(2)).sum();
        let expected = (number * piece_length) as isize + whole.lag;
        let length = heard.len() as isize;
        let from = (expected - max_drift as isize).clamp(0, length) as usize;
        let to = (expected + (piece.len() + max_drift) as isize).clamp(0, length) as usize;
        sum += correlate(piece, &heard[from..to], to - from).value * energy;
        weight += energy;
    }
    Match { value: if weight > 0.0 { sum / weight } else { 0.0 }, lag: whole.lag }
}

/// Energies of all beginnings: entry n is that of the first n samples.
fn energies(samples: &[i16]) -> Vec<f64> {
    let mut sum = 0.0;
    let sums = samples.iter().map(|&sample| {
        sum += f64::from(sample).powi(2);
        sum
    });
    std::iter::once(0.0).chain(sums.collect::<Vec<_>>()).collect()
}

/// The inner products at all lags, by way of the frequency domain. Negative lags are at the end.
fn products(reference: &[i16], heard: &[i16], size: usize) -> Vec<f64> {
    // both in one transform: real sounds, one as real and one as imaginary part
    let mut both = vec![(0.0, 0.0); size];
    for (slot, &sample) in both.iter_mut().zip(reference) {
        slot.0 = f64::from(sample);
    }
    for (slot, &sample) in both.iter_mut().zip(heard) {
        slot.1 = f64::from(sample);
    }
    transform(&mut both);
    let mut product = vec![(0.0, 0.0); size];
    for (n, out) in product.iter_mut().enumerate() {
        let (a, b) = (both[n], both[(size - n) % size]);
        let reference = ((a.0 + b.0) / 2.0, (a.1 - b.1) / 2.0);
        let heard = ((a.1 + b.1) / 2.0, (b.0 - a.0) / 2.0);
        // reference × conjugate of heard: its forward transform is the inverse one of the conjugate, which we want
        *out = (reference.0 * heard.0 + reference.1 * heard.1, reference.1 * heard.0 - reference.0 * heard.1);
    }
    transform(&mut product);
    product.iter().map(|value| value.0 / size as f64).collect()
}

/// The fast Fourier transform, in place; the length is a power of two.
fn transform(values: &mut [(f64, f64)]) {
    let size = values.len();
    let mut reversed = 0;
    for n in 1..size {
        let mut bit = size >> 1;
        while reversed & bit != 0 {
            reversed ^= bit;
            bit >>= 1;
        }
        reversed |= bit;
        if n < reversed {
            values.swap(n, reversed);
        }
    }
    let turns: Vec<(f64, f64)> =
        (0..size / 2).map(|n| (-std::f64::consts::TAU * n as f64 / size as f64).sin_cos()).collect();
    let mut half = 1;
    while half < size {
        for group in values.chunks_exact_mut(2 * half) {
            let (low, high) = group.split_at_mut(half);
            for (n, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let (sin, cos) = turns[n * (size / 2 / half)];
                let turned = (b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos);
                *b = (a.0 - turned.0, a.1 - turned.1);
                *a = (a.0 + turned.0, a.1 + turned.1);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{noise, sine, speech_like};

    #[test]
    fn a_tone_is_all_tone_and_another_tone_or_silence_is_none() {
        let tone = sine(8_000, 440.5, 0.5, 8_000);
        assert!(tone_share(&tone, 8_000, 440.5) > 0.9999);
        assert!(tone_share(&tone, 8_000, 1_000.0) < 0.01);
        assert_eq!(tone_share(&[0; 8_000], 8_000, 440.0), 0.0);
        assert_eq!(tone_share(&[], 8_000, 440.0), 0.0);
    }

    #[test]
    fn a_tone_in_equally_strong_noise_has_half_the_power() {
        let tone = sine(48_000, 1_000.0, 0.3, 48_000);
        let rms = (tone.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / tone.len() as f64).sqrt();
        // uniform noise of amplitude a has the power a²/3
        let noise = noise(48_000, rms * 3.0_f64.sqrt() / 32_767.0, 7);
        let sum: Vec<i16> = tone.iter().zip(&noise).map(|(a, b)| a + b).collect();
        let share = tone_share(&sum, 48_000, 1_000.0);
        assert!((share - 0.5).abs() < 0.02, "{share}");
    }

    #[test]
    fn a_delayed_quieter_copy_is_found_where_it_is() {
        let reference = speech_like(8_000, 16_000, 1);
        for delay in [0_usize, 1, 777, 4_000] {
            let mut heard = vec![0; delay];
            heard.extend(reference.iter().map(|&sample| sample / 3));
            let found = correlate(&reference, &heard, 8_000);
            assert_eq!(found.lag, delay as isize);
            assert!(found.value > 0.999, "{found:?}");
            let back = correlate(&heard, &reference, 8_000);
            assert_eq!(back.lag, -(delay as isize));
        }
    }

    #[test]
    fn other_sounds_do_not_correlate() {
        let reference = speech_like(8_000, 16_000, 1);
        for other in [speech_like(8_000, 16_000, 2), noise(16_000, 0.5, 3), vec![0; 16_000], vec![]] {
            let found = correlate(&reference, &other, 4_000);
            assert!(found.value < 0.4, "{found:?}");
        }
    }

    #[test]
    fn the_transform_agrees_with_the_definition() {
        let reference = noise(37, 0.5, 1);
        let heard = noise(50, 0.5, 2);
        let products = products(&reference, &heard, 128);
        for lag in -36_isize..50 {
            let sum: f64 = (0..37)
                .filter_map(|n| {
                    let other = heard.get(usize::try_from(n + lag).ok()?)?;
                    Some(f64::from(reference[n as usize]) * f64::from(*other))
                })
                .sum();
            assert!((products[lag.rem_euclid(128) as usize] - sum).abs() < 1.0, "lag {lag}");
        }
    }

    #[test]
    fn a_missing_pitch_period_hurts_the_whole_but_not_the_pieces() {
        let reference = speech_like(8_000, 32_000, 5);
        let mut heard = vec![0; 500];
        heard.extend(&reference[..16_000]);
        heard.extend(&reference[16_100..]);
        assert!(correlate(&reference, &heard, 4_000).value < 0.8);
        let pieces = correlate_in_pieces(&reference, &heard, 8_000, 4_000, 800);
        assert!(pieces.value > 0.9, "{pieces:?}");
    }
}
