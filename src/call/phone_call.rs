//! One phone call, from its offer to its end, as the dialog sees it.
//!
//! In: session descriptions. Out: ours, and what the room needs. Mostly the phone offers in its INVITE; where it does not,
//! the 200 brings our offer and the ACK the answer (RFC 3261 §13.2.1). What is allowed is asked of `policy` each time, in
//! both directions and for every description.

use super::line::ZrtpIdentity;
use super::name::{NOT_ENCRYPTED, claimed_name, participant_name};
use crate::audio::{self, Announcement};
use crate::keying::{self, Clear, KeyingError, Keys, Sdes, Secured, Zrtp, ZrtpSetup};
use crate::peers::{Caller, PeerCache, Verification};
use crate::policy::{
    self, Current, Exception, MediaLevel, OfferFacts, OfferedKeying, Refusal, Rule, Rules, SignallingLevel,
    SuiteStrength,
};
use crate::room::{Direction, LegKeys, LegSetup, PhoneCodec, RemoteMedia};
use crate::sdp::{self, Answer, AudioOffer, Layout, Local, Offer, OurAnswer, OurKeying, OurOffer, SessionDescription};
use crate::sip::{DialogId, Request, TransactionKey};
use crate::srtp::Suite;
use crate::units::{CallNumber, Random, Ssrc};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Where a call is.
pub(super) enum State {
    /// The INVITE is judged; waiting for UDP ports.
    AwaitPorts { invite: TransactionKey, opening: Opening },
    /// The phone's offer is agreed to; waiting for the room.
    AwaitRoom { invite: TransactionKey },
    /// Answered with an offer of ours; waiting for the ACK and the phone's answer in it.
    AwaitAnswer { since: Instant, ours: OurOffer },
    /// Answered, and agreed on the sound. After a late offer the room may still be on its way.
    Talking { since: Instant, acknowledged: bool, joined: bool },
}

/// Who makes the first offer.
pub(super) enum Opening {
    /// The phone did, and these keys came of it.
    Theirs(LegKeys),
    /// We do, and say this about keys.
    Ours(OurKeying),
}

/// What a call needs once its ports are open.
pub(super) enum Opened {
    /// A place in the room.
    Join(Box<LegSetup>),
    /// A 200 with this offer.
    Offer(String),
}

/// What the answer in an ACK leads to.
pub(super) enum Settled {
    /// A place in the room: it was the answer to our first offer.
    Join(Box<LegSetup>),
    /// A change of the call.
    Change(Change),
}

const DOES_NOT_FIT: &str = "The phone's session description does not fit together; it may call again";

/// Why a description is refused: what the caller gets, and what the log says.
#[derive(Debug)]
pub(super) struct Declined {
    pub(super) status: u16,
    pub(super) reason: String,
    /// For the operator.
    pub(super) hint: String,
    pub(super) rule: Option<Rule>,
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Self {
        Declined { status: refusal.sip_status, reason: refusal.reason, hint: refusal.hint, rule: Some(refusal.rule) }
    }
}

impl From<KeyingError> for Declined {
    fn from(error: KeyingError) -> Self {
        match error {
            KeyingError::Refused(refusal) => refusal.into(),
            other => Declined { status: 488, reason: other.to_string(), hint: DOES_NOT_FIT.to_owned(), rule: None },
        }
    }
}

/// What descriptions are judged by, and where new keys come from.
pub(super) struct Judging<'a> {
    /// Those of today for a call that begins, and for ever those of that day for the call.
    pub(super) rules: Arc<Rules>,
    /// The connection that brings the description.
    pub(super) signalling: SignallingLevel,
    /// The strongest of the other calls in the room.
    pub(super) others: Option<MediaLevel>,
    pub(super) random: &'a mut dyn Random,
    /// Who we are for ZRTP, and what it remembers.
    pub(super) zrtp: &'a ZrtpIdentity,
    pub(super) now: Instant,
}

