//! Moves everything between the client and the outside, in a task of its own.

use super::connect::Socket;
use super::voice::{FRAME, Talker, Voice};
use super::{Command, Shared};
use futures_util::{SinkExt, StreamExt};
use galene_sips::galene::{Client, Event, Output, StreamId, UserChange};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

type Packet = (StreamId, SocketAddr, Vec<u8>);

/// The task's state.
pub(super) struct Driver {
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
    replacing: Option<Replacing>,
    closed: bool,
}

/// Our stream gives way to a new one, as a browser's does that changes its microphone.
enum Replacing {
    /// The message that would close the old one is kept back …
    Close,
    /// … and the offer of the new one says that it replaces this one.
    Offer(String),
}

impl Driver {
    pub(super) fn new(
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
            replacing: None,
            closed: false,
        }
    }

    pub(super) async fn run(mut self) {
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
            Command::Offer => self.client.publish(now),
            Command::Unpublish => self.client.unpublish(now),
            Command::Replace => {
                self.replacing = Some(Replacing::Close);
                self.client.unpublish(now);
                self.client.publish(now);
            }
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

    /// A message as it is sent; none if it is not.
    fn written(&mut self, text: String) -> Option<String> {
        let Some(replacing) = &self.replacing else { return Some(text) };
        let mut message: serde_json::Value = serde_json::from_str(&text).ok()?;
        match (replacing, message["type"].as_str()) {
            (Replacing::Close, Some("close")) => {
                let old = message["id"].as_str().unwrap_or_default().to_owned();
                self.replacing = Some(Replacing::Offer(old));
                None
            }
            (Replacing::Offer(old), Some("offer")) => {
                message["replace"] = old.clone().into();
                self.replacing = None;
                Some(message.to_string())
            }
            _ => Some(text),
        }
    }

    async fn flush(&mut self) {
        while let Some(output) = self.client.poll() {
            match output {
                Output::Text(text) => {
                    let Some(text) = self.written(text) else { continue };
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
