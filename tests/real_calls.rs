//! Whole calls: a real Linphone, registered at a real Kamailio over TLS, calls the gateway into a group, and both sides
//! hear each other, or nobody hears anything.
//!
//! The group is on a real Galène when `GALENE_BIN` names one, else on the laboratory's group server; what needs
//! Galène's own page is `#[ignore]`d and runs with `--include-ignored`. Durations are short, unless the environment
//! variable `GALENE_SIPS_FULL=1` asks for the full ones. Every test ends by searching the gateway's log, which is at
//! level `trace`, for every password, invitation and media key that it used.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly and tell its figures"
)]

mod real;

use std::sync::Arc;
use std::time::Duration;

use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::real::baresip::MediaEncryption;
use galene_sips_lab::real::capture::{Capture, Looks, Stream, judge_streams};
use galene_sips_lab::real::full;
use galene_sips_lab::real::galene::OPERATOR;
use galene_sips_lab::real::gateway::{ACCOUNT, GatewaySettings, MEDIA_PORTS, shows};
use galene_sips_lab::real::kamailio::{Attack, Digest};
use galene_sips_lab::real::linphone::{CallState, Encryption, Linphone, PhoneCodec, SipMessage};
use galene_sips_lab::real::meeting::Meeting;
use galene_sips_lab::real::program::wait_until;
use galene_sips_lab::real::rig::{PhoneSettings, Rig};
use galene_sips_lab::real::speech::{heard_once, speak};
use galene_sips_lab::wav::Wav;
use real::{
    PHONE, SOON, Scene, all_is_encrypted, call, gateways_rtp, nothing_is_sent_before_zrtp_is_done, phone_in_the_group,
    tone,
};

const SRTP: PhoneSettings = PhoneSettings::SRTP;

/// Seconds of talk and of hold.
fn seconds() -> u64 {
    if full() { 60 } else { 8 }
}

