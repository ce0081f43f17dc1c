//! A provider's certificate is judged before a byte of SIP is sent: the real function and the real program against
//! servers that are bad in one way each. Every refusal has a rule and a sentence of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::io::files;
use galene_sips::io::tls::{self, SipConnection, SipIdentity, TlsError, Trust};
use galene_sips::policy::{
    AccountRules, Connecting, Directions, Downgrade, Exception, Rules, SignallingLevel, Transport, judge,
};
use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::tls_trap::{TlsTrap, Visit};
use gateway::{Directory, Gateway, command};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const NAME: &str = "sip.lab.test";

/// What every flaw is called. `None`: no flaw in SIP's eyes.
const JUDGEMENTS: [(Kind, Option<&str>); 9] = [
    (Kind::Good, None),
    (Kind::SipUriOnly, None),
    (Kind::WrongName, Some("certificate-name")),
    (Kind::CommonNameOnly, Some("certificate-name")),
    (Kind::ShadowingUri, Some("certificate-name")),
    (Kind::Wildcard, Some("certificate-wildcard")),
    (Kind::Expired, Some("certificate-expired")),
    (Kind::NotYetValid, Some("certificate-not-yet-valid")),
    (Kind::SelfSigned, Some("certificate-self-signed")),
];

/// What an account asks for.
struct Wanted {
    signalling: SignallingLevel,
    pins: Vec<String>,
}

fn verified() -> Wanted {
    Wanted { signalling: SignallingLevel::Verified, pins: Vec::new() }
}

fn verified_and_pinned(identity: &Identity) -> Wanted {
    Wanted { signalling: SignallingLevel::Verified, pins: vec![identity.pin_sha256()] }
}

fn pinned(identity: &Identity) -> Wanted {
    Wanted { signalling: SignallingLevel::Pinned, pins: vec!["A".repeat(43) + "=", identity.pin_sha256()] }
}

async fn connect(to: SocketAddr, authority: &Authority, wanted: &Wanted) -> Result<SipConnection, TlsError> {
    connect_by(to, authority, wanted, |rules| rules).await
}

/// By an exception that is in force today.
async fn connect_excepting(
    to: SocketAddr,
    authority: &Authority,
    wanted: &Wanted,
    allow: Downgrade,
) -> Result<SipConnection, TlsError> {
    let today = files::today();
    let exception = Exception {
        allow,
        reason: "a test of exceptions".to_owned(),
        expires: today,
        accepted_by: "ops@example.org".to_owned(),
    };
    connect_by(to, authority, wanted, |rules| AccountRules::new(rules, vec![Arc::new(exception)]).on(today)).await
}

async fn connect_by(
    to: SocketAddr,
    authority: &Authority,
    wanted: &Wanted,
    change: impl FnOnce(Rules) -> Rules,
) -> Result<SipConnection, TlsError> {
    // the counter keeps the files of tests that run at the same time apart
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let directory = Directory::new(&format!("tls-refusals-{number}"));
    let trust = Trust::only(&directory.file("ca.pem", 0o644, &authority.pem())).unwrap();
    let rules = change(Rules { signalling: wanted.signalling, ..Rules::strict(format!("alice@{NAME}")) });
    let identity = SipIdentity { expected_name: NAME.to_owned(), pins: wanted.pins.clone(), client: None };
    let allowed = judge(&rules, &Connecting { transport: Transport::Tls, dns: Directions::Usable }).allowed().unwrap();
    tls::connect_sip(allowed, &[to], &identity, &trust, &rules, tls::PATIENCE).await
}

/// Connects to a server with this configuration. Whatever the verdict is, the server must not have heard a byte yet.
async fn visit(server: Arc<ServerConfig>, authority: &Authority, wanted: &Wanted) -> Result<SipConnection, TlsError> {
    let trap = TlsTrap::start(server).await.unwrap();
    let result = connect(trap.address(), authority, wanted).await;
    match result {
        Err(error) => {
            let visit = trap.first_visit(Duration::from_secs(5)).await.expect("the connection is closed at once");
            assert_eq!(visit.received, b"", "{error}");
            Err(error)
        }
        Ok(mut connection) => {
            assert_eq!(trap.visits(), [Visit { received: Vec::new(), ..trap.visits()[0].clone() }]);
            connection.stream.write_all(b"REGISTER").await.unwrap();
            connection.stream.shutdown().await.unwrap();
            let visit = trap.first_visit(Duration::from_secs(5)).await.unwrap();
            assert_eq!(
                visit.received, b"REGISTER",
                "the trap hears what is said, so its silence above means something"
            );
            assert_eq!(visit.server_name.as_deref(), Some(NAME));
            Ok(connection)
        }
    }
}

