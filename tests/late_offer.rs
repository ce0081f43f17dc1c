//! Calls whose INVITE brings no offer, through the real program: the phone answers ours in its ACK, and both sides hear
//! each other, or it answers badly and hears a BYE that says why, and not one packet of sound.
//!
//! The bad answers are given by sipp. Debian's speaks no TLS, so its bytes go through a tunnel.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

use galene_sips::sdp::{Codec, Direction, Profile};
use galene_sips::sip::Message;
use galene_sips::srtp::Suite;
use galene_sips_lab::group_peer::GroupPeer;
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{Call, MediaOptions, Reoffer};
use galene_sips_lab::real::program::require;
use galene_sips_lab::scene::{DOMAIN, GATEWAY, SECRETS, Scene};
use galene_sips_lab::sound::sine;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

const RATE: u32 = 48_000;

async fn scene(log_level: &str) -> Scene {
    Scene::start(Path::new(env!("CARGO_BIN_EXE_galene-sips")), log_level).await.unwrap()
}

/// For three seconds each side speaks its tone, and the other hears it.
async fn both_are_heard(scene: &Scene, peer: &GroupPeer, call: &Call, when: &str) {
    let calls = scene.calls_become(|calls| calls.len() == 1 && calls[0].state == "talking").await.unwrap();
    let name = &calls[0].galene.participant;
    let (from_phone, from_group) =
        (sine(RATE, 440.0, 0.3, 6 * RATE as usize), sine(RATE, 1000.0, 0.3, 6 * RATE as usize));
    let measured = async {
        sleep(Duration::from_secs(1)).await;
        peer.clear_heard();
        call.clear_heard();
        sleep(Duration::from_secs(3)).await;
        (peer.heard().remove(name).unwrap_or_default(), call.heard())
    };
    let (by_group, by_phone) = tokio::select! {
        heard = measured => heard,
        _ = async { tokio::join!(call.speak(from_phone), peer.publish(from_group)) } => panic!("spoke too soon"),
    };
    for (who, heard, hz) in [("the group", by_group, 440.0), ("the phone", by_phone, 1000.0)] {
        assert!(heard.len() > 2 * RATE as usize, "{when}: {who} heard {} samples\n{}", heard.len(), scene.log());
        let share = tone_share(&heard, RATE, hz);
        assert!(share > 0.9, "{when}: {who} heard {hz} Hz with {share:.3} of the power\n{}", scene.log());
    }
}

