//! One exchange between our engine and a libbzrtp peer, over UDP on loopback.
//!
//! In: what each side offers and knows, the part of the packets that gets lost. Out: what each side says of the result.
//! Each side loses what it sends, by its seed; time is real, because libbzrtp's is.

use super::peer::{Peer, Secure as PeerSecure};
use std::cell::Cell;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zrtp_proto::{
    Cache, CacheEntry, Config, Engine, Failure, HelloHash, Lookup, Output, Receipt, Remember, Secure, SrtpKeys,
    Warning, Zid,
};

/// An exchange to be made. Change what you need of [`Call::new`].
pub(crate) struct Call {
    pub(crate) config: Config,
    /// Options of `peer.c`.
    pub(crate) peer: Vec<String>,
    /// Per cent of the packets that each side loses.
    pub(crate) loss: u64,
    pub(crate) seed: u64,
    /// The network delivers every packet so many times.
    pub(crate) copies: usize,
    /// What the engine keeps between calls.
    pub(crate) memory: Memory,
    /// What the engine's signalling says of the peer's Hello.
    pub(crate) announced_to_engine: Announced,
    /// What the peer's signalling says of the engine's Hello.
    pub(crate) announced_to_peer: Announced,
    /// How much later than the peer the engine starts; the peer is then already sending.
    pub(crate) engine_late: Duration,
    /// How much later than the engine the peer starts.
    pub(crate) peer_late: Duration,
    /// The people at the peer say that the SAS is equal, once both are secure.
    pub(crate) peer_verifies: bool,
    /// How long the two have to become secure.
    pub(crate) patience: Duration,
}

/// The `a=zrtp-hash` that the signalling carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Announced {
    Nothing,
    Right,
    Wrong,
}

/// A call after its end.
pub(crate) struct Ended {
    pub(crate) engine: Engine,
    pub(crate) secure: Option<Secure>,
    pub(crate) sending: Option<SrtpKeys>,
    pub(crate) receiving: Option<SrtpKeys>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) failed: Option<Failure>,
    /// What became of the peer's packets.
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) peer: Peer,
    memory: Memory,
}

impl Call {
    pub(crate) fn new() -> Self {
        Call {
            config: Config::new(Zid(*b"galene-sips!"), 0x5eed_0001),
            peer: Vec::new(),
            loss: 0,
            seed: 0,
            copies: 1,
            memory: Memory::default(),
            announced_to_engine: Announced::Right,
            announced_to_peer: Announced::Right,
            engine_late: Duration::ZERO,
            peer_late: Duration::ZERO,
            peer_verifies: false,
            patience: Duration::from_secs(30),
        }
    }

    /// Makes it. It ends when both sides are secure, when the engine gives up, or when patience does.
    pub(crate) fn make(mut self) -> Ended {
        for option in ["--loss", &self.loss.to_string(), "--seed", &self.seed.to_string()] {
            self.peer.push(option.to_owned());
        }
        let random = Seeded::new(!self.seed);
        let fill = move |octets: &mut [u8]| octets.iter_mut().for_each(|octet| *octet = random.next() as u8);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let peer = Peer::spawn(&self.peer);
        socket.connect(("127.0.0.1", peer.port)).unwrap();
        let mut engine = Engine::new(self.config, fill, self.memory.clone());
        if let Some(hash) = self.announced_to_engine.told(&peer.hello_hash) {
            engine.announced(Instant::now(), hash.parse::<HelloHash>().unwrap());
        }
        let hash = self.announced_to_peer.told(&engine.hello_hash().to_string());
        let port = socket.local_addr().unwrap().port();
        let mut ended = Ended {
            engine,
            secure: None,
            sending: None,
            receiving: None,
            warnings: Vec::new(),
            failed: None,
            receipts: Vec::new(),
            peer,
            memory: self.memory,
        };
        let wire = Wire { socket, loss: self.loss, losses: Seeded::new(self.seed << 32), copies: self.copies };
        let start = Instant::now();
        let (mut peer_starts, mut engine_starts) = (Some(self.peer_late), Some(self.engine_late));
        while start.elapsed() < self.patience && ended.failed.is_none() {
            if peer_starts.take_if(|at| *at <= start.elapsed()).is_some() {
                ended.peer.start(port, hash.as_deref());
            }
            if engine_starts.take_if(|at| *at <= start.elapsed()).is_some() {
                ended.engine.start(Instant::now());
            }
            ended.step(&wire);
            if ended.peer.is_secure() && ended.secure.is_some() {
                break;
            }
        }
        if self.peer_verifies {
            ended.peer.mark_verified();
        }
        ended.peer.end();
        ended
    }
}

impl Announced {
    fn told(self, right: &str) -> Option<String> {
        match self {
            Announced::Nothing => None,
            Announced::Right => Some(right.to_owned()),
            Announced::Wrong => {
                let (start, last) = right.split_at(right.len() - 1);
                Some(format!("{start}{}", if last == "0" { '1' } else { '0' }))
            }
        }
    }
}

impl Ended {
    fn step(&mut self, wire: &Wire) {
        let mut buffer = [0; 2048];
        self.take_outputs(Some(wire));
        if let Ok(length) = wire.socket.recv(&mut buffer) {
            for _ in 0..wire.copies {
                let receipt = self.engine.handle_packet(Instant::now(), &buffer[..length]);
                self.receipts.push(receipt);
            }
        }
        let now = Instant::now();
        if self.engine.wake().is_some_and(|wake| wake <= now) {
            self.engine.handle_timeout(now);
        }
        self.take_outputs(Some(wire));
    }

