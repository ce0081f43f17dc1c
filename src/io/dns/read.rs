//! From hickory's messages to plain facts.
//!
//! In: what a resolver found, or why not. Out: [`Answer`] or [`FailureKind`]. Records that do not belong to the question
//! are left out; aliases are followed inside the answer, and the weakest proof on the way is the answer's.

use crate::sip::locate::{Answer, Caa, Dnssec, FailureKind, Naptr, Srv, Tlsa};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// So many aliases of aliases are followed.
const MOST_ALIASES: usize = 8;

/// Who said what is read: a resolver that validates, or one that does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Validation {
    Done,
    None,
}

/// The records of this type that belong to the question about `name`.
pub(super) fn answer<T>(
    lookup: &Lookup,
    name: &Name,
    kind: RecordType,
    validation: Validation,
    read: impl Fn(&RData) -> Option<T>,
) -> Result<Answer<T>, FailureKind> {
    let parts = || lookup.answers().iter().filter(|record| !is_signature(record));
    let weakest = parts().map(|record| record.proof).fold(Proof::Secure, weaker);
    let ttl = parts().map(|record| record.ttl).min().unwrap_or_default();
    // a name without a dot has become another one, by the search list
    let mut owner: &Name = if name.is_fqdn() { name } else { lookup.query().name() };
    let mut records = Vec::new();
    for _ in 0..=MOST_ALIASES {
        let here = || parts().filter(|record| record.name == *owner);
        records.extend(here().filter(|record| record.record_type() == kind).filter_map(|record| read(&record.data)));
        let alias = here().find_map(|record| match &record.data {
            RData::CNAME(alias) => Some(&alias.0),
            _ => None,
        });
        match alias {
            Some(next) if records.is_empty() => owner = next,
            _ => break,
        }
    }
    let dnssec = match (validation, weakest) {
        (Validation::None, _) => Dnssec::Indeterminate,
        (Validation::Done, Proof::Secure) => Dnssec::Secure,
        (Validation::Done, Proof::Insecure) => Dnssec::Insecure,
        // what a validating resolver has not proved to be either is not the zone's own
        (Validation::Done, Proof::Bogus | Proof::Indeterminate) => return Err(FailureKind::Bogus),
    };
    let ttl = if records.is_empty() { Duration::ZERO } else { Duration::from_secs(ttl.into()) };
    Ok(Answer { records, dnssec, ttl, name_exists: true })
}

/// RFC 4033 §5 as an order: what cannot be told is no better than what is wrong.
fn weaker(one: Proof, other: Proof) -> Proof {
    one.min(other)
}

/// Why there are no records: an answer that says so, or a failure.
pub(super) fn no_answer<T>(
    error: &NetError,
    validation: Validation,
    patience: Duration,
) -> Result<Answer<T>, FailureKind> {
    let nothing = |code: ResponseCode, dnssec: Dnssec| {
        let name_exists = code != ResponseCode::NXDomain;
        Ok(Answer { records: Vec::new(), dnssec, ttl: Duration::ZERO, name_exists })
    };
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            let proof: Vec<Proof> = none
                .authorities
                .iter()
                .flat_map(|all| all.iter())
                .filter(|record| !is_signature(record))
                .map(|record| record.proof)
                .collect();
            let secure = !proof.is_empty() && proof.iter().all(|proof| *proof == Proof::Secure);
            nothing(
                none.response_code,
                match validation {
                    Validation::None => Dnssec::Indeterminate,
                    Validation::Done if secure => Dnssec::Secure,
                    Validation::Done => Dnssec::Insecure,
                },
            )
        }
        NetError::Dns(DnsError::Nsec { response, proof: Proof::Insecure, .. }) => {
            nothing(response.response_code, Dnssec::Insecure)
        }
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => Err(FailureKind::Bogus),
        NetError::Dns(DnsError::ResponseCode(code)) => Err(FailureKind::Refused(code.to_str().to_owned())),
        NetError::Timeout => Err(FailureKind::Silent(patience.as_secs())),
        NetError::Io(error) if error.kind() == io::ErrorKind::TimedOut => Err(FailureKind::Silent(patience.as_secs())),
        NetError::Io(error) => Err(FailureKind::Unreachable(error.to_string())),
        NetError::NoConnections => Err(FailureKind::Unreachable("no connection".to_owned())),
        other => Err(FailureKind::Refused(other.to_string())),
    }
}

/// Whether a record is a signature: the mark of an answer that DNSSEC came with.
pub(super) fn is_signature(record: &Record) -> bool {
    record.record_type() == RecordType::RRSIG
}

pub(super) fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

pub(super) fn srv(data: &RData) -> Option<Srv> {
    let RData::SRV(srv) = data else { return None };
    Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: text(&srv.target) })
}

pub(super) fn naptr(data: &RData) -> Option<Naptr> {
    let RData::NAPTR(rule) = data else { return None };
    let [flags, services, regexp] =
        [&rule.flags, &rule.services, &rule.regexp].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (order, preference, replacement) = (rule.order, rule.preference, text(&rule.replacement));
    Some(Naptr { order, preference, flags, services, regexp, replacement })
}

pub(super) fn tlsa(data: &RData) -> Option<Tlsa> {
    let RData::TLSA(tlsa) = data else { return None };
    let (usage, selector, matching) = (tlsa.cert_usage.into(), tlsa.selector.into(), tlsa.matching.into());
    Some(Tlsa { usage, selector, matching, data: tlsa.cert_data.clone() })
}

pub(super) fn caa(data: &RData) -> Option<Caa> {
    let RData::CAA(caa) = data else { return None };
    let value = String::from_utf8_lossy(&caa.value).into_owned();
    Some(Caa { critical: caa.issuer_critical, tag: caa.tag.clone(), value })
}

/// A name without its last dot, in lower case; nothing for the root.
fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
