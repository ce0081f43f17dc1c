//! A line against a phone, in memory and in virtual time. The phone is another [`sip::Agent`]; the registrar, the ports
//! and the room are scripted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod answers;
mod changes;
mod endings;
mod exceptions;
mod goodbye;
mod late_offers;
mod ratchet;
mod refusals;
mod zrtp;

use super::*;
use crate::peers::{PeerBook, Ratchet, Record};
use crate::policy::{
    AccountRules, Chain, MayAuthenticate, MediaLevel, Name, Pin, Rules, TlsPeer, TlsVersion, Validity, judge,
};
use crate::room::{EndReason, JoinRefused, LegOrder, LegSetup, RoomEvent};
use crate::sip::digest::Password;
use crate::sip::{self, Agent, AgentConfig, Body, DialogId, Headers, Message, Method, Request, Response, SipUri, Uri};
use crate::units::{CallNumber, CallNumbers, Random, WallClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use zrtp_proto::Zid;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const OTHER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// SplitMix64, and a mine: armed, the next wish for randomness panics.
struct Seeded(u64, Arc<AtomicBool>);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        assert!(!self.1.swap(false, Ordering::Relaxed), "a test breaks this call");
        for byte in out {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (z >> 32) as u8;
        }
    }
}

fn proof(account: &str) -> MayAuthenticate {
    let facts = TlsPeer {
        expected: "example.org".to_owned(),
        version: TlsVersion::Tls13,
        chain: Chain::Trusted,
        name: Name::Matches,
        pin: Pin::NotConfigured,
        validity: Validity::Valid,
    };
    judge(&Rules::strict(account), &facts).allowed().unwrap()
}

fn config(account: &str, register: bool) -> AgentConfig {
    let Ok(Uri::Sip(aor)) = Uri::parse(&format!("sip:{account}")) else { panic!("{account}") };
    let aor: SipUri = aor;
    AgentConfig {
        account: account.to_owned(),
        auth_user: "user".to_owned(),
        aor,
        display_name: (!register).then(|| "Alice".to_owned()),
        password: Password::Plain("open sesame".into()),
        realm: None,
        instance: "urn:uuid:00000000-0000-4000-8000-000000000001".to_owned(),
        register,
        expires: 600,
        route: None,
        user_agent: "test".to_owned(),
    }
}

/// The gateway's own; each exchange draws other numbers.
fn identity(now: Instant) -> ZrtpIdentity {
    let next = AtomicU64::new(50);
    ZrtpIdentity {
        zid: Zid([1; 12]),
        peers: PeerBook::default(),
        ratchet: Ratchet::default(),
        clock: WallClock { at: now, since_1970: Duration::from_secs(1_800_000_000) },
        random: Arc::new(move || Box::new(Seeded(next.fetch_add(1, Ordering::Relaxed), Arc::default()))),
    }
}

/// What decides whether a message arrives: whether the phone sent it, and what it is.
type Filter = Box<dyn FnMut(bool, &Message) -> bool>;

struct World {
    now: Instant,
    line: Line,
    mine: Arc<AtomicBool>,
    phone: Agent,
    events: Vec<sip::Event>,
    /// What the line wanted, except sending.
    wants: Vec<Output>,
    /// All that the line sent.
    sent: Vec<Message>,
    up: bool,
    passes: Filter,
    registrar_answers: bool,
    ports_open: bool,
    room_is_ready: bool,
    /// Room for the next call's ports.
    port: u16,
    peers: PeerBook,
    /// What people in the group read, and who alone if not all.
    said: Vec<(Option<String>, String)>,
    /// What was to be written of what the account has shown.
    held: Vec<Record>,
    ratchet: Ratchet,
    clock: WallClock,
}

impl World {
    fn new() -> Self {
        World::with_most_calls(10)
    }

    /// Registered and idle.
    fn with_most_calls(most_calls: usize) -> Self {
        World::with(Rules::strict("gateway@example.org"), most_calls)
    }

    /// Registered and idle.
    fn with_rules(rules: impl Into<AccountRules>) -> Self {
        World::with(rules, 10)
    }