    fn take_outputs(&mut self, wire: Option<&Wire>) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit(packet) => {
                    if let Some(wire) = wire {
                        wire.send(&packet);
                    }
                }
                Output::Warning(warning) => self.warnings.push(warning),
                Output::ReceiveKeys(keys) => self.receiving = Some(keys),
                Output::SendKeys(keys) => self.sending = Some(keys),
                Output::Remember(remember) => self.memory.remember(remember),
                Output::Secure(secure) => self.secure = Some(*secure),
                Output::Failed(failure) => self.failed = Some(failure),
                _ => {}
            }
        }
    }

    /// What a person says of the SAS after the call began.
    pub(crate) fn sas_compared(&mut self, equal: bool) {
        self.engine.sas_compared(equal);
        self.take_outputs(None);
    }

    /// Both sides are secure, with the same algorithms, SAS and keys, and with opposite roles.
    pub(crate) fn agreed(&self) -> (&Secure, PeerSecure) {
        let (Some(ours), Some(theirs)) = (&self.secure, self.peer.secure()) else { panic!("{}", self.story()) };
        assert_eq!(ours.role == zrtp_proto::Role::Initiator, !theirs.initiator, "{}", self.story());
        let names =
            [ours.suite.agreement.name(), ours.suite.cipher.name(), ours.suite.auth_tag.name(), ours.suite.hash.name()];
        assert_eq!(names, theirs.algorithms.each_ref().map(String::as_str), "{}", self.story());
        assert_eq!(ours.sas_text().replace(' ', ":"), theirs.sas, "{}", self.story());
        assert!(theirs.sas.len() >= 4);
        for (keys, direction) in [(&self.sending, "receiving"), (&self.receiving, "sending")] {
            let keys = keys.as_ref().unwrap();
            let (key, salt) = self.peer.keys(direction).unwrap();
            assert_eq!((keys.key.expose(), keys.salt.expose()), (&key[..], &salt[..]), "{}", self.story());
            assert_eq!(key.len(), ours.suite.cipher.key_octets());
            assert_eq!(salt.len(), ours.suite.auth_tag.salt_octets());
            assert_eq!((keys.profile.cipher, keys.profile.auth_tag), (ours.suite.cipher, ours.suite.auth_tag));
        }
        // libbzrtp exports nothing when its secrets did not match
        if !theirs.cache_mismatch {
            let exported = self.engine.export(b"interoperability", 32).unwrap();
            assert_eq!(exported.expose(), self.peer.exported().unwrap(), "{}", self.story());
        }
        (ours, theirs)
    }

    /// Neither side has anything to encrypt with.
    pub(crate) fn nobody_is_secure(&self) {
        assert!(self.secure.is_none() && self.sending.is_none(), "{}", self.story());
        assert!(self.peer.secure().is_none() && self.peer.keys("sending").is_none(), "{}", self.story());
    }

    pub(crate) fn story(&self) -> String {
        let log: String = self.peer.log.iter().map(|event| format!("  {event}\n")).collect();
        let Ended { secure, warnings, failed, receipts, .. } = self;
        format!("engine: {secure:?} {warnings:?} {failed:?} {receipts:?}\nlibbzrtp:\n{log}")
    }
}

struct Wire {
    socket: UdpSocket,
    loss: u64,
    losses: Seeded,
    copies: usize,
}

impl Wire {
    fn send(&self, packet: &[u8]) {
        if self.losses.next() % 100 >= self.loss {
            for _ in 0..self.copies {
                self.socket.send(packet).unwrap();
            }
        }
    }
}

/// splitmix64: the same seed gives the same numbers.
struct Seeded(Cell<u64>);

impl Seeded {
    fn new(seed: u64) -> Self {
        Seeded(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let x = self.0.get();
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// A cache that lives as long as the test.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Entries>>);

type Entries = Vec<(Zid, CacheEntry)>;

impl Memory {
    fn remember(&self, remember: Remember) {
        let mut entries = self.0.lock().unwrap();
        entries.retain(|(zid, _)| *zid != remember.peer);
        entries.extend(remember.entry.map(|entry| (remember.peer, entry)));
    }

    /// How many peers are known.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The newest secret kept for the only peer.
    pub(crate) fn rs1(&self) -> Option<Vec<u8>> {
        let entries = self.0.lock().unwrap();
        entries.first()?.1.rs1.as_ref().map(|retained| retained.secret.expose().to_vec())
    }

    /// As if the disk had been lost.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap().clear();
    }

    pub(crate) fn backup(&self) -> Entries {
        self.0.lock().unwrap().iter().map(|(zid, entry)| (*zid, entry.duplicate())).collect()
    }

    pub(crate) fn restore(&self, entries: Entries) {
        *self.0.lock().unwrap() = entries;
    }
}

impl Cache for Memory {
    fn lookup(&mut self, peer: &Zid) -> Lookup {
        let entries = self.0.lock().unwrap();
        entries
            .iter()
            .find(|(zid, _)| zid == peer)
            .map_or(Lookup::Unknown, |(_, entry)| Lookup::Known(entry.duplicate()))
    }
}
