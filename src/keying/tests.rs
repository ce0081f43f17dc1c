//! Two ends agree on keys and speak; everything that must not become a key is tried.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use super::*;
use crate::policy::{
    Current, MayAnswer, MediaLevel, OfferFacts, OfferedKeying, Refusal, Rule, Rules, SignallingLevel, SuiteStrength,
    judge,
};
use crate::sdp::{AudioOffer, CryptoAttribute, Local, Offer, OurKeying, OurOffer, SessionDescription};
use crate::srtp::{RtpOut, Sealed};
use crate::units::{CallNumber, Random, Ssrc};

const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

/// Counts up, so that no two keys are alike.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        self.0 += 1;
        out.fill(self.0);
    }
}

fn rules() -> Rules {
    Rules::strict("alice@sip.example.org")
}

fn audio_under(profile: &str, lines: &[&str]) -> AudioOffer {
    let lines: String = lines.iter().map(|line| format!("a={line}\n")).collect();
    let text = format!("v=0\no=a 1 1 IN IP4 192.0.2.1\nc=IN IP4 192.0.2.1\nm=audio 5000 {profile} 0\n{lines}");
    Offer::read(&SessionDescription::parse(&text).unwrap()).unwrap().audio
}

fn audio(lines: &[&str]) -> AudioOffer {
    audio_under("RTP/SAVP", lines)
}

fn proof_for(audio: &AudioOffer, rules: &Rules, current: Option<Current>) -> Result<MayAnswer, Refusal> {
    let (call, signalling) = (CallNumber(1), SignallingLevel::Verified);
    judge(rules, &OfferFacts { call, signalling, keying: offered(audio), current, others: None }).allowed()
}

/// Any proof: what a bug between the two questions to policy would bring along.
fn some_proof() -> MayAnswer {
    proof_for(&audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]), &rules(), None).unwrap()
}

fn of(sdes: &Sdes) -> Current {
    Current { level: MediaLevel::Srtp, suite: sdes.strength() }
}

fn answer(previous: Option<&Sdes>, audio: &AudioOffer, random: &mut Counting) -> Agreed {
    let current = previous.map(of);
    Sdes::answer(previous, audio, proof_for(audio, &rules(), current).unwrap(), &rules(), random).unwrap()
}

fn chosen(lines: &[&str], rules: &Rules) -> Result<(u32, Suite), KeyingError> {
    let audio = audio(lines);
    let agreed = Sdes::answer(None, &audio, some_proof(), rules, &mut Counting(0))?;
    Ok((agreed.sdes.ours().tag, agreed.sdes.suite()))
}

fn say(keys: &mut Keys, sequence: u16) -> Sealed {
    let packet =
        RtpOut { payload_type: 0, marker: false, sequence, timestamp: 0, ssrc: Ssrc(0x0102_0304), payload: b"hello" };
    keys.protector.rtp(&packet).unwrap()
}

fn hears(keys: &mut Keys, packet: &Sealed) -> bool {
    let mut bytes = packet.as_bytes().to_vec();
    keys.unprotector.rtp(&mut bytes).is_ok_and(|packet| packet.payload == b"hello")
}

#[test]
fn both_ends_hear_each_other_under_every_suite() {
    let rules = Rules { short_tags: true, ..rules() };
    for suite in Suite::ALL {
        let mut random = Counting(0);
        let ours = offer(&[suite], &mut random);
        let line = format!("crypto:{}", ours[0].to_value());
        let offer_audio = audio(&[&line]);
        let proof = proof_for(&offer_audio, &rules, None).unwrap();
        let callee = Sdes::answer(None, &offer_audio, proof, &rules, &mut random).unwrap();
        let answer_audio = audio(&[&format!("crypto:{}", callee.sdes.ours().to_value())]);
        let proof = proof_for(&answer_audio, &rules, None).unwrap();
        let caller = Sdes::accept(None, &ours, &answer_audio, proof, &rules).unwrap();
        let (mut caller, mut callee) = (caller.keys.unwrap(), callee.keys.unwrap());
        assert_eq!((caller.suite, caller.level), (suite, MediaLevel::Srtp));
        let (to_callee, to_caller) = (say(&mut caller, 1), say(&mut callee, 1));
        assert_ne!(to_callee.as_bytes(), to_caller.as_bytes(), "each direction has its own key");
        assert!(hears(&mut callee, &to_callee) && hears(&mut caller, &to_caller));
    }
}

