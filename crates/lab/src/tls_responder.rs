//! A server that answers a ClientHello with a first flight and never gets further: for what real servers have forgotten
//! (SSL 3.0, export suites, compression), and for servers that misbehave. It reads hellos by itself, so it is also a
//! second opinion on who wrote them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Outcome;

/// What a server does with a hello.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Answers as the script says.
    Flight(Script),
    /// Resets the connection.
    Reset,
    /// Says nothing and stays.
    Silent,
    /// Sends these bytes and stays.
    Bytes(Vec<u8>),
    /// Answers so many connections as the script says, and then no more.
    Tired(Script, usize),
}

/// A server of SSL 3.0 to TLS 1.2.
#[derive(Clone, Debug)]
pub struct Script {
    /// Versions on the wire, such as `0x0300`.
    pub versions: Vec<u16>,
    /// Suites; the server's order counts.
    pub suites: Vec<u16>,
    /// The client's order counts instead.
    pub client_order: bool,
    /// Curves, in the server's order.
    pub groups: Vec<u16>,
    /// Bits of the prime of DHE.
    pub prime_bits: usize,
    /// The certificate in DER.
    pub certificate: Vec<u8>,
    /// The certificate for clients that send no SNI.
    pub nameless_certificate: Option<Vec<u8>>,
    /// Chooses DEFLATE if it is offered.
    pub compression: bool,
    /// Extensions that are echoed if they were offered, by number.
    pub echoed: Vec<u16>,
    /// The protocol that it selects; with `None`, ALPN is ignored.
    pub alpn: Option<String>,
    /// Ends the handshake for any ALPN.
    pub alpn_refused: bool,
    /// Sends a CertificateRequest.
    pub certificate_request: bool,
    /// Knows the fallback SCSV.
    pub fallback_scsv: bool,
}

impl Script {
    /// A server of these versions and suites with nothing special.
    pub fn new(versions: &[u16], suites: &[u16], certificate: Vec<u8>) -> Script {
        Script {
            versions: versions.to_vec(),
            suites: suites.to_vec(),
            client_order: false,
            groups: vec![23],
            prime_bits: 1024,
            certificate,
            nameless_certificate: None,
            compression: false,
            echoed: Vec::new(),
            alpn: None,
            alpn_refused: false,
            certificate_request: false,
            fallback_scsv: false,
        }
    }
}

/// A running responder on 127.0.0.1. It ends when this is dropped.
pub struct Responder {
    address: SocketAddr,
    hellos: Arc<Mutex<Vec<ClientHello>>>,
    task: JoinHandle<()>,
}

