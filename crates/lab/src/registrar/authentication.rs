//! Digest authentication, the server's side (RFC 7616, RFC 8760): challenges, and whether an answer is right. It
//! shares no code with the client's side in the library, so that each tests the other.

use galene_sips::sip::Headers;
use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use std::collections::HashMap;

/// What the registrar asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// MD5 (RFC 3261 §22).
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
            Algorithm::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

/// What a set of credentials turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// This user knows the password.
    Right(String),
    /// Right, but for a nonce that is not ours or used up: ask again, without asking a person (`stale`).
    Stale,
    Wrong,
    Missing,
}

/// The nonces that were given out, with the last counter seen.
#[derive(Default)]
pub(super) struct Nonces {
    last: HashMap<String, u32>,
    count: u64,
}

impl Nonces {
    /// The header values of a challenge, one per algorithm, in the registrar's order of preference.
    pub(super) fn challenge(&mut self, realm: &str, algorithms: &[Algorithm], stale: bool) -> Vec<String> {
        self.count += 1;
        let nonce = format!("lab-nonce-{}", self.count);
        self.last.insert(nonce.clone(), 0);
        let stale = if stale { ", stale=true" } else { "" };
        algorithms
            .iter()
            .map(|algorithm| {
                let algorithm = algorithm.name();
                format!(
                    "Digest realm=\"{realm}\", nonce=\"{nonce}\", opaque=\"lab\", algorithm={algorithm}, qop=\"auth\"{stale}"
                )
            })
            .collect()
    }

    /// Forgets all nonces, as a restarted registrar does.
    pub(super) fn forget(&mut self) {
        self.last.clear();
    }

    /// Judges the credentials in `header` for `realm`.
    pub(super) fn judge(
        &mut self,
        headers: &Headers,
        header: &str,
        method: &str,
        realm: &str,
        allowed: &[Algorithm],
        users: &HashMap<String, String>,
    ) -> Verdict {
        let candidates = headers.all(header).filter_map(|value| value.strip_prefix("Digest ")).map(parameters);
        let Some(given) = candidates.into_iter().find(|given| field(given, "realm") == realm) else {
            return Verdict::Missing;
        };
        let asked = field(&given, "algorithm");
        let asked = if asked.is_empty() { "MD5" } else { asked };
        let Some(algorithm) = allowed.iter().find(|one| one.name().eq_ignore_ascii_case(asked)) else {
            return Verdict::Wrong;
        };
        let user = field(&given, "username");
        let Some(password) = users.get(user) else { return Verdict::Wrong };
        let (nonce, nc, cnonce) = (field(&given, "nonce"), field(&given, "nc"), field(&given, "cnonce"));
        let ha1 = algorithm.hash(&format!("{user}:{realm}:{password}"));
        let ha2 = algorithm.hash(&format!("{method}:{}", field(&given, "uri")));
        let expected = algorithm.hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"));
        if field(&given, "qop") != "auth" || field(&given, "response") != expected {
            return Verdict::Wrong;
        }
        // A counter that does not grow is a replay (RFC 7616 §3.4).
        match (self.last.get_mut(nonce), u32::from_str_radix(nc, 16)) {
            (Some(last), Ok(counter)) if counter > *last => {
                *last = counter;
                Verdict::Right(user.to_owned())
            }
            _ => Verdict::Stale,
        }
    }
}

fn field<'a>(given: &'a HashMap<String, String>, name: &str) -> &'a str {
    given.get(name).map_or("", String::as_str)
}

/// `a=b, c="d"`; no value that a client of ours writes holds an escaped quote.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        found.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = after.trim_start_matches([',', ' ']);
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    // RFC 7616 §3.9.1, with the nonce of the RFC as if it were ours.
    #[test]
    fn the_example_of_the_rfc_is_right_once() {
        let mut nonces = Nonces::default();
        nonces.last.insert("7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(), 0);
        let users = HashMap::from([("Mufasa".to_owned(), "Circle of Life".to_owned())]);
        let mut headers = Headers::new();
        headers.push(
            "Authorization",
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm=SHA-256, \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
             cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, \
             response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1\", \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
        );
        let mut judge = |method: &str, allowed: &[Algorithm]| {
            nonces.judge(&headers, "Authorization", method, "http-auth@example.org", allowed, &users)
        };
        assert_eq!(judge("GET", &[Algorithm::Md5]), Verdict::Wrong, "an algorithm that was not offered");
        assert_eq!(judge("POST", &[Algorithm::Sha256]), Verdict::Wrong, "another method");
        assert_eq!(judge("GET", &[Algorithm::Sha256]), Verdict::Right("Mufasa".into()));
        assert_eq!(judge("GET", &[Algorithm::Sha256]), Verdict::Stale, "a replay");
    }
}
