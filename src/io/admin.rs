//! The admin socket: a running program answers `status`, `calls`, `hangup`, `reload`, `peers` and `ratchet` to its own user.
//!
//! A Unix socket, 0600 in a 0700 directory; the peer's uid must be ours. One line of JSON asks, one line answers.

mod peers;
mod ratchet;

use super::account::{AccountMessage, AccountReport};
use super::peers::PeerStore;
use super::room::RoomMessage;
pub use peers::{PeerAnswer, PeerOrder, PeerOutcome, PeerStatus, PeerVerification, Peers};
pub use ratchet::{AccountHolds, CallerHold, Hold, RatchetAnswer, RatchetList, RatchetOutcome};

use crate::call::SoundReport;
use crate::peers::PeerQuery;
use crate::policy::{Exception, MediaLevel};
use crate::room::{LegReport, RoomReport};
use crate::units::{CallNumber, Date};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The version of the JSON that `status` and `calls` print; grows with each incompatible change.
pub const SCHEMA_VERSION: u32 = 1;

/// Has the configuration read again, and says what came of it.
pub type Reload = mpsc::Sender<oneshot::Sender<Reloaded>>;

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
    /// Read the configuration again.
    Reload,
    /// Every ZRTP peer.
    Peers,
    /// Do something with one.
    Peer {
        /// What.
        order: PeerOrder,
        /// With which.
        query: PeerQuery,
    },
    /// What each account is held to.
    Ratchet,
    /// Hold one to nothing.
    RatchetClear {
        /// Which.
        account: String,
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
    /// What the room's weakest call is worth, as in [`Media::level`]; absent while no call has sound.
    #[serde(default)]
    pub level: Option<String>,
    /// How many calls there are.
    pub calls: usize,
    /// What is allowed today although the rules refuse it; absent if nothing is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionStatus>,
}

/// A dated exception.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExceptionStatus {
    /// `media-clear`, `tls-unverified` or `tls-wildcard-name`.
    pub allow: String,
    /// Why.
    pub reason: String,
    /// Its last day: `2027-02-01`.
    pub expires: String,
    /// Days until then.
    pub days_left: i64,
    /// Who answers for it.
    pub accepted_by: String,
}

/// The connection to the provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signalling {
    /// `verified`, `pinned`, or by an exception `unverified`.
    pub level: String,
    /// The exception without which the connection would be refused; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
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
    /// The codec; empty while it is not agreed on.
    pub codec: String,
    /// Packets.
    pub rtp: Rtp,
    /// The participant in the group.
    pub galene: Participant,
    /// The exceptions that it rests on; absent if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<ExceptionStatus>,
}

/// What protects a call's sound.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Media {
    /// `srtp`: encrypted to the provider, who can listen; `zrtp`: end to end to this gateway; `zrtp-verified`: the same, with a
    /// phone whose code people compared; `clear`: anyone on the way can listen; `none`: not agreed on yet, and no sound flows.
    pub level: String,
    /// `sdes` or `zrtp`; `none` while the phone has not answered, and without encryption.
    pub method: String,
    /// The SRTP suite; empty while it is not agreed on.
    pub suite: String,
    /// Of a ZRTP exchange: `X255`, `DH3k`, `X1M1`, …
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
    /// Packets that came before there were keys, and were dropped unheard.
    #[serde(default)]
    pub before_keys: u64,
}

/// The participant that a phone is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Participant {
    /// Its name in the group.
    pub participant: String,
    /// `connecting`, `joined`, `publishing`, `muted` or `away`.
    pub state: String,
    /// Whether the group lets the gateway write codes and warnings into its chat; absent while that is not known.
    #[serde(default)]
    pub may_write: Option<bool>,
}

/// The answer to `hangup`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HungUp {
    /// Whether there was such a call.
    pub found: bool,
}

/// The answer to `reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// What came of it.
    pub outcome: ReloadOutcome,
    /// What was done, or why nothing was and what to do.
    pub message: String,
}

