//! The SIP user agent of one account over one TLS flow (RFC 3261 §8, §12 to §15; RFC 5626).
//!
//! Bytes of the flow, the user's wishes and the time come in; bytes for the flow and [`Event`]s go out by
//! [`Agent::poll`]. The agent outlives flows: dialogs wait for the next one. It sends over the account's own flow only,
//! whatever address a message names, and its credentials need the flow's [`MayAuthenticate`].

mod challenge;
mod client;
mod keepalive;
mod register;
mod server;
#[cfg(test)]
mod tests;

use super::dialog::{Dialog, DialogId};
use super::digest::{Digest, Password};
use super::framing::{Frame, Framer};
use super::header::{Headers, NameAddr};
use super::message::{Message, Method, Request, Response};
use super::registration::Registration;
use super::transaction::{ClientTransaction, ServerTransactions, TransactionKey};
use super::uri::{Host, SipUri, Uri};
use super::validate::validate_response;
use crate::policy::{LoginScheme, MayAuthenticate, Rule};
use crate::units::{Random, random_hex};
pub use client::RequestError;
use keepalive::{Beat, Keepalive};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// The most requests of others that are held at a time; the next gets 503.
pub const MAX_SERVER_TRANSACTIONS: usize = 512;
/// The most dialogs at a time; the next INVITE gets 503.
pub const MAX_DIALOGS: usize = 512;
/// The most requests of our own at a time.
const MAX_CLIENT_TRANSACTIONS: usize = 1024;

/// What `Allow` says, and all that is handled.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO";
/// The option tags that are understood.
const SUPPORTED: [&str; 2] = ["outbound", "gruu"];

/// One account.
#[derive(Debug)]
pub struct AgentConfig {
    /// The account as `policy` judged it: a flow that was judged for another is not used.
    pub account: String,
    /// The address of record. It goes out as `sip:`, even if it is written `sips:`.
    pub aor: SipUri,
    /// The name that people see.
    pub display_name: Option<String>,
    /// The name for authentication, often the user part of the address.
    pub auth_user: String,
    /// What proves it.
    pub password: Password,
    /// The realm that the password is for, if it should not be learnt from the first challenge to a REGISTER.
    pub realm: Option<String>,
    /// `urn:uuid:…`, the same for ever (RFC 5626 §4.1).
    pub instance: String,
    /// Whether to register at all.
    pub register: bool,
    /// For how many seconds to ask.
    pub expires: u32,
    /// The outbound proxy, if it wants a Route.
    pub route: Option<SipUri>,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
}

/// What the agent wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Write these bytes to the flow.
    Send(Vec<u8>),
    /// Close the flow, and open another; the text says why. The agent has already forgotten the flow.
    CloseFlow(String),
    /// Something for the user.
    Event(Event),
}