/// The rule that refused, and its sentence.
fn refusal(result: Result<SipConnection, TlsError>) -> (&'static str, String) {
    match result {
        Err(TlsError::Refused(refusal)) => {
            assert!(!refusal.hint.is_empty());
            (refusal.rule.as_str(), refusal.reason)
        }
        Err(other) => panic!("no refusal: {other}"),
        Ok(connection) => panic!("admitted as {}", connection.proof.level().as_str()),
    }
}

#[tokio::test]
async fn each_flaw_is_refused_by_its_own_rule_and_sentence_before_a_byte_is_sent() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let mut sentences = HashMap::new();
    for version in [Tls::V12, Tls::V13] {
        for (kind, rule) in JUDGEMENTS {
            let identity = authority.issue(kind, NAME).unwrap();
            let result = visit(identity.server_config(version).unwrap(), &authority, &verified()).await;
            match rule {
                None => assert_eq!(result.expect("admitted").proof.level(), SignallingLevel::Verified, "{kind:?}"),
                Some(rule) => {
                    let (found, sentence) = refusal(result);
                    assert_eq!(found, rule, "{kind:?}");
                    sentences.insert(rule, sentence);
                }
            }
        }
    }
    let mut distinct: Vec<&String> = sentences.values().collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), sentences.len(), "{distinct:#?}");
    assert_eq!(sentences.len(), 5);
}

#[tokio::test]
async fn the_connection_says_what_protects_it() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    for (version, name) in [(Tls::V12, "1.2"), (Tls::V13, "1.3")] {
        let connection = visit(identity.server_config(version).unwrap(), &authority, &verified()).await.unwrap();
        assert_eq!(connection.description.version, name);
        assert!(connection.description.cipher.contains("AES_256_GCM"), "{}", connection.description.cipher);
        assert_eq!(connection.description.peer_name, NAME);
    }
}

#[tokio::test]
async fn another_authority_is_refused_even_under_the_same_name() {
    let ours = Authority::new("Laboratory CA").unwrap();
    for (name, rule) in [("Other CA", "certificate-unknown-issuer"), ("Laboratory CA", "certificate-invalid")] {
        let theirs = Authority::new(name).unwrap().issue(Kind::Good, NAME).unwrap();
        let (found, _) = refusal(visit(theirs.server_config(Tls::Both).unwrap(), &ours, &verified()).await);
        assert_eq!(found, rule, "{name}");
    }
}

#[tokio::test]
async fn a_certificate_for_clients_does_not_make_a_server() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue_for_client(NAME).unwrap();
    let (rule, _) = refusal(visit(identity.server_config(Tls::Both).unwrap(), &authority, &verified()).await);
    assert_eq!(rule, "certificate-invalid");
}

#[tokio::test]
async fn a_pinned_key_stands_for_chain_and_name_but_not_for_dates() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let stranger = Authority::new("Other CA").unwrap();
    for (kind, rule) in JUDGEMENTS {
        let issuer = if kind == Kind::Good { &stranger } else { &authority };
        let identity = issuer.issue(kind, NAME).unwrap();
        let result = visit(identity.server_config(Tls::Both).unwrap(), &authority, &pinned(&identity)).await;
        match rule {
            Some("certificate-expired" | "certificate-not-yet-valid") => {
                assert_eq!(refusal(result).0, rule.unwrap(), "{kind:?}");
            }
            // the name in a sip: URI needs no pin: what was measured is shown
            None if kind == Kind::SipUriOnly => {
                assert_eq!(result.unwrap().proof.level(), SignallingLevel::Verified);
            }
            _ => assert_eq!(result.expect("admitted").proof.level(), SignallingLevel::Pinned, "{kind:?}"),
        }
    }
}

#[tokio::test]
async fn a_wrong_pin_is_refused_at_either_level() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let other = authority.issue(Kind::Good, NAME).unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    for wanted in [pinned(&other), verified_and_pinned(&other)] {
        let (rule, _) = refusal(visit(identity.server_config(Tls::Both).unwrap(), &authority, &wanted).await);
        assert_eq!(rule, "certificate-pin");
    }
}

