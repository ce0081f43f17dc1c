//! What a phone is told aloud, heard by a phone of the laboratory through the real program.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::audio::{Announcement, Language};
use galene_sips::sdp::Codec;
use galene_sips::units::SampleRate;
use galene_sips_lab::measure::correlate_in_pieces;
use galene_sips_lab::phone::{MediaOptions, ZrtpMemory};
use galene_sips_lab::scene::{DOMAIN, GATEWAY, Scene};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

const RATE: u32 = 48_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_zrtp_phone_hears_that_a_provider_can_listen_to_a_newcomer_and_the_newcomer_does_not() {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "debug").await.unwrap();
    let target = format!("sip:{GATEWAY}@{DOMAIN}");
    let memory = ZrtpMemory::default();
    let phones = [scene.phone(0, |_| {}).await.unwrap(), scene.phone(1, |_| {}).await.unwrap()];
    let zrtp = phones[0].call_with(&target, MediaOptions::zrtp(&memory), false).await.unwrap();
    scene.calls_become(|calls| calls.len() == 1 && calls[0].state == "talking").await.unwrap();
    zrtp.clear_heard();
    let provider = MediaOptions::default().codec(Codec::Opus);
    let srtp = phones[1].call_with(&target, provider, false).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let said = Announcement::ProviderJoined.samples(Language::English, SampleRate::Hz48000);
    let found = |heard: &[i16]| correlate_in_pieces(said, heard, RATE, heard.len(), RATE as usize / 20).value;
    let (told, newcomer) = (found(&zrtp.heard()), found(&srtp.heard()));
    assert!(told > 0.7, "{told}\n{}", scene.log());
    assert!(newcomer < 0.3, "{newcomer}");
    zrtp.bye().await;
    srtp.bye().await;
    scene.stop().await.unwrap();
}
