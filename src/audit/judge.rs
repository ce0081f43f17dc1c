//! From facts to a report: the verdict is policy's own, asked with the facts that `run` would state.

use super::facts::{Challenge, Facts, Judged, Login, NotFound, Obstacle, Response, ServerFacts, Tcp, Tested};
use super::finding::{Finding, Severity};
use super::report::{Remedy, Report, SCHEMA_VERSION, Scope, Verdict};
use super::{checks, grade};
use crate::config::Date;
use crate::policy::{
    self, Chain, Connecting, Directions, Handshake, HandshakeFault, LoginScheme, Name, Pin, Refusal, Rules, TlsPeer,
    TlsVersion, Transport, Validity, Verdict as Judgement, judge as ask,
};
use crate::sip::digest::Algorithm;
use crate::units::UnixTime;

/// Judges what was measured, at this time: certificates age, and so do reports.
pub fn report(facts: Facts, now: UnixTime) -> Report {
    let rules = Rules::strict(account(&facts));
    let findings = checks::all(&facts, i64::try_from(now.0).unwrap_or(i64::MAX));
    let verdict = verdict(&facts, &rules);
    let (grade, no_grade) = match (&verdict, grade::grade(&findings)) {
        (Verdict::Inconclusive { reason }, _) => (None, reason.clone()),
        (_, Ok(grade)) => (Some(grade), String::new()),
        (_, Err(why)) => (None, why),
    };
    let with_account = facts.account.known().is_some();
    let mut not_tested = unknown(&findings);
    if !with_account {
        not_tested.push("Logging in: name an account and its password with --account and --password-file".to_owned());
    }
    not_tested.push("Media: whether calls are encrypted, and who holds their keys".to_owned());
    Report {
        schema_version: SCHEMA_VERSION,
        program: concat!("galene-sips ", env!("CARGO_PKG_VERSION")).to_owned(),
        configuration: configuration(&verdict, &facts, now),
        verdict,
        scope: if with_account { Scope::Login } else { Scope::Signalling },
        grade,
        no_grade,
        findings,
        not_tested,
        facts,
    }
}

/// What could not be tested, with the checks that share a reason in one line.
fn unknown(findings: &[Finding]) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Unknown) {
        match reasons.iter_mut().find(|(reason, _)| *reason == finding.summary) {
            Some((_, ids)) => ids.push(&finding.id),
            None => reasons.push((&finding.summary, vec![&finding.id])),
        }
    }
    reasons.into_iter().map(|(reason, ids)| format!("{}: {reason}", ids.join(", "))).collect()
}

/// Whose rules are asked: the account's, or those of anybody at the domain.
fn account(facts: &Facts) -> String {
    match facts.account.known() {
        Some(account) => account.address.clone(),
        None => format!("conference@{}", facts.expected_name),
    }
}

/// What `run` would meet on its way to the provider, in its order. Whatever it could meet at one of the addresses counts.
fn verdict(facts: &Facts, rules: &Rules) -> Verdict {
    if let Some(why) = &facts.interrupted {
        return Verdict::Inconclusive { reason: format!("the audit was interrupted: {why}") };
    }
    let not_found = facts.dns.known().and_then(|dns| dns.not_found.as_ref());
    if let Judgement::Refused(refusal) =
        ask(rules, &Connecting { transport: Transport::Tls, dns: directions(not_found) })
    {
        return refused(refusal);
    }
    if let Some(NotFound::Nothing(why) | NotFound::Failed(why)) = not_found {
        return Verdict::Inconclusive { reason: why.clone() };
    }
    let reached: Vec<&ServerFacts> =
        facts.servers.iter().filter(|server| matches!(server.tcp, Tested::Known(Tcp::Open { .. }))).collect();
    if reached.is_empty() {
        return Verdict::Inconclusive { reason: "no server could be reached".to_owned() };
    }
    let unknown: Result<Vec<Option<String>>, Refusal> =
        reached.iter().map(|server| by_server(server, &facts.expected_name, rules)).collect();
    match unknown.map(|unknown| unknown.into_iter().flatten().next()) {
        Err(refusal) => return refused(refusal),
        Ok(Some(reason)) => return Verdict::Inconclusive { reason },
        Ok(None) => {}
    }
    match facts.account.known().map(|account| &account.login) {
        Some(Tested::Known(Login::Refused { status, reason })) => Verdict::Refused {
            rule: "login".to_owned(),
            reason: format!("The provider refuses the login: {status} {}", crate::sip::printable(reason)),
            hint: "Check the user name and the password; ask the provider about this response".to_owned(),
        },
        Some(Tested::Unknown(why)) => Verdict::Inconclusive { reason: format!("the login was not tested: {why}") },
        _ => Verdict::Accepted,
    }
}

/// DNS led nowhere. What it says decidedly is a fact for policy; that it says nothing is none.
fn directions(not_found: Option<&NotFound>) -> Directions {
    match not_found {
        Some(NotFound::Bogus(_)) => Directions::Bogus,
        Some(NotFound::NotOffered(_)) => Directions::NotOffered,
        Some(NotFound::Nothing(_) | NotFound::Failed(_)) | None => Directions::Usable,
    }
}

