//! Confirm1 and Confirm2 (RFC 6189 §4.6, §5.7): what is inside, encrypted with AES in CFB mode and authenticated.
//!
//! The MAC is checked before anything is decrypted.

use crate::derive::Direction;
use crate::hash::{mac, short};
use crate::message::{self, Confirm};
use crate::secret::same;
use crate::{Cipher, Dropped, Hash, Lifetime, Role, wire};
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

/// What a Confirm says.
pub(crate) struct Plain {
    pub(crate) h0: Zeroizing<[u8; 32]>,
    /// V: the sender's user compared the SAS in an earlier call.
    pub(crate) verified: bool,
    /// D: the sender discloses the session key.
    pub(crate) discloses: bool,
    pub(crate) lifetime: Lifetime,
}

/// Bits of the flag octet. E (PBX enrolment) and A (allow clear) are never sent and never heeded.
const V: u8 = 4;
const D: u8 = 1;

/// The message that `sender` sends.
pub(crate) fn seal(sender: Role, hash: Hash, cipher: Cipher, keys: &Direction, iv: [u8; 16], plain: &Plain) -> Vec<u8> {
    let flags = if plain.verified { V } else { 0 } | if plain.discloses { D } else { 0 };
    let mut text = Zeroizing::new([&plain.h0[..], &[0, 0, 0, flags], &plain.lifetime.0.to_be_bytes()].concat());
    cfb(cipher, keys.zrtp_key.expose(), iv, &mut text, Way::Encrypt);
    // confirm_mac = MAC(mackey, encrypted part)
    let tag = short(mac(hash, keys.mac_key.expose(), &[&text]).expose());
    let kind = match sender {
        Role::Initiator => b"Confirm2",
        Role::Responder => b"Confirm1",
    };
    message::build(kind, &[&tag, &iv, &text])
}

/// The Confirm does not authenticate.
pub(crate) struct BadMac;

/// Opens the peer's: `Err(BadMac)` outside, a malformed inside within.
pub(crate) fn open(
    confirm: &Confirm<'_>,
    hash: Hash,
    cipher: Cipher,
    keys: &Direction,
) -> Result<Result<Plain, Dropped>, BadMac> {
    let tag = short(mac(hash, keys.mac_key.expose(), &[confirm.ciphertext]).expose());
    if !same(&tag, &confirm.mac) {
        return Err(BadMac);
    }
    let mut text = Zeroizing::new(confirm.ciphertext.to_vec());
    cfb(cipher, keys.zrtp_key.expose(), confirm.iv, &mut text, Way::Decrypt);
    Ok(plain(&text))
}

fn plain(text: &[u8]) -> Result<Plain, Dropped> {
    let (h0, rest) = text.split_first_chunk::<32>().ok_or(Dropped::Length)?;
    let (word, rest) = rest.split_first_chunk::<4>().ok_or(Dropped::Length)?;
    let (lifetime, signature) = rest.split_first_chunk::<4>().ok_or(Dropped::Length)?;
    // 15 bits unused, 9 bits length of the signature in words, 8 bits of flags
    let signature_words = usize::from(wire::number16(&word[1..3]) & 0x1ff);
    if signature.len() != 4 * signature_words {
        return Err(Dropped::Length);
    }
    Ok(Plain {
        h0: Zeroizing::new(*h0),
        verified: word[3] & V != 0,
        discloses: word[3] & D != 0,
        lifetime: Lifetime(u32::from_be_bytes(*lifetime)),
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Encrypt,
    Decrypt,
}

/// CFB with a feedback of 128 bits: "the final block is truncated to match the exact length".
fn cfb(cipher: Cipher, key: &[u8], iv: [u8; 16], text: &mut [u8], way: Way) {
    fn run<C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16> + KeyInit>(
        key: &[u8],
        iv: [u8; 16],
        text: &mut [u8],
        way: Way,
    ) {
        // the key comes from the KDF with exactly this cipher's length
        let Ok(cipher) = C::new_from_slice(key) else { return };
        let mut feedback = Array::from(iv);
        for chunk in text.chunks_mut(16) {
            cipher.encrypt_block(&mut feedback);
            let stream = feedback;
            for (place, (octet, mask)) in chunk.iter_mut().zip(stream).enumerate() {
                let ciphertext = if way == Way::Encrypt { *octet ^ mask } else { *octet };
                *octet ^= mask;
                feedback[place] = ciphertext;
            }
        }
    }
    match cipher {
        Cipher::Aes1 => run::<aes::Aes128>(key, iv, text, way),
        Cipher::Aes3 => run::<aes::Aes256>(key, iv, text, way),
    }
}

#[cfg(test)]
pub(crate) fn cfb_for_tests(cipher: Cipher, key: &[u8], iv: [u8; 16], text: &mut [u8]) {
    cfb(cipher, key, iv, text, Way::Encrypt);
}
