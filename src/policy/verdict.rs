//! What policy answers: a proof, or a refusal that a person can act on.
//!
//! Proofs have private fields and no constructor outside this module, and are neither `Clone` nor `Copy`.

use super::exception::Exception;
use super::facts::{Current, MediaLevel, SignallingLevel, TlsVersion};
use super::rules::Rules;
use crate::units::CallNumber;
use std::fmt;
use std::sync::Arc;

/// The answer of [`judge`](super::judge).
#[must_use]
#[derive(Debug)]
pub enum Verdict<P> {
    /// Go on, with this proof.
    Allowed(P),
    /// Do not.
    Refused(Refusal),
}

impl<P> Verdict<P> {
    /// The proof, for use with `?`.
    ///
    /// # Errors
    /// The refusal.
    pub fn allowed(self) -> Result<P, Refusal> {
        match self {
            Verdict::Allowed(proof) => Ok(proof),
            Verdict::Refused(refusal) => Err(refusal),
        }
    }
}

/// A connection to the provider may be opened.
#[derive(Debug)]
pub struct MayConnect {
    pub(super) account: String,
}

impl MayConnect {
    /// The account whose connection it is.
    pub fn account(&self) -> &str {
        &self.account
    }
}

/// Credentials may be sent over this connection.
#[derive(Debug)]
pub struct MayAuthenticate {
    pub(super) rules: Rules,
    pub(super) level: SignallingLevel,
    pub(super) exception: Option<Arc<Exception>>,
    pub(super) tls: TlsVersion,
}

impl MayAuthenticate {
    /// The account that was judged: a connection verified for one is never used for another.
    pub fn account(&self) -> &str {
        &self.rules.account
    }

    /// What it was judged by; challenges on this connection are judged by the same.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The version of TLS.
    pub fn tls(&self) -> TlsVersion {
        self.tls
    }

    /// What was measured.
    pub fn level(&self) -> SignallingLevel {
        self.level
    }

    /// The exception without which it would be refused.
    pub fn exception(&self) -> Option<&Arc<Exception>> {
        self.exception.as_ref()
    }
}

/// A session description may be answered (or, as an answer, be accepted).
#[derive(Debug)]
pub struct MayAnswer {
    pub(super) call: CallNumber,
    pub(super) signalling: SignallingLevel,
    pub(super) level: MediaLevel,
    pub(super) current: Option<Current>,
    pub(super) exception: Option<Arc<Exception>>,
}

impl MayAnswer {
    /// The call that was judged.
    pub fn call(&self) -> CallNumber {
        self.call
    }

    /// The level that the sound will have.
    pub fn level(&self) -> MediaLevel {
        self.level
    }

    /// The level of the connection that brought the description.
    pub fn signalling(&self) -> SignallingLevel {
        self.signalling
    }

    /// What the dialog had when this was judged.
    pub fn current(&self) -> Option<Current> {
        self.current
    }

    /// The exception without which it would be refused.
    pub fn exception(&self) -> Option<&Arc<Exception>> {
        self.exception.as_ref()
    }
}

/// Sound may run without encryption: only a dated exception can make it.
#[derive(Debug)]
pub struct MayBeClear {
    pub(super) call: CallNumber,
    pub(super) exception: Arc<Exception>,
}

impl MayBeClear {
    /// The call that was judged.
    pub fn call(&self) -> CallNumber {
        self.call
    }

    /// The exception that allows it.
    pub fn exception(&self) -> &Arc<Exception> {
        &self.exception
    }
}

/// Credentials may be given in the way that was offered.
#[derive(Debug)]
pub struct MayLogIn(pub(super) ());

/// What cannot be had: the proof of a moment at which nothing is left to allow.
#[derive(Debug)]
pub enum Never {}

/// Keys may be put to work.
#[derive(Debug)]
pub struct MayKey {
    pub(super) call: CallNumber,
    pub(super) level: MediaLevel,
    pub(super) exception: Option<Arc<Exception>>,
}

impl MayKey {
    /// The call that was judged.
    pub fn call(&self) -> CallNumber {
        self.call
    }

    /// The level that the sound has with these keys.
    pub fn level(&self) -> MediaLevel {
        self.level
    }

    /// The exception without which it would be refused.
    pub fn exception(&self) -> Option<&Arc<Exception>> {
        self.exception.as_ref()
    }
}

/// Keys may be used to try what the phone sends, and for nothing else yet.
#[derive(Debug)]
pub struct MayReceive {
    pub(super) call: CallNumber,
}

impl MayReceive {
    /// The call that was judged.
    pub fn call(&self) -> CallNumber {
        self.call
    }
}

/// A proof with which packets of the phone may be decrypted: [`MayKey`] or [`MayReceive`].
pub trait Receiving: sealed::Proof {}

impl Receiving for MayKey {}
impl Receiving for MayReceive {}

mod sealed {
    pub trait Proof {}
    impl Proof for super::MayKey {}
    impl Proof for super::MayReceive {}
}

