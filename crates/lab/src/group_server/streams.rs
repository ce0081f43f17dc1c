//! Streams: who sends what to whom. An up stream comes from a client; each other member that asked for audio gets it
//! as a down stream with the same id.

use super::hall::{ClientKey, Down, Hall, HallEvent, StreamKey, Up};
use super::message::Message;
use super::peer::{self, Command, PeerEvent, Role, Setup};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

impl Hall {
    pub(super) fn handle_offer(&mut self, key: ClientKey, message: Message) {
        let Some(client) = self.clients.get(&key) else { return };
        if !client.may("present") {
            self.delete_up(key, &message.replace, true);
            self.write(key, Message::about("abort", &message.id));
            return self.error(key, "not authorised");
        }
        if client.down.contains_key(&message.id) {
            self.write(key, Message::about("abort", &message.id));
            return self.error(key, "adding duplicate connection");
        }
        if !client.up.contains_key(&message.id) {
            let (packets, _) = broadcast::channel(1024);
            let role = Role::Up(packets.clone());
            let (serial, commands) = self.start_peer(key, &message.id, role);
            let label = message.label.clone();
            let up = Up { serial, label, replace: String::new(), commands, packets, has_track: false, pushed: false };
            if let Some(client) = self.clients.get_mut(&key) {
                client.up.insert(message.id.clone(), up);
            }
            self.publish_later(&StreamKey { client: key, id: message.id.clone(), serial });
        }
        if !message.replace.is_empty() {
            self.delete_up(key, &message.replace, false);
        }
        if let Some(up) = self.clients.get_mut(&key).and_then(|client| client.up.get_mut(&message.id)) {
            if !message.replace.is_empty() {
                up.replace = message.replace;
            }
            let _ = up.commands.send(Command::Offer(message.sdp));
        }
    }

    pub(super) fn handle_answer(&mut self, key: ClientKey, message: Message) {
        match self.clients.get(&key).and_then(|client| client.down.get(&message.id)) {
            Some(down) => {
                let _ = down.commands.send(Command::Answer(message.sdp));
            }
            None => self.close_down(key, &message.id, ""),
        }
    }

    pub(super) fn renegotiate(&mut self, key: ClientKey, id: &str) {
        if let Some(down) = self.clients.get(&key).and_then(|client| client.down.get(id)) {
            let _ = down.commands.send(Command::Restart);
        }
    }

    pub(super) fn handle_candidate(&mut self, key: ClientKey, id: &str, candidate: &Value) {
        let Some(client) = self.clients.get(&key) else { return };
        let commands = client.up.get(id).map(|up| &up.commands).or(client.down.get(id).map(|down| &down.commands));
        if let (Some(commands), Some(text)) = (commands, candidate.get("candidate").and_then(Value::as_str)) {
            let _ = commands.send(Command::Candidate(text.to_owned()));
        }
    }

    pub(super) fn handle_peer(&mut self, stream: &StreamKey, event: PeerEvent) {
        let StreamKey { client: key, id, serial } = stream;
        let Some(client) = self.clients.get_mut(key) else { return };
        let is_up = client.up.get(id).is_some_and(|up| up.serial == *serial);
        let down = client.down.get_mut(id).filter(|down| down.serial == *serial);
        if !is_up && down.is_none() {
            return;
        }
        match (event, down) {
            (PeerEvent::Answer(sdp), _) => self.write(*key, Message { sdp, ..Message::about("answer", id) }),
            (PeerEvent::Offer(sdp), Some(down)) => {
                let offer = Message {
                    label: down.label.clone(),
                    replace: std::mem::take(&mut down.replace),
                    source: down.source.clone(),
                    username: Some(down.username.clone()),
                    sdp,
                    ..Message::about("offer", id)
                };
                self.write(*key, offer);
            }
            (PeerEvent::Offer(_), None) => {}
            (PeerEvent::Candidate(candidate), _) => {
                let candidate = json!({
                    "candidate": candidate.trim_start_matches("a="),
                    "sdpMid": "",
                    "sdpMLineIndex": 0,
                    "usernameFragment": null,
                });
                self.write(*key, Message { candidate: Some(candidate), ..Message::about("ice", id) });
            }
            (PeerEvent::Track, _) => self.track_came(stream),
            (PeerEvent::IceFailed, Some(down)) => {
                let _ = down.commands.send(Command::Restart);
            }
            (PeerEvent::IceFailed, None) => self.write(*key, Message::about("renegotiate", id)),
            (PeerEvent::Refused(text), Some(_)) => self.close_down(*key, id, &text),
            (PeerEvent::Refused(text), None) => {
                self.delete_up(*key, id, true);
                self.write(*key, Message::about("abort", id));
                self.error(*key, &text);
            }
        }
    }

