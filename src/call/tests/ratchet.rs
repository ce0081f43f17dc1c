//! What a line learns for the ratchet, and whom it refuses by it.

use super::zrtp::{by_voice, called};
use super::*;
use crate::peers::Shown;
use crate::units::UnixTime;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn shown(world: &World) -> Vec<Shown> {
    world.held.iter().map(|record| record.shown).collect()
}

#[test]
fn a_registration_over_tls_1_3_and_a_call_with_srtp_are_shown_once_a_day() {
    let mut world = World::new();
    assert_eq!(shown(&world), [Shown::Tls], "the registrar has asked for no password");
    let dialog = world.call(&offer());
    assert_eq!((world.states(), shown(&world)), (vec!["talking"], vec![Shown::Tls, Shown::Media]));
    world.phone.bye(world.now, dialog, None);
    world.call(&offer());
    assert_eq!(world.held.len(), 2);
    for day in 1..3 {
        let floors = world.ratchet.floors("gateway@example.org", identity_time(&world));
        assert!(!floors.media && !floors.tls, "day {day}");
        world.run(DAY);
        let dialog = world.call(&offer());
        world.phone.bye(world.now, dialog, None);
        world.settle();
    }
    let floors = world.ratchet.floors("gateway@example.org", identity_time(&world));
    assert!(floors.media && floors.tls && !floors.digest);
}

fn identity_time(world: &World) -> UnixTime {
    world.clock.unix(world.now)
}

#[test]
fn an_offer_that_is_refused_and_a_call_that_nobody_acknowledges_show_nothing() {
    let mut world = World::new();
    world.held.clear();
    world.call(&sdp("RTP/AVP", "96 0", &[]));
    world.passes = Box::new(|from_phone, message| {
        !(from_phone && matches!(message, Message::Request(request) if request.method == Method::ACK))
    });
    world.call(&offer());
    assert!(world.held.is_empty(), "{:?}", shown(&world));
}

#[test]
fn a_caller_whose_code_was_compared_is_held_to_zrtp_until_the_account_is_cleared() {
    let mut world = World::new();
    let (dialog, _handset) = called(&mut world, 7, None);
    world.line.sas_compared(world.now, CallNumber(1), true, by_voice()).unwrap();
    world.settle();
    world.phone.bye(world.now, dialog, None);
    world.run(10 * MS);

    let refused = world.call(&offer());
    assert_eq!(world.statuses(refused), [488]);
    let warning = world.responses(refused)[0].headers.get("Warning").unwrap().to_owned();
    assert!(warning.contains("came with ZRTP and a compared code before"), "{warning}");
    // without an offer of his own he is offered ZRTP, and nothing else
    let late = world.call_with(None);
    let body = String::from_utf8(world.responses(late).pop().unwrap().body).unwrap();
    assert!(body.contains("a=zrtp-hash") && !body.contains("a=crypto"), "{body}");

    world.run(SECOND);
    world.ratchet.clear("gateway@example.org", identity_time(&world));
    world.line.ratchet_cleared();
    world.said.clear();
    let taken = world.call(&offer());
    assert_eq!(world.statuses(taken), [180, 200]);
    assert!(!world.said.iter().any(|(_, text)| text.contains("came with ZRTP before")));
}

#[test]
fn a_caller_whose_code_nobody_compared_is_only_told_of() {
    let mut world = World::new();
    let (dialog, _handset) = called(&mut world, 7, None);
    world.phone.bye(world.now, dialog, None);
    world.run(10 * MS);
    world.said.clear();
    let taken = world.call(&offer());
    assert_eq!(world.statuses(taken), [180, 200]);
    assert!(world.said.iter().any(|(_, text)| text.contains("this caller came with ZRTP before")), "{:?}", world.said);
}
