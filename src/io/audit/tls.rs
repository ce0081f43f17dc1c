//! Runs a scan of one address: TCP, hand-made handshakes a few at a time, and one or three whole handshakes.
//!
//! In: the address and who should answer there. Out: facts, or the reason why there are none. No SIP is sent here, and
//! nothing is concluded: what a whole handshake shows comes from the code that `run` uses ([`tls::look`]).

use super::pace::Pace;
use crate::audit::facts::{
    Alpn, CertificateFacts, ClientCertificate, Judged, Negotiated, Obstacle, Tcp, Tested, TlsFacts, Version, WithoutSni,
};
use crate::audit::tls::hello::{ALPN_SIP, Hello};
use crate::audit::tls::reply::{End, Reader, Reply};
use crate::audit::tls::scan::{BUDGET, Found, Next, Scan, Ticket};
use crate::audit::tls::{groups, suites};
use crate::audit::{certificate, ocsp};
use crate::io::tls::{self, Look, Offer, Seen, SipIdentity, TlsStream, Trust};
use crate::io::{SystemRandomness, unix_time};
use crate::policy::{HandshakeFault, TlsVersion};
use crate::sip::printable;
use crate::units::Random as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// How many hand-made handshakes run at once.
const AT_ONCE: usize = 3;
/// How long a TCP connection may take: two lost SYNs.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a hand-made handshake may take, its connection included.
const HELLO: Duration = Duration::from_millis(2500);
/// How long a whole handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a server has time to say that it wanted a certificate of ours after all.
const SECOND_THOUGHTS: Duration = Duration::from_secs(1);
/// After so many hellos in a row without an answer the server has had enough.
const ENOUGH: u32 = 6;

/// What is probed, and on whose behalf.
struct Target<'a> {
    address: SocketAddr,
    identity: &'a SipIdentity,
    trust: &'a Trust,
    pace: &'a Pace,
    deadline: Instant,
}

/// Probes one address.
pub async fn probe(
    address: SocketAddr,
    identity: &SipIdentity,
    trust: &Trust,
    pace: &Pace,
    deadline: std::time::Instant,
) -> (Tested<Tcp>, Tested<TlsFacts>, Tested<CertificateFacts>) {
    let target = Target { address, identity, trust, pace, deadline: deadline.into() };
    let started = Instant::now();
    let tcp = match target.connect(CONNECT).await {
        Ok(tcp) => tcp,
        Err(failure) => {
            let why = format!("no TCP connection: {failure}");
            return (failure.fact(), Tested::Unknown(why.clone()), Tested::Unknown(why));
        }
    };
    let connect_ms = milliseconds(started);
    let (ordinary, found) = tokio::join!(target.ordinary(tcp), target.scan());
    let certificate = target.certificate(&ordinary, &found);
    let mut facts = found.facts;
    let only_13 =
        facts.versions.iter().all(|(version, taken)| *version == Version::Tls13 || taken != &Tested::Known(true));
    if only_13 && ordinary.negotiated.known().is_some() {
        (facts.without_sni, facts.alpn) = target.encrypted_answers(&ordinary).await;
    }
    facts.negotiated = ordinary.negotiated;
    facts.obstacle = ordinary.obstacle;
    if let Some(client_certificate) = ordinary.client_certificate {
        facts.client_certificate = client_certificate;
    }
    (Tested::Known(Tcp::Open { connect_ms }), Tested::Known(facts), certificate)
}

/// A connection that nobody judged, for questions that hold no secret.
pub(super) async fn open(
    address: SocketAddr,
    identity: &SipIdentity,
    trust: &Trust,
    pace: &Pace,
) -> Result<TlsStream<TcpStream>, String> {
    let target = Target { address, identity, trust, pace, deadline: Instant::now() + CONNECT + HANDSHAKE };
    let tcp = target.connect(CONNECT).await.map_err(|failure| format!("no TCP connection: {failure}"))?;
    let look = target.look(tcp, Offer { sni: true, alpn: None }).await;
    look.outcome.map_err(|error| printable(&error.to_string()))
}

