//! All groups and all clients, in one task: every message is handled one after the other, so that what each client
//! sees has one order. Files beside this one: `session` handles a client's messages, `streams` the media.

use super::Complaints;
use super::description::{Credentials, GroupDescription, JoinError};
use super::http;
use super::message::Message;
use super::peer::{Command, Packet, PeerEvent};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Galène keeps this many chat messages for those who come later.
const CHAT_HISTORY: usize = 50;

/// A client's number: its connection, not its protocol id.
pub(super) type ClientKey = u64;

/// One PeerConnection of one client. The number tells it from an earlier one of the same id.
#[derive(Clone, Debug)]
pub(super) struct StreamKey {
    pub(super) client: ClientKey,
    pub(super) id: String,
    pub(super) serial: u64,
}

/// Everything that makes the hall move.
pub(super) enum HallEvent {
    Opened {
        key: ClientKey,
        id: String,
        out: mpsc::UnboundedSender<Out>,
    },
    Text {
        key: ClientKey,
        message: Box<Message>,
    },
    /// A text that is not a message.
    Garbled {
        key: ClientKey,
    },
    Closed {
        key: ClientKey,
    },
    Peer {
        stream: StreamKey,
        event: PeerEvent,
    },
    /// The 200 ms after a stream's offer, or after its first packet, are over.
    Publish {
        stream: StreamKey,
        to: Vec<ClientKey>,
    },
    Status {
        group: String,
        host: String,
        reply: oneshot::Sender<Option<Value>>,
    },
}

/// What a client's connection is told to do, in order.
pub(super) enum Out {
    Message(Box<Message>),
    Pause(Duration),
    /// The last one.
    Close {
        code: u16,
        reason: String,
    },
}

/// What ends a client's connection.
pub(super) enum Fault {
    /// The client broke the protocol: said, then closed with 1002.
    Protocol(&'static str),
    /// A mistake: said, then closed with 1000.
    User(&'static str),
    /// Closed with 1011.
    Internal,
    Kicked {
        by_id: String,
        by: Option<String>,
        message: String,
    },
}

pub(super) struct Group {
    pub(super) description: GroupDescription,
    pub(super) locked: Option<String>,
    pub(super) data: Map<String, Value>,
    pub(super) history: VecDeque<Message>,
    /// In the order of joining.
    pub(super) members: Vec<ClientKey>,
}

pub(super) struct Client {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) permissions: Vec<String>,
    pub(super) data: Map<String, Value>,
    pub(super) group: Option<String>,
    pub(super) requested: HashMap<String, Vec<String>>,
    pub(super) up: HashMap<String, Up>,
    pub(super) down: HashMap<String, Down>,
    out: mpsc::UnboundedSender<Out>,
}

pub(super) struct Up {
    pub(super) serial: u64,
    pub(super) label: String,
    pub(super) replace: String,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) packets: broadcast::Sender<Arc<Packet>>,
    pub(super) has_track: bool,
    /// The others were offered it, or told that it has nothing for them.
    pub(super) pushed: bool,
}

pub(super) struct Down {
    pub(super) serial: u64,
    pub(super) label: String,
    pub(super) source: String,
    pub(super) username: String,
    pub(super) owner: ClientKey,
    pub(super) replace: String,
    pub(super) requested: Option<Vec<String>>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

impl Client {
    pub(super) fn may(&self, permission: &str) -> bool {
        self.permissions.iter().any(|have| have == permission)
    }
}

pub(super) struct Hall {
    pub(super) groups: HashMap<String, Group>,
    pub(super) clients: HashMap<ClientKey, Client>,
    pub(super) bind: IpAddr,
    pub(super) publish_delay: Duration,
    pub(super) events: mpsc::UnboundedSender<HallEvent>,
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) media_lost: watch::Receiver<bool>,
    pub(super) complaints: Complaints,
    /// PeerConnections and timers; they end with the hall.
    pub(super) tasks: JoinSet<()>,
    pub(super) serial: u64,
}

impl Hall {
    pub(super) async fn run(mut self, mut events: mpsc::UnboundedReceiver<HallEvent>) {
        while let Some(event) = events.recv().await {
            let mut frozen = self.frozen.clone();
            let _ = frozen.wait_for(|frozen| !frozen).await;
            while self.tasks.try_join_next().is_some() {}
            self.handle(event);
        }
    }