/// No packet of the gateway was one that the phone could not open.
fn assert_all_opened(call: &Call, when: &str) {
    assert_eq!(call.statistics().rejected, 0, "{when}: the phone got packets that it could not open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_makes_no_offer_is_heard_and_hears_under_every_suite() {
    let scene = scene("debug").await;
    let peer = scene.participant("Bob").await.unwrap();
    let phone = scene.phone(0, |_| {}).await.unwrap();
    let kinds = [
        (Suite::AesCm128HmacSha1_80, Codec::Opus, false),
        (Suite::Aes256CmHmacSha1_80, Codec::Pcmu, true),
        (Suite::AeadAes128Gcm, Codec::Pcma, false),
        (Suite::AeadAes256Gcm, Codec::Opus, true),
    ];
    for (suite, codec, rtcp_mux) in kinds {
        let media = MediaOptions { rtcp_mux, ..MediaOptions::default().suite(suite).codec(codec) };
        let call = phone.call_with(&format!("sip:{GATEWAY}@{DOMAIN}"), media, true).await.unwrap();
        assert!(call.answer().contains(" RTP/SAVP 96 0 8 97 101\r\n"), "{}", call.answer());
        both_are_heard(&scene, &peer, &call, suite.as_str()).await;
        let shown = scene.calls().await.unwrap().remove(0);
        assert_eq!((shown.media.suite.as_str(), shown.media.level.as_str()), (suite.as_str(), "srtp"));
        assert_all_opened(&call, suite.as_str());
        call.bye().await;
        scene.calls_become(<[_]>::is_empty).await.unwrap();
    }
    scene.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_call_is_offered_again_and_goes_on_with_old_keys_or_those_of_another_phone() {
    let scene = scene("debug").await;
    let peer = scene.participant("Bob").await.unwrap();
    let phone = scene.phone(0, |_| {}).await.unwrap();
    for late in [false, true] {
        let target = format!("sip:{GATEWAY}@{DOMAIN}");
        let call = phone.call_with(&target, MediaOptions::default(), late).await.unwrap();
        both_are_heard(&scene, &peer, &call, "at first").await;
        call.hold().await.unwrap();
        scene.calls_become(|calls| calls[0].state == "held").await.unwrap();
        let resume = Reoffer { late: true, direction: Some(Direction::SendRecv), ..Reoffer::default() };
        let offer = call.reinvite(resume).await.unwrap();
        assert!(offer.contains("a=sendrecv\r\n"), "{offer}");
        both_are_heard(&scene, &peer, &call, "after a resume by our offer").await;
        assert_all_opened(&call, "with the old keys");
        // as if the call had been transferred: the other phone knows neither the old key nor where our stream is
        call.reinvite(Reoffer { late: true, new_keys: true, ..Reoffer::default() }).await.unwrap();
        both_are_heard(&scene, &peer, &call, "with the keys of another phone").await;
        assert!(scene.log().contains("rekeyed=true"), "{}", scene.log());
        call.bye().await;
        scene.calls_become(<[_]>::is_empty).await.unwrap();
    }
    scene.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_answers_our_offer_in_clear_is_told_so_and_gets_no_sound() {
    let scene = scene("info").await;
    let phone = scene.phone(0, |_| {}).await.unwrap();
    let clear = MediaOptions { profile: Profile::RtpAvp, suites: Vec::new(), ..MediaOptions::default() };
    // the laboratory's phone answers under the offer's profile, without any key
    let call = phone.call_with(&format!("sip:{GATEWAY}@{DOMAIN}"), clear, true).await.unwrap();
    let ended = call.ended(Duration::from_secs(5)).await;
    let said = format!("{ended:?}");
    assert!(said.contains("SIP;cause=488;text=") && said.contains("no key that can be read"), "{said}");
    assert_eq!(call.statistics().received + call.statistics().rejected, 0, "sound");
    assert!(scene.calls().await.unwrap().is_empty());
    scene.stop().await.unwrap();
}

/// What carries sipp's bytes to the provider over TLS.
async fn tunnel(scene: &Scene) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tls, provider) =
        (TlsConnector::from(scene.group.authority().client_config().unwrap()), scene.provider.address());
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let stream = TcpStream::connect(provider).await.unwrap();
            let mut secured = tls.connect(ServerName::try_from(DOMAIN).unwrap(), stream).await.unwrap();
            tokio::spawn(async move {
                let _ = copy_bidirectional(&mut plain, &mut secured).await;
            });
        }
    });
    address
}

/// A call without an offer whose ACK has this body; then sipp either hangs up after two seconds or waits for our BYE.
fn scenario(answer: &str, hangs_up: bool) -> String {
    let head = |method: &str, cseq: u32, to: &str, extra: &str| {
        format!(
            "{method} sip:{GATEWAY}@{DOMAIN} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             Max-Forwards: 70\nFrom: <sip:phone1@{DOMAIN}>;tag=[call_number]\nTo: <sip:{GATEWAY}@{DOMAIN}>{to}\n\
             Call-ID: [call_id]\nCSeq: {cseq} {method}\nContact: <sip:phone1@[local_ip]:[local_port];transport=tcp>\n{extra}"
        )
    };
    let invite = |cseq, extra: &str| {
        format!("<send><![CDATA[\n{}Content-Length: 0\n\n]]></send>\n", head("INVITE", cseq, "", extra))
    };
    let refused = head("ACK", 1, "[peer_tag_param]", "").replace("branch=[branch]", "branch=[branch-1]");
    let content = match answer.is_empty() {
        true => "Content-Length: 0\n\n".to_owned(),
        false => format!("Content-Type: application/sdp\nContent-Length: [len]\n\n{answer}"),
    };
    let ack = head("ACK", 2, "[peer_tag_param]", "[routes]\n");
    let end = match hangs_up {
        true => format!(
            "<pause milliseconds=\"2000\"/>\n<send><![CDATA[\n{}Content-Length: 0\n\n]]></send>\n<recv response=\"200\"/>\n",
            head("BYE", 3, "[peer_tag_param]", "[routes]\n")
        ),
        false => "<recv request=\"BYE\" timeout=\"8000\"/>\n<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n\
                  [last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>\n"
            .to_owned(),
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" ?>\n<scenario name=\"late offer\">\n{}\
         <recv response=\"407\" auth=\"true\"/>\n<send><![CDATA[\n{refused}Content-Length: 0\n\n]]></send>\n{}\
         <recv response=\"100\" optional=\"true\"/>\n<recv response=\"180\" optional=\"true\"/>\n\
         <recv response=\"200\" rrs=\"true\"/>\n<send><![CDATA[\n{ack}{content}\n]]></send>\n{end}</scenario>\n",
        invite(1, ""),
        invite(2, &format!("[authentication username=phone1 password={}]\n", SECRETS[1])),
    )
}

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

