//! Stapled OCSP answers that OpenSSL signed, and what the prober makes of them; a certificate that the laboratory made.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::audit::facts::{Staple, Tested, Version};
use galene_sips::audit::{certificate, ocsp};
use galene_sips::io::audit::{pace::Pace, tls::probe};
use galene_sips::io::tls::{SipIdentity, Trust};
use galene_sips_lab::certificates::{Authority, Identity, Kind, Tls};
use galene_sips_lab::real::program::{Scratch, require, run};
use galene_sips_lab::real::tls_servers::TlsServers;
use galene_sips_lab::tls_trap::TlsTrap;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

const NAME: &str = "sip.lab.test";
const DAY: u64 = 86_400;

/// Who signs an answer.
enum Signer<'a> {
    Issuer,
    Delegate(&'a Identity),
}

/// An answer of OpenSSL's about this certificate. `state` is the first column of its list: `V`, `R`, or none.
fn answer(authority: &Authority, leaf: &Identity, state: Option<char>, signer: &Signer<'_>) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(scratch.join(name), text).unwrap();
        scratch.join(name)
    };
    let serial = certificate::read(&leaf.certificate()).serial.to_uppercase();
    let revoked = if state == Some('R') { "260101000000Z" } else { "" };
    let line = state.map(|state| format!("{state}\t360101000000Z\t{revoked}\t{serial}\tunknown\t/CN={NAME}\n"));
    let (signer, key) = match signer {
        Signer::Issuer => (authority.pem(), authority.key_pem()),
        Signer::Delegate(identity) => (identity.pem().to_owned(), identity.key_pem()),
    };
    let (issuer, leaf) = (write("ca.pem", &authority.pem()), write("leaf.pem", leaf.pem()));
    let openssl = || {
        let mut command = Command::new(require("openssl").unwrap());
        command.arg("ocsp");
        command
    };
    let (request, response) = (scratch.join("request"), scratch.join("response"));
    let mut command = openssl();
    command.arg("-issuer").arg(&issuer).arg("-cert").arg(leaf).arg("-no_nonce").arg("-reqout").arg(&request);
    run(&mut command).unwrap();
    let mut command = openssl();
    command.arg("-index").arg(write("index", line.as_deref().unwrap_or_default())).arg("-CA").arg(&issuer);
    command.arg("-rsigner").arg(write("signer.pem", &signer)).arg("-rkey").arg(write("signer-key.pem", &key));
    command.arg("-reqin").arg(&request).arg("-respout").arg(&response).args(["-ndays", "1"]);
    run(&mut command).unwrap();
    std::fs::read(response).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn judge(answer: &[u8], leaf: &Identity, issuer: &CertificateDer<'_>, at: u64) -> Staple {
    let anchors: Vec<TrustAnchor<'_>> = vec![webpki::anchor_from_trusted_cert(issuer).unwrap()];
    ocsp::judge(answer, &leaf.certificate(), &anchors, UnixTime::since_unix_epoch(Duration::from_secs(at)))
}

#[test]
fn an_answer_counts_only_from_the_issuer_or_its_delegate_about_this_certificate_and_now() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let impostor = Authority::new("Laboratory CA").unwrap();
    let (leaf, other) = (authority.issue(Kind::Good, NAME).unwrap(), authority.issue(Kind::Good, NAME).unwrap());
    let delegate = authority.issue_for_ocsp("OCSP of the laboratory").unwrap();
    let (issuer, now) = (authority.certificate(), now());
    let good = answer(&authority, &leaf, Some('V'), &Signer::Issuer);
    assert_eq!(judge(&[], &leaf, &issuer, now), Staple::Absent);
    assert_eq!(judge(&good, &leaf, &issuer, now), Staple::Good);
    let delegated = answer(&authority, &leaf, Some('V'), &Signer::Delegate(&delegate));
    assert_eq!(judge(&delegated, &leaf, &issuer, now), Staple::Good);
    let revoked = answer(&authority, &leaf, Some('R'), &Signer::Delegate(&delegate));
    assert_eq!(judge(&revoked, &leaf, &issuer, now), Staple::Revoked);

    let unknown = answer(&authority, &leaf, None, &Signer::Issuer);
    assert_eq!(judge(&unknown, &leaf, &issuer, now), Staple::Useless, "the responder does not know it");
    assert_eq!(judge(&good, &other, &issuer, now), Staple::Useless, "about another certificate");
    assert_eq!(judge(&good, &leaf, &issuer, now + 2 * DAY), Staple::Useless, "too old");
    assert_eq!(judge(&good, &leaf, &issuer, now - DAY), Staple::Useless, "not yet");
    assert_eq!(judge(&good, &leaf, &impostor.certificate(), now), Staple::Useless, "not the key that signed");
    for unfit in
        [&other, &impostor.issue_for_ocsp("OCSP of an impostor").unwrap(), &impostor.issue(Kind::Good, NAME).unwrap()]
    {
        let forged = answer(&authority, &leaf, Some('V'), &Signer::Delegate(unfit));
        assert_eq!(judge(&forged, &leaf, &issuer, now), Staple::Useless, "nobody delegated to it");
    }
}

