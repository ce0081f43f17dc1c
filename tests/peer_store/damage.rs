//! Files that are not what we wrote.

use super::{NOW, Place, State, close, exchange, hold, is_held, key, open, said, state, try_open, write};
use galene_sips::io::store::StoreError;
use galene_sips::peers::Remembered;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

struct Good {
    zid: String,
    file: Vec<u8>,
    database: Vec<u8>,
    state: State,
}

/// A store with verified and other peers, and its files.
fn good(place: &Place) -> Good {
    let store = open(place.with(&[]));
    let book = store.book();
    let mut changes = Vec::new();
    for peer in 1..40 {
        changes.extend(said(book, "alice@example.org", peer, peer, (peer % 3 == 0).then_some("jane")));
    }
    changes.extend(exchange(book, "", 1, 200));
    changes.push(book.verify(&key("", 1), NOW).unwrap());
    assert!(write(&store, changes));
    assert!(hold(&store));
    let (zid, state) = (store.zid().to_string(), state(book));
    close(&store);
    Good { zid, file: place.read("zid"), database: place.read("peers.sqlite"), state }
}

/// Opens a damaged store: our ZID is there, and all the peers are or none.
fn nothing_out_of_nothing(place: &Place, good: &Good, what: &str) -> bool {
    let store = open(&place.0);
    assert_eq!(store.zid().to_string(), good.zid, "{what}");
    let found = state(store.book());
    let is_whole = found == good.state;
    assert!(is_whole || found.is_empty(), "{what}: {found:?}");
    assert_eq!(is_held(&store), is_whole, "{what}: an account is held, or there is an alarm");
    assert_eq!(place.set_aside(), usize::from(!is_whole), "{what}");
    assert_eq!(place.read("zid"), good.file, "{what}");
    if !is_whole {
        // and the next peer is remembered
        assert!(write(&store, exchange(store.book(), "alice@example.org", 1, 9)), "{what}");
    }
    close(&store);
    is_whole
}

#[test]
fn a_database_cut_off_at_any_length() {
    let place = Place::new("cut");
    let good = good(&place);
    let length = good.database.len();
    let near_a_page = |at: usize| at % 512 <= 1 || at % 512 >= 510;
    let mut tried = 0;
    for at in (0..length).filter(|at| *at < 600 || near_a_page(*at) || at % 61 == 0) {
        place.with(&[("zid", &good.file), ("peers.sqlite", &good.database[..at])]);
        assert!(!nothing_out_of_nothing(&place, &good, &format!("cut off at {at}")));
        tried += 1;
    }
    assert!(tried > 700);
}

#[test]
fn a_database_with_a_wrong_octet_anywhere() {
    let place = Place::new("flip");
    let good = good(&place);
    let mut damaged = good.database.clone();
    let mut seen = 0;
    let page_header = |at: usize| at >= 4096 && at % 4096 < 12;
    for at in (0..damaged.len()).filter(|at| *at < 112 || at % 7 == 0 || page_header(*at)) {
        for flip in [0x01, 0x80] {
            damaged[at] ^= flip;
            place.with(&[("zid", &good.file), ("peers.sqlite", &damaged)]);
            match try_open(&place.0) {
                // the header's version number: a newer program's, as far as anybody can tell
                Err(StoreError::Newer { .. }) => assert!((60..64).contains(&at), "{at}"),
                Err(error) => panic!("{at}: {error}"),
                Ok(store) => {
                    close(&store);
                    let first = place.set_aside();
                    assert!(first == 0 || nothing_is_verified(&place), "{at}");
                    if first == 0 {
                        assert!(nothing_out_of_nothing(&place, &good, &format!("octet {at}")));
                    }
                    seen += first;
                }
            }
            damaged[at] ^= flip;
        }
    }
    assert!(seen > 500, "only {seen} were seen");
}

fn nothing_is_verified(place: &Place) -> bool {
    let store = open(&place.0);
    let is_empty = state(store.book()).is_empty();
    close(&store);
    is_empty
}

#[test]
fn a_page_lost_or_exchanged() {
    let place = Place::new("page");
    let good = good(&place);
    let pages = good.database.len() / 4096;
    assert!(pages > 3);
    for page in 0..pages {
        let mut database = good.database.clone();
        database[page * 4096..(page + 1) * 4096].fill(0);
        place.with(&[("zid", &good.file), ("peers.sqlite", &database)]);
        assert!(!nothing_out_of_nothing(&place, &good, &format!("page {page}")));
        let mut database = good.database.clone();
        database.copy_within(0..4096, page * 4096);
        place.with(&[("zid", &good.file), ("peers.sqlite", &database)]);
        assert_eq!(nothing_out_of_nothing(&place, &good, &format!("page {page} is page 0")), page == 0);
    }
}

