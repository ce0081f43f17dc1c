//! The four transaction machines (RFC 3261 §17 with the Accepted states of RFC 6026), for a reliable transport only.
//!
//! Requests and responses of one exchange come in; what to send, whether to tell the user agent, and when to look again
//! come out. Over TLS nothing is retransmitted here: timers A, E and G do not run, D, I, J and K are zero. What remains
//! are the limits of [`TIMEOUT`] (B, F, H, L, M), held as one deadline per transaction, so that no state outlives it.

use super::dialog::DialogId;
use super::digest::Asker;
use super::message::{Method, Request, Response};
use super::syntax::ParseError;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The estimate of a round trip (RFC 3261 §17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of a 2xx (RFC 3261 §13.3.1.4).
pub const T2: Duration = Duration::from_secs(4);
/// 64*T1: how long one side waits for the other (timers B, F, H, L, M).
pub const TIMEOUT: Duration = Duration::from_secs(32);
/// How long a called or calling phone may ring without news (timer C of RFC 3261 §16.6, used here for user agents).
pub const RINGING: Duration = Duration::from_secs(180);

/// Names a transaction between the agent and its user. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransactionKey(pub(super) u64);

/// What makes two requests the same one (RFC 3261 §17.2.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct ServerMatch {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerMatch {
    /// An ACK matches the INVITE that it acknowledges.
    pub(super) fn of(request: &Request) -> Result<Self, ParseError> {
        let via = request.headers.top_via()?;
        let sent_by = format!("{}:{}", via.host, via.port.unwrap_or(0)).to_ascii_lowercase();
        let branch = match via.branch().filter(|branch| branch.get(..7).is_some_and(|c| c.eq_ignore_ascii_case("z9hG4bK"))) {
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
    pub(super) fn of_invite(self) -> Self {
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
pub(super) struct ServerTransaction {
    /// Its name for the user.
    pub key: TransactionKey,
    /// The request.
    pub request: Request,
    /// The dialog that it belongs to or makes.
    pub dialog: Option<DialogId>,
    /// The tag of our responses, the same in all of them.
    pub to_tag: String,
    state: ServerState,
    last: Option<Vec<u8>>,
    unsent: bool,
    deadline: Instant,
}

impl ServerTransaction {
    /// `patience`: how long the user may take to answer.
    pub(super) fn new(
        key: TransactionKey,
        request: Request,
        dialog: Option<DialogId>,
        to_tag: String,
        deadline: Instant,
    ) -> Self {
        let state = ServerState::Proceeding;
        ServerTransaction { key, request, dialog, to_tag, state, last: None, unsent: false, deadline }
    }

    /// Whether it is an INVITE.
    pub(super) fn is_invite(&self) -> bool {
        self.request.method == Method::INVITE
    }

    /// Whether a final response may still be sent.
    pub(super) fn is_open(&self) -> bool {
        self.state == ServerState::Proceeding
    }

    /// A response is about to be sent. `false`: a final one was sent before, so this one must not be.
    #[must_use]
    pub(super) fn responded(&mut self, now: Instant, response: &Response) -> bool {
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
    pub(super) fn repeated(&self) -> Option<&[u8]> {
        match self.state {
            ServerState::Proceeding | ServerState::Completed => self.last.as_deref(),
            ServerState::Accepted | ServerState::Terminated => None,
        }
    }

    /// An ACK with our branch: it ends a Completed INVITE (timer I is zero).
    pub(super) fn acknowledged(&mut self) {
        if self.state == ServerState::Completed {
            self.state = ServerState::Terminated;
        }
    }

    /// The last response found no flow to go out on.
    pub(super) fn keep_for_next_flow(&mut self) {
        self.unsent = true;
    }

    /// The response that waits for a flow, once.
    pub(super) fn take_unsent(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.unsent).then(|| self.last.clone()).flatten()
    }
}

/// The requests that came to us.
#[derive(Default)]
pub(super) struct ServerTransactions {
    by_match: HashMap<ServerMatch, ServerTransaction>,
    names: HashMap<TransactionKey, ServerMatch>,
}

impl ServerTransactions {
    pub(super) fn len(&self) -> usize {
        self.by_match.len()
    }

    pub(super) fn insert(&mut self, name: ServerMatch, transaction: ServerTransaction) {
        self.names.insert(transaction.key, name.clone());
        self.by_match.insert(name, transaction);
    }

    pub(super) fn find(&mut self, name: &ServerMatch) -> Option<&mut ServerTransaction> {
        self.by_match.get_mut(name)
    }

    pub(super) fn by_key(&mut self, key: TransactionKey) -> Option<&mut ServerTransaction> {
        self.by_match.get_mut(self.names.get(&key)?)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ServerTransaction> {
        self.by_match.values_mut()
    }

    /// A request with these three in an ongoing transaction came another way: a merged request (RFC 3261 §8.2.2.2).
    pub(super) fn merges(&self, request: &Request) -> bool {
        let three = |request: &Request| {
            let headers = &request.headers;
            let from = headers.from().ok()?;
            let cseq = headers.cseq().ok()?;
            Some((from.tag().map(str::to_owned), headers.call_id().ok()?.to_owned(), cseq.number, cseq.method))
        };
        let wanted = three(request);
        wanted.is_some() && self.by_match.values().any(|transaction| three(&transaction.request) == wanted)
    }

    /// Forgets what is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = |transaction: &ServerTransaction| {
            transaction.state == ServerState::Terminated || (!transaction.is_open() && transaction.deadline <= now)
        };
        self.by_match.retain(|_, transaction| !over(transaction));
        let by_match = &self.by_match;
        self.names.retain(|_, name| by_match.contains_key(name));
    }

    /// Requests that the user has not answered in time.
    pub(super) fn unanswered(&self, now: Instant) -> Vec<TransactionKey> {
        let late = self.by_match.values().filter(|transaction| transaction.is_open() && transaction.deadline <= now);
        late.map(|transaction| transaction.key).collect()
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.by_match.values().map(|transaction| transaction.deadline).min()
    }
}

/// What a request of ours is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// To register.
    Register,
    /// To begin a dialog.
    Begin(DialogId),
    /// A request inside a dialog.
    Within(DialogId),
    /// The BYE of a dialog that is already forgotten.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ClientState {
    /// Nothing was heard: Calling and Trying of the RFC (timers B and F).
    Calling,
    /// A provisional response was heard.
    Proceeding,
    /// INVITE only: a 2xx was heard, others may follow (timer M).
    Accepted,
    Terminated,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cancel {
    No,
    /// Wanted, but RFC 3261 §9.1 has us wait for a provisional response.
    Wanted,
    Sent,
}

/// What a response means to the user agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Provisional,
    Final,
    /// A 2xx to an INVITE after the first one: repeated, or from another phone.
    Another2xx,
    /// Nothing.
    Nothing,
}

/// One request of ours, until its state may be forgotten.
pub(super) struct ClientTransaction {
    /// Its name for the user; the same when the request is sent again with credentials.
    pub key: TransactionKey,
    /// The request as sent.
    pub request: Request,
    /// What it is for.
    pub purpose: Purpose,
    /// Whose challenges it has answered.
    pub answered: Vec<Asker>,
    /// How many challenges it has met.
    pub challenges: u8,
    /// The ACKs of its 2xx responses, by their tags.
    pub acks: Vec<(String, Vec<u8>)>,
    /// It still has to be sent: there was no flow.
    pub unsent: bool,
    branch: String,
    state: ClientState,
    cancel: Cancel,
    deadline: Instant,
}

impl ClientTransaction {
    pub(super) fn new(now: Instant, key: TransactionKey, purpose: Purpose, branch: String, request: Request) -> Self {
        ClientTransaction {
            key,
            request,
            purpose,
            answered: Vec::new(),
            challenges: 0,
            acks: Vec::new(),
            unsent: false,
            branch,
            state: ClientState::Calling,
            cancel: Cancel::No,
            deadline: now + TIMEOUT,
        }
    }

    pub(super) fn is_invite(&self) -> bool {
        self.request.method == Method::INVITE
    }

    /// Whether a final response is still awaited.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }

    /// RFC 3261 §17.1.3: the branch that we made, and the method in CSeq.
    pub(super) fn matches(&self, branch: &str, method: &Method) -> bool {
        self.branch.eq_ignore_ascii_case(branch) && self.request.method == *method
    }

    /// The same request again, with other credentials.
    pub(super) fn again(&mut self, now: Instant, branch: String, request: Request) {
        self.branch = branch;
        self.request = request;
        self.state = ClientState::Calling;
        self.deadline = now + TIMEOUT;
    }

    /// A response with our branch arrived.
    pub(super) fn heard(&mut self, now: Instant, status: u16) -> Heard {
        match (self.state, status) {
            (ClientState::Calling | ClientState::Proceeding, ..200) => {
                self.state = ClientState::Proceeding;
                // Timer F goes on; for an INVITE each sign of life gives the phone more time to ring.
                if self.is_invite() && self.cancel != Cancel::Sent {
                    self.deadline = now + RINGING;
                }
                Heard::Provisional
            }
            (ClientState::Calling | ClientState::Proceeding, 200..300) if self.is_invite() => {
                self.state = ClientState::Accepted;
                self.deadline = now + TIMEOUT;
                Heard::Final
            }
            (ClientState::Calling | ClientState::Proceeding, _) => {
                self.state = ClientState::Terminated;
                Heard::Final
            }
            (ClientState::Accepted, 200..300) => Heard::Another2xx,
            (ClientState::Accepted | ClientState::Terminated, _) => Heard::Nothing,
        }
    }

    /// The user does not want the INVITE any more.
    pub(super) fn want_cancel(&mut self) {
        if self.cancel == Cancel::No && self.is_open() {
            self.cancel = Cancel::Wanted;
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel != Cancel::No
    }

    /// The CANCEL, when it may be sent (RFC 3261 §9.1): same branch, no answer to it matters, and if no final response
    /// to the INVITE follows within 64*T1, the INVITE counts as cancelled.
    pub(super) fn take_cancel(&mut self, now: Instant) -> Option<Request> {
        if self.cancel != Cancel::Wanted || self.state != ClientState::Proceeding {
            return None;
        }
        self.cancel = Cancel::Sent;
        self.deadline = now + TIMEOUT;
        Some(self.companion(Method::CANCEL, None))
    }

    /// The ACK of an error response (RFC 3261 §17.1.1.3).
    pub(super) fn ack_of_error(&self, response: &Response) -> Request {
        self.companion(Method::ACK, response.headers.get("To"))
    }

    /// A request that lives in the INVITE's own transaction.
    fn companion(&self, method: Method, to: Option<&str>) -> Request {
        let invite = &self.request;
        let mut request = Request::new(method.clone(), invite.uri.clone());
        if let Some(via) = invite.headers.get("Via") {
            request.headers.push("Via", via);
        }
        for name in ["Max-Forwards", "Route", "From", "To", "Call-ID"] {
            for value in invite.headers.all(name) {
                request.headers.push(name, if name == "To" { to.unwrap_or(value) } else { value });
            }
        }
        if let Ok(cseq) = invite.headers.cseq() {
            request.headers.push("CSeq", format!("{} {method}", cseq.number));
        }
        request
    }

    /// What the passing of time means.
    pub(super) fn expired(&mut self, now: Instant) -> Expiry {
        if now < self.deadline {
            return Expiry::NotYet;
        }
        match self.state {
            ClientState::Proceeding if self.is_invite() && self.cancel != Cancel::Sent => {
                self.cancel = Cancel::Wanted;
                Expiry::RangTooLong
            }
            ClientState::Calling | ClientState::Proceeding => {
                self.state = ClientState::Terminated;
                Expiry::NoAnswer
            }
            ClientState::Accepted | ClientState::Terminated => {
                self.state = ClientState::Terminated;
                Expiry::Over
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == ClientState::Terminated
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// What the passing of time means to a [`ClientTransaction`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expiry {
    NotYet,
    /// The phone rang longer than [`RINGING`]: it is to be cancelled.
    RangTooLong,
    /// Timer B or F: as if a 408 had come (RFC 3261 §8.1.3.1).
    NoAnswer,
    /// Timer M.
    Over,
}
