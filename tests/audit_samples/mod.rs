//! Reports of providers that do not exist: a good one, a faulty one, one that could not be reached, and one whose every
//! text is hostile.

use galene_sips::audit::facts::*;
use galene_sips::audit::finding::{Category, Finding, Severity};
use galene_sips::audit::report::{Cap, CategoryScore, Grade, Remedy, Report, SCHEMA_VERSION, Scope, Verdict};
use galene_sips::policy::{Chain, Name, Pin, TlsVersion, Validity};
use serde_json::Value;

/// 2026-11-25.
const TODAY: i64 = 20_782 * 86_400;
const DAY: i64 = 86_400;

/// What a provider may have put into every text: markup, terminal commands, turned-round text, and no place to break.
pub(crate) fn hostile() -> String {
    let start =
        "</style></title></code><script>document.title='owned'</script><img src=x onerror=alert(1)>\" ' & {{main}}";
    format!("{start}\u{1b}[2J\u{9b}31m\r\nSet-Cookie: a\0\u{202e}\u{2066}\u{200b}{}", "long".repeat(80))
}

fn finding(id: &str, category: Category, severity: Severity, summary: &str) -> Finding {
    let (evidence, fix, reference) = (Vec::new(), String::new(), String::new());
    Finding { id: id.to_owned(), category, severity, summary: summary.to_owned(), evidence, fix, reference }
}

fn told(mut finding: Finding, evidence: &[&str], fix: &str, reference: &str) -> Finding {
    finding.evidence = evidence.iter().map(|&line| line.to_owned()).collect();
    (finding.fix, finding.reference) = (fix.to_owned(), reference.to_owned());
    finding
}

fn certificate(subject: &str, issuer: &str, key: (&str, u32), days: (i64, i64), names: &[&str]) -> Certificate {
    let common_name = subject.strip_prefix("CN=").map(|rest| rest.split(',').next().unwrap().to_owned());
    Certificate {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        serial: "04a9c3e71f2255d0".to_owned(),
        not_before: TODAY + days.0 * DAY,
        not_after: TODAY + days.1 * DAY,
        key: key.0.to_owned(),
        key_bits: key.1,
        signature: "sha256WithRSAEncryption".to_owned(),
        dns_names: names.iter().map(|&name| name.to_owned()).collect(),
        uris: Vec::new(),
        addresses: Vec::new(),
        common_names: common_name.into_iter().collect(),
        extended_key_usage: Some(vec!["serverAuth".to_owned()]),
        authority: names.is_empty(),
        sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        spki_sha256: "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=".to_owned(),
        sha512: "ee26b0dd4af7e749aa1a8ee3c10ae9923f618980772e473f8819a5d4940e0db2".repeat(2),
        spki_sha512: "7ab185f88e3b0dd6a2bd09aa1a8ee3c10ae9923f618980772e473f8819a5d494".repeat(2),
        ocsp: vec!["http://ocsp.authority.example".to_owned()],
        crl: Vec::new(),
        must_staple: false,
        scts: 2,
    }
}

fn response(status: u16, reason: &str) -> Response {
    Response {
        status,
        reason: reason.to_owned(),
        server: Some("Proxy 5.8".to_owned()),
        allow: vec!["INVITE".to_owned(), "REGISTER".to_owned()],
        supported: vec!["outbound".to_owned(), "path".to_owned()],
        security_server: vec!["tls;q=0.2".to_owned()],
        contact: vec!["<sips:other.example>".to_owned()],
        challenges: vec![Challenge {
            scheme: "Digest".to_owned(),
            algorithm: "MD5".to_owned(),
            realm: "voice.example".to_owned(),
            qop: vec!["auth".to_owned()],
            nonce_length: 32,
            userhash: false,
        }],
    }
}