/// What happened. After `Cancelled`, `Bye`, `Terminated`, a final response other than 2xx to the first INVITE, or the
/// user's own [`Agent::bye`], nothing more is heard of a dialog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The account can be called.
    Registered {
        /// How long the binding lasts unless it is refreshed, which happens by itself.
        expires: Duration,
        /// The address that the registrar gave us (RFC 5627).
        gruu: Option<String>,
    },
    /// A REGISTER failed; it is tried again by itself.
    RegistrationFailed {
        /// The response, or `None` if there was none or it was not acceptable.
        status: Option<u16>,
        /// What happened.
        reason: String,
        /// What the operator can do.
        hint: String,
        /// When it is tried again.
        retry_in: Option<Duration>,
        /// The rule of `policy` that forbids to log in as the registrar asks.
        rule: Option<Rule>,
    },
    /// The binding is removed, or there is no flow to remove it over.
    Unregistered,
    /// A challenge to another request was not answered.
    ChallengeRefused {
        /// The rule of `policy` that forbids it.
        rule: Option<Rule>,
        /// Why.
        reason: String,
        /// What the operator can do.
        hint: String,
    },
    /// Someone calls; 100 is already sent.
    Invite {
        /// The dialog that an answer makes.
        dialog: DialogId,
        /// What to respond to.
        key: TransactionKey,
        /// The request.
        request: Request,
    },
    /// An INVITE within the dialog. If it is cancelled, 487 is sent and a later response ignored.
    ReInvite {
        /// Where.
        dialog: DialogId,
        /// What to respond to.
        key: TransactionKey,
        /// The request.
        request: Request,
    },
    /// An UPDATE within the dialog (RFC 3311).
    Update {
        /// Where.
        dialog: DialogId,
        /// What to respond to.
        key: TransactionKey,
        /// The request.
        request: Request,
    },
    /// An INFO within the dialog (RFC 6086).
    Info {
        /// Where.
        dialog: DialogId,
        /// What to respond to.
        key: TransactionKey,
        /// The request.
        request: Request,
    },
    /// The caller gave up; 487 is already sent.
    Cancelled {
        /// Which call.
        dialog: DialogId,
    },
    /// The ACK of our 2xx.
    Acknowledged {
        /// Where.
        dialog: DialogId,
        /// `None`: the 2xx had no offer. Else the answer to it, empty if the ACK has no session description.
        answer: Option<Vec<u8>>,
    },
    /// The other side hung up; 200 is already sent.
    Bye {
        /// Which call.
        dialog: DialogId,
        /// The Reason header (RFC 3326).
        reason: Option<String>,
    },
    /// A response to a request of the user, 100 left out. 408 is also made here when none came in time.
    Response {
        /// Where.
        dialog: DialogId,
        /// The request.
        key: TransactionKey,
        /// The response.
        response: Response,
    },
    /// The dialog is over without a BYE from the other side.
    Terminated {
        /// Which call.
        dialog: DialogId,
        /// Why.
        why: Termination,
    },
}

/// Why a dialog is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Termination {
    /// No ACK came for our 2xx (RFC 3261 §13.3.1.4); BYE is sent.
    #[error("the phone never acknowledged the answer")]
    NoAck,
    /// A request in the dialog got 408, or nothing at all (RFC 3261 §12.2.1.2); BYE is sent.
    #[error("the other side does not answer any more")]
    NoAnswer,
    /// A request in the dialog got 481.
    #[error("the other side does not know the call any more")]
    Unknown,
    /// The user did not answer the INVITE; 480 is sent.
    #[error("the call was not answered in time")]
    Unanswered,
    /// The call was answered while it was being cancelled; BYE is sent.
    #[error("the call was answered while it was being cancelled")]
    AnsweredTooLate,
}

/// What the user answers to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// 101 to 699.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// Header fields beside those that the agent writes.
    pub headers: Headers,
    /// The body, with its media type.
    pub body: Option<Body>,
}

impl Reply {
    /// A response without a body.
    pub fn new(status: u16, reason: &str) -> Self {
        Reply { status, reason: reason.to_owned(), headers: Headers::new(), body: None }
    }

    /// The same with a session description.
    #[must_use]
    pub fn with_sdp(mut self, text: &str) -> Self {
        self.body = Some(Body::sdp(text));
        self
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push(name, value);
        self
    }
}

/// A body and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// The media type.
    pub content_type: String,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Body {
    /// A session description.
    pub fn sdp(text: &str) -> Self {
        Body { content_type: "application/sdp".to_owned(), bytes: text.as_bytes().to_vec() }
    }
}

/// The connection that the agent has now.
struct Flow {
    proof: MayAuthenticate,
    framer: Framer,
    keepalive: Keepalive,
}

/// The user agent.
pub struct Agent {
    config: AgentConfig,
    random: Box<dyn Random>,
    digest: Digest,
    registration: Registration,
    flow: Option<Flow>,
    /// Our end of the newest flow.
    local: SocketAddr,
    servers: ServerTransactions,
    clients: BTreeMap<TransactionKey, ClientTransaction>,
    dialogs: BTreeMap<DialogId, Dialog>,
    outputs: VecDeque<Output>,
    names: u64,
}