/// What both sides have agreed on about the sound, whoever offered it.
pub(super) struct Terms {
    pub(super) codec: sdp::OfferedCodec,
    /// As the phone sees it.
    direction: sdp::Direction,
    remote: RemoteMedia,
    telephone_event: Option<u8>,
    keying: Keying,
    /// Without which the sound would be refused.
    exception: Option<Arc<Exception>>,
    layout: Layout,
}

/// What a description leads to.
enum Made {
    /// New contexts.
    Keys(Box<Keys>),
    /// None, for the first time.
    Clear(Clear),
}

/// How the keys of a dialog are agreed on.
enum Keying {
    /// In the descriptions, and what they are worth.
    Sdes(Sdes, MediaLevel),
    /// By the call's [`Zrtp`].
    Zrtp,
    /// There are none.
    Clear,
}

impl Terms {
    fn new(
        audio: &AudioOffer,
        codec: sdp::OfferedCodec,
        agreed: (Keying, Option<Arc<Exception>>),
        layout: Layout,
    ) -> Self {
        let (keying, exception) = agreed;
        let remote = RemoteMedia { rtp: audio.remote_rtp, rtcp: audio.remote_rtcp, rtcp_mux: audio.rtcp_mux };
        let telephone_event = audio.telephone_event(codec.codec);
        Terms { codec, direction: audio.direction, remote, telephone_event, keying, exception, layout }
    }

    /// Which way sound runs.
    pub(super) fn direction(&self) -> Direction {
        Direction { from_phone: self.direction.sends(), to_phone: self.direction.receives() }
    }

    /// What the leg begins with: the keys that came of the first description, or those that ZRTP will bring.
    fn first_keys(&self, made: Option<Made>) -> Result<LegKeys, Declined> {
        match (made, &self.keying) {
            (Some(Made::Keys(keys)), _) => {
                let Keys { protector, unprotector, .. } = *keys;
                Ok(LegKeys::Agreed { protector: Box::new(protector), unprotector: Box::new(unprotector) })
            }
            (Some(Made::Clear(Clear { sender, receiver, .. })), _) => Ok(LegKeys::Clear(sender, receiver)),
            (None, Keying::Zrtp) => Ok(LegKeys::Awaited),
            (None, Keying::Sdes(..) | Keying::Clear) => Err(broken("no keys were made")),
        }
    }

    fn is_clear(&self) -> bool {
        matches!(self.keying, Keying::Clear | Keying::Sdes(_, MediaLevel::Clear))
    }

    fn sdes(&self) -> Option<&Sdes> {
        match &self.keying {
            Keying::Sdes(sdes, _) => Some(sdes),
            Keying::Zrtp | Keying::Clear => None,
        }
    }

    fn change(&self, made: Option<Made>) -> Change {
        let keys = match made {
            Some(Made::Keys(keys)) => Some(keys),
            Some(Made::Clear(_)) | None => None,
        };
        Change { direction: self.direction(), remote: self.remote, keys }
    }

    fn answer(&self, keying: OurKeying, local: Local) -> String {
        let answer = OurAnswer {
            layout: &self.layout,
            codec: self.codec,
            telephone_event: self.telephone_event,
            keying,
            rtcp_mux: self.remote.rtcp_mux,
            direction: self.direction.reversed(),
            local,
        };
        answer.description().to_string()
    }

    /// What is in force, offered anew, in both directions so that a phone that held the call may come back
    /// (RFC 6337 §5.2.5). The codec is the one in use: a running call cannot change it.
    fn offer(&self, keying: OurKeying, local: Local) -> OurOffer {
        OurOffer {
            layout: self.layout.clone(),
            keying,
            codecs: vec![(self.codec.payload_type, self.codec.codec)],
            telephone_events: self.telephone_event.map(|event| (event, self.codec.codec.clock())).into_iter().collect(),
            rtcp_mux: self.remote.rtcp_mux,
            direction: sdp::Direction::SendRecv,
            local,
        }
    }
}

/// What a new description changes, for the room.
pub(super) struct Change {
    pub(super) direction: Direction,
    pub(super) remote: RemoteMedia,
    /// Present where the keys are not the old ones.
    pub(super) keys: Option<Box<Keys>>,
}

