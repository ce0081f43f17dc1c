//! Two engines joined by a network with virtual time and seeded faults, and what a program around them would do.
#![allow(dead_code, unreachable_pub, missing_docs, clippy::disallowed_methods)] // each test file uses its part

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use zrtp_proto::*;

/// A small generator (splitmix64): reproducible, not secure.
#[derive(Clone)]
pub struct Seeded(pub u64);

impl Seeded {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for Seeded {
    fn fill(&mut self, _purpose: Purpose, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            let number = self.number().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

/// A cache in memory, shared by the engines of one party.
#[derive(Clone, Default)]
pub struct Memory(pub Arc<Mutex<BTreeMap<Zid, CacheEntry>>>);

impl Memory {
    pub fn store(&self, remember: Remember) {
        let mut map = self.0.lock().unwrap();
        match remember.entry {
            Some(entry) => map.insert(remember.peer, entry),
            None => map.remove(&remember.peer),
        };
    }

    pub fn wipe(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn rs1(&self) -> Option<Vec<u8>> {
        let map = self.0.lock().unwrap();
        map.values().next().and_then(|entry| entry.rs1.as_ref()).map(|rs| rs.secret.expose().to_vec())
    }

    pub fn verified(&self) -> bool {
        self.0.lock().unwrap().values().any(|entry| entry.verified)
    }
}

impl Cache for Memory {
    fn lookup(&mut self, peer: &Zid) -> Lookup {
        match self.0.lock().unwrap().get(peer) {
            None => Lookup::Unknown,
            Some(entry) => Lookup::Known(entry.duplicate()),
        }
    }
}

/// Key agreements that cost nothing and protect nothing.
pub struct Stub;

struct StubHalf {
    commit: Vec<u8>,
    own: Vec<u8>,
    /// What goes into the result from our side: for X1M1 the Commit's value and DHPart1's.
    mixed: Vec<u8>,
    mixes_peer: bool,
}

fn mix(left: &[u8], right: &[u8]) -> Vec<u8> {
    (0..16).map(|at| left[at] ^ right[at]).collect()
}

impl Agreements for Stub {
    fn initiator(&mut self, kind: KeyAgreement, _: Cipher, random: &mut dyn Random) -> Box<dyn Agreement> {
        let sizes = kind.sizes();
        let (mut commit, mut own) = (vec![0; sizes.commit], vec![0; sizes.part2]);
        random.fill(Purpose::SecretValue, &mut commit);
        random.fill(Purpose::SecretValue, &mut own);
        let mixed = if commit.is_empty() { own.clone() } else { commit.clone() };
        Box::new(StubHalf { commit, own, mixed, mixes_peer: true })
    }

    fn responder(
        &mut self,
        kind: KeyAgreement,
        _: Cipher,
        _: Hash,
        commit_value: &[u8],
        random: &mut dyn Random,
    ) -> Result<Box<dyn Agreement>, BadPublicValue> {
        let mut own = vec![0; kind.sizes().part1];
        random.fill(Purpose::SecretValue, &mut own);
        let mixed = if commit_value.is_empty() { own.clone() } else { mix(&own, commit_value) };
        Ok(Box::new(StubHalf { commit: Vec::new(), own, mixed, mixes_peer: commit_value.is_empty() }))
    }
}

impl Agreement for StubHalf {
    fn commit_value(&self) -> &[u8] {
        &self.commit
    }

    fn part_value(&self) -> &[u8] {
        &self.own
    }

    fn finish(self: Box<Self>, peer: &[u8], _: Hash) -> Result<Secret, BadPublicValue> {
        Ok(Secret::new(if self.mixes_peer { mix(&self.mixed, peer) } else { self.mixed.clone() }))
    }
}

/// The message type in a datagram.
pub fn kind(datagram: &[u8]) -> String {
    String::from_utf8_lossy(datagram.get(16..24).unwrap_or_default()).trim_end().to_owned()
}

/// An engine and what came out of it.
pub struct Party {
    pub engine: Engine,
    pub memory: Memory,
    pub start_at: Option<Instant>,
    pub receive: Option<SrtpKeys>,
    pub send: Option<SrtpKeys>,
    pub secure: Option<Secure>,
    pub failed: Option<Failure>,
    pub unanswered: bool,
    pub warnings: Vec<Warning>,
    /// All it sent, by type.
    pub sent: Vec<String>,
    pub remembered: usize,
}

impl Party {
    pub fn new(engine: Engine, memory: Memory) -> Self {
        Party {
            engine,
            memory,
            start_at: None,
            receive: None,
            send: None,
            secure: None,
            failed: None,
            unanswered: false,
            warnings: Vec::new(),
            sent: Vec::new(),
            remembered: 0,
        }
    }

    /// With defaults; `who` makes ZID and SSRC.
    pub fn plain(who: u8, seed: u64, memory: &Memory, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(Zid([who; 12]), u32::from(who));
        change(&mut config);
        let engine = Engine::new(config, Seeded(seed * 1000 + u64::from(who)), memory.clone());
        Party::new(engine, memory.clone())
    }

    /// Does what the outputs say; returns what to send.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Transmit(datagram) => {
                    let kind = kind(&datagram);
                    // the peer may send SRTP when it has these, so the keys must be there before
                    if kind == "Confirm2" || kind == "Conf2ACK" {
                        assert!(self.receive.is_some(), "{kind} before the receive keys");
                    }
                    self.sent.push(kind);
                    datagrams.push(datagram);
                }
                Output::PeerFound(_) => {}
                Output::Unanswered => self.unanswered = true,
                Output::Warning(warning) => self.warnings.push(warning),
                Output::ReceiveKeys(keys) => assert!(self.receive.replace(keys).is_none()),
                Output::SendKeys(keys) => assert!(self.send.replace(keys).is_none()),
                Output::Remember(remember) => {
                    self.remembered += 1;
                    self.memory.store(remember);
                }
                Output::Secure(secure) => {
                    assert!(self.send.is_some());
                    assert!(self.secure.replace(*secure).is_none(), "secure twice");
                }
                Output::Failed(failure) => {
                    assert!(self.failed.replace(failure).is_none(), "failed twice");
                    assert!(self.secure.is_none(), "failed after it was secure");
                }
                #[allow(unreachable_patterns, reason = "the crate's own tests see all variants")]
                other => panic!("{other:?}"),
            }
        }
        datagrams
    }

