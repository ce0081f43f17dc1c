//! Digest authentication, the client's side (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! Challenges come in (`WWW-Authenticate`, `Proxy-Authenticate`), credentials go out (`Authorization`,
//! `Proxy-Authorization`). A [`Digest`] answers one account's realm only, with the strongest algorithm offered, never
//! with a weaker one than that realm has shown before, and only against a [`MayAuthenticate`] of the current flow.

use crate::policy::{Login, LoginScheme, MayAuthenticate, Refusal, Rule, SignallingLevel, judge};
use crate::secret::Secret;
use crate::units::{Random, random_hex};
use md5::Md5;
use sha2::{Sha256, Sha512_256};
use std::collections::VecDeque;

/// Nonces whose counters are remembered. A server that goes back to an older one gets a growing counter all the same.
const REMEMBERED_NONCES: usize = 16;

/// A hash that both sides know (RFC 8760 §2.1). The `-sess` variants are not spoken in SIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// MD5, what most providers still ask for.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Algorithm {
    /// Reads the `algorithm` parameter; names are compared without case.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "MD5" => Some(Algorithm::Md5),
            "SHA-256" => Some(Algorithm::Sha256),
            "SHA-512-256" => Some(Algorithm::Sha512_256),
            _ => None,
        }
    }

    /// The name in challenges.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// MD5 is weak; the two SHA-2 forms count as equally strong, so that the server's order decides between them.
    pub fn scheme(self) -> LoginScheme {
        match self {
            Algorithm::Md5 => LoginScheme::DigestMd5,
            Algorithm::Sha256 | Algorithm::Sha512_256 => LoginScheme::DigestSha2,
        }
    }

    /// The parts joined by colons, hashed, as hexadecimal digits.
    fn hash(self, parts: &[&str]) -> String {
        match self {
            Algorithm::Md5 => hash_parts::<Md5>(parts),
            Algorithm::Sha256 => hash_parts::<Sha256>(parts),
            Algorithm::Sha512_256 => hash_parts::<Sha512_256>(parts),
        }
    }
}

/// Feeds the parts one by one, so that a password is never copied into a joined string.
fn hash_parts<D: sha2::Digest>(parts: &[&str]) -> String {
    let mut hasher = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b":");
        }
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the account proves it knows.
#[derive(Debug)]
pub enum Password {
    /// The password itself.
    Plain(Secret<String>),
    /// Only H(user ":" realm ":" password), which fits one algorithm and one realm.
    Ha1(Algorithm, Secret<String>),
}

impl Password {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Password::Plain(_) => true,
            Password::Ha1(own, _) => *own == algorithm,
        }
    }
}

/// Which of the two header pairs a challenge came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// 401: a registrar or the other user agent.
    Server,
    /// 407: a proxy.
    Proxy,
}

impl Asker {
    /// Both.
    pub const ALL: [Asker; 2] = [Asker::Server, Asker::Proxy];

    /// The header that challenges.
    pub fn challenge_header(self) -> &'static str {
        match self {
            Asker::Server => "WWW-Authenticate",
            Asker::Proxy => "Proxy-Authenticate",
        }
    }

    /// The header that answers.
    pub fn credentials_header(self) -> &'static str {
        match self {
            Asker::Server => "Authorization",
            Asker::Proxy => "Proxy-Authorization",
        }
    }

    /// The header that may announce the next nonce (RFC 7616 §3.5).
    pub fn info_header(self) -> &'static str {
        match self {
            Asker::Server => "Authentication-Info",
            Asker::Proxy => "Proxy-Authentication-Info",
        }
    }
}

/// One challenge. `realm`, `nonce` and `opaque` are kept as they stood between the quotes, escapes and all: that is
/// what RFC 7616 §3.4.1 hashes (`unq`) and what goes back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Whose password is asked for.
    pub realm: String,
    /// The server's number.
    pub nonce: String,
    /// The server says that the old nonce was too old, not the password wrong.
    pub stale: bool,
    opaque: Option<String>,
    algorithm: Algorithm,
    algorithm_as_sent: Option<String>,
    qop_auth: bool,
}

