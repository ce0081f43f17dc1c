//! A room with phones and a Galène, in memory and in virtual time.
//!
//! The phones have keys of their own and speak SRTP ([`Phone`]). Galène is a relay of messages; the other participants
//! are [`galene::Client`]s like ours, so that offers, answers and sound are real ([`Web`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod attacks;
mod awaited;
mod endurance;
mod galene_away;
mod holding;
mod membership;
mod patience;
mod phone;
mod predecessor;
mod reports;
mod sound;
mod telling;
mod told;
mod web;

use super::*;
use crate::audio::Codec;
use crate::galene::StreamId;
use crate::secret::Secret;
use phone::Phone;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use web::Web;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// SplitMix64: the same numbers in every run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.next() as u8;
        }
    }
}

/// A participant of the group, as Galène sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Member {
    Ours(ConnectionId),
    Web(usize),
}

/// What Galène does with those who come.
struct Galene {
    /// Whether WebSockets can be opened; if not, why not and whether for good.
    reachable: Result<(), (&'static str, bool)>,
    /// Whether it answers our clients' messages at all.
    answers: bool,
    /// The message of a `joined fail`, by user name.
    refuses: fn(&str) -> Option<&'static str>,
    permissions: Vec<&'static str>,
    /// A name that is a user's, so that nobody else may have it.
    taken: Option<&'static str>,
    /// The invitation's own name, which wins over any other.
    token_name: Option<&'static str>,
    /// Whether the group speaks Opus.
    opus: bool,
    /// How many others are there already, of whom everybody who joins is told.
    others: usize,
    /// Who is left without an answer to `join`, until [`World::lets_in`].
    keeps_waiting: Option<Member>,
}

struct World {
    now: Instant,
    start: Instant,
    room: Room,
    events: Vec<(Instant, RoomEvent)>,
    galene: Galene,
    /// Open WebSockets of the room.
    connected: BTreeSet<ConnectionId>,
    /// Client ids of the room's clients, which are the sources of their streams.
    sources: BTreeMap<ConnectionId, String>,
    /// When a WebSocket was asked for, and closed with which code.
    asked: Vec<(Instant, ConnectionId)>,
    closed: Vec<(ConnectionId, u16)>,
    sockets: BTreeMap<SocketAddr, (Member, StreamId)>,
    /// Whether datagrams reach the group and come from it.
    path: bool,
    /// Whether sockets for streams can be had.
    bindable: bool,
    /// Datagrams and messages of the group that wait for its server, while that is frozen.
    frozen: Option<Vec<Late>>,
    ports: u16,
    /// Who offers a stream, and who receives it.
    streams: BTreeMap<String, (Member, Member)>,
    aborted: Vec<String>,
    /// What the room's clients wrote to everybody.
    chats: Vec<String>,
    /// The SDP of the last offer of ours.
    offered: String,
    web: Vec<Web>,
    phones: BTreeMap<CallNumber, Phone>,
    /// The next 20 ms of the phones, and of everybody in the group, as their clocks count them.
    beats: [Beat; 2],
}

/// A clock of somebody outside of the room.
struct Beat {
    next: Instant,
    period: Duration,
}

const PHONES: usize = 0;
const WEB: usize = 1;

/// What comes when a frozen server goes on.
enum Late {
    Datagram(Option<SocketAddr>, SocketAddr, Vec<u8>),
    Message(Member, Value),
}

const EARS: usize = 0;

impl World {
    /// An empty room, and a participant of the group who only listens.
    fn new() -> Self {
        let now = Instant::now();
        let config = RoomConfig {
            credentials: galene::Credentials::Token(Secret::from("T0KEN")),
            robot_name: "Phone gateway".to_owned(),
            clock: WallClock { at: now, since_1970: Duration::from_secs(1_000_000_000) },
            language: Language::English,
        };
        let mut world = World {
            now,
            start: now,
            room: Room::new(config, Box::new(Seeded(1))),
            events: Vec::new(),
            galene: Galene {
                reachable: Ok(()),
                answers: true,
                refuses: |_| None,
                permissions: vec!["present"],
                taken: None,
                token_name: None,
                opus: true,
                others: 0,
                keeps_waiting: None,
            },
            connected: BTreeSet::new(),
            sources: BTreeMap::new(),
            asked: Vec::new(),
            closed: Vec::new(),
            sockets: BTreeMap::new(),
            path: true,
            bindable: true,
            frozen: None,
            ports: 40_000,
            streams: BTreeMap::new(),
            aborted: Vec::new(),
            chats: Vec::new(),
            offered: String::new(),
            web: Vec::new(),
            phones: BTreeMap::new(),
            beats: [7, 7].map(|phase| Beat { next: now + phase * MS, period: 20 * MS }),
        };
        world.web.push(Web::new(now, "ears", galene::Role::Listen));
        world.settle();
        world
    }

