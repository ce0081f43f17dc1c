//! TLS: the only place that makes a rustls configuration.
//!
//! For SIP the certificate is *observed* during the handshake and *judged* by `policy` after it, before a byte of SIP is
//! sent: [`connect_sip`] hands out the stream together with the proof, or a refusal. For Galène the ordinary WebPKI rules
//! hold ([`connect_web`]). TLS 1.2 and 1.3 only, no client certificates, no early data.

use crate::policy::{
    self, Chain, Handshake, HandshakeFault, MayAuthenticate, MayConnect, Name, Pin, Rules, TlsPeer, TlsVersion,
    Validity, Verdict,
};
use crate::sip::peer_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, PeerIncompatible, PeerMisbehaved,
    ProtocolVersion, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

/// How long a TCP connection and a TLS handshake may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// The authorities that vouch for a server.
#[derive(Clone)]
pub struct Trust(Arc<RootCertStore>);

/// What a SIP server has to show.
#[derive(Clone, PartialEq, Eq)]
pub struct SipIdentity {
    /// The account's domain or its `expected_name`.
    pub expected_name: String,
    /// Base64 SHA-256 of acceptable leaf keys; empty if none is configured.
    pub pins: Vec<String>,
}

/// A TLS connection that `policy` admitted.
pub struct SipConnection {
    /// The stream.
    pub stream: TlsStream<TcpStream>,
    /// The proof that credentials may be sent over it.
    pub proof: MayAuthenticate,
    /// What was judged, so that it can be judged again when rules or days change.
    pub peer: TlsPeer,
    /// TLS version and cipher suite, for people: `TLS1.3 AES_256_GCM_SHA384`.
    pub description: TlsDescription,
}

/// What `calls --json` tells of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsDescription {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The name that the certificate was checked against.
    pub peer_name: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The network or the handshake failed.
    #[error("cannot connect to {to}: {why}")]
    Connect {
        /// Host or address.
        to: String,
        /// What the system or the TLS library said.
        why: String,
    },
    /// The connection stands, and `policy` does not want it.
    #[error("{0}")]
    Refused(policy::Refusal),
    /// A file of certificates cannot be read.
    #[error("{1}")]
    TrustFile(PathBuf, String),
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

impl Trust {
    /// Mozilla's authorities, compiled in.
    pub fn public() -> Self {
        Trust(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
    }

    /// Only the authorities in a PEM file; the public ones do not count beside them.
    pub fn only(file: &Path) -> Result<Self, TlsError> {
        let fail = |why: String| TlsError::TrustFile(file.to_owned(), why);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| fail(error.to_string()))? {
            let certificate = certificate.map_err(|error| fail(error.to_string()))?;
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(fail("it holds no certificate in PEM form".to_owned()));
        }
        Ok(Trust(Arc::new(roots)))
    }
}

/// Opens a connection to a SIP server and has it judged. Nothing is sent but the handshake.
pub async fn connect_sip(
    _allowed: MayConnect,
    address: SocketAddr,
    identity: &SipIdentity,
    trust: &Trust,
    rules: &Rules,
) -> Result<SipConnection, TlsError> {
    let fail = |why: String| TlsError::Connect { to: address.to_string(), why };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let observer = Arc::new(Observer {
        roots: trust.0.roots.clone(),
        algorithms: provider.signature_verification_algorithms,
        expected_name: identity.expected_name.clone(),
        pins: identity.pins.clone(),
        seen: Mutex::new(None),
    });
    let asked = Arc::new(ClientCertificate::default());
    let mut config = versions(&provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&observer) as _)
        .with_client_cert_resolver(Arc::clone(&asked) as _);
    config.resumption = rustls::client::Resumption::disabled(); // a resumed session would show no certificate to judge
    config.alpn_protocols = Vec::new();
    let name = ServerName::try_from(identity.expected_name.clone()).map_err(|error| fail(error.to_string()))?;
    let stream = match handshake(address, name, config).await {
        Ok(stream) => stream,
        Err(error) => {
            let version = unfit(&error, identity).and_then(|peer| policy::judge(rules, &peer).allowed().err());
            let asked = asked.0.load(Ordering::Relaxed);
            let refusal = version.or_else(|| refused_in_handshake(&error, asked, &identity.expected_name));
            return Err(refusal.map_or_else(|| fail(error.to_string()), TlsError::Refused));
        }
    };

    let (_, session) = stream.get_ref();
    let version = session.protocol_version();
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let seen = observer.seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut peer) = seen else {
        return Err(fail("the server showed no certificate".to_owned()));
    };
    peer.version = match version {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Older,
    };
    match policy::judge(rules, &peer) {
        Verdict::Refused(refusal) => Err(TlsError::Refused(refusal)),
        Verdict::Allowed(proof) => Ok(SipConnection {
            stream,
            proof,
            description: TlsDescription {
                version: if peer.version == TlsVersion::Tls13 { "1.3" } else { "1.2" },
                cipher,
                peer_name: identity.expected_name.clone(),
            },
            peer,
        }),
    }
}

