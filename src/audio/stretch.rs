//! Shortens or lengthens sound by one pitch period without changing its pitch: how playout follows a sender's clock.
//!
//! Two stretches that look alike, a period apart, are faded into each other (WSOLA). Where nothing looks alike the
//! caller says whether it is urgent enough to do it all the same.

/// The shortest and the longest period tried, in microseconds, and the length of the fade.
const SHORTEST_US: usize = 2_500;
const LONGEST_US: usize = 15_000;
const FADE_US: usize = 5_000;

/// Below this likeness a splice is audible.
const ALIKE: f32 = 0.9;

/// Root mean square of a splice that nobody hears: -50 dBFS.
const QUIET: f32 = 104.0;

/// May a splice be audible?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    /// Only where it cannot be heard.
    Gentle,
    /// At the best place there is, now.
    Urgent,
}

/// Removes one period from the front of `pcm`, at `hz` samples per second. Says how many samples went; 0 if none
/// could. Leaves at least `keep`.
pub(super) fn shorten(pcm: &mut Vec<i16>, hz: usize, keep: usize, urgency: Urgency) -> usize {
    let longest = pcm.len().saturating_sub(keep);
    let Some(period) = splice(pcm, hz, longest, urgency) else { return 0 };
    // never longer than the period, or it would fade what is faded already
    let length = samples(hz, FADE_US).min(period);
    for n in 0..length {
        pcm[n + period] = fade(pcm[n], pcm[n + period], n, length);
    }
    pcm.drain(..period);
    period
}

/// Repeats one period at the front of `pcm`. Says how many samples came; 0 if none could.
pub(super) fn lengthen(pcm: &mut Vec<i16>, hz: usize, urgency: Urgency) -> usize {
    let Some(period) = splice(pcm, hz, usize::MAX, urgency) else { return 0 };
    let old = pcm.len();
    pcm.resize(old + period, 0);
    pcm.copy_within(..old, period);
    // the front now stands there twice: what follows its first copy fades into its second
    for n in 0..samples(hz, FADE_US) {
        let (continued, repeated) = (pcm[n + 2 * period], pcm[n + period]);
        pcm[n + period] = fade(continued, repeated, n, samples(hz, FADE_US));
    }
    period
}

fn samples(hz: usize, microseconds: usize) -> usize {
    hz * microseconds / 1_000_000
}

fn fade(from: i16, to: i16, n: usize, length: usize) -> i16 {
    let (from, to) = (i32::from(from), i32::from(to));
    let (n, length) = (n as i32 + 1, length as i32 + 1);
    (from + (to - from) * n / length) as i16
}

/// The period to splice at, at most `longest` samples.
fn splice(pcm: &[i16], hz: usize, longest: usize, urgency: Urgency) -> Option<usize> {
    let width = samples(hz, FADE_US);
    let shortest = samples(hz, SHORTEST_US);
    let longest = samples(hz, LONGEST_US).min(longest).min(pcm.len().saturating_sub(width));
    if longest < shortest {
        return None;
    }
    if energy(&pcm[..longest + width]) < QUIET * QUIET * (longest + width) as f32 {
        return Some(longest);
    }
    // at 48 kHz: first every sixth sample and lag, then finely around the best
    let stride = (hz / 8_000).max(1);
    let coarse = best(pcm, width, stride, (shortest..=longest).step_by(stride))?;
    let around = coarse.1.saturating_sub(stride).max(shortest)..=(coarse.1 + stride).min(longest);
    let (likeness, period) = best(pcm, width, 1, around)?;
    (likeness > ALIKE || urgency == Urgency::Urgent).then_some(period)
}

/// The lag at which the front is most like what follows, and how alike that is (normalised correlation).
fn best(pcm: &[i16], width: usize, stride: usize, lags: impl Iterator<Item = usize>) -> Option<(f32, usize)> {
    let front = &pcm[..width];
    let front_energy = energy_of(front.iter().step_by(stride));
    lags.map(|lag| {
        let later = &pcm[lag..lag + width];
        let (mut product, mut later_energy) = (0.0, 0.0);
        for (&a, &b) in front.iter().step_by(stride).zip(later.iter().step_by(stride)) {
            let (a, b) = (f32::from(a), f32::from(b));
            product += a * b;
            later_energy += b * b;
        }
        (product / (front_energy * later_energy + 1.0).sqrt(), lag)
    })
    .max_by(|a, b| a.0.total_cmp(&b.0))
}

fn energy(samples: &[i16]) -> f32 {
    energy_of(samples.iter())
}

fn energy_of<'a>(samples: impl Iterator<Item = &'a i16>) -> f32 {
    samples.map(|&sample| f32::from(sample).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: usize, frequency: f32, milliseconds: usize) -> Vec<i16> {
        let step = 2.0 * std::f32::consts::PI * frequency / hz as f32;
        (0..hz * milliseconds / 1000).map(|n| ((n as f32 * step).sin() * 10_000.0) as i16).collect()
    }

    /// The largest second difference: a click is one.
    fn roughness(pcm: &[i16]) -> i32 {
        let bend = |w: &[i16]| (i32::from(w[0]) - 2 * i32::from(w[1]) + i32::from(w[2])).abs();
        pcm.windows(3).map(bend).max().unwrap_or(0)
    }

    #[test]
    fn a_tone_is_shortened_and_lengthened_without_a_click() {
        for hz in [8_000, 48_000] {
            for frequency in [150.0, 440.0, 1_004.0] {
                let original = tone(hz, frequency, 40);
                let smooth = roughness(&original);
                let mut pcm = original.clone();
                let removed = shorten(&mut pcm, hz, hz / 50, Urgency::Gentle);
                assert!(removed > 0 && pcm.len() == original.len() - removed, "{frequency} Hz at {hz}");
                assert!(roughness(&pcm) <= smooth * 5 / 4 + 4, "{frequency} Hz at {hz}: {}", roughness(&pcm));
                assert!(pcm[0] - original[0] < 200, "goes on where the last frame ended");

                let mut pcm = original.clone();
                let added = lengthen(&mut pcm, hz, Urgency::Gentle);
                assert!(added > 0 && pcm.len() == original.len() + added);
                assert!(roughness(&pcm) <= smooth * 5 / 4 + 4, "{frequency} Hz at {hz}: {}", roughness(&pcm));
                assert_eq!(pcm[pcm.len() - 1], original[original.len() - 1]);
            }
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_is_urgent() {
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 17) as i16
        };
        let mut pcm: Vec<i16> = (0..320).map(|_| noise() - 8_192).collect();
        assert_eq!(shorten(&mut pcm, 8_000, 160, Urgency::Gentle), 0);
        assert_eq!(lengthen(&mut pcm, 8_000, Urgency::Gentle), 0);
        assert!(shorten(&mut pcm, 8_000, 160, Urgency::Urgent) > 0);
    }

    #[test]
    fn silence_is_shortened_by_as_much_as_there_is() {
        let mut pcm = vec![3; 320];
        assert_eq!(shorten(&mut pcm, 8_000, 160, Urgency::Gentle), 120);
    }

    #[test]
    fn too_little_sound_is_left_alone() {
        for length in 0..60 {
            let mut pcm = vec![0; length];
            assert_eq!(shorten(&mut pcm, 8_000, 0, Urgency::Urgent), 0);
            assert_eq!(lengthen(&mut pcm, 8_000, Urgency::Urgent), 0);
        }
        let mut pcm = vec![0; 170];
        assert_eq!(shorten(&mut pcm, 8_000, 160, Urgency::Urgent), 0, "keeps what the frame needs");
    }
}
