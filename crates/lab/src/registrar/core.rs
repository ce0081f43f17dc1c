//! What the registrar and proxy does with each message: a stateless proxy (RFC 3261 §16.11) between the connections
//! of registered users. A response finds its way back by the connection's number in our Via branch, a request within
//! a dialog by the two numbers in our Record-Route.

use super::authentication::{Nonces, Verdict};
use super::bindings::{Bindings, FlowId};
use super::{Behaviour, Logged};
use galene_sips::sip::{Headers, Message, Method, NameAddr, Request, Response, SipUri};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::sync::mpsc;

/// A connection.
pub(super) struct Flow {
    pub(super) peer: SocketAddr,
    /// What to write; dropping it closes the connection.
    pub(super) out: mpsc::UnboundedSender<Vec<u8>>,
}

pub(super) struct Core {
    pub(super) domain: String,
    pub(super) address: SocketAddr,
    pub(super) users: HashMap<String, String>,
    pub(super) behaviour: Behaviour,
    pub(super) bindings: Bindings,
    pub(super) nonces: Nonces,
    pub(super) flows: HashMap<FlowId, Flow>,
    /// Who authenticated over a connection; kept when it is gone, for dialogs that outlive it.
    pub(super) owners: HashMap<FlowId, String>,
    pub(super) log: Vec<Logged>,
}

impl Core {
    pub(super) fn handle(&mut self, from: FlowId, message: Message) {
        self.log.push(Logged { flow: from, from_peer: true, message: message.clone() });
        match message {
            Message::Request(_) if self.behaviour.silent => {}
            Message::Request(_) if self.behaviour.drops > 0 => {
                self.behaviour.drops -= 1;
                self.flows.remove(&from);
            }
            Message::Request(request) if request.method == Method::REGISTER => self.register(from, request),
            Message::Request(request) => self.forward_request(from, request),
            Message::Response(response) => self.forward_response(response),
        }
    }

    pub(super) fn send(&mut self, to: FlowId, message: Message) {
        if let Some(flow) = self.flows.get(&to) {
            let _ = flow.out.send(message.to_bytes());
            self.log.push(Logged { flow: to, from_peer: false, message });
        }
    }

    fn respond(&mut self, to: FlowId, request: &Request, status: u16, reason: &str) {
        self.answer(to, request, Response::to(request, status, reason));
    }

    /// Completes a response of our own and sends it, unless the request was an ACK.
    fn answer(&mut self, to: FlowId, request: &Request, mut response: Response) {
        if request.method == Method::ACK {
            return;
        }
        if let Ok(address) = request.headers.to()
            && address.tag().is_none()
        {
            response.headers.set("To", address.with_tag("lab-registrar"));
        }
        response.headers.push("Server", "galene-sips laboratory");
        self.send(to, response.into());
    }

    fn register(&mut self, from: FlowId, mut request: Request) {
        self.stamp(from, &mut request.headers);
        if let Some((status, reason)) = self.behaviour.refuse_register {
            let mut response = Response::to(&request, status, reason);
            if status == 503 {
                response.headers.push("Retry-After", "1");
            }
            return self.answer(from, &request, response);
        }
        let Some(user) = self.authenticate(from, &request, 401) else { return };
        let whose = request.headers.to().ok().and_then(|to| to.uri.as_sip().and_then(|uri| uri.user.clone()));
        if whose.as_deref() != Some(user.as_str()) {
            return self.respond(from, &request, 403, "Forbidden");
        }
        let asks_for_outbound = request.headers.get("Contact").is_some_and(|contact| contact.contains("reg-id"));
        if asks_for_outbound && self.behaviour.lacks_outbound {
            return self.respond(from, &request, 439, "First Hop Lacks Outbound Support");
        }
        if let Some(least) = self.behaviour.min_expires
            && request.headers.expires().is_some_and(|asked| asked > 0 && asked < least)
        {
            let mut response = Response::to(&request, 423, "Interval Too Brief");
            response.headers.push("Min-Expires", least);
            return self.answer(from, &request, response);
        }
        let most = self.behaviour.max_expires;
        let now = Instant::now();
        let updated = self.bindings.update(&user, &request.headers, from, now, |asked| asked.min(most));
        if let Err((status, reason)) = updated {
            return self.respond(from, &request, status, reason);
        }
        self.owners.insert(from, user.clone());
        let mut response = Response::to(&request, 200, "OK");
        let domain = self.domain.clone();
        let gruu_domain = self.behaviour.gruu.then_some(domain.as_str());
        self.bindings.list(&user, now, gruu_domain, &mut response);
        if asks_for_outbound {
            response.headers.push("Require", "outbound");
            response.headers.push("Supported", "path, outbound");
            if let Some(seconds) = self.behaviour.flow_timer {
                response.headers.push("Flow-Timer", seconds);
            }
        }
        self.answer(from, &request, response);
    }