#[test]
fn the_offerer_s_order_decides_among_what_is_acceptable() {
    let cm256 =
        "crypto:3 AES_256_CM_HMAC_SHA1_80 inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdA==";
    let cm128 = format!("crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let short = format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    let strict = rules();
    let short_tags = Rules { short_tags: true, ..rules() };
    assert_eq!(chosen(&[&cm128, cm256], &strict).unwrap(), (2, Suite::AesCm128HmacSha1_80));
    assert_eq!(chosen(&[cm256, &cm128], &strict).unwrap(), (3, Suite::Aes256CmHmacSha1_80));
    assert_eq!(chosen(&[&short, &cm128], &strict).unwrap(), (2, Suite::AesCm128HmacSha1_80));
    assert_eq!(chosen(&[&short, &cm128], &short_tags).unwrap(), (1, Suite::AesCm128HmacSha1_32));
}

#[test]
fn a_line_that_weakens_or_is_not_understood_is_passed_over_and_alone_refused() {
    let good = format!("crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let cases = [
        ("NULL_HMAC_SHA1_80", "", Rule::SuiteForbidden),
        ("AES_CM_128_NULL_AUTH", "", Rule::SuiteForbidden),
        ("F8_128_HMAC_SHA1_80", "", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " UNENCRYPTED_SRTP", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " UNENCRYPTED_SRTCP", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " UNAUTHENTICATED_SRTP", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " WSH=128 unauthenticated_srtp", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " -UNENCRYPTED_SRTP", Rule::SuiteForbidden),
        ("AES_CM_128_HMAC_SHA1_80", " KDR=1", Rule::SuiteUnknown),
        ("AES_CM_128_HMAC_SHA1_80", " FEC_ORDER=FEC_SRTP", Rule::SuiteUnknown),
        ("AES_CM_128_HMAC_SHA1_80", " FUTURE", Rule::SuiteUnknown),
        ("AES_CM_128_HMAC_SHA1_80", "|1:4", Rule::SuiteUnknown),
        ("AES_CM_128_HMAC_SHA1_80", "|2^20", Rule::SuiteUnknown),
        ("AES_CM_128_HMAC_SHA1_80", "|2^49", Rule::SuiteUnknown),
        ("AES_192_CM_HMAC_SHA1_80", "", Rule::SuiteUnknown),
        ("AES_256_CM_HMAC_SHA1_80", "", Rule::SuiteUnknown), // with a key that is too short
        ("AES_CM_128_HMAC_SHA1_32", "", Rule::SuiteShortTag),
    ];
    for (suite, rest, rule) in cases {
        let line = format!("crypto:1 {suite} inline:{KEY}{rest}");
        assert_eq!(chosen(&[&line, &good], &rules()).unwrap().0, 9, "{suite}{rest}");
        let audio = audio(&[&line]);
        assert_eq!(proof_for(&audio, &rules(), None).unwrap_err().rule, rule, "{suite}{rest}: the offer");
        let refused = Sdes::answer(None, &audio, some_proof(), &rules(), &mut Counting(0));
        assert!(
            matches!(refused, Err(KeyingError::Refused(refusal)) if refusal.rule == rule),
            "{suite}{rest}: the keys"
        );
    }
}

#[test]
fn harmless_parameters_are_accepted() {
    for rest in [" WSH=1024", " -FUTURE=1", "|2^31", "|2^48", "|281474976710656"] {
        let line = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}");
        assert_eq!(chosen(&[&line], &rules()).unwrap().0, 1, "{rest}");
    }
}

#[test]
fn what_is_offered_becomes_the_right_fact() {
    let crypto = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let null = format!("crypto:2 NULL_HMAC_SHA1_80 inline:{KEY}");
    let hash = format!("zrtp-hash:1.10 {}", "ab".repeat(32));
    let fingerprint = "fingerprint:SHA-256 00:01";
    let full = SuiteStrength::Full;
    let cases: [(&str, &[&str], OfferedKeying); 14] = [
        ("RTP/AVP", &[], OfferedKeying::Clear),
        ("RTP/AVPF", &[], OfferedKeying::Clear),
        ("RTP/AVP", &[&hash], OfferedKeying::Zrtp),
        ("RTP/AVP", &[fingerprint], OfferedKeying::Dtls),
        ("RTP/AVP", &[&crypto], OfferedKeying::SdesUnderAvp(full)),
        ("RTP/AVPF", &[&crypto, &hash], OfferedKeying::Zrtp),
        ("RTP/SAVP", &[&crypto, &hash], OfferedKeying::Sdes(full)),
        ("RTP/AVP", &["crypto:1 unreadable"], OfferedKeying::SdesUnderAvp(SuiteStrength::Unknown)),
        ("RTP/SAVP", &[&null, &crypto], OfferedKeying::Sdes(full)),
        ("RTP/SAVPF", &[&null], OfferedKeying::Sdes(SuiteStrength::Forbidden)),
        ("RTP/SAVP", &[], OfferedKeying::SavpWithoutKey),
        ("RTP/SAVP", &[&hash, fingerprint], OfferedKeying::SavpWithoutKey),
        ("UDP/TLS/RTP/SAVP", &[fingerprint], OfferedKeying::Dtls),
        ("UDP/TLS/RTP/SAVPF", &[fingerprint, &crypto], OfferedKeying::Dtls),
    ];
    for (profile, lines, keying) in cases {
        assert_eq!(offered(&audio_under(profile, lines)), keying, "{profile} {lines:?}");
    }
}

