//! ZRTP: keys agreed on where the sound will go (RFC 6189), by the engine of `zrtp-proto`.
//!
//! In: ZRTP packets that the leg passes on, what the description announced, time. Out: [`Step`]s, in the order in which they
//! must be done: packets to send, the phone's key before the packet that lets it speak, ours when both sides have confirmed,
//! what to remember. Nothing is secure because the engine says so: `policy` is asked about unconfirmed keys and about the end.
//!
//! Never: a clear packet, a SAS compared by the gateway itself, a weaker end than what was agreed.

use super::strength_of;
use crate::policy::{
    Exception, KeyFacts, KeyingMethod, MayKey, MediaLevel, Refusal, Rule, Rules, SignallingLevel, SuiteStrength,
    UnconfirmedKeyFacts, ZrtpOutcome, judge,
};
use crate::secret::Secret;
use crate::srtp::{KeyError, MasterKey, Protector, Sealed, Suite, Unprotector};
use crate::units::{CallNumber, Random, Ssrc};
use std::sync::Arc;
use std::time::Instant;
use zrtp_proto::{
    AuthTag, Cache, Cipher, Config, Continuity, Engine, Failure, HelloHash, Output, Receipt, Remember, Secure,
    SrtpKeys, Warning, Zid,
};

/// Who we are in Hellos. No version: it would help only attackers.
const CLIENT: [u8; 16] = *b"galene-sips     ";

/// What an exchange needs.
pub struct ZrtpSetup {
    /// The call.
    pub call: CallNumber,
    /// The gateway's own identifier.
    pub zid: Zid,
    /// Of our RTP stream.
    pub ssrc: Ssrc,
    /// What is remembered of the caller.
    pub cache: Box<dyn Cache>,
    /// For keys and nonces.
    pub random: Box<dyn Random>,
}

/// One thing to do.
pub enum Step {
    /// Send this from the RTP socket.
    Send(Box<Sealed>),
    /// From now on try what the phone sends with this; nothing of it may be heard yet.
    Receive(Box<Unprotector>),
    /// Store this, before anything else is done with this phone.
    Remember(Remember),
    /// Both sides have the keys: sound may run.
    Secure(Box<Secured>, Box<Protector>),
    /// Something that a person should know. The exchange goes on.
    Warning(&'static str),
    /// The call has to end.
    Over(Refusal),
}

/// What a completed exchange is worth and showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secured {
    /// What policy says that the sound is worth.
    pub level: MediaLevel,
    /// The suite of SRTP.
    pub suite: Suite,
    /// How the keys were agreed on: `X255`, `DH3k`, `X1M1`, …
    pub key_agreement: &'static str,
    /// The short authentication string, as both sides show it.
    pub sas: String,
    /// People compared it in an earlier call with this phone, as both sides remember.
    pub verified: bool,
    /// People compared it in this call.
    pub compared: bool,
    /// We remember a secret of this phone, and it does not have it.
    pub cache_mismatch: bool,
    /// We remember nothing of this phone.
    pub first_contact: bool,
    /// The phone's identifier.
    pub zid: Zid,
    /// It calls itself a trusted man in the middle (flag M).
    pub is_pbx: bool,
    /// It gives the key to somebody (flag D).
    pub discloses: bool,
    /// The exception without which it would not be good enough.
    pub exception: Option<Arc<Exception>>,
}

/// The exchange of one call.
pub struct Zrtp {
    call: CallNumber,
    engine: Engine,
    announced: Option<HelloHash>,
    /// Our key, kept until both sides have confirmed.
    sending: Option<SrtpKeys>,
    suite: Option<Suite>,
    /// A ZRTP packet has come.
    met: bool,
}

impl Zrtp {
    /// Sends nothing before [`Zrtp::start`].
    pub fn new(setup: ZrtpSetup) -> Self {
        let mut config = Config::new(setup.zid, setup.ssrc.0);
        config.client_id = CLIENT;
        let mut random = setup.random;
        let engine = Engine::new(config, move |octets: &mut [u8]| random.fill(octets), setup.cache);
        Zrtp { call: setup.call, engine, announced: None, sending: None, suite: None, met: false }
    }

