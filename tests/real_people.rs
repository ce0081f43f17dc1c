//! A call whose code people can check, and a gateway that remembers: with a real Linphone that speaks ZRTP.
//!
//! The group is on a real Galène when `GALENE_BIN` names one, else on the laboratory's group server; what needs
//! Galène's own page is `#[ignore]`d and runs with `--include-ignored`, and so is what measures time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly and tell its figures"
)]

mod real;

use std::fs;
use std::time::Duration;

use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::real::capture::{Capture, UdpPacket};
use galene_sips_lab::real::chromium::Chromium;
use galene_sips_lab::real::galene::OPERATOR;
use galene_sips_lab::real::gateway::{ACCOUNT, GatewaySettings, MEDIA_PORTS};
use galene_sips_lab::real::kamailio::{Attack, Digest};
use galene_sips_lab::real::linphone::{CallState, Linphone, SipMessage};
use galene_sips_lab::real::meeting::Meeting;
use galene_sips_lab::real::program::wait_until;
use galene_sips_lab::real::rig::{PhoneSettings, Rig};
use real::{
    SOON, Scene, all_is_encrypted, call, gateways_rtp, nothing_is_sent_before_zrtp_is_done, phone_in_the_group, tone,
};
use serde_json::{Value, json};

const ROBOT: &str = "Phone gateway";
const ZRTP: PhoneSettings = PhoneSettings::ZRTP;
/// The ports that Linphone takes for its sound.
const PHONE_PORTS: std::ops::RangeInclusive<u16> = 10_000..=19_998;

fn account(lines: &str) -> GatewaySettings<'_> {
    GatewaySettings { account: lines, ..GatewaySettings::USUAL }
}

/// A registered phone that speaks.
fn phone(rig: &Rig, user: &str, settings: PhoneSettings) -> Linphone {
    let mut phone = rig.phone(user, settings).unwrap();
    phone.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    phone
}

/// Somebody in the group, with whatever he uses to read and write.
trait Person {
    fn writes(&mut self, line: &str);
    fn writes_to_the_robot(&mut self, line: &str);
    /// The gateway's lines that he has got.
    fn told(&mut self) -> Vec<String>;
}

impl Person for GroupPeer {
    fn writes(&mut self, line: &str) {
        self.chat(line);
    }

    fn writes_to_the_robot(&mut self, line: &str) {
        self.chat_to(ROBOT, line);
    }

    fn told(&mut self) -> Vec<String> {
        let chats = self.chats().into_iter();
        chats.filter(|chat| chat.username.as_deref() == Some(ROBOT)).map(|chat| chat.text).collect()
    }
}

impl Person for Chromium {
    fn writes(&mut self, line: &str) {
        self.type_chat(line).unwrap();
    }

    fn writes_to_the_robot(&mut self, line: &str) {
        self.type_chat_to(ROBOT, line).unwrap();
    }

    fn told(&mut self) -> Vec<String> {
        self.chat().unwrap().into_iter().filter(|line| line.from == ROBOT).map(|line| line.text).collect()
    }
}

/// Waits for a line of the gateway, after the first `seen`, that has all these words.
fn wait_told(person: &mut impl Person, seen: usize, words: &[&str]) -> String {
    let found = wait_until(&format!("a line with {words:?}"), SOON, || {
        Ok(person.told().into_iter().skip(seen).find(|line| words.iter().all(|word| line.contains(word))))
    });
    found.unwrap_or_else(|failure| panic!("{failure}\n{:#?}", person.told()))
}

/// He writes this, and the gateway answers everybody with all these words.
fn answered(author: &mut impl Person, line: &str, words: &[&str]) -> String {
    let seen = author.told().len();
    author.writes(line);
    wait_told(author, seen, words)
}

/// How often he was told that only an operator counts.
fn turned_down(person: &mut impl Person) -> usize {
    person.told().iter().filter(|line| line.starts_with("Only an operator")).count()
}

/// What is remembered: caller's ZID and whether it is verified.
fn remembered(scene: &Scene) -> Vec<(String, bool)> {
    let answer = scene.gateway.json("peers").unwrap();
    let peers = answer["peers"].as_array().unwrap().iter();
    peers.map(|peer| (peer["zid"].as_str().unwrap().to_owned(), peer["verified"] == true)).collect()
}

/// Nobody's word has counted.
fn nothing_is_verified(scene: &Scene) {
    let media = &scene.the_call()["media"];
    assert_eq!((&media["level"], &media["sas_verified"]), (&json!("zrtp"), &json!(false)), "{media}");
    assert!(remembered(scene).iter().all(|(_, verified)| !verified));
}

