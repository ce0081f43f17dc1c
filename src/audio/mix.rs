//! Adds talkers up: once for everybody, and once more with a listener's own voice taken away again.
//!
//! Sums are 32 bit wide, so nothing is lost before the [`Limiter`], which turns a sum that is too loud down for as
//! long as it is too loud instead of cutting its tops off.

use crate::units::SampleRate;

/// So much quieter are the others behind what somebody is told: 18 dB.
const FAR_BEHIND: i32 = 8;

/// The sum of all talkers in one 20 ms frame.
pub struct Mix {
    total: Vec<i32>,
}

impl Mix {
    /// A mix of frames at `rate`, silent.
    pub fn new(rate: SampleRate) -> Mix {
        Mix { total: vec![0; rate.frame()] }
    }

    /// Begins the next frame.
    pub fn clear(&mut self) {
        self.total.fill(0);
    }

    /// Adds one talker's frame.
    pub fn add(&mut self, frame: &[i16]) {
        for (sum, &sample) in self.total.iter_mut().zip(frame) {
            *sum = sum.saturating_add(i32::from(sample));
        }
    }

    /// What somebody hears who said nothing: everyone. Each distinct mix has a limiter of its own.
    pub fn everyone(&self, limiter: &mut Limiter, out: &mut [i16]) {
        limiter.frame(self.total.iter().copied(), out);
    }

    /// What a talker hears: everyone but himself. `own` is the frame that was added for him.
    pub fn without(&self, own: &[i16], limiter: &mut Limiter, out: &mut [i16]) {
        let own = own.iter().copied().chain(std::iter::repeat(0));
        limiter.frame(self.total.iter().zip(own).map(|(&sum, own)| sum.saturating_sub(i32::from(own))), out);
    }

    /// What somebody hears who is told something: `told`, and everyone but himself far behind it. `own` is empty for who said nothing.
    pub fn behind(&self, told: &[i16], own: &[i16], limiter: &mut Limiter, out: &mut [i16]) {
        let own = own.iter().copied().chain(std::iter::repeat(0));
        let others = self.total.iter().zip(own).map(|(&sum, own)| sum.saturating_sub(i32::from(own)) / FAR_BEHIND);
        limiter.frame(others.zip(told).map(|(others, &told)| others.saturating_add(i32::from(told))), out);
    }
}

/// The loudest that leaves the limiter on purpose: half a decibel below full scale.
const CEILING: f32 = 30_900.0;
/// Blocks of a frame, 2.5 ms each, for which the gain is decided.
const BLOCKS: usize = 8;
/// How fast the gain comes back, per block: 6 dB in a quarter of a second.
const RELEASE: f32 = 1.007;

/// Turns down what is too loud: at once, and back up slowly. What is not too loud passes unchanged, bit by bit.
#[derive(Clone, Debug)]
pub struct Limiter {
    gain: f32,
    sums: Vec<i32>,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter::new()
    }
}

impl Limiter {
    /// A limiter at rest.
    pub fn new() -> Limiter {
        Limiter { gain: 1.0, sums: Vec::with_capacity(SampleRate::Hz48000.frame()) }
    }

    fn frame(&mut self, sums: impl Iterator<Item = i32>, out: &mut [i16]) {
        self.sums.clear();
        self.sums.extend(sums.take(out.len()));
        out.fill(0);
        let length = (out.len() / BLOCKS).max(1);
        for block in 0..self.sums.len().div_ceil(length) {
            let start = block * length;
            let end = (start + length).min(self.sums.len());
            // the gain reached at the end of a block must suit it and the next one, which begins there
            let seen = (end + length).min(self.sums.len());
            let peak = self.sums[start..seen].iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(0) as f32;
            let wanted = (self.gain * RELEASE).min(1.0).min(CEILING / peak.max(1.0));
            let slope = (wanted - self.gain) / (end - start) as f32;
            for (sum, out) in self.sums[start..end].iter().zip(&mut out[start..end]) {
                self.gain += slope;
                *out = if self.gain == 1.0 { soft(*sum as f32) } else { soft(*sum as f32 * self.gain) };
            }
            self.gain = wanted;
        }
    }
}

