//! The two transforms: AES counter mode with HMAC-SHA1 (RFC 3711 §4, RFC 6188) and AES-GCM (RFC 7714), keys prepared once.
//!
//! In: the header, the text and its packet index. Out: the text encrypted in place and its tag, or decrypted if the tag is right.
//! It knows no sequence numbers, no replay and no packet layout; those are `protect`'s and `unprotect`'s.

use super::kdf::{KeyError, MasterKey};
use super::{MAX_PACKET, Suite};
use crate::secret::Secret;
use crate::units::Ssrc;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore, consts::U16};
use aes::{Aes128Enc, Aes256Enc};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ctr::{CtrCore, flavors};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Which of the two protocols a key is for; each has its own labels (RFC 3711 §4.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    Rtp,
    Rtcp,
}

/// What a packet's key stream or nonce is made of, and what else its tag covers.
pub(super) struct Position {
    pub(super) ssrc: Ssrc,
    /// ROC · 2^16 + SEQ, or the SRTCP index.
    pub(super) index: u64,
    /// The ROC, which is not sent, or the word with the E flag and the SRTCP index, which is.
    pub(super) word: [u8; 4],
}

impl Position {
    pub(super) fn rtp(ssrc: Ssrc, index: u64) -> Self {
        Position { ssrc, index, word: ((index >> 16) as u32).to_be_bytes() }
    }

    /// `None` beyond the 2^31 indices that there are.
    pub(super) fn rtcp(ssrc: Ssrc, index: u32, encrypted: bool) -> Option<Self> {
        let word = (index >> 31 == 0).then_some(u32::from(encrypted) << 31 | index)?;
        Some(Position { ssrc, index: u64::from(index), word: word.to_be_bytes() })
    }
}

/// A tag of 4, 10 or 16 bytes.
pub(super) struct Tag {
    bytes: [u8; 16],
    len: usize,
}

