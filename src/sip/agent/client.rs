//! The calling side (RFC 3261 §8.1, §9.1, §13.2, §15.1.1): the user's wishes become requests, responses come in,
//! 2xx responses are acknowledged, and the rest is handed up.

use super::{ALLOW, Agent, Body, Event, MAX_CLIENT_TRANSACTIONS, MAX_DIALOGS, Reply, SUPPORTED, Termination};
use super::{address, host_of};
use crate::sip::dialog::{Dialog, DialogId};
use crate::sip::digest::Asker;
use crate::sip::header::{Headers, NameAddr, Via};
use crate::sip::message::{Method, Request, Response};
use crate::sip::params::Params;
use crate::sip::transaction::{ClientTransaction, Expiry, Heard, Purpose, Sent, TransactionKey};
use crate::sip::uri::Uri;
use std::time::Instant;

/// Phones that may answer one INVITE; more are left to their own timeout.
const MAX_FORKS: usize = 8;

/// Why a call or a request cannot be begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The address is not a SIP or SIPS URI.
    #[error("not a SIP address")]
    Target,
    /// There is no such dialog, or it is not confirmed.
    #[error("there is no such call")]
    NoDialog,
    /// An offer of ours or of the other side has no answer yet (RFC 3261 §14.1).
    #[error("another offer is under way")]
    Pending,
    /// Too much is under way.
    #[error("too many requests are under way")]
    Busy,
}

impl Agent {
    /// Calls someone. Without a body, the answer to the offer in the 2xx is for [`Agent::ack`].
    pub fn invite(
        &mut self,
        now: Instant,
        target: &str,
        body: Option<Body>,
        headers: &Headers,
    ) -> Result<DialogId, RequestError> {
        let target = Uri::parse(target).map_err(|_| RequestError::Target)?;
        target.as_sip().filter(|uri| uri.headers.is_none()).ok_or(RequestError::Target)?;
        if self.dialogs.len() >= MAX_DIALOGS || self.clients.len() >= MAX_CLIENT_TRANSACTIONS {
            return Err(RequestError::Busy);
        }
        let route = match self.registration.service_route() {
            [] => self.config.route.iter().map(|route| NameAddr::new(route.clone())).collect(),
            route => route.to_vec(),
        };
        let local = address(&self.config).with_tag(&self.random_hex(8));
        let call_id = self.random_hex(16);
        let id = DialogId(self.next_name());
        self.dialogs.insert(id, Dialog::calling(&call_id, local, target, route));
        self.send_in_dialog(now, id, Purpose::Begin(id), Method::INVITE, body, headers)?;
        Ok(id)
    }

    /// Sends a request within a confirmed dialog; its responses come as [`Event::Response`]. For BYE use
    /// [`Agent::bye`].
    pub fn request(
        &mut self,
        now: Instant,
        id: DialogId,
        method: Method,
        body: Option<Body>,
        headers: &Headers,
    ) -> Result<TransactionKey, RequestError> {
        let dialog = self.dialogs.get(&id).filter(|dialog| dialog.confirmed && dialog.ending.is_none());
        let dialog = dialog.ok_or(RequestError::NoDialog)?;
        let offers = method == Method::INVITE || (method == Method::UPDATE && body.is_some());
        let busy = dialog.awaits_answer() || dialog.their_invite.is_some() || dialog.their_update.is_some();
        if offers && (busy || dialog.unanswered.is_some()) {
            return Err(RequestError::Pending);
        }
        if self.clients.len() >= MAX_CLIENT_TRANSACTIONS {
            return Err(RequestError::Busy);
        }
        self.send_in_dialog(now, id, Purpose::Within(id), method, body, headers)
    }

    /// Sends the ACK of a 2xx that brought an offer, with the answer.
    pub fn ack(&mut self, _now: Instant, id: DialogId, body: Option<Body>) {
        let waiting = self.dialogs.get_mut(&id).and_then(|dialog| dialog.unanswered.take());
        if let Some((cseq, key)) = waiting {
            self.send_ack(id, cseq, key, body);
        }
    }

    /// Gives up a call that is not answered yet. CANCEL goes out after the first provisional response; the final
    /// response follows as an event, or [`Termination::AnsweredTooLate`].
    pub fn cancel(&mut self, now: Instant, id: DialogId) {
        let begun = self.clients.values_mut().find(|transaction| transaction.purpose == Purpose::Begin(id));
        let Some(transaction) = begun else { return };
        transaction.want_cancel();
        let key = transaction.key;
        if transaction.sent == Sent::Never {
            // Nobody has heard of it.
            let response = Response::to(&transaction.request.clone(), 487, "Request Terminated");
            transaction.heard(now, response.status);
            self.finished(now, key, &response, true);
            return self.settle(now);
        }
        self.cancel_if_possible(now, key);
    }