pub(super) struct PhoneCall {
    pub(super) number: CallNumber,
    pub(super) dialog: DialogId,
    pub(super) state: State,
    /// The rules of the day on which it began: it goes on by them to its end.
    pub(super) rules: Arc<Rules>,
    pub(super) peer: String,
    pub(super) participant: String,
    /// The caller, as he claims: what ZRTP's memory is bound to.
    pub(super) caller: Caller,
    /// `None` until the phone's offer or answer is there.
    pub(super) terms: Option<Terms>,
    /// Where keys are agreed on by ZRTP.
    pub(super) zrtp: Option<Zrtp>,
    /// What is remembered of the phone.
    pub(super) cache: Option<PeerCache>,
    /// Who compared the code, until the memory has it.
    pub(super) judged_by: Option<Verification>,
    /// What came of it.
    pub(super) secured: Option<Secured>,
    /// When the memory should have it.
    pub(super) memory_due: Option<Instant>,
    session_id: u64,
    ssrc: Ssrc,
    local: Option<Local>,
    /// A re-INVITE without an offer got one of ours; its ACK brings the answer.
    reoffered: Option<OurOffer>,
}

impl PhoneCall {
    /// Who an INVITE says that he is.
    pub(super) fn claimed_caller(request: &Request) -> Caller {
        request.headers.from().map_or(Caller::Anonymous, |from| Caller::from_uri(&from.uri))
    }

    /// Judges an INVITE. Nothing is open yet, nothing was answered.
    pub(super) fn incoming(
        number: CallNumber,
        dialog: DialogId,
        invite: TransactionKey,
        request: &Request,
        judging: &mut Judging<'_>,
    ) -> Result<Self, Declined> {
        let from = request.headers.from().ok();
        let display = from.as_ref().and_then(|from| from.display_name.clone());
        let uri = from.as_ref().and_then(|from| from.uri.as_sip());
        let user = uri.and_then(|uri| uri.user.clone());
        let mut drawn = [0u8; 12];
        judging.random.fill(&mut drawn);
        let word = |at: usize| u32::from_be_bytes([drawn[at], drawn[at + 1], drawn[at + 2], drawn[at + 3]]);
        let mut call = PhoneCall {
            number,
            dialog,
            state: State::AwaitPorts { invite, opening: Opening::Theirs(LegKeys::Awaited) },
            rules: Arc::clone(&judging.rules),
            peer: claimed_name(display.as_deref(), user.as_deref()),
            participant: participant_name(display.as_deref(), user.as_deref(), number),
            caller: Self::claimed_caller(request),
            terms: None,
            zrtp: None,
            cache: None,
            judged_by: None,
            secured: None,
            memory_due: None,
            session_id: (u64::from(word(0)) << 32 | u64::from(word(4))) >> 2, // fits a signed 64-bit number, as some parsers want it
            ssrc: Ssrc(word(8)),
            local: None,
            reoffered: None,
        };
        let opening = match request.body.is_empty() {
            true => Opening::Ours(call.first_keying(judging)?),
            false => {
                let (terms, keys) = call.agree(&request.body, judging)?;
                let keys = terms.first_keys(keys)?;
                call.agreed_first(terms);
                Opening::Theirs(keys)
            }
        };
        call.state = State::AwaitPorts { invite, opening };
        Ok(call)
    }

    /// What our first offer says about keys: in the form that the minimum asks for, and never in two.
    fn first_keying(&mut self, judging: &mut Judging<'_>) -> Result<OurKeying, Refusal> {
        // keys in a description are worth nothing where anybody may have written it, nor to a caller who is held to ZRTP
        let Rules { media_minimum, floors, .. } = &*judging.rules;
        if *media_minimum >= MediaLevel::Zrtp || floors.caller || judging.signalling < SignallingLevel::Pinned {
            return Ok(OurKeying::Zrtp(self.zrtp(judging).hello_hash()));
        }
        let Judging { rules, signalling, random, .. } = judging;
        Ok(OurKeying::Sdes(Sdes::offer(None, self.number, *signalling, None, rules, &mut **random)?))
    }

