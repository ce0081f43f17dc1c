//! The task of one account: its TLS connection, kept alive and rebuilt, fed to [`call::Line`](crate::call::Line).
//!
//! Connects only with a `MayConnect`, hands bytes over only with a `MayAuthenticate`. After a break it comes back with
//! jittered back-off (RFC 5626 §4.5), soon after a connection that worked and slowly after refusals. What makes a
//! connection break may come from a caller, so that alone never keeps the account away for long.

use super::dns::Dns;
use super::files;
use super::flow::Flow;
use super::peers::PeerStore;
use super::ports::{MediaSockets, PortPool};
use super::room::RoomMessage;
use super::tls::{self, SipConnection, SipIdentity, TlsDescription, TlsError, Trust};
use crate::call::{Line, LineReport, MediaPorts, Output};
use crate::peers::Change;
use crate::policy::{
    AccountRules, Connecting, Directions, Exception, Refusal, Rules, SignallingLevel, Transport, Verdict, judge,
};
use crate::room::RoomEvent;
use crate::sip::digest::Password;
use crate::sip::locate::{NotLocated, Target};
use crate::sip::printable;
use crate::units::{CallNumber, Random};
use std::collections::HashMap;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

/// Waits after failures in a row, before they are spread between half and once.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A server that is silent so long is left for the next one, if there is one.
const NEXT_SERVER_AFTER: Duration = Duration::from_secs(3);

/// How late the end of a day may be noticed.
const DAY_PATIENCE: Duration = Duration::from_secs(60);

/// Where and how to connect.
pub struct AccountSettings {
    /// The account, as `user@domain`.
    pub account: String,
    /// Who looks up names.
    pub dns: Dns,
    /// Whose servers to look for: the outbound proxy, else the domain.
    pub host: String,
    /// The port, if it is not to be looked up.
    pub port: Option<u16>,
    /// Who must answer there.
    pub identity: SipIdentity,
    /// Who vouches for it.
    pub trust: Trust,
    /// What the account demands, with its exceptions.
    pub rules: AccountRules,
    /// Where media ports are bound: one address a family.
    pub bind: Vec<IpAddr>,
    /// The phones of earlier calls.
    pub peers: PeerStore,
    /// The address that phones are told, if it is not the one that the provider is reached from.
    pub public_address: Option<IpAddr>,
}

/// What the administrator, or the end of the program, asks of an account.
pub enum AccountMessage {
    /// For `status` and `calls`.
    Report(oneshot::Sender<AccountReport>),
    /// End a call; tells whether there was one.
    HangUp(CallNumber, oneshot::Sender<bool>),
    /// The configuration was read again: other settings, and another password if it is one.
    Change(Box<AccountSettings>, Option<Password>),
    /// A person has cleared what the account was held to: try again at once.
    RatchetCleared,
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
    /// What its signalling is worth.
    pub signalling: Option<SignallingLevel>,
    /// The exception that it rests on.
    pub exception: Option<Arc<Exception>>,
}

impl AccountSettings {
    /// Whether a connection made by the others would be made by these.
    fn connects_like(&self, other: &AccountSettings) -> bool {
        (&self.host, self.port, &self.identity) == (&other.host, other.port, &other.identity)
            && self.trust == other.trust
    }

    /// What the account demands now: the rules of today, and what it is held to.
    fn rules_now(&self) -> Rules {
        let floors = self.peers.ratchet().floors(&self.account, super::unix_time());
        Rules { floors, ..self.rules.on(files::today()) }
    }
}

type Attempt = Pin<Box<dyn Future<Output = Result<Connected, NoConnection>> + Send>>;

