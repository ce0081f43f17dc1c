//! A live call and packets that do not belong to it: they change nothing. The real program, the laboratory around it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::Call;
use galene_sips_lab::scene::{DOMAIN, GATEWAY, SECRETS, Scene};
use galene_sips_lab::sound::{noise, sine};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::sleep;

const RATE: u32 = 48_000;
const SECOND: usize = RATE as usize;

fn tone(hz: f64, seconds: usize) -> Vec<i16> {
    sine(RATE, hz, 0.3, seconds * SECOND)
}

/// Junk of every kind that a stranger can send, none of which can authenticate. `genuine` is what the phone sent.
fn forgeries(genuine: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut forged: Vec<Vec<u8>> = Vec::new();
    for packet in genuine.iter().rev().take(40) {
        forged.push(packet.clone()); // a replay
        for at in [1, 2, 5, 9, packet.len() / 2, packet.len() - 1] {
            let mut flipped = packet.clone();
            flipped[at] ^= 1;
            forged.push(flipped);
        }
    }
    let newest = genuine.last().unwrap();
    forged.extend((0..newest.len()).map(|length| newest[..length].to_vec()));
    for length in 0..200usize {
        let bytes: Vec<u8> = noise(length, 1.0, length as u64).iter().map(|sample| *sample as u8).collect();
        forged.push(bytes.clone());
        forged.push([&[0x80, 200, 0, 6][..], &bytes].concat()); // an RTCP sender report by its shape
        forged.push([&[0x81, 203, 0, 1][..], &newest[8..12], &bytes].concat()); // a BYE of the phone's own SSRC
        forged.push([&[0x00, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &bytes].concat()); // STUN
        forged.push([&[22, 254, 253][..], &bytes].concat()); // DTLS
    }
    forged
}

async fn both_hear(call: &Call, scene: &Scene, peer: &galene_sips_lab::group_peer::GroupPeer, name: &str, when: &str) {
    peer.clear_heard();
    call.clear_heard();
    sleep(Duration::from_secs(3)).await;
    let by_group = peer.heard().remove(name).unwrap_or_default();
    let by_phone = call.heard();
    for (who, heard, hz) in [("the group", by_group, 440.0), ("the phone", by_phone, 1000.0)] {
        assert!(heard.len() > 2 * SECOND, "{when}: {who} heard {} samples\n{}", heard.len(), scene.log());
        let share = tone_share(&heard, RATE, hz);
        assert!(share > 0.9, "{when}: {who} heard {hz} Hz with {share:.3} of the power");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_replayed_and_broken_packets_change_nothing() {
    let scene = Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), "trace").await.unwrap();
    let peer = scene.participant("Bob").await.unwrap();
    let phone = scene.phone(0, |_| {}).await.unwrap();
    let call = phone.call(&format!("sip:{GATEWAY}@{DOMAIN}")).await.unwrap();
    let name = scene.calls().await.unwrap()[0].galene.participant.clone();
    tokio::join!(
        async {
            tokio::select! {
                () = call.speak(tone(440.0, 60)) => {}
                () = hostile_scene(&scene, &call, &peer, &name) => {}
            }
        },
        async {
            tokio::select! {
                () = peer.publish(tone(1000.0, 60)) => {}
                () = sleep(Duration::from_secs(14)) => {}
            }
        },
    );
    call.bye().await;
    scene.calls_become(<[_]>::is_empty).await.unwrap();
    let (took, log) = scene.stop().await.unwrap();
    assert!(took < Duration::from_secs(5), "the program took {took:?} to end");
    assert!(log.contains("TRACE"), "the log is at its most talkative");
    for secret in SECRETS {
        assert!(!log.contains(secret), "the log shows a secret");
    }
    assert!(!log.contains("inline:"), "the log shows a key");
}

async fn hostile_scene(scene: &Scene, call: &Call, peer: &galene_sips_lab::group_peer::GroupPeer, name: &str) {
    sleep(Duration::from_secs(1)).await;
    both_hear(call, scene, peer, name, "before").await;
    let before = scene.calls().await.unwrap().remove(0).rtp;

    let forged = forgeries(&call.sent_packets());
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtp: SocketAddr = call.remote();
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    for (number, packet) in forged.iter().enumerate() {
        stranger.send_to(packet, if number % 3 == 0 { rtcp } else { rtp }).await.unwrap();
        if number % 2 == 0 {
            call.inject(packet.clone()); // also from the phone's own address
        }
        if number % 50 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    both_hear(call, scene, peer, name, "after").await;

    let mut buffer = [0u8; 2048];
    assert!(stranger.try_recv_from(&mut buffer).is_err(), "the stranger was answered");
    let after = scene.calls().await.unwrap().remove(0);
    assert!(after.rtp.auth_failures > before.auth_failures + 500, "forgeries are counted: {:?}", after.rtp);
    assert_eq!(after.rtp.lost, before.lost, "a forgery moved the sequence numbers");
    assert_eq!(after.state, "talking");
}
