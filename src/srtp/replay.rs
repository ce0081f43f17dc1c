//! The replay window (RFC 3711 §3.3.2): which of the last 128 packet indices were seen.
//!
//! The receiver drops what it has seen; the sender refuses to use an index twice.

/// A window of 128 indices that ends with the newest one seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    newest: u64,
    /// Bit n: index `newest - n` was seen.
    seen: u128,
}

impl Window {
    /// The window after the first packet.
    pub(super) fn new(first: u64) -> Self {
        Window { newest: first, seen: 1 }
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// True if `index` is new: beyond the window, or in it and not seen. Left of the window nobody knows, so false.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(age) if age < 128 => self.seen >> age & 1 == 0,
            Some(_) => false,
        }
    }

    /// Marks `index` as seen. Only for a packet that authenticated.
    pub(super) fn accept(&mut self, index: u64) {
        if let Some(age) = self.newest.checked_sub(index) {
            if age < 128 {
                self.seen |= 1 << age;
            }
            return;
        }
        let ahead = index - self.newest;
        self.seen = if ahead < 128 { self.seen << ahead | 1 } else { 1 };
        self.newest = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn exactly_the_last_128_indices_are_remembered() {
        let mut window = Window::new(1000);
        assert!(!window.is_new(1000));
        assert!(window.is_new(873), "the oldest index of the window");
        assert!(!window.is_new(872), "left of the window");
        window.accept(873);
        assert!(!window.is_new(873));
        window.accept(1001);
        assert!(!window.is_new(873), "now left of the window");
        assert!(window.is_new(874));
    }

    #[test]
    fn a_jump_forgets_nothing_that_is_still_in_the_window() {
        for ahead in [1, 127, 128, 129, 1 << 40] {
            let mut window = Window::new(5);
            window.accept(5 + ahead);
            assert!(!window.is_new(5), "{ahead}");
            assert!(!window.is_new(5 + ahead), "{ahead}");
            assert_eq!(window.is_new(4 + ahead), ahead > 1, "{ahead}");
        }
    }

    proptest! {
        #[test]
        fn no_index_is_new_twice(start in 0u64..1 << 47, steps in prop::collection::vec(0u64..400, 1..300)) {
            let mut window = Window::new(start + 200);
            let mut seen = HashSet::from([start + 200]);
            for step in steps {
                let index = start + step;
                if window.is_new(index) {
                    prop_assert!(seen.insert(index));
                    window.accept(index);
                } else {
                    prop_assert!(seen.contains(&index) || index + 128 <= window.newest());
                }
            }
        }
    }
}