impl Responder {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(manner: Manner) -> Outcome<Responder> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (address, hellos) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&hellos);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, manner.clone(), Arc::clone(&noted)));
            }
        });
        Ok(Responder { address, hellos, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every hello until now.
    pub fn hellos(&self) -> Vec<ClientHello> {
        self.hellos.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut connection: TcpStream, manner: Manner, noted: Arc<Mutex<Vec<ClientHello>>>) {
    let mut header = [0; 5];
    if connection.read_exact(&mut header).await.is_err() {
        return;
    }
    let mut message = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    if connection.read_exact(&mut message).await.is_err() {
        return;
    }
    let Some(hello) = ClientHello::read(&message) else { return };
    let number = {
        let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push(hello.clone());
        noted.len()
    };
    let answer = match manner {
        Manner::Reset => {
            let _ = connection.set_zero_linger();
            return;
        }
        Manner::Silent => Vec::new(),
        Manner::Tired(_, most) if number > most => Vec::new(),
        Manner::Bytes(bytes) => bytes,
        Manner::Flight(script) | Manner::Tired(script, _) => script.answer(&hello),
    };
    let _ = connection.write_all(&answer).await;
    let mut rest = [0; 64];
    while connection.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}

/// A ClientHello, as far as an answer depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The version field.
    pub version: u16,
    /// The suites.
    pub suites: Vec<u16>,
    /// The compression methods.
    pub compressions: Vec<u8>,
    /// The extensions' numbers, in the client's order.
    pub extensions: Vec<u16>,
    /// The groups.
    pub groups: Vec<u16>,
    /// SNI.
    pub name: Option<String>,
}

impl ClientHello {
    fn read(message: &[u8]) -> Option<ClientHello> {
        let (&[1, ..], body) = (message.first_chunk::<4>()?, message.get(4..)?) else { return None };
        let mut hello = ClientHello { version: u16_at(body, 0)?, ..ClientHello::default() };
        let mut at = 34;
        at += 1 + usize::from(*body.get(at)?);
        let length = usize::from(u16_at(body, at)?);
        hello.suites = numbers(body.get(at + 2..at + 2 + length)?);
        at += 2 + length;
        let length = usize::from(*body.get(at)?);
        hello.compressions = body.get(at + 1..at + 1 + length)?.to_vec();
        at += 1 + length;
        let Some(end) = u16_at(body, at).map(|length| at + 2 + usize::from(length)) else { return Some(hello) };
        at += 2;
        while at < end {
            let (kind, length) = (u16_at(body, at)?, usize::from(u16_at(body, at + 2)?));
            let value = body.get(at + 4..at + 4 + length)?;
            hello.extensions.push(kind);
            match kind {
                0 => hello.name = Some(String::from_utf8_lossy(value.get(5..)?).into_owned()),
                10 => hello.groups = numbers(value.get(2..)?),
                _ => {}
            }
            at += 4 + length;
        }
        (at == body.len()).then_some(hello)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

impl Script {
    fn answer(&self, hello: &ClientHello) -> Vec<u8> {
        // as servers do: the highest version of ours that is not above the client's
        let Some(version) = self.versions.iter().copied().filter(|ours| *ours <= hello.version).max() else {
            return alert(70);
        };
        let highest = self.versions.iter().copied().max().unwrap_or(version);
        if self.fallback_scsv && hello.suites.contains(&0x5600) && hello.version < highest {
            return alert(86);
        }
        if self.alpn_refused && hello.extensions.contains(&16) {
            return alert(120);
        }
        let group = self.groups.iter().copied().find(|group| hello.groups.contains(group));
        let (first, second) = match self.client_order {
            true => (&hello.suites, &self.suites),
            false => (&self.suites, &hello.suites),
        };
        let usable = |suite: u16| group.is_some() || !elliptic(suite);
        let suite = first.iter().copied().find(|suite| second.contains(suite) && usable(*suite));
        suite.map_or_else(|| alert(40), |suite| self.flight(hello, version, suite, group))
    }

    fn flight(&self, hello: &ClientHello, version: u16, suite: u16, group: Option<u16>) -> Vec<u8> {
        let mut messages = handshake(2, &self.server_hello(hello, version, suite));
        let certificate = match &self.nameless_certificate {
            Some(other) if hello.name.is_none() => other,
            _ => &self.certificate,
        };
        let list = sized24(certificate);
        messages.extend(handshake(11, &sized24(&list)));
        if elliptic(suite) {
            let group = group.unwrap_or(23).to_be_bytes();
            messages.extend(handshake(12, &[3, group[0], group[1], 1, 4]));
        } else if DHE.contains(&suite) {
            let prime = vec![0xff; self.prime_bits / 8];
            messages.extend(handshake(12, &[sized16(&prime), sized16(&[2]), sized16(&[4])].concat()));
        }
        if self.certificate_request {
            messages.extend(handshake(13, &[1, 1, 0, 0]));
        }
        messages.extend(handshake(14, &[]));
        [&[22][..], &version.to_be_bytes(), &sized16(&messages)].concat()
    }

    fn server_hello(&self, hello: &ClientHello, version: u16, suite: u16) -> Vec<u8> {
        let compression = u8::from(self.compression && hello.compressions.contains(&1));
        let mut extensions = Vec::new();
        for kind in self.echoed.iter().filter(|kind| hello.extensions.contains(kind)) {
            let value: &[u8] = match kind {
                15 => &[1],
                0xff01 => &[0],
                _ => &[],
            };
            extensions.extend([&kind.to_be_bytes()[..], &sized16(value)].concat());
        }
        if let (Some(protocol), true) = (&self.alpn, hello.extensions.contains(&16)) {
            let name = [&[protocol.len() as u8][..], protocol.as_bytes()].concat();
            extensions.extend([&[0, 16][..], &sized16(&sized16(&name))].concat());
        }
        let mut body = [&version.to_be_bytes()[..], &[0x42; 32], &[0]].concat();
        body.extend(suite.to_be_bytes());
        body.push(compression);
        if !extensions.is_empty() {
            body.extend(sized16(&extensions));
        }
        body
    }
}

/// Some suites of DHE, export and anonymous ones among them.
const DHE: [u16; 9] = [0x0014, 0x0016, 0x0018, 0x001b, 0x0033, 0x0034, 0x0039, 0x009e, 0x009f];

/// Whether a suite is one of ECDHE or ECDH_anon.
fn elliptic(suite: u16) -> bool {
    [0xc006..=0xc00a, 0xc010..=0xc019, 0xc023..=0xc024, 0xc027..=0xc028, 0xc02b..=0xc02c, 0xc02f..=0xc030]
        .iter()
        .any(|range| range.contains(&suite))
}

fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 1, 0, 2, 2, description]
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &sized24(body)].concat()
}

fn sized16(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u16).to_be_bytes()[..], body].concat()
}

fn sized24(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[1..], body].concat()
}
