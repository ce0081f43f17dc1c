//! The called side (RFC 3261 §8.2, §9.2, §12.2.2, §13.3, §14.2, §15.1.2): requests come in, are answered at once where
//! the user has no say, and handed up where he has.

use super::{ALLOW, Agent, Event, MAX_DIALOGS, MAX_SERVER_TRANSACTIONS, Reply, SUPPORTED, Termination};
use super::{is_handled, is_known};
use crate::sip::dialog::{Dialog, DialogId, Unacknowledged};
use crate::sip::header::{Headers, NameAddr};
use crate::sip::message::{Method, Request, Response};
use crate::sip::transaction::{RINGING, ServerMatch, ServerTransaction, TIMEOUT, TransactionKey};
use crate::sip::validate::validate_request;
use std::time::{Duration, Instant};

/// INVITEs of one dialog whose 2xx may wait for an ACK at the same time (RFC 5407 §3.1.4).
const MAX_UNACKNOWLEDGED: usize = 2;

impl Agent {
    /// Answers a request that was handed up. Ignored if it has its final response already.
    pub fn respond(&mut self, now: Instant, key: TransactionKey, reply: Reply) {
        self.answer(now, key, reply);
        self.settle(now);
    }

    pub(super) fn handle_request(&mut self, now: Instant, request: Request) {
        let valid = validate_request(&request);
        if request.method == Method::ACK {
            if valid.is_ok() {
                self.handle_ack(now, &request);
            }
            return;
        }
        if let Err(rejection) = valid {
            return self.reply_stateless(&request, &Reply::new(rejection.status, &rejection.reason));
        }
        let Ok(name) = ServerMatch::of(&request) else { return };
        if request.method == Method::CANCEL {
            return self.handle_cancel(now, name, &request);
        }
        if let Some(transaction) = self.servers.find(&name) {
            if let Some(bytes) = transaction.repeated().map(<[u8]>::to_vec) {
                self.send(bytes);
            }
            return;
        }
        let to_tag = request.headers.to().ok().and_then(|to| to.tag().map(str::to_owned));
        // Calls that are up have room left when strangers have none.
        let room = if to_tag.is_some() { 2 * MAX_SERVER_TRANSACTIONS } else { MAX_SERVER_TRANSACTIONS };
        if self.servers.len() >= room {
            let busy = self.busy();
            return self.reply_stateless(&request, &busy);
        }
        let verdict = match to_tag {
            None => self.check_outside(&request),
            Some(tag) => self.check_within(&request, &tag),
        };
        match verdict {
            Err(reply) => self.reject(now, name, request, reply),
            Ok(dialog) => self.accept(now, name, request, dialog),
        }
    }

    /// A request that begins something: what can be said against it, or a dialog for an INVITE.
    fn check_outside(&mut self, request: &Request) -> Result<Option<DialogId>, Reply> {
        if !is_known(&request.method) {
            return Err(Reply::new(501, "Not Implemented").with_header("Allow", ALLOW));
        }
        if !is_handled(&request.method) {
            return Err(Reply::new(405, "Method Not Allowed").with_header("Allow", ALLOW));
        }
        check_extensions(request)?;
        if self.servers.merges(request) {
            return Err(Reply::new(482, "Loop Detected"));
        }
        match request.method.as_str() {
            "OPTIONS" => Ok(None),
            "INVITE" => {
                check_description(request)?;
                if self.dialogs.len() >= MAX_DIALOGS {
                    return Err(self.busy());
                }
                let tag = self.random_hex(8);
                let dialog = Dialog::called(request, &tag).map_err(|error| bad_request(&error))?;
                let id = DialogId(self.next_name());
                self.dialogs.insert(id, dialog);
                Ok(Some(id))
            }
            _ => Err(unknown_dialog()),
        }
    }

