//! What DNS says, and how far it can be trusted. Nothing of it is judged where the operator named a server.

use super::{Outcome, list};
use crate::audit::facts::{
    Answer, Certificate, DnsFacts, Facts, Naptr, NotFound, Question, Security, Srv, Tested, Tlsa, Way,
};
use crate::audit::finding::Severity::{Critical, High, Low, Medium};

/// Runs a check on what DNS said. `None`: DNS has no part in this target.
fn with(facts: &Facts, check: impl FnOnce(&DnsFacts) -> Outcome) -> Option<Outcome> {
    match &facts.dns {
        Tested::Known(DnsFacts { not_found: Some(NotFound::Nothing(why) | NotFound::Failed(why)), .. }) => {
            Some(Outcome::unknown(why.clone()))
        }
        Tested::Known(dns) => Some(check(dns)),
        Tested::Unknown(_) if facts.is_literal() => None,
        Tested::Unknown(why) => Some(Outcome::unknown(why.clone())),
    }
}

/// As [`with`], for checks about finding a domain's servers.
fn when_searched(facts: &Facts, check: impl FnOnce(&DnsFacts) -> Outcome) -> Option<Outcome> {
    match &facts.dns {
        Tested::Known(dns) if dns.way == Way::Configured => None,
        _ => with(facts, check),
    }
}

/// No answer, or a false one.
fn trouble<T>(answer: &Answer<T>) -> Option<Outcome> {
    match answer {
        Answer::Records { .. } => None,
        Answer::Bogus(why) => Some(Outcome::unknown(format!("the answer is false: {why}"))),
        Answer::Failed(why) => Some(Outcome::unknown(format!("no answer: {why}"))),
    }
}

pub(super) fn naptr(facts: &Facts) -> Option<Outcome> {
    when_searched(facts, |dns| {
        if let Some(outcome) = trouble(&dns.naptr) {
            return outcome;
        }
        let records = dns.naptr.records();
        let evidence = records.iter().map(|Naptr { order, preference, service, replacement }| {
            format!("{order} {preference} {service} {replacement}")
        });
        let evidence: Vec<String> = evidence.collect();
        let place = |service: &str| {
            let of = |record: &&Naptr| record.service.eq_ignore_ascii_case(service);
            records.iter().filter(of).map(|record| (record.order, record.preference)).min()
        };
        let fix = "Ask the provider to put the record for SIPS+D2T first";
        let outcome = match (place("SIPS+D2T"), place("SIP+D2U").into_iter().chain(place("SIP+D2T")).min()) {
            _ if records.is_empty() => Outcome::info("No NAPTR records; SRV is asked directly"),
            (None, Some(_)) => Outcome::new(Medium, "NAPTR names transports without TLS only", fix),
            (Some(tls), Some(clear)) if clear < tls => {
                Outcome::new(Medium, "NAPTR prefers a transport without TLS", fix)
            }
            (Some(_), _) => Outcome::pass("NAPTR puts TLS first"),
            (None, None) => Outcome::info("NAPTR says nothing about SIP"),
        };
        outcome.with(evidence)
    })
}

pub(super) fn srv(facts: &Facts) -> Option<Outcome> {
    when_searched(facts, |dns| {
        let evidence = dns.srv.iter().flat_map(|Question { name, answer }| match answer {
            Answer::Records { records, .. } if records.is_empty() => vec![format!("{name}: none")],
            Answer::Records { records, .. } => records
                .iter()
                .map(|Srv { priority, weight, port, target }| format!("{name}: {priority} {weight} {port} {target}"))
                .collect(),
            Answer::Bogus(why) | Answer::Failed(why) => vec![format!("{name}: {why}")],
        });
        let evidence: Vec<String> = evidence.collect();
        let sips = dns.srv.iter().find(|question| question.name.starts_with("_sips._tcp."));
        let outcome = match sips {
            None => Outcome::unknown("_sips._tcp was not asked for"),
            Some(question) => match trouble(&question.answer) {
                Some(outcome) => outcome,
                None if question.answer.records().iter().any(|record| record.target == ".") => Outcome::new(
                    High,
                    "_sips._tcp says that the domain takes no SIP over TLS",
                    "Ask the provider for SIP over TLS, or use one that offers it",
                ),
                None if question.answer.records().is_empty() => Outcome::new(
                    Medium,
                    "No _sips._tcp record says where the domain takes SIP over TLS",
                    "Ask the provider to publish _sips._tcp, or name its server with outbound_proxy",
                ),
                None => Outcome::pass("_sips._tcp says where the domain takes SIP over TLS"),
            },
        };
        outcome.with(evidence)
    })
}

pub(super) fn addresses(facts: &Facts) -> Option<Outcome> {
    with(facts, |dns| {
        let lines = |name: &str, addresses: Vec<String>| format!("{name}: {}", list(&addresses));
        let mut evidence: Vec<String> = Vec::new();
        for Question { name, answer } in &dns.ipv4 {
            evidence.push(lines(name, answer.records().iter().map(ToString::to_string).collect()));
        }
        for Question { name, answer } in &dns.ipv6 {
            evidence.push(lines(name, answer.records().iter().map(ToString::to_string).collect()));
        }
        let four = dns.ipv4.iter().any(|question| !question.answer.records().is_empty());
        let six = dns.ipv6.iter().any(|question| !question.answer.records().is_empty());
        let outcome = match (four, six) {
            (true, true) => Outcome::pass("IPv4 and IPv6"),
            (false, true) => Outcome::info("IPv6 only"),
            (true, false) => {
                Outcome::new(Low, "No IPv6 address", "Ask the provider for IPv6, if your network needs it")
            }
            (false, false) => Outcome::unknown("no address was found"),
        };
        outcome.with(evidence)
    })
}

