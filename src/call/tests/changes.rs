//! Re-INVITE and UPDATE.

use super::*;

fn with(direction: &str, key: &str) -> String {
    sdp("RTP/SAVP", "96 0 101", &[&crypto(1, key), direction])
}

fn first_key(world: &World, dialog: DialogId) -> String {
    line_of(world.responses(dialog).last().unwrap(), "crypto")
}

#[test]
fn hold_and_resume_keep_the_keys() {
    for method in [Method::INVITE, Method::UPDATE] {
        let mut world = World::new();
        let dialog = world.call(&offer());
        let key = first_key(&world, dialog);
        world.wants.clear();
        let turns = [
            ("sendonly", "recvonly", "update 1 from=true to=false", "held"),
            ("sendrecv", "sendrecv", "update 1 from=true to=true", "talking"),
            ("inactive", "inactive", "update 1 from=false to=false", "held"),
            ("sendrecv", "sendrecv", "update 1 from=true to=true", "talking"),
        ];
        for (theirs, ours, wanted, state) in turns {
            let answer = world.again(dialog, method.clone(), Some(&with(theirs, KEY)));
            assert_eq!(answer.status, 200);
            assert_eq!(line_of(&answer, "crypto"), key, "the same key of ours for the same key of theirs");
            line_of(&answer, ours);
            assert_eq!(world.wanted(), [wanted], "no new contexts");
            assert_eq!(world.states(), [state]);
        }
        let versions: Vec<String> = world
            .responses(dialog)
            .iter()
            .filter(|response| !response.body.is_empty())
            .map(|response| String::from_utf8(response.body.clone()).unwrap().lines().nth(1).unwrap().to_owned())
            .collect();
        let number = |line: &String| line.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        assert!(versions.windows(2).all(|pair| number(&pair[1]) == number(&pair[0]) + 1), "{versions:?}");
    }
}

#[test]
fn the_old_way_to_hold_is_understood() {
    let (mut world, dialog) = World::talking();
    let text = offer().replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0");
    assert_eq!(world.again(dialog, Method::INVITE, Some(&text)).status, 200);
    assert_eq!(world.wanted(), ["update 1 from=true to=false"]);
}

#[test]
fn new_keys_are_taken_by_both_sides() {
    let (mut world, dialog) = World::talking();
    let before = world.again(dialog, Method::INVITE, Some(&offer()));
    world.wants.clear();
    let answer = world.again(dialog, Method::INVITE, Some(&with("sendrecv", OTHER_KEY)));
    assert_eq!(answer.status, 200);
    assert_ne!(line_of(&answer, "crypto"), line_of(&before, "crypto"), "a new key of ours too");
    assert_eq!(world.wanted(), ["rekey 1", "update 1 from=true to=true"]);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&with("sendrecv", OTHER_KEY))).status, 200);
    assert_eq!(world.wanted(), ["update 1 from=true to=true"], "and they stay");
}

#[test]
fn a_weaker_offer_is_refused_and_the_call_goes_on_as_it_was() {
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    let offers = [
        sdp("RTP/AVP", "96 0", &[]),
        sdp("RTP/SAVP", "96 0", &[]),
        sdp("RTP/SAVP", "96 0", &[&short]),
        sdp("RTP/SAVP", "96 0", &[&format!("{} UNENCRYPTED_SRTP", crypto(1, KEY))]),
        sdp("RTP/AVP", "96 0", &["zrtp-hash:1.10 abab"]),
        "v=0\r\nbroken".to_owned(),
    ];
    for method in [Method::INVITE, Method::UPDATE] {
        let (mut world, dialog) = World::talking();
        let before = world.again(dialog, Method::INVITE, Some(&offer()));
        world.wants.clear();
        for text in &offers {
            let refused = world.again(dialog, method.clone(), Some(text));
            assert!(matches!(refused.status, 488 | 400), "{} for {text}", refused.status);
            assert!(refused.headers.get("Warning").is_some());
            assert!(world.wanted().is_empty());
            assert_eq!(world.states(), ["talking"]);
        }
        let after = world.again(dialog, Method::INVITE, Some(&offer()));
        assert_eq!(line_of(&after, "crypto"), line_of(&before, "crypto"), "the keys are still the old ones");
        assert_eq!(world.wanted(), ["update 1 from=true to=true"]);
        assert_eq!(world.bye(dialog), None);
    }
}

