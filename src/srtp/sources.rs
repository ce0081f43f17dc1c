//! The synchronisation sources of one direction, each with its replay window: at most eight, without allocation.

use super::replay::Window;
use crate::units::Ssrc;

/// How many sources are remembered. A phone has one; a restart or a transfer brings a new one.
pub(super) const MAX_SOURCES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Source {
    ssrc: Ssrc,
    window: Window,
    /// The table's count of packets when this source was last heard.
    heard: u64,
}

/// The table of sources.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sources {
    table: [Option<Source>; MAX_SOURCES],
    packets: u64,
}

impl Sources {
    /// The source's window, if it is known.
    pub(super) fn window(&self, ssrc: Ssrc) -> Option<&Window> {
        self.table.iter().flatten().find(|source| source.ssrc == ssrc).map(|source| &source.window)
    }

    /// True if a new source would push another one out.
    pub(super) fn is_full(&self) -> bool {
        self.table.iter().all(Option::is_some)
    }

    /// Remembers that this index was used. A new source takes a free place, or that of the source not heard for longest.
    /// Only for a packet that authenticated (or that we send). A source that is pushed out takes its window along: its old
    /// packets would count as new. That takes nine sources under one key, which only who has the key can bring about.
    pub(super) fn accept(&mut self, ssrc: Ssrc, index: u64) {
        self.packets += 1;
        let heard = self.packets;
        if let Some(source) = self.table.iter_mut().flatten().find(|source| source.ssrc == ssrc) {
            source.window.accept(index);
            source.heard = heard;
        } else if let Some(place) = self.table.iter_mut().min_by_key(|place| place.map_or(0, |source| source.heard)) {
            *place = Some(Source { ssrc, window: Window::new(index), heard });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ninth_source_takes_the_place_of_the_one_not_heard_for_longest() {
        let mut sources = Sources::default();
        for ssrc in 1..=8 {
            assert!(!sources.is_full());
            sources.accept(Ssrc(ssrc), 100);
        }
        assert!(sources.is_full());
        sources.accept(Ssrc(1), 101);
        sources.accept(Ssrc(9), 7);
        assert!(sources.window(Ssrc(2)).is_none(), "source 2 was not heard for longest");
        for ssrc in [1, 3, 4, 5, 6, 7, 8, 9] {
            assert!(sources.window(Ssrc(ssrc)).is_some(), "{ssrc}");
        }
        assert_eq!(sources.window(Ssrc(1)).map(Window::newest), Some(101));
    }
}