/// A last bend for a frame that begins louder than the one before let expect: straight up to the ceiling, then
/// approaching full scale without ever passing it.
fn soft(value: f32) -> i16 {
    let size = value.abs();
    if size <= CEILING {
        return value as i16;
    }
    let room = 32_767.0 - CEILING;
    let bent = CEILING + room * ((size - CEILING) / room).tanh();
    bent.copysign(value) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    const RATE: SampleRate = SampleRate::Hz8000;

    fn tone(frame: usize, hz: f32, amplitude: f32) -> Vec<i16> {
        let step = 2.0 * std::f32::consts::PI * hz / RATE.hz() as f32;
        (0..160).map(|n| (((frame * 160 + n) as f32 * step).sin() * amplitude) as i16).collect()
    }

    #[test]
    fn everyone_is_the_sum_and_without_is_the_sum_of_the_others() {
        let talkers = [tone(0, 300.0, 5_000.0), tone(0, 500.0, 6_000.0), tone(0, 700.0, 7_000.0)];
        let mut mix = Mix::new(RATE);
        mix.add(&[1; 160]);
        mix.clear();
        talkers.iter().for_each(|talker| mix.add(talker));
        let mut out = [0; 160];
        mix.everyone(&mut Limiter::new(), &mut out);
        for n in 0..160 {
            assert_eq!(out[n], talkers.iter().map(|talker| talker[n]).sum::<i16>());
        }
        mix.without(&talkers[1], &mut Limiter::new(), &mut out);
        for n in 0..160 {
            assert_eq!(out[n], talkers[0][n] + talkers[2][n]);
        }
    }

    #[test]
    fn one_talker_alone_hears_nothing_and_is_heard_bit_by_bit() {
        let talker = tone(3, 440.0, 30_000.0);
        let mut mix = Mix::new(RATE);
        mix.add(&talker);
        let mut out = [7; 160];
        mix.without(&talker, &mut Limiter::new(), &mut out);
        assert_eq!(out, [0; 160]);
        mix.everyone(&mut Limiter::new(), &mut out);
        assert_eq!(out[..], talker[..]);
    }

    #[test]
    fn taking_away_a_full_scale_talker_leaves_the_quiet_one() {
        let (loud, quiet) = (tone(0, 440.0, 32_767.0), tone(0, 300.0, 900.0));
        let mut mix = Mix::new(RATE);
        mix.add(&loud);
        mix.add(&quiet);
        let mut out = [0; 160];
        mix.without(&loud, &mut Limiter::new(), &mut out);
        assert_eq!(out[..], quiet[..]);
    }

    /// The share of the power that is not the tone, over some frames, by least squares against sine and cosine.
    fn distortion(frames: &[Vec<i16>], hz: f32) -> f64 {
        let step = f64::from(2.0 * std::f32::consts::PI * hz / RATE.hz() as f32);
        let (mut s, mut c, mut total, mut count) = (0.0, 0.0, 0.0, 0.0);
        for (n, &sample) in frames.iter().flatten().enumerate() {
            let (x, angle) = (f64::from(sample), n as f64 * step);
            s += x * angle.sin();
            c += x * angle.cos();
            total += x * x;
            count += 1.0;
        }
        1.0 - (s * s + c * c) * 2.0 / count / total
    }

    #[test]
    fn ten_shouting_talkers_are_turned_down_and_not_cut_off() {
        let mut mix = Mix::new(RATE);
        let mut limiter = Limiter::new();
        let frames: Vec<Vec<i16>> = (0..50)
            .map(|frame| {
                mix.clear();
                (0..10).for_each(|_| mix.add(&tone(frame, 400.0, 32_000.0)));
                let mut out = vec![0; 160];
                mix.everyone(&mut limiter, &mut out);
                out
            })
            .collect();
        let loudest = frames.iter().flatten().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest > Some(29_000) && loudest <= Some(32_767), "{loudest:?}");
        // a clipped sine of ten times full scale is a square wave: 19 % distortion
        let steady = distortion(&frames[5..], 400.0);
        assert!(steady < 0.001, "{steady}");
        let attack = distortion(&frames[..5], 400.0);
        assert!(attack < 0.01, "{attack}");
    }

    #[test]
    fn shouting_that_begins_within_a_frame_is_turned_down_before_it_begins() {
        let mut mix = Mix::new(RATE);
        let mut shout = tone(0, 400.0, 30_000.0);
        shout[..100].fill(500);
        (0..10).for_each(|_| mix.add(&shout));
        let mut out = [0; 160];
        mix.everyone(&mut Limiter::new(), &mut out);
        let loudest = out.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest <= Some(CEILING as u16), "{loudest:?} needed the last bend");
        assert_eq!(out[..80], [5_000; 80]);
    }

    #[test]
    fn the_level_comes_back_after_the_shouting() {
        let mut mix = Mix::new(RATE);
        let mut limiter = Limiter::new();
        let mut out = [0; 160];
        (0..10).for_each(|_| mix.add(&[i16::MIN; 160]));
        mix.everyone(&mut limiter, &mut out);
        assert!(out.iter().all(|&sample| sample < -29_000), "never wraps around");
        mix.clear();
        mix.add(&[1_000; 160]);
        for _ in 0..50 {
            mix.everyone(&mut limiter, &mut out);
        }
        assert_eq!(out, [1_000; 160]);
    }
}
