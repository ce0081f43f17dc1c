//! A SIP phone: registers over TLS, calls and is called, agrees on keys (SDES or ZRTP), speaks and hears. For tests and demo.
//!
//! It is built of the library's own parts, so a call with it proves that the parts fit together, not that each is right;
//! for that there are vectors, oracles and other people's phones. Unlike the gateway it does what it is told, also in
//! clear, and it can be hostile.

mod call;
mod description;
mod leg;
mod media;
mod zrtp;

pub use call::{Call, CallFailed, Ended, Reoffer};
pub use description::MediaOptions;
pub use media::Statistics;
pub use zrtp::ZrtpMemory;

use crate::certificates::server_name;
use crate::{Failure, Outcome};
use galene_sips::io::SystemRandomness;
use galene_sips::policy::{Chain, MayAuthenticate, Name, Pin, Rules, TlsPeer, TlsVersion, Validity, judge};
use galene_sips::sip::digest::Password;
use galene_sips::sip::{Agent, AgentConfig, DialogId, Event, Output, SipUri};
use galene_sips::units::{Random, random_hex};
use leg::Leg;
use rustls::ClientConfig;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What the phone does with a call that comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pickup {
    /// Answers at once.
    Answer,
    /// Refuses with this status.
    Refuse(u16),
    /// Rings and never answers.
    Ring,
}

/// A phone's account and habits.
#[derive(Clone)]
pub struct PhoneOptions {
    /// Where the provider listens.
    pub server: SocketAddr,
    /// The name that its certificate must show.
    pub server_name: String,
    /// What the phone trusts.
    pub tls: Arc<ClientConfig>,
    /// The user part of its address, and its name for authentication.
    pub user: String,
    /// The provider's domain.
    pub domain: String,
    /// The password.
    pub password: String,
    /// The name that it shows.
    pub display_name: Option<String>,
    /// Whether it registers.
    pub register: bool,
    /// For how many seconds.
    pub expires: u32,
    /// How it speaks.
    pub media: MediaOptions,
    /// Where its sockets are bound.
    pub bind: IpAddr,
    /// What it does when it is called.
    pub pickup: Pickup,
}

impl PhoneOptions {
    /// A phone that registers, on 127.0.0.1.
    pub fn new(server: SocketAddr, tls: Arc<ClientConfig>, user: &str, domain: &str, password: &str) -> PhoneOptions {
        PhoneOptions {
            server,
            server_name: domain.into(),
            tls,
            user: user.into(),
            domain: domain.into(),
            password: password.into(),
            display_name: None,
            register: true,
            expires: 600,
            media: MediaOptions::default(),
            bind: IpAddr::from([127, 0, 0, 1]),
            pickup: Pickup::Answer,
        }
    }
}

/// What the phone is asked to do.
enum Wish {
    Call {
        target: String,
        media: MediaOptions,
        late_offer: bool,
        reply: oneshot::Sender<Result<Call, CallFailed>>,
    },
    Reinvite {
        dialog: DialogId,
        reoffer: Reoffer,
        reply: oneshot::Sender<Result<String, CallFailed>>,
    },
    Bye {
        dialog: DialogId,
    },
    /// Gives up the call that is being set up.
    Cancel,
    Unregister,
}

/// A phone. Dropping it closes its connection without a word.
pub struct Phone {
    options: PhoneOptions,
    wishes: mpsc::UnboundedSender<Wish>,
    events: Arc<Mutex<Vec<Event>>>,
    changed: watch::Receiver<u64>,
    incoming: tokio::sync::Mutex<mpsc::UnboundedReceiver<Call>>,
    task: AbortHandle,
}

