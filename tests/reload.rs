//! The configuration is read again: a bad one changes nothing, what is tighter counts at once, what is looser for new calls,
//! and calls go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::io::files::today;
use galene_sips_lab::certificates::{Authority, Kind};
use galene_sips_lab::phone::{Call, MediaOptions, Phone};
use gateway::scene::{DOMAIN, PASSWORD, Scene, TOKEN, Unusual, exception};
use gateway::{command, schema};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

const SOON: Duration = Duration::from_secs(10);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn is_done(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
}

fn not_done(output: &Output, code: i32, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    assert!(!said.contains(TOKEN) && !said.contains(PASSWORD), "{said}");
}

async fn talking(phone: &Phone) -> Call {
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    call.speak(vec![1000; 24_000]).await;
    call
}

/// The call's sound goes on, both ways.
async fn goes_on(scene: &Scene, call: &Call) {
    let counts = |calls: &Value| {
        let rtp = &calls["calls"][0]["rtp"];
        (rtp["sent"].as_u64().unwrap(), rtp["received"].as_u64().unwrap())
    };
    let before = counts(&scene.ask("calls"));
    call.speak(vec![1000; 48_000]).await;
    let after = counts(&scene.ask("calls"));
    assert!(after.0 > before.0 + 20 && after.1 > before.1 + 20, "{before:?} {after:?}");
}

