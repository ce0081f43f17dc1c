//! How the servers speak SIP over TLS, and how they let people in.

use super::{Outcome, known, list, need};
use crate::audit::facts::{Challenge, Response, ServerFacts};
use crate::audit::finding::Severity::{Critical, High, Low, Medium};

pub(super) fn options(server: &ServerFacts) -> Outcome {
    need(|| {
        let response = known(&known(&server.sip)?.options)?;
        let evidence = [
            format!("{} {}", response.status, response.reason),
            format!("Allow: {}", list(&response.allow)),
            format!("Supported: {}", list(&response.supported)),
            format!("Security-Server: {}", list(&response.security_server)),
        ];
        let outcome = match response.status {
            200..=299 => Outcome::pass("OPTIONS is answered"),
            status => Outcome::info(format!("OPTIONS is answered with {status} {}", response.reason)),
        };
        Ok(outcome.with(evidence.into_iter().filter(|line| !line.ends_with(": "))))
    })
}

pub(super) fn keep_alive(server: &ServerFacts) -> Outcome {
    need(|| {
        Ok(match known(&known(&server.sip)?.pong)? {
            true => Outcome::pass("A ping is answered"),
            false => Outcome::new(
                Low,
                "A ping is not answered, so a dead connection is noticed late",
                "Ask the provider to answer keep-alives (RFC 5626 §4.4.1)",
            ),
        })
    })
}

pub(super) fn sips(server: &ServerFacts) -> Outcome {
    need(|| {
        let response = known(&known(&server.sip)?.sips_uri)?;
        Ok(match response.status {
            416 => Outcome::info("sips: addresses are not taken (416)"),
            status => Outcome::info(format!("A sips: address is answered with {status}")),
        })
    })
}

/// The challenges to a REGISTER, or why there is nothing to judge.
fn challenges(server: &ServerFacts) -> Result<(&Response, &[Challenge]), Outcome> {
    let response = known(&known(&server.sip)?.register)?;
    Ok((response, &response.challenges))
}

fn lines(challenges: &[Challenge]) -> Vec<String> {
    challenges
        .iter()
        .map(|challenge| {
            let Challenge { scheme, algorithm, realm, qop, nonce_length, .. } = challenge;
            match scheme.eq_ignore_ascii_case("digest") {
                true => format!(
                    "{scheme} {algorithm}, realm \"{realm}\", qop {}, nonce of {nonce_length} characters",
                    if qop.is_empty() { "none".to_owned() } else { list(qop) }
                ),
                false => format!("{scheme}, realm \"{realm}\""),
            }
        })
        .collect()
}

fn digests(challenges: &[Challenge]) -> Vec<&Challenge> {
    challenges.iter().filter(|challenge| challenge.scheme.eq_ignore_ascii_case("digest")).collect()
}

/// A SHA-2 hash, as this gateway speaks it.
fn is_strong(challenge: &Challenge) -> bool {
    ["SHA-256", "SHA-512-256"].iter().any(|name| challenge.algorithm.eq_ignore_ascii_case(name))
}

pub(super) fn digest(server: &ServerFacts) -> Outcome {
    need(|| {
        let (response, challenges) = challenges(server)?;
        let digests = digests(challenges);
        let basic = challenges.iter().any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"));
        let strong = digests.iter().any(|challenge| is_strong(challenge));
        let md5_first = digests.first().is_some_and(|first| !is_strong(first));
        let sha = "Ask the provider for digest authentication with SHA-256 (RFC 8760)";
        let outcome = match (response.status, challenges.is_empty()) {
            (200..=299, true) => Outcome::new(
                Critical,
                "The server answers a registration without asking for a password",
                "Do not use this provider: anybody can take calls for anybody there",
            ),
            (_, true) => Outcome::unknown(format!(
                "no challenge came for an address that nobody has: {} {}",
                response.status, response.reason
            )),
            _ if basic => {
                Outcome::new(Critical, "The server wants the password itself (Basic), which RFC 8760 forbids", sha)
            }
            _ if digests.is_empty() => Outcome::new(High, "The server asks for no login that this gateway speaks", sha),
            _ if !strong => Outcome::new(Medium, "The server asks for MD5 only", sha),
            _ if md5_first => Outcome::new(
                Low,
                "The server offers SHA-256, but names MD5 first, so many phones use that",
                "Ask the provider to name the strongest algorithm first (RFC 8760 §2.3)",
            ),
            _ => Outcome::pass("The login uses SHA-256 or better"),
        };
        Ok(outcome.with(lines(challenges)))
    })
}

