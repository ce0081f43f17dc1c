//! Facts of a good provider, each spoilt in one way: exactly the findings of that fault must follow.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use super::facts::*;
use super::finding::Severity::{self, Critical, High, Info, Low, Medium, Pass, Unknown};
use super::report::{Remedy, Report, Scope, Verdict};
use crate::policy::{Chain, Name, Pin, TlsVersion, Validity};
use crate::units::UnixTime;
use std::net::SocketAddr;

/// 2026-11-25.
const NOW: i64 = 1_795_564_800;
const DAY: i64 = 86_400;

fn certificate(subject: &str, issuer: &str) -> Certificate {
    Certificate {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        serial: "01".to_owned(),
        not_before: NOW - 30 * DAY,
        not_after: NOW + 60 * DAY,
        key: "EC P-256".to_owned(),
        key_bits: 256,
        signature: "ecdsa-with-SHA256".to_owned(),
        dns_names: vec!["example.org".to_owned()],
        uris: Vec::new(),
        addresses: Vec::new(),
        common_names: vec!["example.org".to_owned()],
        extended_key_usage: Some(vec!["serverAuth".to_owned()]),
        authority: false,
        sha256: "aa".repeat(32),
        spki_sha256: "u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7u7s=".to_owned(), // 32 times bb
        sha512: "cc".repeat(64),
        spki_sha512: "dd".repeat(64),
        ocsp: Vec::new(),
        crl: Vec::new(),
        must_staple: false,
        scts: 2,
    }
}

fn suite(version: Version, id: u16, name: &str) -> Suite {
    Suite { version, id, name: name.to_owned() }
}

pub(super) fn response(status: u16, challenges: Vec<Challenge>) -> Response {
    Response {
        status,
        reason: "Reason".to_owned(),
        server: None,
        allow: Vec::new(),
        supported: Vec::new(),
        security_server: Vec::new(),
        contact: Vec::new(),
        challenges,
    }
}

fn challenge(scheme: &str, algorithm: &str) -> Challenge {
    Challenge {
        scheme: scheme.to_owned(),
        algorithm: algorithm.to_owned(),
        realm: "example.org".to_owned(),
        qop: vec!["auth".to_owned()],
        nonce_length: 32,
        userhash: false,
    }
}

fn records<T>(records: Vec<T>) -> Answer<T> {
    Answer::Records { records, security: Security::Secure }
}

fn question<T>(name: &str, answers: Vec<T>) -> Question<T> {
    Question { name: name.to_owned(), answer: records(answers) }
}

