//! Every message in every state: what it does is written down here, and everything else is nothing.

use super::support::{Memory, Network, Party, Seeded, Stub, kind};
use crate::wire::seal;
use crate::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const KINDS: [&str; 16] = [
    "Hello", "HelloACK", "Commit", "DHPart1", "DHPart2", "Confirm1", "Confirm2", "Conf2ACK", "Error", "ErrorACK",
    "GoClear", "ClearACK", "SASrelay", "RelayACK", "Ping", "PingACK",
];

/// Rows: states of the victim. Columns as in `KINDS`, each message being the one that the peer really sends in this exchange.
/// `.` ignored, `=` used and answered without a change of state, `~` acknowledged and ignored, otherwise the first letters of
/// the state that follows.
const TABLE: [(&str, &str); 8] = [
    // state          He HA Co D1 D2 C1 C2 CA Er EA GC CA SR RA Pi PA
    ("Discovery", "=  =  P1 .  .  .  .  .  F  .  .  .  .  .  =  . "),
    ("SentCommit", "=  .  P1 P2 .  .  .  .  F  .  .  .  .  .  =  . "),
    ("SentDhPart2", "=  .  .  .  .  C2 .  .  F  .  .  .  .  .  =  . "),
    ("SentConfirm2", "=  .  .  .  .  .  .  S  F  .  .  .  .  .  =  . "),
    ("SentDhPart1", "=  .  =  .  C1 .  .  .  F  .  .  .  .  .  =  . "),
    ("SentConfirm1", "=  .  .  .  =  .  S  .  F  .  .  .  .  .  =  . "),
    ("Secure", ".  .  .  .  .  .  =  .  ~  .  =  .  =  .  =  . "),
    ("Failed", ".  .  .  .  .  .  .  .  ~  =  .  .  .  .  =  . "),
];

fn short_name(state: &str) -> &str {
    match state {
        "SentCommit" => "Co",
        "SentDhPart1" => "P1",
        "SentDhPart2" => "P2",
        "SentConfirm1" => "C1",
        "SentConfirm2" => "C2",
        "Secure" => "S",
        "Failed" => "F",
        _ => "D",
    }
}

/// Victim and peer, always with the same random octets.
fn pair(role: Role) -> Network {
    let [victim, peer] = [1u8, 2].map(|who| {
        let mut config = Config::new(Zid([who; 12]), u32::from(who));
        config.offer.agreements = vec![KeyAgreement::X255];
        let commits = (who == 1) == (role == Role::Initiator);
        config.timers.commit_delay = Duration::from_secs(if commits { 0 } else { 3600 });
        let memory = Memory::default();
        Party::new(Engine::with_agreements(config, Seeded(u64::from(who)), memory.clone(), Stub), memory)
    });
    let mut network = Network::new(victim, peer);
    network.start_both();
    network
}

/// What the peer of a victim in this role sends: in the exchange itself, or, for what it does not send there, well-formed.
fn messages_of_the_peer(role: Role) -> BTreeMap<String, Vec<u8>> {
    let mut network = pair(role);
    let recorded = Arc::new(Mutex::new(BTreeMap::new()));
    let record = recorded.clone();
    network.filter = Box::new(move |from, datagram| {
        if from == 1 {
            record.lock().unwrap().insert(kind(datagram), datagram[12..datagram.len() - 4].to_vec());
        }
        true
    });
    network.run();
    let mut messages = recorded.lock().unwrap().clone();
    let peer = &network.parties[1].engine;
    // the highest hvi wins any contention
    messages.entry("Commit".into()).or_insert_with(|| peer.forge_commit("S256AES1HS80X255B32 ", &[0xff; 32]));
    for (kind, octets) in [
        (b"HelloACK", 0),
        (b"DHPart1 ", 104),
        (b"DHPart2 ", 104),
        (b"Confirm1", 64),
        (b"Confirm2", 64),
        (b"Conf2ACK", 0),
        (b"Error   ", 4),
        (b"ErrorACK", 0),
        (b"GoClear ", 8),
        (b"ClearACK", 0),
        (b"SASrelay", 64),
        (b"RelayACK", 0),
        (b"Ping    ", 12),
        (b"PingACK ", 24),
    ] {
        let name = String::from_utf8_lossy(kind).trim_end().to_owned();
        messages.entry(name).or_insert_with(|| message::build(kind, &[&vec![0; octets]]));
    }
    messages
}

fn in_state(role: Role, state: &str, messages: &BTreeMap<String, Vec<u8>>) -> Network {
    let mut network = pair(role);
    reach(&mut network, state, messages);
    network
}

/// Brings the victim into the state.
fn reach(network: &mut Network, state: &str, messages: &BTreeMap<String, Vec<u8>>) {
    let now = network.now;
    let victim = &mut network.parties[0].engine;
    victim.start(now);
    if state == "Discovery" {
        victim.handle_packet(now, &seal(1, 2, &messages["Hello"]));
        return;
    }
    if state == "Failed" {
        victim.handle_packet(now, &seal(1, 2, &messages["Hello"]));
        let commit = messages["Commit"].clone();
        let refused = [&commit[..52], b"XXXX", &commit[56..]].concat();
        victim.handle_packet(now, &seal(1, 2, &refused));
        assert_eq!(victim.state_name(), "Failed");
        return;
    }
    network.run_until(Duration::from_secs(30), |parties| parties[0].engine.state_name() == state);
    assert_eq!(network.parties[0].engine.state_name(), state);
}

#[test]
fn every_message_in_every_state() {
    let mut wrong = Vec::new();
    for (state, row) in TABLE {
        let roles: &[Role] = match state {
            "SentCommit" | "SentDhPart2" | "SentConfirm2" => &[Role::Initiator],
            "Failed" => &[Role::Responder, Role::Initiator],
            _ => &[Role::Responder],
        };
        for role in roles {
            let messages = messages_of_the_peer(*role);
            for (column, kind) in KINDS.iter().enumerate() {
                let expected = row[3 * column..3 * column + 2].trim();
                let mut network = in_state(*role, state, &messages);
                let victim = &mut network.parties[0];
                victim.drain();
                let datagram = seal(77, 2, &messages[*kind]);
                let receipt = victim.engine.handle_packet(network.now, &datagram);
                let victim = &mut network.parties[0];
                let answers = victim.drain();
                let after = victim.engine.state_name();
                let seen = match (receipt, after == state, answers.is_empty()) {
                    (Receipt::Dropped(_), true, true) => ".",
                    (Receipt::Dropped(_), true, false) => "~",
                    (Receipt::Dropped(_), false, _) => "dropped and changed",
                    (_, true, _) => "=",
                    (_, false, _) => short_name(after),
                };
                if seen != expected {
                    wrong.push(format!("{kind} in {state}: expected {expected}, seen {seen} ({receipt:?})"));
                }
                assert!(victim.failed.is_some() == (after == "Failed"), "{kind} in {state}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A secure initiator is as deaf as a secure responder, and does not answer Confirm2.
#[test]
fn a_secure_initiator_uses_nothing() {
    let messages = messages_of_the_peer(Role::Initiator);
    for kind in KINDS.iter().filter(|kind| !["Ping", "Error", "GoClear", "SASrelay"].contains(*kind)) {
        let mut network = in_state(Role::Initiator, "Secure", &messages);
        let now = network.now;
        network.parties[0].drain();
        let receipt = network.parties[0].engine.handle_packet(now, &seal(77, 2, &messages[*kind]));
        assert_eq!(receipt, Receipt::Dropped(Dropped::Unexpected), "{kind}");
        assert!(network.parties[0].drain().is_empty());
    }
}
