//! Every check of the audit: what it looks at, why that matters, and where it is written.
//!
//! The order is that of the reports. `--explain ID` prints an entry.

use super::finding::Category::{self, Exposure, Identity, Login, Signalling};

/// One check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name in reports.
    pub id: &'static str,
    /// Where it counts.
    pub category: Category,
    /// How much it counts there.
    pub weight: u32,
    /// What it looks at.
    pub title: &'static str,
    /// Why that matters, for people.
    pub why: &'static str,
    /// Where it is written.
    pub reference: &'static str,
}

/// The check of this name, in any case.
pub fn find(id: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.id.eq_ignore_ascii_case(id))
}

const fn check(
    id: &'static str,
    category: Category,
    weight: u32,
    title: &'static str,
    reference: &'static str,
    why: &'static str,
) -> Check {
    Check { id, category, weight, title, why, reference }
}

/// All checks, in the order of the reports.
pub const CHECKS: &[Check] = &[
    check(
        "T-TLS",
        Signalling,
        3,
        "Servers that take SIP over TLS",
        "RFC 3261 §26.2.1, RFC 3263 §4.1",
        "Without TLS anybody on the path reads who calls whom, takes passwords' hashes, and changes the keys that calls bring. \
         Each address of each server is tried, since a caller may meet any of them.",
    ),
    check(
        "L-VERSIONS",
        Signalling,
        3,
        "Versions of TLS",
        "RFC 8996, RFC 9325 §3.1.1",
        "SSL 3, TLS 1.0 and TLS 1.1 are broken or forbidden. A client that insists on TLS 1.2 is not harmed by a server that takes \
         older ones as well, but other clients are. TLS 1.3 hides the certificate and has no weak choices left.",
    ),
    check(
        "L-SUITES",
        Signalling,
        3,
        "Cipher suites",
        "RFC 9325 §4.1, RFC 7465",
        "NULL suites do not encrypt, anonymous ones prove nothing, export ones were made to be broken, RC4 and 64-bit ciphers are.",
    ),
    check(
        "L-PFS",
        Signalling,
        2,
        "Forward secrecy",
        "RFC 9325 §4.1, RFC 7919",
        "Without it whoever gets the server's key later reads what was recorded before. A prime of less than 2048 bits can be \
         attacked ahead of time for everybody who uses it.",
    ),
    check(
        "L-PQ",
        Signalling,
        1,
        "Post-quantum key exchange",
        "RFC 8446 §4.2.7, draft-ietf-tls-ecdhe-mlkem",
        "What is recorded today can be read by a quantum computer of tomorrow, unless the keys were agreed on by a hybrid group.",
    ),
    check(
        "L-EXTENSIONS",
        Signalling,
        1,
        "Protections of TLS 1.2",
        "RFC 7627, RFC 5746, RFC 7457",
        "Extended master secret and secure renegotiation stop attacks that splice two connections together; compression gives \
         passwords away by their length; heartbeat has no use in SIP.",
    ),
    check(
        "L-FALLBACK",
        Signalling,
        1,
        "Protection against falling back",
        "RFC 7507",
        "A server that speaks old versions should notice when somebody in between talks a client into one.",
    ),
    check(
        "L-SNI",
        Signalling,
        1,
        "The same certificate without SNI",
        "RFC 6066 §3",
        "Many phones name no server in their handshake. They should get the same certificate.",
    ),
    check(
        "L-ALPN",
        Signalling,
        1,
        "ALPN",
        "RFC 7301 §3.2",
        "A client may name the protocol sip/2. A server that does not know it should ignore it, not end the handshake.",
    ),
    check(
        "L-MTLS",
        Signalling,
        0,
        "Client certificates",
        "RFC 5922 §7.4",
        "Some providers want to know the gateway by a certificate. Without it nothing works there.",
    ),
    check(
        "C-CHAIN",
        Identity,
        3,
        "Chain of trust",
        "RFC 5280 §6, RFC 5922 §7.3",
        "The certificate has to lead to an authority that is trusted here, with every certificate in between sent along.",
    ),
    check(
        "C-NAME",
        Identity,
        3,
        "Name in the certificate",
        "RFC 5922 §7.1, §7.2, §7.3",
        "SIP's rule is stricter than the web's: the name is the domain of the addresses, not that of the server which DNS named; a \
         sip: URI in the certificate shadows its DNS names; no wildcard counts; the common name never does.",
    ),
    check(
        "C-LIFE",
        Identity,
        2,
        "Dates of the certificate",
        "RFC 5280 §4.1.2.5",
        "Outside its dates a certificate proves nothing. One that ends in a few days will cut all calls if nobody renews it.",
    ),
    check(
        "C-KEY",
        Identity,
        2,
        "Key and signature",
        "RFC 9325 §4.5, RFC 9155",
        "RSA keys below 2048 bits and signatures with SHA-1 or MD5 can be forged with enough money.",
    ),
    check(
        "C-EKU",
        Identity,
        1,
        "Purpose of the certificate",
        "RFC 5280 §4.2.1.12, RFC 5924",
        "A certificate that limits its purposes has to name that of a TLS server, or that of a SIP domain.",
    ),
    check(
        "C-OCSP",
        Identity,
        1,
        "Revocation",
        "RFC 6960, RFC 7633",
        "A stapled answer says that the certificate was not revoked. No address that a certificate names is asked here: it is printed.",
    ),
    check(
        "C-PIN",
        Identity,
        0,
        "Public key, for pinning",
        "RFC 7469 §2.4",
        "This is the value that pin_sha256 takes, for a server whose chain cannot be verified. Compare it with the provider first.",
    ),
    check(
        "D-NAPTR",
        Identity,
        1,
        "NAPTR records",
        "RFC 3263 §4.1",
        "They say which transports a domain prefers. One that puts UDP before TLS sends clients the clear way.",
    ),
    check(
        "D-SRV",
        Identity,
        1,
        "SRV records",
        "RFC 3263 §4.2, RFC 2782",
        "_sips._tcp says where the domain takes SIP over TLS. Without it a client can only guess.",
    ),
    check("D-ADDR", Identity, 0, "Addresses", "RFC 3263 §4.2", "Phones in networks without IPv4 need an IPv6 address."),
    check(
        "D-DNSSEC",
        Identity,
        1,
        "DNSSEC",
        "RFC 4033, RFC 7673 §3",
        "Without it an answer of DNS can be forged. TLS catches that, if the certificate is checked; with it the forgery does not begin.",
    ),
    check(
        "D-TLSA",
        Identity,
        1,
        "TLSA records (DANE)",
        "RFC 6698, RFC 7671, RFC 7673",
        "They pin the server's key in DNS. They count only where DNSSEC holds, and one that does not fit cuts off who checks it.",
    ),
    check(
        "D-CAA",
        Identity,
        0,
        "CAA records",
        "RFC 8659",
        "They say which authorities may make certificates for the domain.",
    ),
    check(
        "S-OPTIONS",
        Signalling,
        1,
        "Answer to OPTIONS",
        "RFC 3261 §11",
        "Shows that SIP is spoken, and which extensions the provider names.",
    ),
    check(
        "S-KEEPALIVE",
        Signalling,
        1,
        "Keep-alive",
        "RFC 5626 §4.4.1",
        "A pong shows that the connection lives. Without it a dead one is noticed when the next registration is due, and calls are lost.",
    ),
    check(
        "S-SIPS",
        Signalling,
        0,
        "sips: addresses",
        "RFC 5630",
        "Whether a request to a sips: address is taken. This gateway does not need it.",
    ),
    check(
        "S-DIGEST",
        Login,
        3,
        "Kinds of login",
        "RFC 8760, RFC 7616",
        "MD5 lets whoever sees an answer guess passwords fast. Basic hands the password over. A server that asks for nothing lets \
         anybody in.",
    ),
    check(
        "S-QOP",
        Login,
        2,
        "Quality of protection",
        "RFC 8760 §2.6, RFC 7616 §3.3",
        "Without qop an answer to a challenge can be used again, and is easier to attack.",
    ),
    check(
        "S-NONCE",
        Login,
        2,
        "Nonces",
        "RFC 7616 §5.4, §5.5",
        "A nonce that comes again on another connection lets an overheard answer be used again.",
    ),
    check(
        "S-REALM",
        Login,
        1,
        "Realm",
        "RFC 3261 §22.1",
        "The realm says whose password is asked for. It should be the provider's own domain.",
    ),
    check(
        "S-LOGIN",
        Login,
        3,
        "Login with the account",
        "RFC 3261 §10, RFC 8760",
        "Whether the account can be registered under this gateway's policy, and with which hash.",
    ),
    check(
        "S-REPLAY",
        Login,
        2,
        "Replayed login",
        "RFC 7616 §3.4",
        "The same answer with the same count must not be taken twice.",
    ),
    check(
        "S-OUTBOUND",
        Login,
        1,
        "Calls over our own connection",
        "RFC 5626, RFC 5627, RFC 3608",
        "With outbound the provider sends calls over the connection that the gateway opened, and says so.",
    ),
    check(
        "T-PLAIN",
        Exposure,
        3,
        "SIP without TLS",
        "RFC 3261 §26.3.1, RFC 8760",
        "A server that asks for a password on port 5060 invites phones to log in where everybody listens. One that answers at all \
         can be called there in clear.",
    ),
    check(
        "T-BANNER",
        Exposure,
        1,
        "What the server tells of itself",
        "RFC 3261 §20.35",
        "The exact version tells an attacker which holes to try.",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn ids_are_unique_and_found_in_any_case() {
        for check in CHECKS {
            assert_eq!(CHECKS.iter().filter(|other| other.id == check.id).count(), 1, "{}", check.id);
            assert!(find(&check.id.to_lowercase()).is_some());
            assert!(!check.why.contains("  "), "{}: {}", check.id, check.why);
        }
        assert!(find("X-NONE").is_none());
    }
}
