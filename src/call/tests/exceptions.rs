//! Exceptions in the life of a line: what a clear call is answered, what is said of it, and what ends with a day.

use super::*;
use crate::audio::Announcement;
use crate::policy::testing::{LAST_DAY, excepting, exception};
use crate::policy::{Downgrade, Exception};
use crate::room::{LegKeys, LegOrder};
use crate::units::Date;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const OVER: Date = Date { year: 2027, month: 2, day: 2 };
const ACCOUNT: &str = "gateway@example.org";

/// Registered, with these exceptions, on the last day of all of them.
fn excepted(allow: &[Downgrade]) -> World {
    let mut world = World::with_rules(excepting(ACCOUNT, allow));
    assert!(world.line.begin_day(LAST_DAY));
    world
}

fn clear_offer() -> String {
    sdp("RTP/AVP", "96 0 101", &[])
}

/// The phone's line is up again, over a connection like this.
fn reconnect(world: &mut World, chain: Chain, name: Name, allow: &[Downgrade]) {
    let facts = TlsPeer {
        expected: "example.org".to_owned(),
        version: TlsVersion::Tls13,
        chain,
        name,
        pin: Pin::NotConfigured,
        validity: Validity::Valid,
    };
    let proof = judge(&excepting(ACCOUNT, allow).on(LAST_DAY), &facts).allowed().unwrap();
    world.line.flow_up(world.now, SocketAddr::from(([192, 0, 2, 1], 50_000)), proof);
    world.settle();
}

fn first_join(world: &World) -> &LegSetup {
    world.wants.iter().find_map(|want| if let Output::Join(setup) = want { Some(&**setup) } else { None }).unwrap()
}

#[test]
fn a_clear_call_is_answered_in_clear_and_shown_everywhere() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    let dialog = world.call(&clear_offer());
    assert_eq!(world.statuses(dialog), [180, 200]);
    let answer = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
    assert!(answer.contains("m=audio 20000 RTP/AVP 96 101"), "{answer}");
    assert!(!answer.contains("crypto") && !answer.contains("zrtp"), "{answer}");

    let setup = first_join(&world);
    assert!(matches!(setup.keys, LegKeys::Clear(..)));
    assert_eq!(setup.participant, "☎ Alice #1 (not encrypted)");
    assert_eq!(setup.warning, Some(Announcement::NotEncrypted), "and the caller is told before anything else");
    let report = world.line.report(world.now);
    let sound = report.calls[0].sound.clone().unwrap();
    assert_eq!((sound.level, sound.method, sound.suite), (Some(MediaLevel::Clear), "none", ""));
    assert_eq!(report.calls[0].exceptions, [exception(Downgrade::MediaClear)]);
    assert_eq!(report.exceptions, [exception(Downgrade::MediaClear)]);
    let [(None, said)] = world.said.as_slice() else { panic!("{:?}", world.said) };
    for words in ["NOT ENCRYPTED", "☎ Alice #1", "PBX without SRTP until March", "2027-02-01", "ops@example.org"] {
        assert!(said.contains(words), "no {words}: {said}");
    }
}

#[test]
fn an_exception_alone_does_not_lower_what_the_account_is_held_to() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    for _ in 0..3 {
        let dialog = world.call(&offer());
        world.phone.bye(world.now, dialog, None);
        world.run(DAY);
    }
    let refused = world.call(&clear_offer());
    assert_eq!(world.statuses(refused), [488]);
    world.ratchet.clear(ACCOUNT, world.clock.unix(world.now));
    world.line.ratchet_cleared();
    let taken = world.call(&clear_offer());
    assert_eq!(world.statuses(taken), [180, 200]);
}

#[test]
fn phones_with_keys_are_told_aloud_of_a_clear_one_and_the_group_reads_it() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    world.call(&offer());
    world.run(10 * MS);
    world.said.clear();
    world.call(&clear_offer());
    let told = |want: &Output| matches!(want, Output::Announce(CallNumber(1), Announcement::ClearJoined));
    assert!(world.wants.iter().any(told), "{:?}", world.wanted());
    let fallen = |(to, text): &(Option<String>, String)| to.is_none() && text.contains("is now not encrypted");
    assert!(world.said.iter().any(fallen), "{:?}", world.said);
}

#[test]
fn without_the_exception_or_after_its_last_day_the_same_call_is_refused_and_nothing_is_shown() {
    let none = World::with_rules(Rules::strict(ACCOUNT));
    let other = excepted(&[Downgrade::TlsUnverified, Downgrade::TlsWildcardName]);
    let mut over = excepted(&[Downgrade::MediaClear]);
    assert!(over.line.begin_day(OVER));
    let unknown_day = World::with_rules(excepting(ACCOUNT, &[Downgrade::MediaClear]));
    for mut world in [none, other, over, unknown_day] {
        let dialog = world.call(&clear_offer());
        assert_eq!(world.statuses(dialog), [488]);
        assert!(world.wants.is_empty() && world.said.is_empty());
        assert!(world.line.report(world.now).calls.is_empty());
        assert!(world.line.report(world.now).exceptions.iter().all(|one| one.allow != Downgrade::MediaClear));
    }
}

