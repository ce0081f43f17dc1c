//! Client transactions: INVITE and others (RFC 3261 §17.1, RFC 6026 §7.2). Responses come in, what they mean comes out,
//! and the requests that live in an INVITE's own transaction: its CANCEL and the ACK of an error.

use super::{RINGING, TIMEOUT, TransactionKey};
use crate::sip::dialog::DialogId;
use crate::sip::digest::Asker;
use crate::sip::message::{Method, Request, Response};
use std::time::Instant;

/// What a request of ours is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Purpose {
    /// To register.
    Register,
    /// To begin a dialog.
    Begin(DialogId),
    /// A request inside a dialog.
    Within(DialogId),
    /// An UPDATE of the agent's own, to tell a new Contact.
    Refresh(DialogId),
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

/// Whether a request is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Sent {
    /// There was no flow yet.
    Never,
    /// Over the flow that we have.
    Yes,
    /// Over a flow that is gone; it may have arrived or not.
    Lost,
}

/// What a response means to the user agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Heard {
    Provisional,
    Final,
    /// A 2xx to an INVITE after the first one: repeated, or from another phone.
    Another2xx,
    /// Nothing.
    Nothing,
}

/// One request of ours, until its state may be forgotten.
pub(in crate::sip) struct ClientTransaction {
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
    /// Whether it is on its way.
    pub sent: Sent,
    branch: String,
    state: ClientState,
    cancel: Cancel,
    deadline: Instant,
}

impl ClientTransaction {
    pub(in crate::sip) fn new(
        now: Instant,
        key: TransactionKey,
        purpose: Purpose,
        branch: String,
        request: Request,
    ) -> Self {
        ClientTransaction {
            key,
            request,
            purpose,
            answered: Vec::new(),
            challenges: 0,
            acks: Vec::new(),
            sent: Sent::Never,
            branch,
            state: ClientState::Calling,
            cancel: Cancel::No,
            deadline: now + TIMEOUT,
        }
    }

    pub(in crate::sip) fn is_invite(&self) -> bool {
        self.request.method == Method::INVITE
    }

    pub(in crate::sip) fn is_register(&self) -> bool {
        self.purpose == Purpose::Register
    }

    /// Whether a final response is still awaited.
    pub(in crate::sip) fn is_open(&self) -> bool {
        matches!(self.state, ClientState::Calling | ClientState::Proceeding)
    }

    /// RFC 3261 §17.1.3: the branch that we made, and the method in CSeq.
    pub(in crate::sip) fn matches(&self, branch: &str, method: &Method) -> bool {
        self.branch.eq_ignore_ascii_case(branch) && self.request.method == *method
    }

    /// The same request again, with other credentials.
    pub(in crate::sip) fn again(&mut self, now: Instant, branch: String, request: Request) {
        self.branch = branch;
        self.request = request;
        self.state = ClientState::Calling;
        self.deadline = now + TIMEOUT;
    }

    /// A response with our branch arrived.
    pub(in crate::sip) fn heard(&mut self, now: Instant, status: u16) -> Heard {
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

    /// The flow is gone. What is still open is sent again over the next one: to whoever got it already it is a
    /// retransmission, and says again what it said before.
    pub(in crate::sip) fn flow_down(&mut self) {
        if self.is_open() && self.sent == Sent::Yes {
            self.sent = Sent::Lost;
        }
        if self.cancel == Cancel::Sent {
            self.cancel = Cancel::Wanted;
        }
    }

    /// What has to be sent over a new flow.
    pub(in crate::sip) fn flow_up(&mut self) -> Option<Vec<u8>> {
        let waits = self.is_open() && self.sent != Sent::Yes;
        self.sent = Sent::Yes;
        waits.then(|| self.request.to_bytes())
    }

    /// The user does not want the INVITE any more.
    pub(in crate::sip) fn want_cancel(&mut self) {
        if self.cancel == Cancel::No && self.is_open() {
            self.cancel = Cancel::Wanted;
        }
    }

    pub(in crate::sip) fn is_cancelled(&self) -> bool {
        self.cancel != Cancel::No
    }

    /// The CANCEL, when it may be sent (RFC 3261 §9.1): same branch, no answer to it matters, and if no final response
    /// to the INVITE follows within 64*T1, the INVITE counts as cancelled.
    pub(in crate::sip) fn take_cancel(&mut self, now: Instant) -> Option<Request> {
        if self.cancel != Cancel::Wanted || self.state != ClientState::Proceeding {
            return None;
        }
        self.cancel = Cancel::Sent;
        self.deadline = now + TIMEOUT;
        Some(self.companion(Method::CANCEL, None))
    }

    /// The ACK of an error response (RFC 3261 §17.1.1.3).
    pub(in crate::sip) fn ack_of_error(&self, response: &Response) -> Request {
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
    pub(in crate::sip) fn expired(&mut self, now: Instant) -> Expiry {
        if now < self.deadline {
            return Expiry::NotYet;
        }
        match self.state {
            ClientState::Proceeding if self.is_invite() && self.cancel == Cancel::No => {
                self.cancel = Cancel::Wanted;
                self.deadline = now + TIMEOUT;
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

    pub(in crate::sip) fn is_over(&self) -> bool {
        self.state == ClientState::Terminated
    }

    pub(in crate::sip) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// What the passing of time means to a [`ClientTransaction`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Expiry {
    NotYet,
    /// The phone rang longer than [`RINGING`]: it is to be cancelled.
    RangTooLong,
    /// Timer B or F: as if a 408 had come (RFC 3261 §8.1.3.1).
    NoAnswer,
    /// Timer M.
    Over,
}