    /// A request that names a dialog: what can be said against it, or the dialog.
    fn check_within(&mut self, request: &Request, to_tag: &str) -> Result<Option<DialogId>, Reply> {
        let headers = &request.headers;
        if !is_known(&request.method) {
            return Err(Reply::new(501, "Not Implemented").with_header("Allow", ALLOW));
        }
        let id = self.find_dialog(headers, to_tag).ok_or_else(unknown_dialog)?;
        let retry = format!("{}", u32::from_str_radix(&self.random_hex(1), 16).unwrap_or(0) % 10);
        let dialog = self.dialogs.get_mut(&id).ok_or_else(unknown_dialog)?;
        let cseq = headers.cseq().map_err(|error| bad_request(&error))?;
        if !dialog.in_order(&cseq) {
            return Err(Reply::new(500, "Server Internal Error").with_header("Warning", warning("CSeq out of order")));
        }
        match request.method.as_str() {
            // It is only waiting for an ACK to be ended.
            method if dialog.ending.is_some() && method != "BYE" => return Err(unknown_dialog()),
            // No provisional response of ours was reliable (RFC 3262 §3).
            "PRACK" => return Err(unknown_dialog()),
            _ if !is_handled(&request.method) => {
                return Err(Reply::new(405, "Method Not Allowed").with_header("Allow", ALLOW));
            }
            _ => check_extensions(request)?,
        }
        // RFC 3261 §14.2 and RFC 3311 §5.2.
        let offers = request.method == Method::INVITE || (request.method == Method::UPDATE && !request.body.is_empty());
        if offers {
            check_description(request)?;
            let busy = dialog.their_invite.is_some()
                || dialog.their_update.is_some()
                || dialog.unacknowledged.len() >= MAX_UNACKNOWLEDGED;
            if busy {
                return Err(Reply::new(500, "Server Internal Error").with_header("Retry-After", retry));
            }
            if dialog.awaits_answer() {
                return Err(Reply::new(491, "Request Pending"));
            }
        }
        if request.method == Method::INVITE || request.method == Method::UPDATE {
            dialog.refresh_target(headers).map_err(|error| bad_request(&error))?;
        }
        Ok(Some(id))
    }

    pub(super) fn find_dialog(&self, headers: &Headers, local_tag: &str) -> Option<DialogId> {
        let call_id = headers.call_id().ok()?;
        let from = headers.from().ok()?;
        let mut dialogs = self.dialogs.iter();
        dialogs.find(|(_, dialog)| dialog.is_between(call_id, local_tag, from.tag())).map(|(id, _)| *id)
    }

    /// Nothing speaks against the request.
    fn accept(&mut self, now: Instant, name: ServerMatch, request: Request, dialog: Option<DialogId>) {
        let initial = request.headers.to().is_ok_and(|to| to.tag().is_none());
        let tag = dialog.and_then(|id| self.dialogs.get(&id)?.local.tag().map(str::to_owned));
        let key = self.open(now, name, request.clone(), dialog, tag);
        let Some(dialog) = dialog else {
            // OPTIONS outside of a dialog (RFC 3261 §11.2).
            return self.answer(now, key, capabilities());
        };
        match request.method.as_str() {
            "INVITE" => {
                if let Some(dialog) = self.dialogs.get_mut(&dialog) {
                    dialog.their_invite = Some(key);
                }
                self.answer(now, key, trying(&request));
                self.event(match initial {
                    true => Event::Invite { dialog, key, request },
                    false => Event::ReInvite { dialog, key, request },
                });
            }
            "UPDATE" => {
                if let Some(dialog) = self.dialogs.get_mut(&dialog).filter(|_| !request.body.is_empty()) {
                    dialog.their_update = Some(key);
                }
                self.event(Event::Update { dialog, key, request });
            }
            "INFO" => self.event(Event::Info { dialog, key, request }),
            "BYE" => self.handle_bye(now, key, dialog, &request),
            _ => self.answer(now, key, capabilities()),
        }
    }