impl Challenge {
    /// The hash that it asks for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Reads one header value. `None`: another scheme, an algorithm or a quality of protection that we do not speak,
    /// or nonsense; RFC 7616 §3.3 has such challenges ignored.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim_start().split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let parameters = Parameters::parse(rest)?;
        let algorithm_as_sent = parameters.get("algorithm").map(str::to_owned);
        let algorithm = algorithm_as_sent.as_deref().map_or(Some(Algorithm::Md5), Algorithm::parse)?;
        let qop_auth = match parameters.get("qop") {
            None => false,
            Some(list) if list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Challenge {
            realm: parameters.get("realm")?.to_owned(),
            nonce: parameters.get("nonce")?.to_owned(),
            stale: parameters.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            opaque: parameters.get("opaque").map(str::to_owned),
            algorithm,
            algorithm_as_sent,
            qop_auth,
        })
    }
}

/// A challenge of any scheme, for people: nothing is answered on its account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// `Digest`, `Basic`, …
    pub scheme: String,
    /// As sent.
    pub algorithm: Option<String>,
    /// As sent.
    pub realm: Option<String>,
    /// As sent.
    pub nonce: Option<String>,
    /// The qualities of protection offered.
    pub qop: Vec<String>,
    /// RFC 7616 §3.4.4.
    pub userhash: bool,
}

impl Described {
    /// Reads one header value; `None` if it is none.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once([' ', '\t']).unwrap_or((value.trim(), ""));
        if scheme.is_empty() {
            return None;
        }
        let parameters = Parameters::parse(rest)?;
        let text = |name: &str| parameters.get(name).map(str::to_owned);
        let qop = parameters.get("qop").into_iter().flat_map(|list| list.split(',')).map(|qop| qop.trim().to_owned());
        Some(Described {
            scheme: scheme.to_owned(),
            algorithm: text("algorithm"),
            realm: text("realm"),
            nonce: text("nonce"),
            qop: qop.filter(|qop| !qop.is_empty()).collect(),
            userhash: parameters.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

/// What a challenge asks for, as a fact for policy.
fn offer(value: &str, challenge: Option<&Challenge>) -> LoginScheme {
    match challenge {
        Some(challenge) => challenge.algorithm.scheme(),
        None if value.split_ascii_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case("Basic")) => {
            LoginScheme::Basic
        }
        None => LoginScheme::Unknown,
    }
}

/// `name=value` pairs between commas, each value a token or a quoted string.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn parse(mut rest: &'a str) -> Option<Self> {
        let mut pairs = Vec::new();
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                return Some(Parameters(pairs));
            }
            let (name, after) = rest.split_once('=')?;
            let after = after.trim_start();
            let value;
            if let Some(quoted) = after.strip_prefix('"') {
                let end = closing_quote(quoted)?;
                value = &quoted[..end];
                rest = &quoted[end + 1..];
            } else {
                let end = after.find(',').unwrap_or(after.len());
                value = after[..end].trim_end();
                rest = &after[end..];
            }
            pairs.push((name.trim(), value));
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Where the quoted string ends: the first quote that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Policy says no.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing that we could answer with the secret that we have.
    #[error("the server asks for no kind of Digest that the configured secret can answer")]
    NothingSupported,
    /// Another realm than the account's.
    #[error("the server asks for a password of realm \"{asked}\", but this account's realm is \"{kept}\"")]
    OtherRealm {
        /// The account's realm.
        kept: String,
        /// What was asked for.
        asked: String,
    },
    /// A challenge from a place that may not set the account's realm, before the registrar did.
    #[error("the server asks for a password of realm \"{asked}\" before the account's realm is known")]
    UnknownRealm {
        /// What was asked for.
        asked: String,
    },
    /// This realm has offered a SHA-2 algorithm before, and now only MD5.
    #[error("the server now asks for MD5 only, though it offered a stronger algorithm before")]
    Weakened,
    /// MD5 without encryption gives the password away.
    #[error("the server asks for MD5 over an unencrypted connection")]
    Md5OverClear,
}