    /// The same, with phones that are in.
    fn with_phones(codecs: &[Codec]) -> Self {
        let mut world = World::new();
        for (number, codec) in (1..).zip(codecs) {
            world.join(number, *codec);
        }
        world.run(2 * SECOND);
        for number in 1..=codecs.len() as u32 {
            assert_eq!(world.events_of(number), [RoomEvent::Ready { call: CallNumber(number) }]);
        }
        world
    }

    fn join(&mut self, number: u32, codec: Codec) {
        self.join_warned(number, codec, None);
    }

    /// The same with what a call in clear brings along.
    fn join_warned(&mut self, number: u32, codec: Codec, warning: Option<Announcement>) {
        let (phone, mut setup) = Phone::new(number, codec);
        setup.warning = warning;
        self.phones.insert(CallNumber(number), phone);
        self.room.join(self.now, setup);
        self.settle();
    }

    /// Somebody in the group who talks: a tone.
    fn talker(&mut self, name: &str, hz: f64) -> usize {
        let mut web = Web::new(self.now, name, galene::Role::Speak);
        web.says(hz);
        self.web.push(web);
        self.settle();
        self.web.len() - 1
    }

    fn phone(&mut self, number: u32) -> &mut Phone {
        self.phones.get_mut(&CallNumber(number)).unwrap()
    }

    fn leg(&self, number: u32) -> LegReport {
        self.room.report().legs.into_iter().find(|leg| leg.call == CallNumber(number)).unwrap()
    }

    fn events_of(&self, number: u32) -> Vec<RoomEvent> {
        let about = |event: &&RoomEvent| match event {
            RoomEvent::Ready { call }
            | RoomEvent::Refused { call, .. }
            | RoomEvent::Zrtp { call, .. }
            | RoomEvent::Proved { call }
            | RoomEvent::Ended { call, .. } => *call == CallNumber(number),
            RoomEvent::Asked { .. } => false,
        };
        self.events.iter().map(|(_, event)| event).filter(about).cloned().collect()
    }

    fn ended(&self, number: u32) -> Option<EndReason> {
        self.events_of(number).into_iter().find_map(|event| match event {
            RoomEvent::Ended { reason, .. } => Some(reason),
            _ => None,
        })
    }

