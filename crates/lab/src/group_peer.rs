//! A participant of a Galène group for tests: joins, publishes a sound, records what it hears from whom, chats.
//!
//! In: an invitation and 48 kHz mono samples. Out: the same from everybody else, and everything that happened.
//! It drives the library's own `galene::Client`, so what it proves about the client it proves against the server on the
//! other side, not against itself.

use futures_util::{SinkExt, StreamExt};
use galene_sips::galene::{
    Chat, Client, ClientConfig, Credentials, Endpoint, Event, GroupAddress, MESSAGE_LIMIT, Output, Role, StreamId,
    UserChange,
};
use galene_sips::secret::Secret;
use galene_sips::units::Random;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

/// Samples of one 20 ms packet.
const FRAME: usize = 960;

/// Longest gap that is filled so that the record keeps its time, in samples.
const LONGEST_GAP: i64 = 60 * 48_000;

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
    Unpublish,
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
        let tls = tls_config(&options.trust)?;
        let endpoint = ask_status(&address, &tls).await?;
        let (socket, local) = open_websocket(&endpoint, &tls).await?;
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

    /// Ends our stream.
    pub fn unpublish(&self) {
        let _ = self.commands.send(Command::Unpublish);
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

type Socket = WebSocketStream<TlsStream<TcpStream>>;
type Packet = (StreamId, SocketAddr, Vec<u8>);

/// Moves everything between the client and the outside.
struct Driver {
    client: Client,
    websocket: Socket,
    local: IpAddr,
    inbox: mpsc::UnboundedReceiver<Command>,
    shared: Arc<Shared>,
    sockets: HashMap<StreamId, (Arc<UdpSocket>, AbortHandle)>,
    packets: (mpsc::Sender<Packet>, mpsc::Receiver<Packet>),
    talkers: HashMap<StreamId, Talker>,
    playing: VecDeque<(Vec<i16>, oneshot::Sender<()>)>,
    voice: Voice,
    publishing: bool,
    closed: bool,
}

impl Driver {
    fn new(
        client: Client,
        websocket: Socket,
        local: IpAddr,
        inbox: mpsc::UnboundedReceiver<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Driver {
            client,
            websocket,
            local,
            inbox,
            shared,
            sockets: HashMap::new(),
            packets: mpsc::channel(1024),
            talkers: HashMap::new(),
            playing: VecDeque::new(),
            voice: Voice::default(),
            publishing: false,
            closed: false,
        }
    }

    async fn run(mut self) {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        self.flush().await;
        while !self.closed {
            let wake = self.client.wake().unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                message = self.websocket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.shared.record().messages.push(text.to_string());
                        self.client.handle_text(Instant::now(), &text);
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                        self.client.handle_closed(Instant::now(), &format!("the server closed: {reason}"));
                        self.closed = true;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        self.client.handle_closed(Instant::now(), &error.to_string());
                        self.closed = true;
                    }
                    None => {
                        self.client.handle_closed(Instant::now(), "the connection ended");
                        self.closed = true;
                    }
                },
                Some((stream, from, bytes)) = self.packets.1.recv() => {
                    self.client.handle_datagram(Instant::now(), stream, from, &bytes);
                }
                command = self.inbox.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => self.client.leave(Instant::now()),
                },
                _ = beat.tick() => self.speak(),
                () = tokio::time::sleep_until(wake.into()) => self.client.handle_timeout(Instant::now()),
            }
            self.flush().await;
        }
        for (_, (_, reader)) in self.sockets.drain() {
            reader.abort();
        }
    }

    async fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Publish(samples, done) => {
                self.client.publish(now);
                self.playing.push_back((samples, done));
            }
            Command::Unpublish => self.client.unpublish(now),
            Command::Chat(to, text) => self.client.chat(now, to.as_deref(), &text),
            Command::Ignore(id) => self.client.ignore(id),
            Command::Raw(message) => {
                let _ = self.websocket.send(Message::text(message.to_string())).await;
            }
            Command::Leave => self.client.leave(now),
        }
    }

    /// 20 ms of the sound that is being published.
    fn speak(&mut self) {
        let Some((samples, _)) = self.playing.front_mut().filter(|_| self.publishing) else { return };
        let mut frame: Vec<i16> = samples.drain(..samples.len().min(FRAME)).collect();
        frame.resize(FRAME, 0);
        if samples.is_empty()
            && let Some((_, done)) = self.playing.pop_front()
        {
            let _ = done.send(());
        }
        if let Some((sequence, timestamp, packet)) = self.voice.packet(&frame) {
            self.client.send_opus(Instant::now(), sequence, timestamp, sequence == 0, &packet);
        }
    }

    async fn flush(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Text(text) => {
                    if let Err(error) = self.websocket.send(Message::text(text)).await {
                        self.client.handle_closed(Instant::now(), &error.to_string());
                        self.closed = true;
                    }
                }
                Output::CloseWebSocket { code } => {
                    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                    let _ = self.websocket.close(Some(frame)).await;
                    self.closed = true;
                }
                Output::OpenSocket(stream) => self.open_socket(stream).await,
                Output::CloseSocket(stream) => {
                    if let Some((_, reader)) = self.sockets.remove(&stream) {
                        reader.abort();
                    }
                }
                Output::Datagram { stream, to, bytes } => {
                    if let Some((socket, _)) = self.sockets.get(&stream) {
                        let _ = socket.try_send_to(&bytes, to);
                    }
                }
                Output::Event(event) => self.note(event),
            }
        }
    }

    async fn open_socket(&mut self, stream: StreamId) {
        let opened = UdpSocket::bind((self.local, 0)).await.and_then(|socket| Ok((socket.local_addr()?, socket)));
        match opened {
            Ok((local, socket)) => {
                let socket = Arc::new(socket);
                let (reader, packets) = (Arc::clone(&socket), self.packets.0.clone());
                let reading = tokio::spawn(async move {
                    let mut buffer = [0; 2048];
                    while let Ok((length, from)) = reader.recv_from(&mut buffer).await {
                        if packets.send((stream, from, buffer[..length].to_vec())).await.is_err() {
                            break;
                        }
                    }
                });
                self.sockets.insert(stream, (socket, reading.abort_handle()));
                self.client.socket_opened(Instant::now(), stream, local);
            }
            Err(error) => self.client.socket_failed(Instant::now(), stream, &error.to_string()),
        }
    }

    fn note(&mut self, event: Event) {
        let now = Instant::now();
        let mut record = self.shared.record();
        match &event {
            Event::Audio { stream, sequence, timestamp, payload, .. } => {
                if let Some(talker) = self.talkers.get_mut(stream) {
                    let hearing = record.heard.entry(talker.name.clone()).or_default();
                    talker.hear(now, *sequence, *timestamp, payload, hearing);
                }
                drop(record);
                self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
                return;
            }
            Event::StreamStarted { stream, username, .. } => {
                record.heard.entry(username.clone()).or_default().streams += 1;
                self.talkers.insert(*stream, Talker::new(username.clone()));
            }
            Event::StreamEnded { stream } => {
                self.talkers.remove(stream);
            }
            Event::User { change: UserChange::Left, id, .. } => {
                record.users.remove(id);
            }
            Event::User { id, username, .. } => {
                record.users.insert(id.clone(), username.clone());
            }
            Event::Chat(chat) => record.chats.push(chat.clone()),
            Event::Publishing(publishing) => self.publishing = *publishing,
            _ => {}
        }
        record.events.push((now, event));
        drop(record);
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Encodes what we publish.
#[derive(Default)]
struct Voice {
    encoder: Option<opus::Encoder>,
    sequence: u64,
}

impl Voice {
    fn packet(&mut self, frame: &[i16]) -> Option<(u64, u32, Vec<u8>)> {
        if self.encoder.is_none() {
            self.encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).ok();
        }
        let packet = self.encoder.as_mut()?.encode_vec(frame, 1200).ok()?;
        let sequence = self.sequence;
        self.sequence += 1;
        let timestamp = sequence.wrapping_mul(FRAME as u64) as u32;
        Some((sequence, timestamp, packet))
    }
}