fn server(host: &str, address: &str, certificate: CertificateFacts) -> ServerFacts {
    ServerFacts {
        host: host.to_owned(),
        address: address.parse().unwrap(),
        tcp: Tested::Known(Tcp::Open { connect_ms: 23 }),
        tls: Tested::Known(TlsFacts {
            versions: vec![
                (Version::Ssl3, Tested::Known(false)),
                (Version::Tls10, Tested::Known(true)),
                (Version::Tls11, Tested::Unknown("the connection was reset".to_owned())),
                (Version::Tls12, Tested::Known(true)),
                (Version::Tls13, Tested::Known(true)),
            ],
            suites: vec![Suite { version: Version::Tls13, id: 0x1302, name: "TLS_AES_256_GCM_SHA384".to_owned() }],
            suites_cut: Some("40 connections were used up".to_owned()),
            server_order: Tested::Known(true),
            groups: Tested::Known(vec!["X25519MLKEM768".to_owned(), "x25519".to_owned()]),
            dh_bits: Tested::Known(None),
            extended_master_secret: Tested::Known(true),
            secure_renegotiation: Tested::Known(true),
            compression: Tested::Known(false),
            fallback_scsv: Tested::Known(true),
            heartbeat: Tested::Known(false),
            without_sni: Tested::Known(WithoutSni::Other),
            alpn: Tested::Known(Alpn::Selected("sip/2".to_owned())),
            client_certificate: Tested::Known(ClientCertificate::NotRequested),
            negotiated: Tested::Known(Negotiated {
                version: Version::Tls13,
                suite: "TLS_AES_256_GCM_SHA384".to_owned(),
                group: "X25519MLKEM768".to_owned(),
                handshake_ms: 41,
            }),
            obstacle: None,
        }),
        certificate: Tested::Known(certificate),
        sip: Tested::Known(SipFacts {
            options: Tested::Known(response(200, "OK")),
            sips_uri: Tested::Known(response(416, "Unsupported URI Scheme")),
            register: Tested::Known(response(401, "Unauthorized")),
            fresh_nonce: Tested::Known(true),
            pong: Tested::Known(true),
        }),
        connections: 31,
    }
}

fn records<T>(records: Vec<T>, security: Security) -> Answer<T> {
    Answer::Records { records, security }
}

fn asked<T>(name: &str, answer: Answer<T>) -> Question<T> {
    Question { name: name.to_owned(), answer }
}

fn srv(priority: u16, target: &str, port: u16) -> Srv {
    Srv { priority, weight: 10, port, target: target.to_owned() }
}

fn dns(security: Security) -> DnsFacts {
    let naptr = Naptr {
        order: 10,
        preference: 5,
        service: "SIPS+D2T".to_owned(),
        replacement: "_sips._tcp.voice.example".to_owned(),
    };
    let tlsa = Tlsa { usage: 3, selector: 1, matching: 1, data: "9f86d081".to_owned() };
    DnsFacts {
        way: Way::Naptr,
        naptr: records(vec![naptr], security),
        srv: vec![
            asked(
                "_sips._tcp.voice.example",
                records(vec![srv(10, "sip1.voice.example", 5061), srv(20, "sip2.voice.example", 5061)], security),
            ),
            asked("_sip._tcp.voice.example", records(vec![], security)),
            asked("_sip._udp.voice.example", records(vec![srv(0, ".", 0)], security)),
            asked("_sip._tls.voice.example", Answer::Failed("SERVFAIL".to_owned())),
        ],
        ipv4: vec![asked("sip1.voice.example", records(vec!["192.0.2.10".parse().unwrap()], security))],
        ipv6: vec![asked("sip1.voice.example", records(vec!["2001:db8::10".parse().unwrap()], security))],
        tlsa: vec![asked("_5061._tcp.sip1.voice.example", records(vec![tlsa], security))],
        caa: Answer::Bogus("the signature has expired".to_owned()),
        not_found: None,
    }
}