    /// The call's ZRTP, made when it is first needed.
    fn zrtp(&mut self, judging: &Judging<'_>) -> &mut Zrtp {
        let Judging { rules, zrtp: identity, now, .. } = judging;
        let (call, ssrc, caller, kept) = (self.number, self.ssrc, self.caller.clone(), &mut self.cache);
        self.zrtp.get_or_insert_with(|| {
            let cache = PeerCache::new(&identity.peers, &rules.account, caller, identity.clock.unix(*now));
            *kept = Some(cache.clone());
            let (zid, cache, random) = (identity.zid, Box::new(cache), (identity.random)());
            Zrtp::new(ZrtpSetup { call, zid, ssrc, cache, random })
        })
    }

    /// What a description of ours says about the keys in force.
    fn keying(&self, terms: &Terms) -> Option<OurKeying> {
        match &terms.keying {
            Keying::Sdes(sdes, _) => Some(OurKeying::Sdes(vec![sdes.ours()])),
            Keying::Zrtp => Some(OurKeying::Zrtp(self.zrtp.as_ref()?.hello_hash())),
            Keying::Clear => Some(OurKeying::Clear),
        }
    }

    /// What protects the sound, as far as it is agreed.
    pub(super) fn current(&self) -> Option<Current> {
        match &self.terms.as_ref()?.keying {
            Keying::Sdes(sdes, level) => Some(Current { level: *level, suite: sdes.strength() }),
            Keying::Clear => Some(Current { level: MediaLevel::Clear, suite: SuiteStrength::Forbidden }),
            Keying::Zrtp => Some(match &self.secured {
                Some(secured) => Current { level: secured.level, suite: keying::strength_of(secured.suite) },
                // agreed on, and nothing less may follow
                None => Current { level: MediaLevel::Zrtp, suite: SuiteStrength::Full },
            }),
        }
    }

    /// A caller of earlier calls with a device that was in none of them.
    pub(super) fn is_new_device(&self) -> bool {
        let acquaintance = self.cache.as_ref().and_then(PeerCache::acquaintance);
        acquaintance.is_some_and(|acquaintance| acquaintance.is_unknown_device_of_known_caller())
    }

    /// The level and the SRTP suite of the sound; `None` while there is none.
    pub(super) fn protection(&self) -> Option<(MediaLevel, Option<Suite>)> {
        match &self.terms.as_ref()?.keying {
            Keying::Sdes(sdes, level) => Some((*level, Some(sdes.suite()))),
            Keying::Zrtp => self.secured.as_ref().map(|secured| (secured.level, Some(secured.suite))),
            Keying::Clear => Some((MediaLevel::Clear, None)),
        }
    }