/// What one server is refused for, or why nothing can be said of it: a handshake that fails, the certificate, an end right after the
/// handshake, the login that it asks for.
fn by_server(server: &ServerFacts, expected: &str, rules: &Rules) -> Result<Option<String>, Refusal> {
    let tls = server.tls.known();
    let obstacle = tls.and_then(|tls| tls.obstacle);
    let failed = tls.and_then(|tls| match &tls.negotiated {
        Tested::Unknown(why) => Some(why),
        Tested::Known(_) => None,
    });
    if failed.is_some() {
        handshake(obstacle, expected, rules)?;
    }
    let certificate = match &server.certificate {
        Tested::Unknown(why) => {
            return Ok(Some(format!("the certificate of {} was not seen: {why}", server.address)));
        }
        Tested::Known(certificate) => &certificate.judged,
    };
    ask(rules, &peer(certificate, expected)).allowed()?;
    if let Some(why) = failed {
        return Ok(Some(format!("no handshake with {} succeeded: {why}", server.address)));
    }
    handshake(obstacle, expected, rules)?;
    // what keeps silent, or speaks no SIP, is no provider
    let response = match &server.sip {
        Tested::Known(sip) => &sip.register,
        Tested::Unknown(why) => return Ok(Some(format!("{} was not asked: {why}", server.address))),
    };
    match response {
        Tested::Known(response) => {
            if let Some(scheme) = best_login(response) {
                ask(rules, &policy::Login { scheme }).allowed()?;
            }
            Ok(None)
        }
        Tested::Unknown(why) => Ok(Some(format!("{} did not answer a REGISTER: {why}", server.address))),
    }
}

/// What a handshake with a server of this name met, if anything: policy's answer to it.
///
/// # Errors
/// Its refusal.
pub fn handshake(obstacle: Option<Obstacle>, expected: &str, rules: &Rules) -> Result<(), Refusal> {
    // what was not seen counts as bad
    let unseen = |version| TlsPeer {
        expected: expected.to_owned(),
        version,
        chain: Chain::Invalid,
        name: Name::Wrong,
        pin: Pin::NotConfigured,
        validity: Validity::Valid,
    };
    let fault = match obstacle {
        None => return Ok(()),
        Some(Obstacle::OldVersion) => return ask(rules, &unseen(TlsVersion::Older)).allowed().map(drop),
        Some(Obstacle::BadCertificate) => return ask(rules, &unseen(TlsVersion::Tls12)).allowed().map(drop),
        Some(Obstacle::NoCommonSuite) => HandshakeFault::NoCommonSuite,
        Some(Obstacle::ClientCertificate) => HandshakeFault::NoClientCertificate,
    };
    match ask(rules, &Handshake { expected: expected.to_owned(), fault }) {
        Judgement::Refused(refusal) => Err(refusal),
        Judgement::Allowed(never) => match never {},
    }
}

fn peer(judged: &Judged, expected: &str) -> TlsPeer {
    TlsPeer {
        expected: expected.to_owned(),
        version: judged.version,
        chain: judged.chain,
        name: judged.name,
        pin: judged.pin,
        validity: judged.validity,
    }
}

/// The best way to log in that the challenges to a REGISTER offer; `None` if it was not challenged.
fn best_login(response: &Response) -> Option<LoginScheme> {
    let challenged = [401, 407].contains(&response.status);
    let scheme = |challenge: &Challenge| match (challenge.scheme.as_str(), Algorithm::parse(&challenge.algorithm)) {
        (digest, Some(algorithm)) if digest.eq_ignore_ascii_case("digest") => algorithm.scheme(),
        (basic, _) if basic.eq_ignore_ascii_case("basic") => LoginScheme::Basic,
        _ => LoginScheme::Unknown,
    };
    response.challenges.iter().filter(|_| challenged).map(scheme).max()
}

fn refused(refusal: Refusal) -> Verdict {
    Verdict::Refused { rule: refusal.rule.as_str().to_owned(), reason: refusal.reason, hint: refusal.hint }
}

/// How long a proposed exception lasts.
const PROPOSED_DAYS: u64 = 30;

fn configuration(verdict: &Verdict, facts: &Facts, now: UnixTime) -> Remedy {
    let rule = match verdict {
        Verdict::Accepted => return Remedy::Nothing,
        Verdict::Inconclusive { .. } => return Remedy::Unknown,
        Verdict::Refused { rule, .. } => rule.as_str(),
    };
    let allow = match rule {
        "certificate-wildcard" => "tls-wildcard-name",
        "certificate-name"
        | "certificate-expired"
        | "certificate-not-yet-valid"
        | "certificate-self-signed"
        | "certificate-unknown-issuer"
        | "certificate-invalid" => "tls-unverified",
        "tls-version" => {
            return Remedy::Impossible("TLS older than 1.2 is never used, and no exception changes that".to_owned());
        }
        other => return Remedy::Impossible(format!("no exception is about the rule {other}")),
    };
    let last_day = u32::try_from(now.0 / 86_400 + PROPOSED_DAYS).unwrap_or(0).min(2_932_896);
    let expires = Date::from_unix_days(last_day);
    Remedy::Toml(format!(
        "[[policy.exception]]\naccount     = \"{}\"\nallow       = \"{allow}\"\nreason      = \"WRITE HERE WHY, FOR WHOEVER READS IT NEXT\"\nexpires     = {expires}\naccepted_by = \"WRITE HERE WHO ANSWERS FOR IT\"\n",
        account(facts)
    ))
}
