//! One account with its calls: the SIP agent below, the dialogs above, the room beside.
//!
//! In: bytes and state of the TLS connection, events of the room. Out: [`Output`]s. A connection is used only with the
//! proof that `policy` admitted it; its level is what every offer on it is judged by.

mod people;
mod ratchet;
mod zrtp;

use super::phone_call::{Change, Declined, Judging, Opened, PhoneCall, Settled, State};
use crate::audio::Announcement;
use crate::keying::{Keys, Secured};
use crate::peers::{Change as PeerChange, PeerBook, Ratchet, Record};
use crate::policy::{MayAuthenticate, MediaLevel, Rule, Rules, SignallingLevel, TlsVersion};
use crate::room::{Direction, JoinRefused, LegOrder, LegSetup, RemoteMedia, RoomEvent};
use crate::sip::{self, Agent, DialogId, Event, Reply, TransactionKey};
use crate::units::{CallNumber, CallNumbers, Random, WallClock};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zrtp_proto::Zid;

/// How long the last BYEs and the un-REGISTER may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

/// What a line needs to know of its account.
pub struct LineConfig {
    /// The account, as `user@domain`.
    pub account: String,
    /// What it demands.
    pub rules: Rules,
    /// More calls than this are answered 486.
    pub most_calls: usize,
    /// For ZRTP.
    pub zrtp: ZrtpIdentity,
    /// The group that its calls come to, without its token: where somebody compared a code.
    pub group: String,
}

/// Who the gateway is for ZRTP, and what it remembers: the same for every account.
#[derive(Clone)]
pub struct ZrtpIdentity {
    /// Our own identifier, the same in every call.
    pub zid: Zid,
    /// The phones of earlier calls.
    pub peers: PeerBook,
    /// What accounts have shown.
    pub ratchet: Ratchet,
    /// The time of day, for what is remembered.
    pub clock: WallClock,
    /// Makes a source of randomness for each exchange.
    pub random: Arc<dyn Fn() -> Box<dyn Random> + Send + Sync>,
}

/// The UDP ports of a call, as the phone shall see them.
#[derive(Clone, Copy, Debug)]
pub struct MediaPorts {
    /// The address and RTP port for the answer.
    pub advertised: SocketAddr,
    /// The RTCP port.
    pub rtcp: u16,
}

/// What a line wants done.
pub enum Output {
    /// Send over the TLS connection.
    Send(Vec<u8>),
    /// Close it and open another.
    CloseFlow(String),
    /// Bind two UDP ports, then call [`Line::ports_opened`] or [`Line::ports_failed`].
    OpenPorts(CallNumber),
    /// They are not needed after all: no room took them.
    ForgetPorts(CallNumber),
    /// Let a phone into the room.
    Join(Box<LegSetup>),
    /// Another direction or address.
    Update(CallNumber, Direction, RemoteMedia),
    /// New keys. Where only the phone's is new, the new protector has our old key: its stream needs another SSRC.
    Rekey(CallNumber, Box<Keys>),
    /// What ZRTP has done with the leg.
    Order(CallNumber, LegOrder),
    /// Write this into the group's chat, or to one participant (a client id) alone.
    Say(Option<String>, String),
    /// Tell a phone this aloud.
    Announce(CallNumber, Announcement),
    /// Write these to the store, in this order.
    Keep(Vec<PeerChange>),
    /// Write what the account has shown to the store.
    Hold(Vec<Record>),
    /// The phone leaves.
    Leave(CallNumber),
    /// After [`Line::shut_down`]: nothing is left to do.
    Finished,
}

/// A call, for `calls`.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// Its number.
    pub number: CallNumber,
    /// The claimed name.
    pub peer: String,
    /// `joining`, `answered` (no ACK yet), `securing` (ZRTP is under way), `talking` or `held`.
    pub state: &'static str,
    /// Since it was answered.
    pub duration: Duration,
    /// Its sound; `None` while the phone has not answered our offer.
    pub sound: Option<SoundReport>,
}

/// The sound of a call, as it was agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoundReport {
    /// What protects it; `None` while ZRTP has not ended: then no sound runs.
    pub level: Option<MediaLevel>,
    /// How its keys are agreed on: `sdes` or `zrtp`.
    pub method: &'static str,
    /// The SRTP suite, as far as it is agreed.
    pub suite: &'static str,
    /// The codec.
    pub codec: &'static str,
    /// The caller is known, and this device of his is not.
    pub new_device: bool,
    /// What ZRTP showed.
    pub zrtp: Option<Secured>,
}

