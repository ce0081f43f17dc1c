//! The whole table of facts, row by row, and the properties that hold over it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod exceptions;

use super::*;
use crate::units::CallNumber;

const SIGNALLING: [SignallingLevel; 4] =
    [SignallingLevel::Clear, SignallingLevel::Unverified, SignallingLevel::Pinned, SignallingLevel::Verified];
const MEDIA: [MediaLevel; 4] = [MediaLevel::Clear, MediaLevel::Srtp, MediaLevel::Zrtp, MediaLevel::ZrtpVerified];
const STRENGTHS: [SuiteStrength; 4] =
    [SuiteStrength::Forbidden, SuiteStrength::Unknown, SuiteStrength::ShortTag, SuiteStrength::Full];

fn every_rules() -> Vec<Rules> {
    let mut all = Vec::new();
    for signalling in SIGNALLING {
        for media_minimum in MEDIA {
            for short_tags in [false, true] {
                for zrtp_hash in [ZrtpHash::Required, ZrtpHash::Optional] {
                    all.push(Rules { signalling, media_minimum, short_tags, zrtp_hash, ..Rules::strict("a@b") });
                }
            }
        }
    }
    all
}

fn every_current() -> Vec<Option<Current>> {
    let pairs = MEDIA.into_iter().flat_map(|level| STRENGTHS.map(|suite| Some(Current { level, suite })));
    [None].into_iter().chain(pairs).collect()
}

fn every_peer() -> Vec<TlsPeer> {
    let mut all = Vec::new();
    for version in [TlsVersion::Older, TlsVersion::Tls12, TlsVersion::Tls13] {
        for chain in [Chain::Invalid, Chain::SelfSigned, Chain::UnknownIssuer, Chain::Trusted] {
            for name in [Name::Wrong, Name::WildcardOnly, Name::Matches] {
                for pin in [Pin::Mismatch, Pin::NotConfigured, Pin::Matches] {
                    for validity in [Validity::Expired, Validity::NotYetValid, Validity::Valid] {
                        all.push(TlsPeer { expected: "b".into(), version, chain, name, pin, validity });
                    }
                }
            }
        }
    }
    all
}

fn every_keying() -> Vec<OfferedKeying> {
    let mut all = vec![OfferedKeying::Clear, OfferedKeying::SavpWithoutKey, OfferedKeying::Dtls, OfferedKeying::Zrtp];
    for strength in STRENGTHS {
        all.push(OfferedKeying::SdesUnderAvp(strength));
        all.push(OfferedKeying::Sdes(strength));
    }
    all
}

fn every_offer() -> Vec<OfferFacts> {
    let mut all = Vec::new();
    for signalling in SIGNALLING {
        for keying in every_keying() {
            for current in every_current() {
                all.push(OfferFacts { call: CallNumber(7), signalling, keying, current, others: None });
            }
        }
    }
    all
}

const OUTCOMES: [ZrtpOutcome; 4] =
    [ZrtpOutcome::Failed, ZrtpOutcome::Unanswered, ZrtpOutcome::Secure, ZrtpOutcome::SecureVerified];

fn every_method() -> Vec<KeyingMethod> {
    let zrtp = OUTCOMES.map(KeyingMethod::Zrtp);
    [KeyingMethod::Sdes, KeyingMethod::Dtls].into_iter().chain(zrtp).collect()
}

fn every_key() -> Vec<KeyFacts> {
    let mut all = Vec::new();
    for signalling in SIGNALLING {
        for method in every_method() {
            for suite in STRENGTHS {
                for current in every_current() {
                    all.push(KeyFacts { call: CallNumber(7), signalling, method, suite, current });
                }
            }
        }
    }
    all
}

/// What the table must say, written a second time and as differently as possible.
fn peer_should_pass(rules: &Rules, peer: &TlsPeer) -> bool {
    let modern = peer.version != TlsVersion::Older;
    let in_time = peer.validity == Validity::Valid;
    let webpki = peer.chain == Chain::Trusted && peer.name == Name::Matches;
    let identity = match (rules.signalling, peer.pin) {
        (_, Pin::Mismatch) => false,
        (SignallingLevel::Pinned, pin) => pin == Pin::Matches,
        _ => webpki,
    };
    modern && in_time && identity
}

