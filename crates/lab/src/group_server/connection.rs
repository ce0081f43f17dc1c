//! A TCP connection from its TLS handshake to its end: an HTTP answer, or a WebSocket whose messages go to the hall.

use super::hall::{ClientKey, HallEvent, Out};
use super::http::{Head, response};
use super::message::Message;
use super::{Complaints, Direction, Line};
use crate::{Failure, Outcome};
use futures_util::{SinkExt, StreamExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

/// Galène's patience: for the first message, before it pings, and before it gives a silent client up.
const FIRST_MESSAGE: Duration = Duration::from_secs(15);
const PING_AFTER: Duration = Duration::from_secs(20);
const DEAD_AFTER: Duration = Duration::from_secs(45);

type WebSocket = WebSocketStream<TlsStream<TcpStream>>;

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) tls: TlsAcceptor,
    pub(super) canonical_host: Option<String>,
    pub(super) events: mpsc::UnboundedSender<HallEvent>,
    pub(super) frozen: watch::Receiver<bool>,
    pub(super) cut: watch::Receiver<u64>,
    pub(super) transcript: Arc<Mutex<Vec<Line>>>,
    pub(super) complaints: Complaints,
}

pub(super) async fn accept(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    for key in 1.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let shared = shared.clone();
        connections.spawn(async move {
            let mut cut = shared.cut.clone();
            cut.mark_unchanged();
            tokio::select! {
                served = serve(key, stream, &shared) => if let Err(failure) = served {
                    tracing::debug!(%failure, "group server connection");
                },
                _ = cut.changed() => {}
            }
            let _ = shared.events.send(HallEvent::Closed { key });
        });
    }
}

async fn serve(key: ClientKey, stream: TcpStream, shared: &Shared) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let mut stream = shared.tls.accept(stream).await?;
    let head = Head::read(&mut stream).await?;
    if let Some(accepted) = head.upgrade() {
        stream.write_all(accepted.as_bytes()).await?;
        let socket = WebSocketStream::from_partially_read(stream, head.rest, Role::Server, None).await;
        return Connection { key, socket, shared, heard: Instant::now() }.serve().await;
    }
    let answer = answer(&head, shared).await?;
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn answer(head: &Head, shared: &Shared) -> Outcome<String> {
    let not_found = || response("404 Not Found", "Content-Type: text/html; charset=utf-8\r\n", "<p>Not found</p>\n");
    let Some((group, rest)) = head.group() else { return Ok(not_found()) };
    let host = head.field("host").unwrap_or_default().to_owned();
    if let Some(canonical) = shared.canonical_host.as_ref().filter(|canonical| !canonical.eq_ignore_ascii_case(&host)) {
        let location = format!("Location: https://{canonical}{}\r\n", head.path);
        return Ok(response("301 Moved Permanently", &location, ""));
    }
    let (reply, status) = oneshot::channel();
    shared
        .events
        .send(HallEvent::Status { group: group.clone(), host, reply })
        .map_err(|_| Failure::from("the hall is closed"))?;
    let Some(status) = status.await? else { return Ok(not_found()) };
    Ok(match (rest.as_str(), status.get("redirect").and_then(|redirect| redirect.as_str())) {
        (".status", _) => {
            let fields = "Content-Type: application/json\r\nCache-Control: no-cache\r\n";
            response("200 OK", fields, &status.to_string())
        }
        (".status.json", _) => response("308 Permanent Redirect", &format!("Location: /group/{group}/.status\r\n"), ""),
        ("", Some(redirect)) => response("308 Permanent Redirect", &format!("Location: {redirect}\r\n"), ""),
        ("", None) => response("200 OK", "Content-Type: text/html; charset=utf-8\r\n", "<p>A group.</p>\n"),
        _ => not_found(),
    })
}

struct Connection<'a> {
    key: ClientKey,
    socket: WebSocket,
    shared: &'a Shared,
    heard: Instant,
}

impl Connection<'_> {
    async fn serve(mut self) -> Outcome<()> {
        let first = timeout(FIRST_MESSAGE, self.socket.next()).await?.ok_or("closed before the handshake")??;
        let Ok(handshake) = self.parse(&first) else { return self.close(1011, "").await };
        if handshake.kind_of != "handshake" {
            return self.close(1002, "you must handshake first").await;
        }
        let (out, mut outgoing) = mpsc::unbounded_channel();
        let id = handshake.id.clone();
        let _ = self.shared.events.send(HallEvent::Opened { key: self.key, id: id.clone(), out });
        self.send(Message { version: vec!["2".into()], ..Message::new("handshake") }).await?;
        if !handshake.version.iter().any(|version| version == "2") {
            let text = "This client is using an unknown protocol version.\nPerhaps it needs upgrading?\n\
                        Trying to continue, things may break.";
            self.send(Message::from_server("warning", &id, text)).await?;
        }
        let mut ticks = interval(Duration::from_secs(10));
        let mut frozen = self.shared.frozen.clone();
        loop {
            if *frozen.borrow() {
                let _ = frozen.wait_for(|frozen| !frozen).await;
            }
            tokio::select! {
                // before anything else, so that nothing more is handled once the server is frozen
                biased;
                Ok(()) = frozen.changed() => {}
                out = outgoing.recv() => match out {
                    Some(Out::Message(message)) => self.send(*message).await?,
                    Some(Out::Pause(pause)) => sleep(pause).await,
                    Some(Out::Close { code, reason }) => return self.close(code, &reason).await,
                    None => return Ok(()),
                },
                frame = self.socket.next() => match frame {
                    Some(Ok(frame @ (Frame::Text(_) | Frame::Binary(_)))) => {
                        self.heard = Instant::now();
                        let event = match self.parse(&frame) {
                            Ok(message) => HallEvent::Text { key: self.key, message: Box::new(message) },
                            Err(_) => HallEvent::Garbled { key: self.key },
                        };
                        let _ = self.shared.events.send(event);
                    }
                    Some(Ok(Frame::Close(frame))) => {
                        let code = frame.map_or(1005, |frame| frame.code.into());
                        if !matches!(code, 1000 | 1001) {
                            self.complain(format!("close {code}"));
                        }
                        return Ok(());
                    }
                    None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        self.complain(error.to_string());
                        return Err(error.into());
                    }
                },
                _ = ticks.tick() => {
                    if self.heard.elapsed() > DEAD_AFTER {
                        return self.close(1011, "").await;
                    } else if self.heard.elapsed() > PING_AFTER {
                        self.send(Message::new("ping")).await?;
                    }
                }
            }
        }
    }

    fn parse(&self, frame: &Frame) -> Outcome<Message> {
        let text = frame.to_text()?;
        self.record(Direction::FromClient, text);
        Ok(serde_json::from_str(text)?)
    }

    async fn send(&mut self, message: Message) -> Outcome<()> {
        let text = serde_json::to_string(&message)?;
        self.record(Direction::ToClient, &text);
        // A client that does not read is dropped, as Galène drops it.
        timeout(Duration::from_millis(500), self.socket.send(Frame::text(text))).await??;
        Ok(())
    }

    async fn close(&mut self, code: u16, reason: &str) -> Outcome<()> {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.socket.send(Frame::Close(Some(frame))).await?;
        Ok(())
    }

    fn complain(&self, text: String) {
        self.shared.complaints.add(format!("connection {}: {text}", self.key));
    }

    fn record(&self, direction: Direction, text: &str) {
        let line = Line { connection: self.key, direction, text: text.to_owned() };
        self.shared.transcript.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