pub(super) fn qop(server: &ServerFacts) -> Outcome {
    need(|| {
        let (_, challenges) = challenges(server)?;
        let digests = digests(challenges);
        if digests.is_empty() {
            return Err(Outcome::unknown("no digest challenge came"));
        }
        let auth_int = digests.iter().any(|it| it.qop.iter().any(|qop| qop.eq_ignore_ascii_case("auth-int")));
        Ok(match digests.iter().any(|challenge| challenge.qop.is_empty()) {
            true => Outcome::new(
                Medium,
                "The server offers no quality of protection (qop), so an answer can be used again",
                "Ask the provider to send qop=\"auth\" (RFC 8760 §2.6)",
            ),
            false if auth_int => Outcome::pass("qop is offered, auth-int too"),
            false => Outcome::pass("qop is offered"),
        })
    })
}

pub(super) fn nonce(server: &ServerFacts) -> Outcome {
    need(|| {
        let (_, challenges) = challenges(server)?;
        let shortest = digests(challenges).iter().map(|challenge| challenge.nonce_length).min();
        let Some(shortest) = shortest else { return Err(Outcome::unknown("no digest challenge came")) };
        let fix = "Ask the provider to make a new, random nonce for each connection";
        let fresh = known(&known(&server.sip)?.fresh_nonce)?;
        let outcome = if !fresh {
            Outcome::new(Medium, "The nonce comes again on another connection", fix)
        } else if shortest < 16 {
            Outcome::new(Low, format!("The nonce has {shortest} characters only"), fix)
        } else {
            Outcome::pass("Every connection gets a nonce of its own")
        };
        Ok(outcome)
    })
}

pub(super) fn realm(server: &ServerFacts, expected: &str) -> Outcome {
    need(|| {
        let (_, challenges) = challenges(server)?;
        let mut realms: Vec<&str> = digests(challenges).iter().map(|challenge| challenge.realm.as_str()).collect();
        realms.dedup();
        Ok(match realms.as_slice() {
            [] => return Err(Outcome::unknown("no digest challenge came")),
            [realm] if related(realm, expected) => Outcome::pass(format!("The realm is {realm}")),
            [realm] => Outcome::info(format!("The realm is {realm}; it is kept from the first login on")),
            several => Outcome::new(
                Low,
                format!("The server names several realms: {}", list(several)),
                "Ask the provider which one is the account's, and set realm",
            ),
        })
    })
}

/// The same domain, or one above or below the other.
fn related(realm: &str, domain: &str) -> bool {
    let (realm, domain) = (realm.to_ascii_lowercase(), domain.to_ascii_lowercase());
    realm == domain || realm.ends_with(&format!(".{domain}")) || domain.ends_with(&format!(".{realm}"))
}

pub(super) fn banner(server: &ServerFacts) -> Outcome {
    need(|| {
        let sip = known(&server.sip)?;
        let named = [&sip.options, &sip.register]
            .into_iter()
            .filter_map(|tested| tested.known())
            .find_map(|response| response.server.clone());
        if named.is_none() {
            known(&sip.options)?;
        }
        Ok(match named {
            None => Outcome::pass("The server does not tell what it is"),
            Some(name) if name.chars().any(|c| c.is_ascii_digit()) => {
                Outcome::new(Low, "The server tells its version", "Ask the provider to leave the version out")
                    .with([format!("Server: {name}")])
            }
            Some(name) => Outcome::info(format!("The server says that it is {name}")),
        })
    })
}
