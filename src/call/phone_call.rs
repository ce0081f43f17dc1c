//! One phone call, from its offer to its end, as the dialog sees it.
//!
//! In: session descriptions. Out: ours, and what the room needs. Mostly the phone offers in its INVITE; where it does not,
//! the 200 brings our offer and the ACK the answer (RFC 3261 §13.2.1). What is allowed is asked of `policy` each time, in
//! both directions and for every description.

use super::name::{claimed_name, participant_name};
use crate::audio;
use crate::keying::{self, KeyingError, Keys, Sdes};
use crate::policy::{self, Current, MediaLevel, OfferFacts, Refusal, Rule, Rules, SignallingLevel};
use crate::room::{Direction, LegSetup, PhoneCodec, RemoteMedia};
use crate::sdp::{
    self, Answer, AudioOffer, CryptoAttribute, Layout, Local, Offer, OurAnswer, OurOffer, SessionDescription,
};
use crate::sip::{DialogId, Request, TransactionKey};
use crate::srtp::Suite;
use crate::units::{CallNumber, Random};
use std::net::SocketAddr;
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
    Theirs(Box<Keys>),
    /// We do, with these keys.
    Ours(Vec<CryptoAttribute>),
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
    pub(super) rules: &'a Rules,
    /// The connection that brings the description.
    pub(super) signalling: SignallingLevel,
    pub(super) random: &'a mut dyn Random,
}

/// What both sides have agreed on about the sound, whoever offered it.
pub(super) struct Terms {
    pub(super) level: MediaLevel,
    pub(super) codec: sdp::OfferedCodec,
    /// As the phone sees it.
    direction: sdp::Direction,
    remote: RemoteMedia,
    telephone_event: Option<u8>,
    sdes: Sdes,
    layout: Layout,
}

impl Terms {
    fn new(audio: &AudioOffer, codec: sdp::OfferedCodec, level: MediaLevel, sdes: Sdes, layout: Layout) -> Self {
        let remote = RemoteMedia { rtp: audio.remote_rtp, rtcp: audio.remote_rtcp, rtcp_mux: audio.rtcp_mux };
        let telephone_event = audio.telephone_event(codec.codec);
        Terms { level, codec, direction: audio.direction, remote, telephone_event, sdes, layout }
    }

    pub(super) fn suite(&self) -> Suite {
        self.sdes.suite()
    }

    /// Which way sound runs.
    pub(super) fn direction(&self) -> Direction {
        Direction { from_phone: self.direction.sends(), to_phone: self.direction.receives() }
    }

    fn current(&self) -> Current {
        Current { level: self.level, suite: self.sdes.strength() }
    }

    fn change(&self, keys: Option<Keys>) -> Change {
        Change { direction: self.direction(), remote: self.remote, keys: keys.map(Box::new) }
    }

    fn answer(&self, local: Local) -> String {
        let answer = OurAnswer {
            layout: &self.layout,
            codec: self.codec,
            telephone_event: self.telephone_event,
            crypto: self.sdes.ours(),
            rtcp_mux: self.remote.rtcp_mux,
            direction: self.direction.reversed(),
            local,
        };
        answer.description().to_string()
    }

