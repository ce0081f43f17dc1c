//! Calls that are not taken: the phone hears why, and nothing was opened.

use super::*;

/// Refused with this status and a reason for people, before anything was opened.
fn assert_refused(world: &mut World, dialog: DialogId, status: u16, what: &str) {
    assert_eq!(world.statuses(dialog), [status], "{what}");
    let response = world.responses(dialog).pop().unwrap();
    let warning = response.headers.get("Warning").unwrap_or_else(|| panic!("{what}: no Warning"));
    let text = warning.strip_prefix("399 galene-sips \"").and_then(|text| text.strip_suffix('"'));
    assert!(text.is_some_and(|text| text.len() > 20 && !text.contains('"')), "{what}: {warning}");
    assert!(!warning.contains(KEY), "{what}: no key is repeated");
    assert!(world.wanted().is_empty() && world.states().is_empty(), "{what}: nothing was opened");
    assert!(response.body.is_empty(), "{what}");
}

#[test]
fn every_offer_that_is_not_safe_is_refused_with_488() {
    let key = crypto(1, KEY);
    let fingerprint = format!("fingerprint:sha-256 {}", ["AB"; 32].join(":"));
    let zrtp = format!("zrtp-hash:2.00 {}", "ab".repeat(32));
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    let cases = [
        ("clear", sdp("RTP/AVP", "96 0", &[])),
        ("clear with feedback", sdp("RTP/AVPF", "96 0", &[])),
        ("SRTP without a key", sdp("RTP/SAVP", "96 0", &[])),
        ("a key that cannot be read", sdp("RTP/SAVP", "96 0", &["crypto:1 AES_CM_128_HMAC_SHA1_80 inline:????"])),
        ("a key that is too short", sdp("RTP/SAVP", "96 0", &["crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA"])),
        ("a tag of 32 bits", sdp("RTP/SAVP", "96 0", &[&short])),
        ("no cipher", sdp("RTP/SAVP", "96 0", &[&format!("crypto:1 NULL_HMAC_SHA1_80 inline:{KEY}")])),
        ("F8", sdp("RTP/SAVP", "96 0", &[&format!("crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}")])),
        ("no encryption", sdp("RTP/SAVP", "96 0", &[&format!("{key} UNENCRYPTED_SRTP")])),
        ("no encryption of RTCP", sdp("RTP/SAVP", "96 0", &[&format!("{key} UNENCRYPTED_SRTCP")])),
        ("no authentication", sdp("RTP/SAVP", "96 0", &[&format!("{key} UNAUTHENTICATED_SRTP")])),
        ("an unknown suite", sdp("RTP/SAVP", "96 0", &[&format!("crypto:1 ROT13 inline:{KEY}")])),
        ("a master key index", sdp("RTP/SAVP", "96 0", &[&format!("{key}|2^20|1:4")])),
        ("ZRTP of another version", sdp("RTP/AVP", "96 0", &[&zrtp])),
        ("DTLS", sdp("UDP/TLS/RTP/SAVPF", "96 0", &[&fingerprint, "setup:actpass"])),
        ("DTLS the old way", sdp("RTP/AVP", "96 0", &[&fingerprint])),
        ("no codec of ours", sdp("RTP/SAVP", "9 18", &[&key])),
        ("no sound", offer().replace("m=audio", "m=video")),
        ("sound that is switched off", offer().replace("m=audio 7078", "m=audio 0")),
        ("fax", offer().replace("RTP/SAVP", "udptl")),
    ];
    for (what, text) in cases {
        let mut world = World::new();
        let dialog = world.call(&text);
        assert_refused(&mut world, dialog, 488, what);
    }
}

#[test]
fn clear_and_dtls_of_real_phones_are_refused() {
    for name in ["plain-clear", "app-dtls-ice-avpf-mux", "baresip-dtls"] {
        let mut world = World::new();
        let text = std::fs::read_to_string(format!("tests/data/sdp/{name}.sdp")).unwrap();
        let dialog = world.call(&text);
        assert_refused(&mut world, dialog, 488, name);
    }
}

#[test]
fn a_description_that_cannot_be_read_is_refused_with_400() {
    let not_text = Body { content_type: "application/sdp".to_owned(), bytes: vec![b'v', b'=', 0xff, 0xfe] };
    for body in [Body::sdp("v=1\r\n"), Body::sdp("hello"), Body::sdp("v=0\r\nm=audio x RTP/SAVP 0\r\n"), not_text] {
        let mut world = World::new();
        let what = String::from_utf8_lossy(&body.bytes).into_owned();
        let dialog = world.call_with(Some(body));
        assert_refused(&mut world, dialog, 400, &what);
    }
}

