//! The few HTTP requests that a client of a Galène makes: a group's `.status`, its page, and the WebSocket upgrade.

use super::description::GroupDescription;
use crate::{Failure, Outcome};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The head of a request, and what came behind it.
pub(super) struct Head {
    pub(super) path: String,
    fields: Vec<(String, String)>,
    pub(super) rest: Vec<u8>,
}

impl Head {
    /// Reads one request's head of at most 16 KiB.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Outcome<Head> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if bytes.len() > 16 * 1024 || stream.read_buf(&mut bytes).await? == 0 {
                return Err(Failure::from("no complete HTTP request"));
            }
        };
        let text = std::str::from_utf8(&bytes[..end])?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some("GET"), Some(target), Some("HTTP/1.1" | "HTTP/1.0")) = (words.next(), words.next(), words.next())
        else {
            return Err(Failure::from("not a GET of HTTP/1"));
        };
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let fields = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Head { path, fields, rest: bytes[end + 4..].to_vec() })
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The `101` that accepts this request as a WebSocket (RFC 6455 §4.2.2), if it is one.
    pub(super) fn upgrade(&self) -> Option<String> {
        let asks = self.field("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
        let key = self.field("sec-websocket-key").filter(|_| asks && self.path == "/ws")?;
        let accept = derive_accept_key(key.as_bytes());
        Some(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
    }

    /// The group's name in `/group/NAME/REST`, and REST.
    pub(super) fn group(&self) -> Option<(String, String)> {
        let path = percent_decode(self.path.strip_prefix("/group/")?)?;
        let (name, rest) = path.rsplit_once('/')?;
        Some((name.to_owned(), rest.to_owned()))
    }
}

/// A whole response after which the connection is closed.
pub(super) fn response(status: &str, fields: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A group's status. `host` is given for `.status`, which says where things are; `count` where the asker is a member.
pub(super) fn status(
    name: &str,
    description: &GroupDescription,
    host: Option<&str>,
    members: Option<(usize, bool)>,
) -> Value {
    let mut status = json!({ "name": name });
    let mut put = |key: &str, value: Value| {
        if let Some(object) = status.as_object_mut() {
            object.insert(key.into(), value);
        }
    };
    if !description.display_name.is_empty() {
        put("displayName", json!(description.display_name));
    }
    if let Some(redirect) = &description.redirect {
        put("redirect", json!(redirect));
        return status;
    }
    if let Some(host) = host {
        put("location", json!(format!("https://{host}/group/{name}/")));
        put("endpoint", json!(format!("wss://{host}/ws")));
    }
    if let Some(server) = &description.auth_server {
        put("authServer", json!(server));
    }
    if let Some(portal) = &description.auth_portal {
        put("authPortal", json!(portal));
    }
    if let Some((count, locked)) = members {
        put("clientCount", json!(count));
        if locked {
            put("locked", json!(true));
        }
    }
    status
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
