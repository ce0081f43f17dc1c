//! What a server asks of us: the client certificate that is shown to the provider who asks for one (RFC 5922 §7.4), and what an alert
//! about it means. The key never leaves rustls, and no error quotes it.

use super::TlsError;
use crate::policy::{self, Handshake, HandshakeFault, Rules};
use crate::secret::Secret;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, PeerIncompatible, PeerMisbehaved, SignatureScheme};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

impl PartialEq for ClientIdentity {
    /// By the certificates alone: each has one key.
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl Eq for ClientIdentity {}

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
pub(super) struct Shown {
    identity: Option<ClientIdentity>,
    asked: AtomicBool,
}

impl Shown {
    pub(super) fn new(identity: Option<ClientIdentity>) -> Self {
        Shown { identity, asked: AtomicBool::new(false) }
    }

    pub(super) fn so_far(&self) -> ClientCertificate {
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
