//! What a phone is told aloud, and when: one sentence at a time, the warning of a clear call first of all and again every ten minutes.
//!
//! In: orders, and each tick at which the phone listens. Out: which sentence, since when, and whether anything else may be heard.

use super::TICK;
use crate::audio::{Announcement, Language};
use crate::units::SampleRate;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A phone whose call is not encrypted hears so this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// A sentence under way. Phones whose sentences are equal hear the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Told {
    announcement: Announcement,
    language: Language,
    begun: Instant,
    /// Nothing of the conference is heard before it has ended.
    pub(super) alone: bool,
}

impl Told {
    /// The 20 ms of the tick at `at`; `None` when it has ended.
    pub(super) fn frame(self, at: Instant, rate: SampleRate) -> Option<&'static [i16]> {
        let tick = at.saturating_duration_since(self.begun).as_micros() / TICK.as_micros();
        let start = usize::try_from(tick).ok()?.checked_mul(rate.frame())?;
        self.announcement.samples(self.language, rate).get(start..)?.get(..rate.frame())
    }
}

/// The sentences of one phone.
pub(super) struct Telling {
    language: Language,
    warning: Option<Announcement>,
    /// When the warning is due; `None` before it was heard for the first time.
    warn_at: Option<Instant>,
    waiting: VecDeque<Announcement>,
    now: Option<Told>,
}

impl Telling {
    /// `warning`: what comes before everything else, and again and again.
    pub(super) fn new(language: Language, warning: Option<Announcement>) -> Self {
        Telling { language, warning, warn_at: None, waiting: VecDeque::new(), now: None }
    }

    /// Once, when nothing else is said. What waits already is not said twice.
    pub(super) fn add(&mut self, announcement: Announcement) {
        if !self.waiting.contains(&announcement) {
            self.waiting.push_back(announcement);
        }
    }

    /// There is nothing to warn of any more.
    pub(super) fn end_warning(&mut self) {
        let warning = self.warning.take();
        self.now.take_if(|now| Some(now.announcement) == warning);
    }

    /// The phone stops listening, or begins to: what it has not heard to its end begins anew.
    pub(super) fn interrupt(&mut self) {
        let Some(now) = self.now.take() else { return };
        if now.alone {
            self.warn_at = None;
        } else {
            self.waiting.push_front(now.announcement);
        }
    }

    /// The sentence of this tick. To be asked at each tick at which the phone listens, and at no other.
    pub(super) fn next(&mut self, at: Instant, rate: SampleRate) -> Option<Told> {
        self.now.take_if(|now| now.frame(at, rate).is_none());
        if self.now.is_none() {
            self.now = self.begin(at).filter(|told| told.frame(at, rate).is_some());
        }
        self.now
    }

    fn begin(&mut self, at: Instant) -> Option<Told> {
        let language = self.language;
        if let Some(announcement) = self.warning.filter(|_| self.warn_at.is_none_or(|due| due <= at)) {
            let alone = self.warn_at.replace(at + WARNING_INTERVAL).is_none();
            return Some(Told { announcement, language, begun: at, alone });
        }
        let announcement = self.waiting.pop_front()?;
        Some(Told { announcement, language, begun: at, alone: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: SampleRate = SampleRate::Hz8000;

    #[test]
    fn a_warning_comes_at_once_and_then_every_ten_minutes_for_as_long_as_the_call_lasts() {
        let start = Instant::now();
        let mut telling = Telling::new(Language::French, Some(Announcement::NotEncrypted));
        let mut begun = Vec::new();
        for tick in 0..4 * 3600 * 50 {
            if let Some(told) = telling.next(start + TICK * tick, RATE)
                && begun.last() != Some(&(told.begun, told.alone))
            {
                begun.push((told.begun, told.alone));
            }
        }
        let expected: Vec<_> = (0..24).map(|n| (start + WARNING_INTERVAL * n, n == 0)).collect();
        assert_eq!(begun, expected);
    }
}