#[test]
fn the_same_keys_offered_again_keep_their_contexts_and_ours() {
    let mut random = Counting(0);
    let line = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let first = answer(None, &audio(&[&line]), &mut random);
    // under another tag, behind a line that would otherwise come first
    let other =
        "crypto:1 AES_256_CM_HMAC_SHA1_80 inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdA==";
    let again = audio(&[other, &format!("crypto:5 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]);
    let second = answer(Some(&first.sdes), &again, &mut random);
    assert!(first.keys.is_some() && second.keys.is_none());
    assert_eq!(second.sdes.ours().tag, 5);
    assert!(second.sdes.ours().key.equals(first.sdes.ours().key.expose()), "our key stays as well");
}

#[test]
fn a_new_key_in_the_dialog_gets_new_contexts_both_ways() {
    let mut random = Counting(0);
    let first = answer(None, &audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]), &mut random);
    let renewed = format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:A{}", &KEY[1..]);
    let second = answer(Some(&first.sdes), &audio(&[&renewed]), &mut random);
    let (mut old, mut new) = (first.keys.unwrap(), second.keys.unwrap());
    assert!(!second.sdes.ours().key.equals(first.sdes.ours().key.expose()));
    assert_ne!(say(&mut old, 1).as_bytes(), say(&mut new, 1).as_bytes());
}

#[test]
fn a_weaker_offer_in_the_dialog_is_refused_and_changes_nothing() {
    let mut random = Counting(0);
    let first = answer(None, &audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]), &mut random);
    let weaker = audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP")]);
    assert_eq!(proof_for(&weaker, &rules(), Some(of(&first.sdes))).unwrap_err().rule, Rule::SuiteForbidden);
    let refused = Sdes::answer(Some(&first.sdes), &weaker, some_proof(), &rules(), &mut random);
    assert!(matches!(refused, Err(KeyingError::Refused(_))), "even with the same key");
}