impl Phone {
    /// Connects and, if it is to, begins to register.
    pub async fn start(options: PhoneOptions) -> Outcome<Phone> {
        let mut random = SystemRandomness::default();
        let host = galene_sips::sip::Host::parse(&options.domain)?;
        let account = format!("{}@{}", options.user, options.domain);
        let config = AgentConfig {
            account: account.clone(),
            aor: SipUri { user: Some(options.user.clone()), ..SipUri::new(host) },
            display_name: options.display_name.clone(),
            auth_user: options.user.clone(),
            password: Password::Plain(options.password.as_str().into()),
            realm: (!options.register).then(|| options.domain.clone()),
            instance: format!("urn:uuid:{}", uuid(&mut random)),
            register: options.register,
            expires: options.expires,
            route: None,
            user_agent: "galene-sips laboratory phone".into(),
        };
        let (wishes, wished) = mpsc::unbounded_channel();
        let (calls, incoming) = mpsc::unbounded_channel();
        let (changes, changed) = watch::channel(0);
        let events = Arc::new(Mutex::new(Vec::new()));
        let mut worker = Worker {
            agent: Agent::new(config, Box::new(random.clone())),
            random,
            options: options.clone(),
            rules: Rules { short_tags: true, ..Rules::strict(account) },
            legs: HashMap::new(),
            wishes: wishes.clone(),
            calls,
            events: events.clone(),
            changes,
        };
        let connection = connect(&options).await?;
        let task = tokio::spawn(async move { worker.run(connection, wished).await }).abort_handle();
        Ok(Phone { options, wishes, events, changed, incoming: tokio::sync::Mutex::new(incoming), task })
    }

    /// The phone's address, as others call it.
    pub fn address(&self) -> String {
        format!("sip:{}@{}", self.options.user, self.options.domain)
    }

    /// Waits until the provider accepted the registration.
    pub async fn registered(&self, patience: Duration) -> bool {
        self.wait_for(patience, |event| matches!(event, Event::Registered { .. })).await.is_some()
    }