    /// The value of `a=zrtp-hash` for our description.
    pub fn hello_hash(&self) -> String {
        self.engine.hello_hash().to_string()
    }

    /// The phone's description announced its Hello: no other counts from now on.
    pub fn announced(&mut self, now: Instant, hash: HelloHash) {
        self.announced = Some(hash);
        self.engine.announced(now, hash);
    }

    /// What the phone announced, if it did.
    pub fn announcement(&self) -> Option<HelloHash> {
        self.announced
    }

    /// The phone may be reachable from now on. Again is harmless.
    pub fn start(&mut self, now: Instant) {
        self.engine.start(now);
    }

    /// A ZRTP packet from anybody. True if it comes from whom the signalling announced, so that its source is the phone's address.
    pub fn packet(&mut self, now: Instant, datagram: &[u8]) -> bool {
        // our Hellos may have gone to where the phone was not listening yet; once, or two sides would answer each other without end
        if !std::mem::replace(&mut self.met, true) {
            self.engine.start(now);
        }
        matches!(self.engine.handle_packet(now, datagram), Receipt::Bound)
    }

    /// An SRTP packet of the phone was authentic.
    pub fn heard(&mut self, now: Instant) {
        self.engine.srtp_authenticated(now);
    }

    /// People have compared the SAS. Not equal: the secret of this exchange is forgotten.
    pub fn sas_compared(&mut self, equal: bool) {
        self.engine.sas_compared(equal);
    }

    /// What the sound is worth after such an outcome.
    ///
    /// # Errors
    /// Policy's refusal.
    pub fn level(&self, rules: &Rules, outcome: ZrtpOutcome) -> Result<MediaLevel, Refusal> {
        Ok(self.judge(rules, outcome)?.level())
    }

    /// When [`Zrtp::handle_timeout`] is due.
    pub fn wake(&self) -> Option<Instant> {
        self.engine.wake()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self, rules: &Rules) -> Option<Step> {
        while let Some(output) = self.engine.poll() {
            let step = match output {
                Output::Transmit(datagram) => match Sealed::zrtp(&datagram) {
                    Some(sealed) => Step::Send(Box::new(sealed)),
                    None => continue, // longer than a packet: the engine has a defect, and its timers notice
                },
                Output::ReceiveKeys(keys) => self.unprotector(rules, &keys).unwrap_or_else(Step::Over),
                Output::SendKeys(keys) => {
                    self.sending = Some(keys);
                    continue;
                }
                Output::Secure(secure) => self.secure(rules, &secure).unwrap_or_else(Step::Over),
                Output::Remember(remember) => Step::Remember(remember),
                Output::Warning(warning) => Step::Warning(sentence(warning)),
                Output::Unanswered => self.over(rules, ZrtpOutcome::Unanswered),
                Output::Failed(failure) => {
                    tracing::warn!(call = %self.call, ?failure, attack = is_attack(failure), "ZRTP failed");
                    self.over(rules, ZrtpOutcome::Failed)
                }
                Output::PeerFound(peer) => {
                    let client = String::from_utf8_lossy(&peer.client_id);
                    let client = client.trim().escape_debug().to_string();
                    tracing::debug!(call = %self.call, zid = %peer.zid, client, announced = peer.announced, "the phone speaks ZRTP");
                    continue;
                }
                _ => continue,
            };
            return Some(step);
        }
        None
    }

    fn unprotector(&mut self, rules: &Rules, keys: &SrtpKeys) -> Result<Step, Refusal> {
        let suite = suite(keys);
        self.suite = Some(suite);
        let proof = judge(rules, &UnconfirmedKeyFacts { call: self.call, suite: strength_of(suite) }).allowed()?;
        match master(suite, keys).and_then(|master| Unprotector::new(&proof, &master)) {
            Ok(unprotector) => Ok(Step::Receive(Box::new(unprotector))),
            Err(error) => Ok(self.broken(rules, &error)),
        }
    }