    /// Something speaks against the request. An INVITE keeps its transaction until the ACK; others need none.
    fn reject(&mut self, now: Instant, name: ServerMatch, request: Request, reply: Reply) {
        if request.method != Method::INVITE || self.servers.len() >= MAX_SERVER_TRANSACTIONS {
            return self.reply_stateless(&request, &reply);
        }
        let tag = request.headers.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let key = self.open(now, name, request, None, tag);
        self.answer(now, key, reply);
    }

    fn open(
        &mut self,
        now: Instant,
        name: ServerMatch,
        request: Request,
        dialog: Option<DialogId>,
        tag: Option<String>,
    ) -> TransactionKey {
        let key = TransactionKey(self.next_name());
        let tag = tag.unwrap_or_else(|| self.random_hex(8));
        let patience = if request.method == Method::INVITE {
            let asked = request.headers.expires().map(|seconds| Duration::from_secs(u64::from(seconds)));
            asked.map_or(RINGING, |asked| asked.min(RINGING))
        } else {
            // An answer after 64*T1 finds nobody (RFC 4320 §4.2).
            TIMEOUT / 2
        };
        self.servers.insert(name, ServerTransaction::new(key, request, dialog, tag, now + patience));
        key
    }

    /// Sends a response in its transaction, and does to the dialog what it means.
    fn answer(&mut self, now: Instant, key: TransactionKey, reply: Reply) {
        let Some(transaction) = self.servers.by_key(key) else { return };
        let (request, tag, dialog) = (transaction.request.clone(), transaction.to_tag.clone(), transaction.dialog);
        let response = self.response(&request, &tag, dialog, &reply);
        let Some(transaction) = self.servers.by_key(key) else { return };
        if !transaction.responded(now, &response) {
            return;
        }
        let bytes = response.to_bytes();
        if !self.send(bytes.clone())
            && let Some(transaction) = self.servers.by_key(key)
        {
            transaction.keep_for_next_flow();
        }
        if let Some(id) = dialog.filter(|_| reply.status >= 200) {
            self.answered(now, id, key, &request, &reply, bytes);
        }
    }

    /// A final response of ours and its dialog.
    fn answered(
        &mut self,
        now: Instant,
        id: DialogId,
        key: TransactionKey,
        request: &Request,
        reply: &Reply,
        bytes: Vec<u8>,
    ) {
        let Some(dialog) = self.dialogs.get_mut(&id) else { return };
        dialog.their_update.take_if(|pending| *pending == key);
        if dialog.their_invite.take_if(|pending| *pending == key).is_none() {
            return;
        }
        if reply.status < 300 {
            dialog.confirmed = true;
            if let Ok(cseq) = request.headers.cseq() {
                let offers = request.body.is_empty() && reply.body.is_some();
                dialog.unacknowledged.push(Unacknowledged::new(now, cseq.number, bytes, offers));
            }
        } else if !dialog.confirmed {
            self.dialogs.remove(&id);
        }
    }

    /// RFC 3261 §8.2.6 and §12.1.1.
    fn response(&mut self, request: &Request, tag: &str, dialog: Option<DialogId>, reply: &Reply) -> Response {
        let mut response = Response::to(request, reply.status, &reply.reason);
        if reply.status > 100 {
            set_to_tag(&mut response.headers, tag);
            response.headers.push("Server", &self.config.user_agent);
        }
        let makes_target = matches!(request.method.as_str(), "INVITE" | "UPDATE") && (101..300).contains(&reply.status);
        if makes_target {
            for route in request.headers.all("Record-Route") {
                response.headers.push("Record-Route", route);
            }
            let secure = dialog.and_then(|id| self.dialogs.get(&id)).is_some_and(|dialog| dialog.secure);
            let contact = self.contact(secure);
            response.headers.push("Contact", NameAddr::new(contact.clone()));
            response.headers.push("Allow", ALLOW);
            response.headers.push("Supported", SUPPORTED.join(", "));
            if let Some(dialog) = dialog.and_then(|id| self.dialogs.get_mut(&id)) {
                dialog.told_contact = contact.to_string();
            }
        }
        for (name, value) in reply.headers.iter() {
            response.headers.push(name, value);
        }
        if let Some(body) = &reply.body {
            response.headers.set("Content-Type", &body.content_type);
            response.body.clone_from(&body.bytes);
        }
        response
    }