impl DigestError {
    /// The rule of `policy` that it is.
    pub fn rule(&self) -> Option<Rule> {
        match self {
            DigestError::Refused(refusal) => Some(refusal.rule),
            _ => None,
        }
    }

    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            DigestError::NothingSupported => {
                "an ha1_file serves one algorithm only: use password_file, or the HA1 of what the provider asks for"
                    .to_owned()
            }
            DigestError::OtherRealm { asked, .. } | DigestError::UnknownRealm { asked } => {
                format!("if the provider says that this is right, set realm = \"{asked}\" for the account")
            }
            DigestError::Weakened => "ask the provider; a restart accepts the weaker algorithm".to_owned(),
            DigestError::Md5OverClear => "use TLS".to_owned(),
            DigestError::Refused(refusal) => refusal.hint.clone(),
        }
    }
}

/// The account's side of Digest: its password, its realm, and the counters of the nonces in use.
pub struct Digest {
    user: String,
    password: Password,
    realm: Option<String>,
    strongest: LoginScheme,
    server: Option<Challenge>,
    proxy: Option<Challenge>,
    counters: VecDeque<(String, u32)>,
}

impl Digest {
    /// `realm`: as configured; without it the first challenge that may set it does ([`Digest::accept`]).
    pub fn new(user: String, password: Password, realm: Option<String>) -> Self {
        Digest {
            user,
            password,
            realm,
            strongest: LoginScheme::DigestMd5,
            server: None,
            proxy: None,
            counters: VecDeque::new(),
        }
    }

    /// Another password, for the same realm.
    pub fn change_password(&mut self, password: Password) {
        self.password = password;
        self.server = None;
        self.proxy = None;
    }

    /// The account's realm, once it is known.
    pub fn realm(&self) -> Option<&str> {
        self.realm.as_deref()
    }

    /// The weakest way in which the account's password is proved now; `None` before a challenge.
    pub fn in_use(&self) -> Option<LoginScheme> {
        [&self.server, &self.proxy].into_iter().flatten().map(|challenge| challenge.algorithm.scheme()).min()
    }

    /// A person says that the provider may ask for less than before.
    pub fn may_weaken(&mut self) {
        self.strongest = LoginScheme::DigestMd5;
    }

