//! Where a provider is: from what the operator configured to the servers to try, in order (RFC 3263 for a client that speaks
//! TLS only).
//!
//! ```text
//! IP address ────────────────────────────────────────────────▶ that address
//! host:port ─────────────────────────────▶ A, AAAA ──────────▶ that port
//! host ──▶ NAPTR ──SIPS+D2T──▶ SRV ──────▶ A, AAAA ──────────▶ the SRV's ports
//!            └────none───▶ SRV _sips._tcp ─┘
//!                            └──none──────▶ A, AAAA ──────────▶ port 5061
//! ```
//!
//! In: the host, and the answers to the questions that [`Locator::step`] asks. Out: [`Located`], or one reason why not. Services
//! without TLS are kept for a report, and are never a step. A replacement in another domain is followed, as RFC 3263 §4.1
//! says; who answers there is still judged by the account's own name (RFC 5922 §7.3), which nothing here touches. Asks
//! for no name but the configured one and what DNS itself says about it. No clock, no socket; everything is bounded.

mod facts;
mod order;

pub use facts::{Answer, Caa, Dnssec, Failure, FailureKind, Lookup, Naptr, Srv, Tlsa, both_families};

use crate::policy::Directions;
use crate::units::Random;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;

/// SIP over TLS (RFC 3261 §19.1.2).
pub const SIPS_PORT: u16 = 5061;

/// So many NAPTR rules are followed.
const MOST_RULES: usize = 4;

/// So many servers are tried.
pub const MOST_TARGETS: usize = 16;

/// So many addresses of a server are tried.
pub const MOST_ADDRESSES: usize = 8;

/// A question for DNS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// The NAPTR records of a domain.
    Naptr(String),
    /// The SRV records of a service.
    Srv(String),
    /// The A and AAAA records of a host.
    Addresses(String),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Naptr(name) => write!(f, "the NAPTR records of {name}"),
            Question::Srv(name) => write!(f, "the SRV records of {name}"),
            Question::Addresses(name) => write!(f, "the addresses of {name}"),
        }
    }
}

/// The answer to a [`Question`] of the same kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Question::Naptr`].
    Naptr(Lookup<Naptr>),
    /// To [`Question::Srv`].
    Srv(Lookup<Srv>),
    /// To [`Question::Addresses`].
    Addresses(Lookup<IpAddr>),
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask these, and give the answers to [`Locator::answered`] in the same order.
    Ask(Vec<Question>),
    /// The end.
    Done(Result<Located, NotLocated>),
}

/// How a server was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// An IP address is configured.
    Literal,
    /// The hosts file of this machine has the name: nothing was asked for.
    HostsFile,
    /// A port is configured: only the addresses were asked for.
    Port,
    /// A NAPTR record led to SRV records.
    Naptr,
    /// `_sips._tcp` has SRV records.
    Srv,
    /// There are neither NAPTR nor SRV records for TLS: port 5061 of the host itself.
    DefaultPort,
}

impl Way {
    /// For logs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Literal => "address",
            Way::HostsFile => "hosts file",
            Way::Port => "A/AAAA, configured port",
            Way::Naptr => "NAPTR, SRV, A/AAAA",
            Way::Srv => "SRV, A/AAAA",
            Way::DefaultPort => "A/AAAA, default port",
        }
    }
}

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name in DNS, for people: never what its certificate is checked against.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its addresses, at least one.
    pub addresses: Vec<IpAddr>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    /// The servers, the first to try first; at least one.
    pub targets: Vec<Target>,
    /// How.
    pub way: Way,
    /// The weakest of all the answers that led here; an IP address needs none.
    pub dnssec: Option<Dnssec>,
    /// All that was asked and answered, for a report.
    pub asked: Vec<(Question, Reply)>,
}

/// Why nothing was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotLocated {
    /// The reason.
    pub reason: Reason,
    /// All that was asked and answered, for a report.
    pub asked: Vec<(Question, Reply)>,
}

/// Why nothing was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// There is no such name.
    NoSuchName(String),
    /// None of these hosts has an address.
    NoAddress(Vec<String>),
    /// The SRV records of this name say that the service is decidedly not available.
    NotOffered(String),
    /// The SRV records of this name are of no use.
    NoUsableServer(String),
    /// DNS did not answer, or with something that must not be used.
    Failed(Failure),
}