    /// Ends a call, whatever its state: BYE, CANCEL or 480. A BYE before the ACK waits for it (RFC 3261 §15).
    /// Nothing more is heard of the dialog, unless it had to be cancelled.
    pub fn bye(&mut self, now: Instant, id: DialogId, reason: Option<String>) {
        let Some(dialog) = self.dialogs.get_mut(&id) else { return };
        match (dialog.confirmed, dialog.their_invite) {
            (false, Some(key)) => self.respond(now, key, Reply::new(480, "Temporarily Unavailable")),
            (false, None) => self.cancel(now, id),
            (true, _) if dialog.unacknowledged.is_empty() => self.end(now, id, reason),
            (true, _) => dialog.ending = Some(reason),
        }
    }

    /// Sends BYE and forgets the dialog.
    pub(super) fn end(&mut self, now: Instant, id: DialogId, reason: Option<String>) {
        self.ack(now, id, None);
        if let Some(mut dialog) = self.forget(now, id) {
            self.send_bye(now, &mut dialog, reason);
        }
    }

    fn send_bye(&mut self, now: Instant, dialog: &mut Dialog, reason: Option<String>) {
        let mut bye = dialog.request(Method::BYE);
        if let Some(reason) = reason {
            bye.headers.push("Reason", reason);
        }
        self.launch(now, Purpose::End, bye);
    }

    fn send_in_dialog(
        &mut self,
        now: Instant,
        id: DialogId,
        purpose: Purpose,
        method: Method,
        body: Option<Body>,
        headers: &Headers,
    ) -> Result<TransactionKey, RequestError> {
        let secure = self.dialogs.get(&id).ok_or(RequestError::NoDialog)?.secure;
        let contact = self.contact(secure);
        let dialog = self.dialogs.get_mut(&id).ok_or(RequestError::NoDialog)?;
        let offers = method == Method::INVITE || (method == Method::UPDATE && body.is_some());
        let mut request = dialog.request(method.clone());
        if method == Method::INVITE || method == Method::UPDATE {
            dialog.told_contact = contact.to_string();
            request.headers.push("Contact", NameAddr::new(contact));
            request.headers.push("Allow", ALLOW);
            request.headers.push("Supported", SUPPORTED.join(", "));
        }
        for (name, value) in headers.iter() {
            request.headers.push(name, value);
        }
        if let Some(body) = body {
            request.headers.set("Content-Type", body.content_type);
            request.body = body.bytes;
        }
        let key = self.launch(now, purpose, request);
        if let Some(dialog) = self.dialogs.get_mut(&id).filter(|_| offers) {
            dialog.our_offer = Some(key);
        }
        Ok(key)
    }

    /// After the registration moved to a new flow, the other side of each dialog must learn our new Contact. A GRUU
    /// stays the same and needs none of this.
    pub(super) fn tell_new_contact(&mut self, now: Instant) {
        let contacts = [self.contact(false).to_string(), self.contact(true).to_string()];
        let moved = |dialog: &Dialog| {
            dialog.confirmed
                && dialog.ending.is_none()
                && dialog.peer_updates
                && !contacts.contains(&dialog.told_contact)
        };
        let ids: Vec<DialogId> = self.dialogs.iter().filter(|(_, d)| moved(d)).map(|(id, _)| *id).collect();
        for id in ids {
            let update = Method::UPDATE;
            self.send_in_dialog(now, id, Purpose::Refresh(id), update, None, &Headers::new()).ok();
        }
    }

    /// Gives a request its way back and its transaction, and sends it if there is a flow.
    pub(super) fn launch(&mut self, now: Instant, purpose: Purpose, mut request: Request) -> TransactionKey {
        let key = TransactionKey(self.next_name());
        let branch = self.put_via(&mut request);
        request.headers.push("User-Agent", &self.config.user_agent);
        let bytes = request.to_bytes();
        let mut transaction = ClientTransaction::new(now, key, purpose, branch, request);
        if self.send(bytes) {
            transaction.sent = Sent::Yes;
        }
        self.clients.insert(key, transaction);
        key
    }

    /// RFC 3261 §8.1.1.7, RFC 3581 §3.
    pub(super) fn put_via(&mut self, request: &mut Request) -> String {
        let branch = format!("z9hG4bK{}", self.random_hex(12));
        let mut params = Params::new().with("branch", &branch);
        params.set_flag("rport");
        let port = Some(self.local.port());
        request.headers.remove("Via");
        request.headers.push_front("Via", Via { transport: "TLS".to_owned(), host: host_of(self.local), port, params });
        branch
    }