async fn clear_call(phone: &Phone) -> Result<Call, u16> {
    let target = format!("sip:conference@{DOMAIN}");
    phone.call_with(&target, MediaOptions::clear(), false).await.map_err(|failed| failed.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_changes_nothing_and_is_explained() {
    let mut scene = Scene::start("reload-bad").await;
    let phone = scene.phone().await;
    let call = talking(&phone).await;
    let good = scene.text();
    let socket = scene.directory.path().join("galene-sips-store/admin.socket").display().to_string();
    let bad = [
        (good.replace("password_file", "pasword_file"), "unknown key"),
        (good.replace("ca.pem", "none.pem"), "ca_file"),
        (format!("{good}\n[policy]\nshort_tag = true\n"), "Did you mean \"short_tags\"?"),
        (format!("{good}\n{}", exception("media-clear", "2099-01-01")), "more than 90"),
        ("not TOML".to_owned(), "no valid TOML"),
    ];
    for (text, words) in bad {
        // as who knows the file is told, and as who knows only the socket
        not_done(&scene.reload(&text), 78, &[words]);
        not_done(&command(scene.directory.path(), &["reload", "--admin-socket", &socket]), 78, &[words]);
    }
    let json = command(scene.directory.path(), &["reload", "--json", "--admin-socket", &socket]);
    assert_eq!(json.status.code(), Some(78));
    let answer: Value = serde_json::from_slice(&json.stdout).unwrap();
    let text = std::fs::read_to_string("docs/schema/reload.json").unwrap();
    schema::check(&serde_json::from_str(&text).unwrap(), &answer, "reload");
    assert_eq!(answer["outcome"], "bad-configuration");
    scene.directory.secret("config.toml", &good); // for the questions that follow
    goes_on(&scene, &call).await;
    assert_eq!(scene.ask("status")["accounts"][0]["registered"], true);
    assert_eq!(scene.provider.connections(), 2, "the gateway's and the phone's, as before");
    is_done(&scene.reload(&good));
    goes_on(&scene, &call).await;
    assert!(scene.gateway.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_listed_and_nothing_of_it_is_done() {
    let scene = Scene::start("reload-restart").await;
    let good = scene.text();
    let changed = good
        .replace("level = \"trace\"", "level = \"info\"\n[media]\nports = \"41000-41999\"")
        .replace("sips:conference@", "conference@")
        .replace("password_file", "expires = 300\npassword_file")
        .replace("/group/lab/", "/group/other/");
    let changed = format!("{changed}\n{}", exception("media-clear", today()));
    not_done(
        &scene.reload(&changed),
        1,
        &[
            "need a restart",
            "nothing was changed",
            "[log] level",
            "[media] ports",
            &format!("[[account]] expires of conference@{DOMAIN}"),
            &format!("[[room]] group of conference@{DOMAIN}"),
        ],
    );
    let phone = scene.phone().await;
    assert_eq!(clear_call(&phone).await.err(), Some(488), "the exception beside it is not in force");
    assert!(scene.ask("status")["accounts"][0].get("exceptions").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_counts_from_its_reload_for_new_calls_and_ends_with_the_next_while_its_call_goes_on() {
    let scene = Scene::start("reload-exception").await;
    let phone = scene.phone().await;
    let good = scene.text();
    assert_eq!(clear_call(&phone).await.err(), Some(488));
    is_done(&scene.reload(&format!("{good}\n{}", exception("media-clear", today()))));
    scene
        .gateway
        .line_with(&["WARN", "an exception is in force", "media-clear", "PBX without SRTP", "days_left=0"])
        .await;
    let call = clear_call(&phone).await.unwrap();
    assert_eq!(scene.ask("status")["accounts"][0]["exceptions"][0]["allow"], "media-clear");

    is_done(&scene.reload(&good));
    assert_eq!(clear_call(&phone).await.err(), Some(488), "tightened at once");
    assert!(scene.ask("status")["accounts"][0].get("exceptions").is_none());
    goes_on(&scene, &call).await;
    assert_eq!(scene.ask("calls")["calls"][0]["exceptions"][0]["allow"], "media-clear", "it still rests on it");
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_reads_the_configuration_too_and_says_in_the_log_what_came_of_it() {
    let scene = Scene::start("reload-sighup").await;
    let good = scene.text();
    let hangup = || {
        let kill = std::process::Command::new("kill").args(["-HUP", &scene.gateway.id().to_string()]).status();
        assert!(kill.unwrap().success());
    };
    scene.directory.secret("config.toml", "not TOML");
    hangup();
    scene.gateway.line_with(&["ERROR", "nothing was changed", "no valid TOML"]).await;
    scene.directory.secret("config.toml", &format!("{good}\n{}", exception("media-clear", today())));
    hangup();
    scene.gateway.line_with(&["INFO", "the configuration was read again", "1 account"]).await;
    let phone = scene.phone().await;
    assert!(clear_call(&phone).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_is_tried_at_once() {
    let scene = Scene::prepare("reload-password", Unusual::default()).await;
    scene.gateway.line_with(&["INFO", "running"]).await;
    scene.directory.secret("sip.password", "a wrong one\n");
    let good = scene.text();
    is_done(&scene.reload(&good));
    scene.provider.forget_nonces();
    scene.provider.close(Some("conference"));
    let end = std::time::Instant::now() + SOON;
    while scene.ask("status")["accounts"][0]["registered"] == true {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.gateway.line_with(&["WARN", "not registered", "password"]).await;
    scene.directory.secret("sip.password", &format!("{PASSWORD}\n"));
    is_done(&scene.reload(&good));
    let end = std::time::Instant::now() + SOON; // after a refusal it would wait for 20 minutes
    while scene.ask("status")["accounts"][0]["registered"] != true {
        assert!(std::time::Instant::now() < end, "{}", scene.gateway.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_new_trust_does_not_admit_is_closed_and_calls_go_on() {
    let scene = Scene::start("reload-trust").await;
    let phone = scene.phone().await;
    let call = talking(&phone).await;
    let good = scene.text();
    let ours = std::fs::read_to_string(scene.directory.path().join("ca.pem")).unwrap();
    scene.directory.file("ca.pem", 0o644, &Authority::new("Another CA").unwrap().pem());
    is_done(&scene.reload(&good));
    scene.gateway.line_with(&["ERROR", "certificate-unknown-issuer", "refused before any SIP was sent"]).await;
    let account = &scene.ask("status")["accounts"][0];
    assert!(account["registered"] == false && account["signalling"].is_null(), "{account}");
    call.speak(vec![1000; 24_000]).await;
    goes_on(&scene, &call).await;

    scene.directory.file("ca.pem", 0o644, &ours);
    is_done(&scene.reload(&good));
    assert!(scene.provider.registered("conference", SOON).await);
    let end = std::time::Instant::now() + SOON;
    while scene.ask("status")["accounts"][0]["registered"] != true {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    goes_on(&scene, &call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_account_that_is_to_be_verified_loses_a_connection_that_is_only_pinned() {
    let scene = Scene::start("reload-pinned").await;
    let good = scene.text();
    let wrong = good.replace("password_file", "expected_name = \"other.lab.test\"\npassword_file");
    is_done(&scene.reload(&wrong));
    scene.gateway.line_with(&["ERROR", "certificate-name"]).await;
    assert_eq!(scene.ask("status")["accounts"][0]["registered"], false);
    let tls_unverified = format!("{wrong}\n{}", exception("tls-unverified", today()));
    is_done(&scene.reload(&tls_unverified));
    scene.gateway.line_with(&["WARN", "this connection is allowed by an exception only", "tls-unverified"]).await;
    // without it the connection is not good enough any more
    is_done(&scene.reload(&wrong));
    let end = std::time::Instant::now() + SOON;
    while !scene.ask("status")["accounts"][0]["signalling"].is_null() {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.gateway.line_with(&["WARN", "connection closed; calls go on", "does not name other.lab.test"]).await;
}

/// A way to the provider on which nothing passes before it is opened.
struct Gate {
    address: SocketAddr,
    knocked: Arc<AtomicUsize>,
    open: Arc<Semaphore>,
}

impl Gate {
    async fn before(provider: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Gate {
            address: listener.local_addr().unwrap(),
            knocked: Arc::default(),
            open: Arc::new(Semaphore::new(0)),
        };
        let (knocked, open) = (Arc::clone(&gate.knocked), Arc::clone(&gate.open));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                knocked.fetch_add(1, Ordering::Relaxed);
                let open = Arc::clone(&open);
                tokio::spawn(async move {
                    let _passes = open.acquire().await.unwrap();
                    let mut far = TcpStream::connect(provider).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        gate
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_begun_under_rules_that_ended_meanwhile_carries_no_sip() {
    let lines = exception("tls-wildcard-name", today());
    let unusual = Unusual { certificate: Kind::Wildcard, lines: &lines, ..Unusual::default() };
    let scene = Scene::start_with("reload-meanwhile", unusual).await;
    let gate = Gate::before(scene.provider.address()).await;
    let through = scene.text().replace(&scene.provider.address().to_string(), &gate.address.to_string());
    is_done(&scene.reload(&through));
    let end = std::time::Instant::now() + SOON;
    while gate.knocked.load(Ordering::Relaxed) == 0 {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // the handshake waits; the exception that it needs ends
    is_done(&scene.reload(&through.replace(&lines, "")));
    let before = scene.provider.log().len();
    gate.open.add_permits(100);
    scene.gateway.line_with(&["ERROR", "certificate-wildcard", "refused before any SIP was sent"]).await;
    let said: Vec<String> =
        scene.provider.log()[before..].iter().map(|logged| format!("{:?}", logged.message)).collect();
    assert!(said.is_empty(), "{said:?}\n{}", scene.gateway.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_come_and_go_while_the_others_calls_go_on() {
    let mut scene = Scene::start("reload-accounts").await;
    let phone = scene.phone().await;
    let call = talking(&phone).await;
    let good = scene.text();
    // the same again for alice's own account, which the phone does not answer any more
    let (accounts, rest) = good.split_once("[log]").unwrap();
    let second = accounts.replace("conference@", "second@").replace("sip.password", "second.password");
    scene.directory.secret("second.password", "the second's own\n");
    let both = format!("{accounts}{second}[log]{rest}");
    let output = scene.reload(&both);
    is_done(&output);
    assert!(said(&output).contains(&format!("added: second@{DOMAIN}")), "{}", said(&output));
    let status = scene.ask("status");
    assert_eq!(status["accounts"].as_array().unwrap().len(), 2);
    assert!(scene.provider.registered("second", SOON).await, "{}", scene.gateway.output());
    let other = phone.call(&format!("sip:second@{DOMAIN}")).await.unwrap();

    let output = scene.reload(&good);
    is_done(&output);
    assert!(said(&output).contains(&format!("removed: second@{DOMAIN}")), "{}", said(&output));
    assert!(other.ended(SOON).await.is_some(), "its call gets a BYE");
    let end = std::time::Instant::now() + SOON;
    while !scene.provider.bindings("second").is_empty() {
        assert!(std::time::Instant::now() < end, "un-registered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(scene.ask("status")["accounts"].as_array().unwrap().len(), 1);
    goes_on(&scene, &call).await;
    assert!(scene.gateway.terminate().await.0.success(), "{}", scene.gateway.output());
}
