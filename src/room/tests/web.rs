//! The group's other side: Galène's messages, and participants who talk and listen.

use super::*;
use crate::audio::{Encoder, Talker};
use crate::galene::{Client, ClientConfig, Credentials, Event, Role};
use crate::units::SampleRate;
use galene_sips_lab::sound::sine;

/// 20 ms of a tone at a time, encoded.
pub(super) struct Mouth {
    encoder: Encoder,
    tone: Vec<i16>,
    frames: usize,
}

impl Mouth {
    pub(super) fn new(codec: Codec, hz: f64) -> Self {
        let rate = codec.rate();
        // a second, which holds a whole number of periods
        let tone = sine(rate.hz(), hz, 0.25, rate.hz() as usize);
        Mouth { encoder: Encoder::new(codec, rate).unwrap(), tone, frames: 0 }
    }

    pub(super) fn payload(&mut self) -> Vec<u8> {
        let frame = self.tone.len() / 50;
        let start = self.frames % 50 * frame;
        self.frames += 1;
        self.encoder.encode(&self.tone[start..start + frame]).unwrap().to_vec()
    }
}

/// What somebody heard.
pub(super) struct Ears {
    talker: Talker,
    rate: SampleRate,
    frame: Vec<i16>,
    pub(super) sound: Vec<i16>,
}

impl Ears {
    pub(super) fn new(codec: Codec) -> Self {
        let rate = codec.rate();
        let talker = Talker::new(codec, rate).unwrap();
        Ears { talker, rate, frame: vec![0; rate.frame()], sound: Vec::new() }
    }

    pub(super) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) {
        self.talker.packet(now, sequence, timestamp, marker, payload);
    }

    pub(super) fn listen(&mut self, now: Instant) {
        self.talker.frame(now, &mut self.frame);
        self.sound.extend_from_slice(&self.frame);
    }

    /// The share of a tone in the last second.
    pub(super) fn share(&self, hz: f64) -> f64 {
        galene_sips_lab::measure::tone_share(self.last_second(), self.rate.hz(), hz)
    }

    pub(super) fn level(&self) -> f64 {
        galene_sips_lab::measure::level_dbfs(self.last_second())
    }

    fn last_second(&self) -> &[i16] {
        &self.sound[self.sound.len().saturating_sub(self.rate.hz() as usize)..]
    }
}

/// A packet of a stream, as a participant received it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Received {
    pub(super) sequence: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Vec<u8>,
}

/// What a participant receives of one other.
pub(super) struct Stream {
    id: StreamId,
    pub(super) username: String,
    pub(super) packets: Vec<Received>,
    pub(super) ears: Ears,
    pub(super) ended: bool,
}

/// A participant of the group.
pub(super) struct Web {
    pub(super) client: Client,
    mouth: Option<(Mouth, u64)>,
    pub(super) publishing: bool,
    sent: u64,
    pub(super) streams: Vec<Stream>,
}

impl Web {
    pub(super) fn new(now: Instant, name: &str, role: Role) -> Self {
        let credentials = Credentials::Token(Secret::from("T0KEN"));
        let config = ClientConfig { group: "g".to_owned(), credentials, username: name.to_owned(), role };
        let seed = name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte));
        let mut client = Client::new(now, config, &mut Seeded(seed));
        if role == Role::Speak {
            client.publish(now);
        }
        Web { client, mouth: None, publishing: false, sent: 0, streams: Vec::new() }
    }

    pub(super) fn says(&mut self, hz: f64) {
        self.mouth = Some((Mouth::new(Codec::Opus, hz), 0));
    }

    /// Its stream has come so far.
    pub(super) fn has_said(&mut self, packets: u64) {
        self.mouth.as_mut().unwrap().1 = packets;
    }

    /// Packets sent since it publishes.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn note(&mut self, now: Instant, event: Event) {
        match event {
            Event::Publishing(publishing) => self.publishing = publishing,
            Event::StreamStarted { stream, username, .. } => {
                let ears = Ears::new(Codec::Opus);
                self.streams.push(Stream { id: stream, username, packets: Vec::new(), ears, ended: false });
            }
            Event::StreamEnded { stream } => {
                self.streams.iter_mut().filter(|known| known.id == stream).for_each(|known| known.ended = true);
            }
            Event::Audio { stream, sequence, timestamp, marker, payload } => {
                let stream = self.streams.iter_mut().find(|known| known.id == stream).unwrap();
                stream.ears.packet(now, sequence as u16, timestamp, marker, &payload);
                stream.packets.push(Received { sequence, timestamp, marker, payload });
            }
            _ => {}
        }
    }

    pub(super) fn beat(&mut self, now: Instant) {
        for stream in &mut self.streams {
            stream.ears.listen(now);
        }
        if let Some((mouth, count)) = &mut self.mouth {
            self.client.send_opus(now, *count, *count as u32 * 960, *count == 0, &mouth.payload());
            *count += 1;
            self.sent += u64::from(self.publishing);
        }
    }
}

impl World {
    /// The newest stream of a phone, as the listening participant has it.
    pub(super) fn stream(&self, number: u32) -> &Stream {
        let name = format!("☎ {number}");
        self.web[EARS].streams.iter().rev().find(|stream| stream.username == name).unwrap()
    }

    pub(super) fn server(&mut self, to: Member, message: Value) {
        match to {
            Member::Ours(id) if self.connected.contains(&id) => {
                self.room.websocket_text(self.now, id, &message.to_string());
            }
            Member::Ours(_) => {}
            Member::Web(index) => self.web[index].client.handle_text(self.now, &message.to_string()),
        }
    }