/// The media of a call as `calls --json` shows them, in short.
fn in_short(call: &Value) -> (&str, bool, bool, bool) {
    let (media, is) = (&call["media"], |key: &str| call["media"][key] == true);
    (media["level"].as_str().unwrap(), is("sas_verified"), is("cache_mismatch"), is("new_device"))
}

const UNVERIFIED: (&str, bool, bool, bool) = ("zrtp", false, false, false);
const VERIFIED: (&str, bool, bool, bool) = ("zrtp-verified", true, false, false);

/// The phone calls; gives the call as it is when it is secure.
fn secure(scene: &Scene, phone: &mut Linphone) -> Value {
    phone.call(&format!("sip:{ACCOUNT}")).unwrap();
    phone.wait_call(CallState::StreamsRunning, SOON).unwrap();
    let shown = scene.secure_call();
    wait_until("the phone's code", SOON, || {
        Ok((phone.sas().as_deref() == shown["media"]["sas"].as_str()).then_some(()))
    })
    .unwrap_or_else(|failure| panic!("{failure}: {:?} and {}", phone.sas(), shown["media"]["sas"]));
    shown
}

fn hang_up(scene: &Scene, phone: &mut Linphone) {
    phone.terminate().unwrap();
    phone.wait_call(CallState::End, SOON).unwrap();
    scene.wait_no_call();
}

/// The robot and the phone lose their connections and come back.
fn lose_the_group(rig: &Rig, scene: &Scene) {
    let back = || scene.gateway.log().matches("back in the group").count();
    let before = back();
    rig.net().cut_tcp(scene.gateway.pid(), scene.meeting.address()).unwrap();
    wait_until("the robot and the phone are back", SOON, || Ok((back() >= before + 2).then_some(()))).unwrap();
}

/// A first call with every wrong word and then the right one; another life of the gateway; the second call.
async fn only_an_operator_s_word_counts(rig: &Rig, scene: Scene, guest: &mut impl Person, operator: &mut impl Person) {
    let mut phone = phone(rig, "alice", ZRTP);
    // too early: for the history that the robot gets when it joins, and for a call that is not secure yet
    operator.writes("!sas 1 ok");
    rig.net().drop_udp_from(PHONE_PORTS).unwrap();
    let capture = call(rig, &mut phone);
    wait_until("the call is answered", SOON, || Ok((scene.the_call()["state"] == "securing").then_some(()))).unwrap();
    answered(operator, "!sas 1 ok", &["Nothing changed", "no code"]);
    rig.net().drop_nothing().unwrap();
    let shown = scene.secure_call();
    let code = shown["media"]["sas"].as_str().unwrap().to_owned();
    let line = wait_told(guest, 0, &["you say"]);
    assert!(line.contains(&format!("Code {code}: you say \"{}\"", &code[..2])), "{line}");
    println!("{line}");
    wait_until("the phone's code", SOON, || Ok((phone.sas().as_deref() == Some(&*code)).then_some(()))).unwrap();
    nothing_is_verified(&scene);

    // who is no operator
    answered(guest, "!sas 1 ok", &["Only an operator"]);
    guest.writes_to_the_robot("!sas 1 bad");
    wait_until("an answer in private", SOON, || Ok((turned_down(guest) == 2).then_some(()))).unwrap();
    assert_eq!(turned_down(operator), 1, "which nobody else reads");
    nothing_is_verified(&scene);

    // what was said before: to who comes later, and to the robot itself
    let later = scene.meeting.join("later").await.unwrap();
    let said = || later.chats().iter().any(|chat| !chat.live && chat.text == "!sas 1 ok");
    wait_until("the history", SOON, || Ok(said().then_some(()))).unwrap();
    let before = guest.told().len();
    lose_the_group(rig, &scene);
    answered(guest, "!sas", &["code ", "not compared yet"]); // it had to read the history before this
    assert_eq!(guest.told().len(), before + 1, "{:#?}", guest.told());
    nothing_is_verified(&scene);

    answered(operator, "!sas 1 ok", &["is verified by op"]);
    assert_eq!(in_short(&scene.the_call()), VERIFIED);
    let status = scene.gateway.json("status").unwrap();
    assert_eq!(status["accounts"][0]["level"], "zrtp-verified", "{status}");
    phone.set_verified().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await; // enough sound to judge it
    hang_up(&scene, &mut phone);
    let packets = capture.stop().unwrap();
    all_is_encrypted(&packets);
    nothing_is_sent_before_zrtp_is_done(rig, &packets);

    let scene = scene.restart(rig, GatewaySettings::USUAL, &[&phone]);
    assert_eq!(phone.was_verified(), Some(false));
    assert_eq!(in_short(&secure(&scene, &mut phone)), VERIFIED);
    println!("{}", wait_told(guest, 0, &["verified by op in call #1", "no need to compare"]));
    assert_eq!(phone.was_verified(), Some(true));
    hang_up(&scene, &mut phone);
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_s_word_counts_when_it_is_said_and_is_remembered_and_nothing_else_does() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::None);
    let mut guest = scene.meeting.join("guest").await.unwrap();
    let mut operator = scene.meeting.join_as_operator().await.unwrap();
    only_an_operator_s_word_counts(&rig, scene, &mut guest, &mut operator).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Galène: set GALENE_BIN and run with --include-ignored"]
