//! The rules themselves: [`judge`] weighs one moment's facts against an account's [`Rules`].
//!
//! Pure: the same facts always get the same verdict. There is no way around it, and no rule that a setting turns off; a dated
//! exception does, for the one thing that it names, and the proof says so.

use super::exception::{Downgrade, Exception, InForce};
use super::facts::{
    Chain, ClearFacts, Connecting, Current, Directions, Handshake, HandshakeFault, KeyFacts, KeyingMethod, Login,
    LoginScheme, MediaLevel, Name, OfferFacts, OfferedKeying, Pin, SignallingLevel, SuiteStrength, TlsPeer, TlsVersion,
    Transport, UnconfirmedKeyFacts, Validity, ZrtpOutcome,
};
use super::floors::{self, Floors};
use super::verdict::{
    MayAnswer, MayAuthenticate, MayBeClear, MayConnect, MayKey, MayLogIn, MayReceive, Never, Refusal, Rule, Verdict,
};
use std::sync::Arc;

/// What an account demands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The account, as `user@domain`.
    pub account: String,
    /// `Verified`, or `Pinned`: the leaf's public key stands for chain and name. Anything lower is taken as `Verified`.
    pub signalling: SignallingLevel,
    /// The least level of sound: the higher one of the account's and the room's. Clear sound is refused whatever stands here.
    pub media_minimum: MediaLevel,
    /// What the room has written, which no exception lowers; `Clear` where it has written nothing.
    pub room_minimum: MediaLevel,
    /// Whether suites with tags of 32 bits are acceptable. ZRTP must have them (RFC 6189 §5.1.4).
    pub short_tags: bool,
    /// Whether a phone has to announce ZRTP.
    pub zrtp_hash: ZrtpHash,
    /// What is allowed today all the same.
    pub exceptions: InForce,
    /// What the account has shown before.
    pub floors: Floors,
}

/// Whether a phone has to announce ZRTP in its session description (RFC 6189 §8).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ZrtpHash {
    /// With `a=zrtp-hash`, or its offer counts as clear.
    Required,
    /// It need not, where the account's minimum makes sure that nothing but ZRTP can follow.
    Optional,
}

impl Rules {
    /// The defaults: verified signalling, SRTP, full tags.
    pub fn strict(account: impl Into<String>) -> Self {
        Rules {
            account: account.into(),
            signalling: SignallingLevel::Verified,
            media_minimum: MediaLevel::Srtp,
            room_minimum: MediaLevel::Clear,
            short_tags: false,
            zrtp_hash: ZrtpHash::Required,
            exceptions: InForce::default(),
            floors: Floors::default(),
        }
    }

    /// Without an announcement an offer looks like clear sound; only under such a minimum can nothing else come of it.
    pub(super) fn tries_zrtp_first(&self) -> bool {
        self.zrtp_hash == ZrtpHash::Optional && self.media_minimum >= MediaLevel::Zrtp
    }

    /// The exception that lets sound of this level be, where the account's own minimum does not.
    fn lowered_to(&self, level: MediaLevel) -> Option<Arc<Exception>> {
        self.exceptions.allows(Downgrade::MediaClear).filter(|_| level >= self.room_minimum)
    }

    fn signalling(&self) -> SignallingLevel {
        match self.signalling {
            SignallingLevel::Pinned => SignallingLevel::Pinned,
            _ => SignallingLevel::Verified,
        }
    }
}

/// A moment at which policy is asked. Implemented by the structs of facts, and by nothing else.
pub trait Moment: sealed::Weigh<Allowed = Self::Proof> {
    /// What a yes at this moment is worth.
    type Proof;
}

impl Moment for Connecting {
    type Proof = MayConnect;
}
impl Moment for TlsPeer {
    type Proof = MayAuthenticate;
}
impl Moment for OfferFacts {
    type Proof = MayAnswer;
}
impl Moment for KeyFacts {
    type Proof = MayKey;
}
impl Moment for UnconfirmedKeyFacts {
    type Proof = MayReceive;
}
impl Moment for ClearFacts {
    type Proof = MayBeClear;
}
impl Moment for Handshake {
    type Proof = Never;
}
impl Moment for Login {
    type Proof = MayLogIn;
}

mod sealed {
    use super::{Refusal, Rules};

    pub trait Weigh {
        type Allowed;
        fn weigh(&self, rules: &Rules) -> Result<Self::Allowed, Refusal>;
    }
}
use sealed::Weigh;

/// Judges one moment: the only source of proofs.
pub fn judge<M: Moment>(rules: &Rules, facts: &M) -> Verdict<M::Proof> {
    match facts.weigh(rules) {
        Ok(proof) => Verdict::Allowed(proof),
        Err(refusal) => Verdict::Refused(refusal),
    }
}

