//! Challenges to our requests (RFC 3261 §22, RFC 8760): 401 and 407 come in, the same request goes out with credentials,
//! or the user hears why not.

use super::{Agent, Event};
use crate::policy::Rule;
use crate::sip::dialog::Dialog;
use crate::sip::digest::Asker;
use crate::sip::header::CSeq;
use crate::sip::message::{Request, Response};
use crate::sip::transaction::{Purpose, TransactionKey};
use std::time::Instant;

/// Challenges that one request may meet.
const MAX_CHALLENGES: u8 = 2;

impl Agent {
    /// Answers a challenge. `false`: it is not answered, the response stands.
    pub(super) fn authenticate(&mut self, now: Instant, key: TransactionKey, response: &Response) -> bool {
        let (Some(flow), Some(transaction)) = (&self.flow, self.clients.get_mut(&key)) else { return false };
        let registers = transaction.is_register();
        // Whoever we talk to could ask for our password's hash as well as the provider: within a dialog only a proxy
        // may, and providers let a BYE pass.
        let may_ask = |asker: Asker| match transaction.purpose {
            Purpose::Register | Purpose::Begin(_) => true,
            Purpose::Within(_) | Purpose::Refresh(_) => asker == Asker::Proxy,
            Purpose::End => false,
        };
        let sets_realm = registers || (!self.config.register && matches!(transaction.purpose, Purpose::Begin(_)));
        let asking = |asker: &Asker| may_ask(*asker) && response.headers.get(asker.challenge_header()).is_some();
        let mut answered = Vec::new();
        let mut refusal = None;
        let mut rule = None;
        transaction.challenges += 1;
        for asker in Asker::ALL.into_iter().filter(asking) {
            let challenges = response.headers.all(asker.challenge_header());
            match self.digest.accept(&flow.proof, asker, challenges, sets_realm) {
                // The same password would be as wrong the second time.
                Ok(challenge) if transaction.answered.contains(&asker) && !challenge.stale => {
                    refusal = Some((
                        "the password was not accepted".to_owned(),
                        "check the user name and the password".to_owned(),
                    ));
                }
                Ok(_) => answered.push(asker),
                Err(error) => {
                    rule = error.rule();
                    refusal = Some((error.to_string(), error.hint()));
                }
            }
        }
        if answered.is_empty() || transaction.challenges > MAX_CHALLENGES {
            let refusal = refusal.unwrap_or_else(|| {
                ("the challenge was not answered".to_owned(), "check the user name and the password".to_owned())
            });
            self.unauthenticated(now, key, response.status, refusal, rule);
            return false;
        }
        transaction.answered.retain(|asker| !answered.contains(asker));
        transaction.answered.append(&mut answered);
        let (mut request, purpose) = (transaction.request.clone(), transaction.purpose);
        let (method, uri) = (request.method.clone(), request.uri.to_string());
        for asker in transaction.answered.clone() {
            request.headers.remove(asker.credentials_header());
            if let Some(value) = self.digest.credentials(&flow.proof, asker, method.as_str(), &uri, &mut *self.random) {
                request.headers.push(asker.credentials_header(), value);
            }
        }
        self.send_again(now, key, purpose, request);
        true
    }

    /// The same request with credentials is a new one: the next CSeq number, another branch (RFC 3261 §22.2).
    fn send_again(&mut self, now: Instant, key: TransactionKey, purpose: Purpose, mut request: Request) {
        let number = match purpose {
            Purpose::Register => Some(self.registration.next_cseq()),
            Purpose::Begin(id) | Purpose::Within(id) | Purpose::Refresh(id) => {
                self.dialogs.get_mut(&id).map(Dialog::next_cseq)
            }
            Purpose::End => None,
        };
        let Some(number) = number else { return };
        request.headers.set("CSeq", CSeq { number, method: request.method.clone() });
        let branch = self.put_via(&mut request);
        let bytes = request.to_bytes();
        self.send(bytes);
        if let Some(transaction) = self.clients.get_mut(&key) {
            transaction.again(now, branch, request);
        }
    }

    fn unauthenticated(
        &mut self,
        now: Instant,
        key: TransactionKey,
        status: u16,
        (reason, hint): (String, String),
        rule: Option<Rule>,
    ) {
        match self.clients.get(&key).map(|transaction| transaction.purpose) {
            Some(Purpose::Register) => self.register_unauthenticated(now, status, reason, hint, rule),
            Some(Purpose::End) | None => {}
            Some(_) => self.event(Event::ChallengeRefused { rule, reason, hint }),
        }
    }

    pub(super) fn take_next_nonce(&mut self, response: &Response) {
        for asker in Asker::ALL {
            if let Some(info) = response.headers.get(asker.info_header()).filter(|_| response.status < 300) {
                self.digest.authentication_info(asker, info);
            }
        }
    }
}