/// Opens a connection to a web server whose certificate must be good for `host` by the ordinary rules.
pub async fn connect_web(address: SocketAddr, host: &str, trust: &Trust) -> Result<TlsStream<TcpStream>, TlsError> {
    let fail = |why: String| TlsError::Connect { to: format!("{host} ({address})"), why };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = versions(&provider)?.with_root_certificates(Arc::clone(&trust.0)).with_no_client_auth();
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| fail(error.to_string()))?;
    handshake(address, name, config).await.map_err(|error| fail(error.to_string()))
}

fn versions(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Connect { to: "any server".to_owned(), why: error.to_string() })
}

async fn handshake(
    address: SocketAddr,
    name: ServerName<'static>,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let attempt = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    match timeout(PATIENCE, attempt).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// The facts of a handshake that failed because of what the server is, not because of the network: then `policy` has
/// the sentence for it. What was not seen counts as bad.
fn unfit(error: &io::Error, identity: &SipIdentity) -> Option<TlsPeer> {
    let version = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => TlsVersion::Older,
        // no older version gets as far as to a certificate
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => TlsVersion::Tls12,
        _ => return None,
    };
    Some(TlsPeer {
        expected: identity.expected_name.clone(),
        version,
        chain: Chain::Invalid,
        name: Name::Wrong,
        pin: if identity.pins.is_empty() { Pin::NotConfigured } else { Pin::Mismatch },
        validity: Validity::Valid,
    })
}

/// What `policy` says of a handshake that ended before there was a certificate to judge, and of a connection that ends with the
/// alert that TLS 1.3 sends after the handshake (RFC 8446 §4.4.2.4). `asked`: the server wanted a certificate of ours.
pub fn refused_in_handshake(error: &io::Error, asked: bool, expected_name: &str) -> Option<policy::Refusal> {
    let fault = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => HandshakeFault::ClientCertificate,
        // what a server before TLS 1.3 says to a client without a certificate (RFC 5246 §7.4.6)
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::BadCertificate)
            if asked =>
        {
            HandshakeFault::ClientCertificate
        }
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity)
        | rustls::Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon,
        )
        | rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => HandshakeFault::NoCommonSuite,
        _ => return None,
    };
    // no rule of an account changes it
    policy::judge(&Rules::strict(""), &Handshake { expected: expected_name.to_owned(), fault }).allowed().err()
}

/// Has no certificate to show, and notes that the server wants one.
#[derive(Debug, Default)]
struct ClientCertificate(AtomicBool);

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes down what a SIP server's certificate is, and lets the handshake go on: the verdict is `policy`'s, on facts.
/// The handshake's own signatures are checked here as always.
#[derive(Debug)]
struct Observer {
    roots: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    expected_name: String,
    pins: Vec<String>,
    seen: Mutex<Option<TlsPeer>>,
}

impl Observer {
    fn observe(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<TlsPeer, webpki::Error> {
        let certificate = webpki::EndEntityCert::try_from(leaf)?;
        let (chain, validity) = self.chain(&certificate, leaf, intermediates, now);
        let name =
            peer_name::compare(&self.expected_name, certificate.valid_uri_names(), certificate.valid_dns_names());
        let pin = match self.pins.is_empty() {
            true => Pin::NotConfigured,
            false => {
                let key = BASE64.encode(Sha256::digest(certificate.subject_public_key_info()));
                if self.pins.contains(&key) { Pin::Matches } else { Pin::Mismatch }
            }
        };
        Ok(TlsPeer { expected: self.expected_name.clone(), version: TlsVersion::Older, chain, name, pin, validity })
    }

    /// Chain and dates are facts of their own: a certificate out of its time is checked again inside its time.
    fn chain(
        &self,
        certificate: &webpki::EndEntityCert<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> (Chain, Validity) {
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
        let chain = match first {
            Ok(()) => Chain::Trusted,
            Err(webpki::Error::UnknownIssuer) if signed_by_itself(leaf, self.algorithms.all) => Chain::SelfSigned,
            Err(webpki::Error::UnknownIssuer) => Chain::UnknownIssuer,
            // OpenSSL's own self-signed certificates call themselves an authority
            Err(webpki::Error::CaUsedAsEndEntity) if certificate.issuer() == certificate.subject() => Chain::SelfSigned,
            Err(_) => Chain::Invalid,
        };
        (chain, validity)
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
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let peer = self
            .observe(end_entity, intermediates, now)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(peer);
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
