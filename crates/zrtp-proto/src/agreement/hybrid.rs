//! X1M1: X25519 and ML-KEM-512 together, in Linphone's (bzrtp's) layout. No RFC describes it.
//!
//! ```text
//! Commit   public key   pk  = X25519 public i (32) ‖ encapsulation key (800)
//! DHPart1  ciphertext   ct  = X25519 public r (32) ‖ ML-KEM ciphertext (768)
//! DHPart2  nonce        16 random octets, which hvi commits to; pk is bound by total_hash
//!
//! ss1      = HKDF(salt "", ikm "ZRTPKEM" ‖ 0020 ‖ "eae_prk" ‖ X25519 result,
//!                 info 0020 ‖ "ZRTP-v1.1KEM" ‖ 0020 ‖ "shared_secret" ‖ ct1 ‖ pk1, 32 octets)
//! ss2      = ML-KEM shared secret
//! DHResult = HMAC(HMAC(HMAC("", ss1), ss2), ct)
//! ```
//!
//! HKDF and HMAC use the negotiated hash.

use super::software::X255;
use super::{Agreement, BadPublicValue};
use crate::hash::mac;
use crate::{Hash, Purpose, Random, Secret};
use ml_kem::{Decapsulate, KeyExport, MlKem512};
use zeroize::{Zeroize, Zeroizing};

type DecapsulationKey = ml_kem::DecapsulationKey<MlKem512>;
type EncapsulationKey = ml_kem::EncapsulationKey<MlKem512>;

/// The side that makes the key pairs.
pub(super) struct Initiator {
    x25519: X255,
    ml_kem: DecapsulationKey,
    public_key: Vec<u8>,
    nonce: [u8; 16],
}

impl Initiator {
    pub(super) fn generate(random: &mut dyn Random) -> Self {
        let x25519 = X255::generate(random);
        let mut seed = ml_kem::Seed::default();
        random.fill(Purpose::MlKemKeyPair, &mut seed);
        let ml_kem = DecapsulationKey::from_seed(seed);
        seed.zeroize();
        let mut nonce = [0; 16];
        random.fill(Purpose::Nonce, &mut nonce);
        let public_key = [x25519.public().as_slice(), &ml_kem.encapsulation_key().to_bytes()].concat();
        Initiator { x25519, ml_kem, public_key, nonce }
    }
}

impl Agreement for Initiator {
    fn commit_value(&self) -> &[u8] {
        &self.public_key
    }

    fn part_value(&self) -> &[u8] {
        &self.nonce
    }

    fn finish(self: Box<Self>, ciphertext: &[u8], hash: Hash) -> Result<Secret, BadPublicValue> {
        let (x25519, ml_kem) = ciphertext.split_first_chunk::<32>().ok_or(BadPublicValue)?;
        let raw = self.x25519.shared(x25519)?;
        let ss2 = Zeroizing::new(self.ml_kem.decapsulate_slice(ml_kem).map_err(|_| BadPublicValue)?);
        let ss1 = x25519_secret(hash, &raw, x25519, self.x25519.public());
        Ok(combine(hash, &ss1, &ss2[..], ciphertext))
    }
}

/// The side that encapsulates to the key in the Commit; it knows the result at once.
pub(super) struct Responder {
    ciphertext: Vec<u8>,
    result: Secret,
}

impl Responder {
    pub(super) fn answer(public_key: &[u8], hash: Hash, random: &mut dyn Random) -> Result<Self, BadPublicValue> {
        let (peer_x25519, peer_ml_kem) = public_key.split_first_chunk::<32>().ok_or(BadPublicValue)?;
        // length and modulus check of FIPS 203 §7.2
        let key = peer_ml_kem.try_into().map_err(|_| BadPublicValue)?;
        let ml_kem = EncapsulationKey::new(key).map_err(|_| BadPublicValue)?;
        let x25519 = X255::generate(random);
        let raw = x25519.shared(peer_x25519)?;
        let mut message = ml_kem::B32::default();
        random.fill(Purpose::MlKemMessage, &mut message);
        let (encapsulated, ss2) = ml_kem.encapsulate_deterministic(&message);
        message.zeroize();
        let ss2 = Zeroizing::new(ss2);
        let ciphertext = [x25519.public().as_slice(), &encapsulated].concat();
        let ss1 = x25519_secret(hash, &raw, x25519.public(), peer_x25519);
        let result = combine(hash, &ss1, &ss2[..], &ciphertext);
        Ok(Responder { ciphertext, result })
    }
}

impl Agreement for Responder {
    fn commit_value(&self) -> &[u8] {
        &[]
    }

    fn part_value(&self) -> &[u8] {
        &self.ciphertext
    }

    fn finish(self: Box<Self>, nonce: &[u8], _hash: Hash) -> Result<Secret, BadPublicValue> {
        if nonce.len() == 16 { Ok(self.result) } else { Err(BadPublicValue) }
    }
}

/// X25519 as a KEM: `ss1` above.
fn x25519_secret(hash: Hash, raw: &Secret, ciphertext: &[u8; 32], public_key: &[u8; 32]) -> Secret {
    // HKDF-Extract with an empty salt, then the one block of HKDF-Expand that 32 octets need (RFC 5869)
    let prk = mac(hash, &[], &[b"ZRTPKEM", &[0x00, 0x20], b"eae_prk", raw.expose()]);
    let info: &[&[u8]] =
        &[&[0x00, 0x20], b"ZRTP-v1.1KEM", &[0x00, 0x20], b"shared_secret", ciphertext, public_key, &[1]];
    mac(hash, prk.expose(), info).truncated(32)
}

fn combine(hash: Hash, ss1: &Secret, ss2: &[u8], ciphertext: &[u8]) -> Secret {
    let first = mac(hash, &[], &[ss1.expose()]);
    let second = mac(hash, first.expose(), &[ss2]);
    mac(hash, second.expose(), &[ciphertext])
}
