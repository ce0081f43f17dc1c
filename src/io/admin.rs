//! The admin socket: a running program answers `status`, `calls` and `hangup` to its own user.
//!
//! A Unix socket, 0600 in a 0700 directory; the peer's uid must be ours. One line of JSON asks, one line answers.

use super::account::{AccountMessage, AccountReport};
use super::room::RoomMessage;
use crate::room::{LegReport, RoomReport};
use crate::units::CallNumber;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The version of the JSON that `status` and `calls` print; grows with each incompatible change.
pub const SCHEMA_VERSION: u32 = 1;

/// Longest question.
const LONGEST_LINE: u64 = 4096;

/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Question {
    /// The program, its accounts and rooms.
    Status,
    /// Every call.
    Calls,
    /// End a call.
    Hangup {
        /// Its number.
        call: u32,
    },
}

/// `status --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The program's version.
    pub version: String,
    /// Each account.
    pub accounts: Vec<AccountStatus>,
}

/// One account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountStatus {
    /// `user@domain`.
    pub account: String,
    /// Whether it can be called.
    pub registered: bool,
    /// `registered`, or what is in the way.
    pub registration: String,
    /// The connection to the provider; absent without one.
    pub signalling: Option<Signalling>,
    /// The group that its calls come to, without any token.
    pub room: String,
    /// `connecting`, `joined`, `away`, or `idle` while there is no call.
    pub galene: String,
    /// How many calls there are.
    pub calls: usize,
}

/// The connection to the provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signalling {
    /// `verified` or `pinned`.
    pub level: String,
    /// `1.2` or `1.3`.
    pub tls: String,
    /// The cipher suite.
    pub cipher: String,
    /// The name that the certificate was checked against.
    pub peer_name: String,
}

/// `calls --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Each call.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Call {
    /// Its number.
    pub id: u32,
    /// The account that was called.
    pub account: String,
    /// The group.
    pub room: String,
    /// The claimed name of the caller.
    pub peer: String,
    /// `in`: the phone called us.
    pub direction: String,
    /// `joining`, `answered`, `talking` or `held`.
    pub state: String,
    /// Seconds since it was answered.
    pub duration_s: u64,
    /// The connection that brought it.
    pub signalling: Option<Signalling>,
    /// What protects its sound.
    pub media: Media,
    /// The codec.
    pub codec: String,
    /// Packets.
    pub rtp: Rtp,
    /// The participant in the group.
    pub galene: Participant,
}

/// What protects a call's sound.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Media {
    /// `srtp`: encrypted to the provider, who can listen.
    pub level: String,
    /// `sdes`.
    pub method: String,
    /// The SRTP suite.
    pub suite: String,
    /// Of a ZRTP exchange; absent in this version.
    pub key_agreement: Option<String>,
    /// The short authentication string; absent without ZRTP.
    pub sas: Option<String>,
    /// Whether people compared it.
    pub sas_verified: bool,
    /// A known caller with an unknown device.
    pub new_device: bool,
    /// The retained secrets did not match.
    pub cache_mismatch: bool,
}

/// Packets of a call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rtp {
    /// To the phone.
    pub sent: u64,
    /// From the phone, authenticated.
    pub received: u64,
    /// Lost on the way from the phone.
    pub lost: u64,
    /// Interarrival jitter.
    pub jitter_ms: u64,
    /// Packets that did not authenticate.
    pub auth_failures: u64,
}

/// The participant that a phone is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Participant {
    /// Its name in the group.
    pub participant: String,
    /// `connecting`, `joined`, `publishing`, `muted` or `away`.
    pub state: String,
}

/// The answer to `hangup`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HungUp {
    /// Whether there was such a call.
    pub found: bool,
}

/// One account and its room, as the socket reaches them.
#[derive(Clone)]
pub struct Part {
    /// The group, without any token.
    pub room_name: String,
    /// To the account's task.
    pub account: mpsc::UnboundedSender<AccountMessage>,
    /// To the room's task.
    pub room: mpsc::UnboundedSender<RoomMessage>,
}

/// Why there is no admin socket, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// It cannot be made.
    #[error(
        "cannot open the admin socket {path}: {source}; set `socket` in [admin] to a place that only you can write to"
    )]
    Open {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody listens.
    #[error(
        "no running galene-sips answers at {path} ({source}); start it, or name its socket with --admin-socket or --config"
    )]
    NotRunning {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The answer makes no sense.
    #[error("the running galene-sips gave an answer that this version does not understand: {0}")]
    Answer(String),
}

/// The socket, removed when dropped.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    uid: u32,
}

