//! Carries an audit out: DNS, then every server at once, gently, and writes down what came back.
//!
//! Nothing is concluded here. Never more than 80 connections to one address and 10 a second ([`pace`]), never a credential
//! outside a connection that policy admitted (`login`), and nothing is fetched that a certificate or a message names.

mod conversation;
mod dns;
mod login;
pub mod pace;
mod plain;
pub mod tls;

pub use login::Credentials;

use super::dns::{Anchors, Dns};
use super::tls::{SipIdentity, TlsError, Trust};
use super::{now, unix_time, utc};
use crate::audit::facts::{Facts, ServerFacts, SipFacts, Tcp, Tested};
use crate::audit::handshake;
use crate::audit::sip::{Carrier, Question, nonces, request, response};
use crate::audit::target::Target;
use crate::policy::{Connecting, Directions, Rules, Transport, judge};
use conversation::Conversation;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use pace::Pace;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// One audit, login included, may not take longer.
const LONGEST: Duration = Duration::from_secs(40);

/// How long the look at TLS may take.
const TLS_PATIENCE: Duration = Duration::from_secs(10);

/// What is to be audited, and how.
pub struct Plan {
    /// The target.
    pub target: Target,
    /// The name that certificates have to show.
    pub expected_name: String,
    /// The authorities that count.
    pub trust: Trust,
    /// Who is asked for names.
    pub dns: Dns,
    /// The account to log in with.
    pub credentials: Option<Credentials>,
}

/// How far an audit is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Audits that are over, and how many there are.
    pub done: usize,
    /// See `done`.
    pub all: usize,
    /// The target that something happened to.
    pub target: String,
    /// What is done there now.
    pub doing: &'static str,
}

/// Is told of every step.
pub type Progress = Arc<dyn Fn(&Step) + Send + Sync>;

/// Facts while they grow, so that an interrupted audit keeps what it has.
struct Notes(Mutex<Facts>);