#[test]
fn a_room_that_has_written_a_minimum_lets_nobody_in_clear() {
    let rules = Rules { room_minimum: MediaLevel::Srtp, ..Rules::strict(ACCOUNT) };
    let mut world = World::with_rules(AccountRules::new(rules, vec![exception(Downgrade::MediaClear)]));
    world.line.begin_day(LAST_DAY);
    let dialog = world.call(&clear_offer());
    assert_eq!(world.statuses(dialog), [488]);
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [180, 200]);
}

#[test]
fn a_running_clear_call_goes_on_after_the_last_day_and_can_be_held() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    let dialog = world.call(&clear_offer());
    world.run(10 * MS);
    world.line.begin_day(OVER);
    world.wants.clear();
    let hold = sdp("RTP/AVP", "96 0 101", &["sendonly"]);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&hold)).status, 200);
    assert_eq!(world.wanted(), ["update 1 from=true to=false"], "no new keys");
    assert_eq!(world.line.report(world.now).calls[0].exceptions.len(), 1, "it still rests on it");
    let next = world.call(&clear_offer());
    assert_eq!(world.statuses(next), [488]);
    // it may ask for our description too
    let response = world.again(dialog, Method::INVITE, None);
    let text = String::from_utf8(response.body).unwrap();
    assert!(text.contains("RTP/AVP") && !text.contains("crypto"), "{text}");
}

#[test]
fn a_clear_call_may_rise_and_never_falls_back() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    let dialog = world.call(&clear_offer());
    world.run(10 * MS);
    world.wants.clear();
    assert_eq!(world.again(dialog, Method::INVITE, Some(&offer())).status, 200);
    assert!(world.wanted().contains(&"rekey 1".to_owned()));
    let sound = world.line.report(world.now).calls[0].sound.clone().unwrap();
    assert_eq!((sound.level, sound.method), (Some(MediaLevel::Srtp), "sdes"));
    let [_, (None, said)] = world.said.as_slice() else { panic!("{:?}", world.said) };
    assert!(said.contains("encrypted to the provider only, who can listen, from now on"), "{said}");
    assert_eq!(world.again(dialog, Method::INVITE, Some(&offer())).status, 200);
    assert_eq!(world.said.len(), 2, "said once: {:?}", world.said);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&clear_offer())).status, 488);
    assert_eq!(world.again(dialog, Method::UPDATE, Some(&clear_offer())).status, 488);
}

#[test]
fn an_encrypted_call_does_not_become_clear_by_an_exception() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    let dialog = world.call(&offer());
    world.run(10 * MS);
    world.wants.clear();
    assert_eq!(world.again(dialog, Method::INVITE, Some(&clear_offer())).status, 488);
    assert_eq!(world.wanted(), [""; 0]);
    let report = world.line.report(world.now);
    assert_eq!(report.calls[0].sound.clone().unwrap().level, Some(MediaLevel::Srtp));
    assert!(report.calls[0].exceptions.is_empty(), "it rests on none");
    assert!(world.said.iter().all(|(_, said)| !said.contains("NOT ENCRYPTED")), "{:?}", world.said);
}

#[test]
fn a_clear_phone_does_not_come_to_one_with_zrtp_and_the_other_way_round_is_said() {
    let zrtp = sdp("RTP/AVP", "96 0 101", &[&format!("zrtp-hash:1.10 {}", "ab".repeat(32))]);
    let mut world = excepted(&[Downgrade::MediaClear]);
    let first = world.call(&zrtp);
    assert_eq!(world.statuses(first), [180, 200]);
    let second = world.call(&clear_offer());
    assert_eq!(world.statuses(second), [488]);
    let warning = world.responses(second)[0].headers.get("Warning").unwrap().to_owned();
    assert!(warning.contains("encrypted end to end"), "{warning}");
    let third = world.call(&offer());
    assert_eq!(world.statuses(third), [180, 200]);

    let mut world = excepted(&[Downgrade::MediaClear]);
    world.call(&clear_offer());
    let second = world.call(&zrtp);
    assert_eq!(world.statuses(second), [180, 200]);
    assert_eq!(world.line.room_level(), Some(MediaLevel::Clear), "the room is as its weakest phone");
}