#[test]
fn files_of_others_are_set_aside_unharmed() {
    let place = Place::new("foreign");
    let good = good(&place);
    let other = place.0.with_extension("other");
    let _ = fs::remove_file(&other);
    Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)")
        .unwrap();
    let sqlite = fs::read(&other).unwrap();
    fs::remove_file(&other).unwrap();
    for foreign in [&b""[..], b"\n", b"precious words", &sqlite, &[0xff; 5000]] {
        place.with(&[("zid", &good.file), ("peers.sqlite", foreign)]);
        assert!(!nothing_out_of_nothing(&place, &good, "a file of somebody else"));
        let aside = place.names().into_iter().find(|name| name.starts_with("peers.sqlite.damaged-")).unwrap();
        assert!(aside.starts_with("peers.sqlite.damaged-20270115T080000Z"), "{aside}");
        assert_eq!(place.read(&aside), foreign);
    }
    place.with(&[("zid", &good.file)]);
    fs::create_dir(place.0.join("peers.sqlite")).unwrap();
    assert!(!nothing_out_of_nothing(&place, &good, "a directory"));
}

#[test]
fn two_damaged_databases_are_both_kept() {
    let place = Place::new("twice");
    let good = good(&place);
    for _ in 0..3 {
        fs::write(place.0.join("peers.sqlite"), "damaged").unwrap();
        close(&open(&place.0));
    }
    assert_eq!(place.set_aside(), 3, "{:?}", place.names());
    assert_eq!(open(&place.0).zid().to_string(), good.zid);
}