#[test]
fn the_codec_stays_while_it_is_offered_and_is_not_changed_otherwise() {
    let (mut world, dialog) = World::talking();
    let answer = world.again(dialog, Method::INVITE, Some(&sdp("RTP/SAVP", "0 96", &[&crypto(1, KEY)])));
    let body = String::from_utf8(answer.body).unwrap();
    assert!(body.contains("RTP/SAVP 96\r\n"), "{body}");
    world.wants.clear();
    let refused = world.again(dialog, Method::INVITE, Some(&sdp("RTP/SAVP", "0", &[&crypto(1, KEY)])));
    assert_eq!(refused.status, 488);
    let refused = world.again(dialog, Method::INVITE, Some(&sdp("RTP/SAVP", "0", &[&crypto(1, OTHER_KEY)])));
    assert_eq!(refused.status, 488);
    assert!(world.wanted().is_empty());
    assert_eq!(world.line.report(world.now).calls[0].sound.unwrap().codec, "opus");
    let answer = world.again(dialog, Method::INVITE, Some(&offer()));
    assert_eq!((answer.status, world.wanted()), (200, vec!["update 1 from=true to=true".to_owned()]));
}

#[test]
fn a_new_address_is_passed_on() {
    let (mut world, dialog) = World::talking();
    world.again(dialog, Method::INVITE, Some(&offer().replace("198.51.100.7", "203.0.113.5").replace("7078", "9000")));
    let [Output::Update(_, _, remote)] = &world.wants[..] else { panic!() };
    assert_eq!(remote.rtp, Some(SocketAddr::from(([203, 0, 113, 5], 9000))));
}

#[test]
fn a_refresh_without_an_offer_changes_nothing() {
    let (mut world, dialog) = World::talking();
    let answer = world.again(dialog, Method::UPDATE, None);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert!(world.wanted().is_empty());
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_its_answer_counts() {
    let mut world = World::new();
    let dialog = world.call(&offer());
    let key = first_key(&world, dialog);
    world.again(dialog, Method::INVITE, Some(&with("sendonly", KEY)));
    world.wants.clear();
    let ours = world.again(dialog, Method::INVITE, None);
    assert_eq!((ours.status, line_of(&ours, "crypto")), (200, key), "our key goes on (RFC 4568 §7.1.4)");
    line_of(&ours, "sendrecv");
    let body = String::from_utf8(ours.body.clone()).unwrap();
    assert!(body.contains(" RTP/SAVP 96 101\r\n"), "the codec in use under its number: {body}");
    assert_eq!(body.matches("a=crypto:").count(), 4, "nothing with short tags: {body}");
    assert_eq!(world.states(), ["held"]);
    world.phone.ack(world.now, dialog, Some(Body::sdp(&with("sendrecv", KEY))));
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["update 1 from=true to=true"], "the old contexts go on");
    assert_eq!(world.states(), ["talking"]);
}

#[test]
fn an_answer_of_another_phone_or_with_another_suite_gets_new_contexts() {
    let gcm = format!("crypto:2 AEAD_AES_256_GCM inline:{}=", "A".repeat(59));
    let cases = [
        (with("sendrecv", OTHER_KEY), "AES_CM_128_HMAC_SHA1_80"),
        (sdp("RTP/SAVP", "96", &[&gcm]), "AEAD_AES_256_GCM"),
    ];
    for (answer, suite) in cases {
        let (mut world, dialog) = World::talking();
        world.again(dialog, Method::INVITE, None);
        world.phone.ack(world.now, dialog, Some(Body::sdp(&answer)));
        world.run(10 * MS);
        assert_eq!(world.wanted(), ["rekey 1", "update 1 from=true to=true"], "{answer}");
        assert_eq!(world.line.report(world.now).calls[0].sound.unwrap().suite, suite);
    }
}