#[test]
fn keys_over_an_unverified_connection_are_refused_unless_the_sound_may_be_clear() {
    let unverified = [Downgrade::TlsUnverified];
    let mut world = excepted(&unverified);
    reconnect(&mut world, Chain::SelfSigned, Name::Wrong, &unverified);
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [488]);
    let warning = world.responses(dialog)[0].headers.get("Warning").unwrap().to_owned();
    assert!(warning.contains("not checked"), "{warning}");

    let both = [Downgrade::MediaClear, Downgrade::TlsUnverified];
    let mut world = excepted(&both);
    reconnect(&mut world, Chain::SelfSigned, Name::Wrong, &both);
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [180, 200]);
    let setup = first_join(&world);
    assert!(matches!(setup.keys, LegKeys::Agreed { .. }), "what the phone wants is done");
    assert_eq!(setup.participant, "☎ Alice #1 (not encrypted)", "and what it is worth is said");
    let report = world.line.report(world.now);
    assert_eq!(report.calls[0].sound.clone().unwrap().level, Some(MediaLevel::Clear));
    let rests_on: Vec<Downgrade> = report.calls[0].exceptions.iter().map(|exception| exception.allow).collect();
    assert_eq!(rests_on, both);
    assert!(world.said.iter().any(|(_, said)| said.contains("NOT ENCRYPTED")), "{:?}", world.said);
    assert!(world.said.iter().any(|(_, said)| said.contains("is not checked")), "{:?}", world.said);
}

#[test]
fn zrtp_works_over_an_unverified_connection_also_where_the_phone_makes_no_offer() {
    let unverified = [Downgrade::TlsUnverified];
    let mut world = excepted(&unverified);
    reconnect(&mut world, Chain::UnknownIssuer, Name::Matches, &unverified);
    let dialog = world.call(&sdp("RTP/AVP", "96 0 101", &[&format!("zrtp-hash:1.10 {}", "ab".repeat(32))]));
    assert_eq!(world.statuses(dialog), [180, 200]);
    let report = world.line.report(world.now);
    assert_eq!(report.calls[0].exceptions, [exception(Downgrade::TlsUnverified)]);
    let [(None, said)] = world.said.as_slice() else { panic!("{:?}", world.said) };
    assert!(said.contains("☎ Alice #1 comes over") && said.contains("PBX without SRTP"), "{said}");

    let dialog = world.call_with(None);
    let offered = String::from_utf8(world.responses(dialog).pop().unwrap().body).unwrap();
    assert!(offered.contains("a=zrtp-hash:1.10") && !offered.contains("crypto"), "{offered}");
}

#[test]
fn keys_count_under_a_wildcard_that_an_exception_names() {
    let wildcard = [Downgrade::TlsWildcardName];
    let mut world = excepted(&wildcard);
    reconnect(&mut world, Chain::Trusted, Name::WildcardOnly, &wildcard);
    let dialog = world.call(&offer());
    assert_eq!(world.statuses(dialog), [180, 200]);
    let report = world.line.report(world.now);
    assert_eq!(report.calls[0].sound.clone().unwrap().level, Some(MediaLevel::Srtp));
    assert_eq!(report.calls[0].exceptions, [exception(Downgrade::TlsWildcardName)]);
}

#[test]
fn an_answer_without_keys_to_an_offer_of_ours_is_never_taken() {
    for rules in [Rules::strict(ACCOUNT), Rules { media_minimum: MediaLevel::Zrtp, ..Rules::strict(ACCOUNT) }] {
        let rules = AccountRules::new(rules, vec![exception(Downgrade::MediaClear)]);
        let mut world = World::with_rules(rules);
        world.line.begin_day(LAST_DAY);
        let dialog = world.call_with(None);
        world.phone.ack(world.now, dialog, Some(Body::sdp(&clear_offer())));
        world.run(10 * MS);
        assert!(world.bye(dialog).is_some(), "we offered encryption");
        assert!(!world.wants.iter().any(|want| matches!(want, Output::Join(_))));
        assert!(!world.wants.iter().any(|want| matches!(want, Output::Order(_, LegOrder::Speak(_)))));
    }
}

#[test]
fn new_rules_count_for_the_next_call_and_leave_the_running_one() {
    let mut world = excepted(&[Downgrade::MediaClear]);
    let dialog = world.call(&clear_offer());
    world.run(10 * MS);
    world.line.change_rules(Rules { media_minimum: MediaLevel::Zrtp, ..Rules::strict(ACCOUNT) }.into());
    let next = world.call(&offer());
    assert_eq!(world.statuses(next), [488], "tightened at once");
    assert_eq!(world.again(dialog, Method::INVITE, Some(&clear_offer())).status, 200, "and the call goes on");
    world.line.change_rules(excepting(ACCOUNT, &[Downgrade::MediaClear]));
    let next = world.call(&clear_offer());
    assert_eq!(world.statuses(next), [180, 200], "loosened for new calls");
}

#[test]
fn a_running_call_is_not_loosened() {
    let mut world = World::with_rules(Rules::strict(ACCOUNT));
    world.line.begin_day(LAST_DAY);
    let dialog = world.call(&offer());
    world.run(10 * MS);
    let lax = Rules { short_tags: true, ..Rules::strict(ACCOUNT) };
    world.line.change_rules(AccountRules::new(lax, Vec::<Arc<Exception>>::new()));
    let short = sdp("RTP/SAVP", "96 0 101", &[&format!("crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{OTHER_KEY}")]);
    assert_eq!(world.again(dialog, Method::INVITE, Some(&short)).status, 488);
}
