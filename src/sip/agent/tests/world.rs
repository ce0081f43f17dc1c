//! Two agents and a small proxy-registrar between them, in memory and in virtual time.
//!
//! The gateway's agent registers; the phone's does not. The proxy adds its Via and Record-Route, as a real one does, and
//! a test may have it lose messages.

use crate::policy::{Chain, MayAuthenticate, Name, Pin, Rules, TlsPeer, TlsVersion, Validity, judge};
use crate::sip::agent::*;
use crate::sip::header::Via;
use crate::sip::params::Params;
use std::time::Duration;

/// SplitMix64: the same numbers in every run.
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.next() as u8;
        }
    }
}

pub(super) fn proof(account: &str) -> MayAuthenticate {
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

pub(super) fn config(user: &str, register: bool) -> AgentConfig {
    let account = format!("{user}@example.org");
    let Ok(Uri::Sip(aor)) = Uri::parse(&format!("sip:{account}")) else { panic!("aor") };
    AgentConfig {
        account,
        aor,
        display_name: None,
        auth_user: user.to_owned(),
        password: Password::Plain("open sesame".into()),
        realm: None,
        instance: "urn:uuid:00000000-0000-4000-8000-000000000001".to_owned(),
        register,
        expires: 600,
        route: None,
        user_agent: "test".to_owned(),
    }
}

pub(super) fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub(super) const GATEWAY: usize = 0;
pub(super) const PHONE: usize = 1;

/// What decides whether the proxy passes a message on: who sent it and what it is.
pub(super) type Filter = Box<dyn FnMut(usize, &Message) -> bool>;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) agents: [Agent; 2],
    pub(super) events: [Vec<Event>; 2],
    pub(super) closed: [Option<String>; 2],
    pub(super) up: [bool; 2],
    /// All that the agents sent.
    pub(super) sent: Vec<(usize, Message)>,
    pub(super) pings: [usize; 2],
    pub(super) pongs: [usize; 2],
    pub(super) passes: Filter,
    pub(super) registrar: Registrar,
    /// The proxy lets no INVITE, UPDATE or INFO of the gateway pass without credentials for this challenge.
    pub(super) challenge: Option<&'static str>,
    ports: u16,
}

