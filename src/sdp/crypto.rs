//! One `a=crypto` line (RFC 4568 §9.1), to and from text.
//!
//! Says what the line says; whether it is acceptable is decided by `keying` and `policy`. The key goes straight into a
//! [`Secret`]. Several keys in one line need a master key identifier, which we do not do, so they are an error here.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use zeroize::Zeroizing;

/// Longest key and salt of any suite, with room to spare.
const MAX_KEY: usize = 64;
const MAX_SESSION_PARAMS: usize = 16;

/// Phones differ on padding; RFC 4568 §6.1 wants it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// An `a=crypto` line.
#[derive(Debug)]
pub struct CryptoAttribute {
    /// Which line of the offer an answer means.
    pub tag: u32,
    /// The suite's name.
    pub suite: String,
    /// The master key and, after it, the master salt.
    pub key: Secret<Vec<u8>>,
    /// How many packets the key may protect; `None` is the suite's own maximum.
    pub lifetime: Option<u64>,
    /// The master key identifier, as written (`value:length`).
    pub mki: Option<String>,
    /// Session parameters, as written.
    pub session_params: Vec<String>,
}

/// Why a line is not a usable `a=crypto` line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CryptoError {
    /// Not `tag suite inline:key`.
    #[error("the line is not of the form \"tag suite inline:key\"")]
    Syntax,
    /// A tag is 1 to 9 digits without leading zeros.
    #[error("the tag is not a number of at most 9 digits")]
    Tag,
    /// The key is not base64 or far too long.
    #[error("the key is not valid base64")]
    Key,
    /// More than one `inline:`.
    #[error("several keys in one line are not supported")]
    SeveralKeys,
    /// A lifetime is a number of packets or `2^n`.
    #[error("the lifetime is not a number of packets")]
    Lifetime,
}

impl CryptoAttribute {
    /// A line without lifetime, MKI or session parameters: what we send.
    pub fn new(tag: u32, suite: &str, key: Secret<Vec<u8>>) -> Self {
        CryptoAttribute { tag, suite: suite.to_owned(), key, lifetime: None, mki: None, session_params: Vec::new() }
    }

    /// Reads what stands after `a=crypto:`.
    ///
    /// # Errors
    /// [`CryptoError`].
    pub fn parse(value: &str) -> Result<Self, CryptoError> {
        let mut words = value.split_ascii_whitespace();
        let mut word = || words.next().ok_or(CryptoError::Syntax);
        let (tag, suite, keys) = (word()?, word()?, word()?);
        if keys.contains(';') {
            return Err(CryptoError::SeveralKeys);
        }
        let (method, info) = keys.split_once(':').ok_or(CryptoError::Syntax)?;
        if !method.eq_ignore_ascii_case("inline") {
            return Err(CryptoError::Syntax);
        }
        let mut fields = info.split('|');
        let key = decode(fields.next().unwrap_or_default())?;
        let (mut lifetime, mut mki) = (None, None);
        for (place, field) in fields.enumerate() {
            // `|lifetime|MKI:length`, each of them optional
            if field.contains(':') && mki.is_none() {
                mki = Some(field.to_owned());
            } else if place == 0 {
                lifetime = Some(packets(field)?);
            } else {
                return Err(CryptoError::Syntax);
            }
        }
        let session_params: Vec<String> = words.take(MAX_SESSION_PARAMS + 1).map(str::to_owned).collect();
        if session_params.len() > MAX_SESSION_PARAMS {
            return Err(CryptoError::Syntax);
        }
        Ok(CryptoAttribute { tag: tag_number(tag)?, suite: suite.to_owned(), key, lifetime, mki, session_params })
    }

    /// What stands after `a=crypto:`. It contains the key, so it is made for one place only: the message's text.
    pub fn to_value(&self) -> String {
        let key = Zeroizing::new(STANDARD.encode(self.key.expose()));
        let mut value = format!("{} {} inline:{}", self.tag, self.suite, *key);
        if let Some(lifetime) = self.lifetime {
            value += &format!("|{lifetime}");
        }
        if let Some(mki) = &self.mki {
            value += &format!("|{mki}");
        }
        for parameter in &self.session_params {
            value += " ";
            value += parameter;
        }
        value
    }
}

/// `tag = 1*9DIGIT`, "leading zeroes MUST NOT be used" (RFC 4568 §4.1).
fn tag_number(tag: &str) -> Result<u32, CryptoError> {
    let digits = (1..=9).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_digit());
    let plain = tag == "0" || !tag.starts_with('0');
    if digits && plain { tag.parse().map_err(|_| CryptoError::Tag) } else { Err(CryptoError::Tag) }
}