fn trusted(chain: Vec<Certificate>) -> CertificateFacts {
    CertificateFacts {
        chain,
        judged: Judged {
            version: TlsVersion::Tls13,
            chain: Chain::Trusted,
            chain_detail: String::new(),
            name: Name::Matches,
            validity: Validity::Valid,
            pin: Pin::NotConfigured,
        },
        webpki_name: true,
        ocsp_staple: Tested::Known(Staple::Absent),
    }
}

fn scores(scores: [Option<u32>; 5]) -> Vec<CategoryScore> {
    let weights = [30, 20, 15, 25, 10];
    let each = Category::ALL.into_iter().zip(scores).zip(weights);
    each.map(|((category, score), weight)| CategoryScore { category, score, weight }).collect()
}

/// A provider as one would like them all.
pub(crate) fn good() -> Report {
    let authority = "CN=Authority E7,O=Example Authority,C=CH";
    let chain = vec![
        certificate("CN=voice.example", authority, ("EC P-256", 256), (-20, 70), &["voice.example"]),
        certificate(authority, "CN=Example Root X1,O=Example Authority", ("EC P-384", 384), (-400, 900), &[]),
    ];
    let plain = |transport, address: &str| PlainFacts {
        host: "sip1.voice.example".to_owned(),
        address: address.parse().unwrap(),
        transport,
        options: Tested::Known(None),
        register: Tested::Known(None),
    };
    Report {
        schema_version: SCHEMA_VERSION,
        program: "galene-sips 0.1.0".to_owned(),
        verdict: Verdict::Accepted,
        scope: Scope::Login,
        grade: Some(Grade {
            letter: "A".to_owned(),
            score: 96,
            categories: scores([Some(100), Some(95), Some(90), None, Some(100)]),
            caps: vec![],
        }),
        no_grade: String::new(),
        findings: vec![
            finding("L-VERSIONS", Category::Signalling, Severity::Pass, "Only TLS 1.3 and 1.2 are taken"),
            finding("L-PQ", Category::Signalling, Severity::Pass, "The key exchange resists quantum computers"),
            finding("C-NAME", Category::Identity, Severity::Pass, "The certificate names voice.example"),
            told(
                finding("D-TLSA", Category::Identity, Severity::Info, "There is no TLSA record"),
                &["_5061._tcp.sip1.voice.example: no record, and DNSSEC holds"],
                "",
                "RFC 7673",
            ),
        ],
        configuration: Remedy::Nothing,
        not_tested: vec!["Media: no call was made".to_owned()],
        facts: Facts {
            target: "voice.example".to_owned(),
            expected_name: "voice.example".to_owned(),
            started: "2026-11-25T04:33:38Z".to_owned(),
            took_ms: 6_412,
            interrupted: None,
            dns: Tested::Known(dns(Security::Secure)),
            servers: vec![
                server("sip1.voice.example", "192.0.2.10:5061", trusted(chain.clone())),
                server("sip2.voice.example", "[2001:db8::10]:5061", trusted(chain)),
            ],
            plain: vec![plain(PlainTransport::Udp, "192.0.2.10:5060"), plain(PlainTransport::Tcp, "192.0.2.10:5060")],
            account: Tested::Known(AccountFacts {
                address: "alice@voice.example".to_owned(),
                login: Tested::Known(Login::Accepted { algorithm: "SHA-256".to_owned() }),
                sha256_accepted: Tested::Known(true),
                replay_refused: Tested::Known(true),
                registered: Tested::Known(Registered {
                    expires: Some(60),
                    contact_kept: true,
                    other_bindings: 1,
                    outbound: true,
                    gruu: false,
                    service_route: false,
                    path: true,
                }),
                binding_removed: Tested::Known(true),
            }),
        },
    }
}

