//! Writes a ClientHello in its record, from SSL 3.0 (RFC 6101 §5.6.1.2) to TLS 1.3 (RFC 8446 §4.1.2).
//!
//! In: what to offer, and 64 random bytes. Out: bytes for a fresh connection. Never an SSLv2 hello, never a secret: no
//! answer to what the server sends can be computed.

use super::groups::X25519;
use crate::audit::facts::Version;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 §3.3), for SSL 3.0, which has no extensions.
const RENEGOTIATION_SCSV: u16 = 0x00ff;
/// TLS_FALLBACK_SCSV (RFC 7507).
const FALLBACK_SCSV: u16 = 0x5600;

/// `sip/2`, as IANA lists it among the ALPN protocols.
pub const ALPN_SIP: &str = "sip/2";

/// What a ClientHello offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// This version, and no other as far as the protocol can say so.
    pub version: Version,
    /// The suites, the first preferred.
    pub suites: Vec<u16>,
    /// The groups, the first preferred; none leaves the extension out.
    pub groups: Vec<u16>,
    /// SNI.
    pub name: Option<String>,
    /// One protocol in ALPN.
    pub alpn: Option<&'static str>,
    /// In TLS 1.3: a share for X25519. Without it the server has to ask for one, naming its group.
    pub share: bool,
    /// Says that the client came down from a higher version.
    pub fallback: bool,
    /// Offers DEFLATE beside no compression, and the heartbeat extension.
    pub relics: bool,
}

impl Hello {
    /// A hello without anything unusual.
    pub fn new(version: Version, suites: Vec<u16>, groups: Vec<u16>, name: Option<String>) -> Self {
        Hello { version, suites, groups, name, alpn: None, share: false, fallback: false, relics: false }
    }

    /// The record with the handshake message.
    pub fn write(&self, random: &[u8; 64]) -> Vec<u8> {
        let legacy_version = number(self.version).min(0x0303);
        let mut body = Vec::with_capacity(512);
        body.extend(legacy_version.to_be_bytes());
        body.extend(&random[..32]);
        // RFC 8446 §D.4: a session id makes TLS 1.3 look like a resumption to the boxes on the way
        list8(&mut body, |out| out.extend(if self.version == Version::Tls13 { &random[32..] } else { &[] }));
        list16(&mut body, |out| self.write_suites(out));
        list8(&mut body, |out| out.extend(if self.relics { &[1, 0][..] } else { &[0] }));
        if self.version > Version::Ssl3 {
            list16(&mut body, |out| self.write_extensions(out, random));
        }

        let mut message = vec![1];
        list24(&mut message, &body);
        let mut record = vec![22];
        // RFC 8446 §5.1: the first record says TLS 1.0, which old servers expect
        record.extend(legacy_version.min(0x0301).to_be_bytes());
        list16(&mut record, |out| out.extend(&message));
        record
    }

    fn write_suites(&self, out: &mut Vec<u8>) {
        self.suites.iter().for_each(|id| out.extend(id.to_be_bytes()));
        if self.version == Version::Ssl3 {
            out.extend(RENEGOTIATION_SCSV.to_be_bytes());
        }
        if self.fallback {
            out.extend(FALLBACK_SCSV.to_be_bytes());
        }
    }

    fn write_extensions(&self, out: &mut Vec<u8>, random: &[u8; 64]) {
        if let Some(name) = &self.name {
            // RFC 6066 §3: a list of one name of type host_name
            extension(out, 0, |out| {
                list16(out, |out| {
                    out.push(0);
                    list16(out, |out| out.extend(name.as_bytes()));
                });
            });
        }
        if !self.groups.is_empty() {
            extension(out, 10, |out| list16(out, |out| out.extend(self.groups.iter().flat_map(|id| id.to_be_bytes()))));
        }
        if let Some(protocol) = self.alpn {
            extension(out, 16, |out| list16(out, |out| list8(out, |out| out.extend(protocol.as_bytes()))));
        }
        if self.version >= Version::Tls12 {
            extension(out, 13, |out| list16(out, |out| out.extend(SIGNATURES.iter().flat_map(|id| id.to_be_bytes()))));
        }
        match self.version {
            Version::Tls13 => self.write_tls_13(out, random),
            _ => self.write_older(out),
        }
    }

