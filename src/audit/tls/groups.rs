//! Groups of key exchange: IANA's numbers and names, those for TLS 1.3 and those for older versions.

use std::fmt::Write as _;

/// X25519, of which any 32 bytes are a share (RFC 7748 §5).
pub const X25519: u16 = 29;

/// IANA's name, or the number where it is none of the known ones.
pub fn name(id: u16) -> String {
    match TLS_13.iter().chain(OLDER).find(|(known, _)| *known == id) {
        Some((_, name)) => (*name).to_owned(),
        None => {
            let mut text = String::new();
            let _ = write!(text, "0x{id:04X}");
            text
        }
    }
}

/// What to offer in TLS 1.3: post-quantum groups first.
pub fn for_tls_13() -> Vec<u16> {
    TLS_13.iter().map(|(id, _)| *id).collect()
}

/// What to offer in older versions: curves only. A server that knows RFC 7919 would hide its own prime behind an ffdhe
/// group that it is offered.
pub fn for_older() -> Vec<u16> {
    let curves = TLS_13.iter().chain(OLDER).filter(|(_, name)| name.starts_with(['x', 's', 'b']));
    curves.map(|(id, _)| *id).filter(|id| !(31..=33).contains(id)).collect()
}

const TLS_13: &[(u16, &str)] = &[
    (0x11ec, "X25519MLKEM768"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (0x0201, "MLKEM768"),
    (0x0202, "MLKEM1024"),
    (0x0200, "MLKEM512"),
    (0x6399, "X25519Kyber768Draft00"),
    (29, "x25519"),
    (23, "secp256r1"),
    (24, "secp384r1"),
    (25, "secp521r1"),
    (30, "x448"),
    (31, "brainpoolP256r1tls13"),
    (32, "brainpoolP384r1tls13"),
    (33, "brainpoolP512r1tls13"),
    (256, "ffdhe2048"),
    (257, "ffdhe3072"),
    (258, "ffdhe4096"),
    (259, "ffdhe6144"),
    (260, "ffdhe8192"),
];

/// Beside those above (RFC 8422 §5.1.1, RFC 7027).
const OLDER: &[(u16, &str)] = &[
    (26, "brainpoolP256r1"),
    (27, "brainpoolP384r1"),
    (28, "brainpoolP512r1"),
    (22, "secp256k1"),
    (21, "secp224r1"),
    (20, "secp224k1"),
    (19, "secp192r1"),
    (18, "secp192k1"),
    (17, "secp160r2"),
    (16, "secp160r1"),
    (15, "secp160k1"),
    (14, "sect571r1"),
    (13, "sect571k1"),
    (12, "sect409r1"),
    (11, "sect409k1"),
    (10, "sect283r1"),
    (9, "sect283k1"),
    (8, "sect239k1"),
    (7, "sect233r1"),
    (6, "sect233k1"),
    (5, "sect193r2"),
    (4, "sect193r1"),
    (3, "sect163r2"),
    (2, "sect163r1"),
    (1, "sect163k1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_are_offered_curves_only() {
        let older = for_older();
        assert_eq!(older[..2], [29, 23]);
        assert!(older.contains(&1) && older.contains(&26));
        assert!(!older.iter().any(|id| [0x11ec, 0x0201, 31, 256].contains(id)), "{older:?}");
        assert_eq!((name(0x11ec), name(0xfefe)), ("X25519MLKEM768".to_owned(), "0xFEFE".to_owned()));
    }
}