impl fmt::Display for NotLocated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::NoSuchName(name) => write!(f, "there is no {name} in DNS"),
            Reason::NoAddress(names) => write!(f, "DNS has no address for {}", names.join(", ")),
            Reason::NotOffered(name) => {
                write!(f, "the domain says in DNS that it offers no SIP over TLS (the SRV target of {name} is \".\")")
            }
            Reason::NoUsableServer(name) => write!(f, "the SRV records of {name} name no server that can be used"),
            Reason::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for NotLocated {}

impl NotLocated {
    /// The fact for `policy`: what says decidedly that there is no way, and not merely none.
    pub fn directions(&self) -> Directions {
        match &self.reason {
            Reason::Failed(failure) if failure.kind == FailureKind::Bogus => Directions::Bogus,
            Reason::NotOffered(_) => Directions::NotOffered,
            Reason::NoSuchName(_) | Reason::NoAddress(_) | Reason::NoUsableServer(_) | Reason::Failed(_) => {
                Directions::Usable
            }
        }
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match &self.reason {
            Reason::NoSuchName(_) | Reason::NoAddress(_) => {
                "check the spelling of the account's address or of outbound_proxy"
            }
            Reason::NotOffered(_) | Reason::NoUsableServer(_) => {
                "ask the provider for its server for SIP over TLS, and write it into outbound_proxy = \"sips:HOST:PORT\""
            }
            Reason::Failed(failure) => failure.remedy(),
        }
    }
}

/// Where the search stands.
enum State {
    AwaitNaptr,
    /// The names of services still to be asked for, the next first.
    AwaitSrv(VecDeque<String>, Way),
    AwaitAddresses(Vec<(String, u16)>, Way),
    Done(Result<Located, Reason>),
}

/// One search.
pub struct Locator {
    host: String,
    state: State,
    asked: Vec<(Question, Reply)>,
    dnssec: Option<Dnssec>,
}

impl Locator {
    /// Begins a search for a host name or an IP address, with the port if one is configured.
    pub fn new(host: &str, port: Option<u16>) -> Locator {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let state = match (host.parse::<IpAddr>(), port) {
            (Ok(address), port) => {
                let target = Target { name: host.clone(), port: port.unwrap_or(SIPS_PORT), addresses: vec![address] };
                let (targets, asked) = (vec![target], Vec::new());
                State::Done(Ok(Located { targets, way: Way::Literal, dnssec: None, asked }))
            }
            (Err(_), Some(port)) => State::AwaitAddresses(vec![(host.clone(), port)], Way::Port),
            (Err(_), None) => State::AwaitNaptr,
        };
        Locator { host, state, asked: Vec::new(), dnssec: None }
    }

    /// What to do now.
    pub fn step(&self) -> Step {
        match &self.state {
            State::AwaitNaptr => Step::Ask(vec![Question::Naptr(self.host.clone())]),
            State::AwaitSrv(names, _) => Step::Ask(names.front().cloned().map(Question::Srv).into_iter().collect()),
            State::AwaitAddresses(servers, _) => Step::Ask(hosts(servers).map(Question::Addresses).collect()),
            State::Done(Ok(located)) => {
                Step::Done(Ok(Located { dnssec: self.dnssec, asked: self.asked.clone(), ..located.clone() }))
            }
            State::Done(Err(reason)) => {
                Step::Done(Err(NotLocated { reason: reason.clone(), asked: self.asked.clone() }))
            }
        }
    }

    /// Takes the answers to what [`Locator::step`] asked.
    pub fn answered(&mut self, replies: Vec<Reply>, random: &mut dyn Random) {
        let Step::Ask(questions) = self.step() else { return };
        self.asked.extend(questions.into_iter().zip(replies.iter().cloned()));
        let state = std::mem::replace(&mut self.state, State::AwaitNaptr);
        self.state = match state {
            State::AwaitNaptr => match replies.into_iter().next() {
                Some(Reply::Naptr(found)) => self.after_naptr(found),
                _ => self.ask_srv(),
            },
            State::AwaitSrv(names, way) => match replies.into_iter().next() {
                Some(Reply::Srv(found)) => self.after_srv(names, way, found, random),
                _ => self.default_port(),
            },
            State::AwaitAddresses(servers, way) => {
                let found = replies.into_iter().map(|reply| match reply {
                    Reply::Addresses(found) => Some(found),
                    Reply::Naptr(_) | Reply::Srv(_) => None,
                });
                self.after_addresses(&servers, way, found.flatten().collect())
            }
            done @ State::Done(_) => done,
        };
    }

    fn ask_srv(&self) -> State {
        State::AwaitSrv(VecDeque::from([format!("_sips._tcp.{}", self.host)]), Way::Srv)
    }