#[tokio::test]
async fn a_verified_account_with_a_pin_needs_both() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let good = authority.issue(Kind::Good, NAME).unwrap();
    let result = visit(good.server_config(Tls::Both).unwrap(), &authority, &verified_and_pinned(&good)).await;
    assert_eq!(result.unwrap().proof.level(), SignallingLevel::Verified);
    for (kind, rule) in [(Kind::WrongName, "certificate-name"), (Kind::SelfSigned, "certificate-self-signed")] {
        let bad = authority.issue(kind, NAME).unwrap();
        let result = visit(bad.server_config(Tls::Both).unwrap(), &authority, &verified_and_pinned(&bad)).await;
        assert_eq!(refusal(result).0, rule);
    }
}

/// Shows one certificate and signs with the key of another, or shows something that is none.
#[derive(Debug)]
struct Impostor(Arc<CertifiedKey>);

impl ResolvesServerCert for Impostor {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn impostor(
    shown: CertificateDer<'static>,
    key: &Identity,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let key = aws_lc_rs::sign::any_supported_type(&key.key()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Impostor(Arc::new(CertifiedKey::new(vec![shown], key)))));
    Arc::new(config)
}

#[tokio::test]
async fn a_certificate_without_its_private_key_is_worth_nothing_pinned_or_not() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let real = authority.issue(Kind::Good, NAME).unwrap();
    let attacker = authority.issue(Kind::Good, NAME).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (wanted, rule) in [(verified(), "certificate-invalid"), (pinned(&real), "certificate-pin")] {
            let server = impostor(real.certificate(), &attacker, version);
            assert_eq!(refusal(visit(server, &authority, &wanted).await).0, rule);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_refused() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = impostor(CertificateDer::from(b"no certificate".to_vec()), &identity, version);
        assert_eq!(refusal(visit(server, &authority, &verified()).await).0, "certificate-invalid");
    }
}

/// A server that answers every ClientHello with these bytes and keeps what comes after it.
async fn crude_server(answer: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut header = [0; 5];
        stream.read_exact(&mut header).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut hello).await.unwrap();
        stream.write_all(&answer).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest
    });
    (address, heard)
}

/// A ServerHello (RFC 5246 §7.4.1.3) of an older version: a record, a handshake message, no extension.
fn server_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]); // no session; ECDHE-RSA with AES-128-CBC; no compression
    let mut message = vec![2, 0, 0, hello.len() as u8];
    message.extend(hello);
    let mut record = vec![22, 3, minor, 0, message.len() as u8];
    record.extend(message);
    record
}

#[tokio::test]
async fn a_server_without_tls_1_2_is_refused_whether_it_answers_in_its_own_version_or_with_an_alert() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let alert = vec![21, 3, 2, 0, 2, 2, 70]; // fatal, protocol_version
    for answer in [server_hello(2), server_hello(1), alert] {
        let (address, heard) = crude_server(answer).await;
        assert_eq!(refusal(connect(address, &authority, &verified()).await).0, "tls-version");
        let rest = heard.await.unwrap();
        assert!(rest.is_empty() || rest[0] == 21, "only an alert may follow: {rest:?}");
    }
}

/// As a server that knows none of the offered ciphers: an alert, or one that was not offered.
#[tokio::test]
async fn a_server_without_a_cipher_in_common_has_its_own_rule() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let handshake_failure = vec![21, 3, 3, 0, 2, 2, 40];
    let insufficient_security = vec![21, 3, 3, 0, 2, 2, 71];
    for answer in [handshake_failure, insufficient_security, server_hello(3)] {
        let (address, heard) = crude_server(answer).await;
        assert_eq!(refusal(connect(address, &authority, &verified()).await).0, "tls-suite");
        let rest = heard.await.unwrap();
        assert!(rest.is_empty() || rest[0] == 21, "only an alert may follow: {rest:?}");
    }
}