fn keys_should_pass(
    rules: &Rules,
    signalling: SignallingLevel,
    suite: SuiteStrength,
    current: Option<Current>,
) -> bool {
    let path = signalling == SignallingLevel::Verified
        || (signalling == SignallingLevel::Pinned && rules.signalling == SignallingLevel::Pinned);
    let tag = suite == SuiteStrength::Full || (suite == SuiteStrength::ShortTag && rules.short_tags);
    let minimum = matches!(rules.media_minimum, MediaLevel::Clear | MediaLevel::Srtp);
    let not_lower =
        current.is_none_or(|has| matches!(has.level, MediaLevel::Clear | MediaLevel::Srtp) && has.suite <= suite);
    path && tag && minimum && not_lower
}

/// Under these rules an offer without any key can lead to ZRTP alone, so it is one of ZRTP that is not announced.
fn is_unannounced_zrtp(rules: &Rules, keying: OfferedKeying) -> bool {
    let zrtp_only = matches!(rules.media_minimum, MediaLevel::Zrtp | MediaLevel::ZrtpVerified);
    keying == OfferedKeying::Clear && rules.zrtp_hash == ZrtpHash::Optional && zrtp_only
}

fn zrtp_should_pass(rules: &Rules, outcome: ZrtpOutcome, suite: SuiteStrength, current: Option<Current>) -> bool {
    let known = matches!(suite, SuiteStrength::Full | SuiteStrength::ShortTag);
    let has_verified = current.is_some_and(|has| has.level == MediaLevel::ZrtpVerified);
    let enough = match outcome {
        ZrtpOutcome::Failed | ZrtpOutcome::Unanswered => false,
        ZrtpOutcome::Secure => rules.media_minimum != MediaLevel::ZrtpVerified && !has_verified,
        ZrtpOutcome::SecureVerified => true,
    };
    known && enough
}

fn passes<M: Moment>(rules: &Rules, facts: &M) -> bool {
    judge(rules, facts).allowed().is_ok()
}

#[test]
fn a_connection_is_opened_over_tls_only() {
    for rules in every_rules() {
        assert!(passes(&rules, &Connecting { transport: Transport::Tls, dns: Directions::Usable }));
        for (transport, dns, rule) in [
            (Transport::Tls, Directions::Bogus, Rule::DnsBogus),
            (Transport::Tls, Directions::NotOffered, Rule::TlsRequired),
            (Transport::Clear, Directions::Bogus, Rule::DnsBogus),
        ] {
            let refusal = judge(&rules, &Connecting { transport, dns }).allowed().unwrap_err();
            assert_eq!((refusal.rule, refusal.sip_status), (rule, 403));
        }
        let clear = Connecting { transport: Transport::Clear, dns: Directions::Usable };
        let refusal = judge(&rules, &clear).allowed().unwrap_err();
        assert_eq!(refusal.rule, Rule::TlsRequired);
    }
}

#[test]
fn every_row_of_the_tls_table_is_as_specified() {
    for rules in every_rules() {
        for peer in every_peer() {
            assert_eq!(passes(&rules, &peer), peer_should_pass(&rules, &peer), "{rules:?} {peer:?}");
        }
    }
}

#[test]
fn the_level_of_a_connection_is_what_was_measured() {
    for rules in every_rules() {
        for peer in every_peer() {
            if let Ok(proof) = judge(&rules, &peer).allowed() {
                let webpki = peer.chain == Chain::Trusted && peer.name == Name::Matches;
                let expected = if webpki { SignallingLevel::Verified } else { SignallingLevel::Pinned };
                assert_eq!(proof.level(), expected, "{peer:?}");
                assert_eq!(proof.account(), "a@b");
            }
        }
    }
}

/// ZRTP may begin, or goes on.
fn has_no_other_keys(offer: &OfferFacts) -> bool {
    offer.current.is_none_or(|has| matches!(has.level, MediaLevel::Zrtp | MediaLevel::ZrtpVerified))
}

#[test]
fn every_row_of_the_offer_table_is_as_specified() {
    for rules in every_rules() {
        for offer in every_offer() {
            let expected = match offer.keying {
                OfferedKeying::Sdes(suite) | OfferedKeying::SdesUnderAvp(suite) => {
                    keys_should_pass(&rules, offer.signalling, suite, offer.current)
                }
                OfferedKeying::Zrtp => has_no_other_keys(&offer),
                keying => is_unannounced_zrtp(&rules, keying) && has_no_other_keys(&offer),
            };
            assert_eq!(passes(&rules, &offer), expected, "{rules:?} {offer:?}");
        }
    }
}

#[test]
fn every_row_of_the_key_table_is_as_specified() {
    for rules in every_rules() {
        for key in every_key() {
            let expected = match key.method {
                KeyingMethod::Sdes => keys_should_pass(&rules, key.signalling, key.suite, key.current),
                KeyingMethod::Zrtp(outcome) => zrtp_should_pass(&rules, outcome, key.suite, key.current),
                KeyingMethod::Dtls => false,
            };
            assert_eq!(passes(&rules, &key), expected, "{rules:?} {key:?}");
        }
    }
}

