//! Calls that are taken.

use super::*;
use crate::audio::Codec;
use crate::keying::{Keys, Sdes, offer as offer_keys, offered};
use crate::policy::{OfferFacts, SignallingLevel};
use crate::room::Direction;
use crate::room::LegKeys;
use crate::sdp::{AudioOffer, Offer, SessionDescription};
use crate::srtp::{RtpOut, Suite};
use crate::units::Ssrc;

fn audio(text: &str) -> AudioOffer {
    Offer::read(&SessionDescription::parse(text).unwrap()).unwrap().audio
}

/// The room's ends of the keys.
pub(super) fn joined(world: &mut World) -> Box<LegSetup> {
    let setup = std::mem::take(&mut world.wants).into_iter().find_map(|output| match output {
        Output::Join(setup) => Some(setup),
        _ => None,
    });
    setup.expect("a phone joins")
}

#[test]
fn a_call_from_the_offer_to_the_goodbye() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    assert_eq!(world.wanted(), ["open 1", "join 1"]);
    assert_eq!(world.statuses(dialog), [180]);
    assert_eq!(world.states(), ["joining"]);
    world.run(3 * SECOND);
    world.room(RoomEvent::Ready { call: CallNumber(1) });
    assert_eq!(world.statuses(dialog), [180, 200]);
    assert_eq!(world.states(), ["talking"]);
    world.run(60 * SECOND);
    let report = world.line.report(world.now);
    let call = &report.calls[0];
    let sound = SoundReport {
        level: Some(MediaLevel::Srtp),
        method: "sdes",
        suite: "AES_CM_128_HMAC_SHA1_80",
        codec: "opus",
        new_device: false,
        zrtp: None,
    };
    assert_eq!((call.peer.as_str(), call.sound.clone(), call.duration), ("Alice", Some(sound), 60 * SECOND));
    world.phone.bye(world.now, dialog, None);
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["leave 1"]);
    assert!(world.states().is_empty());
    world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::Left });
    assert!(world.requests("BYE").is_empty(), "the room's own end of it says nothing new");
}

#[test]
fn until_the_ack_a_call_is_only_answered() {
    let mut world = World::new();
    world.passes =
        Box::new(|_, message| !matches!(message, Message::Request(request) if request.method == Method::ACK));
    world.call(&offer());
    assert_eq!(world.states(), ["answered"]);
    world.passes = Box::new(|_, _| true);
    world.run(SECOND); // the 200 comes again, and with it the ACK
    assert_eq!(world.states(), ["talking"]);
}

#[test]
fn the_answer_and_the_room_have_keys_that_fit_the_phone_s() {
    let mut world = World::new();
    let rules = Rules::strict("alice@example.org");
    let ours = offer_keys(&[Suite::AesCm128HmacSha1_80], &mut Seeded(9, Arc::default()));
    let text = sdp("RTP/SAVP", "96", &[&format!("crypto:{}", ours[0].to_value())]);
    let dialog = world.call(&text);
    let answer = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
    let answer = audio(&answer);
    let facts = OfferFacts {
        call: CallNumber(1),
        signalling: SignallingLevel::Verified,
        keying: offered(&answer),
        current: None,
        others: None,
    };
    let proof = judge(&rules, &facts).allowed().unwrap();
    let mut phone: Keys = Sdes::accept(None, &ours, &answer, proof, &rules).unwrap().keys.unwrap();
    let mut setup = joined(&mut world);
    assert_fits(&mut phone, &mut setup);
}

/// The phone and the room understand each other.
pub(super) fn assert_fits(phone: &mut Keys, room: &mut LegSetup) {
    let packet =
        RtpOut { payload_type: 96, marker: false, sequence: 1, timestamp: 0, ssrc: Ssrc(1), payload: b"hello" };
    let mut to_room = phone.protector.rtp(&packet).unwrap().as_bytes().to_vec();
    let LegKeys::Agreed { protector, unprotector } = &mut room.keys else { panic!("no keys") };
    assert_eq!(unprotector.rtp(&mut to_room).unwrap().payload, b"hello");
    let mut to_phone = protector.rtp(&packet).unwrap().as_bytes().to_vec();
    assert_eq!(phone.unprotector.rtp(&mut to_phone).unwrap().payload, b"hello");
}