#[tokio::test]
async fn a_server_that_demands_a_client_certificate_has_its_own_rule() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    let demanding = |tls| identity.server_config_for_clients_of(&authority, tls).unwrap();
    let trap = TlsTrap::start(demanding(Tls::V12)).await.unwrap();
    assert_eq!(refusal(connect(trap.address(), &authority, &verified()).await).0, "client-certificate");
    assert!(trap.first_visit(Duration::from_secs(5)).await.unwrap().received.is_empty());

    // TLS 1.3 says so after the handshake
    let trap = TlsTrap::start(demanding(Tls::V13)).await.unwrap();
    let mut connection = connect(trap.address(), &authority, &verified()).await.unwrap();
    let error = connection.stream.read_u8().await.unwrap_err();
    let refusal = connection.client_certificate.refusal(&error, NAME).unwrap();
    assert_eq!(refusal.rule.as_str(), "client-certificate");
    let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let nothing = connection.client_certificate.refusal(&cut, NAME);
    assert!(nothing.is_none(), "a broken connection says nothing of the server");
}

/// Before TLS 1.3 OpenSSL says no more than "handshake failure"; that it asked for a certificate tells what it lacks.
#[tokio::test]
async fn an_openssl_server_that_demands_a_client_certificate_has_the_same_rule() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    let directory = Directory::new("tls-openssl");
    directory.file("cert.pem", 0o600, identity.pem());
    directory.file("key.pem", 0o600, &identity.key_pem());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut server = tokio::process::Command::new("openssl")
        .args(["s_server", "-quiet", "-tls1_2", "-Verify", "1", "-verify_return_error"])
        .args(["-cert", "cert.pem", "-key", "key.pem", "-accept", &address.to_string()])
        .current_dir(directory.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl");
    let end = std::time::Instant::now() + Duration::from_secs(10);
    let result = loop {
        match connect(address, &authority, &verified()).await {
            Err(TlsError::Connect { why, .. }) if why.contains("refused") => {
                assert!(std::time::Instant::now() < end, "openssl does not listen");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            decided => break decided,
        }
    };
    assert_eq!(refusal(result).0, "client-certificate");
    server.kill().await.unwrap();
}

#[tokio::test]
async fn the_program_names_the_rule_of_a_server_that_demands_a_client_certificate() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::Good, NAME).unwrap();
    for version in [Tls::V12, Tls::V13] {
        let trap = TlsTrap::start(identity.server_config_for_clients_of(&authority, version).unwrap()).await.unwrap();
        let directory = Directory::new(&format!("tls-client-{version:?}"));
        let config = configure(&directory, &authority, trap.address(), "");
        let mut gateway = Gateway::start(directory.path(), &["run", "--config", &config]);
        gateway.line_with(&["ERROR", "client-certificate", "remedy="]).await;
        assert!(gateway.terminate().await.0.success());
        let silent = |visit: &Visit| !visit.received.windows(13).any(|window| window == b"Authorization");
        assert!(trap.visits().iter().all(silent), "no credential went out");
    }
}

/// By an exception that names it, and as no more than it is.
#[tokio::test]
async fn an_exception_admits_the_flaws_that_it_names_and_no_others() {
    let authority = Authority::new("Laboratory CA").unwrap();
    for (kind, rule) in JUDGEMENTS {
        let identity = authority.issue(kind, NAME).unwrap();
        let trap = TlsTrap::start(identity.server_config(Tls::Both).unwrap()).await.unwrap();
        let wanted = verified();
        let result = |allow| connect_excepting(trap.address(), &authority, &wanted, allow);
        let unverified = result(Downgrade::TlsUnverified).await.expect("admitted").proof;
        let wildcard = result(Downgrade::TlsWildcardName).await;
        match rule {
            None => {
                let wildcard = wildcard.expect("admitted").proof;
                for proof in [unverified, wildcard] {
                    assert_eq!((proof.level(), proof.exception()), (SignallingLevel::Verified, None), "{kind:?}");
                }
            }
            Some(rule) => {
                assert_eq!(unverified.level(), SignallingLevel::Unverified, "{kind:?}");
                assert_eq!(unverified.exception().map(|exception| exception.allow), Some(Downgrade::TlsUnverified));
                match kind {
                    Kind::Wildcard => assert_eq!(wildcard.expect("admitted").proof.level(), SignallingLevel::Verified),
                    _ => assert_eq!(refusal(wildcard).0, rule, "{kind:?}"),
                }
            }
        }
        assert_eq!(refusal_or_none(result(Downgrade::MediaClear).await), rule, "{kind:?}");
        let other = Wanted { pins: vec!["A".repeat(43) + "="], ..verified() };
        let wrong_pin = connect_excepting(trap.address(), &authority, &other, Downgrade::TlsUnverified).await;
        assert_eq!(refusal(wrong_pin).0, "certificate-pin", "{kind:?}");
    }
    let (address, _heard) = crude_server(server_hello(2)).await;
    let old = connect_excepting(address, &authority, &verified(), Downgrade::TlsUnverified).await;
    assert_eq!(refusal(old).0, "tls-version");
}

