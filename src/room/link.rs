//! One client in the group, kept there: opens its WebSocket, joins, comes back after a break, leaves cleanly.
//!
//! In: what happens to the WebSocket and what the Galène client says. Out: [`LinkEvent`]s. A kick is final, and so is a
//! refusal that will not pass; everything else is tried again with back-off until [`super::GALENE_PATIENCE`] is over.

use super::notice::brief;
use super::refusal::{self, JoinRefused};
use super::{GALENE_PATIENCE, JOIN_PATIENCE, Output, RoomConfig};
use crate::galene::{self, Client, ClientConfig, Credentials, Event, NoticeLevel, Role};
use crate::units::{CallNumber, Random};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Waits between tries to come back.
const BACK_OFF: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// A connection that held for so long was a good one: the next break is met with the shortest wait again.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// How long a joined client may take to publish before the call is answered all the same.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// Whose client it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionId {
    /// The room's one listening client.
    Listener,
    /// The speaking client of a phone.
    Phone(CallNumber),
}

/// What a client is doing, for `status` and `calls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkReport {
    /// The name in the group, as the server gave it to us.
    pub participant: String,
    /// `connecting`, `joined`, `publishing`, `muted` (by the room) or `away`.
    pub state: &'static str,
}

/// What a link tells its room.
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant of Output, a packet to a phone, never comes from here"
)]
pub(super) enum LinkEvent {
    /// For the outside.
    Output(Output),
    /// What the client saw.
    Client(Event),
    /// The connection broke; it is being rebuilt.
    Lost,
    /// The group says no, or did not come back in time.
    Refused(JoinRefused),
    /// An operator removed this client.
    Kicked(String),
}

enum State {
    /// A WebSocket was asked for.
    Connecting,
    /// The client is talking to Galène.
    Up {
        client: Box<Client>,
        joined: Option<Instant>,
        publishing: bool,
        /// Until when a joined client's publishing is waited for.
        publish_by: Option<Instant>,
    },
    /// Until the next try.
    Waiting { until: Instant },
    /// Left, refused or kicked.
    Over,
}

pub(super) struct Link {
    id: ConnectionId,
    /// The name that we ask for …
    participant: String,
    /// … and the one that we have: a token may have a name of its own.
    known_as: String,
    renamed: bool,
    role: Role,
    credentials: Credentials,
    state: State,
    events: VecDeque<LinkEvent>,
    tries: usize,
    away_since: Option<Instant>,
    last_trouble: String,
    ever_joined: bool,
}

impl Link {
    pub(super) fn listener(now: Instant, config: &RoomConfig) -> Self {
        Link::new(now, ConnectionId::Listener, config.robot_name.clone(), Role::Listen, config)
    }

    pub(super) fn speaker(now: Instant, config: &RoomConfig, call: CallNumber, participant: &str) -> Self {
        Link::new(now, ConnectionId::Phone(call), participant.to_owned(), Role::Speak, config)
    }

    fn new(now: Instant, id: ConnectionId, participant: String, role: Role, config: &RoomConfig) -> Self {
        Link {
            id,
            known_as: participant.clone(),
            participant,
            renamed: false,
            role,
            credentials: config.credentials.duplicate(),
            state: State::Connecting,
            events: VecDeque::from([LinkEvent::Output(Output::OpenWebSocket(id))]),
            tries: 0,
            away_since: Some(now),
            last_trouble: "it did not answer in time".to_owned(),
            ever_joined: false,
        }
    }

