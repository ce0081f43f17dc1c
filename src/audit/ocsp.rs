//! What a stapled OCSP answer is worth (RFC 6960 §4.2): only what the certificate's issuer signed, or whom it delegated.
//!
//! In: the answer, the leaf, who may have issued it, the time. Out: one of four words. An answer about another
//! certificate, out of its time or with a signature that does not hold is useless.

use super::facts::Staple;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use x509_cert::der::DateTime;

/// How far the responder's clock may be ahead.
const SKEW: u64 = 300;
/// id-kp-OCSPSigning (RFC 6960 §4.2.2.2), without tag and length.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// id-pkix-ocsp-basic (§4.2.1).
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// SHA-1 and SHA-256, in which a CertID names the issuer.
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

/// Judges an answer. `issuers` are candidates: the certificates that came with the leaf, and the trusted authorities.
pub fn judge(answer: &[u8], leaf: &CertificateDer<'_>, issuers: &[TrustAnchor<'_>], now: UnixTime) -> Staple {
    if answer.is_empty() {
        return Staple::Absent;
    }
    let Ok(certificate) = webpki::EndEntityCert::try_from(leaf) else { return Staple::Useless };
    let issuers = issuers.iter().filter(|anchor| anchor.subject.as_ref() == certificate.issuer());
    let verdict = Basic::read(answer).and_then(|basic| {
        let issuer = issuers.into_iter().find(|issuer| basic.is_signed_for(issuer, now))?;
        basic.status(certificate.serial(), issuer, now.as_secs())
    });
    verdict.unwrap_or(Staple::Useless)
}

/// A BasicOCSPResponse.
struct Basic<'a> {
    signed: &'a [u8],
    data: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<CertificateDer<'a>>,
}

impl<'a> Basic<'a> {
    fn read(answer: &'a [u8]) -> Option<Self> {
        let mut response = Der(Der(answer).value(0x30)?);
        // 0 is successful
        (response.value(0x0a)? == [0]).then_some(())?;
        let mut bytes = Der(Der(response.value(0xa0)?).value(0x30)?);
        (bytes.value(6)? == BASIC).then_some(())?;
        let mut basic = Der(Der(bytes.value(4)?).value(0x30)?);
        let (_, data, signed) = basic.next().filter(|(tag, _, _)| *tag == 0x30)?;
        let algorithm = basic.value(0x30)?;
        let [0, signature @ ..] = basic.value(3)? else { return None };
        let mut certificates = Vec::new();
        if !basic.0.is_empty() {
            let mut list = Der(Der(basic.value(0xa0)?).value(0x30)?);
            while let Some((_, _, whole)) = list.next() {
                certificates.push(CertificateDer::from(whole));
            }
        }
        Some(Basic { signed, data, algorithm, signature, certificates })
    }

    /// §4.2.2.2: by the issuer, or by a certificate for OCSP that the issuer itself signed.
    fn is_signed_for(&self, issuer: &TrustAnchor<'_>, now: UnixTime) -> bool {
        let key = webpki::spki_for_anchor(issuer);
        let by_issuer = webpki::RawPublicKeyEntity::try_from(&key).is_ok_and(|issuer| {
            self.algorithms().any(|algorithm| issuer.verify_signature(algorithm, self.signed, self.signature).is_ok())
        });
        by_issuer || self.certificates.iter().any(|certificate| self.is_signed_by_delegate(certificate, issuer, now))
    }

    fn is_signed_by_delegate(&self, delegate: &CertificateDer<'_>, issuer: &TrustAnchor<'_>, now: UnixTime) -> bool {
        let Ok(certificate) = webpki::EndEntityCert::try_from(delegate) else { return false };
        let usage = webpki::KeyUsage::required(OCSP_SIGNING);
        let anchors = [issuer.clone()];
        certificate.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &[], now, usage, None, None).is_ok()
            && self
                .algorithms()
                .any(|algorithm| certificate.verify_signature(algorithm, self.signed, self.signature).is_ok())
    }

    fn algorithms(&self) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
        let named = self.algorithm;
        webpki::ALL_VERIFICATION_ALGS.iter().copied().filter(move |known| known.signature_alg_id().as_ref() == named)
    }

    /// What it says about this certificate of this issuer; `None` if nothing that counts now.
    fn status(&self, serial: &[u8], issuer: &TrustAnchor<'_>, now: u64) -> Option<Staple> {
        let mut data = Der(self.data);
        let mut responses = loop {
            // version, responderID and producedAt come before the list
            let (tag, value, _) = data.next()?;
            if tag == 0x30 {
                break Der(value);
            }
        };
        while let Some((_, response, _)) = responses.next() {
            if let Some(status) = single(Der(response), serial, issuer, now) {
                return Some(status);
            }
        }
        None
    }
}