fn refusal_or_none(result: Result<SipConnection, TlsError>) -> Option<&'static str> {
    match result {
        Ok(_) => None,
        refused => Some(refusal(refused).0),
    }
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing_but_a_hello() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let (address, heard) = crude_server(b"SIP/2.0 200 OK\r\n\r\n".to_vec()).await;
    match connect(address, &authority, &verified()).await {
        Err(TlsError::Connect { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("admitted"),
    }
    let rest = heard.await.unwrap();
    assert!(rest.is_empty() || rest[0] == 21, "only an alert may follow: {rest:?}");
}

/// The configuration of an account at this server.
fn configure(directory: &Directory, authority: &Authority, server: SocketAddr, account: &str) -> String {
    directory.secret("sip.password", "correct horse battery staple\n");
    directory.file("ca.pem", 0o644, &authority.pem());
    let text = format!(
        "[[account]]\naddress = \"alice@{NAME}\"\npassword_file = \"sip.password\"\nca_file = \"ca.pem\"\n\
         outbound_proxy = \"sips:{server}\"\nexpected_name = \"{NAME}\"\n{account}\n\
         [[room]]\ngroup = \"https://127.0.0.1:9/group/x/?token=open-sesame\"\naccount = \"alice@{NAME}\"\n\
         [log]\nlevel = \"trace\"\n"
    );
    directory.secret("config.toml", &text).display().to_string()
}

#[tokio::test]
async fn the_program_refuses_each_flaw_says_why_and_what_to_do_and_sends_nothing() {
    let authority = Authority::new("Laboratory CA").unwrap();
    for (kind, rule) in JUDGEMENTS {
        let identity = authority.issue(kind, NAME).unwrap();
        let trap = TlsTrap::start(identity.server_config(Tls::Both).unwrap()).await.unwrap();
        let directory = Directory::new(&format!("tls-program-{kind:?}"));
        let config = configure(&directory, &authority, trap.address(), "");
        let mut gateway = Gateway::start(directory.path(), &["run", "--config", &config]);
        match rule {
            Some(rule) => {
                gateway.line_with(&["ERROR", rule, "remedy=", "refused before any SIP was sent"]).await;
                let status = command(directory.path(), &["status", "--json", "--config", &config]);
                let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
                assert_eq!(status["accounts"][0]["registered"], false);
                assert!(status["accounts"][0]["signalling"].is_null());
                assert!(status["accounts"][0]["registration"].as_str().unwrap().contains("certificate"), "{status}");
                assert!(gateway.terminate().await.0.success());
                let visits = trap.visits();
                assert!(!visits.is_empty());
                assert!(visits.iter().all(|visit| visit.received.is_empty()), "{kind:?}: {visits:?}");
            }
            None => {
                gateway.line_with(&["INFO", "connected to the provider", "verified"]).await;
                let heard = async {
                    while !trap.visits().iter().any(|visit| visit.received.starts_with(b"REGISTER sip:")) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), heard).await.expect("a REGISTER");
                assert!(gateway.terminate().await.0.success());
            }
        }
    }
}

#[tokio::test]
async fn the_program_takes_a_pin_from_its_configuration() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let identity = authority.issue(Kind::SelfSigned, NAME).unwrap();
    let other = authority.issue(Kind::SelfSigned, NAME).unwrap();
    for (pin, words) in [
        (identity.pin_sha256(), ["connected to the provider", "pinned"]),
        (other.pin_sha256(), ["refused before any SIP was sent", "certificate-pin"]),
    ] {
        let trap = TlsTrap::start(identity.server_config(Tls::Both).unwrap()).await.unwrap();
        let directory = Directory::new(&format!("tls-program-{}", words[1]));
        let keys = format!("signalling = \"pinned\"\npin_sha256 = [\"{pin}\"]");
        let config = configure(&directory, &authority, trap.address(), &keys);
        let mut gateway = Gateway::start(directory.path(), &["run", "--config", &config]);
        gateway.line_with(&words).await;
        assert!(gateway.terminate().await.0.success());
        let silent = trap.visits().iter().all(|visit| visit.received.is_empty());
        assert_eq!(silent, words[1] == "certificate-pin");
    }
}
