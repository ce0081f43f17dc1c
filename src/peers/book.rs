//! All peers, in memory. One book serves all accounts; every handle sees the same.

use super::cache::Acquaintance;
use super::peer::{Kept, Peer, PeerKey, Verification, normalised_account};
use super::{Caller, Verifier};
use crate::units::UnixTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zrtp_proto::{CacheEntry, Lookup, Zid};

/// So many peers are kept. Beyond, the unverified one that was seen longest ago makes room: who calls with ever new
/// devices fills neither memory nor disk, and nobody's verification is lost to him.
pub(super) const MOST_PEERS: usize = 10_000;

/// Fewest digits of a ZID that name a peer.
const FEWEST_ZID_DIGITS: usize = 4;

/// The number of a change: they count up, and are written in their order.
pub type ChangeNumber = u64;

/// Something to write to the store.
#[derive(Debug)]
pub struct Change {
    /// For [`PeerBook::written`].
    pub number: ChangeNumber,
    /// What.
    pub edit: Edit,
}

/// What a change does to the store. Each is complete in itself: the last one of a peer is all that counts.
#[derive(Debug)]
pub enum Edit {
    /// This is the peer from now on.
    Put(Box<Peer>),
    /// There is no such peer any more.
    Delete(PeerKey),
}

impl Edit {
    /// Which peer.
    pub fn key(&self) -> &PeerKey {
        match self {
            Edit::Put(peer) => &peer.key,
            Edit::Delete(key) => key,
        }
    }
}

/// Whether a peer will be known after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Remembered {
    /// It is in the store, as it is here.
    Yes,
    /// It is being written.
    Pending,
    /// It could not be written, or is not kept at all: say "not remembered".
    No,
}

/// Why an administrator's order is not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refused {
    /// There is no such peer.
    Unknown,
    /// An exchange with it is under way, and would undo it. It takes seconds.
    Busy,
    /// Nothing is kept by which the device could be recognised.
    NoSecret,
}

/// What people may see of a peer: everything but its secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// Which.
    pub key: PeerKey,
    /// When it first completed an exchange.
    pub first_seen: UnixTime,
    /// When it last completed one whose secret was kept.
    pub last_seen: UnixTime,
    /// Whether it is verified, and by whom.
    pub verification: Option<Verification>,
    /// Whether there is a retained secret that is still good.
    pub has_secret: bool,
    /// When the newest one ends, if it does.
    pub expires: Option<UnixTime>,
    /// Whether it will be known after a restart.
    pub remembered: Remembered,
}

/// Which peers a person means.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct PeerQuery {
    /// A ZID, its beginning, or an address.
    pub peer: String,
    /// Only peers of this account.
    pub account: Option<String>,
    /// Only peers that call from this address.
    pub caller: Option<String>,
}

/// All peers. A cheap handle: every clone is the same book.
#[derive(Clone, Debug, Default)]
pub struct PeerBook(Arc<Mutex<Pages>>);

#[derive(Debug, Default)]
struct Pages {
    peers: BTreeMap<PeerKey, Entry>,
    /// With whom an exchange is under way.
    busy: BTreeSet<PeerKey>,
    /// Counts changes and births.
    numbers: u64,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    /// Tells a peer from one of the same name that was forgotten before.
    born: u64,
    last_change: ChangeNumber,
    remembered: Remembered,
}

/// What a call found when its exchange began.
pub(super) struct Found {
    pub(super) lookup: Lookup,
    pub(super) born: Option<u64>,
    pub(super) acquaintance: Acquaintance,
}

impl PeerBook {
    /// A book with the peers that the store has.
    pub fn new(peers: Vec<Peer>, now: UnixTime) -> Self {
        let mut pages = Pages::default();
        for mut peer in peers {
            peer.expire(now);
            let born = pages.next_number();
            let entry = Entry { born, last_change: born, remembered: Remembered::Yes, peer };
            pages.peers.insert(entry.peer.key.clone(), entry);
        }
        PeerBook(Arc::new(Mutex::new(pages)))
    }

    /// Every peer, by account, caller and ZID.
    pub fn list(&self, now: UnixTime) -> Vec<Summary> {
        self.pages().peers.values().map(|entry| entry.summary(now)).collect()
    }

