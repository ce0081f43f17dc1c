//! Damage; answers that OpenSSL signed are in tests/audit_certificate.rs.

use super::*;
use proptest::prelude::*;

#[test]
fn times_are_read_or_refused() {
    assert_eq!(time(b"20261125120000Z"), Some(1_795_608_000));
    assert_eq!(time(b"19700101000000Z"), Some(0));
    for bad in [
        &b"20261325120000Z"[..],
        b"20261125120000",
        b"2026112512000Z",
        b"20261125120000.5Z",
        b"",
        b"2026112512000\xffZ",
    ] {
        assert_eq!(time(bad), None);
    }
}

#[test]
fn lengths_are_read_and_written() {
    for length in [0, 127, 128, 255, 256, 70_000] {
        let whole = wrap(4, &vec![7; length]);
        let mut reader = Der(&whole);
        assert_eq!(reader.value(4).map(<[u8]>::len), Some(length));
        assert!(reader.next().is_none());
        assert!(Der(&whole[..whole.len() - 1]).next().is_none());
    }
    assert!(Der(&[0x30, 0x80, 0, 0]).next().is_none(), "DER has no indefinite length");
}

proptest! {
    #[test]
    fn noise_is_useless(mut answer in prop::collection::vec(any::<u8>(), 1..200), framed in any::<bool>()) {
        if framed {
            answer = wrap(0x30, &[&[0x0a, 1, 0][..], &wrap(0xa0, &wrap(0x30, &[&wrap(6, BASIC)[..], &wrap(4, &answer)].concat()))].concat());
        }
        let leaf = CertificateDer::from(vec![0x30, 0]);
        let verdict = judge(&answer, &leaf, &[], UnixTime::since_unix_epoch(std::time::Duration::ZERO));
        prop_assert_eq!(verdict, Staple::Useless);
        prop_assert!(Basic::read(&answer).is_none_or(|basic| basic.signature.len() < 200));
    }
}
