//! How loud a frame is, and whether somebody is talking.

use std::time::{Duration, Instant};

/// A talker is active while something above this level was heard ...
const ACTIVE_DBFS: f32 = -50.0;
/// ... within this time.
const HOLD: Duration = Duration::from_millis(400);

/// The level of a frame in dB relative to overload (the dBov of RFC 6464): 0 for a square wave at full scale, -3 for
/// a sine, -127 for silence.
pub fn level_dbfs(frame: &[i16]) -> f32 {
    let energy: f32 = frame.iter().map(|&sample| f32::from(sample).powi(2)).sum();
    if energy <= 0.0 {
        return -127.0;
    }
    (10.0 * (energy / frame.len() as f32 / 32_767.0_f32.powi(2)).log10()).max(-127.0)
}

/// Whether a talker is active: louder than -50 dBFS within the last 400 ms.
#[derive(Clone, Copy, Default, Debug)]
pub struct Activity {
    loud: Option<Instant>,
}

impl Activity {
    /// Takes note of a frame that was heard at `now`.
    pub fn heard(&mut self, now: Instant, frame: &[i16]) {
        if level_dbfs(frame) > ACTIVE_DBFS {
            self.loud = Some(now);
        }
    }

    /// Is this talker active?
    pub fn is_active(&self, now: Instant) -> bool {
        self.loud.is_some_and(|loud| now.saturating_duration_since(loud) <= HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(amplitude: i16) -> Vec<i16> {
        (0..160).map(|n| if n % 2 == 0 { amplitude } else { -amplitude }).collect()
    }

    #[test]
    fn levels_are_decibels_below_overload() {
        assert_eq!(level_dbfs(&[]), -127.0);
        assert_eq!(level_dbfs(&[0; 160]), -127.0);
        assert!((level_dbfs(&square(32_767)) - 0.0).abs() < 0.01);
        assert!((level_dbfs(&square(3_277)) + 20.0).abs() < 0.01);
        assert!((level_dbfs(&square(1)) + 90.3).abs() < 0.1);
    }

    #[test]
    fn a_talker_stays_active_for_400_ms_after_the_last_loud_frame() {
        let mut activity = Activity::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!activity.is_active(start));
        activity.heard(start, &square(100));
        assert!(!activity.is_active(start), "-50.3 dBFS is no talking");
        activity.heard(start, &square(110));
        activity.heard(at(20), &square(0));
        assert!(activity.is_active(at(400)));
        assert!(!activity.is_active(at(401)));
    }
}