    pub fn is_over(&self) -> bool {
        self.secure.is_some() || self.failed.is_some()
    }

    pub fn count(&self, kind: &str) -> usize {
        self.sent.iter().filter(|sent| *sent == kind).count()
    }
}

/// What the network does to a datagram of this party (0 or 1): `None` loses it.
type Filter = Box<dyn FnMut(usize, &mut Vec<u8>) -> bool>;

/// When it arrives, its number, at which party, and what it is.
type Datagram = (Instant, u64, usize, Vec<u8>);

/// Two parties and the network between them.
pub struct Network {
    pub parties: [Party; 2],
    pub now: Instant,
    pub begin: Instant,
    under_way: BinaryHeap<Reverse<Datagram>>,
    number: u64,
    faults: Seeded,
    pub loss: u64,
    pub duplication: u64,
    pub delay: (u64, u64),
    /// Until when nothing reaches a party.
    pub deaf_until: [Option<Instant>; 2],
    /// Loses (false) or changes what a test wants lost or changed.
    pub filter: Filter,
}

impl Network {
    pub fn new(first: Party, second: Party) -> Self {
        let now = Instant::now();
        Network {
            parties: [first, second],
            now,
            begin: now,
            under_way: BinaryHeap::new(),
            number: 0,
            faults: Seeded(0),
            loss: 0,
            duplication: 0,
            delay: (20, 20),
            deaf_until: [None, None],
            filter: Box::new(|_, _| true),
        }
    }

    /// 30 % loss each way, 10 % duplication, delays that reorder.
    pub fn bad(first: Party, second: Party, seed: u64) -> Self {
        let mut network = Network::new(first, second);
        network.faults = Seeded(seed);
        (network.loss, network.duplication, network.delay) = (30, 10, (5, 90));
        network
    }

    pub fn start(&mut self, who: usize, after: Duration) {
        self.parties[who].start_at = Some(self.begin + after);
    }

    /// Both at once.
    pub fn start_both(&mut self) -> &mut Self {
        self.start(0, Duration::ZERO);
        self.start(1, Duration::ZERO);
        self
    }

    fn send(&mut self, from: usize) {
        for mut datagram in self.parties[from].drain() {
            if !(self.filter)(from, &mut datagram) || self.faults.chance(self.loss) {
                continue;
            }
            let copies = 1 + u64::from(self.faults.chance(self.duplication));
            for _ in 0..copies {
                let spread = self.delay.1 - self.delay.0 + 1;
                let delay = Duration::from_millis(self.delay.0 + self.faults.below(spread));
                self.number += 1;
                self.under_way.push(Reverse((self.now + delay, self.number, 1 - from, datagram.clone())));
            }
        }
    }

    /// Lets time pass until `done`, or for at most `limit` from the beginning.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&[Party; 2]) -> bool) {
        let end = self.begin + limit;
        self.send(0);
        self.send(1);
        let mut at_once = 0;
        while !done(&self.parties) {
            let arrival = self.under_way.peek().map(|Reverse((at, ..))| *at);
            let wakes = self.parties.iter().flat_map(|party| [party.engine.wake(), party.start_at]).flatten();
            let Some(next) = wakes.chain(arrival).min() else { return };
            if next > end {
                self.now = end;
                return;
            }
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < 1000, "time stands still: a timer is due and nothing comes of it");
            self.now = self.now.max(next);
            while self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= self.now) {
                if let Some(Reverse((_, _, to, datagram))) = self.under_way.pop() {
                    if self.deaf_until[to].is_some_and(|until| self.now < until) {
                        continue;
                    }
                    self.parties[to].engine.handle_packet(self.now, &datagram);
                    self.send(to);
                }
            }
            for who in 0..2 {
                let party = &mut self.parties[who];
                if party.start_at.is_some_and(|at| at <= self.now) {
                    party.start_at = None;
                    party.engine.start(self.now);
                }
                if party.engine.wake().is_some_and(|at| at <= self.now) {
                    party.engine.handle_timeout(self.now);
                }
                self.send(who);
            }
        }
    }

    /// Until both are secure or failed.
    pub fn run(&mut self) -> &mut Self {
        self.run_until(Duration::from_secs(60), |parties| parties.iter().all(Party::is_over));
        self
    }

    pub fn both_secure(&self) -> bool {
        self.parties.iter().all(|party| party.secure.is_some())
    }

    /// Whatever keys there are fit: mirrored, one SAS, one suite.
    pub fn check_agreement(&self) {
        let [first, second] = &self.parties;
        for (sender, receiver) in [(first, second), (second, first)] {
            if let (Some(send), Some(receive)) = (&sender.send, &receiver.receive) {
                assert!(send.key.equals(receive.key.expose()), "two different keys");
                assert!(send.salt.equals(receive.salt.expose()), "two different salts");
                assert_eq!(send.profile, receive.profile);
            }
        }
        if let (Some(one), Some(other)) = (&first.secure, &second.secure) {
            assert_eq!(one.sas, other.sas);
            assert_eq!(one.suite, other.suite);
            assert_ne!(one.role, other.role);
        }
    }
}
