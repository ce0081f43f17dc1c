//! The task of one account: its TLS connection, kept alive and rebuilt, fed to [`call::Line`](crate::call::Line).
//!
//! Connects only with a `MayConnect`, hands bytes over only with a `MayAuthenticate`. After a break it comes back with
//! jittered back-off (RFC 5626 §4.5), soon after a connection that worked and slowly after refusals. What makes a
//! connection break may come from a caller, so that alone never keeps the account away for long.

use super::ports::{MediaSockets, PortPool};
use super::resolve;
use super::room::RoomMessage;
use super::tls::{self, SipConnection, SipIdentity, TlsDescription, TlsError, TlsStream, Trust};
use crate::call::{Line, LineReport, MediaPorts, Output};
use crate::policy::{Connecting, Rules, Transport, judge};
use crate::room::RoomEvent;
use crate::sip::printable;
use crate::units::{CallNumber, Random};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

/// Waits after failures in a row, before they are spread between half and once.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A peer that takes none of our bytes for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Where and how to connect.
pub struct AccountSettings {
    /// The account, as `user@domain`.
    pub account: String,
    /// The host to connect to: the outbound proxy, else the domain.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who must answer there.
    pub identity: SipIdentity,
    /// Who vouches for it.
    pub trust: Trust,
    /// What the account demands.
    pub rules: Rules,
    /// Where media ports are bound: one address a family.
    pub bind: Vec<IpAddr>,
    /// The address that phones are told, if it is not the one that the provider is reached from.
    pub public_address: Option<IpAddr>,
}

/// What the administrator, or the end of the program, asks of an account.
pub enum AccountMessage {
    /// For `status` and `calls`.
    Report(oneshot::Sender<AccountReport>),
    /// End a call; tells whether there was one.
    HangUp(CallNumber, oneshot::Sender<bool>),
    /// BYE to all, un-REGISTER, end.
    ShutDown,
}

/// An account for people.
#[derive(Clone, Debug)]
pub struct AccountReport {
    /// Registration and calls.
    pub line: LineReport,
    /// The TLS connection, if there is one.
    pub tls: Option<TlsDescription>,
    /// The level of its signalling: `verified` or `pinned`.
    pub signalling: Option<&'static str>,
}

struct Connection {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    description: TlsDescription,
    signalling: &'static str,
    local: IpAddr,
    since: Instant,
}

struct Task {
    settings: AccountSettings,
    line: Line,
    pool: Arc<PortPool>,
    room: mpsc::UnboundedSender<RoomMessage>,
    /// Bound, but not yet in the room.
    waiting_ports: HashMap<CallNumber, MediaSockets>,
    connection: Option<Connection>,
    failures: u32,
    retry_at: Option<Instant>,
    random: Box<dyn Random>,
    finished: bool,
}

/// Runs an account until it is told to shut down.
pub async fn run(
    settings: AccountSettings,
    line: Line,
    pool: Arc<PortPool>,
    room: mpsc::UnboundedSender<RoomMessage>,
    mut room_events: mpsc::UnboundedReceiver<RoomEvent>,
    mut messages: mpsc::UnboundedReceiver<AccountMessage>,
    random: Box<dyn Random>,
) {
    let mut task = Task {
        settings,
        line,
        pool,
        room,
        waiting_ports: HashMap::new(),
        connection: None,
        failures: 0,
        retry_at: Some(super::now()),
        random,
        finished: false,
    };
    let mut buffer = vec![0u8; 16 * 1024];
    loop {
        task.carry_out().await;
        if task.finished {
            return;
        }
        let far = super::now() + Duration::from_secs(3600);
        let wake = task.line.wake().unwrap_or(far);
        let retry = task.retry_at.unwrap_or(far);
        tokio::select! {
            read = read(task.connection.as_mut(), &mut buffer) => match read {
                Ok(0) => task.lost("the provider closed the connection"),
                Ok(length) => {
                    tracing::trace!(account = task.settings.account, message = start_line(&buffer[..length]), "received");
                    task.line.handle_bytes(super::now(), &buffer[..length]);
                }
                Err(error) => task.lost(&format!("the connection to the provider broke: {error}")),
            },
            Some(event) = room_events.recv() => task.line.room_event(super::now(), event),
            message = messages.recv() => task.message(message),
            () = sleep_until(wake.into()) => task.line.handle_timeout(super::now()),
            () = sleep_until(retry.into()), if task.retry_at.is_some() => task.connect().await,
        }
    }
}