/// What came of reading the configuration again. In all cases but the first nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadOutcome {
    /// The program is as the configuration says now.
    Done,
    /// The configuration is bad.
    BadConfiguration,
    /// The running program cannot change some of it.
    NeedsRestart,
    /// Something else is in the way.
    Failed,
}

/// The accounts of the program, which come and go.
#[derive(Clone, Default)]
pub struct Parts(Arc<Mutex<Vec<Part>>>);

impl Parts {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that there are now.
    pub fn now(&self) -> Vec<Part> {
        self.lock().clone()
    }

    /// One more.
    pub fn add(&self, part: Part) {
        self.lock().push(part);
    }

    /// The one of this account.
    pub fn find(&self, account: &str) -> Option<Part> {
        self.lock().iter().find(|part| part.account_name == account).cloned()
    }

    /// One less.
    pub fn remove(&self, account: &str) -> Option<Part> {
        let mut parts = self.lock();
        let at = parts.iter().position(|part| part.account_name == account)?;
        Some(parts.remove(at))
    }

    /// All of them, and none is left.
    pub fn take(&self) -> Vec<Part> {
        std::mem::take(&mut *self.lock())
    }
}

/// One account and its room, as the socket reaches them.
#[derive(Clone)]
pub struct Part {
    /// The account, as `user@domain`.
    pub account_name: String,
    /// The group, without any token.
    pub room_name: String,
    /// To the account's task.
    pub account: mpsc::Sender<AccountMessage>,
    /// To the room's task.
    pub room: mpsc::Sender<RoomMessage>,
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
    /// Others could put a socket of their own in its place.
    #[error(
        "the admin socket would be in {directory}, which other users can enter; run: chmod 700 {directory}, or set `socket` in [admin] to a path in a directory of its own"
    )]
    OpenDirectory {
        /// Which.
        directory: String,
    },
    /// It is in use.
    #[error(
        "another galene-sips is running and answers at {path}; end it first, or give this one a [store] and an [admin] of its own"
    )]
    Running {
        /// Where.
        path: String,
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
    #[error(
        "the running galene-sips gave no answer that this version understands: {0}; ask it with its own version, as its own user"
    )]
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
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        if fs::metadata(directory).map_err(fail)?.mode() & 0o077 != 0 {
            return Err(AdminError::OpenDirectory { directory: directory.display().to_string() });
        }
        match UnixStream::connect(path).await {
            Ok(_) => return Err(AdminError::Running { path: path.display().to_string() }),
            // what a dead program left behind; anything else in the way is not ours to remove
            Err(_) if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) => {
                fs::remove_file(path).map_err(fail)?;
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(fail)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
        let uid = fs::metadata(path).map_err(fail)?.uid();
        Ok(AdminSocket { listener, path: path.to_owned(), uid })
    }

    /// Answers until the task is ended.
    pub async fn serve(self, parts: Parts, store: PeerStore, reload: Reload) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == self.uid) => {
                    let (parts, store, reload) = (parts.now(), store.clone(), reload.clone());
                    tokio::spawn(async move { timeout(2 * PATIENCE, answer(stream, &parts, &store, &reload)).await });
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

async fn answer(stream: UnixStream, parts: &[Part], store: &PeerStore, reload: &Reload) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LONGEST_LINE)).read_line(&mut line).await?;
    let text = match serde_json::from_str(&line) {
        Ok(Question::Status) => serde_json::to_string(&status(parts).await),
        Ok(Question::Calls) => serde_json::to_string(&calls(parts).await),
        Ok(Question::Hangup { call }) => {
            serde_json::to_string(&HungUp { found: hang_up(parts, CallNumber(call)).await })
        }
        Ok(Question::Reload) => {
            let (reply, answer) = oneshot::channel();
            if reload.send(reply).await.is_err() {
                return Ok(()); // it ends
            }
            serde_json::to_string(&answer.await.map_err(io::Error::other)?)
        }
        Ok(Question::Peers) => serde_json::to_string(&peers::list(store)),
        Ok(Question::Peer { order, query }) => serde_json::to_string(&peers::order(store, order, &query).await),
        Ok(Question::Ratchet) => serde_json::to_string(&ratchet::list(parts, store)),
        Ok(Question::RatchetClear { account }) => serde_json::to_string(&ratchet::clear(parts, store, &account).await),
        Err(_) => return Ok(()),
    };
    writer.write_all(text.map_err(io::Error::other)?.as_bytes()).await?;
    writer.write_all(b"\n").await
}

