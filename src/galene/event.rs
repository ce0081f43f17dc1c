//! What a [`Client`](super::Client) wants done, and what it has to tell.

use std::net::SocketAddr;

/// One WebRTC stream of this client: ours going up, or somebody's coming down. Never used again by the same client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// What the client wants done. No `Debug`: a text may contain the token.
pub enum Output {
    /// Send a text message over the WebSocket.
    Text(String),
    /// Close the WebSocket with this status code (RFC 6455 §7.4); nothing follows but [`Output::Event`]s.
    CloseWebSocket {
        /// 1000, the only one that Galène takes for a clean end besides 1001.
        code: u16,
    },
    /// Bind a UDP socket for this stream at the concrete address from which the server is reached, then call
    /// [`Client::socket_opened`](super::Client::socket_opened).
    OpenSocket(StreamId),
    /// Close the stream's socket. Also comes for a socket that could not be opened.
    CloseSocket(StreamId),
    /// Send a datagram from the stream's socket.
    Datagram {
        /// Whose socket.
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
        /// STUN, DTLS, SRTP or SRTCP.
        bytes: Vec<u8>,
    },
    /// Something happened.
    Event(Event),
}

/// What happened in the group. Every name and text in it was chosen by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We are in.
    Joined {
        /// The name that the server gave us: the token's own name, or the one we asked for.
        username: String,
        /// What we may do: `present`, `message`, `op`, …
        permissions: Vec<String>,
    },
    /// The server does not let us in. The client is over.
    JoinFailed {
        /// For programs: `need-username`, `duplicate-username`, `redirect`; mostly absent.
        error: Option<String>,
        /// For people, in the server's words.
        message: String,
    },
    /// What we may do has changed.
    PermissionsChanged {
        /// All that we may do now.
        permissions: Vec<String>,
    },
    /// A participant came, changed or went.
    User {
        /// Which of it.
        change: UserChange,
        /// Its client id, the `source` of its streams.
        id: String,
        /// Its name.
        username: String,
        /// What it may do.
        permissions: Vec<String>,
    },
    /// Whether what [`send_opus`](super::Client::send_opus) takes reaches the server.
    Publishing(bool),
    /// Opus is not spoken: by the group (`None`; we do not publish until asked again), or by this talker's stream.
    CodecRefused {
        /// The talker's client id.
        source: Option<String>,
    },
    /// A talker's stream begins.
    StreamStarted {
        /// The stream.
        stream: StreamId,
        /// The talker's client id.
        source: String,
        /// The talker's name.
        username: String,
    },
    /// A talker's stream has ended.
    StreamEnded {
        /// The stream.
        stream: StreamId,
    },
    /// An Opus packet of a talker, in the order of arrival.
    Audio {
        /// The talker's stream.
        stream: StreamId,
        /// Sequence number, unfolded beyond 16 bits.
        sequence: u64,
        /// RTP timestamp, in samples at 48 kHz (RFC 7587 §4.1).
        timestamp: u32,
        /// RTP marker.
        marker: bool,
        /// One Opus packet.
        payload: Vec<u8>,
    },
    /// Somebody wrote something.
    Chat(Chat),
    /// The server has something to say to us, such as "not authorised".
    Notice {
        /// How bad it is.
        level: NoticeLevel,
        /// In the server's words.
        message: String,
    },
    /// An operator removed us. The client is over, and should not come back by itself.
    Kicked {
        /// The operator's words.
        message: String,
    },
    /// An operator asks us to be silent. Nothing was stopped: the caller of the client decides.
    Muted {
        /// The operator's name.
        by: String,
    },
    /// We have left, as we were told to. The client is over.
    Left,
    /// The connection is lost or unusable. The client is over; a new one may try again.
    Gone {
        /// Why.
        reason: String,
    },
}

/// What happened to a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// Is there now.
    Added,
    /// Has another name or other permissions.
    Changed,
    /// Has left.
    Left,
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    /// Something that we asked for was refused.
    Error,
    /// Something that people should know.
    Warning,
}

/// A line of the group's chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chat {
    /// Client id of who wrote it; `None` for the server and for who hides it.
    pub source: Option<String>,
    /// The name that was used; the server checks it only when there is a `source`.
    pub username: Option<String>,
    /// Sent to us alone.
    pub private: bool,
    /// The server vouches that an operator sent it.
    pub privileged: bool,
    /// When, as the server wrote it (RFC 3339).
    pub time: Option<String>,
    /// Written just now; `false` for a line of the history, which proves nothing about now.
    pub live: bool,
    /// `me`, `caption`, or nothing.
    pub kind: Option<String>,
    /// The text.
    pub text: String,
}
