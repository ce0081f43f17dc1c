//! The program as an administrator meets it: exit codes, what each error says, the admin socket, the end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::config::{Date, EXAMPLE};
use galene_sips_lab::phone::Ended;
use gateway::scene::{DOMAIN, PASSWORD, PHONE_PASSWORD, Scene, TOKEN};
use gateway::{Directory, Gateway, command, command_with_input, schema};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;

/// How soon the program must have ended after SIGTERM.
const LAST_MOMENT: Duration = Duration::from_secs(5);

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The command fails with this code and one line that has these words, and with nothing else.
fn fails(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(text(&output.stdout), "", "results only on standard output");
    assert!(said.starts_with("galene-sips: ") && said.lines().count() == 1, "{said}");
    for word in words {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    for never in ["panicked", "backtrace", "RUST_BACKTRACE", PASSWORD, TOKEN] {
        assert!(!said.contains(never), "\"{never}\" in: {said}");
    }
}

fn in_days(days: u64) -> Date {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    Date::from_unix_days(u32::try_from(today + days).unwrap())
}

/// A good configuration for a provider and a group that are not there.
fn good() -> String {
    format!(
        "[[account]]\naddress = \"alice@{DOMAIN}\"\npassword_file = \"sip.password\"\noutbound_proxy = \"sips:127.0.0.1:9\"\n\
         [[room]]\ngroup = \"https://galene.lab.test/group/choir/?token={TOKEN}\"\naccount = \"alice@{DOMAIN}\"\n"
    )
}

fn prepared(name: &str, config: &str) -> Directory {
    let directory = Directory::new(name);
    directory.secret("sip.password", &format!("{PASSWORD}\n"));
    directory.secret("config.toml", config);
    directory
}

fn exception(lines: &str) -> String {
    format!(
        "{}[[policy.exception]]\naccount = \"alice@{DOMAIN}\"\naccepted_by = \"ops@example.org\"\n{lines}\n",
        good()
    )
}

#[test]
fn a_good_configuration_is_explained_without_its_secrets() {
    let directory = prepared("check", &good());
    let output = command(directory.path(), &["check", "--config", "config.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for word in [&format!("alice@{DOMAIN}"), "https://galene.lab.test/group/choir/", "verified", "srtp"] {
        assert!(said.contains(word), "no \"{word}\" in: {said}");
    }
    assert!(!said.contains(TOKEN) && !said.contains(PASSWORD), "{said}");
    assert!(fs::read_dir(directory.path()).unwrap().count() == 2, "a check leaves nothing behind");
}

#[test]
fn a_bad_configuration_ends_with_78_and_what_to_do() {
    let date = |days| format!("expires = {}", in_days(days));
    let media_clear = "allow = \"media-clear\"\nreason = \"PBX without SRTP until March\"";
    let cases = [
        (good().replace("password_file", "pasword_file"), vec!["unknown key", "Did you mean \"password_file\"?"]),
        (good().replace("sip.password", "no.password"), vec!["no.password", "cannot be read", "Check password_file"]),
        (good().replace("sip.password", "open.password"), vec!["can be read by other users", "chmod 600"]),
        (good().replace("/group/choir/", "/choir/"), vec!["/group/NAME/"]),
        (good().replace("https:", "http:"), vec!["https://", "Copy the whole invitation"]),
        (good().replace("?token=", "?t="), vec!["no token", "invitation"]),
        (good().replace("[[account]]", "[[account]]\nca_file = \"none.pem\""), vec!["none.pem", "ca_file", "PEM"]),
        (good().replace("[[room]]", "[[room]]\nca_file = \"sip.password\""), vec!["no certificate in PEM form"]),
        (good().replace("[[room]]", "[[rooms]]"), vec!["unknown key \"rooms\"", "Did you mean \"room\"?"]),
        (good().replace("= \"", " \""), vec!["config.toml:2:"]),
        (
            exception(&format!("{}\n{}", media_clear.replace("media", "signalling"), date(30))),
            vec!["\"signalling-clear\" is not supported by this version"],
        ),
        (
            exception(&format!("{media_clear}\n{}", date(30))).replace("ops@example.org", " "),
            vec!["accepted_by", "Write who answers"],
        ),
        (exception(&format!("{media_clear}\n{}", date(91))), vec!["91 days", "more than 90", "earlier day"]),
        (exception(&format!("{media_clear}\nexpire = {}", in_days(30))), vec!["Did you mean \"expires\"?"]),
        (
            exception(&format!("{}\n{}", media_clear.replace("clear", "claer"), date(30))),
            vec!["nothing that can be allowed", "media-clear"],
        ),
    ];
    for (number, (config, words)) in cases.into_iter().enumerate() {
        let directory = prepared(&format!("bad-{number}"), &config);
        directory.file("open.password", 0o644, PASSWORD);
        for command_name in ["check", "run"] {
            fails(&command(directory.path(), &[command_name, "--config", "config.toml"]), 78, &words);
        }
    }
}

#[test]
fn a_check_prints_each_exception_with_its_days_left() {
    for (allow, words) in [
        ("media-clear", "phones may call without encryption, and anyone on the way can listen"),
        ("tls-unverified", "the provider's certificate is not checked"),
        ("tls-wildcard-name", "by a wildcard only"),
    ] {
        for (days, left) in [(0, "today is its last day"), (1, "1 day left"), (90, "90 days left")] {
            let lines =
                format!("allow = \"{allow}\"\nreason = \"PBX without SRTP until March\"\nexpires = {}", in_days(days));
            let directory = prepared(&format!("in-force-{allow}-{days}"), &exception(&lines));
            let output = command(directory.path(), &["check", "--config", "config.toml"]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let said = text(&output.stdout);
            let reason = "Accepted by ops@example.org: PBX without SRTP until March";
            for word in ["EXCEPTIONS IN FORCE", allow, words, left, reason, &in_days(days).to_string()] {
                assert!(said.contains(word), "no \"{word}\" in: {said}");
            }
            assert!(!said.contains("No exception is in force"), "{said}");
        }
    }
}

#[test]
fn an_exception_whose_day_is_over_changes_nothing() {
    let lines = "allow = \"media-clear\"\nreason = \"PBX without SRTP until March\"\nexpires = 2026-01-31";
    let directory = prepared("over", &exception(lines));
    let output = command(directory.path(), &["check", "--config", "config.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("No exception is in force") && said.contains("ended on 2026-01-31"), "{said}");
}

#[test]
fn a_configuration_with_an_invitation_is_for_its_owner_alone() {
    let directory = prepared("open", "");
    directory.file("config.toml", 0o644, &good());
    fails(&command(directory.path(), &["check", "--config", "config.toml"]), 78, &["token", "chmod 600"]);
}

#[test]
fn without_a_configuration_it_says_where_it_looked() {
    let directory = Directory::new("none");
    let missing = command(directory.path(), &["run", "--config", "missing.toml"]);
    fails(&missing, 78, &["missing.toml", "cannot be read", "galene-sips example"]);
    if !Path::new("/etc/galene-sips/config.toml").exists() {
        fails(&command(directory.path(), &["run"]), 78, &["/etc/galene-sips/config.toml", "--config"]);
    }
}

#[test]
fn the_example_is_printed_as_it_stands_in_the_repository() {
    let output = command(Path::new("."), &["example"]);
    assert_eq!(output.status.code(), Some(0));
    let file = fs::read_to_string("config.example.toml").unwrap();
    assert_eq!(text(&output.stdout), file);
    assert_eq!(EXAMPLE, file);
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &[][..],
        &["dance"],
        &["run", "--colour"],
        &["run", "--account", "alice@example.org"],
        &["run", "--config", "x", "--account", "a@b", "--password-file", "x", "--group-file", "y"],
        &["hangup"],
        &["hangup", "one"],
    ] {
        let output = command(Path::new("."), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("Usage: galene-sips") || said.contains("try '--help'"), "{said}");
    }
    for arguments in [["--help"], ["--version"]] {
        assert_eq!(command(Path::new("."), &arguments).status.code(), Some(0));
    }
}

#[test]
fn an_invitation_on_the_command_line_is_refused_and_not_repeated() {
    let link = format!("https://galene.lab.test/group/choir/?token={TOKEN}");
    let option = format!("--group-file={link}");
    let bare = format!("token={TOKEN}");
    for arguments in [vec!["run", &link], vec!["run", &option], vec!["run", "--group", &bare], vec![&link]] {
        let output = command(Path::new("."), &arguments);
        fails(&output, 2, &["every user of this machine can read it", "--group-file"]);
    }
}

#[test]
fn both_secrets_cannot_come_from_standard_input() {
    let directory = Directory::new("both");
    let arguments = ["run", "--account", "a@sip.lab.test", "--password-file", "-", "--group-file", "-"];
    fails(&command_with_input(directory.path(), &arguments, PASSWORD), 78, &["standard input", "into a file"]);
}

#[test]
fn a_bad_quick_start_says_what_is_wrong_without_line_numbers() {
    let directory = Directory::new("quick-bad");
    directory.secret("group", &format!("https://galene.lab.test/group/choir/?token={TOKEN}\n"));
    directory.file("open", 0o640, PASSWORD);
    directory.secret("password", PASSWORD);
    let run = |account: &str, password: &str, group: &str| {
        let arguments = ["run", "--account", account, "--password-file", password, "--group-file", group];
        command(directory.path(), &arguments)
    };
    fails(&run("alice", "password", "group"), 78, &["command line: ", "user@domain"]);
    fails(&run("a@sip.lab.test", "open", "group"), 78, &["open: ", "can be read by other users", "chmod 600"]);
    fails(&run("a@sip.lab.test", "password", "nowhere"), 78, &["nowhere: ", "cannot be read"]);
    fails(&run("a@sip.lab.test", "password", "password"), 78, &["https://"]);
}

#[test]
fn without_a_running_program_status_and_calls_say_so() {
    let directory = prepared("nobody", &good());
    for arguments in [
        &["status"][..],
        &["calls", "--json"],
        &["hangup", "1"],
        &["status", "--config", "config.toml"],
        &["calls", "--admin-socket", "nowhere.socket"],
    ] {
        let output = command(directory.path(), arguments);
        fails(&output, 1, &["no running galene-sips answers at", "start it, or name its socket with --admin-socket"]);
    }
}

fn schema_of(command: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("docs/schema/{command}.json")).unwrap()).unwrap()
}

fn json(directory: &Directory, arguments: &[&str]) -> Value {
    let output = command(directory.path(), arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_as_status_calls_hangup_and_the_log_show_it() {
    let mut scene = Scene::start("a-call").await;
    let config = scene.config.clone();
    let ask = |command: &str| json(&scene.directory, &[command, "--json", "--config", &config]);

    let (status, calls) = (ask("status"), ask("calls"));
    schema::check(&schema_of("status"), &status, "status");
    schema::check(&schema_of("calls"), &calls, "calls");
    assert_eq!(calls["calls"], serde_json::json!([]));
    assert_eq!(status["accounts"][0]["registered"], true);
    assert_eq!(status["accounts"][0]["signalling"]["level"], "verified");
    assert_eq!(status["accounts"][0]["signalling"]["peer_name"], DOMAIN);
    assert_eq!(status["accounts"][0]["galene"], "idle");
    assert_eq!(status["accounts"][0]["level"], Value::Null, "no call");

    let phone = scene.phone().await;
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    call.speak(vec![1000; 48_000]).await;
    let calls = ask("calls");
    schema::check(&schema_of("calls"), &calls, "calls");
    let status = ask("status");
    schema::check(&schema_of("status"), &status, "status");
    assert_eq!(status["accounts"][0]["level"], "srtp", "the weakest call");
    let shown = &calls["calls"][0];
    assert_eq!(shown["id"], 1);
    assert_eq!(shown["state"], "talking");
    assert_eq!(shown["media"]["level"], "srtp");
    assert_eq!(shown["media"]["suite"], "AES_CM_128_HMAC_SHA1_80");
    assert!(shown["rtp"]["received"].as_u64().unwrap() > 20, "{shown}");
    assert!(shown["rtp"]["sent"].as_u64().unwrap() > 20, "{shown}");
    assert_eq!(shown["rtp"]["auth_failures"], 0);
    assert_eq!(shown["galene"]["state"], "publishing");
    assert_eq!(shown["galene"]["may_write"], true);
    let people = text(&command(scene.directory.path(), &["calls", "--config", &config]).stdout);
    assert!(people.contains("encrypted to the provider: AES_CM_128_HMAC_SHA1_80 (SDES)"), "{people}");
    let people = text(&command(scene.directory.path(), &["status", "--config", &config]).stdout);
    assert!(people.contains("registered") && people.contains("TLS 1.3"), "{people}");
    assert!(people.contains("calls         1, the weakest encrypted to the provider, who can listen\n"), "{people}");

    let other = command(scene.directory.path(), &["hangup", "99", "--config", &config]);
    fails(&other, 1, &["no call 99", "`galene-sips calls` lists them"]);
    let hung_up = command(scene.directory.path(), &["hangup", "1", "--config", &config]);
    assert_eq!(hung_up.status.code(), Some(0));
    match call.ended(Duration::from_secs(5)).await {
        Some(Ended::Bye(Some(reason))) => assert!(reason.contains("the administrator ended it"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask("calls")["calls"], serde_json::json!([]));

    let second = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    let (status, duration) = scene.gateway.terminate().await;
    assert!(status.success());
    assert!(duration < LAST_MOMENT, "{duration:?}");
    assert!(second.ended(Duration::from_secs(1)).await.is_some(), "the phone got a BYE");
    let mut messages = scene.provider.log().into_iter().rev().map(|logged| text(&logged.message.to_bytes()));
    let last = messages.find(|message| message.starts_with("REGISTER")).unwrap();
    assert!(last.contains("\r\nExpires: 0\r\n"), "it un-registered: {last}");

    no_secret_in_the_log(&scene);
}

/// Passwords, tokens, media keys and the headers and bodies that hold them: at the level at which everything is logged.
fn no_secret_in_the_log(scene: &Scene) {
    let log = scene.gateway.output();
    assert!(log.contains("TRACE") && log.contains("REGISTER sip:") && log.contains("SIP/2.0 200 OK"), "{log}");
    let mut keys = Vec::new();
    for logged in scene.provider.log() {
        let message = text(&logged.message.to_bytes());
        let crypto = message.lines().filter_map(|line| line.split_once("inline:"));
        keys.extend(crypto.map(|(_, key)| key.split(['|', ' ', '\r']).next().unwrap().to_owned()));
    }
    assert!(keys.len() >= 4, "two calls, each with an offer and an answer");
    let never = ["a=crypto", "inline:", "Authorization", "nonce", "m=audio", "v=0"];
    for secret in [PASSWORD, PHONE_PASSWORD, TOKEN].into_iter().chain(never).chain(keys.iter().map(String::as_str)) {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "\"{secret}\" in: {line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_not_reach_the_log_however_tcp_cuts_a_message() {
    let mut scene = Scene::start("cut").await;
    let key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    scene.provider.inject("conference", "INVITE sip:conference@sip.lab.test SIP/2.0\r\nContent-Length: 60\r\n");
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.provider.inject("conference", format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"));
    scene.gateway.line_with(&["received", "length=84"]).await;
    assert!(scene.gateway.terminate().await.0.success());
    assert!(!scene.gateway.output().contains(key) && !scene.gateway.output().contains("a=crypto"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_call_is_refused_with_its_remedy_in_the_log() {
    let scene = Scene::start("clear").await;
    let phone = scene.phone().await;
    let media = galene_sips_lab::phone::MediaOptions::clear();
    let failed = phone.call_with(&format!("sip:conference@{DOMAIN}"), media, false).await.err().unwrap();
    assert_eq!(failed.status, 488);
    scene
        .gateway
        .line_with(&["WARN", "call refused", "media-clear", "remedy=", "Set the phone's media encryption"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_in_time_though_the_provider_no_longer_answers() {
    let mut scene = Scene::start("silent").await;
    let phone = scene.phone().await;
    let _call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    scene.provider.behave(|behaviour| behaviour.silent = true);
    scene.group.freeze(true);
    let (status, duration) = scene.gateway.terminate().await;
    assert!(status.success(), "{}", scene.gateway.output());
    assert!(duration < LAST_MOMENT, "{duration:?}");
    assert!(!scene.gateway.output().contains("not everything could be ended"), "{}", scene.gateway.output());
    assert!(!scene.directory.path().join("galene-sips-store/admin.socket").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_even_shake_hands_delays_nothing() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let config = good().replace("127.0.0.1:9", &listener.local_addr().unwrap().to_string());
    let directory = prepared("mute", &config);
    let mut gateway = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    let _open = listener.accept().await.unwrap();
    let asked = Instant::now();
    let status = json(&directory, &["status", "--json", "--config", "config.toml"]);
    assert!(asked.elapsed() < Duration::from_secs(2), "answered while it connects");
    schema::check(&schema_of("status"), &status, "status");
    assert_eq!(status["accounts"][0]["signalling"], Value::Null);
    let (status, duration) = gateway.terminate().await;
    assert!(status.success());
    assert!(duration < Duration::from_secs(2), "{duration:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_rebuilt_and_the_call_goes_on_over_the_new_one() {
    let scene = Scene::start("lost").await;
    let phone = scene.phone().await;
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    scene.provider.close(Some("conference"));
    scene.gateway.line_with(&["WARN", "connection lost; calls go on"]).await;
    let back = async {
        let arguments = ["status", "--json", "--config", &scene.config];
        while json(&scene.directory, &arguments)["accounts"][0]["registered"] == false {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.expect("registered again");
    let heard = call.statistics().received;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(call.statistics().received > heard + 25, "the sound goes on");
    call.bye().await;
    scene.gateway.line_with(&["INFO", "call ended", "the caller hung up"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_without_an_address_is_reported_and_tried_again() {
    let name = format!("{}.lab.test", "a".repeat(64)); // too long a label for any DNS question, so none is asked
    let directory = prepared("dns", &good().replace("127.0.0.1:9", &name));
    let mut gateway = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    gateway.line_with(&["WARN", "the provider was not found", "that is no name", "remedy="]).await;
    let registration = json(&directory, &["status", "--json", "--config", "config.toml"]);
    let registration = registration["accounts"][0]["registration"].as_str().unwrap().to_owned();
    assert!(registration.contains("that is no name"), "{registration}");
    assert!(gateway.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_program_at_a_time_and_a_dead_one_is_no_obstacle() {
    let directory = prepared("twice", &good());
    let mut first = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    first.line_with(&["running"]).await;
    let mode = |path: &str| fs::metadata(directory.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("galene-sips-store"), 0o700);
    assert_eq!(mode("galene-sips-store/admin.socket"), 0o600);
    let second = command(directory.path(), &["run", "--config", "config.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another galene-sips is running"), "{}", text(&second.stderr));
    // another store, the same socket
    let config =
        format!("{}[store]\ndirectory = \"other\"\n[admin]\nsocket = \"galene-sips-store/admin.socket\"\n", good());
    directory.secret("other.toml", &config);
    let second = command(directory.path(), &["run", "--config", "other.toml"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another galene-sips is running"), "{}", text(&second.stderr));
    assert_eq!(json(&directory, &["status", "--json", "--config", "config.toml"])["schema_version"], 1);

    first.kill().await;
    assert!(directory.path().join("galene-sips-store/admin.socket").exists(), "it could not tidy up");
    let mut third = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
    third.line_with(&["running"]).await;
    assert_eq!(json(&directory, &["status", "--json", "--config", "config.toml"])["schema_version"], 1);
    assert!(third.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_start_needs_no_file_but_the_password() {
    // the account's domain is an address, so that no DNS is needed; 5061 is the port of SIP over TLS
    let listener = TcpListener::bind(("127.0.0.77", 5061)).await.unwrap();
    let directory = Directory::new("quick");
    directory.secret("password", &format!("{PASSWORD}\n"));
    let arguments = ["run", "--account", "alice@127.0.0.77", "--password-file", "password", "--group-file", "-"];
    let link = format!("https://galene.lab.test/group/choir/?token={TOKEN}\n");
    let mut gateway = Gateway::start_with_input(directory.path(), &arguments, &link);
    let connected = tokio::time::timeout(Duration::from_secs(10), listener.accept()).await;
    assert!(connected.is_ok(), "{}", gateway.output());
    let status = json(&directory, &["status", "--json"]);
    assert_eq!(status["accounts"][0]["account"], "alice@127.0.0.77");
    assert_eq!(status["accounts"][0]["room"], "https://galene.lab.test/group/choir/");
    assert!(gateway.terminate().await.0.success());
    assert!(!gateway.output().contains(TOKEN) && !gateway.output().contains(PASSWORD));
}
