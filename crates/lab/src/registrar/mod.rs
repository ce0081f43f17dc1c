//! A SIP provider over TLS: registrar and proxy of one domain (RFC 3261 §10, §16; RFC 5626; RFC 5627), and every way
//! in which one can misbehave that the tests need.
//!
//! It uses the library's own message types, so it proves nothing about them. Its digest is its own.

mod authentication;
mod bindings;
mod core;

pub use authentication::Algorithm;
pub use bindings::{Binding, FlowId};

use crate::Outcome;
use bindings::Bindings;
use core::{Core, Flow};
use galene_sips::sip::{Frame, Framer, Message};
use rustls::ServerConfig;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the provider does, right or wrong; may be changed while it runs.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The realm of its challenges.
    pub realm: String,
    /// The algorithms that it offers, best first (RFC 8760 §2.4).
    pub algorithms: Vec<Algorithm>,
    /// The most seconds that it grants.
    pub max_expires: u32,
    /// Below these it answers 423.
    pub min_expires: Option<u32>,
    /// Hands out public GRUUs (RFC 5627).
    pub gruu: bool,
    /// `Flow-Timer` (RFC 5626 §4.4).
    pub flow_timer: Option<u32>,
    /// Answers 439 to whoever asks for outbound.
    pub lacks_outbound: bool,
    /// Answers CRLF CRLF (RFC 5626 §3.5.1).
    pub answers_pings: bool,
    /// Answers each REGISTER with this.
    pub refuse_register: Option<(u16, &'static str)>,
    /// Answers each new call with this.
    pub refuse_calls: Option<(u16, &'static str)>,
    /// Removes `a=crypto` and makes RTP/SAVP RTP/AVP: a malicious proxy.
    pub strips_crypto: bool,
    /// Answers no request at all.
    pub silent: bool,
    /// Closes so many connections when something is asked over them.
    pub drops: u32,
}

/// How the provider is started.
pub struct RegistrarOptions {
    /// Where it listens for TLS. Port 0: any.
    pub bind: SocketAddr,
    /// Certificate and TLS versions.
    pub tls: Arc<ServerConfig>,
    /// The domain of its users.
    pub domain: String,
    /// User → password.
    pub users: HashMap<String, String>,
    /// What it does.
    pub behaviour: Behaviour,
}

impl RegistrarOptions {
    /// An honest provider on a free port of 127.0.0.1.
    pub fn new(tls: Arc<ServerConfig>, domain: &str) -> RegistrarOptions {
        RegistrarOptions {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            domain: domain.into(),
            users: HashMap::new(),
            behaviour: Behaviour {
                realm: domain.into(),
                algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
                max_expires: 3_600,
                min_expires: None,
                gruu: false,
                flow_timer: None,
                lacks_outbound: false,
                answers_pings: true,
                refuse_register: None,
                refuse_calls: None,
                strips_crypto: false,
                silent: false,
                drops: 0,
            },
        }
    }

    /// Adds a user.
    pub fn with_user(mut self, user: &str, password: &str) -> RegistrarOptions {
        self.users.insert(user.into(), password.into());
        self
    }
}

/// A message that the provider got or sent.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The connection.
    pub flow: FlowId,
    /// Whether it came from there.
    pub from_peer: bool,
    /// The message.
    pub message: Message,
}

/// A running provider. It ends when this is dropped.
pub struct Registrar {
    address: SocketAddr,
    core: Arc<Mutex<Core>>,
    changed: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Registrar {
    /// Starts the provider.
    pub async fn start(options: RegistrarOptions) -> Outcome<Registrar> {
        let listener = TcpListener::bind(options.bind).await?;
        let address = listener.local_addr()?;
        let core = Arc::new(Mutex::new(Core {
            domain: options.domain,
            address,
            users: options.users,
            behaviour: options.behaviour,
            bindings: Bindings::default(),
            nonces: Default::default(),
            flows: HashMap::new(),
            owners: HashMap::new(),
            log: Vec::new(),
        }));
        let (changes, changed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, options.tls.into(), core.clone(), changes));
        Ok(Registrar { address, core, changed, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.core).behaviour);
    }

