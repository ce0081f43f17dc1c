//! The packets that wait to be played, in the order of their sequence numbers. Never more than a fixed number;
//! payload buffers are used again.

use super::Ticks;
use super::order::Position;
use std::collections::VecDeque;

/// 2.5 s of 20 ms packets: the longest target delay, a backlog before it is thrown away, and room to spare.
const CAPACITY: usize = 128;

/// A packet that waits.
pub(super) struct Waiting {
    /// Its unfolded sequence number.
    pub(super) index: u64,
    /// Its unfolded timestamp: when it begins.
    pub(super) at: Ticks,
    /// How long it sounds.
    pub(super) duration: Ticks,
    pub(super) payload: Vec<u8>,
}

impl Waiting {
    /// When it ends.
    pub(super) fn end(&self) -> Ticks {
        self.at + self.duration
    }
}

/// The waiting packets of one sender.
pub(super) struct JitterBuffer {
    queue: VecDeque<Waiting>,
    spare: Vec<Vec<u8>>,
}

impl JitterBuffer {
    pub(super) fn new() -> JitterBuffer {
        JitterBuffer { queue: VecDeque::with_capacity(CAPACITY), spare: Vec::with_capacity(CAPACITY) }
    }

    /// Puts a packet in its place. True if the oldest had to go for it.
    pub(super) fn insert(&mut self, position: Position, duration: Ticks, payload: &[u8]) -> bool {
        let full = self.queue.len() >= CAPACITY;
        if full {
            self.drop_first();
        }
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.extend_from_slice(payload);
        let waiting = Waiting { index: position.index, at: position.at, duration, payload: copy };
        // nearly always the last place
        let place = self.queue.iter().rposition(|other| other.index < position.index).map_or(0, |last| last + 1);
        self.queue.insert(place, waiting);
        full
    }

    /// The packet with the lowest number.
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.queue.front()
    }

    /// Takes the packet with the lowest number out. Give it back when it was read.
    pub(super) fn take_first(&mut self) -> Option<Waiting> {
        self.queue.pop_front()
    }

    /// Keeps the packet's buffer for another.
    pub(super) fn give_back(&mut self, mut waiting: Waiting) {
        waiting.payload.clear();
        self.spare.push(waiting.payload);
    }

    pub(super) fn drop_first(&mut self) {
        if let Some(waiting) = self.take_first() {
            self.give_back(waiting);
        }
    }

    /// Drops everything; says how many packets that was.
    pub(super) fn clear(&mut self) -> u64 {
        let count = self.queue.len() as u64;
        while !self.queue.is_empty() {
            self.drop_first();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(buffer: &mut JitterBuffer, index: u64) -> bool {
        buffer.insert(Position { index, at: index as Ticks * 960, newest: true }, 960, &[index as u8])
    }

    #[test]
    fn packets_come_out_in_the_order_of_their_numbers() {
        let mut buffer = JitterBuffer::new();
        for index in [5, 3, 9, 4, 1] {
            assert!(!insert(&mut buffer, index));
        }
        let mut out = Vec::new();
        while let Some(waiting) = buffer.take_first() {
            out.push((waiting.index, waiting.payload[0], waiting.end()));
            buffer.give_back(waiting);
        }
        assert_eq!(out, [1, 3, 4, 5, 9].map(|n| (n, n as u8, n as Ticks * 960 + 960)));
    }

    #[test]
    fn a_full_buffer_drops_its_oldest_packet_and_grows_no_further() {
        let mut buffer = JitterBuffer::new();
        for index in 0..1_000 {
            assert_eq!(insert(&mut buffer, index), index >= CAPACITY as u64);
        }
        assert_eq!(buffer.first().map(|waiting| waiting.index), Some(1_000 - CAPACITY as u64));
        assert_eq!(buffer.clear(), CAPACITY as u64);
        assert_eq!(buffer.spare.len(), CAPACITY);
    }
}