/// An account, for `status`.
#[derive(Clone, Debug)]
pub struct LineReport {
    /// The account.
    pub account: String,
    /// `registered`, or what is in the way.
    pub registration: String,
    /// Whether it is registered.
    pub registered: bool,
    /// What the weakest call of its room is worth; `None` while none has sound.
    pub room_level: Option<MediaLevel>,
    /// Its calls.
    pub calls: Vec<CallReport>,
}

/// The machine.
pub struct Line {
    config: LineConfig,
    agent: Agent,
    random: Box<dyn Random>,
    numbers: CallNumbers,
    signalling: Option<SignallingLevel>,
    tls: Option<TlsVersion>,
    calls: BTreeMap<CallNumber, PhoneCall>,
    registration: Result<Instant, String>,
    outputs: VecDeque<Output>,
    /// Until when the goodbyes may take.
    closing: Option<Instant>,
    shut_down: bool,
    /// At the shutdown a call was not acknowledged yet.
    bye_waits: bool,
}

impl Line {
    /// A line without a connection.
    pub fn new(config: LineConfig, agent: Agent, numbers: CallNumbers, random: Box<dyn Random>) -> Self {
        Line {
            config,
            agent,
            random,
            numbers,
            signalling: None,
            tls: None,
            calls: BTreeMap::new(),
            registration: Err("not connected yet".to_owned()),
            outputs: VecDeque::new(),
            closing: None,
            shut_down: false,
            bye_waits: false,
        }
    }

    /// A TLS connection is up, and policy admitted it.
    pub fn flow_up(&mut self, now: Instant, local: SocketAddr, proof: MayAuthenticate) {
        self.signalling = Some(proof.level());
        self.tls = Some(proof.tls());
        self.agent.flow_up(now, local, proof);
        self.pump(now);
    }

    /// It is gone. Calls go on: their sound does not need it, and the next connection takes their dialogs over.
    pub fn flow_down(&mut self, now: Instant, why: &str) {
        self.registration = Err(why.to_owned());
        self.agent.flow_down(now);
        self.pump(now);
    }