async fn read(connection: Option<&mut Connection>, buffer: &mut [u8]) -> std::io::Result<usize> {
    match connection {
        Some(connection) => connection.reader.read(buffer).await,
        None => std::future::pending().await,
    }
}

impl Task {
    fn message(&mut self, message: Option<AccountMessage>) {
        match message {
            Some(AccountMessage::Report(reply)) => {
                let _ = reply.send(AccountReport {
                    line: self.line.report(super::now()),
                    tls: self.connection.as_ref().map(|connection| connection.description.clone()),
                    signalling: self.connection.as_ref().map(|connection| connection.signalling),
                });
            }
            Some(AccountMessage::HangUp(call, reply)) => {
                let _ = reply.send(self.line.hang_up(super::now(), call, "the administrator ended it"));
            }
            Some(AccountMessage::ShutDown) | None => {
                self.line.shut_down(super::now());
                if self.connection.is_none() {
                    self.finished = true;
                }
                self.retry_at = None;
            }
        }
    }

    async fn connect(&mut self) {
        self.retry_at = None;
        match self.try_addresses().await {
            Ok(connection) => {
                let SipConnection { stream, proof, description } = connection;
                let Ok(local) = stream.get_ref().0.local_addr() else { return self.retry() };
                let signalling = proof.level().as_str();
                tracing::info!(
                    account = self.settings.account,
                    host = self.settings.host,
                    tls = description.version,
                    cipher = description.cipher,
                    signalling,
                    "connected to the provider"
                );
                let (reader, writer) = tokio::io::split(stream);
                let since = super::now();
                self.connection =
                    Some(Connection { reader, writer, description, signalling, local: local.ip(), since });
                self.line.flow_up(since, local, proof);
            }
            Err(error) => {
                match &error {
                    TlsError::Refused(refusal) => tracing::error!(
                        account = self.settings.account,
                        host = self.settings.host,
                        rule = refusal.rule.as_str(),
                        reason = refusal.reason,
                        remedy = refusal.hint,
                        "provider refused before any SIP was sent"
                    ),
                    other => {
                        tracing::warn!(account = self.settings.account, error = %other, "no connection to the provider")
                    }
                }
                self.line.flow_down(super::now(), &error.to_string());
                self.retry();
            }
        }
    }

    /// The host's addresses in turn; a refusal by policy ends the search, since it is about the server, not the address.
    async fn try_addresses(&mut self) -> Result<SipConnection, TlsError> {
        let settings = &self.settings;
        let unreachable = |why: String| TlsError::Connect { to: settings.host.clone(), why };
        let addresses =
            resolve::addresses(&settings.host, settings.port).await.map_err(|error| unreachable(error.to_string()))?;
        let mut trouble = unreachable("it has no address".to_owned());
        for address in addresses {
            let allowed = judge(&settings.rules, &Connecting { transport: Transport::Tls })
                .allowed()
                .map_err(TlsError::Refused)?;
            match tls::connect_sip(allowed, address, &settings.identity, &settings.trust, &settings.rules).await {
                Err(TlsError::Connect { to, why }) => trouble = TlsError::Connect { to, why },
                decided => return decided,
            }
        }
        Err(trouble)
    }

    fn lost(&mut self, why: &str) {
        if let Some(connection) = self.connection.take() {
            tracing::warn!(account = self.settings.account, why, "connection lost; calls go on");
            // a connection that worked for a while says nothing against the next one, one that worked at all not much
            if connection.since.elapsed() > LONGEST_WAIT {
                self.failures = 0;
            } else if self.line.is_registered() {
                self.failures = self.failures.min(1);
            }
        }
        self.line.flow_down(super::now(), why);
        self.retry();
    }

