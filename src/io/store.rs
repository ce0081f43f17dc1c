//! What outlives the program, in one directory: the instance id of each account (RFC 5626 §4.1), one small file each;
//! and what [`peers`](super::peers) keeps.
//!
//! Written to a temporary file, synced and renamed, so that a crash leaves the old state or the new one. 0600 in a 0700 directory.

use crate::units::Random;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The directory of `[store]`, ours alone as long as this lives.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What the system says.
    #[error("cannot use {path}: {source}; set `directory` in [store] to one that the program may write to")]
    Unusable {
        /// Which file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A newer program has changed the memory of ZRTP peers in a way that this one cannot know.
    #[error(
        "{path} was written by a newer galene-sips (its version {version} is unknown here); run the newer one, or move the file away and lose what is remembered of ZRTP phones"
    )]
    Newer {
        /// The database.
        path: String,
        /// Its version.
        version: i32,
    },
    /// Our ZID may be in a file that cannot be read.
    #[error(
        "cannot read our ZRTP identity (ZID) in {path}: {what}; let the program read its store. Only if the files are lost for good, move them away: a new ZID makes every phone ask for its code again"
    )]
    ZidUnreadable {
        /// The directory.
        path: String,
        /// What the system said.
        what: String,
    },
    /// Two programs with one instance id would take each other's calls.
    #[error(
        "another galene-sips is running with the store {path}; end it first, or give this one a [store] of its own"
    )]
    InUse {
        /// The directory.
        path: String,
    },
}

impl Store {
    /// Opens the directory, and makes it if need be.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| failed(directory, source))?;
        let lock_path = directory.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        // a store that has become read-only still serves: nothing new is remembered then
        let lock = lock.or_else(|error| File::open(&lock_path).map_err(|_| error));
        let lock = lock.map_err(|source| failed(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Store { directory: directory.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: directory.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(failed(&lock_path, source)),
        }
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The account's instance id, the same for ever: `urn:uuid:…` (RFC 4122 §4.4).
    pub fn instance_id(&self, account: &str, random: &mut dyn Random) -> Result<String, StoreError> {
        let path = self.directory.join(format!("instance-{}", file_name(account)));
        match fs::read_to_string(&path) {
            Ok(text) if is_uuid(text.trim()) => return Ok(format!("urn:uuid:{}", text.trim())),
            Ok(_) => tracing::warn!(path = %path.display(), "no instance id in this file; a new one is made"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
        let uuid = new_uuid(random);
        write_whole(&path, format!("{uuid}\n").as_bytes()).map_err(|source| failed(&path, source))?;
        Ok(format!("urn:uuid:{uuid}"))
    }
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), source }
}

/// All of `bytes` or nothing, even if the machine stops in between.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// An address as a file name: what is not plain is written as hexadecimal digits.
fn file_name(account: &str) -> String {
    account
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'@' => char::from(byte).to_string(),
            b'.' => ".".to_owned(),
            other => format!("%{other:02x}"),
        })
        .collect::<String>()
}

fn new_uuid(random: &mut dyn Random) -> String {
    let mut bytes = [0u8; 16];
    random.fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use crate::io::SystemRandomness;
    use std::os::unix::fs::PermissionsExt as _;

    fn fresh_directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("galene-sips-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory
    }

    #[test]
    fn an_instance_id_is_the_same_after_a_restart_and_another_for_another_account() {
        let directory = fresh_directory("restart");
        let mut random = SystemRandomness::default();
        let first = Store::open(&directory).unwrap().instance_id("a@example.org", &mut random).unwrap();
        let store = Store::open(&directory).unwrap();
        assert_eq!(store.instance_id("a@example.org", &mut random).unwrap(), first);
        assert_ne!(store.instance_id("a/../b@example.org", &mut random).unwrap(), first);
        assert!(is_uuid(first.strip_prefix("urn:uuid:").unwrap()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        for entry in fs::read_dir(&directory).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn one_store_serves_one_program_at_a_time() {
        let directory = fresh_directory("lock");
        let store = Store::open(&directory).unwrap();
        assert!(matches!(Store::open(&directory), Err(StoreError::InUse { .. })));
        drop(store);
        assert!(Store::open(&directory).is_ok());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_broken_file_is_replaced_and_a_crash_while_writing_loses_nothing() {
        let directory = fresh_directory("broken");
        let mut random = SystemRandomness::default();
        let store = Store::open(&directory).unwrap();
        let first = store.instance_id("a@example.org", &mut random).unwrap();
        // a crash in the middle of the next write leaves a temporary file behind
        fs::write(directory.join("instance-a@example.org.new"), "half").unwrap();
        assert_eq!(store.instance_id("a@example.org", &mut random).unwrap(), first);
        fs::write(directory.join("instance-a@example.org"), "garbage").unwrap();
        assert!(store.instance_id("a@example.org", &mut random).unwrap() != first);
        fs::remove_dir_all(&directory).unwrap();
    }
}