/// What the handshake of this gateway showed.
struct Ordinary {
    seen: Option<Seen>,
    negotiated: Tested<Negotiated>,
    /// `None` if it did not get so far.
    client_certificate: Option<Tested<ClientCertificate>>,
    obstacle: Option<Obstacle>,
}

impl Target<'_> {
    async fn connect(&self, patience: Duration) -> Result<TcpStream, NoConnection> {
        let attempt = async {
            self.pace.turn().await.map_err(|error| NoConnection::NotTried(error.to_string()))?;
            match timeout(patience, TcpStream::connect(self.address)).await {
                Ok(result) => result.map_err(NoConnection::from),
                Err(_) => Err(NoConnection::Silent),
            }
        };
        let late = |_| Err(NoConnection::NotTried("the audit's time was over".to_owned()));
        timeout_at(self.deadline, attempt).await.unwrap_or_else(late)
    }

    async fn scan(&self) -> Found {
        let name = matches!(ServerName::try_from(self.identity.expected_name.as_str()), Ok(ServerName::DnsName(_)));
        let mut scan = Scan::new(name.then(|| self.identity.expected_name.clone()), BUDGET);
        let (mut open, mut unanswered) = (FuturesUnordered::new(), 0);
        loop {
            while open.len() < AT_ONCE
                && let Next::Ask(ticket, hello) = scan.poll()
            {
                open.push(self.ask(ticket, hello));
            }
            match timeout_at(self.deadline, open.next()).await {
                Ok(Some((ticket, reply))) => {
                    let answered = !matches!(reply.end, End::Silent | End::NotConnected(_));
                    unanswered = if answered { 0 } else { unanswered + 1 };
                    scan.answer(ticket, reply);
                }
                Ok(None) => return scan.finish(),
                Err(_) => {
                    scan.stop("the audit's time was over");
                    return scan.finish();
                }
            }
            if unanswered >= ENOUGH {
                scan.stop("the server stopped answering");
                return scan.finish();
            }
        }
    }

    async fn ask(&self, ticket: Ticket, hello: Hello) -> (Ticket, Reply) {
        let tcp = match self.connect(HELLO).await {
            Ok(tcp) => tcp,
            Err(failure) => return (ticket, Reply::nothing(End::NotConnected(failure.to_string()))),
        };
        let mut random = [0; 64];
        SystemRandomness::default().fill(&mut random);
        (ticket, exchange(tcp, &hello.write(&random)).await)
    }

    /// The handshake of this gateway, and what becomes of the connection in the next moment.
    async fn ordinary(&self, tcp: TcpStream) -> Ordinary {
        let started = Instant::now();
        let Look { seen, client_certificate, outcome } = self.look(tcp, Offer { sni: true, alpn: None }).await;
        let handshake_ms = milliseconds(started);
        let asked = client_certificate != tls::ClientCertificate::NotAsked;
        match outcome {
            Ok(mut stream) => {
                let wanted = match asked {
                    false => ClientCertificate::NotRequested,
                    true => second_thoughts(&mut stream).await,
                };
                Ordinary {
                    seen,
                    negotiated: negotiated(&stream, handshake_ms),
                    client_certificate: Some(Tested::Known(wanted)),
                    obstacle: (wanted == ClientCertificate::Required).then_some(Obstacle::ClientCertificate),
                }
            }
            Err(error) => {
                let required = asked && is_refusal(&error);
                Ordinary {
                    seen,
                    negotiated: Tested::Unknown(printable(&error.to_string())),
                    client_certificate: required.then_some(Tested::Known(ClientCertificate::Required)),
                    obstacle: obstacle(client_certificate, &error),
                }
            }
        }
    }

    async fn look(&self, tcp: TcpStream, offer: Offer) -> Look {
        let left = self.deadline.saturating_duration_since(Instant::now());
        tls::look(tcp, self.identity, self.trust, offer, HANDSHAKE.min(left)).await
    }

    /// Where only TLS 1.3 is spoken, certificate and ALPN show in whole handshakes only.
    async fn encrypted_answers(&self, ordinary: &Ordinary) -> (Tested<WithoutSni>, Tested<Alpn>) {
        let without_name = match self.connect(CONNECT).await {
            Ok(tcp) => {
                let look = self.look(tcp, Offer { sni: false, alpn: None }).await;
                without_sni(ordinary.seen.as_ref(), &look)
            }
            Err(failure) => Tested::Unknown(failure.to_string()),
        };
        let alpn = match self.connect(CONNECT).await {
            Ok(tcp) => alpn(&self.look(tcp, Offer { sni: true, alpn: Some(ALPN_SIP) }).await.outcome),
            Err(failure) => Tested::Unknown(failure.to_string()),
        };
        (without_name, alpn)
    }

    /// The certificate of this gateway's handshake; of a hand-made one where this gateway gets none.
    fn certificate(&self, ordinary: &Ordinary, found: &Found) -> Tested<CertificateFacts> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(unix_time().0));
        let in_clear = || {
            let in_clear = found.in_clear.as_ref()?;
            let chain: Vec<CertificateDer<'static>> =
                in_clear.chain.iter().cloned().map(CertificateDer::from).collect();
            let mut seen = tls::observe(&chain, self.identity, self.trust, now)?;
            seen.peer.version = version_fact(in_clear.version);
            seen.staple = in_clear.staple.clone().unwrap_or_default();
            Some(seen)
        };
        let mut seen = match ordinary.seen.clone().or_else(in_clear) {
            Some(seen) => seen,
            None => {
                let why = match &ordinary.negotiated {
                    Tested::Unknown(why) => why.clone(),
                    Tested::Known(_) => "the server showed no certificate".to_owned(),
                };
                return Tested::Unknown(why);
            }
        };
        if ordinary.seen.is_some() && ordinary.negotiated.known().is_none() {
            // the handshake failed behind the certificate: in the best version that there is
            let best = found.facts.versions.iter().rev().find(|(_, taken)| taken == &Tested::Known(true));
            seen.peer.version = best.map_or(seen.peer.version, |(version, _)| version_fact(*version));
        }
        Tested::Known(self.certificate_facts(&seen, now))
    }

    fn certificate_facts(&self, seen: &Seen, now: UnixTime) -> CertificateFacts {
        let sent = seen.chain.iter().filter_map(|certificate| webpki::anchor_from_trusted_cert(certificate).ok());
        let issuers: Vec<_> = sent.chain(self.trust.roots().iter().cloned()).collect();
        let staple = seen.chain.first().map(|leaf| ocsp::judge(&seen.staple, leaf, &issuers, now));
        CertificateFacts {
            chain: seen.chain.iter().map(|der| certificate::read(der)).collect(),
            judged: Judged {
                version: seen.peer.version,
                chain: seen.peer.chain,
                chain_detail: printable(&seen.chain_detail),
                name: seen.peer.name,
                validity: seen.peer.validity,
                pin: seen.peer.pin,
            },
            webpki_name: seen.webpki_name,
            ocsp_staple: staple.map_or_else(Tested::not_yet, Tested::Known),
        }
    }
}