async fn account_report(part: &Part) -> Option<AccountReport> {
    let (reply, answer) = oneshot::channel();
    timeout(PATIENCE, part.account.send(AccountMessage::Report(reply))).await.ok()?.ok()?;
    timeout(PATIENCE, answer).await.ok()?.ok()
}

async fn room_report(part: &Part) -> Option<RoomReport> {
    let (reply, answer) = oneshot::channel();
    timeout(PATIENCE, part.room.send(RoomMessage::Report(reply))).await.ok()?.ok()?;
    timeout(PATIENCE, answer).await.ok()?.ok()
}

fn signalling(report: &AccountReport) -> Option<Signalling> {
    let tls = report.tls.as_ref()?;
    Some(Signalling {
        level: report.signalling?.as_str().to_owned(),
        exception: report.exception.as_ref().map(|exception| exception.allow.as_str().to_owned()),
        tls: tls.version.to_owned(),
        cipher: tls.cipher.clone(),
        peer_name: tls.peer_name.clone(),
    })
}

fn exceptions(exceptions: &[Arc<Exception>], today: Option<Date>) -> Vec<ExceptionStatus> {
    let status = |exception: &Arc<Exception>| ExceptionStatus {
        allow: exception.allow.as_str().to_owned(),
        reason: exception.reason.clone(),
        expires: exception.expires.to_string(),
        days_left: today.map_or(0, |today| exception.days_left(today)),
        accepted_by: exception.accepted_by.clone(),
    };
    exceptions.iter().map(status).collect()
}

