//! Real disks that are full or read-only: small file systems in memory, in a mount namespace of their own.

use super::{ACCOUNT, NOW, Place, close, exchange, hold, is_held, key, open, said, state, try_open, write};
use galene_sips::peers::Remembered;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs this test again where `PEER_STORE_CHILD` is a file system of this size; true in the outer run, when it has succeeded.
fn on_a_disk_of(kib: u32, test: &str) -> Option<std::path::PathBuf> {
    if let Some(directory) = std::env::var_os("PEER_STORE_CHILD") {
        return Some(directory.into());
    }
    let place = Place::new(&test.replace("::", "-"));
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--",
            "sh",
            "-ec",
            "mount -t tmpfs -o mode=700,size=\"$2\"k none \"$1\"; exec \"$3\" \"$4\" --exact --nocapture",
            "sh",
        ])
        .arg(place.with(&[]))
        .args([&kib.to_string(), std::env::current_exe().unwrap().to_str().unwrap(), test])
        .env("PEER_STORE_CHILD", &place.0)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    None
}

#[test]
fn a_full_disk_ends_nothing_and_is_made_up_for() {
    let Some(directory) = on_a_disk_of(256, "disks::a_full_disk_ends_nothing_and_is_made_up_for") else { return };
    let store = open(&directory);
    assert!(write(&store, said(store.book(), "alice@example.org", 1, 1, Some("jane"))));
    let ballast = directory.join("ballast");
    assert!(fs::write(&ballast, vec![0; 1 << 20]).is_err(), "the disk is full now");
    let changes = (2..200).flat_map(|peer| exchange(store.book(), "bob@example.org", peer, 7)).collect();
    assert!(!write(&store, changes));
    let remembered = |zid: u8| {
        let list = store.book().list(NOW);
        list.iter().find(|peer| peer.key.zid.0[0] == zid).unwrap().remembered
    };
    assert_eq!((remembered(1), remembered(2)), (Remembered::Yes, Remembered::No));
    fs::remove_file(&ballast).unwrap();
    assert!(write(&store, exchange(store.book(), "alice@example.org", 1, 2)));
    assert_eq!((remembered(1), remembered(2)), (Remembered::Yes, Remembered::Yes), "all of it, with the next change");
    let before = (store.zid(), state(store.book()));
    close(&store);
    let store = open(&directory);
    assert_eq!((store.zid(), state(store.book())), before);
    close(&store);
}

#[test]
fn a_full_disk_at_the_start_loses_nothing() {
    let Some(directory) = on_a_disk_of(256, "disks::a_full_disk_at_the_start_loses_nothing") else { return };
    let store = open(&directory);
    assert!(write(&store, said(store.book(), "alice@example.org", 1, 1, Some("jane"))));
    let before = (store.zid(), state(store.book()));
    close(&store);
    assert!(fs::write(directory.join("ballast"), vec![0; 1 << 20]).is_err());
    let store = open(&directory);
    assert_eq!((store.zid(), state(store.book())), before);
    close(&store);
    // nothing could be kept: it says so and does not run under a ZID that nobody will know tomorrow
    for name in ["zid", "peers.sqlite", "peers.sqlite-journal"] {
        let _ = fs::remove_file(directory.join(name));
    }
    assert!(fs::write(directory.join("ballast"), vec![0; 1 << 20]).is_err());
    let error = try_open(&directory).err().unwrap().to_string();
    assert!(error.contains("zid") && error.contains("[store]"), "{error}");
}

fn remount(directory: &Path, how: &str) {
    assert!(Command::new("mount").args(["-o", how]).arg(directory).status().unwrap().success());
}

#[test]
fn a_read_only_disk_is_read_and_the_calls_go_on() {
    let Some(directory) = on_a_disk_of(1024, "disks::a_read_only_disk_is_read_and_the_calls_go_on") else { return };
    let store = open(&directory);
    assert!(write(&store, said(store.book(), "alice@example.org", 1, 1, Some("jane"))));
    assert!(hold(&store));
    let before = (store.zid(), state(store.book()));
    close(&store);
    let files = || ["zid", "peers.sqlite"].map(|name| fs::read(directory.join(name)).unwrap());
    let whole = files();

    remount(&directory, "remount,ro");
    let store = open(&directory);
    assert_eq!((store.zid(), state(store.book())), before, "everybody is known");
    assert!(is_held(&store), "what is remembered still counts");
    assert!(!write(&store, exchange(store.book(), "alice@example.org", 1, 2)));
    assert!(!store.hold(store.ratchet().clear(ACCOUNT, NOW)).blocking_recv().unwrap() && !is_held(&store));
    assert!(!write(&store, vec![store.book().unverify(&key("alice@example.org", 1)).unwrap()]));
    let peer = store.book().list(NOW).remove(0);
    assert!(peer.verification.is_none() && peer.remembered == Remembered::No, "it counts while the program runs");
    close(&store);
    assert_eq!(files(), whole);

    // damaged and read-only: nothing is verified, our ZID is there, nothing is touched
    remount(&directory, "remount,rw");
    fs::write(directory.join("peers.sqlite"), &whole[1][..5000]).unwrap();
    remount(&directory, "remount,ro");
    let store = open(&directory);
    assert_eq!((store.zid(), store.book().list(NOW).len()), (before.0, 0));
    assert!(!write(&store, exchange(store.book(), "alice@example.org", 1, 3)));
    close(&store);
    assert_eq!(fs::read(directory.join("peers.sqlite")).unwrap(), &whole[1][..5000]);
}