/// Sends a hello and reads the first flight.
async fn exchange(mut tcp: TcpStream, hello: &[u8]) -> Reply {
    let mut reader = Reader::new();
    let conversation = async {
        if tcp.set_nodelay(true).and(tcp.write_all(hello).await).is_err() {
            return End::Closed;
        }
        let mut buffer = [0; 4096];
        loop {
            match tcp.read(&mut buffer).await {
                Ok(0) | Err(_) => return End::Closed,
                Ok(count) if reader.push(&buffer[..count]) => return End::Complete,
                Ok(_) => {}
            }
        }
    };
    let end = timeout(HELLO, conversation).await.unwrap_or(End::Silent);
    reader.end(end)
}

/// Whether the server says after the handshake that it wanted a certificate of ours: in TLS 1.3 it cannot say so before.
async fn second_thoughts(stream: &mut TlsStream<TcpStream>) -> ClientCertificate {
    let mut buffer = [0; 1];
    match timeout(SECOND_THOUGHTS, stream.read(&mut buffer)).await {
        Ok(Ok(0) | Err(_)) => ClientCertificate::Required,
        Ok(Ok(_)) | Err(_) => ClientCertificate::Requested,
    }
}

fn negotiated(stream: &TlsStream<TcpStream>, handshake_ms: u64) -> Tested<Negotiated> {
    let (_, session) = stream.get_ref();
    let group = session.negotiated_key_exchange_group().map(|group| groups::name(group.name().into()));
    let facts = || {
        Some(Negotiated {
            version: match session.protocol_version()? {
                rustls::ProtocolVersion::TLSv1_3 => Version::Tls13,
                _ => Version::Tls12,
            },
            suite: suites::name(session.negotiated_cipher_suite()?.suite().into()),
            group: group.unwrap_or_default(),
            handshake_ms,
        })
    };
    facts().map_or_else(Tested::not_yet, Tested::Known)
}

