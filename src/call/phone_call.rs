//! One phone call, from its offer to its end, as the dialog sees it.
//!
//! In: session descriptions. Out: answers, and what the room needs. What is allowed is asked of `policy` each time.

use super::name::{claimed_name, participant_name};
use crate::audio;
use crate::keying::{self, KeyingError, Keys, Sdes};
use crate::policy::{self, MediaLevel, OfferFacts, Refusal, Rule, Rules, SignallingLevel};
use crate::room::{Direction, LegSetup, PhoneCodec, RemoteMedia};
use crate::sdp::{self, AnswerChoice, Offer, SessionDescription};
use crate::sip::{DialogId, Request, TransactionKey};
use crate::srtp::Suite;
use crate::units::{CallNumber, Random};
use std::net::SocketAddr;
use std::time::Instant;

/// Where a call is.
pub(super) enum State {
    /// Keys are agreed; waiting for UDP ports.
    AwaitPorts { invite: TransactionKey, keys: Box<Keys> },
    /// Waiting for the room.
    AwaitRoom { invite: TransactionKey },
    /// Answered.
    Talking { since: Instant, acknowledged: bool },
}

/// Why an INVITE is refused: what the caller gets, and what the log says.
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
            other => Declined {
                status: 488,
                reason: other.to_string(),
                hint: "The phone's session description does not fit together".to_owned(),
                rule: None,
            },
        }
    }
}

/// A session description that policy accepted, with the keys that came of it.
struct Agreed {
    offer: Offer,
    sdes: Sdes,
    codec: sdp::OfferedCodec,
}

/// What a re-INVITE changes, for the room.
pub(super) struct Change {
    pub(super) answer: String,
    pub(super) direction: Direction,
    pub(super) remote: RemoteMedia,
    /// Present if the phone brought new keys.
    pub(super) keys: Option<Keys>,
}

pub(super) struct PhoneCall {
    pub(super) number: CallNumber,
    pub(super) dialog: DialogId,
    pub(super) state: State,
    pub(super) peer: String,
    pub(super) participant: String,
    pub(super) level: MediaLevel,
    pub(super) suite: Suite,
    pub(super) codec: sdp::OfferedCodec,
    pub(super) direction: Direction,
    agreed: Agreed,
    session_id: u64,
    version: u64,
    local: Option<(SocketAddr, u16)>,
}

impl PhoneCall {
    /// Judges an INVITE. Nothing is open yet, nothing was answered.
    pub(super) fn incoming(
        number: CallNumber,
        dialog: DialogId,
        invite: TransactionKey,
        request: &Request,
        rules: &Rules,
        signalling: SignallingLevel,
        random: &mut dyn Random,
    ) -> Result<Self, Declined> {
        let (agreed, keys) = agree(number, &request.body, rules, signalling, None, random)?;
        let from = request.headers.from().ok();
        let display = from.as_ref().and_then(|from| from.display_name.clone());
        let user = from.as_ref().and_then(|from| from.uri.as_sip()?.user.clone());
        let keys = keys.ok_or_else(|| broken("no keys were made"))?;
        let mut session_id = [0u8; 8];
        random.fill(&mut session_id);
        Ok(PhoneCall {
            number,
            dialog,
            level: keys.level,
            suite: keys.suite,
            state: State::AwaitPorts { invite, keys: Box::new(keys) },
            peer: claimed_name(display.as_deref(), user.as_deref()),
            participant: participant_name(display.as_deref(), user.as_deref(), number),
            codec: agreed.codec,
            direction: direction(&agreed.offer),
            session_id: u64::from_be_bytes(session_id) >> 2, // fits a signed 64-bit number, as some parsers want it
            version: 1,
            agreed,
            local: None,
        })
    }

    /// The ports are open: what the room needs to let the phone in.
    pub(super) fn ports_opened(&mut self, advertised: SocketAddr, rtcp_port: u16) -> Option<LegSetup> {
        let State::AwaitPorts { invite, .. } = &self.state else { return None };
        let next = State::AwaitRoom { invite: *invite };
        let State::AwaitPorts { keys, .. } = std::mem::replace(&mut self.state, next) else { return None };
        self.local = Some((advertised, rtcp_port));
        let Keys { protector, unprotector, .. } = *keys;
        Some(LegSetup {
            call: self.number,
            participant: self.participant.clone(),
            codec: PhoneCodec { codec: sound_codec(self.codec.codec), payload_type: self.codec.payload_type },
            protector,
            unprotector,
            remote: remote(&self.agreed.offer),
            direction: self.direction,
        })
    }