    /// An answer that leaves no state behind.
    fn reply_stateless(&mut self, request: &Request, reply: &Reply) {
        let tag = self.random_hex(8);
        let response = self.response(request, &tag, None, reply);
        self.send(response.to_bytes());
    }

    fn busy(&mut self) -> Reply {
        let seconds = 5 + u32::from_str_radix(&self.random_hex(1), 16).unwrap_or(0) % 10;
        Reply::new(503, "Service Unavailable").with_header("Retry-After", seconds)
    }

    /// RFC 3261 §9.2. The CANCEL is always answered; the INVITE only if it has no final response yet.
    fn handle_cancel(&mut self, now: Instant, name: ServerMatch, cancel: &Request) {
        let Some(invite) = self.servers.find(&name.of_invite()) else {
            return self.reply_stateless(cancel, &unknown_dialog());
        };
        let (key, tag, dialog) = (invite.key, invite.to_tag.clone(), invite.dialog);
        let ok = self.response(cancel, &tag, None, &Reply::new(200, "OK"));
        let open = self.servers.by_key(key).is_some_and(|invite| invite.is_open());
        self.send(ok.to_bytes());
        if !open {
            return;
        }
        self.answer(now, key, Reply::new(487, "Request Terminated"));
        if let Some(dialog) = dialog.filter(|id| !self.dialogs.contains_key(id)) {
            self.event(Event::Cancelled { dialog });
        }
    }

    /// RFC 3261 §15.1.2.
    fn handle_bye(&mut self, now: Instant, key: TransactionKey, id: DialogId, bye: &Request) {
        self.answer(now, key, Reply::new(200, "OK"));
        let wanted = self.forget(now, id).is_some_and(|dialog| dialog.ending.is_none());
        if wanted {
            let reason = bye.headers.get("Reason").map(str::to_owned);
            self.event(Event::Bye { dialog: id, reason });
        }
    }

    /// Drops a dialog; an INVITE of theirs in it is answered with 487, one of ours is left to end by itself.
    pub(super) fn forget(&mut self, now: Instant, id: DialogId) -> Option<Dialog> {
        let pending = self.dialogs.get(&id)?.their_invite;
        let dialog = self.dialogs.remove(&id);
        if let Some(key) = pending {
            self.answer(now, key, Reply::new(487, "Request Terminated"));
        }
        dialog
    }

    fn handle_ack(&mut self, now: Instant, ack: &Request) {
        if let Some(transaction) = ServerMatch::of(ack).ok().and_then(|name| self.servers.find(&name)) {
            transaction.acknowledged();
        }
        let headers = &ack.headers;
        let (Ok(to), Ok(cseq)) = (headers.to(), headers.cseq()) else { return };
        let Some(id) = to.tag().and_then(|tag| self.find_dialog(headers, tag)) else { return };
        let Some(dialog) = self.dialogs.get_mut(&id) else { return };
        let Some(place) = dialog.unacknowledged.iter().position(|answer| answer.cseq == cseq.number) else { return };
        let response = dialog.unacknowledged.remove(place);
        match dialog.ending.take() {
            Some(reason) => self.end(now, id, reason),
            None => {
                // an ACK cannot be refused, but what is no session description is no answer
                let body = || if check_body(ack).is_ok() { ack.body.clone() } else { Vec::new() };
                self.event(Event::Acknowledged { dialog: id, answer: response.offers.then(body) });
            }
        }
    }

