//! Where a packet belongs: its 16-bit sequence number and 32-bit timestamp, unfolded (RFC 3550 §5.1, A.1).

use super::Ticks;
use crate::units::unfold_sequence;

/// RFC 3550 A.1: further ahead or behind than this, a packet is from another sequence.
const MAX_DROPOUT: i64 = 3_000;
const MAX_MISORDER: i64 = 100;

/// What a packet's numbers say about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// It belongs to what came before.
    InOrder(Position),
    /// The sender began anew; everything before is history.
    Restarted(Position),
    /// It was here already.
    Duplicate,
    /// Its numbers fit nothing. If the next packet follows it, they are a new beginning.
    Stray,
}

/// A packet's place in its sender's sequence and on its timeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    /// The unfolded sequence number.
    pub(super) index: u64,
    /// The unfolded timestamp.
    pub(super) at: Ticks,
    /// No packet with a higher number came before it.
    pub(super) newest: bool,
}

struct Newest {
    position: Position,
    timestamp: u32,
}

/// The numbering of one sender.
pub(super) struct Order {
    /// Ticks in one tick of the sender's RTP clock.
    scale: Ticks,
    newest: Option<Newest>,
    first: u64,
    /// Bit n: the packet n before the newest was here.
    seen: u128,
    /// The number that would confirm a new sequence.
    suspected: Option<u16>,
    received: u64,
    /// Packets that the sequences before the present one had.
    expected_before: u64,
}

impl Order {
    pub(super) fn new(scale: Ticks) -> Order {
        Order { scale, newest: None, first: 0, seen: 0, suspected: None, received: 0, expected_before: 0 }
    }

    /// Finds a packet's place. `idle`: nothing has been heard lately, so any packet may be a new beginning.
    pub(super) fn place(&mut self, sequence: u16, timestamp: u32, idle: bool) -> Place {
        let Some(newest) = &self.newest else {
            return Place::Restarted(self.begin(sequence, timestamp));
        };
        let index = unfold_sequence(newest.position.index, sequence);
        let ahead = index as i64 - newest.position.index as i64;
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&ahead) {
            if idle || self.suspected == Some(sequence) {
                return Place::Restarted(self.begin(sequence, timestamp));
            }
            self.suspected = Some(sequence.wrapping_add(1));
            return Place::Stray;
        }
        self.suspected = None;
        let later = timestamp.wrapping_sub(newest.timestamp) as i32;
        let at = newest.position.at + Ticks::from(later) * self.scale;
        let position = Position { index, at, newest: ahead > 0 };
        if ahead > 0 {
            if later < 0 {
                // a higher number with an older timestamp: nobody's clock runs backwards
                return Place::Restarted(self.begin(sequence, timestamp));
            }
            self.seen = self.seen.checked_shl(ahead as u32).unwrap_or(0) | 1;
            self.newest = Some(Newest { position, timestamp });
        } else {
            if later > 0 || (ahead == 0 && later != 0) {
                // its number is old and its time is not: after silence, a new sequence that happens to begin here
                if idle {
                    return Place::Restarted(self.begin(sequence, timestamp));
                }
                return Place::Stray;
            }
            let bit = 1 << -ahead;
            if self.seen & bit != 0 {
                return Place::Duplicate;
            }
            self.seen |= bit;
            // it can be older than the packet that we began with
            self.first = self.first.min(index);
        }
        self.received += 1;
        Place::InOrder(position)
    }

    /// The next packet begins a new sequence whatever its numbers are.
    pub(super) fn restart(&mut self) {
        self.expected_before = self.expected();
        self.newest = None;
        self.suspected = None;
    }

    fn begin(&mut self, sequence: u16, timestamp: u32) -> Position {
        self.restart();
        // one cycle up, so that packets from before the first have a number too
        let index = 0x1_0000 + u64::from(sequence);
        let position = Position { index, at: Ticks::from(timestamp) * self.scale, newest: true };
        self.newest = Some(Newest { position, timestamp });
        self.first = index;
        self.seen = 1;
        self.received += 1;
        position
    }

    /// Packets that came, each counted once.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Packets that were sent, as far as their numbers tell.
    fn expected(&self) -> u64 {
        self.expected_before + self.newest.as_ref().map_or(0, |newest| newest.position.index + 1 - self.first)
    }

    /// Packets that did not come (RFC 3550 A.3).
    pub(super) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    fn index(place: Place) -> u64 {
        match place {
            Place::InOrder(position) | Place::Restarted(position) => position.index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn any_first_packet_is_a_beginning_and_the_numbers_wrap_around() {
        for start in [0, 1, 0x7fff, 0xff00, 0xffff] {
            let mut order = Order::new(1);
            let first = index(order.place(start, u32::MAX - 100, false));
            for n in 1..1_000_u16 {
                let timestamp = (u32::MAX - 100).wrapping_add(u32::from(n) * 960);
                let Place::InOrder(position) = order.place(start.wrapping_add(n), timestamp, false) else {
                    panic!("packet {n} after {start}")
                };
                assert_eq!(position.index, first + u64::from(n));
                assert_eq!(position.at, Ticks::from(u32::MAX - 100) + Ticks::from(n) * 960);
            }
            assert_eq!((order.received(), order.lost()), (1_000, 0));
        }
    }

    #[test]
    fn an_older_packet_has_its_place_even_before_the_first() {
        let mut order = Order::new(6);
        let first = index(order.place(0, 160, false));
        let before = order.place(0xffff, 0, false);
        assert_eq!(before, Place::InOrder(Position { index: first - 1, at: 0, newest: false }));
        assert_eq!(order.place(0xffff, 0, false), Place::Duplicate);
        assert_eq!(order.place(0, 160, false), Place::Duplicate);
        assert_eq!((order.received(), order.lost()), (2, 0));
    }

    #[test]
    fn a_gap_counts_as_lost_until_it_is_filled() {
        let mut order = Order::new(1);
        order.place(10, 0, false);
        order.place(13, 3_000, false);
        assert_eq!(order.lost(), 2);
        order.place(11, 1_000, false);
        assert_eq!(order.lost(), 1);
    }

    #[test]
    fn a_stray_packet_changes_nothing_but_two_in_a_row_are_a_new_beginning() {
        let mut order = Order::new(1);
        order.place(10, 0, false);
        assert_eq!(order.place(30_000, 77, false), Place::Stray);
        assert!(matches!(order.place(11, 960, false), Place::InOrder(_)));
        assert_eq!(order.place(30_000, 77, false), Place::Stray);
        assert!(matches!(order.place(30_001, 77, false), Place::Restarted(_)));
        assert_eq!(order.lost(), 0);
    }

    #[test]
    fn after_silence_the_first_packet_of_a_new_sequence_is_taken_at_once() {
        let mut order = Order::new(1);
        order.place(10, 0, false);
        assert!(matches!(order.place(30_000, 77, true), Place::Restarted(_)));
    }

    #[test]
    fn a_timestamp_that_steps_back_is_a_new_beginning() {
        let mut order = Order::new(1);
        order.place(10, 1_000_000, false);
        assert!(matches!(order.place(11, 500, false), Place::Restarted(_)));
        assert!(matches!(order.place(12, 1_460, false), Place::InOrder(_)));
        assert_eq!(order.place(9, 2_000_000, false), Place::Stray, "older by number, newer by clock");
    }
}
