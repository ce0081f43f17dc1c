//! Dated exceptions with real programs: what each allows and no more, and that it shows in every place where people look.
//! Without one, or after its last day, nothing of it is allowed and nothing shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a test may fail loudly and tell its figures"
)]

mod gateway;

use galene_sips::config::Date;
use galene_sips::io::files::today;
use galene_sips_lab::certificates::Kind;
use galene_sips_lab::group_peer::{GroupPeer, JoinOptions};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{MediaOptions, Phone, ZrtpMemory};
use galene_sips_lab::real::capture::{Capture, Looks, judge_streams, rtp_packets_from};
use galene_sips_lab::real::gateway::{ACCOUNT, Gateway, GatewaySettings, MEDIA_PORTS};
use galene_sips_lab::real::kamailio::{Attack, Digest};
use galene_sips_lab::real::linphone::{CallState, Encryption, PhoneCodec};
use galene_sips_lab::real::meeting::Meeting;
use galene_sips_lab::real::program::wait_until;
use galene_sips_lab::real::rig::{PhoneSettings, Rig};
use galene_sips_lab::sound::sine;
use galene_sips_lab::wav::Wav;
use gateway::scene::{DOMAIN, Scene, TOKEN, Unusual, exception};
use gateway::{command, schema};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SOON: Duration = Duration::from_secs(20);
const REASON: &str = "PBX without SRTP until March";
const SECONDS: u64 = 8;
/// How the gateway's name for a phone begins.
const PHONE: char = '☎';

/// The day so many days from today.
fn in_days(days: i64) -> Date {
    let today = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400).unwrap();
    Date::from_unix_days(u32::try_from(today + days).unwrap())
}

fn tone(hz: f64) -> Wav {
    Wav { rate: 48_000, samples: sine(48_000, hz, 0.3, 48_000 * 400) }
}

fn check_schema(name: &str, value: &Value) {
    let text = std::fs::read_to_string(format!("docs/schema/{name}.json")).unwrap();
    schema::check(&serde_json::from_str(&text).unwrap(), value, name);
}

