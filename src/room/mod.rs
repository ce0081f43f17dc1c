//! One Galène group with its phones: who hears what.
//!
//! In: packets of phones, datagrams and messages of Galène, a tick every 20 ms. Out: sealed packets to phones, messages
//! and datagrams to Galène, and what the dialogs have to know. One *listening* client serves all phones, so each talker
//! is received once; each phone has a *speaking* client of its own, so it is a normal participant.
//!
//! ```text
//!  phone ──▶ Leg (unprotect) ──Opus──▶ its Link ──▶ Galène            Opus is forwarded untouched,
//!                 └──────────G.711──▶ encode ──▶ its Link              G.711 is encoded at 8 kHz
//!  Galène ──▶ listening Link ──▶ Talker (jitter buffer, decoder) ──▶ mix without the phone's own voice
//!                                                     ──▶ encode ──▶ Leg (protect) ──▶ phone
//! ```
//!
//! Sans-IO. Never decides on security: a leg arrives with keys that `policy` allowed. A panic in one leg ends that leg.

mod command;
mod event;
mod hearing;
mod keys;
mod leg;
mod link;
mod notice;
mod refusal;
mod telling;
#[cfg(test)]
mod tests;
mod uplink;

pub use command::{Author, Command};
pub use event::{EndReason, RoomEvent};
pub use keys::{LegKeys, LegOrder};
pub use leg::{Direction, LegReport, LegSetup, PhoneCodec, RemoteMedia};
pub use link::{ConnectionId, LinkReport};
pub use refusal::JoinRefused;

use crate::audio::{Announcement, Language};
use crate::galene;
use crate::policy::MediaLevel;
use crate::srtp::{Protector, Sealed, Unprotector};
use crate::units::{CallNumber, Random, WallClock};
use hearing::Hearing;
use leg::{Leg, LegEvent};
use link::{Link, LinkEvent};
use notice::Notice;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The gateway's one beat: every frame of sound lasts this long.
pub const TICK: Duration = Duration::from_millis(20);

/// How long a call waits for its participant to appear in the group.
const JOIN_PATIENCE: Duration = Duration::from_secs(15);

/// How long a call stays while Galène is away.
const GALENE_PATIENCE: Duration = Duration::from_secs(120);

/// How long after the last call the listening client stays, so that a caller who tries again finds the room warm.
const LISTENER_LINGERS: Duration = Duration::from_secs(2);

/// A group and how to enter it.
pub struct RoomConfig {
    /// Who we are there.
    pub credentials: galene::Credentials,
    /// The name of the listening client.
    pub robot_name: String,
    /// The time of day, for RTCP.
    pub clock: WallClock,
    /// What phones are told aloud is in this language.
    pub language: Language,
}

/// What the room wants done.
#[expect(clippy::large_enum_variant, reason = "a sealed packet is copied once on its way rather than allocated")]
pub enum Output {
    /// Look up the group and open a WebSocket for this client.
    OpenWebSocket(ConnectionId),
    /// Send a message.
    Text(ConnectionId, String),
    /// Close with this code.
    CloseWebSocket(ConnectionId, u16),
    /// Bind a UDP socket for a stream, at the address from which the group's host is reached.
    OpenSocket(ConnectionId, galene::StreamId),
    /// Close it.
    CloseSocket(ConnectionId, galene::StreamId),
    /// Send a datagram of a stream.
    ToGalene(ConnectionId, galene::StreamId, SocketAddr, Vec<u8>),
    /// Send a packet to a phone.
    ToPhone(CallNumber, Channel, SocketAddr, Sealed),
    /// Tell the dialog.
    Event(RoomEvent),
}

/// Which of a call's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// RTP, and RTCP where multiplexed.
    Rtp,
    /// RTCP.
    Rtcp,
}

/// The group's state for `status` and `calls`.
#[derive(Clone, Debug)]
pub struct RoomReport {
    /// The listening client.
    pub listener: Option<LinkReport>,
    /// Each phone.
    pub legs: Vec<LegReport>,
    /// Streams of other participants.
    pub streams: usize,
    /// Whether the group lets the listening client write; `None` while that is not known.
    pub may_write: Option<bool>,
}

