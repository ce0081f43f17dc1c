//! One TLS connection to a provider that `policy` admitted: reads into the caller's buffer, writes from a bounded one of its own.
//!
//! Nothing here waits for the peer while something else could be done: whoever drives it waits for [`Flow::progress`]
//! beside everything else. A peer that takes no bytes is gone.

use super::tls::{ClientCertificate, SipConnection, TlsDescription, TlsStream};
use crate::policy::{Exception, MayAuthenticate, Refusal, SignallingLevel, TlsPeer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

/// A peer that takes none of our bytes for so long is gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// So much may wait to be written: a handful of the largest messages.
const MOST_WAITING: usize = 256 * 1024;

/// How long the last bytes may take.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(700);

/// The connection.
pub struct Flow {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    outgoing: Vec<u8>,
    /// Since when the peer has taken nothing of what waits; `None` if nothing waits.
    waiting_since: Option<Instant>,
    /// TLS version, cipher suite and name, for people.
    pub description: TlsDescription,
    /// What was judged.
    pub peer: TlsPeer,
    /// What it is worth.
    pub level: SignallingLevel,
    /// The exception without which it would be refused.
    pub exception: Option<Arc<Exception>>,
    /// Whether the provider asked us who we are.
    pub client_certificate: ClientCertificate,
    /// Our side.
    pub local: SocketAddr,
    /// When it was established.
    pub since: Instant,
}

impl Flow {
    /// Takes a connection over; the proof is for whoever speaks over it.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn new(connection: SipConnection) -> io::Result<(Flow, MayAuthenticate)> {
        let SipConnection { stream, proof, peer, description, client_certificate } = connection;
        let local = stream.get_ref().0.local_addr()?;
        let (reader, writer) = tokio::io::split(stream);
        let (level, exception) = (proof.level(), proof.exception().map(Arc::clone));
        let since = super::now();
        let (outgoing, waiting_since) = (Vec::new(), None);
        let flow = Flow {
            reader,
            writer,
            outgoing,
            waiting_since,
            description,
            peer,
            level,
            exception,
            client_certificate,
            local,
            since,
        };
        Ok((flow, proof))
    }

    /// Takes a message to be written.
    ///
    /// # Errors
    /// When too much waits already.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.outgoing.len() + bytes.len() > MOST_WAITING {
            return Err(stalled());
        }
        self.outgoing.extend_from_slice(bytes);
        self.waiting_since.get_or_insert_with(super::now);
        Ok(())
    }

    /// Writes what waits until something has been read; 0 is the end. Nothing is lost if this is not waited for to its end.
    ///
    /// # Errors
    /// The connection broke, or the peer takes no bytes.
    pub async fn progress(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let waits = self.waiting_since;
            let patience = waits.unwrap_or(self.since) + WRITE_PATIENCE;
            tokio::select! {
                read = self.reader.read(buffer) => return read,
                written = write_some(&mut self.writer, &mut self.outgoing), if waits.is_some() => {
                    let everything = written?;
                    self.waiting_since = if everything { None } else { Some(super::now()) };
                }
                () = sleep_until(patience.into()), if waits.is_some() => return Err(stalled()),
            }
        }
    }

    /// What `policy` says of how the connection ended, if the server ended it because of what this gateway lacks.
    pub fn refusal(&self, error: &io::Error) -> Option<Refusal> {
        self.client_certificate.refusal(error, &self.peer.expected)
    }

    /// Writes the rest and says goodbye, if the peer lets us.
    pub async fn close(mut self) {
        let goodbye = async {
            while !write_some(&mut self.writer, &mut self.outgoing).await? {}
            self.writer.shutdown().await
        };
        if !matches!(timeout(GOODBYE_PATIENCE, goodbye).await, Ok(Ok(()))) {
            tracing::debug!("a connection to a provider ended without a goodbye");
        }
    }
}

/// One step; true when nothing waits any more, neither here nor in TLS.
async fn write_some(writer: &mut WriteHalf<TlsStream<TcpStream>>, outgoing: &mut Vec<u8>) -> io::Result<bool> {
    if outgoing.is_empty() {
        writer.flush().await?;
        return Ok(true);
    }
    let length = writer.write(outgoing).await?;
    outgoing.drain(..length);
    Ok(false)
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the provider takes no more bytes")
}
