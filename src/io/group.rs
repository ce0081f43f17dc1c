//! The way to a group: its `.status` over HTTPS, then its WebSocket over TLS, both on the configured host.
//!
//! In: the group's address. Out: a task that carries text both ways. Never follows a redirect.

use super::dns::Dns;
use super::tls::{self, TlsStream, Trust};
use crate::galene::{Endpoint, GroupAddress, MESSAGE_LIMIT};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

/// How long a server may take to answer a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest `.status` that is read.
const STATUS_LIMIT: usize = 64 * 1024;

/// An open WebSocket to a group.
pub struct GroupSocket {
    websocket: WebSocketStream<TlsStream<TcpStream>>,
    /// The group's name for the `join` message.
    pub group: String,
    /// The server's address, so that media sockets are bound where it is reached from.
    pub server: SocketAddr,
}

/// Why a group cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct GroupError {
    /// One sentence.
    pub why: String,
    /// Another try would meet the same answer.
    pub permanent: bool,
}

impl GroupError {
    fn passing(why: impl ToString) -> Self {
        GroupError { why: why.to_string(), permanent: false }
    }

    fn permanent(why: impl ToString) -> Self {
        GroupError { why: why.to_string(), permanent: true }
    }
}

/// Asks for the group's status and opens its WebSocket.
pub async fn open(address: &GroupAddress, dns: &Dns, trust: &Trust) -> Result<GroupSocket, GroupError> {
    match timeout(2 * PATIENCE, connect(address, dns, trust)).await {
        Ok(result) => result,
        Err(_) => Err(GroupError::passing(format!("{} does not answer", address.authority()))),
    }
}

async fn connect(address: &GroupAddress, dns: &Dns, trust: &Trust) -> Result<GroupSocket, GroupError> {
    let (stream, _) = reach(address.host(), address.port(), dns, trust).await?;
    let endpoint = status(address, stream).await?;
    let (stream, server) = reach(&endpoint.host, endpoint.port, dns, trust).await?;
    let websocket = websocket(&endpoint, stream).await?;
    Ok(GroupSocket { websocket, group: endpoint.group, server })
}

/// One of the host's addresses that answers with a good certificate.
async fn reach(
    host: &str,
    port: u16,
    dns: &Dns,
    trust: &Trust,
) -> Result<(TlsStream<TcpStream>, SocketAddr), GroupError> {
    let found =
        dns.addresses(host).await.map_err(|failure| GroupError::passing(format!("{failure}; {}", failure.remedy())))?;
    let addresses: Vec<SocketAddr> = found.records.iter().map(|address| SocketAddr::new(*address, port)).collect();
    if addresses.is_empty() {
        return Err(GroupError::passing(format!("DNS has no address for {host}")));
    }
    let stream = tls::connect_web(&addresses, host, trust).await.map_err(GroupError::passing)?;
    let server = stream.get_ref().0.peer_addr().map_err(GroupError::passing)?;
    Ok((stream, server))
}

async fn status(address: &GroupAddress, stream: TlsStream<TcpStream>) -> Result<Endpoint, GroupError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(GroupError::passing)?;
    let mut driver = JoinSet::new(); // ends with this function, however that ends
    driver.spawn(connection);
    let request = hyper::Request::get(address.status_path())
        .header("Host", address.authority())
        .header("Accept", "application/json")
        .header("User-Agent", concat!("galene-sips/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(GroupError::permanent)?;
    let response = sender.send_request(request).await.map_err(GroupError::passing)?;
    let code = response.status();
    match code.as_u16() {
        200 => match Limited::new(response.into_body(), STATUS_LIMIT).collect().await {
            Ok(body) => address.endpoint(&body.to_bytes()).map_err(GroupError::permanent),
            Err(error) => Err(GroupError::passing(error)),
        },
        404 => Err(GroupError::permanent(format!("there is no group {} on {}", address.name(), address.authority()))),
        300..=399 => Err(GroupError::permanent(format!(
            "{} sends the group elsewhere; redirects are not followed, so configure the group's own address",
            address.authority()
        ))),
        _ => Err(GroupError::passing(format!("{} answers {code} for the group", address.authority()))),
    }
}

async fn websocket(
    endpoint: &Endpoint,
    stream: TlsStream<TcpStream>,
) -> Result<WebSocketStream<TlsStream<TcpStream>>, GroupError> {
    let url = format!("wss://{}{}", endpoint.authority, endpoint.path);
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_LIMIT)).max_frame_size(Some(MESSAGE_LIMIT));
    match tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await {
        Ok((websocket, _)) => Ok(websocket),
        Err(error) => Err(GroupError::passing(format!("no WebSocket on {}: {error}", endpoint.authority))),
    }
}

/// What the room writes.
pub enum ToGroup {
    /// A message.
    Text(String),
    /// The end, with its status code.
    Close(u16),
}

/// What the room reads.
pub enum FromGroup {
    /// A message.
    Text(String),
    /// The connection is over; nothing follows.
    Closed(String),
}

/// Carries messages both ways until either side ends it. A reader that is behind makes the server wait.
pub async fn carry<Letter>(
    socket: GroupSocket,
    mut outgoing: mpsc::Receiver<ToGroup>,
    reader: &mpsc::Sender<Letter>,
    letter: impl Fn(FromGroup) -> Letter,
) {
    let mut websocket = socket.websocket;
    let why = loop {
        tokio::select! {
            incoming = websocket.next() => match incoming {
                Some(Ok(Message::Text(text))) => if reader.send(letter(FromGroup::Text(text.to_string()))).await.is_err() { return },
                Some(Ok(Message::Close(_))) | None => break "the conference server closed the connection".to_owned(),
                Some(Ok(_)) => {}
                Some(Err(error)) => break format!("the connection to the conference server broke: {error}"),
            },
            message = outgoing.recv() => match message {
                Some(ToGroup::Text(text)) => match timeout(PATIENCE, websocket.send(Message::text(text))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break format!("the connection to the conference server broke: {error}"),
                    Err(_) => break "the conference server takes no more messages".to_owned(),
                },
                Some(ToGroup::Close(code)) => {
                    let frame = CloseFrame { code: code.into(), reason: "".into() };
                    // the server's own close may take a moment; nobody waits for it longer than that
                    let goodbye = async {
                        let _ = websocket.close(Some(frame)).await;
                        while let Some(Ok(_)) = websocket.next().await {}
                    };
                    let _ = timeout(Duration::from_secs(1), goodbye).await;
                    return;
                }
                None => return,
            },
        }
    };
    let _ = reader.send(letter(FromGroup::Closed(why))).await; // a room that is gone need not know
}
