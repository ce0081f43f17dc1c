//! Dialogs (RFC 3261 §12): who talks to whom, over which route, in which order.
//!
//! The INVITE or its response comes in, requests that belong to the dialog come out. The remote target is only ever
//! a Request-URI: nothing resolves it and nothing connects to it; requests go to the account's own flow.

use super::header::{CSeq, Headers, NameAddr};
use super::message::{Method, Request, Response};
use super::syntax::ParseError;
use super::transaction::{T1, T2, TIMEOUT, TransactionKey};
use super::uri::Uri;
use std::time::{Duration, Instant};

/// The greatest CSeq number (RFC 3261 §8.1.1.5).
const MAX_CSEQ: u32 = (1 << 31) - 1;

/// Names a dialog between the agent and its user. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialogId(pub(super) u64);

/// One side of a dialog, early or confirmed.
pub(super) struct Dialog {
    /// Same in all requests of the dialog.
    pub call_id: String,
    /// We, with our tag.
    pub local: NameAddr,
    /// The other side, with its tag once it has one.
    pub remote: NameAddr,
    /// The other side's Contact: the Request-URI of our requests.
    pub target: Uri,
    /// Our Contact must be a `sips:` URI (RFC 3261 §12.1.1).
    pub secure: bool,
    /// A 2xx was sent or received.
    pub confirmed: bool,
    /// The INVITE of the other side that we have not answered finally.
    pub their_invite: Option<TransactionKey>,
    /// Their UPDATE with an offer that we have not answered.
    pub their_update: Option<TransactionKey>,
    /// Our INVITE or UPDATE that has no final response.
    pub our_offer: Option<TransactionKey>,
    /// Our 2xx responses that wait for their ACK.
    pub unacknowledged: Vec<Unacknowledged>,
    /// A 2xx with an offer that waits for our ACK with an answer: the CSeq of its INVITE and the transaction.
    pub unanswered: Option<(u32, TransactionKey)>,
    /// We want to end it, but must not before the ACK (RFC 3261 §15). With the value of a Reason header.
    pub ending: Option<Option<String>>,
    /// The other side takes UPDATE (RFC 3311).
    pub peer_updates: bool,
    /// The Contact that the other side knows of us.
    pub told_contact: String,
    route: Vec<NameAddr>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The called side's dialog (RFC 3261 §12.1.1).
    pub(super) fn called(invite: &Request, local_tag: &str) -> Result<Self, ParseError> {
        let headers = &invite.headers;
        let target = contact(headers)?.ok_or(ParseError::Missing("Contact"))?;
        let route = headers.record_routes()?;
        let secure = is_secure(&invite.uri) || is_secure(route.first().map_or(&target, |hop| &hop.uri));
        let mut dialog = Dialog::new(headers.call_id()?, headers.to()?.with_tag(local_tag), headers.from()?, target);
        dialog.secure = secure;
        dialog.route = route;
        dialog.remote_cseq = Some(headers.cseq()?.number);
        dialog.note_allow(headers);
        Ok(dialog)
    }

    /// The calling side's dialog to be (RFC 3261 §12.1.2); `route` is the pre-loaded one.
    pub(super) fn calling(call_id: &str, local: NameAddr, target: Uri, route: Vec<NameAddr>) -> Self {
        let mut dialog = Dialog::new(call_id, local, NameAddr::new(target.clone()), target);
        dialog.secure = is_secure(&dialog.target);
        dialog.route = route;
        dialog
    }

    fn new(call_id: &str, local: NameAddr, remote: NameAddr, target: Uri) -> Self {
        Dialog {
            call_id: call_id.to_owned(),
            local,
            remote,
            target,
            secure: false,
            confirmed: false,
            their_invite: None,
            their_update: None,
            our_offer: None,
            unacknowledged: Vec::new(),
            unanswered: None,
            ending: None,
            peer_updates: false,
            told_contact: String::new(),
            route: Vec::new(),
            local_cseq: 0,
            remote_cseq: None,
        }
    }

    /// The dialog that a 2xx to an INVITE with this CSeq number makes, when nothing else of it is left
    /// (RFC 3261 §13.2.2.4).
    pub(super) fn resumed(call_id: &str, local: NameAddr, target: Uri, invite_cseq: u32) -> Self {
        let mut dialog = Dialog::calling(call_id, local, target, Vec::new());
        dialog.local_cseq = invite_cseq;
        dialog
    }

    /// A 2xx to our first INVITE: the tag, the target and the route are now known (RFC 3261 §12.1.2).
    pub(super) fn answered(&mut self, response: &Response) {
        let headers = &response.headers;
        if let Ok(to) = headers.to() {
            self.remote = to;
        }
        self.route = headers.record_routes().unwrap_or_default();
        self.route.reverse();
        self.refresh_target(headers).ok();
        self.confirmed = true;
    }

