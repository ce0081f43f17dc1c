//! A login with the account, over a connection that policy admitted: what the registrar accepts, and what it makes of a replay.
//!
//! The binding is the audit's own, for a minute, and is removed at the end. A password is never sent; an answer to a
//! challenge only over the connection of the `MayAuthenticate` that stands beside it.

use super::conversation::Conversation;
use crate::audit::facts::{AccountFacts, Login as Outcome, NO_PASSWORD, Tested};
use crate::audit::sip::Login;
use crate::io::SystemRandomness;
use crate::io::tls::SipConnection;
use crate::policy::MayAuthenticate;
use crate::secret::Secret;
use crate::sip::digest::{Asker, Digest, Password};
use crate::sip::{Response, printable};
use crate::units::{Random, random_hex};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long the audit's binding may last, if it cannot be removed.
const EXPIRES: u32 = 60;

/// The longest binding that a 423 may talk us into.
const LONGEST: u32 = 3600;

/// Whose login is tried.
pub struct Credentials {
    /// The user part of the address.
    user: String,
    /// Its domain.
    domain: String,
    /// The name in challenges' answers; mostly the user part.
    auth_user: String,
    /// What it proves it knows.
    password: Password,
}

impl Credentials {
    /// For an account's address, with a password.
    pub fn new(user: String, domain: String, auth_user: String, password: Secret<String>) -> Self {
        Credentials { user, domain, auth_user, password: Password::Plain(password) }
    }
}

/// What cannot be said before the first 200.
fn facts(address: String, login: Tested<Outcome>, why: &str) -> AccountFacts {
    AccountFacts {
        address,
        login,
        sha256_accepted: Tested::Unknown(why.to_owned()),
        replay_refused: Tested::Unknown(why.to_owned()),
        registered: Tested::Unknown(why.to_owned()),
        binding_removed: Tested::Unknown(why.to_owned()),
    }
}

/// Policy refused the server, so no password was shown to it.
pub(super) fn not_tried(credentials: &Credentials, rule: String) -> AccountFacts {
    let why = "no password was sent, since policy refuses the server";
    facts(address(credentials), Tested::Known(Outcome::NotTried { rule }), why)
}

/// There was no connection to log in over.
pub(super) fn not_reached(credentials: &Credentials, why: &str) -> AccountFacts {
    facts(address(credentials), Tested::Unknown(why.to_owned()), why)
}

/// `user@domain`.
pub(super) fn address(credentials: &Credentials) -> String {
    format!("{}@{}", credentials.user, credentials.domain)
}

/// Registers, tries the same answer again, and removes the binding.
pub(super) async fn probe(credentials: Credentials, connection: SipConnection) -> AccountFacts {
    let address = address(&credentials);
    let SipConnection { stream, proof, .. } = connection;
    let Ok(local) = stream.get_ref().0.local_addr() else {
        return facts(address, Tested::Unknown("the connection broke".to_owned()), "the connection broke");
    };
    let mut random = SystemRandomness::default();
    let instance = instance(&mut random);
    let login = Login::new(&credentials.user, &credentials.domain, local, instance, &mut random);
    let digest = Digest::new(credentials.auth_user, credentials.password, None);
    let mut session = Session { talk: Conversation::new(stream), login, digest, proof, random, expires: EXPIRES };
    let facts = session.run(address).await;
    session.talk.close().await;
    facts
}

