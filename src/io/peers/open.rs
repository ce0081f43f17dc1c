//! What the store's files say is brought together: our ZID, the peers, and a database to write to if there can be one.

use super::database::{self, Database, Trouble};
use super::zid::{self, ZidFile};
use crate::io::store::StoreError;
use crate::io::utc;
use crate::peers::{Peer, Record};
use crate::units::{Random, UnixTime};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use zrtp_proto::Zid;

/// What the store gives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) zid: Zid,
    pub(super) peers: Vec<Peer>,
    pub(super) records: Vec<Record>,
    /// `None`: nothing can be written before the next start.
    pub(super) database: Option<Database>,
}

const READ_ONLY: &str = "let the program write to its store; until then the room reads \"not remembered\"";
const LEFT_ALONE: &str = "let the program read and write its store, then restart it; until then no phone counts as verified and none is remembered";
const SET_ASIDE: &str = "restore a backup, or have the codes of the phones compared again; look at the disk. The file set aside is not used any more";

pub(super) fn open(directory: &Path, random: &mut dyn Random, now: UnixTime) -> Result<Opened, StoreError> {
    let path = database::path(directory);
    let found = Database::open(&path);
    if let Err(Trouble::Newer(version)) = found {
        return Err(StoreError::Newer { path: path.display().to_string(), version });
    }
    let file = zid::read(directory);
    let is_first_start = matches!((&file, &found), (ZidFile::Missing, Err(Trouble::Missing)));
    let zid = decide_zid(directory, &file, &found, random)?;
    Ok(match found {
        Ok((database, content)) => {
            if content.zid != zid {
                tracing::warn!(path = %path.display(), "the database without peers had another ZID; it has ours now");
                if let Err(error) = database.set_zid(zid) {
                    tracing::error!(path = %path.display(), %error, remedy = READ_ONLY, "our ZID cannot be written");
                }
            }
            if !content.writable {
                tracing::error!(path = %path.display(), remedy = READ_ONLY, "the memory of ZRTP phones is read-only");
            }
            Opened { zid, peers: content.peers, records: content.records, database: Some(database) }
        }
        Err(Trouble::Missing) => {
            if !is_first_start {
                tracing::error!(path = %path.display(), remedy = SET_ASIDE, "the memory of ZRTP phones is gone; a new one is begun");
            }
            begin(&path, zid)
        }
        Err(Trouble::Damaged(why, _)) => match set_aside(&path, now) {
            Ok(aside) => {
                tracing::error!(
                    path = %path.display(), set_aside = %aside.display(), why, remedy = SET_ASIDE,
                    "ALARM: the memory of ZRTP phones is damaged: it was set aside and a new one is begun; no phone counts as verified, and no account is held to what it has shown (the ratchet)"
                );
                begin(&path, zid)
            }
            Err(error) => {
                tracing::error!(
                    path = %path.display(), why, %error, remedy = LEFT_ALONE,
                    "ALARM: the memory of ZRTP phones is damaged and cannot be set aside; no phone counts as verified, and no account is held to what it has shown (the ratchet)"
                );
                Opened { zid, peers: Vec::new(), records: Vec::new(), database: None }
            }
        },
        Err(Trouble::Unreadable(why)) => {
            tracing::error!(
                path = %path.display(), why, remedy = LEFT_ALONE,
                "ALARM: the memory of ZRTP phones cannot be read and is left alone; no phone counts as verified, and no account is held to what it has shown (the ratchet)"
            );
            Opened { zid, peers: Vec::new(), records: Vec::new(), database: None }
        }
        Err(Trouble::Newer(version)) => {
            return Err(StoreError::Newer { path: path.display().to_string(), version });
        }
    })
}

/// Our ZID. A new one is made only if neither file can have one.
fn decide_zid(
    directory: &Path,
    file: &ZidFile,
    found: &Result<(Database, database::Content), Trouble>,
    random: &mut dyn Random,
) -> Result<Zid, StoreError> {
    let in_database = match found {
        Ok((_, content)) => Some(content.zid),
        Err(Trouble::Damaged(_, zid)) => *zid,
        Err(_) => None,
    };
    let has_peers = matches!(found, Ok((_, content)) if !content.peers.is_empty());
    let zid = match (file, in_database) {
        (ZidFile::Present(own), Some(other)) if *own != other && has_peers => {
            tracing::warn!("the file zid was not the ZID of the peers in the database; it is now");
            other
        }
        (ZidFile::Present(own), _) => return Ok(*own),
        (_, Some(zid)) => zid,
        (ZidFile::Unreadable(error), None) => return Err(unreadable(directory, error.to_string())),
        (ZidFile::Missing | ZidFile::Damaged, None) => {
            if let Err(Trouble::Unreadable(what)) = found {
                return Err(unreadable(directory, what.clone()));
            }
            return new_zid(directory, file, found, random);
        }
    };
    if let Err(error) = zid::write(directory, zid) {
        tracing::error!(%error, remedy = READ_ONLY, "the file zid cannot be written; our ZID is in the database alone");
    }
    Ok(zid)
}

/// The first start, or both files are lost. A ZID counts once it is on disk.
fn new_zid(
    directory: &Path,
    file: &ZidFile,
    found: &Result<(Database, database::Content), Trouble>,
    random: &mut dyn Random,
) -> Result<Zid, StoreError> {
    if !matches!((file, found), (ZidFile::Missing, Err(Trouble::Missing))) {
        tracing::error!(
            remedy = SET_ASIDE,
            "ALARM: our ZRTP identity (ZID) is lost with both of its files; every phone will meet an unknown device"
        );
    }
    let mut zid = [0; 12];
    random.fill(&mut zid);
    let path = directory.join(zid::FILE);
    zid::write(directory, Zid(zid))
        .map_err(|source| StoreError::Unusable { path: path.display().to_string(), source })?;
    Ok(Zid(zid))
}

fn unreadable(directory: &Path, what: String) -> StoreError {
    StoreError::ZidUnreadable { path: directory.display().to_string(), what }
}

fn begin(path: &Path, zid: Zid) -> Opened {
    let database = Database::create(path, zid)
        .inspect_err(|error| {
            tracing::error!(path = %path.display(), %error, remedy = READ_ONLY, "a memory of ZRTP phones cannot be made");
        })
        .ok();
    Opened { zid, peers: Vec::new(), records: Vec::new(), database }
}

/// Renames the database and its journal. The database first: a database whose journal is gone could pass for a whole one.
fn set_aside(path: &Path, now: UnixTime) -> io::Result<PathBuf> {
    let aside = (0..)
        .map(|copy| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".damaged-{}", utc(now).replace([':', '-'], "")));
            if copy > 0 {
                name.push(format!("-{copy}"));
            }
            PathBuf::from(name)
        })
        .find(|name| fs::symlink_metadata(name).is_err())
        .unwrap_or_default();
    fs::rename(path, &aside)?;
    let journal = database::journal(path);
    match fs::symlink_metadata(&journal) {
        // what could bring the database back goes with it
        Ok(metadata) if metadata.len() > 0 => fs::rename(&journal, database::journal(&aside))?,
        _ => database::remove(&journal)?,
    }
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(aside)
}