async fn status(parts: &[Part]) -> Status {
    let mut accounts = Vec::new();
    for part in parts {
        let (report, room) = (account_report(part).await, room_report(part).await);
        accounts.push(AccountStatus {
            account: part.account_name.clone(),
            registered: report.as_ref().is_some_and(|report| report.line.registered),
            registration: match &report {
                Some(report) => report.line.registration.clone(),
                None => "the account's task does not answer".to_owned(),
            },
            signalling: report.as_ref().and_then(signalling),
            room: part.room_name.clone(),
            galene: match room {
                Some(room) => room.listener.map_or("idle", |listener| listener.state).to_owned(),
                None => "the room's task does not answer".to_owned(),
            },
            level: report.as_ref().and_then(|report| report.line.room_level).map(|level| level.as_str().to_owned()),
            calls: report.as_ref().map_or(0, |report| report.line.calls.len()),
            exceptions: report.map_or_else(Vec::new, |report| exceptions(&report.line.exceptions, report.line.today)),
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
            let sound = call.sound.as_ref();
            calls.push(Call {
                id: call.number.0,
                account: report.line.account.clone(),
                room: part.room_name.clone(),
                peer: call.peer.clone(),
                direction: "in".to_owned(),
                state: call.state.to_owned(),
                duration_s: call.duration.as_secs(),
                signalling: signalling(&report),
                media: media(sound),
                codec: sound.map_or("", |sound| sound.codec).to_owned(),
                rtp: leg.map(rtp).unwrap_or_default(),
                galene: Participant {
                    participant: leg.map(|leg| leg.participant.participant.clone()).unwrap_or_default(),
                    state: leg.map_or("connecting", |leg| leg.participant.state).to_owned(),
                    may_write: room.may_write,
                },
                exceptions: exceptions(&call.exceptions, report.line.today),
            });
        }
    }
    calls.sort_by_key(|call| call.id);
    Calls { schema_version: SCHEMA_VERSION, calls }
}

fn media(sound: Option<&SoundReport>) -> Media {
    let zrtp = sound.and_then(|sound| sound.zrtp.as_ref());
    Media {
        level: sound.and_then(|sound| sound.level).map_or("none", MediaLevel::as_str).to_owned(),
        method: sound.map_or("none", |sound| sound.method).to_owned(),
        suite: sound.map_or("", |sound| sound.suite).to_owned(),
        key_agreement: zrtp.map(|zrtp| zrtp.key_agreement.to_owned()),
        sas: zrtp.map(|zrtp| zrtp.sas.clone()),
        sas_verified: zrtp.is_some_and(|zrtp| zrtp.verified || zrtp.compared),
        new_device: sound.is_some_and(|sound| sound.new_device),
        cache_mismatch: zrtp.is_some_and(|zrtp| zrtp.cache_mismatch),
    }
}

fn rtp(leg: &LegReport) -> Rtp {
    Rtp {
        sent: leg.sent,
        received: leg.received,
        lost: leg.lost,
        jitter_ms: leg.jitter_ms,
        auth_failures: leg.auth_failures,
        before_keys: leg.before_keys,
    }
}

async fn hang_up(parts: &[Part], call: CallNumber) -> bool {
    for part in parts {
        let (reply, answer) = oneshot::channel();
        let asked = timeout(PATIENCE, part.account.send(AccountMessage::HangUp(call, reply))).await;
        if matches!(asked, Ok(Ok(()))) && matches!(timeout(PATIENCE, answer).await, Ok(Ok(true))) {
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
        Ok(Ok(0)) => Err(AdminError::Answer("none at all".to_owned())),
        Ok(Ok(_)) => serde_json::from_str(&answer).map_err(|error| AdminError::Answer(error.to_string())),
        Ok(Err(error)) => Err(not_running(error)),
        Err(_) => Err(AdminError::Answer("none within 15 s".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
    use super::*;
    use crate::io::SystemRandomness;
    use crate::io::store::Store;

    fn place(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("galene-sips-admin-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        directory.join("admin.socket")
    }

    fn peers(socket: &Path) -> PeerStore {
        let store = Store::open(socket.parent().unwrap()).unwrap();
        PeerStore::open(&store, &mut SystemRandomness::default(), crate::io::unix_time()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_ours_alone_and_goes_with_the_program() {
        let path = place("mode");
        let socket = AdminSocket::open(&path).await.unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(matches!(AdminSocket::open(&path).await, Err(AdminError::Running { .. })));
        drop(socket);
        assert!(!path.exists());
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn another_user_gets_no_answer() {
        let path = place("uid");
        let mut socket = AdminSocket::open(&path).await.unwrap();
        socket.uid = socket.uid.wrapping_add(1); // from now on we are another user
        let server = tokio::spawn(socket.serve(Parts::default(), peers(&path), mpsc::channel(1).0));
        let answer = ask::<Status>(&path, &Question::Status).await;
        assert!(matches!(answer, Err(AdminError::Answer(_) | AdminError::NotRunning { .. })), "{answer:?}");
        server.abort();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_dead_programs_socket_is_replaced_and_nothing_else_is() {
        let path = place("stale");
        DirBuilder::new().mode(0o700).create(path.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = AdminSocket::open(&path).await.unwrap();
        drop(socket);
        fs::write(&path, "precious").unwrap();
        assert!(AdminSocket::open(&path).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_others_can_enter_is_no_place_for_it() {
        let path = place("open");
        let directory = path.parent().unwrap();
        DirBuilder::new().mode(0o755).create(directory).unwrap();
        fs::set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
        let error = AdminSocket::open(&path).await.err().unwrap().to_string();
        assert!(error.contains("chmod 700"), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn a_question_without_an_end_or_a_sense_is_not_answered() {
        let path = place("noise");
        let server = tokio::spawn(AdminSocket::open(&path).await.unwrap().serve(
            Parts::default(),
            peers(&path),
            mpsc::channel(1).0,
        ));
        for noise in ["x".repeat(100_000), "{}\n".to_owned(), "\n".to_owned()] {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let _ = stream.write_all(noise.as_bytes()).await; // it may hang up in the middle
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            assert_eq!(answer, "");
        }
        assert!(ask::<Status>(&path, &Question::Status).await.is_ok());
        server.abort();
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
