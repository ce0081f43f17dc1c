//! The thread that writes. What it cannot write it keeps and tries again, with the next change or after a minute.

use super::database::Database;
use crate::peers::{Change, ChangeNumber, PeerBook, PeerKey, Record, Shown};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

const RETRY: Duration = Duration::from_secs(60);

const REMEDY: &str =
    "make room on the disk of the store, and let the program write to it; it is tried again every minute";

/// What the thread is asked to do, and who wants to know.
#[derive(Debug)]
pub(super) struct Job {
    /// To write together, after everything before.
    pub(super) changes: Vec<Change>,
    /// What accounts have shown, the same way.
    pub(super) records: Vec<Record>,
    /// Whether the database is to be closed after that.
    pub(super) close: bool,
    /// Whether everything is in the store.
    pub(super) done: oneshot::Sender<bool>,
}

/// Writes until it is told to close, or until every handle of the store is gone.
pub(super) fn run(database: Option<Database>, jobs: &Receiver<Job>, book: &PeerBook) {
    let mut writer = Writer { database, backlog: BTreeMap::new(), records: BTreeMap::new(), failing: false };
    loop {
        let job = match writer.has_nothing_to_do() {
            true => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => jobs.recv_timeout(RETRY),
        };
        match job {
            Ok(Job { changes, records, close, done }) => {
                let keyed = records.into_iter().map(|record| ((record.account.clone(), record.shown), record));
                writer.records.extend(keyed);
                // the last word on a peer is all that counts
                writer.backlog.extend(changes.into_iter().map(|change| (change.edit.key().clone(), change)));
                let in_store = writer.write(book);
                if close {
                    drop(writer);
                    let _ = done.send(in_store);
                    return;
                }
                let _ = done.send(in_store); // nobody needs to wait
            }
            Err(RecvTimeoutError::Timeout) => {
                writer.write(book);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Writer {
    database: Option<Database>,
    backlog: BTreeMap<PeerKey, Change>,
    records: BTreeMap<(String, Shown), Record>,
    failing: bool,
}

impl Writer {
    fn has_nothing_to_do(&self) -> bool {
        self.backlog.is_empty() && self.records.is_empty()
    }

    /// Writes everything that is not yet written, or nothing.
    fn write(&mut self, book: &PeerBook) -> bool {
        if self.has_nothing_to_do() {
            return true;
        }
        let edits = self.backlog.values().map(|change| &change.edit);
        let result = match &mut self.database {
            Some(database) => database.apply(edits, self.records.values()).map_err(|error| error.to_string()),
            None => Err("there is no database".to_owned()),
        };
        let numbers: Vec<ChangeNumber> = self.backlog.values().map(|change| change.number).collect();
        book.written(&numbers, result.is_ok());
        match result {
            Ok(()) => {
                self.backlog.clear();
                self.records.clear();
                if std::mem::take(&mut self.failing) {
                    tracing::info!(
                        changes = numbers.len(),
                        "what was remembered of ZRTP phones and accounts could be written now"
                    );
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, remedy = REMEDY, "what is remembered of a ZRTP phone or an account cannot be written");
                }
                false
            }
        }
    }
}