    /// How its keys are agreed on.
    pub(super) fn method(&self) -> &'static str {
        match self.terms.as_ref().map(|terms| &terms.keying) {
            Some(Keying::Sdes(..)) => "sdes",
            Some(Keying::Zrtp) => "zrtp",
            Some(Keying::Clear) | None => "none",
        }
    }

    /// The exception without which its sound would be refused.
    pub(super) fn exception(&self) -> Option<&Arc<Exception>> {
        let of_terms = self.terms.as_ref().and_then(|terms| terms.exception.as_ref());
        of_terms.or_else(|| self.secured.as_ref()?.exception.as_ref())
    }

    /// What was agreed on at first: from now on the phone has its name in the group.
    fn agreed_first(&mut self, terms: Terms) {
        if terms.is_clear() {
            self.participant.push_str(NOT_ENCRYPTED);
        }
        self.terms = Some(terms);
    }

    /// The ports are open.
    pub(super) fn ports_opened(&mut self, now: Instant, rtp: SocketAddr, rtcp: u16) -> Option<Opened> {
        let State::AwaitPorts { invite, .. } = &self.state else { return None };
        let next = State::AwaitRoom { invite: *invite };
        let State::AwaitPorts { opening, .. } = std::mem::replace(&mut self.state, next) else { return None };
        let local = Local { rtp, rtcp, session_id: self.session_id, version: 1 };
        self.local = Some(local);
        match opening {
            Opening::Theirs(keys) => Some(Opened::Join(Box::new(self.leg(keys)?))),
            Opening::Ours(keying) => {
                let ours = OurOffer::first(keying, local);
                let text = ours.description().to_string();
                self.state = State::AwaitAnswer { since: now, ours };
                Some(Opened::Offer(text))
            }
        }
    }

    /// What the phone is told aloud before it hears anything else.
    fn warning(&self) -> Option<Announcement> {
        let (level, _) = self.protection()?;
        (level == MediaLevel::Clear).then_some(Announcement::NotEncrypted)
    }

    fn leg(&self, keys: LegKeys) -> Option<LegSetup> {
        let terms = self.terms.as_ref()?;
        Some(LegSetup {
            call: self.number,
            participant: self.participant.clone(),
            codec: PhoneCodec { codec: sound_codec(terms.codec.codec), payload_type: terms.codec.payload_type },
            ssrc: self.ssrc,
            keys,
            remote: terms.remote,
            direction: terms.direction(),
            warning: self.warning(),
        })
    }

    /// The room is ready: the body of the 200, if it was not sent long ago.
    pub(super) fn joined(&mut self, now: Instant) -> Option<(TransactionKey, String)> {
        match &mut self.state {
            State::AwaitRoom { invite } => {
                let (invite, terms) = (*invite, self.terms.as_ref()?);
                let ready = (invite, terms.answer(self.keying(terms)?, self.local?));
                self.state = State::Talking { since: now, acknowledged: false, joined: true };
                Some(ready)
            }
            State::Talking { joined, .. } => {
                *joined = true;
                None
            }
            State::AwaitPorts { .. } | State::AwaitAnswer { .. } => None,
        }
    }

    /// The body of the 200 to a re-INVITE without an offer.
    pub(super) fn offer_again(&mut self, judging: &mut Judging<'_>) -> Result<String, Declined> {
        let (Some(terms), Some(mut local)) = (&self.terms, self.local) else {
            return Err(broken("nothing is agreed"));
        };
        let keying = match &terms.keying {
            Keying::Zrtp | Keying::Clear => self.keying(terms).ok_or_else(|| broken("ZRTP is gone"))?,
            Keying::Sdes(sdes, _) => {
                let Judging { rules, signalling, random, .. } = judging;
                let current = self.current();
                OurKeying::Sdes(Sdes::offer(Some(sdes), self.number, *signalling, current, rules, &mut **random)?)
            }
        };
        local.version += 1;
        let ours = terms.offer(keying, local);
        let text = ours.description().to_string();
        self.local = Some(local);
        self.reoffered = Some(ours);
        Ok(text)
    }

    /// An ACK; if that of an offer of ours, with the answer, which is empty if there is none. `None`: no more than an ACK.
    pub(super) fn acknowledged(
        &mut self,
        answer: Option<&[u8]>,
        judging: &mut Judging<'_>,
    ) -> Option<Result<Settled, Declined>> {
        match &mut self.state {
            State::AwaitPorts { .. } | State::AwaitRoom { .. } => None,
            State::AwaitAnswer { since, .. } => {
                let next = State::Talking { since: *since, acknowledged: true, joined: false };
                let State::AwaitAnswer { ours, .. } = std::mem::replace(&mut self.state, next) else { return None };
                Some(self.accept(&ours, answer.unwrap_or_default(), judging).and_then(|(terms, keys)| {
                    let keys = terms.first_keys(keys)?;
                    self.agreed_first(terms);
                    let leg = self.leg(keys).ok_or_else(|| broken("nothing is agreed"))?;
                    Ok(Settled::Join(Box::new(leg)))
                }))
            }
            State::Talking { acknowledged, .. } => {
                *acknowledged = true;
                let (answer, ours) = (answer?, self.reoffered.take()?);
                if answer.is_empty() {
                    return None; // a phone that says nothing to what it asked for leaves the call as it is
                }
                let settled = self.accept(&ours, answer, judging);
                Some(settled.map(|(terms, keys)| {
                    let change = terms.change(keys);
                    self.terms = Some(terms);
                    Settled::Change(change)
                }))
            }
        }
    }

    /// A re-INVITE or UPDATE with an offer: our answer, and what changes. Refused, it changes nothing.
    pub(super) fn renegotiate(&mut self, body: &[u8], judging: &mut Judging<'_>) -> Result<(String, Change), Declined> {
        let Some(mut local) = self.local.filter(|_| self.terms.is_some()) else {
            return Err(broken("nothing is agreed"));
        };
        let (terms, keys) = self.agree(body, judging)?;
        local.version += 1;
        let keying = self.keying(&terms).ok_or_else(|| broken("ZRTP is gone"))?;
        let (answer, change) = (terms.answer(keying, local), terms.change(keys));
        self.local = Some(local);
        self.terms = Some(terms);
        Ok((answer, change))
    }

    /// Answered and agreed, and so able to be changed.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking { .. })
    }

    /// The room has it, and it was answered.
    pub(super) fn is_in_the_room(&self) -> bool {
        matches!(self.state, State::Talking { joined: true, .. })
    }

    /// The INVITE, as long as it has no final response.
    pub(super) fn unanswered(&self) -> Option<TransactionKey> {
        match self.state {
            State::AwaitPorts { invite, .. } | State::AwaitRoom { invite } => Some(invite),
            State::AwaitAnswer { .. } | State::Talking { .. } => None,
        }
    }

    /// Our 200 is out and its ACK not there.
    pub(super) fn awaits_ack(&self) -> bool {
        matches!(self.state, State::AwaitAnswer { .. } | State::Talking { acknowledged: false, .. })
    }

    /// Reads an offer, has it judged, agrees on keys: new contexts, or `None` where those in use go on, or ZRTP makes them.
    fn agree(&mut self, body: &[u8], judging: &mut Judging<'_>) -> Result<(Terms, Option<Made>), Declined> {
        let Offer { audio, layout } = Offer::read(&description(body)?).map_err(|error| Declined {
            status: 488,
            reason: error.to_string(),
            hint: "The phone has to offer Opus, PCMU or PCMA".to_owned(),
            rule: None,
        })?;
        let proof = self.judge(&audio, judging)?;
        let codec = match &self.terms {
            None => audio.first_codec().ok_or_else(|| broken("an offer without codec was accepted"))?,
            Some(before) => same_codec(&audio, before.codec)?,
        };
        if proof.level() >= MediaLevel::Zrtp {
            self.announced(&audio, judging)?;
            return Ok((Terms::new(&audio, codec, (Keying::Zrtp, None), layout), None));
        }
        let exception = proof.exception().map(Arc::clone);
        if keying::offered(&audio) == OfferedKeying::Clear {
            let made = self.clear(&proof, judging)?;
            return Ok((Terms::new(&audio, codec, (Keying::Clear, exception), layout), made));
        }
        let (level, before) = (proof.level(), self.terms.as_ref().and_then(Terms::sdes));
        let agreed = Sdes::answer(before, &audio, proof, &judging.rules, judging.random)?;
        let keying = (Keying::Sdes(agreed.sdes, level), exception);
        Ok((Terms::new(&audio, codec, keying, layout), agreed.keys.map(Box::new).map(Made::Keys)))
    }

    /// Reads the answer to an offer of ours, has it judged like an offer, takes its key.
    fn accept(
        &mut self,
        ours: &OurOffer,
        body: &[u8],
        judging: &mut Judging<'_>,
    ) -> Result<(Terms, Option<Made>), Declined> {
        let unfit = |reason: String| Declined { status: 488, reason, hint: DOES_NOT_FIT.to_owned(), rule: None };
        if body.is_empty() {
            return Err(unfit("the phone acknowledged the gateway's offer without an answer".to_owned()));
        }
        let answer = Answer::read(ours, &description(body)?).map_err(|error| unfit(error.to_string()))?;
        let audio = &answer.audio;
        let proof = self.judge(audio, judging)?;
        let codec = answer.codec(ours).map_err(|error| unfit(error.to_string()))?;
        let (exception, layout) = (proof.exception().map(Arc::clone), ours.layout.clone());
        let cryptos = match &ours.keying {
            OurKeying::Sdes(cryptos) => cryptos,
            // an exception for clear sound does not turn what was to be ZRTP into it
            OurKeying::Zrtp(_) if proof.level() < MediaLevel::Zrtp => {
                return Err(unfit("the phone's answer does not take the ZRTP that was offered".to_owned()));
            }
            OurKeying::Zrtp(_) => {
                self.announced(audio, judging)?;
                return Ok((Terms::new(audio, codec, (Keying::Zrtp, None), layout), None));
            }
            OurKeying::Clear => {
                let made = self.clear(&proof, judging)?;
                return Ok((Terms::new(audio, codec, (Keying::Clear, exception), layout), made));
            }
        };
        let (level, before) = (proof.level(), self.terms.as_ref().and_then(Terms::sdes));
        let agreed = Sdes::accept(before, cryptos, audio, proof, &judging.rules)?;
        let keying = (Keying::Sdes(agreed.sdes, level), exception);
        Ok((Terms::new(audio, codec, keying, layout), agreed.keys.map(Box::new).map(Made::Keys)))
    }

    /// Clear sound begins, or goes on as it is.
    fn clear(&self, proof: &policy::MayAnswer, judging: &Judging<'_>) -> Result<Option<Made>, Refusal> {
        let goes_on = self.terms.as_ref().is_some_and(|terms| matches!(terms.keying, Keying::Clear));
        let clear = Clear::new(proof, &judging.rules)?;
        Ok((!goes_on).then_some(Made::Clear(clear)))
    }

    fn judge(&self, audio: &AudioOffer, judging: &Judging<'_>) -> Result<policy::MayAnswer, Refusal> {
        let (call, signalling, current, others) = (self.number, judging.signalling, self.current(), judging.others);
        let facts = OfferFacts { call, signalling, keying: keying::offered(audio), current, others };
        policy::judge(&judging.rules, &facts).allowed()
    }

    /// Binds ZRTP to the Hello that a description announces. A call has one exchange: another Hello would be another phone's.
    fn announced(&mut self, audio: &AudioOffer, judging: &Judging<'_>) -> Result<(), Declined> {
        let now = judging.now;
        let begun = self.zrtp.is_some() && self.terms.is_some();
        let zrtp = self.zrtp(judging);
        match (keying::announced(audio), zrtp.announcement()) {
            (Some(new), Some(known)) if new == known => {}
            (Some(new), None) if !begun => zrtp.announced(now, new),
            (None, _) => {}
            (Some(_), _) => {
                return Err(Declined {
                    status: 488,
                    reason: "the phone announced another ZRTP exchange within the call".to_owned(),
                    hint: "The call goes on with its old keys; the phone may end it and call again".to_owned(),
                    rule: Some(Rule::KeyingIsFixed),
                });
            }
        }
        Ok(())
    }
}

