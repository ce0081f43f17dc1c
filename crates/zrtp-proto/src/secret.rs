//! Octets that must not be seen, kept or compared carelessly: retained secrets, SRTP keys, results of key agreements.
//!
//! Wiped when dropped, hidden in `Debug`, compared in constant time. Never `Clone`: a copy is a decision.

use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Secret octets.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        Secret(octets)
    }

    /// The octets, for the one line that needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second copy, wiped on its own.
    pub fn duplicate(&self) -> Self {
        Secret(self.0.clone())
    }

    /// Whether both hold the same octets: in constant time for equal lengths.
    pub fn equals(&self, other: &[u8]) -> bool {
        same(&self.0, other)
    }

    /// The leftmost `length` octets; the rest is wiped.
    pub(crate) fn truncated(mut self, length: usize) -> Self {
        self.0.get_mut(length..).unwrap_or_default().zeroize();
        self.0.truncate(length);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&[u8]> for Secret {
    fn from(octets: &[u8]) -> Self {
        Secret(octets.to_vec())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Equality in constant time for equal lengths. Every comparison of a MAC, a hash image or a secret goes through here.
pub(crate) fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
