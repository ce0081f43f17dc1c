//! Calls whose INVITE brings no offer: ours goes out in the 200, and the answer in the ACK is judged like an offer.

use super::answers::{assert_fits, joined};
use super::*;
use crate::keying::{Keys, Sdes, offered};
use crate::policy::{OfferFacts, SignallingLevel};
use crate::sdp::{Local, Offer, OurAnswer, OurKeying, SessionDescription};

/// A call without an offer, and the body of the 200.
fn begun(world: &mut World) -> (DialogId, String) {
    let dialog = world.call_with(None);
    let response = world.responses(dialog).pop().expect("a response");
    assert_eq!(response.status, 200);
    (dialog, String::from_utf8(response.body).unwrap())
}

fn acknowledge(world: &mut World, dialog: DialogId, answer: Option<&str>) {
    world.phone.ack(world.now, dialog, answer.map(Body::sdp));
    world.run(10 * MS);
}

/// What a good phone answers, with the line that it takes and the description's profile.
fn answer(profile: &str, lines: &[&str]) -> String {
    sdp(profile, "96", lines)
}

/// The tag under which a suite is offered.
fn tag_of(offer: &str, suite: &str) -> u32 {
    let line = offer.lines().find(|line| line.contains(&format!(" {suite} "))).unwrap_or_else(|| panic!("{offer}"));
    line.strip_prefix("a=crypto:").unwrap().split(' ').next().unwrap().parse().unwrap()
}

fn good(offer: &str) -> String {
    answer("RTP/SAVP", &[&crypto(tag_of(offer, "AES_CM_128_HMAC_SHA1_80"), KEY)])
}

#[test]
fn the_200_brings_an_offer_of_all_that_is_safe_and_nothing_flows_before_the_answer() {
    let mut world = World::new();
    world.port = 31_000;
    let (dialog, offer) = begun(&mut world);
    assert_eq!(world.statuses(dialog), [200]);
    assert!(offer.contains("\r\nm=audio 31000 RTP/SAVP 96 0 8 97 101\r\n"), "{offer}");
    for line in
        ["96 opus/48000/2", "0 PCMU/8000", "8 PCMA/8000", "97 telephone-event/48000", "101 telephone-event/8000"]
    {
        assert!(offer.contains(&format!("\r\na=rtpmap:{line}\r\n")), "{offer}");
    }
    let suites = ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"];
    let keys: Vec<&str> = offer.lines().filter_map(|line| line.strip_prefix("a=crypto:")).collect();
    assert_eq!(keys.len(), suites.len(), "{offer}");
    for (number, (line, suite)) in keys.iter().zip(suites).enumerate() {
        assert!(line.starts_with(&format!("{} {suite} inline:", number + 1)), "{line}");
        assert!(keys[..number].iter().all(|other| other.split(':').next_back() != line.split(':').next_back()));
    }
    assert!(offer.ends_with("a=rtcp-mux\r\na=sendrecv\r\n"), "{offer}");
    let [call] = &world.line.report(world.now).calls[..] else { panic!() };
    assert_eq!((call.state, call.sound.clone()), ("answered", None));
    assert_eq!(world.wanted(), ["open 1"], "no place in the room, so no sound");

    acknowledge(&mut world, dialog, Some(&good(&offer)));
    assert_eq!((world.wanted(), world.states()), (vec!["join 1".to_owned()], vec!["talking"]));
    let sound = world.line.report(world.now).calls[0].sound.clone().unwrap();
    assert_eq!((sound.level, sound.suite, sound.codec), (Some(MediaLevel::Srtp), "AES_CM_128_HMAC_SHA1_80", "opus"));
    assert_eq!(world.bye(dialog), None);
}

#[test]
fn the_phone_and_the_room_have_keys_that_fit_under_every_suite() {
    let rules = Rules { short_tags: true, ..Rules::strict("gateway@example.org") };
    for place in 0..6 {
        let mut world = World::with_rules(rules.clone());
        let (dialog, text) = begun(&mut world);
        // the phone knows one suite only
        let mut description = SessionDescription::parse(&text).unwrap();
        let lines = &mut description.media[0].attributes;
        let mut number = 0..;
        lines.retain(|line| line.name != "crypto" || number.next() == Some(place));
        let Offer { audio, layout } = Offer::read(&description).unwrap();
        let facts = OfferFacts {
            call: CallNumber(1),
            signalling: SignallingLevel::Verified,
            keying: offered(&audio),
            current: None,
            others: None,
        };
        let proof = judge(&rules, &facts).allowed().unwrap();
        let agreed = Sdes::answer(None, &audio, proof, &rules, &mut Seeded(9, Arc::default())).unwrap();
        let mut phone: Keys = agreed.keys.unwrap();
        let local = Local { rtp: "198.51.100.7:7078".parse().unwrap(), rtcp: 7079, session_id: 1, version: 1 };
        let answer = OurAnswer {
            layout: &layout,
            codec: audio.codecs[1],
            telephone_event: None,
            keying: OurKeying::Sdes(vec![agreed.sdes.ours()]),
            rtcp_mux: true,
            direction: audio.direction,
            local,
        };
        acknowledge(&mut world, dialog, Some(&answer.description().to_string()));
        let mut setup = joined(&mut world);
        assert_fits(&mut phone, &mut setup);
        assert_eq!((setup.codec.payload_type, setup.remote.rtcp_mux), (0, true));
        assert_eq!(world.line.report(world.now).calls[0].sound.as_ref().unwrap().suite, agreed.sdes.suite().as_str());
    }
}

