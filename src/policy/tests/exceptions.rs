//! The same table with exceptions: each changes exactly the rows that it names, on its days, and proofs say so.

use super::super::testing::{LAST_DAY, excepting, exception};
use super::*;
use crate::units::Date;
use std::sync::Arc;

const OVER: Date = Date { year: 2027, month: 2, day: 2 };

/// Every set of exceptions.
fn every_set() -> Vec<Vec<Downgrade>> {
    let chosen = |bits: usize| Downgrade::ALL.into_iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1);
    (0..8).map(|bits| chosen(bits).map(|(_, downgrade)| downgrade).collect()).collect()
}

/// Every rules under every room, with these exceptions on this day.
fn every_rules_with(set: &[Downgrade], today: Date) -> Vec<Rules> {
    let exceptions: Vec<Arc<Exception>> = set.iter().map(|downgrade| exception(*downgrade)).collect();
    let mut all = Vec::new();
    for room_minimum in [MediaLevel::Clear, MediaLevel::Srtp, MediaLevel::Zrtp] {
        for rules in every_rules() {
            let media_minimum = rules.media_minimum.max(room_minimum);
            all.push(AccountRules::new(Rules { room_minimum, media_minimum, ..rules }, exceptions.clone()).on(today));
        }
    }
    all
}

fn allows(rules: &Rules, downgrade: Downgrade) -> bool {
    rules.exceptions.iter().any(|exception| exception.allow == downgrade)
}

/// What the table must say of a connection: its level and what it rests on.
fn expected_of_peer(rules: &Rules, peer: &TlsPeer) -> Option<(SignallingLevel, Option<Downgrade>)> {
    let good = peer.chain == Chain::Trusted && peer.name == Name::Matches;
    if peer_should_pass(rules, peer) {
        return Some((if good { SignallingLevel::Verified } else { SignallingLevel::Pinned }, None));
    }
    let pinned_without_pin = rules.signalling == SignallingLevel::Pinned && peer.pin == Pin::NotConfigured;
    if peer.version == TlsVersion::Older || peer.pin == Pin::Mismatch || pinned_without_pin {
        return None;
    }
    let only_a_wildcard =
        (peer.chain, peer.name, peer.validity) == (Chain::Trusted, Name::WildcardOnly, Validity::Valid);
    if only_a_wildcard && allows(rules, Downgrade::TlsWildcardName) {
        return Some((SignallingLevel::Verified, Some(Downgrade::TlsWildcardName)));
    }
    allows(rules, Downgrade::TlsUnverified).then_some((SignallingLevel::Unverified, Some(Downgrade::TlsUnverified)))
}

/// What it must say of SDES or of no keys at all.
fn expected_of_sound(
    rules: &Rules,
    signalling: SignallingLevel,
    suite: Option<SuiteStrength>,
    current: Option<Current>,
) -> Option<(MediaLevel, bool)> {
    let lowered = |level: MediaLevel| allows(rules, Downgrade::MediaClear) && level >= rules.room_minimum;
    let path = signalling == SignallingLevel::Verified
        || (signalling == SignallingLevel::Pinned && rules.signalling == SignallingLevel::Pinned);
    let level = if path && suite.is_some() { MediaLevel::Srtp } else { MediaLevel::Clear };
    let spoken = match suite {
        None | Some(SuiteStrength::Full) => true,
        Some(suite) => suite == SuiteStrength::ShortTag && rules.short_tags,
    };
    let rises = current.is_none_or(|has| has.level <= level && suite.is_none_or(|suite| has.suite <= suite));
    let by_itself = level == MediaLevel::Srtp && rules.media_minimum <= MediaLevel::Srtp;
    (spoken && rises && (by_itself || lowered(level))).then_some((level, !by_itself))
}

#[test]
fn each_exception_changes_exactly_the_certificates_that_it_names() {
    for set in every_set() {
        for rules in every_rules_with(&set, LAST_DAY) {
            for peer in every_peer() {
                let verdict = judge(&rules, &peer).allowed().ok();
                let found = verdict.map(|proof| (proof.level(), proof.exception().map(|exception| exception.allow)));
                assert_eq!(found, expected_of_peer(&rules, &peer), "{rules:?} {peer:?}");
            }
        }
    }
}

