//! TLS: the only place that makes a rustls configuration.
//!
//! For SIP the certificate is *observed* during the handshake and *judged* by `policy` after it, before a byte of SIP is
//! sent: [`connect_sip`] hands out the stream together with the proof, or a refusal. The audit makes the same handshake
//! and has the same observation as facts ([`look`]). For Galène the ordinary WebPKI rules hold ([`connect_web`]).
//! TLS 1.2 and 1.3 only, a client certificate only to the provider that asks for it, no early data.

mod client_certificate;
mod observer;

pub use client_certificate::{ClientCertificate, ClientIdentity};
pub use observer::Seen;

use super::tcp;
use crate::policy::{self, MayAuthenticate, MayConnect, Rules, TlsPeer, TlsVersion, Verdict};
use client_certificate::Shown;
use observer::{Observer, unreadable};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, PeerIncompatible, ProtocolVersion, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
    let shown = Arc::new(Shown::new(identity.client.clone()));
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
    let shown = Arc::new(Shown::new(identity.client.clone()));
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