    fn write_tls_13(&self, out: &mut Vec<u8>, random: &[u8; 64]) {
        extension(out, 43, |out| list8(out, |out| out.extend(0x0304_u16.to_be_bytes())));
        extension(out, 51, |out| {
            list16(out, |out| {
                if self.share {
                    out.extend(X25519.to_be_bytes());
                    list16(out, |out| out.extend(&random[..32]));
                }
            });
        });
    }

    fn write_older(&self, out: &mut Vec<u8>) {
        extension(out, 11, |out| list8(out, |out| out.push(0))); // RFC 8422 §5.1.2: uncompressed points
        extension(out, 5, |out| out.extend([1, 0, 0, 0, 0])); // RFC 6066 §8: OCSP, from any responder
        extension(out, 23, |_| {}); // RFC 7627 §5.1
        extension(out, 0xff01, |out| out.push(0)); // RFC 5746 §3.2: no earlier handshake
        if self.relics {
            extension(out, 15, |out| out.push(1)); // RFC 6520 §2: the peer may send heartbeats
        }
    }
}

/// The number of a version on the wire.
pub fn number(version: Version) -> u16 {
    match version {
        Version::Ssl3 => 0x0300,
        Version::Tls10 => 0x0301,
        Version::Tls11 => 0x0302,
        Version::Tls12 => 0x0303,
        Version::Tls13 => 0x0304,
    }
}

/// Every signature that a certificate or a server could use, so that none is a reason to refuse: ECDSA, EdDSA, PSS,
/// PKCS #1, down to SHA-1 (RFC 8446 §4.2.3, RFC 5246 §7.4.1.4.1).
const SIGNATURES: [u16; 18] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080a, 0x080b, 0x0401, 0x0501, 0x0601,
    0x0303, 0x0301, 0x0203, 0x0201,
];

fn extension(out: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind.to_be_bytes());
    list16(out, write);
}

fn list8(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    out[at] = u8::try_from(out.len() - at - 1).unwrap_or(u8::MAX);
}

fn list16(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend([0, 0]);
    write(out);
    let length = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

fn list24(out: &mut Vec<u8>, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(&length[1..]);
    out.extend(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [u8; 64] = [7; 64];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn ssl_3_has_no_extensions_and_says_so_in_every_version_field() {
        let hello = Hello::new(Version::Ssl3, vec![0x0005, 0x000a], vec![23], Some("a.example".into()));
        let random = "07".repeat(32);
        assert_eq!(
            hex(&hello.write(&RANDOM)),
            format!("1603000031010000 2d0300{random}00 0006 0005000a00ff 0100").replace(' ', "")
        );
    }

    #[test]
    fn tls_12_with_everything_written_out_by_hand() {
        let mut hello = Hello::new(Version::Tls12, vec![0xc02f], vec![29, 23], Some("a.b".into()));
        (hello.alpn, hello.relics, hello.fallback) = (Some(ALPN_SIP), true, true);
        let written = hex(&hello.write(&RANDOM));
        let expected = [
            "160301009b 01000097 0303",
            &"07".repeat(32),
            "00 0004 c02f 5600 02 0100 0069",
            "0000 0008 0006 00 0003 612e62",
            "000a 0006 0004 001d 0017",
            "0010 0008 0006 05 7369702f32",
            "000d 0026 0024 040305030603080708080804080508060809080a080b04010501060103030301 02030201",
            "000b 0002 01 00",
            "0005 0005 01 0000 0000",
            "0017 0000",
            "ff01 0001 00",
            "000f 0001 01",
        ]
        .concat()
        .replace(' ', "");
        assert_eq!(written, expected);
    }

    #[test]
    fn tls_13_without_a_share_has_an_empty_list_of_shares() {
        let mut hello = Hello::new(Version::Tls13, vec![0x1301], vec![0x11ec], None);
        let written = hex(&hello.write(&RANDOM));
        assert!(written.starts_with("160301"), "{written}");
        assert!(written.contains(&format!("0303{}20{}", "07".repeat(32), "07".repeat(32))), "{written}");
        assert!(written.contains("002b0003020304"), "{written}");
        assert!(written.ends_with("003300020000"), "{written}");
        hello.share = true;
        assert!(hex(&hello.write(&RANDOM)).ends_with(&format!("003300260024001d0020{}", "07".repeat(32))));
    }
}