    /// Lets time pass, with every timer on time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let web = self.web.iter().filter_map(|web| web.client.wake()).min();
            let beats = self.beats.iter().map(|beat| beat.next);
            let Some(next) = self.room.wake().into_iter().chain(web).chain(beats).min() else { return };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.everybody_speaks();
            self.timers();
            for web in &mut self.web {
                web.client.handle_timeout(self.now);
            }
        }
        self.now = end;
        self.settle();
    }

    /// What is due now. A timer may be due again at once, but not for ever.
    fn timers(&mut self) {
        for _ in 0..10 {
            if self.room.wake().is_none_or(|wake| wake > self.now) {
                return;
            }
            self.room.handle_timeout(self.now);
            self.settle();
        }
        let links = self.room.listener.iter().chain(self.room.legs.values().map(|leg| &leg.link));
        let due: Vec<LinkReport> =
            links.filter(|link| link.wake().is_some_and(|wake| wake <= self.now)).map(Link::report).collect();
        panic!("a timer that does not move on at {:?}: {due:?}", self.now.duration_since(self.start));
    }

    /// Whoever's next 20 ms have come.
    fn everybody_speaks(&mut self) {
        if self.is_due(PHONES) {
            for (call, phone) in self.phones.iter_mut() {
                phone.listen(self.now);
                if let Some(mut packet) = phone.speak() {
                    self.room.phone_packet(self.now, *call, Channel::Rtp, phone.rtp, &mut packet);
                }
            }
        }
        if self.is_due(WEB) {
            self.web.iter_mut().for_each(|web| web.beat(self.now));
        }
    }

    fn is_due(&mut self, beat: usize) -> bool {
        let beat = &mut self.beats[beat];
        let due = beat.next <= self.now;
        if due {
            beat.next += beat.period;
        }
        due
    }

    /// A datagram at a phone's ports, from anywhere.
    fn arrives(&mut self, number: u32, channel: Channel, from: SocketAddr, packet: &[u8]) {
        self.room.phone_packet(self.now, CallNumber(number), channel, from, &mut packet.to_vec());
        self.settle();
    }

    /// Carries out all that is wanted now.
    fn settle(&mut self) {
        for _ in 0..1_000_000 {
            if let Some(output) = self.room.poll() {
                self.carry_out(output);
            } else if let Some((index, output)) =
                (0..self.web.len()).find_map(|index| Some((index, self.web[index].client.poll()?)))
            {
                self.carry_out_web(index, output);
            } else {
                return;
            }
        }
        panic!("the room talks without end");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::OpenWebSocket(id) => {
                self.asked.push((self.now, id));
                match self.galene.reachable {
                    Ok(()) => {
                        self.connected.insert(id);
                        self.room.websocket_opened(self.now, id, "g");
                    }
                    Err((why, refused)) => self.room.websocket_failed(self.now, id, why, refused),
                }
            }
            Output::Text(id, text) => {
                assert!(self.connected.contains(&id), "{id:?} is not connected and says {text}");
                if self.galene.answers {
                    self.says(Member::Ours(id), serde_json::from_str(&text).unwrap());
                }
            }
            Output::CloseWebSocket(id, code) => {
                if self.connected.remove(&id) {
                    self.closed.push((id, code));
                }
                self.part(Member::Ours(id));
            }
            Output::OpenSocket(id, stream) if !self.bindable => {
                self.room.socket_failed(self.now, id, stream, "too many open files");
            }
            Output::OpenSocket(id, stream) => {
                let address = self.open(Member::Ours(id), stream);
                self.room.socket_opened(self.now, id, stream, address);
            }
            Output::CloseSocket(id, stream) => self.close(Member::Ours(id), stream),
            Output::ToGalene(id, stream, to, bytes) => {
                let from = self.address_of(Member::Ours(id), stream);
                self.datagram(from, to, &bytes);
            }
            Output::ToPhone(call, channel, to, sealed) => {
                if let Some(phone) = self.phones.get_mut(&call) {
                    phone.receives(self.now, channel, to, sealed.as_bytes());
                }
            }
            Output::Event(event) => self.events.push((self.now, event)),
        }
    }

    fn carry_out_web(&mut self, index: usize, output: galene::Output) {
        let member = Member::Web(index);
        match output {
            galene::Output::Text(text) => self.says(member, serde_json::from_str(&text).unwrap()),
            galene::Output::CloseWebSocket { .. } => self.part(member),
            galene::Output::OpenSocket(stream) => {
                let address = self.open(member, stream);
                self.web[index].client.socket_opened(self.now, stream, address);
            }
            galene::Output::CloseSocket(stream) => self.close(member, stream),
            galene::Output::Datagram { stream, to, bytes } => {
                let from = self.address_of(member, stream);
                self.datagram(from, to, &bytes);
            }
            galene::Output::Event(event) => self.web[index].note(self.now, event),
        }
    }

    fn open(&mut self, member: Member, stream: StreamId) -> SocketAddr {
        self.ports += 1;
        let address = SocketAddr::from(([192, 0, 2, 9], self.ports));
        assert!(self.sockets.values().all(|socket| *socket != (member, stream)), "a socket for each stream");
        self.sockets.insert(address, (member, stream));
        address
    }

    fn close(&mut self, member: Member, stream: StreamId) {
        self.sockets.retain(|_, socket| *socket != (member, stream));
    }

    fn address_of(&self, member: Member, stream: StreamId) -> Option<SocketAddr> {
        self.sockets.iter().find(|(_, socket)| **socket == (member, stream)).map(|(address, _)| *address)
    }

    fn says(&mut self, from: Member, message: Value) {
        match &mut self.frozen {
            Some(late) => late.push(Late::Message(from, message)),
            None => self.said(from, &message),
        }
    }

    /// Stops the server as SIGSTOP does: what is sent to it, and through it, waits.
    fn freeze(&mut self) {
        self.frozen = Some(Vec::new());
    }

    fn thaw(&mut self) {
        for late in self.frozen.take().into_iter().flatten() {
            match late {
                Late::Datagram(from, to, bytes) => self.datagram(from, to, &bytes),
                Late::Message(from, message) => self.said(from, &message),
            }
        }
        self.settle();
    }

    fn datagram(&mut self, from: Option<SocketAddr>, to: SocketAddr, bytes: &[u8]) {
        if let Some(late) = &mut self.frozen {
            return late.push(Late::Datagram(from, to, bytes.to_vec()));
        }
        let (Some(from), Some((member, stream))) = (from.filter(|_| self.path), self.sockets.get(&to).copied()) else {
            return;
        };
        match member {
            Member::Ours(id) => self.room.datagram(self.now, id, stream, from, bytes),
            Member::Web(index) => self.web[index].client.handle_datagram(self.now, stream, from, bytes),
        }
    }
}