/// A connection to one of the provider's servers.
struct Connected {
    connection: SipConnection,
    /// Its name in DNS, and port.
    server: String,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum NoConnection {
    /// With what policy says of it.
    #[error("{0}")]
    NotLocated(NotLocated, Option<Refusal>),
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// The way to the provider.
enum Link {
    /// Nothing until then.
    Waiting(Instant),
    /// Looking for it; takes as long as DNS and TCP like, while everything else goes on.
    Trying(Attempt),
    /// There.
    Up(Flow),
    /// No more: the program ends.
    Over,
}

/// What became of the way to the provider.
enum LinkEvent {
    TryNow,
    Tried(Result<Box<Connected>, NoConnection>),
    Received(usize),
    Broken(String),
}

impl Link {
    /// The next thing that happens. Nothing is lost if it is not waited for to its end.
    async fn event(&mut self, buffer: &mut [u8]) -> LinkEvent {
        match self {
            Link::Waiting(until) => {
                sleep_until((*until).into()).await;
                LinkEvent::TryNow
            }
            Link::Trying(attempt) => LinkEvent::Tried(attempt.await.map(Box::new)),
            Link::Up(flow) => match flow.progress(buffer).await {
                Ok(0) => LinkEvent::Broken("the provider closed the connection".to_owned()),
                Ok(length) => LinkEvent::Received(length),
                Err(error) => LinkEvent::Broken(broke(&error, flow)),
            },
            Link::Over => pending().await,
        }
    }

    fn up(&self) -> Option<&Flow> {
        match self {
            Link::Up(flow) => Some(flow),
            _ => None,
        }
    }
}

/// Why a connection broke. If the provider broke it for what this gateway lacks, a rule says so.
fn broke(error: &std::io::Error, flow: &Flow) -> String {
    match flow.refusal(error) {
        Some(refusal) => {
            let (rule, reason, remedy) = (refusal.rule.as_str(), &refusal.reason, &refusal.hint);
            tracing::error!(rule, reason, remedy, "refused by the provider");
            format!("{reason}. {remedy}")
        }
        None => format!("the connection to the provider broke: {error}"),
    }
}

struct Task {
    settings: Arc<AccountSettings>,
    line: Line,
    pool: Arc<PortPool>,
    room: mpsc::Sender<RoomMessage>,
    /// Bound, but not yet in the room.
    waiting_ports: HashMap<CallNumber, MediaSockets>,
    link: Link,
    failures: u32,
    random: Box<dyn Random>,
    shutting_down: bool,
    finished: bool,
}

/// Runs an account until it is told to shut down, or until nobody is left who could tell it.
pub async fn run(
    settings: AccountSettings,
    line: Line,
    pool: Arc<PortPool>,
    room: mpsc::Sender<RoomMessage>,
    // unbounded, so that the room never waits for us while we wait for it; a call causes three events at most
    mut room_events: mpsc::UnboundedReceiver<RoomEvent>,
    mut messages: mpsc::Receiver<AccountMessage>,
    random: Box<dyn Random>,
) {
    let mut task = Task {
        settings: Arc::new(settings),
        line,
        pool,
        room,
        waiting_ports: HashMap::new(),
        link: Link::Waiting(super::now()),
        failures: 0,
        random,
        shutting_down: false,
        finished: false,
    };
    let mut buffer = vec![0u8; 16 * 1024];
    task.begin_day();
    loop {
        task.carry_out().await;
        if task.finished {
            return;
        }
        let latest = super::now() + DAY_PATIENCE;
        let wake = task.line.wake().map_or(latest, |wake| wake.min(latest));
        let happened = tokio::select! {
            event = task.link.event(&mut buffer) => Happened::Link(event),
            Some(event) = room_events.recv() => Happened::Room(event),
            message = messages.recv(), if !task.shutting_down => Happened::Message(message),
            () = sleep_until(wake.into()) => Happened::Time,
        };
        task.begin_day(); // whatever happened, it is judged by the rules of its day
        match happened {
            Happened::Link(event) => task.link_event(event, &buffer),
            Happened::Room(event) => task.line.room_event(super::now(), event),
            Happened::Message(message) => task.message(message),
            Happened::Time => task.line.handle_timeout(super::now()),
        }
    }
}

/// What an account waits for.
enum Happened {
    Link(LinkEvent),
    Room(RoomEvent),
    Message(Option<AccountMessage>),
    Time,
}

/// Looks for the provider's servers, and tries them in turn. A refusal by policy ends the search, since it is about the
/// provider, not about one of its servers.
async fn attempt(settings: Arc<AccountSettings>) -> Result<Connected, NoConnection> {
    let located = settings.dns.locate(&settings.host, settings.port).await;
    let rules = settings.rules_now();
    let may_connect = |dns| judge(&rules, &Connecting { transport: Transport::Tls, dns }).allowed();
    let located = match located {
        Ok(located) => located,
        Err(not) => {
            let refusal = may_connect(not.directions()).err();
            return Err(NoConnection::NotLocated(not, refusal));
        }
    };
    let (way, dnssec) = (located.way.as_str(), located.dnssec.map_or("not needed", |dnssec| dnssec.as_str()));
    let servers: Vec<String> = located.targets.iter().map(server).collect();
    tracing::info!(account = settings.account, host = settings.host, way, dnssec, ?servers, "found the provider");
    let last = located.targets.len().saturating_sub(1);
    let mut trouble = TlsError::Connect { to: settings.host.clone(), why: "it has no address".to_owned() };
    for (at, target) in located.targets.iter().enumerate() {
        let patience = if at == last { tls::PATIENCE } else { NEXT_SERVER_AFTER };
        let addresses: Vec<SocketAddr> =
            target.addresses.iter().map(|address| SocketAddr::new(*address, target.port)).collect();
        let allowed = may_connect(Directions::Usable).map_err(TlsError::Refused)?;
        let (identity, trust) = (&settings.identity, &settings.trust);
        match tls::connect_sip(allowed, &addresses, identity, trust, &rules, patience).await {
            Ok(connection) => return Ok(Connected { connection, server: server(target) }),
            Err(error @ TlsError::Connect { .. }) => {
                let (account, server) = (&settings.account, server(target));
                tracing::debug!(account, server, %error, "a server of the provider cannot be used");
                trouble = error;
            }
            Err(refused) => return Err(refused.into()),
        }
    }
    Err(trouble.into())
}

fn server(target: &Target) -> String {
    format!("{}:{}", target.name, target.port)
}

impl Task {
    fn message(&mut self, message: Option<AccountMessage>) {
        match message {
            Some(AccountMessage::Report(reply)) => {
                let _ = reply.send(AccountReport {
                    line: self.line.report(super::now()),
                    tls: self.link.up().map(|flow| flow.description.clone()),
                    signalling: self.link.up().map(|flow| flow.level),
                    exception: self.link.up().and_then(|flow| flow.exception.clone()),
                });
            }
            Some(AccountMessage::HangUp(call, reply)) => {
                let _ = reply.send(self.line.hang_up(super::now(), call, "the administrator ended it"));
            }
            Some(AccountMessage::Change(settings, password)) => self.change(*settings, password),
            Some(AccountMessage::RatchetCleared) => {
                self.line.ratchet_cleared();
                self.close("what the account was held to is cleared");
                if matches!(self.link, Link::Waiting(_)) {
                    self.link = Link::Waiting(super::now());
                }
            }
            Some(AccountMessage::ShutDown) | None => {
                self.shutting_down = true;
                self.line.shut_down(super::now());
                if self.link.up().is_none() {
                    self.end();
                }
            }
        }
    }

    fn begin_day(&mut self) {
        if self.line.begin_day(files::today()) {
            self.judge_again();
        }
    }

    /// A connection that was good enough yesterday, or by the rules of before, need not be so now.
    fn judge_again(&mut self) {
        let Some(flow) = self.link.up() else { return };
        if let Err(why) = self.still_allows(flow) {
            self.close(&why);
        }
    }

    fn still_allows(&self, flow: &Flow) -> Result<(), String> {
        match judge(&self.settings.rules_now(), &flow.peer) {
            Verdict::Allowed(proof) if (proof.level(), proof.exception()) == (flow.level, flow.exception.as_ref()) => {
                Ok(())
            }
            Verdict::Allowed(_) => Err("what it rests on has changed, so it is judged anew".to_owned()),
            Verdict::Refused(refusal) => Err(format!("{}. {}", refusal.reason, refusal.hint)),
        }
    }

    /// The configuration was read again. Calls go on; a connection that the new settings do not want is closed.
    fn change(&mut self, settings: AccountSettings, password: Option<Password>) {
        let old = std::mem::replace(&mut self.settings, Arc::new(settings));
        self.line.change_rules(self.settings.rules.clone());
        if let Some(password) = password {
            self.line.change_password(super::now(), password);
        }
        if self.settings.connects_like(&old) {
            return self.judge_again();
        }
        self.close("the configuration names another server or other trust");
        if matches!(self.link, Link::Waiting(_) | Link::Trying(_)) {
            self.failures = 0;
            self.link = Link::Waiting(super::now());
        }
    }

    /// There is nobody to say goodbye to.
    fn end(&mut self) {
        self.link = Link::Over;
        self.finished = true;
    }

    fn link_event(&mut self, event: LinkEvent, buffer: &[u8]) {
        match event {
            LinkEvent::TryNow => self.link = Link::Trying(Box::pin(attempt(Arc::clone(&self.settings)))),
            LinkEvent::Tried(Ok(connection)) => self.connected(*connection),
            LinkEvent::Tried(Err(error)) => self.not_connected(&error),
            LinkEvent::Received(length) => {
                let bytes = &buffer[..length];
                tracing::trace!(account = self.settings.account, length, message = start_line(bytes), "received");
                self.line.handle_bytes(super::now(), bytes);
            }
            LinkEvent::Broken(why) => self.lost(&why),
        }
    }

    fn connected(&mut self, connected: Connected) {
        let Connected { connection, server } = connected;
        match Flow::new(connection) {
            Ok((flow, proof)) => {
                if let Err(why) = self.still_allows(&flow) {
                    return self.retry(&why); // a day or a configuration has ended meanwhile
                }
                tracing::info!(
                    account = self.settings.account,
                    server,
                    tls = flow.description.version,
                    cipher = flow.description.cipher,
                    signalling = flow.level.as_str(),
                    "connected to the provider"
                );
                if let Some(exception) = &flow.exception {
                    tracing::warn!(
                        account = self.settings.account,
                        allow = exception.allow.as_str(),
                        reason = exception.reason,
                        expires = %exception.expires,
                        "this connection is allowed by an exception only"
                    );
                }
                let (since, local) = (flow.since, flow.local);
                self.link = Link::Up(flow);
                self.line.flow_up(since, local, proof);
            }
            Err(error) => self.retry(&error.to_string()),
        }
    }

    fn not_connected(&mut self, error: &NoConnection) {
        let (account, host) = (&self.settings.account, &self.settings.host);
        let why = match error {
            NoConnection::Tls(TlsError::Refused(refusal)) => {
                let (rule, reason, remedy) = (refusal.rule.as_str(), &refusal.reason, &refusal.hint);
                tracing::error!(account, host, rule, reason, remedy, "provider refused before any SIP was sent");
                format!("{reason}. {remedy}.")
            }
            NoConnection::NotLocated(not, refusal) => {
                let rule = refusal.as_ref().map(|refusal| refusal.rule.as_str());
                tracing::warn!(account, host, rule, error = %not, remedy = not.remedy(), "the provider was not found");
                format!("{not}; {}", not.remedy())
            }
            NoConnection::Tls(other) => {
                let remedy = "check the address in outbound_proxy (or the account's domain), DNS, and firewalls";
                tracing::warn!(account, host, error = %other, remedy, "no connection to the provider");
                other.to_string()
            }
        };
        self.retry(&why);
    }

    fn lost(&mut self, why: &str) {
        let Some(since) = self.link.up().map(|flow| flow.since) else { return };
        self.worked_until_now(since);
        tracing::warn!(account = self.settings.account, why, "connection lost; calls go on");
        self.retry(why);
    }

    /// A connection that worked for a while says nothing against the next one, one that worked at all not much.
    fn worked_until_now(&mut self, since: Instant) {
        if since.elapsed() > LONGEST_WAIT {
            self.failures = 0;
        } else if self.line.is_registered() {
            self.failures = self.failures.min(1);
        }
    }

    /// Waits twice as long after each failure, spread so that many gateways do not come back together.
    fn retry(&mut self, why: &str) {
        self.line.flow_down(super::now(), why);
        if self.shutting_down {
            return self.end();
        }
        let wait = (FIRST_WAIT * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let mut byte = [0u8; 1];
        self.random.fill(&mut byte);
        let spread = wait / 2 + wait / 2 * u32::from(byte[0]) / 255;
        self.link = Link::Waiting(super::now() + spread);
    }

    /// Does what the line asks for.
    /// On a thread of its own; whether it succeeded, the book says.
    fn keep(&self, changes: Vec<Change>) {
        drop(self.settings.peers.write(changes));
    }

    async fn carry_out(&mut self) {
        while let Some(output) = self.line.poll() {
            match output {
                Output::Send(bytes) => self.write(&bytes),
                Output::CloseFlow(why) => self.close(&why),
                Output::OpenPorts(call) => self.open_ports(call).await,
                Output::ForgetPorts(call) => {
                    self.waiting_ports.remove(&call);
                }
                Output::Join(setup) => match self.waiting_ports.remove(&setup.call) {
                    Some(sockets) => self.tell_room(RoomMessage::Join(setup, sockets)).await,
                    None => tracing::error!(call = %setup.call, "a call without ports"),
                },
                Output::Update(call, direction, remote) => {
                    self.tell_room(RoomMessage::Update(call, direction, remote)).await;
                }
                Output::Rekey(call, keys) => self.tell_room(RoomMessage::Rekey(call, keys)).await,
                Output::Order(call, order) => self.tell_room(RoomMessage::Order(call, order)).await,
                Output::Keep(changes) => self.keep(changes),
                Output::Hold(records) => drop(self.settings.peers.hold(records)),
                Output::Announce(call, announcement) => {
                    self.tell_room(RoomMessage::Announce(call, announcement)).await;
                }
                Output::Say(to, text) => self.tell_room(RoomMessage::Say(to, text)).await,
                Output::Leave(call) => {
                    self.waiting_ports.remove(&call);
                    self.tell_room(RoomMessage::Leave(call)).await;
                }
                Output::Finished => {
                    if let Link::Up(flow) = std::mem::replace(&mut self.link, Link::Over) {
                        flow.close().await;
                    }
                    self.finished = true;
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Link::Up(flow) = &mut self.link else { return };
        tracing::trace!(account = self.settings.account, length = bytes.len(), message = start_line(bytes), "sent");
        if let Err(error) = flow.send(bytes) {
            let why = broke(&error, flow);
            self.lost(&why);
        }
    }

    /// Closes the connection and opens another. What still waits to be written may take its time meanwhile.
    fn close(&mut self, why: &str) {
        match std::mem::replace(&mut self.link, Link::Over) {
            Link::Up(flow) => {
                self.worked_until_now(flow.since);
                tokio::spawn(flow.close());
                tracing::warn!(account = self.settings.account, why, "connection closed; calls go on");
                self.retry(why);
            }
            other => self.link = other,
        }
    }

    async fn open_ports(&mut self, call: CallNumber) {
        let reached_from = self.link.up().map(|flow| flow.local.ip());
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

    async fn tell_room(&mut self, message: RoomMessage) {
        if self.room.send(message).await.is_err() {
            tracing::error!(account = self.settings.account, "the room's task is gone");
        }
    }
}

/// What a message is, for the log: its first line, which holds no credential and no key. Bytes that do not begin with the
/// first line of a message, because TCP cut it where it liked, are not shown: they may be a key in a session description.
fn start_line(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    if !line.starts_with(b"SIP/2.0 ") && !line.ends_with(b" SIP/2.0") {
        return String::new();
    }
    printable(&String::from_utf8_lossy(&line[..line.len().min(120)])).to_string()
}

#[cfg(test)]
mod tests {
    use super::start_line;

    #[test]
    fn only_first_lines_of_messages_are_logged() {
        assert_eq!(start_line(b"SIP/2.0 200 OK\r\nVia: x\r\n"), "SIP/2.0 200 OK");
        assert_eq!(start_line(b"BYE sip:a@b SIP/2.0\r\n"), "BYE sip:a@b SIP/2.0");
        for cut in
            ["a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n", "Authorization: Digest x\r\n", "\r\n\r\n", ""]
        {
            assert_eq!(start_line(cut.as_bytes()), "");
        }
    }
}