    /// The peers that a person may mean.
    pub fn matching(&self, query: &PeerQuery, now: UnixTime) -> Vec<Summary> {
        let account = query.account.as_deref().map(normalised_account);
        let caller = query.caller.as_deref().map(Caller::from_text);
        let digits = query.peer.to_ascii_lowercase();
        let is_zid = digits.len() >= FEWEST_ZID_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let address = Caller::from_text(&query.peer);
        let means = |key: &PeerKey| {
            account.as_ref().is_none_or(|account| *account == key.account)
                && caller.as_ref().is_none_or(|caller| caller.as_ref() == Some(&key.caller))
                && ((is_zid && key.zid.to_string().starts_with(&digits)) || address.as_ref() == Some(&key.caller))
        };
        self.pages().peers.values().filter(|entry| means(&entry.peer.key)).map(|entry| entry.summary(now)).collect()
    }

    /// The peers that call this account, in its normalised form, from this address. Nobody knows who an anonymous caller is.
    pub(super) fn of_caller(&self, account: &str, caller: &Caller, now: UnixTime) -> Vec<Summary> {
        if *caller == Caller::Anonymous {
            return Vec::new();
        }
        let first = PeerKey { account: account.to_owned(), caller: caller.clone(), zid: Zid([0; 12]) };
        let pages = self.pages();
        let his = pages.peers.range(first..).take_while(|(key, _)| key.account == account && key.caller == *caller);
        his.map(|(_, entry)| entry.summary(now)).collect()
    }

    /// An administrator vouches for a peer: "by administrator, not by voice".
    pub fn verify(&self, key: &PeerKey, now: UnixTime) -> Result<Change, Refused> {
        let mut pages = self.pages();
        let busy = pages.busy.contains(key);
        let entry = pages.peers.get_mut(key).ok_or(Refused::Unknown)?;
        if busy {
            return Err(Refused::Busy);
        }
        entry.peer.expire(now);
        if entry.peer.newest_secret(now).is_none() {
            return Err(Refused::NoSecret);
        }
        entry.peer.verification = Some(Verification { at: now, by: Verifier::Administrator });
        pages.changed(key).ok_or(Refused::Unknown)
    }

    /// Nothing that anybody said of the peer counts any more. Also for an exchange that is under way.
    pub fn unverify(&self, key: &PeerKey) -> Result<Change, Refused> {
        let mut pages = self.pages();
        pages.peers.get_mut(key).ok_or(Refused::Unknown)?.peer.verification = None;
        pages.changed(key).ok_or(Refused::Unknown)
    }

    /// There is no such peer any more. What an exchange that is under way, or a call, wants to keep of it is not kept.
    pub fn forget(&self, key: &PeerKey) -> Result<Change, Refused> {
        self.pages().delete(key).ok_or(Refused::Unknown)
    }

    /// These changes are in the store, or could not be written.
    pub fn written(&self, numbers: &[ChangeNumber], in_store: bool) {
        let numbers: BTreeSet<&ChangeNumber> = numbers.iter().collect();
        let mut pages = self.pages();
        for entry in pages.peers.values_mut().filter(|entry| numbers.contains(&entry.last_change)) {
            entry.remembered = if in_store { Remembered::Yes } else { Remembered::No };
        }
    }

    /// What is known of a peer, for an exchange that begins; it is the only one until [`PeerBook::release`].
    pub(super) fn claim(&self, key: &PeerKey, now: UnixTime) -> Option<Found> {
        let mut pages = self.pages();
        pages.busy.insert(key.clone()).then(|| pages.found(key, now))
    }

    pub(super) fn found(&self, key: &PeerKey, now: UnixTime) -> Found {
        self.pages().found(key, now)
    }

    pub(super) fn release(&self, key: &PeerKey) {
        self.pages().busy.remove(key);
    }

    /// What an exchange leaves behind. `born` is the peer that it knew; that may have been forgotten since.
    pub(super) fn remember(
        &self,
        key: &PeerKey,
        born: &mut Option<u64>,
        entry: Option<CacheEntry>,
        person: Option<Verification>,
        now: UnixTime,
    ) -> Vec<Change> {
        let mut pages = self.pages();
        if pages.peers.get(key).map(|entry| entry.born) != *born {
            return Vec::new();
        }
        let changes = match entry {
            Some(entry) => pages.update(key, entry, person, now),
            None => pages.delete(key).into_iter().collect(),
        };
        *born = pages.peers.get(key).map(|entry| entry.born);
        changes
    }

    pub(super) fn remembered(&self, key: &PeerKey, born: Option<u64>) -> Remembered {
        let pages = self.pages();
        pages.peers.get(key).filter(|entry| Some(entry.born) == born).map_or(Remembered::No, |entry| entry.remembered)
    }

