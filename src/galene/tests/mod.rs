//! The client against a scripted server, in virtual time. The server's side of a stream is another [`Link`]; that the
//! real Galène agrees is shown by the laboratory's `group_client` tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod session;
mod streams;

use super::link::{Link, LinkEvent};
use super::*;
use crate::secret::Secret;
use crate::units::Random;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Counts up: different ids for different clients of one test.
struct Counter(u8);

impl Random for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

/// The client, its server and the network between them.
struct World {
    now: Instant,
    client: Client,
    /// What the client said, and has not been looked at.
    said: VecDeque<Value>,
    events: Vec<(Instant, Event)>,
    open_sockets: BTreeMap<StreamId, SocketAddr>,
    closed_with: Option<u16>,
    /// The server's side of each stream, by the stream's name, with the client's address there.
    far: BTreeMap<String, Far>,
    /// Whether datagrams arrive.
    path: bool,
    /// Whether the client's STUN requests are lost.
    checks_lost: bool,
    /// Whether the server answers offers by itself.
    answers: bool,
    /// When the client sent its datagrams, and where to.
    sent: Vec<(Instant, SocketAddr)>,
    heard: Vec<(u64, Vec<u8>)>,
    /// What the server's side has sent.
    far_sent: Vec<Vec<u8>>,
}

struct Far {
    link: Link,
    at: SocketAddr,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn config(role: Role) -> ClientConfig {
    let credentials = Credentials::Token(Secret::from("T0KEN"));
    ClientConfig { group: "g".to_owned(), credentials, username: "Alice".to_owned(), role }
}

impl World {
    /// A client that has just been made.
    fn new(role: Role) -> Self {
        let now = Instant::now();
        let mut world = World {
            now,
            client: Client::new(now, config(role), &mut Counter(0)),
            said: VecDeque::new(),
            events: Vec::new(),
            open_sockets: BTreeMap::new(),
            closed_with: None,
            far: BTreeMap::new(),
            path: true,
            checks_lost: false,
            answers: true,
            sent: Vec::new(),
            heard: Vec::new(),
            far_sent: Vec::new(),
        };
        world.settle();
        world
    }

    /// A client that is in the group and may present.
    fn joined(role: Role) -> Self {
        let mut world = World::new(role);
        world.server(json!({"type": "handshake", "version": ["2"]}));
        world.server(json!({"type": "joined", "kind": "join", "group": "g", "username": "Alice",
            "permissions": ["present", "message"], "status": {"name": "g"}, "rtcConfiguration": {}}));
        world.said.clear();
        world
    }

    /// A client that publishes, connected.
    fn publishing() -> Self {
        let mut world = World::joined(Role::Speak);
        world.client.publish(world.now);
        world.run(SECOND);
        assert!(world.happened(&Event::Publishing(true)));
        world.said.clear();
        world
    }

    fn server(&mut self, message: Value) {
        self.client.handle_text(self.now, &message.to_string());
        self.settle();
    }

    /// The first thing the client said that nobody has looked at.
    fn next_said(&mut self) -> Value {
        self.said.pop_front().expect("the client says something")
    }

    fn said_of(&self, kind: &str) -> Vec<&Value> {
        self.said.iter().filter(|message| message["type"] == kind).collect()
    }

    fn happened(&self, event: &Event) -> bool {
        self.events.iter().any(|(_, happened)| happened == event)
    }

    fn last_event(&self) -> Option<&Event> {
        self.events.last().map(|(_, event)| event)
    }

    /// A new stream of a talker: the server's side makes the offer. Its candidate comes by `ice`, as Galène's does.
    fn talker(&mut self, name: &str, source: &str) {
        let at = address(40_000 + self.far.len() as u16);
        let mut link = Link::new(self.now, at).unwrap();
        let sdp = link.offer(self.now).unwrap();
        self.far.insert(name.to_owned(), Far { link, at });
        let (sdp, candidates) = without_candidates(&sdp);
        self.server(
            json!({"type": "offer", "id": name, "label": "camera", "source": source, "username": source, "sdp": sdp}),
        );
        self.send_candidates(name, candidates);
    }

    fn send_candidates(&mut self, name: &str, candidates: Vec<String>) {
        for candidate in candidates {
            let candidate =
                json!({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": null});
            self.server(json!({"type": "ice", "id": name, "candidate": candidate}));
        }
    }

    /// Lets time pass, step by step.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let far = self.far.values().filter_map(|far| far.link.wake()).min();
            let next = self.client.wake().into_iter().chain(far).min().unwrap_or(end);
            self.now = next.clamp(self.now + MS / 10, end.max(self.now + MS / 10));
            self.client.handle_timeout(self.now);
            for far in self.far.values_mut() {
                far.link.handle_timeout(self.now);
            }
            if self.now >= end {
                return self.settle();
            }
        }
    }