/// The machine.
pub struct Room {
    config: RoomConfig,
    random: Box<dyn Random>,
    listener: Option<Link>,
    legs: BTreeMap<CallNumber, Leg>,
    hearing: Hearing,
    next_tick: Option<Instant>,
    idle_since: Option<Instant>,
    /// The log says that people in the group get to read nothing.
    is_mute: bool,
    outputs: VecDeque<Output>,
}

impl Room {
    /// A room without calls, connected to nothing.
    pub fn new(config: RoomConfig, random: Box<dyn Random>) -> Self {
        Room {
            config,
            random,
            listener: None,
            legs: BTreeMap::new(),
            hearing: Hearing::default(),
            next_tick: None,
            idle_since: None,
            is_mute: false,
            outputs: VecDeque::new(),
        }
    }

    /// A phone wants in. Answered by [`RoomEvent::Ready`] or [`RoomEvent::Refused`].
    pub fn join(&mut self, now: Instant, setup: LegSetup) {
        if self.listener.is_none() {
            let link = Link::listener(now, &self.config);
            self.listener = Some(link);
        }
        self.idle_since = None;
        self.next_tick.get_or_insert(now + TICK);
        let link = Link::speaker(now, &self.config, setup.call, &setup.participant);
        let call = setup.call;
        self.legs.insert(call, Leg::new(now, setup, link, &self.config, &mut *self.random));
        self.pump(now);
    }

    /// A re-INVITE changed the direction or the address of a leg.
    pub fn update(&mut self, now: Instant, call: CallNumber, direction: Direction, remote: RemoteMedia) {
        self.with_leg(now, call, |leg, _| {
            leg.update(now, direction, remote);
            None
        });
    }

    /// A re-INVITE brought new keys.
    pub fn rekey(
        &mut self,
        now: Instant,
        call: CallNumber,
        level: MediaLevel,
        protector: Protector,
        unprotector: Unprotector,
    ) {
        self.with_leg(now, call, |leg, _| {
            leg.rekey(level, protector, unprotector);
            None
        });
    }

    /// The configuration was read again: who we are there from the next connection on.
    pub fn change_credentials(&mut self, credentials: galene::Credentials) {
        self.config.credentials = credentials;
    }

    /// What the dialog's ZRTP has done.
    pub fn order(&mut self, now: Instant, call: CallNumber, order: LegOrder) {
        self.with_leg(now, call, |leg, _| {
            leg.order(now, order);
            None
        });
    }

    /// Tells a phone something aloud, as soon as it listens and nothing else is said.
    pub fn announce(&mut self, now: Instant, call: CallNumber, announcement: Announcement) {
        self.with_leg(now, call, |leg, _| {
            leg.telling.add(announcement);
            None
        });
    }

    /// The dialog is over.
    pub fn leave(&mut self, now: Instant, call: CallNumber) {
        self.end(now, call, EndReason::Left);
        self.pump(now);
    }

    /// A WebSocket is open.
    pub fn websocket_opened(&mut self, now: Instant, connection: ConnectionId, group: &str) {
        self.with_link(now, connection, |link, random| link.opened(now, group, random));
        self.refuse_own_streams();
        self.pump(now);
    }

    /// A WebSocket could not be opened, or broke. `refused`: another try would meet the same answer.
    pub fn websocket_failed(&mut self, now: Instant, connection: ConnectionId, why: &str, refused: bool) {
        self.with_link(now, connection, |link, _| link.failed(now, why, refused));
        self.pump(now);
    }

    /// A message of Galène.
    pub fn websocket_text(&mut self, now: Instant, connection: ConnectionId, text: &str) {
        self.with_client(now, connection, |client| client.handle_text(now, text));
        self.pump(now);
    }

    /// A socket asked for by [`Output::OpenSocket`] is bound.
    pub fn socket_opened(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        stream: galene::StreamId,
        local: SocketAddr,
    ) {
        self.with_client(now, connection, |client| client.socket_opened(now, stream, local));
        self.pump(now);
    }

    /// A socket asked for by [`Output::OpenSocket`] could not be bound.
    pub fn socket_failed(&mut self, now: Instant, connection: ConnectionId, stream: galene::StreamId, why: &str) {
        self.with_client(now, connection, |client| client.socket_failed(now, stream, why));
        self.pump(now);
    }