impl Agent {
    /// An agent without a flow.
    pub fn new(mut config: AgentConfig, mut random: Box<dyn Random>) -> Self {
        config.aor = SipUri { secure: false, ..config.aor };
        let password = std::mem::replace(&mut config.password, Password::Plain("".into()));
        let digest = Digest::new(config.auth_user.clone(), password, config.realm.clone());
        let call_id = random_hex(&mut *random, 16);
        let tag = random_hex(&mut *random, 8);
        let registration = Registration::new(address(&config), config.instance.clone(), config.expires, call_id, tag);
        Agent {
            config,
            random,
            digest,
            registration,
            flow: None,
            local: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            servers: ServerTransactions::default(),
            clients: BTreeMap::new(),
            dialogs: BTreeMap::new(),
            outputs: VecDeque::new(),
            names: 0,
        }
    }

    /// A connection to the provider is there and was judged. Registering begins, and what waited goes out.
    pub fn flow_up(&mut self, now: Instant, local: SocketAddr, proof: MayAuthenticate) {
        self.flow_down(now);
        if proof.account() != self.config.account {
            self.outputs.push_back(Output::CloseFlow("the connection was judged for another account".to_owned()));
            return;
        }
        self.local = local;
        let keepalive = Keepalive::new(now, &mut *self.random);
        self.flow = Some(Flow { proof, framer: Framer::new(), keepalive });
        if self.config.register {
            self.registration.flow_up(now);
            self.register_if_due(now);
        }
        let mut waiting: Vec<Vec<u8>> =
            self.servers.iter_mut().filter_map(|transaction| transaction.take_unsent()).collect();
        waiting.extend(self.clients.values_mut().filter_map(ClientTransaction::flow_up));
        for bytes in waiting {
            self.send(bytes);
        }
        for key in self.clients.keys().copied().collect::<Vec<_>>() {
            self.cancel_if_possible(now, key);
        }
    }

    /// The connection is gone. Dialogs stay, and requests without a final response wait for the next flow.
    pub fn flow_down(&mut self, _now: Instant) {
        if self.flow.take().is_none() {
            return;
        }
        if self.registration.flow_down() {
            self.event(Event::Unregistered);
        }
        self.clients.retain(|_, transaction| !transaction.is_register());
        self.clients.values_mut().for_each(ClientTransaction::flow_down);
    }

    /// How the account's password is proved; `None` before a challenge.
    pub fn digest_in_use(&self) -> Option<LoginScheme> {
        self.digest.in_use()
    }

    /// A person says that the provider may be weaker than before: on the next connection it is asked at once.
    pub fn may_weaken(&mut self) {
        self.digest.may_weaken();
        self.registration.forget_refusal();
    }