    /// What Galène does with a message.
    pub(super) fn said(&mut self, from: Member, message: &Value) {
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        let id = text("id");
        match text("type").as_str() {
            "handshake" => {
                if let Member::Ours(connection) = from {
                    self.sources.insert(connection, id);
                }
                self.server(from, json!({"type": "handshake", "version": ["2"]}));
            }
            "join" if self.galene.keeps_waiting == Some(from) => {}
            "join" => {
                let username = text("username");
                let taken = self.galene.taken == Some(&username);
                let username = self.galene.token_name.map_or(username, str::to_owned);
                let answer = match (self.galene.refuses)(&username) {
                    _ if taken => json!({"type": "joined", "kind": "fail", "group": "g", "error": "duplicate-username",
                        "value": "not authorised: this username is taken"}),
                    Some(why) => json!({"type": "joined", "kind": "fail", "group": "g", "value": why}),
                    None => json!({"type": "joined", "kind": "join", "group": "g", "username": username,
                        "permissions": self.galene.permissions}),
                };
                self.server(from, answer);
                for n in 0..self.galene.others {
                    let name = format!("member {n}");
                    self.server(
                        from,
                        json!({"type": "user", "kind": "add", "id": name, "username": name,
                        "permissions": ["present", "message"]}),
                    );
                }
            }
            "ping" => self.server(from, json!({"type": "pong"})),
            "chat" => self.chats.push(text("value")),
            // what is being said already is offered to whoever asks for it
            "request" => {
                for index in (0..self.web.len()).filter(|_| from == Member::Ours(ConnectionId::Listener)) {
                    if self.web[index].mouth.is_some() {
                        self.web[index].client.unpublish(self.now);
                        self.web[index].client.publish(self.now);
                    }
                }
            }
            "offer" if !self.galene.opus => {
                let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\n";
                self.server(from, json!({"type": "answer", "id": id, "sdp": sdp}));
            }
            "offer" => {
                let to = match from {
                    Member::Ours(_) => {
                        self.offered = text("sdp");
                        Member::Web(EARS)
                    }
                    Member::Web(_) => Member::Ours(ConnectionId::Listener),
                };
                self.streams.insert(id, (from, to));
                self.server(to, message.clone());
            }
            "answer" => {
                if let Some((to, _)) = self.streams.get(&id).copied() {
                    self.server(to, message.clone());
                }
            }
            "renegotiate" => {
                if let Some((to, _)) = self.streams.get(&id).copied() {
                    self.server(to, message.clone());
                }
            }
            "close" => self.end_stream(&id),
            "abort" => {
                self.aborted.push(id.clone());
                self.streams.remove(&id);
            }
            _ => {}
        }
    }

    fn end_stream(&mut self, id: &str) {
        if let Some((_, to)) = self.streams.remove(id) {
            self.server(to, json!({"type": "close", "id": id}));
        }
    }

    /// A member's WebSocket is closed: its sockets and its streams go.
    pub(super) fn part(&mut self, member: Member) {
        self.sockets.retain(|_, (owner, _)| *owner != member);
        let ids: Vec<String> =
            self.streams.iter().filter(|(_, (from, _))| *from == member).map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| self.end_stream(id));
        self.streams.retain(|_, (_, to)| *to != member);
    }

    /// The listening client is offered the stream of a phone of ours, as Galène does, and tells whether it refuses.
    pub(super) fn listener_refuses(&mut self, number: u32) -> bool {
        let source = self.sources[&ConnectionId::Phone(CallNumber(number))].clone();
        let (sdp, listener) = (self.offered.clone(), Member::Ours(ConnectionId::Listener));
        let offer =
            json!({"type": "offer", "id": "own", "label": "camera", "source": source, "username": "x", "sdp": sdp});
        self.server(listener, offer);
        self.settle();
        self.aborted.pop().as_deref() == Some("own")
    }

    /// The answer to a `join` that was kept waiting.
    pub(super) fn lets_in(&mut self) {
        let member = self.galene.keeps_waiting.take().unwrap();
        let joined = json!({"type": "joined", "kind": "join", "group": "g", "permissions": ["present"]});
        self.server(member, joined);
        self.settle();
    }

    /// A connection of ours breaks; what it received ends for its senders.
    pub(super) fn breaks(&mut self, id: ConnectionId) {
        self.connected.remove(&id);
        self.room.websocket_failed(self.now, id, "broken", false);
        self.part(Member::Ours(id));
    }

    /// Galène is gone: every WebSocket of ours breaks, and none can be opened.
    pub(super) fn galene_breaks(&mut self) {
        self.galene.reachable = Err(("connection refused", false));
        for id in std::mem::take(&mut self.connected) {
            self.room.websocket_failed(self.now, id, "the connection broke", false);
            self.settle();
            let left = self.sockets.values().filter(|(owner, _)| *owner == Member::Ours(id)).count();
            assert_eq!(left, 0, "no socket outlives its client");
            self.part(Member::Ours(id));
        }
        // whoever is outside comes back later, with new streams
        for index in 1..self.web.len() {
            self.web[index].client.unpublish(self.now);
        }
        self.settle();
    }

    pub(super) fn galene_returns(&mut self) {
        self.galene.reachable = Ok(());
        self.run(5 * SECOND);
        for index in 1..self.web.len() {
            self.web[index].client.publish(self.now);
        }
        self.settle();
    }
}