/// A no: which rule, what happened and why, what to do, and how SIP says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The rule that was broken.
    pub rule: Rule,
    /// What happened, and why it is refused: one sentence without a full stop, free of bytes that the peer chose.
    pub reason: String,
    /// What a person can do about it: one sentence without a full stop.
    pub hint: String,
    /// The status of the SIP response, where there is a request to answer: 488 for media, 403 for the connection.
    pub sip_status: u16,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}

/// The rules, each with a name that logs, metrics and `audit` share.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rule {
    /// SIP runs over TLS only.
    TlsRequired,
    /// What DNSSEC proves to be forged is not used.
    DnsBogus,
    /// TLS is 1.2 or newer.
    TlsVersion,
    /// The certificate names the expected host.
    CertificateName,
    /// A wildcard is no name (RFC 5922 §7.2).
    CertificateWildcard,
    /// The certificate has not expired.
    CertificateExpired,
    /// The certificate's time has begun.
    CertificateNotYetValid,
    /// The certificate is not signed by itself alone.
    CertificateSelfSigned,
    /// The certificate's authority is trusted.
    CertificateUnknownIssuer,
    /// The certificate can be read and its signatures hold.
    CertificateInvalid,
    /// The public key is a pinned one.
    CertificatePin,
    /// Both sides know a cipher suite in common.
    TlsSuite,
    /// A server that demands a certificate of ours gets one that it takes.
    ClientCertificate,
    /// Credentials go out as a digest only.
    LoginScheme,
    /// The description came over a connection that is good enough for the account.
    SignallingLevel,
    /// Sound is encrypted.
    MediaClear,
    /// A clear phone does not come to one that is encrypted end to end.
    RoomNotClear,
    /// An SRTP offer brings a key.
    MediaKeyMissing,
    /// SDES and DTLS keys count only over checked signalling.
    KeysOverUnverifiedSignalling,
    /// NULL, F8, `UNENCRYPTED_*`, `UNAUTHENTICATED_*`: never.
    SuiteForbidden,
    /// Suites are an allow-list.
    SuiteUnknown,
    /// Tags of 32 bits only with `short_tags`.
    SuiteShortTag,
    /// DTLS-SRTP is for a later version.
    DtlsUnsupported,
    /// A phone that agreed on ZRTP speaks it.
    ZrtpUnanswered,
    /// ZRTP ends with keys.
    ZrtpFailed,
    /// `zrtp-verified`: people compared the code of this phone in an earlier call.
    ZrtpNotVerified,
    /// A running call keeps its way of agreeing on keys.
    KeyingIsFixed,
    /// The account's `media_minimum`.
    MediaMinimum,
    /// Media security only rises within a dialog.
    MediaNeverFalls,
    /// The ratchet: a password hash of SHA-256 or better, as before.
    RatchetDigest,
    /// The ratchet: TLS 1.3, as before.
    RatchetTls,
    /// The ratchet: encrypted sound, as before.
    RatchetMedia,
    /// The ratchet: a caller whose code was compared comes with ZRTP, as before.
    RatchetCaller,
}

impl Rule {
    /// The rule's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::TlsRequired => "tls-required",
            Rule::DnsBogus => "dns-bogus",
            Rule::TlsVersion => "tls-version",
            Rule::CertificateName => "certificate-name",
            Rule::CertificateWildcard => "certificate-wildcard",
            Rule::CertificateExpired => "certificate-expired",
            Rule::CertificateNotYetValid => "certificate-not-yet-valid",
            Rule::CertificateSelfSigned => "certificate-self-signed",
            Rule::CertificateUnknownIssuer => "certificate-unknown-issuer",
            Rule::CertificateInvalid => "certificate-invalid",
            Rule::CertificatePin => "certificate-pin",
            Rule::TlsSuite => "tls-suite",
            Rule::ClientCertificate => "client-certificate",
            Rule::LoginScheme => "login-scheme",
            Rule::SignallingLevel => "signalling-level",
            Rule::MediaClear => "media-clear",
            Rule::RoomNotClear => "room-not-clear",
            Rule::MediaKeyMissing => "media-key-missing",
            Rule::KeysOverUnverifiedSignalling => "keys-over-unverified-signalling",
            Rule::SuiteForbidden => "suite-forbidden",
            Rule::SuiteUnknown => "suite-unknown",
            Rule::SuiteShortTag => "suite-short-tag",
            Rule::DtlsUnsupported => "dtls-unsupported",
            Rule::ZrtpUnanswered => "zrtp-unanswered",
            Rule::ZrtpFailed => "zrtp-failed",
            Rule::ZrtpNotVerified => "zrtp-not-verified",
            Rule::KeyingIsFixed => "keying-is-fixed",
            Rule::MediaMinimum => "media-minimum",
            Rule::MediaNeverFalls => "media-never-falls",
            Rule::RatchetDigest => "ratchet-digest",
            Rule::RatchetTls => "ratchet-tls",
            Rule::RatchetMedia => "ratchet-media",
            Rule::RatchetCaller => "ratchet-caller",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