#[test]
fn no_damage_to_an_answer_makes_another_of_it() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let leaf = authority.issue(Kind::Good, NAME).unwrap();
    let delegate = authority.issue_for_ocsp("OCSP of the laboratory").unwrap();
    let revoked = answer(&authority, &leaf, Some('R'), &Signer::Delegate(&delegate));
    let (issuer, now) = (authority.certificate(), now());
    let mut useless = 0;
    for at in 0..revoked.len() {
        let mut damaged = revoked.clone();
        damaged[at] ^= 0x01;
        match judge(&damaged, &leaf, &issuer, now) {
            Staple::Useless => useless += 1,
            verdict => assert_eq!(verdict, Staple::Revoked, "byte {at}"),
        }
        assert_eq!(judge(&revoked[..at], &leaf, &issuer, now), if at == 0 { Staple::Absent } else { Staple::Useless });
    }
    assert!(useless > revoked.len() * 9 / 10, "{useless} of {}", revoked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staple_is_judged_wherever_it_comes_from() {
    let authority = Authority::new("Laboratory CA").unwrap();
    let leaf = authority.issue(Kind::Good, NAME).unwrap();
    let scratch = Scratch::new().unwrap();
    std::fs::write(scratch.join("ca.pem"), authority.pem()).unwrap();
    let trust = Trust::only(&scratch.join("ca.pem")).unwrap();
    let identity = SipIdentity { expected_name: NAME.into(), pins: vec![], client: None };
    let mut servers = TlsServers::new().unwrap();
    for (state, expected) in [('V', Staple::Good), ('R', Staple::Revoked)] {
        let staple = answer(&authority, &leaf, Some(state), &Signer::Issuer);
        servers.file("staple", &staple).unwrap();
        let old = "-tls1 -cipher ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0 -status_file FILE:staple";
        let in_clear = servers.openssl(&leaf, old).unwrap();
        let provider = aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(leaf.key()).unwrap();
        let mut certified = CertifiedKey::new(vec![leaf.certificate()], key);
        certified.ocsp = Some(staple);
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        let trap = TlsTrap::start(Arc::new(config)).await.unwrap();
        for (address, version) in [(trap.address(), Version::Tls13), (in_clear, Version::Tls10)] {
            let deadline = Instant::now() + Duration::from_secs(20);
            let (_, facts, certificate) = probe(address, &identity, &trust, &Pace::default(), deadline).await;
            let (facts, certificate) = (facts.known().unwrap(), certificate.known().unwrap());
            assert!(facts.versions.contains(&(version, Tested::Known(true))), "{version:?}");
            assert_eq!(certificate.ocsp_staple, Tested::Known(expected), "{version:?}");
        }
    }
    let trap = TlsTrap::start(leaf.server_config(Tls::V13).unwrap()).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let (_, _, certificate) = probe(trap.address(), &identity, &trust, &Pace::default(), deadline).await;
    assert_eq!(certificate.known().unwrap().ocsp_staple, Tested::Known(Staple::Absent));
}

#[test]
fn keys_pins_and_hashes_are_those_of_the_laboratory() {
    let authority = Authority::new("Laboratory CA").unwrap();
    for (identity, key, bits) in [
        (authority.issue_with_rsa(NAME).unwrap(), "RSA", 2048),
        (authority.issue(Kind::Good, NAME).unwrap(), "EC P-256", 256),
    ] {
        let facts = certificate::read(&identity.certificate());
        assert_eq!((facts.key.as_str(), facts.key_bits), (key, bits));
        assert_eq!(facts.spki_sha256, identity.pin_sha256(), "what pin_sha256 takes");
        assert_eq!(facts.dns_names, [NAME]);
        assert_eq!(facts.extended_key_usage, Some(vec!["serverAuth".to_owned()]));
        assert!(!facts.authority && !facts.must_staple && facts.scts == 0);
    }
    let facts = certificate::read(&authority.certificate());
    assert!(facts.authority && facts.subject == facts.issuer && facts.extended_key_usage.is_none());
    let staple: (&[u64], Vec<u8>) = (&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
    let facts = certificate::read(&authority.issue_with_extensions(NAME, &[staple]).unwrap().certificate());
    assert!(facts.must_staple);
}
