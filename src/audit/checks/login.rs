//! What a login with the account showed. Left out of an audit without an account.

use super::{Outcome, known, need};
use crate::audit::facts::{AccountFacts, Facts, Login, NO_PASSWORD, Tested};
use crate::audit::finding::Severity::{Critical, High, Low, Medium};

fn account(facts: &Facts) -> Option<&AccountFacts> {
    facts.account.known()
}

pub(super) fn login(facts: &Facts) -> Option<Outcome> {
    let account = account(facts)?;
    Some(need(|| {
        let outcome = match known(&account.login)? {
            Login::Accepted { algorithm } if algorithm.eq_ignore_ascii_case("MD5") => Outcome::new(
                Medium,
                "The account can be registered, with MD5",
                "Ask the provider for digest authentication with SHA-256 (RFC 8760)",
            ),
            Login::Accepted { algorithm } if algorithm == NO_PASSWORD => Outcome::new(
                Critical,
                "The account can be registered without a password",
                "Do not use this provider: anybody can take calls for anybody there",
            ),
            Login::Accepted { algorithm } => Outcome::pass(format!("The account can be registered, with {algorithm}")),
            Login::Refused { status, reason } => Outcome::new(
                Critical,
                format!("The account could not be registered: {status} {reason}"),
                "Check the user name and the password; ask the provider about this response",
            ),
            Login::NotTried { rule } => Outcome::new(
                Critical,
                format!("No password was sent: this gateway's policy refuses the server (rule {rule})"),
                "See the findings about TLS and the certificate",
            ),
        };
        let removed = match &account.binding_removed {
            Tested::Known(true) => Some("the audit's own binding was removed again".to_owned()),
            Tested::Known(false) => Some("the audit's own binding could not be removed; it ends by itself".to_owned()),
            Tested::Unknown(_) => None,
        };
        Ok(outcome.with(removed))
    }))
}

pub(super) fn replay(facts: &Facts) -> Option<Outcome> {
    let account = account(facts)?;
    Some(need(|| {
        Ok(match known(&account.replay_refused)? {
            true => Outcome::pass("A login cannot be used a second time"),
            false => Outcome::new(
                Low,
                "A login can be used a second time; within TLS nobody but the two ends could",
                "Ask the provider to check the nonce count",
            ),
        })
    }))
}

pub(super) fn outbound(facts: &Facts) -> Option<Outcome> {
    let account = account(facts)?;
    Some(need(|| {
        let registered = known(&account.registered)?;
        let mut evidence = vec![format!("other bindings of the account: {}", registered.other_bindings)];
        let mut note = |has: bool, what: &str| {
            if has {
                evidence.push(what.to_owned());
            }
        };
        note(registered.gruu, "it gives GRUUs (RFC 5627)");
        note(registered.service_route, "it gives a Service-Route (RFC 3608)");
        note(registered.path, "it uses Path (RFC 3327)");
        let outcome = match (registered.contact_kept, registered.outbound) {
            (false, _) => Outcome::new(
                High,
                "The registrar does not list the binding that it accepted",
                "Ask the provider; calls may not arrive",
            ),
            (true, true) => Outcome::pass("Calls come over our own connection (outbound)"),
            (true, false) => {
                Outcome::info("The registrar does not name outbound; most send calls over our connection all the same")
            }
        };
        Ok(outcome.with(evidence))
    }))
}
