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
            let parts = none.authorities.iter().flat_map(|all| all.iter()).filter(|record| !is_signature(record));
            let weakest = parts.map(|record| record.proof).reduce(weaker);
            match (validation, weakest) {
                (Validation::None, _) => nothing(none.response_code, Dnssec::Indeterminate),
                (Validation::Done, Some(Proof::Secure)) => nothing(none.response_code, Dnssec::Secure),
                (Validation::Done, Some(Proof::Insecure) | None) => nothing(none.response_code, Dnssec::Insecure),
                (Validation::Done, Some(Proof::Bogus | Proof::Indeterminate)) => Err(FailureKind::Bogus),
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::Query;
    use hickory_resolver::proto::rr::rdata::{A, CNAME};
    use std::sync::Arc;
    use std::time::Instant;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, ttl: u32, data: RData, proof: Proof) -> Record {
        let mut record = Record::from_rdata(name(owner), ttl, data);
        record.proof = proof;
        record
    }

    fn address_of(owner: &str, last: u8, proof: Proof) -> Record {
        record(owner, 60, RData::A(A::new(192, 0, 2, last)), proof)
    }

    fn alias(owner: &str, to: &str, proof: Proof) -> Record {
        record(owner, 30, RData::CNAME(CNAME(name(to))), proof)
    }

    fn read(records: Vec<Record>, validation: Validation) -> Result<Answer<IpAddr>, FailureKind> {
        let asked = name("a.example.");
        let lookup = Lookup::new_with_deadline(Query::query(asked.clone(), RecordType::A), records, Instant::now());
        answer(&lookup, &asked, RecordType::A, validation, address)
    }

    #[test]
    fn the_weakest_proof_in_the_answer_is_the_answers() {
        let of = |proofs: [Proof; 2]| {
            let records = vec![alias("a.example.", "b.example.", proofs[0]), address_of("b.example.", 1, proofs[1])];
            read(records, Validation::Done).map(|answer| (answer.dnssec, answer.ttl.as_secs()))
        };
        assert_eq!(of([Proof::Secure, Proof::Secure]), Ok((Dnssec::Secure, 30)));
        assert_eq!(of([Proof::Insecure, Proof::Secure]), Ok((Dnssec::Insecure, 30)));
        assert_eq!(of([Proof::Secure, Proof::Insecure]), Ok((Dnssec::Insecure, 30)));
        for bad in [Proof::Bogus, Proof::Indeterminate] {
            assert_eq!(of([bad, Proof::Secure]), Err(FailureKind::Bogus));
            assert_eq!(of([Proof::Secure, bad]), Err(FailureKind::Bogus));
            assert_eq!(of([Proof::Insecure, bad]), Err(FailureKind::Bogus));
        }
    }

    #[test]
    fn without_validation_nothing_is_better_than_indeterminate() {
        for proof in [Proof::Secure, Proof::Insecure, Proof::Indeterminate] {
            let answer = read(vec![address_of("a.example.", 1, proof)], Validation::None).unwrap();
            assert_eq!(answer.dnssec, Dnssec::Indeterminate);
        }
    }

    #[test]
    fn records_of_other_names_and_types_and_endless_aliases_are_left_out() {
        let records = vec![address_of("z.example.", 9, Proof::Secure), address_of("A.example.", 1, Proof::Secure)];
        assert_eq!(read(records, Validation::Done).unwrap().records, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let circle =
            vec![alias("a.example.", "b.example.", Proof::Secure), alias("b.example.", "a.example.", Proof::Secure)];
        assert!(read(circle, Validation::Done).unwrap().records.is_empty());
        let chain: Vec<Record> =
            (0..30).map(|at| alias(&format!("{at}.x."), &format!("{}.x.", at + 1), Proof::Secure)).collect();
        let mut chain = [vec![alias("a.example.", "0.x.", Proof::Secure)], chain].concat();
        chain.push(address_of("30.x.", 1, Proof::Secure));
        assert!(read(chain, Validation::Done).unwrap().records.is_empty(), "too many aliases");
    }

    #[test]
    fn that_there_is_nothing_is_as_good_as_its_proof() {
        let query = || Query::query(name("a.example."), RecordType::A);
        let nothing = |proofs: &[Proof], code, validation| {
            let mut none = NoRecords::new(query(), code);
            none.authorities = Some(proofs.iter().map(|proof| address_of("x.", 1, *proof)).collect::<Arc<[_]>>());
            no_answer::<IpAddr>(&DnsError::NoRecordsFound(none).into(), validation, Duration::from_secs(4))
                .map(|answer| (answer.dnssec, answer.name_exists))
        };
        let (no_error, no_name) = (ResponseCode::NoError, ResponseCode::NXDomain);
        assert_eq!(nothing(&[Proof::Secure; 2], no_error, Validation::Done), Ok((Dnssec::Secure, true)));
        assert_eq!(nothing(&[Proof::Secure; 2], no_name, Validation::Done), Ok((Dnssec::Secure, false)));
        assert_eq!(
            nothing(&[Proof::Secure, Proof::Insecure], no_name, Validation::Done),
            Ok((Dnssec::Insecure, false))
        );
        assert_eq!(nothing(&[], no_name, Validation::Done), Ok((Dnssec::Insecure, false)));
        assert_eq!(nothing(&[Proof::Secure], no_name, Validation::None), Ok((Dnssec::Indeterminate, false)));
        assert_eq!(nothing(&[Proof::Secure, Proof::Bogus], no_name, Validation::Done), Err(FailureKind::Bogus));
    }
}
