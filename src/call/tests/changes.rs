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
    assert_eq!(world.line.report(world.now).calls[0].codec, "opus");
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
    assert_eq!((ours.status, line_of(&ours, "crypto")), (200, key));
    line_of(&ours, "sendrecv");
    assert_eq!(world.states(), ["held"]);
    world.phone.ack(world.now, dialog, Some(Body::sdp(&with("sendrecv", KEY))));
    world.run(10 * MS);
    assert_eq!(world.wanted(), ["update 1 from=true to=true"]);
    assert_eq!(world.states(), ["talking"]);
}

#[test]
fn an_answer_with_other_or_no_keys_ends_the_call() {
    for answer in [with("sendrecv", OTHER_KEY), sdp("RTP/AVP", "96", &[]), "v=0\r\nbroken".to_owned()] {
        let (mut world, dialog) = World::talking();
        world.again(dialog, Method::INVITE, None);
        world.phone.ack(world.now, dialog, Some(Body::sdp(&answer)));
        world.run(10 * MS);
        assert_eq!(world.wanted(), ["leave 1"], "{answer}");
        assert!(world.bye(dialog).is_some());
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