#[test]
fn each_exception_changes_exactly_the_offers_that_it_names() {
    for set in every_set() {
        for rules in every_rules_with(&set, LAST_DAY) {
            for offer in every_offer() {
                for others in [None, Some(MediaLevel::Srtp), Some(MediaLevel::Zrtp), Some(MediaLevel::ZrtpVerified)] {
                    let offer = OfferFacts { others, ..offer.clone() };
                    let zrtp = || {
                        has_no_other_keys(&offer).then(|| {
                            (offer.current.map_or(MediaLevel::Zrtp, |has| has.level.max(MediaLevel::Zrtp)), false)
                        })
                    };
                    let sound = |suite| expected_of_sound(&rules, offer.signalling, suite, offer.current);
                    let expected = match offer.keying {
                        OfferedKeying::Zrtp => zrtp(),
                        keying if is_unannounced_zrtp(&rules, keying) => zrtp(),
                        OfferedKeying::Clear => sound(None),
                        OfferedKeying::Sdes(suite) | OfferedKeying::SdesUnderAvp(suite) => sound(Some(suite)),
                        OfferedKeying::SavpWithoutKey | OfferedKeying::Dtls => None,
                    };
                    // a clear phone does not come to one that is encrypted end to end
                    let meets_zrtp = offer.current.is_none() && others >= Some(MediaLevel::Zrtp);
                    let expected = expected.filter(|(level, _)| *level != MediaLevel::Clear || !meets_zrtp);
                    let found = judge(&rules, &offer).allowed().ok();
                    let found = found.map(|proof| (proof.level(), proof.exception().is_some()));
                    assert_eq!(found, expected, "{rules:?} {offer:?}");
                }
            }
        }
    }
}

#[test]
fn each_exception_changes_exactly_the_keys_that_it_names() {
    for set in every_set() {
        for rules in every_rules_with(&set, LAST_DAY) {
            for key in every_key() {
                let found = judge(&rules, &key).allowed().ok();
                let found = found.map(|proof| (proof.level(), proof.exception().is_some()));
                let expected = match key.method {
                    KeyingMethod::Dtls => None,
                    KeyingMethod::Sdes => expected_of_sound(&rules, key.signalling, Some(key.suite), key.current),
                    KeyingMethod::Zrtp(outcome) => {
                        let level = match outcome {
                            ZrtpOutcome::SecureVerified => MediaLevel::ZrtpVerified,
                            _ => MediaLevel::Zrtp,
                        };
                        let lax = Rules { media_minimum: level, ..rules.clone() };
                        let lowered = level < rules.media_minimum;
                        let may = !lowered || (allows(&rules, Downgrade::MediaClear) && level >= rules.room_minimum);
                        (may && zrtp_should_pass(&lax, outcome, key.suite, key.current)).then_some((level, lowered))
                    }
                };
                assert_eq!(found, expected, "{rules:?} {key:?}");
            }
            for current in every_current() {
                let facts = ClearFacts { call: CallNumber(7), current };
                let expected = expected_of_sound(&rules, SignallingLevel::Verified, None, current);
                assert_eq!(judge(&rules, &facts).allowed().is_ok(), expected.is_some(), "{rules:?} {facts:?}");
            }
        }
    }
}

#[test]
fn without_an_exception_no_row_is_clear_and_no_connection_unverified() {
    for rules in every_rules_with(&[], LAST_DAY) {
        for peer in every_peer() {
            if let Ok(proof) = judge(&rules, &peer).allowed() {
                assert!(proof.level() >= SignallingLevel::Pinned && proof.exception().is_none());
            }
        }
        for offer in every_offer() {
            if let Ok(proof) = judge(&rules, &offer).allowed() {
                assert!(proof.level() > MediaLevel::Clear && proof.exception().is_none());
            }
        }
        for current in every_current() {
            assert!(!passes(&rules, &ClearFacts { call: CallNumber(7), current }));
        }
    }
}

#[test]
fn whatever_exceptions_there_are_safer_facts_are_never_refused_where_worse_ones_passed() {
    for set in every_set() {
        let all = every_rules_with(&set, LAST_DAY);
        safer_certificate_is_never_refused(all.clone());
        safer_is_never_refused(all);
    }
}