/// A provider with which nothing is wrong.
pub(super) fn good() -> Facts {
    let address: SocketAddr = "192.0.2.1:5061".parse().unwrap();
    let plain = |transport| PlainFacts {
        host: "sip.example.org".to_owned(),
        address: "192.0.2.1:5060".parse().unwrap(),
        transport,
        options: Tested::Known(None),
        register: Tested::Known(None),
    };
    Facts {
        target: "example.org".to_owned(),
        expected_name: "example.org".to_owned(),
        started: "2026-11-25T00:00:00Z".to_owned(),
        took_ms: 4000,
        interrupted: None,
        dns: Tested::Known(DnsFacts {
            way: Way::Naptr,
            naptr: records(vec![Naptr {
                order: 10,
                preference: 10,
                service: "SIPS+D2T".to_owned(),
                replacement: "_sips._tcp.example.org.".to_owned(),
            }]),
            srv: vec![
                question(
                    "_sips._tcp.example.org.",
                    vec![Srv { priority: 1, weight: 1, port: 5061, target: "sip.example.org.".to_owned() }],
                ),
                question("_sip._tcp.example.org.", Vec::new()),
                question("_sip._udp.example.org.", Vec::new()),
                question("_sip._tls.example.org.", Vec::new()),
            ],
            ipv4: vec![question("sip.example.org.", vec!["192.0.2.1".parse().unwrap()])],
            ipv6: vec![question("sip.example.org.", vec!["2001:db8::1".parse().unwrap()])],
            tlsa: vec![question("_5061._tcp.sip.example.org.", Vec::new())],
            caa: records(Vec::new()),
            not_found: None,
        }),
        servers: vec![ServerFacts {
            host: "sip.example.org.".to_owned(),
            address,
            tcp: Tested::Known(Tcp::Open { connect_ms: 10 }),
            tls: Tested::Known(TlsFacts {
                versions: vec![
                    (Version::Ssl3, Tested::Known(false)),
                    (Version::Tls10, Tested::Known(false)),
                    (Version::Tls11, Tested::Known(false)),
                    (Version::Tls12, Tested::Known(true)),
                    (Version::Tls13, Tested::Known(true)),
                ],
                suites: vec![
                    suite(Version::Tls12, 0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
                    suite(Version::Tls13, 0x1302, "TLS_AES_256_GCM_SHA384"),
                ],
                suites_cut: None,
                server_order: Tested::Known(true),
                groups: Tested::Known(vec!["X25519MLKEM768".to_owned(), "x25519".to_owned()]),
                dh_bits: Tested::Known(None),
                extended_master_secret: Tested::Known(true),
                secure_renegotiation: Tested::Known(true),
                compression: Tested::Known(false),
                fallback_scsv: Tested::Known(true),
                heartbeat: Tested::Known(false),
                without_sni: Tested::Known(WithoutSni::Same),
                alpn: Tested::Known(Alpn::Ignored),
                client_certificate: Tested::Known(ClientCertificate::NotRequested),
                negotiated: Tested::Known(Negotiated {
                    version: Version::Tls13,
                    suite: "TLS_AES_256_GCM_SHA384".to_owned(),
                    group: "X25519MLKEM768".to_owned(),
                    handshake_ms: 12,
                }),
                obstacle: None,
            }),
            certificate: Tested::Known(CertificateFacts {
                chain: vec![certificate("CN=example.org", "CN=CA")],
                judged: Judged {
                    version: TlsVersion::Tls13,
                    chain: Chain::Trusted,
                    chain_detail: String::new(),
                    name: Name::Matches,
                    validity: Validity::Valid,
                    pin: Pin::NotConfigured,
                },
                webpki_name: true,
                ocsp_staple: Tested::Known(Staple::Good),
            }),
            sip: Tested::Known(SipFacts {
                options: Tested::Known(response(200, Vec::new())),
                sips_uri: Tested::Known(response(200, Vec::new())),
                register: Tested::Known(response(
                    401,
                    vec![challenge("Digest", "SHA-256"), challenge("Digest", "MD5")],
                )),
                fresh_nonce: Tested::Known(true),
                pong: Tested::Known(true),
            }),
            connections: 30,
        }],
        plain: vec![plain(PlainTransport::Udp), plain(PlainTransport::Tcp)],
        account: Tested::Unknown("no account was named".to_owned()),
    }
}

fn report(facts: Facts) -> Report {
    super::report(facts, UnixTime(NOW as u64))
}

fn severity(report: &Report, id: &str) -> Severity {
    report.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}")).severity
}

fn tls(facts: &mut Facts) -> &mut TlsFacts {
    match &mut facts.servers[0].tls {
        Tested::Known(tls) => tls,
        Tested::Unknown(_) => panic!(),
    }
}

fn seen(facts: &mut Facts) -> &mut CertificateFacts {
    match &mut facts.servers[0].certificate {
        Tested::Known(certificate) => certificate,
        Tested::Unknown(_) => panic!(),
    }
}

fn sip(facts: &mut Facts) -> &mut SipFacts {
    match &mut facts.servers[0].sip {
        Tested::Known(sip) => sip,
        Tested::Unknown(_) => panic!(),
    }
}

fn dns(facts: &mut Facts) -> &mut DnsFacts {
    match &mut facts.dns {
        Tested::Known(dns) => dns,
        Tested::Unknown(_) => panic!(),
    }
}

