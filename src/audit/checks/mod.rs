//! From facts to findings: one function per check of the catalogue, one file per part of the audit.
//!
//! A check never sees a socket and never guesses: what was not measured is `Unknown`. Where a provider has several
//! addresses, each is judged and the worst counts, since a caller may meet any of them.

mod certificate;
mod dns;
mod login;
mod sip;
mod tls;
mod transport;

use super::catalogue::CHECKS;
use super::facts::{Facts, ServerFacts, Tcp, Tested};
use super::finding::{Finding, Severity};
use crate::sip::printable;

/// What a check concluded.
#[derive(Clone, Debug)]
struct Outcome {
    severity: Severity,
    summary: String,
    fix: String,
    evidence: Vec<String>,
}

impl Outcome {
    fn new(severity: Severity, summary: impl Into<String>, fix: impl Into<String>) -> Self {
        Outcome { severity, summary: summary.into(), fix: fix.into(), evidence: Vec::new() }
    }

    fn pass(summary: impl Into<String>) -> Self {
        Outcome::new(Severity::Pass, summary, "")
    }

    fn info(summary: impl Into<String>) -> Self {
        Outcome::new(Severity::Info, summary, "")
    }

    fn unknown(why: impl Into<String>) -> Self {
        Outcome::new(Severity::Unknown, why, "")
    }

    fn with(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// What is worse: a known fault before the unknown, the unknown before what is good.
    fn rank(&self) -> u8 {
        match self.severity {
            Severity::Pass => 0,
            Severity::Info => 1,
            Severity::Unknown => 2,
            Severity::Low => 3,
            Severity::Medium => 4,
            Severity::High => 5,
            Severity::Critical => 6,
        }
    }

    /// The worst of several; the first of equals.
    fn worst(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Outcome> {
        outcomes.into_iter().reduce(|worst, next| if next.rank() > worst.rank() { next } else { worst })
    }
}

/// All findings, in the catalogue's order. Checks that make no sense for this audit are left out.
pub(super) fn all(facts: &Facts, now: i64) -> Vec<Finding> {
    let outcome = |id: &str| -> Option<Outcome> {
        match id {
            "T-TLS" => Some(transport::tls(facts)),
            "L-VERSIONS" => each(facts, tls::versions),
            "L-SUITES" => each(facts, tls::suites),
            "L-PFS" => each(facts, tls::forward_secrecy),
            "L-PQ" => each(facts, tls::post_quantum),
            "L-EXTENSIONS" => each(facts, tls::extensions),
            "L-FALLBACK" => each(facts, tls::fallback),
            "L-SNI" => each(facts, tls::sni),
            "L-ALPN" => each(facts, tls::alpn),
            "L-MTLS" => each(facts, tls::client_certificate),
            "C-CHAIN" => each(facts, certificate::chain),
            "C-NAME" => each(facts, |server| certificate::name(server, &facts.expected_name)),
            "C-LIFE" => each(facts, |server| certificate::life(server, now)),
            "C-KEY" => each(facts, certificate::key),
            "C-EKU" => each(facts, certificate::purpose),
            "C-OCSP" => each(facts, certificate::revocation),
            "C-PIN" => each(facts, certificate::pin),
            "D-NAPTR" => dns::naptr(facts),
            "D-SRV" => dns::srv(facts),
            "D-ADDR" => dns::addresses(facts),
            "D-DNSSEC" => dns::dnssec(facts),
            "D-TLSA" => dns::tlsa(facts),
            "D-CAA" => dns::caa(facts),
            "S-OPTIONS" => each(facts, sip::options),
            "S-KEEPALIVE" => each(facts, sip::keep_alive),
            "S-SIPS" => each(facts, sip::sips),
            "S-DIGEST" => each(facts, sip::digest),
            "S-QOP" => each(facts, sip::qop),
            "S-NONCE" => each(facts, sip::nonce),
            "S-REALM" => each(facts, |server| sip::realm(server, &facts.expected_name)),
            "S-LOGIN" => login::login(facts),
            "S-REPLAY" => login::replay(facts),
            "S-OUTBOUND" => login::outbound(facts),
            "T-PLAIN" => Some(transport::plain(facts)),
            "T-BANNER" => each(facts, sip::banner),
            _ => None,
        }
    };
    let finding = |check: &super::catalogue::Check| {
        let outcome = outcome(check.id)?;
        Some(Finding {
            id: check.id.to_owned(),
            category: check.category,
            severity: outcome.severity,
            summary: printable(&outcome.summary),
            evidence: outcome.evidence.iter().map(|line| printable(line)).collect(),
            fix: printable(&outcome.fix),
            reference: check.reference.to_owned(),
        })
    };
    CHECKS.iter().filter_map(finding).collect()
}

/// Judges every server that takes connections (or all, if none does); the worst counts, and everybody's evidence is kept.
fn each(facts: &Facts, judge: impl Fn(&ServerFacts) -> Outcome) -> Option<Outcome> {
    let open: Vec<&ServerFacts> = facts.servers.iter().filter(|server| is_open(server)).collect();
    let servers = if open.is_empty() { facts.servers.iter().collect() } else { open };
    if servers.is_empty() {
        return Some(Outcome::unknown("there is no server to ask"));
    }
    let several = servers.len() > 1;
    let outcomes: Vec<Outcome> = servers
        .into_iter()
        .map(|server| {
            let mut outcome = judge(server);
            if several {
                let place = format!("{} ({})", server.address, server.host);
                let lines = std::mem::take(&mut outcome.evidence);
                outcome.evidence = vec![format!("{place}: {}", outcome.summary)];
                outcome.evidence.extend(lines);
            }
            outcome
        })
        .collect();
    let evidence: Vec<String> = outcomes.iter().flat_map(|outcome| outcome.evidence.clone()).collect();
    Outcome::worst(outcomes).map(|worst| Outcome { evidence, ..worst })
}

fn is_open(server: &ServerFacts) -> bool {
    matches!(server.tcp, Tested::Known(Tcp::Open { .. }))
}

/// The value, or the outcome that says why there is none.
fn known<T>(tested: &Tested<T>) -> Result<&T, Outcome> {
    match tested {
        Tested::Known(value) => Ok(value),
        Tested::Unknown(why) => Err(Outcome::unknown(why.clone())),
    }
}

/// Runs a check that needs values, each of which may be unknown.
fn need(check: impl FnOnce() -> Result<Outcome, Outcome>) -> Outcome {
    check().unwrap_or_else(|unknown| unknown)
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
