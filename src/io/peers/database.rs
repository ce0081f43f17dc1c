//! The SQLite file. Nothing here decides anything: it reads, writes, and says which kind of trouble there is.
//!
//! A rollback journal with `synchronous = FULL`: a transaction is on disk, journal included, before it counts. Content that is
//! deleted is overwritten (`secure_delete`); what the file system keeps of a truncated journal is beyond us.

use super::held;
use super::row::{self, Cell};
use crate::peers::{Edit, Peer, Record};
use rusqlite::{Connection, ErrorCode, OpenFlags, params, params_from_iter};
use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zrtp_proto::Zid;

/// Its name in the store's directory.
pub(super) const FILE: &str = "peers.sqlite";

/// "gsZR": tells our file from any other SQLite file.
const APPLICATION_ID: i32 = 0x6773_5a52;

/// The version of the tables. A newer one is not touched.
const VERSION: i32 = 2;

/// The one before: without the table of what accounts have shown, which the first record to be written brings.
const BEFORE_THE_RATCHET: i32 = 1;

/// An open database.
#[derive(Debug)]
pub(super) struct Database(Connection);

/// What a good database holds.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) zid: Zid,
    pub(super) peers: Vec<Peer>,
    pub(super) records: Vec<Record>,
    pub(super) writable: bool,
}

/// Why a database is not used.
#[derive(Debug)]
pub(super) enum Trouble {
    Missing,
    /// Damaged, or not ours: with what is wrong, and our ZID if that much could be read.
    Damaged(String, Option<Zid>),
    /// Of a newer program.
    Newer(i32),
    /// The system does not let us read it. It may be good.
    Unreadable(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::SystemIoFailure
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory,
            ) => Trouble::Unreadable(error.to_string()),
            // not a database, malformed, no such table, a column of another type
            _ => Trouble::Damaged(error.to_string(), None),
        }
    }
}

/// Where the database is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Its journal, which belongs to it alone.
pub(super) fn journal(database: &Path) -> PathBuf {
    let mut journal = database.as_os_str().to_owned();
    journal.push("-journal");
    journal.into()
}

