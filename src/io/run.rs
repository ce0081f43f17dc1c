//! The main job: every account and every room of a configuration, until SIGTERM.

use super::account::{self, AccountMessage, AccountSettings};
use super::admin::{AdminError, AdminSocket, Part};
use super::dns::{Dns, DnsSetupError};
use super::files;
use super::log;
use super::peers::PeerStore;
use super::ports::PortPool;
use super::room::{self};
use super::store::{Store, StoreError};
use super::tls::SipIdentity;
use super::{SystemRandomness, wall_clock};
use crate::call::{Line, LineConfig, ZrtpIdentity};
use crate::config::{Account, AccountSecret, Config, ConfigError, GroupCredentials, Ha1Algorithm, LogFormat};
use crate::galene::{self, Credentials};
use crate::room::{Room, RoomConfig};
use crate::sip::digest::{Algorithm, Password};
use crate::sip::{Agent, AgentConfig, Host, Params, SipUri};
use crate::units::CallNumbers;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

/// The name of the listening client.
const ROBOT_NAME: &str = "Phone gateway";

/// Everything must be over so long after SIGTERM: before five seconds have passed, the program has ended.
const FAREWELL: Duration = Duration::from_millis(4200);

/// So many messages may wait for a task. Who sends more has to wait, be it a dialog or the administrator.
const MOST_WAITING: usize = 64;

/// Why the program does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The admin socket.
    #[error("{0}")]
    Admin(#[from] AdminError),
    /// DNS.
    #[error("{0}")]
    Dns(#[from] DnsSetupError),
    /// The system.
    #[error("cannot wait for signals: {0}; this system is not one that galene-sips runs on")]
    Signals(std::io::Error),
    /// A defect.
    #[error(
        "a part of the program ended by itself, so the rest was shut down; please report it with the log, and start it again"
    )]
    Defect,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), RunError> {
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    log::start(config.log.level.as_str(), format);
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;

    let store = Store::open(&config.store_directory)?;
    let peers = PeerStore::open(&store, &mut SystemRandomness::default(), super::unix_time())?;
    let admin = AdminSocket::open(&config.admin_socket).await?;
    galene::warm_up(super::now());
    let dns = Dns::new(&config.dns.servers, files::trust_anchors(config.dns.trust_anchor.as_deref())?)?;
    let pool = PortPool::new(config.media.ports.clone());
    let numbers = CallNumbers::default();
    let most_calls = config.media.ports.len() / 2;

    let mut parts = Vec::new();
    let mut accounts = JoinSet::new();
    let mut rooms = JoinSet::new();
    let zrtp = zrtp_identity(&peers);
    let mut config_rooms = config.rooms;
    for account in config.accounts {
        let Some(at) = config_rooms.iter().position(|room| room.account == account.address) else { continue };
        let room_config = config_rooms.swap_remove(at);
        let group = files::group(&room_config)?;
        let credentials = match room_config.credentials {
            GroupCredentials::Password { username, password } => Credentials::Password { username, password },
            GroupCredentials::Invitation => Credentials::Token(files::token(&group, &room_config.account)?.duplicate()),
        };
        let room_name = group.to_string();
        let room = Room::new(
            RoomConfig {
                credentials,
                robot_name: ROBOT_NAME.to_owned(),
                clock: wall_clock(),
                language: room_config.language,
            },
            Box::new(SystemRandomness::default()),
        );
        let (room_messages, room_inbox) = mpsc::channel(MOST_WAITING);
        let (room_events, room_outbox) = mpsc::unbounded_channel();
        let trust = files::authorities(room_config.ca_file.as_deref())?;
        rooms.spawn(room::run(room, Arc::new(group), dns.clone(), trust, room_inbox, room_events));

        let (account_messages, account_inbox) = mpsc::channel(MOST_WAITING);
        let instance = store.instance_id(&account.address.to_string(), &mut SystemRandomness::default())?;
        let trust = files::authorities(account.ca_file.as_deref())?;
        let settings = AccountSettings {
            account: account.address.to_string(),
            dns: dns.clone(),
            host: account.outbound_proxy.as_ref().map_or(&account.address.domain, |proxy| &proxy.host).clone(),
            port: account.outbound_proxy.as_ref().and_then(|proxy| proxy.port),
            identity: SipIdentity {
                expected_name: account.expected_name.clone(),
                pins: account.pins.clone(),
                client: files::client_identity(&account)?,
            },
            trust,
            rules: account.rules.clone(),
            peers: peers.clone(),
            bind: config.media.bind.clone(),
            public_address: config.media.public_address,
        };
        let account_name = account.address.to_string();
        let line_config = LineConfig {
            account: account.address.to_string(),
            rules: account.rules.clone(),
            most_calls,
            zrtp: zrtp.clone(),
            group: room_name.clone(),
        };
        let agent = Agent::new(agent_config(account, instance), Box::new(SystemRandomness::default()));
        let line = Line::new(line_config, agent, numbers.clone(), Box::new(SystemRandomness::default()));
        accounts.spawn(account::run(
            settings,
            line,
            Arc::clone(&pool),
            room_messages.clone(),
            room_outbox,
            account_inbox,
            Box::new(SystemRandomness::default()),
        ));
        parts.push(Part { account_name, room_name, account: account_messages, room: room_messages });
    }

    let admin = tokio::spawn(admin.serve(parts.clone(), peers.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), accounts = parts.len(), socket = %config.admin_socket.display(), "running");
    // neither an account nor a room ends before it is told to
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = accounts.join_next() => Err(defect("an account", ended)),
        Some(ended) = rooms.join_next() => Err(defect("a room", ended)),
    };
    tracing::info!("shutting down: ending calls, un-registering, leaving the groups");
    let all_over = async {
        for part in &parts {
            let _ = part.account.send(AccountMessage::ShutDown).await; // a task that has ended needs no farewell
        }
        drop(parts);
        admin.abort();
        let _ = admin.await; // lets the socket's file be removed
        while accounts.join_next().await.is_some() {}
        while rooms.join_next().await.is_some() {}
        peers.close().await;
    };
    if timeout(FAREWELL, all_over).await.is_err() {
        tracing::warn!("not everything could be ended properly in time");
    }
    tracing::info!("stopped");
    outcome
}