#[test]
fn a_body_of_another_kind_is_refused() {
    let mut world = World::new();
    let body = Body { content_type: "text/plain".to_owned(), bytes: offer().into_bytes() };
    let dialog = world.call_with(Some(body));
    assert_eq!(world.statuses(dialog), [415]);
    assert!(world.wanted().is_empty());
}

#[test]
fn who_tries_again_in_clear_is_refused_again() {
    let mut world = World::new();
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    for text in [sdp("RTP/SAVP", "96", &[&short]), sdp("RTP/AVP", "96", &[]), sdp("RTP/AVP", "96", &[])] {
        let dialog = world.call(&text);
        assert_refused(&mut world, dialog, 488, &text);
        world.events.clear();
    }
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [180, 200], "a safe one is taken");
}

#[test]
fn the_safe_line_of_a_mixed_offer_is_taken() {
    let mut world = World::new();
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{OTHER_KEY}");
    let dialog = world.call(&sdp("RTP/SAVP", "96", &[&short, &crypto(2, KEY)]));
    let answer = world.responses(dialog).pop().unwrap();
    assert!(line_of(&answer, "crypto").starts_with(":2 AES_CM_128_HMAC_SHA1_80"));
}

#[test]
fn more_calls_than_fit_are_busy() {
    let mut world = World::with_most_calls(2);
    let first = world.call(&offer());
    world.call(&offer());
    let third = world.call(&offer());
    assert_eq!(world.statuses(third), [486]);
    assert!(world.responses(third)[0].headers.get("Retry-After").is_some());
    world.phone.bye(world.now, first, None);
    world.run(10 * MS);
    let fourth = world.call(&offer());
    assert_eq!(world.statuses(fourth), [180, 200], "one has gone");
}

#[test]
fn without_ports_a_call_is_put_off() {
    let mut world = World::new();
    world.ports_open = false;
    let dialog = world.call(&offer());
    world.line.ports_failed(world.now, CallNumber(1), "all ports are in use");
    world.settle();
    assert_eq!(world.statuses(dialog), [503]);
    assert!(world.states().is_empty());
}

#[test]
fn what_the_group_refuses_the_phone_hears_with_the_group_s_status() {
    for status in [480, 486, 403] {
        let mut world = World::new();
        world.room_is_ready = false;
        let dialog = world.call(&offer());
        let reason =
            JoinRefused { sip_status: status, reason: "the group refuses the caller: \"locked\"\r\n".to_owned() };
        world.room(RoomEvent::Refused { call: CallNumber(1), reason });
        world.room(RoomEvent::Ended { call: CallNumber(1), reason: EndReason::Left });
        assert_eq!(world.statuses(dialog), [180, status]);
        let response = world.responses(dialog).pop().unwrap();
        let warning = response.headers.get("Warning");
        assert_eq!(warning, Some("399 galene-sips \"the group refuses the caller: 'locked'\""));
        assert!(world.states().is_empty());
    }
}

#[test]
fn a_panic_while_reading_an_invite_refuses_that_call_alone() {
    let mut world = World::new();
    let first = world.call(&offer());
    world.mine.store(true, Ordering::Relaxed);
    let second = world.call(&offer());
    assert_eq!((world.statuses(first), world.statuses(second)), (vec![180, 200], vec![500]));
    assert_eq!(world.states(), ["talking"]);
    let third = world.call(&offer());
    assert_eq!(world.statuses(third), [180, 200]);
}

#[test]
fn a_provider_without_a_login_that_is_supported_is_named_by_its_rule() {
    for (challenge, words) in [("Basic realm=\"x\"", "(Basic)"), ("Digest realm=x, nonce=n, algorithm=y", "no login")] {
        let mut world = World::new();
        world.registrar_answers = false;
        world.disconnect();
        world.sent.clear();
        world.connect();
        let register = world.requests("REGISTER").pop().unwrap().clone();
        let mut response = Response::to(&register, 401, "Unauthorized");
        response.headers.push("WWW-Authenticate", challenge.to_owned());
        world.line.handle_bytes(world.now, &response.to_bytes());
        world.settle();
        let shown = world.line.report(world.now).registration;
        assert!(shown.contains(words), "{challenge}: {shown}");
        assert_eq!(world.requests("REGISTER").len(), 1, "no password goes out");
    }
}
