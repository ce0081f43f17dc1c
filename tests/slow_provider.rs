//! A provider that takes no bytes: what waits for it is bounded, and it does not hold anything else up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test may fail loudly")]

mod gateway;

use galene_sips::io::flow::Flow;
use galene_sips::io::tls::{self, SipIdentity, Trust};
use galene_sips::policy::{Connecting, Directions, Rules, Transport, judge};
use galene_sips_lab::certificates::{Authority, Kind, Tls};
use gateway::Directory;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const NAME: &str = "sip.lab.test";

/// A flow, and the other end of it.
async fn flow(name: &str) -> (Flow, TlsStream<TcpStream>) {
    let authority = Authority::new("Laboratory CA").unwrap();
    let server = authority.issue(Kind::Good, NAME).unwrap().server_config(Tls::Both).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let (give, take) = oneshot::channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = give.send(TlsAcceptor::from(Arc::clone(&server)).accept(stream).await.unwrap());
    });
    let directory = Directory::new(name);
    let trust = Trust::only(&directory.file("ca.pem", 0o644, &authority.pem())).unwrap();
    let rules = Rules::strict(format!("alice@{NAME}"));
    let identity = SipIdentity { expected_name: NAME.to_owned(), pins: Vec::new(), client: None };
    let allowed = judge(&rules, &Connecting { transport: Transport::Tls, dns: Directions::Usable }).allowed().unwrap();
    let connection = tls::connect_sip(allowed, &[address], &identity, &trust, &rules, tls::PATIENCE).await.unwrap();
    (Flow::new(connection).unwrap().0, take.await.unwrap())
}

#[tokio::test]
async fn what_is_sent_arrives_whole_and_in_order_while_the_other_side_speaks() {
    let (mut flow, mut peer) = flow("flow-order").await;
    let message: Vec<u8> = (0..200_000u32).map(|number| number as u8).collect();
    flow.send(&message).unwrap();
    let expected = message.clone();
    let peer = tokio::spawn(async move {
        let mut got = vec![0; expected.len()];
        for part in got.chunks_mut(50_000) {
            peer.write_all(b"and?").await.unwrap();
            peer.read_exact(part).await.unwrap();
        }
        assert!(got == expected);
        peer.shutdown().await.unwrap();
    });
    let mut buffer = [0; 100];
    let mut heard = 0;
    loop {
        // given up in the middle again and again: nothing may be lost
        match timeout(Duration::from_millis(1), flow.progress(&mut buffer)).await {
            Ok(Ok(0)) => break,
            Ok(Ok(length)) => heard += length,
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }
    assert_eq!(heard, 16);
    peer.await.unwrap();
}

#[tokio::test]
async fn no_more_than_a_quarter_of_a_mebibyte_waits_for_a_peer_that_takes_nothing() {
    let (mut flow, _peer) = flow("flow-bound").await;
    let mut buffer = [0; 100];
    let mut sent = 0;
    let error = loop {
        match flow.send(&[0; 60_000]) {
            Ok(()) => sent += 60_000,
            Err(error) => break error,
        }
        // the system's own buffers fill first
        let _ = timeout(Duration::from_millis(2), flow.progress(&mut buffer)).await;
        assert!(sent < 100_000_000, "it took {sent} bytes");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_gone_after_ten_seconds_and_a_goodbye_does_not_wait_for_it() {
    let (mut flow, _peer) = flow("flow-gone").await;
    let mut buffer = [0; 100];
    while flow.send(&[0; 60_000]).is_ok() {
        let _ = timeout(Duration::from_millis(2), flow.progress(&mut buffer)).await;
    }
    let gone = timeout(Duration::from_secs(12), flow.progress(&mut buffer)).await.expect("noticed");
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::TimedOut);
    timeout(Duration::from_secs(2), flow.close()).await.expect("a short goodbye");
}
