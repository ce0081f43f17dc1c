//! Server transactions: INVITE and others (RFC 3261 §17.2, RFC 6026 §7.1). A request comes in and the user's responses;
//! what is to be sent comes out, once for a final error, again for a repeated request.

use super::{TIMEOUT, TransactionKey};
use crate::sip::dialog::DialogId;
use crate::sip::header::CSeq;
use crate::sip::message::{Method, Request, Response};
use crate::sip::syntax::ParseError;
use std::collections::HashMap;
use std::time::Instant;

/// What makes two requests the same one (RFC 3261 §17.2.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(in crate::sip) struct ServerMatch {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerMatch {
    /// An ACK matches the INVITE that it acknowledges.
    pub(in crate::sip) fn of(request: &Request) -> Result<Self, ParseError> {
        let via = request.headers.top_via()?;
        let sent_by = format!("{}:{}", via.host, via.port.unwrap_or(0)).to_ascii_lowercase();
        let branch = match via
            .branch()
            .filter(|branch| branch.get(..7).is_some_and(|c| c.eq_ignore_ascii_case("z9hG4bK")))
        {
            Some(branch) => branch.to_ascii_lowercase(),
            // RFC 2543 peers: what names the request stands in for the branch.
            None => {
                let headers = &request.headers;
                let from = headers.from()?;
                format!("{} {} {} {via}", headers.call_id()?, headers.cseq()?.number, from.tag().unwrap_or_default())
            }
        };
        let method = if request.method == Method::ACK { Method::INVITE } else { request.method.clone() };
        Ok(ServerMatch { branch, sent_by, method })
    }

    /// The INVITE that a CANCEL with this match means (RFC 3261 §9.2).
    pub(in crate::sip) fn of_invite(self) -> Self {
        ServerMatch { method: Method::INVITE, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ServerState {
    /// No final response yet: Trying and Proceeding of the RFC.
    Proceeding,
    /// INVITE only: a final error was sent, its ACK is awaited (timer H).
    Completed,
    /// INVITE only: a 2xx was sent; repeated INVITEs are swallowed (timer L).
    Accepted,
    Terminated,
}

/// One request that came to us, until its state may be forgotten.
pub(in crate::sip) struct ServerTransaction {
    /// Its name for the user.
    pub key: TransactionKey,
    /// The request.
    pub request: Request,
    /// The dialog that it belongs to or makes.
    pub dialog: Option<DialogId>,
    /// The tag of our responses, the same in all of them.
    pub to_tag: String,
    identity: Option<Identity>,
    state: ServerState,
    last: Option<Vec<u8>>,
    unsent: bool,
    deadline: Instant,
}

/// What a request keeps on every way that it takes (RFC 3261 §8.2.2.2).
#[derive(PartialEq, Eq)]
struct Identity {
    from_tag: Option<String>,
    call_id: String,
    cseq: CSeq,
}

impl Identity {
    fn of(request: &Request) -> Option<Self> {
        let headers = &request.headers;
        let from_tag = headers.from().ok()?.tag().map(str::to_owned);
        Some(Identity { from_tag, call_id: headers.call_id().ok()?.to_owned(), cseq: headers.cseq().ok()? })
    }
}

impl ServerTransaction {
    /// `deadline`: until when the user may take to answer.
    pub(in crate::sip) fn new(
        key: TransactionKey,
        request: Request,
        dialog: Option<DialogId>,
        to_tag: String,
        deadline: Instant,
    ) -> Self {
        let (identity, state) = (Identity::of(&request), ServerState::Proceeding);
        ServerTransaction { key, request, dialog, to_tag, identity, state, last: None, unsent: false, deadline }
    }

    /// Whether it is an INVITE.
    pub(in crate::sip) fn is_invite(&self) -> bool {
        self.request.method == Method::INVITE
    }

    /// Whether a final response may still be sent.
    pub(in crate::sip) fn is_open(&self) -> bool {
        self.state == ServerState::Proceeding
    }

    /// A response is about to be sent. `false`: a final one was sent before, so this one must not be.
    #[must_use]
    pub(in crate::sip) fn responded(&mut self, now: Instant, response: &Response) -> bool {
        if !self.is_open() {
            return false;
        }
        self.last = Some(response.to_bytes());
        if response.status >= 200 {
            self.deadline = now + TIMEOUT;
            self.state = match response.status {
                _ if !self.is_invite() => ServerState::Terminated,
                ..300 => ServerState::Accepted,
                _ => ServerState::Completed,
            };
        }
        true
    }

    /// The request came again: the response that goes out again, if any. A repeated 2xx is the dialog's business.
    pub(in crate::sip) fn repeated(&self) -> Option<&[u8]> {
        match self.state {
            ServerState::Proceeding | ServerState::Completed => self.last.as_deref(),
            ServerState::Accepted | ServerState::Terminated => None,
        }
    }

    /// An ACK with our branch: it ends a Completed INVITE (timer I is zero).
    pub(in crate::sip) fn acknowledged(&mut self) {
        if self.state == ServerState::Completed {
            self.state = ServerState::Terminated;
        }
    }

    /// The last response found no flow to go out on.
    pub(in crate::sip) fn keep_for_next_flow(&mut self) {
        self.unsent = true;
    }

    /// The response that waits for a flow, once.
    pub(in crate::sip) fn take_unsent(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.unsent).then(|| self.last.clone()).flatten()
    }
}

/// The requests that came to us.
#[derive(Default)]
pub(in crate::sip) struct ServerTransactions {
    by_match: HashMap<ServerMatch, ServerTransaction>,
    names: HashMap<TransactionKey, ServerMatch>,
}

impl ServerTransactions {
    pub(in crate::sip) fn len(&self) -> usize {
        self.by_match.len()
    }

    pub(in crate::sip) fn insert(&mut self, name: ServerMatch, transaction: ServerTransaction) {
        self.names.insert(transaction.key, name.clone());
        self.by_match.insert(name, transaction);
    }

    pub(in crate::sip) fn find(&mut self, name: &ServerMatch) -> Option<&mut ServerTransaction> {
        self.by_match.get_mut(name)
    }

    pub(in crate::sip) fn by_key(&mut self, key: TransactionKey) -> Option<&mut ServerTransaction> {
        self.by_match.get_mut(self.names.get(&key)?)
    }

    pub(in crate::sip) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ServerTransaction> {
        self.by_match.values_mut()
    }

    /// The same request as in an ongoing transaction came another way: a merged request (RFC 3261 §8.2.2.2).
    pub(in crate::sip) fn merges(&self, request: &Request) -> bool {
        let identity = Identity::of(request);
        identity.is_some() && self.by_match.values().any(|transaction| transaction.identity == identity)
    }

    /// Forgets what is over.
    pub(in crate::sip) fn sweep(&mut self, now: Instant) {
        let over = |transaction: &ServerTransaction| {
            transaction.state == ServerState::Terminated || (!transaction.is_open() && transaction.deadline <= now)
        };
        if !self.by_match.values().any(over) {
            return;
        }
        self.by_match.retain(|_, transaction| !over(transaction));
        let by_match = &self.by_match;
        self.names.retain(|_, name| by_match.contains_key(name));
    }

    /// Requests that the user has not answered in time.
    pub(in crate::sip) fn unanswered(&self, now: Instant) -> Vec<TransactionKey> {
        let late = self.by_match.values().filter(|transaction| transaction.is_open() && transaction.deadline <= now);
        late.map(|transaction| transaction.key).collect()
    }

    pub(in crate::sip) fn wake(&self) -> Option<Instant> {
        self.by_match.values().map(|transaction| transaction.deadline).min()
    }
}