fn description(body: &[u8]) -> Result<SessionDescription, Declined> {
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    SessionDescription::parse(text).map_err(malformed)
}

fn same_codec(audio: &AudioOffer, codec: sdp::OfferedCodec) -> Result<sdp::OfferedCodec, Declined> {
    let same =
        |offered: &&sdp::OfferedCodec| (offered.codec, offered.payload_type) == (codec.codec, codec.payload_type);
    audio.codecs.iter().find(same).copied().ok_or_else(|| Declined {
        status: 488,
        reason: "a running call cannot change its codec".to_owned(),
        hint: "The phone may end the call and call again".to_owned(),
        rule: None,
    })
}

fn malformed(why: impl ToString) -> Declined {
    Declined {
        status: 400,
        reason: format!("the session description cannot be read: {}", why.to_string()),
        hint: "This is a defect of the phone or of a proxy".to_owned(),
        rule: None,
    }
}

fn broken(what: &str) -> Declined {
    Declined {
        status: 500,
        reason: what.to_owned(),
        hint: "This is a defect of the gateway; please report it".to_owned(),
        rule: None,
    }
}

fn sound_codec(codec: sdp::Codec) -> audio::Codec {
    match codec {
        sdp::Codec::Opus => audio::Codec::Opus,
        sdp::Codec::Pcmu => audio::Codec::Pcmu,
        sdp::Codec::Pcma => audio::Codec::Pcma,
    }
}
