//! DNS: records, each answer with how far it is proved, and where a provider is (by [`Locator`]).
//!
//! The only place that asks DNS, for providers and conference servers alike. Asks the servers of `[dns]`, or the system's;
//! validates with DNSSEC from the trust anchors down, wherever the servers pass DNSSEC on (`validate`). What fails
//! validation is never used. Names in the system's hosts file are looked up nowhere else. Answers are kept as long as
//! their TTL says. Only names that the operator configured are asked for, and what DNS itself says about them; never one
//! that a message names.

mod anchor;
mod read;
mod validate;

pub use anchor::Anchors;

use super::SystemRandomness;
use crate::sip::locate::{
    Answer, Caa, Dnssec, Failure, FailureKind, Located, Locator, Lookup, Naptr, NotLocated, Question, Reply, SIPS_PORT,
    Srv, Step, Tlsa, Way, both_families,
};
use futures_util::future::join_all;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};
use read::Validation;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use validate::{Found, Servers};

/// How long one question may take, with everything that it needs to be validated.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long one DNS server may take, repetitions included.
const SERVER_PATIENCE: Duration = Duration::from_secs(4);

/// How long the system may take to say that nobody listens at a server's port.
const KNOCK_PATIENCE: Duration = Duration::from_millis(300);

/// After so long it is tried again whether the servers pass DNSSEC on: the network may be another one.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// Asks DNS. Copies share everything.
#[derive(Clone)]
pub struct Dns(Arc<Inner>);

struct Inner {
    anchors: Anchors,
    config: ResolverConfig,
    options: ResolverOpts,
    servers: Servers,
    plain: TokioResolver,
    state: Mutex<State>,
}

/// Whether the servers pass DNSSEC on. Once they did, they always have to.
enum State {
    Unknown,
    Validating(Box<TokioResolver>),
    NotValidating { until: Instant },
}

/// The DNS client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("names cannot be looked up: {0}")]
pub struct DnsSetupError(NetError);

impl Dns {
    /// For these servers, or the system's if there are none.
    ///
    /// # Errors
    /// When the system does not let it.
    pub fn new(servers: &[SocketAddr], anchors: Anchors) -> Result<Dns, DnsSetupError> {
        let (config, ndots) = configuration(servers);
        let mut options = ResolverOpts::default();
        options.ndots = ndots;
        options.timeout = SERVER_PATIENCE;
        options.attempts = 1;
        options.use_hosts_file = ResolveHosts::Never; // read by us, each time anew
        options.preserve_intermediates = true; // an alias has to be proved as well
        let plain = resolver(&config, &options, None).map_err(DnsSetupError)?;
        let servers = Servers::new(config.name_servers(), options.clone()).map_err(DnsSetupError)?;
        let state = Mutex::new(State::Unknown);
        Ok(Dns(Arc::new(Inner { anchors, config, options, servers, plain, state })))
    }