    fn default_port(&self) -> State {
        State::AwaitAddresses(vec![(self.host.clone(), SIPS_PORT)], Way::DefaultPort)
    }

    /// Every answer that steers the search counts, also one that there is nothing: it could hide what there is.
    fn weigh(&mut self, dnssec: Dnssec) {
        self.dnssec = Some(self.dnssec.map_or(dnssec, |weakest| weakest.min(dnssec)));
    }

    fn after_naptr(&mut self, found: Lookup<Naptr>) -> State {
        match found {
            Ok(answer) => {
                self.weigh(answer.dnssec);
                match order::tls_services(&answer.records, MOST_RULES) {
                    names if names.is_empty() => self.ask_srv(),
                    names => State::AwaitSrv(names.into(), Way::Naptr),
                }
            }
            Err(failure) if matches!(failure.kind, FailureKind::Bogus | FailureKind::NoName) => {
                State::Done(Err(Reason::Failed(failure)))
            }
            // some small DNS servers do not know this type; the certificate makes sure that nobody profits from hiding it
            Err(_) => {
                self.weigh(Dnssec::Indeterminate);
                self.ask_srv()
            }
        }
    }

    fn after_srv(
        &mut self,
        mut names: VecDeque<String>,
        way: Way,
        found: Lookup<Srv>,
        random: &mut dyn Random,
    ) -> State {
        let name = names.pop_front().unwrap_or_default();
        let answer = match found {
            Ok(answer) => answer,
            Err(failure) => return State::Done(Err(Reason::Failed(failure))),
        };
        self.weigh(answer.dnssec);
        if order::decidedly_not_available(&answer.records) {
            return State::Done(Err(Reason::NotOffered(name)));
        }
        let mut servers = order::servers(&answer.records, random);
        servers.truncate(MOST_TARGETS);
        match (servers.is_empty(), answer.records.is_empty(), way) {
            (false, _, _) => State::AwaitAddresses(servers, way),
            (true, _, Way::Naptr) if !names.is_empty() => State::AwaitSrv(names, way),
            (true, _, Way::Naptr) => self.ask_srv(),
            (true, true, _) => self.default_port(),
            (true, false, _) => State::Done(Err(Reason::NoUsableServer(name))),
        }
    }

    fn after_addresses(&mut self, servers: &[(String, u16)], way: Way, found: Vec<Lookup<IpAddr>>) -> State {
        let found: Vec<(String, Lookup<IpAddr>)> = hosts(servers).zip(found).collect();
        let mut targets = Vec::new();
        for (name, port) in servers {
            let answer = found.iter().find(|(host, _)| host == name).map(|(_, answer)| answer);
            let Some(Ok(Answer { records, dnssec, .. })) = answer else { continue };
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in records.iter().filter(|address| is_of_a_host(address)) {
                if addresses.len() < MOST_ADDRESSES && !addresses.contains(address) {
                    addresses.push(*address);
                }
            }
            if !addresses.is_empty() {
                self.weigh(*dnssec);
                targets.push(Target { name: name.clone(), port: *port, addresses });
            }
        }
        State::Done(match targets.is_empty() {
            false => Ok(Located { targets, way, dnssec: None, asked: Vec::new() }),
            true => Err(self.no_address(&found)),
        })
    }

    /// The worst of several reasons: a forged answer before a failed one, before nothing.
    fn no_address(&self, found: &[(String, Lookup<IpAddr>)]) -> Reason {
        let failures = || found.iter().filter_map(|(_, answer)| answer.as_ref().err());
        let worst = failures().find(|failure| failure.kind == FailureKind::Bogus).or_else(|| failures().next());
        match (worst, found) {
            (Some(failure), _) => Reason::Failed(failure.clone()),
            (None, [(name, Ok(answer))]) if !answer.name_exists => Reason::NoSuchName(name.clone()),
            (None, []) => Reason::NoAddress(vec![self.host.clone()]),
            (None, several) => Reason::NoAddress(several.iter().map(|(name, _)| name.clone()).collect()),
        }
    }
}

/// Each host once, however many of its ports are named.
fn hosts(servers: &[(String, u16)]) -> impl Iterator<Item = String> + '_ {
    let first = |at: usize, name: &String| servers[..at].iter().all(|(earlier, _)| earlier != name);
    servers.iter().enumerate().filter(move |(at, (name, _))| first(*at, name)).map(|(_, (name, _))| name.clone())
}

/// DNS may say anything; a server is at no such address.
fn is_of_a_host(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests;