async fn in_galenes_page_an_operator_reads_the_code_and_his_word_counts_and_nothing_else_does() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start_real(&rig).unwrap(), Attack::None);
    let url = scene.meeting.url();
    let mut guest = rig.browser("guest", &tone(700.0)).unwrap();
    guest.join(&url, "guest", "").unwrap();
    let mut operator = rig.browser("operator", &tone(1000.0)).unwrap();
    operator.join(&url, OPERATOR.0, OPERATOR.1).unwrap();
    only_an_operator_s_word_counts(&rig, scene, &mut guest, &mut operator).await;
}

/// Galène says who is an operator, whatever a client says of itself.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_says_that_he_is_an_operator_changes_nothing() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::None);
    let mut guest = scene.meeting.join("guest").await.unwrap();
    let mut phone = phone(&rig, "alice", ZRTP);
    secure(&scene, &mut phone);
    let pretends = |verdict: &str| {
        let value = format!("!sas 1 {verdict}");
        json!({ "type": "chat", "source": guest.id(), "username": "guest", "privileged": true, "value": value })
    };
    guest.raw(pretends("ok"));
    guest.raw(pretends("bad"));
    wait_until("two answers", SOON, || Ok((turned_down(&mut guest) == 2).then_some(()))).unwrap();
    nothing_is_verified(&scene);
    hang_up(&scene, &mut phone);
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_code_is_forgotten_alone_and_a_phone_without_its_memory_is_told_from_an_unknown_one() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::None);
    let mut operator = scene.meeting.join_as_operator().await.unwrap();
    let mut alice = phone(&rig, "alice", ZRTP);
    assert_eq!(in_short(&secure(&scene, &mut alice)), UNVERIFIED);
    answered(&mut operator, "!sas 1 ok", &["is verified by op"]);
    alice.set_verified().unwrap();
    hang_up(&scene, &mut alice);
    let memory = alice.memory();
    let old = rig.file("old-memory");
    fs::copy(&memory, &old).unwrap();
    assert_eq!(in_short(&secure(&scene, &mut alice)), VERIFIED);

    let seen = operator.told().len();
    operator.chat("!sas 2 bad");
    alice.wait_call(CallState::End, SOON).unwrap();
    let reason = alice.messages().iter().rev().find_map(|message| {
        let is_theirs = !message.sent && message.text.starts_with("BYE ");
        message.header("Reason").filter(|_| is_theirs).map(str::to_owned)
    });
    assert!(reason.as_deref().is_some_and(|reason| reason.contains("not the same on both sides")), "{reason:?}");
    wait_told(&mut operator, seen, &["was ended by op", "The secret of this call is forgotten"]);
    scene.wait_no_call();
    let [(_, verified)] = remembered(&scene)[..] else { panic!("{:?}", remembered(&scene)) };
    assert!(!verified, "known, and not verified any more");

    // the phone has the bad call's secret and the one before, by which the two still recognise each other
    assert_eq!(in_short(&secure(&scene, &mut alice)), UNVERIFIED);
    assert!(operator.told().iter().all(|line| !line.contains("SOMEBODY") && !line.contains("unknown device")));
    hang_up(&scene, &mut alice);
    assert_eq!(in_short(&secure(&scene, &mut alice)), UNVERIFIED);
    hang_up(&scene, &mut alice);

    // a phone that got its old self back has none of the secrets that we remember
    alice.quit();
    fs::copy(&old, &memory).unwrap();
    let mut alice = phone(&rig, "alice", ZRTP);
    assert_eq!(in_short(&secure(&scene, &mut alice)), ("zrtp", false, true, false));
    wait_told(&mut operator, 0, &["does not have the secret of its earlier calls", "SOMEBODY IS LISTENING IN BETWEEN"]);
    assert!(operator.told().iter().all(|line| !line.contains("unknown device")));
    hang_up(&scene, &mut alice);

    // one that lost all its memory is another phone
    alice.quit();
    fs::remove_file(&memory).unwrap();
    let mut alice = phone(&rig, "alice", ZRTP);
    assert_eq!(in_short(&secure(&scene, &mut alice)), ("zrtp", false, false, true));
    wait_told(&mut operator, 0, &["known caller, unknown device"]);
    assert_eq!(operator.told().iter().filter(|line| line.contains("SOMEBODY")).count(), 1, "only once, before");
    assert_eq!(remembered(&scene).len(), 2);
    hang_up(&scene, &mut alice);
    scene.gateway.stop_and_search_log(&[&alice]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_verified_phones_may_come_another_gets_a_bye_with_the_step_and_hears_nothing() {
    let rig = Rig::new().unwrap();
    let enrolling = account("media_minimum = \"zrtp\"\n");
    let meeting = Meeting::start(&rig).await.unwrap();
    let scene = Scene::start_with(&rig, meeting, Digest::Sha256, Attack::None, enrolling);
    let mut operator = scene.meeting.join_as_operator().await.unwrap();
    let (mut alice, mut bob) = (phone(&rig, "alice", ZRTP), phone(&rig, "bob", ZRTP));
    secure(&scene, &mut alice);
    answered(&mut operator, "!sas 1 ok", &["is verified by op"]);
    alice.set_verified().unwrap();
    hang_up(&scene, &mut alice);

    let scene = scene.restart(&rig, account("media_minimum = \"zrtp-verified\"\n"), &[&alice]);
    let capture = Capture::start(rig.net(), &rig.file("refused.pcap")).unwrap();
    let before = operator.told().len();
    bob.call(&format!("sip:{ACCOUNT}")).unwrap();
    bob.wait_call(CallState::End, SOON).unwrap();
    let bye = bob.messages().into_iter().rfind(|message| !message.sent && message.text.starts_with("BYE ")).unwrap();
    let reason = bye.header("Reason").unwrap();
    assert!(reason.contains("compared in an earlier call") && reason.contains("Enrol the phone"), "{reason}");
    scene.wait_no_call();
    let packets = capture.stop().unwrap();
    assert!(packets.iter().any(|packet| packet.zrtp() == Some("Confirm2")), "they agreed on keys");
    assert_eq!(gateways_rtp(&rig, &packets).count(), 0, "RTP packets from the gateway");
    assert!(operator.told().iter().skip(before).all(|line| !line.contains("Code")), "no code of it to compare");

    let capture = Capture::start(rig.net(), &rig.file("enrolled.pcap")).unwrap();
    assert_eq!(in_short(&secure(&scene, &mut alice)), VERIFIED);
    let name = phone_in_the_group(&operator);
    assert!(operator.wait_until_heard(&name, SOON).await, "{name} is not heard");
    hang_up(&scene, &mut alice);
    nothing_is_sent_before_zrtp_is_done(&rig, &capture.stop().unwrap());
    scene.gateway.stop_and_search_log(&[&alice, &bob]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_may_not_write_says_so_where_an_administrator_looks_and_is_as_strict_as_ever() {
    let rig = Rig::new().unwrap();
    let meeting = Meeting::start_with(&rig, &["present"]).await.unwrap();
    let settings = account("media_minimum = \"zrtp\"\n");
    let scene = Scene::start_with(&rig, meeting, Digest::Sha256, Attack::None, settings);
    let mut guest = scene.meeting.join("guest").await.unwrap();
    let (mut alice, mut bob) = (phone(&rig, "alice", ZRTP), phone(&rig, "bob", PhoneSettings::SRTP));
    let shown = secure(&scene, &mut alice);
    assert_eq!(shown["galene"]["may_write"], false, "{shown}");
    let text = scene.gateway.ask(&["calls"]).unwrap();
    assert!(text.contains("WARNING: the group does not let the gateway write"), "{text}");
    lose_the_group(&rig, &scene);
    bob.call(&format!("sip:{ACCOUNT}")).unwrap();
    bob.wait_call(CallState::Error, SOON).unwrap();
    assert_eq!(bob.invite_outcomes(), [488]);
    hang_up(&scene, &mut alice);
    assert_eq!(guest.told(), [""; 0]);
    let warned = scene.gateway.log().matches("the group does not let the gateway write").count();
    assert_eq!(warned, 1, "once, and not at each rejoin");
    scene.gateway.stop_and_search_log(&[&alice]).unwrap();
}

/// A provider that takes ZRTP away while nobody looks, when the phone holds the call.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_strips_the_zrtp_hash_of_a_later_offer_changes_nothing_of_a_secure_call() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::StripZrtpHashLater);
    let mut phone = phone(&rig, "alice", ZRTP);
    let capture = Capture::start(rig.net(), &rig.file("call.pcap")).unwrap();
    let media = secure(&scene, &mut phone)["media"].clone();
    phone.pause().unwrap();
    let refused = || Ok(phone.invite_outcomes().contains(&488).then_some(()));
    wait_until("the offer without ZRTP is refused", SOON, refused).unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await; // enough sound to judge it
    let after = scene.the_call();
    assert_eq!((&after["media"], &after["state"]), (&media, &json!("talking")), "Linphone has fallen silent, not we");
    hang_up(&scene, &mut phone);
    all_is_encrypted(&capture.stop().unwrap());
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

/// What lies between these two times of day.
fn between(from: Duration, to: Duration) -> Duration {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let wait = to + DAY - from;
    if wait >= DAY { wait - DAY } else { wait }
}

/// INVITE → 200, 200 → secure and INVITE → secure of each call of a phone, as its own log has them; the INVITE is the
/// one with credentials, which reaches the gateway.
fn set_ups(phone: &Linphone) -> Vec<[Duration; 3]> {
    let messages = phone.messages();
    let is_initial = |text: &str| text.starts_with("INVITE ") && text.contains("\nProxy-Authorization:");
    let invites = messages.iter().filter(|message| message.sent && is_initial(&message.text));
    let answer_to = |invite: &SipMessage| {
        let is_ok = |text: &str| text.starts_with("SIP/2.0 200 ");
        let keys = ["Call-ID", "CSeq"].map(|name| invite.header(name).map(str::to_owned));
        let theirs = messages.iter().filter(|message| !message.sent && is_ok(&message.text));
        theirs.clone().find(|message| ["Call-ID", "CSeq"].map(|name| message.header(name).map(str::to_owned)) == keys)
    };
    let pairs = invites.filter_map(|invite| Some((invite.time, answer_to(invite)?.time)));
    let steps = |((invite, ok), secure): ((Duration, Duration), Duration)| {
        [between(invite, ok), between(ok, secure), between(invite, secure)]
    };
    pairs.zip(phone.secured_at()).map(steps).collect()
}

/// The messages of one exchange, since the first.
fn print_exchange(packets: &[UdpPacket]) {
    let messages = packets.iter().filter_map(|packet| Some((packet, packet.zrtp()?)));
    let start = messages.clone().map(|(packet, _)| packet.time).min().unwrap();
    for (packet, kind) in messages {
        let from = if MEDIA_PORTS.contains(&packet.from.port()) { "gateway" } else { "phone" };
        println!("{:>6.1} ms {from}: {kind}", (packet.time - start).as_secs_f64() * 1000.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, with nothing else running"]
async fn measured_the_time_until_a_call_is_secure() {
    const CALLS: usize = 50;
    let rig = Rig::new().unwrap();
    let meeting = Meeting::start(&rig).await.unwrap();
    let settings = GatewaySettings { log: "info", ..GatewaySettings::USUAL };
    let scene = Scene::start_with(&rig, meeting, Digest::Sha256, Attack::None, settings);
    let _guest = scene.meeting.join("guest").await.unwrap();
    let mut phone = phone(&rig, "alice", ZRTP);
    for _ in 0..CALLS {
        secure(&scene, &mut phone);
        hang_up(&scene, &mut phone);
    }
    let capture = Capture::start(rig.net(), &rig.file("exchange.pcap")).unwrap();
    secure(&scene, &mut phone);
    print_exchange(&capture.stop().unwrap());
    let set_ups = set_ups(&phone);
    assert_eq!(set_ups.len(), CALLS + 1);
    println!(
        "the first call, into a group where the gateway is not: INVITE to secure {} ms",
        set_ups[0][2].as_millis()
    );
    for (step, what) in ["INVITE to 200", "200 to secure", "INVITE to secure"].into_iter().enumerate() {
        let mut times: Vec<Duration> = set_ups[1..].iter().map(|times| times[step]).collect();
        times.sort();
        let (median, p95) = (times[CALLS / 2], times[CALLS * 95 / 100]);
        println!("{what}: median {} ms, 95 % within {} ms", median.as_millis(), p95.as_millis());
    }
}