    /// The bindings of a user that are in force.
    pub fn bindings(&self, user: &str) -> Vec<Binding> {
        lock(&self.core).bindings.of(user, Instant::now())
    }

    /// Waits until a user can be reached.
    pub async fn registered(&self, user: &str, patience: Duration) -> bool {
        self.wait(patience, || lock(&self.core).flow_of(user).is_some()).await
    }

    /// Waits until the log is as wanted.
    pub async fn logged(&self, patience: Duration, wanted: impl Fn(&[Logged]) -> bool) -> bool {
        self.wait(patience, || wanted(&lock(&self.core).log)).await
    }

    /// All messages until now.
    pub fn log(&self) -> Vec<Logged> {
        lock(&self.core).log.clone()
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        lock(&self.core).flows.len()
    }

    /// Closes the connection of a user, or of everybody.
    pub fn close(&self, user: Option<&str>) {
        let mut core = lock(&self.core);
        match user {
            None => core.flows.clear(),
            Some(user) => {
                if let Some(flow) = core.flow_of(user) {
                    core.flows.remove(&flow);
                }
            }
        }
    }

    /// Forgets nonces, as a restart does; the next credentials are stale.
    pub fn forget_nonces(&self) {
        lock(&self.core).nonces.forget();
    }

    /// Writes bytes of the test's own to a user's connection.
    pub fn inject(&self, user: &str, bytes: impl Into<Vec<u8>>) -> bool {
        let core = lock(&self.core);
        let flow = core.flow_of(user).and_then(|flow| core.flows.get(&flow));
        flow.is_some_and(|flow| flow.out.send(bytes.into()).is_ok())
    }

    async fn wait(&self, patience: Duration, wanted: impl Fn() -> bool) -> bool {
        let mut changed = self.changed.clone();
        let search = async {
            while !wanted() {
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(patience, search).await.is_ok()
    }
}

fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, core: Arc<Mutex<Core>>, changes: watch::Sender<u64>) {
    let mut connections = JoinSet::new();
    for id in 1.. {
        let Ok((stream, peer)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let (tls, core, changes) = (tls.clone(), core.clone(), changes.clone());
        connections.spawn(async move {
            if let Err(failure) = serve(id, stream, peer, &tls, &core, &changes).await {
                tracing::debug!(%failure, flow = id, "registrar connection");
            }
            let mut core = lock(&core);
            core.flows.remove(&id);
            core.bindings.flow_down(id);
            changes.send_modify(|count| *count += 1);
        });
    }
}

async fn serve(
    id: FlowId,
    stream: TcpStream,
    peer: SocketAddr,
    tls: &TlsAcceptor,
    core: &Mutex<Core>,
    changes: &watch::Sender<u64>,
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream).await?;
    let (out, mut outgoing) = mpsc::unbounded_channel();
    lock(core).flows.insert(id, Flow { peer, out });
    let mut framer = Framer::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            bytes = outgoing.recv() => match bytes {
                Some(bytes) => stream.write_all(&bytes).await?,
                None => return Ok(stream.shutdown().await?),
            },
            length = stream.read(&mut buffer) => {
                let length = length?;
                if length == 0 {
                    return Ok(());
                }
                framer.push(Instant::now(), &buffer[..length]);
                for frame in framer.by_ref() {
                    match frame {
                        Frame::Message(message) => lock(core).handle(id, message),
                        Frame::Ping if lock(core).behaviour.answers_pings => stream.write_all(b"\r\n").await?,
                        Frame::Ping | Frame::Pong => {}
                        Frame::Bad { reason, .. } => return Err(reason.into()),
                    }
                }
                changes.send_modify(|count| *count += 1);
            }
        }
    }
}