#[test]
fn an_answer_must_take_an_offered_line_and_bring_a_key_of_its_own() {
    let ours = offer(&[Suite::AeadAes128Gcm, Suite::AesCm128HmacSha1_80], &mut Counting(0));
    let accept =
        |line: &str| Sdes::accept(None, &ours, &audio(&[line]), some_proof(), &rules()).map(|agreed| agreed.sdes);
    let good = accept(&format!("crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).unwrap();
    assert_eq!(good.suite(), Suite::AesCm128HmacSha1_80);
    assert!(good.ours().key.equals(ours[1].key.expose()));
    let other_tag = accept(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
    assert!(matches!(other_tag, Err(KeyingError::NotOffered)));
    let reflected = accept(&format!("crypto:{}", ours[1].to_value()));
    assert!(matches!(reflected, Err(KeyingError::Reflected)));
    let weakened = accept(&format!("crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP"));
    assert!(matches!(weakened, Err(KeyingError::Refused(_))));
    let nothing = Sdes::accept(None, &ours, &audio(&[]), some_proof(), &rules());
    assert!(matches!(nothing, Err(KeyingError::NoKey)));
}

#[test]
fn our_own_offer_repeated_keeps_the_contexts() {
    let ours = offer(&[Suite::AesCm128HmacSha1_80], &mut Counting(0));
    let theirs = audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]);
    let first = Sdes::accept(None, &ours, &theirs, some_proof(), &rules()).unwrap();
    let repeated = [CryptoAttribute::new(1, first.sdes.suite().as_str(), first.sdes.ours().key.duplicate())];
    let second = Sdes::accept(Some(&first.sdes), &repeated, &theirs, some_proof(), &rules()).unwrap();
    assert!(first.keys.is_some() && second.keys.is_none());
    let renewed = offer(&[Suite::AesCm128HmacSha1_80], &mut Counting(100));
    let third = Sdes::accept(Some(&first.sdes), &renewed, &theirs, some_proof(), &rules()).unwrap();
    assert!(third.keys.is_some(), "our key changed");
}

fn our_offer(
    previous: Option<&Sdes>,
    signalling: SignallingLevel,
    rules: &Rules,
) -> Result<Vec<CryptoAttribute>, Refusal> {
    Sdes::offer(previous, CallNumber(1), signalling, previous.map(of), rules, &mut Counting(0))
}

#[test]
fn we_offer_a_key_for_each_suite_that_policy_allows_and_no_other() {
    let suites = |lines: &[CryptoAttribute]| lines.iter().map(|line| line.suite.clone()).collect::<Vec<_>>();
    let verified = SignallingLevel::Verified;
    let strict = our_offer(None, verified, &rules()).unwrap();
    assert_eq!(
        suites(&strict),
        ["AEAD_AES_256_GCM", "AEAD_AES_128_GCM", "AES_256_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"]
    );
    let short_tags = Rules { short_tags: true, ..rules() };
    let all = our_offer(None, verified, &short_tags).unwrap();
    assert_eq!(suites(&all), Suite::ALL.map(Suite::as_str));
    for (number, line) in all.iter().enumerate() {
        assert_eq!(line.tag as usize, number + 1);
        assert!(
            all[..number].iter().all(|other| other.key.expose()[..4] != line.key.expose()[..4]),
            "a key of its own"
        );
    }
    for signalling in [SignallingLevel::Clear, SignallingLevel::Unverified] {
        let refusal = our_offer(None, signalling, &short_tags).unwrap_err();
        assert_eq!(refusal.rule, Rule::KeysOverUnverifiedSignalling, "no key of ours goes out over {signalling:?}");
    }
    assert_eq!(our_offer(None, SignallingLevel::Pinned, &rules()).unwrap_err().rule, Rule::SignallingLevel);
    let zrtp = Rules { media_minimum: MediaLevel::Zrtp, ..rules() };
    assert_eq!(our_offer(None, verified, &zrtp).unwrap_err().rule, Rule::MediaMinimum);
}

#[test]
fn a_later_offer_keeps_our_key_and_nothing_weaker_is_in_it() {
    let short_tags = Rules { short_tags: true, ..rules() };
    let mut random = Counting(50);
    let line = format!("crypto:7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
    let full = answer(None, &audio(&[&line]), &mut random);
    let again = our_offer(Some(&full.sdes), SignallingLevel::Verified, &short_tags).unwrap();
    assert_eq!((again[0].tag, again[0].suite.as_str(), again.len()), (1, "AES_CM_128_HMAC_SHA1_80", 4));
    assert!(again[0].key.equals(full.sdes.ours().key.expose()), "our key goes on");
    assert!(again[1..].iter().all(|line| line.key.expose()[..4] != full.sdes.ours().key.expose()[..4]));

    // the same key of theirs: the contexts go on; another: new ones on both sides; another suite: new keys as well
    let current = Some(of(&full.sdes));
    let accept = |line: &str| {
        let audio = audio(&[line]);
        let proof = proof_for(&audio, &short_tags, current).unwrap();
        Sdes::accept(Some(&full.sdes), &again, &audio, proof, &short_tags).unwrap()
    };
    assert!(accept(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")).keys.is_none());
    let transferred = accept(&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:A{}", &KEY[1..]));
    assert!(transferred.keys.is_some());
    let stronger = accept(&format!("crypto:2 AEAD_AES_256_GCM inline:{}", "A".repeat(59) + "="));
    assert_eq!(stronger.sdes.suite(), Suite::AeadAes256Gcm);
    assert!(stronger.sdes.ours().key.equals(again[1].key.expose()));
    let weaker = audio(&[&format!("crypto:5 AES_CM_128_HMAC_SHA1_32 inline:{KEY}")]);
    assert_eq!(proof_for(&weaker, &short_tags, current).unwrap_err().rule, Rule::MediaNeverFalls);
}

#[test]
fn an_offer_of_ours_passes_through_text_to_a_phone_and_back() {
    let mut random = Counting(0);
    let local = Local { rtp: "192.0.2.9:40000".parse().unwrap(), rtcp: 40001, session_id: 1, version: 1 };
    let ours = OurOffer::first(
        OurKeying::Sdes(offer(&[Suite::AeadAes256Gcm, Suite::AesCm128HmacSha1_80], &mut random)),
        local,
    );
    let offer = Offer::read(&SessionDescription::parse(&ours.description().to_string()).unwrap()).unwrap();
    let agreed = answer(None, &offer.audio, &mut random);
    assert_eq!(agreed.sdes.suite(), Suite::AeadAes256Gcm);
    assert!(!format!("{:?}", agreed.sdes).contains("[3, 3"), "keys are hidden");
}

#[test]
fn a_key_over_unverified_signalling_is_refused() {
    let audio = audio(&[&format!("crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}")]);
    let facts = OfferFacts {
        call: CallNumber(1),
        signalling: SignallingLevel::Unverified,
        keying: offered(&audio),
        current: None,
        others: None,
    };
    let refusal = judge(&rules(), &facts).allowed().unwrap_err();
    assert_eq!(refusal.rule, Rule::KeysOverUnverifiedSignalling);
}