    /// The rules for finding the services of a domain.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn naptr(&self, name: &str) -> Lookup<Naptr> {
        self.ask(name, RecordType::NAPTR, read::naptr).await
    }

    /// The servers of a service, such as `_sips._tcp.example.org`.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn srv(&self, name: &str) -> Lookup<Srv> {
        self.ask(name, RecordType::SRV, read::srv).await
    }

    /// The IPv4 addresses of a host in DNS.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn a(&self, name: &str) -> Lookup<IpAddr> {
        self.ask(name, RecordType::A, read::address).await
    }

    /// The IPv6 addresses of a host in DNS.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn aaaa(&self, name: &str) -> Lookup<IpAddr> {
        self.ask(name, RecordType::AAAA, read::address).await
    }

    /// What a server's certificate has to be, such as of `_5061._tcp.sip.example.org`.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn tlsa(&self, name: &str) -> Lookup<Tlsa> {
        self.ask(name, RecordType::TLSA, read::tlsa).await
    }

    /// Who may issue certificates for exactly this name; its parents have to be asked for as well (RFC 8659 §3).
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn caa(&self, name: &str) -> Lookup<Caa> {
        self.ask(name, RecordType::CAA, read::caa).await
    }

    /// The addresses of a host, IPv6 first; those in the hosts file, if it has the name.
    ///
    /// # Errors
    /// When there is no answer that may be used.
    pub async fn addresses(&self, host: &str) -> Lookup<IpAddr> {
        let known = match host.trim_matches(['[', ']']).parse() {
            Ok(address) => vec![address],
            Err(_) => on_this_machine(host).await,
        };
        if !known.is_empty() {
            let (dnssec, ttl) = (Dnssec::Indeterminate, Duration::ZERO);
            return Ok(Answer { records: known, dnssec, ttl, name_exists: true });
        }
        let (v6, v4) = tokio::join!(self.aaaa(host), self.a(host));
        both_families(v6, v4)
    }

    /// The servers of a SIP provider for TLS, in the order to try them: see [`Locator`].
    ///
    /// # Errors
    /// When there are none, or DNS does not say.
    pub async fn locate(&self, host: &str, port: Option<u16>) -> Result<Located, NotLocated> {
        // what the operator says on this machine about a host needs no DNS, nor what DNS says about its services
        let by_hosts_file = host.parse::<IpAddr>().is_err() && !on_this_machine(host).await.is_empty();
        let mut locator = Locator::new(host, port.or(by_hosts_file.then_some(SIPS_PORT)));
        loop {
            match locator.step() {
                Step::Ask(questions) => {
                    let replies = join_all(questions.into_iter().map(|question| self.reply(question))).await;
                    locator.answered(replies, &mut SystemRandomness::default());
                }
                Step::Done(Ok(found)) if by_hosts_file => return Ok(Located { way: Way::HostsFile, ..found }),
                Step::Done(result) => return result,
            }
        }
    }

    async fn reply(&self, question: Question) -> Reply {
        match question {
            Question::Naptr(name) => Reply::Naptr(self.naptr(&name).await),
            Question::Srv(name) => Reply::Srv(self.srv(&name).await),
            Question::Addresses(name) => Reply::Addresses(self.addresses(&name).await),
        }
    }

    async fn ask<T>(&self, name: &str, kind: RecordType, read: impl Fn(&RData) -> Option<T>) -> Lookup<T> {
        let fail = |failure| Failure { question: format!("the {kind} records of {name}"), kind: failure };
        let Some(mut asked) = Name::from_ascii(name).ok().filter(|name| !name.is_root() && name.num_labels() > 0)
        else {
            return Err(fail(FailureKind::NoName));
        };
        // a name without a dot is one of the local network, for which the system may have a search list
        asked.set_fqdn(name.contains('.') || !matches!(kind, RecordType::A | RecordType::AAAA));
        let answer = timeout(PATIENCE, self.ask_within(&asked, kind, read)).await;
        match answer.unwrap_or(Err(FailureKind::Silent(PATIENCE.as_secs()))) {
            Err(FailureKind::Silent(seconds)) => Err(fail(match unreachable(self.0.config.name_servers()).await {
                Some(why) => FailureKind::Unreachable(why),
                None => FailureKind::Silent(seconds),
            })),
            decided => decided.map_err(fail),
        }
    }

    async fn ask_within<T>(
        &self,
        name: &Name,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, FailureKind> {
        let (resolver, validation) = self.resolver(name).await?;
        match resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => read::answer(&lookup, name, kind, validation, read),
            Err(NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)))
                if validation == Validation::Done && self.0.servers.withhold(name, kind).await =>
            {
                Err(FailureKind::Bogus)
            }
            Err(error) => read::no_answer(&error, validation, SERVER_PATIENCE),
        }
    }

    /// Who is to be asked for this name. Where no anchor covers it there is nothing to validate (RFC 4033 §5, indeterminate).
    async fn resolver(&self, name: &Name) -> Result<(TokioResolver, Validation), FailureKind> {
        let plain = || (self.0.plain.clone(), Validation::None);
        if !self.0.anchors.cover(name) {
            return Ok(plain());
        }
        let mut state = self.0.state.lock().await;
        match &*state {
            State::Validating(resolver) => return Ok((TokioResolver::clone(resolver), Validation::Done)),
            State::NotValidating { until } if super::now() < *until => return Ok(plain()),
            State::NotValidating { .. } | State::Unknown => {}
        }
        let servers = || names(self.0.config.name_servers());
        match self.0.servers.keys(&self.0.anchors).await {
            Ok(Found::Keys(keys)) => {
                let failed = |error: NetError| FailureKind::Unreachable(error.to_string());
                let resolver = resolver(&self.0.config, &self.0.options, Some(keys)).map_err(failed)?;
                tracing::info!(servers = servers(), "DNS answers are validated with DNSSEC");
                *state = State::Validating(Box::new(resolver.clone()));
                Ok((resolver, Validation::Done))
            }
            Ok(Found::NotPassedOn) => {
                if matches!(*state, State::Unknown) {
                    let remedy = "name a DNS server that does in [dns] servers, such as a local unbound";
                    tracing::warn!(
                        servers = servers(),
                        remedy,
                        "the DNS servers pass no DNSSEC on: answers are not validated"
                    );
                }
                *state = State::NotValidating { until: super::now() + LOOK_AGAIN };
                Ok(plain())
            }
            Err((zone, kind)) => {
                tracing::debug!(%zone, ?kind, "the trust anchor's keys cannot be looked up");
                Err(kind)
            }
        }
    }
}

