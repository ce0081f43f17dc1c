//! TLS: the only place that makes a rustls configuration.
//!
//! For SIP the certificate is *observed* during the handshake and *judged* by `policy` after it, before a byte of SIP is
//! sent: [`connect_sip`] hands out the stream together with the proof, or a refusal. The audit makes the same handshake
//! and has the same observation as facts ([`look`]). For Galène the ordinary WebPKI rules hold ([`connect_web`]).
//! TLS 1.2 and 1.3 only, a client certificate only to the provider that asks for it, no early data.

use super::tcp;
use crate::policy::{
    self, Chain, Handshake, HandshakeFault, MayAuthenticate, MayConnect, Name, Pin, Rules, TlsPeer, TlsVersion,
    Validity, Verdict,
};
use crate::secret::Secret;
use crate::sip::peer_name;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;
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
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;

/// How long a TCP connection and a TLS handshake may take together.
pub const PATIENCE: Duration = Duration::from_secs(10);

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
    /// What we show to a server that asks for it.
    pub client: Option<ClientIdentity>,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub struct ClientIdentity(Arc<CertifiedKey>);

/// Whether the server asked us who we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientCertificate {
    /// It did not.
    NotAsked,
    /// It did, and nothing was shown.
    NotShown,
    /// It did, and the client certificate was shown.
    Shown,
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
    /// Whether the server asked us who we are. With TLS 1.3 it may refuse the answer later, as the first thing that it says.
    pub client_certificate: ClientCertificate,
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
    /// A file of certificates or keys cannot be read.
    #[error("{1}")]
    TrustFile(PathBuf, String),
}

impl PartialEq for ClientIdentity {
    /// By the certificates alone: each has one key.
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl Eq for ClientIdentity {}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.0.roots == other.0.roots
    }
}

impl Trust {
    /// The authorities themselves.
    pub(crate) fn roots(&self) -> &[TrustAnchor<'static>] {
        &self.0.roots
    }

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

impl ClientIdentity {
    /// Reads the certificates of a PEM file, and the text of their key's.
    ///
    /// # Errors
    /// When one is no such thing, or they do not belong together.
    pub fn read(certificate: &Path, key: &Secret<String>) -> Result<Self, TlsError> {
        let fail = |why: String| TlsError::TrustFile(certificate.to_owned(), why);
        let unread = |error: &dyn std::fmt::Display| fail(format!("client_cert cannot be read: {error}"));
        let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| unread(&error))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| unread(&error))?;
        if chain.is_empty() {
            return Err(fail("client_cert holds no certificate in PEM form".to_owned()));
        }
        // without the error's own words: they could quote the key
        let unusable = || fail("client_key holds no private key in PEM form".to_owned());
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| unusable())?;
        let both = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        both.map(|both| ClientIdentity(Arc::new(both))).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => fail("client_key is not the key of client_cert".to_owned()),
            other => fail(format!("client_cert and client_key cannot be used: {other}")),
        })
    }
}

impl ClientCertificate {
    /// What `policy` says of a handshake that ended before there was a certificate to judge, and of a connection that ends with an
    /// alert about ours, which TLS 1.3 sends after the handshake (RFC 8446 §4.4.2.4). `None` if it was something else.
    pub fn refusal(self, error: &io::Error, expected_name: &str) -> Option<policy::Refusal> {
        let facts = Handshake { expected: expected_name.to_owned(), fault: self.fault(error)? };
        policy::judge(&Rules::strict(""), &facts).allowed().err() // no rule of an account changes it
    }

    /// The fact alone.
    pub fn fault(self, error: &io::Error) -> Option<HandshakeFault> {
        Some(match error.get_ref()?.downcast_ref::<rustls::Error>()? {
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => self.missing()?,
            // before TLS 1.3 there was no such alert (RFC 5246 §7.4.6), and these may be about the one that was shown
            rustls::Error::AlertReceived(alert) if self.is_meant_by(*alert) => self.missing()?,
            rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
            )
            | rustls::Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon,
            )
            | rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
                HandshakeFault::NoCommonSuite
            }
            _ => return None,
        })
    }

    /// Whether an alert may be about a certificate that was shown, or was not.
    fn is_meant_by(self, alert: AlertDescription) -> bool {
        let about_any = matches!(
            alert,
            AlertDescription::HandshakeFailure
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        );
        match self {
            ClientCertificate::NotAsked => false,
            ClientCertificate::NotShown => about_any,
            ClientCertificate::Shown => about_any || alert == AlertDescription::DecryptError,
        }
    }

    fn missing(self) -> Option<HandshakeFault> {
        match self {
            ClientCertificate::NotAsked => None,
            ClientCertificate::NotShown => Some(HandshakeFault::NoClientCertificate),
            ClientCertificate::Shown => Some(HandshakeFault::ClientCertificate),
        }
    }
}

