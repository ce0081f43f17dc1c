//! The messages of Galène's WebSocket protocol, version 2.
//!
//! In: text of the server. Out: [`Incoming`], where what we do not know is ignored and everything is bounded.
//! And the other way round: [`Outgoing`] as text.

use serde::{Deserialize, Serialize};

/// Longest message that is read, in bytes.
pub const MESSAGE_LIMIT: usize = 1024 * 1024;

/// What the server says. Every field that the protocol calls optional is optional; unknown fields are ignored.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Incoming {
    Handshake {
        #[serde(default)]
        version: Vec<String>,
    },
    Ping,
    Pong,
    Joined(Joined),
    User(User),
    Offer(Offer),
    Answer {
        id: String,
        sdp: String,
    },
    Ice {
        id: String,
        candidate: Candidate,
    },
    Renegotiate {
        id: String,
    },
    Close {
        id: String,
    },
    Abort {
        id: String,
    },
    Chat(Said),
    ChatHistory(Said),
    UserMessage(Said),
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Deserialize)]
pub(super) struct Joined {
    pub(super) kind: String,
    pub(super) error: Option<String>,
    pub(super) username: Option<String>,
    pub(super) permissions: Option<Vec<String>>,
    #[serde(default)]
    pub(super) value: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) username: Option<String>,
    pub(super) permissions: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Offer {
    pub(super) id: String,
    pub(super) replace: Option<String>,
    pub(super) source: Option<String>,
    pub(super) username: Option<String>,
    pub(super) sdp: String,
}

/// An `RTCIceCandidateInit`; with one media section its text says everything.
#[derive(Debug, Deserialize)]
pub(super) struct Candidate {
    pub(super) candidate: String,
}

/// A `chat`, `chathistory` or `usermessage`.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) kind: Option<String>,
    pub(super) source: Option<String>,
    pub(super) username: Option<String>,
    pub(super) dest: Option<String>,
    pub(super) privileged: Option<bool>,
    #[serde(default)]
    pub(super) time: serde_json::Value,
    #[serde(default)]
    pub(super) value: serde_json::Value,
}

/// Why a message of the server ends the connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// See [`MESSAGE_LIMIT`].
    #[error("the server sent a message of {0} bytes")]
    TooLong(usize),
    /// The server does not speak Galène's protocol.
    #[error("the server sent something that is not JSON")]
    NotJson,
}

/// Reads a message. `Ok(None)`: a message of a kind that we do not know, or an odd one of a kind that we do.
pub(super) fn read(text: &str) -> Result<Option<Incoming>, MessageError> {
    if text.len() > MESSAGE_LIMIT {
        return Err(MessageError::TooLong(text.len()));
    }
    match serde_json::from_str(text) {
        Ok(Incoming::Unknown) => Ok(None),
        Ok(message) => Ok(Some(message)),
        Err(error) if error.is_data() => Ok(None),
        Err(_) => Err(MessageError::NotJson),
    }
}

/// What we say.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Outgoing<'a> {
    Handshake {
        version: [&'a str; 1],
        id: &'a str,
    },
    Ping,
    Pong,
    Join {
        kind: &'a str,
        group: &'a str,
        username: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
    },
    Request {
        request: serde_json::Value,
    },
    Offer {
        id: &'a str,
        label: &'a str,
        source: &'a str,
        username: &'a str,
        sdp: &'a str,
    },
    Answer {
        id: &'a str,
        sdp: &'a str,
    },
    Renegotiate {
        id: &'a str,
    },
    Close {
        id: &'a str,
    },
    Abort {
        id: &'a str,
    },
    Chat {
        source: &'a str,
        username: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        dest: Option<&'a str>,
        noecho: bool,
        value: &'a str,
    },
}

impl Outgoing<'_> {
    /// The JSON text.
    pub(super) fn text(&self) -> String {
        // a tagged enum of strings always serialises; an empty text would be a defect that the server reports at once
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
    use super::*;

    #[test]
    fn unknown_types_and_fields_and_odd_values_are_ignored() {
        assert!(read(r#"{"type":"subscribe","x":1}"#).unwrap().is_none());
        assert!(read(r#"{"type":"answer","id":1,"sdp":[]}"#).unwrap().is_none(), "odd values");
        assert!(read(r#"{"id":"without type"}"#).unwrap().is_none());
        assert!(read("[1]").unwrap().is_none());
        let close = read(r#"{"type":"close","id":"a","future":{"x":null}}"#).unwrap().unwrap();
        assert!(matches!(close, Incoming::Close { id } if id == "a"));
        let user =
            read(r#"{"type":"user","kind":"add","id":"a","username":null,"permissions":null}"#).unwrap().unwrap();
        assert!(matches!(user, Incoming::User(User { username: None, permissions: None, .. })));
    }

    #[test]
    fn what_is_not_json_or_too_long_is_an_error() {
        assert_eq!(read("").unwrap_err(), MessageError::NotJson);
        assert_eq!(read("{\"type\":\"ping\"").unwrap_err(), MessageError::NotJson);
        assert_eq!(
            read(&format!(r#"{{"type":"chat","value":{}"#, "[".repeat(100_000))).unwrap_err(),
            MessageError::NotJson,
            "nesting is bounded"
        );
        let ping = r#"{"type":"ping"}"#;
        let limit = ping.to_owned() + &" ".repeat(MESSAGE_LIMIT - ping.len());
        assert!(read(&limit).unwrap().is_some());
        assert_eq!(read(&format!("{limit} ")).unwrap_err(), MessageError::TooLong(MESSAGE_LIMIT + 1));
    }

    #[test]
    fn our_messages_have_the_fields_that_the_protocol_names() {
        let join = Outgoing::Join { kind: "join", group: "g", username: "u", password: None, token: Some("t") }.text();
        assert_eq!(join, r#"{"type":"join","kind":"join","group":"g","username":"u","token":"t"}"#);
        assert_eq!(
            Outgoing::Handshake { version: ["2"], id: "i" }.text(),
            r#"{"type":"handshake","version":["2"],"id":"i"}"#
        );
        assert_eq!(Outgoing::Ping.text(), r#"{"type":"ping"}"#);
    }
}
