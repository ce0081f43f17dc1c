//! A child program makes a row of changes; at each of its writes in turn it is killed, or the write fails. `faults.c` does that.

use super::{NOW, Place, State, close, exchange, key, open, said, state, try_open, write};
use galene_sips::peers::{Change, PeerBook, Remembered};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What the child does, one change after the other.
const STEPS: [fn(&PeerBook) -> Vec<Change>; 12] = [
    |book| exchange(book, "alice@example.org", 1, 1),
    |book| said(book, "alice@example.org", 1, 1, Some("jane")),
    |book| exchange(book, "alice@example.org", 1, 2),
    |book| exchange(book, "", 2, 3),
    |book| vec![book.verify(&key("", 2), NOW).unwrap()],
    // enough for new pages, in one transaction
    |book| (10..60).flat_map(|peer| exchange(book, "bob@example.org", peer, peer)).collect(),
    |book| vec![book.unverify(&key("alice@example.org", 1)).unwrap()],
    |book| (10..50).map(|peer| book.forget(&key("bob@example.org", peer)).unwrap()).collect(),
    |book| vec![book.forget(&key("", 2)).unwrap()],
    |book| exchange(book, "alice@example.org", 1, 4),
    |book| said(book, "bob@example.org", 55, 5, Some("joe")),
    |book| exchange(book, "", 2, 6),
];

/// The state after each number of steps.
fn states() -> Vec<State> {
    let book = PeerBook::default();
    let mut states = vec![state(&book)];
    for step in STEPS {
        step(&book);
        states.push(state(&book));
    }
    states
}

/// The child: says what was written. Runs to its end unless it is killed.
fn child(directory: &Path) {
    let say = |word: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "\n{word}").unwrap();
        out.flush().unwrap();
    };
    let Ok(store) = try_open(directory) else { return say("NOT-OPENED") };
    say(&format!("ZID {}", store.zid()));
    for step in STEPS {
        let changes = step(store.book());
        let touched: Vec<_> = changes.iter().map(|change| change.edit.key().clone()).collect();
        let written = write(&store, changes);
        say(if written { "WRITTEN" } else { "NOT-WRITTEN" });
        for peer in store.book().list(NOW).iter().filter(|peer| touched.contains(&peer.key)) {
            assert_eq!(peer.remembered, if written { Remembered::Yes } else { Remembered::No });
        }
    }
    let states = states();
    assert_eq!(state(store.book()), *states.last().unwrap(), "whatever the disk did, the program knows");
    if close(&store) {
        say("ALL-WRITTEN");
    }
    say("END");
}

struct Said {
    zid: Option<String>,
    opened: bool,
    written: usize,
    not_written: usize,
    all_written: bool,
    end: bool,
    /// A write was hit.
    faulty: bool,
}

fn listen(output: &Output) -> Said {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = |word: &str| text.lines().filter(|line| *line == word).count();
    let killed = output.status.code().is_none();
    let said = Said {
        faulty: killed || String::from_utf8_lossy(&output.stderr).contains("FAULT"),
        zid: text.lines().find_map(|line| line.strip_prefix("ZID ")).map(str::to_owned),
        opened: count("NOT-OPENED") == 0,
        written: count("WRITTEN"),
        not_written: count("NOT-WRITTEN"),
        all_written: count("ALL-WRITTEN") == 1,
        end: count("END") == 1 || count("NOT-OPENED") == 1,
    };
    assert!(killed || (said.end && output.status.success()), "{text}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The fault injector, built once by each test.
fn injector(place: &Place) -> PathBuf {
    let library = place.0.with_extension("so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer_store/faults.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.unwrap().success());
    library
}

/// Runs the child with a fault at each write, until one run has no fault any more; `check` sees what it said and its place.
fn at_every_write(test: &str, kind: &str, check: impl Fn(&Said, &Place, usize)) {
    if let Some(directory) = std::env::var_os("PEER_STORE_CHILD") {
        return child(Path::new(&directory));
    }
    let place = Place::new(kind);
    let library = injector(&place);
    let mut faults = 0;
    for at in 1.. {
        place.with(&[]);
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env("PEER_STORE_CHILD", &place.0)
            .env("LD_PRELOAD", &library)
            .envs([("FAULT_KIND", kind), ("FAULT_AT", &at.to_string())])
            .env("FAULT_DIR", &place.0)
            .output()
            .unwrap();
        let said = listen(&output);
        check(&said, &place, at);
        assert_eq!(place.set_aside(), 0, "{kind} at {at}: no crash and no failed write damages a database");
        if !said.faulty {
            break;
        }
        faults = at;
    }
    let _ = std::fs::remove_file(library);
    assert!(faults > 100, "only {faults} writes were hit");
}

/// After a reboot: the ZID that was told, and one of these states.
fn reopened(said: &Said, place: &Place, at: usize, expected: &[&State]) {
    let store = open(&place.0);
    if let Some(zid) = &said.zid {
        assert_eq!(store.zid().to_string(), *zid, "at {at}");
    }
    let found = state(store.book());
    assert!(expected.contains(&&found), "at {at}, after {} written: {found:?}", said.written);
    let zid = store.zid();
    close(&store);
    let again = open(&place.0);
    assert_eq!((again.zid(), state(again.book())), (zid, found), "at {at}");
    close(&again);
}

fn what_was_written_or_one_more(said: &Said, place: &Place, at: usize) {
    let states = states();
    let (now, next) = (said.written, (said.written + 1).min(STEPS.len()));
    reopened(said, place, at, &[&states[now], &states[next]]);
}

#[test]
fn killed_before_every_write() {
    at_every_write("crashes::killed_before_every_write", "kill", what_was_written_or_one_more);
}

#[test]
fn killed_in_the_middle_of_every_write() {
    at_every_write("crashes::killed_in_the_middle_of_every_write", "tear", what_was_written_or_one_more);
}

#[test]
fn the_power_fails_before_every_write() {
    at_every_write("crashes::the_power_fails_before_every_write", "lose", what_was_written_or_one_more);
}

#[test]
fn the_disk_is_full_from_every_write_on() {
    at_every_write("crashes::the_disk_is_full_from_every_write_on", "full", |said, place, at| {
        assert!(said.end, "at {at}: a full disk ends nothing");
        if said.opened {
            assert_eq!(said.written + said.not_written, STEPS.len());
        }
        what_was_written_or_one_more(said, place, at);
    });
}

#[test]
fn every_write_fails_once_and_is_made_up_for() {
    at_every_write("crashes::every_write_fails_once_and_is_made_up_for", "fail", |said, place, at| {
        assert!(said.end, "at {at}: a failing disk ends nothing");
        let states = states();
        // a database that could not be begun is none until the next start
        let expected = if said.all_written { states.last().unwrap() } else { &states[0] };
        assert!(said.all_written || said.written == 0, "at {at}");
        reopened(said, place, at, &[expected]);
    });
}
