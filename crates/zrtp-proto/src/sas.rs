//! The short authentication string (RFC 6189 §5.1.6, §7) and how it is shown.
//!
//! It is no secret. It says something only if two *people* compare it by voice.

use crate::words;
use core::fmt;

/// sasvalue: the leftmost 32 bits of sashash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sas(u32);

/// z-base-32, made for being read aloud.
const BASE32: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

impl Sas {
    /// From sasvalue.
    pub const fn new(value: u32) -> Self {
        Sas(value)
    }

    /// sasvalue.
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Type `B32 `: the leftmost 20 bits as four characters.
    pub fn base32(self) -> Base32 {
        // "for (i=0,shift=27; i!=4; ++i,shift-=5) n = (bits>>shift) & 31" (§5.1.6)
        Base32([27, 22, 17, 12].map(|shift| BASE32[(self.0 >> shift) as usize & 31]))
    }

    /// Type `B256`: the leftmost 16 bits as two words of the PGP word list, the first from the even half, the second from the odd one.
    pub fn words(self) -> [&'static str; 2] {
        let [first, second, ..] = self.0.to_be_bytes();
        [words::EVEN[usize::from(first)], words::ODD[usize::from(second)]]
    }
}

impl fmt::Debug for Sas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sas({})", self.base32())
    }
}

/// Four characters.
///
/// Linphone's screen halves them: the called side says the first two and hears the last two, the caller the other way round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Base32([u8; 4]);

impl Base32 {
    /// What the side that was called says.
    pub fn called_says(&self) -> &str {
        core::str::from_utf8(&self.0[..2]).unwrap_or_default()
    }

    /// What the side that called says.
    pub fn caller_says(&self) -> &str {
        core::str::from_utf8(&self.0[2..]).unwrap_or_default()
    }
}

impl fmt::Display for Base32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.called_says(), self.caller_says())
    }
}
