//! Damage of every kind; what real certificates say is tested in tests/audit_certificate.rs, where they are made.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use super::*;
use proptest::prelude::*;

/// Self-signed by OpenSSL: P-256, a SAN of each kind, EKU, OCSP, CRL, must-staple.
const DER: &str = include_str!("sample.b64");

fn sample() -> Vec<u8> {
    BASE64.decode(DER.replace('\n', "")).unwrap()
}

#[test]
fn everything_that_a_certificate_says_is_read() {
    let facts = read(&sample());
    assert_eq!(facts.subject, "OU=a\\+b,O=Evil\\0dOrg,CN=\\u{202e}moc.live,CN=sip.lab.test");
    assert_eq!(facts.issuer, facts.subject);
    assert_eq!(facts.common_names, ["sip.lab.test", "\\u{202e}moc.live"]);
    assert_eq!((facts.key.as_str(), facts.key_bits, facts.signature.as_str()), ("EC P-256", 256, "ecdsa-with-SHA256"));
    assert_eq!(facts.serial, "1234abcd");
    assert_eq!(facts.not_after - facts.not_before, 30 * 86_400);
    assert_eq!(facts.dns_names, ["sip.lab.test", "*.lab.test"]);
    assert_eq!(facts.uris, ["sip:lab.test"]);
    assert_eq!(facts.addresses, ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
    let usages = ["serverAuth", "id-kp-sipDomain", "1.2.3.4"].map(str::to_owned).to_vec();
    assert_eq!(facts.extended_key_usage, Some(usages));
    assert!(facts.authority && facts.must_staple);
    assert_eq!(facts.ocsp, ["http://ocsp.lab.test/"]);
    assert_eq!(facts.crl, ["http://crl.lab.test/a.crl"]);
    assert_eq!(facts.scts, 2);
    assert_eq!((facts.sha256.len(), facts.sha512.len(), facts.spki_sha512.len()), (64, 128, 128));
}

#[test]
fn what_cannot_be_read_says_so_and_has_its_hash() {
    let facts = read(b"no certificate");
    assert!(facts.subject.starts_with("(cannot be read: "), "{}", facts.subject);
    assert_eq!(facts.sha256, hex(&Sha256::digest(b"no certificate")));
    assert_eq!((facts.key_bits, facts.spki_sha256.as_str()), (0, ""));
}

proptest! {
    #[test]
    fn damage_never_panics_and_text_stays_printable(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut der = sample();
        for (at, value) in changes {
            let at = at.index(der.len());
            der[at] = value;
        }
        if !whole {
            der.truncate(cut.index(der.len()));
        }
        let facts = read(&der);
        let mut text = vec![&facts.subject, &facts.issuer, &facts.key, &facts.signature];
        text.extend(facts.dns_names.iter().chain(&facts.uris).chain(&facts.common_names).chain(&facts.ocsp).chain(&facts.crl));
        prop_assert!(text.iter().all(|text| !text.contains(char::is_control)), "{text:?}");
    }
}