    fn secure(&mut self, rules: &Rules, secure: &Secure) -> Result<Step, Refusal> {
        let Some(keys) = self.sending.take() else { return Ok(self.over(rules, ZrtpOutcome::Failed)) };
        let suite = suite(&keys);
        let outcome = if secure.verified { ZrtpOutcome::SecureVerified } else { ZrtpOutcome::Secure };
        let proof = self.judge(rules, outcome)?;
        let secured = Secured {
            level: proof.level(),
            suite,
            key_agreement: secure.suite.agreement.name(),
            sas: secure.sas_text(),
            verified: secure.verified,
            compared: false,
            cache_mismatch: secure.continuity == Continuity::Mismatch,
            first_contact: secure.continuity == Continuity::FirstContact,
            zid: secure.peer.zid,
            is_pbx: secure.peer.is_pbx,
            discloses: secure.peer_discloses,
            exception: proof.exception().map(Arc::clone),
        };
        match master(suite, &keys).and_then(|master| Protector::new(&proof, &master)) {
            Ok(protector) => Ok(Step::Secure(Box::new(secured), Box::new(protector))),
            Err(error) => Ok(self.broken(rules, &error)),
        }
    }

    fn broken(&self, rules: &Rules, error: &KeyError) -> Step {
        tracing::error!(call = %self.call, %error, "the keys of ZRTP cannot be used");
        self.over(rules, ZrtpOutcome::Failed)
    }

    /// An end without keys: policy says what it means, and whatever it says, the call cannot go on.
    fn over(&self, rules: &Rules, outcome: ZrtpOutcome) -> Step {
        let refusal = self.judge(rules, outcome).err();
        Step::Over(refusal.unwrap_or_else(|| Refusal {
            rule: Rule::ZrtpFailed,
            reason: "ZRTP ended without keys".to_owned(),
            hint: "This is a defect of the gateway; please report it".to_owned(),
            sip_status: 488,
        }))
    }

    fn judge(&self, rules: &Rules, outcome: ZrtpOutcome) -> Result<MayKey, Refusal> {
        let suite = self.suite.map_or(SuiteStrength::Unknown, strength_of);
        let facts = KeyFacts {
            call: self.call,
            signalling: SignallingLevel::Clear, // nothing here rests on the signalling
            method: KeyingMethod::Zrtp(outcome),
            suite,
            current: None,
        };
        judge(rules, &facts).allowed()
    }
}

fn suite(keys: &SrtpKeys) -> Suite {
    match (keys.profile.cipher, keys.profile.auth_tag) {
        (Cipher::Aes1, AuthTag::Hs32) => Suite::AesCm128HmacSha1_32,
        (Cipher::Aes1, AuthTag::Hs80) => Suite::AesCm128HmacSha1_80,
        (Cipher::Aes1, _) => Suite::AeadAes128Gcm,
        (Cipher::Aes3, AuthTag::Hs32) => Suite::Aes256CmHmacSha1_32,
        (Cipher::Aes3, AuthTag::Hs80) => Suite::Aes256CmHmacSha1_80,
        (_, _) => Suite::AeadAes256Gcm,
    }
}

fn master(suite: Suite, keys: &SrtpKeys) -> Result<MasterKey, KeyError> {
    MasterKey::new(suite, Secret::new([keys.key.expose(), keys.salt.expose()].concat()))
}

/// Whether only somebody in the middle, or a broken implementation, causes this (RFC 6189 §8.1.1).
fn is_attack(failure: Failure) -> bool {
    use Failure::{CommitMac, Commitment, ConfirmMac, DhPartMac, HelloMac, HelloNotAnnounced, PublicValue};
    matches!(failure, PublicValue | Commitment | HelloMac | CommitMac | DhPartMac | ConfirmMac | HelloNotAnnounced)
}

fn sentence(warning: Warning) -> &'static str {
    match warning {
        Warning::HelloNotAnnounced => {
            "a Hello came that the phone did not announce: somebody else sends ZRTP to this call"
        }
        Warning::SecondHello => "two different Hellos came: one of them is not the phone's",
        Warning::ForgedMessage => "a ZRTP message was not the phone's",
        Warning::GoClearRefused => "somebody asked in the phone's name to go on without encryption, and was refused",
        Warning::SasRelayIgnored => {
            "a relayed code came, as telephone exchanges send it, and was ignored: compare the code of this chat"
        }
        _ => "ZRTP warns of something that this version has no words for",
    }
}
