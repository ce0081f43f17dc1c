//! The crypto suites: their names in SDP, and the lengths that follow from them.
//!
//! An allow-list. What is not here (NULL, F8, 192-bit keys, short GCM tags) cannot be asked for.

/// A crypto suite of RFC 4568 §6.2, RFC 6188 §4 or RFC 7714 §14.2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suite {
    /// AES-256 in Galois/Counter mode.
    AeadAes256Gcm,
    /// AES-128 in Galois/Counter mode.
    AeadAes128Gcm,
    /// AES-256 in counter mode, 80-bit HMAC-SHA1 tags.
    Aes256CmHmacSha1_80,
    /// AES-128 in counter mode, 80-bit HMAC-SHA1 tags: what every SRTP implementation has.
    AesCm128HmacSha1_80,
    /// AES-256 in counter mode, 32-bit tags on RTP.
    Aes256CmHmacSha1_32,
    /// AES-128 in counter mode, 32-bit tags on RTP.
    AesCm128HmacSha1_32,
}

impl Suite {
    /// Every suite, the preferred ones first.
    pub const ALL: [Suite; 6] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::Aes256CmHmacSha1_80,
        Suite::AesCm128HmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
        Suite::AesCm128HmacSha1_32,
    ];

    /// The name in `a=crypto`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of this name, if it is one of ours. ABNF strings ignore case (RFC 4568 §9.2, RFC 5234 §2.3).
    pub fn parse(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.as_str().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key, and of the session encryption key.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 => 32,
            Suite::AeadAes128Gcm | Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => 16,
        }
    }

    /// Bytes of the master salt, and of the session salt: 112 bits, 96 for GCM (RFC 7714 §12).
    pub const fn salt_len(self) -> usize {
        if self.is_gcm() { 12 } else { 14 }
    }

    /// Bytes of the tag on an RTP packet.
    pub const fn rtp_tag_len(self) -> usize {
        match self {
            Suite::AeadAes256Gcm | Suite::AeadAes128Gcm => 16,
            Suite::Aes256CmHmacSha1_80 | Suite::AesCm128HmacSha1_80 => 10,
            Suite::Aes256CmHmacSha1_32 | Suite::AesCm128HmacSha1_32 => 4,
        }
    }

    /// Bytes of the tag on an RTCP packet: the short tag is for RTP only (RFC 4568 §6.2.2, RFC 6188 §4).
    pub const fn rtcp_tag_len(self) -> usize {
        if self.is_gcm() { 16 } else { 10 }
    }

    /// True for the authenticated ciphers of RFC 7714.
    pub const fn is_gcm(self) -> bool {
        matches!(self, Suite::AeadAes256Gcm | Suite::AeadAes128Gcm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_parses_to_its_own_suite_and_no_other_name_parses() {
        for suite in Suite::ALL {
            assert_eq!(Suite::parse(suite.as_str()), Some(suite));
            assert_eq!(Suite::parse(&suite.as_str().to_ascii_lowercase()), Some(suite));
        }
        for name in ["NULL_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_80", "AES_CM_128_NULL_AUTH", ""]
        {
            assert_eq!(Suite::parse(name), None, "{name}");
        }
    }

    #[test]
    fn only_rtp_packets_have_the_short_tag() {
        let lengths = Suite::ALL.map(|suite| (suite.rtp_tag_len(), suite.rtcp_tag_len()));
        assert_eq!(lengths, [(16, 16), (16, 16), (10, 10), (10, 10), (4, 10), (4, 10)]);
    }
}
