//! Master key to session keys: the AES-CM key derivation of RFC 3711 §4.3, with RFC 6188 for 256 bits and RFC 7714 §11 for GCM.
//!
//! The key derivation rate is 0: session keys are derived once, and live as long as the master key.

use super::cipher::Aes;
use super::suite::Suite;
use crate::secret::Secret;
use zeroize::Zeroizing;

/// Why bytes are not a master key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// The suite wants another number of bytes, key and salt together.
    #[error("the master key and salt have {found} bytes, {} wants {wanted}", suite.as_str())]
    Length {
        /// The suite.
        suite: Suite,
        /// What it wants.
        wanted: usize,
        /// What was there.
        found: usize,
    },
    /// The cryptographic library refused to take the key.
    #[error("the cryptographic library refused the key")]
    Library,
}

/// A master key and master salt for one direction, and the suite that they are for.
#[derive(Debug)]
pub struct MasterKey {
    suite: Suite,
    key_and_salt: Secret<Vec<u8>>,
}

impl MasterKey {
    /// Takes the bytes over as they stand in `inline:` (RFC 4568 §6.1): the key, then the salt.
    pub fn new(suite: Suite, key_and_salt: Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let (wanted, found) = (suite.key_len() + suite.salt_len(), key_and_salt.expose().len());
        if wanted == found {
            Ok(MasterKey { suite, key_and_salt })
        } else {
            Err(KeyError::Length { suite, wanted, found })
        }
    }

    /// The suite.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Fills `out` with the session key, salt or authentication key of `label` (RFC 3711 §4.3.1).
    pub(super) fn derive(&self, label: u8, out: &mut [u8]) {
        let (key, salt) = self.key_and_salt.expose().split_at(self.suite.key_len());
        // x · 2^16 of RFC 3711 §4.3.3. A 96-bit salt stands at the front as a 112-bit one does.
        let mut counter = Zeroizing::new([0u8; 16]);
        counter[..salt.len()].copy_from_slice(salt);
        counter[7] ^= label;
        out.fill(0);
        Aes::new(key).apply_keystream(&counter, out);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn a_key_of_any_other_length_is_refused() {
        for suite in Suite::ALL {
            let wanted = suite.key_len() + suite.salt_len();
            for found in 0..80 {
                let key = MasterKey::new(suite, Secret::new(vec![1; found]));
                assert_eq!(key.is_ok(), found == wanted, "{suite:?} {found}");
            }
        }
        let error = MasterKey::new(Suite::AesCm128HmacSha1_80, Secret::new(vec![1; 16])).unwrap_err();
        assert_eq!(error.to_string(), "the master key and salt have 16 bytes, AES_CM_128_HMAC_SHA1_80 wants 30");
    }

    #[test]
    fn debug_shows_no_key() {
        let key = MasterKey::new(Suite::AesCm128HmacSha1_80, Secret::new(vec![0xAB; 30])).unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey { suite: AesCm128HmacSha1_80, key_and_salt: Secret(…) }");
    }
}