fn speaks(facts: &mut Facts, versions: &[Version]) {
    for (version, has) in &mut tls(facts).versions {
        *has = Tested::Known(versions.contains(version));
    }
}

fn challenges(facts: &mut Facts, challenges: Vec<Challenge>) {
    sip(facts).register = Tested::Known(response(401, challenges));
}

fn plain_register(facts: &mut Facts, status: u16) {
    facts.plain[0].options = Tested::Known(Some(response(200, Vec::new())));
    facts.plain[0].register = Tested::Known(Some(response(status, Vec::new())));
}

fn weak(facts: &mut Facts, id: u16, name: &str) {
    tls(facts).suites.push(suite(Version::Tls12, id, name));
}

type Fault = (&'static str, fn(&mut Facts), &'static [(&'static str, Severity)]);

/// A fault, and every finding that differs from the good provider's.
const FAULTS: &[Fault] = &[
    ("TLS 1.0 too", |f| speaks(f, &[Version::Tls10, Version::Tls12, Version::Tls13]), &[("L-VERSIONS", High)]),
    ("SSL 3 too", |f| speaks(f, &[Version::Ssl3, Version::Tls12, Version::Tls13]), &[("L-VERSIONS", Critical)]),
    ("TLS 1.1 at most", |f| speaks(f, &[Version::Tls10, Version::Tls11]), &[("L-VERSIONS", Critical)]),
    ("no TLS 1.3", |f| speaks(f, &[Version::Tls12]), &[("L-VERSIONS", Medium)]),
    (
        "a version not tested",
        |f| tls(f).versions[1].1 = Tested::Unknown("no answer".to_owned()),
        &[("L-VERSIONS", Unknown)],
    ),
    ("RC4", |f| weak(f, 0xC011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"), &[("L-SUITES", High)]),
    ("NULL", |f| weak(f, 0xC010, "TLS_ECDHE_RSA_WITH_NULL_SHA"), &[("L-SUITES", Critical)]),
    ("static RSA too", |f| weak(f, 0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256"), &[("L-PFS", Medium)]),
    (
        "static RSA only",
        |f| tls(f).suites = vec![suite(Version::Tls12, 0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256")],
        &[("L-SUITES", Medium), ("L-PFS", High)],
    ),
    ("a short prime", |f| tls(f).dh_bits = Tested::Known(Some(1024)), &[("L-PFS", High)]),
    (
        "a prime of a list that was cut short",
        |f| {
            tls(f).dh_bits = Tested::Known(Some(2048));
            tls(f).suites_cut = Some("there are too many".to_owned());
        },
        &[("L-PFS", Unknown)],
    ),
    ("nothing post-quantum", |f| tls(f).groups = Tested::Known(vec!["x25519".to_owned()]), &[("L-PQ", Info)]),
    ("no EMS", |f| tls(f).extended_master_secret = Tested::Known(false), &[("L-EXTENSIONS", Low)]),
    ("no RFC 5746", |f| tls(f).secure_renegotiation = Tested::Known(false), &[("L-EXTENSIONS", Medium)]),
    ("compression", |f| tls(f).compression = Tested::Known(true), &[("L-EXTENSIONS", High)]),
    ("no SCSV", |f| tls(f).fallback_scsv = Tested::Known(false), &[("L-FALLBACK", Low)]),
    ("SNI matters", |f| tls(f).without_sni = Tested::Known(WithoutSni::Other), &[("L-SNI", Info)]),
    ("ALPN breaks", |f| tls(f).alpn = Tested::Known(Alpn::Refused), &[("L-ALPN", Info)]),
    (
        "a client certificate is demanded",
        |f| tls(f).client_certificate = Tested::Known(ClientCertificate::Required),
        &[("L-MTLS", High)],
    ),
    ("self-signed", |f| seen(f).judged.chain = Chain::SelfSigned, &[("C-CHAIN", Critical)]),
    ("unknown issuer", |f| seen(f).judged.chain = Chain::UnknownIssuer, &[("C-CHAIN", Critical)]),
    ("broken chain", |f| seen(f).judged.chain = Chain::Invalid, &[("C-CHAIN", Critical)]),
    (
        "another name",
        |f| {
            seen(f).judged.name = Name::Wrong;
            seen(f).webpki_name = false;
        },
        &[("C-NAME", Critical)],
    ),
    ("a wildcard", |f| seen(f).judged.name = Name::WildcardOnly, &[("C-NAME", Medium)]),
    ("expired", |f| seen(f).judged.validity = Validity::Expired, &[("C-LIFE", Critical)]),
    ("not yet valid", |f| seen(f).judged.validity = Validity::NotYetValid, &[("C-LIFE", Critical)]),
    ("ends in ten days", |f| seen(f).chain[0].not_after = NOW + 10 * DAY, &[("C-LIFE", Medium)]),
    ("ends tomorrow", |f| seen(f).chain[0].not_after = NOW + DAY, &[("C-LIFE", High)]),
    ("lives for years", |f| seen(f).chain[0].not_after = NOW + 900 * DAY, &[("C-LIFE", Low)]),
    (
        "RSA 1024",
        |f| {
            seen(f).chain[0].key = "RSA".to_owned();
            seen(f).chain[0].key_bits = 1024;
        },
        &[("C-KEY", High)],
    ),
    ("SHA-1", |f| seen(f).chain[0].signature = "sha1WithRSAEncryption".to_owned(), &[("C-KEY", High)]),
    (
        "for e-mail only",
        |f| seen(f).chain[0].extended_key_usage = Some(vec!["emailProtection".to_owned()]),
        &[("C-EKU", High)],
    ),
    ("no staple", |f| seen(f).ocsp_staple = Tested::Known(Staple::Absent), &[("C-OCSP", Info)]),
    ("revoked", |f| seen(f).ocsp_staple = Tested::Known(Staple::Revoked), &[("C-OCSP", Critical)]),
    (
        "a staple is missing that must be there",
        |f| {
            seen(f).ocsp_staple = Tested::Known(Staple::Absent);
            seen(f).chain[0].must_staple = true;
        },
        &[("C-OCSP", High)],
    ),
    ("no SRV", |f| dns(f).srv[0].answer = records(Vec::new()), &[("D-SRV", Medium)]),
    (
        "SRV says no",
        |f| {
            dns(f).srv[0].answer = records(vec![Srv { priority: 0, weight: 0, port: 0, target: ".".to_owned() }]);
        },
        &[("D-SRV", High)],
    ),
    (
        "UDP first",
        |f| {
            let udp = Naptr { order: 5, preference: 1, service: "SIP+D2U".to_owned(), replacement: "x.".to_owned() };
            let Answer::Records { records, .. } = &mut dns(f).naptr else { panic!() };
            records.push(udp);
        },
        &[("D-NAPTR", Medium)],
    ),
    (
        "DNS not signed",
        |f| dns(f).naptr = Answer::Records { records: Vec::new(), security: Security::Insecure },
        &[("D-NAPTR", Info), ("D-DNSSEC", Low)],
    ),
    (
        "DNS forged",
        |f| dns(f).srv[0].answer = Answer::Bogus("the signature does not hold".to_owned()),
        &[("D-SRV", Unknown), ("D-DNSSEC", Critical)],
    ),
    ("no IPv6", |f| dns(f).ipv6.clear(), &[("D-ADDR", Low)]),
    ("TLSA fits", |f| tlsa(f, 3, 1, 1, "bb"), &[("D-TLSA", Pass)]),
    ("TLSA of the certificate fits", |f| tlsa(f, 3, 0, 1, "aa"), &[("D-TLSA", Pass)]),
    ("TLSA does not fit", |f| tlsa(f, 3, 1, 1, "ff"), &[("D-TLSA", High)]),
    ("TLSA of another selector does not fit", |f| tlsa(f, 3, 0, 1, "bb"), &[("D-TLSA", High)]),
    ("TLSA about an authority that was not sent", |f| tlsa(f, 2, 1, 1, "bb"), &[("D-TLSA", High)]),
    (
        "TLSA without DNSSEC",
        |f| {
            tlsa(f, 3, 1, 1, "bb");
            let Answer::Records { security, .. } = &mut dns(f).tlsa[0].answer else { panic!() };
            *security = Security::Insecure;
        },
        &[("D-TLSA", Low)],
    ),
    ("no pong", |f| sip(f).pong = Tested::Known(false), &[("S-KEEPALIVE", Low)]),
    ("OPTIONS refused", |f| sip(f).options = Tested::Known(response(405, Vec::new())), &[("S-OPTIONS", Info)]),
    ("MD5 only", |f| challenges(f, vec![challenge("Digest", "MD5")]), &[("S-DIGEST", Medium)]),
    (
        "MD5 first",
        |f| challenges(f, vec![challenge("Digest", "MD5"), challenge("Digest", "SHA-256")]),
        &[("S-DIGEST", Low)],
    ),
    (
        "Basic too",
        |f| challenges(f, vec![challenge("Digest", "SHA-256"), challenge("Basic", "")]),
        &[("S-DIGEST", Critical)],
    ),
    (
        "Basic only",
        |f| challenges(f, vec![challenge("Basic", "")]),
        &[("S-DIGEST", Critical), ("S-QOP", Unknown), ("S-NONCE", Unknown), ("S-REALM", Unknown)],
    ),
    (
        "no password at all",
        |f| sip(f).register = Tested::Known(response(200, Vec::new())),
        &[("S-DIGEST", Critical), ("S-QOP", Unknown), ("S-NONCE", Unknown), ("S-REALM", Unknown)],
    ),
    (
        "no qop",
        |f| {
            let mut without = challenge("Digest", "SHA-256");
            without.qop.clear();
            challenges(f, vec![without]);
        },
        &[("S-QOP", Medium)],
    ),
    ("the nonce comes again", |f| sip(f).fresh_nonce = Tested::Known(false), &[("S-NONCE", Medium)]),
    (
        "a version in the banner",
        |f| {
            let mut named = response(200, Vec::new());
            named.server = Some("Kamailio (5.6.3)".to_owned());
            sip(f).options = Tested::Known(named);
        },
        &[("T-BANNER", Low)],
    ),
    ("5060 challenges", |f| plain_register(f, 401), &[("T-PLAIN", High)]),
    ("5060 registers", |f| plain_register(f, 200), &[("T-PLAIN", High)]),
    ("5060 answers", |f| plain_register(f, 404), &[("T-PLAIN", Medium)]),
    ("5060 sends to TLS", |f| plain_register(f, 305), &[("T-PLAIN", Pass)]),
    ("5060 not tested", |f| f.plain[1].register = Tested::Unknown("no socket".to_owned()), &[("T-PLAIN", Unknown)]),
];

fn tlsa(facts: &mut Facts, usage: u8, selector: u8, matching: u8, byte: &str) {
    let record = Tlsa { usage, selector, matching, data: byte.repeat(32) };
    dns(facts).tlsa = vec![question("_5061._tcp.sip.example.org.", vec![record])];
}

#[test]
fn a_good_provider_is_accepted_and_nothing_is_wrong_with_it() {
    let report = report(good());
    for finding in &report.findings {
        assert!(matches!(finding.severity, Pass | Info), "{finding:?}");
    }
    assert_eq!(report.verdict, Verdict::Accepted);
    assert_eq!(report.configuration, Remedy::Nothing);
    assert_eq!(report.scope, Scope::Signalling);
    assert_eq!(report.grade.unwrap().letter, "A");
    assert!(report.not_tested.iter().any(|line| line.starts_with("Media")));
}

#[test]
fn each_fault_changes_exactly_its_findings() {
    let before = report(good());
    for (fault, spoil, expected) in FAULTS {
        let mut facts = good();
        spoil(&mut facts);
        let after = report(facts);
        let changed: Vec<(String, Severity)> = after
            .findings
            .iter()
            .filter(|finding| severity(&before, &finding.id) != finding.severity)
            .map(|finding| (finding.id.clone(), finding.severity))
            .collect();
        let expected: Vec<(String, Severity)> = expected
            .iter()
            .map(|(id, severity)| ((*id).to_owned(), *severity))
            .filter(|(id, now)| severity(&before, id) != *now)
            .collect();
        let in_order = |mut list: Vec<(String, Severity)>| {
            list.sort();
            list
        };
        assert_eq!(in_order(changed), in_order(expected), "{fault}");
        for finding in &after.findings {
            let needs_fix = matches!(finding.severity, Low | Medium | High | Critical);
            assert_eq!(finding.fix.is_empty(), !needs_fix, "{fault}: {finding:?}");
            assert!(!finding.summary.ends_with('.') && !finding.fix.ends_with('.'), "{fault}: {finding:?}");
        }
    }
}

#[test]
fn the_verdict_is_policys() {
    type Case = (fn(&mut Facts), &'static str);
    let cases: [Case; 7] = [
        (|f| seen(f).judged.chain = Chain::SelfSigned, "certificate-self-signed"),
        (|f| seen(f).judged.name = Name::Wrong, "certificate-name"),
        (|f| seen(f).judged.name = Name::WildcardOnly, "certificate-wildcard"),
        (|f| seen(f).judged.validity = Validity::Expired, "certificate-expired"),
        (|f| seen(f).judged.validity = Validity::NotYetValid, "certificate-not-yet-valid"),
        (|f| seen(f).judged.version = TlsVersion::Older, "tls-version"),
        (|f| seen(f).judged.chain = Chain::Invalid, "certificate-invalid"),
    ];
    for (spoil, rule) in cases {
        let mut facts = good();
        spoil(&mut facts);
        let report = report(facts);
        assert!(
            matches!(&report.verdict, Verdict::Refused { rule: named, .. } if named == rule),
            "{:?}",
            report.verdict
        );
    }
}

fn named_rule(report: &Report) -> Option<&str> {
    match &report.verdict {
        Verdict::Refused { rule, .. } => Some(rule),
        Verdict::Accepted | Verdict::Inconclusive { .. } => None,
    }
}

/// No handshake of this gateway gets to its end.
fn no_handshake(facts: &mut Facts, obstacle: Option<Obstacle>) {
    tls(facts).negotiated = Tested::Unknown("received fatal alert: HandshakeFailure".to_owned());
    tls(facts).obstacle = obstacle;
}

#[test]
fn a_handshake_that_fails_is_refused_by_the_rule_that_run_would_name() {
    for (obstacle, rule) in [
        (Obstacle::OldVersion, "tls-version"),
        (Obstacle::BadCertificate, "certificate-invalid"),
        (Obstacle::NoCommonSuite, "tls-suite"),
        (Obstacle::ClientCertificate, "client-certificate"),
    ] {
        let mut facts = good();
        no_handshake(&mut facts, Some(obstacle));
        assert_eq!(named_rule(&report(facts.clone())), Some(rule));
        // whatever the certificate of other handshakes is, none of this gateway's shows it
        seen(&mut facts).judged.chain = Chain::SelfSigned;
        assert_eq!(named_rule(&report(facts.clone())), Some(rule));
        facts.servers[0].certificate = Tested::not_yet();
        assert_eq!(named_rule(&report(facts)), Some(rule));
    }
    let mut broken = good();
    no_handshake(&mut broken, None);
    assert!(matches!(report(broken).verdict, Verdict::Inconclusive { .. }), "the network may have been it");
    // TLS 1.3 demands a client certificate after the handshake: the server's own is judged before
    let mut after = good();
    tls(&mut after).obstacle = Some(Obstacle::ClientCertificate);
    assert_eq!(named_rule(&report(after.clone())), Some("client-certificate"));
    seen(&mut after).judged.chain = Chain::SelfSigned;
    assert_eq!(named_rule(&report(after)), Some("certificate-self-signed"));
}

#[test]
fn what_answers_no_sip_is_not_accepted() {
    let mut silent = good();
    silent.servers[0].sip = Tested::Unknown("no TCP connection".to_owned());
    let mut odd = good();
    let Tested::Known(sip) = &mut odd.servers[0].sip else { panic!("good") };
    sip.register = Tested::Unknown("no answer within 2 s".to_owned());
    for facts in [silent, odd] {
        let report = report(facts);
        assert!(matches!(report.verdict, Verdict::Inconclusive { .. }), "{:?}", report.verdict);
    }
}

#[test]
fn a_login_that_is_not_supported_is_refused_by_its_rule() {
    for (offered, rule) in [
        (vec![challenge("Basic", "MD5")], Some("login-scheme")),
        (vec![challenge("Digest", "SHA-3"), challenge("Basic", "MD5")], Some("login-scheme")),
        (vec![challenge("Bearer", "MD5")], Some("login-scheme")),
        (vec![challenge("Basic", "MD5"), challenge("digest", "md5")], None),
        (vec![challenge("Digest", "SHA-512-256")], None),
        (Vec::new(), None),
    ] {
        let mut facts = good();
        challenges(&mut facts, offered.clone());
        let report = report(facts);
        assert_eq!(named_rule(&report), rule, "{offered:?}");
        assert!(rule.is_some() || report.verdict == Verdict::Accepted, "{offered:?}");
    }
    let mut other = good();
    sip(&mut other).register = Tested::Known(response(403, vec![challenge("Basic", "MD5")]));
    assert_eq!(named_rule(&report(other)), None, "no answer is asked for");
}

#[test]
fn one_bad_address_among_good_ones_counts() {
    let mut facts = good();
    let mut second = facts.servers[0].clone();
    second.address = "192.0.2.2:5061".parse().unwrap();
    let Tested::Known(certificate) = &mut second.certificate else { panic!() };
    certificate.judged.chain = Chain::SelfSigned;
    facts.servers.push(second);
    let report = report(facts);
    assert_eq!(severity(&report, "C-CHAIN"), Critical);
    assert!(matches!(report.verdict, Verdict::Refused { .. }));
    let finding = report.findings.iter().find(|finding| finding.id == "C-CHAIN").unwrap();
    assert!(finding.evidence.iter().any(|line| line.starts_with("192.0.2.2:5061")), "{:?}", finding.evidence);
}

#[test]
fn what_cannot_be_reached_is_inconclusive_and_has_no_letter() {
    for tcp in [Tcp::Silent, Tcp::Refused, Tcp::Unreachable("no route".to_owned())] {
        let mut facts = good();
        let server = &mut facts.servers[0];
        server.tcp = Tested::Known(tcp.clone());
        server.tls = Tested::not_yet();
        server.certificate = Tested::not_yet();
        server.sip = Tested::not_yet();
        let report = report(facts);
        assert!(matches!(report.verdict, Verdict::Inconclusive { .. }), "{tcp:?}");
        assert_eq!(report.grade, None);
        assert_eq!(severity(&report, "T-TLS"), if tcp == Tcp::Refused { Critical } else { Unknown });
        assert_eq!(severity(&report, "C-CHAIN"), Unknown);
    }
    for (trouble, refused) in [
        (NotFound::Nothing("there is no such name".to_owned()), None),
        (NotFound::Failed("no answer".to_owned()), None),
        (NotFound::Bogus("forged".to_owned()), Some("dns-bogus")),
        (NotFound::NotOffered("the domain says no".to_owned()), Some("tls-required")),
    ] {
        let mut facts = good();
        facts.servers.clear();
        facts.plain.clear();
        dns(&mut facts).not_found = Some(trouble.clone());
        let named = match report(facts).verdict {
            Verdict::Refused { rule, .. } => Some(rule),
            Verdict::Inconclusive { .. } => None,
            Verdict::Accepted => panic!("{trouble:?}"),
        };
        assert_eq!(named.as_deref(), refused, "{trouble:?}");
    }
    let mut interrupted = good();
    interrupted.interrupted = Some("by the operator".to_owned());
    assert!(matches!(report(interrupted).verdict, Verdict::Inconclusive { .. }));
}

#[test]
fn the_exception_that_would_be_needed_is_one_that_the_configuration_reads() {
    let mut facts = good();
    seen(&mut facts).judged.name = Name::WildcardOnly;
    let Remedy::Toml(text) = report(facts).configuration else { panic!() };
    assert!(
        text.contains("allow       = \"tls-wildcard-name\"") && text.contains("expires     = 2026-12-25"),
        "{text}"
    );
    assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    let mut facts = good();
    seen(&mut facts).judged.version = TlsVersion::Older;
    assert!(matches!(report(facts).configuration, Remedy::Impossible(_)));
}

#[test]
fn with_an_account_the_login_decides_too() {
    let account = |login| AccountFacts {
        address: "alice@example.org".to_owned(),
        login,
        sha256_accepted: Tested::Known(true),
        replay_refused: Tested::Known(true),
        registered: Tested::Known(Registered {
            expires: Some(60),
            contact_kept: true,
            other_bindings: 0,
            outbound: true,
            gruu: false,
            service_route: false,
            path: false,
        }),
        binding_removed: Tested::Known(true),
    };
    let with = |login| {
        let mut facts = good();
        facts.account = Tested::Known(account(login));
        report(facts)
    };
    let good = with(Tested::Known(Login::Accepted { algorithm: "SHA-256".to_owned() }));
    assert_eq!((&good.verdict, good.scope, severity(&good, "S-LOGIN")), (&Verdict::Accepted, Scope::Login, Pass));
    let weak = with(Tested::Known(Login::Accepted { algorithm: "MD5".to_owned() }));
    assert_eq!((&weak.verdict, severity(&weak, "S-LOGIN")), (&Verdict::Accepted, Medium));
    let refused = with(Tested::Known(Login::Refused { status: 403, reason: "No".to_owned() }));
    assert!(matches!(&refused.verdict, Verdict::Refused { rule, .. } if rule == "login"));
    assert!(matches!(with(Tested::Unknown("no answer".to_owned())).verdict, Verdict::Inconclusive { .. }));
}

#[test]
fn the_same_facts_always_give_the_same_report_also_after_they_were_saved() {
    let first = report(good());
    let text = serde_json::to_string(&first.facts).unwrap();
    let again = report(serde_json::from_str(&text).unwrap());
    assert_eq!(first, again);
}

#[test]
fn dns_has_no_part_in_an_address() {
    let mut facts = good();
    facts.target = "sips:192.0.2.1:5061".to_owned();
    facts.dns = Tested::Unknown("the target is an address".to_owned());
    assert!(report(facts).findings.iter().all(|finding| !finding.id.starts_with("D-")));
}

#[test]
fn saved_facts_are_judged_as_of_when_they_were_measured() {
    let mut facts = good();
    facts.started = "2026-11-25T01:02:03Z".to_owned();
    assert_eq!(facts.measured_at(UnixTime(0)), UnixTime(NOW as u64 + 3723));
    facts.started = "yesterday".to_owned();
    assert_eq!(facts.measured_at(UnixTime(7)), UnixTime(7));
}

#[test]
fn hostile_text_of_a_provider_is_printable_in_findings() {
    let mut facts = good();
    let mut named = response(404, Vec::new());
    named.reason = "\u{1b}[2J\u{202e}<script>".to_owned();
    sip(&mut facts).options = Tested::Known(named);
    let finding = report(facts).findings.into_iter().find(|finding| finding.id == "S-OPTIONS").unwrap();
    let all = format!("{}{:?}", finding.summary, finding.evidence);
    assert!(!all.contains('\u{1b}') && !all.contains('\u{202e}') && all.contains("<script>"), "{all}");
}
