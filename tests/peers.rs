//! `peers` as an administrator meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::io::SystemRandomness;
use galene_sips::io::peers::PeerStore;
use galene_sips::io::store::Store;
use galene_sips::peers::{Caller, PeerCache, Verification, Verifier};
use galene_sips::units::UnixTime;
use gateway::{Directory, Gateway, command, schema};
use serde_json::Value;
use std::fs;
use std::process::Output;
use zrtp_proto::{Cache as _, CacheEntry, Lifetime, Remember, Retained, Secret, Zid};

const ACCOUNT: &str = "alice@sip.lab.test";
const CONFIG: &str = "[[account]]\naddress = \"alice@sip.lab.test\"\npassword_file = \"sip.password\"\noutbound_proxy = \"sips:127.0.0.1:9\"\n\
     [[room]]\ngroup = \"https://galene.lab.test/group/choir/?token=open-sesame\"\naccount = \"alice@sip.lab.test\"\n";
const NOW: UnixTime = UnixTime(1_795_598_107);

/// A configuration, and a store that knows three phones: Bob's, verified by voice; Carol's two.
async fn prepared(name: &str) -> Directory {
    let directory = Directory::new(name);
    directory.secret("sip.password", "correct horse battery staple\n");
    directory.secret("config.toml", CONFIG);
    let lock = Store::open(&directory.path().join("galene-sips-store")).unwrap();
    let store = PeerStore::open(&lock, &mut SystemRandomness::default(), NOW).unwrap();
    let jane = Verifier::Voice { operator: "jane\u{202e}".to_owned(), group: "choir".to_owned(), call: 4 };
    let carol = Caller::Address("carol@example.org".to_owned());
    for (caller, zid, person) in [
        (Caller::Address("bob@example.org".to_owned()), [0xb0; 12], Some(Verification { at: NOW, by: jane })),
        (carol.clone(), [0xc1; 12], None),
        (carol, [0xc2; 12], None),
    ] {
        let mut cache = PeerCache::new(store.book(), ACCOUNT, caller, NOW);
        let _ = cache.lookup(&Zid(zid));
        let rs1 = Some(Retained { secret: Secret::new(vec![0x5e; 32]), lifetime: Lifetime::FOREVER });
        let entry = Some(CacheEntry { rs1, rs2: None, verified: person.is_some() });
        assert!(store.write(cache.remember(Remember { peer: Zid(zid), entry }, person, NOW)).await.unwrap());
    }
    assert!(store.close().await);
    directory
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn peers(directory: &Directory, arguments: &[&str]) -> Output {
    command(directory.path(), &[&["peers"], arguments, &["--config", "config.toml"]].concat())
}

/// The answer, checked against the schema.
fn json(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
    let schema = serde_json::from_str(&fs::read_to_string("docs/schema/peers.json").unwrap()).unwrap();
    schema::check(&schema, &value, "peers");
    value
}

fn fails(output: &Output, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(1), ""), "{said}");
    assert!(said.starts_with("galene-sips: ") && said.lines().count() == 1, "{said}");
    assert!(words.iter().all(|word| said.contains(word)), "not all of {words:?} in: {said}");
}

async fn start(directory: &Directory) -> Gateway {
    let gateway = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    gateway.line_with(&["running"]).await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_are_listed_verified_and_forgotten_for_good() {
    let directory = prepared("peers").await;
    let mut gateway = start(&directory).await;
    let shown = text(&peers(&directory, &[]).stdout);
    for words in [
        "b0b0b0b0b0b0b0b0b0b0b0b0 from bob@example.org to alice@sip.lab.test",
        "by voice, by jane\\u{202e} in choir, call 4, 2026-11-25T09:15:07Z",
        "for ever",
    ] {
        assert!(shown.contains(words), "no \"{words}\" in:\n{shown}");
    }
    assert_eq!(text(&peers(&directory, &["list"]).stdout), shown);
    let list = json(&peers(&directory, &["list", "--json"]));
    assert_eq!(list["peers"].as_array().unwrap().len(), 3);
    assert_eq!(list["peers"][0]["verification"]["by"], "voice");
    let own_zid = list["own_zid"].clone();
    assert_eq!(
        own_zid.as_str().unwrap(),
        fs::read_to_string(directory.path().join("galene-sips-store/zid")).unwrap().trim()
    );

    fails(
        &peers(&directory, &["verify", "carol@example.org"]),
        &["2 phones", "c1c1", "c2c2", "nothing was done", "whole ZID"],
    );
    fails(&peers(&directory, &["forget", "dave@example.org"]), &["no phone", "`galene-sips peers` lists them"]);
    fails(&peers(&directory, &["verify", "c1c1", "--caller", "bob@example.org"]), &["no phone"]);
    let ambiguous = peers(&directory, &["verify", "--json", "carol@example.org"]);
    assert_eq!((ambiguous.status.code(), json(&ambiguous)["outcome"].clone()), (Some(1), "ambiguous".into()));
    let verified = json(&peers(&directory, &["verify", "C1C1", "--json"]));
    assert_eq!(verified["outcome"], "done");
    assert_eq!(verified["peers"][0]["verification"]["by"], "administrator");
    assert!(text(&peers(&directory, &[]).stdout).contains("by administrator, not by voice"));
    let output = peers(&directory, &["unverify", "bob@example.org"]);
    assert_eq!(text(&output.stdout), "b0b0b0b0b0b0b0b0b0b0b0b0 (bob@example.org): not verified any more\n");
    assert_eq!(peers(&directory, &["forget", "c2c2", "--account", ACCOUNT]).status.code(), Some(0));

    gateway.kill().await;
    let mut gateway = start(&directory).await;
    let list = json(&peers(&directory, &["--json"]));
    assert_eq!(list["own_zid"], own_zid);
    let now = list["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| (peer["zid"].as_str().unwrap(), peer["verified"].as_bool().unwrap()));
    assert_eq!(
        now.collect::<Vec<_>>(),
        [(&*"b0".repeat(12), false), (&*"c1".repeat(12), true)],
        "acknowledged is on disk"
    );
    assert!(gateway.terminate().await.0.success());
    let secret = ["5e5e5e", "^^^^^^"]; // hexadecimal, and as text
    assert!(secret.iter().all(|secret| !gateway.output().contains(secret) && !list.to_string().contains(secret)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_memory_is_an_alarm_and_nobody_is_verified() {
    let directory = prepared("peers-damaged").await;
    let store = directory.path().join("galene-sips-store");
    let zid = fs::read_to_string(store.join("zid")).unwrap();
    let whole = fs::read(store.join("peers.sqlite")).unwrap();
    fs::write(store.join("peers.sqlite"), &whole[..whole.len() / 2]).unwrap();
    let mut gateway = start(&directory).await;
    gateway.line_with(&["ERROR", "ALARM", "set_aside=", "no phone counts as verified", "remedy="]).await;
    let list = json(&peers(&directory, &["--json"]));
    assert_eq!((list["own_zid"].as_str(), &list["peers"]), (Some(zid.trim()), &serde_json::json!([])));
    assert!(text(&peers(&directory, &[]).stdout).contains("no phones are known"));
    assert!(gateway.terminate().await.0.success());
}

#[test]
fn without_a_running_program_it_says_so() {
    let directory = Directory::new("peers-nobody");
    for arguments in [&["peers"][..], &["peers", "verify", "c1c1"], &["peers", "list", "--admin-socket", "x.socket"]] {
        fails(&command(directory.path(), arguments), &["no running galene-sips answers at", "start it"]);
    }
    for arguments in [&["peers", "verify"][..], &["peers", "dance"]] {
        assert_eq!(command(directory.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