/// Opens the database as another program could.
fn by_hand(place: &Place, sql: &str) {
    Connection::open(place.0.join("peers.sqlite")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn nobody_becomes_verified_by_hand() {
    let place = Place::new("hand");
    let good = good(&place);
    for sql in [
        "UPDATE peer SET verified_at = 1, verified_by = 'administrator' WHERE verified_at IS NULL",
        "UPDATE peer SET caller = 'bob@example.org' WHERE verified_at IS NOT NULL",
        "UPDATE peer SET rs1 = (SELECT rs1 FROM peer WHERE caller = '') WHERE verified_at IS NOT NULL AND caller != ''",
        "UPDATE peer SET rs1_expires = 1900000000",
        "UPDATE peer SET verified_operator = 'joe' WHERE verified_operator = 'jane'",
        "UPDATE peer SET first_seen = 1.5",
        "UPDATE peer SET digest = NULL",
        "UPDATE own SET zid = x'000000000000000000000000'",
        "DELETE FROM own",
        "DROP TABLE peer",
        "DROP TABLE own",
        "DROP TABLE held",
        "UPDATE held SET day3 = NULL",
        "UPDATE held SET last = 1",
        "UPDATE held SET account = 'bob@example.org'",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
        "PRAGMA user_version = 0",
    ] {
        place.with(&[("zid", &good.file), ("peers.sqlite", &good.database)]);
        by_hand(&place, sql);
        assert!(!nothing_out_of_nothing(&place, &good, sql));
    }
}

#[test]
fn a_database_from_before_the_ratchet_is_kept_and_begins_to_hold() {
    let place = Place::new("before");
    let good = good(&place);
    by_hand(&place, "DROP TABLE held; PRAGMA user_version = 1");
    let store = open(&place.0);
    assert!(state(store.book()) == good.state && !is_held(&store) && place.set_aside() == 0);
    assert!(write(&store, exchange(store.book(), "alice@example.org", 1, 9)));
    close(&store);
    let store = open(&place.0);
    assert!(!is_held(&store) && hold(&store));
    close(&store);
    let store = open(&place.0);
    assert!(is_held(&store) && store.book().list(NOW).len() == good.state.len() && place.set_aside() == 0);
}

#[test]
fn a_newer_database_is_not_touched() {
    let place = Place::new("newer");
    let good = good(&place);
    by_hand(&place, "PRAGMA user_version = 3; ALTER TABLE peer ADD COLUMN more");
    let before = place.read("peers.sqlite");
    let error = try_open(&place.0).err().unwrap();
    assert!(matches!(error, StoreError::Newer { version: 3, .. }), "{error}");
    assert!(error.to_string().contains("run the newer one"), "{error}");
    assert_eq!((place.read("peers.sqlite"), place.set_aside()), (before, 0));
    assert_eq!(place.read("zid"), good.file);
}

#[test]
fn the_zid_survives_the_loss_of_either_file() {
    let place = Place::new("zid");
    let good = good(&place);
    let database: (&str, &[u8]) = ("peers.sqlite", &good.database);
    let file = ("zid", &good.file[..]);
    place.with(&[file]);
    let store = open(&place.0);
    assert_eq!((store.zid().to_string(), state(store.book())), (good.zid.clone(), State::new()));
    close(&store);
    place.with(&[database]);
    assert!(nothing_out_of_nothing(&place, &good, "no file"));
    for length in 0..good.file.len() {
        place.with(&[database, ("zid", &good.file[..length])]);
        assert!(nothing_out_of_nothing(&place, &good, &format!("a file of {length} octets")));
    }
    for at in 0..good.file.len() {
        let mut wrong = good.file.clone();
        wrong[at] ^= 1;
        place.with(&[database, ("zid", &wrong)]);
        assert!(nothing_out_of_nothing(&place, &good, &format!("octet {at} of the file")), "the peers know its ZID");
    }
    // even a database that is set aside still knows it, if the damage is elsewhere
    by_hand(&place, "UPDATE peer SET last_seen = 1");
    fs::remove_file(place.0.join("zid")).unwrap();
    assert!(!nothing_out_of_nothing(&place, &good, "damaged, and no file"));
}

#[test]
fn a_zid_brought_from_elsewhere_goes_before_a_database_without_peers() {
    let place = Place::new("moved");
    close(&open(place.with(&[])));
    fs::write(place.0.join("zid"), "0123456789abcdef01234567\n").unwrap();
    close(&open(&place.0));
    fs::remove_file(place.0.join("zid")).unwrap();
    let store = open(&place.0);
    assert_eq!(store.zid().to_string(), "0123456789abcdef01234567", "the database has it now");
    close(&store);
}

#[test]
fn a_journal_without_its_database_is_not_rolled_into_the_next_one() {
    let place = Place::new("journal");
    let good = good(&place);
    // a transaction that a crash cut off, as SQLite leaves it
    let hot = place.0.with_extension("hot");
    let _ = fs::remove_dir_all(&hot);
    fs::create_dir(&hot).unwrap();
    fs::write(hot.join("peers.sqlite"), &good.database).unwrap();
    let connection = Connection::open(hot.join("peers.sqlite")).unwrap();
    connection
        .execute_batch(
            "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; UPDATE peer SET digest = zeroblob(3000)",
        )
        .unwrap();
    let journal = fs::read(hot.join("peers.sqlite-journal")).unwrap();
    let half_written = fs::read(hot.join("peers.sqlite")).unwrap();
    drop(connection);
    fs::remove_dir_all(&hot).unwrap();
    assert!(journal.len() > 512 && half_written != good.database);

    place.with(&[("zid", &good.file), ("peers.sqlite", &half_written), ("peers.sqlite-journal", &journal)]);
    assert!(nothing_out_of_nothing(&place, &good, "with its journal it is whole"));
    for length in (0..journal.len()).step_by(509) {
        let journal = ("peers.sqlite-journal", &journal[..length]);
        place.with(&[("zid", &good.file), ("peers.sqlite", &half_written), journal]);
        let _ = nothing_out_of_nothing(&place, &good, &format!("a journal of {length} octets"));
    }
    place.with(&[("zid", &good.file), ("peers.sqlite-journal", &journal)]);
    let store = open(&place.0);
    assert_eq!((store.zid().to_string(), state(store.book())), (good.zid.clone(), State::new()));
    assert!(write(&store, exchange(store.book(), "carol@example.org", 1, 1)));
    let new = state(store.book());
    close(&store);
    let store = open(&place.0);
    assert_eq!((state(store.book()), place.set_aside()), (new, 0));
    close(&store);
}

#[test]
fn the_files_are_ours_alone_and_keep_no_secret_that_was_forgotten() {
    let place = Place::new("modes");
    good(&place);
    fs::write(place.0.join("peers.sqlite"), "damaged").unwrap();
    fs::set_permissions(place.0.join("peers.sqlite"), fs::Permissions::from_mode(0o600)).unwrap();
    let store = open(&place.0);
    assert!(write(&store, exchange(store.book(), "", 1, 0xa7)));
    let secret = [0xa7; 32];
    let holds_it = || place.read("peers.sqlite").windows(32).any(|window| window == secret);
    assert!(holds_it());
    assert!(write(&store, vec![store.book().forget(&key("", 1)).unwrap()]));
    assert!(!holds_it());
    let others = |name: &String| fs::metadata(place.0.join(name)).unwrap().permissions().mode() & 0o077;
    let names = place.names();
    assert!(names.contains(&"peers.sqlite-journal".to_owned()) && names.len() == 5, "{names:?}");
    assert!(names.iter().all(|name| others(name) == 0), "{names:?}");
    close(&store);
}

#[test]
fn what_cannot_be_read_is_left_alone() {
    let place = Place::new("unreadable");
    let good = good(&place);
    let loop_to_itself = |name: &str| std::os::unix::fs::symlink(name, place.0.join(name)).unwrap();
    place.with(&[("zid", &good.file)]);
    loop_to_itself("peers.sqlite");
    let store = open(&place.0);
    assert_eq!(store.zid().to_string(), good.zid);
    assert!(!write(&store, exchange(store.book(), "", 1, 1)), "not remembered");
    assert_eq!(store.book().list(NOW)[0].remembered, Remembered::No);
    close(&store);
    assert!(fs::symlink_metadata(place.0.join("peers.sqlite")).unwrap().is_symlink() && place.set_aside() == 0);

    place.with(&[("peers.sqlite", &good.database)]);
    loop_to_itself("zid");
    assert_eq!(open(&place.0).zid().to_string(), good.zid, "the database has it");
    place.with(&[]);
    loop_to_itself("zid");
    refused(&place.0);
    place.with(&[]);
    loop_to_itself("peers.sqlite");
    refused(&place.0);
    assert!(!place.0.join("zid").exists(), "no new ZID while the old one may be there");
}

fn refused(directory: &Path) {
    let error = try_open(directory).err().unwrap().to_string();
    assert!(error.contains("ZID") && error.contains("let the program read its store"), "{error}");
}