#[test]
fn an_answer_that_is_not_safe_or_does_not_fit_ends_the_call_before_any_sound() {
    let mut world = World::new();
    let (_, offer) = begun(&mut world);
    let tag = tag_of(&offer, "AES_CM_128_HMAC_SHA1_80");
    let key = crypto(tag, KEY);
    let ours = offer.lines().find(|line| line.starts_with(&format!("a=crypto:{tag} "))).unwrap()[2..].to_owned();
    let fingerprint = format!("fingerprint:sha-256 {}", ["AB"; 32].join(":"));
    let zrtp = format!("zrtp-hash:1.10 {}", "ab".repeat(32));
    let with = |rest: &str| answer("RTP/SAVP", &[&format!("{key}{rest}")]);
    let savp = |line: &str| answer("RTP/SAVP", &[line]);
    let cases = [
        ("without encryption", answer("RTP/AVP", &[])),
        ("without encryption", answer("RTP/AVPF", &[])),
        ("no key that can be read", answer("RTP/SAVP", &[])),
        ("only SRTP suites or parameters", savp(&format!("crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:????"))),
        ("only SRTP suites or parameters", savp(&format!("crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:AAAA"))),
        ("another profile", answer("RTP/AVP", &[&key])),
        ("another profile", answer("RTP/SAVPF", &[&key])),
        ("32 bits", savp(&format!("crypto:{tag} AES_CM_128_HMAC_SHA1_32 inline:{KEY}"))),
        ("broken cipher", savp(&format!("crypto:{tag} NULL_HMAC_SHA1_80 inline:{KEY}"))),
        ("broken cipher", savp(&format!("crypto:{tag} F8_128_HMAC_SHA1_80 inline:{KEY}"))),
        ("switched off", with(" UNENCRYPTED_SRTP")),
        ("switched off", with(" UNENCRYPTED_SRTCP")),
        ("switched off", with(" UNAUTHENTICATED_SRTP")),
        ("only SRTP suites or parameters", with(" KDR=1")),
        ("only SRTP suites or parameters", with("|1:4")),
        ("only SRTP suites or parameters", with("|2^20")),
        ("a key that was not offered", savp(&crypto(tag + 90, KEY))),
        ("a key that was not offered", savp(&crypto(tag - 1, KEY))),
        ("the gateway's own key", savp(&ours)),
        ("exactly one", answer("RTP/SAVP", &[&key, &crypto(tag + 1, OTHER_KEY)])),
        ("DTLS", answer("UDP/TLS/RTP/SAVPF", &[&fingerprint, "setup:active"])),
        ("DTLS", answer("RTP/AVP", &[&fingerprint])),
        ("another profile", answer("RTP/AVP", &[&zrtp])),
        ("refuses the sound", with("").replace("m=audio 7078", "m=audio 0")),
        ("the sections", with("").replace("m=audio", "m=video")),
        ("the sections", with("") + "m=video 9 RTP/AVP 97\r\n"),
        ("no codec", sdp("RTP/SAVP", "9", &[&key])),
        ("no codec", sdp("RTP/SAVP", "111", &[&key, "rtpmap:111 opus/48000/2"])),
        ("cannot be read", "v=1\r\n".to_owned()),
        ("cannot be read", "hello".to_owned()),
    ];
    for (words, text) in cases {
        let mut world = World::new();
        let (dialog, again) = begun(&mut world);
        assert_eq!(again, offer, "the same keys, as the randomness is the same");
        acknowledge(&mut world, dialog, Some(&text));
        assert_eq!(world.wanted(), ["open 1", "leave 1"], "no place in the room: {text}");
        assert!(world.states().is_empty());
        let reason = world.bye(dialog).unwrap_or_else(|| panic!("no BYE for {text}"));
        let said = reason.strip_prefix("SIP;cause=4").and_then(|said| said.strip_suffix('"'));
        assert!(said.is_some_and(|said| said.contains(words)), "{reason} for {text}");
        assert!(!reason.contains(KEY), "no key is repeated");
    }
}

#[test]
fn an_ack_without_an_answer_ends_the_call() {
    let mut world = World::new();
    let (dialog, _) = begun(&mut world);
    acknowledge(&mut world, dialog, None);
    assert_eq!((world.wanted(), world.states()), (vec!["open 1".to_owned(), "leave 1".to_owned()], vec![]));
    assert!(world.bye(dialog).unwrap().starts_with("SIP;cause=488;text=\"the phone acknowledged the gateway's offer"));
}