    fn handle(&mut self, event: HallEvent) {
        match event {
            HallEvent::Opened { key, id, out } => {
                let client = Client {
                    id,
                    username: String::new(),
                    permissions: Vec::new(),
                    data: Map::new(),
                    group: None,
                    requested: HashMap::new(),
                    up: HashMap::new(),
                    down: HashMap::new(),
                    out,
                };
                self.clients.insert(key, client);
            }
            HallEvent::Text { key, message } => {
                if self.clients.contains_key(&key)
                    && let Err(fault) = self.handle_message(key, *message)
                {
                    self.expel(key, fault);
                }
            }
            HallEvent::Garbled { key } => self.expel(key, Fault::Internal),
            HallEvent::Closed { key } => {
                self.leave(key, false);
                self.clients.remove(&key);
            }
            HallEvent::Peer { stream, event } => self.handle_peer(&stream, event),
            HallEvent::Publish { stream, to } => self.publish(&stream, &to),
            HallEvent::Status { group, host, reply } => {
                let status = self.groups.get(&group).map(|found| {
                    let members = found.description.public.then(|| (found.members.len(), found.locked.is_some()));
                    http::status(&group, &found.description, Some(&host), members)
                });
                let _ = reply.send(status);
            }
        }
    }

    /// Ends a client's connection as Galène does: it leaves, is told why, and gets a Close frame.
    pub(super) fn expel(&mut self, key: ClientKey, fault: Fault) {
        self.leave(key, false);
        let Some(client) = self.clients.remove(&key) else { return };
        let (code, reason, message) = match fault {
            Fault::Protocol(text) => (1002, text.to_owned(), Some(Message::from_server("error", &client.id, text))),
            Fault::User(text) => (1000, text.to_owned(), Some(Message::from_server("error", &client.id, text))),
            Fault::Internal => (1011, String::new(), None),
            Fault::Kicked { by_id, by, message } => {
                let mut reason = "kicked out".to_owned();
                if !message.is_empty() {
                    reason += &format!(" ({message})");
                }
                if let Some(by) = by.as_deref().filter(|by| !by.is_empty()) {
                    reason += &format!(" by {by}");
                }
                let said = if message.is_empty() { "you have been kicked out" } else { &message };
                let said = Message { id: by_id, username: by, ..Message::from_server("kicked", &client.id, said) };
                (1000, reason, Some(said))
            }
        };
        if let Some(message) = message {
            let _ = client.out.send(Out::Message(Box::new(message)));
        }
        let _ = client.out.send(Out::Close { code, reason });
    }

    pub(super) fn write(&self, key: ClientKey, message: Message) {
        if let Some(client) = self.clients.get(&key) {
            let _ = client.out.send(Out::Message(Box::new(message)));
        }
    }

    /// Tells a client about a mistake without ending anything.
    pub(super) fn error(&self, key: ClientKey, text: &str) {
        if let Some(client) = self.clients.get(&key) {
            self.write(key, Message::from_server("error", &client.id, text));
        }
    }

    pub(super) fn group_of(&self, key: ClientKey) -> Option<(String, &Group)> {
        let name = self.clients.get(&key)?.group.clone()?;
        let group = self.groups.get(&name)?;
        Some((name, group))
    }

    /// The members of a client's group, except itself.
    pub(super) fn others(&self, key: ClientKey) -> Vec<ClientKey> {
        let members = self.group_of(key).map(|(_, group)| group.members.clone()).unwrap_or_default();
        members.into_iter().filter(|member| *member != key).collect()
    }