/// One SingleResponse.
fn single(mut response: Der<'_>, serial: &[u8], issuer: &TrustAnchor<'_>, now: u64) -> Option<Staple> {
    names(Der(response.value(0x30)?), serial, issuer).then_some(())?;
    let (status, _, _) = response.next()?;
    let this_update = time(response.value(0x18)?)?;
    let next_update = match response.next() {
        Some((0xa0, value, _)) => Some(time(Der(value).value(0x18)?)?),
        _ => None,
    };
    let in_time = this_update <= now.saturating_add(SKEW) && next_update.is_none_or(|end| now <= end);
    match status {
        0x80 if in_time => Some(Staple::Good),
        0xa1 if in_time => Some(Staple::Revoked),
        _ => None,
    }
}

/// Whether a CertID names this certificate (§4.1.1).
fn names(mut id: Der<'_>, serial: &[u8], issuer: &TrustAnchor<'_>) -> bool {
    let mut read = || {
        let algorithm = Der(id.value(0x30)?).value(6)?;
        Some((algorithm, id.value(4)?, id.value(4)?, id.value(2)?))
    };
    let Some((algorithm, name, key, number)) = read() else { return false };
    let hash = |bytes: &[u8]| match algorithm {
        SHA1 => Some(Sha1::digest(bytes).to_vec()),
        SHA256 => Some(Sha256::digest(bytes).to_vec()),
        _ => None,
    };
    // an anchor keeps both without their outer tag
    let mut key_info = Der(issuer.subject_public_key_info.as_ref());
    let public_key = key_info.value(0x30).and_then(|_| key_info.value(3)).and_then(|bits| bits.get(1..));
    let subject = wrap(0x30, issuer.subject.as_ref());
    number == serial
        && hash(&subject).is_some_and(|expected| expected == name)
        && public_key.and_then(hash).is_some_and(|expected| expected == key)
}

/// `20261125120000Z` as seconds since 1970.
fn time(text: &[u8]) -> Option<u64> {
    let digits =
        text.strip_suffix(b"Z").filter(|digits| digits.len() == 14 && digits.iter().all(u8::is_ascii_digit))?;
    let number =
        |from: usize, to: usize| digits[from..to].iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let byte = |from: usize| u8::try_from(number(from, from + 2)).unwrap_or(u8::MAX);
    let date = DateTime::new(number(0, 4), byte(4), byte(6), byte(8), byte(10), byte(12)).ok()?;
    Some(date.unix_duration().as_secs())
}

fn wrap(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut whole = vec![tag];
    match value.len() {
        short @ 0..=127 => whole.push(short as u8),
        _ => {
            whole.push(0x80 | significant.len() as u8);
            whole.extend(significant);
        }
    }
    whole.extend(value);
    whole
}

/// What is left of a sequence of DER values (X.690 §8.1), with tags of one byte and lengths of at most three.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag, content, and both with the length between them.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        let (header, length) = match first {
            0..=127 => (2, usize::from(first)),
            0x81..=0x83 => {
                let count = usize::from(first & 0x7f);
                let bytes = self.0.get(2..2 + count)?;
                (2 + count, bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
            }
            _ => return None,
        };
        let (whole, rest) = self.0.split_at_checked(header + length)?;
        self.0 = rest;
        Some((tag, &whole[header..], whole))
    }

    fn value(&mut self, wanted: u8) -> Option<&'a [u8]> {
        self.next().filter(|(tag, _, _)| *tag == wanted).map(|(_, value, _)| value)
    }
}

#[cfg(test)]
mod tests;
