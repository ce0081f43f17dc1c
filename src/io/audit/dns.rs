//! What DNS says about a target: everything that the checks want to know, and the servers to look at.

use super::Plan;
use crate::audit::facts::{Answer, DnsFacts, Naptr, NotFound, Question, Security, Srv, Tested, Tlsa, Way};
use crate::io::dns::Dns;
use crate::policy::Directions;
use crate::sip::locate::{self, Dnssec, FailureKind, Located, Lookup, Reason, Reply};
use crate::sip::printable;
use futures_util::future::join_all;
use std::net::{IpAddr, SocketAddr};

/// SIP services of a domain, the one that matters first.
const SERVICES: [&str; 4] = ["_sips._tcp", "_sip._tcp", "_sip._udp", "_sip._tls"];

/// No more addresses than these are looked at, and as many hosts.
const MOST_SERVERS: usize = 8;

/// What was found.
pub(super) struct Found {
    pub(super) facts: Tested<DnsFacts>,
    /// Host and address of each server: by priority as `run` would try them, and among equals by name, where `run` lets chance
    /// decide. Reports of the same are the same.
    pub(super) servers: Vec<(String, SocketAddr)>,
}

pub(super) async fn look_up(plan: &Plan) -> Found {
    let (dns, target) = (&plan.dns, &plan.target);
    let located = dns.locate(target.host.trim_matches(['[', ']']), target.port.or(target.server.then_some(5061))).await;
    let way = match (&located, target.server) {
        (_, true) => Way::Configured,
        (Ok(found), false) => match found.way {
            locate::Way::Naptr => Way::Naptr,
            locate::Way::Srv => Way::Srv,
            locate::Way::Literal | locate::Way::HostsFile => Way::Configured,
            _ => Way::Address,
        },
        (Err(_), false) => Way::Address,
    };
    let mut servers: Vec<(String, SocketAddr)> = Vec::new();
    let mut hosts: Vec<(String, u16)> = Vec::new();
    for found in located.iter().flat_map(in_lasting_order).take(MOST_SERVERS) {
        hosts.push((found.name.clone(), found.port));
        let mut addresses = found.addresses.clone();
        addresses.sort();
        servers.extend(addresses.into_iter().map(|ip| (found.name.clone(), SocketAddr::new(ip, found.port))));
    }
    servers.truncate(MOST_SERVERS);
    if target.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Found { facts: Tested::Unknown("the target is an address; DNS has no part in it".to_owned()), servers };
    }
    if hosts.is_empty() {
        hosts.push((target.host.clone(), target.port.unwrap_or(5061)));
    }
    let not_found = located.as_ref().err().map(|trouble| {
        let why = printable(&trouble.to_string());
        match (trouble.directions(), &trouble.reason) {
            (Directions::Bogus, _) => NotFound::Bogus(why),
            (Directions::NotOffered, _) => NotFound::NotOffered(why),
            (Directions::Usable, Reason::Failed(_)) => NotFound::Failed(why),
            (Directions::Usable, _) => NotFound::Nothing(why),
        }
    });
    let domain = target.host.as_str();
    let naptr = async {
        match way {
            Way::Configured => nothing(),
            _ => answer(dns.naptr(domain).await, naptr),
        }
    };
    let srv = async {
        let names = SERVICES.iter().map(|service| format!("{service}.{domain}")).collect::<Vec<_>>();
        let names = if way == Way::Configured { Vec::new() } else { names };
        join_all(names.into_iter().map(|name| async move {
            let answer = answer(dns.srv(&name).await, srv);
            Question { name, answer }
        }))
        .await
    };
    let (naptr, srv, per_host, caa) = tokio::join!(
        naptr,
        srv,
        join_all(hosts.iter().map(|(host, port)| about_host(dns, host, *port))),
        dns.caa(domain)
    );
    let (mut ipv4, mut ipv6, mut tlsa) = (Vec::new(), Vec::new(), Vec::new());
    for (four, six, pinned) in per_host {
        ipv4.push(four);
        ipv6.push(six);
        tlsa.push(pinned);
    }
    let caa = answer(caa, |record| {
        format!("{} {} \"{}\"", u8::from(record.critical) * 128, printable(&record.tag), printable(&record.value))
    });
    Found { facts: Tested::Known(DnsFacts { way, naptr, srv, ipv4, ipv6, tlsa, caa, not_found }), servers }
}

