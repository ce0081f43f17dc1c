//! What policy is told: the moments in the life of a connection and a call, each a struct of plain facts.
//!
//! Facts are measured, never wished for. Every enum lists its values from the worst to the best, and derives its order
//! from that, so "safer" is `>`.

use crate::units::CallNumber;

/// How far the connection to the provider can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SignallingLevel {
    /// No TLS.
    Clear,
    /// TLS with a peer that nobody checked.
    Unverified,
    /// TLS with a peer whose public key is the configured one.
    Pinned,
    /// TLS with a peer whose chain and name were checked (RFC 5922).
    Verified,
}

/// How far the sound of a call is protected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MediaLevel {
    /// Anyone on the path hears it.
    Clear,
    /// SRTP whose keys the provider knows (SDES) or could have replaced (DTLS).
    Srtp,
    /// ZRTP: end to end from the phone to this gateway, the code not compared.
    Zrtp,
    /// ZRTP whose code people compared.
    ZrtpVerified,
}

impl MediaLevel {
    /// The name that the configuration, logs and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            MediaLevel::Clear => "clear",
            MediaLevel::Srtp => "srtp",
            MediaLevel::Zrtp => "zrtp",
            MediaLevel::ZrtpVerified => "zrtp-verified",
        }
    }
}

impl SignallingLevel {
    /// The name that the configuration, logs and reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            SignallingLevel::Clear => "clear",
            SignallingLevel::Unverified => "unverified",
            SignallingLevel::Pinned => "pinned",
            SignallingLevel::Verified => "verified",
        }
    }
}

/// Before a connection is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connecting {
    /// What SIP would run over.
    pub transport: Transport,
    /// What DNS says of the way there.
    pub dns: Directions,
}

/// What DNS says of the way to the provider.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Directions {
    /// An answer that DNSSEC proves not to be the zone's own (RFC 4033 §5).
    Bogus,
    /// That the provider offers no SIP over TLS: an SRV target of "." (RFC 2782).
    NotOffered,
    /// Nothing against it.
    Usable,
}

/// What carries SIP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// UDP or TCP.
    Clear,
    /// TLS over TCP.
    Tls,
}

/// The TLS handshake ended before there was a certificate to judge, because of what the server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The name that the certificate would have had to show. Only for the sentence.
    pub expected: String,
    /// What ended it.
    pub fault: HandshakeFault,
}

/// What ended a handshake. An old version of TLS is a fact of [`TlsPeer`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HandshakeFault {
    /// Both sides know no cipher suite, group or signature in common.
    NoCommonSuite,
    /// The server demands a certificate of ours, and none is configured.
    NoClientCertificate,
    /// The server demands a certificate of ours, and does not take the one that is configured.
    ClientCertificate,
}

/// The provider asks for credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// The best way to give them that it offers.
    pub scheme: LoginScheme,
}

/// A way to log in (RFC 3261 §22, RFC 8760).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LoginScheme {
    /// The password itself goes over the wire.
    Basic,
    /// Nothing that this program knows.
    Unknown,
    /// Digest with MD5.
    DigestMd5,
    /// Digest with SHA-256 or SHA-512/256.
    DigestSha2,
}

/// After the TLS handshake, before any credential is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsPeer {
    /// The name that the certificate had to show: the account's domain or its `expected_name`. Only for the sentence.
    pub expected: String,
    /// What was negotiated.
    pub version: TlsVersion,
    /// Where the certificate's chain ends.
    pub chain: Chain,
    /// Whether the certificate names the expected host.
    pub name: Name,
    /// Whether the leaf's public key (SHA-256 of its SPKI) is a configured one.
    pub pin: Pin,
    /// The certificate's dates.
    pub validity: Validity,
}

/// The negotiated version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TlsVersion {
    /// SSL 3, TLS 1.0, TLS 1.1.
    Older,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// Where the certificate's chain ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Chain {
    /// A signature is wrong, a constraint is broken, or the certificate cannot be read.
    Invalid,
    /// The certificate is signed by itself and not a trust anchor.
    SelfSigned,
    /// An authority that is not among the trust anchors.
    UnknownIssuer,
    /// A trust anchor.
    Trusted,
}