impl Weigh for Connecting {
    type Allowed = MayConnect;

    fn weigh(&self, rules: &Rules) -> Result<MayConnect, Refusal> {
        match (self.transport, self.dns) {
            (Transport::Tls, Directions::Usable) => Ok(MayConnect { account: rules.account.clone() }),
            (_, Directions::Bogus) => Err(connection(
                Rule::DnsBogus,
                format!(
                    "DNS says where the provider of {} is, and DNSSEC proves that the answer is forged or broken",
                    rules.account
                ),
                "Check this machine's clock and its DNS servers, then ask the provider to repair its zone",
            )),
            (Transport::Tls, Directions::NotOffered) => Err(connection(
                Rule::TlsRequired,
                format!("The provider of {} says in DNS that it offers no SIP over TLS", rules.account),
                "Ask the provider for its server for SIP over TLS, and write it into outbound_proxy, or use one that offers it",
            )),
            (Transport::Clear, _) => Err(connection(
                Rule::TlsRequired,
                format!(
                    "{} would be reached without TLS, so anyone on the path could read and change its calls",
                    rules.account
                ),
                "Ask the provider for SIP over TLS, or use one that offers it",
            )),
        }
    }
}

impl Weigh for TlsPeer {
    type Allowed = MayAuthenticate;

    fn weigh(&self, rules: &Rules) -> Result<MayAuthenticate, Refusal> {
        if self.version < TlsVersion::Tls12 {
            return Err(connection(
                Rule::TlsVersion,
                "The server negotiated a TLS version older than 1.2, which no longer protects anything",
                "Ask the provider to enable TLS 1.2 or 1.3",
            ));
        }
        // Pins that are configured must hold at either level.
        match (self.pin, rules.signalling()) {
            (Pin::Mismatch, _) => {
                return Err(connection(
                    Rule::CertificatePin,
                    "The server's public key is none of the pinned ones: it was changed, or somebody is in between",
                    "Ask the provider by another way whether the key changed; if so, put the new one into pin_sha256",
                ));
            }
            (Pin::NotConfigured, SignallingLevel::Pinned) => {
                return Err(connection(
                    Rule::CertificatePin,
                    "The account wants a pinned key and no key is pinned",
                    "Write the key's SHA-256 into pin_sha256, or remove signalling = \"pinned\"",
                ));
            }
            _ => {}
        }
        let level = match (self.fault(), rules.signalling()) {
            (None, _) => SignallingLevel::Verified,
            (Some(_), SignallingLevel::Pinned) if self.validity == Validity::Valid => SignallingLevel::Pinned,
            (Some(refusal), _) => return self.excepted(rules, refusal),
        };
        self.admitted(rules, level, None)
    }
}

impl TlsPeer {
    /// What is wrong with the certificate: first its dates, then who vouches for it, then its name.
    fn fault(&self) -> Option<Refusal> {
        self.validity().and_then(|()| self.chain()).and_then(|()| self.name()).err()
    }

    /// A wildcard is the lesser evil, if it is the only one: the level stays what it would be with the exact name.
    fn excepted(&self, rules: &Rules, refusal: Refusal) -> Result<MayAuthenticate, Refusal> {
        let wildcard = Some(Downgrade::TlsWildcardName).filter(|_| refusal.rule == Rule::CertificateWildcard);
        let allowed =
            [(wildcard, SignallingLevel::Verified), (Some(Downgrade::TlsUnverified), SignallingLevel::Unverified)];
        let found = allowed.into_iter().find_map(|(kind, level)| Some((rules.exceptions.allows(kind?)?, level)));
        let (exception, level) = found.ok_or(refusal)?;
        self.admitted(rules, level, Some(exception))
    }

    fn admitted(
        &self,
        rules: &Rules,
        level: SignallingLevel,
        exception: Option<Arc<Exception>>,
    ) -> Result<MayAuthenticate, Refusal> {
        floors::tls(rules, self.version)?;
        Ok(MayAuthenticate { rules: rules.clone(), level, tls: self.version, exception })
    }

