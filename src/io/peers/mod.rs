//! The store of ZRTP peers: our ZID and what is remembered of each peer, in the directory of `[store]`.
//!
//! | file | holds |
//! |---|---|
//! | `zid` | our ZID, 24 hexadecimal digits |
//! | `peers.sqlite` | our ZID again, every peer with its retained secrets, and what each account has shown (the ratchet) |
//!
//! Our ZID must survive the loss of either: with another one every phone would meet an unknown device. Whichever file is whole gives it to
//! the other; where both are and differ, the database is right if it has peers, because their secrets were agreed on under its ZID.
//!
//! What is wrong with a database, and what happens then (calls go on in every case but the last two):
//!
//! | state | what happens |
//! |---|---|
//! | damaged, cut off, no database, somebody else's | it is renamed, an alarm is logged, a new one is begun: nothing counts as verified, no account is held to anything |
//! | cannot be written (read-only, full) | its peers are known; what changes is "not remembered", and tried again every minute |
//! | cannot be read | it is left alone, an alarm is logged; no peer is known and nothing is remembered until the next start |
//! | written by a newer version | the program does not start: setting it aside would lose every verification for a mistaken downgrade |
//! | our ZID is in neither file, but may be in one that cannot be read | the program does not start: a new ZID could not be taken back |

mod database;
mod held;
mod open;
mod row;
mod writer;
mod zid;

use super::store::{Store, StoreError};
use crate::peers::{Change, PeerBook, Ratchet, Record};
use crate::units::{Random, UnixTime};
use std::sync::mpsc;
use tokio::sync::oneshot;
use writer::Job;
use zrtp_proto::Zid;

/// The store of ZRTP peers. A cheap handle: every clone is the same store.
#[derive(Clone, Debug)]
pub struct PeerStore {
    zid: Zid,
    book: PeerBook,
    ratchet: Ratchet,
    jobs: mpsc::Sender<Job>,
}

impl PeerStore {
    /// Reads the store and begins to write to it, on a thread of its own: a disk may take its time, sound may not.
    pub fn open(store: &Store, random: &mut dyn Random, now: UnixTime) -> Result<Self, StoreError> {
        let opened = open::open(store.directory(), random, now)?;
        let book = PeerBook::new(opened.peers, now);
        let (jobs, inbox) = mpsc::channel();
        let (database, written) = (opened.database, book.clone());
        let thread = std::thread::Builder::new().name("peer-store".to_owned());
        thread
            .spawn(move || writer::run(database, &inbox, &written))
            .map_err(|source| StoreError::Unusable { path: store.directory().display().to_string(), source })?;
        Ok(PeerStore { zid: opened.zid, book, ratchet: Ratchet::new(opened.records), jobs })
    }

    /// Our ZID, the same for ever.
    pub fn zid(&self) -> Zid {
        self.zid
    }

    /// All peers.
    pub fn book(&self) -> &PeerBook {
        &self.book
    }

    /// What accounts have shown.
    pub fn ratchet(&self) -> &Ratchet {
        &self.ratchet
    }

    /// Writes these changes after all earlier ones. Answers whether they are in the store, for good even if the machine stops now;
    /// the book is told so too. Whoever does not care may drop the answer.
    pub fn write(&self, changes: Vec<Change>) -> oneshot::Receiver<bool> {
        self.ask(changes, Vec::new(), false)
    }

    /// The same for what accounts have shown. What cannot be written counts while the program runs.
    pub fn hold(&self, records: Vec<Record>) -> oneshot::Receiver<bool> {
        self.ask(Vec::new(), records, false)
    }

    /// Writes what can be written and closes the store, at the end of the program. Whether everything is in it.
    pub async fn close(&self) -> bool {
        self.ask(Vec::new(), Vec::new(), true).await.unwrap_or(false)
    }

    fn ask(&self, changes: Vec<Change>, records: Vec<Record>, close: bool) -> oneshot::Receiver<bool> {
        let (done, answer) = oneshot::channel();
        if let Err(mpsc::SendError(job)) = self.jobs.send(Job { changes, records, close, done }) {
            // the store is closed
            self.book.written(&job.changes.iter().map(|change| change.number).collect::<Vec<_>>(), false);
        }
        answer
    }
}