#[test]
fn an_acknowledgement_without_an_answer_leaves_the_call_as_it_was() {
    let (mut world, dialog) = World::talking();
    world.again(dialog, Method::INVITE, None);
    world.phone.ack(world.now, dialog, None);
    world.run(10 * MS);
    assert_eq!((world.wanted(), world.states()), (vec![], vec!["talking"]));
    let again = world.again(dialog, Method::INVITE, Some(&offer()));
    assert_eq!((again.status, world.bye(dialog)), (200, None));
}

#[test]
fn an_answer_that_weakens_the_call_ends_it() {
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    let answers = [
        ("clear", sdp("RTP/AVP", "96", &[])),
        ("does not have the sections", sdp("RTP/SAVP", "96", &[&crypto(1, KEY)]) + "m=audio 9 RTP/SAVP 96\r\n"),
        ("32 bits", sdp("RTP/SAVP", "96", &[&short])),
        ("switched off", sdp("RTP/SAVP", "96", &[&format!("{} UNENCRYPTED_SRTP", crypto(1, KEY))])),
        ("cannot be read", "v=0\r\nbroken".to_owned()),
    ];
    for (words, answer) in answers {
        let (mut world, dialog) = World::talking();
        world.again(dialog, Method::INVITE, None);
        world.phone.ack(world.now, dialog, Some(Body::sdp(&answer)));
        world.run(10 * MS);
        assert_eq!(world.wanted(), ["leave 1"], "{answer}");
        let reason = world.bye(dialog).unwrap();
        assert!(reason.contains(words), "{reason} for {answer}");
    }
}

#[test]
fn where_short_tags_are_allowed_full_ones_do_not_give_way_to_them() {
    let rules = Rules { short_tags: true, ..Rules::strict("gateway@example.org") };
    let mut world = World::with_rules(rules);
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{OTHER_KEY}");
    let dialog = world.call(&offer());
    world.wants.clear();
    let refused = world.again(dialog, Method::INVITE, Some(&sdp("RTP/SAVP", "96", &[&short])));
    assert_eq!((refused.status, world.wanted(), world.states()), (488, vec![], vec!["talking"]));
    assert!(refused.headers.get("Warning").unwrap().contains("within a call it only rises"));
    let ours = world.again(dialog, Method::INVITE, None);
    assert!(!String::from_utf8(ours.body).unwrap().contains("_32"), "and they are not offered");
}