    fn chain(&self) -> Result<(), Refusal> {
        match self.chain {
            Chain::Trusted => Ok(()),
            Chain::UnknownIssuer => Err(connection(
                Rule::CertificateUnknownIssuer,
                format!("The certificate for {} was issued by an authority that is not trusted here", self.expected),
                "If the provider has its own authority, name its certificate with ca_file",
            )),
            Chain::SelfSigned => Err(connection(
                Rule::CertificateSelfSigned,
                format!("The certificate for {} is signed by itself, so it proves nothing", self.expected),
                "Check its key with the provider, then use pin_sha256 with signalling = \"pinned\", or name it with ca_file",
            )),
            Chain::Invalid => Err(connection(
                Rule::CertificateInvalid,
                format!(
                    "The certificate for {} cannot be read, the server did not sign with its key as it must, or a signature or constraint in its chain is broken",
                    self.expected
                ),
                "Ask the provider to repair the certificate chain of its SIP server",
            )),
        }
    }

    fn name(&self) -> Result<(), Refusal> {
        match self.name {
            Name::Matches => Ok(()),
            Name::WildcardOnly => Err(connection(
                Rule::CertificateWildcard,
                format!(
                    "The certificate names {} by a wildcard only, which SIP forbids (RFC 5922 §7.2)",
                    self.expected
                ),
                "Ask the provider for a certificate with its exact name, or pin the key: pin_sha256 with signalling = \"pinned\"",
            )),
            Name::Wrong => Err(connection(
                Rule::CertificateName,
                format!(
                    "The certificate does not name {}: this is another server, or somebody is in between",
                    self.expected
                ),
                "If the provider's certificate rightly has another name, write it as expected_name",
            )),
        }
    }

    fn validity(&self) -> Result<(), Refusal> {
        match self.validity {
            Validity::Valid => Ok(()),
            Validity::Expired => Err(connection(
                Rule::CertificateExpired,
                format!("The certificate for {} has expired", self.expected),
                "Ask the provider to renew it, and check the clock of this machine",
            )),
            Validity::NotYetValid => Err(connection(
                Rule::CertificateNotYetValid,
                format!("The certificate for {} is not valid yet", self.expected),
                "Check the clock of this machine, then ask the provider",
            )),
        }
    }
}

impl Weigh for OfferFacts {
    type Allowed = MayAnswer;

    fn weigh(&self, rules: &Rules) -> Result<MayAnswer, Refusal> {
        let (level, exception) = match self.keying {
            OfferedKeying::Clear if rules.tries_zrtp_first() => (self.zrtp()?, None),
            OfferedKeying::Clear => (MediaLevel::Clear, Some(clear(rules, self.current)?)),
            OfferedKeying::SavpWithoutKey => {
                return Err(media(
                    Rule::MediaKeyMissing,
                    "The phone wants SRTP and sent no key that can be read",
                    "Set the phone's key exchange to SDES (a=crypto)",
                ));
            }
            OfferedKeying::Dtls => return Err(dtls_unsupported()),
            OfferedKeying::Zrtp => (self.zrtp()?, None),
            OfferedKeying::SdesUnderAvp(suite) | OfferedKeying::Sdes(suite) => {
                sdes(rules, self.signalling, suite, self.current)?
            }
        };
        if level == MediaLevel::Clear && self.current.is_none() && self.others >= Some(MediaLevel::Zrtp) {
            return Err(media(
                Rule::RoomNotClear,
                "A phone in the room is encrypted end to end, and a clear one would let others listen to it",
                remedy(rules),
            ));
        }
        Ok(MayAnswer { call: self.call, signalling: self.signalling, level, current: self.current, exception })
    }
}

impl Weigh for ClearFacts {
    type Allowed = MayBeClear;

    fn weigh(&self, rules: &Rules) -> Result<MayBeClear, Refusal> {
        Ok(MayBeClear { call: self.call, exception: clear(rules, self.current)? })
    }
}

impl Weigh for Handshake {
    type Allowed = Never;

    fn weigh(&self, _rules: &Rules) -> Result<Never, Refusal> {
        Err(match self.fault {
            HandshakeFault::NoCommonSuite => connection(
                Rule::TlsSuite,
                format!(
                    "The server for {} speaks no TLS cipher that is safe enough, or none that this program has",
                    self.expected
                ),
                "Ask the provider to enable AES-GCM or ChaCha20-Poly1305 with ECDHE",
            ),
            HandshakeFault::NoClientCertificate => connection(
                Rule::ClientCertificate,
                format!("The server for {} demands a client certificate, and none is configured", self.expected),
                "Set client_cert and client_key to the one that the provider gave you, or ask for a server that takes the password alone",
            ),
            HandshakeFault::ClientCertificate => connection(
                Rule::ClientCertificate,
                format!("The server for {} does not accept the client certificate", self.expected),
                "Check client_cert, its dates and its issuer, with the provider",
            ),
        })
    }
}

impl Weigh for Login {
    type Allowed = MayLogIn;

