//! One call's view of the book: the engine's cache, and what the people in the room are told.

use super::book::Found;
use super::peer::{PeerKey, Verification};
use super::{Caller, Change, PeerBook, Remembered, Summary};
use crate::units::UnixTime;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zrtp_proto::{Cache, Lookup, Remember, Zid};

/// The cache of the ZRTP engine of one call. One clone goes into the engine, the call keeps another; make a new one for
/// each engine.
#[derive(Clone, Debug)]
pub struct PeerCache(Arc<View>);

#[derive(Debug)]
struct View {
    book: PeerBook,
    account: String,
    caller: Caller,
    began: UnixTime,
    met: Mutex<Option<Met>>,
}

/// The peer that the engine asked for.
#[derive(Debug)]
struct Met {
    key: PeerKey,
    born: Option<u64>,
    acquaintance: Acquaintance,
    /// No other exchange with it may begin.
    claimed: bool,
}

/// What was known of a peer when the exchange with it began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acquaintance {
    /// The peer, if it was known.
    pub peer: Option<Summary>,
    /// How many other devices of the same caller are known.
    pub other_devices: usize,
    /// Another address under which this device has called the account.
    pub other_address: Option<Caller>,
}

impl Acquaintance {
    /// "Known caller, unknown device": somebody else may be using the caller's address.
    pub fn is_unknown_device_of_known_caller(&self) -> bool {
        self.peer.is_none() && self.other_devices > 0
    }
}

impl PeerCache {
    /// The view of a call of `caller` to `account` whose exchange begins about now.
    pub fn new(book: &PeerBook, account: &str, caller: Caller, now: UnixTime) -> Self {
        let view = View { book: book.clone(), account: account.to_owned(), caller, began: now, met: Mutex::default() };
        PeerCache(Arc::new(view))
    }

    /// Keeps what the engine says ([`zrtp_proto::Output::Remember`]); `person` says who compared the SAS, if this is why
    /// the engine says it. The changes are to be written, in this order.
    #[must_use = "a change that is not written is forgotten with the program"]
    pub fn remember(&self, remember: Remember, person: Option<Verification>, now: UnixTime) -> Vec<Change> {
        let mut met = self.0.met();
        match met.as_mut().filter(|met| met.key.zid == remember.peer) {
            Some(met) => self.0.book.remember(&met.key, &mut met.born, remember.entry, person, now),
            None => Vec::new(),
        }
    }

    /// The exchange is over, [`zrtp_proto::Output::Secure`] or [`zrtp_proto::Output::Failed`]: the next one with this peer may begin.
    /// Dropping every clone does the same.
    pub fn release(&self) {
        self.0.release();
    }

    /// What was known of the peer when the exchange began; `None` before that.
    pub fn acquaintance(&self) -> Option<Acquaintance> {
        self.0.met().as_ref().map(|met| met.acquaintance.clone())
    }

    /// Whether the peer of this call will be known after a restart.
    pub fn remembered(&self) -> Remembered {
        let met = self.0.met();
        met.as_ref().map_or(Remembered::No, |met| self.0.book.remembered(&met.key, met.born))
    }
}

impl Cache for PeerCache {
    fn lookup(&mut self, peer: &Zid) -> Lookup {
        let key = PeerKey::new(&self.0.account, self.0.caller.clone(), *peer);
        let already = self.0.met().as_ref().is_some_and(|met| met.claimed && met.key == key);
        let found = if already {
            Some(self.0.book.found(&key, self.0.began))
        } else {
            self.0.release();
            self.0.book.claim(&key, self.0.began)
        };
        let Some(Found { lookup, born, acquaintance }) = found else { return Lookup::Busy };
        *self.0.met() = Some(Met { key, born, acquaintance, claimed: true });
        lookup
    }
}

impl View {
    fn release(&self) {
        if let Some(met) = self.met().as_mut().filter(|met| met.claimed) {
            met.claimed = false;
            self.book.release(&met.key);
        }
    }

    fn met(&self) -> MutexGuard<'_, Option<Met>> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.release();
    }
}
