//! Reads one certificate for people and for checks (RFC 5280).
//!
//! In: DER from anybody. Out: [`Certificate`], whose text is printable. Nothing is verified here: chain, name and dates
//! are judged where `run` judges them. What cannot be read says so instead of its subject, and still has its hashes.

use super::facts::Certificate;
use crate::sip::printable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt::Write as _;
use std::net::IpAddr;
use x509_cert::Certificate as X509;
use x509_cert::der::asn1::{Any, AnyRef, BitString};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::DB;
use x509_cert::der::{Decode, Encode as _, Reader as _, SliceReader, Tag, Tagged as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, BasicConstraints, CrlDistributionPoints, ExtendedKeyUsage, SubjectAltName,
};
use x509_cert::name::Name;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const ACCESS_OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// RFC 7633 §6.
const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
/// RFC 6962 §3.3.
const SIGNED_TIMESTAMPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// Keys that say their size by their name (RFC 5480 §2.1.1.1, RFC 8410 §3).
const NAMED_KEYS: [(ObjectIdentifier, &str, u32); 7] = [
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.1"), "EC P-192", 192),
    (ObjectIdentifier::new_unwrap("1.3.132.0.33"), "EC P-224", 224),
    (ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7"), "EC P-256", 256),
    (ObjectIdentifier::new_unwrap("1.3.132.0.34"), "EC P-384", 384),
    (ObjectIdentifier::new_unwrap("1.3.132.0.35"), "EC P-521", 521),
    (ObjectIdentifier::new_unwrap("1.3.101.112"), "Ed25519", 256),
    (ObjectIdentifier::new_unwrap("1.3.101.113"), "Ed448", 456),
];

/// RFC 5280 §4.2.1.12, RFC 5924 §4.
const USAGES: [(ObjectIdentifier, &str); 6] = [
    (ObjectIdentifier::new_unwrap("2.5.29.37.0"), "anyExtendedKeyUsage"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"), "serverAuth"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"), "clientAuth"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"), "emailProtection"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"), "OCSPSigning"),
    (ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.20"), "id-kp-sipDomain"),
];

/// Reads a certificate.
pub fn read(der: &[u8]) -> Certificate {
    match X509::from_der(der) {
        Ok(certificate) => readable(der, &certificate),
        Err(error) => Certificate { subject: printable(&format!("(cannot be read: {error})")), ..empty(der) },
    }
}

fn empty(der: &[u8]) -> Certificate {
    Certificate {
        subject: String::new(),
        issuer: String::new(),
        serial: String::new(),
        not_before: 0,
        not_after: 0,
        key: String::new(),
        key_bits: 0,
        signature: String::new(),
        dns_names: Vec::new(),
        uris: Vec::new(),
        addresses: Vec::new(),
        common_names: Vec::new(),
        extended_key_usage: None,
        authority: false,
        sha256: hex(&Sha256::digest(der)),
        spki_sha256: String::new(),
        sha512: hex(&Sha512::digest(der)),
        spki_sha512: String::new(),
        ocsp: Vec::new(),
        crl: Vec::new(),
        must_staple: false,
        scts: 0,
    }
}

fn readable(der: &[u8], certificate: &X509) -> Certificate {
    let body = certificate.tbs_certificate();
    let spki = body.subject_public_key_info();
    let (key, key_bits) = key(spki);
    let spki = spki.to_der().unwrap_or_default();
    let mut facts = Certificate {
        subject: distinguished_name(body.subject()),
        issuer: distinguished_name(body.issuer()),
        serial: hex(body.serial_number().as_bytes()),
        not_before: seconds(body.validity().not_before.to_unix_duration()),
        not_after: seconds(body.validity().not_after.to_unix_duration()),
        key,
        key_bits,
        signature: signature_name(&certificate.signature_algorithm().oid),
        common_names: common_names(body.subject()),
        spki_sha256: BASE64.encode(Sha256::digest(&spki)),
        spki_sha512: hex(&Sha512::digest(&spki)),
        ..empty(der)
    };
    for extension in body.extensions().into_iter().flatten() {
        take_extension(&mut facts, extension);
    }
    facts
}