    pub(super) fn join(&mut self, key: ClientKey, message: &Message) -> Result<(), Fault> {
        match self.admit(key, message) {
            Ok(()) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Join(error)) => {
                let (error_id, text) = error.texts();
                let Some(client) = self.clients.get(&key) else { return Ok(()) };
                if error == JoinError::NotAuthorised {
                    let _ = client.out.send(Out::Pause(Duration::from_millis(200)));
                }
                self.write(
                    key,
                    Message {
                        kind: "fail".into(),
                        error: error_id.into(),
                        group: message.group.clone(),
                        username: Some(client.username.clone()),
                        value: Some(text.into()),
                        ..Message::new("joined")
                    },
                );
                Ok(())
            }
        }
    }

    fn admit(&mut self, key: ClientKey, message: &Message) -> Result<(), Refusal> {
        let group = self.groups.get_mut(&message.group).ok_or(Refusal::Join(JoinError::NoSuchGroup))?;
        let client = self.clients.get_mut(&key).ok_or(Refusal::Fault(Fault::Internal))?;
        client.data = message.data.clone();
        let credentials =
            Credentials { username: message.username.as_deref(), password: &message.password, token: &message.token };
        let (username, permissions) = group.description.authorise(&credentials).map_err(Refusal::Join)?;
        client.username = username;
        client.permissions = permissions.iter().map(|&permission| permission.to_owned()).collect();
        if !client.may("op") {
            if let Some(locked) = &group.locked {
                let text = if locked.is_empty() { "this group is locked" } else { locked };
                return Err(Refusal::Join(JoinError::User(text.into())));
            }
            if group.description.max_clients > 0 && group.members.len() >= group.description.max_clients {
                return Err(Refusal::Join(JoinError::User("too many users".into())));
            }
        }
        if client.id.is_empty() {
            return Err(Refusal::Join(JoinError::Internal));
        }
        let id = client.id.clone();
        if let Some(redirect) = group.description.redirect.clone() {
            let redirected = Message {
                kind: "redirect".into(),
                group: message.group.clone(),
                username: Some(client.username.clone()),
                value: Some(redirect.into()),
                ..Message::new("joined")
            };
            self.write(key, redirected);
            return Ok(());
        }
        let others = group.members.clone();
        if others.iter().any(|other| self.clients.get(other).is_some_and(|other| other.id == id)) {
            // Galène answers a second client of one id as any other failure to join.
            return Err(Refusal::Join(JoinError::Internal));
        }
        if let Some(group) = self.groups.get_mut(&message.group) {
            group.members.push(key);
        }
        if let Some(client) = self.clients.get_mut(&key) {
            client.group = Some(message.group.clone());
        }
        self.joined(key, "join");
        self.introduce(key, key, "add");
        for other in others {
            self.introduce(key, other, "add");
            self.introduce(other, key, "add");
        }
        Ok(())
    }

    /// Tells `key` that it joined or left, or that its group changed.
    pub(super) fn joined(&self, key: ClientKey, kind: &str) {
        let (Some(client), Some((name, group))) = (self.clients.get(&key), self.group_of(key)) else { return };
        let members = Some((group.members.len(), group.locked.is_some()));
        let message = Message {
            kind: kind.into(),
            group: name.clone(),
            username: Some(client.username.clone()),
            permissions: client.permissions.clone(),
            status: Some(http::status(&name, &group.description, None, members)),
            data: group.data.clone(),
            rtc_configuration: Some(json!({})),
            ..Message::new("joined")
        };
        self.write(key, message);
        if kind == "join" {
            for said in &group.history {
                self.write(key, said.clone());
            }
        }
    }

    /// Tells `to` about `about`: `add`, `change` or `delete`.
    pub(super) fn introduce(&self, to: ClientKey, about: ClientKey, kind: &str) {
        let Some(client) = self.clients.get(&about) else { return };
        let gone = kind == "delete";
        let message = Message {
            kind: kind.into(),
            username: Some(client.username.clone()),
            permissions: if gone { Vec::new() } else { client.permissions.clone() },
            data: if gone { Map::new() } else { client.data.clone() },
            ..Message::about("user", &client.id)
        };
        self.write(to, message);
    }

    /// Takes a client out of its group. `told`: it asked for it and its connection goes on.
    pub(super) fn leave(&mut self, key: ClientKey, told: bool) {
        let Some((name, _)) = self.group_of(key) else { return };
        let streams: Vec<String> = self.clients.get(&key).map(|c| c.up.keys().cloned().collect()).unwrap_or_default();
        for id in streams {
            self.delete_up(key, &id, true);
        }
        if let Some(client) = self.clients.get_mut(&key) {
            client.down.clear();
        }
        if let Some(group) = self.groups.get_mut(&name) {
            group.members.retain(|member| *member != key);
        }
        if let Some(client) = self.clients.get_mut(&key) {
            client.permissions.clear();
            client.requested.clear();
        }
        if told {
            self.joined(key, "leave");
        }
        if let Some(client) = self.clients.get_mut(&key) {
            client.group = None;
            client.data.clear();
        }
        for other in self.groups.get(&name).map(|group| group.members.clone()).unwrap_or_default() {
            self.introduce(other, key, "delete");
        }
    }

    pub(super) fn remember(&mut self, group: &str, said: Message) {
        if let Some(group) = self.groups.get_mut(group) {
            if group.history.len() >= CHAT_HISTORY {
                group.history.pop_front();
            }
            group.history.push_back(said);
        }
    }
}

enum Refusal {
    Join(JoinError),
    Fault(Fault),
}