/// Whether the certificate names the expected host (RFC 5922 §7.1, §7.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Name {
    /// It names others only.
    Wrong,
    /// It would match by a wildcard, which RFC 5922 §7.2 forbids.
    WildcardOnly,
    /// It names the host.
    Matches,
}

/// The leaf's public key beside the configured pins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pin {
    /// Pins are configured and this key is none of them.
    Mismatch,
    /// No pin is configured.
    NotConfigured,
    /// It is a configured key.
    Matches,
}

/// The certificate's dates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Validity {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// Its time is now.
    Valid,
}

/// A session description arrived: an offer or an answer, initial or in dialog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferFacts {
    /// The call it is about.
    pub call: CallNumber,
    /// The level of the connection that brought it.
    pub signalling: SignallingLevel,
    /// How it proposes to protect the sound.
    pub keying: OfferedKeying,
    /// What the dialog already has; `None` before the first keys.
    pub current: Option<Current>,
    /// The strongest of the other phones in the room; `None` if there is none.
    pub others: Option<MediaLevel>,
}

/// What protects a dialog that has keys, or that runs in clear.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Current {
    /// The level of its sound.
    pub level: MediaLevel,
    /// The strength of its suite.
    pub suite: SuiteStrength,
}

/// How a session description proposes to protect the sound.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OfferedKeying {
    /// RTP/AVP or RTP/AVPF without any key: clear sound.
    Clear,
    /// RTP/SAVP or RTP/SAVPF without a readable `a=crypto` line.
    SavpWithoutKey,
    /// A DTLS fingerprint (RFC 5763).
    Dtls,
    /// RTP/AVP with `a=zrtp-hash` (RFC 6189 §8).
    Zrtp,
    /// RTP/AVP with `a=crypto`: opportunistic SRTP (RFC 8643), to be answered encrypted. With the best suite offered.
    SdesUnderAvp(SuiteStrength),
    /// RTP/SAVP with `a=crypto` (RFC 4568). With the best suite offered.
    Sdes(SuiteStrength),
}

/// How strong an SRTP suite is, its session parameters included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SuiteStrength {
    /// NULL, F8, `UNENCRYPTED_*` or `UNAUTHENTICATED_*`.
    Forbidden,
    /// A suite or a parameter that this program does not implement.
    Unknown,
    /// An authentication tag of 32 bits.
    ShortTag,
    /// AES-GCM, or AES-CM with a tag of 80 bits.
    Full,
}

/// A description without keys was judged, and sound is about to run without encryption.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClearFacts {
    /// The call.
    pub call: CallNumber,
    /// What the dialog already has; `None` before anything was agreed.
    pub current: Option<Current>,
}

/// Keys exist and are about to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFacts {
    /// The call they are for.
    pub call: CallNumber,
    /// The level of the connection that brought them.
    pub signalling: SignallingLevel,
    /// How they were agreed.
    pub method: KeyingMethod,
    /// What they will be used with.
    pub suite: SuiteStrength,
    /// What the dialog already has; `None` before the first keys.
    pub current: Option<Current>,
}

/// How keys were agreed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyingMethod {
    /// In the session description (RFC 4568).
    Sdes,
    /// DTLS-SRTP (RFC 5764).
    Dtls,
    /// ZRTP (RFC 6189), and what came of it. Its keys come on the media path and owe nothing to the signalling.
    Zrtp(ZrtpOutcome),
}

/// What came of a ZRTP exchange.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ZrtpOutcome {
    /// It was tried and failed: a defect, an incompatibility or an attack.
    Failed,
    /// The phone answered none of our Hellos.
    Unanswered,
    /// Keys were agreed and confirmed. Nobody has compared the code.
    Secure,
    /// The same, with the phone of an earlier call in which people compared the code, as both sides remember.
    SecureVerified,
}

/// ZRTP has agreed on keys and has not confirmed them: packets of the phone may be tried, nothing may be heard or sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnconfirmedKeyFacts {
    /// The call they are for.
    pub call: CallNumber,
    /// What they will be used with.
    pub suite: SuiteStrength,
}