    /// Does what the client and the server's side want done now.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(output) = self.client.poll() {
                quiet = false;
                self.carry_out(output);
            }
            for name in self.far.keys().cloned().collect::<Vec<_>>() {
                while let Some(event) = self.far.get_mut(&name).and_then(|far| far.link.poll()) {
                    quiet = false;
                    self.far_event(&name, event);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        assert!(self.closed_with.is_none() || matches!(output, Output::Event(_)), "only events follow the close");
        match output {
            Output::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                self.said.push_back(message.clone());
                if self.answers {
                    self.react(&message);
                }
            }
            Output::CloseWebSocket { code } => self.closed_with = Some(code),
            Output::OpenSocket(stream) => {
                let local = SocketAddr::from(([192, 0, 2, 2], 50_000 + stream.0 as u16));
                assert!(self.open_sockets.insert(stream, local).is_none(), "a socket for each stream");
                self.client.socket_opened(self.now, stream, local);
            }
            Output::CloseSocket(stream) => {
                self.open_sockets.remove(&stream).expect("only open sockets are closed");
            }
            Output::Datagram { stream, to, bytes } => {
                let from = self.open_sockets[&stream];
                self.sent.push((self.now, to));
                let lost = !self.path || self.checks_lost && bytes.starts_with(&[0, 1]);
                if let Some(far) = self.far.values_mut().find(|far| far.at == to && !lost) {
                    far.link.datagram(self.now, from, &bytes);
                }
            }
            Output::Event(event) => self.events.push((self.now, event)),
        }
    }

    /// What Galène would do.
    fn react(&mut self, message: &Value) {
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        let id = text("id");
        match message["type"].as_str().unwrap() {
            "offer" => {
                if !self.far.contains_key(&id) {
                    let at = address(40_000 + self.far.len() as u16);
                    self.far.insert(id.clone(), Far { link: Link::new(self.now, at).unwrap(), at });
                }
                let far = self.far.get_mut(&id).unwrap();
                let sdp = far.link.accept_offer(self.now, &text("sdp")).unwrap();
                let (sdp, candidates) = without_candidates(&sdp);
                self.server(json!({"type": "answer", "id": id, "sdp": sdp}));
                self.send_candidates(&id, candidates);
            }
            "answer" => {
                let far = self.far.get_mut(&id).unwrap();
                far.link.accept_answer(self.now, &text("sdp")).unwrap();
            }
            "renegotiate" => {
                let sdp = self.far.get_mut(&id).unwrap().link.offer(self.now).expect("the last offer was answered");
                let (sdp, candidates) = without_candidates(&sdp);
                self.server(json!({"type": "offer", "id": id, "source": "bob", "username": "bob", "sdp": sdp}));
                self.send_candidates(&id, candidates);
            }
            "abort" => {
                self.far.remove(&id);
                self.server(json!({"type": "close", "id": id}));
            }
            "close" => {
                self.far.remove(&id);
            }
            _ => {}
        }
    }

    fn far_event(&mut self, name: &str, event: LinkEvent) {
        match event {
            LinkEvent::Datagram { to, bytes } => {
                self.far_sent.push(bytes.clone());
                let from = self.far[name].at;
                let stream = self.open_sockets.iter().find(|(_, local)| **local == to).map(|(stream, _)| *stream);
                if let Some(stream) = stream.filter(|_| self.path) {
                    self.client.handle_datagram(self.now, stream, from, &bytes);
                }
            }
            LinkEvent::Audio { sequence, payload, .. } => self.heard.push((sequence, payload)),
            _ => {}
        }
    }

    /// The client publishes `count` packets from `sequence` on, in real time.
    fn speak(&mut self, sequence: u64, count: u64) {
        for n in sequence..sequence + count {
            self.client.send_opus(self.now, n, n.wrapping_mul(960) as u32, false, &n.to_be_bytes());
            self.run(20 * MS);
        }
    }

    /// The talker sends `count` packets from `sequence` on, in real time.
    fn talk(&mut self, name: &str, sequence: u64, count: u64) {
        for n in sequence..sequence + count {
            let far = self.far.get_mut(name).unwrap();
            far.link.send(self.now, n, n.wrapping_mul(960) as u32, false, &n.to_be_bytes());
            self.run(20 * MS);
        }
    }

    /// The sequence numbers that the client heard.
    fn audio(&self) -> Vec<u64> {
        let sequence = |event: &(Instant, Event)| match &event.1 {
            Event::Audio { sequence, payload, .. } => {
                assert_eq!(payload.len(), 8);
                Some(*sequence)
            }
            _ => None,
        };
        self.events.iter().filter_map(sequence).collect()
    }
}

/// Galène's SDP has no candidates in it; they come by `ice`.
fn without_candidates(sdp: &str) -> (String, Vec<String>) {
    let candidate = |line: &&str| line.starts_with("a=candidate") || line.starts_with("a=end-of-candidates");
    let (candidates, rest): (Vec<&str>, Vec<&str>) = sdp.lines().partition(candidate);
    let candidates =
        candidates.iter().filter_map(|line| line.strip_prefix("a=")).filter(|line| line.starts_with("candidate"));
    (rest.iter().map(|line| format!("{line}\r\n")).collect(), candidates.map(str::to_owned).collect())
}

/// The ICE user name fragment of an SDP.
fn ufrag(message: &Value) -> &str {
    message["sdp"].as_str().unwrap().lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap()
}