fn take_extension(facts: &mut Certificate, extension: &Extension) {
    let value = extension.extn_value.as_bytes();
    match extension.extn_id {
        BASIC_CONSTRAINTS => {
            facts.authority = BasicConstraints::from_der(value).is_ok_and(|constraints| constraints.ca)
        }
        SUBJECT_ALT_NAME => {
            for name in SubjectAltName::from_der(value).into_iter().flat_map(|names| names.0) {
                take_name(facts, &name);
            }
        }
        EXTENDED_KEY_USAGE => {
            let usages = ExtendedKeyUsage::from_der(value).map(|usages| usages.0).unwrap_or_default();
            facts.extended_key_usage = Some(usages.iter().map(usage_name).collect());
        }
        AUTHORITY_INFO_ACCESS => {
            let places = AuthorityInfoAccessSyntax::from_der(value).map(|places| places.0).unwrap_or_default();
            let ocsp = places.iter().filter(|place| place.access_method == ACCESS_OCSP);
            facts.ocsp = ocsp.filter_map(|place| uri(&place.access_location)).collect();
        }
        CRL_DISTRIBUTION_POINTS => {
            let points = CrlDistributionPoints::from_der(value).map(|points| points.0).unwrap_or_default();
            let names = points.iter().filter_map(|point| match &point.distribution_point {
                Some(DistributionPointName::FullName(names)) => Some(names),
                _ => None,
            });
            facts.crl = names.flatten().filter_map(uri).collect();
        }
        // RFC 7633 §4.2.3.1: 5 is status_request
        TLS_FEATURE => facts.must_staple = Vec::<u16>::from_der(value).is_ok_and(|features| features.contains(&5)),
        SIGNED_TIMESTAMPS => facts.scts = timestamps(value),
        _ => {}
    }
}

fn take_name(facts: &mut Certificate, name: &GeneralName) {
    match name {
        GeneralName::DnsName(name) => facts.dns_names.push(printable(name.as_str())),
        GeneralName::UniformResourceIdentifier(uri) => facts.uris.push(printable(uri.as_str())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            facts.addresses.extend(four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)));
        }
        _ => {}
    }
}

fn uri(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(printable(uri.as_str())),
        _ => None,
    }
}

/// RFC 4514.
fn distinguished_name(name: &Name) -> String {
    let mut text = String::new();
    match write!(text, "{name}") {
        Ok(()) => printable(&text),
        Err(_) => "(cannot be written)".to_owned(),
    }
}

fn common_names(subject: &Name) -> Vec<String> {
    subject.iter().filter(|part| part.oid == COMMON_NAME).filter_map(|part| text(&part.value)).collect()
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::TeletexString => {
            Some(printable(&String::from_utf8_lossy(value.value())))
        }
        _ => None,
    }
}

/// The algorithm of a public key, and its size in bits.
fn key(spki: &SubjectPublicKeyInfoOwned) -> (String, u32) {
    let algorithm = spki.algorithm.oid;
    let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let named = if algorithm == EC { curve } else { Some(algorithm) };
    if algorithm == RSA || algorithm == RSA_PSS {
        return ("RSA".to_owned(), modulus_bits(&spki.subject_public_key).unwrap_or(0));
    }
    match NAMED_KEYS.iter().find(|(oid, _, _)| Some(*oid) == named) {
        Some((_, name, bits)) => ((*name).to_owned(), *bits),
        None => match named {
            // an uncompressed point is two numbers behind one byte
            Some(oid) if algorithm == EC => (format!("EC {oid}"), spki.subject_public_key.bit_len() as u32 / 2 / 8 * 8),
            _ => (algorithm.to_string(), 0),
        },
    }
}

/// RFC 8017 §A.1.1: the modulus is the first of two numbers.
fn modulus_bits(key: &BitString) -> Option<u32> {
    let mut reader = SliceReader::new(key.as_bytes()?).ok()?;
    let modulus = reader.sequence(|numbers: &mut SliceReader<'_>| {
        let modulus = AnyRef::decode(numbers)?;
        AnyRef::decode(numbers)?;
        Ok::<_, x509_cert::der::Error>(modulus)
    });
    modulus.ok().filter(|modulus| modulus.tag() == Tag::Integer).map(|modulus| super::tls::reply::bits(modulus.value()))
}

/// RFC 6962 §3.3: an OCTET STRING with a TLS list of opaque items.
fn timestamps(value: &[u8]) -> u32 {
    let Ok(list) = AnyRef::from_der(value) else { return 0 };
    let mut count = 0;
    let mut rest = list.value().get(2..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let Some(next) = after.get(usize::from(u16::from_be_bytes(*length))..) else { break };
        rest = next;
        count += 1;
    }
    count
}

fn usage_name(oid: &ObjectIdentifier) -> String {
    match USAGES.iter().find(|(known, _)| known == oid) {
        Some((_, name)) => (*name).to_owned(),
        None => oid.to_string(),
    }
}

/// Broken signatures that the library's table has forgotten (RFC 3279 §2.2.3, NIST's of 1994), and all others by that table.
fn signature_name(oid: &ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1".to_owned(),
        "1.3.14.3.2.29" => "sha1WithRSASignature".to_owned(),
        _ => oid_name(oid),
    }
}

fn oid_name(oid: &ObjectIdentifier) -> String {
    DB.by_oid(oid).map_or_else(|| oid.to_string(), str::to_owned)
}

fn seconds(since_1970: std::time::Duration) -> i64 {
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