    fn with(rules: impl Into<AccountRules>, most_calls: usize) -> Self {
        let rules = rules.into();
        let now = Instant::now();
        let mine = Arc::new(AtomicBool::new(false));
        let seeded = |seed| Box::new(Seeded(seed, Arc::default()));
        let account = "gateway@example.org";
        let zrtp = identity(now);
        let peers = zrtp.peers.clone();
        let (ratchet, clock) = (zrtp.ratchet.clone(), zrtp.clock);
        let line_config =
            LineConfig { account: account.to_owned(), rules, most_calls, zrtp, group: "meeting".to_owned() };
        let agent = Agent::new(config(account, true), seeded(1));
        let random = Box::new(Seeded(2, Arc::clone(&mine)));
        let mut world = World {
            now,
            line: Line::new(line_config, agent, CallNumbers::default(), random),
            mine,
            phone: Agent::new(config("alice@example.org", false), seeded(3)),
            events: Vec::new(),
            wants: Vec::new(),
            sent: Vec::new(),
            up: false,
            passes: Box::new(|_, _| true),
            registrar_answers: true,
            ports_open: true,
            room_is_ready: true,
            port: 20_000,
            peers,
            said: Vec::new(),
            held: Vec::new(),
            ratchet,
            clock,
        };
        assert_eq!(world.line.report(now).registration, "not connected yet");
        world.connect();
        world.phone.flow_up(now, SocketAddr::from(([198, 51, 100, 7], 40_000)), proof("alice@example.org"));
        world.run(100 * MS);
        assert!(world.line.report(now).registered);
        world.sent.clear();
        world
    }

    fn connect(&mut self) {
        self.up = true;
        self.line.flow_up(self.now, SocketAddr::from(([192, 0, 2, 1], 50_000)), proof("gateway@example.org"));
        self.settle();
    }

    fn disconnect(&mut self) {
        self.up = false;
        self.line.flow_down(self.now, "the cable is out");
        self.settle();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let next = [self.line.wake(), self.phone.wake()].into_iter().flatten().min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            if self.line.wake().is_some_and(|wake| wake <= self.now) {
                self.line.handle_timeout(self.now);
                assert!(self.line.wake().is_none_or(|wake| wake > self.now), "a timer that does not move on");
            }
            if self.phone.wake().is_some_and(|wake| wake <= self.now) {
                self.phone.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if let Some(output) = self.line.poll() {
                self.carry_out(output);
            } else if let Some(output) = self.phone.poll() {
                match output {
                    sip::Output::Event(event) => self.events.push(event),
                    sip::Output::CloseFlow(why) => panic!("{why}"),
                    sip::Output::Send(bytes) if bytes.trim_ascii().is_empty() => {}
                    sip::Output::Send(bytes) => {
                        let message = Message::parse(&bytes).unwrap();
                        if (self.passes)(true, &message) && self.up {
                            self.line.handle_bytes(self.now, &bytes);
                        }
                    }
                }
            } else {
                return;
            }
        }
        panic!("the line talks without end");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send(bytes) if bytes.trim_ascii().is_empty() => {}
            Output::Send(bytes) => {
                let message = Message::parse(&bytes).unwrap();
                self.sent.push(message.clone());
                match message {
                    Message::Request(request) if request.method == Method::REGISTER => self.register(&request),
                    message if self.up && (self.passes)(false, &message) => self.phone.handle_bytes(self.now, &bytes),
                    _ => {}
                }
            }
            Output::OpenPorts(call) => {
                if self.ports_open {
                    self.open_ports(call);
                }
                self.wants.push(Output::OpenPorts(call));
            }
            Output::Say(to, text) => self.said.push((to, text)),
            Output::Hold(records) => self.held.extend(records),
            Output::Join(setup) => {
                if self.room_is_ready {
                    self.line.room_event(self.now, RoomEvent::Ready { call: setup.call });
                }
                self.wants.push(Output::Join(setup));
            }
            other => self.wants.push(other),
        }
    }

    fn open_ports(&mut self, call: CallNumber) {
        let advertised = SocketAddr::from(([192, 0, 2, 1], self.port));
        self.line.ports_opened(self.now, call, MediaPorts { advertised, rtcp: self.port + 1 });
        self.port += 2;
    }

    fn register(&mut self, request: &Request) {
        if self.registrar_answers && self.up {
            let mut response = Response::to(request, 200, "OK");
            let expires = request.headers.get("Expires").unwrap_or("600").to_owned();
            if expires != "0" {
                response
                    .headers
                    .push("Contact", format!("{};expires={expires}", request.headers.get("Contact").unwrap()));
            }
            self.line.handle_bytes(self.now, &response.to_bytes());
        }
    }

    fn room(&mut self, event: RoomEvent) {
        self.line.room_event(self.now, event);
        self.settle();
    }

    fn call(&mut self, offer: &str) -> DialogId {
        self.call_with(Some(Body::sdp(offer)))
    }

    fn call_with(&mut self, body: Option<Body>) -> DialogId {
        let dialog = self.phone.invite(self.now, "sip:gateway@example.org", body, &Headers::new()).unwrap();
        self.settle();
        dialog
    }

    /// A call that is answered and acknowledged, number 1.
    fn talking() -> (Self, DialogId) {
        let mut world = World::new();
        let dialog = world.call(&offer());
        assert_eq!(world.statuses(dialog), [180, 200]);
        assert_eq!(world.states(), ["talking"]);
        world.wants.clear();
        world.sent.clear();
        world.events.clear();
        (world, dialog)
    }

    /// Another offer or none within the call; gives back the final response.
    fn again(&mut self, dialog: DialogId, method: Method, offer: Option<&str>) -> Response {
        self.phone.request(self.now, dialog, method, offer.map(Body::sdp), &Headers::new()).unwrap();
        self.run(10 * MS);
        self.responses(dialog).pop().expect("a response")
    }

    /// The responses that the phone got in a dialog.
    fn responses(&self, dialog: DialogId) -> Vec<Response> {
        let of = |event: &sip::Event| match event {
            sip::Event::Response { dialog: own, response, .. } if *own == dialog => Some(response.clone()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    fn statuses(&self, dialog: DialogId) -> Vec<u16> {
        self.responses(dialog).iter().map(|response| response.status).collect()
    }

    /// The Reason of the BYE that the phone got, if it got one.
    fn bye(&self, dialog: DialogId) -> Option<String> {
        self.events.iter().find_map(|event| match event {
            sip::Event::Bye { dialog: own, reason } if *own == dialog => Some(reason.clone().unwrap_or_default()),
            _ => None,
        })
    }

    fn requests(&self, method: &str) -> Vec<&Request> {
        let of =
            |message: &'_ Message| matches!(message, Message::Request(request) if request.method.as_str() == method);
        self.sent
            .iter()
            .filter(|message| of(message))
            .filter_map(|message| match message {
                Message::Request(request) => Some(request),
                Message::Response(_) => None,
            })
            .collect()
    }

    fn states(&self) -> Vec<&'static str> {
        self.line.report(self.now).calls.iter().map(|call| call.state).collect()
    }

    /// What the line wanted since it was last asked, as words.
    fn wanted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wants).iter().map(word).collect()
    }
}

