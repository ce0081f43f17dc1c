//! Who registered where (RFC 3261 §10.3, RFC 5626 §6): an address of record, its contacts, and the connection that
//! each came over.

use galene_sips::sip::{Headers, NameAddr, Response};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The number of a TLS connection.
pub type FlowId = u64;

/// One contact of a user.
#[derive(Clone, Debug)]
pub struct Binding {
    /// As it stood in the REGISTER.
    pub contact: NameAddr,
    /// The connection that reaches it.
    pub flow: FlowId,
    /// When it ends unless it is refreshed.
    pub until: Instant,
}

impl Binding {
    fn key(contact: &NameAddr) -> (String, String) {
        let instance = contact.params.get("+sip.instance");
        match (instance, contact.params.get("reg-id")) {
            (Some(instance), Some(number)) => (instance.to_owned(), number.to_owned()),
            _ => (contact.uri.to_string(), String::new()),
        }
    }

    /// `urn:uuid:…`, without its brackets and quotes.
    pub(super) fn instance(&self) -> Option<String> {
        let instance = self.contact.params.unquoted("+sip.instance")?;
        Some(instance.trim_start_matches('<').trim_end_matches('>').to_owned())
    }
}

/// Of all users.
#[derive(Default)]
pub(super) struct Bindings(HashMap<String, Vec<Binding>>);

impl Bindings {
    /// The bindings of a user that are in force, the newest last.
    pub(super) fn of(&self, user: &str, now: Instant) -> Vec<Binding> {
        let all = self.0.get(user).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|binding| binding.until > now).cloned().collect()
    }

    /// Does what an authenticated REGISTER asks for. `granted` limits its seconds.
    pub(super) fn update(
        &mut self,
        user: &str,
        headers: &Headers,
        flow: FlowId,
        now: Instant,
        granted: impl Fn(u32) -> u32,
    ) -> Result<(), (u16, &'static str)> {
        let bindings = self.0.entry(user.to_owned()).or_default();
        if headers.get("Contact") == Some("*") {
            bindings.clear();
            return if headers.expires() == Some(0) { Ok(()) } else { Err((400, "Bad Request")) };
        }
        for contact in headers.contacts().map_err(|_| (400, "Bad Contact"))? {
            let key = Binding::key(&contact);
            bindings.retain(|binding| Binding::key(&binding.contact) != key);
            let asked = contact.params.get("expires").and_then(|text| text.parse().ok());
            let seconds = asked.or_else(|| headers.expires()).unwrap_or(3_600);
            if seconds > 0 {
                let until = now + Duration::from_secs(granted(seconds).into());
                bindings.push(Binding { contact, flow, until });
            }
        }
        Ok(())
    }

    /// Lists a user's bindings in a 200, with the addresses that RFC 5627 wants if `gruu_domain` is given.
    pub(super) fn list(&self, user: &str, now: Instant, gruu_domain: Option<&str>, response: &mut Response) {
        for binding in self.of(user, now) {
            let mut contact = binding.contact.clone();
            let seconds = binding.until.saturating_duration_since(now).as_millis().div_ceil(1_000);
            contact.params.set("expires", &seconds.to_string());
            if let (Some(domain), Some(instance)) = (gruu_domain, binding.instance()) {
                contact.params.set_quoted("pub-gruu", &format!("sip:{user}@{domain};gr={instance}"));
            }
            response.headers.push("Contact", contact);
        }
    }

    /// RFC 5626 §6: a binding of a connection that is gone reaches nobody.
    pub(super) fn flow_down(&mut self, flow: FlowId) {
        for bindings in self.0.values_mut() {
            bindings.retain(|binding| binding.flow != flow);
        }
    }
}
