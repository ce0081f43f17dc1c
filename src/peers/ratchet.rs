//! What each account has shown: the memory behind [`Floors`](crate::policy::Floors).
//!
//! In: successes, with their time. Out: what an account is held to, and rows to be written. Three successes on three different days (UTC)
//! hold it, until nothing of the kind has succeeded for 180 days, or a person clears it. One memory serves all accounts.

use super::peer::normalised_account;
use super::{Caller, PeerBook, Summary};
use crate::policy::Floors;
use crate::units::UnixTime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// On so many different days something must have succeeded.
const DAYS: usize = 3;

/// So long after its last success an account is held to it.
const HOLDS: u32 = 180 * SECONDS_OF_A_DAY as u32;

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// What can succeed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shown {
    /// The provider asked for SHA-256 or better, and registered the account.
    Digest,
    /// The account was registered over TLS 1.3.
    Tls,
    /// A call had SRTP or better.
    Media,
    /// Nothing did: its time is when a person cleared the account. Callers are held only to what they showed since.
    Cleared,
}

impl Shown {
    /// All of them.
    pub const ALL: [Shown; 4] = [Shown::Digest, Shown::Tls, Shown::Media, Shown::Cleared];

    /// Its name in the store and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Shown::Digest => "digest",
            Shown::Tls => "tls",
            Shown::Media => "media",
            Shown::Cleared => "cleared",
        }
    }
}

/// What is kept of one thing that an account has shown. The whole truth: a row replaces the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The account, its domain in lower case.
    pub account: String,
    /// What.
    pub shown: Shown,
    /// The first different days on which it succeeded, since 1970; at most three.
    pub days: Vec<u64>,
    /// When it last did; written once a day.
    pub last: UnixTime,
}

impl Record {
    /// Until when the account is held to it; `None` if it is not.
    pub fn holds_until(&self, now: UnixTime) -> Option<UnixTime> {
        let end = self.last.later(HOLDS);
        (self.shown != Shown::Cleared && self.days.len() >= DAYS && now <= end).then_some(end)
    }

    /// The day since when.
    pub fn since(&self) -> Option<UnixTime> {
        self.days.get(DAYS - 1).map(|day| UnixTime(day * SECONDS_OF_A_DAY))
    }
}

/// A caller who came with ZRTP before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallerBefore {
    /// He did not, or too long ago, or before the account was cleared.
    Unknown,
    /// He did.
    HadZrtp,
    /// He did, and a person has compared his code.
    Verified,
}

/// The memory. A cheap handle: every clone is the same.
#[derive(Clone, Default, Debug)]
pub struct Ratchet(Arc<Mutex<BTreeMap<(String, Shown), Record>>>);

impl Ratchet {
    /// With what the store has.
    pub fn new(records: Vec<Record>) -> Self {
        let keyed = records.into_iter().map(|record| ((record.account.clone(), record.shown), record));
        Ratchet(Arc::new(Mutex::new(keyed.collect())))
    }

    /// Something succeeded. What is to be written, if that is news.
    pub fn succeeded(&self, account: &str, shown: Shown, now: UnixTime) -> Option<Record> {
        let account = normalised_account(account);
        let today = now.0 / SECONDS_OF_A_DAY;
        let mut records = self.records();
        let record = records.entry((account.clone(), shown)).or_insert_with(|| Record {
            account,
            shown,
            days: Vec::new(),
            last: now,
        });
        if now > record.last.later(HOLDS) {
            record.days.clear(); // too long ago to count
        }
        let is_new = record.days.len() < DAYS && !record.days.contains(&today);
        if is_new {
            record.days.push(today);
        }
        let is_first_today = record.last.0 / SECONDS_OF_A_DAY < today;
        record.last = record.last.max(now);
        (is_new || is_first_today).then(|| record.clone())
    }

    /// What the account is held to.
    pub fn floors(&self, account: &str, now: UnixTime) -> Floors {
        let account = normalised_account(account);
        let records = self.records();
        let holds = |shown| {
            records.get(&(account.clone(), shown)).is_some_and(|record: &Record| record.holds_until(now).is_some())
        };
        Floors { digest: holds(Shown::Digest), tls: holds(Shown::Tls), media: holds(Shown::Media), caller: false }
    }

    /// What a caller did before, as far as it counts.
    pub fn caller(&self, book: &PeerBook, account: &str, caller: &Caller, now: UnixTime) -> CallerBefore {
        let cleared = self.cleared(account);
        let mut before = CallerBefore::Unknown;
        for peer in book.of_caller(&normalised_account(account), caller, now) {
            match holds_caller(&peer, cleared, now) {
                Some(_) if peer.verification.is_some() => return CallerBefore::Verified,
                Some(_) => before = CallerBefore::HadZrtp,
                None => {}
            }
        }
        before
    }

    /// The callers of an account who are held to ZRTP, and until when.
    pub fn callers(&self, book: &PeerBook, account: &str, now: UnixTime) -> BTreeMap<Caller, UnixTime> {
        let (account, cleared) = (normalised_account(account), self.cleared(account));
        let mut held = BTreeMap::new();
        let verified = |peer: &Summary| peer.verification.is_some() && peer.key.caller != Caller::Anonymous;
        for peer in book.list(now).into_iter().filter(|peer| peer.key.account == account && verified(peer)) {
            if let Some(until) = holds_caller(&peer, cleared, now) {
                let longest = held.entry(peer.key.caller).or_insert(until);
                *longest = until.max(*longest);
            }
        }
        held
    }

    /// A person says that the account may be weaker again. What is to be written.
    pub fn clear(&self, account: &str, now: UnixTime) -> Vec<Record> {
        let account = normalised_account(account);
        let cleared = Shown::ALL.map(|shown| Record { account: account.clone(), shown, days: Vec::new(), last: now });
        let mut records = self.records();
        records.extend(cleared.iter().map(|record| ((record.account.clone(), record.shown), record.clone())));
        cleared.into()
    }

    /// When a person last cleared the account.
    pub fn cleared(&self, account: &str) -> Option<UnixTime> {
        self.records().get(&(normalised_account(account), Shown::Cleared)).map(|record| record.last)
    }

    /// Everything that accounts have shown, in their order.
    pub fn list(&self) -> Vec<Record> {
        self.records().values().cloned().collect()
    }

    fn records(&self) -> MutexGuard<'_, BTreeMap<(String, Shown), Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until when a caller's phone counts; `None` if it does not any more.
fn holds_caller(peer: &Summary, cleared: Option<UnixTime>, now: UnixTime) -> Option<UnixTime> {
    let until = peer.last_seen.later(HOLDS);
    (cleared.is_none_or(|at| peer.last_seen > at) && now <= until).then_some(until)
}
