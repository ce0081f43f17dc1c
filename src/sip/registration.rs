//! One account's registration over its flow (RFC 3261 §10.2, RFC 5626 §4.2 and §4.5, RFC 5627 §4.1).
//!
//! What happened to the last REGISTER comes in; when the next one is due, with what in it, and what the registrar
//! granted come out. It sends nothing itself. A registrar that says no is asked at most three times an hour.

use super::header::{CSeq, Headers, NameAddr};
use super::message::{Method, Request, Response};
use super::uri::{SipUri, Uri};
use crate::units::Random;
use std::time::{Duration, Instant};

/// The first pause after a failure and the longest one (RFC 5626 §4.5, all flows of an account having failed).
const BASE_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);
/// The pause after a refusal: three tries an hour.
const REFUSED_PAUSE: Duration = Duration::from_secs(1200);
/// The longest Retry-After that is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Bindings shorter than this are renewed at half their time.
const SHORT_BINDING: Duration = Duration::from_secs(120);
/// The longest binding that a 423 may talk us into.
const LONGEST_BINDING: u32 = 7 * 24 * 3600;
/// How often in a row a response may make us ask again at once.
const MAX_ASKED_AGAIN: u8 = 3;

/// What the agent does about the registration next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing: there is no flow, or none is wanted.
    Idle,
    /// A REGISTER is due.
    Due(Instant),
    /// A REGISTER waits for its response.
    Asking,
    /// The REGISTER that removes the binding waits for its response.
    Removing,
    /// The binding is removed; nothing follows.
    Removed,
}

/// What a final response means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Bound for so long.
    Bound(Duration),
    /// The binding is gone, as we wanted.
    Removed,
    /// Ask again at once with other parameters.
    AskAgain,
    /// It failed.
    Failed {
        /// What the operator can do.
        hint: String,
        /// The pause before the next try.
        retry_in: Duration,
    },
}

/// The state of the registration; outlives flows.
pub(super) struct Registration {
    aor: NameAddr,
    instance: String,
    call_id: String,
    tag: String,
    cseq: u32,
    expires: u32,
    /// Dropped after a 439 (RFC 5626 §11.6).
    reg_id: bool,
    state: State,
    failures: u32,
    asked_again: u8,
    not_before: Option<Instant>,
    remove_wanted: bool,
    bound_until: Option<Instant>,
    service_route: Vec<NameAddr>,
    gruu: Option<SipUri>,
    outbound: bool,
}

impl Registration {
    pub(super) fn new(aor: NameAddr, instance: String, expires: u32, call_id: String, tag: String) -> Self {
        Registration {
            aor,
            instance,
            call_id,
            tag,
            cseq: 0,
            expires,
            reg_id: true,
            state: State::Idle,
            failures: 0,
            asked_again: 0,
            not_before: None,
            remove_wanted: false,
            bound_until: None,
            service_route: Vec::new(),
            gruu: None,
            outbound: false,
        }
    }

    /// A flow is there: register at once, unless the registrar asked for patience.
    pub(super) fn flow_up(&mut self, now: Instant) {
        if self.state != State::Removed {
            self.reg_id = true;
            self.state = State::Due(self.not_before.map_or(now, |time| time.max(now)));
        }
    }

    /// The reason for the last refusal is gone: the next flow is used at once.
    pub(super) fn forget_refusal(&mut self) {
        self.not_before = None;
    }

    /// The flow is gone, and with it whatever was under way. `true`: with it goes a binding that was to be removed.
    pub(super) fn flow_down(&mut self) -> bool {
        if self.state == State::Removed {
            return false;
        }
        self.state = if self.remove_wanted { State::Removed } else { State::Idle };
        self.remove_wanted
    }

    /// The binding is not wanted any more. `true`: there is nothing to be removed.
    pub(super) fn remove(&mut self, now: Instant) -> bool {
        self.remove_wanted = true;
        match self.state {
            State::Asking | State::Removing => return false,
            State::Due(_) if self.bound_until.is_some_and(|until| until > now) => {
                self.state = State::Due(now);
                return false;
            }
            State::Removed => return false,
            State::Due(_) | State::Idle => {}
        }
        self.state = State::Removed;
        true
    }

