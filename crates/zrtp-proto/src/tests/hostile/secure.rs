//! What a stranger can still do to a secure stream: nothing.

use super::*;

fn secure_network() -> Network {
    let mut network = responder_and_initiator();
    a_while(&mut network);
    assert!(network.both_secure());
    network
}

#[test]
fn go_clear_in_a_secure_stream() {
    let mut network = secure_network();
    let go_clear = seal(50, ssrc(B), &message::build(b"GoClear ", &[&[0; 8]]));
    let (_, answers) = deliver(&mut network, A, &go_clear);
    assert_eq!(kind(&answers[0]), "Error");
    assert_eq!(answers[0][24..28], 0x100u32.to_be_bytes());
    assert_eq!(network.parties[A].warnings, [Warning::GoClearRefused]);
    assert_eq!(deliver(&mut network, A, &go_clear).1.len(), 0, "once");
    assert_eq!(network.parties[A].engine.state_name(), "Secure");
    assert_eq!(network.parties[A].engine.wake(), None);
}

#[test]
fn error_in_a_secure_stream() {
    let mut network = secure_network();
    let error = seal(50, ssrc(B), &message::build(b"Error   ", &[&0x70u32.to_be_bytes()]));
    let (receipt, answers) = deliver(&mut network, A, &error);
    assert_eq!(receipt, Receipt::Dropped(Dropped::Unexpected));
    assert_eq!(kind(&answers[0]), "ErrorACK");
    assert_eq!(network.parties[A].failed, None);
    assert_eq!(network.parties[A].engine.state_name(), "Secure");
}

#[test]
fn error_before_it_is_secure() {
    for state in ["SentDhPart1", "SentConfirm1"] {
        let mut network = responder_and_initiator();
        until_state(&mut network, A, state);
        let error = seal(50, ssrc(B), &message::build(b"Error   ", &[&0x70u32.to_be_bytes()]));
        let (_, answers) = deliver(&mut network, A, &error);
        assert_eq!(network.parties[A].failed, Some(Failure::PeerError(0x70)));
        assert_eq!(
            answers.iter().map(|answer| kind(answer)).collect::<Vec<_>>(),
            ["ErrorACK"],
            "no Error in answer to an Error"
        );
    }
}

#[test]
fn sas_relay_in_a_secure_stream() {
    let mut network = secure_network();
    let sas = network.parties[A].secure.as_ref().unwrap().sas;
    for relay in data(include_str!("../../../tests/data/values.json"))["sasrelay"].as_array().unwrap() {
        if relay["type"] != "SASrelay" {
            continue;
        }
        let recorded = unhex(relay["hex"].as_str().unwrap());
        let datagram = seal(50, ssrc(B), &recorded[12..recorded.len() - 4]);
        let (_, answers) = deliver(&mut network, A, &datagram);
        assert_eq!(kind(&answers[0]), "RelayACK");
    }
    assert_eq!(network.parties[A].warnings, [Warning::SasRelayIgnored]);
    assert_eq!(network.parties[A].secure.as_ref().unwrap().sas, sas);
}

#[test]
fn ping_is_answered_within_a_rate() {
    let mut network = responder_and_initiator();
    let ping = seal(50, 0x1234_5678, &message::build(b"Ping    ", &[b"1.10", &[0xaa; 8]]));
    let (receipt, answers) = deliver(&mut network, A, &ping);
    assert_eq!(receipt, Receipt::Accepted);
    let answer = &answers[0];
    assert_eq!(kind(answer), "PingACK");
    assert_eq!(answer[12..answer.len() - 4].len(), 36);
    assert_eq!(answer[24..48], [&b"1.10"[..], &[1; 8], &[0xaa; 8], &0x1234_5678u32.to_be_bytes()].concat());
    let more: usize = (0..100).map(|_| deliver(&mut network, A, &ping).1.len()).sum();
    assert!(more < 10, "{more}");
}