/// The servers of the configuration, or what `/etc/resolv.conf` says, or what that means if it says nothing.
fn configuration(servers: &[SocketAddr]) -> (ResolverConfig, usize) {
    let system = system_conf::read_system_conf().ok();
    let ndots = system.as_ref().map_or(1, |(_, options)| options.ndots);
    let (domain, search, mut used) =
        system.map_or_else(|| (None, Vec::new(), Vec::new()), |(config, _)| config.into_parts());
    if !servers.is_empty() {
        used = servers.iter().map(server).collect();
    }
    if used.is_empty() {
        used.push(server(&SocketAddr::from((Ipv4Addr::LOCALHOST, 53))));
    }
    (ResolverConfig::from_parts(domain, search, used), ndots)
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

fn names(servers: &[NameServerConfig]) -> String {
    servers.iter().map(|server| address(server).to_string()).collect::<Vec<_>>().join(", ")
}

fn address(server: &NameServerConfig) -> SocketAddr {
    SocketAddr::new(server.ip, server.connections.first().map_or(53, |connection| connection.port))
}

/// What the system says if none of the servers can be reached; `None` if one of them is only silent.
async fn unreachable(servers: &[NameServerConfig]) -> Option<String> {
    let knock = async |server: &NameServerConfig| {
        let to = address(server);
        let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(to).await?;
        socket.send(&[0; 12]).await?; // an empty question: what comes back matters only if it is the system's
        timeout(KNOCK_PATIENCE, socket.recv(&mut [0; 12])).await.unwrap_or(Ok(0))
    };
    let mut last = None;
    for server in servers {
        let error: std::io::Error = knock(server).await.err()?;
        last = Some(format!("{}: {error}", address(server)));
    }
    last
}

fn resolver(
    config: &ResolverConfig,
    options: &ResolverOpts,
    keys: Option<TrustAnchors>,
) -> Result<TokioResolver, NetError> {
    let builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
    let builder = builder.with_options(options.clone());
    match keys {
        Some(keys) => builder.with_trust_anchor(Arc::new(keys)).build(),
        None => builder.build(),
    }
}

/// The addresses that need no DNS server: of `localhost` (RFC 6761 §6.3), and those in the hosts file.
async fn on_this_machine(host: &str) -> Vec<IpAddr> {
    let Ok(name) = Name::from_ascii(host) else { return Vec::new() };
    let lookup = move || {
        let hosts = Hosts::from_system().unwrap_or_default();
        let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let found = [RecordType::AAAA, RecordType::A].into_iter().filter_map(of);
        found
            .flat_map(|found| {
                found.answers().iter().filter_map(|record| read::address(&record.data)).collect::<Vec<_>>()
            })
            .collect()
    };
    let found: Vec<IpAddr> = spawn_blocking(lookup).await.unwrap_or_default();
    let localhost =
        host.trim_end_matches('.').rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    match found.is_empty() && localhost {
        true => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        false => found,
    }
}