fn zrtp_identity(peers: &PeerStore) -> ZrtpIdentity {
    ZrtpIdentity {
        zid: peers.zid(),
        peers: peers.book().clone(),
        ratchet: peers.ratchet().clone(),
        clock: wall_clock(),
        random: Arc::new(|| Box::new(SystemRandomness::default())),
    }
}

fn defect(what: &str, ended: Result<(), JoinError>) -> RunError {
    tracing::error!(what, ?ended, "a task ended by itself");
    RunError::Defect
}

fn agent_config(account: Account, instance: String) -> AgentConfig {
    let aor = SipUri {
        secure: false,
        user: Some(account.address.user.clone()),
        password: None,
        host: Host::Name(account.address.domain.clone()),
        port: None,
        params: Params::new(),
        headers: None,
    };
    AgentConfig {
        account: account.address.to_string(),
        aor,
        display_name: account.display_name,
        auth_user: account.auth_user,
        password: match account.secret {
            AccountSecret::Password(password) => Password::Plain(password),
            AccountSecret::Ha1(Ha1Algorithm::Md5, hash) => Password::Ha1(Algorithm::Md5, hash),
            AccountSecret::Ha1(Ha1Algorithm::Sha256, hash) => Password::Ha1(Algorithm::Sha256, hash),
            AccountSecret::Ha1(Ha1Algorithm::Sha512_256, hash) => Password::Ha1(Algorithm::Sha512_256, hash),
        },
        realm: account.realm,
        instance,
        register: true,
        expires: account.expires,
        route: None,
        user_agent: concat!("galene-sips/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}