    /// Bytes of the connection.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.take_floors(now);
        self.agent.handle_bytes(now, bytes);
        self.pump(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
        self.zrtp_timeout(now);
        self.check_memory(now);
        if self.closing.is_some_and(|end| end <= now) {
            self.outputs.push_back(Output::Finished);
            self.closing = None;
        }
        self.pump(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn wake(&self) -> Option<Instant> {
        self.agent.wake().into_iter().chain(self.closing).chain(self.zrtp_wake()).chain(self.memory_wake()).min()
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The ports of a call are bound.
    pub fn ports_opened(&mut self, now: Instant, number: CallNumber, ports: MediaPorts) {
        let invite = self.calls.get(&number).and_then(PhoneCall::unanswered);
        let call = self.calls.get_mut(&number);
        match call.and_then(|call| call.ports_opened(now, ports.advertised, ports.rtcp)) {
            Some(Opened::Join(setup)) => {
                self.outputs.push_back(Output::Join(setup));
                self.reply(now, number, Reply::new(180, "Ringing"));
            }
            Some(Opened::Offer(body)) => {
                tracing::info!(call = %number, "answered with an offer, as the phone made none");
                if let Some(invite) = invite {
                    self.agent.respond(now, invite, Reply::new(200, "OK").with_sdp(&body));
                }
            }
            None => self.outputs.push_back(Output::ForgetPorts(number)),
        }
        self.pump(now);
    }

    /// No ports could be had.
    pub fn ports_failed(&mut self, now: Instant, number: CallNumber, why: &str) {
        let remedy = "look at [media]: bind, ports and public_address";
        tracing::error!(call = %number, why, remedy, "call refused");
        self.reply(now, number, Reply::new(503, "Service Unavailable").with_header("Retry-After", "30"));
        self.calls.remove(&number);
        self.pump(now);
    }

    /// What the room says.
    pub fn room_event(&mut self, now: Instant, event: RoomEvent) {
        self.take_floors(now);
        match event {
            RoomEvent::Ready { call } => self.joined(now, call),
            RoomEvent::Refused { call, reason } => self.not_let_in(now, call, &reason),
            RoomEvent::Zrtp { call, from, packet } => self.zrtp_packet(now, call, from, &packet),
            RoomEvent::Proved { call } => self.proved(now, call),
            RoomEvent::Asked { author, command } => self.asked(now, &author, command),
            // the room has already forgotten it
            RoomEvent::Ended { call, reason } => self.end(now, call, 200, &reason.sentence()),
        }
        self.pump(now);
    }

    fn not_let_in(&mut self, now: Instant, number: CallNumber, refused: &JoinRefused) {
        let remedy = "check with Galène that the group exists and that its invitation is valid and lets people speak";
        tracing::warn!(call = %number, reason = refused.reason, remedy, "the group does not let the caller in");
        self.end(now, number, refused.sip_status, &refused.reason);
    }

    /// The administrator, or the end of the program, ends a call. False if there is no such call.
    pub fn hang_up(&mut self, now: Instant, number: CallNumber, why: &str) -> bool {
        let found = self.calls.contains_key(&number);
        if found {
            self.end_and_leave(now, number, 200, why);
            self.pump(now);
        }
        found
    }

    /// No new calls; BYE to all; un-REGISTER; then [`Output::Finished`].
    pub fn shut_down(&mut self, now: Instant) {
        self.shut_down = true;
        self.bye_waits = self.calls.values().any(PhoneCall::awaits_ack);
        self.closing = Some(now + GOODBYE_PATIENCE);
        for number in self.calls.keys().copied().collect::<Vec<_>>() {
            self.hang_up(now, number, "the gateway is shutting down");
        }
        self.agent.unregister(now);
        self.pump(now);
    }

    /// Whether the account can be called over the connection that there is, or was until now.
    pub fn is_registered(&self) -> bool {
        self.registration.is_ok()
    }

    /// The state, for people.
    pub fn report(&self, now: Instant) -> LineReport {
        LineReport {
            account: self.config.account.clone(),
            registered: self.is_registered(),
            registration: match &self.registration {
                Ok(_) => "registered".to_owned(),
                Err(why) => why.clone(),
            },
            room_level: self.room_level(),
            calls: self.calls.values().map(|call| report(call, now)).collect(),
        }
    }

    fn pump(&mut self, now: Instant) {
        while let Some(output) = self.agent.poll() {
            match output {
                sip::Output::Send(bytes) => self.outputs.push_back(Output::Send(bytes)),
                sip::Output::CloseFlow(why) => self.outputs.push_back(Output::CloseFlow(why)),
                sip::Output::Event(event) => self.event(now, event),
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Registered { expires, .. } => {
                if self.registration.is_err() {
                    tracing::info!(account = self.config.account, expires_s = expires.as_secs(), "registered");
                }
                self.registration = Ok(now);
                self.registered_with(now);
            }
            Event::RegistrationFailed { status, reason, hint, retry_in } => {
                let (account, remedy) = (&self.config.account, hint);
                tracing::warn!(account, status, reason, remedy, ?retry_in, "not registered");
                self.registration = Err(reason);
            }
            // a BYE that waits for its ACK gets the rest of the patience
            Event::Unregistered if self.shut_down && !self.bye_waits => {
                if self.closing.take().is_some() {
                    self.outputs.push_back(Output::Finished);
                }
            }
            Event::Unregistered => {}
            Event::Invite { dialog, key, request } => self.invite(now, dialog, key, &request),
            Event::ReInvite { dialog, key, request } | Event::Update { dialog, key, request } => {
                self.renegotiate(now, dialog, key, &request);
            }
            Event::Info { key, .. } => self.agent.respond(now, key, Reply::new(200, "OK")),
            Event::Acknowledged { dialog, answer } => self.acknowledged(now, dialog, answer.as_deref()),
            Event::Cancelled { dialog } => self.gone(dialog, "the caller gave up"),
            Event::Bye { dialog, .. } => self.gone(dialog, "the caller hung up"),
            Event::Terminated { dialog, why } => self.gone(dialog, &why.to_string()),
            Event::ChallengeRefused { reason, hint } => {
                tracing::warn!(account = self.config.account, reason, remedy = hint, "a challenge was not answered");
            }
            Event::Response { .. } => {}
        }
    }

    fn invite(&mut self, now: Instant, dialog: DialogId, key: TransactionKey, request: &sip::Request) {
        if self.shut_down {
            return self.agent.respond(
                now,
                key,
                Reply::new(503, "Service Unavailable").with_header("Retry-After", "60"),
            );
        }
        if self.calls.len() >= self.config.most_calls {
            return self.agent.respond(now, key, Reply::new(486, "Busy Here").with_header("Retry-After", "30"));
        }
        let Some(signalling) = self.signalling else {
            return self.agent.respond(now, key, Reply::new(480, "Temporarily Unavailable"));
        };
        let number = self.numbers.next_number();
        let rules = self.rules_for(&PhoneCall::claimed_caller(request), now);
        let mut judging =
            Judging { rules: &rules, signalling, random: &mut *self.random, zrtp: &self.config.zrtp, now };
        let judged = catch_unwind(AssertUnwindSafe(|| PhoneCall::incoming(number, dialog, key, request, &mut judging)));
        match judged {
            Ok(Ok(call)) => {
                tracing::info!(call = %number, account = self.config.account, peer = call.peer, "call accepted");
                agreed(&call);
                self.calls.insert(number, call);
                self.outputs.push_back(Output::OpenPorts(number));
            }
            Ok(Err(declined)) => {
                tracing::warn!(
                    call = %number, account = self.config.account, status = declined.status, reason = declined.reason,
                    remedy = declined.hint, rule = declined.rule.map(Rule::as_str), "call refused"
                );
                self.agent.respond(now, key, refusal(&declined));
            }
            Err(_) => {
                tracing::error!(call = %number, "reading an INVITE panicked; the call is refused");
                self.agent.respond(now, key, Reply::new(500, "Server Internal Error"));
            }
        }
    }

    fn renegotiate(&mut self, now: Instant, dialog: DialogId, key: TransactionKey, request: &sip::Request) {
        let Some(signalling) = self.signalling else { return };
        let Some(call) = self.calls.values_mut().find(|call| call.dialog == dialog) else {
            return self.agent.respond(now, key, Reply::new(481, "Call/Transaction Does Not Exist"));
        };
        if request.body.is_empty() && request.method == sip::Method::UPDATE {
            // it refreshes the dialog, early or not, and asks for nothing (RFC 3311 §5.2, RFC 4028 §7.4)
            return self.agent.respond(now, key, Reply::new(200, "OK"));
        }
        if !call.is_talking() {
            return self.agent.respond(now, key, Reply::new(491, "Request Pending"));
        }
        let number = call.number;
        let mut judging =
            Judging { rules: &self.config.rules, signalling, random: &mut *self.random, zrtp: &self.config.zrtp, now };
        let changed = catch_unwind(AssertUnwindSafe(|| match request.body.is_empty() {
            // an INVITE without an offer wants one of ours
            true => call.offer_again(&mut judging).map(|offer| (offer, None)),
            false => call.renegotiate(&request.body, &mut judging).map(|(answer, change)| (answer, Some(change))),
        }));
        match changed {
            Ok(Ok((body, change))) => {
                if let Some(change) = change {
                    self.change(number, change);
                }
                self.agent.respond(now, key, Reply::new(200, "OK").with_sdp(&body));
            }
            Ok(Err(declined)) => {
                self.warn(number, &declined, "change refused, the call goes on as it was");
                self.agent.respond(now, key, refusal(&declined));
            }
            Err(_) => {
                tracing::error!(call = %number, "a change of the call panicked; the call ends");
                self.agent.respond(now, key, Reply::new(500, "Server Internal Error"));
                self.end_and_leave(now, number, 500, "a defect of the gateway");
            }
        }
    }

    /// The ACK of a 200, perhaps with the answer to an offer of ours.
    fn acknowledged(&mut self, now: Instant, dialog: DialogId, answer: Option<&[u8]>) {
        let Some(signalling) = self.signalling else { return };
        let Some(call) = self.calls.values_mut().find(|call| call.dialog == dialog) else { return };
        let number = call.number;
        // what the caller is held to is in our offer already
        let mut judging =
            Judging { rules: &self.config.rules, signalling, random: &mut *self.random, zrtp: &self.config.zrtp, now };
        match catch_unwind(AssertUnwindSafe(|| call.acknowledged(answer, &mut judging))) {
            Ok(None) => {
                self.sound_is_protected(now, number);
                self.start_zrtp(now, number);
            }
            Ok(Some(Ok(Settled::Join(setup)))) => {
                agreed(call);
                self.outputs.push_back(Output::Join(setup));
                self.sound_is_protected(now, number);
            }
            Ok(Some(Ok(Settled::Change(change)))) => self.change(number, change),
            Ok(Some(Err(declined))) => {
                self.warn(number, &declined, "answer refused, the call ends");
                self.end_and_leave(now, number, declined.status, &declined.reason);
            }
            Err(_) => {
                tracing::error!(call = %number, "reading an answer panicked; the call ends");
                self.end_and_leave(now, number, 500, "a defect of the gateway");
            }
        }
    }

    /// Tells the room what a new description changes.
    fn change(&mut self, number: CallNumber, change: Change) {
        tracing::info!(call = %number, ?change.direction, rekeyed = change.keys.is_some(), "call changed");
        if let Some(keys) = change.keys {
            self.outputs.push_back(Output::Rekey(number, keys));
        }
        self.outputs.push_back(Output::Update(number, change.direction, change.remote));
    }

    fn warn(&self, number: CallNumber, declined: &Declined, what: &str) {
        tracing::warn!(
            call = %number, account = self.config.account, status = declined.status, reason = declined.reason,
            remedy = declined.hint, rule = declined.rule.map(Rule::as_str), "{what}"
        );
    }

    /// The room has the phone: time to answer, if that was not done before.
    fn joined(&mut self, now: Instant, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let answer = call.joined(now);
        tracing::info!(call = %number, participant = call.participant, "in the group");
        if let Some((invite, body)) = answer {
            self.agent.respond(now, invite, Reply::new(200, "OK").with_sdp(&body));
        }
        self.tell_sdes(now, number);
        self.start_zrtp(now, number);
    }

    fn end_and_leave(&mut self, now: Instant, number: CallNumber, cause: u16, why: &str) {
        self.end(now, number, cause, why);
        self.outputs.push_back(Output::Leave(number));
    }

    /// Says goodbye to the phone: BYE where it was answered, an error where not. `cause` is the SIP status that says why
    /// (RFC 3326 §2); 200 is an ordinary end.
    fn end(&mut self, now: Instant, number: CallNumber, cause: u16, why: &str) {
        let Some(call) = self.calls.remove(&number) else { return };
        tracing::info!(call = %number, why, "call ended");
        match call.unanswered() {
            None => self.agent.bye(now, call.dialog, Some(format!("SIP;cause={cause};text=\"{}\"", quoted(why)))),
            Some(invite) => {
                let status = if cause < 300 { 480 } else { cause };
                let reply = Reply::new(status, sip::reason_phrase(status)).with_header("Warning", warning(why));
                self.agent.respond(now, invite, reply);
            }
        }
    }

    /// The phone, or SIP itself, ended the dialog.
    fn gone(&mut self, dialog: DialogId, why: &str) {
        let Some(number) = self.calls.values().find(|call| call.dialog == dialog).map(|call| call.number) else {
            return;
        };
        self.calls.remove(&number);
        tracing::info!(call = %number, why, "call ended");
        self.outputs.push_back(Output::Leave(number));
    }

    /// Answers the INVITE of a call that is not answered yet.
    fn reply(&mut self, now: Instant, number: CallNumber, reply: Reply) {
        if let Some(invite) = self.calls.get(&number).and_then(PhoneCall::unanswered) {
            self.agent.respond(now, invite, reply);
        }
    }
}

/// Logs what was agreed on, once it is.
fn agreed(call: &PhoneCall) {
    if let Some(SoundReport { level, method, suite, codec, .. }) = sound(call) {
        let level = level.map_or("none yet", MediaLevel::as_str);
        tracing::info!(call = %call.number, level, method, suite, codec, "agreed, joining the group");
    }
}

fn report(call: &PhoneCall, now: Instant) -> CallReport {
    let holds = call.terms.as_ref().is_some_and(|terms| !terms.direction().to_phone);
    let (state, since) = match call.state {
        State::AwaitPorts { .. } | State::AwaitRoom { .. } => ("joining", now),
        State::Talking { since, joined: false, .. } => ("joining", since),
        State::AwaitAnswer { since, .. } | State::Talking { since, acknowledged: false, .. } => ("answered", since),
        State::Talking { since, .. } if call.protection().is_none() => ("securing", since),
        State::Talking { since, .. } if holds => ("held", since),
        State::Talking { since, .. } => ("talking", since),
    };
    CallReport {
        number: call.number,
        peer: call.peer.clone(),
        state,
        duration: now.saturating_duration_since(since),
        sound: sound(call),
    }
}

fn sound(call: &PhoneCall) -> Option<SoundReport> {
    let terms = call.terms.as_ref()?;
    let protection = call.protection();
    Some(SoundReport {
        level: protection.map(|(level, _)| level),
        method: if call.zrtp.is_some() { "zrtp" } else { "sdes" },
        suite: protection.map_or("", |(_, suite)| suite.as_str()),
        codec: terms.codec.codec.as_str(),
        new_device: call.is_new_device(),
        zrtp: call.secured.clone(),
    })
}

/// The answer to a refused offer: a status that the phone knows and a sentence that its user may see (RFC 3261 §20.43).
fn refusal(declined: &Declined) -> Reply {
    Reply::new(declined.status, sip::reason_phrase(declined.status)).with_header("Warning", warning(&declined.reason))
}

fn warning(text: &str) -> String {
    format!("399 galene-sips \"{}\"", quoted(text))
}

/// Text for a quoted-string (RFC 3261 §25.1).
fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).map(|c| if c == '"' || c == '\\' { '\'' } else { c }).collect()
}
