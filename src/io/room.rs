//! The task of one room: all its sockets, its WebSockets, and its 20 ms beat, fed to [`room::Room`](crate::room::Room).
//!
//! One task and one timer for all calls of the group. The only function that writes to a phone takes a
//! [`Sealed`] packet.

use super::dns::Dns;
use super::group::{self, FromGroup, ToGroup};
use super::ports::MediaSockets;
use super::tls::Trust;
use crate::audio::Announcement;
use crate::galene::{Credentials, GroupAddress, StreamId};
use crate::keying::Keys;
use crate::room::{
    Channel, ConnectionId, Direction, LegOrder, LegSetup, Output, RemoteMedia, Room, RoomEvent, RoomReport,
};
use crate::srtp::Sealed;
use crate::units::CallNumber;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

/// Larger than any datagram that is spoken here; longer ones are cut and then do not authenticate.
const LONGEST_DATAGRAM: usize = 2048;

/// So many messages may wait in either direction of a WebSocket: a joining client sends and gets a handful at once. A server
/// that sends more has to wait; one that takes fewer is gone.
const MOST_WAITING: usize = 256;

/// What a dialog, or the administrator, asks of a room.
pub enum RoomMessage {
    /// A phone wants in.
    Join(Box<LegSetup>, MediaSockets),
    /// Another direction or address.
    Update(CallNumber, Direction, RemoteMedia),
    /// New keys.
    Rekey(CallNumber, Box<Keys>),
    /// Write this into the chat, or to one participant alone.
    Say(Option<String>, String),
    /// Tell a phone this aloud.
    Announce(CallNumber, Announcement),
    /// What ZRTP has done.
    Order(CallNumber, LegOrder),
    /// The dialog is over.
    Leave(CallNumber),
    /// The configuration was read again: the same group with its way in, and who vouches for its server.
    Change(Arc<GroupAddress>, Credentials, Trust),
    /// For `status` and `calls`.
    Report(oneshot::Sender<RoomReport>),
}

/// What the task waits for besides sockets and time.
enum FromWebSocket {
    Opened { group: String, server: SocketAddr },
    Failed { why: String, permanent: bool },
    Text(String),
}

struct WebSocket {
    generation: u64,
    to: mpsc::Sender<ToGroup>,
    server: Option<SocketAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SocketKey {
    Phone(CallNumber, Channel),
    Stream(ConnectionId, StreamId),
}

struct Task {
    room: Room,
    address: Arc<GroupAddress>,
    dns: Dns,
    trust: Trust,
    events: mpsc::UnboundedSender<RoomEvent>,
    phones: HashMap<CallNumber, MediaSockets>,
    streams: HashMap<(ConnectionId, StreamId), UdpSocket>,
    websockets: HashMap<ConnectionId, WebSocket>,
    generation: u64,
    incoming: mpsc::Sender<(ConnectionId, u64, FromWebSocket)>,
    /// One for each WebSocket, until it has said goodbye.
    carriers: JoinSet<()>,
    /// Where the next look at the sockets begins, so that a busy one does not starve the others.
    turn: usize,
}

/// Runs a room until every sender of messages is gone and the room is empty.
pub async fn run(
    room: Room,
    address: Arc<GroupAddress>,
    dns: Dns,
    trust: Trust,
    mut messages: mpsc::Receiver<RoomMessage>,
    events: mpsc::UnboundedSender<RoomEvent>,
) {
    let (incoming, mut from_websockets) = mpsc::channel(MOST_WAITING);
    let mut task = Task {
        room,
        address,
        dns,
        trust,
        events,
        phones: HashMap::new(),
        streams: HashMap::new(),
        websockets: HashMap::new(),
        generation: 0,
        incoming,
        carriers: JoinSet::new(),
        turn: 0,
    };
    let mut buffer = [0u8; LONGEST_DATAGRAM];
    let mut open = true;
    loop {
        task.carry_out().await;
        if !open && task.room.is_empty() {
            break;
        }
        let wake = task.room.wake().unwrap_or_else(|| super::now() + Duration::from_secs(3600));
        tokio::select! {
            message = messages.recv(), if open => match message {
                Some(message) => task.message(message),
                None => open = false,
            },
            Some((connection, generation, what)) = from_websockets.recv() => task.websocket_said(connection, generation, what),
            (key, from, length) = poll_fn(|context| task.receive(context, &mut buffer)) => {
                task.datagram(key, from, &mut buffer[..length]);
            }
            () = sleep_until(wake.into()) => task.room.handle_timeout(super::now()),
        }
    }
    // the last messages and close frames; nobody listens to what comes back
    drop(from_websockets);
    task.websockets.clear();
    while task.carriers.join_next().await.is_some() {}
}

impl Task {
    fn message(&mut self, message: RoomMessage) {
        let now = super::now();
        match message {
            RoomMessage::Join(setup, sockets) => {
                self.phones.insert(setup.call, sockets);
                self.room.join(now, *setup);
            }
            RoomMessage::Update(call, direction, remote) => self.room.update(now, call, direction, remote),
            RoomMessage::Rekey(call, keys) => {
                self.room.rekey(now, call, keys.level, keys.protector, keys.unprotector);
            }
            RoomMessage::Say(to, text) => self.room.say(now, to.as_deref(), &text),
            RoomMessage::Announce(call, announcement) => self.room.announce(now, call, announcement),
            RoomMessage::Order(call, order) => self.room.order(now, call, order),
            RoomMessage::Leave(call) => self.room.leave(now, call),
            RoomMessage::Change(address, credentials, trust) => {
                (self.address, self.trust) = (address, trust);
                self.room.change_credentials(credentials);
            }
            RoomMessage::Report(reply) => {
                let _ = reply.send(self.room.report());
            }
        }
    }