#[test]
fn an_answer_that_is_no_session_description_is_none() {
    let mut world = World::new();
    let (dialog, offer) = begun(&mut world);
    let body = Body { content_type: "text/plain".to_owned(), bytes: good(&offer).into_bytes() };
    world.phone.ack(world.now, dialog, Some(body));
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["open 1", "leave 1"]);
    assert!(world.bye(dialog).unwrap().contains("without an answer"));
}

#[test]
fn the_room_may_take_its_time_and_a_caller_who_does_not_wait_leaves_it() {
    let mut world = World::new();
    world.room_is_ready = false;
    let (dialog, offer) = begun(&mut world);
    acknowledge(&mut world, dialog, Some(&good(&offer)));
    assert_eq!(world.states(), ["joining"]);
    world.run(3 * SECOND);
    world.room(RoomEvent::Ready { call: CallNumber(1) });
    assert_eq!((world.states(), world.statuses(dialog)), (vec!["talking"], vec![200]), "it was answered before");

    let (dialog, offer) = begun(&mut world);
    acknowledge(&mut world, dialog, Some(&good(&offer)));
    world.wants.clear();
    world.phone.bye(world.now, dialog, None);
    world.run(10 * MS);
    assert_eq!((world.wanted(), world.states()), (vec!["leave 2".to_owned()], vec!["talking"]));
    world.room(RoomEvent::Ready { call: CallNumber(2) });
    assert_eq!(world.states(), ["talking"], "what comes late is nothing");
}

#[test]
fn what_the_group_refuses_the_phone_hears_in_a_bye() {
    let mut world = World::new();
    world.room_is_ready = false;
    let (dialog, offer) = begun(&mut world);
    acknowledge(&mut world, dialog, Some(&good(&offer)));
    world.wants.clear();
    let reason = JoinRefused { sip_status: 403, reason: "the group is \"locked\"".to_owned() };
    world.room(RoomEvent::Refused { call: CallNumber(1), reason });
    world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::Left });
    assert_eq!(world.bye(dialog).as_deref(), Some("SIP;cause=403;text=\"the group is 'locked'\""));
    assert!(world.states().is_empty() && world.wanted().is_empty());
}

#[test]
fn a_call_whose_answer_never_comes_is_ended_and_its_ports_are_closed() {
    let mut world = World::new();
    begun(&mut world);
    world.wants.clear();
    world.run(31 * SECOND);
    assert_eq!((world.states(), world.wanted()), (vec!["answered"], vec![]));
    world.run(2 * SECOND);
    assert_eq!((world.states(), world.wanted()), (vec![], vec!["leave 1".to_owned()]));
    assert_eq!(world.requests("BYE").len(), 1);
}

#[test]
fn a_call_that_ends_before_its_answer_gets_its_bye_after_the_ack() {
    for shut_down in [false, true] {
        let mut world = World::new();
        let (dialog, offer) = begun(&mut world);
        world.wants.clear();
        match shut_down {
            true => world.line.shut_down(world.now),
            false => assert!(world.line.hang_up(world.now, CallNumber(1), "the administrator ended it")),
        }
        world.settle();
        assert!(world.wants.iter().all(|want| !matches!(want, Output::Finished)), "the BYE has to wait for the ACK");
        acknowledge(&mut world, dialog, Some(&good(&offer)));
        assert!(world.bye(dialog).is_some());
        world.run(3 * SECOND);
        let wanted = if shut_down { vec!["leave 1", "finished"] } else { vec!["leave 1"] };
        assert_eq!(world.wanted(), wanted);
    }
}

#[test]
fn a_call_that_began_with_our_offer_can_be_changed_by_either_kind_of_invite() {
    let mut world = World::new();
    let (dialog, offer) = begun(&mut world);
    let tag = tag_of(&offer, "AES_CM_128_HMAC_SHA1_80");
    acknowledge(&mut world, dialog, Some(&good(&offer)));
    world.wants.clear();
    let held = answer("RTP/SAVP", &[&crypto(3, KEY), "sendonly"]);
    let answered = world.again(dialog, Method::INVITE, Some(&held));
    let key = |line: &str| line.split("inline:").nth(1).unwrap().to_owned();
    let first = offer.lines().find(|line| line.starts_with(&format!("a=crypto:{tag} "))).unwrap();
    assert_eq!(key(&line_of(&answered, "crypto")), key(first), "our key is the one that we offered");
    assert_eq!((world.wanted(), world.states()), (vec!["update 1 from=true to=false".to_owned()], vec!["held"]));
    let ours = world.again(dialog, Method::INVITE, None);
    assert_eq!(key(&line_of(&ours, "crypto")), key(first));
    let body = String::from_utf8(ours.body).unwrap();
    assert!(!body.contains("a=rtcp-mux"), "the phone did not multiplex: {body}");
    acknowledge(&mut world, dialog, Some(&answer("RTP/SAVP", &[&crypto(1, KEY)])));
    assert_eq!((world.wanted(), world.states()), (vec!["update 1 from=true to=true".to_owned()], vec!["talking"]));
}