    /// A panic in one call must not end the others: each change of the pages is whole at every moment.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn found(&self, key: &PeerKey, now: UnixTime) -> Found {
        let entry = self.peers.get(key);
        Found {
            lookup: entry.map_or(Lookup::Unknown, |entry| Lookup::Known(entry.peer.entry(now))),
            born: entry.map(|entry| entry.born),
            acquaintance: Acquaintance {
                peer: entry.map(|entry| entry.summary(now)),
                other_devices: self.other_devices(key),
                other_address: self.other_address(key),
            },
        }
    }

    /// How many other devices the same caller has. Anonymous callers are not the same caller.
    fn other_devices(&self, key: &PeerKey) -> usize {
        if key.caller == Caller::Anonymous {
            return 0;
        }
        let first = PeerKey { zid: Zid([0; 12]), ..key.clone() };
        let same_caller = |other: &&PeerKey| (&other.caller, &other.account) == (&key.caller, &key.account);
        let devices = self.peers.range(first..).map(|(other, _)| other).take_while(same_caller);
        devices.filter(|other| other.zid != key.zid).count()
    }

    /// The same device under another address: the one that it was last seen under.
    fn other_address(&self, key: &PeerKey) -> Option<Caller> {
        let peers = self.peers.values().map(|entry| &entry.peer);
        let others = peers
            .filter(|peer| peer.key.account == key.account && peer.key.zid == key.zid && peer.key.caller != key.caller);
        others.max_by_key(|peer| peer.last_seen).map(|peer| peer.key.caller.clone())
    }

    fn update(&mut self, key: &PeerKey, new: CacheEntry, person: Option<Verification>, now: UnixTime) -> Vec<Change> {
        let old = self.peers.get(key).map(|entry| &entry.peer);
        // never out of nothing: by a person now, or by a person before
        let before = old.and_then(|peer| peer.verification.clone());
        let verification = if new.verified { person.clone().or(before) } else { None };
        // a person speaks of the secret of his call: if the chain has gone on from there, so it stays
        let gone_on = old.filter(|peer| {
            person.is_some()
                && new.verified
                && new.rs1.as_ref().is_some_and(|rs| peer.same_secret(&rs.secret).is_some())
        });
        let (rs1, rs2) = match gone_on.map(Peer::duplicate) {
            Some(peer) => (peer.rs1, peer.rs2),
            None => {
                // a secret that was there keeps its time
                let kept = |retained: Option<zrtp_proto::Retained>| {
                    let mut kept = Kept::from_engine(retained?, now)?;
                    if let Some(same) = old.and_then(|peer| peer.same_secret(&kept.secret)) {
                        kept.expires = same.expires;
                    }
                    Some(kept)
                };
                (kept(new.rs1), kept(new.rs2))
            }
        };
        let first_seen = old.map_or(now, |peer| peer.first_seen);
        let mut peer = Peer { key: key.clone(), rs1, rs2, first_seen, last_seen: now, verification };
        peer.expire(now);
        if peer.newest_secret(now).is_none() {
            return self.delete(key).into_iter().collect();
        }
        let room = if old.is_none() { self.make_room() } else { None };
        let born = self.peers.get(key).map(|entry| entry.born);
        let born = born.unwrap_or_else(|| self.next_number());
        let entry = Entry { peer, born, last_change: 0, remembered: Remembered::Pending };
        self.peers.insert(key.clone(), entry);
        room.into_iter().chain(self.changed(key)).collect()
    }

    fn make_room(&mut self) -> Option<Change> {
        if self.peers.len() < MOST_PEERS {
            return None;
        }
        let strangers = self.peers.iter().filter(|(_, entry)| entry.peer.verification.is_none());
        let (oldest, _) = strangers.min_by_key(|(_, entry)| entry.peer.last_seen)?;
        self.delete(&oldest.clone())
    }

    fn changed(&mut self, key: &PeerKey) -> Option<Change> {
        let number = self.next_number();
        let entry = self.peers.get_mut(key)?;
        entry.last_change = number;
        entry.remembered = Remembered::Pending;
        Some(Change { number, edit: Edit::Put(Box::new(entry.peer.duplicate())) })
    }

    fn delete(&mut self, key: &PeerKey) -> Option<Change> {
        self.peers.remove(key)?;
        Some(Change { number: self.next_number(), edit: Edit::Delete(key.clone()) })
    }
}

impl Entry {
    fn summary(&self, now: UnixTime) -> Summary {
        let newest = self.peer.newest_secret(now);
        Summary {
            key: self.peer.key.clone(),
            first_seen: self.peer.first_seen,
            last_seen: self.peer.last_seen,
            // without a secret there is nothing that could be verified
            verification: self.peer.verification.clone().filter(|_| newest.is_some()),
            has_secret: newest.is_some(),
            expires: newest.and_then(|kept| kept.expires),
            remembered: self.remembered,
        }
    }
}