/// A provider with critical faults.
pub(crate) fn faulty() -> Report {
    let mut report = good();
    let authority = "CN=Voice Example Internal CA 2,O=Voice Example Ltd";
    let mut leaf = certificate("CN=*.voice.example", authority, ("RSA", 1024), (-372, -7), &["*.voice.example"]);
    leaf.signature = "sha1WithRSAEncryption".to_owned();
    let root = "CN=Voice Example Root,O=Voice Example Ltd";
    let chain = vec![leaf, certificate(authority, root, ("RSA", 2048), (-2100, 1500), &[])];
    let mut certificate = trusted(chain);
    certificate.judged.chain = Chain::UnknownIssuer;
    certificate.judged.chain_detail = "no authority that is known here signed it".to_owned();
    certificate.judged.name = Name::WildcardOnly;
    certificate.judged.validity = Validity::Expired;
    let mut second = server("sip2.voice.example", "192.0.2.11:5061", certificate.clone());
    second.tcp = Tested::Known(Tcp::Refused);
    second.tls = Tested::not_yet();
    second.certificate = Tested::Unknown("it refuses connections".to_owned());
    second.sip = Tested::not_yet();
    second.connections = 1;
    report.facts.servers = vec![server("sip1.voice.example", "192.0.2.10:5061", certificate), second];
    report.facts.dns = Tested::Known(dns(Security::Insecure));
    report.facts.plain[0].register = Tested::Known(Some(response(401, "Unauthorized")));
    report.facts.account = Tested::Unknown("no account was given".to_owned());
    report.scope = Scope::Signalling;
    report.verdict = Verdict::Refused {
        rule: "certificate-expired".to_owned(),
        reason: "The certificate for voice.example has expired".to_owned(),
        hint: "Ask the provider to renew it, and check the clock of this machine".to_owned(),
    };
    let cap = |letter: &str, id: &str, reason: &str| Cap {
        letter: letter.to_owned(),
        id: id.to_owned(),
        reason: reason.to_owned(),
    };
    report.grade = Some(Grade {
        letter: "T".to_owned(),
        score: 41,
        categories: scores([Some(38), Some(21), Some(66), None, Some(60)]),
        caps: vec![
            cap("T", "C-CHAIN", "No authority that is known here signed the certificate"),
            cap("F", "L-SUITES", "The server takes suites that do not encrypt"),
            cap("B", "T-PLAIN", "A login is possible without TLS"),
        ],
    });
    report.findings = faults();
    report.not_tested = vec!["Media: no call was made".to_owned(), "Login: no account was given".to_owned()];
    report.configuration =
        Remedy::Impossible("no exception covers an expired certificate; the provider has to renew it".to_owned());
    report
}

