//! The store of ZRTP peers when the disk, the machine or somebody's hand fails: never a verified phone out of nothing, never a
//! lost ZID, and nothing forgotten that was said to be remembered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod crashes;
mod damage;
mod disks;

use galene_sips::io::SystemRandomness;
use galene_sips::io::peers::PeerStore;
use galene_sips::io::store::{Store, StoreError};
use galene_sips::peers::{
    Caller, Change, PeerBook, PeerCache, PeerKey, Remembered, Shown, Summary, Verification, Verifier,
};
use galene_sips::units::UnixTime;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zrtp_proto::{Cache as _, CacheEntry, Lifetime, Lookup, Remember, Retained, Secret, Zid};

const ACCOUNT: &str = "conference@sip.example.org";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// A directory in memory where there is one, since thousands of stores are made, each synced.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = parent.join(format!("galene-sips-peer-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Place(path)
    }

    /// The same place with nothing in it but these files.
    fn with(&self, files: &[(&str, &[u8])]) -> &Path {
        let _ = fs::remove_dir_all(&self.0);
        fs::create_dir(&self.0).unwrap();
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).unwrap();
        for (name, content) in files {
            fs::write(self.0.join(name), content).unwrap();
        }
        &self.0
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// How many databases were set aside.
    fn set_aside(&self) -> usize {
        self.names()
            .iter()
            .filter(|name| name.starts_with("peers.sqlite.damaged-") && !name.ends_with("-journal"))
            .count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn try_open(directory: &Path) -> Result<PeerStore, StoreError> {
    let store = Store::open(directory)?;
    PeerStore::open(&store, &mut SystemRandomness::default(), NOW)
}

/// A lock outlives its program for as long as a child that another test starts at that moment has not become its program.
fn open(directory: &Path) -> PeerStore {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match try_open(directory) {
            Err(StoreError::InUse { .. }) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

/// Holds the account to SHA-256, from now on.
fn hold(store: &PeerStore) -> bool {
    let days = (0..3).map(|day| UnixTime(NOW.0 - day * 86_400));
    let records = days.filter_map(|day| store.ratchet().succeeded(ACCOUNT, Shown::Digest, day));
    store.hold(records.collect()).blocking_recv().unwrap()
}

fn is_held(store: &PeerStore) -> bool {
    store.ratchet().floors(ACCOUNT, NOW).digest
}

/// Writes, and waits for the answer.
fn write(store: &PeerStore, changes: Vec<Change>) -> bool {
    store.write(changes).blocking_recv().unwrap()
}

fn close(store: &PeerStore) -> bool {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close())
}

fn key(caller: &str, peer: u8) -> PeerKey {
    let caller = if caller.is_empty() { Caller::Anonymous } else { Caller::Address(caller.to_owned()) };
    PeerKey::new(ACCOUNT, caller, Zid([peer; 12]))
}

fn secret(number: u8) -> Option<Retained> {
    Some(Retained { secret: Secret::new(vec![number; 32]), lifetime: Lifetime::FOREVER })
}

/// A call of this peer that ends with a new secret.
fn exchange(book: &PeerBook, caller: &str, peer: u8, new: u8) -> Vec<Change> {
    said(book, caller, peer, new, None)
}

/// A call that ends with a new secret, and with a person's word on it.
fn said(book: &PeerBook, caller: &str, peer: u8, new: u8, person: Option<&str>) -> Vec<Change> {
    let key = key(caller, peer);
    let mut cache = PeerCache::new(book, ACCOUNT, key.caller, NOW);
    let (old, verified) = match cache.lookup(&key.zid) {
        Lookup::Known(entry) => (entry.rs1, entry.verified),
        Lookup::Unknown => (None, false),
        Lookup::Busy => panic!("no other call is there"),
    };
    let person = person.map(|operator| Verification {
        at: NOW,
        by: Verifier::Voice { operator: operator.to_owned(), group: "reunion".to_owned(), call: 7 },
    });
    let entry = CacheEntry { rs1: secret(new), rs2: old, verified: verified || person.is_some() };
    cache.remember(Remember { peer: key.zid, entry: Some(entry) }, person, NOW)
}

/// All that people see, and the secrets that an engine would get.
type State = Vec<(Summary, Option<u8>, Option<u8>)>;

fn state(book: &PeerBook) -> State {
    let first = |retained: Option<Retained>| retained.map(|retained| retained.secret.expose()[0]);
    let list = book.list(NOW).into_iter().map(|summary| {
        let mut cache = PeerCache::new(book, ACCOUNT, summary.key.caller.clone(), NOW);
        let Lookup::Known(entry) = cache.lookup(&summary.key.zid) else { panic!("it is in the list") };
        assert_eq!(entry.verified, summary.verification.is_some());
        (Summary { remembered: Remembered::Yes, ..summary }, first(entry.rs1), first(entry.rs2))
    });
    list.collect()
}
