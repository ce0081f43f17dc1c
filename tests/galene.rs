//! Calls through the real program into groups that refuse, change, freeze, die and come back: each ends in the right SIP
//! answer or BYE, or goes on, and nothing stays behind in the group.
//!
//! The group is on a real Galène when `GALENE_BIN` names one, else on the laboratory's group server, which has to behave
//! alike. With `GALENE_SIPS_FULL=1` outages last so long that connections and patience end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may fail loudly and tell its figures"
)]

mod gateway;

use galene_sips::sdp::Codec;
use galene_sips_lab::certificates::{Authority, Kind, Tls};
use galene_sips_lab::group_peer::{GroupPeer, JoinOptions};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{Call, CallFailed, Ended, MediaOptions, Phone, PhoneOptions};
use galene_sips_lab::real::full;
use galene_sips_lab::real::galene::INVITATION;
use galene_sips_lab::real::server::{OPERATOR, Server};
use galene_sips_lab::registrar::{Registrar, RegistrarOptions};
use galene_sips_lab::sound::sine;
use gateway::{Directory, Gateway, command};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const DOMAIN: &str = "sip.lab.test";
const PASSWORD: &str = "gateway-pass-Rf62";
const RATE: u32 = 48_000;
const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

/// Where the calls of an account go: its name, the group's address, further lines.
type Room = (&'static str, String, &'static str);

/// Groups, a provider, and the gateway between them; a phone.
struct Scene {
    server: Server,
    gateway: Gateway,
    phone: Phone,
    directory: Directory,
    _provider: Registrar,
}

impl Scene {
    /// A gateway with one room, `conf`.
    async fn start(name: &str) -> Scene {
        Scene::with_rooms(name, "", |server| vec![("conf", server.invitation(), "")]).await
    }

    async fn with_rooms(name: &str, more: &str, rooms: impl FnOnce(&Server) -> Vec<Room>) -> Scene {
        let server = Server::start().await.unwrap();
        let (authority, directory) = (Authority::new("Laboratory CA").unwrap(), Directory::new(name));
        let tls = authority.issue(Kind::Good, DOMAIN).unwrap().server_config(Tls::Both).unwrap();
        let rooms = rooms(&server);
        let options = RegistrarOptions::new(tls, DOMAIN).with_user("phone", PASSWORD);
        let options = rooms.iter().fold(options, |options, (account, ..)| options.with_user(account, PASSWORD));
        let provider = Registrar::start(options).await.unwrap();
        directory.secret("password", PASSWORD);
        directory.secret("alice", "alice's");
        directory.file("ca.pem", 0o644, &authority.pem());
        directory.file("group-ca.pem", 0o644, &server.authority().pem());
        let mut text = format!("[log]\nlevel = \"debug\"\n[admin]\nsocket = \"admin/socket\"\n{more}\n");
        for (account, group, lines) in &rooms {
            text += &format!(
                "[[account]]\naddress = \"{account}@{DOMAIN}\"\npassword_file = \"password\"\nca_file = \"ca.pem\"\n\
                 outbound_proxy = \"sips:{}\"\n\
                 [[room]]\ngroup = \"{group}\"\naccount = \"{account}@{DOMAIN}\"\nca_file = \"group-ca.pem\"\n{lines}\n",
                provider.address(),
            );
        }
        directory.secret("config.toml", &text);
        let gateway = Gateway::start(directory.path(), &["run", "--config", "config.toml"]);
        for (account, ..) in &rooms {
            assert!(provider.registered(account, Duration::from_secs(15)).await, "{account}: {}", gateway.output());
        }
        let tls = authority.client_config().unwrap();
        let options = PhoneOptions::new(provider.address(), tls, "phone", DOMAIN, PASSWORD);
        let phone = Phone::start(options).await.unwrap();
        assert!(phone.registered(SOON).await);
        Scene { server, gateway, phone, directory, _provider: provider }
    }

