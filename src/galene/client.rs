//! The session with the server: handshake, joining, keep-alive, permissions, and which streams exist.
//!
//! In: what the WebSocket brings, and the wishes of the room. Out: [`Output`]s. A client lives as long as its
//! WebSocket: after [`Event::JoinFailed`], [`Event::Kicked`], [`Event::Left`] or [`Event::Gone`] it does nothing more.

use super::event::{Chat, Event, NoticeLevel, Output, StreamId, UserChange};
use super::link::LinkError;
use super::message::{self, Incoming, Joined, Offer, Outgoing, Said, User};
use super::stream::{Stream, Way};
use crate::secret::Secret;
use crate::units::{Random, random_hex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// We ask for a sign of life after this much silence of the server.
const PING_AFTER: Duration = Duration::from_secs(15);

/// A server that is silent for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(65);

/// How long the server may take to let us in or not.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

/// Pause before our stream is offered again after it failed for a reason that is not ours, and before a talker's stream that
/// failed is asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// When we ask for sound a second time after Galène refused a stream of which we knew nothing. It does so with a stream that
/// has no packet yet, and forgets to offer that later to whoever joined between the talker's offer and his first packet:
/// 200 ms after the offer it serves those who were there then. Asking twice offers nothing twice.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long after we asked such a refusal may be the answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Most talkers that are received; each takes a socket.
const STREAMS_LIMIT: usize = 64;

/// Most permissions that are kept.
const PERMISSIONS_LIMIT: usize = 32;

/// A normal end (RFC 6455 §7.4.1).
const NORMAL_CLOSURE: u16 = 1000;

/// With what we are let in.
#[derive(Debug)]
pub enum Credentials {
    /// An invitation. A token that has a name of its own overrides [`ClientConfig::username`].
    Token(Secret<String>),
    /// A user of the group.
    Password {
        /// The name; [`ClientConfig::username`] is not used.
        username: String,
        /// Its password.
        password: Secret<String>,
    },
}

impl Credentials {
    /// A second copy, for another client in the same group.
    pub fn duplicate(&self) -> Self {
        match self {
            Credentials::Token(token) => Credentials::Token(token.duplicate()),
            Credentials::Password { username, password } => {
                Credentials::Password { username: username.clone(), password: password.duplicate() }
            }
        }
    }
}

/// Whom the client wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everybody, except those given to [`Client::ignore`].
    Listen,
    /// Nobody.
    Speak,
}

/// Who joins what.
#[derive(Debug)]
pub struct ClientConfig {
    /// The group, as [`Endpoint::group`](super::Endpoint::group) names it.
    pub group: String,
    /// With what we are let in.
    pub credentials: Credentials,
    /// The name that we would like.
    pub username: String,
    /// Whom we want to hear. Publishing is independent of it.
    pub role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Handshaking,
    Joining,
    Joined,
    Over,
}

/// The machine. It begins with an open WebSocket.
pub struct Client {
    id: String,
    role: Role,
    state: State,
    username: String,
    permissions: Vec<String>,
    last_heard: Instant,
    ping_at: Instant,
    join_by: Instant,
    wants_to_publish: bool,
    codec_refused: bool,
    publish_at: Option<Instant>,
    /// When we asked for sound, while a refusal means that we have to ask again.
    asked_at: Option<Instant>,
    ask_again_at: Option<Instant>,
    up: Option<StreamId>,
    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    ignored: BTreeSet<String>,
    out: VecDeque<Output>,
}

