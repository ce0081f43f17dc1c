//! The end of the program.

use super::*;

/// Shuts down and tells how long it took to be finished.
fn shut_down(world: &mut World) -> Duration {
    let begun = world.now;
    world.wants.clear();
    world.sent.clear();
    world.line.shut_down(world.now);
    world.settle();
    while !world.wants.iter().any(|want| matches!(want, Output::Finished)) {
        world.run(10 * MS);
        assert!(world.now < begun + 10 * SECOND, "it never finishes");
    }
    world.now.duration_since(begun)
}

#[test]
fn every_call_is_ended_and_the_account_is_unregistered() {
    let (mut world, first) = World::talking();
    let second = world.call(&offer());
    world.room_is_ready = false;
    let joining = world.call(&offer());
    let took = shut_down(&mut world);
    assert!(took < SECOND, "{took:?}");
    for dialog in [first, second] {
        assert!(world.bye(dialog).unwrap().contains("the gateway is shutting down"));
    }
    assert_eq!(world.statuses(joining), [180, 480]);
    assert_eq!(world.wanted(), ["leave 1", "leave 2", "leave 3", "finished"]);
    let registers = world.requests("REGISTER");
    assert_eq!(registers.len(), 1);
    let removes = registers[0].headers.get("Expires") == Some("0")
        || registers[0].headers.get("Contact").is_some_and(|contact| contact.contains("expires=0"));
    assert!(removes, "{:?}", registers[0].headers.get("Contact"));
}

#[test]
fn it_is_finished_within_3_s_when_nobody_answers() {
    let (mut world, _) = World::talking();
    world.registrar_answers = false;
    world.passes = Box::new(|_, _| false);
    let took = shut_down(&mut world);
    assert!(took <= 3 * SECOND + 10 * MS, "{took:?}");
    assert_eq!(world.requests("BYE").len(), 1);
    world.wants.clear();
    world.run(60 * SECOND);
    assert!(!world.wanted().contains(&"finished".to_owned()), "it says so once");
}

#[test]
fn without_a_connection_it_is_finished_at_once() {
    let (mut world, _) = World::talking();
    world.disconnect();
    let took = shut_down(&mut world);
    assert!(took <= 3 * SECOND, "{took:?}");
}

#[test]
fn a_call_that_is_not_acknowledged_yet_gets_its_bye_too() {
    let mut world = World::new();
    world.passes =
        Box::new(|_, message| !matches!(message, Message::Request(request) if request.method == Method::ACK));
    let dialog = world.call(&offer());
    world.line.shut_down(world.now);
    world.settle();
    assert!(world.wants.iter().all(|want| !matches!(want, Output::Finished)), "the BYE has to wait for the ACK");
    world.passes = Box::new(|_, _| true);
    world.run(3 * SECOND);
    assert!(world.bye(dialog).is_some(), "the 200 came again, then the ACK, then the BYE");
    assert!(world.wants.iter().any(|want| matches!(want, Output::Finished)));
}

#[test]
fn nobody_gets_in_any_more() {
    let (mut world, _) = World::talking();
    world.registrar_answers = false;
    world.line.shut_down(world.now);
    world.settle();
    let late = world.call(&offer());
    assert_eq!(world.statuses(late), [503]);
    world.run(5 * SECOND);
    let later = world.call(&offer());
    assert_eq!(world.statuses(later), [503], "not even after the end");
    assert!(world.states().is_empty());
}