    /// The user who proved himself, or a challenge is sent.
    fn authenticate(&mut self, from: FlowId, request: &Request, status: u16) -> Option<String> {
        let (header, challenge_header, reason) = match status {
            401 => ("Authorization", "WWW-Authenticate", "Unauthorized"),
            _ => ("Proxy-Authorization", "Proxy-Authenticate", "Proxy Authentication Required"),
        };
        let realm = self.behaviour.realm.clone();
        let algorithms = self.behaviour.algorithms.clone();
        let method = request.method.as_str();
        let verdict = self.nonces.judge(&request.headers, header, method, &realm, &algorithms, &self.users);
        let stale = match verdict {
            Verdict::Right(user) => return Some(user),
            Verdict::Wrong => {
                self.respond(from, request, 403, "Forbidden");
                return None;
            }
            Verdict::Stale => true,
            Verdict::Missing => false,
        };
        let mut response = Response::to(request, status, reason);
        for challenge in self.nonces.challenge(&realm, &algorithms, stale) {
            response.headers.push(challenge_header, challenge);
        }
        self.answer(from, request, response);
        None
    }

    fn forward_request(&mut self, from: FlowId, mut request: Request) {
        self.stamp(from, &mut request.headers);
        match request.headers.max_forwards() {
            Ok(Some(0)) => return self.respond(from, &request, 483, "Too Many Hops"),
            Ok(hops) => request.headers.set("Max-Forwards", hops.unwrap_or(70).saturating_sub(1)),
            Err(_) => return self.respond(from, &request, 400, "Bad Max-Forwards"),
        }
        let to = match self.next_hop(from, &mut request) {
            Ok(Some(to)) => to,
            Ok(None) => return,
            Err((status, reason)) => return self.respond(from, &request, status, reason),
        };
        // The same branch for a request and its CANCEL or ACK, which have the branch of the request themselves.
        let Ok(top) = request.headers.top_via() else {
            return self.respond(from, &request, 400, "Bad Via");
        };
        let hash = Sha256::digest(top.to_string());
        let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let via = format!("SIP/2.0/TLS {};branch=z9hG4bK-lab-{hash}.{from}", self.address);
        request.headers.push_front("Via", via);
        if request.method == Method::INVITE && request.headers.to().is_ok_and(|to| to.tag().is_none()) {
            let route = format!("<sip:{from}-{to}@{};transport=tls;lr>", self.address);
            request.headers.push_front("Record-Route", route);
        }
        self.tamper(&request.headers.clone(), &mut request.body);
        request.headers.remove("Proxy-Authorization");
        self.send(to, request.into());
    }

