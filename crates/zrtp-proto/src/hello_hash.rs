//! `a=zrtp-hash` (RFC 6189 §8.1): the SHA-256 of a Hello message, as the signalling carries it.

use crate::secret::same;
use core::fmt;
use core::str::FromStr;
use sha2::{Digest, Sha256};

/// The hash of a Hello. `Display` and `FromStr` are the value of the attribute: `1.10 ` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HelloHash([u8; 32]);

impl HelloHash {
    /// Of a Hello message, without packet header and CRC.
    pub(crate) fn of(hello: &[u8]) -> Self {
        HelloHash(Sha256::digest(hello).into())
    }

    pub(crate) fn matches(&self, hello: &[u8]) -> bool {
        same(&self.0, &HelloHash::of(hello).0)
    }

    /// Of the values of all `a=zrtp-hash` lines of a media description the one for version 1.10 (a peer that speaks several
    /// versions sends several).
    pub fn choose<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        values.into_iter().find_map(|value| value.parse().ok())
    }
}

impl fmt::Display for HelloHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1.10 ")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for HelloHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no `a=zrtp-hash` value of version 1.10.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAHelloHash;

impl fmt::Display for NotAHelloHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a zrtp-hash of version 1.10")
    }
}

impl std::error::Error for NotAHelloHash {}

impl FromStr for HelloHash {
    type Err = NotAHelloHash;

    fn from_str(text: &str) -> Result<Self, NotAHelloHash> {
        let (version, digits) = text.trim().split_once(' ').ok_or(NotAHelloHash)?;
        let digits = digits.trim();
        // only the first three characters of a version count (§4.1.1)
        if version.len() != 4 || !version.starts_with("1.1") || digits.len() != 64 || !digits.is_ascii() {
            return Err(NotAHelloHash);
        }
        let mut hash = [0; 32];
        for (octet, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or(NotAHelloHash)?;
            let low = char::from(pair[1]).to_digit(16).ok_or(NotAHelloHash)?;
            *octet = (high * 16 + low) as u8;
        }
        Ok(HelloHash(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let hash = HelloHash::of(b"hello");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
        for wrong in
            ["", "1.10", "1.10 00", "2.00 ", &hash.to_string()[..68], &format!("{hash}0"), &hash.to_string()[5..]]
        {
            assert_eq!(wrong.parse::<HelloHash>(), Err(NotAHelloHash), "{wrong}");
        }
        assert_eq!(hash.to_string().replacen("1.10", "2.00", 1).parse::<HelloHash>(), Err(NotAHelloHash));
    }

    #[test]
    fn chooses_the_line_of_its_version() {
        let ours = HelloHash::of(b"hello").to_string();
        let later = ours.replacen("1.10", "2.00", 1);
        assert_eq!(HelloHash::choose([later.as_str(), ours.as_str()]).map(|hash| hash.to_string()), Some(ours));
        assert_eq!(HelloHash::choose([later.as_str()]), None);
    }
}
