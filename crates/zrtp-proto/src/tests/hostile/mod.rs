//! Peers and strangers that break the rules, one rule at a time. Every test fails when the check that it names is removed.

mod chain;
mod commit;
mod hello;
mod packets;
mod repeats;
mod secure;
mod values;

use super::support::{Memory, Network, Party, Seeded, kind};
use super::{data, unhex};
use crate::message;
use crate::wire::{crc32c, seal};
use crate::*;
use std::time::{Duration, Instant};

const A: usize = 0;
const B: usize = 1;

/// A never commits by itself, B does at once: A is the responder. X25519, because it is fast.
fn responder_and_initiator() -> Network {
    with_agreement(KeyAgreement::X255)
}

fn with_agreement(agreement: KeyAgreement) -> Network {
    let [first, second] = [1, 2].map(|who| {
        Party::plain(who, 7, &Memory::default(), |config| {
            config.offer.agreements = vec![agreement];
            config.timers.commit_delay = Duration::from_secs(if who == 1 { 3600 } else { 0 });
        })
    });
    let mut network = Network::new(first, second);
    network.start_both();
    network
}

fn a_while(network: &mut Network) {
    let limit = network.now - network.begin + Duration::from_secs(30);
    network.run_until(limit, |parties| parties.iter().all(Party::is_over));
}

fn until_state(network: &mut Network, who: usize, state: &str) {
    network.run_until(Duration::from_secs(30), |parties| parties[who].engine.state_name() == state);
    assert_eq!(network.parties[who].engine.state_name(), state);
}

/// Changes octets of the message in a datagram, and makes the CRC right again.
fn change(datagram: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let end = datagram.len() - 4;
    change(&mut datagram[12..end]);
    let crc = crc32c(&datagram[..end]).to_le_bytes();
    datagram[end..].copy_from_slice(&crc);
}

/// Changes each message of this type on its way.
fn tamper(network: &mut Network, wanted: &'static str, how: impl Fn(&mut [u8]) + 'static) {
    network.filter = Box::new(move |_, datagram| {
        if kind(datagram) == wanted {
            change(datagram, &how);
        }
        true
    });
}

/// Who failed and why; the other side is told.
#[track_caller]
fn expect_failure(network: &mut Network, who: usize, failure: Failure) {
    a_while(network);
    assert_eq!(network.parties[who].failed, Some(failure));
    assert!(network.parties.iter().all(|party| party.secure.is_none() && party.remembered == 0));
    assert!(network.parties.iter().all(|party| party.send.is_none()));
    assert_eq!(network.parties[1 - who].failed, failure.code().map(Failure::PeerError), "the Error");
    let limit = network.now - network.begin + Duration::from_millis(100);
    network.run_until(limit, |_| false);
    assert_eq!(network.parties[who].engine.wake(), None, "Error is repeated though it was acknowledged");
    assert!(!format!("{failure}").is_empty());
}

/// Nobody used the packets of this kind, and the exchange did not come to an end with keys.
#[track_caller]
fn expect_stuck(network: &mut Network, victim: usize, state: &str) {
    let limit = network.now - network.begin + Duration::from_secs(3);
    network.run_until(limit, |parties| parties.iter().all(Party::is_over));
    assert_eq!(network.parties[victim].engine.state_name(), state);
    assert!(network.parties[victim].warnings.contains(&Warning::ForgedMessage));
    assert!(network.parties.iter().all(|party| party.secure.is_none()));
}

fn deliver(network: &mut Network, who: usize, datagram: &[u8]) -> (Receipt, Vec<Vec<u8>>) {
    let now = network.now;
    let receipt = network.parties[who].engine.handle_packet(now, datagram);
    let answers = network.parties[who].drain();
    (receipt, answers)
}

fn hello_of(network: &mut Network, who: usize) -> Vec<u8> {
    let message = network.parties[who].engine.hello_message().to_vec();
    seal(1, ssrc(who), &message)
}

const fn ssrc(who: usize) -> u32 {
    who as u32 + 1
}