    /// Waits twice as long after each failure, spread so that many gateways do not come back together.
    fn retry(&mut self) {
        let wait = (FIRST_WAIT * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let mut byte = [0u8; 1];
        self.random.fill(&mut byte);
        let spread = wait / 2 + wait / 2 * u32::from(byte[0]) / 255;
        self.retry_at = Some(super::now() + spread);
    }

    /// Does what the line asks for.
    async fn carry_out(&mut self) {
        while let Some(output) = self.line.poll() {
            match output {
                Output::Send(bytes) => self.write(&bytes).await,
                Output::CloseFlow(why) => {
                    if let Some(mut connection) = self.connection.take() {
                        let _ = timeout(Duration::from_secs(1), connection.writer.shutdown()).await;
                        self.connection = Some(connection);
                    }
                    self.lost(&why);
                }
                Output::OpenPorts(call) => self.open_ports(call).await,
                Output::ForgetPorts(call) => {
                    self.waiting_ports.remove(&call);
                }
                Output::Join(setup) => match self.waiting_ports.remove(&setup.call) {
                    Some(sockets) => self.to_room(RoomMessage::Join(setup, sockets)),
                    None => tracing::error!(call = %setup.call, "a call without ports"),
                },
                Output::Update(call, direction, remote) => self.to_room(RoomMessage::Update(call, direction, remote)),
                Output::Rekey(call, keys) => self.to_room(RoomMessage::Rekey(call, keys)),
                Output::Leave(call) => {
                    self.waiting_ports.remove(&call);
                    self.to_room(RoomMessage::Leave(call));
                }
                Output::Finished => {
                    if let Some(connection) = &mut self.connection {
                        let _ = timeout(Duration::from_secs(1), connection.writer.shutdown()).await;
                    }
                    self.finished = true;
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(connection) = &mut self.connection else { return };
        tracing::trace!(account = self.settings.account, message = start_line(bytes), "sent");
        let written = timeout(WRITE_PATIENCE, async {
            connection.writer.write_all(bytes).await?;
            connection.writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.lost(&format!("the connection to the provider broke: {error}")),
            Err(_) => self.lost("the provider takes no more bytes"),
        }
    }

    async fn open_ports(&mut self, call: CallNumber) {
        let reached_from = self.connection.as_ref().map(|connection| connection.local);
        let advertised = self.settings.public_address.or(reached_from);
        let Some(advertised) = advertised else {
            return self.line.ports_failed(super::now(), call, "the connection to the provider is gone");
        };
        let same_family = |address: &&IpAddr| address.is_ipv4() == advertised.is_ipv4();
        let Some(bind) = self.settings.bind.iter().find(same_family).copied() else {
            return self.line.ports_failed(
                super::now(),
                call,
                "[media] bind has no address of the family that phones are told",
            );
        };
        match self.pool.open(super::now(), bind).await {
            Ok(sockets) => match (sockets.rtp.local_addr(), sockets.rtcp.local_addr()) {
                (Ok(rtp), Ok(rtcp)) => {
                    self.waiting_ports.insert(call, sockets);
                    let ports = MediaPorts { advertised: SocketAddr::new(advertised, rtp.port()), rtcp: rtcp.port() };
                    self.line.ports_opened(super::now(), call, ports);
                }
                _ => self.line.ports_failed(super::now(), call, "a socket without an address"),
            },
            Err(error) => self.line.ports_failed(super::now(), call, &error.to_string()),
        }
    }

    fn to_room(&self, message: RoomMessage) {
        if self.room.send(message).is_err() {
            tracing::error!(account = self.settings.account, "the room's task is gone");
        }
    }
}

/// What a message is, for the log: its first line, which holds no credential and no key.
fn start_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    printable(&String::from_utf8_lossy(&line[..line.len().min(120)])).to_string()
}