/// What a server asks us for, and whether it did.
#[derive(Debug)]
struct Shown {
    identity: Option<ClientIdentity>,
    asked: AtomicBool,
}

impl Shown {
    fn so_far(&self) -> ClientCertificate {
        match (self.asked.load(Ordering::Relaxed), self.identity.is_some()) {
            (false, _) => ClientCertificate::NotAsked,
            (true, false) => ClientCertificate::NotShown,
            (true, true) => ClientCertificate::Shown,
        }
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.as_ref().map(|identity| Arc::clone(&identity.0))
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

/// Opens a connection to a SIP server, at one of its addresses, and has it judged. Nothing is sent but the handshake.
pub async fn connect_sip(
    _allowed: MayConnect,
    addresses: &[SocketAddr],
    identity: &SipIdentity,
    trust: &Trust,
    rules: &Rules,
    patience: Duration,
) -> Result<SipConnection, TlsError> {
    let end = Instant::now() + patience;
    let mut rest = addresses.to_vec();
    loop {
        let (tcp, address) = open(&rest, end, patience).await?;
        match judged(tcp, address, identity, trust, rules, (end, patience)).await {
            // something is wrong at that address; policy's refusal is about the server, wherever it is
            Err(TlsError::Connect { .. }) if rest.len() > 1 && Instant::now() < end => {
                rest.retain(|other| *other != address);
            }
            decided => return decided,
        }
    }
}

async fn open(addresses: &[SocketAddr], end: Instant, patience: Duration) -> Result<(TcpStream, SocketAddr), TlsError> {
    let shown = || addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    let attempt = timeout_at(end, tcp::connect(addresses)).await.unwrap_or_else(|_| Err(too_slow(patience)));
    attempt.map_err(|error| TlsError::Connect { to: shown(), why: error.to_string() })
}

async fn judged(
    tcp: TcpStream,
    address: SocketAddr,
    identity: &SipIdentity,
    trust: &Trust,
    rules: &Rules,
    (end, patience): (Instant, Duration),
) -> Result<SipConnection, TlsError> {
    let fail = |why: String| TlsError::Connect { to: address.to_string(), why };
    let observer = Arc::new(Observer::new(identity, trust));
    let shown = Arc::new(Shown { identity: identity.client.clone(), asked: AtomicBool::new(false) });
    let config = sip_config(&observer, &shown)?;
    let name = ServerName::try_from(identity.expected_name.clone()).map_err(|error| fail(error.to_string()))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let stream = match timeout_at(end, handshake).await.unwrap_or_else(|_| Err(too_slow(patience))) {
        Ok(stream) => stream,
        Err(error) => {
            let version = unfit(&error, identity).and_then(|peer| policy::judge(rules, &peer).allowed().err());
            let refusal = version.or_else(|| shown.so_far().refusal(&error, &identity.expected_name));
            return Err(refusal.map_or_else(|| fail(error.to_string()), TlsError::Refused));
        }
    };

    let (_, session) = stream.get_ref();
    let version = session.protocol_version();
    let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let Some(Seen { mut peer, .. }) = observer.take() else {
        return Err(fail("the server showed no certificate".to_owned()));
    };
    peer.version = version_fact(version);
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
            client_certificate: shown.so_far(),
            peer,
        }),
    }
}

/// What [`look`] varies.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Whether the hello names the server.
    pub sni: bool,
    /// One protocol in ALPN.
    pub alpn: Option<&'static str>,
}

/// What one handshake showed.
pub struct Look {
    /// The certificate, even if the handshake failed behind it.
    pub seen: Option<Seen>,
    /// Whether the server asked for a certificate of ours.
    pub client_certificate: ClientCertificate,
    /// The connection, or why there is none. Nobody judged it: no SIP may be sent over it.
    pub outcome: io::Result<TlsStream<TcpStream>>,
}