/// Decodes one stream that we hear.
struct Talker {
    name: String,
    decoder: Option<opus::Decoder>,
    next: Option<(u64, u32)>,
    last: Option<Instant>,
}

impl Talker {
    fn new(name: String) -> Self {
        let decoder = opus::Decoder::new(48_000, opus::Channels::Mono).ok();
        Talker { name, decoder, next: None, last: None }
    }

    fn hear(&mut self, now: Instant, sequence: u64, timestamp: u32, payload: &[u8], hearing: &mut Hearing) {
        hearing.first.get_or_insert(now);
        hearing.packets += 1;
        if let Some(last) = self.last.replace(now) {
            hearing.longest_gap = hearing.longest_gap.max(now.saturating_duration_since(last));
        }
        let Some(decoder) = &mut self.decoder else { return };
        if let Some((next_sequence, next_timestamp)) = self.next {
            if sequence < next_sequence {
                return; // late: its place is taken
            }
            hearing.lost += sequence - next_sequence;
            let missing = i64::from(timestamp.wrapping_sub(next_timestamp) as i32);
            let mut missing = missing.clamp(0, LONGEST_GAP) as usize;
            let mut concealed = [0i16; FRAME];
            for _ in 0..(sequence - next_sequence).min(5) {
                let length = missing.min(FRAME);
                if length == FRAME && decoder.decode(&[], &mut concealed, false).is_ok() {
                    hearing.samples.extend_from_slice(&concealed);
                    missing -= length;
                }
            }
            hearing.samples.resize(hearing.samples.len() + missing, 0);
        }
        let mut samples = [0i16; 6 * FRAME];
        let length = decoder.decode(payload, &mut samples, false).unwrap_or(0);
        hearing.samples.extend_from_slice(&samples[..length]);
        self.next = Some((sequence + 1, timestamp.wrapping_add(length as u32)));
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

fn tls_config(trust: &ServerTrust) -> Result<Arc<rustls::ClientConfig>, JoinError> {
    let bad = |error: &dyn std::fmt::Display| JoinError::Connection(format!("TLS: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad(&error))?;
    let config = match trust {
        ServerTrust::CaFile(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(&error))? {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        ServerTrust::Insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// Believes every certificate. Only here.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

async fn connect(host: &str, port: u16, tls: &Arc<rustls::ClientConfig>) -> Result<TlsStream<TcpStream>, JoinError> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| JoinError::Connection(error.to_string()))?;
    Ok(tokio_rustls::TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?)
}

/// `GET …/.status`, in the smallest HTTP/1.1 that Galène and the laboratory's server understand.
async fn ask_status(address: &GroupAddress, tls: &Arc<rustls::ClientConfig>) -> Result<Endpoint, JoinError> {
    let mut stream = connect(address.host(), address.port(), tls).await?;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nAccept: application/json\r\n\r\n",
        address.status_path(),
        address.authority()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = (&mut stream).take(256 * 1024).read_to_end(&mut answer).await;
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let Some(head_end) = head_end else {
        read?;
        return Err(JoinError::Connection("no answer to the request for the group's status".to_owned()));
    };
    let head = String::from_utf8_lossy(&answer[..head_end]);
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(JoinError::Address(format!("the server answered {status} to the request for the group's status")));
    }
    address.endpoint(&answer[head_end + 4..]).map_err(|error| JoinError::Address(error.to_string()))
}

/// The WebSocket, and the address from which we reach the server.
async fn open_websocket(endpoint: &Endpoint, tls: &Arc<rustls::ClientConfig>) -> Result<(Socket, IpAddr), JoinError> {
    let stream = connect(&endpoint.host, endpoint.port, tls).await?;
    let local = stream.get_ref().0.local_addr()?.ip();
    let url = format!("wss://{}{}", endpoint.authority, endpoint.path);
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, Some(config))
        .await
        .map_err(|error| JoinError::Connection(error.to_string()))?;
    Ok((socket, local))
}
