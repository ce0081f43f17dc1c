//! Whether a host talks SIP without TLS on port 5060: two questions over UDP, two over TCP. No credential is ever sent there.

use super::conversation::Conversation;
use super::pace::Pace;
use crate::audit::facts::{PlainFacts, PlainTransport, Response, Tested};
use crate::audit::sip::{Carrier, Question, answers, request, response};
use crate::io::SystemRandomness;
use crate::sip::Message;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// SIP without TLS (RFC 3261 §19.1.2).
pub(super) const SIP_PORT: u16 = 5060;

/// How long silence has to last to be one.
const PATIENCE: Duration = Duration::from_secs(2);

/// When a datagram is sent a second time (T1, RFC 3261 §17.1.1.1).
const AGAIN: Duration = Duration::from_millis(500);

/// Asks at one address, over UDP and TCP at the same time.
pub(super) async fn probe(host: &str, address: SocketAddr, domain: &str, pace: &Pace) -> [PlainFacts; 2] {
    let facts =
        |transport, (options, register)| PlainFacts { host: host.to_owned(), address, transport, options, register };
    let (udp, tcp) = tokio::join!(over_udp(address, domain), over_tcp(address, domain, pace));
    [facts(PlainTransport::Udp, udp), facts(PlainTransport::Tcp, tcp)]
}

type Answers = (Tested<Option<Response>>, Tested<Option<Response>>);

fn both(tested: Tested<Option<Response>>) -> Answers {
    (tested.clone(), tested)
}

async fn over_udp(address: SocketAddr, domain: &str) -> Answers {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let opened = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(address).await?;
        let local = socket.local_addr()?;
        std::io::Result::Ok((socket, local))
    };
    let (socket, local) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return both(Tested::Unknown(format!("UDP cannot be used here: {error}"))),
    };
    let mut random = SystemRandomness::default();
    let options = request(Question::Options, domain, Carrier::Udp, local, &mut random);
    let register = request(Question::Register, domain, Carrier::Udp, local, &mut random);
    let (mut first, mut second) = (None, None);
    let mut buffer = vec![0; 64 * 1024];
    let deadline = Instant::now() + PATIENCE;
    let mut resend = Instant::now();
    while first.is_none() || second.is_none() {
        if Instant::now() >= resend {
            let mut closed = false; // says the host
            for (request, answered) in [(&options, first.is_some()), (&register, second.is_some())] {
                closed |= !answered && socket.send(&request.to_bytes()).await.is_err();
            }
            if closed {
                break;
            }
            resend += if resend + AGAIN < deadline - AGAIN { AGAIN * 2 } else { PATIENCE * 2 };
        }
        match timeout_at(deadline.min(resend), socket.recv(&mut buffer)).await {
            Err(_) if Instant::now() >= deadline => break,
            Err(_) => {}
            Ok(Err(_)) => break, // as above
            Ok(Ok(length)) => {
                let Ok(message) = Message::parse(&buffer[..length]) else { continue };
                first = first.or_else(|| answers(&message, &options).as_ref().map(response));
                second = second.or_else(|| answers(&message, &register).as_ref().map(response));
            }
        }
    }
    (Tested::Known(first), Tested::Known(second))
}

async fn over_tcp(address: SocketAddr, domain: &str, pace: &Pace) -> Answers {
    if pace.turn().await.is_err() {
        return both(Tested::Unknown("the audit had used up its connections".to_owned()));
    }
    let stream = match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) | Err(_) => return both(Tested::Known(None)), // nobody there: nothing speaks SIP
    };
    let Ok(local) = stream.local_addr() else { return both(Tested::Known(None)) };
    let mut random = SystemRandomness::default();
    let mut talk = Conversation::new(stream);
    let mut answers = Vec::new();
    for question in [Question::Options, Question::Register] {
        let answer = talk.ask(&request(question, domain, Carrier::Tcp, local, &mut random)).await;
        answers.push(Tested::Known(answer.known().map(response)));
    }
    talk.close().await;
    let register = answers.pop().unwrap_or_else(Tested::not_yet);
    (answers.pop().unwrap_or_else(Tested::not_yet), register)
}