#[test]
fn unconfirmed_keys_are_good_for_known_suites_only() {
    for rules in every_rules() {
        for suite in STRENGTHS {
            let facts = UnconfirmedKeyFacts { call: CallNumber(7), suite };
            assert_eq!(passes(&rules, &facts), suite >= SuiteStrength::ShortTag, "{suite:?}");
        }
    }
}

#[test]
fn nothing_in_clear_is_ever_allowed() {
    for rules in every_rules() {
        for offer in every_offer() {
            if let Ok(proof) = judge(&rules, &offer).allowed() {
                assert!(proof.level() >= MediaLevel::Srtp);
                match proof.level() {
                    MediaLevel::Zrtp | MediaLevel::ZrtpVerified => {
                        assert!(
                            offer.keying == OfferedKeying::Zrtp || is_unannounced_zrtp(&rules, offer.keying),
                            "{offer:?}"
                        );
                    }
                    _ => {
                        assert_ne!(offer.keying, OfferedKeying::Clear);
                        assert!(offer.signalling >= SignallingLevel::Pinned);
                    }
                }
                assert!(offer.current.map(|has| has.level) <= Some(proof.level()), "the level never falls");
            }
        }
        for key in every_key() {
            if let Ok(proof) = judge(&rules, &key).allowed() {
                assert!(proof.level() >= MediaLevel::Srtp);
                assert!(proof.level() >= MediaLevel::Zrtp || key.signalling >= SignallingLevel::Pinned);
                assert!(proof.level() >= rules.media_minimum);
                assert!(key.current.map(|has| has.level) <= Some(proof.level()), "the level never falls");
            }
        }
    }
}

#[test]
fn a_safer_certificate_is_never_refused_where_a_worse_one_passed() {
    safer_certificate_is_never_refused(every_rules());
}

fn safer_certificate_is_never_refused(all: Vec<Rules>) {
    let one_step_safer = |worse: &TlsPeer, safer: &TlsPeer| {
        let steps = [
            safer.version.cmp(&worse.version),
            safer.chain.cmp(&worse.chain),
            safer.name.cmp(&worse.name),
            safer.pin.cmp(&worse.pin),
            safer.validity.cmp(&worse.validity),
        ];
        steps.iter().all(|step| step.is_ge()) && steps.iter().filter(|step| step.is_gt()).count() == 1
    };
    let peers = every_peer();
    for rules in all {
        for worse in peers.iter().filter(|peer| passes(&rules, *peer)) {
            for safer in peers.iter().filter(|safer| one_step_safer(worse, safer)) {
                assert!(passes(&rules, safer), "{rules:?}: {worse:?} passed and {safer:?} did not");
            }
        }
    }
}

/// "Safer" for keying. Different methods are compared only as far as this version implements both.
fn keying_is_safer(worse: OfferedKeying, safer: OfferedKeying) -> bool {
    use OfferedKeying::{Clear, SavpWithoutKey, Sdes, SdesUnderAvp};
    match (worse, safer) {
        // a suite that is not spoken is no better than nothing
        (Clear | SavpWithoutKey, Sdes(suite) | SdesUnderAvp(suite)) => suite == SuiteStrength::Full,
        (Sdes(a), Sdes(b)) | (SdesUnderAvp(a), SdesUnderAvp(b)) => a < b,
        (SdesUnderAvp(a), Sdes(b)) => a <= b,
        _ => false,
    }
}

#[test]
fn a_safer_offer_or_key_is_never_refused_where_a_worse_one_passed() {
    safer_is_never_refused(every_rules());
}