    /// 2xx responses whose ACK is overdue are sent again, and after 64*T1 the call is given up.
    pub(super) fn repeat_answers(&mut self, now: Instant) {
        let mut again = Vec::new();
        let mut lost = Vec::new();
        for (id, dialog) in &mut self.dialogs {
            if dialog.unacknowledged.iter().any(|answer| answer.is_lost(now)) {
                lost.push((*id, dialog.ending.take()));
                continue;
            }
            again.extend(dialog.unacknowledged.iter_mut().filter_map(|a| a.is_due(now).then(|| a.bytes.clone())));
        }
        for bytes in again {
            self.send(bytes);
        }
        for (id, ending) in lost {
            match ending {
                // The user has hung up before and hears no more.
                Some(reason) => self.end(now, id, reason),
                None => {
                    self.end(now, id, None);
                    self.event(Event::Terminated { dialog: id, why: Termination::NoAck });
                }
            }
        }
    }

    /// Requests that the user did not answer.
    pub(super) fn expire_servers(&mut self, now: Instant) {
        for key in self.servers.unanswered(now) {
            let dialog = self.servers.by_key(key).and_then(|transaction| transaction.dialog);
            let begins = dialog.is_some_and(|id| self.dialogs.get(&id).is_some_and(|dialog| !dialog.confirmed));
            if begins {
                self.answer(now, key, Reply::new(480, "Temporarily Unavailable"));
                if let Some(dialog) = dialog {
                    self.event(Event::Terminated { dialog, why: Termination::Unanswered });
                }
            } else {
                self.answer(now, key, Reply::new(500, "Server Internal Error"));
            }
        }
    }
}

fn set_to_tag(headers: &mut Headers, tag: &str) {
    if let Some(to) = headers.to().ok().filter(|to| to.tag().is_none()) {
        headers.set("To", to.with_tag(tag));
    }
}

/// 100, with the caller's Timestamp (RFC 3261 §8.2.6.1).
fn trying(request: &Request) -> Reply {
    let reply = Reply::new(100, "Trying");
    match request.headers.get("Timestamp") {
        Some(timestamp) => reply.with_header("Timestamp", timestamp),
        None => reply,
    }
}

fn capabilities() -> Reply {
    Reply::new(200, "OK")
        .with_header("Allow", ALLOW)
        .with_header("Accept", "application/sdp")
        .with_header("Supported", SUPPORTED.join(", "))
}

fn unknown_dialog() -> Reply {
    Reply::new(481, "Call/Transaction Does Not Exist")
}

fn bad_request(error: &crate::sip::ParseError) -> Reply {
    Reply::new(400, &format!("Bad Request: {error}"))
}

fn warning(text: &str) -> String {
    format!("399 galene-sips \"{text}\"")
}

/// RFC 3261 §8.2.2.3: what the caller insists on and we do not know.
fn check_extensions(request: &Request) -> Result<(), Reply> {
    let known = |tag: &&str| SUPPORTED.iter().any(|own| own.eq_ignore_ascii_case(tag));
    let unknown: Vec<&str> = request.headers.list("Require").filter(|tag| !known(tag)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Reply::new(420, "Bad Extension").with_header("Unsupported", unknown.join(", ")))
}

/// Descriptions go both ways or not at all (RFC 3261 §8.2.3, §20.1).
fn check_description(request: &Request) -> Result<(), Reply> {
    check_accept(request)?;
    check_body(request)
}

/// The answer, or our offer, is a session description, so the caller has to take one.
fn check_accept(request: &Request) -> Result<(), Reply> {
    let takes = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"].iter().any(|known| known.eq_ignore_ascii_case(range))
    };
    match request.headers.get("Accept").is_none() || request.headers.list("Accept").any(takes) {
        true => Ok(()),
        false => {
            Err(Reply::new(406, "Not Acceptable").with_header("Warning", warning("only application/sdp is spoken")))
        }
    }
}

/// A body is a session description as it is.
fn check_body(request: &Request) -> Result<(), Reply> {
    let unsupported = || Reply::new(415, "Unsupported Media Type");
    if request.body.is_empty() {
        return Ok(());
    }
    let encoding = request.headers.get("Content-Encoding").unwrap_or("identity");
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(unsupported().with_header("Accept-Encoding", "identity"));
    }
    match request.headers.content_type().as_deref() {
        Some("application/sdp") => Ok(()),
        _ => Err(unsupported().with_header("Accept", "application/sdp")),
    }
}