impl AdminSocket {
    /// Binds the socket; one that a dead program left behind is replaced, one of a living program is not.
    pub async fn open(path: &Path) -> Result<Self, AdminError> {
        let fail = |source| AdminError::Open { path: path.display().to_string(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        }
        if UnixStream::connect(path).await.is_ok() {
            return Err(fail(io::Error::new(io::ErrorKind::AddrInUse, "another galene-sips is running")));
        }
        let _ = fs::remove_file(path); // whatever was in the way and could be removed was ours
        let listener = UnixListener::bind(path).map_err(fail)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
        let uid = fs::metadata(path).map_err(fail)?.uid();
        Ok(AdminSocket { listener, path: path.to_owned(), uid })
    }

    /// Answers until the task is ended.
    pub async fn serve(self, parts: Vec<Part>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.uid) => {
                    let parts = parts.clone();
                    tokio::spawn(async move { timeout(2 * PATIENCE, answer(stream, &parts)).await });
                }
                Ok(_) => tracing::warn!("another user tried the admin socket"),
                Err(error) => {
                    tracing::error!(%error, "the admin socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, parts: &[Part]) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LONGEST_LINE)).read_line(&mut line).await?;
    let text = match serde_json::from_str(&line) {
        Ok(Question::Status) => serde_json::to_string(&status(parts).await),
        Ok(Question::Calls) => serde_json::to_string(&calls(parts).await),
        Ok(Question::Hangup { call }) => {
            serde_json::to_string(&HungUp { found: hang_up(parts, CallNumber(call)).await })
        }
        Err(_) => return Ok(()),
    };
    writer.write_all(text.map_err(io::Error::other)?.as_bytes()).await?;
    writer.write_all(b"\n").await
}

async fn account_report(part: &Part) -> Option<AccountReport> {
    let (reply, answer) = oneshot::channel();
    part.account.send(AccountMessage::Report(reply)).ok()?;
    timeout(PATIENCE, answer).await.ok()?.ok()
}

async fn room_report(part: &Part) -> Option<RoomReport> {
    let (reply, answer) = oneshot::channel();
    part.room.send(RoomMessage::Report(reply)).ok()?;
    timeout(PATIENCE, answer).await.ok()?.ok()
}

fn signalling(report: &AccountReport) -> Option<Signalling> {
    let tls = report.tls.as_ref()?;
    Some(Signalling {
        level: report.signalling?.to_owned(),
        tls: tls.version.to_owned(),
        cipher: tls.cipher.clone(),
        peer_name: tls.peer_name.clone(),
    })
}

async fn status(parts: &[Part]) -> Status {
    let mut accounts = Vec::new();
    for part in parts {
        let (Some(report), Some(room)) = (account_report(part).await, room_report(part).await) else { continue };
        accounts.push(AccountStatus {
            signalling: signalling(&report),
            account: report.line.account,
            registered: report.line.registered,
            registration: report.line.registration,
            room: part.room_name.clone(),
            galene: room.listener.map_or("idle", |listener| listener.state).to_owned(),
            calls: report.line.calls.len(),
        });
    }
    Status { schema_version: SCHEMA_VERSION, version: env!("CARGO_PKG_VERSION").to_owned(), accounts }
}

async fn calls(parts: &[Part]) -> Calls {
    let mut calls = Vec::new();
    for part in parts {
        let (Some(report), Some(room)) = (account_report(part).await, room_report(part).await) else { continue };
        for call in &report.line.calls {
            let leg = room.legs.iter().find(|leg| leg.call == call.number);
            calls.push(Call {
                id: call.number.0,
                account: report.line.account.clone(),
                room: part.room_name.clone(),
                peer: call.peer.clone(),
                direction: "in".to_owned(),
                state: call.state.to_owned(),
                duration_s: call.duration.as_secs(),
                signalling: signalling(&report),
                media: Media {
                    level: call.level.as_str().to_owned(),
                    method: "sdes".to_owned(),
                    suite: call.suite.to_owned(),
                    key_agreement: None,
                    sas: None,
                    sas_verified: false,
                    new_device: false,
                    cache_mismatch: false,
                },
                codec: call.codec.to_owned(),
                rtp: leg.map(rtp).unwrap_or_default(),
                galene: Participant {
                    participant: leg.map(|leg| leg.participant.participant.clone()).unwrap_or_default(),
                    state: leg.map_or("connecting", |leg| leg.participant.state).to_owned(),
                },
            });
        }
    }
    calls.sort_by_key(|call| call.id);
    Calls { schema_version: SCHEMA_VERSION, calls }
}

fn rtp(leg: &LegReport) -> Rtp {
    Rtp {
        sent: leg.sent,
        received: leg.received,
        lost: leg.lost,
        jitter_ms: leg.jitter_ms,
        auth_failures: leg.auth_failures,
    }
}

async fn hang_up(parts: &[Part], call: CallNumber) -> bool {
    for part in parts {
        let (reply, answer) = oneshot::channel();
        if part.account.send(AccountMessage::HangUp(call, reply)).is_ok()
            && matches!(timeout(PATIENCE, answer).await, Ok(Ok(true)))
        {
            return true;
        }
    }
    false
}

/// Asks a running program.
pub async fn ask<A: for<'a> Deserialize<'a>>(path: &Path, question: &Question) -> Result<A, AdminError> {
    let not_running = |source| AdminError::NotRunning { path: path.display().to_string(), source };
    let mut stream = UnixStream::connect(path).await.map_err(not_running)?;
    let mut line = serde_json::to_string(question).map_err(|error| AdminError::Answer(error.to_string()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).await.map_err(not_running)?;
    let mut answer = String::new();
    match timeout(3 * PATIENCE, stream.read_to_string(&mut answer)).await {
        Ok(Ok(_)) => serde_json::from_str(&answer).map_err(|error| AdminError::Answer(error.to_string())),
        Ok(Err(error)) => Err(not_running(error)),
        Err(_) => Err(AdminError::Answer("none within 15 s".to_owned())),
    }
}