    /// The connection that a request goes to. `Ok(None)`: a challenge was sent instead.
    fn next_hop(&mut self, from: FlowId, request: &mut Request) -> Result<Option<FlowId>, (u16, &'static str)> {
        let mut routes = request.headers.routes().map_err(|_| (400, "Bad Route"))?;
        let ours = |route: &NameAddr| route.uri.as_sip().is_some_and(|uri| self.is_ours(uri));
        let mut pair = None;
        while routes.first().is_some_and(ours) {
            let user = routes.remove(0).uri.as_sip().and_then(|uri| uri.user.clone());
            pair = pair.or(user.as_deref().and_then(parse_pair));
        }
        request.headers.remove("Route");
        for route in routes {
            request.headers.push("Route", route);
        }
        if let Some((a, b)) = pair {
            let same = |flow: FlowId| flow == from || self.owners.get(&flow) == self.owners.get(&from);
            let to = if same(a) { b } else { a };
            return self.living(to).map(Some).ok_or((480, "Temporarily Unavailable"));
        }
        if let Some((status, reason)) = self.behaviour.refuse_calls
            && request.method == Method::INVITE
        {
            return Err((status, reason));
        }
        if !self.owners.contains_key(&from) && !matches!(request.method.as_str(), "ACK" | "CANCEL") {
            match self.authenticate(from, request, 407) {
                Some(user) => self.owners.insert(from, user),
                None => return Ok(None),
            };
        }
        let uri = request.uri.as_sip().ok_or((416, "Unsupported URI Scheme"))?.clone();
        let domain = uri.host.to_string();
        if !domain.eq_ignore_ascii_case(&self.domain) && !self.is_ours(&uri) {
            return Err((403, "No relaying"));
        }
        let user = uri.user.clone().unwrap_or_default();
        if !self.users.contains_key(&user) {
            return Err((404, "Not Found"));
        }
        let instance = uri.params.get("gr");
        let bindings = self.bindings.of(&user, Instant::now());
        let binding = bindings
            .into_iter()
            .rev()
            .find(|binding| instance.is_none_or(|instance| binding.instance().as_deref() == Some(instance)))
            .ok_or((480, "Temporarily Unavailable"))?;
        request.uri = binding.contact.uri.clone();
        Ok(Some(binding.flow))
    }

    fn forward_response(&mut self, mut response: Response) {
        let Ok(mut hops) = response.headers.via() else { return };
        let ours = hops.remove(0);
        let flow = ours.branch().and_then(|branch| branch.rsplit_once('.')).and_then(|(_, flow)| flow.parse().ok());
        let Some(flow) = flow.filter(|_| !hops.is_empty()) else { return };
        response.headers.remove("Via");
        for hop in hops.iter().rev() {
            response.headers.push_front("Via", hop);
        }
        self.tamper(&response.headers.clone(), &mut response.body);
        self.send(flow, response.into());
    }

    /// Writes into the topmost Via where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4).
    fn stamp(&self, from: FlowId, headers: &mut Headers) {
        let (Ok(mut hops), Some(flow)) = (headers.via(), self.flows.get(&from)) else { return };
        if let Some(top) = hops.first_mut() {
            top.params.set("received", &flow.peer.ip().to_string());
            top.params.set("rport", &flow.peer.port().to_string());
        }
        headers.remove("Via");
        for hop in hops.iter().rev() {
            headers.push_front("Via", hop);
        }
    }

    /// The given connection, or its user's newest if it is gone.
    fn living(&self, flow: FlowId) -> Option<FlowId> {
        if self.flows.contains_key(&flow) {
            return Some(flow);
        }
        let user = self.owners.get(&flow)?;
        self.bindings.of(user, Instant::now()).last().map(|binding| binding.flow)
    }

    fn is_ours(&self, uri: &SipUri) -> bool {
        uri.host.to_string() == self.address.ip().to_string() && uri.port.unwrap_or(5061) == self.address.port()
    }

    /// What a malicious proxy does to a session description: no keys, and a profile that needs none.
    fn tamper(&self, headers: &Headers, body: &mut Vec<u8>) {
        if self.behaviour.strips_crypto && headers.content_type().as_deref() == Some("application/sdp") {
            let text = String::from_utf8_lossy(body);
            let kept = text.split_inclusive('\n').filter(|line| !line.starts_with("a=crypto:"));
            *body = kept.map(|line| line.replace("RTP/SAVP", "RTP/AVP")).collect::<String>().into_bytes();
        }
    }

    /// The newest connection of a user.
    pub(super) fn flow_of(&self, user: &str) -> Option<FlowId> {
        self.bindings.of(user, Instant::now()).last().map(|binding| binding.flow)
    }
}

fn parse_pair(user: &str) -> Option<(FlowId, FlowId)> {
    let (a, b) = user.split_once('-')?;
    Some((a.parse().ok()?, b.parse().ok()?))
}