    /// Bytes from the flow.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8]) {
        if let Some(flow) = &mut self.flow {
            flow.framer.push(now, bytes);
        }
        self.read_frames(now);
        self.settle(now);
    }

    /// Time has passed; see [`Agent::wake`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(flow) = &mut self.flow {
            flow.framer.handle_timeout(now);
            match flow.keepalive.beat(now, &mut *self.random) {
                Beat::Nothing => {}
                Beat::Ping => {
                    self.send(b"\r\n\r\n".to_vec());
                }
                Beat::Dead => self.close(now, "no answer to a keep-alive within 10 s".to_owned()),
            }
        }
        self.read_frames(now);
        self.expire_clients(now);
        self.expire_servers(now);
        self.repeat_answers(now);
        self.settle(now);
    }

    /// When to call [`Agent::handle_timeout`].
    pub fn wake(&self) -> Option<Instant> {
        let flow = self.flow.iter().flat_map(|flow| [Some(flow.keepalive.wake()), flow.framer.wake()]).flatten();
        let clients = self.clients.values().map(ClientTransaction::deadline);
        let answers = self.dialogs.values().flat_map(|dialog| dialog.unacknowledged.iter().map(|answer| answer.wake()));
        let others = [self.servers.wake(), self.registration.wake()].into_iter().flatten();
        flow.chain(clients).chain(answers).chain(others).min()
    }

    /// The next thing to be done, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Removes the account's binding and stops registering; [`Event::Unregistered`] follows.
    pub fn unregister(&mut self, now: Instant) {
        if self.registration.remove(now) {
            self.event(Event::Unregistered);
        }
        self.settle(now);
    }

    /// Another password from now on. If the old one was not accepted, this one is tried at once.
    pub fn change_password(&mut self, now: Instant, password: Password) {
        self.digest.change_password(password);
        self.registration.hurry(now);
        self.settle(now);
    }

    /// The realm that credentials are given to, once it is known.
    pub fn realm(&self) -> Option<&str> {
        self.digest.realm()
    }

    fn read_frames(&mut self, now: Instant) {
        while let Some(frame) = self.flow.as_mut().and_then(|flow| flow.framer.next()) {
            match frame {
                Frame::Message(Message::Request(request)) => self.handle_request(now, request),
                Frame::Message(Message::Response(response)) if validate_response(&response).is_ok() => {
                    self.handle_response(now, &response);
                }
                Frame::Message(Message::Response(_)) => {}
                Frame::Ping => {
                    self.send(b"\r\n".to_vec());
                }
                Frame::Pong => {
                    if let Some(flow) = &mut self.flow {
                        flow.keepalive.pong();
                    }
                }
                Frame::Bad { reply, fatal, reason } => {
                    if let Some(reply) = reply {
                        self.send(reply.to_bytes());
                    }
                    if fatal {
                        self.close(now, format!("the provider sent what is not SIP: {reason}"));
                    }
                }
            }
        }
    }

    /// What every input ends with.
    fn settle(&mut self, now: Instant) {
        self.servers.sweep(now);
        self.clients.retain(|_, transaction| !transaction.is_over());
        self.register_if_due(now);
    }

    fn close(&mut self, now: Instant, why: String) {
        if self.flow.is_some() {
            self.outputs.push_back(Output::CloseFlow(why));
            self.flow_down(now);
        }
    }

    /// `false`: there is no flow.
    fn send(&mut self, bytes: Vec<u8>) -> bool {
        let up = self.flow.is_some();
        if up {
            self.outputs.push_back(Output::Send(bytes));
        }
        up
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn next_name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn random_hex(&mut self, bytes: usize) -> String {
        random_hex(&mut *self.random, bytes)
    }

    /// Our Contact: the GRUU, or where this flow begins on our side.
    fn contact(&self, secure: bool) -> SipUri {
        let mut contact = match self.registration.gruu() {
            Some(gruu) => gruu.clone(),
            None => self.contact_of_flow(),
        };
        if secure {
            contact.secure = true;
            contact.params.remove("transport");
        }
        contact
    }

    fn contact_of_flow(&self) -> SipUri {
        let mut contact = SipUri::new(host_of(self.local));
        contact.user.clone_from(&self.config.aor.user);
        contact.port = Some(self.local.port());
        contact.params.set("transport", "tls");
        contact
    }
}

fn host_of(address: SocketAddr) -> Host {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => Host::V4(ip),
        IpAddr::V6(ip) => Host::V6(ip),
    }
}

/// The account's own address with its name.
fn address(config: &AgentConfig) -> NameAddr {
    NameAddr { display_name: config.display_name.clone(), ..NameAddr::new(Uri::Sip(config.aor.clone())) }
}

/// The methods that are known but not handled get 405, all others 501 (RFC 3261 §8.2.1, §21.5.2).
fn is_known(method: &Method) -> bool {
    let others = ["REFER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "REGISTER", "PUBLISH", "PRACK"];
    is_handled(method) || others.contains(&method.as_str())
}

fn is_handled(method: &Method) -> bool {
    ALLOW.split(", ").any(|handled| handled == method.as_str())
}
