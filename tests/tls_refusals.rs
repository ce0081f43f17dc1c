//! Bad certificates: the real program, told to register at a server that shows one, refuses it with its own sentence
//! before a byte of SIP is sent. Good ones, and pinned ones, are used.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::io::now;
use galene_sips::io::tls::{SipConnection, SipIdentity, TlsError, Trust, connect_sip};
use galene_sips::policy::{Connecting, Refusal, Rule, Rules, SignallingLevel, Transport, judge};
use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::tls_trap::{TlsTrap, Visit};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const NAME: &str = "sip.lab.test";
const SOON: Duration = Duration::from_secs(10);

struct Scene {
    authority: Authority,
    ca_file: PathBuf,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let authority = Authority::new("Laboratory CA").unwrap();
        let directory = std::env::temp_dir().join(format!("galene-sips-tls-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        let ca_file = directory.join("ca.pem");
        fs::write(&ca_file, authority.pem()).unwrap();
        Scene { authority, ca_file }
    }

    fn identity(&self, kind: Kind) -> Identity {
        self.authority.issue(kind, NAME).unwrap()
    }

    /// Connects as an account with these rules and pins; returns what the server saw too.
    async fn connect(
        &self,
        server: &Identity,
        rules: &Rules,
        pins: &[String],
        tls: Tls,
    ) -> (Result<SipConnection, TlsError>, Visit) {
        let trap = TlsTrap::start(server.server_config(tls).unwrap()).await.unwrap();
        let allowed = judge(rules, &Connecting { transport: Transport::Tls }).allowed().unwrap();
        let identity = SipIdentity { expected_name: NAME.to_owned(), pins: pins.to_vec() };
        let trust = Trust::only(&self.ca_file).unwrap();
        let result = connect_sip(allowed, trap.address(), &identity, &trust, rules).await;
        if result.is_ok() {
            return (result, Visit::default());
        }
        let visit = trap.first_visit(SOON).await.unwrap();
        (result, visit)
    }
}

fn refusal(result: Result<SipConnection, TlsError>) -> Refusal {
    match result {
        Err(TlsError::Refused(refusal)) => refusal,
        Err(other) => panic!("not a refusal but: {other}"),
        Ok(_) => panic!("admitted"),
    }
}

fn strict() -> Rules {
    Rules::strict("alice@sip.lab.test")
}

fn pinned() -> Rules {
    Rules { signalling: SignallingLevel::Pinned, ..strict() }
}

const BAD: [(Kind, Rule); 7] = [
    (Kind::WrongName, Rule::CertificateName),
    (Kind::Expired, Rule::CertificateExpired),
    (Kind::NotYetValid, Rule::CertificateNotYetValid),
    (Kind::SelfSigned, Rule::CertificateSelfSigned),
    (Kind::Wildcard, Rule::CertificateWildcard),
    (Kind::ShadowingUri, Rule::CertificateName),
    (Kind::CommonNameOnly, Rule::CertificateName),
];

#[tokio::test]
async fn each_bad_certificate_is_refused_with_its_own_sentence_before_any_byte() {
    let scene = Scene::new("bad");
    for tls in [Tls::V12, Tls::V13] {
        let mut sentences = Vec::new();
        for (kind, rule) in BAD {
            let (result, visit) = scene.connect(&scene.identity(kind), &strict(), &[], tls).await;
            let refusal = refusal(result);
            assert_eq!(refusal.rule, rule, "{kind:?} over {tls:?}");
            assert!(visit.received.is_empty(), "{kind:?}: the server got {} bytes", visit.received.len());
            assert!(!refusal.hint.is_empty(), "{kind:?} has a remedy");
            sentences.push(refusal.reason);
        }
        sentences.sort();
        sentences.dedup();
        let kinds = "wrong name, expired, not yet valid, self-signed, wildcard";
        assert_eq!(sentences.len(), 5, "a sentence for each of {kinds}: {sentences:#?}");
    }
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_refused() {
    let scene = Scene::new("authority");
    let stranger = Authority::new("Somebody else's CA").unwrap().issue(Kind::Good, NAME).unwrap();
    let (result, visit) = scene.connect(&stranger, &strict(), &[], Tls::Both).await;
    assert_eq!(refusal(result).rule, Rule::CertificateUnknownIssuer);
    assert!(visit.received.is_empty());
}

#[tokio::test]
async fn good_certificates_are_admitted_over_both_versions_of_tls() {
    let scene = Scene::new("good");
    for kind in [Kind::Good, Kind::SipUriOnly] {
        for (tls, version) in [(Tls::V12, "1.2"), (Tls::V13, "1.3")] {
            let (result, _) = scene.connect(&scene.identity(kind), &strict(), &[], tls).await;
            let connection = result.unwrap_or_else(|error| panic!("{kind:?} over {tls:?}: {error}"));
            assert_eq!(connection.proof.level(), SignallingLevel::Verified);
            assert_eq!(connection.description.version, version);
        }
    }
}

#[tokio::test]
async fn a_pin_stands_for_chain_and_name_but_not_for_the_dates() {
    let scene = Scene::new("pin");
    for kind in [Kind::SelfSigned, Kind::WrongName, Kind::Wildcard] {
        let server = scene.identity(kind);
        let (result, _) = scene.connect(&server, &pinned(), &[server.pin_sha256()], Tls::Both).await;
        let connection = result.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert_eq!(connection.proof.level(), SignallingLevel::Pinned, "{kind:?}");
    }
    let other = scene.identity(Kind::Good).pin_sha256();
    let server = scene.identity(Kind::SelfSigned);
    let (result, visit) = scene.connect(&server, &pinned(), std::slice::from_ref(&other), Tls::Both).await;
    assert_eq!(refusal(result).rule, Rule::CertificatePin);
    assert!(visit.received.is_empty());

    let expired = scene.identity(Kind::Expired);
    let (result, _) = scene.connect(&expired, &pinned(), &[expired.pin_sha256()], Tls::Both).await;
    assert_eq!(refusal(result).rule, Rule::CertificateExpired);

    // a verified account with pins needs both
    let good = scene.identity(Kind::Good);
    let (result, _) = scene.connect(&good, &strict(), &[other], Tls::Both).await;
    assert_eq!(refusal(result).rule, Rule::CertificatePin);
    let wrong = scene.identity(Kind::WrongName);
    let (result, _) = scene.connect(&wrong, &strict(), &[wrong.pin_sha256()], Tls::Both).await;
    assert_eq!(refusal(result).rule, Rule::CertificateName);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_itself_says_nothing_to_a_bad_server_and_names_the_remedy() {
    let scene = Scene::new("program");
    for (kind, rule) in BAD {
        let trap = TlsTrap::start(scene.identity(kind).server_config(Tls::Both).unwrap()).await.unwrap();
        let directory = scene.ca_file.parent().unwrap().join(rule.as_str());
        fs::create_dir_all(&directory).unwrap();
        let log = run_for_a_moment(&directory, &scene.ca_file, &trap).await;
        let visit = trap.first_visit(SOON).await.unwrap();
        assert!(visit.received.is_empty(), "{kind:?}: the server got bytes");
        assert!(log.contains(rule.as_str()), "{kind:?} is not named in the log:\n{log}");
        assert!(log.contains("remedy"), "{kind:?} has no remedy in the log:\n{log}");
        assert!(!log.contains("the-password"), "the log shows the password");
    }
}

/// Starts the program, waits until it has refused the server, ends it, and returns its log.
async fn run_for_a_moment(directory: &Path, ca_file: &Path, trap: &TlsTrap) -> String {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    write("password", "the-password");
    let config = write(
        "config.toml",
        &format!(
            "[[account]]\naddress = \"alice@{NAME}\"\npassword_file = \"password\"\nca_file = {ca_file:?}\n\
             outbound_proxy = \"sips:{}\"\n[[room]]\ngroup = \"https://127.0.0.1:9/group/x/?token=t\"\n\
             account = \"alice@{NAME}\"\n[log]\nlevel = \"trace\"\n",
            trap.address()
        ),
    );
    let log = directory.join("log");
    let mut program = Command::new(env!("CARGO_BIN_EXE_galene-sips"))
        .args(["run", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let start = now();
    while !fs::read_to_string(&log).unwrap().contains("refused before any SIP was sent") {
        assert!(start.elapsed() < SOON, "nothing was refused:\n{}", fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Command::new("kill").arg(program.id().to_string()).status().unwrap();
    assert!(program.wait().unwrap().success());
    fs::read_to_string(&log).unwrap()
}