fn safer_is_never_refused(all: Vec<Rules>) {
    for rules in all {
        for worse in every_offer().iter().filter(|offer| passes(&rules, *offer)) {
            for signalling in SIGNALLING.into_iter().filter(|level| *level > worse.signalling) {
                assert!(passes(&rules, &OfferFacts { signalling, ..worse.clone() }), "{worse:?} {signalling:?}");
            }
            if is_unannounced_zrtp(&rules, worse.keying) {
                continue; // it is no clear offer, so others are not safer
            }
            for keying in every_keying().into_iter().filter(|keying| keying_is_safer(worse.keying, *keying)) {
                assert!(passes(&rules, &OfferFacts { keying, ..worse.clone() }), "{worse:?} {keying:?}");
            }
        }
        for worse in every_key().iter().filter(|key| passes(&rules, *key)) {
            for signalling in SIGNALLING.into_iter().filter(|level| *level > worse.signalling) {
                assert!(passes(&rules, &KeyFacts { signalling, ..worse.clone() }), "{worse:?} {signalling:?}");
            }
            for suite in STRENGTHS.into_iter().filter(|suite| *suite > worse.suite) {
                assert!(passes(&rules, &KeyFacts { suite, ..worse.clone() }), "{worse:?} {suite:?}");
            }
            if let KeyingMethod::Zrtp(outcome) = worse.method {
                for safer in OUTCOMES.into_iter().filter(|safer| *safer > outcome) {
                    let safer = KeyFacts { method: KeyingMethod::Zrtp(safer), ..worse.clone() };
                    assert!(passes(&rules, &safer), "{safer:?}");
                }
            }
        }
    }
}

#[test]
fn stricter_rules_never_allow_what_laxer_ones_refuse() {
    let rules = every_rules();
    for offer in every_offer() {
        for lax in rules.iter().filter(|lax| !passes(lax, &offer)) {
            for media_minimum in MEDIA.into_iter().filter(|minimum| *minimum > lax.media_minimum) {
                let strict = Rules { media_minimum, ..lax.clone() };
                assert!(!passes(&strict, &offer) || is_unannounced_zrtp(&strict, offer.keying));
            }
            let strict = Rules { zrtp_hash: ZrtpHash::Required, ..lax.clone() };
            assert!(!passes(&strict, &offer));
            if lax.short_tags {
                assert!(!passes(&Rules { short_tags: false, ..lax.clone() }, &offer));
            }
            if lax.signalling == SignallingLevel::Pinned {
                assert!(!passes(&Rules { signalling: SignallingLevel::Verified, ..lax.clone() }, &offer));
            }
        }
    }
}

#[test]
fn each_fault_of_a_certificate_has_its_own_rule_and_sentence() {
    let good = TlsPeer {
        expected: "sip.example.org".into(),
        version: TlsVersion::Tls13,
        chain: Chain::Trusted,
        name: Name::Matches,
        pin: Pin::NotConfigured,
        validity: Validity::Valid,
    };
    let rules = Rules::strict("alice@sip.example.org");
    assert!(passes(&rules, &good));
    let faults = [
        (TlsPeer { version: TlsVersion::Older, ..good.clone() }, Rule::TlsVersion),
        (TlsPeer { chain: Chain::Invalid, ..good.clone() }, Rule::CertificateInvalid),
        (TlsPeer { chain: Chain::SelfSigned, ..good.clone() }, Rule::CertificateSelfSigned),
        (TlsPeer { chain: Chain::UnknownIssuer, ..good.clone() }, Rule::CertificateUnknownIssuer),
        (TlsPeer { name: Name::Wrong, ..good.clone() }, Rule::CertificateName),
        (TlsPeer { name: Name::WildcardOnly, ..good.clone() }, Rule::CertificateWildcard),
        (TlsPeer { pin: Pin::Mismatch, ..good.clone() }, Rule::CertificatePin),
        (TlsPeer { validity: Validity::Expired, ..good.clone() }, Rule::CertificateExpired),
        (TlsPeer { validity: Validity::NotYetValid, ..good.clone() }, Rule::CertificateNotYetValid),
    ];
    let mut sentences = std::collections::HashSet::new();
    for (peer, rule) in faults {
        let refusal = judge(&rules, &peer).allowed().unwrap_err();
        assert_eq!(refusal.rule, rule, "{peer:?}");
        assert_eq!(refusal.sip_status, 403);
        assert!(sentences.insert(refusal.reason.clone()), "said twice: {refusal}");
    }
}