    fn weigh(&self, rules: &Rules) -> Result<MayLogIn, Refusal> {
        let reason = match self.scheme {
            LoginScheme::DigestMd5 | LoginScheme::DigestSha2 => {
                floors::login(rules, self.scheme)?;
                return Ok(MayLogIn(()));
            }
            LoginScheme::Basic => "The provider asks for the password itself (Basic), which SIP forbids (RFC 8760)",
            LoginScheme::Unknown => {
                "The provider offers no login that is supported: Digest with MD5, SHA-256 or SHA-512-256"
            }
        };
        Err(connection(Rule::LoginScheme, reason, "Ask the provider for Digest with SHA-256"))
    }
}

impl OfferFacts {
    /// ZRTP reaches every minimum, or the call ends: that is judged when it is over. In a dialog that has it, it stays.
    fn zrtp(&self) -> Result<MediaLevel, Refusal> {
        match self.current {
            None => Ok(MediaLevel::Zrtp),
            Some(current) if current.level >= MediaLevel::Zrtp => Ok(current.level),
            Some(_) => Err(media(
                Rule::KeyingIsFixed,
                "The phone asked for ZRTP within a call that agreed on its keys in another way",
                "Nothing to do: the call goes on with its old keys; the next one can begin with ZRTP",
            )),
        }
    }
}

impl Weigh for UnconfirmedKeyFacts {
    type Allowed = MayReceive;

    fn weigh(&self, _rules: &Rules) -> Result<MayReceive, Refusal> {
        zrtp_suite(self.suite)?;
        Ok(MayReceive { call: self.call })
    }
}

impl Weigh for KeyFacts {
    type Allowed = MayKey;

    fn weigh(&self, rules: &Rules) -> Result<MayKey, Refusal> {
        let (level, exception) = match self.method {
            KeyingMethod::Dtls => return Err(dtls_unsupported()),
            KeyingMethod::Zrtp(outcome) => zrtp(rules, outcome, self.suite, self.current)?,
            KeyingMethod::Sdes => sdes(rules, self.signalling, self.suite, self.current)?,
        };
        Ok(MayKey { call: self.call, level, exception })
    }
}

/// A level, and the exception without which it would be refused.
type Weighed = (MediaLevel, Option<Arc<Exception>>);

fn zrtp(
    rules: &Rules,
    outcome: ZrtpOutcome,
    suite: SuiteStrength,
    current: Option<Current>,
) -> Result<Weighed, Refusal> {
    let level = match outcome {
        ZrtpOutcome::Failed => {
            return Err(media(
                Rule::ZrtpFailed,
                "ZRTP did not succeed, so the call has no keys",
                "Let the caller try again; if it fails again, look at the log, and ask whether somebody is in between",
            ));
        }
        ZrtpOutcome::Unanswered => {
            return Err(media(
                Rule::ZrtpUnanswered,
                "The phone agreed on ZRTP and did not speak it",
                "Set the phone's media encryption to ZRTP and make it mandatory; a provider that relays the sound has to let ZRTP pass",
            ));
        }
        ZrtpOutcome::Secure => MediaLevel::Zrtp,
        ZrtpOutcome::SecureVerified => MediaLevel::ZrtpVerified,
    };
    zrtp_suite(suite)?;
    match enough(rules, level, current) {
        Err(refusal) if refusal.rule == Rule::MediaMinimum => Err(media(
            Rule::ZrtpNotVerified,
            "Only phones whose code people compared in an earlier call are let in here",
            "Enrol the phone: call under media_minimum = \"zrtp\", compare the code by voice and confirm it on both sides, then call again",
        )),
        weighed => weighed,
    }
}

/// ZRTP must have tags of 32 bits (RFC 6189 §5.1.4), whatever the account thinks of them elsewhere.
fn zrtp_suite(suite: SuiteStrength) -> Result<(), Refusal> {
    match suite {
        SuiteStrength::Full | SuiteStrength::ShortTag => Ok(()),
        SuiteStrength::Unknown | SuiteStrength::Forbidden => Err(media(
            Rule::SuiteUnknown,
            "ZRTP agreed on a suite that this gateway does not implement",
            "This is a defect of the gateway; please report it",
        )),
    }
}

/// What a phone has to be set to.
fn remedy(rules: &Rules) -> &'static str {
    match rules.media_minimum >= MediaLevel::Zrtp {
        true => "Set the phone's media encryption to ZRTP, and make it mandatory",
        false => "Set the phone's media encryption to ZRTP, or to SRTP (SDES), and make it mandatory",
    }
}

