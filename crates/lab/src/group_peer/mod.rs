//! A participant of a Galène group for tests: joins, publishes a sound, records what it hears from whom, chats.
//!
//! In: an invitation and 48 kHz mono samples. Out: the same from everybody else, and everything that happened.
//! It drives the library's own `galene::Client`, so what it proves about the client it proves against the server on the
//! other side, not against itself.

mod connect;
mod driver;
mod voice;

use driver::Driver;
use galene_sips::galene::{Chat, Client, ClientConfig, Credentials, Event, GroupAddress, Role};
use galene_sips::secret::Secret;
use galene_sips::units::Random;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

/// Whom the peer takes for the server.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Servers with a certificate of this authority (PEM).
    CaFile(PathBuf),
    /// Anybody: a Galène that made its own certificate.
    Insecure,
}

/// How to join.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// The group's address, with its token or without.
    pub url: String,
    /// The participant's name.
    pub username: String,
    /// Its password; not needed with a token.
    pub password: Option<String>,
    /// Whom to take for the server.
    pub trust: ServerTrust,
    /// Whether to receive the others' sound.
    pub listen: bool,
}

impl JoinOptions {
    /// Joins with the token of the invitation, listens, believes any server.
    pub fn new(url: impl Into<String>, username: impl Into<String>) -> Self {
        JoinOptions {
            url: url.into(),
            username: username.into(),
            password: None,
            trust: ServerTrust::Insecure,
            listen: true,
        }
    }

    /// Joins with a password.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Believes only servers of this authority.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = ServerTrust::CaFile(path.into());
        self
    }

    /// Does not ask for the others' sound.
    #[must_use]
    pub fn deaf(mut self) -> Self {
        self.listen = false;
        self
    }
}

/// Why a peer could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The address or the group's status is unusable.
    #[error("{0}")]
    Address(String),
    /// No connection.
    #[error("no connection to the group's server: {0}")]
    Connection(String),
    /// The server said no.
    #[error("the group refuses: {message}")]
    Refused {
        /// For programs.
        error: Option<String>,
        /// For people.
        message: String,
    },
}

impl From<io::Error> for JoinError {
    fn from(error: io::Error) -> Self {
        JoinError::Connection(error.to_string())
    }
}

/// What was heard of one name.
#[derive(Clone, Debug, Default)]
pub struct Hearing {
    /// 48 kHz mono; losses are concealed and pauses filled, so that time is kept within a stream.
    pub samples: Vec<i16>,
    /// When the first packet came.
    pub first: Option<Instant>,
    /// Packets that came.
    pub packets: u64,
    /// Sequence numbers that never came, between the first and the last.
    pub lost: u64,
    /// The longest time between two packets of a stream.
    pub longest_gap: Duration,
    /// Streams of this name that have begun.
    pub streams: u64,
}

/// A participant.
pub struct GroupPeer {
    id: String,
    username: String,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    changed: watch::Receiver<u64>,
    task: AbortHandle,
}

enum Command {
    Publish(Vec<i16>, oneshot::Sender<()>),
    Offer,
    Unpublish,
    Replace,
    Chat(Option<String>, String),
    Ignore(String),
    Raw(serde_json::Value),
    Leave,
}

#[derive(Default)]
struct Record {
    heard: HashMap<String, Hearing>,
    users: BTreeMap<String, String>,
    chats: Vec<Chat>,
    events: Vec<(Instant, Event)>,
    messages: Vec<String>,
}

struct Shared {
    record: Mutex<Record>,
    changes: watch::Sender<u64>,
}

impl Shared {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupPeer {
    /// Joins; returns when the server has let us in or not.
    pub async fn join(options: JoinOptions) -> Result<GroupPeer, JoinError> {
        let address = GroupAddress::parse(&options.url).map_err(|error| JoinError::Address(error.to_string()))?;
        let tls = connect::tls_config(&options.trust)?;
        let endpoint = connect::ask_status(&address, &tls).await?;
        let (socket, local) = connect::open_websocket(&endpoint, &tls).await?;
        let credentials = match (address.token(), options.password) {
            (_, Some(password)) => {
                Credentials::Password { username: options.username.clone(), password: Secret::new(password) }
            }
            (Some(token), None) => Credentials::Token(token.duplicate()),
            (None, None) => {
                Credentials::Password { username: options.username.clone(), password: Secret::new(String::new()) }
            }
        };
        let role = if options.listen { Role::Listen } else { Role::Speak };
        let config = ClientConfig { group: endpoint.group, credentials, username: options.username, role };
        let client = Client::new(Instant::now(), config, &mut SystemRandom);
        let (changes, changed) = watch::channel(0);
        let shared = Arc::new(Shared { record: Mutex::default(), changes });
        let (commands, inbox) = mpsc::unbounded_channel();
        let id = client.id().to_owned();
        let task = tokio::spawn(Driver::new(client, socket, local, inbox, Arc::clone(&shared)).run()).abort_handle();
        let mut peer = GroupPeer { id, username: String::new(), commands, shared, changed, task };
        let ends = |event: &Event| {
            matches!(event, Event::Joined { .. } | Event::JoinFailed { .. } | Event::Gone { .. } | Event::Kicked { .. })
        };
        match peer.wait_for(Duration::from_secs(20), ends).await {
            Some(Event::Joined { username, .. }) => {
                peer.username = username;
                Ok(peer)
            }
            Some(Event::JoinFailed { error, message }) => Err(JoinError::Refused { error, message }),
            other => Err(JoinError::Connection(format!("{other:?}"))),
        }
    }

