//! Phones of every kind that real ones come in: each profile, suite and codec brings sound both ways through the real
//! program, and what is not encrypted well enough is refused with a sentence, also at the second try.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::sdp::{Codec, Profile};
use galene_sips::srtp::Suite;
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{MediaOptions, Phone};
use galene_sips_lab::scene::{DOMAIN, GATEWAY, Scene};
use galene_sips_lab::sound::sine;
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

const RATE: u32 = 48_000;

/// As Linphone's apps offer: AVPF, one port, BUNDLE's mid, ICE candidates that we do not use.
fn like_an_app(suite: Suite) -> MediaOptions {
    let lines = [
        "ice-ufrag:9pdb",
        "ice-pwd:32fd41e5a4d2a6c0e5b7d2f0",
        "candidate:1 1 UDP 2130706303 127.0.0.1 7078 typ host",
        "mid:as",
        "extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid",
        "rtcp-fb:* trr-int 1000",
        "rtcp-fb:* ccm tmmbr",
    ];
    MediaOptions {
        profile: Profile::RtpSavpf,
        rtcp_mux: true,
        extra_lines: lines.map(|line| format!("a={line}")).to_vec(),
        ..MediaOptions::default().suite(suite)
    }
}

fn kinds() -> Vec<(&'static str, MediaOptions)> {
    let plain = MediaOptions::default;
    vec![
        ("Opus, AES-CM", plain().codec(Codec::Opus)),
        ("PCMU, AES-CM", plain().codec(Codec::Pcmu)),
        ("PCMA, AES-256-CM", plain().codec(Codec::Pcma).suite(Suite::Aes256CmHmacSha1_80)),
        ("an app, AES-128-GCM", like_an_app(Suite::AeadAes128Gcm)),
        ("an app, AES-256-GCM", like_an_app(Suite::AeadAes256Gcm)),
        ("AVPF without multiplexing", MediaOptions { profile: Profile::RtpSavpf, ..plain() }),
        ("keys under RTP/AVP (RFC 8643)", MediaOptions { profile: Profile::RtpAvp, ..plain() }),
    ]
}

fn target() -> String {
    format!("sip:{GATEWAY}@{DOMAIN}")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_phone_is_heard_and_hears() {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "debug").await.unwrap();
    let peer = scene.participant("Bob").await.unwrap();
    let phone = scene.phone(0, |_| {}).await.unwrap();
    for (kind, media) in kinds() {
        let call =
            phone.call_with(&target(), media, false).await.unwrap_or_else(|failure| panic!("{kind}: {failure:?}"));
        let shown =
            scene.calls_become(|calls| calls.len() == 1 && calls[0].state == "talking").await.unwrap().remove(0);
        let name = shown.galene.participant;
        let from_phone = sine(RATE, 440.0, 0.3, 6 * RATE as usize);
        let from_group = sine(RATE, 1000.0, 0.3, 6 * RATE as usize);
        let measured = async {
            sleep(Duration::from_secs(1)).await;
            peer.clear_heard();
            call.clear_heard();
            sleep(Duration::from_secs(3)).await;
            (peer.heard().remove(&name).unwrap_or_default(), call.heard())
        };
        let (by_group, by_phone) = tokio::select! {
            heard = measured => heard,
            _ = async { tokio::join!(call.speak(from_phone), peer.publish(from_group)) } => panic!("spoke too soon"),
        };
        for (who, heard, hz) in [("the group", by_group, 440.0), ("the phone", by_phone, 1000.0)] {
            assert!(heard.len() > 2 * RATE as usize, "{kind}: {who} heard {} samples\n{}", heard.len(), scene.log());
            let share = tone_share(&heard, RATE, hz);
            assert!(share > 0.9, "{kind}: {who} heard {hz} Hz with {share:.3} of the power\n{}", scene.log());
        }
        assert_eq!(call.statistics().rejected, 0, "{kind}: the phone got packets that it could not open");
        call.bye().await;
        scene.calls_become(<[_]>::is_empty).await.unwrap();
    }
    scene.stop().await.unwrap();
}

async fn is_refused(phone: &Phone, media: &MediaOptions, words: &str) {
    for attempt in ["at first", "again"] {
        let failure = phone.call_with(&target(), media.clone(), false).await.err().unwrap();
        assert_eq!(failure.status, 488, "{attempt}: {failure:?}");
        let warning = failure.warning.unwrap_or_default();
        assert!(warning.starts_with("399 galene-sips \"") && warning.contains(words), "{attempt}: {warning}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_encrypted_well_is_refused_with_a_sentence_and_again() {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "info").await.unwrap();
    let phone = scene.phone(0, |_| {}).await.unwrap();
    let without_key = MediaOptions { suites: Vec::new(), ..MediaOptions::default() };
    let short_tag = MediaOptions::default().suite(Suite::AesCm128HmacSha1_32);
    let zrtp_hash = format!("a=zrtp-hash:2.00 {}", "ab".repeat(32));
    let unknown_zrtp = MediaOptions { extra_lines: vec![zrtp_hash], ..MediaOptions::clear() };
    is_refused(&phone, &MediaOptions::clear(), "clear").await;
    is_refused(&phone, &without_key, "key").await;
    is_refused(&phone, &short_tag, "32 bits").await;
    is_refused(&phone, &unknown_zrtp, "without encryption").await;
    assert!(scene.calls().await.unwrap().is_empty());
    let log = scene.log();
    assert_eq!(log.matches("call refused").count(), 8, "{log}");
    assert_eq!(log.matches("remedy").count(), 8, "each refusal names its remedy\n{log}");
    scene.stop().await.unwrap();
}