/// A Linphone without encryption calls over a real Kamailio; gateway and group as `lines` of the configuration have them.
async fn with_clear_linphone(codec: PhoneCodec, lines: &str, allowed: bool) {
    let rig = Rig::new().unwrap();
    let meeting = Meeting::start(&rig).await.unwrap();
    let mut kamailio = rig.kamailio(Digest::Sha256, Attack::None).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_galene-sips"));
    let gateway =
        Gateway::start(&rig, binary, &meeting, GatewaySettings { end: lines, ..GatewaySettings::USUAL }).unwrap();
    kamailio.wait_registered("conference", SOON).unwrap_or_else(|failure| panic!("{failure}\n{}", gateway.log()));
    let peer = Arc::new(meeting.join("listener").await.unwrap());
    let speaker = Arc::clone(&peer);
    tokio::spawn(async move { speaker.publish(tone(1000.0).samples).await });
    let settings = PhoneSettings { encryption: Encryption::None, mandatory: false, codec, ..PhoneSettings::SRTP };
    let mut phone = rig.phone("alice", settings).unwrap();
    phone.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    let capture = Capture::start(rig.net(), &rig.file("call.pcap")).unwrap();
    phone.call(&format!("sip:{ACCOUNT}")).unwrap();

    if !allowed {
        phone.wait_call(CallState::Error, SOON).unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(phone.invite_outcomes(), [488]);
        assert!(!peer.participants().into_values().any(|name| name.starts_with(PHONE)), "nobody came in");
        assert!(peer.chats().iter().all(|chat| !chat.text.contains("NOT ENCRYPTED")), "{:?}", peer.chats());
        let log = gateway.log();
        assert!(!log.contains("an exception is in force") && !log.contains("allowed by an exception"), "{log}");
        let shown = [gateway.ask(&["status"]).unwrap(), gateway.ask(&["status", "--json"]).unwrap()].concat();
        assert!(!shown.to_lowercase().contains("exception"), "{shown}");
        let packets = capture.stop().unwrap();
        let sent = rtp_packets_from(&packets, rig.net().inside(), |port| MEDIA_PORTS.contains(&port));
        assert_eq!(sent, 0, "RTP packets from the gateway");
        return gateway.stop_and_search_log(&[&phone]).unwrap();
    }

    phone.wait_call(CallState::StreamsRunning, SOON).unwrap_or_else(|failure| panic!("{failure}\n{}", gateway.log()));
    let name = wait_until("the phone as a participant", SOON, || {
        Ok(peer.participants().into_values().find(|name| name.starts_with(PHONE)))
    })
    .unwrap();
    assert!(peer.wait_until_heard(&name, SOON).await, "{name} is not heard\n{}", gateway.log());
    for hold in [false, true] {
        if hold {
            phone.pause().unwrap();
            phone.wait_call(CallState::Paused, SOON).unwrap();
            tokio::time::sleep(Duration::from_secs(2)).await;
            phone.resume().unwrap();
            phone.wait_call(CallState::StreamsRunning, SOON).unwrap();
        }
        let recording = rig.file(&format!("phone-{hold}.wav"));
        tokio::time::sleep(Duration::from_secs(4)).await; // Linphone's jitter buffer settles
        phone.record(&recording).unwrap();
        peer.clear_heard();
        tokio::time::sleep(Duration::from_secs(SECONDS)).await;
        let by_group = peer.heard().remove(&name).unwrap_or_default();
        phone.record(&rig.file("later.wav")).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let by_phone = Wav::read(&recording).unwrap();
        let heard = [("the group", &by_group, 48_000, 440.0), ("the phone", &by_phone.samples, by_phone.rate, 1000.0)];
        for (who, heard, rate, hz) in heard {
            let share = tone_share(heard, rate, hz);
            println!("{codec:?}: {who} heard {:.2} % of its power at {hz} Hz", 100.0 * share);
            assert!(heard.len() >= rate as usize * SECONDS as usize * 95 / 100, "{who} heard {} samples", heard.len());
            assert!(share >= 0.9, "{hz} Hz has {share:.3} of the power of what {who} heard");
        }
    }

    // the participant's name, the chat
    assert!(name.contains("alice") && name.ends_with(" (not encrypted)"), "{name}");
    let chat = peer.chats().into_iter().find(|chat| chat.text.contains("NOT ENCRYPTED")).expect("a line in the chat");
    let last_day = today().to_string();
    for words in [name.as_str(), REASON, "ops@example.org", &last_day] {
        assert!(chat.text.contains(words), "no {words}: {}", chat.text);
    }
    // calls, status
    let calls = gateway.calls().unwrap();
    check_schema("calls", &calls);
    let shown = &calls["calls"][0];
    assert_eq!((&shown["media"]["level"], &shown["media"]["method"]), (&"clear".into(), &"none".into()), "{shown}");
    assert_eq!(shown["media"]["suite"], "", "{shown}");
    let status: Value = serde_json::from_str(&gateway.ask(&["status", "--json"]).unwrap()).unwrap();
    check_schema("status", &status);
    for exceptions in [&shown["exceptions"], &status["accounts"][0]["exceptions"]] {
        let expected = serde_json::json!([{
            "allow": "media-clear", "reason": REASON, "expires": last_day, "days_left": 0, "accepted_by": "ops@example.org"
        }]);
        assert_eq!(*exceptions, expected);
    }
    let people = gateway.ask(&["calls"]).unwrap();
    assert!(people.contains("NOT ENCRYPTED: anyone on the way can listen") && people.contains(REASON), "{people}");
    assert!(!people.contains("encrypted to"), "{people}");
    let people = gateway.ask(&["status"]).unwrap();
    assert!(people.contains("EXCEPTION media-clear") && people.contains(REASON), "{people}");
    // the log: at the start, and of the call
    let log = gateway.log();
    for words in ["an exception is in force", "the sound of this call is allowed by an exception only"] {
        let line = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no {words}: {log}"));
        assert!(line.contains("WARN") && line.contains("media-clear") && line.contains(REASON), "{line}");
    }
    phone.terminate().unwrap();
    phone.wait_call(CallState::End, SOON).unwrap();
    let streams = judge_streams(&capture.stop().unwrap());
    let ours = streams.iter().filter(|(stream, _)| MEDIA_PORTS.contains(&stream.from.port()));
    assert!(ours.clone().any(|(_, looks)| *looks == Looks::Clear), "the test sees clear sound as such: {streams:?}");
    gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_without_encryption_is_heard_by_an_exception_and_everybody_sees_it() {
    let lines = exception("media-clear", today()).replace(&format!("conference@{DOMAIN}"), ACCOUNT);
    with_clear_linphone(PhoneCodec::Opus, &lines, true).await;
    with_clear_linphone(PhoneCodec::Pcmu, &lines, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_exception_it_gets_488_and_nothing_shows_and_no_packet_leaves() {
    with_clear_linphone(PhoneCodec::Opus, "", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_day_it_gets_488_and_nothing_shows_and_no_packet_leaves() {
    let lines = exception("media-clear", in_days(-1)).replace(&format!("conference@{DOMAIN}"), ACCOUNT);
    with_clear_linphone(PhoneCodec::Opus, &lines, false).await;
}

/// The status of a call with this media, 200 if it is answered.
async fn outcome(phone: &Phone, media: MediaOptions) -> u16 {
    match phone.call_with(&format!("sip:conference@{DOMAIN}"), media, false).await {
        Ok(_) => 200,
        Err(failed) => failed.status,
    }
}

async fn peer(scene: &Scene) -> GroupPeer {
    let url = format!("{}?token={TOKEN}", scene.group.url("127.0.0.1", "lab"));
    GroupPeer::join(JoinOptions::new(url, "listener")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn at_an_unverified_provider_zrtp_is_taken_and_keys_in_descriptions_are_not() {
    let lines = exception("tls-unverified", in_days(30));
    let unusual = Unusual { certificate: Kind::SelfSigned, lines: &lines, ..Unusual::default() };
    let scene = Scene::start_with("unverified", unusual).await;
    scene.gateway.line_with(&["WARN", "an exception is in force", "tls-unverified", "days_left=30"]).await;
    scene.gateway.line_with(&["WARN", "this connection is allowed by an exception only", REASON]).await;
    let status = scene.ask("status");
    check_schema("status", &status);
    let signalling = &status["accounts"][0]["signalling"];
    assert_eq!((&signalling["level"], &signalling["exception"]), (&"unverified".into(), &"tls-unverified".into()));

    let (phone, peer) = (scene.phone().await, peer(&scene).await);
    assert_eq!(outcome(&phone, MediaOptions::default()).await, 488, "SDES");
    scene.gateway.line_with(&["WARN", "call refused", "keys-over-unverified-signalling"]).await;
    assert_eq!(outcome(&phone, MediaOptions::clear()).await, 488, "clear");

    let memory = ZrtpMemory::default();
    let call = phone.call_with(&format!("sip:conference@{DOMAIN}"), MediaOptions::zrtp(&memory), false).await.unwrap();
    scene.gateway.line_with(&["ZRTP is secure"]).await;
    scene.gateway.line_with(&["WARN", "the connection of this call is allowed by an exception only", REASON]).await;
    call.speak(vec![1000; 24_000]).await;
    let calls = scene.ask("calls");
    check_schema("calls", &calls);
    let shown = &calls["calls"][0];
    assert_eq!(shown["media"]["level"], "zrtp", "{shown}");
    assert_eq!(shown["media"]["sas"].as_str(), call.sas().as_deref());
    assert_eq!(shown["signalling"]["level"], "unverified");
    assert_eq!(shown["exceptions"][0]["allow"], "tls-unverified");
    assert!(!shown["galene"]["participant"].as_str().unwrap().contains("not encrypted"), "{shown}");
    wait_until("the chat", SOON, || {
        Ok(peer.chats().into_iter().find(|chat| chat.text.contains("is not checked") && chat.text.contains(REASON)))
    })
    .unwrap();
    let people = command(scene.directory.path(), &["status", "--config", &scene.config]);
    let people = String::from_utf8(people.stdout).unwrap();
    assert!(people.contains("(unverified, by the exception tls-unverified)"), "{people}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_an_unverified_provider_keys_count_as_clear_where_clear_sound_is_allowed_too() {
    let lines = [exception("tls-unverified", today()), exception("media-clear", today())].concat();
    let unusual = Unusual { certificate: Kind::WrongName, lines: &lines, ..Unusual::default() };
    // the phone would not trust it either: this is about the gateway
    let scene = Scene::prepare("unverified-clear", unusual).await;
    assert!(scene.provider.registered("conference", SOON).await);
    let phone = scene.phone_that_expects(&format!("wrong.{DOMAIN}")).await;
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    call.speak(vec![1000; 48_000]).await;
    let shown = &scene.ask("calls")["calls"][0];
    assert_eq!((&shown["media"]["level"], &shown["media"]["method"]), (&"clear".into(), &"sdes".into()), "{shown}");
    assert!(shown["galene"]["participant"].as_str().unwrap().ends_with(" (not encrypted)"), "{shown}");
    assert!(shown["rtp"]["received"].as_u64().unwrap() > 20, "{shown}");
    let allowed: Vec<&str> =
        shown["exceptions"].as_array().unwrap().iter().map(|one| one["allow"].as_str().unwrap()).collect();
    assert_eq!(allowed, ["media-clear", "tls-unverified"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_certificate_is_taken_by_its_exception_and_keys_count() {
    let lines = exception("tls-wildcard-name", today());
    let scene =
        Scene::start_with("wildcard", Unusual { certificate: Kind::Wildcard, lines: &lines, ..Unusual::default() })
            .await;
    let phone = scene.phone().await;
    let call = phone.call(&format!("sip:conference@{DOMAIN}")).await.unwrap();
    call.speak(vec![1000; 24_000]).await;
    let shown = &scene.ask("calls")["calls"][0];
    assert_eq!(shown["media"]["level"], "srtp", "{shown}");
    assert_eq!(shown["signalling"]["exception"], "tls-wildcard-name", "{shown}");
    assert_eq!(shown["exceptions"][0]["allow"], "tls-wildcard-name", "{shown}");
    assert_eq!(outcome(&phone, MediaOptions::clear()).await, 488, "and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_for_one_thing_or_one_that_is_over_admits_no_other() {
    for (certificate, lines, rule) in [
        (Kind::WrongName, exception("tls-wildcard-name", today()), "certificate-name"),
        (Kind::Wildcard, exception("media-clear", today()), "certificate-wildcard"),
        (Kind::Wildcard, exception("tls-wildcard-name", in_days(-1)), "certificate-wildcard"),
        (Kind::SelfSigned, exception("tls-unverified", in_days(-1)), "certificate-self-signed"),
    ] {
        let name = format!("no-other-{certificate:?}-{}", lines.len());
        let mut scene = Scene::prepare(&name, Unusual { certificate, lines: &lines, ..Unusual::default() }).await;
        scene.gateway.line_with(&["ERROR", rule, "refused before any SIP was sent"]).await;
        assert!(scene.provider.log().is_empty(), "nothing was said");
        assert!(scene.gateway.terminate().await.0.success());
    }
}