pub(super) fn dnssec(facts: &Facts) -> Option<Outcome> {
    with(facts, |dns| {
        let mut seen: Vec<(String, Result<Security, String>)> = Vec::new();
        let mut note = |name: String, answer: Result<Security, String>| seen.push((name, answer));
        if dns.way != Way::Configured {
            note("NAPTR".to_owned(), state(&dns.naptr));
            for question in dns.srv.iter().filter(|question| question.name.starts_with("_sips._tcp.")) {
                note(format!("SRV {}", question.name), state(&question.answer));
            }
        }
        for question in &dns.ipv4 {
            note(format!("A {}", question.name), state(&question.answer));
        }
        for question in &dns.ipv6 {
            note(format!("AAAA {}", question.name), state(&question.answer));
        }
        let evidence = seen.iter().map(|(name, state)| match state {
            Ok(Security::Secure) => format!("{name}: secure"),
            Ok(Security::Insecure) => format!("{name}: not signed"),
            Ok(Security::Indeterminate) => format!("{name}: cannot be validated here"),
            Err(why) => format!("{name}: {why}"),
        });
        let evidence: Vec<String> = evidence.collect();
        let bogus = |answer: &Result<Security, String>| answer.as_ref().is_err_and(|why| why.starts_with(BOGUS));
        let states: Vec<Security> = seen.iter().filter_map(|(_, state)| state.as_ref().ok().copied()).collect();
        let outcome = if seen.iter().any(|(_, state)| bogus(state)) {
            Outcome::new(
                Critical,
                "DNSSEC proves an answer of DNS false: somebody forges it, or the provider's zone is broken",
                "Ask the provider to repair its zone; until then nothing there can be used",
            )
        } else {
            match states.iter().min() {
                None => Outcome::unknown("DNS gave no answer"),
                Some(Security::Secure) => Outcome::pass("Every answer is signed, and the signatures hold"),
                Some(Security::Insecure) => Outcome::new(
                    Low,
                    "The answers of DNS are not all signed",
                    "Ask the provider for DNSSEC; TLS protects in the meantime",
                ),
                Some(Security::Indeterminate) => Outcome::unknown(
                    "the resolver of this machine does not pass DNSSEC on; name another with --dns-server",
                ),
            }
        };
        outcome.with(evidence)
    })
}

const BOGUS: &str = "false";

fn state<T>(answer: &Answer<T>) -> Result<Security, String> {
    match answer {
        Answer::Records { security, .. } => Ok(*security),
        Answer::Bogus(why) => Err(format!("{BOGUS}: {why}")),
        Answer::Failed(why) => Err(why.clone()),
    }
}

pub(super) fn tlsa(facts: &Facts) -> Option<Outcome> {
    with(facts, |dns| {
        let mut outcomes = Vec::new();
        let mut evidence = Vec::new();
        for question in &dns.tlsa {
            let Answer::Records { records, security } = &question.answer else {
                outcomes.extend(trouble(&question.answer));
                continue;
            };
            for Tlsa { usage, selector, matching, data } in records {
                evidence.push(format!("{}: {usage} {selector} {matching} {data}", question.name));
            }
            if records.is_empty() {
                continue;
            }
            if *security != Security::Secure {
                let fix = "Ask the provider to sign its zone";
                outcomes.push(Outcome::new(Low, "There are TLSA records, but without DNSSEC they prove nothing", fix));
                continue;
            }
            let chains = facts.servers.iter().filter(|server| belongs(&question.name, server));
            for chain in chains.filter_map(|server| server.certificate.known()).map(|facts| &facts.chain) {
                outcomes.push(match records.iter().any(|record| fits(record, chain)) {
                    true => Outcome::pass("The certificate is the one that DNS names"),
                    false => Outcome::new(
                        High,
                        "The certificate is none of those that DNS names (TLSA)",
                        "Ask the provider whether it forgot the TLSA record at its last renewal; if not, somebody is in between",
                    ),
                });
            }
        }
        Outcome::worst(outcomes).unwrap_or_else(|| Outcome::info("No TLSA records")).with(evidence)
    })
}

/// `_5061._tcp.sip.example.org` is about port 5061 of that host.
fn belongs(name: &str, server: &crate::audit::facts::ServerFacts) -> bool {
    let own = format!("_{}._tcp.{}", server.address.port(), server.host);
    own.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'))
}

/// RFC 6698 §2.1 and RFC 7671 §5: usages 1 and 3 are about the leaf, 0 and 2 about an authority of the chain.
fn fits(record: &Tlsa, chain: &[Certificate]) -> bool {
    let candidates: &[Certificate] = match record.usage {
        1 | 3 => chain.get(..1).unwrap_or_default(),
        0 | 2 => chain.get(1..).unwrap_or_default(),
        _ => &[],
    };
    candidates.iter().any(|certificate| {
        let value = match (record.selector, record.matching) {
            (0, 1) => certificate.sha256.clone(),
            (1, 1) => base64_to_hex(&certificate.spki_sha256),
            (0, 2) => certificate.sha512.clone(),
            (1, 2) => certificate.spki_sha512.clone(),
            // the full form is longer than what is kept
            _ => return false,
        };
        value.eq_ignore_ascii_case(&record.data)
    })
}

fn base64_to_hex(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn caa(facts: &Facts) -> Option<Outcome> {
    with(facts, |dns| match trouble(&dns.caa) {
        Some(outcome) => outcome,
        None if dns.caa.records().is_empty() => Outcome::info("No CAA records"),
        None => {
            Outcome::info("CAA says which authorities may make certificates").with(dns.caa.records().iter().cloned())
        }
    })
}