    /// What is in force, offered anew, in both directions so that a phone that held the call may come back
    /// (RFC 6337 §5.2.5). The codec is the one in use: a running call cannot change it.
    fn offer(&self, cryptos: Vec<CryptoAttribute>, local: Local) -> OurOffer {
        OurOffer {
            layout: self.layout.clone(),
            cryptos,
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
    pub(super) peer: String,
    pub(super) participant: String,
    /// `None` until the phone's offer or answer is there.
    pub(super) terms: Option<Terms>,
    session_id: u64,
    local: Option<Local>,
    /// A re-INVITE without an offer got one of ours; its ACK brings the answer.
    reoffered: Option<OurOffer>,
}

impl PhoneCall {
    /// Judges an INVITE. Nothing is open yet, nothing was answered.
    pub(super) fn incoming(
        number: CallNumber,
        dialog: DialogId,
        invite: TransactionKey,
        request: &Request,
        judging: &mut Judging<'_>,
    ) -> Result<Self, Declined> {
        let (terms, opening) = match request.body.is_empty() {
            true => {
                let Judging { rules, signalling, random } = judging;
                (None, Opening::Ours(Sdes::offer(None, number, *signalling, None, rules, &mut **random)?))
            }
            false => {
                let (terms, keys) = agree(number, &request.body, None, judging)?;
                (Some(terms), Opening::Theirs(Box::new(keys.ok_or_else(|| broken("no keys were made"))?)))
            }
        };
        let from = request.headers.from().ok();
        let display = from.as_ref().and_then(|from| from.display_name.clone());
        let user = from.as_ref().and_then(|from| from.uri.as_sip()?.user.clone());
        let mut session_id = [0u8; 8];
        judging.random.fill(&mut session_id);
        Ok(PhoneCall {
            number,
            dialog,
            state: State::AwaitPorts { invite, opening },
            peer: claimed_name(display.as_deref(), user.as_deref()),
            participant: participant_name(display.as_deref(), user.as_deref(), number),
            terms,
            session_id: u64::from_be_bytes(session_id) >> 2, // fits a signed 64-bit number, as some parsers want it
            local: None,
            reoffered: None,
        })
    }

    /// The ports are open.
    pub(super) fn ports_opened(&mut self, now: Instant, rtp: SocketAddr, rtcp: u16) -> Option<Opened> {
        let State::AwaitPorts { invite, .. } = &self.state else { return None };
        let next = State::AwaitRoom { invite: *invite };
        let State::AwaitPorts { opening, .. } = std::mem::replace(&mut self.state, next) else { return None };
        let local = Local { rtp, rtcp, session_id: self.session_id, version: 1 };
        self.local = Some(local);
        match opening {
            Opening::Theirs(keys) => Some(Opened::Join(Box::new(self.leg(*keys)?))),
            Opening::Ours(cryptos) => {
                let ours = OurOffer::first(cryptos, local);
                let text = ours.description().to_string();
                self.state = State::AwaitAnswer { since: now, ours };
                Some(Opened::Offer(text))
            }
        }
    }

    fn leg(&self, keys: Keys) -> Option<LegSetup> {
        let terms = self.terms.as_ref()?;
        Some(LegSetup {
            call: self.number,
            participant: self.participant.clone(),
            codec: PhoneCodec { codec: sound_codec(terms.codec.codec), payload_type: terms.codec.payload_type },
            protector: keys.protector,
            unprotector: keys.unprotector,
            remote: terms.remote,
            direction: terms.direction(),
        })
    }

    /// The room is ready: the body of the 200, if it was not sent long ago.
    pub(super) fn joined(&mut self, now: Instant) -> Option<(TransactionKey, String)> {
        match &mut self.state {
            State::AwaitRoom { invite } => {
                let ready = (*invite, self.terms.as_ref()?.answer(self.local?));
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
        let (Some(terms), Some(local)) = (&self.terms, &mut self.local) else {
            return Err(broken("nothing is agreed"));
        };
        let Judging { rules, signalling, random } = judging;
        let (sdes, current) = (Some(&terms.sdes), Some(terms.current()));
        let cryptos = Sdes::offer(sdes, self.number, *signalling, current, rules, &mut **random)?;
        local.version += 1;
        let ours = terms.offer(cryptos, *local);
        let text = ours.description().to_string();
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
            State::AwaitAnswer { since, ours } => {
                let settled = accept(self.number, ours, answer.unwrap_or_default(), None, judging);
                let since = *since;
                Some(settled.and_then(|(terms, keys)| {
                    self.terms = Some(terms);
                    self.state = State::Talking { since, acknowledged: true, joined: false };
                    let leg = keys.and_then(|keys| self.leg(keys)).ok_or_else(|| broken("no keys were made"))?;
                    Ok(Settled::Join(Box::new(leg)))
                }))
            }
            State::Talking { acknowledged, .. } => {
                *acknowledged = true;
                let (answer, ours) = (answer?, self.reoffered.take()?);
                if answer.is_empty() {
                    return None; // a phone that says nothing to what it asked for leaves the call as it is
                }
                let settled = accept(self.number, &ours, answer, self.terms.as_ref(), judging);
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
        let (Some(before), Some(local)) = (&self.terms, &mut self.local) else {
            return Err(broken("nothing is agreed"));
        };
        let (terms, keys) = agree(self.number, body, Some(before), judging)?;
        local.version += 1;
        let (answer, change) = (terms.answer(*local), terms.change(keys));
        self.terms = Some(terms);
        Ok((answer, change))
    }

    /// Answered and agreed, and so able to be changed.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking { .. })
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
}

/// Reads an offer, has it judged, agrees on keys: new contexts, or `None` where those in use go on.
fn agree(
    number: CallNumber,
    body: &[u8],
    before: Option<&Terms>,
    judging: &mut Judging<'_>,
) -> Result<(Terms, Option<Keys>), Declined> {
    let Offer { audio, layout } = Offer::read(&description(body)?).map_err(|error| Declined {
        status: 488,
        reason: error.to_string(),
        hint: "The phone has to offer Opus, PCMU or PCMA".to_owned(),
        rule: None,
    })?;
    let proof = judge(number, &audio, before, judging)?;
    let codec = match before {
        None => audio.first_codec().ok_or_else(|| broken("an offer without codec was accepted"))?,
        Some(before) => same_codec(&audio, before.codec)?,
    };
    let level = proof.level();
    let agreed = Sdes::answer(before.map(|terms| &terms.sdes), &audio, proof, judging.rules, judging.random)?;
    Ok((Terms::new(&audio, codec, level, agreed.sdes, layout), agreed.keys))
}

/// Reads the answer to an offer of ours, has it judged like an offer, takes its key.
fn accept(
    number: CallNumber,
    ours: &OurOffer,
    body: &[u8],
    before: Option<&Terms>,
    judging: &mut Judging<'_>,
) -> Result<(Terms, Option<Keys>), Declined> {
    let unfit = |reason: String| Declined { status: 488, reason, hint: DOES_NOT_FIT.to_owned(), rule: None };
    if body.is_empty() {
        return Err(unfit("the phone acknowledged the gateway's offer without an answer".to_owned()));
    }
    let answer = Answer::read(ours, &description(body)?).map_err(|error| unfit(error.to_string()))?;
    let proof = judge(number, &answer.audio, before, judging)?;
    let codec = answer.codec(ours).map_err(|error| unfit(error.to_string()))?;
    let level = proof.level();
    let sdes = before.map(|terms| &terms.sdes);
    let agreed = Sdes::accept(sdes, &ours.cryptos, &answer.audio, proof, judging.rules)?;
    Ok((Terms::new(&answer.audio, codec, level, agreed.sdes, ours.layout.clone()), agreed.keys))
}

fn judge(
    call: CallNumber,
    audio: &AudioOffer,
    before: Option<&Terms>,
    judging: &Judging<'_>,
) -> Result<policy::MayAnswer, Refusal> {
    let current = before.map(Terms::current);
    let facts = OfferFacts { call, signalling: judging.signalling, keying: keying::offered(audio), current };
    policy::judge(judging.rules, &facts).allowed()
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