impl Tag {
    fn new(bytes: &[u8]) -> Self {
        let mut tag = Tag { bytes: [0; 16], len: bytes.len().min(16) };
        tag.bytes[..tag.len].copy_from_slice(&bytes[..tag.len]);
        tag
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The tag was wrong (or, when sealing, the library failed).
#[derive(Debug)]
pub(super) struct Failed;

/// The session keys of one protocol in one direction.
#[allow(clippy::large_enum_variant, reason = "one per call and direction; a box would cost each packet a cache miss")]
pub(super) enum Cipher {
    Counter { aes: Aes, hmac: Hmac<Sha1>, salt: Secret<[u8; 14]>, tag_len: usize },
    Gcm { key: LessSafeKey, salt: Secret<[u8; 12]>, protocol: Protocol },
}

impl Cipher {
    pub(super) fn new(master: &MasterKey, protocol: Protocol) -> Result<Self, KeyError> {
        let suite = master.suite();
        let (label, tag_len) = match protocol {
            Protocol::Rtp => (0, suite.rtp_tag_len()),
            Protocol::Rtcp => (3, suite.rtcp_tag_len()),
        };
        let mut key = Zeroizing::new([0u8; 32]);
        let key = &mut key[..suite.key_len()];
        master.derive(label, key);
        let mut hmac_key = Zeroizing::new([0u8; 20]);
        let mut salt = Zeroizing::new([0u8; 14]);
        master.derive(label + 1, &mut *hmac_key);
        master.derive(label + 2, &mut salt[..suite.salt_len()]);
        Cipher::from_session_keys(suite, protocol, key, &hmac_key, &salt, tag_len)
    }

    /// `salt` is used as far as the suite's salt goes. Apart from [`Cipher::new`] only the vectors of RFC 7714 come here.
    pub(super) fn from_session_keys(
        suite: Suite,
        protocol: Protocol,
        key: &[u8],
        hmac_key: &[u8; 20],
        salt: &[u8; 14],
        tag_len: usize,
    ) -> Result<Self, KeyError> {
        let algorithm = match suite {
            Suite::AeadAes128Gcm => &AES_128_GCM,
            Suite::AeadAes256Gcm => &AES_256_GCM,
            _ => {
                let hmac = Hmac::new_from_slice(hmac_key).map_err(|_| KeyError::Library)?;
                return Ok(Cipher::Counter { aes: Aes::new(key), hmac, salt: Secret::new(*salt), tag_len });
            }
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::Library)?;
        let [salt @ .., _, _] = *salt;
        Ok(Cipher::Gcm { key: LessSafeKey::new(key), salt: Secret::new(salt), protocol })
    }

    /// Encrypts `text` and returns the tag over `header`, the encrypted text and the word.
    pub(super) fn seal(&self, position: &Position, header: &[u8], text: &mut [u8]) -> Result<Tag, Failed> {
        match self {
            Cipher::Counter { aes, hmac, salt, tag_len } => {
                aes.apply_keystream(&counter(salt.expose(), position), text);
                Ok(Tag::new(&hmac_sha1(hmac, header, text, position)[..*tag_len]))
            }
            Cipher::Gcm { key, salt, protocol } => {
                let nonce = nonce(salt.expose(), position);
                let tag = with_aad(*protocol, position, header, |aad| {
                    key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).map_err(|_| Failed)
                })?;
                Ok(Tag::new(tag.as_ref()))
            }
        }
    }

    /// Decrypts `text` if `tag` is right. If it is not, nobody may look at `text` any more.
    pub(super) fn open(&self, position: &Position, header: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Failed> {
        match self {
            Cipher::Counter { aes, hmac, salt, tag_len } => {
                let expected = hmac_sha1(hmac, header, text, position);
                if !bool::from(expected[..*tag_len].ct_eq(tag)) {
                    return Err(Failed);
                }
                aes.apply_keystream(&counter(salt.expose(), position), text);
                Ok(())
            }
            Cipher::Gcm { key, salt, protocol } => {
                let nonce = nonce(salt.expose(), position);
                with_aad(*protocol, position, header, |aad| {
                    key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text).map_err(|_| Failed)
                })?;
                Ok(())
            }
        }
    }
}

/// The tag's HMAC-SHA1, of which the suite sends the first bytes (RFC 3711 §4.2).
fn hmac_sha1(prepared: &Hmac<Sha1>, header: &[u8], text: &[u8], position: &Position) -> [u8; 20] {
    let mut hmac = prepared.clone();
    hmac.update(header);
    hmac.update(text);
    hmac.update(&position.word);
    hmac.finalize().into_bytes().into()
}

/// The counter's first value: (salt · 2^16) ⊕ (SSRC · 2^64) ⊕ (index · 2^16) (RFC 3711 §4.1.1).
fn counter(salt: &[u8; 14], position: &Position) -> [u8; 16] {
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(salt);
    mix(&mut counter[4..14], position);
    counter
}

/// The nonce: 0, the SSRC and 48 bits of index, all ⊕ salt (RFC 7714 §8.1, §9.1).
fn nonce(salt: &[u8; 12], position: &Position) -> Nonce {
    let mut nonce = *salt;
    mix(&mut nonce[2..12], position);
    Nonce::assume_unique_for_key(nonce)
}

/// XORs the SSRC and the low 48 bits of the index into ten bytes.
fn mix(bytes: &mut [u8], position: &Position) {
    let ssrc = position.ssrc.0.to_be_bytes();
    let [_, _, index @ ..] = position.index.to_be_bytes();
    for (byte, value) in bytes.iter_mut().zip(ssrc.into_iter().chain(index)) {
        *byte ^= value;
    }
}

/// What GCM authenticates beside the text: RTP's header (RFC 7714 §8.2), or RTCP's clear part and the word (§9.2, §9.3).
fn with_aad<T>(
    protocol: Protocol,
    position: &Position,
    header: &[u8],
    then: impl FnOnce(&[u8]) -> Result<T, Failed>,
) -> Result<T, Failed> {
    if protocol == Protocol::Rtp {
        return then(header);
    }
    let len = header.len();
    let mut aad = [0; MAX_PACKET + 4];
    aad.get_mut(..len).ok_or(Failed)?.copy_from_slice(header);
    aad.get_mut(len..len + 4).ok_or(Failed)?.copy_from_slice(&position.word);
    then(&aad[..len + 4])
}

/// A prepared AES key, in the direction that counter mode needs.
pub(super) enum Aes {
    Bits128(Aes128Enc),
    Bits256(Aes256Enc),
}

impl Aes {
    /// Takes 16 or 32 bytes, which [`MasterKey`] has made sure of; of more or fewer it uses what fits.
    pub(super) fn new(key: &[u8]) -> Self {
        if let Ok(key) = key.try_into() {
            return Aes::Bits128(Aes128Enc::new(key));
        }
        let mut padded = Zeroizing::new([0; 32]);
        padded.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        Aes::Bits256(Aes256Enc::new((&*padded).into()))
    }

    /// XORs the key stream that starts at `counter` into `text`.
    pub(super) fn apply_keystream(&self, counter: &[u8; 16], text: &mut [u8]) {
        fn apply<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(aes: &C, counter: &[u8; 16], text: &mut [u8]) {
            CtrCore::<_, flavors::Ctr128BE>::inner_iv_init(aes, counter.into()).apply_keystream_partial(text.into());
        }
        match self {
            Aes::Bits128(aes) => apply(aes, counter, text),
            Aes::Bits256(aes) => apply(aes, counter, text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    #[test]
    fn prepared_keys_are_wiped_when_dropped() {
        // Does not compile without the `zeroize` features of aes, ctr and sha1. GCM's keys are wiped by AWS-LC's free.
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Aes128Enc>();
        wiped::<Aes256Enc>();
        wiped::<CtrCore<Aes128Enc, flavors::Ctr128BE>>();
        wiped::<Sha1>();
    }
}