/// Makes the handshake of [`connect_sip`] and says what was seen, without a verdict.
pub async fn look(tcp: TcpStream, identity: &SipIdentity, trust: &Trust, offer: Offer, patience: Duration) -> Look {
    let observer = Arc::new(Observer::new(identity, trust));
    let shown = Arc::new(Shown { identity: identity.client.clone(), asked: AtomicBool::new(false) });
    let attempt = async {
        let mut config = sip_config(&observer, &shown).map_err(io::Error::other)?;
        config.enable_sni = offer.sni;
        config.alpn_protocols = offer.alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(identity.expected_name.clone()).map_err(io::Error::other)?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    };
    let outcome = timeout_at(Instant::now() + patience, attempt).await.unwrap_or_else(|_| Err(too_slow(patience)));
    let mut seen = observer.take();
    if let (Ok(stream), Some(seen)) = (&outcome, &mut seen) {
        seen.peer.version = version_fact(stream.get_ref().1.protocol_version());
    }
    Look { seen, client_certificate: shown.so_far(), outcome }
}

/// The same facts of a chain that came by another handshake than ours; the version is for the caller to set.
pub fn observe(
    chain: &[CertificateDer<'static>],
    identity: &SipIdentity,
    trust: &Trust,
    now: UnixTime,
) -> Option<Seen> {
    let (leaf, intermediates) = chain.split_first()?;
    Some(Observer::new(identity, trust).observe(leaf, intermediates, &[], now).0)
}

/// Opens a connection to a web server, at one of its addresses, whose certificate must be good for `host` by the ordinary
/// rules.
pub async fn connect_web(
    addresses: &[SocketAddr],
    host: &str,
    trust: &Trust,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let end = Instant::now() + PATIENCE;
    let (tcp, address) = open(addresses, end, PATIENCE).await?;
    let fail = |why: String| TlsError::Connect { to: format!("{host} ({address})"), why };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = versions(&provider)?.with_root_certificates(Arc::clone(&trust.0)).with_no_client_auth();
    let name =
        ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| fail(error.to_string()))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let stream = timeout_at(end, handshake).await.unwrap_or_else(|_| Err(too_slow(PATIENCE)));
    stream.map_err(|error| fail(error.to_string()))
}

fn too_slow(patience: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", patience.as_secs()))
}

fn sip_config(observer: &Arc<Observer>, shown: &Arc<Shown>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = versions(&provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(observer) as _)
        .with_client_cert_resolver(Arc::clone(shown) as _);
    config.resumption = rustls::client::Resumption::disabled(); // a resumed session would show no certificate to judge
    config.alpn_protocols = Vec::new();
    Ok(config)
}

fn version_fact(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_3) => TlsVersion::Tls13,
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
        _ => TlsVersion::Older,
    }
}

fn versions(
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Connect { to: "any server".to_owned(), why: error.to_string() })
}

/// Whether a handshake failed because the server's TLS is too old.
pub fn is_too_old(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        error,
        Some(
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                    | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)
        )
    )
}

/// Whether a handshake failed because the certificate is none, or the key in it cannot sign as it should: RSA below 2048 bits
/// (RFC 9325 §4.5), or a signature that is wrong.
pub fn is_bad_certificate(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(
        error,
        Some(rustls::Error::InvalidCertificate(CertificateError::BadEncoding | CertificateError::BadSignature))
    )
}

/// The facts of a handshake that failed because of what the server is, not because of the network: then `policy` has
/// the sentence for it. What was not seen counts as bad.
fn unfit(error: &io::Error, identity: &SipIdentity) -> Option<TlsPeer> {
    let version = match is_too_old(error) {
        true => TlsVersion::Older,
        // no older version gets as far as to a certificate
        false if is_bad_certificate(error) => TlsVersion::Tls12,
        false => return None,
    };
    Some(unreadable(&identity.expected_name, &identity.pins, version))
}

fn unreadable(expected_name: &str, pins: &[String], version: TlsVersion) -> TlsPeer {
    TlsPeer {
        expected: expected_name.to_owned(),
        version,
        chain: Chain::Invalid,
        name: Name::Wrong,
        pin: if pins.is_empty() { Pin::NotConfigured } else { Pin::Mismatch },
        validity: Validity::Valid,
    }
}

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
struct Observer {
    roots: Vec<TrustAnchor<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
    expected_name: String,
    pins: Vec<String>,
    seen: Mutex<Option<Seen>>,
}

impl Observer {
    fn new(identity: &SipIdentity, trust: &Trust) -> Self {
        Observer {
            roots: trust.0.roots.clone(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            expected_name: identity.expected_name.clone(),
            pins: identity.pins.clone(),
            seen: Mutex::new(None),
        }
    }

    fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What is seen, and whether the leaf can be read at all.
    fn observe(
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