    pub(super) fn handle_response(&mut self, now: Instant, response: &Response) {
        let (Ok(via), Ok(cseq)) = (response.headers.top_via(), response.headers.cseq()) else { return };
        let Some(branch) = via.branch() else { return };
        // Responses to CANCEL find no transaction: nothing depends on them.
        let Some(transaction) = self.clients.values_mut().find(|own| own.matches(branch, &cseq.method)) else { return };
        let key = transaction.key;
        match transaction.heard(now, response.status) {
            Heard::Nothing => {}
            Heard::Provisional => {
                self.cancel_if_possible(now, key);
                self.hand_up(key, response);
            }
            Heard::Another2xx => self.answered_again(now, key, response),
            Heard::Final => {
                if transaction.is_invite() && response.status >= 300 {
                    let ack = transaction.ack_of_error(response).to_bytes();
                    self.send(ack);
                }
                self.finished(now, key, response, false);
            }
        }
    }

    /// Sends the CANCEL that is wanted, once there is a flow and a provisional response was heard.
    pub(super) fn cancel_if_possible(&mut self, now: Instant, key: TransactionKey) {
        if self.flow.is_none() {
            return;
        }
        if let Some(cancel) = self.clients.get_mut(&key).and_then(|transaction| transaction.take_cancel(now)) {
            self.send(cancel.to_bytes());
        }
    }

    fn hand_up(&mut self, key: TransactionKey, response: &Response) {
        let dialog = match self.clients.get(&key).map(|transaction| transaction.purpose) {
            Some(Purpose::Begin(dialog) | Purpose::Within(dialog)) => dialog,
            _ => return,
        };
        // After a BYE nothing more is heard of a dialog.
        if response.status > 100 && self.dialogs.contains_key(&dialog) {
            self.event(Event::Response { dialog, key, response: response.clone() });
        }
    }

    /// A final response; `silence` if it was made here because none came.
    pub(super) fn finished(&mut self, now: Instant, key: TransactionKey, response: &Response, silence: bool) {
        let Some(transaction) = self.clients.get(&key) else { return };
        let purpose = transaction.purpose;
        if matches!(response.status, 401 | 407) && !transaction.is_cancelled() && self.authenticate(now, key, response)
        {
            return;
        }
        self.take_next_nonce(response);
        match purpose {
            Purpose::End => {}
            // `authenticate` has said what became of it.
            Purpose::Register if matches!(response.status, 401 | 407) => {}
            Purpose::Register => self.registered(now, response, silence),
            Purpose::Begin(id) => self.begun(now, id, key, response),
            Purpose::Within(id) | Purpose::Refresh(id) => self.concluded(now, id, key, response),
        }
    }

    /// The final response to the INVITE that was to begin a dialog.
    fn begun(&mut self, now: Instant, id: DialogId, key: TransactionKey, response: &Response) {
        self.hand_up_unless_cancelled(key, response);
        let cancelled = self.clients.get(&key).is_some_and(ClientTransaction::is_cancelled);
        let Some(dialog) = self.dialogs.get_mut(&id) else { return };
        dialog.our_offer = None;
        if response.status >= 300 {
            self.dialogs.remove(&id);
            return;
        }
        dialog.answered(response);
        self.acknowledge(id, key);
        if cancelled {
            self.end(now, id, None);
            self.event(Event::Terminated { dialog: id, why: Termination::AnsweredTooLate });
        }
    }

    fn hand_up_unless_cancelled(&mut self, key: TransactionKey, response: &Response) {
        let cancelled = self.clients.get(&key).is_some_and(ClientTransaction::is_cancelled);
        if !cancelled || response.status >= 300 {
            self.hand_up(key, response);
        }
    }

    /// The final response to a request within a dialog.
    fn concluded(&mut self, now: Instant, id: DialogId, key: TransactionKey, response: &Response) {
        let Some(transaction) = self.clients.get(&key) else { return };
        let (method, ok) = (transaction.request.method.clone(), response.status < 300);
        let refreshes = matches!(transaction.purpose, Purpose::Refresh(_));
        let delivered = transaction.sent == Sent::Yes;
        if let Some(dialog) = self.dialogs.get_mut(&id) {
            dialog.our_offer.take_if(|pending| *pending == key);
            if refreshes && !ok {
                // Tried again after the next REGISTER.
                dialog.told_contact.clear();
            }
            if ok && (method == Method::INVITE || method == Method::UPDATE) {
                // A Contact that cannot be read changes nothing.
                dialog.refresh_target(&response.headers).ok();
            }
        }
        if ok && method == Method::INVITE {
            self.acknowledge(id, key);
        }
        self.hand_up(key, response);
        // RFC 3261 §12.2.1.2
        let why = match response.status {
            481 => Termination::Unknown,
            // Without a flow nobody was asked, and a phone may fail to answer the agent's own UPDATE and yet be there.
            408 if delivered && !refreshes => Termination::NoAnswer,
            _ => return,
        };
        if self.dialogs.contains_key(&id) {
            match why {
                Termination::Unknown => drop(self.forget(now, id)),
                _ => self.end(now, id, None),
            }
            self.event(Event::Terminated { dialog: id, why });
        }
    }

