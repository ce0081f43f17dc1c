//! The engine and Linphone's libbzrtp agree, over UDP on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

mod interop;

use interop::peer::Peer;
use std::time::{Duration, Instant};

/// The peer is judged first: with another of its kind.
#[test]
fn libbzrtp_agrees_with_itself() {
    let mut a = Peer::spawn(&["--role", "initiator", "--loss", "10", "--seed", "1"]);
    let mut b = Peer::spawn(&["--role", "responder", "--loss", "10", "--seed", "2"]);
    a.start(b.port, Some(&b.hello_hash));
    b.start(a.port, Some(&a.hello_hash));
    let start = Instant::now();
    while !(a.is_secure() & b.is_secure()) {
        assert!(start.elapsed() < Duration::from_secs(20), "{:#?}\n{:#?}", a.log, b.log);
        std::thread::sleep(Duration::from_millis(5));
    }
    a.end();
    b.end();
    let (of_a, of_b) = (a.secure().unwrap(), b.secure().unwrap());
    assert!(of_a.initiator && !of_b.initiator);
    assert_eq!((of_a.sas, of_a.algorithms), (of_b.sas, of_b.algorithms));
    assert_eq!(a.keys("sending").unwrap(), b.keys("receiving").unwrap());
    assert_eq!(b.keys("sending").unwrap(), a.keys("receiving").unwrap());
}