    /// What kept the registrar from agreeing has changed: a registration that is not there is tried now.
    pub(super) fn hurry(&mut self, now: Instant) {
        if matches!(self.state, State::Due(_)) && self.failures > 0 {
            self.not_before = None;
            self.state = State::Due(now);
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        matches!(self.state, State::Due(time) if time <= now)
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        match self.state {
            State::Due(time) => Some(time),
            _ => None,
        }
    }

    /// The Route of our own requests (RFC 3608).
    pub(super) fn service_route(&self) -> &[NameAddr] {
        &self.service_route
    }

    /// The address that the registrar gave us (RFC 5627 §4.1).
    pub(super) fn gruu(&self) -> Option<&SipUri> {
        self.gruu.as_ref()
    }

    /// The registrar speaks RFC 5626: a lost keep-alive means a lost flow.
    pub(super) fn outbound(&self) -> bool {
        self.outbound
    }

    /// The REGISTER that is due, without Via, Route and credentials.
    pub(super) fn request(&mut self, contact: &Uri) -> Request {
        self.state = if self.remove_wanted { State::Removing } else { State::Asking };
        let expires = if self.remove_wanted { 0 } else { self.expires };
        let mut registrar = match &self.aor.uri {
            Uri::Sip(uri) => SipUri::new(uri.host.clone()),
            Uri::Other { .. } => return Request::new(Method::REGISTER, self.aor.uri.clone()),
        };
        registrar.secure = self.aor.uri.scheme() == "sips";
        let mut request = Request::new(Method::REGISTER, registrar.into());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", 70);
        headers.push("From", self.aor.clone().with_tag(&self.tag));
        headers.push("To", &self.aor);
        headers.push("Call-ID", &self.call_id);
        self.cseq = self.cseq.saturating_add(1);
        headers.push("CSeq", CSeq { number: self.cseq, method: Method::REGISTER });
        headers.push("Contact", self.contact(contact, expires));
        headers.push("Expires", expires);
        headers.push("Supported", "outbound, gruu, path");
        request
    }

    /// The number for the same REGISTER with credentials.
    pub(super) fn next_cseq(&mut self) -> u32 {
        self.cseq = self.cseq.saturating_add(1);
        self.cseq
    }

    fn contact(&self, uri: &Uri, expires: u32) -> NameAddr {
        let mut contact = NameAddr::new(uri.clone());
        contact.params.set_quoted("+sip.instance", &format!("<{}>", self.instance));
        if self.reg_id {
            contact.params.set("reg-id", "1");
        }
        if expires == 0 {
            contact.params.set("expires", "0");
        }
        contact
    }

    /// A 2xx to our REGISTER.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        response: &Response,
        contact: &Uri,
        random: &mut dyn Random,
    ) -> Outcome {
        if self.state == State::Removing {
            self.state = State::Removed;
            self.bound_until = None;
            return Outcome::Removed;
        }
        let headers = &response.headers;
        let contacts = headers.contacts().unwrap_or_default();
        let own = self.own(&contacts, contact);
        let granted = own
            .and_then(|own| own.params.unquoted("expires")?.parse().ok())
            .or(headers.expires())
            .unwrap_or(self.expires);
        if granted == 0 || (own.is_none() && !contacts.is_empty()) {
            let hint = "the registrar accepted the request but lists no binding of ours; ask the provider".to_owned();
            return self.failed(now, hint, false, None, random);
        }
        self.gruu = own.and_then(|own| match Uri::parse(&own.params.unquoted("pub-gruu")?) {
            Ok(Uri::Sip(gruu)) => Some(gruu),
            _ => None,
        });
        self.service_route = list_of_routes(headers);
        self.outbound = headers.lists("Require", "outbound");
        let granted = Duration::from_secs(u64::from(granted));
        self.failures = 0;
        self.asked_again = 0;
        self.not_before = None;
        self.bound_until = Some(now + granted);
        // Long bindings: between 75 and 85 %, so that many gateways do not come at once.
        let refresh = if granted <= SHORT_BINDING { granted / 2 } else { granted * (75 + below(random, 11)) / 100 };
        self.state = State::Due(if self.remove_wanted { now } else { now + refresh });
        Outcome::Bound(granted)
    }