fn decode(key: &str) -> Result<Secret<Vec<u8>>, CryptoError> {
    if key.len() > MAX_KEY * 2 {
        return Err(CryptoError::Key);
    }
    let mut bytes = Zeroizing::new([0u8; MAX_KEY * 2]);
    let length = LENIENT.decode_slice(key, bytes.as_mut_slice()).map_err(|_| CryptoError::Key)?;
    if length == 0 || length > MAX_KEY {
        return Err(CryptoError::Key);
    }
    Ok(Secret::new(bytes[..length].to_vec()))
}

/// `lifetime = ["2^"] 1*(DIGIT)`.
fn packets(field: &str) -> Result<u64, CryptoError> {
    let (power, digits) = match field.strip_prefix("2^") {
        Some(exponent) => (true, exponent),
        None => (false, field),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CryptoError::Lifetime);
    }
    let number: u64 = digits.parse().map_err(|_| CryptoError::Lifetime)?;
    let packets = if power { u32::try_from(number).ok().and_then(|n| 1u64.checked_shl(n)) } else { Some(number) };
    packets.filter(|packets| *packets > 0).ok_or(CryptoError::Lifetime)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn the_lines_of_rfc_4568_are_read() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:32 FEC_ORDER=FEC_SRTP -KDR=1");
        let crypto = CryptoAttribute::parse(&line).unwrap();
        assert_eq!((crypto.tag, crypto.suite.as_str()), (1, "AES_CM_128_HMAC_SHA1_80"));
        assert_eq!(crypto.key.expose().len(), 30);
        assert_eq!((crypto.lifetime, crypto.mki.as_deref()), (Some(1 << 20), Some("1:32")));
        assert_eq!(crypto.session_params, ["FEC_ORDER=FEC_SRTP", "-KDR=1"]);

        let mki_only = CryptoAttribute::parse(&format!("2 X inline:{KEY}|1:4")).unwrap();
        assert_eq!((mki_only.lifetime, mki_only.mki.as_deref()), (None, Some("1:4")));
        let decimal = CryptoAttribute::parse(&format!("2 X inline:{KEY}|1000")).unwrap();
        assert_eq!(decimal.lifetime, Some(1000));
    }

    #[test]
    fn what_is_printed_is_what_was_read() {
        for line in [
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("999999999 AEAD_AES_128_GCM inline:{KEY}|1048576|1:4 WSH=64"),
            "3 AES_256_CM_HMAC_SHA1_80 inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdA==".into(),
        ] {
            assert_eq!(CryptoAttribute::parse(&line).unwrap().to_value(), line);
        }
    }

    #[test]
    fn padding_may_be_missing() {
        let padded = CryptoAttribute::parse("1 X inline:QUJDREVGR0hJSktMTU5PUA==").unwrap();
        let bare = CryptoAttribute::parse("1 X inline:QUJDREVGR0hJSktMTU5PUA").unwrap();
        assert!(padded.key.equals(bare.key.expose()));
    }

    #[test]
    fn each_broken_line_has_its_error() {
        let cases = [
            ("", CryptoError::Syntax),
            ("1 X", CryptoError::Syntax),
            ("1 X uri:http://x", CryptoError::Syntax),
            ("0000000001 X inline:AAAA", CryptoError::Tag),
            ("01 X inline:AAAA", CryptoError::Tag),
            ("-1 X inline:AAAA", CryptoError::Tag),
            ("+1 X inline:AAAA", CryptoError::Tag),
            ("1 X inline:", CryptoError::Key),
            ("1 X inline:A*AA", CryptoError::Key),
            ("1 X inline:AAAA;inline:BBBB", CryptoError::SeveralKeys),
            ("1 X inline:AAAA|2^64", CryptoError::Lifetime),
            ("1 X inline:AAAA|0", CryptoError::Lifetime),
            ("1 X inline:AAAA|", CryptoError::Lifetime),
            ("1 X inline:AAAA|-5", CryptoError::Lifetime),
            ("1 X inline:AAAA|1:4|2:4", CryptoError::Syntax),
        ];
        for (line, error) in cases {
            assert_eq!(CryptoAttribute::parse(line).unwrap_err(), error, "{line}");
        }
        let long = format!("1 X inline:{}", "A".repeat(200));
        assert_eq!(CryptoAttribute::parse(&long).unwrap_err(), CryptoError::Key);
        let many = format!("1 X inline:AAAA{}", " WSH=64".repeat(17));
        assert_eq!(CryptoAttribute::parse(&many).unwrap_err(), CryptoError::Syntax);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let shown = format!("{:?}", CryptoAttribute::parse(&format!("1 X inline:{KEY}")).unwrap());
        assert!(shown.contains("Secret(…)"), "{shown}");
        assert!(!shown.contains("d0Rm") && !shown.contains("119, 68"), "{shown}");
    }
}