    fn websocket_said(&mut self, connection: ConnectionId, generation: u64, what: FromWebSocket) {
        let Some(websocket) =
            self.websockets.get_mut(&connection).filter(|websocket| websocket.generation == generation)
        else {
            return;
        };
        let now = super::now();
        match what {
            FromWebSocket::Opened { group, server } => {
                websocket.server = Some(server);
                self.room.websocket_opened(now, connection, &group);
            }
            FromWebSocket::Text(text) => self.room.websocket_text(now, connection, &text),
            FromWebSocket::Failed { why, permanent } => {
                self.websockets.remove(&connection);
                self.room.websocket_failed(now, connection, &why, permanent);
            }
        }
    }

    fn datagram(&mut self, key: SocketKey, from: SocketAddr, datagram: &mut [u8]) {
        let now = super::now();
        match key {
            SocketKey::Phone(call, channel) => self.room.phone_packet(now, call, channel, from, datagram),
            SocketKey::Stream(connection, stream) => self.room.datagram(now, connection, stream, from, datagram),
        }
    }

    /// The next datagram on any socket.
    fn receive(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<(SocketKey, SocketAddr, usize)> {
        let phones = self.phones.iter().flat_map(|(call, sockets)| {
            [
                (SocketKey::Phone(*call, Channel::Rtp), &sockets.rtp),
                (SocketKey::Phone(*call, Channel::Rtcp), &sockets.rtcp),
            ]
        });
        let streams =
            self.streams.iter().map(|((connection, stream), socket)| (SocketKey::Stream(*connection, *stream), socket));
        let count = 2 * self.phones.len() + self.streams.len();
        if count == 0 {
            return Poll::Pending;
        }
        self.turn = (self.turn + 1) % count;
        let all = phones.chain(streams);
        for (key, socket) in all.clone().skip(self.turn).chain(all.take(self.turn)) {
            if let Poll::Ready((from, length)) = receive_from(socket, context, buffer) {
                return Poll::Ready((key, from, length));
            }
        }
        Poll::Pending
    }

    /// Does what the room asks for.
    async fn carry_out(&mut self) {
        while let Some(output) = self.room.poll() {
            match output {
                Output::ToPhone(call, channel, to, packet) => self.send_to_phone(call, channel, to, &packet),
                Output::ToGalene(connection, stream, to, bytes) => {
                    if let Some(socket) = self.streams.get(&(connection, stream)) {
                        let _ = socket.try_send_to(&bytes, to); // UDP: what does not fit is lost, and made up for above
                    }
                }
                Output::OpenWebSocket(connection) => self.open_websocket(connection),
                Output::Text(connection, text) => self.tell_group(connection, ToGroup::Text(text)),
                Output::CloseWebSocket(connection, code) => {
                    self.tell_group(connection, ToGroup::Close(code));
                    self.websockets.remove(&connection);
                    self.streams.retain(|(owner, _), _| *owner != connection);
                }
                Output::OpenSocket(connection, stream) => self.open_stream(connection, stream).await,
                Output::CloseSocket(connection, stream) => {
                    self.streams.remove(&(connection, stream));
                }
                Output::Event(event) => {
                    if let RoomEvent::Ended { call, .. } = &event {
                        self.phones.remove(call);
                    }
                    let _ = self.events.send(event); // without a dialog nobody needs to know
                }
            }
        }
    }

    /// The only way to a phone.
    fn send_to_phone(&self, call: CallNumber, channel: Channel, to: SocketAddr, packet: &Sealed) {
        let Some(sockets) = self.phones.get(&call) else { return };
        let socket = match channel {
            Channel::Rtp => &sockets.rtp,
            Channel::Rtcp => &sockets.rtcp,
        };
        if let Err(error) = socket.try_send_to(packet.as_bytes(), to)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::debug!(%call, %to, %error, "packet to the phone not sent");
        }
    }