fn faults() -> Vec<Finding> {
    use Category::{Exposure, Identity, Login, Signalling};
    let suites: Vec<String> = (0..12).map(|n| format!("TLS 1.0  TLS_RSA_WITH_EXAMPLE_{n}_CBC_SHA")).collect();
    let mut weak = told(
        finding("L-PFS", Signalling, Severity::Medium, "12 suites have no forward secrecy"),
        &[],
        "Ask the provider to take ECDHE suites only",
        "RFC 9325 §4.1",
    );
    weak.evidence = suites;
    vec![
        told(
            finding("D-DNSSEC", Identity, Severity::Low, "The domain is not signed by DNSSEC"),
            &["NAPTR voice.example: insecure", "SRV _sips._tcp.voice.example: insecure"],
            "Ask the provider to sign its zone",
            "RFC 4033, RFC 7673 §3",
        ),
        told(
            finding("L-VERSIONS", Signalling, Severity::High, "TLS 1.0 is still taken"),
            &["192.0.2.10:5061 TLS 1.0: ServerHello", "192.0.2.10:5061 TLS 1.1: the connection was reset"],
            "Ask the provider to switch off TLS 1.0 and 1.1",
            "RFC 8996, RFC 9325 §3.1.1",
        ),
        told(
            finding("L-SUITES", Signalling, Severity::Critical, "The server takes suites that do not encrypt"),
            &["192.0.2.10:5061 TLS 1.2: TLS_RSA_WITH_NULL_SHA256"],
            "Ask the provider to remove all NULL suites",
            "RFC 9325 §4.1",
        ),
        weak,
        finding("L-EMS", Signalling, Severity::Pass, "The extended master secret is used (RFC 7627)"),
        finding("L-COMPRESS", Signalling, Severity::Pass, "TLS compression is off"),
        told(
            finding("C-CHAIN", Identity, Severity::Critical, "No authority that is known here signed the certificate"),
            &["issuer: CN=Voice Example Root,O=Voice Example Ltd"],
            "Ask the provider for a certificate of a public authority",
            "RFC 5280 §6",
        ),
        told(
            finding("C-NAME", Identity, Severity::Medium, "The certificate names voice.example by a wildcard only"),
            &["DNS:*.voice.example", "WebPKI would not accept it either: a wildcard stands for one label"],
            "Ask the provider for a certificate with its exact name",
            "RFC 5922 §7.2",
        ),
        finding("C-OCSP", Identity, Severity::Info, "No OCSP answer is stapled"),
        told(
            finding("S-DIGEST", Login, Severity::Medium, "The only digest algorithm is MD5"),
            &["WWW-Authenticate: Digest realm=\"voice.example\", algorithm=MD5, qop=\"auth\""],
            "Ask the provider to offer SHA-256 first",
            "RFC 8760 §2.3",
        ),
        finding("S-REPLAY", Login, Severity::Unknown, "Whether an answer can be replayed was not tested: no account"),
        told(
            finding("T-PLAIN", Exposure, Severity::High, "Port 5060 asks for a login without TLS"),
            &["192.0.2.10:5060 UDP: 401 Unauthorized"],
            "Ask the provider to refuse REGISTER without TLS",
            "RFC 3261 §26.2",
        ),
    ]
}

/// A provider that nobody reached.
pub(crate) fn unreached() -> Report {
    let mut report = good();
    report.verdict = Verdict::Inconclusive { reason: "No server of voice.example could be reached".to_owned() };
    report.scope = Scope::Signalling;
    report.grade = None;
    report.no_grade = "Signalling was not tested".to_owned();
    report.findings =
        vec![finding("T-5061", Category::Signalling, Severity::Unknown, "No server accepts connections on port 5061")];
    report.configuration = Remedy::Unknown;
    report.facts.interrupted = Some("The time of 60 s was used up".to_owned());
    report.facts.dns = Tested::Unknown("the resolver does not answer".to_owned());
    report.facts.servers.clear();
    report.facts.plain.clear();
    report.facts.account = Tested::Unknown("no account was given".to_owned());
    report
}

/// The faulty provider with [`hostile`] in every text that can hold it, found by trying each one.
pub(crate) fn hostile_everywhere() -> Report {
    let mut whole = serde_json::to_value(faulty()).unwrap();
    whole["facts"]["interrupted"] = "cut".into();
    whole["configuration"] = serde_json::json!({ "toml": "line" });
    whole["program"] = format!("galene-sips {}", hostile()).into();
    let mut changed = 0;
    for pointer in strings(&whole, "").into_iter().filter(|pointer| pointer != "/program") {
        let mut tried = whole.clone();
        *tried.pointer_mut(&pointer).unwrap() = hostile().into();
        if serde_json::from_value::<Report>(tried.clone()).is_ok() {
            whole = tried;
            changed += 1;
        }
    }
    assert!(changed > 150, "only {changed} texts could be made hostile");
    serde_json::from_value(whole).unwrap()
}

fn strings(value: &Value, at: &str) -> Vec<String> {
    match value {
        Value::String(_) => vec![at.to_owned()],
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, item)| strings(item, &format!("{at}/{index}"))).collect()
        }
        Value::Object(items) => items.iter().flat_map(|(key, item)| strings(item, &format!("{at}/{key}"))).collect(),
        _ => Vec::new(),
    }
}
