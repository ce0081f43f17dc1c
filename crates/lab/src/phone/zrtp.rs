//! ZRTP as the phone speaks it: what it remembers from one call to the next, and the exchange of one call.
//!
//! In: packets, time, a person's word on the code. Out: what the media task has to do, in its order (`keying::Zrtp`).

use galene_sips::io::SystemRandomness;
use galene_sips::keying::{Step, Zrtp, ZrtpSetup};
use galene_sips::policy::Rules;
use galene_sips::units::{CallNumber, Random, Ssrc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use zrtp_proto::{Cache, CacheEntry, HelloHash, Lookup, Remember, Zid};

/// A phone's ZRTP identifier and what it remembers of others. Every clone is the same memory: give it to a second call, or
/// to another phone, and the other side meets a device that it knows. One call at a time.
#[derive(Clone, Debug)]
pub struct ZrtpMemory(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    zid: Zid,
    peers: BTreeMap<Zid, CacheEntry>,
}

impl Default for ZrtpMemory {
    /// A new device, which knows nobody.
    fn default() -> Self {
        let mut zid = [0; 12];
        SystemRandomness::default().fill(&mut zid);
        ZrtpMemory(Arc::new(Mutex::new(Kept { zid: Zid(zid), peers: BTreeMap::new() })))
    }
}

impl ZrtpMemory {
    /// The device's identifier.
    pub fn zid(&self) -> Zid {
        self.kept().zid
    }

    fn keep(&self, remember: Remember) {
        let mut kept = self.kept();
        match remember.entry {
            Some(entry) => kept.peers.insert(remember.peer, entry),
            None => kept.peers.remove(&remember.peer),
        };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for ZrtpMemory {
    fn lookup(&mut self, peer: &Zid) -> Lookup {
        self.kept().peers.get(peer).map_or(Lookup::Unknown, |entry| Lookup::Known(entry.duplicate()))
    }
}

/// The exchange of one call.
pub(super) struct Exchange {
    zrtp: Zrtp,
    rules: Rules,
    memory: ZrtpMemory,
}

impl Exchange {
    pub(super) fn new(memory: &ZrtpMemory, ssrc: Ssrc, rules: Rules) -> Exchange {
        let setup = ZrtpSetup {
            call: CallNumber(0),
            zid: memory.zid(),
            ssrc,
            cache: Box::new(memory.clone()),
            random: Box::new(SystemRandomness::default()),
        };
        Exchange { zrtp: Zrtp::new(setup), rules, memory: memory.clone() }
    }

    /// The value of `a=zrtp-hash`.
    pub(super) fn hello_hash(&self) -> String {
        self.zrtp.hello_hash()
    }

    /// The other side has announced its Hello and may be reachable.
    pub(super) fn start(&mut self, now: Instant, announced: HelloHash) {
        self.zrtp.announced(now, announced);
        self.zrtp.start(now);
    }

    pub(super) fn packet(&mut self, now: Instant, datagram: &[u8]) {
        self.zrtp.packet(now, datagram);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.zrtp.heard(now);
    }

    pub(super) fn compared(&mut self, equal: bool) {
        self.zrtp.sas_compared(equal);
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.zrtp.wake()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.zrtp.handle_timeout(now);
    }

    /// The next thing to do; what is to be remembered is remembered already.
    pub(super) fn poll(&mut self) -> Option<Step> {
        loop {
            match self.zrtp.poll(&self.rules)? {
                Step::Remember(remember) => self.memory.keep(remember),
                step => return Some(step),
            }
        }
    }
}
