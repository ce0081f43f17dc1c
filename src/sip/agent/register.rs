//! The agent registers: REGISTER out, its response in, what the registration makes of it up to the user.

use super::{Agent, Event};
use crate::policy::Rule;
use crate::sip::digest::Asker;
use crate::sip::header::NameAddr;
use crate::sip::message::Response;
use crate::sip::registration::Outcome;
use crate::sip::transaction::Purpose;
use crate::sip::uri::Uri;
use std::time::{Duration, Instant};

impl Agent {
    pub(super) fn register_if_due(&mut self, now: Instant) {
        let Some(flow) = self.flow.as_ref().filter(|_| self.registration.is_due(now)) else { return };
        let contact = Uri::Sip(self.contact_of_flow());
        let mut request = self.registration.request(&contact);
        if let Some(route) = &self.config.route {
            request.headers.push("Route", NameAddr::new(route.clone()));
        }
        // The nonce of last time saves a round trip.
        let (method, uri) = (request.method.clone(), request.uri.to_string());
        for asker in Asker::ALL {
            if let Some(value) = self.digest.credentials(&flow.proof, asker, method.as_str(), &uri, &mut *self.random) {
                request.headers.push(asker.credentials_header(), value);
            }
        }
        self.launch(now, Purpose::Register, request);
    }

    /// The final response to a REGISTER; `silence` if none came.
    pub(super) fn registered(&mut self, now: Instant, response: &Response, silence: bool) {
        let outcome = match response.status {
            ..300 => {
                let contact = Uri::Sip(self.contact_of_flow());
                self.registration.accepted(now, response, &contact, &mut *self.random)
            }
            _ => self.registration.refused(now, response, &mut *self.random),
        };
        match outcome {
            Outcome::Bound(expires) => self.bound(now, response, expires),
            Outcome::Removed => self.event(Event::Unregistered),
            Outcome::AskAgain => {}
            Outcome::Failed { hint, retry_in } => {
                let status = (!silence).then_some(response.status);
                let reason = match status {
                    Some(status) => {
                        format!("the registrar answered {status} {}", crate::sip::printable(&response.reason))
                    }
                    None => "the registrar did not answer".to_owned(),
                };
                let retry_in = Some(retry_in);
                self.event(Event::RegistrationFailed { status, reason, hint, retry_in, rule: None });
                if silence {
                    // Over a reliable transport silence means that nobody is there (RFC 5626 §4.4).
                    self.close(now, "the registrar did not answer a REGISTER within 32 s".to_owned());
                }
            }
        }
    }

    /// The challenge to a REGISTER is not answered.
    pub(super) fn register_unauthenticated(
        &mut self,
        now: Instant,
        status: u16,
        reason: String,
        hint: String,
        rule: Option<Rule>,
    ) {
        match self.registration.failed(now, hint, true, None, &mut *self.random) {
            Outcome::Failed { hint, retry_in } => {
                let (status, retry_in) = (Some(status), Some(retry_in));
                self.event(Event::RegistrationFailed { status, reason, hint, retry_in, rule });
            }
            Outcome::Removed => self.event(Event::Unregistered),
            Outcome::Bound(_) | Outcome::AskAgain => {}
        }
    }

    fn bound(&mut self, now: Instant, response: &Response, expires: Duration) {
        let headers = &response.headers;
        let flow_timer = headers.get("Flow-Timer").and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        if let Some(flow) = &mut self.flow {
            flow.keepalive.promised(now, flow_timer, self.registration.outbound(), &mut *self.random);
        }
        let gruu = self.registration.gruu().map(ToString::to_string);
        self.event(Event::Registered { expires, gruu });
        self.tell_new_contact(now);
    }
}