    /// Acknowledges a first 2xx at once if the offer was ours; else it waits for the user's answer.
    fn acknowledge(&mut self, id: DialogId, key: TransactionKey) {
        let Some(transaction) = self.clients.get(&key) else { return };
        let Ok(cseq) = transaction.request.headers.cseq() else { return };
        let late_offer = transaction.request.body.is_empty();
        match self.dialogs.get_mut(&id) {
            Some(dialog) if late_offer => dialog.unanswered = Some((cseq.number, key)),
            _ => self.send_ack(id, cseq.number, key, None),
        }
    }

    fn send_ack(&mut self, id: DialogId, cseq: u32, key: TransactionKey, body: Option<Body>) {
        let Some(dialog) = self.dialogs.get(&id) else { return };
        let tag = dialog.remote.tag().unwrap_or_default().to_owned();
        let ack = dialog.ack(cseq);
        let bytes = self.finish_ack(ack, key, body);
        self.send(bytes.clone());
        if let Some(transaction) = self.clients.get_mut(&key) {
            transaction.acks.push((tag, bytes));
        }
    }

    /// An ACK carries the credentials of its INVITE (RFC 3261 §22.1).
    fn finish_ack(&mut self, mut ack: Request, key: TransactionKey, body: Option<Body>) -> Vec<u8> {
        self.put_via(&mut ack);
        if let Some(invite) = self.clients.get(&key).map(|transaction| &transaction.request) {
            for name in Asker::ALL.map(Asker::credentials_header) {
                invite.headers.all(name).for_each(|value| ack.headers.push(name, value));
            }
        }
        if let Some(body) = body {
            ack.headers.set("Content-Type", body.content_type);
            ack.body = body.bytes;
        }
        ack.to_bytes()
    }

    /// A 2xx after the first: the same again gets its ACK again; another phone's gets ACK and BYE (RFC 3261 §13.2.2.4).
    fn answered_again(&mut self, now: Instant, key: TransactionKey, response: &Response) {
        let Some(transaction) = self.clients.get(&key) else { return };
        let Ok(to) = response.headers.to() else { return };
        let tag = to.tag().unwrap_or_default().to_owned();
        if let Some((_, ack)) = transaction.acks.iter().find(|(known, _)| *known == tag) {
            let ack = ack.clone();
            self.send(ack);
            return;
        }
        let Purpose::Begin(id) = transaction.purpose else { return };
        // Its ACK is still to come from the user.
        let awaits = self.dialogs.get(&id).is_some_and(|dialog| dialog.remote.tag() == to.tag());
        let Ok(cseq) = transaction.request.headers.cseq() else { return };
        if awaits || transaction.acks.len() >= MAX_FORKS {
            return;
        }
        let Some(mut fork) = fork_of(&transaction.request, cseq.number) else { return };
        fork.answered(response);
        let ack = fork.ack(cseq.number);
        let bytes = self.finish_ack(ack, key, None);
        self.send(bytes.clone());
        if let Some(transaction) = self.clients.get_mut(&key) {
            transaction.acks.push((tag, bytes));
        }
        self.send_bye(now, &mut fork, None);
    }

    /// Requests of ours whose time is over.
    pub(super) fn expire_clients(&mut self, now: Instant) {
        let due: Vec<TransactionKey> =
            self.clients.values().filter(|transaction| transaction.deadline() <= now).map(|own| own.key).collect();
        for key in due {
            let Some(transaction) = self.clients.get_mut(&key) else { continue };
            match transaction.expired(now) {
                Expiry::NotYet | Expiry::Over => {}
                Expiry::RangTooLong => self.cancel_if_possible(now, key),
                Expiry::NoAnswer => {
                    // RFC 3261 §8.1.3.1
                    let response = Response::to(&transaction.request.clone(), 408, "Request Timeout");
                    self.finished(now, key, &response, true);
                }
            }
        }
    }
}

/// The dialog that another phone's 2xx to the same INVITE makes.
fn fork_of(invite: &Request, cseq: u32) -> Option<Dialog> {
    let headers = &invite.headers;
    Some(Dialog::resumed(headers.call_id().ok()?, headers.from().ok()?, invite.uri.clone(), cseq))
}