impl Notes {
    fn change(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn snapshot(&self) -> Facts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Who is asked for names: these servers instead of the system's, this key of DNSSEC instead of the root's.
///
/// # Errors
/// When a file cannot be used.
pub fn resolver(servers: &[SocketAddr], trust_anchor: Option<&Path>) -> Result<Dns, String> {
    let anchors = match trust_anchor {
        None => Anchors::iana(),
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text =
                text.map_err(|error| format!("{} cannot be read: {error}; see --trust-anchor", file.display()))?;
            Anchors::parse(&text).map_err(|error| format!("{} holds no trust anchor: {error}", file.display()))?
        }
    };
    Dns::new(servers, anchors).map_err(|error| error.to_string())
}

/// Audits all targets, so many at once, and gives their facts in the order of the plans. When `stop` turns true, everything
/// ends at once with what it has.
pub async fn run_all(plans: Vec<Plan>, parallel: usize, progress: Progress, stop: watch::Receiver<bool>) -> Vec<Facts> {
    let all = plans.len();
    let done = Arc::new(Mutex::new(0));
    let one = |plan: Plan| audit(plan, (Arc::clone(&done), all), Arc::clone(&progress), stop.clone());
    stream::iter(plans).map(one).buffered(parallel.max(1)).collect().await
}

/// Audits one target alone.
pub async fn run(plan: Plan, progress: Progress, stop: watch::Receiver<bool>) -> Facts {
    audit(plan, (Arc::new(Mutex::new(0)), 1), progress, stop).await
}

/// Audits one of several, and counts it when it is over.
async fn audit(
    plan: Plan,
    (done, all): (Arc<Mutex<usize>>, usize),
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Facts {
    let target = plan.target.to_string();
    let tell = |doing: &'static str, finished: bool| {
        let mut count = done.lock().unwrap_or_else(PoisonError::into_inner);
        *count += usize::from(finished);
        progress(&Step { done: *count, all, target: target.clone(), doing });
    };
    let facts = note_down(plan, |doing| tell(doing, false), stop).await;
    tell("done", true);
    facts
}

async fn note_down(plan: Plan, tell: impl Fn(&'static str), mut stop: watch::Receiver<bool>) -> Facts {
    let began = now();
    let notes = Notes(Mutex::new(Facts {
        target: plan.target.to_string(),
        expected_name: plan.expected_name.clone(),
        started: utc(unix_time()),
        took_ms: 0,
        interrupted: None,
        dns: Tested::not_yet(),
        servers: Vec::new(),
        plain: Vec::new(),
        account: Tested::Unknown("no account was named".to_owned()),
    }));
    let interrupted = tokio::select! {
        () = measure(plan, &notes, &tell) => None,
        _ = stop.wait_for(|stop| *stop) => Some("by the operator"),
        () = tokio::time::sleep(LONGEST) => Some("it took too long"),
    };
    notes.change(|facts| {
        facts.interrupted = interrupted.map(str::to_owned);
        facts.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    });
    notes.snapshot()
}

async fn measure(mut plan: Plan, notes: &Notes, tell: &impl Fn(&'static str)) {
    tell("asking DNS");
    let found = dns::look_up(&plan).await;
    let unseen = |(host, address): &(String, SocketAddr)| ServerFacts {
        host: host.clone(),
        address: *address,
        tcp: Tested::not_yet(),
        tls: Tested::not_yet(),
        certificate: Tested::not_yet(),
        sip: Tested::not_yet(),
        connections: 0,
    };
    notes.change(|facts| {
        facts.dns = found.facts;
        facts.servers = found.servers.iter().map(unseen).collect();
    });
    tell("looking at TLS, certificates and SIP");
    let mut paces: HashMap<IpAddr, Pace> = HashMap::new(); // the ports of one address share one
    for (_, address) in &found.servers {
        paces.entry(address.ip()).or_default();
    }
    let over_tls = found.servers.iter().enumerate().filter_map(|(at, (_, address))| {
        paces.get(&address.ip()).map(|pace| over_tls(&plan, notes, at, *address, pace))
    });
    let in_clear = paces.iter().map(|(address, pace)| in_clear(&plan, notes, &found.servers, *address, pace));
    tokio::join!(join_all(over_tls), join_all(in_clear));
    if let Some(credentials) = plan.credentials.take() {
        tell("logging in");
        let outcome = log_in(&plan, credentials, &paces, notes).await;
        notes.change(|facts| facts.account = Tested::Known(outcome));
    }
}

/// Everything about one server over TLS.
async fn over_tls(plan: &Plan, notes: &Notes, at: usize, address: SocketAddr, pace: &Pace) {
    let identity = SipIdentity { expected_name: plan.expected_name.clone(), pins: Vec::new(), client: None };
    let change = |change: &mut dyn FnMut(&mut ServerFacts)| {
        notes.change(|facts| {
            if let Some(server) = facts.servers.get_mut(at) {
                change(server);
            }
        });
    };
    let (tcp, facts, certificate) = tls::probe(address, &identity, &plan.trust, pace, now() + TLS_PATIENCE).await;
    let open = matches!(tcp, Tested::Known(Tcp::Open { .. }));
    change(&mut |server| {
        server.tcp = tcp.clone();
        server.tls = facts.clone();
        server.certificate = certificate.clone();
    });
    let sip = match open {
        true => sip(address, &identity, &plan.trust, &plan.expected_name, pace).await,
        false => Tested::Unknown("the server was not reached".to_owned()),
    };
    change(&mut |server| {
        server.sip = sip.clone();
        server.connections = pace.used();
    });
}

/// Whether SIP is spoken without TLS at an address.
async fn in_clear(plan: &Plan, notes: &Notes, servers: &[(String, SocketAddr)], address: IpAddr, pace: &Pace) {
    let host = servers.iter().find(|(_, server)| server.ip() == address).map_or("", |(host, _)| host.as_str());
    let port = SocketAddr::new(address, plain::SIP_PORT);
    let facts = plain::probe(host, port, &plan.expected_name, pace).await;
    notes.change(|all| {
        all.plain.extend(facts);
        all.plain.sort_by_key(|probe| probe.address);
    });
}

/// SIP over TLS, to whomever: nothing secret is said. Two connections, to compare their nonces.
async fn sip(
    address: SocketAddr,
    identity: &SipIdentity,
    trust: &Trust,
    domain: &str,
    pace: &Pace,
) -> Tested<SipFacts> {
    let mut random = super::SystemRandomness::default();
    let open = async || {
        let stream = tls::open(address, identity, trust, pace).await?;
        let local = stream.get_ref().0.local_addr().map_err(|_| "the connection broke".to_owned())?;
        Ok::<_, String>((Conversation::new(stream), local))
    };
    let (mut talk, mut local) = match open().await {
        Ok(opened) => opened,
        Err(why) => return Tested::Unknown(why),
    };
    let mut options = talk.ask(&request(Question::Options, domain, Carrier::Tls, local, &mut random)).await;
    // a busy server drops a connection now and then, and answers over the next
    if talk.is_over()
        && let Ok(again) = open().await
    {
        (talk, local) = again;
        options = talk.ask(&request(Question::Options, domain, Carrier::Tls, local, &mut random)).await;
    }
    let register = talk.ask(&request(Question::Register, domain, Carrier::Tls, local, &mut random)).await;
    let pong = talk.ping().await;
    let sips_uri = talk.ask(&request(Question::SipsOptions, domain, Carrier::Tls, local, &mut random)).await;
    talk.close().await;
    let first = register.known().map(nonces).unwrap_or_default();
    let fresh_nonce = if first.is_empty() {
        Tested::Unknown("no digest challenge came".to_owned())
    } else {
        match tls::open(address, identity, trust, pace).await {
            Err(why) => Tested::Unknown(why),
            Ok(stream) => {
                let mut talk = Conversation::new(stream);
                let again = talk.ask(&request(Question::Register, domain, Carrier::Tls, local, &mut random)).await;
                talk.close().await;
                match again {
                    Tested::Unknown(why) => Tested::Unknown(why),
                    Tested::Known(again) => Tested::Known(!nonces(&again).iter().any(|nonce| first.contains(nonce))),
                }
            }
        }
    };
    let keep = |tested: Tested<crate::sip::Response>| match tested {
        Tested::Known(known) => Tested::Known(response(&known)),
        Tested::Unknown(why) => Tested::Unknown(why),
    };
    Tested::Known(SipFacts {
        options: keep(options),
        sips_uri: keep(sips_uri),
        register: keep(register),
        fresh_nonce,
        pong,
    })
}

/// Logs in at the first server that takes connections, exactly as `run` would: policy says whether a password may be used.
async fn log_in(
    plan: &Plan,
    credentials: Credentials,
    paces: &HashMap<IpAddr, Pace>,
    notes: &Notes,
) -> crate::audit::facts::AccountFacts {
    let rules = Rules::strict(plan.target.account().unwrap_or_else(|| login::address(&credentials)));
    let identity = SipIdentity { expected_name: plan.expected_name.clone(), pins: Vec::new(), client: None };
    let open = |server: &ServerFacts| matches!(server.tcp, Tested::Known(Tcp::Open { .. }));
    let servers = notes.snapshot().servers;
    let Some(server) = servers.iter().find(|server| open(server)) else {
        return login::not_reached(&credentials, "no server could be reached");
    };
    let allowed = match judge(&rules, &Connecting { transport: Transport::Tls, dns: Directions::Usable }).allowed() {
        Ok(allowed) => allowed,
        Err(refusal) => return login::not_tried(&credentials, refusal.rule.as_str().to_owned()),
    };
    if let Some(pace) = paces.get(&server.address.ip())
        && let Err(too_many) = pace.turn().await
    {
        return login::not_reached(&credentials, &too_many.to_string());
    }
    // in TLS 1.3 a server says after the handshake that it wants a client certificate
    let obstacle = server.tls.known().and_then(|tls| tls.obstacle);
    if let Err(refusal) = handshake(obstacle, &identity.expected_name, &rules) {
        return login::not_tried(&credentials, refusal.rule.as_str().to_owned());
    }
    let addresses = [server.address];
    match super::tls::connect_sip(allowed, &addresses, &identity, &plan.trust, &rules, super::tls::PATIENCE).await {
        Ok(connection) => login::probe(credentials, connection).await,
        Err(TlsError::Refused(refusal)) => login::not_tried(&credentials, refusal.rule.as_str().to_owned()),
        Err(error) => login::not_reached(&credentials, &crate::sip::printable(&error.to_string())),
    }
}