    fn track_came(&mut self, stream: &StreamKey) {
        if let Some(up) = self.clients.get_mut(&stream.client).and_then(|client| client.up.get_mut(&stream.id)) {
            up.has_track = true;
            up.pushed = false;
        }
        self.publish_later(stream);
    }

    /// Hands a stream on after the delay in which Galène waits for further tracks. As in Galène, whoever comes during the
    /// delay is forgotten, and the delay that ends first wins: who joins after a stream's offer and asks for sound before
    /// its first packet, is never offered it.
    fn publish_later(&mut self, stream: &StreamKey) {
        let to = self.others(stream.client);
        let (events, delay, stream) = (self.events.clone(), self.publish_delay, stream.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = events.send(HallEvent::Publish { stream, to });
        });
    }

    pub(super) fn publish(&mut self, stream: &StreamKey, to: &[ClientKey]) {
        let up = self.clients.get_mut(&stream.client).and_then(|client| client.up.get_mut(&stream.id));
        let Some(up) = up.filter(|up| up.serial == stream.serial && !up.pushed) else { return };
        up.pushed = true;
        let replace = std::mem::take(&mut up.replace);
        for &member in to {
            self.push(stream.client, &stream.id, member, &replace);
        }
    }

    /// Offers all streams of `owner` (or the one named `only`) to `to`.
    pub(super) fn push_all(&mut self, owner: ClientKey, to: ClientKey, only: &str) {
        let Some(client) = self.clients.get(&owner) else { return };
        let streams: Vec<(String, String)> = client
            .up
            .iter()
            .filter(|(id, _)| only.is_empty() || only == *id)
            .map(|(id, up)| (id.clone(), up.replace.clone()))
            .collect();
        for (id, replace) in streams {
            self.push(owner, &id, to, &replace);
        }
    }

    /// Offers the stream `id` of `owner` to `to`, if it wants it; says `close` if not, even of what it never had.
    fn push(&mut self, owner: ClientKey, id: &str, to: ClientKey, replace: &str) {
        let Some(sender) = self.clients.get(&owner) else { return };
        let Some(up) = sender.up.get(id) else { return };
        let (label, packets, has_track) = (up.label.clone(), up.packets.clone(), up.has_track);
        let (source, username) = (sender.id.clone(), sender.username.clone());
        let Some(receiver) = self.clients.get_mut(&to).filter(|receiver| receiver.group.is_some()) else { return };

        let old = receiver.down.get(if replace.is_empty() { id } else { replace });
        let requested = old
            .and_then(|old| old.requested.clone())
            .or_else(|| receiver.requested.get(&label).or(receiver.requested.get("")).cloned())
            .unwrap_or_default();
        if !replace.is_empty() {
            receiver.down.remove(replace);
        }
        if !has_track || !requested.iter().any(|kind| kind == "audio") {
            self.close_down(to, id, "");
        } else if !receiver.down.contains_key(id) {
            let (serial, commands) = self.start_peer(to, id, Role::Down(packets.subscribe()));
            let replace = replace.to_owned();
            let down = Down { serial, label, source, username, owner, replace, requested: None, commands };
            if let Some(receiver) = self.clients.get_mut(&to) {
                receiver.down.insert(id.to_owned(), down);
            }
            return;
        }
        if !replace.is_empty() {
            self.close_down(to, replace, "");
        }
    }

    /// Ends a stream of `key`'s. `push`: the others are told.
    pub(super) fn delete_up(&mut self, key: ClientKey, id: &str, push: bool) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        let Some(up) = client.up.remove(id) else { return };
        if push {
            for other in self.others(key) {
                self.close_down(other, id, "");
                if !up.replace.is_empty() {
                    self.close_down(other, &up.replace, "");
                }
            }
        }
    }

    pub(super) fn close_down(&mut self, key: ClientKey, id: &str, text: &str) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        client.down.remove(id);
        self.write(key, Message::about("close", id));
        if !text.is_empty() {
            self.error(key, text);
        }
    }

    fn start_peer(&mut self, client: ClientKey, id: &str, role: Role) -> (u64, mpsc::UnboundedSender<Command>) {
        self.serial += 1;
        let stream = StreamKey { client, id: id.to_owned(), serial: self.serial };
        let codec = self.group_of(client).map(|(_, group)| group.description.codec).unwrap_or_default();
        let (commands, received) = mpsc::unbounded_channel();
        let (frozen, media_lost) = (self.frozen.clone(), self.media_lost.clone());
        let setup = Setup { bind: self.bind, codec, role, commands: received, frozen, media_lost };
        let events = self.events.clone();
        self.tasks.spawn(async move {
            peer::run(setup, |event| {
                let _ = events.send(HallEvent::Peer { stream: stream.clone(), event });
            })
            .await;
        });
        (self.serial, commands)
    }
}