fn without_sni(with: Option<&Seen>, without: &Look) -> Tested<WithoutSni> {
    let leaf = |seen: &Seen| seen.chain.first().cloned();
    match (with.and_then(leaf), without.seen.as_ref().and_then(leaf), &without.outcome) {
        (Some(with), Some(without), _) if with == without => Tested::Known(WithoutSni::Same),
        (Some(_), Some(_), _) => Tested::Known(WithoutSni::Other),
        (Some(_), None, Err(error)) if is_refusal(error) => Tested::Known(WithoutSni::Refused),
        (_, _, Err(error)) => Tested::Unknown(printable(&error.to_string())),
        _ => Tested::Unknown("it shows no certificate".to_owned()),
    }
}

fn alpn(outcome: &io::Result<TlsStream<TcpStream>>) -> Tested<Alpn> {
    match outcome {
        Ok(stream) => Tested::Known(match stream.get_ref().1.alpn_protocol() {
            Some(protocol) => Alpn::Selected(printable(&String::from_utf8_lossy(protocol))),
            None => Alpn::Ignored,
        }),
        Err(error) if is_refusal(error) => Tested::Known(Alpn::Refused),
        Err(error) => Tested::Unknown(printable(&error.to_string())),
    }
}

/// Why a handshake failed, as `run` would state it.
fn obstacle(client_certificate: tls::ClientCertificate, error: &io::Error) -> Option<Obstacle> {
    if tls::is_too_old(error) {
        return Some(Obstacle::OldVersion);
    }
    if tls::is_bad_certificate(error) {
        return Some(Obstacle::BadCertificate);
    }
    Some(match client_certificate.fault(error)? {
        HandshakeFault::NoCommonSuite => Obstacle::NoCommonSuite,
        HandshakeFault::NoClientCertificate | HandshakeFault::ClientCertificate => Obstacle::ClientCertificate,
    })
}

/// Whether a handshake failed because the server ended it.
fn is_refusal(error: &io::Error) -> bool {
    let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(alert, Some(rustls::Error::AlertReceived(_)))
        || matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
}

fn version_fact(version: Version) -> TlsVersion {
    match version {
        Version::Tls13 => TlsVersion::Tls13,
        Version::Tls12 => TlsVersion::Tls12,
        _ => TlsVersion::Older,
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Why there is no TCP connection.
#[derive(Debug, thiserror::Error)]
enum NoConnection {
    #[error("refused")]
    Refused,
    #[error("no answer")]
    Silent,
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    NotTried(String),
}

impl From<io::Error> for NoConnection {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => NoConnection::Refused,
            io::ErrorKind::TimedOut => NoConnection::Silent,
            _ => NoConnection::Unreachable(error.to_string()),
        }
    }
}

impl NoConnection {
    fn fact(self) -> Tested<Tcp> {
        match self {
            NoConnection::Refused => Tested::Known(Tcp::Refused),
            NoConnection::Silent => Tested::Known(Tcp::Silent),
            NoConnection::Unreachable(why) => Tested::Known(Tcp::Unreachable(why)),
            NoConnection::NotTried(why) => Tested::Unknown(why),
        }
    }
}
