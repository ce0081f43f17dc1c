//! Packet loss concealment for G.711: the last pitch period again and again, quieter and quieter.
//!
//! After ITU-T G.711 Appendix I, without its 3.75 ms of extra delay: the seam is smoothed by fading out the step
//! between the sound and its repetition. Full level for 10 ms, then down to silence at 60 ms.

/// 40 ms at 8 kHz: the longest period looked for and the stretch that is compared.
const HISTORY: usize = 320;
/// 5 ms: 200 Hz.
const SHORTEST_PERIOD: usize = 40;
/// 15 ms: 66 Hz.
const LONGEST_PERIOD: usize = 120;
/// 20 ms: what is compared with its own past to find the period.
const TEMPLATE: usize = 160;
/// 10 ms at full level.
const FULL: usize = 80;
/// 60 ms until silence.
const END: usize = 480;
/// 4 ms: the seams.
const SEAM: usize = 32;

pub(super) struct Concealer {
    /// The newest good samples, newest last.
    history: [i16; HISTORY],
    /// Samples concealed since the last good one.
    run: usize,
    period: usize,
    /// The step from the last good sample to its repetition.
    step: f32,
}

impl Concealer {
    pub(super) fn new() -> Concealer {
        Concealer { history: [0; HISTORY], run: 0, period: LONGEST_PERIOD, step: 0.0 }
    }

    /// Remembers good sound, and fades over from concealment if there was some.
    pub(super) fn good(&mut self, samples: &mut [i16]) {
        if self.run > 0 {
            for (n, sample) in samples.iter_mut().take(SEAM).enumerate() {
                let fade = (n + 1) as f32 / (SEAM + 1) as f32;
                *sample = (self.guess() * (1.0 - fade) + f32::from(*sample) * fade) as i16;
                self.run += 1;
            }
            self.run = 0;
        }
        let kept = samples.len().min(HISTORY);
        self.history.copy_within(kept.., 0);
        self.history[HISTORY - kept..].copy_from_slice(&samples[samples.len() - kept..]);
    }

    /// Goes on from the last good sound.
    pub(super) fn conceal(&mut self, out: &mut [i16]) {
        if self.run == 0 {
            self.period = find_period(&self.history);
            self.step = f32::from(self.history[HISTORY - 1]) - f32::from(self.history[HISTORY - 1 - self.period]);
        }
        for sample in out {
            *sample = self.guess() as i16;
            self.run = (self.run + 1).min(END);
        }
    }

    /// The sample `run` samples after the last good one.
    fn guess(&self) -> f32 {
        let level = match self.run {
            0..FULL => 1.0,
            FULL..END => (END - self.run) as f32 / (END - FULL) as f32,
            _ => return 0.0,
        };
        let phase = self.run % self.period;
        let sample = f32::from(self.history[HISTORY - self.period + phase]);
        // towards its end a period fades into what once led to its beginning, so that it closes on itself
        let seam = SEAM.min(self.period / 4);
        let left = self.period - phase;
        let closed = if left <= seam {
            let before = f32::from(self.history[HISTORY - 2 * self.period + phase]);
            let fade = left as f32 / (seam + 1) as f32;
            sample * fade + before * (1.0 - fade)
        } else {
            sample
        };
        let smooth = if self.run < SEAM { self.step * (SEAM - self.run) as f32 / (SEAM + 1) as f32 } else { 0.0 };
        ((closed + smooth) * level).clamp(-32768.0, 32767.0)
    }
}

/// The lag at which the end of the history resembles its own past most.
fn find_period(history: &[i16; HISTORY]) -> usize {
    let recent = &history[HISTORY - TEMPLATE..];
    let mut best = (f32::MIN, LONGEST_PERIOD);
    for lag in SHORTEST_PERIOD..=LONGEST_PERIOD {
        let past = &history[HISTORY - TEMPLATE - lag..HISTORY - lag];
        let mut product = 0.0;
        let mut energy = 1.0;
        for (&a, &b) in recent.iter().zip(past) {
            let (a, b) = (f32::from(a), f32::from(b));
            product += a * b;
            energy += b * b;
        }
        let likeness = product / energy.sqrt();
        if likeness > best.0 {
            best = (likeness, lag);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(from: usize, length: usize) -> Vec<i16> {
        (from..from + length).map(|n| ((n as f32 * 0.157).sin() * 10_000.0) as i16).collect()
    }

    #[test]
    fn a_tone_goes_on_in_phase_for_20_ms() {
        let mut concealer = Concealer::new();
        concealer.good(&mut tone(0, 320));
        let mut out = [0; 160];
        concealer.conceal(&mut out);
        for (n, (guess, truth)) in out.iter().zip(tone(320, 160)).take(80).enumerate() {
            assert!((i32::from(*guess) - i32::from(truth)).abs() < 1_500, "sample {n}: {guess} for {truth}");
        }
    }

    #[test]
    fn concealment_ends_in_silence_after_60_ms() {
        let mut concealer = Concealer::new();
        concealer.good(&mut tone(0, 320));
        let mut out = [0; 800];
        concealer.conceal(&mut out);
        assert!(out[..80].iter().any(|sample| sample.abs() > 8_000));
        assert!(out[END..].iter().all(|&sample| sample == 0));
        concealer.conceal(&mut out);
        assert!(out.iter().all(|&sample| sample == 0));
    }

    #[test]
    fn sound_after_concealment_has_no_step() {
        let mut concealer = Concealer::new();
        concealer.good(&mut tone(0, 320));
        let mut gap = [0; 170];
        concealer.conceal(&mut gap);
        // the gap ends on a crest and the sound goes on in antiphase
        let mut after = tone(490 + 20, 160);
        concealer.good(&mut after);
        let joined: Vec<i16> = gap.iter().chain(&after).copied().collect();
        let step = joined.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
        // the tone itself moves by 1570 per sample
        assert!(step < Some(3_000), "{step:?}");
    }

    #[test]
    fn silence_and_full_scale_are_concealed_without_overflow() {
        let mut concealer = Concealer::new();
        let mut out = [0; 160];
        concealer.conceal(&mut out);
        assert_eq!(out, [0; 160]);
        let mut square: Vec<i16> = (0..320).map(|n| if n / 25 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        concealer.good(&mut square);
        concealer.conceal(&mut out);
    }
}