    /// Everything that the user agent told so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first event, past or to come, that is as wanted.
    pub async fn wait_for(&self, patience: Duration, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut changed = self.changed.clone();
        let search = async {
            loop {
                changed.mark_unchanged();
                if let Some(event) = self.events().into_iter().find(|event| wanted(event)) {
                    return Some(event);
                }
                if changed.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, search).await.ok().flatten()
    }

    /// Calls somebody as the options say; returns when the call is answered or refused.
    pub async fn call(&self, target: &str) -> Result<Call, CallFailed> {
        self.call_with(target, self.options.media.clone(), false).await
    }

    /// Calls with other media, or without an offer in the INVITE (`late_offer`).
    pub async fn call_with(&self, target: &str, media: MediaOptions, late_offer: bool) -> Result<Call, CallFailed> {
        let (reply, answered) = oneshot::channel();
        let _ = self.wishes.send(Wish::Call { target: target.into(), media, late_offer, reply });
        answered.await.unwrap_or_else(|_| Err(failed(0, "the phone is gone")))
    }

    /// Gives up the calls that are not answered yet.
    pub fn cancel(&self) {
        let _ = self.wishes.send(Wish::Cancel);
    }

    /// Removes the registration.
    pub fn unregister(&self) {
        let _ = self.wishes.send(Wish::Unregister);
    }

    /// The next call that came in and was answered.
    pub async fn incoming(&self, patience: Duration) -> Option<Call> {
        tokio::time::timeout(patience, async { self.incoming.lock().await.recv().await }).await.ok().flatten()
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn failed(status: u16, reason: impl ToString) -> CallFailed {
    CallFailed { status, reason: reason.to_string(), warning: None }
}

/// RFC 9562 §5.4
fn uuid(random: &mut dyn Random) -> String {
    let hex = random_hex(random, 16);
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

type Connection = TlsStream<TcpStream>;

async fn connect(options: &PhoneOptions) -> Outcome<Connection> {
    let stream = TcpStream::connect(options.server).await?;
    stream.set_nodelay(true)?;
    let name = server_name(&options.server_name)?;
    Ok(TlsConnector::from(options.tls.clone()).connect(name, stream).await?)
}

/// The phone's task: the agent, its connection, its calls.
struct Worker {
    agent: Agent,
    random: SystemRandomness,
    options: PhoneOptions,
    rules: Rules,
    legs: HashMap<DialogId, Leg>,
    wishes: mpsc::UnboundedSender<Wish>,
    calls: mpsc::UnboundedSender<Call>,
    events: Arc<Mutex<Vec<Event>>>,
    changes: watch::Sender<u64>,
}

impl Worker {
    async fn run(&mut self, connection: Connection, mut wished: mpsc::UnboundedReceiver<Wish>) {
        let mut connection = Some(connection);
        loop {
            if let Some(mut open) = connection.take() {
                if let Err(failure) = self.talk(&mut open, &mut wished).await {
                    tracing::debug!(%failure, "the phone's connection");
                }
                self.agent.flow_down(Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            connection = connect(&self.options).await.ok();
        }
    }

    async fn talk(&mut self, stream: &mut Connection, wished: &mut mpsc::UnboundedReceiver<Wish>) -> Outcome<()> {
        self.agent.flow_up(Instant::now(), stream.get_ref().0.local_addr()?, self.proof()?);
        let mut buffer = vec![0; 16 * 1024];
        loop {
            while let Some(output) = self.agent.poll() {
                match output {
                    Output::Send(bytes) => stream.write_all(&bytes).await?,
                    Output::CloseFlow(why) => return Err(Failure::from(why)),
                    Output::Event(event) => self.handle(event).await,
                }
            }
            let wake = self.agent.wake().unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                length = stream.read(&mut buffer) => match length? {
                    0 => return Ok(()),
                    length => self.agent.handle_bytes(Instant::now(), &buffer[..length]),
                },
                wish = wished.recv() => if let Some(wish) = wish {
                    self.grant(wish).await;
                },
                () = tokio::time::sleep_until(wake.into()) => self.agent.handle_timeout(Instant::now()),
            }
        }
    }

    /// The connection was checked by rustls against the authority that the phone trusts.
    fn proof(&self) -> Outcome<MayAuthenticate> {
        let peer = TlsPeer {
            expected: self.options.server_name.clone(),
            version: TlsVersion::Tls12,
            chain: Chain::Trusted,
            name: Name::Matches,
            pin: Pin::NotConfigured,
            validity: Validity::Valid,
        };
        judge(&self.rules, &peer).allowed().map_err(|refusal| Failure::from(refusal.to_string()))
    }

    async fn grant(&mut self, wish: Wish) {
        let now = Instant::now();
        match wish {
            Wish::Call { target, media, late_offer, reply } => self.begin(&target, media, late_offer, reply).await,
            Wish::Reinvite { dialog, reoffer, reply } => self.reinvite(dialog, &reoffer, reply),
            Wish::Bye { dialog } => {
                self.agent.bye(now, dialog, None);
                self.end(dialog, Ended::ByUs);
            }
            Wish::Cancel => {
                let unanswered: Vec<DialogId> =
                    self.legs.iter().filter(|(_, leg)| leg.is_calling()).map(|(dialog, _)| *dialog).collect();
                unanswered.into_iter().for_each(|dialog| self.agent.cancel(now, dialog));
            }
            Wish::Unregister => self.agent.unregister(now),
        }
    }

    async fn handle(&mut self, event: Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
        let now = Instant::now();
        match event {
            Event::Invite { dialog, key, request } => self.pick_up(dialog, key, &request.body).await,
            Event::ReInvite { dialog, key, request } | Event::Update { dialog, key, request } => {
                self.answer_change(dialog, key, &request.body);
            }
            Event::Info { key, .. } => self.agent.respond(now, key, galene_sips::sip::Reply::new(200, "OK")),
            Event::Response { dialog, key, response } => self.responded(dialog, key, &response),
            Event::Bye { dialog, reason } => self.end(dialog, Ended::Bye(reason)),
            Event::Cancelled { dialog } => self.end(dialog, Ended::Broken("cancelled".into())),
            Event::Terminated { dialog, why } => self.end(dialog, Ended::Broken(why.to_string())),
            _ => {}
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn end(&mut self, dialog: DialogId, how: Ended) {
        if let Some(leg) = self.legs.remove(&dialog) {
            leg.end(how);
        }
    }
}