#[test]
fn each_fault_of_an_offer_has_its_own_rule_and_answers_488() {
    let rules = Rules::strict("alice@sip.example.org");
    let offer =
        |signalling, keying, current| OfferFacts { call: CallNumber(1), signalling, keying, current, others: None };
    let sdes = OfferedKeying::Sdes(SuiteStrength::Full);
    let verified = SignallingLevel::Verified;
    let faults = [
        (offer(verified, OfferedKeying::Clear, None), Rule::MediaClear),
        (offer(verified, OfferedKeying::SavpWithoutKey, None), Rule::MediaKeyMissing),
        (offer(verified, OfferedKeying::Dtls, None), Rule::DtlsUnsupported),
        (
            offer(verified, OfferedKeying::Zrtp, Some(Current { level: MediaLevel::Srtp, suite: SuiteStrength::Full })),
            Rule::KeyingIsFixed,
        ),
        (offer(verified, OfferedKeying::Sdes(SuiteStrength::Forbidden), None), Rule::SuiteForbidden),
        (offer(verified, OfferedKeying::Sdes(SuiteStrength::Unknown), None), Rule::SuiteUnknown),
        (offer(verified, OfferedKeying::SdesUnderAvp(SuiteStrength::ShortTag), None), Rule::SuiteShortTag),
        (offer(SignallingLevel::Clear, sdes, None), Rule::KeysOverUnverifiedSignalling),
        (offer(SignallingLevel::Pinned, sdes, None), Rule::SignallingLevel),
        (
            offer(verified, sdes, Some(Current { level: MediaLevel::Zrtp, suite: SuiteStrength::Full })),
            Rule::MediaNeverFalls,
        ),
    ];
    let mut sentences = std::collections::HashSet::new();
    for (facts, rule) in faults {
        let refusal = judge(&rules, &facts).allowed().unwrap_err();
        assert_eq!((refusal.rule, refusal.sip_status), (rule, 488), "{facts:?}");
        assert!(sentences.insert(refusal.reason.clone()), "said twice: {refusal}");
        assert!(!refusal.hint.is_empty());
    }
    let zrtp_only = Rules { media_minimum: MediaLevel::Zrtp, ..rules };
    assert_eq!(judge(&zrtp_only, &offer(verified, sdes, None)).allowed().unwrap_err().rule, Rule::MediaMinimum);
}

#[test]
fn each_bad_end_of_zrtp_has_its_own_rule() {
    let strict = Rules::strict("alice@sip.example.org");
    let verified = Rules { media_minimum: MediaLevel::ZrtpVerified, ..strict.clone() };
    let judged = |rules: &Rules, outcome, current| {
        let facts = KeyFacts {
            call: CallNumber(1),
            signalling: SignallingLevel::Clear,
            method: KeyingMethod::Zrtp(outcome),
            suite: SuiteStrength::Full,
            current,
        };
        judge(rules, &facts).allowed().map(|proof| proof.level()).map_err(|refusal| refusal.rule)
    };
    assert_eq!(judged(&strict, ZrtpOutcome::Failed, None), Err(Rule::ZrtpFailed));
    assert_eq!(judged(&strict, ZrtpOutcome::Unanswered, None), Err(Rule::ZrtpUnanswered));
    assert_eq!(judged(&verified, ZrtpOutcome::Secure, None), Err(Rule::ZrtpNotVerified));
    assert_eq!(judged(&strict, ZrtpOutcome::Secure, None), Ok(MediaLevel::Zrtp));
    assert_eq!(judged(&verified, ZrtpOutcome::SecureVerified, None), Ok(MediaLevel::ZrtpVerified));
    let has = Current { level: MediaLevel::ZrtpVerified, suite: SuiteStrength::Full };
    assert_eq!(judged(&strict, ZrtpOutcome::Secure, Some(has)), Err(Rule::MediaNeverFalls));
}

#[test]
fn a_suite_with_full_tags_never_gives_way_to_short_ones() {
    let rules = Rules { short_tags: true, ..Rules::strict("alice@sip.example.org") };
    let refused = |now, next| {
        let offer = OfferFacts {
            call: CallNumber(1),
            signalling: SignallingLevel::Verified,
            keying: OfferedKeying::Sdes(next),
            current: Some(Current { level: MediaLevel::Srtp, suite: now }),
            others: None,
        };
        judge(&rules, &offer).allowed().err().map(|refusal| refusal.rule)
    };
    let (short, full) = (SuiteStrength::ShortTag, SuiteStrength::Full);
    assert_eq!(refused(full, short), Some(Rule::MediaNeverFalls));
    assert_eq!([refused(short, short), refused(short, full), refused(full, full)], [None; 3]);
}

#[test]
fn a_proof_remembers_what_was_judged() {
    let rules = Rules::strict("alice@sip.example.org");
    let offer = OfferFacts {
        call: CallNumber(9),
        signalling: SignallingLevel::Verified,
        keying: OfferedKeying::SdesUnderAvp(SuiteStrength::Full),
        current: Some(Current { level: MediaLevel::Srtp, suite: SuiteStrength::ShortTag }),
        others: None,
    };
    let proof = judge(&rules, &offer).allowed().unwrap();
    assert_eq!((proof.call(), proof.level()), (CallNumber(9), MediaLevel::Srtp));
    assert_eq!((proof.signalling(), proof.current()), (SignallingLevel::Verified, offer.current));
}
