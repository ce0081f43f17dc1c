//! Two phones of the laboratory call each other over its registrar. What fails here is the laboratory's fault, and a
//! test of the gateway need not look for it there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use galene_sips::sdp::{Codec, Direction, Profile};
use galene_sips::sip::{Event, Message};
use galene_sips::srtp::Suite;
use galene_sips_lab::certificates::{Authority, Kind, Tls, server_name};
use galene_sips_lab::measure::tone_share;
use galene_sips_lab::phone::{Call, Ended, MediaOptions, Phone, PhoneOptions, Pickup, Reoffer, ZrtpMemory};
use galene_sips_lab::registrar::{Algorithm, Registrar, RegistrarOptions};
use galene_sips_lab::relay::{Relay, Way, Weather};
use galene_sips_lab::sound::sine;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const DOMAIN: &str = "sip.lab.example";
const SOON: Duration = Duration::from_secs(5);

struct Lab {
    authority: Authority,
    registrar: Registrar,
}

impl Lab {
    async fn start() -> Lab {
        let authority = Authority::new("lab").unwrap();
        let tls = authority.issue(Kind::Good, DOMAIN).unwrap().server_config(Tls::Both).unwrap();
        let options = RegistrarOptions::new(tls, DOMAIN).with_user("ann", "a-secret").with_user("bob", "b-secret");
        Lab { authority, registrar: Registrar::start(options).await.unwrap() }
    }

    fn options(&self, user: &str) -> PhoneOptions {
        let password = format!("{}-secret", &user[..1]);
        PhoneOptions::new(self.registrar.address(), self.authority.client_config().unwrap(), user, DOMAIN, &password)
    }

    async fn phone(&self, user: &str) -> Phone {
        self.phone_with(user, MediaOptions::default()).await
    }

    async fn phone_with(&self, user: &str, media: MediaOptions) -> Phone {
        let phone = Phone::start(PhoneOptions { media, ..self.options(user) }).await.unwrap();
        assert!(phone.registered(SOON).await, "{:?}", phone.events());
        phone
    }
}

/// Ann calls Bob with `media`; both ends of the call.
async fn connect(ann: &Phone, bob: &Phone, media: MediaOptions) -> (Call, Call) {
    let call = ann.call_with(&bob.address(), media, false).await.unwrap();
    (call, bob.incoming(SOON).await.unwrap())
}