    /// The body of the 200.
    pub(super) fn answer(&self) -> Option<String> {
        let (local_rtp, local_rtcp) = self.local?;
        let choice = AnswerChoice {
            codec: self.agreed.codec,
            telephone_event: self.agreed.offer.audio.telephone_event(self.agreed.codec.codec),
            crypto: self.agreed.sdes.ours(),
            local_rtp,
            local_rtcp,
            direction: sdp::Direction::SendRecv,
            session_id: self.session_id,
            version: self.version,
        };
        Some(sdp::answer(&self.agreed.offer, &choice).to_string())
    }

    /// A re-INVITE or UPDATE with an offer. Refused, it changes nothing: the call goes on as it was.
    pub(super) fn renegotiate(
        &mut self,
        body: &[u8],
        rules: &Rules,
        signalling: SignallingLevel,
        random: &mut dyn Random,
    ) -> Result<Change, Declined> {
        let before = Some((self.level, &self.agreed.sdes));
        let (mut agreed, keys) = agree(self.number, body, rules, signalling, before, random)?;
        if agreed.codec.codec != self.codec.codec || agreed.codec.payload_type != self.codec.payload_type {
            let same = |offered: &&sdp::OfferedCodec| {
                offered.codec == self.codec.codec && offered.payload_type == self.codec.payload_type
            };
            agreed.codec = *agreed.offer.audio.codecs.iter().find(same).ok_or_else(|| Declined {
                status: 488,
                reason: "a running call cannot change its codec".to_owned(),
                hint: "The phone may end the call and call again".to_owned(),
                rule: None,
            })?;
        }
        if let Some(keys) = &keys {
            self.level = keys.level;
            self.suite = keys.suite;
        }
        self.direction = direction(&agreed.offer);
        self.agreed = agreed;
        self.version += 1;
        let answer = self.answer().ok_or_else(|| broken("the call has no ports"))?;
        Ok(Change { answer, direction: self.direction, remote: remote(&self.agreed.offer), keys })
    }

    /// Answered, and so able to be changed.
    pub(super) fn is_talking(&self) -> bool {
        matches!(self.state, State::Talking { .. })
    }
}

/// Reads an offer, has it judged, agrees on keys: new contexts, or `None` where those in use go on.
fn agree(
    number: CallNumber,
    body: &[u8],
    rules: &Rules,
    signalling: SignallingLevel,
    before: Option<(MediaLevel, &Sdes)>,
    random: &mut dyn Random,
) -> Result<(Agreed, Option<Keys>), Declined> {
    if body.is_empty() {
        return Err(Declined {
            status: 488,
            reason: "the call brings no session description, and this gateway does not make the offer itself"
                .to_owned(),
            hint: "The phone or its provider has to send its offer in the INVITE".to_owned(),
            rule: None,
        });
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    let description = SessionDescription::parse(text).map_err(malformed)?;
    let offer = Offer::read(&description).map_err(|error| Declined {
        status: 488,
        reason: error.to_string(),
        hint: "The phone has to offer Opus, PCMU or PCMA".to_owned(),
        rule: None,
    })?;
    let current = before.map(|(level, _)| level);
    let facts = OfferFacts { call: number, signalling, keying: keying::offered(&offer.audio), current };
    let proof = policy::judge(rules, &facts).allowed()?;
    let codec = offer.audio.first_codec().ok_or_else(|| broken("an offer without codec was accepted"))?;
    let agreed = Sdes::answer(before.map(|(_, sdes)| sdes), &offer.audio, proof, rules, random)?;
    Ok((Agreed { offer, sdes: agreed.sdes, codec }, agreed.keys))
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

fn direction(offer: &Offer) -> Direction {
    Direction { from_phone: offer.audio.direction.sends(), to_phone: offer.audio.direction.receives() }
}

fn remote(offer: &Offer) -> RemoteMedia {
    RemoteMedia { rtp: offer.audio.remote_rtp, rtcp: offer.audio.remote_rtcp, rtcp_mux: offer.audio.rtcp_mux }
}
