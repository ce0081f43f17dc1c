//! The main job: every account and every room of a configuration, until SIGTERM.
//!
//! In: a configuration, again at SIGHUP or when the administrator asks. Out: a task for each account and each room. A configuration
//! that is bad, or that a running program cannot take over, changes nothing.

use super::account::{self, AccountMessage, AccountSettings};
use super::admin::{AdminError, AdminSocket, Part, Parts, ReloadOutcome, Reloaded};
use super::dns::{Dns, DnsSetupError};
use super::files::{self, Source};
use super::log;
use super::peers::PeerStore;
use super::ports::PortPool;
use super::room::{self, RoomMessage};
use super::store::{Store, StoreError};
use super::tls::{SipIdentity, Trust};
use super::{SystemRandomness, wall_clock};
use crate::audio::Language;
use crate::call::{Line, LineConfig, ZrtpIdentity};
use crate::config::{
    Account, AccountSecret, Address, Changes, Config, ConfigError, GroupCredentials, Ha1Algorithm, LogFormat,
};
use crate::galene::{self, Credentials, GroupAddress};
use crate::room::{Room, RoomConfig};
use crate::sip::digest::{Algorithm, Password};
use crate::sip::{Agent, AgentConfig, Host, Params, SipUri};
use crate::units::CallNumbers;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
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

/// Runs until SIGTERM or SIGINT. `source` is where the configuration came from, to be read again at SIGHUP or `reload`.
pub async fn run(config: Config, source: Source) -> Result<(), RunError> {
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    log::start(config.log.level.as_str(), format);
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Signals)?;

    let mut service = Service::open(config)?;
    let admin = AdminSocket::open(&service.config.admin_socket).await?; // fails beside another program, so nothing has begun yet
    service.start()?;
    let (reload, mut reloads) = mpsc::channel(MOST_WAITING);
    let admin = tokio::spawn(admin.serve(service.parts.clone(), service.peers.clone(), reload));
    let socket = service.config.admin_socket.display().to_string();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), accounts = service.config.accounts.len(), socket, "running");
    let outcome = loop {
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            _ = hangup.recv() => drop(service.reload(&source).await),
            Some(reply) = reloads.recv() => {
                let reply: oneshot::Sender<Reloaded> = reply;
                let _ = reply.send(service.reload(&source).await); // who asked may be gone
            }
            Some(ended) = service.accounts.join_next_with_id() => service.ended("an account", ended)?,
            Some(ended) = service.rooms.join_next_with_id() => service.ended("a room", ended)?,
        }
    };
    service.end(admin).await;
    outcome
}

/// Everything that runs: a task for each account and each room, and what they share. Start and reload build it in the same way.
struct Service {
    config: Config,
    store: Store,
    peers: PeerStore,
    dns: Dns,
    pool: Arc<PortPool>,
    numbers: CallNumbers,
    zrtp: ZrtpIdentity,
    parts: Parts,
    accounts: JoinSet<()>,
    rooms: JoinSet<()>,
    /// Tasks that were told to end, with their account.
    leaving: HashMap<Id, String>,
    tasks: HashMap<String, [Id; 2]>,
}

/// One account with its room, read from the configuration and its files: all that can fail has not.
struct Prepared {
    settings: AccountSettings,
    agent: AgentConfig,
    group: GroupAddress,
    credentials: Credentials,
    language: Language,
    trust: Trust,
}

impl Service {
    fn open(config: Config) -> Result<Service, RunError> {
        let store = Store::open(&config.store_directory)?;
        let peers = PeerStore::open(&store, &mut SystemRandomness::default(), super::unix_time())?;
        let dns = Dns::new(&config.dns.servers, files::trust_anchors(config.dns.trust_anchor.as_deref())?)?;
        Ok(Service {
            pool: PortPool::new(config.media.ports.clone()),
            numbers: CallNumbers::default(),
            zrtp: zrtp_identity(&peers),
            parts: Parts::default(),
            accounts: JoinSet::new(),
            rooms: JoinSet::new(),
            leaving: HashMap::new(),
            tasks: HashMap::new(),
            config,
            store,
            peers,
            dns,
        })
    }

    fn start(&mut self) -> Result<(), RunError> {
        galene::warm_up(super::now());
        let prepared = self.config.accounts.iter().map(|account| self.prepare(&self.config, account));
        for prepared in prepared.collect::<Result<Vec<_>, _>>()? {
            self.add(prepared);
        }
        Ok(())
    }