/// The tone that `from` speaks reaches `to`.
async fn check_sound(from: &Call, to: &Call) {
    to.clear_heard();
    from.speak(sine(48_000, 440.0, 0.5, 72_000)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let heard = to.heard();
    // The middle second: the ends hold the silence around the tone.
    let from = heard.iter().position(|sample| sample.unsigned_abs() > 4_000).expect("a tone") + 4_800;
    let share = tone_share(&heard[from..from + 48_000], 48_000, 440.0);
    assert!(share > 0.98, "{share}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_and_suite_carries_sound_both_ways() {
    let lab = Lab::start().await;
    let ann = lab.phone("ann").await;
    let bob = lab.phone_with("bob", MediaOptions { suites: Suite::ALL.to_vec(), ..MediaOptions::default() }).await;
    let cases = [
        (Codec::Opus, Suite::AeadAes256Gcm, Profile::RtpSavpf),
        (Codec::Pcmu, Suite::AesCm128HmacSha1_80, Profile::RtpSavp),
        (Codec::Pcma, Suite::AesCm128HmacSha1_32, Profile::RtpSavp),
    ];
    for (codec, suite, profile) in cases {
        let media = MediaOptions { profile, ..MediaOptions::default().codec(codec).suite(suite) };
        let (call, incoming) = connect(&ann, &bob, media).await;
        assert_eq!((call.codec(), call.suite()), (codec, Some(suite)));
        tokio::join!(check_sound(&call, &incoming), check_sound(&incoming, &call));
        assert_eq!(call.statistics().rejected + incoming.statistics().rejected, 0);
        assert!(call.statistics().rtcp > 0);
        call.bye().await;
        assert_eq!(incoming.ended(SOON).await, Some(Ended::Bye(None)));
        assert_eq!(call.ended(SOON).await, Some(Ended::ByUs));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_resume_and_new_keys() {
    let lab = Lab::start().await;
    let (ann, bob) = (lab.phone("ann").await, lab.phone("bob").await);
    let (call, incoming) = connect(&ann, &bob, MediaOptions::default()).await;
    check_sound(&incoming, &call).await;

    call.hold().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = call.statistics().received;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(call.statistics().received, before, "who is held sends nothing");
    call.resume().await.unwrap();
    check_sound(&incoming, &call).await;

    call.reinvite(Reoffer { new_keys: true, ..Reoffer::default() }).await.unwrap();
    check_sound(&incoming, &call).await;
    check_sound(&call, &incoming).await;

    let clear = vec![("RTP/SAVP".into(), "RTP/AVP".into()), ("a=crypto".into(), "a=nothing".into())];
    let refused = call.reinvite(Reoffer { replace: clear, ..Reoffer::default() }).await.unwrap_err();
    assert_eq!(refused.status, 488);
    check_sound(&call, &incoming).await;
    incoming.reinvite(Reoffer { direction: Some(Direction::SendRecv), ..Reoffer::default() }).await.unwrap();
    incoming.bye().await;
    assert!(matches!(call.ended(SOON).await, Some(Ended::Bye(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_without_an_offer_carries_none() {
    let lab = Lab::start().await;
    let (ann, bob) = (lab.phone("ann").await, lab.phone("bob").await);
    // Our phones answer offers only; the refusal of an INVITE without one shows that there was none.
    let refused = ann.call_with(&bob.address(), MediaOptions::default(), true).await.err().unwrap();
    assert_eq!(refused.status, 488);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_fail_say_why() {
    let lab = Lab::start().await;
    let ann = lab.phone("ann").await;
    let status = |result: Result<Call, galene_sips_lab::phone::CallFailed>| result.err().map(|failed| failed.status);
    assert_eq!(status(ann.call("sip:bob@sip.lab.example").await), Some(480));
    assert_eq!(status(ann.call("sip:nobody@sip.lab.example").await), Some(404));
    assert_eq!(status(ann.call("sip:bob@elsewhere.example").await), Some(403));

    let mut options = lab.options("bob");
    options.pickup = Pickup::Refuse(486);
    let busy = Phone::start(options).await.unwrap();
    assert!(busy.registered(SOON).await);
    assert_eq!(status(ann.call(&busy.address()).await), Some(486));
    assert_eq!(status(ann.call_with(&busy.address(), MediaOptions::clear(), false).await), Some(486));
    drop(busy);

    let mut options = lab.options("bob");
    options.pickup = Pickup::Ring;
    let ringing = Phone::start(options).await.unwrap();
    assert!(ringing.registered(SOON).await);
    let calling = ann.call("sip:bob@sip.lab.example");
    let cancelling = async {
        ringing.wait_for(SOON, |event| matches!(event, Event::Invite { .. })).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        ann.cancel();
    };
    let (result, ()) = tokio::join!(calling, cancelling);
    assert_eq!(status(result), Some(487));
    assert!(ringing.wait_for(SOON, |event| matches!(event, Event::Cancelled { .. })).await.is_some());

    lab.registrar.behave(|behaviour| behaviour.refuse_calls = Some((503, "Service Unavailable")));
    assert_eq!(status(ann.call("sip:bob@sip.lab.example").await), Some(503));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_does_not_register_proves_itself_when_it_calls() {
    let lab = Lab::start().await;
    let bob = lab.phone("bob").await;
    let mut options = lab.options("ann");
    options.register = false;
    let ann = Phone::start(options).await.unwrap();
    let (call, incoming) = connect(&ann, &bob, MediaOptions::default()).await;
    check_sound(&call, &incoming).await;
    assert!(lab.registrar.bindings("ann").is_empty());
    let challenged = lab
        .registrar
        .log()
        .iter()
        .any(|logged| matches!(&logged.message, Message::Response(response) if response.status == 407));
    assert!(challenged);

    let mut wrong = lab.options("ann");
    wrong.register = false;
    wrong.password = "guess".into();
    let impostor = Phone::start(wrong).await.unwrap();
    assert_eq!(impostor.call(&bob.address()).await.err().unwrap().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrar_can_misbehave() {
    let lab = Lab::start().await;
    lab.registrar.behave(|behaviour| {
        behaviour.algorithms = vec![Algorithm::Md5];
        behaviour.max_expires = 60;
        behaviour.gruu = true;
    });
    let ann = lab.phone("ann").await;
    let registered = ann.wait_for(SOON, |event| matches!(event, Event::Registered { .. })).await.unwrap();
    let Event::Registered { expires, gruu } = registered else { panic!() };
    assert!(expires <= Duration::from_secs(60));
    assert!(gruu.unwrap().starts_with("sip:ann@sip.lab.example;gr=urn:uuid:"));

    let bob = lab.phone("bob").await;
    let (call, incoming) = connect(&ann, &bob, MediaOptions::default()).await;
    let acknowledged = |event: &Event| matches!(event, Event::Acknowledged { .. });
    assert!(bob.wait_for(SOON, acknowledged).await.is_some());
    // A connection breaks under a call: the phone comes back, and hanging up still reaches the other.
    let bindings = lab.registrar.bindings("ann");
    lab.registrar.close(Some("ann"));
    tokio::time::timeout(SOON, async {
        while lab.registrar.bindings("ann").last().is_none_or(|binding| binding.flow == bindings[0].flow) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("it registers again");
    check_sound(&call, &incoming).await;
    incoming.bye().await;
    assert!(matches!(call.ended(SOON).await, Some(Ended::Bye(_))));

    lab.registrar.behave(|behaviour| behaviour.strips_crypto = true);
    let refused = ann.call(&bob.address()).await.err().unwrap();
    assert_eq!(refused.status, 488, "Bob sees no key");
    lab.registrar.behave(|behaviour| {
        behaviour.strips_crypto = false;
        behaviour.refuse_register = Some((403, "Forbidden"));
    });
    let third = Phone::start(lab.options("ann")).await.unwrap();
    let failed = third.wait_for(SOON, |event| matches!(event, Event::RegistrationFailed { .. })).await;
    assert!(matches!(failed, Some(Event::RegistrationFailed { status: Some(403), .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_call_is_possible_between_phones_that_do_not_mind() {
    let lab = Lab::start().await;
    let ann = lab.phone("ann").await;
    let bob = lab.phone_with("bob", MediaOptions::clear()).await;
    let (call, incoming) = connect(&ann, &bob, MediaOptions::clear()).await;
    assert_eq!(call.suite(), None);
    check_sound(&call, &incoming).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_zrtp_both_phones_show_the_same_code_and_hear_each_other() {
    let lab = Lab::start().await;
    let media = MediaOptions::zrtp(&ZrtpMemory::default());
    let (ann, bob) = (lab.phone("ann").await, lab.phone_with("bob", MediaOptions::zrtp(&ZrtpMemory::default())).await);
    let (call, incoming) = connect(&ann, &bob, media).await;
    let secured = call.secured(SOON).await.unwrap();
    let theirs = incoming.secured(SOON).await.unwrap();
    assert_eq!((secured.sas.len(), &secured.sas, call.sas()), (4, &theirs.sas, Some(theirs.sas.clone())));
    assert_eq!((call.suite(), incoming.suite()), (Some(theirs.suite), Some(secured.suite)));
    tokio::join!(check_sound(&call, &incoming), check_sound(&incoming, &call));

    // ZRTP goes on where it was: no new exchange, no other code, no other keys
    call.hold().await.unwrap();
    call.resume().await.unwrap();
    check_sound(&incoming, &call).await;
    assert_eq!(call.sas(), Some(theirs.sas));
    assert_eq!(call.statistics().rejected + incoming.statistics().rejected, 0);
    assert!(call.statistics().rtcp > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zrtp_phone_neither_speaks_nor_hears_before_it_is_secure() {
    let lab = Lab::start().await;
    // Bob announces a Hello that never comes, and speaks in clear.
    let hash = format!("a=zrtp-hash:1.10 {}", "5a".repeat(32));
    let media = MediaOptions { extra_lines: vec![hash], ..MediaOptions::clear() };
    let (ann, bob) = (lab.phone("ann").await, lab.phone_with("bob", media).await);
    let (call, incoming) = connect(&ann, &bob, MediaOptions::zrtp(&ZrtpMemory::default())).await;
    incoming.speak(sine(48_000, 440.0, 0.5, 24_000)).await;
    assert!(call.secured(Duration::from_millis(200)).await.is_none());
    assert_eq!((call.sas(), call.suite(), call.statistics().sent), (None, None, 0));
    assert!(call.statistics().received == 0 && call.heard().is_empty());
    assert!(call.statistics().rejected >= 25, "Bob has spoken: {:?}", call.statistics());
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_whose_people_compared_the_code_know_each_other_in_the_next_call() {
    let lab = Lab::start().await;
    let (mine, theirs) = (ZrtpMemory::default(), ZrtpMemory::default());
    let (ann, bob) = (lab.phone("ann").await, lab.phone_with("bob", MediaOptions::zrtp(&theirs)).await);
    // what the call begins with, on both sides: whether it is a first contact, and whether it is verified
    let talk = async |media: MediaOptions, equal: Option<bool>| {
        let (call, incoming) = connect(&ann, &bob, media).await;
        let (ours, other) = (call.secured(SOON).await.unwrap(), incoming.secured(SOON).await.unwrap());
        for side in [&call, &incoming] {
            if let Some(equal) = equal {
                side.compare_sas(equal).await;
            }
        }
        call.bye().await;
        [(ours.first_contact, ours.verified), (other.first_contact, other.verified)]
    };
    let known = MediaOptions::zrtp(&mine);
    assert_eq!(talk(known.clone(), Some(true)).await, [(true, false); 2]);
    assert_eq!(talk(known.clone(), None).await, [(false, true); 2], "its memory was carried over");
    assert_eq!(talk(MediaOptions::zrtp(&ZrtpMemory::default()), None).await, [(true, false); 2], "another device");
    assert_eq!(talk(known.clone(), Some(false)).await, [(false, true); 2]);
    assert_eq!(talk(known, None).await, [(false, false); 2], "the codes were not equal in the call before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_set_to_zrtp_has_no_call_without_it() {
    let lab = Lab::start().await;
    let media = MediaOptions::zrtp(&ZrtpMemory::default());
    let (ann, bob) = (lab.phone("ann").await, lab.phone_with("bob", media.clone()).await);
    for weaker in [MediaOptions::default(), MediaOptions::clear()] {
        assert_eq!(ann.call_with(&bob.address(), weaker, false).await.err().unwrap().status, 488);
    }
    drop(bob);
    let clear = lab.phone_with("bob", MediaOptions::clear()).await;
    let failed = ann.call_with(&clear.address(), media, false).await.err().unwrap();
    assert!(failed.reason.contains("announces no ZRTP"), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_forged_packets_are_counted_and_not_heard() {
    let lab = Lab::start().await;
    let (ann, bob) = (lab.phone("ann").await, lab.phone("bob").await);
    let (call, incoming) = connect(&ann, &bob, MediaOptions::default()).await;
    check_sound(&call, &incoming).await;
    call.set_sending(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = incoming.statistics();
    let packets = call.sent_packets();
    for packet in packets.iter().rev().take(20) {
        call.inject(packet.clone());
        let mut forged = packet.clone();
        forged[3] = forged[3].wrapping_add(100);
        call.inject(forged);
    }
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&packets[0], call.remote()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let after = incoming.statistics();
    assert_eq!(after.received, before.received);
    assert_eq!(after.rejected, before.rejected + 41);

    call.set_sending(true);
    call.change_source();
    check_sound(&call, &incoming).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_for_rtp_and_rtcp() {
    let lab = Lab::start().await;
    let (ann, bob) = (lab.phone("ann").await, lab.phone("bob").await);
    let media = MediaOptions { rtcp_mux: true, ..MediaOptions::default() };
    let (call, incoming) = connect(&ann, &bob, media).await;
    assert!(call.answer().contains("a=rtcp-mux"));
    check_sound(&call, &incoming).await;
    check_sound(&incoming, &call).await;
    assert!(call.statistics().rtcp > 0 && incoming.statistics().rtcp > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_a_bad_network_is_still_understood() {
    let lab = Lab::start().await;
    let (ann, bob) = (lab.phone("ann").await, lab.phone("bob").await);
    let (call, incoming) = connect(&ann, &bob, MediaOptions::default()).await;
    let weather = Weather {
        loss: 0.05,
        delay: Duration::from_millis(30),
        jitter: Duration::from_millis(20),
        duplication: 0.05,
        ..Weather::default()
    };
    let relay = Relay::start(call.remote(), weather, 5).await.unwrap();
    call.send_to(relay.address(), relay.address());
    incoming.clear_heard();
    call.speak(sine(48_000, 440.0, 0.5, 3 * 48_000)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let heard = incoming.heard();
    let from = heard.iter().position(|sample| sample.unsigned_abs() > 4_000).unwrap() + 4_800;
    assert!(tone_share(&heard[from..from + 96_000], 48_000, 440.0) > 0.7);
    let (all, lost) = relay.counts(Way::There);
    assert!(all > 140 && lost > 0, "{lost} of {all}");
    assert!(incoming.statistics().rejected > 0, "the doubled ones");
}

#[tokio::test]
async fn the_registrar_answers_pings_and_says_what_it_lacks() {
    let lab = Lab::start().await;
    let stream = TcpStream::connect(lab.registrar.address()).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(lab.authority.client_config().unwrap());
    let mut stream = connector.connect(server_name(DOMAIN).unwrap(), stream).await.unwrap();
    let mut pong = [0; 2];
    stream.write_all(b"\r\n\r\n").await.unwrap();
    tokio::time::timeout(SOON, stream.read_exact(&mut pong)).await.unwrap().unwrap();
    assert_eq!(&pong, b"\r\n");
    lab.registrar.behave(|behaviour| behaviour.answers_pings = false);
    stream.write_all(b"\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut pong)).await.is_err());

    let statuses = || -> Vec<u16> {
        let responses = lab.registrar.log().into_iter().filter_map(|logged| match logged.message {
            Message::Response(response) => Some(response.status),
            Message::Request(_) => None,
        });
        responses.collect()
    };
    lab.registrar.behave(|behaviour| behaviour.lacks_outbound = true);
    let _ann = Phone::start(lab.options("ann")).await.unwrap();
    tokio::time::timeout(SOON, async {
        while !statuses().contains(&439) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("439 First Hop Lacks Outbound Support");
    lab.registrar.behave(|behaviour| {
        behaviour.lacks_outbound = false;
        behaviour.min_expires = Some(1_800);
    });
    let bob = Phone::start(lab.options("bob")).await.unwrap();
    assert!(bob.registered(SOON).await, "it asks again for as long as it must");
    assert!(statuses().contains(&423));
}
