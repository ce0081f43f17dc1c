//! A TLS server that shows a given certificate and keeps every application byte that it gets. It proves that a client
//! who refuses the certificate said nothing first: no REGISTER, no name, no password.

use crate::Outcome;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// One connection to the trap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// The handshake was completed from the server's side. With TLS 1.3 a client may still have refused.
    pub handshake: bool,
    /// Why it was not, or how the connection ended: an alert, a closed connection.
    pub end: Option<String>,
    /// The application data that came.
    pub received: Vec<u8>,
}

/// A running trap. It ends when this is dropped.
pub struct TlsTrap {
    address: SocketAddr,
    visits: Arc<Mutex<Vec<Visit>>>,
    changed: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl TlsTrap {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(tls: Arc<ServerConfig>) -> Outcome<TlsTrap> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let visits = Arc::new(Mutex::new(Vec::new()));
        let (changes, changed) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let kept = visits.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let number = update(&kept, |visits| {
                    visits.push(Visit::default());
                    visits.len() - 1
                });
                let (tls, kept, changes) = (TlsAcceptor::from(tls.clone()), kept.clone(), changes.clone());
                connections.spawn(async move {
                    let note = |change: &mut dyn FnMut(&mut Visit)| {
                        update(&kept, |visits| visits.get_mut(number).map(change));
                        changes.send_modify(|count| *count += 1);
                    };
                    let end = hear(stream, tls, &note).await.err().map(|failure| failure.to_string());
                    note(&mut |visit| visit.end = Some(end.clone().unwrap_or_else(|| "closed".into())));
                });
            }
        });
        Ok(TlsTrap { address, visits, changed, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everybody who came until now.
    pub fn visits(&self) -> Vec<Visit> {
        update(&self.visits, |visits| visits.clone())
    }

    /// The first visit, once it has ended.
    pub async fn first_visit(&self, patience: Duration) -> Option<Visit> {
        let mut changed = self.changed.clone();
        let wait = async {
            loop {
                changed.mark_unchanged();
                if let Some(visit) = self.visits().into_iter().next().filter(|visit| visit.end.is_some()) {
                    return Some(visit);
                }
                changed.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }
}

fn update<T>(visits: &Mutex<Vec<Visit>>, change: impl FnOnce(&mut Vec<Visit>) -> T) -> T {
    change(&mut visits.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn hear(stream: TcpStream, tls: TlsAcceptor, note: &impl Fn(&mut dyn FnMut(&mut Visit))) -> Outcome<()> {
    let mut stream = tls.accept(stream).await?;
    let name = stream.get_ref().1.server_name().map(str::to_owned);
    note(&mut |visit| {
        visit.handshake = true;
        visit.server_name.clone_from(&name);
    });
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        note(&mut |visit| visit.received.extend(&buffer[..length]));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;
    use crate::certificates::{Authority, Kind, Tls, server_name};
    use tokio::io::AsyncWriteExt;
    use tokio_rustls::TlsConnector;

    async fn visit(kind: Kind, version: Tls) -> Visit {
        let authority = Authority::new("lab").unwrap();
        let identity = authority.issue(kind, "sip.lab.example").unwrap();
        let trap = TlsTrap::start(identity.server_config(version).unwrap()).await.unwrap();
        let stream = TcpStream::connect(trap.address()).await.unwrap();
        let connector = TlsConnector::from(authority.client_config().unwrap());
        if let Ok(mut stream) = connector.connect(server_name("sip.lab.example").unwrap(), stream).await {
            stream.write_all(b"REGISTER").await.unwrap();
            stream.shutdown().await.unwrap();
        }
        trap.first_visit(Duration::from_secs(5)).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_client_says_is_kept_and_a_refusal_is_seen() {
        for version in [Tls::V12, Tls::V13] {
            let content = visit(Kind::Good, version).await;
            assert_eq!(content.received, b"REGISTER");
            assert_eq!(content.server_name.as_deref(), Some("sip.lab.example"));
            let refused = visit(Kind::Expired, version).await;
            assert!(refused.received.is_empty());
            assert!(refused.end.unwrap().contains("CertificateExpired"), "the client's alert is kept");
        }
    }
}