    /// An offer of ours has no answer yet.
    pub(super) fn awaits_answer(&self) -> bool {
        self.our_offer.is_some() || self.unacknowledged.iter().any(|response| response.offers)
    }

    /// Takes the new remote target of a re-INVITE, UPDATE or 2xx, if it brings one (RFC 3261 §12.2).
    pub(super) fn refresh_target(&mut self, headers: &Headers) -> Result<(), ParseError> {
        if let Some(target) = contact(headers)? {
            self.target = target;
        }
        self.note_allow(headers);
        Ok(())
    }

    fn note_allow(&mut self, headers: &Headers) {
        if headers.get("Allow").is_some() {
            self.peer_updates = headers.lists("Allow", "UPDATE");
        }
    }

    /// Whether a message with these tags belongs here. The tag of the other side may be absent (RFC 2543 peers).
    pub(super) fn is_between(&self, call_id: &str, local_tag: &str, remote_tag: Option<&str>) -> bool {
        self.call_id == call_id && self.local.tag() == Some(local_tag) && self.remote.tag() == remote_tag
    }

    /// Whether the request is newer than all before it (RFC 3261 §12.2.2).
    pub(super) fn in_order(&mut self, cseq: &CSeq) -> bool {
        let newer = self.remote_cseq.is_none_or(|last| cseq.number > last);
        if newer {
            self.remote_cseq = Some(cseq.number);
        }
        newer
    }

    /// The next request of ours, without Via and Contact (RFC 3261 §12.2.1.1).
    pub(super) fn request(&mut self, method: Method) -> Request {
        let cseq = self.next_cseq();
        self.build(method, cseq)
    }

    /// The number of our next request.
    pub(super) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = (self.local_cseq + 1).min(MAX_CSEQ);
        self.local_cseq
    }

    /// The ACK of a 2xx: the CSeq number of its INVITE, a transaction of its own (RFC 3261 §13.2.2.4).
    pub(super) fn ack(&self, invite_cseq: u32) -> Request {
        self.build(Method::ACK, invite_cseq)
    }

    fn build(&self, method: Method, cseq: u32) -> Request {
        let (uri, route) = route_set(&self.target, &self.route);
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        headers.push("Max-Forwards", 70);
        for hop in &route {
            headers.push("Route", hop);
        }
        headers.push("From", &self.local);
        headers.push("To", &self.remote);
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", CSeq { number: cseq, method });
        request
    }
}

/// The Request-URI and the Route values; a first hop without `lr` is a strict router (RFC 3261 §12.2.1.1).
fn route_set(target: &Uri, route: &[NameAddr]) -> (Uri, Vec<NameAddr>) {
    match route.split_first() {
        Some((first, rest)) if !first.uri.as_sip().is_some_and(|uri| uri.params.contains("lr")) => {
            let mut shifted = rest.to_vec();
            shifted.push(NameAddr::new(target.clone()));
            (first.uri.clone(), shifted)
        }
        _ => (target.clone(), route.to_vec()),
    }
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme() == "sips"
}

/// The one SIP address of a Contact, if there is a Contact.
fn contact(headers: &Headers) -> Result<Option<Uri>, ParseError> {
    let mut contacts = headers.contacts()?;
    match (contacts.pop(), contacts.is_empty()) {
        (None, _) => Ok(None),
        (Some(contact), true) if contact.uri.as_sip().is_some() => Ok(Some(contact.uri)),
        _ => Err(ParseError::Malformed("Contact")),
    }
}

/// A 2xx of ours that is sent again until its ACK arrives, over reliable transports too: a later hop may be none
/// (RFC 3261 §13.3.1.4).
pub(super) struct Unacknowledged {
    /// The CSeq number of the INVITE, which its ACK carries too.
    pub cseq: u32,
    /// The response.
    pub bytes: Vec<u8>,
    /// It brings an offer of ours, which the ACK answers.
    pub offers: bool,
    interval: Duration,
    next: Instant,
    deadline: Instant,
}

impl Unacknowledged {
    /// The 2xx was sent now for the first time.
    pub(super) fn new(now: Instant, cseq: u32, bytes: Vec<u8>, offers: bool) -> Self {
        Unacknowledged { cseq, bytes, offers, interval: T1, next: now + T1, deadline: now + TIMEOUT }
    }

    /// Whether the ACK will not come any more.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Whether the 2xx is to be sent again now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next;
        if due {
            self.interval = (self.interval * 2).min(T2);
            self.next = now + self.interval;
        }
        due
    }

    /// When to look again.
    pub(super) fn wake(&self) -> Instant {
        self.next.min(self.deadline)
    }
}