    /// Our own binding among all of the account: by instance and reg-id, else by its URI.
    fn own<'a>(&self, contacts: &'a [NameAddr], contact: &Uri) -> Option<&'a NameAddr> {
        let instance = format!("<{}>", self.instance);
        let is_own = |other: &&NameAddr| {
            let same = other.params.unquoted("+sip.instance").is_some_and(|own| own.eq_ignore_ascii_case(&instance));
            same && (!self.reg_id || other.params.get("reg-id").is_none_or(|id| id == "1"))
        };
        let at_our_uri = |other: &&NameAddr| other.uri.is_equivalent(contact);
        let instances = || contacts.iter().filter(is_own);
        instances()
            .find(at_our_uri)
            .or_else(|| instances().next())
            .or_else(|| contacts.iter().filter(|other| !other.params.contains("+sip.instance")).find(at_our_uri))
    }

    /// A final response that is no 2xx, or a status made up for a timeout.
    pub(super) fn refused(&mut self, now: Instant, response: &Response, random: &mut dyn Random) -> Outcome {
        if self.state == State::Removing {
            self.state = State::Removed;
            return Outcome::Removed;
        }
        let headers = &response.headers;
        if self.asked_again < MAX_ASKED_AGAIN && self.adapts_to(response) {
            self.asked_again += 1;
            self.state = State::Due(now);
            return Outcome::AskAgain;
        }
        let retry_after = headers.get("Retry-After").and_then(leading_number).map(Duration::from_secs);
        let (hint, final_no) = match response.status {
            300..=399 => {
                ("the provider points to another server, which is never followed; ask for the right one", true)
            }
            401 | 407 => ("check the user name and the password", true),
            403 => {
                ("the provider refuses this account: check the user name, the password and that it is enabled", true)
            }
            404 | 410 => ("the provider does not know this address; check its spelling", true),
            408 | 480 | 500..=599 => ("the provider has a problem; it is tried again", false),
            _ => ("ask the provider about this response", true),
        };
        self.failed(now, hint.to_owned(), final_no, retry_after, random)
    }

    /// Whether the response says how to ask better.
    fn adapts_to(&mut self, response: &Response) -> bool {
        match response.status {
            423 => {
                let least = response.headers.get("Min-Expires").and_then(|value| value.trim().parse().ok());
                let least = least.filter(|least| *least > self.expires && *least <= LONGEST_BINDING);
                self.expires = least.unwrap_or(self.expires);
                least.is_some()
            }
            439 => std::mem::take(&mut self.reg_id),
            _ => false,
        }
    }

    /// Notes a failure and decides when to try again. `refused`: it was a no, not a mishap.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        hint: String,
        refused: bool,
        retry_after: Option<Duration>,
        random: &mut dyn Random,
    ) -> Outcome {
        if self.state == State::Removing {
            self.state = State::Removed;
            return Outcome::Removed;
        }
        self.failures = self.failures.saturating_add(1);
        self.asked_again = 0;
        let doubled = BASE_PAUSE * 2u32.saturating_pow(self.failures.min(8) - 1);
        // RFC 5626 §4.5: between half and all of it. A refusal's pause only grows.
        let pause = if refused {
            REFUSED_PAUSE * (100 + below(random, 26)) / 100
        } else {
            doubled.min(LONGEST_PAUSE) * (50 + below(random, 51)) / 100
        };
        let asked = retry_after.map(|asked| asked.min(LONGEST_RETRY_AFTER));
        let retry_in = asked.map_or(pause, |asked| pause.max(asked));
        if refused || asked.is_some() {
            self.not_before = Some(now + retry_in);
        }
        self.state = State::Due(if self.remove_wanted { now } else { now + retry_in });
        Outcome::Failed { hint, retry_in }
    }
}

/// `Service-Route` has the form of `Route` (RFC 3608 §5).
fn list_of_routes(headers: &Headers) -> Vec<NameAddr> {
    headers.list("Service-Route").filter_map(|route| NameAddr::parse(route).ok()).take(16).collect()
}

/// `120 (I'm in a meeting);duration=60` begins with seconds (RFC 3261 §20.33).
fn leading_number(value: &str) -> Option<u64> {
    let digits = value.trim_start().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<u32>().ok().map(u64::from)
}

/// A random number below `bound`; the slight bias of the remainder does not matter for jitter.
fn below(random: &mut dyn Random, bound: u32) -> u32 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    u32::from_le_bytes(bytes) % bound
}