/// By priority, and among equals by name instead of by chance.
fn in_lasting_order(located: &Located) -> Vec<&locate::Target> {
    let records = located.asked.iter().filter_map(|(_, reply)| match reply {
        Reply::Srv(Ok(answer)) => Some(&answer.records),
        _ => None,
    });
    let records: Vec<&locate::Srv> = records.flatten().collect();
    let priority = |target: &locate::Target| {
        let of = |record: &&&locate::Srv| (record.target.as_str(), record.port) == (target.name.as_str(), target.port);
        records.iter().filter(of).map(|record| record.priority).min()
    };
    let mut targets: Vec<&locate::Target> = located.targets.iter().collect();
    targets.sort_by_key(|target| (priority(target), &target.name, target.port));
    targets
}

type AboutHost = (Question<std::net::Ipv4Addr>, Question<std::net::Ipv6Addr>, Question<Tlsa>);

async fn about_host(dns: &Dns, host: &str, port: u16) -> AboutHost {
    let tlsa_name = format!("_{port}._tcp.{}", host.trim_end_matches('.'));
    let (four, six, pinned) = tokio::join!(dns.a(host), dns.aaaa(host), dns.tlsa(&tlsa_name));
    let name = host.to_owned();
    (
        Question {
            name: name.clone(),
            answer: addresses(four, |ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
        },
        Question { name, answer: addresses(six, |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }) },
        Question { name: tlsa_name, answer: answer(pinned, tlsa) },
    )
}

fn addresses<T>(lookup: Lookup<IpAddr>, family: impl Fn(IpAddr) -> Option<T>) -> Answer<T> {
    match answer(lookup, |ip| ip) {
        Answer::Records { records, security } => {
            Answer::Records { records: records.into_iter().filter_map(family).collect(), security }
        }
        Answer::Bogus(why) => Answer::Bogus(why),
        Answer::Failed(why) => Answer::Failed(why),
    }
}

fn nothing<T>() -> Answer<T> {
    Answer::Records { records: Vec::new(), security: Security::Indeterminate }
}

/// The records in order: servers turn them round from answer to answer.
fn answer<R, T: Ord>(lookup: Lookup<R>, convert: impl Fn(R) -> T) -> Answer<T> {
    match lookup {
        Ok(found) => {
            let mut records: Vec<T> = found.records.into_iter().map(convert).collect();
            records.sort();
            let security = match found.dnssec {
                Dnssec::Secure => Security::Secure,
                Dnssec::Insecure => Security::Insecure,
                Dnssec::Indeterminate => Security::Indeterminate,
            };
            Answer::Records { records, security }
        }
        Err(failure) if failure.kind == FailureKind::Bogus => Answer::Bogus(printable(&failure.to_string())),
        Err(failure) => Answer::Failed(printable(&failure.to_string())),
    }
}

fn naptr(record: locate::Naptr) -> Naptr {
    Naptr {
        order: record.order,
        preference: record.preference,
        service: printable(&record.services),
        replacement: printable(&record.replacement),
    }
}

fn srv(record: locate::Srv) -> Srv {
    let locate::Srv { priority, weight, port, target } = record;
    let target = if target.is_empty() { ".".to_owned() } else { printable(&target) };
    Srv { priority, weight, port, target }
}

fn tlsa(record: locate::Tlsa) -> Tlsa {
    let data = record.data.iter().map(|byte| format!("{byte:02x}")).collect();
    Tlsa { usage: record.usage, selector: record.selector, matching: record.matching, data }
}