    /// Judges the challenges of one response and keeps the one to be answered.
    /// `sets_realm`: this is an answer to our REGISTER, so it may say what the account's realm is if nobody has yet.
    pub fn accept<'a>(
        &mut self,
        proof: &MayAuthenticate,
        asker: Asker,
        challenges: impl Iterator<Item = &'a str>,
        sets_realm: bool,
    ) -> Result<&Challenge, DigestError> {
        let mut best = LoginScheme::Basic;
        let mut offered = Vec::new();
        for value in challenges {
            let challenge = Challenge::parse(value);
            best = best.max(offer(value, challenge.as_ref()));
            offered.extend(challenge.filter(|challenge| self.password.fits(challenge.algorithm)));
        }
        let Some(asked) = offered.first().map(|challenge| challenge.realm.clone()) else {
            let verdict = judge(proof.rules(), &Login { scheme: best }).allowed();
            return Err(verdict.map_or_else(DigestError::Refused, |_| DigestError::NothingSupported));
        };
        let realm = match &self.realm {
            Some(realm) => realm.clone(),
            None if sets_realm => asked.clone(),
            None => return Err(DigestError::UnknownRealm { asked }),
        };
        let ours = offered.into_iter().filter(|challenge| challenge.realm == realm);
        let best =
            ours.reduce(|best, next| if next.algorithm.scheme() > best.algorithm.scheme() { next } else { best });
        let Some(best) = best else { return Err(DigestError::OtherRealm { kept: realm, asked }) };
        let strength = best.algorithm.scheme();
        judge(proof.rules(), &Login { scheme: strength }).allowed().map_err(DigestError::Refused)?;
        // what policy holds the account to takes three days to learn; the realm may not fall within one run of the program either
        if strength < self.strongest {
            return Err(DigestError::Weakened);
        }
        if best.algorithm == Algorithm::Md5 && proof.level() == SignallingLevel::Clear {
            return Err(DigestError::Md5OverClear);
        }
        self.strongest = strength;
        self.realm = Some(realm);
        Ok(self.slot(asker).insert(best))
    }

    /// The credentials for one request under the challenge last accepted, or `None` before there was one.
    pub fn credentials(
        &mut self,
        _proof: &MayAuthenticate,
        asker: Asker,
        method: &str,
        uri: &str,
        random: &mut dyn Random,
    ) -> Option<String> {
        let challenge = self.slot(asker).clone()?;
        let nc = self.count(&challenge.nonce);
        Some(self.answer(&challenge, method, uri, nc, &random_hex(random, 8)))
    }

    /// Takes the next nonce from an `Authentication-Info` header (RFC 7616 §3.5).
    pub fn authentication_info(&mut self, asker: Asker, value: &str) {
        let next = Parameters::parse(value).and_then(|parameters| parameters.get("nextnonce").map(str::to_owned));
        if let (Some(challenge), Some(nonce)) = (self.slot(asker), next) {
            challenge.nonce = nonce;
        }
    }

    fn slot(&mut self, asker: Asker) -> &mut Option<Challenge> {
        match asker {
            Asker::Server => &mut self.server,
            Asker::Proxy => &mut self.proxy,
        }
    }

    /// The next count of this nonce, whoever issued it: strictly growing, or a server takes us for a replay.
    fn count(&mut self, nonce: &str) -> u32 {
        if let Some((_, count)) = self.counters.iter_mut().find(|(known, _)| known == nonce) {
            *count = count.saturating_add(1);
            return *count;
        }
        if self.counters.len() == REMEMBERED_NONCES {
            self.counters.pop_front();
        }
        self.counters.push_back((nonce.to_owned(), 1));
        1
    }

    fn ha1(&self, algorithm: Algorithm, realm: &str) -> Secret<String> {
        match &self.password {
            Password::Plain(password) => Secret::new(algorithm.hash(&[&self.user, realm, password.expose()])),
            Password::Ha1(_, ha1) => ha1.duplicate(),
        }
    }

    /// RFC 7616 §3.4.1, and RFC 2069's form where no qop is offered.
    fn answer(&self, challenge: &Challenge, method: &str, uri: &str, nc: u32, cnonce: &str) -> String {
        let Challenge { realm, nonce, algorithm, .. } = challenge;
        let ha1 = self.ha1(*algorithm, realm);
        let ha2 = algorithm.hash(&[method, uri]);
        let nc = format!("{nc:08x}");
        let response = if challenge.qop_auth {
            algorithm.hash(&[ha1.expose(), nonce, &nc, cnonce, "auth", &ha2])
        } else {
            algorithm.hash(&[ha1.expose(), nonce, &ha2])
        };
        let user = self.user.replace('\\', "\\\\").replace('"', "\\\"");
        let mut value = format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\""
        );
        if let Some(algorithm) = &challenge.algorithm_as_sent {
            value += &format!(", algorithm={algorithm}");
        }
        if challenge.qop_auth {
            value += &format!(", qop=auth, nc={nc}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &challenge.opaque {
            value += &format!(", opaque=\"{opaque}\"");
        }
        value
    }
}

#[cfg(test)]
mod tests;