#[test]
fn no_exception_lowers_what_the_account_is_held_to() {
    let peer = |version| TlsPeer {
        expected: "example.org".to_owned(),
        version,
        chain: Chain::SelfSigned,
        name: Name::WildcardOnly,
        pin: Pin::NotConfigured,
        validity: Validity::Valid,
    };
    let mut rules = excepting("gateway@example.org", &Downgrade::ALL).on(LAST_DAY);
    assert!(passes(&rules, &peer(TlsVersion::Tls12)));
    rules.floors.tls = true;
    assert!(passes(&rules, &peer(TlsVersion::Tls13)));
    let refused = judge(&rules, &peer(TlsVersion::Tls12)).allowed().err().map(|refusal| refusal.rule);
    assert_eq!(refused, Some(Rule::RatchetTls));
}

#[test]
fn an_exception_ends_with_its_last_day_and_a_day_must_be_named() {
    for set in every_set() {
        let (over, never) = (every_rules_with(&set, OVER), every_rules_with(&[], LAST_DAY));
        assert_eq!(over, never);
    }
    let rules = excepting("a@b", &Downgrade::ALL);
    assert_eq!(rules.without_exceptions(), Rules::strict("a@b"));
    assert_eq!(rules.on(LAST_DAY).exceptions.iter().count(), 3);
    assert!(rules.on(OVER).exceptions.is_empty());
    // rules of one day are not good for the next
    assert!(AccountRules::from(rules.on(LAST_DAY)).on(LAST_DAY).exceptions.is_empty());
}

#[test]
fn people_are_reminded_two_weeks_one_week_and_one_day_before() {
    let exception = exception(Downgrade::MediaClear);
    let first = Date { year: 2026, month: 12, day: 1 };
    let days: Vec<Date> = (0..90).map(|day| Date::from_unix_days(20_788 + day)).collect();
    assert_eq!(days[0], first);
    let reminded: Vec<i64> =
        days.iter().filter(|day| exception.is_to_be_remembered(**day)).map(|day| exception.days_left(*day)).collect();
    assert_eq!(reminded, [14, 7, 1]);
    assert!(exception.is_in_force(LAST_DAY) && !exception.is_in_force(OVER));
}

#[test]
fn an_exception_without_effect_says_why() {
    let idle = |rules: Rules| AccountRules::new(rules, Vec::new()).idle(Downgrade::MediaClear);
    assert_eq!(idle(Rules::strict("a@b")), None);
    let room = Rules { room_minimum: MediaLevel::Srtp, ..Rules::strict("a@b") };
    assert!(idle(room).is_some_and(|why| why.contains("the room's own media_minimum")));
    let zrtp = Rules { media_minimum: MediaLevel::Zrtp, zrtp_hash: ZrtpHash::Optional, ..Rules::strict("a@b") };
    assert!(idle(zrtp).is_some_and(|why| why.contains("zrtp_hash")));
}

#[test]
fn what_ends_a_handshake_or_a_login_has_its_own_rule() {
    let rules = Rules::strict("a@b");
    for (fault, rule) in [
        (HandshakeFault::NoCommonSuite, Rule::TlsSuite),
        (HandshakeFault::NoClientCertificate, Rule::ClientCertificate),
        (HandshakeFault::ClientCertificate, Rule::ClientCertificate),
    ] {
        let facts = Handshake { expected: "sip.example.org".to_owned(), fault };
        let refusal = judge(&rules, &facts).allowed().unwrap_err();
        assert_eq!((refusal.rule, refusal.sip_status), (rule, 403));
        assert!(refusal.reason.contains("sip.example.org") && !refusal.hint.is_empty());
    }
    let mut sentences = std::collections::HashSet::new();
    for scheme in [LoginScheme::Basic, LoginScheme::Unknown] {
        let refusal = judge(&rules, &Login { scheme }).allowed().unwrap_err();
        assert_eq!(refusal.rule, Rule::LoginScheme);
        assert!(sentences.insert(refusal.reason));
    }
    for scheme in [LoginScheme::DigestMd5, LoginScheme::DigestSha2] {
        assert!(passes(&rules, &Login { scheme }));
    }
}