    /// Reads what an account and its room need besides the configuration.
    fn prepare(&self, config: &Config, account: &Account) -> Result<Prepared, RunError> {
        let name = account.address.to_string();
        let room = config.room_of(&account.address).ok_or(RunError::Defect)?; // the configuration has made sure
        let group = files::group(room)?;
        let credentials = match &room.credentials {
            GroupCredentials::Password { username, password } => {
                Credentials::Password { username: username.clone(), password: password.duplicate() }
            }
            GroupCredentials::Invitation => Credentials::Token(files::token(&group, &room.account)?.duplicate()),
        };
        let instance = self.store.instance_id(&name, &mut SystemRandomness::default())?;
        let settings = AccountSettings {
            account: name,
            dns: self.dns.clone(),
            host: account.outbound_proxy.as_ref().map_or(&account.address.domain, |proxy| &proxy.host).clone(),
            port: account.outbound_proxy.as_ref().and_then(|proxy| proxy.port),
            identity: SipIdentity {
                expected_name: account.expected_name.clone(),
                pins: account.pins.clone(),
                client: files::client_identity(account)?,
            },
            trust: files::authorities(account.ca_file.as_deref())?,
            rules: account.account_rules(),
            peers: self.peers.clone(),
            bind: config.media.bind.clone(),
            public_address: config.media.public_address,
        };
        let trust = files::authorities(room.ca_file.as_deref())?;
        let agent = agent_config(account, instance);
        Ok(Prepared { settings, agent, group, credentials, language: room.language, trust })
    }

    /// Starts an account and its room.
    fn add(&mut self, prepared: Prepared) {
        let Prepared { settings, agent, group, credentials, language, trust } = prepared;
        let (account_name, room_name) = (settings.account.clone(), group.to_string());
        let room = Room::new(
            RoomConfig { credentials, robot_name: ROBOT_NAME.to_owned(), clock: wall_clock(), language },
            Box::new(SystemRandomness::default()),
        );
        let (room_messages, room_inbox) = mpsc::channel(MOST_WAITING);
        let (room_events, room_outbox) = mpsc::unbounded_channel();
        let room = room::run(room, Arc::new(group), self.dns.clone(), trust, room_inbox, room_events);
        let room_task = self.rooms.spawn(room);

        let (account_messages, account_inbox) = mpsc::channel(MOST_WAITING);
        let line_config = LineConfig {
            account: account_name.clone(),
            rules: settings.rules.clone(),
            most_calls: self.config.media.ports.len() / 2,
            zrtp: self.zrtp.clone(),
            group: room_name.clone(),
        };
        let agent = Agent::new(agent, Box::new(SystemRandomness::default()));
        let line = Line::new(line_config, agent, self.numbers.clone(), Box::new(SystemRandomness::default()));
        let account_task = self.accounts.spawn(account::run(
            settings,
            line,
            Arc::clone(&self.pool),
            room_messages.clone(),
            room_outbox,
            account_inbox,
            Box::new(SystemRandomness::default()),
        ));
        self.tasks.insert(account_name.clone(), [account_task.id(), room_task.id()]);
        self.parts.add(Part { account_name, room_name, account: account_messages, room: room_messages });
    }

    /// Ends an account: BYE to its calls, un-REGISTER, and its room after it.
    async fn remove(&mut self, account: &str) {
        let Some(part) = self.parts.remove(account) else { return };
        for id in self.tasks.remove(account).into_iter().flatten() {
            self.leaving.insert(id, account.to_owned());
        }
        let _ = part.account.send(AccountMessage::ShutDown).await; // a task that has ended needs no farewell
    }

