//! The engine's own key agreements: DH3k, X255, EC25, EC38, and X1M1 in [`hybrid`](super::hybrid).
//!
//! Every public value of the peer is checked before it is used (RFC 6189 §4.4.1.2, §4.4.1.3).

use super::{Agreement, Agreements, BadPublicValue};
use crate::{Cipher, Hash, KeyAgreement, Purpose, Random, Secret};
use crypto_bigint::modular::ConstMontyParams;
use crypto_bigint::{Encoding, U512, U3072, const_monty_params};
use p256::elliptic_curve::sec1::ToSec1Point;
use sha2::{Digest, Sha384};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Constant-time implementations in Rust.
#[derive(Debug, Default)]
pub(crate) struct Software;

impl Agreements for Software {
    fn initiator(&mut self, kind: KeyAgreement, cipher: Cipher, random: &mut dyn Random) -> Box<dyn Agreement> {
        match kind {
            KeyAgreement::Dh3k => Box::new(Dh3k::generate(cipher, random)),
            KeyAgreement::X255 => Box::new(X255::generate(random)),
            KeyAgreement::Ec25 => Box::new(Ec25::generate(random)),
            KeyAgreement::Ec38 => Box::new(Ec38::generate(random)),
            #[cfg(feature = "x1m1")]
            KeyAgreement::X1m1 => Box::new(super::hybrid::Initiator::generate(random)),
        }
    }

    fn responder(
        &mut self,
        kind: KeyAgreement,
        cipher: Cipher,
        hash: Hash,
        commit_value: &[u8],
        random: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        let _ = (hash, commit_value);
        match kind {
            #[cfg(feature = "x1m1")]
            KeyAgreement::X1m1 => Ok(Box::new(super::hybrid::Responder::answer(commit_value, hash, random)?)),
            _ => Ok(self.initiator(kind, cipher, random)),
        }
    }
}

const_monty_params!(
    Modp3072,
    U3072,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF"
);

type Element = crypto_bigint::modular::ConstMontyForm<Modp3072, { U3072::LIMBS }>;

/// DH3k: the 3072-bit group of RFC 3526 §4 with generator 2.
struct Dh3k {
    exponent: Zeroizing<U512>,
    /// "The random Diffie-Hellman secret exponent SHOULD be twice as long as the AES key length" (§5.1.5).
    exponent_bits: u32,
    public: Vec<u8>,
}

impl Dh3k {
    fn generate(cipher: Cipher, random: &mut dyn Random) -> Self {
        let octets = 2 * cipher.key_octets();
        let mut padded = Zeroizing::new([0; 64]);
        random.fill(Purpose::SecretValue, &mut padded[64 - octets..]);
        let exponent = Zeroizing::new(U512::from_be_slice(&*padded));
        let exponent_bits = 8 * octets as u32;
        let public = Element::new(&U3072::from_u8(2)).pow_bounded_exp(&*exponent, exponent_bits);
        Dh3k { exponent, exponent_bits, public: public.retrieve().to_be_bytes().as_ref().to_vec() }
    }
}

impl Agreement for Dh3k {
    fn commit_value(&self) -> &[u8] {
        &[]
    }

    fn part_value(&self) -> &[u8] {
        &self.public
    }

    fn finish(self: Box<Self>, peer: &[u8], _hash: Hash) -> Result<Secret, BadPublicValue> {
        if peer.len() != 384 {
            return Err(BadPublicValue);
        }
        let peer = U3072::from_be_slice(peer);
        // "bad pvi or pvr ( == 1, 0, or p-1)", and nothing outside the group
        let last = Modp3072::PARAMS.modulus().as_ref().wrapping_sub(&U3072::ONE);
        if peer <= U3072::ONE || peer >= last {
            return Err(BadPublicValue);
        }
        let result =
            Zeroizing::new(Element::new(&peer).pow_bounded_exp(&*self.exponent, self.exponent_bits).retrieve());
        Ok(Secret::new(result.to_be_bytes().as_ref().to_vec()))
    }
}

/// X255: X25519 (RFC 7748), values as they are.
pub(super) struct X255 {
    secret: StaticSecret,
    public: PublicKey,
}

impl X255 {
    pub(super) fn generate(random: &mut dyn Random) -> Self {
        let mut octets = Zeroizing::new([0; 32]);
        random.fill(Purpose::SecretValue, &mut *octets);
        let secret = StaticSecret::from(*octets);
        X255 { public: PublicKey::from(&secret), secret }
    }

    pub(super) fn public(&self) -> &[u8; 32] {
        self.public.as_bytes()
    }

    /// "Both parties […] check, without leaking extra information […], whether [the result] is the all-zero value" (RFC 7748 §6.1).
    pub(super) fn shared(&self, peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*peer));
        if shared.was_contributory() { Ok(Secret::from(&shared.as_bytes()[..])) } else { Err(BadPublicValue) }
    }
}

impl Agreement for X255 {
    fn commit_value(&self) -> &[u8] {
        &[]
    }

    fn part_value(&self) -> &[u8] {
        self.public()
    }

    fn finish(self: Box<Self>, peer: &[u8], _hash: Hash) -> Result<Secret, BadPublicValue> {
        self.shared(peer.try_into().map_err(|_| BadPublicValue)?)
    }
}

/// ECDH on a curve of NIST: the public value is X ‖ Y, the result X only (§5.1.5).
macro_rules! nist_curve {
    ($name:ident, $curve:ident, $octets:literal) => {
        struct $name {
            secret: $curve::SecretKey,
            public: Vec<u8>,
        }

        impl $name {
            fn generate(random: &mut dyn Random) -> Self {
                let mut octets = Zeroizing::new([0; $octets]);
                random.fill(Purpose::SecretValue, &mut *octets);
                let secret = loop {
                    match $curve::SecretKey::from_slice(&*octets) {
                        Ok(secret) => break secret,
                        // 0 or beyond the order: one draw of 2³² at most. Another value made of it.
                        Err(_) => {
                            let next = Zeroizing::new(<[u8; 48]>::from(Sha384::digest(&*octets)));
                            octets.copy_from_slice(&next[..$octets]);
                        }
                    }
                };
                let point = secret.public_key().to_sec1_point(false);
                let public = point.as_bytes().get(1..).unwrap_or_default().to_vec();
                $name { secret, public }
            }
        }

        impl Agreement for $name {
            fn commit_value(&self) -> &[u8] {
                &[]
            }

            fn part_value(&self) -> &[u8] {
                &self.public
            }

            fn finish(self: Box<Self>, peer: &[u8], _hash: Hash) -> Result<Secret, BadPublicValue> {
                if peer.len() != 2 * $octets {
                    return Err(BadPublicValue);
                }
                // from_sec1_bytes refuses coordinates out of range and points that are not on the curve; the form with two
                // coordinates cannot say "infinity", and the order of these curves is prime
                let peer = $curve::PublicKey::from_sec1_bytes(&[&[4], peer].concat()).map_err(|_| BadPublicValue)?;
                let shared = $curve::ecdh::diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
                Ok(Secret::from(&shared.raw_secret_bytes()[..]))
            }
        }
    };
}

nist_curve!(Ec25, p256, 32);
nist_curve!(Ec38, p384, 48);