fn word(output: &Output) -> String {
    match output {
        Output::Send(_) => "send".to_owned(),
        Output::CloseFlow(why) => format!("close: {why}"),
        Output::OpenPorts(call) => format!("open {call}"),
        Output::ForgetPorts(call) => format!("forget {call}"),
        Output::Join(setup) => format!("join {}", setup.call),
        Output::Update(call, direction, _) => {
            format!("update {call} from={} to={}", direction.from_phone, direction.to_phone)
        }
        Output::Rekey(call, _) => format!("rekey {call}"),
        Output::Order(call, order) => format!(
            "{} {call}",
            match order {
                LegOrder::Send(_) => "zrtp",
                LegOrder::Address(_) => "address",
                LegOrder::Receive(_) => "receive",
                LegOrder::Speak(_) => "speak",
            }
        ),
        Output::Say(_, text) => format!("say {text}"),
        Output::Announce(call, announcement) => format!("announce {} to {call}", announcement.as_str()),
        Output::Keep(changes) => format!("keep {}", changes.len()),
        Output::Hold(records) => format!("hold {}", records[0].shown.as_str()),
        Output::Leave(call) => format!("leave {call}"),
        Output::Finished => "finished".to_owned(),
    }
}

/// An offer under this profile with these attribute lines.
fn sdp(profile: &str, formats: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("a={line}\r\n")).collect();
    format!(
        "v=0\r\no=alice 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
         m=audio 7078 {profile} {formats}\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\n{lines}"
    )
}

fn crypto(tag: u32, key: &str) -> String {
    format!("crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{key}")
}

/// What a good phone offers.
fn offer() -> String {
    sdp("RTP/SAVP", "96 0 101", &[&crypto(1, KEY)])
}

/// The `a=` line of this name in a body.
fn line_of(response: &Response, name: &str) -> String {
    let body = String::from_utf8(response.body.clone()).unwrap();
    let prefix = format!("a={name}");
    body.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {prefix}: {body}")).to_owned()
}
