//! `Secret<T>`: wiped when dropped, hidden in `Debug`, compared in constant time.
//!
//! Keys, passwords and tokens live in one of these from the moment they are read. There is no `Display` and no `Clone` by accident.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that must not be seen, kept or compared carelessly.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value, for the one line that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize + Clone> Secret<T> {
    /// A second copy, wiped on its own; spelled out so that each copy is a decision.
    pub fn duplicate(&self) -> Self {
        Secret(self.0.clone())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Equality in constant time for equal lengths.
    pub fn equals(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<&str> for Secret<String> {
    fn from(text: &str) -> Self {
        Secret::new(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn equality_looks_at_every_byte_and_the_length() {
        let secret = Secret::new(vec![1u8, 2, 3]);
        assert!(secret.equals(&[1, 2, 3]));
        assert!(!secret.equals(&[1, 2, 4]));
        assert!(!secret.equals(&[1, 2]));
    }
}