    /// The WebSocket is open: join.
    pub(super) fn opened(&mut self, now: Instant, group: &str, random: &mut dyn Random) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        let config = ClientConfig {
            group: group.to_owned(),
            credentials: self.credentials.duplicate(),
            username: self.participant.clone(),
            role: self.role,
        };
        let client = Box::new(Client::new(now, config, random));
        self.state = State::Up { client, joined: None, publishing: false, publish_by: None };
        self.drain(now);
    }

    /// There is no WebSocket, or no longer. `refused`: another try would meet the same answer.
    pub(super) fn failed(&mut self, now: Instant, why: &str, refused: bool) {
        match (&self.state, refused) {
            (State::Over, _) => {}
            (_, true) => {
                tracing::warn!(participant = self.known_as, why, "the group cannot be joined");
                self.refuse(refusal::unreachable("the conference cannot be joined"));
            }
            (_, false) => {
                if let State::Up { client, .. } = &mut self.state {
                    client.handle_closed(now, why); // closes its sockets
                    self.drain(now);
                }
                self.lose(now, why);
            }
        }
    }

    /// The client panicked: it is given up without being asked for anything more, and the link is rebuilt.
    pub(super) fn broken(&mut self, now: Instant) {
        self.output(Output::CloseWebSocket(self.id, 1000)); // and with it its sockets
        self.lose(now, "a defect of the gateway, contained");
    }

    fn lose(&mut self, now: Instant, why: &str) {
        match self.state {
            State::Over | State::Waiting { .. } => return,
            State::Up { joined: Some(since), .. } if now >= since + GOOD_CONNECTION => self.tries = 0,
            State::Up { .. } | State::Connecting => {}
        }
        self.last_trouble = why.to_owned();
        if self.away_since.is_none() {
            self.away_since = Some(now);
            let (participant, patience_s) = (&self.known_as, GALENE_PATIENCE.as_secs());
            tracing::warn!(
                participant,
                why,
                patience_s,
                "lost the conference server; the calls stay, trying to rejoin"
            );
        }
        let wait = BACK_OFF[self.tries.min(BACK_OFF.len() - 1)];
        self.tries += 1;
        self.state = State::Waiting { until: now + wait };
        self.events.push_back(LinkEvent::Lost);
    }

    fn output(&mut self, output: Output) {
        self.events.push_back(LinkEvent::Output(output));
    }

    fn refuse(&mut self, reason: JoinRefused) {
        self.state = State::Over;
        self.events.push_back(LinkEvent::Refused(reason));
    }

    /// The client, while there is one.
    pub(super) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.state {
            State::Up { client, .. } => Some(client),
            _ => None,
        }
    }

    /// The id under which Galène knows the client: the `source` of its streams.
    pub(super) fn client_id(&self) -> Option<&str> {
        match &self.state {
            State::Up { client, .. } => Some(client.id()),
            _ => None,
        }
    }

    /// The name in the group.
    pub(super) fn known_as(&self) -> &str {
        &self.known_as
    }

    /// Whether the group lets the client do this; `None` while that is not known.
    pub(super) fn may(&self, wanted: &str) -> Option<bool> {
        match &self.state {
            State::Up { client, joined: Some(_), .. } => Some(client.may(wanted)),
            _ => None,
        }
    }

    pub(super) fn is_publishing(&self) -> bool {
        matches!(self.state, State::Up { publishing: true, .. })
    }

    pub(super) fn has_joined(&self) -> bool {
        matches!(self.state, State::Up { joined: Some(_), .. })
    }

    /// Joined and publishing; or joined long enough without (no permission to present: the caller listens only).
    pub(super) fn is_ready(&self) -> bool {
        match &self.state {
            State::Up { client, joined: Some(_), publishing, publish_by, .. } => {
                *publishing || !client.may_present() || publish_by.is_none()
            }
            _ => false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over) && self.events.is_empty()
    }

    pub(super) fn report(&self) -> LinkReport {
        let state = match &self.state {
            State::Connecting => "connecting",
            State::Up { joined: None, .. } => "connecting",
            State::Up { publishing: true, .. } => "publishing",
            State::Up { .. } => "joined",
            State::Waiting { .. } | State::Over => "away",
        };
        LinkReport { participant: self.known_as.clone(), state }
    }

    /// Leaves the group with a proper goodbye.
    pub(super) fn leave(&mut self, now: Instant) {
        if let State::Up { client, .. } = &mut self.state {
            client.leave(now);
            self.drain(now);
        }
        if !matches!(self.state, State::Over) {
            self.output(Output::CloseWebSocket(self.id, 1000));
            self.state = State::Over;
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.state {
            State::Up { client, publish_by, .. } => {
                publish_by.take_if(|by| *by <= now);
                client.handle_timeout(now);
                self.drain(now);
            }
            State::Waiting { until } if *until <= now => {
                self.state = State::Connecting;
                self.events.push_back(LinkEvent::Output(Output::OpenWebSocket(self.id)));
            }
            _ => {}
        }
        if self.patience_ends().is_some_and(|end| end <= now) && !matches!(self.state, State::Over) {
            let (participant, why) = (&self.known_as, &self.last_trouble);
            tracing::warn!(participant, why, "the group could not be joined in time");
            self.output(Output::CloseWebSocket(self.id, 1000));
            let told = if self.ever_joined { "it did not come back in time" } else { "the conference does not answer" };
            self.refuse(refusal::unreachable(told));
        }
    }

    /// A first join has to succeed soon; a call in progress outlasts a longer break.
    fn patience_ends(&self) -> Option<Instant> {
        let patience = if self.ever_joined { GALENE_PATIENCE } else { JOIN_PATIENCE };
        self.away_since.map(|since| since + patience)
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Up { client, publish_by, .. } => client.wake().into_iter().chain(*publish_by).min(),
            State::Waiting { until } => Some(*until),
            State::Connecting => None,
            State::Over => return None,
        };
        state.into_iter().chain(self.patience_ends()).min()
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<LinkEvent> {
        self.drain(now);
        self.events.pop_front()
    }

    /// Takes everything from the client; its end ends or restarts the link.
    fn drain(&mut self, now: Instant) {
        loop {
            let State::Up { client, joined, publishing, publish_by } = &mut self.state else { return };
            let id = self.id;
            let event = match client.poll() {
                None => return,
                Some(galene::Output::Event(event)) => event,
                Some(galene::Output::Text(text)) => {
                    self.output(Output::Text(id, text));
                    continue;
                }
                Some(galene::Output::OpenSocket(stream)) => {
                    self.output(Output::OpenSocket(id, stream));
                    continue;
                }
                Some(galene::Output::CloseSocket(stream)) => {
                    self.output(Output::CloseSocket(id, stream));
                    continue;
                }
                Some(galene::Output::Datagram { stream, to, bytes }) => {
                    self.output(Output::ToGalene(id, stream, to, bytes));
                    continue;
                }
                // the link closes its WebSocket itself, whatever the reason
                Some(galene::Output::CloseWebSocket { .. }) => continue,
            };
            match event {
                Event::Joined { ref username, .. } => {
                    *joined = Some(now);
                    if !username.is_empty() {
                        self.known_as = brief(username);
                    }
                    if matches!(self.role, Role::Speak) {
                        *publish_by = Some(now + PUBLISH_PATIENCE);
                        client.publish(now);
                    }
                    if let Some(since) = self.away_since.take().filter(|_| self.ever_joined) {
                        let (participant, after_ms) = (&self.known_as, now.duration_since(since).as_millis());
                        tracing::info!(participant, after_ms, "back in the group");
                    }
                    self.ever_joined = true;
                    self.events.push_back(LinkEvent::Client(event));
                }
                Event::Publishing(now_publishing) => {
                    *publishing = now_publishing;
                    self.events.push_back(LinkEvent::Client(event));
                }
                Event::JoinFailed { error, message } => self.join_failed(now, error.as_deref(), &message),
                Event::CodecRefused { source: None } => {
                    let remedy = "have the codecs of the group contain \"opus\"";
                    tracing::warn!(participant = self.known_as, remedy, "the group does not speak Opus");
                    self.output(Output::CloseWebSocket(self.id, 1000));
                    self.refuse(refusal::without_opus());
                }
                Event::Notice { level, message } => self.server_says(level, &message),
                Event::Left => {}
                Event::Kicked { message } => {
                    self.output(Output::CloseWebSocket(self.id, 1000));
                    self.state = State::Over;
                    self.events.push_back(LinkEvent::Kicked(brief(&message)));
                }
                Event::Gone { reason } => {
                    self.output(Output::CloseWebSocket(self.id, 1000));
                    self.lose(now, &reason);
                }
                other => self.events.push_back(LinkEvent::Client(other)),
            }
        }
    }

    fn join_failed(&mut self, now: Instant, error: Option<&str>, message: &str) {
        self.output(Output::CloseWebSocket(self.id, 1000));
        if error == Some(refusal::NAME_TAKEN) && !std::mem::replace(&mut self.renamed, true) {
            self.participant.push_str(" (2)");
            self.state = State::Connecting;
            return self.output(Output::OpenWebSocket(self.id));
        }
        let verdict = refusal::read(error, message);
        match verdict.passing && self.ever_joined {
            true => self.lose(now, &verdict.refused.reason),
            false => self.refuse(verdict.refused),
        }
    }

    fn server_says(&self, level: NoticeLevel, message: &str) {
        let (participant, message) = (&self.known_as, brief(message));
        match level {
            NoticeLevel::Error => tracing::warn!(participant, message, "the conference server reports an error"),
            NoticeLevel::Warning => tracing::warn!(participant, message, "the conference server warns"),
        }
    }
}