impl World {
    /// Both flows are up and the gateway is registering.
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = World {
            now,
            agents: [
                Agent::new(config("gateway", true), Box::new(Seeded(seed))),
                Agent::new(config("phone", false), Box::new(Seeded(!seed))),
            ],
            events: [Vec::new(), Vec::new()],
            closed: [None, None],
            up: [false, false],
            sent: Vec::new(),
            pings: [0, 0],
            pongs: [0, 0],
            passes: Box::new(|_, _| true),
            registrar: Registrar::default(),
            challenge: None,
            ports: 40_000,
        };
        world.connect(GATEWAY);
        world.connect(PHONE);
        world
    }

    /// The same, registered.
    pub(super) fn registered(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.run(Duration::from_millis(100));
        assert!(matches!(world.events[GATEWAY].pop(), Some(Event::Registered { .. })));
        world.sent.clear();
        world
    }

    pub(super) fn connect(&mut self, who: usize) {
        self.ports += 1;
        self.up[who] = true;
        let account = self.agents[who].config.account.clone();
        self.agents[who].flow_up(self.now, local(self.ports), proof(&account));
    }

    pub(super) fn disconnect(&mut self, who: usize) {
        self.up[who] = false;
        self.agents[who].flow_down(self.now);
    }

    /// Lets time pass, with every timer on time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.deliver();
            let next = self.agents.iter().filter_map(Agent::wake).min();
            match next.filter(|next| *next <= end) {
                Some(next) => {
                    self.now = self.now.max(next);
                    for agent in &mut self.agents {
                        if agent.wake().is_some_and(|wake| wake <= self.now) {
                            agent.handle_timeout(self.now);
                            let wake = agent.wake();
                            assert!(wake.is_none_or(|wake| wake > self.now), "a timer that does not move on");
                        }
                    }
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// Everything that the agents have to say, back and forth, until they are silent.
    pub(super) fn deliver(&mut self) {
        for _ in 0..100_000 {
            let Some((who, output)) = (0..2).find_map(|who| Some((who, self.agents[who].poll()?))) else { return };
            match output {
                Output::Event(event) => self.events[who].push(event),
                Output::CloseFlow(why) => {
                    self.closed[who] = Some(why);
                    self.up[who] = false;
                }
                Output::Send(bytes) if bytes == b"\r\n\r\n" => {
                    self.pings[who] += 1;
                    if self.registrar.pongs && self.up[who] {
                        self.agents[who].handle_bytes(self.now, b"\r\n");
                    }
                }
                Output::Send(bytes) if bytes == b"\r\n" => self.pongs[who] += 1,
                Output::Send(bytes) => {
                    let message = Message::parse(&bytes).unwrap();
                    self.sent.push((who, message.clone()));
                    self.proxy(who, message);
                }
            }
        }
        panic!("the agents talk without end");
    }

    fn proxy(&mut self, from: usize, message: Message) {
        if !(self.passes)(from, &message) {
            return;
        }
        match message {
            Message::Request(request) if request.method == Method::REGISTER => {
                if let Some(response) = self.registrar.answer(&request) {
                    self.hand_over(from, response.to_bytes());
                }
            }
            Message::Request(request) if self.asks_for_credentials(from, &request) => {
                let mut response = Response::to(&request, 407, "Proxy Authentication Required");
                response.headers.push("Proxy-Authenticate", self.challenge.unwrap());
                self.hand_over(from, response.to_bytes());
            }
            Message::Request(mut request) => {
                let to = 1 - from;
                // A proxy answers 100 itself, which keeps retransmissions away; ours leaves it to the called side.
                let branch = request.headers.top_via().unwrap().branch().unwrap().to_owned();
                let via = Via {
                    transport: "TLS".to_owned(),
                    host: Host::Name("proxy.example.org".to_owned()),
                    port: None,
                    params: Params::new().with("branch", &format!("z9hG4bKproxy{branch}")),
                };
                request.headers.push_front("Via", via);
                request.headers.remove("Route");
                if request.method == Method::INVITE {
                    request.headers.push_front("Record-Route", "<sip:proxy.example.org;lr;ftag=x>");
                }
                self.hand_over(to, request.to_bytes());
            }
            Message::Response(mut response) => {
                let vias: Vec<String> = response.headers.all("Via").map(str::to_owned).collect();
                response.headers.remove("Via");
                assert!(vias.len() >= 2 && vias[0].contains("proxy.example.org"), "{vias:?}");
                for via in vias[1..].iter().rev() {
                    response.headers.push_front("Via", via);
                }
                self.hand_over(1 - from, response.to_bytes());
            }
        }
    }

    fn asks_for_credentials(&self, from: usize, request: &Request) -> bool {
        let asked = ["INVITE", "UPDATE", "INFO"].contains(&request.method.as_str());
        let brings = request.headers.get("Proxy-Authorization").is_some();
        from == GATEWAY && asked && !brings && self.challenge.is_some()
    }

    fn hand_over(&mut self, to: usize, bytes: Vec<u8>) {
        if self.up[to] {
            self.agents[to].handle_bytes(self.now, &bytes);
        }
    }

    /// Bytes for an agent that the other did not send.
    pub(super) fn inject(&mut self, to: usize, text: &str) {
        self.hand_over(to, text.as_bytes().to_vec());
        self.deliver();
    }

    /// What the gateway answers last to a request that comes from nowhere.
    pub(super) fn ask(&mut self, request: &str) -> Option<Response> {
        let before = self.sent.len();
        self.inject(GATEWAY, request);
        let mut answers = self.sent[before..].iter().filter_map(|(who, message)| match message {
            Message::Response(response) if *who == GATEWAY && response.status > 100 => Some(response.clone()),
            _ => None,
        });
        answers.next_back()
    }

    pub(super) fn take(&mut self, who: usize) -> Vec<Event> {
        self.deliver();
        std::mem::take(&mut self.events[who])
    }

    pub(super) fn requests(&self, who: usize, method: &str) -> Vec<&Request> {
        let of = |(sender, message): &'_ (usize, Message)| *sender == who && matches!(message, Message::Request(_));
        let all = self.sent.iter().filter(|entry| of(entry));
        all.filter_map(|(_, message)| match message {
            Message::Request(request) if request.method.as_str() == method => Some(request),
            _ => None,
        })
        .collect()
    }

    pub(super) fn responses(&self, who: usize, method: &str) -> Vec<u16> {
        let all = self.sent.iter().filter(|(sender, _)| *sender == who);
        all.filter_map(|(_, message)| match message {
            Message::Response(response) if response.headers.cseq().unwrap().method.as_str() == method => {
                Some(response.status)
            }
            _ => None,
        })
        .collect()
    }

    /// The phone calls the gateway: both ends' dialogs and the request to answer.
    pub(super) fn call(&mut self) -> (DialogId, DialogId, TransactionKey) {
        let now = self.now;
        let calling =
            self.agents[PHONE].invite(now, "sip:gateway@example.org", Some(Body::sdp("v=0 offer")), &Headers::new());
        match self.take(GATEWAY).pop() {
            Some(Event::Invite { dialog, key, .. }) => (dialog, calling.unwrap(), key),
            other => panic!("no INVITE: {other:?}"),
        }
    }

    /// The same, answered and acknowledged.
    pub(super) fn talking(&mut self) -> (DialogId, DialogId) {
        let (gateway, phone, key) = self.call();
        self.agents[GATEWAY].respond(self.now, key, Reply::new(200, "OK").with_sdp("v=0 answer"));
        assert!(matches!(self.take(GATEWAY)[..], [Event::Acknowledged { .. }]));
        let answers = self.take(PHONE);
        assert!(matches!(&answers[..], [Event::Response { response, .. }] if response.status == 200), "{answers:?}");
        (gateway, phone)
    }

    /// Nothing is left of any call or transaction.
    pub(super) fn assert_empty(&self) {
        for agent in &self.agents {
            assert_eq!(agent.servers.len(), 0, "server transactions");
            assert!(agent.clients.is_empty(), "client transactions");
            assert!(agent.dialogs.is_empty(), "dialogs");
        }
    }
}

/// A registrar that does as it is told.
pub(super) struct Registrar {
    /// Values of WWW-Authenticate; none: anyone may register.
    pub(super) challenges: Vec<String>,
    /// Whether the credentials are good.
    pub(super) check: fn(&Request) -> bool,
    /// Whether it answers keep-alives.
    pub(super) pongs: bool,
    /// Header fields of the 200.
    pub(super) extra: Vec<(&'static str, &'static str)>,
    /// Parameters of our binding in the 200.
    pub(super) binding: &'static str,
    /// Instead of all that, this response with this header field, as long as there are any left.
    pub(super) refusals: Vec<(u16, &'static str, &'static str)>,
    /// No answer at all.
    pub(super) silent: bool,
}

impl Default for Registrar {
    fn default() -> Self {
        Registrar {
            challenges: Vec::new(),
            check: |request| request.headers.get("Authorization").is_some(),
            pongs: true,
            extra: Vec::new(),
            binding: ";expires=600",
            refusals: Vec::new(),
            silent: false,
        }
    }
}

impl Registrar {
    fn answer(&mut self, request: &Request) -> Option<Response> {
        if self.silent {
            return None;
        }
        if !self.refusals.is_empty() {
            let (status, name, value) = self.refusals.remove(0);
            let mut response = Response::to(request, status, "no");
            response.headers.push(name, value);
            return Some(response);
        }
        if !self.challenges.is_empty() && !(self.check)(request) {
            let mut response = Response::to(request, 401, "Unauthorized");
            for challenge in &self.challenges {
                response.headers.push("WWW-Authenticate", challenge);
            }
            return Some(response);
        }
        let mut response = Response::to(request, 200, "OK");
        let contact = request.headers.get("Contact").unwrap().to_owned() + self.binding;
        response.headers.push("Contact", "<sip:gateway@203.0.113.9:5061;transport=tls>;expires=17");
        response.headers.push("Contact", contact);
        for (name, value) in &self.extra {
            response.headers.push(name, value);
        }
        Some(response)
    }
}

/// A request as a stranger sends it through the proxy; `extra` are header lines with their CRLF.
pub(super) fn raw(method: &str, to: &str, branch: &str, cseq: u32, extra: &str, body: &str) -> String {
    format!(
        "{method} sip:gateway@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/TLS proxy.example.org;branch=z9hG4bKp{branch}\r\n\
         Via: SIP/2.0/TLS 198.51.100.7:5061;branch=z9hG4bKc{branch}\r\n\
         Max-Forwards: 60\r\nFrom: <sip:stranger@example.net>;tag=st\r\nTo: {to}\r\n\
         Call-ID: c{branch}\r\nCSeq: {cseq} {method}\r\n{extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The same, an INVITE that begins a call.
pub(super) fn raw_invite(branch: &str) -> String {
    let extra = "Contact: <sip:s@198.51.100.7>\r\nContent-Type: application/sdp\r\n";
    raw("INVITE", "<sip:gateway@example.org>", branch, 1, extra, "v=0\r\n")
}
