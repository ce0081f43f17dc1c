//! `ratchet`: a provider that suddenly is weaker is refused, until an administrator says otherwise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::io::peers::PeerStore;
use galene_sips::io::store::Store;
use galene_sips::io::{SystemRandomness, unix_time};
use galene_sips::peers::Shown;
use galene_sips::units::UnixTime;
use galene_sips_lab::certificates::{Authority, Kind, Tls};
use galene_sips_lab::registrar::{Algorithm, Registrar, RegistrarOptions};
use gateway::{Directory, Gateway, command, schema};
use serde_json::Value;
use std::fs;
use std::process::Output;
use std::time::Duration;

const DOMAIN: &str = "sip.lab.test";
const ACCOUNT: &str = "conference@sip.lab.test";
const SOON: Duration = Duration::from_secs(15);

/// A configured gateway that does not run yet, and its provider.
async fn prepared(name: &str, tls: Tls) -> (Directory, Registrar) {
    let directory = Directory::new(name);
    let authority = Authority::new("Laboratory CA").unwrap();
    let tls = authority.issue(Kind::Good, DOMAIN).unwrap().server_config(tls).unwrap();
    let options = RegistrarOptions::new(tls, DOMAIN).with_user("conference", "correct horse");
    let provider = Registrar::start(options).await.unwrap();
    directory.secret("sip.password", "correct horse\n");
    directory.file("ca.pem", 0o644, &authority.pem());
    directory.secret(
        "config.toml",
        &format!(
            "[[account]]\naddress = \"{ACCOUNT}\"\npassword_file = \"sip.password\"\nca_file = \"ca.pem\"\n\
             outbound_proxy = \"sips:{}\"\n\
             [[room]]\ngroup = \"https://127.0.0.1:9/group/lab/?token=open-sesame\"\naccount = \"{ACCOUNT}\"\n",
            provider.address()
        ),
    );
    (directory, provider)
}

async fn start(directory: &Directory) -> Gateway {
    let gateway = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    gateway.line_with(&["running"]).await;
    gateway
}

/// The same thing succeeded yesterday and the day before.
async fn it_was_so_for_two_days(directory: &Directory, shown: Shown) {
    let lock = Store::open(&directory.path().join("galene-sips-store")).unwrap();
    let store = PeerStore::open(&lock, &mut SystemRandomness::default(), unix_time()).unwrap();
    let days = [1, 2].map(|day| UnixTime(unix_time().0 - day * 86_400));
    let records = days.into_iter().filter_map(|day| store.ratchet().succeeded(ACCOUNT, shown, day));
    assert!(store.hold(records.collect()).await.unwrap());
    assert!(store.close().await);
}

fn ratchet(directory: &Directory, arguments: &[&str]) -> Output {
    command(directory.path(), &[&["ratchet"], arguments, &["--config", "config.toml"]].concat())
}

/// The answer, checked against the schema.
fn json(output: &Output) -> Value {
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let schema = serde_json::from_str(&fs::read_to_string("docs/schema/ratchet.json").unwrap()).unwrap();
    schema::check(&schema, &value, "ratchet");
    value
}

/// What the account is held to.
fn hold(directory: &Directory, what: &str) -> Value {
    let list = json(&ratchet(directory, &["list", "--json"]));
    assert_eq!(list["accounts"][0]["account"], ACCOUNT);
    let holds = list["accounts"][0]["holds"].as_array().unwrap().clone();
    holds.into_iter().find(|hold| hold["what"] == what).unwrap()
}

async fn stop(mut gateway: Gateway) {
    assert!(gateway.terminate().await.0.success(), "{}", gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_asked_for_sha_256_on_three_days_may_not_ask_for_md5_alone() {
    let (directory, provider) = prepared("ratchet-digest", Tls::Both).await;
    let gateway = start(&directory).await;
    assert!(provider.registered("conference", SOON).await, "{}", gateway.output());
    gateway.line_with(&["registered"]).await;
    let first = hold(&directory, "digest");
    assert_eq!((first["held"].clone(), first["days"].clone()), (false.into(), 1.into()));
    stop(gateway).await;

    it_was_so_for_two_days(&directory, Shown::Digest).await;
    provider.behave(|behaviour| behaviour.algorithms = vec![Algorithm::Md5]);
    provider.forget_nonces();
    let gateway = start(&directory).await;
    let line = gateway.line_with(&["not registered", "ratchet-digest"]).await;
    assert!(line.contains(&format!("galene-sips ratchet clear {ACCOUNT}")), "{line}");
    let held = hold(&directory, "digest");
    assert_eq!(
        (held["held"].clone(), held["days"].clone(), held["least"].clone()),
        (true.into(), 3.into(), "SHA-256".into())
    );
    assert!(held["since"].is_string() && held["until"].is_string(), "{held}");
    let shown = String::from_utf8(ratchet(&directory, &[]).stdout).unwrap();
    assert!(shown.contains("digest  held to SHA-256 since ") && shown.contains("not held to TLS 1.3 yet"), "{shown}");
    assert!(provider.bindings("conference").is_empty(), "no hash of the password was given away");

    let unknown = ratchet(&directory, &["clear", "nobody@sip.lab.test"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no account"), "{unknown:?}");
    assert_eq!(json(&ratchet(&directory, &["clear", ACCOUNT, "--json"]))["outcome"], "done");
    assert!(provider.registered("conference", SOON).await, "{}", gateway.output());
    assert_eq!(hold(&directory, "digest")["held"], false);
    stop(gateway).await;

    let gateway = start(&directory).await;
    assert_eq!(hold(&directory, "digest")["held"], false, "cleared for good");
    assert!(json(&ratchet(&directory, &["--json"]))["accounts"][0]["cleared"].is_string());
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_spoke_tls_1_3_on_three_days_gets_nothing_over_1_2() {
    let (directory, provider) = prepared("ratchet-tls", Tls::V12).await;
    it_was_so_for_two_days(&directory, Shown::Tls).await;
    {
        let lock = Store::open(&directory.path().join("galene-sips-store")).unwrap();
        let store = PeerStore::open(&lock, &mut SystemRandomness::default(), unix_time()).unwrap();
        let today = store.ratchet().succeeded(ACCOUNT, Shown::Tls, unix_time()).unwrap();
        assert!(store.hold(vec![today]).await.unwrap() && store.close().await);
    }
    let gateway = start(&directory).await;
    let line = gateway.line_with(&["refused before any SIP was sent", "ratchet-tls"]).await;
    assert!(line.contains(&format!("galene-sips ratchet clear {ACCOUNT}")), "{line}");
    assert!(provider.log().is_empty(), "nothing was sent");
    assert_eq!(ratchet(&directory, &["clear", ACCOUNT]).status.code(), Some(0));
    assert!(provider.registered("conference", SOON).await, "{}", gateway.output());
    stop(gateway).await;
}