    fn tell_group(&mut self, connection: ConnectionId, message: ToGroup) {
        let Some(websocket) = self.websockets.get(&connection) else { return };
        // if its task has ended, it has said so already
        if let Err(TrySendError::Full(_)) = websocket.to.try_send(message) {
            self.websockets.remove(&connection);
            self.room.websocket_failed(super::now(), connection, "the conference server takes no more messages", false);
        }
    }

    fn open_websocket(&mut self, connection: ConnectionId) {
        self.generation += 1;
        let generation = self.generation;
        let (to, mut outgoing) = mpsc::channel(MOST_WAITING);
        self.websockets.insert(connection, WebSocket { generation, to, server: None });
        let (address, incoming) = (Arc::clone(&self.address), self.incoming.clone());
        let (dns, trust) = (self.dns.clone(), self.trust.clone());
        while let Some(ended) = self.carriers.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the task of a WebSocket");
            }
        }
        self.carriers.spawn(async move {
            let opened = tokio::select! {
                opened = group::open(&address, &dns, &trust) => opened,
                _ = outgoing.recv() => return, // before it is open there is only one thing to say: forget it
            };
            let (news, socket) = match opened {
                Ok(socket) => {
                    (FromWebSocket::Opened { group: socket.group.clone(), server: socket.server }, Some(socket))
                }
                Err(error) => (FromWebSocket::Failed { why: error.why, permanent: error.permanent }, None),
            };
            if incoming.send((connection, generation, news)).await.is_ok()
                && let Some(socket) = socket
            {
                let letter = |message| match message {
                    FromGroup::Text(text) => (connection, generation, FromWebSocket::Text(text)),
                    FromGroup::Closed(why) => (connection, generation, FromWebSocket::Failed { why, permanent: false }),
                };
                group::carry(socket, outgoing, &incoming, letter).await;
            }
        });
    }

    async fn open_stream(&mut self, connection: ConnectionId, stream: StreamId) {
        let Some(server) = self.websockets.get(&connection).and_then(|websocket| websocket.server) else { return };
        match bind_towards(server).await {
            Ok((socket, local)) => {
                self.streams.insert((connection, stream), socket);
                self.room.socket_opened(super::now(), connection, stream, local);
            }
            Err(error) => {
                tracing::error!(%error, "no UDP socket for a stream of the group");
                self.room.socket_failed(super::now(), connection, stream, &error.to_string());
            }
        }
    }
}

/// A socket on the address from which `server` is reached: what a candidate of ICE has to name.
async fn bind_towards(server: SocketAddr) -> io::Result<(UdpSocket, SocketAddr)> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let probe = UdpSocket::bind(any).await?;
    probe.connect(server).await?; // sends nothing: asks the routing table
    let socket = UdpSocket::bind((probe.local_addr()?.ip(), 0)).await?;
    let local = socket.local_addr()?;
    Ok((socket, local))
}

fn receive_from(socket: &UdpSocket, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<(SocketAddr, usize)> {
    // an error is that of an earlier packet (ICMP): the next read is a new one
    for _ in 0..8 {
        let mut read = ReadBuf::new(buffer);
        if let Ok(from) = ready!(socket.poll_recv_from(context, &mut read)) {
            return Poll::Ready((from, read.filled().len()));
        }
    }
    context.waker().wake_by_ref(); // so many at once must not keep everything else from running
    Poll::Pending
}