impl Client {
    /// Greets the server and asks to be let in.
    pub fn new(now: Instant, config: ClientConfig, random: &mut dyn Random) -> Self {
        let id = random_hex(random, 16);
        let mut client = Client {
            role: config.role,
            state: State::Handshaking,
            username: String::new(),
            permissions: Vec::new(),
            last_heard: now,
            ping_at: now + PING_AFTER,
            join_by: now + JOIN_PATIENCE,
            wants_to_publish: false,
            codec_refused: false,
            publish_at: None,
            asked_at: None,
            ask_again_at: None,
            up: None,
            streams: BTreeMap::new(),
            next_stream: 0,
            ignored: BTreeSet::from([id.clone()]),
            out: VecDeque::new(),
            id,
        };
        let (username, password, token) = match &config.credentials {
            Credentials::Token(token) => (&config.username, None, Some(token.expose().as_str())),
            Credentials::Password { username, password } => (username, Some(password.expose().as_str()), None),
        };
        let greeting = Outgoing::Handshake { version: ["2"], id: &client.id }.text();
        let join = Outgoing::Join { kind: "join", group: &config.group, username, password, token }.text();
        client.out.extend([Output::Text(greeting), Output::Text(join)]);
        client
    }

    /// Our client id: random, seen by everybody in the group as the `source` of what we send.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn wake(&self) -> Option<Instant> {
        if self.state == State::Over {
            return None;
        }
        let joining = (self.state != State::Joined).then_some(self.join_by);
        let own =
            [Some(self.ping_at), Some(self.last_heard + SILENCE_LIMIT), joining, self.publish_at, self.ask_again_at];
        own.into_iter().flatten().chain(self.streams.values().filter_map(Stream::wake)).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Over {
            return;
        }
        if now >= self.last_heard + SILENCE_LIMIT {
            return self.gone("the server is silent", true);
        }
        if self.state != State::Joined && now >= self.join_by {
            return self.gone("the server did not answer our request to join", true);
        }
        if now >= self.ping_at {
            self.ping_at = now + PING_AFTER;
            self.send(&Outgoing::Ping);
        }
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish_at = None;
            self.offer_if_wanted();
        }
        if self.ask_again_at.is_some_and(|at| at <= now) {
            self.ask_again_at = None;
            self.ask_for_sound();
        }
        for id in self.streams.keys().copied().collect::<Vec<_>>() {
            self.with_stream(now, id, |stream, out| stream.handle_timeout(now, out));
        }
    }

    /// A text message of the server.
    pub fn handle_text(&mut self, now: Instant, text: &str) {
        if self.state == State::Over {
            return;
        }
        self.last_heard = now;
        self.ping_at = now + PING_AFTER;
        match message::read(text) {
            Ok(Some(message)) => self.handle_message(now, message),
            Ok(None) => tracing::trace!("a message of the server that means nothing to us"),
            Err(error) => self.gone(&error.to_string(), true),
        }
    }

    /// The WebSocket is closed, or broken.
    pub fn handle_closed(&mut self, _now: Instant, reason: &str) {
        if self.state != State::Over {
            self.gone(reason, false);
        }
    }

    /// The socket of a stream is bound to this concrete address.
    pub fn socket_opened(&mut self, now: Instant, stream: StreamId, local: SocketAddr) {
        self.with_stream(now, stream, |stream, out| stream.socket_opened(now, local, out));
    }

    /// The socket of a stream could not be bound, or is broken.
    pub fn socket_failed(&mut self, now: Instant, stream: StreamId, reason: &str) {
        self.with_stream(now, stream, |_, _| Err(LinkError::Broken(reason.to_owned())));
    }

    /// A datagram on a stream's socket, from anybody.
    pub fn handle_datagram(&mut self, now: Instant, stream: StreamId, from: SocketAddr, bytes: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.datagram(now, from, bytes, &mut self.out);
        }
    }

    /// Publishes whenever the group lets us, until [`unpublish`](Self::unpublish). [`Event::Publishing`] tells.
    pub fn publish(&mut self, _now: Instant) {
        self.wants_to_publish = true;
        self.codec_refused = false;
        self.offer_if_wanted();
    }

    /// Ends our stream.
    pub fn unpublish(&mut self, _now: Instant) {
        self.wants_to_publish = false;
        self.publish_at = None;
        self.end_up(true);
    }

    /// Sends an Opus packet on our stream; dropped while we are not publishing. `sequence` counts on beyond 16 bits.
    pub fn send_opus(&mut self, now: Instant, sequence: u64, timestamp: u32, marker: bool, payload: &[u8]) {
        if let Some(stream) = self.up.and_then(|id| self.streams.get_mut(&id)) {
            stream.send_opus(now, (sequence, timestamp, marker, payload), &mut self.out);
        }
    }

    /// Writes to the group's chat, or to one participant (a client id) alone.
    pub fn chat(&mut self, _now: Instant, to: Option<&str>, text: &str) {
        if self.state == State::Joined {
            let (source, username) = (&self.id, &self.username);
            let chat = Outgoing::Chat { source, username, dest: to, noecho: true, value: text }.text();
            self.out.push_back(Output::Text(chat));
        }
    }

    /// Never receive this source (a client id): one of our own. What it has offered already is refused as well.
    pub fn ignore(&mut self, source: impl Into<String>) {
        let source = source.into();
        let heard = |stream: &&Stream| stream.talker() == Some(&source);
        let names: Vec<String> = self.streams.values().filter(heard).map(|stream| stream.name().to_owned()).collect();
        for name in names {
            self.send(&Outgoing::Abort { id: &name });
            self.end_named(&name);
        }
        self.ignored.insert(source);
    }

    /// This source is not ours any more, or gone.
    pub fn heed(&mut self, source: &str) {
        if source != self.id {
            self.ignored.remove(source);
        }
    }

    /// Leaves the group.
    pub fn leave(&mut self, _now: Instant) {
        if self.state != State::Over {
            self.over(Event::Left, true);
        }
    }

    fn handle_message(&mut self, now: Instant, message: Incoming) {
        if self.state == State::Handshaking && !matches!(message, Incoming::Handshake { .. }) {
            return self.gone("the server does not greet as Galène does", true);
        }
        match message {
            Incoming::Handshake { version } if version.iter().any(|version| version == "2") => {
                if self.state == State::Handshaking {
                    self.state = State::Joining;
                }
            }
            Incoming::Handshake { .. } => {
                self.gone("the server speaks another version of Galène's protocol than 2", true)
            }
            Incoming::Ping => self.send(&Outgoing::Pong),
            Incoming::Pong | Incoming::Unknown => {}
            Incoming::Joined(joined) => self.handle_joined(now, joined),
            Incoming::User(user) => self.handle_user(user),
            Incoming::Chat(said) => self.handle_chat(said, true),
            Incoming::ChatHistory(said) => self.handle_chat(said, false),
            Incoming::UserMessage(said) => self.handle_user_message(said),
            Incoming::Offer(offer) => self.handle_offer(now, offer),
            Incoming::Answer { id, sdp } => self.with_named(now, &id, |stream, out| stream.answered(now, &sdp, out)),
            Incoming::Ice { id, candidate } => self.with_named(now, &id, |stream, out| {
                stream.candidate(now, candidate.candidate, out);
                Ok(())
            }),
            Incoming::Renegotiate { id } => self.with_named(now, &id, |stream, out| {
                stream.renegotiate(now, out);
                Ok(())
            }),
            Incoming::Close { id } => match self.find(&id) {
                None => {
                    let asked = self.asked_at.take_if(|at| now < *at + ANSWER_PATIENCE);
                    self.ask_again_at = asked.map(|_| now + ASK_AGAIN_AFTER).or(self.ask_again_at);
                }
                stream if stream != self.up => self.end_named(&id),
                Some(_) => {}
            },
            Incoming::Abort { id } => {
                if self.up.is_some() && self.find(&id) == self.up {
                    self.end_up(true);
                    self.publish_at = Some(now + RETRY_AFTER);
                }
            }
        }
    }

    fn handle_joined(&mut self, now: Instant, joined: Joined) {
        let mut permissions = joined.permissions.unwrap_or_default();
        permissions.truncate(PERMISSIONS_LIMIT);
        match (joined.kind.as_str(), self.state) {
            ("join", State::Joining) => {
                self.state = State::Joined;
                self.username = joined.username.unwrap_or_default();
                self.permissions.clone_from(&permissions);
                self.event(Event::Joined { username: self.username.clone(), permissions });
                if self.role == Role::Listen {
                    self.asked_at = Some(now);
                    self.ask_for_sound();
                }
                self.offer_if_wanted();
            }
            ("change", State::Joined) => {
                if let Some(username) = joined.username {
                    self.username = username;
                }
                self.permissions.clone_from(&permissions);
                self.event(Event::PermissionsChanged { permissions });
                if self.may_present() {
                    self.publish_at = None;
                    self.offer_if_wanted();
                } else {
                    self.end_up(false);
                }
            }
            ("fail", _) => {
                let message = text_of(&joined.value);
                self.over(Event::JoinFailed { error: joined.error, message }, true);
            }
            ("redirect", _) => {
                let error = Some("redirect".to_owned());
                let message =
                    "the group has moved; get an invitation to its new address and configure that one".to_owned();
                self.over(Event::JoinFailed { error, message }, true);
            }
            ("leave", _) => self.gone("the server says that we have left", true),
            _ => {}
        }
    }

    fn ask_for_sound(&mut self) {
        self.send(&Outgoing::Request { request: serde_json::json!({ "": ["audio"] }) });
    }

    fn handle_user(&mut self, user: User) {
        let change = match user.kind.as_str() {
            "add" => UserChange::Added,
            "change" => UserChange::Changed,
            "delete" => UserChange::Left,
            _ => return,
        };
        let mut permissions = user.permissions.unwrap_or_default();
        permissions.truncate(PERMISSIONS_LIMIT);
        let username = user.username.unwrap_or_default();
        self.event(Event::User { change, id: user.id, username, permissions });
    }

    fn handle_chat(&mut self, said: Said, live: bool) {
        let given = |field: Option<String>| field.filter(|value| !value.is_empty());
        let chat = Chat {
            source: given(said.source),
            username: given(said.username),
            private: given(said.dest).is_some(),
            privileged: said.privileged.unwrap_or(false),
            time: said.time.as_str().map(str::to_owned),
            live,
            kind: given(said.kind),
            text: text_of(&said.value),
        };
        self.event(Event::Chat(chat));
    }

    /// The server passes on user messages of any kind from anybody, even without a source. What it says itself is
    /// privileged and has no source; only an operator could imitate that, and he may do it anyway.
    fn handle_user_message(&mut self, said: Said) {
        let privileged = said.privileged.unwrap_or(false);
        let from_server = privileged && said.source.is_none_or(|source| source.is_empty());
        let message = text_of(&said.value);
        match said.kind.as_deref() {
            Some("kicked") if from_server => self.over(Event::Kicked { message }, true),
            Some("error") if from_server => self.event(Event::Notice { level: NoticeLevel::Error, message }),
            Some("warning") if from_server => self.event(Event::Notice { level: NoticeLevel::Warning, message }),
            Some("mute") if privileged => self.event(Event::Muted { by: said.username.unwrap_or_default() }),
            _ => {}
        }
    }

    fn handle_offer(&mut self, now: Instant, offer: Offer) {
        let replaced = offer.replace.filter(|old| !old.is_empty() && *old != offer.id && self.find(old) != self.up);
        if let Some(old) = replaced {
            self.end_named(&old);
        }
        if self.find(&offer.id).is_some() {
            return self.with_named(now, &offer.id, |stream, out| stream.offered_again(now, offer.sdp, out));
        }
        let source = offer.source.unwrap_or_default();
        if self.role == Role::Speak || self.ignored.contains(&source) || self.streams.len() >= STREAMS_LIMIT {
            return self.send(&Outgoing::Abort { id: &offer.id });
        }
        let username = offer.username.unwrap_or_default();
        self.open_stream(offer.id, Way::Down { source, username, offer: offer.sdp });
    }

    /// Whether the group lets us publish.
    pub fn may_present(&self) -> bool {
        self.may("present")
    }

    /// Whether the group gave us this permission, such as `message`.
    pub fn may(&self, wanted: &str) -> bool {
        self.permissions.iter().any(|permission| permission == wanted)
    }

    fn offer_if_wanted(&mut self) {
        let wanted = self.wants_to_publish && !self.codec_refused && self.publish_at.is_none();
        if wanted && self.up.is_none() && self.state == State::Joined && self.may_present() {
            // unique because our id is
            let name = format!("{}-{}", self.id, self.next_stream);
            let way = Way::Up { source: self.id.clone(), username: self.username.clone() };
            self.up = Some(self.open_stream(name, way));
        }
    }

    fn open_stream(&mut self, name: String, way: Way) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(id, Stream::new(id, name, way));
        self.out.push_back(Output::OpenSocket(id));
        id
    }

    fn find(&self, name: &str) -> Option<StreamId> {
        self.streams.iter().find(|(_, stream)| stream.name() == name).map(|(id, _)| *id)
    }

    fn with_named(
        &mut self,
        now: Instant,
        name: &str,
        step: impl FnOnce(&mut Stream, &mut VecDeque<Output>) -> Result<(), LinkError>,
    ) {
        if let Some(id) = self.find(name) {
            self.with_stream(now, id, step);
        }
    }

    /// Lets a stream do something, and ends it if that failed.
    fn with_stream(
        &mut self,
        now: Instant,
        id: StreamId,
        step: impl FnOnce(&mut Stream, &mut VecDeque<Output>) -> Result<(), LinkError>,
    ) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Err(error) = step(stream, &mut self.out) else { return };
        tracing::info!(%error, up = (self.up == Some(id)), "a stream of the group failed");
        let (talker, name) = (stream.talker().map(str::to_owned), stream.name().to_owned());
        let refused = error == LinkError::CodecRefused;
        if refused {
            self.event(Event::CodecRefused { source: talker.clone() });
        }
        if talker.is_none() {
            self.codec_refused |= refused;
            self.publish_at = (!refused).then_some(now + RETRY_AFTER);
            self.end_up(true);
        } else {
            self.send(&Outgoing::Abort { id: &name });
            self.end_named(&name);
            if !refused {
                self.ask_again_at = Some(now + RETRY_AFTER);
            }
        }
    }

    /// Ends our stream. `tell` the server, unless it knows.
    fn end_up(&mut self, tell: bool) {
        let Some(stream) = self.up.take().and_then(|id| self.streams.remove_entry(&id)) else { return };
        let (id, stream) = stream;
        if tell {
            self.send(&Outgoing::Close { id: stream.name() });
        }
        self.out.push_back(Output::CloseSocket(id));
        if stream.is_connected() {
            self.event(Event::Publishing(false));
        }
    }

    fn end_named(&mut self, name: &str) {
        let Some((id, stream)) = self.find(name).and_then(|id| self.streams.remove_entry(&id)) else { return };
        self.out.push_back(Output::CloseSocket(id));
        if stream.has_started() {
            self.event(Event::StreamEnded { stream: id });
        }
    }

    fn gone(&mut self, reason: &str, close: bool) {
        self.over(Event::Gone { reason: reason.to_owned() }, close);
    }

    /// The end: closes everything, says why.
    fn over(&mut self, why: Event, close: bool) {
        self.state = State::Over;
        self.end_up(false);
        for (id, stream) in std::mem::take(&mut self.streams) {
            self.out.push_back(Output::CloseSocket(id));
            if stream.has_started() {
                self.event(Event::StreamEnded { stream: id });
            }
        }
        if close {
            self.out.push_back(Output::CloseWebSocket { code: NORMAL_CLOSURE });
        }
        self.event(why);
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    fn send(&mut self, message: &Outgoing<'_>) {
        self.out.push_back(Output::Text(message.text()));
    }
}

/// The value of a message as text; it may be of any type.
fn text_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}
