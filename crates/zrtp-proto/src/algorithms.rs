//! The algorithms that this engine speaks, under their four-character names (RFC 6189 §5.1.2–5.1.6), and the lists of them.
//!
//! A name that is not here is skipped in a Hello and refused in a Commit.

/// A name of four characters, as it stands in a Hello or a Commit.
pub(crate) type Name = [u8; 4];

/// Declares an enum of algorithms with their names on the wire.
macro_rules! algorithms {
    ($(#[$about:meta])* $kind:ident { $($(#[doc = $doc:literal])+ $(#[cfg($condition:meta)])? $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum $kind { $($(#[doc = $doc])+ $(#[cfg($condition)])? $variant,)+ }

        impl $kind {
            /// The name on the wire, four characters.
            pub const fn name(self) -> &'static str {
                match self { $($(#[cfg($condition)])? $kind::$variant => $name,)+ }
            }

            pub(crate) fn from_name(name: Name) -> Option<Self> {
                const ALL: &[$kind] = &[$($(#[cfg($condition)])? $kind::$variant,)+];
                ALL.iter().copied().find(|candidate| candidate.name().as_bytes() == name)
            }
        }
    };
}

algorithms! {
    /// Hash type (§5.1.2): hvi, total_hash, key derivation.
    Hash {
        /// SHA-256, mandatory.
        S256 = "S256",
        /// SHA-384; EC38 requires it.
        S384 = "S384",
        /// SHA-512: no RFC, goes with X1M1.
        S512 = "S512",
    }
}

algorithms! {
    /// Cipher type (§5.1.3).
    Cipher {
        /// AES-128, mandatory.
        Aes1 = "AES1",
        /// AES-256 (RFC 6188).
        Aes3 = "AES3",
    }
}

algorithms! {
    /// SRTP authentication tag (§5.1.4).
    AuthTag {
        /// HMAC-SHA1, 32 bits, mandatory.
        Hs32 = "HS32",
        /// HMAC-SHA1, 80 bits, mandatory.
        Hs80 = "HS80",
        /// AES-GCM (RFC 7714): no RFC for ZRTP, the name that Linphone uses.
        Gcm = "GCM ",
    }
}

algorithms! {
    /// Key agreement (§5.1.5).
    KeyAgreement {
        /// Diffie-Hellman in the 3072-bit group of RFC 3526, mandatory.
        Dh3k = "DH3k",
        /// X25519 (RFC 7748): no RFC for ZRTP, the name that Linphone uses.
        X255 = "X255",
        /// ECDH on P-256.
        Ec25 = "EC25",
        /// ECDH on P-384.
        Ec38 = "EC38",
        /// X25519 with ML-KEM-512: no RFC, what Linphone's apps of 2026 prefer.
        #[cfg(feature = "x1m1")]
        X1m1 = "X1M1",
    }
}

algorithms! {
    /// How the SAS is shown (§5.1.6).
    SasType {
        /// Four characters of z-base-32, mandatory.
        B32 = "B32 ",
        /// Two words of the PGP word list.
        B256 = "B256",
    }
}

impl Hash {
    /// Length of its output in octets.
    pub const fn octets(self) -> usize {
        match self {
            Hash::S256 => 32,
            Hash::S384 => 48,
            Hash::S512 => 64,
        }
    }
}

impl Cipher {
    /// Length of its key in octets.
    pub const fn key_octets(self) -> usize {
        match self {
            Cipher::Aes1 => 16,
            Cipher::Aes3 => 32,
        }
    }
}

impl AuthTag {
    /// Length of the SRTP master salt in octets: 112 bits (RFC 3711, RFC 6188), 96 with GCM (RFC 7714).
    pub const fn salt_octets(self) -> usize {
        match self {
            AuthTag::Hs32 | AuthTag::Hs80 => 14,
            AuthTag::Gcm => 12,
        }
    }
}

/// What an exchange runs on: the initiator's choice, stated in its Commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Suite {
    /// Hash type.
    pub hash: Hash,
    /// Cipher of SRTP and of the Confirm messages.
    pub cipher: Cipher,
    /// SRTP authentication tag.
    pub auth_tag: AuthTag,
    /// Key agreement.
    pub agreement: KeyAgreement,
    /// How the SAS is shown.
    pub sas: SasType,
}

/// What this side offers, most wanted first. What the RFC makes mandatory is added at the end where it is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Hash types.
    pub hashes: Vec<Hash>,
    /// Ciphers.
    pub ciphers: Vec<Cipher>,
    /// SRTP authentication tags.
    pub auth_tags: Vec<AuthTag>,
    /// Key agreements.
    pub agreements: Vec<KeyAgreement>,
    /// SAS types.
    pub sas_types: Vec<SasType>,
}

impl Default for Offer {
    /// X1M1 before all others: a list that has DH3k before it turns X1M1 off with Linphone.
    fn default() -> Self {
        Offer {
            // S512 is for X1M1, which takes the strongest hash in common wherever it stands
            hashes: vec![
                Hash::S384,
                Hash::S256,
                #[cfg(feature = "x1m1")]
                Hash::S512,
            ],
            ciphers: vec![Cipher::Aes3, Cipher::Aes1],
            auth_tags: vec![AuthTag::Gcm, AuthTag::Hs80, AuthTag::Hs32],
            agreements: vec![
                #[cfg(feature = "x1m1")]
                KeyAgreement::X1m1,
                KeyAgreement::X255,
                KeyAgreement::Dh3k,
                KeyAgreement::Ec25,
                KeyAgreement::Ec38,
            ],
            sas_types: vec![SasType::B32, SasType::B256],
        }
    }
}

impl Offer {
    /// Without repetitions, with all that is mandatory.
    pub(crate) fn completed(mut self) -> Self {
        complete(&mut self.hashes, &[Hash::S256]);
        complete(&mut self.ciphers, &[Cipher::Aes1]);
        complete(&mut self.auth_tags, &[AuthTag::Hs80, AuthTag::Hs32]);
        complete(&mut self.agreements, &[KeyAgreement::Dh3k]);
        complete(&mut self.sas_types, &[SasType::B32]);
        self
    }
}

/// "If a mandatory algorithm is not included in the list, it is implicitly added to the end of the list" (§5.2).
fn complete<T: Copy + PartialEq>(list: &mut Vec<T>, mandatory: &[T]) {
    let mut whole: Vec<T> = Vec::with_capacity(list.len() + mandatory.len());
    for item in list.iter().chain(mandatory) {
        if !whole.contains(item) {
            whole.push(*item);
        }
    }
    *list = whole;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mandatory_algorithms_are_added_once_and_at_the_end() {
        let nothing =
            Offer { hashes: vec![], ciphers: vec![], auth_tags: vec![], agreements: vec![], sas_types: vec![] };
        let offer = nothing.completed();
        assert_eq!(offer.hashes, [Hash::S256]);
        assert_eq!(offer.auth_tags, [AuthTag::Hs80, AuthTag::Hs32]);
        assert_eq!(offer.agreements, [KeyAgreement::Dh3k]);
        let whole = Offer::default();
        assert_eq!(whole.clone().completed(), whole);
    }

    #[test]
    fn names_are_exact() {
        assert_eq!(AuthTag::from_name(*b"GCM "), Some(AuthTag::Gcm));
        assert_eq!(AuthTag::from_name(*b"GCM\0"), None);
        assert_eq!(KeyAgreement::from_name(*b"DH2k"), None);
    }
}
