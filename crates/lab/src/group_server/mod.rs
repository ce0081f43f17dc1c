//! A group server that speaks Galène's protocol, version 2: `.status` and WebSocket over TLS, audio over WebRTC.
//!
//! It is written from Galène's protocol document and from what a real Galène was seen to do: the order of messages, the
//! texts of refusals, the 200 ms before a new stream is handed on, DTLS as client. It knows audio only, tokens that are
//! listed in the group, and nothing of recordings, subgroups, TURN or the administration API. Tests of the Galène side
//! run against it and, where `GALENE_BIN` names one, against the real server.

mod connection;
mod description;
mod hall;
mod http;
mod message;
mod peer;
mod session;
mod streams;

pub use description::{GroupCodec, GroupDescription, MESSAGE, OBSERVE, OP, PRESENT, TokenDescription};

use crate::Outcome;
use connection::Shared;
use hall::{Group, Hall};
use rustls::ServerConfig;
use serde_json::Map;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How the server is started.
pub struct GroupServerOptions {
    /// Where it listens for TLS; its media sockets are bound to the same address. Port 0: any.
    pub bind: SocketAddr,
    /// Certificate and TLS versions.
    pub tls: Arc<ServerConfig>,
    /// The groups, by name.
    pub groups: HashMap<String, GroupDescription>,
    /// The only `Host` that it answers to; others are sent there (301).
    pub canonical_host: Option<String>,
    /// From a stream's first packet until it is offered to the others. Galène's value is 200 ms.
    pub publish_delay: Duration,
}

impl GroupServerOptions {
    /// A server on a free port of 127.0.0.1, with Galène's own delay.
    pub fn new(tls: Arc<ServerConfig>) -> GroupServerOptions {
        GroupServerOptions {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            groups: HashMap::new(),
            canonical_host: None,
            publish_delay: Duration::from_millis(200),
        }
    }

    /// Adds a group.
    pub fn with_group(mut self, name: &str, description: GroupDescription) -> GroupServerOptions {
        self.groups.insert(name.into(), description);
        self
    }
}

/// Which way a message went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From a client to the server.
    FromClient,
    /// From the server to a client.
    ToClient,
}

/// A message as it stood on a WebSocket.
#[derive(Clone, Debug)]
pub struct Line {
    /// The number of the WebSocket connection, counted from 1.
    pub connection: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The JSON text.
    pub text: String,
}

/// What the server does not like about its clients.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    fn add(&self, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }
}

/// A running group server. It ends, without any goodbye, when this is dropped.
pub struct GroupServer {
    address: SocketAddr,
    frozen: watch::Sender<bool>,
    media_lost: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    transcript: Arc<Mutex<Vec<Line>>>,
    complaints: Complaints,
    _tasks: JoinSet<()>,
}

impl GroupServer {
    /// Starts the server.
    pub async fn start(options: GroupServerOptions) -> Outcome<GroupServer> {
        let listener = TcpListener::bind(options.bind).await?;
        let address = listener.local_addr()?;
        let (events, received) = mpsc::unbounded_channel();
        let (frozen, is_frozen) = watch::channel(false);
        let (media_lost, is_media_lost) = watch::channel(false);
        let complaints = Complaints::default();
        let (cut, is_cut) = watch::channel(0);
        let transcript = Arc::new(Mutex::new(Vec::new()));
        let groups = options.groups.into_iter().map(|(name, description)| {
            let locked = description.locked.clone();
            let (data, history, members) = (Map::new(), VecDeque::new(), Vec::new());
            (name, Group { description, locked, data, history, members })
        });
        let hall = Hall {
            groups: groups.collect(),
            clients: HashMap::new(),
            bind: address.ip(),
            publish_delay: options.publish_delay,
            events: events.clone(),
            frozen: is_frozen.clone(),
            media_lost: is_media_lost,
            complaints: complaints.clone(),
            tasks: JoinSet::new(),
            serial: 0,
        };
        let shared = Shared {
            tls: options.tls.into(),
            canonical_host: options.canonical_host,
            events,
            frozen: is_frozen,
            cut: is_cut,
            transcript: transcript.clone(),
            complaints: complaints.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(hall.run(received));
        tasks.spawn(connection::accept(listener, shared));
        Ok(GroupServer { address, frozen, media_lost, cut, transcript, complaints, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a group, for a host name that the caller's certificate covers.
    pub fn url(&self, host: &str, group: &str) -> String {
        format!("https://{host}:{}/group/{group}/", self.address.port())
    }

    /// Stops handling anything, as a stopped process does, or goes on with all that the kernel kept.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    /// Loses every datagram that comes or goes, or none any more.
    pub fn lose_media(&self, lost: bool) {
        self.media_lost.send_replace(lost);
    }

    /// Drops every connection that is open now, without a Close frame or a close_notify.
    pub fn cut_connections(&self) {
        self.cut.send_modify(|count| *count += 1);
    }

    /// All messages until now, in order.
    pub fn transcript(&self) -> Vec<Line> {
        self.transcript.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What Galène would have logged about its clients: connections that end without a proper Close frame, and `close`
    /// for streams that there are not.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