/// Clear sound: only by an exception, and never where the dialog or the room has something better.
fn clear(rules: &Rules, current: Option<Current>) -> Result<Arc<Exception>, Refusal> {
    let Some(exception) = rules.exceptions.allows(Downgrade::MediaClear) else {
        return Err(media(
            Rule::MediaClear,
            "The phone wants sound without encryption, and no call is taken in clear",
            remedy(rules),
        ));
    };
    enough(rules, MediaLevel::Clear, current)?;
    Ok(exception)
}

/// Keys in a session description are worth what the connection is worth that brought them (RFC 4568 §9). Where it is not good
/// enough they protect from nobody who could read them there: they count as clear sound.
fn sdes(
    rules: &Rules,
    signalling: SignallingLevel,
    suite: SuiteStrength,
    current: Option<Current>,
) -> Result<Weighed, Refusal> {
    let carried = carried_well(rules, signalling);
    if let Err(refusal) = &carried
        && rules.exceptions.allows(Downgrade::MediaClear).is_none()
    {
        return Err(refusal.clone());
    }
    sdes_suite(rules, suite)?;
    if current.is_some_and(|current| suite < current.suite) {
        return Err(never_falls()); // a suite with full tags does not give way to one with short tags
    }
    match carried {
        Ok(()) => enough(rules, MediaLevel::Srtp, current),
        Err(_) => Ok((MediaLevel::Clear, Some(clear(rules, current)?))),
    }
}

fn carried_well(rules: &Rules, signalling: SignallingLevel) -> Result<(), Refusal> {
    if signalling < SignallingLevel::Pinned {
        return Err(media(
            Rule::KeysOverUnverifiedSignalling,
            "The key came over a connection that was not checked, so anyone on the path may know it",
            "Make the provider's TLS certificate verifiable; until then only ZRTP could protect this call",
        ));
    }
    if signalling < rules.signalling() {
        return Err(media(
            Rule::SignallingLevel,
            "The key came over a connection that is weaker than the account demands",
            "Connect again with verified TLS, or set signalling = \"pinned\" for this account",
        ));
    }
    Ok(())
}

fn sdes_suite(rules: &Rules, suite: SuiteStrength) -> Result<(), Refusal> {
    match suite {
        SuiteStrength::Full => Ok(()),
        SuiteStrength::ShortTag if rules.short_tags => Ok(()),
        SuiteStrength::ShortTag => Err(media(
            Rule::SuiteShortTag,
            "The phone named only SRTP suites with tags of 32 bits, which are too easy to forge",
            "Enable AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM on the phone, or set short_tags = true under [policy]",
        )),
        SuiteStrength::Unknown => Err(media(
            Rule::SuiteUnknown,
            "The phone named only SRTP suites or parameters that this gateway does not implement",
            "Enable AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM on the phone",
        )),
        SuiteStrength::Forbidden => Err(media(
            Rule::SuiteForbidden,
            "The phone wants SRTP with encryption or authentication switched off, or with a broken cipher",
            "Enable AES_CM_128_HMAC_SHA1_80 or AEAD_AES_128_GCM on the phone, without UNENCRYPTED_ or UNAUTHENTICATED_ parameters",
        )),
    }
}

fn never_falls() -> Refusal {
    media(
        Rule::MediaNeverFalls,
        "The phone asked for weaker encryption than the call already has, and within a call it only rises",
        "Nothing to do: the call goes on with its old keys",
    )
}

/// Whether this level is good enough for the dialog, the account and the room.
fn enough(rules: &Rules, level: MediaLevel, current: Option<Current>) -> Result<Weighed, Refusal> {
    if current.is_some_and(|current| level < current.level) {
        return Err(never_falls());
    }
    floors::sound(rules, level)?;
    let minimum = rules.media_minimum.max(rules.room_minimum);
    if level >= minimum {
        return Ok((level, None));
    }
    match rules.lowered_to(level) {
        Some(exception) => Ok((level, Some(exception))),
        None => Err(media(
            Rule::MediaMinimum,
            format!(
                "The sound would be protected by {} and this account or its room demands {}",
                level.as_str(),
                minimum.as_str()
            ),
            remedy(rules),
        )),
    }
}

fn dtls_unsupported() -> Refusal {
    media(
        Rule::DtlsUnsupported,
        "DTLS-SRTP is not supported yet by this version",
        "Set the phone's media encryption to ZRTP or to SRTP (SDES)",
    )
}

pub(super) fn connection(rule: Rule, reason: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal { rule, reason: reason.into(), hint: hint.into(), sip_status: 403 }
}

pub(super) fn media(rule: Rule, reason: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal { rule, reason: reason.into(), hint: hint.into(), sip_status: 488 }
}