#[test]
fn the_room_is_told_all_that_it_needs() {
    let mut world = World::new();
    world.call(&sdp("RTP/SAVP", "0 96", &[&crypto(1, KEY), "rtcp:9000", "sendonly"]));
    let setup = joined(&mut world);
    assert_eq!((setup.call, setup.participant.as_str()), (CallNumber(1), "☎ Alice #1"));
    assert_eq!((setup.codec.codec, setup.codec.payload_type), (Codec::Pcmu, 0), "the phone's first");
    assert_eq!(setup.remote.rtp, Some(SocketAddr::from(([198, 51, 100, 7], 7078))));
    assert_eq!(setup.remote.rtcp, Some(SocketAddr::from(([198, 51, 100, 7], 9000))));
    assert_eq!(setup.direction, Direction { from_phone: true, to_phone: false });
    assert_eq!(world.states(), ["held"]);
}

#[test]
fn a_host_name_in_a_description_is_not_looked_up_and_not_repeated() {
    for (what, text) in [
        ("session", offer().replace("c=IN IP4 198.51.100.7", "c=IN IP4 lookup.attacker.example")),
        ("section", offer() + "c=IN IP4 lookup.attacker.example\r\n"),
        ("rtcp", offer() + "a=rtcp:9 IN IP4 lookup.attacker.example\r\n"),
    ] {
        let mut world = World::new();
        let dialog = world.call(&text);
        let setup = joined(&mut world);
        let named = if what == "rtcp" { setup.remote.rtcp } else { setup.remote.rtp };
        assert_eq!(named, None, "{what}: the phone is where its authentic packets come from");
        assert_eq!(world.statuses(dialog), [180, 200]);
        for message in &world.sent {
            assert!(!String::from_utf8(message.to_bytes()).unwrap().contains("attacker"), "{what}");
        }
    }
}

#[test]
fn the_answer_names_our_ports_and_the_phone_s_choice() {
    let mut world = World::new();
    world.port = 31_000;
    let dialog = world.call(&offer());
    let answer = world.responses(dialog).pop().unwrap();
    let body = String::from_utf8(answer.body.clone()).unwrap();
    assert!(body.contains("\r\nm=audio 31000 RTP/SAVP 96 101\r\n") && body.contains("c=IN IP4 192.0.2.1"), "{body}");
    let line = line_of(&answer, "crypto");
    assert!(line.starts_with(":1 AES_CM_128_HMAC_SHA1_80 inline:") && !line.contains(KEY), "{line}");
    assert_eq!(line_of(&answer, "sendrecv"), "");
}

#[test]
fn several_calls_have_numbers_of_their_own() {
    let mut world = World::new();
    let dialogs = [world.call(&offer()), world.call(&offer()), world.call(&offer())];
    assert_eq!(world.wanted(), ["open 1", "join 1", "open 2", "join 2", "open 3", "join 3"]);
    world.phone.bye(world.now, dialogs[1], None);
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["leave 2"]);
    world.call(&offer());
    assert_eq!(world.wanted(), ["open 4", "join 4"], "no number is used again");
}

#[test]
fn linphone_and_baresip_with_srtp_are_taken() {
    let names = [
        "app-srtp-ice-avpf-mux",
        "app-srtp-after-ice",
        "app-srtp-bundle",
        "app-srtp-no-ice",
        "plain-srtp",
        "baresip-srtp",
        "before-hold-srtp",
        "hold-srtp",
        "resume-srtp",
        "probe-avp-crypto",
        "probe-savpf-crypto",
        "probe-savp-gcm-first",
        "probe-mux-crypto",
    ];
    for name in names {
        let mut world = World::new();
        let text = std::fs::read_to_string(format!("tests/data/sdp/{name}.sdp")).unwrap();
        let dialog = world.call(&text);
        assert_eq!(world.statuses(dialog), [180, 200], "{name}");
        let answer = world.responses(dialog).pop().unwrap();
        let answer = audio(&String::from_utf8(answer.body).unwrap());
        assert_eq!((answer.cryptos.len(), answer.profile), (1, audio(&text).profile), "{name}");
    }
}

#[test]
fn the_bytes_of_a_linphone_app_are_answered() {
    let folder = "tests/data/sip-traces/applike-srtp-mandatory-ice-avpf-mux";
    let bytes = |name: &str| {
        let text = std::fs::read_to_string(format!("{folder}/{name}.txt")).unwrap();
        text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
    };
    let mut world = World::new();
    world.passes = Box::new(|_, _| false);
    for piece in bytes("12-INVITE").chunks(100) {
        world.line.handle_bytes(world.now, piece);
        world.settle();
    }
    let statuses: Vec<u16> = world
        .sent
        .iter()
        .filter_map(|message| match message {
            Message::Response(response) => Some(response.status),
            Message::Request(_) => None,
        })
        .collect();
    assert_eq!(statuses, [100, 180, 200]);
    assert_eq!(world.wanted(), ["open 1", "join 1"]);
}