    /// A task has ended: as it was told to, or by itself, which none does.
    fn ended(&mut self, what: &str, ended: Result<(Id, ()), JoinError>) -> Result<(), RunError> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        if ended.is_ok() && self.leaving.remove(&id).is_some() {
            return Ok(());
        }
        tracing::error!(what, ?ended, "a task ended by itself");
        Err(RunError::Defect)
    }

    /// Reads the configuration again. What cannot be done as a whole is not done at all.
    async fn reload(&mut self, source: &Source) -> Reloaded {
        let reloaded = match source.load() {
            Ok(config) => self.take_over(config).await,
            Err(error) => Reloaded { outcome: ReloadOutcome::BadConfiguration, message: error.to_string() },
        };
        match reloaded.outcome {
            ReloadOutcome::Done => tracing::info!(result = reloaded.message, "the configuration was read again"),
            ReloadOutcome::BadConfiguration | ReloadOutcome::NeedsRestart | ReloadOutcome::Failed => {
                tracing::error!(why = reloaded.message, "the configuration was read again, and nothing was changed");
            }
        }
        reloaded
    }

    async fn take_over(&mut self, new: Config) -> Reloaded {
        let changes = Changes::between(&self.config, &new);
        let not = |outcome, message| Reloaded { outcome, message };
        if !changes.needs_restart.is_empty() {
            let message = format!(
                "these keys need a restart, so nothing was changed: {}; restart the program, or change them back",
                changes.needs_restart.join(", ")
            );
            return not(ReloadOutcome::NeedsRestart, message);
        }
        if let Some(again) =
            changes.added.iter().find(|added| self.leaving.values().any(|name| *name == added.to_string()))
        {
            let message =
                format!("{again} was removed just now and is still ending its calls; try again in a few seconds");
            return not(ReloadOutcome::Failed, message);
        }
        let mut prepared = Vec::new();
        for account in &new.accounts {
            match self.prepare(&new, account) {
                Ok(ready) => prepared.push(ready),
                Err(RunError::Config(error)) => return not(ReloadOutcome::BadConfiguration, error.to_string()),
                Err(error) => return not(ReloadOutcome::Failed, error.to_string()),
            }
        }
        for account in &changes.removed {
            self.remove(&account.to_string()).await;
        }
        for ready in prepared {
            match self.parts.find(&ready.settings.account) {
                Some(part) => self.change(&new, &part, ready).await,
                None => self.add(ready),
            }
        }
        self.config = new;
        let count = self.config.accounts.len();
        let names = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut message = format!("{count} account{} as the configuration says now", if count == 1 { "" } else { "s" });
        for (what, addresses) in [("added", &changes.added), ("removed", &changes.removed)] {
            if !addresses.is_empty() {
                message += &format!("; {what}: {}", names(addresses));
            }
        }
        Reloaded { outcome: ReloadOutcome::Done, message }
    }

    /// An account that stays gets all that may have changed; it sees for itself what has.
    async fn change(&self, new: &Config, part: &Part, ready: Prepared) {
        let (old, new) = (secret(&self.config, &part.account_name), secret(new, &part.account_name));
        let is_other = |new: &&AccountSecret| old.is_none_or(|old| !old.is_same(new));
        let password = new.filter(is_other).map(password);
        // a task that has ended has ended the program
        let _ = part.room.send(RoomMessage::Change(Arc::new(ready.group), ready.credentials, ready.trust)).await;
        let _ = part.account.send(AccountMessage::Change(Box::new(ready.settings), password)).await;
    }

    /// BYE to all calls, un-REGISTER, leave the groups, within [`FAREWELL`].
    async fn end(mut self, admin: JoinHandle<()>) {
        tracing::info!("shutting down: ending calls, un-registering, leaving the groups");
        let all_over = async {
            for part in self.parts.take() {
                let _ = part.account.send(AccountMessage::ShutDown).await; // a task that has ended needs no farewell
            }
            admin.abort();
            let _ = admin.await; // lets the socket's file be removed
            while self.accounts.join_next().await.is_some() {}
            while self.rooms.join_next().await.is_some() {}
            self.peers.close().await;
        };
        if timeout(FAREWELL, all_over).await.is_err() {
            tracing::warn!("not everything could be ended properly in time");
        }
        tracing::info!("stopped");
    }
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

fn agent_config(account: &Account, instance: String) -> AgentConfig {
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
        display_name: account.display_name.clone(),
        auth_user: account.auth_user.clone(),
        password: password(&account.secret),
        realm: account.realm.clone(),
        instance,
        register: true,
        expires: account.expires,
        route: None,
        user_agent: concat!("galene-sips/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

fn password(secret: &AccountSecret) -> Password {
    match secret {
        AccountSecret::Password(password) => Password::Plain(password.duplicate()),
        AccountSecret::Ha1(Ha1Algorithm::Md5, hash) => Password::Ha1(Algorithm::Md5, hash.duplicate()),
        AccountSecret::Ha1(Ha1Algorithm::Sha256, hash) => Password::Ha1(Algorithm::Sha256, hash.duplicate()),
        AccountSecret::Ha1(Ha1Algorithm::Sha512_256, hash) => Password::Ha1(Algorithm::Sha512_256, hash.duplicate()),
    }
}

fn secret<'a>(config: &'a Config, account: &str) -> Option<&'a AccountSecret> {
    config.accounts.iter().find(|known| known.address.to_string() == account).map(|account| &account.secret)
}