/// An answer that listens at this port.
fn answer(port: u16, profile: &str, crypto: &str) -> String {
    format!(
        "v=0\no=sipp 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} {profile} 0\n\
         a=rtpmap:0 PCMU/8000\n{crypto}"
    )
}

/// Runs a scenario to its end.
async fn sipp(scene: &Scene, tunnel: SocketAddr, answer: &str, hangs_up: bool) {
    let file = scene.file("scenario.xml");
    std::fs::write(&file, scenario(answer, hangs_up)).unwrap();
    let mut command = Command::new(require("sipp").unwrap());
    command.arg("-sf").arg(&file).args(["-t", "t1", "-i", "127.0.0.1", "-m", "1", "-nostdin", "-trace_err"]);
    command.arg("-error_file").arg(scene.file("sipp.errors")).args(["-timeout", "20s", "-timeout_error"]);
    command.arg(tunnel.to_string()).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(30), command.output()).await.unwrap().unwrap();
    let errors = std::fs::read_to_string(scene.file("sipp.errors")).unwrap_or_default();
    assert!(output.status.success(), "sipp: {}\n{errors}\n{}", output.status, scene.log());
}

/// The Reason of the last BYE that the gateway sent.
fn reason(scene: &Scene) -> String {
    let mut byes =
        scene.provider.log().into_iter().filter(|entry| entry.from_peer).filter_map(|entry| match entry.message {
            Message::Request(request) if request.method.as_str() == "BYE" => {
                request.headers.get("Reason").map(str::to_owned)
            }
            _ => None,
        });
    byes.next_back().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn sipp_calls_without_an_offer_and_only_a_good_answer_brings_sound() {
    let scene = scene("trace").await;
    scene.provider.behave(|behaviour| behaviour.algorithms = vec![galene_sips_lab::registrar::Algorithm::Md5]);
    let tunnel = tunnel(&scene).await;
    let ear = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = ear.local_addr().unwrap().port();
    let crypto = format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\n");
    let unencrypted = format!("a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP\n");
    let short = format!("a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\n");
    let bad = [
        (String::new(), "without an answer"),
        (answer(port, "RTP/AVP", ""), "without encryption"),
        (answer(port, "RTP/AVP", &crypto), "another profile"),
        (answer(port, "RTP/SAVP", ""), "no key"),
        (answer(port, "RTP/SAVP", &short), "32 bits"),
        (answer(port, "RTP/SAVP", &unencrypted), "switched off"),
        (answer(port, "RTP/SAVP", &crypto.replace("crypto:4", "crypto:1")), "a key that was not offered"),
        (answer(0, "RTP/SAVP", &crypto), "refuses the sound"),
    ];
    let mut datagram = [0; 2048];
    for (answer, words) in bad {
        sipp(&scene, tunnel, &answer, false).await;
        let said = reason(&scene);
        assert!(said.starts_with("SIP;cause=488;text=\"") && said.contains(words), "{said} for {answer}");
        scene.calls_become(<[_]>::is_empty).await.unwrap();
        assert!(ear.try_recv(&mut datagram).is_err(), "a packet for {answer}");
    }

    let good = answer(port, "RTP/SAVP", &crypto);
    let talks = async {
        let calls = scene.calls_become(|calls| calls.iter().any(|call| call.state == "talking")).await.unwrap();
        assert_eq!((calls[0].media.suite.as_str(), calls[0].codec.as_str()), ("AES_CM_128_HMAC_SHA1_80", "PCMU"));
        timeout(Duration::from_secs(2), ear.recv(&mut datagram)).await.unwrap().unwrap()
    };
    let ((), length) = tokio::join!(sipp(&scene, tunnel, &good, true), talks);
    assert!(length > 160, "a frame of G.711 with its tag: {length} bytes");
    scene.calls_become(<[_]>::is_empty).await.unwrap();
    let (_, log) = scene.stop().await.unwrap();
    for secret in SECRETS.into_iter().chain([KEY]) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