/// A random UUID as a URN (RFC 5626 §4.1, RFC 9562 §5.4).
fn instance(random: &mut dyn Random) -> String {
    let hex = random_hex(random, 16);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("urn:uuid:{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

struct Session<S> {
    talk: Conversation<S>,
    login: Login,
    digest: Digest,
    proof: MayAuthenticate,
    random: SystemRandomness,
    expires: u32,
}

/// An answer to a challenge: the header, its value, and the algorithm.
type Answer = (&'static str, String, &'static str);

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(&mut self, address: String) -> AccountFacts {
        const NOT_REGISTERED: &str = "the account was not registered";
        let (response, answer) = match self.register(self.expires, None).await {
            Ok(done) => done,
            Err(login) => return facts(address, login, NOT_REGISTERED),
        };
        if !(200..300).contains(&response.status) {
            let refused = Outcome::Refused { status: response.status, reason: printable(&response.reason) };
            return facts(address, Tested::Known(refused), NOT_REGISTERED);
        }
        let algorithm = answer.as_ref().map_or(NO_PASSWORD, |(_, _, algorithm)| *algorithm);
        let registered = self.login.registered(&response);
        let replay_refused = match &answer {
            None => Tested::Unknown("nobody asked for a password".to_owned()),
            Some((header, value, _)) => {
                let again = self.login.register(self.expires, Some((*header, value.as_str())), &mut self.random);
                match self.talk.ask(&again).await {
                    Tested::Known(response) => Tested::Known(!(200..300).contains(&response.status)),
                    Tested::Unknown(why) => Tested::Unknown(why),
                }
            }
        };
        AccountFacts {
            address,
            login: Tested::Known(Outcome::Accepted { algorithm: algorithm.to_owned() }),
            sha256_accepted: Tested::Known(algorithm.starts_with("SHA-")),
            replay_refused,
            registered: Tested::Known(registered),
            binding_removed: match self.register(0, answer).await {
                Ok((response, _)) if (200..300).contains(&response.status) => {
                    Tested::Known(!self.login.registered(&response).contact_kept)
                }
                Ok(_) => Tested::Known(false),
                Err(_) => Tested::Unknown("the connection broke".to_owned()),
            },
        }
    }

    /// One REGISTER, with as many answers to challenges as a registrar may ask for. `earlier`: there was a challenge before,
    /// which is answered anew at once.
    async fn register(
        &mut self,
        expires: u32,
        earlier: Option<Answer>,
    ) -> Result<(Response, Option<Answer>), Tested<Outcome>> {
        let mut answer = earlier.and_then(|(header, ..)| self.answer_again(header));
        let mut seconds = expires;
        let mut answered = false; // an earlier nonce may have been for once only
        for _ in 0..4 {
            let credentials = answer.as_ref().map(|(header, value, _)| (*header, value.as_str()));
            let request = self.login.register(seconds, credentials, &mut self.random);
            let response = match self.talk.ask(&request).await {
                Tested::Known(response) => response,
                Tested::Unknown(why) => return Err(Tested::Unknown(why)),
            };
            match response.status {
                401 | 407 => match self.answer(&response, answered) {
                    Ok(Some(next)) => (answer, answered) = (Some(next), true),
                    Ok(None) => return Ok((response, answer)),
                    Err(why) => {
                        return Err(Tested::Known(Outcome::Refused {
                            status: response.status,
                            reason: printable(&why),
                        }));
                    }
                },
                423 if seconds > 0 => {
                    let least = response.headers.get("Min-Expires").and_then(|text| text.trim().parse().ok());
                    match least.filter(|least| *least > seconds && *least <= LONGEST) {
                        Some(least) => (seconds, self.expires) = (least, least),
                        None => return Ok((response, answer)),
                    }
                }
                _ => return Ok((response, answer)),
            }
        }
        Err(Tested::Unknown("the registrar asks again and again".to_owned()))
    }

    /// `None`: the password was not accepted, and would not be the second time.
    fn answer(&mut self, response: &Response, answered: bool) -> Result<Option<Answer>, String> {
        let asker = if response.status == 401 { Asker::Server } else { Asker::Proxy };
        let challenges = response.headers.all(asker.challenge_header());
        let challenge = self.digest.accept(&self.proof, asker, challenges, true).map_err(|error| error.to_string())?;
        if answered && !challenge.stale {
            return Ok(None);
        }
        let algorithm = challenge.algorithm().as_str();
        Ok(self.credentials(asker).map(|value| (asker.credentials_header(), value, algorithm)))
    }

    fn answer_again(&mut self, header: &'static str) -> Option<Answer> {
        let asker = Asker::ALL.into_iter().find(|asker| asker.credentials_header() == header)?;
        self.credentials(asker).map(|value| (header, value, ""))
    }

    fn credentials(&mut self, asker: Asker) -> Option<String> {
        self.digest.credentials(&self.proof, asker, "REGISTER", &self.login.uri(), &mut self.random)
    }
}