impl Database {
    /// Opens the database and reads all of it. A transaction that a crash cut off is rolled back.
    pub(super) fn open(path: &Path) -> Result<(Self, Content), Trouble> {
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Trouble::Missing),
            Err(error) => return Err(Trouble::Unreadable(error.to_string())),
            Ok(metadata) if !metadata.is_file() => return Err(Trouble::Damaged("it is no file".to_owned(), None)),
            Ok(_) => {}
        }
        let database = Self::connect(path)?;
        let content = database.content()?;
        Ok((database, content))
    }

    /// Makes a new database beside the place and moves it there whole, so that there is never half of one.
    pub(super) fn create(path: &Path, zid: Zid) -> Result<Self, String> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let io_error = |error: io::Error| error.to_string();
        // a journal whose database is gone would be rolled back into the new one
        for leftover in [&new, &journal(&new), &journal(path)] {
            remove(leftover).map_err(io_error)?;
        }
        // SQLite gives the journal the mode of the database
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(io_error)?;
        Self::fill(&new, zid).map_err(|error| error.to_string())?;
        remove(&journal(&new)).map_err(io_error)?;
        fs::rename(&new, path).map_err(io_error)?;
        if let Some(directory) = path.parent() {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(io_error)?;
        }
        Self::connect(path).map_err(|error| error.to_string())
    }

    fn connect(path: &Path) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        // exclusive: we are the only program, and what we hold in memory is the truth
        connection.execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;
             PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
             PRAGMA journal_mode = TRUNCATE;",
        )?;
        Ok(Database(connection))
    }

    fn fill(path: &Path, zid: Zid) -> rusqlite::Result<()> {
        let mut database = Self::connect(path)?;
        let transaction = database.0.transaction()?;
        let (columns, held) = (row::COLUMNS.join(", "), held::TABLE);
        transaction.execute_batch(&format!(
            "CREATE TABLE own (id INTEGER PRIMARY KEY CHECK (id = 1), zid, digest);
             {held};
             CREATE TABLE peer ({columns}, PRIMARY KEY (account, caller, zid)) WITHOUT ROWID;
             PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
        ))?;
        write_zid(&transaction, zid)?;
        transaction.commit()
    }

    fn content(&self) -> Result<Content, Trouble> {
        let number = |pragma: &str| self.0.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0));
        let (application, version) = (number("application_id")?, number("user_version")?);
        if application != APPLICATION_ID {
            return Err(Trouble::Damaged("it is not a galene-sips database".to_owned(), None));
        }
        match version.cmp(&VERSION) {
            Ordering::Greater => return Err(Trouble::Newer(version)),
            Ordering::Less if version == BEFORE_THE_RATCHET && !self.has_records()? => {}
            Ordering::Less => return Err(Trouble::Damaged("its version never existed".to_owned(), None)),
            Ordering::Equal => {}
        }
        let zid = self.zid();
        let damaged = |what: String| Trouble::Damaged(what, zid.as_ref().ok().copied());
        let with_zid = |error: rusqlite::Error| match Trouble::from(error) {
            Trouble::Damaged(what, _) => damaged(what),
            trouble => trouble,
        };
        let check: String = self.0.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(with_zid)?;
        if check != "ok" {
            return Err(damaged(check));
        }
        let peers =
            self.peers().map_err(with_zid)?.map_err(|row::NotOurs| damaged("a row of it is damaged".to_owned()))?;
        let records = match version {
            BEFORE_THE_RATCHET => Vec::new(),
            _ => self
                .records()
                .map_err(with_zid)?
                .map_err(|row::NotOurs| damaged("a row of it is damaged".to_owned()))?,
        };
        let writable = !self.0.is_readonly("main").map_err(with_zid)?;
        match zid {
            Ok(zid) => Ok(Content { zid, peers, records, writable }),
            Err(trouble) => Err(trouble),
        }
    }

    fn zid(&self) -> Result<Zid, Trouble> {
        let damaged = || Trouble::Damaged("our ZID in it is damaged".to_owned(), None);
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
        let (zid, digest) = self.0.query_row("SELECT zid, digest FROM own WHERE id = 1", [], read)?;
        if digest != row::digest(&[Cell::Octets(&zid)]) {
            return Err(damaged());
        }
        zid.try_into().map(Zid).map_err(|_| damaged())
    }

    fn peers(&self) -> rusqlite::Result<Result<Vec<Peer>, row::NotOurs>> {
        let mut select = self.0.prepare(&format!("SELECT {} FROM peer", row::COLUMNS.join(", ")))?;
        let rows = select.query_map([], row::read)?;
        rows.collect()
    }

    fn has_records(&self) -> rusqlite::Result<bool> {
        self.0.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'held'", [], |row| row.get(0))
    }

    fn records(&self) -> rusqlite::Result<Result<Vec<Record>, row::NotOurs>> {
        let mut select = self.0.prepare(&format!("SELECT {} FROM held", held::COLUMNS))?;
        let rows = select.query_map([], held::read)?;
        rows.collect()
    }

    /// Makes all of these edits or none of them, for good.
    pub(super) fn apply<'a>(
        &mut self,
        edits: impl Iterator<Item = &'a Edit>,
        records: impl Iterator<Item = &'a Record>,
    ) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        let mut records = records.peekable();
        if records.peek().is_some() {
            let table = held::TABLE.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS");
            transaction.execute_batch(&format!("{table}; PRAGMA user_version = {VERSION};"))?;
            let mut put = transaction.prepare("REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?, ?)")?;
            for record in records {
                held::with_row(record, |row| put.execute(params_from_iter(row)))?;
            }
        }
        {
            let places = vec!["?"; row::COLUMNS.len()].join(", ");
            let mut put = transaction.prepare(&format!("REPLACE INTO peer VALUES ({places})"))?;
            let mut delete = transaction.prepare("DELETE FROM peer WHERE account = ? AND caller = ? AND zid = ?")?;
            for edit in edits {
                match edit {
                    Edit::Put(peer) => row::with_row(peer, |row| put.execute(params_from_iter(row)))?,
                    Edit::Delete(key) => {
                        delete.execute(params![key.account, key.caller.address().unwrap_or_default(), key.zid.0])?
                    }
                };
            }
        }
        transaction.commit()
    }

    /// Sets the copy of our ZID.
    pub(super) fn set_zid(&self, zid: Zid) -> rusqlite::Result<()> {
        write_zid(&self.0, zid)
    }
}

fn write_zid(connection: &Connection, zid: Zid) -> rusqlite::Result<()> {
    let digest = row::digest(&[Cell::Octets(&zid.0)]);
    connection.execute("REPLACE INTO own VALUES (1, ?, ?)", params![zid.0, digest]).map(drop)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