    /// Our client id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Our name, as the server gave it to us.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Publishes a sound (48 kHz mono) in real time; returns when it has been sent. The stream stays.
    pub async fn publish(&self, samples: impl Into<Vec<i16>>) {
        let (done, finished) = oneshot::channel();
        let _ = self.commands.send(Command::Publish(samples.into(), done));
        let _ = finished.await;
    }

    /// Offers a stream in which there is nothing yet; [`publish`](Self::publish) speaks in it.
    pub fn offer(&self) {
        let _ = self.commands.send(Command::Offer);
    }

    /// Ends our stream.
    pub fn unpublish(&self) {
        let _ = self.commands.send(Command::Unpublish);
    }

    /// Goes on in a new stream that replaces the old one, as a browser does that changes its microphone.
    pub fn replace_stream(&self) {
        let _ = self.commands.send(Command::Replace);
    }

    /// Samples heard so far, by the talker's name; several streams of one name follow each other.
    pub fn heard(&self) -> HashMap<String, Vec<i16>> {
        self.hearing().into_iter().map(|(name, hearing)| (name, hearing.samples)).collect()
    }

    /// What was heard so far, by the talker's name.
    pub fn hearing(&self) -> HashMap<String, Hearing> {
        self.shared.record().heard.clone()
    }

    /// Forgets what was heard so far.
    pub fn clear_heard(&self) {
        self.shared.record().heard.clear();
    }

    /// Everybody in the group, ourselves included: client id and name.
    pub fn participants(&self) -> BTreeMap<String, String> {
        self.shared.record().users.clone()
    }

    /// The chat lines that we have received.
    pub fn chats(&self) -> Vec<Chat> {
        self.shared.record().chats.clone()
    }

    /// Everything that happened, except packets.
    pub fn events(&self) -> Vec<(Instant, Event)> {
        self.shared.record().events.clone()
    }

    /// The server's messages, word for word.
    pub fn messages(&self) -> Vec<String> {
        self.shared.record().messages.clone()
    }

    /// The first event, past or to come, that is as wanted.
    pub async fn wait_for(&self, patience: Duration, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        self.wait_after(0, patience, wanted).await
    }

    /// Like [`wait_for`](Self::wait_for), but only among the events after the first `seen`.
    pub async fn wait_after(&self, seen: usize, patience: Duration, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                changed.mark_unchanged();
                let found = self.shared.record().events.iter().skip(seen).find(|(_, event)| wanted(event)).cloned();
                if let Some((_, event)) = found {
                    return Some(event);
                }
                if changed.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, search).await.ok().flatten()
    }

    /// Waits until somebody with this name is heard.
    pub async fn wait_until_heard(&self, name: &str, patience: Duration) -> bool {
        let mut changed = self.changed.clone();
        let search = async {
            while self.shared.record().heard.get(name).is_none_or(|hearing| hearing.packets == 0) {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, search).await.is_ok()
    }

    /// Writes to everybody.
    pub fn chat(&self, text: impl Into<String>) {
        let _ = self.commands.send(Command::Chat(None, text.into()));
    }

    /// Writes to one participant, by name.
    pub fn chat_to(&self, name: &str, text: impl Into<String>) {
        let _ = self.commands.send(Command::Chat(self.id_of(name), text.into()));
    }

    /// Never receives this client id.
    pub fn ignore(&self, id: &str) {
        let _ = self.commands.send(Command::Ignore(id.to_owned()));
    }

    /// Removes a participant, by name. Needs `op`.
    pub fn kick(&self, name: &str) {
        self.user_action("kick", name, "kicked by the test");
    }

    /// `op`, `unop`, `present`, `unpresent`, … for a participant, by name. Needs `op`.
    pub fn user_action(&self, kind: &str, name: &str, value: &str) {
        let dest = self.id_of(name).unwrap_or_default();
        self.raw(serde_json::json!({
            "type": "useraction", "kind": kind, "source": self.id, "username": self.username, "dest": dest, "value": value,
        }));
    }

    /// Asks a participant, by name, to be silent.
    pub fn mute(&self, name: &str) {
        let dest = self.id_of(name).unwrap_or_default();
        self.raw(serde_json::json!({
            "type": "usermessage", "kind": "mute", "source": self.id, "username": self.username, "dest": dest,
        }));
    }

    /// Sends any message, well-formed or not.
    pub fn raw(&self, message: serde_json::Value) {
        let _ = self.commands.send(Command::Raw(message));
    }

    /// The client id of a participant.
    pub fn id_of(&self, name: &str) -> Option<String> {
        let record = self.shared.record();
        record.users.iter().find(|(_, username)| *username == name).map(|(id, _)| id.clone())
    }

    /// Leaves properly; returns when the connection is closed.
    pub async fn leave(self) {
        let _ = self.commands.send(Command::Leave);
        let closed = self.commands.closed();
        let _ = tokio::time::timeout(Duration::from_secs(5), closed).await;
    }
}

impl Drop for GroupPeer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The system's randomness.
struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        // a client id only has to be unique in the laboratory; all zeros would show at once as a duplicate
        let _ = rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(out);
    }
}