    /// A datagram for a stream.
    pub fn datagram(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        stream: galene::StreamId,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        self.with_client(now, connection, |client| client.handle_datagram(now, stream, from, bytes));
        self.pump(now);
    }

    /// A packet on one of a phone's sockets, from anybody.
    pub fn phone_packet(
        &mut self,
        now: Instant,
        call: CallNumber,
        channel: Channel,
        from: SocketAddr,
        packet: &mut [u8],
    ) {
        self.with_leg(now, call, |leg, _| leg.phone_packet(now, channel, from, packet));
        self.pump(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(at) = self.next_tick.filter(|at| *at <= now) {
            self.tick(at, now);
        }
        if self.idle_since.is_some_and(|since| now >= since + LISTENER_LINGERS) {
            self.idle_since = None;
            if let Some(listener) = &mut self.listener {
                listener.leave(now);
            }
        }
        self.with_link(now, ConnectionId::Listener, |link, _| link.handle_timeout(now));
        let calls: Vec<CallNumber> = self.legs.keys().copied().collect();
        for call in calls {
            self.with_leg(now, call, |leg, _| {
                leg.link.handle_timeout(now);
                leg.check_patience(now)
            });
        }
        self.pump(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub fn wake(&self) -> Option<Instant> {
        let links = self.listener.iter().chain(self.legs.values().map(|leg| &leg.link)).filter_map(Link::wake);
        let patience = self.legs.values().filter_map(Leg::patience_ends);
        let lingering = self.idle_since.map(|since| since + LISTENER_LINGERS);
        links.chain(patience).chain(self.next_tick).chain(lingering).min()
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether nothing is left: no call, no participant.
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty() && self.listener.is_none()
    }

    /// The state, for people.
    pub fn report(&self) -> RoomReport {
        RoomReport {
            listener: self.listener.as_ref().map(Link::report),
            legs: self.legs.values().map(|leg| leg.report()).collect(),
            streams: self.hearing.streams(),
            may_write: self.may_write(),
        }
    }

    fn may_write(&self) -> Option<bool> {
        self.listener.as_ref()?.may("message")
    }

    /// Says once, not at each rejoin, that nobody in the group gets to read a code or a warning.
    fn note_mute(&mut self) {
        let Some(may_write) = self.may_write() else { return };
        if std::mem::replace(&mut self.is_mute, !may_write) != may_write {
            return; // nothing new
        }
        let listener = self.listener.as_ref().map(Link::known_as);
        if may_write {
            tracing::info!(listener, "the group lets the gateway write again");
        } else {
            let remedy =
                "give the invitation the permission \"message\"; until then `galene-sips calls` shows the codes";
            tracing::warn!(
                listener,
                remedy,
                "the group does not let the gateway write: its people see no code and no warning"
            );
        }
    }

    fn with_client(&mut self, now: Instant, connection: ConnectionId, step: impl FnOnce(&mut galene::Client)) {
        self.with_link(now, connection, |link, _| {
            if let Some(client) = link.client() {
                step(client);
            }
        });
    }

    /// Runs one step of a link so that a panic in it ends that call, or has the listening client rebuilt.
    fn with_link(&mut self, now: Instant, connection: ConnectionId, step: impl FnOnce(&mut Link, &mut dyn Random)) {
        let link = match connection {
            ConnectionId::Listener => self.listener.as_mut(),
            ConnectionId::Phone(call) => self.legs.get_mut(&call).map(|leg| &mut leg.link),
        };
        let Some(link) = link else { return };
        let random = &mut *self.random;
        if catch_unwind(AssertUnwindSafe(|| step(link, random))).is_err() {
            tracing::error!(?connection, "a client of the group panicked; it ends, the others go on");
            match connection {
                ConnectionId::Listener => link.broken(now),
                ConnectionId::Phone(call) => self.end(now, call, EndReason::Defect),
            }
        }
    }

    /// 20 ms of sound, from everybody to everybody. Skips what is more than 100 ms overdue (a suspended machine).
    fn tick(&mut self, at: Instant, now: Instant) {
        let next = at + TICK;
        self.next_tick = match self.legs.is_empty() {
            true => None,
            false if now.saturating_duration_since(next) > 5 * TICK => Some(now + TICK),
            false => Some(next),
        };
        let calls: Vec<CallNumber> = self.legs.keys().copied().collect();
        self.hearing.begin(&self.legs);
        for call in &calls {
            self.with_leg(now, *call, |leg, hearing| {
                hearing.take(at, leg, calls.len() > 1);
                None
            });
        }
        self.hearing.collect(at, &self.legs);
        for call in calls {
            self.with_leg(now, call, |leg, hearing| leg.speak(now).or_else(|| leg.listen(at, now, hearing)));
        }
    }

    /// Runs one step of a leg so that a panic in it ends that leg alone.
    fn with_leg(
        &mut self,
        now: Instant,
        call: CallNumber,
        step: impl FnOnce(&mut Leg, &mut Hearing) -> Option<LegEvent>,
    ) {
        let Some(leg) = self.legs.get_mut(&call) else { return };
        let hearing = &mut self.hearing;
        let event = catch_unwind(AssertUnwindSafe(|| step(leg, hearing)));
        while let Some((channel, to, packet)) = leg.packets.pop_front() {
            self.outputs.push_back(Output::ToPhone(call, channel, to, packet));
        }
        match event {
            Ok(None) => {}
            Ok(Some(LegEvent::Ended(reason))) => self.end(now, call, reason),
            Ok(Some(LegEvent::Zrtp(from, packet))) => {
                self.outputs.push_back(Output::Event(RoomEvent::Zrtp { call, from, packet }));
            }
            Ok(Some(LegEvent::Proved)) => self.outputs.push_back(Output::Event(RoomEvent::Proved { call })),
            Err(_) => {
                tracing::error!(%call, "a step of the call panicked; the call ends, the others go on");
                self.end(now, call, EndReason::Defect);
            }
        }
    }

    fn end(&mut self, now: Instant, call: CallNumber, reason: EndReason) {
        let Some(mut leg) = self.legs.remove(&call) else { return };
        // a last RTCP BYE to the phone, a clean leave from the group
        if catch_unwind(AssertUnwindSafe(|| leg.goodbye(now))).is_ok() {
            while let Some((channel, to, packet)) = leg.packets.pop_front() {
                self.outputs.push_back(Output::ToPhone(call, channel, to, packet));
            }
        }
        leg.link.leave(now);
        while let Some(output) = leg.link.poll(now) {
            if let LinkEvent::Output(output) = output {
                self.outputs.push_back(output);
            }
        }
        self.outputs.push_back(Output::Event(RoomEvent::Ended { call, reason }));
        if self.legs.is_empty() {
            self.next_tick = None;
            self.idle_since = Some(now);
        }
    }

    /// Tells the listening client which streams are our own phones', so that they are not pulled back.
    fn refuse_own_streams(&mut self) {
        let Some(listener) = &mut self.listener else { return };
        let Some(client) = listener.client() else { return };
        for id in self.legs.values().filter_map(|leg| leg.link.client_id()) {
            client.ignore(id);
        }
    }

    /// Moves what the links have to say to where it belongs.
    fn pump(&mut self, now: Instant) {
        self.pump_listener(now);
        let calls: Vec<CallNumber> = self.legs.keys().copied().collect();
        for call in calls {
            while let Some(event) = self.legs.get_mut(&call).and_then(|leg| leg.link.poll(now)) {
                self.speaker_event(now, call, event);
            }
        }
        if self.listener.as_ref().is_some_and(Link::is_over) {
            self.listener = None;
            if !self.legs.is_empty() {
                self.listener = Some(Link::listener(now, &self.config));
            }
        }
        self.announce_ready(now);
        self.pump_listener(now); // which was told of the phones meanwhile
    }

    fn pump_listener(&mut self, now: Instant) {
        while let Some(event) = self.listener.as_mut().and_then(|link| link.poll(now)) {
            self.listener_event(now, event);
        }
    }

    /// Tells people about a phone: in the log, and in the group's chat if the gateway may write there.
    fn tell(&mut self, now: Instant, call: CallNumber, notice: Option<Notice>) {
        let (Some(notice), Some(leg)) = (notice, self.legs.get(&call)) else { return };
        let sentence = notice.sentence(leg.link.known_as());
        tracing::info!(%call, "{sentence}");
        self.write(now, None, &sentence);
    }

    /// Writes into the group's chat, or to one participant alone, if the group lets the gateway.
    pub fn say(&mut self, now: Instant, to: Option<&str>, text: &str) {
        self.write(now, to, text);
        self.pump(now);
    }

    fn write(&mut self, now: Instant, to: Option<&str>, text: &str) {
        if self.may_write() != Some(true) {
            return;
        }
        if let Some(client) = self.listener.as_mut().and_then(Link::client) {
            client.chat(now, to, text);
        }
    }

    fn listener_event(&mut self, now: Instant, event: LinkEvent) {
        match event {
            LinkEvent::Output(output) => self.outputs.push_back(output),
            LinkEvent::Client(galene::Event::Audio { stream, sequence, timestamp, marker, payload }) => {
                self.hearing.packet(now, stream, sequence as u16, timestamp, marker, &payload);
            }
            LinkEvent::Client(galene::Event::StreamEnded { stream }) => self.hearing.forget_stream(stream),
            LinkEvent::Client(galene::Event::Chat(chat)) => {
                if let Some((author, command)) = command::read(&chat) {
                    self.outputs.push_back(Output::Event(RoomEvent::Asked { author, command }));
                }
            }
            LinkEvent::Client(galene::Event::Joined { .. }) => {
                self.refuse_own_streams();
                self.note_mute();
            }
            LinkEvent::Client(galene::Event::PermissionsChanged { .. }) => self.note_mute(),
            LinkEvent::Client(galene::Event::CodecRefused { .. }) => {
                let remedy = "have the codecs of the group contain \"opus\"";
                tracing::warn!(remedy, "somebody in the group cannot be heard: his stream is not Opus");
            }
            LinkEvent::Client(_) => {}
            LinkEvent::Lost => self.hearing.forget_streams(),
            LinkEvent::Refused(reason) => {
                for call in self.legs.keys().copied().collect::<Vec<_>>() {
                    self.refuse(now, call, reason.clone());
                }
            }
            LinkEvent::Kicked(message) => {
                for call in self.legs.keys().copied().collect::<Vec<_>>() {
                    self.end(now, call, EndReason::Kicked(message.clone()));
                }
            }
        }
    }

    fn speaker_event(&mut self, now: Instant, call: CallNumber, event: LinkEvent) {
        match event {
            LinkEvent::Output(output) => self.outputs.push_back(output),
            LinkEvent::Client(galene::Event::Joined { .. }) => {
                self.refuse_own_streams();
                self.note(now, call, Leg::note_permissions);
            }
            LinkEvent::Client(galene::Event::PermissionsChanged { .. }) => self.note(now, call, Leg::note_permissions),
            LinkEvent::Client(galene::Event::Publishing(true)) => self.note(now, call, Leg::publishing_began),
            LinkEvent::Client(galene::Event::Muted { by }) => self.note(now, call, |leg| leg.mute(by)),
            LinkEvent::Client(_) | LinkEvent::Lost => {}
            LinkEvent::Refused(reason) => self.refuse(now, call, reason),
            LinkEvent::Kicked(message) => self.end(now, call, EndReason::Kicked(message)),
        }
    }

    fn note(&mut self, now: Instant, call: CallNumber, change: impl FnOnce(&mut Leg) -> Option<Notice>) {
        let notice = self.legs.get_mut(&call).and_then(change);
        self.tell(now, call, notice);
    }

    /// Before the answer a refusal refuses the call; afterwards (a rejoin that failed for good) it ends it.
    fn refuse(&mut self, now: Instant, call: CallNumber, reason: JoinRefused) {
        match self.legs.get(&call).is_some_and(|leg| leg.answered) {
            true => self.end(now, call, EndReason::GroupGone(reason.reason)),
            false => {
                self.outputs.push_back(Output::Event(RoomEvent::Refused { call, reason }));
                self.end(now, call, EndReason::Left);
            }
        }
    }

    fn announce_ready(&mut self, now: Instant) {
        if !self.listener.as_ref().is_some_and(Link::has_joined) {
            return;
        }
        let ready = self.legs.iter().filter(|(_, leg)| !leg.answered && leg.link.is_ready());
        for call in ready.map(|(call, _)| *call).collect::<Vec<_>>() {
            self.note(now, call, |leg| {
                leg.answered = true;
                leg.start(now);
                leg.note_answered()
            });
            self.outputs.push_back(Output::Event(RoomEvent::Ready { call }));
        }
    }
}