/// Both say their tones for some time, and each hears the other's.
async fn both_are_heard(rig: &Rig, phone: &mut Linphone, peer: &GroupPeer, name: &str, when: &str) {
    let recording = rig.file(&format!("phone-{}.wav", when.replace(' ', "-")));
    tokio::time::sleep(Duration::from_secs(4)).await; // Linphone's jitter buffer settles
    phone.record(&recording).unwrap();
    peer.clear_heard();
    tokio::time::sleep(Duration::from_secs(seconds())).await;
    let by_group = peer.heard().remove(name).unwrap_or_default();
    phone.record(&rig.file("later.wav")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let by_phone = Wav::read(&recording).unwrap();

    // linphonec records at its codec's own rate
    let heard = [("the group", &by_group, 48_000, 440.0), ("the phone", &by_phone.samples, by_phone.rate, 1000.0)];
    for (who, heard, rate, hz) in heard {
        let expected = rate as usize * seconds() as usize;
        let share = tone_share(heard, rate, hz);
        println!(
            "{when}: {who} heard {} s, {:.2} % of its power at {hz} Hz",
            heard.len() / rate as usize,
            100.0 * share
        );
        let length = heard.len();
        assert!(length >= expected * 95 / 100, "{when}: {who} heard {length} of {expected} samples");
        assert!(share >= 0.9, "{when}: {hz} Hz has {share:.3} of the power of what {who} heard");
    }
}

/// Keys of the phone's call: hers in the first INVITE that the gateway answered, and the gateway's in its first 200.
fn negotiated_keys(phone: &Linphone) -> Vec<String> {
    let messages = phone.messages();
    let mut with_keys = messages.iter().filter(|message| !message.crypto_lines().is_empty());
    let hers = with_keys.clone().find(|message| message.sent).unwrap();
    let ours = with_keys.find(|message| !message.sent).unwrap();
    [hers, ours].iter().flat_map(|message| message.crypto_lines()).map(str::to_owned).collect()
}

/// Every offer and answer of the call has the keys of the first.
fn every_description_has_the_first_keys(phone: &Linphone) {
    let keys = negotiated_keys(phone);
    let messages = phone.messages();
    let bodies: Vec<_> =
        messages.iter().map(|message| message.crypto_lines()).filter(|lines| !lines.is_empty()).collect();
    assert!(bodies.len() >= 10, "{} offers and answers", bodies.len());
    for line in bodies.into_iter().flatten() {
        assert!(keys.iter().any(|key| key == line), "{line} is not among {keys:#?}");
    }
}

async fn tones_both_ways_and_holds(settings: PhoneSettings) {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::None);
    let peer = Arc::new(scene.meeting.join("listener").await.unwrap());
    let speaker = Arc::clone(&peer);
    tokio::spawn(async move { speaker.publish(tone(1000.0).samples).await });

    let mut phone = rig.phone("alice", settings).unwrap();
    phone.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    let capture = call(&rig, &mut phone);
    let name = phone_in_the_group(&peer);
    assert!(name.contains("alice"), "{name}");
    assert!(peer.wait_until_heard(&name, SOON).await, "{name} is not heard\n{}", scene.gateway.log());
    both_are_heard(&rig, &mut phone, &peer, &name, "at first").await;

    let answer = scene.gateway.calls().unwrap();
    let [shown] = answer["calls"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!(shown["signalling"]["tls"], "1.3", "{shown}");
    let zrtp = settings.encryption == Encryption::Zrtp;
    let code = phone.sas();
    if zrtp {
        assert_eq!(shown["media"]["level"], "zrtp", "{shown}");
        assert_eq!(shown["media"]["sas"].as_str(), code.as_deref(), "the phone's code beside ours: {shown}");
        println!("{} {}: {code:?}", shown["media"]["key_agreement"], shown["media"]["suite"]);
    } else {
        assert_eq!(shown["media"]["level"], "srtp", "{shown}");
        assert_eq!(shown["media"]["suite"], "AES_CM_128_HMAC_SHA1_80", "{shown}");
    }
    // a phone that does not insist on ZRTP talks in clear until the keys are there; its last such packet may come just after
    let in_clear = if zrtp && !settings.mandatory { 3 } else { 0 };
    assert!(shown["rtp"]["auth_failures"].as_u64().is_some_and(|failures| failures <= in_clear), "{shown}");

    for silent in [false, true] {
        let port = phone.rtp_port().unwrap();
        if silent {
            rig.net().drop_udp_from(port..=port + 1).unwrap();
        }
        phone.pause().unwrap();
        phone.wait_call(CallState::Paused, SOON).unwrap();
        tokio::time::sleep(Duration::from_secs(seconds())).await;
        assert!(peer.participants().into_values().any(|other| other == name), "the call survives the hold");
        if silent {
            rig.net().drop_nothing().unwrap();
        }
        phone.resume().unwrap();
        phone.wait_call(CallState::StreamsRunning, SOON).unwrap();
        let when = if silent { "after a hold in silence" } else { "after a hold" };
        both_are_heard(&rig, &mut phone, &peer, &name, when).await;
    }

    phone.terminate().unwrap();
    phone.wait_call(CallState::End, SOON).unwrap();
    wait_until("the participant leaves", SOON, || {
        Ok((!peer.participants().into_values().any(|other| other == name)).then_some(()))
    })
    .unwrap();

    if zrtp {
        assert_eq!(phone.sas(), code, "holding kept the code");
        assert!(phone.messages().iter().all(|message| message.crypto_lines().is_empty()), "no key in a description");
    } else {
        every_description_has_the_first_keys(&phone);
    }

    let packets = capture.stop().unwrap();
    all_is_encrypted(&packets);
    if zrtp {
        nothing_is_sent_before_zrtp_is_done(&rig, &packets);
    }
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_with_opus_and_the_group_hear_each_other_also_after_holds() {
    tones_both_ways_and_holds(SRTP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_with_g711_and_the_group_hear_each_other_also_after_holds() {
    tones_both_ways_and_holds(PhoneSettings { codec: PhoneCodec::Pcmu, ..SRTP }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_that_makes_no_offer_takes_ours_and_both_hear_each_other() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), Attack::None);
    let peer = Arc::new(scene.meeting.join("listener").await.unwrap());
    let speaker = Arc::clone(&peer);
    tokio::spawn(async move { speaker.publish(tone(1000.0).samples).await });
    let mut phone = rig.phone("alice", PhoneSettings { late_offer: true, ..SRTP }).unwrap();
    phone.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    let capture = call(&rig, &mut phone);
    let name = phone_in_the_group(&peer);
    assert!(peer.wait_until_heard(&name, SOON).await, "{name} is not heard\n{}", scene.gateway.log());
    both_are_heard(&rig, &mut phone, &peer, &name, "after a late offer").await;

    let messages = phone.messages();
    let invites = messages.iter().filter(|message| message.sent && message.text.starts_with("INVITE "));
    assert!(invites.clone().count() > 0 && invites.clone().all(|invite| invite.crypto_lines().is_empty()));
    let offer = messages.iter().find(|message| !message.sent && !message.crypto_lines().is_empty()).unwrap();
    assert_eq!(offer.crypto_lines().len(), 4, "{}", offer.text);
    let ack = messages.iter().find(|message| message.sent && !message.crypto_lines().is_empty()).unwrap();
    assert!(ack.text.starts_with("ACK ") && ack.crypto_lines().len() == 1, "{}", ack.text);
    println!("Linphone takes {:?}", ack.crypto_lines()[0].split(' ').nth(1));

    // it resumes without an offer too, and its answer says that the keys are the old ones
    phone.pause().unwrap();
    phone.wait_call(CallState::Paused, SOON).unwrap();
    let held = || Ok((scene.gateway.calls()?["calls"][0]["state"] == "held").then_some(()));
    wait_until("the call is held", SOON, held).unwrap();
    phone.resume().unwrap();
    phone.wait_call(CallState::StreamsRunning, SOON).unwrap();
    both_are_heard(&rig, &mut phone, &peer, &name, "after a hold").await;
    let messages = phone.messages();
    let answers = messages.iter().filter(|message| message.sent && message.text.starts_with("ACK "));
    let keys: Vec<&str> =
        answers.flat_map(SipMessage::crypto_lines).filter_map(|line| line.split(' ').nth(2)).collect();
    assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    assert!(!scene.gateway.log().contains("rekeyed=true"), "{}", scene.gateway.log());
    phone.terminate().unwrap();
    phone.wait_call(CallState::End, SOON).unwrap();

    all_is_encrypted(&capture.stop().unwrap());
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real Galène: set GALENE_BIN and run with --include-ignored"]
async fn a_linphone_and_a_browser_in_galenes_page_understand_each_other_until_the_operator_kicks_the_phone() {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start_real(&rig).unwrap(), Attack::None);
    let said_here = speak(&rig.file(""), "en", "The quick brown fox jumps over the lazy dog.").unwrap();
    let said_there = speak(&rig.file(""), "en+f3", "Pack my box with five dozen liquor jugs.").unwrap();
    let mut browser = rig.browser("browser", &said_here).unwrap();
    browser.join(&scene.meeting.url(), OPERATOR.0, OPERATOR.1).unwrap();

    let mut phone = rig.phone("alice", SRTP).unwrap();
    let again_and_again = said_there.samples.repeat(30);
    phone.play(&rig.wav("said", &Wav { rate: 48_000, samples: again_and_again }).unwrap()).unwrap();
    let capture = call(&rig, &mut phone);
    let is_phone = |names: &[String]| names.iter().any(|name| name.starts_with(PHONE));
    let names = browser.wait_participants("the phone is in the page's list", is_phone).unwrap();
    let name = names.into_iter().find(|name| name.starts_with(PHONE)).unwrap();
    assert!(name.contains("alice"), "{name}");
    wait_until("the page shows the phone's microphone", SOON, || Ok(browser.speakers()?.contains(&name).then_some(())))
        .unwrap();

    browser.record().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await; // the streams settle
    browser.take_recording().unwrap();
    phone.record(&rig.file("phone-heard.wav")).unwrap();
    tokio::time::sleep(Duration::from_secs(seconds().max(9))).await;
    let by_browser = browser.take_recording().unwrap();
    phone.record(&rig.file("later.wav")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let by_phone = Wav::read(&rig.file("phone-heard.wav")).unwrap().samples;
    rig.wav("browser-heard", &Wav { rate: 48_000, samples: by_browser.clone() }).unwrap();
    let there = heard_once(&said_there.samples, &by_browser);
    println!("correlation: phone to browser {there:.3}");
    assert!(there >= 0.8, "the browser heard the phone with correlation {there:.3}");
    let here = heard_once(&said_here.samples, &by_phone);
    println!("correlation: browser to phone {here:.3}");
    assert!(here >= 0.8, "the phone heard the browser with correlation {here:.3}");

    browser.kick(&name, "good bye").unwrap();
    phone.wait_call(CallState::End, SOON).unwrap();
    let messages = phone.messages();
    assert!(messages.iter().any(|message| !message.sent && message.text.starts_with("BYE ")), "the gateway's BYE");
    browser.wait_participants("the phone is gone", |names| !is_phone(names)).unwrap();
    assert!(judge_streams(&capture.stop().unwrap()).values().all(|looks| *looks != Looks::Clear));
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

/// It sends clear sound until ZRTP is done only if it does not insist on it; nobody hears that.
#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_with_zrtp_and_the_group_hear_each_other_and_both_show_the_same_code() {
    tones_both_ways_and_holds(PhoneSettings::ZRTP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_that_does_not_insist_on_zrtp_gets_it_all_the_same() {
    let codec = PhoneCodec::Pcmu;
    tones_both_ways_and_holds(PhoneSettings { mandatory: false, codec, ..PhoneSettings::ZRTP }).await;
}

/// The phone calls through this proxy and is refused with these statuses; no RTP packet leaves the gateway.
async fn is_refused(settings: PhoneSettings, attack: Attack, outcomes: &[u16]) {
    let rig = Rig::new().unwrap();
    let scene = Scene::start(&rig, Meeting::start(&rig).await.unwrap(), attack);
    let peer = scene.meeting.join("listener").await.unwrap();
    let mut phone = rig.phone("alice", settings).unwrap();
    phone.play(&rig.wav("440", &tone(440.0)).unwrap()).unwrap();
    let capture = Capture::start(rig.net(), &rig.file("refused.pcap")).unwrap();
    phone.call(&format!("sip:{ACCOUNT}")).unwrap();
    phone.wait_call(CallState::Error, SOON).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(phone.invite_outcomes(), outcomes);
    assert!(!peer.participants().into_values().any(|name| name.starts_with(PHONE)), "nobody came in");
    let packets = capture.stop().unwrap();
    assert_eq!(gateways_rtp(&rig, &packets).count(), 0, "RTP packets from the gateway");
    scene.gateway.stop_and_search_log(&[&phone]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linphone_without_encryption_gets_488_and_no_packet() {
    let clear = PhoneSettings { encryption: Encryption::None, mandatory: false, ..SRTP };
    is_refused(clear, Attack::None, &[488]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_careless_linphone_behind_a_proxy_that_strips_the_keys_gets_488_twice_and_no_packet() {
    let careless = PhoneSettings { mandatory: false, ..SRTP };
    is_refused(careless, Attack::StripCrypto, &[488, 488]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_careless_linphone_behind_a_proxy_that_makes_its_offer_clear_gets_488_twice_and_no_packet() {
    let careless = PhoneSettings { mandatory: false, ..SRTP };
    is_refused(careless, Attack::StripCryptoAndProfile, &[488, 488]).await;
}

/// The proxy takes the announcement of ZRTP away: what is left is an offer without encryption, and is treated so.
#[tokio::test(flavor = "multi_thread")]
async fn a_careless_linphone_behind_a_proxy_that_strips_its_zrtp_hash_gets_488_and_no_packet() {
    let careless = PhoneSettings { mandatory: false, ..PhoneSettings::ZRTP };
    is_refused(careless, Attack::StripZrtpHash, &[488]).await;
}

#[test]
fn the_search_finds_a_secret_in_each_form_in_which_a_log_could_show_it() {
    let secret = b"\x01k\xffpassword-17";
    for line in [
        "key AWv/cGFzc3dvcmQtMTc=",
        "key 016BFF70617373776F72642D3137",
        "key [1, 107, 255, 112, 97, 115, 115, 119, 111, 114, 100, 45, 49, 55]",
    ] {
        assert!(shows(line, secret), "{line}");
    }
    assert!(shows("the password is hunter-2!", b"hunter-2"));
    assert!(!shows("nothing of the kind", secret));
}

/// A baresip calls and talks; both sides hear each other, and all that is on the wire is encrypted.
async fn a_baresip_is_understood(encryption: MediaEncryption, codec: PhoneCodec) {
    let rig = Rig::new().unwrap();
    // baresip 1.0 knows no other digest
    let meeting = Meeting::start(&rig).await.unwrap();
    let scene = Scene::start_with(&rig, meeting, Digest::Md5, Attack::None, GatewaySettings::USUAL);
    let peer = Arc::new(scene.meeting.join("listener").await.unwrap());
    let speaker = Arc::clone(&peer);
    tokio::spawn(async move { speaker.publish(tone(1000.0).samples).await });
    let capture = Capture::start(rig.net(), &rig.file("call.pcap")).unwrap();
    let mut phone = rig.baresip("alice", encryption, codec, &tone(440.0), &format!("sip:{ACCOUNT}")).unwrap();
    phone.wait_established(SOON).unwrap();
    let name = phone_in_the_group(&peer);
    assert!(peer.wait_until_heard(&name, SOON).await, "{name} is not heard\n{}", phone.log());
    tokio::time::sleep(Duration::from_secs(2)).await;
    peer.clear_heard();
    tokio::time::sleep(Duration::from_secs(seconds())).await;
    let by_group = peer.heard().remove(&name).unwrap_or_default();
    let answer = scene.gateway.calls().unwrap();
    let by_phone = phone.stop().unwrap();
    wait_until("the phone is gone", SOON, || {
        Ok((!peer.participants().values().any(|found| *found == name)).then_some(()))
    })
    .unwrap();

    let at_the_end = by_phone.samples.len().saturating_sub(by_phone.rate as usize * seconds() as usize);
    let by_phone = (&by_phone.samples[at_the_end..], by_phone.rate);
    for (who, (heard, rate), hz) in [("the group", (&by_group[..], 48_000), 440.0), ("the phone", by_phone, 1000.0)] {
        let (share, expected) = (tone_share(heard, rate, hz), rate as usize * seconds() as usize);
        println!("{encryption:?} {codec:?}: {who} heard {:.2} % of its power at {hz} Hz", 100.0 * share);
        assert!(heard.len() >= expected * 95 / 100, "{who} heard {} of {expected} samples", heard.len());
        assert!(share >= 0.9, "{hz} Hz has {share:.3} of the power of what {who} heard");
    }
    let shown = &answer["calls"][0];
    assert_eq!(shown["media"]["level"], "srtp", "{shown}");
    // it opens its path with one RTCP packet in clear, which is dropped and counted
    assert!(shown["rtp"]["auth_failures"].as_u64().is_some_and(|count| count <= 1), "{shown}");
    let streams = judge_streams(&capture.stop().unwrap());
    let of_the_call =
        |(stream, _): &(&Stream, &Looks)| [stream.from, stream.to].iter().any(|end| MEDIA_PORTS.contains(&end.port()));
    let looks: Vec<_> = streams.iter().filter(of_the_call).map(|(_, looks)| *looks).collect();
    assert!(looks.len() >= 2 && looks.iter().all(|looks| *looks == Looks::Encrypted), "{streams:?}");
    scene.gateway.stop_and_search_log(&[]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_baresip_that_insists_on_srtp_is_understood() {
    a_baresip_is_understood(MediaEncryption::Mandatory, PhoneCodec::Opus).await;
}

/// It offers RTP/AVP with keys, which a gateway that did not look would answer in clear (RFC 8643).
#[tokio::test(flavor = "multi_thread")]
async fn a_baresip_with_best_effort_srtp_is_encrypted() {
    a_baresip_is_understood(MediaEncryption::BestEffort, PhoneCodec::Pcmu).await;
}
