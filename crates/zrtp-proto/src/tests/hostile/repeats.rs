//! Repetitions and replays.

use super::*;

/// Every message twice and thrice: one answer each time, always the same message, and one result.
#[test]
fn duplicates_of_all_are_answered_alike() {
    let mut network = responder_and_initiator();
    let mut sent: std::collections::BTreeMap<(usize, String), Vec<u8>> = Default::default();
    network.duplication = 100;
    network.filter = Box::new(move |from, datagram| {
        let message = datagram[12..datagram.len() - 4].to_vec();
        let first = sent.entry((from, kind(datagram))).or_insert_with(|| message.clone());
        assert_eq!(*first, message, "a repetition differs");
        true
    });
    a_while(&mut network);
    assert!(network.both_secure());
    network.check_agreement();
    let responder = &network.parties[A];
    assert_eq!(
        ["DHPart1", "Confirm1", "Conf2ACK"].map(|kind| responder.count(kind)),
        [2, 2, 2],
        "{:?}",
        responder.sent
    );
    assert!(network.parties.iter().all(|party| party.remembered == 1));
}

/// A repetition that is not the same is no repetition.
#[test]
fn changed_repetitions_are_not_answered() {
    let mut network = responder_and_initiator();
    let recorded = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeMap::new()));
    let record = recorded.clone();
    network.filter = Box::new(move |_, datagram| {
        record.lock().unwrap().insert(kind(datagram), datagram.clone());
        true
    });
    for (state, repeated) in [("SentDhPart1", "Commit"), ("SentConfirm1", "DHPart2"), ("Secure", "Confirm2")] {
        until_state(&mut network, A, state);
        let same = recorded.lock().unwrap()[repeated].clone();
        assert_eq!(deliver(&mut network, A, &same).1.len(), 1, "{repeated}");
        let mut other = same;
        change(&mut other, |message| *message.last_mut().unwrap() ^= 1);
        assert_eq!(deliver(&mut network, A, &other), (Receipt::Dropped(Dropped::Unexpected), vec![]), "{repeated}");
    }
}

#[test]
fn packets_of_an_old_session() {
    let recorded = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = recorded.clone();
    let mut old = responder_and_initiator();
    old.filter = Box::new(move |from, datagram| {
        record.lock().unwrap().push((from, datagram.clone()));
        true
    });
    a_while(&mut old);
    assert!(old.both_secure());
    // the same parties call again; everything old comes before, during and after
    for moment in ["Discovery", "SentDhPart1", "SentConfirm1", "Secure"] {
        let [first, second] = [1, 2].map(|who| {
            Party::plain(who, 8, &Memory::default(), |config| {
                config.offer.agreements = vec![KeyAgreement::X255];
                config.timers.commit_delay = Duration::from_secs(if who == 1 { 3600 } else { 0 });
            })
        });
        let mut network = Network::new(first, second);
        network.start_both();
        until_state(&mut network, A, moment);
        for (from, datagram) in recorded.lock().unwrap().iter().filter(|(_, datagram)| kind(datagram) != "Hello") {
            let (receipt, _) = deliver(&mut network, 1 - from, datagram);
            let harmless = ["HelloACK", "Conf2ACK"].contains(&kind(datagram).as_str());
            assert!(harmless || matches!(receipt, Receipt::Dropped(_)), "{moment}: {}", kind(datagram));
        }
        a_while(&mut network);
        assert!(network.both_secure(), "{moment}");
        network.check_agreement();
    }
}

/// Somebody else's SSRC is somebody else's session.
#[test]
fn packets_of_another_ssrc() {
    let mut network = responder_and_initiator();
    network.filter = Box::new(|from, datagram| {
        if from == B && kind(datagram) == "DHPart2" {
            datagram[11] ^= 0x40;
            change(datagram, |_| {});
        }
        true
    });
    let limit = Duration::from_secs(3);
    network.run_until(limit, |_| false);
    assert_eq!(network.parties[A].engine.state_name(), "SentDhPart1");
}
