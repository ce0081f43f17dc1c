//! The TLS prober against real servers that are each good or bad in one way: every fact exactly, and the cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::audit::facts::{
    Alpn, CertificateFacts, ClientCertificate, Negotiated, Obstacle, Tcp, Tested, TlsFacts, Version, WithoutSni,
};
use galene_sips::io::audit::pace::Pace;
use galene_sips::io::audit::tls::probe;
use galene_sips::io::tls::{SipIdentity, Trust};
use galene_sips::policy::{Chain, Name, Pin, TlsVersion, Validity};
use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::real::program::{Scratch, run};
use galene_sips_lab::real::tls_servers::{DH_1024, TlsServers};
use galene_sips_lab::tls_responder::{Manner, Responder, Script};
use galene_sips_lab::tls_trap::TlsTrap;
use rustls::crypto::aws_lc_rs;
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const NAME: &str = "sip.lab.test";

struct Audit {
    tcp: Tested<Tcp>,
    tls: Tested<TlsFacts>,
    certificate: Tested<CertificateFacts>,
    connections: u32,
    took: Duration,
}

impl Audit {
    async fn of(to: SocketAddr, authority: &Authority) -> Audit {
        let scratch = Scratch::new().unwrap();
        let file = scratch.join("ca.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        let (trust, pace, started) = (Trust::only(&file).unwrap(), Pace::default(), Instant::now());
        let identity = SipIdentity { expected_name: NAME.into(), pins: vec![], client: None };
        let deadline = started + Duration::from_secs(20);
        let (tcp, tls, certificate) = probe(to, &identity, &trust, &pace, deadline).await;
        Audit { tcp, tls, certificate, connections: pace.used(), took: started.elapsed() }
    }

    fn facts(&self) -> &TlsFacts {
        self.tls.known().unwrap()
    }

    fn certificate(&self) -> &CertificateFacts {
        self.certificate.known().unwrap_or_else(|| panic!("{:?}", self.certificate))
    }

    fn versions(&self) -> Vec<Version> {
        let known = self.facts().versions.iter().filter(|(_, taken)| taken == &Tested::Known(true));
        known.map(|(version, _)| *version).collect()
    }

    fn suites(&self, version: Version) -> Vec<u16> {
        self.facts().suites.iter().filter(|suite| suite.version == version).map(|suite| suite.id).collect()
    }

    fn groups(&self) -> Vec<&str> {
        self.facts().groups.known().unwrap().iter().map(String::as_str).collect()
    }
}

fn lab() -> (Authority, Identity) {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue_with_rsa(NAME).unwrap();
    (authority, identity)
}

fn unknown<T>(why: &str) -> Tested<T> {
    Tested::Unknown(why.into())
}

#[tokio::test]
async fn a_good_server_is_known_exactly_and_soon() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    let trap = TlsTrap::start(identity.server_config(Tls::Both).unwrap()).await.unwrap();
    let audit = Audit::of(trap.address(), &authority).await;
    let mut facts = audit.facts().clone();
    let Tested::Known(negotiated) = &mut facts.negotiated else { panic!("{:?}", facts.negotiated) };
    negotiated.handshake_ms = 0;
    let suite = |version, id, name: &str| galene_sips::audit::facts::Suite { version, id, name: name.into() };
    let expected = TlsFacts {
        versions: vec![
            (Version::Ssl3, Tested::Known(false)),
            (Version::Tls10, Tested::Known(false)),
            (Version::Tls11, Tested::Known(false)),
            (Version::Tls12, Tested::Known(true)),
            (Version::Tls13, Tested::Known(true)),
        ],
        suites: vec![
            suite(Version::Tls12, 0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
            suite(Version::Tls12, 0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
            suite(Version::Tls12, 0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
            suite(Version::Tls13, 0x1301, "TLS_AES_128_GCM_SHA256"),
            suite(Version::Tls13, 0x1302, "TLS_AES_256_GCM_SHA384"),
            suite(Version::Tls13, 0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
        ],
        suites_cut: None,
        server_order: Tested::Known(false), // rustls leaves it to the client
        groups: Tested::Known(["X25519MLKEM768", "x25519", "secp256r1", "secp384r1"].map(str::to_owned).to_vec()),
        dh_bits: Tested::Known(None),
        extended_master_secret: Tested::Known(true),
        secure_renegotiation: Tested::Known(true),
        compression: Tested::Known(false),
        fallback_scsv: Tested::Known(false), // rustls does not know it
        heartbeat: Tested::Known(false),
        without_sni: Tested::Known(WithoutSni::Same),
        alpn: Tested::Known(Alpn::Ignored),
        client_certificate: Tested::Known(ClientCertificate::NotRequested),
        negotiated: Tested::Known(Negotiated {
            version: Version::Tls13,
            suite: "TLS_AES_256_GCM_SHA384".into(),
            group: "X25519MLKEM768".into(),
            handshake_ms: 0,
        }),
        obstacle: None,
    };
    assert_eq!(facts, expected);
    assert!(matches!(audit.tcp, Tested::Known(Tcp::Open { .. })));
    let judged = &audit.certificate().judged;
    assert_eq!((judged.version, judged.chain, judged.name), (TlsVersion::Tls13, Chain::Trusted, Name::Matches));
    assert_eq!((judged.validity, judged.pin, judged.chain_detail.as_str()), (Validity::Valid, Pin::NotConfigured, ""));
    assert!(audit.certificate().webpki_name);
    assert_eq!(audit.certificate().chain[0].spki_sha256, identity.pin_sha256());
    // what the whole audit may use is 80 connections; a scan of a good server is far from it
    assert!(audit.connections <= 30, "{} connections", audit.connections);
    assert!(audit.took < Duration::from_secs(7), "{:?}", audit.took);
    assert!(trap.visits().iter().all(|visit| visit.received.is_empty()), "no SIP is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_alone_is_told_and_its_chain_is_judged() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    let old = "-cipher ECDHE-RSA-AES128-SHA:@SECLEVEL=0";
    for (options, version, judged) in [
        (format!("-tls1 {old}"), Version::Tls10, TlsVersion::Older),
        (format!("-tls1_1 {old}"), Version::Tls11, TlsVersion::Older),
        ("-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384".into(), Version::Tls12, TlsVersion::Tls12),
        ("-tls1_3".into(), Version::Tls13, TlsVersion::Tls13),
    ] {
        let audit = Audit::of(servers.openssl(&identity, &options).unwrap(), &authority).await;
        assert_eq!(audit.versions(), [version]);
        assert!(audit.facts().versions.iter().all(|(_, taken)| taken.known().is_some()), "{:?}", audit.facts());
        assert_eq!(audit.facts().fallback_scsv, unknown("it takes one version only"));
        let certificate = audit.certificate();
        assert_eq!((certificate.judged.version, certificate.judged.chain), (judged, Chain::Trusted), "{options}");
        assert_eq!(certificate.judged.name, Name::Matches);
        assert_eq!(certificate.chain[0].spki_sha256, identity.pin_sha256());
        match version {
            Version::Tls12 | Version::Tls13 => assert_eq!(audit.facts().negotiated.known().unwrap().version, version),
            _ => {
                assert_eq!(audit.facts().negotiated, unknown("received fatal alert: ProtocolVersion"));
                assert_eq!(audit.facts().obstacle, Some(Obstacle::OldVersion));
            }
        }
        // where everything is encrypted, whole handshakes answer
        assert_eq!(audit.facts().without_sni, Tested::Known(WithoutSni::Same), "{options}");
        assert_eq!(audit.facts().alpn, Tested::Known(Alpn::Ignored), "{options}");
        assert_eq!(audit.facts().client_certificate, Tested::Known(ClientCertificate::NotRequested), "{options}");
    }
    let all = "-cipher ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0 -serverpref";
    let audit = Audit::of(servers.openssl(&identity, all).unwrap(), &authority).await;
    assert_eq!(audit.versions(), [Version::Tls10, Version::Tls11, Version::Tls12, Version::Tls13]);
    assert_eq!(audit.suites(Version::Tls10), [0xc013]);
    assert_eq!(audit.suites(Version::Tls12), [0xc013, 0xc02f], "in the server's order");
    assert_eq!(audit.facts().server_order, Tested::Known(true));
    assert_eq!(audit.facts().fallback_scsv, Tested::Known(true));
    assert_eq!(audit.facts().suites_cut, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_suites_of_openssl_are_listed_exactly() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    for (ciphers, expected) in [
        ("eNULL:@SECLEVEL=0", &[0xc010, 0xc015, 0x0001, 0x0002, 0x003b][..]),
        ("AES128-SHA:AES256-GCM-SHA384", &[0x002f, 0x009d]),
        ("ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA384", &[0xc013, 0xc028]),
    ] {
        let address = servers.openssl(&identity, &format!("-tls1_2 -cipher {ciphers}")).unwrap();
        let audit = Audit::of(address, &authority).await;
        assert_eq!(audit.suites(Version::Tls12), expected, "{ciphers}");
        assert_eq!(audit.facts().suites_cut, None);
        assert_eq!(audit.facts().server_order, Tested::Known(false), "{ciphers}");
        // this gateway gets no handshake, and still its verdict on the chain
        assert_eq!(audit.facts().negotiated, unknown("received fatal alert: HandshakeFailure"));
        assert_eq!(audit.facts().obstacle, Some(Obstacle::NoCommonSuite));
        assert_eq!(audit.certificate().judged.chain, Chain::Trusted);
        let elliptic = expected.iter().any(|id| id >> 8 == 0xc0);
        assert_eq!(audit.groups().first(), elliptic.then_some(&"x25519"), "{ciphers}");
    }
    let address = servers.openssl(&identity, "-tls1_2 -cipher AECDH-AES128-SHA:@SECLEVEL=0").unwrap();
    let audit = Audit::of(address, &authority).await;
    assert_eq!(audit.suites(Version::Tls12), [0xc018]);
    assert_eq!(audit.certificate, unknown("received fatal alert: HandshakeFailure"), "an anonymous server shows none");
    assert_eq!(audit.facts().without_sni, unknown("it shows no certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_suites_of_gnutls_are_listed_exactly() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    let only = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL";
    for (priority, expected) in [
        ("+ARCFOUR-128:+MD5", &[0xc011, 0x0004, 0x0005][..]),
        ("+3DES-CBC", &[0xc012, 0x0016, 0x000a]),
        ("+3DES-CBC:-KX-ALL:+ANON-ECDH:+ANON-DH", &[0xc017, 0x001b]),
    ] {
        let address = servers.gnutls(&identity, &format!("{only}:{priority}"), "--disable-client-cert").unwrap();
        let audit = Audit::of(address, &authority).await;
        assert_eq!(audit.suites(Version::Tls12), expected, "{priority}");
        assert_eq!(audit.facts().suites_cut, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn primes_are_measured() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    servers.file("1024.pem", DH_1024.as_bytes()).unwrap();
    let ciphers = "-tls1_2 -cipher DHE-RSA-AES128-SHA:@SECLEVEL=0";
    for (options, bits) in [("-dhparam FILE:1024.pem", Some(1024)), ("", Some(2048)), ("-no_dhe", None)] {
        let options = format!("{ciphers}:ECDHE-RSA-AES128-SHA {options}");
        let audit = Audit::of(servers.openssl(&identity, &options).unwrap(), &authority).await;
        assert_eq!(audit.facts().dh_bits, Tested::Known(bits), "{options}");
        assert_eq!(audit.suites(Version::Tls12).contains(&0x0033), bits.is_some());
    }
    let address = servers.openssl(&identity, "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256").unwrap();
    let audit = Audit::of(address, &authority).await;
    assert_eq!(audit.facts().dh_bits, Tested::Known(Some(2048)));
    assert_eq!(audit.groups(), [""; 0], "a prime of its own is no group");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_protections_and_relics_are_told() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    let only = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:-KX-ALL:+ECDHE-RSA";
    for (flags, options, [master, renegotiation, heartbeat]) in [
        ("", "", [true, true, false]),
        (":%NO_SESSION_HASH", "", [false, true, false]),
        (":%DISABLE_SAFE_RENEGOTIATION", "", [true, false, false]),
        ("", "--heartbeat", [true, true, true]),
    ] {
        let options = format!("--disable-client-cert {options}");
        let audit =
            Audit::of(servers.gnutls(&identity, &format!("{only}{flags}"), &options).unwrap(), &authority).await;
        let facts = audit.facts();
        assert_eq!(facts.extended_master_secret, Tested::Known(master), "{flags}");
        assert_eq!(facts.secure_renegotiation, Tested::Known(renegotiation), "{flags}");
        assert_eq!(facts.heartbeat, Tested::Known(heartbeat), "{options}");
        assert_eq!(facts.compression, Tested::Known(false));
        assert_eq!(audit.suites(Version::Tls12), [0xc02f]);
        assert_eq!(facts.server_order, unknown("it takes one suite only"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_for_a_client_certificate_is_told_from_insisting() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    let ciphers = "-cipher ECDHE-RSA-AES128-GCM-SHA256";
    for version in ["-tls1_2", "-tls1_3", ""] {
        for (option, expected) in [
            ("", ClientCertificate::NotRequested),
            ("-verify 1", ClientCertificate::Requested),
            ("-Verify 1", ClientCertificate::Required),
        ] {
            let address = servers.openssl(&identity, &format!("{version} {ciphers} {option}")).unwrap();
            let audit = Audit::of(address, &authority).await;
            assert_eq!(audit.facts().client_certificate, Tested::Known(expected), "{version} {option}");
            let insists = expected == ClientCertificate::Required;
            let fault = insists.then_some(Obstacle::ClientCertificate);
            assert_eq!(audit.facts().obstacle, fault, "{version} {option}");
            assert_eq!(audit.certificate().judged.chain, Chain::Trusted, "seen before the refusal");
            let judged = if version == "-tls1_2" { TlsVersion::Tls12 } else { TlsVersion::Tls13 };
            assert_eq!(audit.certificate().judged.version, judged);
        }
    }
    // with versions that this gateway does not speak it stays open
    let options = "-tls1 -cipher ECDHE-RSA-AES128-SHA:@SECLEVEL=0 -Verify 1";
    let audit = Audit::of(servers.openssl(&identity, options).unwrap(), &authority).await;
    assert_eq!(audit.facts().client_certificate, unknown("it asks for one; whether it insists was not seen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn alpn_is_ignored_selected_or_refused() {
    let (authority, identity) = lab();
    let mut servers = TlsServers::new().unwrap();
    for version in ["-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "-tls1_3"] {
        for (option, expected) in
            [("", Alpn::Ignored), ("-alpn sip/2", Alpn::Selected("sip/2".into())), ("-alpn h2", Alpn::Refused)]
        {
            let audit =
                Audit::of(servers.openssl(&identity, &format!("{version} {option}")).unwrap(), &authority).await;
            assert_eq!(audit.facts().alpn, Tested::Known(expected), "{version} {option}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nameless_get_the_same_certificate_another_or_none() {
    let (authority, identity) = lab();
    let other = authority.issue(Kind::WrongName, NAME).unwrap();
    let mut servers = TlsServers::new().unwrap();
    servers.file("named.pem", identity.pem().as_bytes()).unwrap();
    servers.file("named-key.pem", identity.key_pem().as_bytes()).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let options = format!("{version} -servername {NAME} -cert2 FILE:named.pem -key2 FILE:named-key.pem");
        let audit = Audit::of(servers.openssl(&other, &options).unwrap(), &authority).await;
        assert_eq!(audit.facts().without_sni, Tested::Known(WithoutSni::Other), "{version}");
        assert_eq!(audit.certificate().judged.name, Name::Matches, "what the named see counts");
    }
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(identity.key()).unwrap();
        let mut names = ResolvesServerCertUsingSni::new();
        names.add(NAME, CertifiedKey::new(vec![identity.certificate()], key)).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(names));
        let trap = TlsTrap::start(Arc::new(config)).await.unwrap();
        let audit = Audit::of(trap.address(), &authority).await;
        assert_eq!(audit.facts().without_sni, Tested::Known(WithoutSni::Refused), "{versions:?}");
    }
}

#[tokio::test]
async fn what_real_servers_have_forgotten_is_still_found() {
    let (authority, identity) = lab();
    let der = identity.certificate().to_vec();
    let other = authority.issue(Kind::WrongName, NAME).unwrap().certificate().to_vec();
    let suites = [0x0005, 0x0003, 0x0014, 0x0018, 0x0009, 0x0007];
    let script = Script {
        compression: true,
        nameless_certificate: Some(other),
        certificate_request: true,
        prime_bits: 512,
        ..Script::new(&[0x0300], &suites, der)
    };
    let responder = Responder::start(Manner::Flight(script)).await.unwrap();
    let audit = Audit::of(responder.address(), &authority).await;
    assert_eq!(audit.versions(), [Version::Ssl3]);
    assert_eq!(audit.suites(Version::Ssl3), suites, "the server's order");
    let facts = audit.facts();
    assert_eq!(facts.compression, Tested::Known(true));
    assert_eq!(facts.dh_bits, Tested::Known(Some(512)));
    assert_eq!(
        (&facts.extended_master_secret, &facts.secure_renegotiation),
        (&Tested::Known(false), &Tested::Known(false))
    );
    assert_eq!(facts.without_sni, Tested::Known(WithoutSni::Same), "SSL 3.0 has no SNI to leave out");
    assert_eq!(facts.alpn, unknown("SSL 3.0 has no ALPN"));
    assert_eq!(facts.groups, Tested::Known(vec![]));
    let judged = &audit.certificate().judged;
    assert_eq!((judged.version, judged.chain), (TlsVersion::Older, Chain::Trusted));
    for hello in responder.hellos() {
        assert_eq!(hello.extensions.is_empty(), hello.version == 0x0300, "{hello:?}");
        assert!(hello.suites.len() <= 129, "{}", hello.suites.len());
    }
}

#[tokio::test]
async fn a_server_that_stops_answering_leaves_the_rest_open() {
    let (authority, identity) = lab();
    let suites: Vec<u16> = (0x00ba..0x00c6).chain(0xc03c..0xc070).chain([0xc013, 0xc02f]).collect();
    let script =
        Script { groups: vec![23, 24], ..Script::new(&[0x0301, 0x0303], &suites, identity.certificate().to_vec()) };
    let responder = Responder::start(Manner::Tired(script, 22)).await.unwrap();
    let audit = Audit::of(responder.address(), &authority).await;
    assert!(audit.versions().contains(&Version::Tls12));
    assert_eq!(audit.facts().suites_cut.as_deref(), Some("it did not answer in time"));
    assert!(!audit.suites(Version::Tls12).is_empty());
    assert!(audit.took < Duration::from_secs(12), "{:?}", audit.took);
}

#[tokio::test]
async fn misbehaviour_is_recorded_as_it_is() {
    let (authority, _) = lab();
    for (manner, answer) in [
        (Manner::Reset, Tested::Known(false)),
        (Manner::Silent, unknown("it did not answer in time")),
        (Manner::Bytes(b"SIP/2.0 400 Bad Request\r\n\r\n".to_vec()), unknown("its answer is not TLS")),
        (Manner::Bytes(vec![22, 3, 1, 0, 4, 2, 0, 0, 0]), unknown("its answer is not TLS")),
        (Manner::Bytes(vec![21, 3, 1, 0, 2, 2, 40]), Tested::Known(false)),
        // a server that does not know the name says nothing of its versions
        (Manner::Bytes(vec![21, 3, 1, 0, 2, 2, 112]), unknown("it sent the alert unrecognized_name")),
    ] {
        let responder = Responder::start(manner.clone()).await.unwrap();
        let audit = Audit::of(responder.address(), &authority).await;
        assert!(matches!(audit.tcp, Tested::Known(Tcp::Open { .. })));
        let facts = audit.facts();
        assert_eq!(facts.versions.len(), 5);
        for (version, taken) in &facts.versions {
            assert_eq!(taken, &answer, "{manner:?} {version:?}");
        }
        assert!(facts.suites.is_empty());
        let open = unknown("it took no version of TLS");
        assert_eq!((&facts.compression, &facts.heartbeat, &facts.secure_renegotiation), (&open, &open, &open));
        assert_eq!(facts.groups, unknown("it took no version of TLS"));
        assert!(facts.negotiated.known().is_none() && audit.certificate.known().is_none());
        assert!(facts.client_certificate.known().is_none() && facts.alpn.known().is_none());
        assert!(audit.took < Duration::from_secs(10), "{manner:?}: {:?}", audit.took);
        assert!(audit.connections <= 12, "{manner:?}: {}", audit.connections);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_without_a_server_are_told_apart_within_ten_seconds() {
    let (authority, _) = lab();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let audit = Audit::of(closed, &authority).await;
    assert_eq!((audit.tcp, audit.connections), (Tested::Known(Tcp::Refused), 1));
    assert_eq!(audit.tls, unknown("no TCP connection: refused"));
    assert_eq!(audit.certificate, unknown("no TCP connection: refused"));

    let servers = TlsServers::new().unwrap();
    let rules = "add table inet silence; add chain inet silence input { type filter hook input priority 0; }; \
                 add rule inet silence input tcp dport 5061 drop";
    run(servers.net().command("nft").unwrap().arg(rules)).unwrap();
    let audit = Audit::of((servers.net().inside(), 5061).into(), &authority).await;
    assert_eq!((audit.tcp, audit.connections), (Tested::Known(Tcp::Silent), 1));
    assert_eq!(audit.tls, unknown("no TCP connection: no answer"));
    assert!(audit.took < Duration::from_secs(10), "{:?}", audit.took);
}

#[tokio::test]
async fn the_certificate_is_judged_as_run_would() {
    let authority = Authority::new("Laboratory CA").unwrap();
    for (kind, chain, name, validity, webpki, detail) in [
        (Kind::Good, Chain::Trusted, Name::Matches, Validity::Valid, true, ""),
        (Kind::WrongName, Chain::Trusted, Name::Wrong, Validity::Valid, false, ""),
        (Kind::Wildcard, Chain::Trusted, Name::WildcardOnly, Validity::Valid, true, ""),
        (Kind::SipUriOnly, Chain::Trusted, Name::Matches, Validity::Valid, false, ""),
        (Kind::ShadowingUri, Chain::Trusted, Name::Wrong, Validity::Valid, true, ""),
        (Kind::Expired, Chain::Trusted, Name::Matches, Validity::Expired, true, ""),
        (Kind::SelfSigned, Chain::SelfSigned, Name::Matches, Validity::Valid, true, "UnknownIssuer"),
    ] {
        let identity = authority.issue(kind, NAME).unwrap();
        // the same facts from a whole handshake and from a hand-made one
        let trap = TlsTrap::start(identity.server_config(Tls::V13).unwrap()).await.unwrap();
        let script = Script::new(&[0x0301], &[0xc013], identity.certificate().to_vec());
        let responder = Responder::start(Manner::Flight(script)).await.unwrap();
        for (address, version) in [(trap.address(), TlsVersion::Tls13), (responder.address(), TlsVersion::Older)] {
            let audit = Audit::of(address, &authority).await;
            let judged = &audit.certificate().judged;
            assert_eq!((judged.chain, judged.name, judged.validity), (chain, name, validity), "{kind:?}");
            assert_eq!((judged.version, judged.chain_detail.as_str()), (version, detail), "{kind:?}");
            assert_eq!(audit.certificate().webpki_name, webpki, "{kind:?}");
        }
    }
}