/// A request of alice's agent that it would not send by itself.
fn in_dialog(world: &World, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    let reply = world.sent.iter().find_map(|message| match message {
        Message::Response(response) if response.status == 180 => Some(response),
        _ => None,
    });
    let headers = &reply.expect("a 180").headers;
    let [from, to, call_id] = ["From", "To", "Call-ID"].map(|name| headers.get(name).unwrap());
    format!(
        "{method} sip:gateway@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS 198.51.100.7;branch=z9hG4bKraw{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
         {extra}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The response to such a request.
fn asked(world: &mut World, request: &str) -> Response {
    world.sent.clear();
    world.passes = Box::new(|_, _| false);
    world.line.handle_bytes(world.now, request.as_bytes());
    world.settle();
    match world.sent.pop() {
        Some(Message::Response(response)) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_early_call_takes_an_update_without_an_offer_and_puts_off_one_with() {
    let mut world = World::new();
    world.room_is_ready = false;
    world.call(&offer());
    let refresh = in_dialog(&world, "UPDATE", 20, "Contact: <sip:alice@198.51.100.7>\r\n", "");
    let sdp = "Contact: <sip:alice@198.51.100.7>\r\nContent-Type: application/sdp\r\n";
    let change = in_dialog(&world, "UPDATE", 21, sdp, &offer());
    world.wants.clear();
    let answered = asked(&mut world, &refresh);
    assert_eq!((answered.status, answered.body.len()), (200, 0));
    let put_off = asked(&mut world, &change);
    assert_eq!(put_off.status, 500);
    assert!(put_off.headers.get("Retry-After").is_some());
    assert_eq!((world.wanted(), world.states()), (vec![], vec!["joining"]));
}

#[test]
fn a_phone_that_keeps_its_session_alive_is_answered_and_nothing_is_promised() {
    // RFC 4028: who supports timers does the refreshing himself where the other side does not (§7.2, §9)
    let (mut world, dialog) = World::talking();
    let mut timer = Headers::new();
    timer.push("Session-Expires", "90;refresher=uac");
    timer.push("Min-SE", "90");
    for (method, body) in [
        (Method::UPDATE, None),
        (Method::UPDATE, Some(Body::sdp(&offer()))),
        (Method::INVITE, Some(Body::sdp(&offer()))),
    ] {
        world.phone.request(world.now, dialog, method.clone(), body, &timer).unwrap();
        world.run(10 * MS);
        let response = world.responses(dialog).pop().unwrap();
        assert_eq!(response.status, 200, "{method}");
        assert_eq!(response.headers.get("Session-Expires"), None, "{method}");
        assert!(!response.headers.lists("Supported", "timer") && response.headers.get("Require").is_none());
    }
    assert_eq!(world.states(), ["talking"]);
}

#[test]
fn what_a_phone_demands_that_we_do_not_do_is_named() {
    for tag in ["timer", "100rel", "nosuchext"] {
        let mut world = World::new();
        let mut require = Headers::new();
        require.push("Require", tag);
        let body = Some(Body::sdp(&offer()));
        let dialog = world.phone.invite(world.now, "sip:gateway@example.org", body, &require).unwrap();
        world.settle();
        assert_eq!(world.statuses(dialog), [420]);
        assert_eq!(world.responses(dialog)[0].headers.get("Unsupported"), Some(tag));
        assert!(world.wanted().is_empty());
        // in a call it is refused as well, and the call goes on
        let (mut world, dialog) = World::talking();
        world.phone.request(world.now, dialog, Method::UPDATE, None, &require).unwrap();
        world.run(10 * MS);
        assert_eq!((world.statuses(dialog), world.states()), (vec![420], vec!["talking"]));
    }
}

#[test]
fn while_the_call_is_joining_it_cannot_be_changed() {
    let mut world = World::new();
    world.room_is_ready = false;
    let dialog = world.call(&offer());
    let update = world.phone.request(world.now, dialog, Method::UPDATE, Some(Body::sdp(&offer())), &Headers::new());
    assert!(update.is_err(), "the phone's agent knows that too");
    assert_eq!(world.states(), ["joining"]);
}

#[test]
fn a_panic_in_a_change_ends_that_call_alone() {
    let (mut world, first) = World::talking();
    let second = world.call(&offer());
    world.wants.clear();
    world.mine.store(true, Ordering::Relaxed);
    assert_eq!(world.again(first, Method::INVITE, Some(&with("sendrecv", OTHER_KEY))).status, 500);
    assert_eq!(world.wanted(), ["leave 1"]);
    assert!(world.bye(first).is_some_and(|reason| reason.contains("defect")));
    assert_eq!((world.bye(second), world.states()), (None, vec!["talking"]));
    let third = world.call(&offer());
    // an offer of ours needs new keys for the suites that are not in use
    world.mine.store(true, Ordering::Relaxed);
    assert_eq!(world.again(second, Method::INVITE, None).status, 500);
    assert!(world.bye(second).is_some_and(|reason| reason.contains("defect")));
    assert_eq!((world.bye(third), world.states()), (None, vec!["talking"]));
}

#[test]
fn digits_are_acknowledged() {
    let (mut world, dialog) = World::talking();
    let info = Body { content_type: "application/dtmf-relay".to_owned(), bytes: b"Signal=5\r\n".to_vec() };
    world.phone.request(world.now, dialog, Method::INFO, Some(info), &Headers::new()).unwrap();
    world.run(10 * MS);
    assert_eq!(world.statuses(dialog), [200]);
    assert!(world.wanted().is_empty());
}
