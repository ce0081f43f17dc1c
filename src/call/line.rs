//! One account with its calls: the SIP agent below, the dialogs above, the room beside.
//!
//! In: bytes and state of the TLS connection, events of the room. Out: [`Output`]s. A connection is used only with the
//! proof that `policy` admitted it; its level is what every offer on it is judged by.

use super::phone_call::{Declined, PhoneCall, State};
use crate::keying::Keys;
use crate::policy::{MayAuthenticate, MediaLevel, Rules, SignallingLevel};
use crate::room::{Direction, EndReason, LegSetup, RemoteMedia, RoomEvent};
use crate::sip::{self, Agent, DialogId, Event, Reply, TransactionKey};
use crate::units::{CallNumber, CallNumbers, Random};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// How long the last BYEs and the un-REGISTER may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(3);

/// What a line needs to know of its account.
pub struct LineConfig {
    /// The account, as `user@domain`.
    pub account: String,
    /// What it demands.
    pub rules: Rules,
    /// More calls than this are answered 486.
    pub most_calls: usize,
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
    /// New keys.
    Rekey(CallNumber, Box<Keys>),
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
    /// `joining`, `answered` (no ACK yet), `talking` or `held`.
    pub state: &'static str,
    /// Since it was answered.
    pub duration: Duration,
    /// What protects its sound.
    pub level: MediaLevel,
    /// The SRTP suite.
    pub suite: &'static str,
    /// The codec.
    pub codec: &'static str,
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
    calls: BTreeMap<CallNumber, PhoneCall>,
    registration: Result<Instant, String>,
    outputs: VecDeque<Output>,
    closing: Option<Instant>,
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
            calls: BTreeMap::new(),
            registration: Err("not connected yet".to_owned()),
            outputs: VecDeque::new(),
            closing: None,
        }
    }

    /// A TLS connection is up, and policy admitted it.
    pub fn flow_up(&mut self, now: Instant, local: SocketAddr, proof: MayAuthenticate) {
        self.signalling = Some(proof.level());
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
        self.agent.handle_bytes(now, bytes);
        self.pump(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
        if self.closing.is_some_and(|end| end <= now) {
            self.outputs.push_back(Output::Finished);
            self.closing = None;
        }
        self.pump(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn wake(&self) -> Option<Instant> {
        self.agent.wake().into_iter().chain(self.closing).min()
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The ports of a call are bound.
    pub fn ports_opened(&mut self, now: Instant, number: CallNumber, ports: MediaPorts) {
        let setup = self.calls.get_mut(&number).and_then(|call| call.ports_opened(ports.advertised, ports.rtcp));
        match setup {
            Some(setup) => {
                self.outputs.push_back(Output::Join(Box::new(setup)));
                self.reply(now, number, Reply::new(180, "Ringing"));
            }
            None => self.outputs.push_back(Output::ForgetPorts(number)),
        }
        self.pump(now);
    }

    /// No ports could be had.
    pub fn ports_failed(&mut self, now: Instant, number: CallNumber, why: &str) {
        tracing::error!(call = %number, why, "call refused");
        self.reply(now, number, Reply::new(503, "Service Unavailable").with_header("Retry-After", "30"));
        self.calls.remove(&number);
        self.pump(now);
    }

    /// What the room says.
    pub fn room_event(&mut self, now: Instant, event: RoomEvent) {
        match event {
            RoomEvent::Ready { call } => self.answer(now, call),
            RoomEvent::Refused { call, reason } => {
                tracing::warn!(%call, reason = reason.reason, "the group does not let the caller in");
                let phrase = sip::reason_phrase(reason.sip_status);
                self.reply(
                    now,
                    call,
                    Reply::new(reason.sip_status, phrase).with_header("Warning", warning(&reason.reason)),
                );
                self.calls.remove(&call);
            }
            RoomEvent::Ended { call, reason } => self.ended_by_room(now, call, reason),
        }
        self.pump(now);
    }

    /// The administrator, or the end of the program, ends a call. False if there is no such call.
    pub fn hang_up(&mut self, now: Instant, number: CallNumber, why: &str) -> bool {
        let found = self.calls.contains_key(&number);
        if found {
            self.end(now, number, why);
            self.outputs.push_back(Output::Leave(number));
            self.pump(now);
        }
        found
    }

    /// No new calls; BYE to all; un-REGISTER; then [`Output::Finished`].
    pub fn shut_down(&mut self, now: Instant) {
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
            }
            Event::RegistrationFailed { status, reason, hint, retry_in } => {
                tracing::warn!(account = self.config.account, ?status, reason, hint, ?retry_in, "not registered");
                self.registration = Err(reason);
            }
            Event::Unregistered => {
                if self.closing.take().is_some() {
                    self.outputs.push_back(Output::Finished);
                }
            }
            Event::Invite { dialog, key, request } => self.invite(now, dialog, key, &request),
            Event::ReInvite { dialog, key, request } | Event::Update { dialog, key, request } => {
                self.renegotiate(now, dialog, key, &request);
            }
            Event::Info { key, .. } => self.agent.respond(now, key, Reply::new(200, "OK")),
            Event::Acknowledged { dialog, .. } => {
                if let Some(State::Talking { acknowledged, .. }) = self.by_dialog(dialog).map(|call| &mut call.state) {
                    *acknowledged = true;
                }
            }
            Event::Cancelled { dialog } => self.gone(dialog, "the caller gave up"),
            Event::Bye { dialog, .. } => self.gone(dialog, "the caller hung up"),
            Event::Terminated { dialog, why } => self.gone(dialog, &why.to_string()),
            Event::ChallengeRefused { reason, hint } => {
                tracing::warn!(account = self.config.account, reason, hint, "a challenge was not answered");
            }
            Event::Response { .. } => {}
        }
    }

    fn invite(&mut self, now: Instant, dialog: DialogId, key: TransactionKey, request: &sip::Request) {
        if self.closing.is_some() {
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
        let (rules, random) = (&self.config.rules, &mut *self.random);
        let judged = catch_unwind(AssertUnwindSafe(|| {
            PhoneCall::incoming(number, dialog, key, request, rules, signalling, random)
        }));
        match judged {
            Ok(Ok(call)) => {
                tracing::info!(
                    call = %number, account = self.config.account, peer = call.peer, level = call.level.as_str(),
                    suite = call.suite.as_str(), codec = call.codec.codec.as_str(), "call accepted, joining the group"
                );
                self.calls.insert(number, call);
                self.outputs.push_back(Output::OpenPorts(number));
            }
            Ok(Err(declined)) => {
                tracing::warn!(
                    call = %number, account = self.config.account, status = declined.status, reason = declined.reason,
                    remedy = declined.hint, rule = ?declined.rule, "call refused"
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
        let Some(number) = self.by_dialog(dialog).map(|call| call.number) else {
            return self.agent.respond(now, key, Reply::new(481, "Call/Transaction Does Not Exist"));
        };
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.is_talking()) else {
            return self.agent.respond(now, key, Reply::new(491, "Request Pending"));
        };
        if request.body.is_empty() {
            // a refresh without an offer: an UPDATE is simply answered; an INVITE would want an offer of ours, which
            // is the description in force
            let reply = match request.method == sip::Method::UPDATE {
                true => Reply::new(200, "OK"),
                false => match call.answer() {
                    Some(body) => Reply::new(200, "OK").with_sdp(&body),
                    None => Reply::new(500, "Server Internal Error"),
                },
            };
            return self.agent.respond(now, key, reply);
        }
        let (rules, random) = (&self.config.rules, &mut *self.random);
        match catch_unwind(AssertUnwindSafe(|| call.renegotiate(&request.body, rules, signalling, random))) {
            Ok(Ok(change)) => {
                tracing::info!(call = %number, ?change.direction, rekeyed = change.keys.is_some(), "call changed");
                if let Some(keys) = change.keys {
                    self.outputs.push_back(Output::Rekey(number, Box::new(keys)));
                }
                self.outputs.push_back(Output::Update(number, change.direction, change.remote));
                self.agent.respond(now, key, Reply::new(200, "OK").with_sdp(&change.answer));
            }
            Ok(Err(declined)) => {
                tracing::warn!(
                    call = %number, status = declined.status, reason = declined.reason, remedy = declined.hint,
                    "change refused, the call goes on as it was"
                );
                self.agent.respond(now, key, refusal(&declined));
            }
            Err(_) => {
                tracing::error!(call = %number, "a change of the call panicked; the call ends");
                self.agent.respond(now, key, Reply::new(500, "Server Internal Error"));
                self.end(now, number, "a defect of the gateway");
                self.outputs.push_back(Output::Leave(number));
            }
        }
    }

    fn answer(&mut self, now: Instant, number: CallNumber) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let State::AwaitRoom { invite } = &call.state else { return };
        let (invite, body) = (*invite, call.answer());
        let Some(body) = body else { return };
        call.state = State::Talking { since: now, acknowledged: false };
        tracing::info!(call = %number, participant = call.participant, "answered");
        self.agent.respond(now, invite, Reply::new(200, "OK").with_sdp(&body));
    }

    fn ended_by_room(&mut self, now: Instant, number: CallNumber, reason: EndReason) {
        if self.calls.contains_key(&number) {
            self.end(now, number, &reason.sentence());
        }
    }

    /// Says goodbye to the phone: BYE where it was answered, an error where not.
    fn end(&mut self, now: Instant, number: CallNumber, why: &str) {
        let Some(call) = self.calls.remove(&number) else { return };
        tracing::info!(call = %number, why, "call ended");
        match call.state {
            State::Talking { .. } => {
                self.agent.bye(now, call.dialog, Some(format!("SIP;cause=200;text=\"{}\"", quoted(why))))
            }
            State::AwaitPorts { invite, .. } | State::AwaitRoom { invite } => {
                self.agent.respond(
                    now,
                    invite,
                    Reply::new(480, "Temporarily Unavailable").with_header("Warning", warning(why)),
                );
            }
        }
    }

    /// The phone, or SIP itself, ended the dialog.
    fn gone(&mut self, dialog: DialogId, why: &str) {
        let Some(number) = self.by_dialog(dialog).map(|call| call.number) else { return };
        self.calls.remove(&number);
        tracing::info!(call = %number, why, "call ended");
        self.outputs.push_back(Output::Leave(number));
    }

    /// Answers the INVITE of a call that is not answered yet.
    fn reply(&mut self, now: Instant, number: CallNumber, reply: Reply) {
        if let Some(State::AwaitPorts { invite, .. } | State::AwaitRoom { invite }) =
            self.calls.get(&number).map(|call| &call.state)
        {
            let invite = *invite;
            self.agent.respond(now, invite, reply);
        }
    }

    fn by_dialog(&mut self, dialog: DialogId) -> Option<&mut PhoneCall> {
        self.calls.values_mut().find(|call| call.dialog == dialog)
    }
}

fn report(call: &PhoneCall, now: Instant) -> CallReport {
    let (state, since) = match call.state {
        State::AwaitPorts { .. } | State::AwaitRoom { .. } => ("joining", now),
        State::Talking { since, acknowledged: false } => ("answered", since),
        State::Talking { since, .. } if !call.direction.to_phone => ("held", since),
        State::Talking { since, .. } => ("talking", since),
    };
    CallReport {
        number: call.number,
        peer: call.peer.clone(),
        state,
        duration: now.saturating_duration_since(since),
        level: call.level,
        suite: call.suite.as_str(),
        codec: call.codec.codec.as_str(),
    }
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
