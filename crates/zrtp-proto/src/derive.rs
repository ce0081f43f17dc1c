//! From a key agreement to keys (RFC 6189 §4.4.1.4, §4.5). The formula of the RFC stands above each line.

use crate::hash::{hash, mac};
use crate::retained::Shared;
use crate::{Hash, Role, Sas, Secret, SrtpKeys, SrtpProfile, Suite, Zid, wire};

/// Everything that s0 keys. s0 itself is gone when this exists.
pub(crate) struct Keys {
    pub(crate) initiator: Direction,
    pub(crate) responder: Direction,
    pub(crate) sas: Sas,
    /// The next rs1.
    pub(crate) retained: Secret,
    exported: Secret,
    context: Vec<u8>,
    hash: Hash,
}

/// The keys of what one side sends.
pub(crate) struct Direction {
    pub(crate) srtp_key: Secret,
    pub(crate) srtp_salt: Secret,
    pub(crate) mac_key: Secret,
    pub(crate) zrtp_key: Secret,
}

/// The four messages that go into total_hash, and the two ZIDs.
pub(crate) struct Transcript<'a> {
    pub(crate) responder_hello: &'a [u8],
    pub(crate) commit: &'a [u8],
    pub(crate) part1: &'a [u8],
    pub(crate) part2: &'a [u8],
    pub(crate) initiator: Zid,
    pub(crate) responder: Zid,
}

impl Keys {
    pub(crate) fn derive(suite: &Suite, transcript: &Transcript<'_>, dh_result: &Secret, shared: &Shared) -> Self {
        // total_hash = hash(Hello of responder || Commit || DHPart1 || DHPart2)
        let total_hash =
            hash(suite.hash, &[transcript.responder_hello, transcript.commit, transcript.part1, transcript.part2]);
        // KDF_Context = (ZIDi || ZIDr || total_hash)
        let context = [&transcript.initiator.0, &transcript.responder.0, total_hash.as_slice()].concat();
        let s0 = s0(suite.hash, dh_result, &context, shared);
        Keys::from_s0(suite, &s0, context)
    }

    fn from_s0(suite: &Suite, s0: &Secret, context: Vec<u8>) -> Self {
        let derive = |label: &str, octets| kdf(suite.hash, s0.expose(), label.as_bytes(), &context, octets);
        let whole = suite.hash.octets();
        let direction = |side: &str| Direction {
            // srtpkeyi = KDF(s0, "Initiator SRTP master key", KDF_Context, negotiated AES key length)
            srtp_key: derive(&format!("{side} SRTP master key"), suite.cipher.key_octets()),
            // srtpsalti = KDF(s0, "Initiator SRTP master salt", KDF_Context, 112); 96 with GCM
            srtp_salt: derive(&format!("{side} SRTP master salt"), suite.auth_tag.salt_octets()),
            // mackeyi = KDF(s0, "Initiator HMAC key", KDF_Context, negotiated hash length)
            mac_key: derive(&format!("{side} HMAC key"), whole),
            // zrtpkeyi = KDF(s0, "Initiator ZRTP key", KDF_Context, negotiated AES key length)
            zrtp_key: derive(&format!("{side} ZRTP key"), suite.cipher.key_octets()),
        };
        // sashash = KDF(s0, "SAS", KDF_Context, 256); sasvalue = sashash [truncated to leftmost 32 bits]
        let sashash = derive("SAS", 32);
        Keys {
            initiator: direction("Initiator"),
            responder: direction("Responder"),
            sas: Sas::new(wire::number32(sashash.expose())),
            // rs1 = KDF(s0, "retained secret", KDF_Context, 256)
            retained: derive("retained secret", 32),
            // ExportedKey = KDF(s0, "Exported key", KDF_Context, negotiated hash length)
            exported: derive("Exported key", whole),
            hash: suite.hash,
            context,
        }
    }

    pub(crate) fn direction(&self, sender: Role) -> &Direction {
        match sender {
            Role::Initiator => &self.initiator,
            Role::Responder => &self.responder,
        }
    }

    /// The SRTP keys for what `sender` sends.
    pub(crate) fn srtp(&self, sender: Role, suite: &Suite) -> SrtpKeys {
        let direction = self.direction(sender);
        SrtpKeys {
            profile: SrtpProfile { cipher: suite.cipher, auth_tag: suite.auth_tag },
            key: direction.srtp_key.duplicate(),
            salt: direction.srtp_salt.duplicate(),
        }
    }

    /// What the caller may still ask for when the exchange is over; the rest is wiped.
    pub(crate) fn into_exporter(self) -> Exporter {
        Exporter { exported: self.exported, context: self.context, hash: self.hash }
    }
}

/// Derives keys for the application from ExportedKey.
pub(crate) struct Exporter {
    exported: Secret,
    context: Vec<u8>,
    hash: Hash,
}

impl Exporter {
    /// "via a KDF using separate KDF label strings defined by the application" (§4.5.2).
    pub(crate) fn export(&self, label: &[u8], octets: usize) -> Option<Secret> {
        if octets == 0 || octets > self.hash.octets() || label.is_empty() || label.contains(&0) {
            return None;
        }
        Some(kdf(self.hash, self.exported.expose(), label, &self.context, octets))
    }
}

/// s0 = hash(counter || DHResult || "ZRTP-HMAC-KDF" || ZIDi || ZIDr || total_hash || len(s1) || s1 || len(s2) || s2 || len(s3) || s3)
fn s0(kind: Hash, dh_result: &Secret, context: &[u8], shared: &Shared) -> Secret {
    // "All of the explicit length fields, len(), in the above hash are 32-bit big-endian integers, giving the length in octets";
    // a null secret has length 0. s3 (pbxsecret) is always null here.
    let lengths = [&shared.s1, &shared.s2].map(|secret| (secret.expose().len() as u32).to_be_bytes());
    let parts = [
        &1u32.to_be_bytes(),
        dh_result.expose(),
        b"ZRTP-HMAC-KDF",
        context,
        &lengths[0],
        shared.s1.expose(),
        &lengths[1],
        shared.s2.expose(),
        &[0; 4],
    ];
    Secret::new(hash(kind, &parts))
}

/// KDF(KI, Label, Context, L) = HMAC(KI, i || Label || 0x00 || Context || L), L in bits, truncated to the leftmost L bits.
pub(crate) fn kdf(kind: Hash, key: &[u8], label: &[u8], context: &[u8], octets: usize) -> Secret {
    let bits = (8 * octets as u32).to_be_bytes();
    mac(kind, key, &[&1u32.to_be_bytes(), label, &[0], context, &bits]).truncated(octets)
}