    async fn call(&self, account: &str, codec: Codec) -> Result<Call, CallFailed> {
        let media = MediaOptions::default().codec(codec);
        self.phone.call_with(&format!("sip:{account}@{DOMAIN}"), media, false).await
    }

    /// A call to `conf` that is answered.
    async fn answered(&self, codec: Codec) -> Call {
        let called = self.call("conf", codec).await;
        called.unwrap_or_else(|failed| panic!("{failed}\n{}", self.gateway.output()))
    }

    /// Waits for the end of a call; why the gateway ended it.
    async fn reason_of(&self, call: &Call, patience: Duration) -> String {
        match call.ended(patience).await {
            Some(Ended::Bye(Some(reason))) => reason,
            other => panic!("{other:?}\n{}", self.gateway.output()),
        }
    }

    /// Waits until the server counts so many members of `conf`.
    async fn members_become(&self, count: u64, patience: Duration) {
        let end = Instant::now() + patience;
        loop {
            let members = self.server.members().await.unwrap();
            if members == count {
                return;
            }
            assert!(Instant::now() < end, "{members} members instead of {count}\n{}", self.gateway.output());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// After the last call the listening client leaves too, and nobody of ours is left.
    async fn nothing_is_left(&self) {
        self.members_become(0, Duration::from_secs(6)).await;
        assert_eq!(self.server.complaints(), [""; 0], "everybody left as he should");
    }

    /// The sockets of the gateway.
    fn sockets(&self) -> usize {
        let files = std::fs::read_dir(format!("/proc/{}/fd", self.gateway.id())).unwrap();
        let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    }
}

fn tone(hz: f64, seconds: usize) -> Vec<i16> {
    sine(RATE, hz, 0.3, seconds * RATE as usize)
}

/// The share of a tone in the last second of what was heard; nothing where less was heard.
fn last_second(heard: &[i16], hz: f64) -> f64 {
    match heard.len().checked_sub(RATE as usize) {
        Some(start) => tone_share(&heard[start..], RATE, hz),
        None => 0.0,
    }
}

/// Waits until the phone hears the talker's tone.
async fn phone_hears(call: &Call, hz: f64, patience: Duration) -> bool {
    becomes(patience, || last_second(&call.heard(), hz) > 0.8).await
}

/// Waits until the peer hears a tone from a phone.
async fn group_hears(peer: &GroupPeer, hz: f64, patience: Duration) -> bool {
    becomes(patience, || {
        let heard = peer.heard().into_iter().filter(|(name, _)| name.starts_with('☎'));
        heard.map(|(_, heard)| last_second(&heard, hz)).any(|share| share > 0.8)
    })
    .await
}

async fn becomes(patience: Duration, wanted: impl Fn() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !wanted() {
        if Instant::now() > end {
            return false;
        }
        sleep(Duration::from_millis(100)).await;
    }
    true
}

fn phones(peer: &GroupPeer) -> Vec<String> {
    peer.participants().into_values().filter(|name| name.starts_with('☎')).collect()
}

async fn wrote(peer: &GroupPeer, text: &str) -> bool {
    becomes(SOON, || peer.chats().iter().any(|chat| chat.text.contains(text))).await
}

/// Both ways sound is there.
async fn both_hear(call: &Call, peer: &GroupPeer, patience: Duration, when: &str) {
    peer.clear_heard();
    call.clear_heard();
    let (phone, group) = tokio::join!(phone_hears(call, 1000.0, patience), group_hears(peer, 440.0, patience));
    assert!(phone && group, "{when}: the phone hears: {phone}, the group hears: {group}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_let_in_gets_the_right_answer() {
    let scene = Scene::with_rooms("refused", "", |server| {
        let password = "username = \"alice\"\npassword_file = \"password\"";
        vec![
            ("conf", server.invitation(), ""),
            ("wrong", server.url("closed"), password),
            ("expired", format!("{}-of-yesterday", server.invitation()), ""),
            ("nowhere", format!("{}?token=x", server.url("nowhere")), ""),
            ("moved", format!("{}?token=x", server.url("moved")), ""),
            ("pcm", server.invitation_to("pcm"), ""),
            ("full", server.invitation_to("full"), ""),
            ("guarded", server.url("guarded"), "username = \"alice\"\npassword_file = \"alice\""),
        ]
    })
    .await;
    let op = scene.server.operator().await.unwrap();
    op.raw(serde_json::json!({"type": "groupaction", "kind": "lock", "source": op.id(), "username": op.username(),
        "value": "Back at two o'clock"}));
    let mut crowd = Vec::new();
    for name in ["Ann", "Bob", "Eve"] {
        crowd.push(GroupPeer::join(JoinOptions::new(scene.server.url("full"), name)).await.unwrap());
    }
    // what the caller hears of it, and what the log has to say: no host and no address is for a caller
    for (account, status, told, logged) in [
        ("wrong", 403, "not authorised", "not authorised"),
        ("expired", 403, "not authorised", "not authorised"),
        ("nowhere", 480, "the conference cannot be joined", "there is no group nowhere on"),
        ("moved", 480, "the conference cannot be joined", "has moved to https://elsewhere.example/group/x/"),
        ("pcm", 480, "the group does not speak Opus", "does not speak Opus"),
        ("full", 486, "too many users", "too many users"),
        ("guarded", 480, "the conference cannot be joined", "an authorisation server; use an invitation"),
        ("conf", 403, "Back at two o'clock", "Back at two o'clock"),
    ] {
        let begun = Instant::now();
        let refused = scene.call(account, Codec::Opus).await.err().unwrap_or_else(|| panic!("{account} was let in"));
        println!("{account}: {} {:?} after {:?}", refused.status, refused.warning, begun.elapsed());
        assert_eq!(refused.status, status, "{account}: {refused:?}\n{}", scene.gateway.output());
        assert!(refused.warning.as_ref().is_some_and(|warning| warning.contains(told)), "{account}: {refused:?}");
        scene.gateway.line_with(&["does not let the caller in", told, "remedy="]).await;
        scene.gateway.line_with(&[logged]).await;
    }
    // unlocked, the same call is let in; refused or not, nobody stays
    op.raw(serde_json::json!({"type": "groupaction", "kind": "unlock", "source": op.id(), "username": op.username()}));
    sleep(Duration::from_millis(300)).await;
    scene.answered(Codec::Opus).await.bye().await;
    scene.members_become(1, SOON).await;
    assert_eq!(op.participants().into_values().collect::<Vec<_>>(), [OPERATOR.0]);
    let in_full =
        crowd[0].participants().into_values().filter(|name| name.starts_with("Phone") || name.starts_with('☎'));
    assert_eq!(in_full.collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_listen_is_answered_and_hears_and_is_told_of() {
    let scene = Scene::with_rooms("listen", "", |server| {
        vec![("quiet", server.invitation_to("quiet"), ""), ("guarded", server.invitation_to("guarded"), "")]
    })
    .await;
    let talker = GroupPeer::join(JoinOptions::new(scene.server.url("quiet"), "Bob")).await.unwrap();
    let listening = async {
        let call = scene.call("quiet", Codec::Pcmu).await.unwrap();
        assert!(phone_hears(&call, 1000.0, SOON).await, "{}", scene.gateway.output());
        assert!(wrote(&talker, "can listen but not speak: the group does not permit it").await, "{:?}", talker.chats());
        scene.gateway.line_with(&["can listen but not speak"]).await;
        call.bye().await;
    };
    tokio::select! { () = talker.publish(tone(1000.0, 60)) => panic!("too slow"), () = listening => {} }
    // with an invitation nobody asks for an authorisation server
    scene.call("guarded", Codec::Opus).await.unwrap().bye().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_talks_already_is_heard_by_every_call() {
    let scene = Scene::start("already").await;
    let talker = scene.server.peer("Bob").await.unwrap();
    let calling = async {
        sleep(2 * SECOND).await;
        for n in 0..if full() { 14 } else { 6 } {
            let begun = Instant::now();
            let call = scene.answered([Codec::Opus, Codec::Pcmu][n % 2]).await;
            let answered = begun.elapsed();
            assert!(phone_hears(&call, 1000.0, Duration::from_secs(4)).await, "call {n}: {}", scene.gateway.output());
            println!("call {n}: answered after {answered:?}, a whole second heard after {:?}", begun.elapsed());
            call.bye().await;
            // every other call finds a listening client that is there, the others a new one
            scene.members_become(if n % 2 == 0 { 2 } else { 1 }, SOON).await;
        }
    };
    tokio::select! { () = talker.publish(tone(1000.0, 200)) => panic!("too slow"), () = calling => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_fifty_members_answers() {
    let scene = Scene::start("fifty").await;
    let talker = scene.server.peer("Bob").await.unwrap();
    let mut members = Vec::new();
    let calling = async {
        for n in 2..=50 {
            let options = JoinOptions::new(scene.server.url("conf"), format!("member {n}")).deaf();
            members.push(GroupPeer::join(options).await.unwrap());
            if [8, 50].contains(&n) {
                let begun = Instant::now();
                let call = scene.answered(Codec::Opus).await;
                println!("{n} members: answered after {:?}", begun.elapsed());
                assert!(phone_hears(&call, 1000.0, SOON).await, "{n} members");
                call.bye().await;
            }
        }
    };
    tokio::select! { () = talker.publish(tone(1000.0, 200)) => panic!("too slow"), () = calling => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_at_once_are_all_answered() {
    // below what the kernel gives to whoever asks for any port, and not the same for two runs at once
    let first = 20_000 + std::process::id() % 200 * 40;
    let ports = format!("[media]\nports = \"{first}-{}\"", first + 39);
    let scene = Scene::with_rooms("hundred", &ports, |server| vec![("conf", server.invitation(), "")]).await;
    let begun = Instant::now();
    let all = futures_util::future::join_all((0..100).map(|_| scene.call("conf", Codec::Pcmu))).await;
    println!("answered after {:?}", begun.elapsed());
    let calls: Vec<&Call> = all.iter().filter_map(|called| called.as_ref().ok()).collect();
    let refused: Vec<u16> = all.iter().filter_map(|called| called.as_ref().err()).map(|failed| failed.status).collect();
    assert_eq!(calls.len(), 20, "as many as there are ports for: {refused:?}");
    assert_eq!(refused, [486; 80], "and the others are told");
    for call in calls {
        call.bye().await;
    }
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_mutes_takes_and_gives_the_floor_and_kicks() {
    let scene = Scene::start("operator").await;
    let op = scene.server.operator().await.unwrap();
    let call = scene.answered(Codec::Opus).await;
    let name = phones(&op).remove(0);
    let talking = call.speak(tone(440.0, 90));
    let acting = async {
        assert!(group_hears(&op, 440.0, SOON).await);
        op.mute(&name);
        assert!(wrote(&op, &format!("{name} was muted by op; to hear it again, forbid it to present")).await);
        op.clear_heard();
        sleep(2 * SECOND).await;
        assert!(op.heard().get(&name).is_none_or(|heard| tone_share(heard, RATE, 440.0) < 0.1), "muted");
        op.user_action("unpresent", &name, "");
        assert!(wrote(&op, &format!("{name} can listen but not speak")).await);
        scene.gateway.line_with(&["the conference server reports an error", "permission denied"]).await;
        op.user_action("present", &name, "");
        assert!(wrote(&op, &format!("{name} can be heard")).await);
        op.clear_heard();
        assert!(group_hears(&op, 440.0, SOON).await, "{}", scene.gateway.output());
        op.kick(&name);
        let reason = scene.reason_of(&call, SOON).await;
        assert!(reason.contains("an operator of the group removed the caller: kicked by the test"), "{reason}");
    };
    tokio::select! { () = talking => panic!("too slow"), () = acting => {} }
    scene.members_become(1, SOON).await;
    sleep(3 * SECOND).await;
    assert_eq!(op.participants().into_values().collect::<Vec<_>>(), [OPERATOR.0], "it does not come back by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn galene_frozen_for_nine_seconds_costs_nine_seconds_of_sound() {
    let scene = Scene::start("frozen").await;
    let peer = scene.server.peer("Bob").await.unwrap();
    for codec in [Codec::Opus, Codec::Pcmu] {
        let call = scene.answered(codec).await;
        let acting = async {
            both_hear(&call, &peer, SOON, "before").await;
            for seconds in [8, 9] {
                scene.server.freeze(true).unwrap();
                sleep(seconds * SECOND).await;
                scene.server.freeze(false).unwrap();
                let begun = Instant::now();
                both_hear(&call, &peer, SOON, "after").await;
                println!(
                    "{codec:?}, {seconds} s: both are heard after {:?}, a second of measuring included",
                    begun.elapsed()
                );
                sleep(3 * SECOND).await;
                both_hear(&call, &peer, 3 * SECOND, "still").await;
            }
        };
        let talking = async { tokio::join!(peer.publish(tone(1000.0, 90)), call.speak(tone(440.0, 90))) };
        tokio::select! { _ = talking => panic!("too slow"), () = acting => {} }
        assert!(!scene.gateway.output().contains("lost the conference server"), "the connections outlast it");
        call.bye().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_media_path_costs_the_time_that_it_is_dead() {
    let scene = Scene::start("path").await;
    let peer = scene.server.peer("Bob").await.unwrap();
    let call = scene.answered(Codec::Opus).await;
    let acting = async {
        both_hear(&call, &peer, SOON, "before").await;
        scene.server.lose_media(true).unwrap();
        // 35 s: the server notices too, asks for a new offer of ours and makes one of its own
        sleep(Duration::from_secs(if full() { 35 } else { 4 })).await;
        scene.server.lose_media(false).unwrap();
        let begun = Instant::now();
        both_hear(&call, &peer, SOON, "after").await;
        println!("both are heard after {:?}, a second of measuring included", begun.elapsed());
        sleep(5 * SECOND).await;
        both_hear(&call, &peer, 3 * SECOND, "still").await;
    };
    let talking = async { tokio::join!(peer.publish(tone(1000.0, 90)), call.speak(tone(440.0, 90))) };
    tokio::select! { _ = talking => panic!("too slow"), () = acting => {} }
    call.bye().await;
    peer.leave().await;
    scene.nothing_is_left().await;
}

/// Longer than anybody's patience with a silent connection.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: `./test --full`"]
async fn galene_silent_for_75_seconds_is_left_and_found_again() {
    let scene = Scene::start("silent").await;
    let call = scene.answered(Codec::Opus).await;
    scene.server.freeze(true).unwrap();
    sleep(75 * SECOND).await;
    scene.gateway.line_with(&["lost the conference server", "the server is silent"]).await;
    scene.server.freeze(false).unwrap();
    scene.gateway.line_with(&["back in the group"]).await;
    // the real one has thrown everybody out, so Bob comes now
    let peer = scene.server.peer("Bob").await.unwrap();
    let talking = async { tokio::join!(peer.publish(tone(1000.0, 60)), call.speak(tone(440.0, 60))) };
    let acting = both_hear(&call, &peer, 2 * SOON, "after 75 s");
    tokio::select! { _ = talking => panic!("too slow"), () = acting => {} }
    scene.members_become(3, SOON).await;
    call.bye().await;
    peer.leave().await;
    scene.members_become(0, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn galene_killed_and_started_again_loses_no_call() {
    let mut scene = Scene::start("killed").await;
    let (first, second) = (scene.answered(Codec::Opus).await, scene.answered(Codec::Pcmu).await);
    scene.server.stop();
    let begun = Instant::now();
    first.clear_heard();
    second.clear_heard();
    let meanwhile = async {
        let heard = phone_hears(&second, 440.0, SOON).await;
        assert!(heard, "phones hear each other without Galène: {}", scene.gateway.output());
    };
    tokio::select! { () = first.speak(tone(440.0, 30)) => panic!("too slow"), () = meanwhile => {} }
    scene.gateway.line_with(&["lost the conference server", "patience_s=120"]).await;
    sleep(Duration::from_secs(if full() { 40 } else { 3 })).await;
    scene.server.restart().await.unwrap();
    println!("away for {:?}", begun.elapsed());
    scene.members_become(3, SOON).await;
    let peer = scene.server.peer("Bob").await.unwrap();
    let talking = async { tokio::join!(peer.publish(tone(1000.0, 30)), first.speak(tone(440.0, 30))) };
    let acting = async {
        both_hear(&first, &peer, SOON, "after the restart").await;
        let both = || [440.0, 1000.0].iter().all(|hz| last_second(&second.heard(), *hz) > 0.3);
        assert!(becomes(SOON, both).await, "the other phone hears both");
    };
    tokio::select! { _ = talking => panic!("too slow"), () = acting => {} }
    assert!(first.ended(Duration::ZERO).await.is_none() && second.ended(Duration::ZERO).await.is_none());
    first.bye().await;
    second.bye().await;
    peer.leave().await;
    scene.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: `./test --full`"]
async fn galene_gone_for_good_ends_the_calls_after_two_minutes() {
    let mut scene = Scene::start("gone").await;
    let call = scene.answered(Codec::Opus).await;
    let idle = scene.sockets();
    scene.server.stop();
    let begun = Instant::now();
    sleep(115 * SECOND).await;
    assert!(call.ended(Duration::ZERO).await.is_none());
    let reason = scene.reason_of(&call, 15 * SECOND).await;
    println!("BYE after {:?}: {reason}", begun.elapsed());
    assert!(reason.contains("the conference server went away: it did not come back in time"), "{reason}");
    assert!(begun.elapsed() > 119 * SECOND);
    sleep(4 * SECOND).await;
    assert!(scene.sockets() < idle, "its sockets are closed");
    let late = scene.call("conf", Codec::Opus).await.err().unwrap();
    assert_eq!(late.status, 480, "and who calls now is told soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn however_a_call_ends_nothing_of_it_is_left() {
    let scene = Scene::start("ghosts").await;
    let idle = scene.sockets();
    let config = scene.directory.path().join("config.toml").display().to_string();
    for how in ["the phone hangs up", "the administrator ends it", "it is given up while it is set up", "both at once"]
    {
        let begun = scene.answered(Codec::Opus).await;
        assert_eq!(scene.server.members().await.unwrap(), 2, "the listening client and the phone");
        match how {
            "the phone hangs up" => begun.bye().await,
            "the administrator ends it" => {
                let calls = command(scene.directory.path(), &["calls", "--json", "--config", &config]);
                let calls: serde_json::Value = serde_json::from_slice(&calls.stdout).unwrap();
                let number = calls["calls"][0]["id"].to_string();
                let ended = command(scene.directory.path(), &["hangup", &number, "--config", &config]);
                assert!(ended.status.success());
                let reason = scene.reason_of(&begun, SOON).await;
                assert!(reason.contains("the administrator ended it"), "{reason}");
            }
            "it is given up while it is set up" => {
                for after_ms in [0, 5, 10, 20, 40, 80] {
                    let giving_up = async {
                        sleep(Duration::from_millis(after_ms)).await;
                        scene.phone.cancel();
                    };
                    if let (Ok(call), ()) = tokio::join!(scene.call("conf", Codec::Pcmu), giving_up) {
                        call.bye().await;
                    }
                }
                begun.bye().await;
            }
            _ => {
                let second = scene.answered(Codec::Pcmu).await;
                tokio::join!(begun.bye(), second.bye());
            }
        }
        scene.nothing_is_left().await;
        assert!(becomes(SOON, || scene.sockets() == idle).await, "{how}: {} sockets, idle {idle}", scene.sockets());
    }
    assert!(!scene.gateway.output().contains(INVITATION));
}
