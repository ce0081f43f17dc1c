//! Takes down what a SIP server's certificate is, and lets the handshake go on: the verdict is `policy`'s, on facts. In: the
//! certificates of a handshake, or of a chain that came otherwise. Out: [`Seen`]. Names by RFC 5922 §7.1 and §7.2, chains by RFC 5280 §6.

use super::{SipIdentity, Trust};
use crate::policy::{Chain, Name, Pin, TlsPeer, TlsVersion, Validity};
use crate::sip::peer_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest as _, Sha256};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a server showed of itself.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The facts that `policy` judges.
    pub peer: TlsPeer,
    /// Why the chain ends where it does, in the words of the library; empty if it is trusted.
    pub chain_detail: String,
    /// Whether the ordinary rules of the Web would take the name (RFC 6125).
    pub webpki_name: bool,
    /// The certificates, as sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// A stapled OCSP answer; empty if none came.
    pub staple: Vec<u8>,
}

/// Takes down what a SIP server's certificate is, and lets the handshake go on: the verdict is `policy`'s, on facts.
/// The handshake's own signatures are checked here as always.
#[derive(Debug)]
pub(super) struct Observer {
    roots: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    expected_name: String,
    pins: Vec<String>,
    seen: Mutex<Option<Seen>>,
}

impl Observer {
    pub(super) fn new(identity: &SipIdentity, trust: &Trust) -> Self {
        Observer {
            roots: trust.0.roots.clone(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            expected_name: identity.expected_name.clone(),
            pins: identity.pins.clone(),
            seen: Mutex::new(None),
        }
    }

    pub(super) fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What is seen, and whether the leaf can be read at all.
    pub(super) fn observe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> (Seen, Result<(), webpki::Error>) {
        let chain = std::iter::once(leaf).chain(intermediates).map(|certificate| certificate.clone().into_owned());
        let mut seen = Seen {
            // no older version gets as far as to a certificate
            peer: unreadable(&self.expected_name, &self.pins, TlsVersion::Tls12),
            chain_detail: String::new(),
            webpki_name: false,
            chain: chain.collect(),
            staple: staple.to_vec(),
        };
        let certificate = match webpki::EndEntityCert::try_from(leaf) {
            Ok(certificate) => certificate,
            Err(error) => {
                seen.chain_detail = error.to_string();
                return (seen, Err(error));
            }
        };
        let (end, validity) = self.chain(&certificate, leaf, intermediates, now);
        let (chain, chain_detail) = match end {
            Ok(()) => (Chain::Trusted, String::new()),
            Err((chain, error)) => (chain, error.to_string()),
        };
        seen.chain_detail = chain_detail;
        seen.webpki_name = ServerName::try_from(self.expected_name.as_str())
            .is_ok_and(|name| certificate.verify_is_valid_for_subject_name(&name).is_ok());
        let name =
            peer_name::compare(&self.expected_name, certificate.valid_uri_names(), certificate.valid_dns_names());
        let pin = match self.pins.is_empty() {
            true => Pin::NotConfigured,
            false => {
                let key = BASE64.encode(Sha256::digest(certificate.subject_public_key_info()));
                if self.pins.contains(&key) { Pin::Matches } else { Pin::Mismatch }
            }
        };
        let expected = self.expected_name.clone();
        seen.peer = TlsPeer { expected, version: TlsVersion::Older, chain, name, pin, validity };
        (seen, Ok(()))
    }

    /// Chain and dates are facts of their own: a certificate out of its time is checked again inside its time.
    fn chain(
        &self,
        certificate: &webpki::EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> (Result<(), (Chain, webpki::Error)>, Validity) {
        let verify = |at: UnixTime| {
            certificate
                .verify_for_usage(
                    self.algorithms.all,
                    &self.roots,
                    intermediates,
                    at,
                    webpki::KeyUsage::server_auth(),
                    None,
                    None,
                )
                .map(|_| ())
        };
        let (first, validity) = match verify(now) {
            Err(webpki::Error::CertExpired { not_after, .. }) => (verify(not_after), Validity::Expired),
            Err(webpki::Error::CertNotValidYet { not_before, .. }) => (verify(not_before), Validity::NotYetValid),
            other => (other, Validity::Valid),
        };
        let end = first.map_err(|error| {
            let chain = match error {
                webpki::Error::UnknownIssuer if signed_by_itself(leaf, self.algorithms.all) => Chain::SelfSigned,
                webpki::Error::UnknownIssuer => Chain::UnknownIssuer,
                // OpenSSL's own self-signed certificates call themselves an authority
                webpki::Error::CaUsedAsEndEntity if certificate.issuer() == certificate.subject() => Chain::SelfSigned,
                _ => Chain::Invalid,
            };
            (chain, error)
        });
        (end, validity)
    }
}

/// The facts where there was no certificate to read: what was not seen counts as bad.
pub(super) fn unreadable(expected_name: &str, pins: &[String], version: TlsVersion) -> TlsPeer {
    TlsPeer {
        expected: expected_name.to_owned(),
        version,
        chain: Chain::Invalid,
        name: Name::Wrong,
        pin: if pins.is_empty() { Pin::NotConfigured } else { Pin::Mismatch },
        validity: Validity::Valid,
    }
}

/// Whether the certificate would be trusted if it were its own trust anchor.
fn signed_by_itself(
    leaf: &CertificateDer<'_>,
    algorithms: &[&dyn rustls::pki_types::SignatureVerificationAlgorithm],
) -> bool {
    let (Ok(anchor), Ok(certificate)) = (webpki::anchor_from_trusted_cert(leaf), webpki::EndEntityCert::try_from(leaf))
    else {
        return false;
    };
    let anchors = [anchor];
    // any moment within its dates will do: verify reports them only after it has found the anchor
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    match certificate.verify_for_usage(algorithms, &anchors, &[], at(0), webpki::KeyUsage::server_auth(), None, None) {
        Err(webpki::Error::CertNotValidYet { not_before, .. }) => certificate
            .verify_for_usage(algorithms, &anchors, &[], not_before, webpki::KeyUsage::server_auth(), None, None)
            .is_ok(),
        other => other.is_ok(),
    }
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (seen, readable) = self.observe(end_entity, intermediates, staple, now);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        readable.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
