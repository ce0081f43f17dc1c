//! The server of a test of the group protocol: the real Galène when `GALENE_BIN` names one, else the laboratory's own.
//!
//! Both have the same groups and can be frozen, cut off, ended and started again, so one test serves both.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::galene::{Galene, INVITATION};
use super::netns::Netns;
use super::program::Scratch;
use super::{Context, Failure, Result};
use crate::certificates::{Authority, Identity, Tls, server_name};
use crate::group_peer::{GroupPeer, JoinOptions};
use crate::group_server::{
    GroupCodec, GroupDescription, GroupServer, GroupServerOptions, MESSAGE, OBSERVE, OP, PRESENT,
};

/// The name in the server's certificate.
pub const HOST: &str = "galene.lab.example";
/// The operator of `conf` and `closed`, and the password.
pub const OPERATOR: (&str, &str) = ("op", "operator");
/// Where the group `moved` went.
pub const ELSEWHERE: &str = "https://elsewhere.example/group/x/";

/// A server with groups of every kind: `conf` (everybody may speak), `closed` (only its users), `pcm` (no Opus), `moved`,
/// `full` (three members at most), `quiet` (its invitation lets listen only) and `guarded` (with an authorisation server).
pub struct Server {
    authority: Authority,
    identity: Identity,
    running: Running,
}

/// In the order in which they end.
enum Running {
    Laboratory { server: Option<GroupServer>, address: SocketAddr },
    Real { galene: Galene, net: Netns, scratch: Scratch },
}

impl Server {
    /// Starts the one or the other.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        if std::env::var_os("GALENE_BIN").is_none() {
            return Self::start_laboratory(with_groups).await;
        }
        let (net, scratch) = (Netns::new(&[HOST], &[])?, Scratch::new()?);
        let (authority, identity) = certificate(net.inside())?;
        let galene = start_real(&net, &scratch, &identity)?;
        Ok(Self { authority, identity, running: Running::Real { galene, net, scratch } })
    }

    /// Starts the laboratory's server with other options, for what the real one cannot be told.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_laboratory(change: impl FnOnce(GroupServerOptions) -> GroupServerOptions) -> Result<Self> {
        let (authority, identity) = certificate([127, 0, 0, 1].into())?;
        let running = Running::of(change(laboratory(&identity)?)).await?;
        Ok(Self { authority, identity, running })
    }

    /// Who vouches for the server.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match &self.running {
            Running::Laboratory { address, .. } => *address,
            Running::Real { galene, .. } => galene.address(),
        }
    }

    /// The page of a group, by address.
    pub fn url(&self, group: &str) -> String {
        format!("https://{}/group/{group}/", self.address())
    }

    /// The invitation to `conf`.
    pub fn invitation(&self) -> String {
        self.invitation_to("conf")
    }

    /// The invitation to a group; `closed` and `moved` have none.
    pub fn invitation_to(&self, group: &str) -> String {
        format!("{}?token={}", self.url(group), token(group))
    }

    /// How many members `conf` has, as the server itself counts them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn members(&self) -> Result<u64> {
        let stream = TcpStream::connect(self.address()).await.context("group server")?;
        let connector = TlsConnector::from(self.authority.client_config().context("TLS")?);
        let mut stream = connector.connect(server_name(HOST).context(HOST)?, stream).await.context("TLS")?;
        let request = format!("GET /group/conf/.status HTTP/1.0\r\nHost: {HOST}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.context("request")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.context("answer")?;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(body).context(&answer)?;
        status["clientCount"].as_u64().ok_or_else(|| Failure::new(format!("no count in {status}")))
    }

    /// Joins `conf` as anybody.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn peer(&self, name: &str) -> Result<GroupPeer> {
        GroupPeer::join(JoinOptions::new(self.url("conf"), name)).await.context(name)
    }

    /// Joins `conf` as its operator.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn operator(&self) -> Result<GroupPeer> {
        let options = JoinOptions::new(self.url("conf"), OPERATOR.0).password(OPERATOR.1);
        GroupPeer::join(options).await.context(OPERATOR.0)
    }

    /// Stops it as SIGSTOP does, or lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        match &self.running {
            Running::Laboratory { server, .. } => {
                server.iter().for_each(|server| server.freeze(frozen));
                Ok(())
            }
            Running::Real { galene, .. } => galene.signal(if frozen { "STOP" } else { "CONT" }),
        }
    }

    /// From now on no datagram reaches it or leaves it, or all do again.
    ///
    /// # Errors
    /// Without nftables.
    pub fn lose_media(&self, lost: bool) -> Result<()> {
        match &self.running {
            Running::Laboratory { server, .. } => {
                server.iter().for_each(|server| server.lose_media(lost));
                Ok(())
            }
            Running::Real { net, .. } if lost => net.drop_udp(),
            Running::Real { net, .. } => net.drop_nothing(),
        }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        match &mut self.running {
            Running::Laboratory { server, .. } => *server = None,
            Running::Real { galene, .. } => galene.stop(),
        }
    }

    /// Starts it again at the same address after [`Self::stop`].
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        match &mut self.running {
            Running::Real { galene, net, scratch } => *galene = start_real(net, scratch, &self.identity)?,
            Running::Laboratory { server, address } => {
                // the tasks of the old one end a moment after it
                tokio::time::sleep(Duration::from_millis(200)).await;
                let options = GroupServerOptions { bind: *address, ..laboratory(&self.identity)? };
                *server = Some(GroupServer::start(with_groups(options)).await.context("group server")?);
            }
        }
        Ok(())
    }

    /// How many packets of a stream it may lose at an ICE restart. pion (v4.3.0) forgets all pairs in `Agent.Restart`
    /// and sends nothing until the first check succeeds, a few milliseconds later; the laboratory's server goes on.
    pub fn loss_at_restart(&self) -> u64 {
        match &self.running {
            Running::Laboratory { .. } => 0,
            Running::Real { .. } => 1,
        }
    }

    /// What it wrote down about clients that end connections or streams in a way that they should not.
    pub fn complaints(&self) -> Vec<String> {
        match &self.running {
            Running::Laboratory { server, .. } => server.as_ref().map(GroupServer::complaints).unwrap_or_default(),
            Running::Real { galene, .. } => {
                let complains = |line: &&str| line.contains("close 100") || line.contains("Deleting up connection");
                galene.log().lines().filter(complains).map(str::to_owned).collect()
            }
        }
    }
}

impl Running {
    async fn of(options: GroupServerOptions) -> Result<Self> {
        let server = GroupServer::start(options).await.context("group server")?;
        Ok(Self::Laboratory { address: server.address(), server: Some(server) })
    }
}

fn certificate(address: IpAddr) -> Result<(Authority, Identity)> {
    let authority = Authority::new("lab").context("certificate authority")?;
    let identity = authority.issue_for_both(HOST, address).context(HOST)?;
    Ok((authority, identity))
}

fn laboratory(identity: &Identity) -> Result<GroupServerOptions> {
    Ok(GroupServerOptions::new(identity.server_config(Tls::Both).context("TLS")?))
}

fn with_groups(options: GroupServerOptions) -> GroupServerOptions {
    groups().into_iter().fold(options, |options, (name, group)| options.with_group(name, group))
}

fn start_real(net: &Netns, scratch: &Scratch, identity: &Identity) -> Result<Galene> {
    let groups = groups();
    let invitations: Vec<_> = groups.iter().flat_map(|(name, group)| group.invitations(name)).collect();
    let files: Vec<_> = groups.iter().map(|(name, group)| (*name, group.file())).collect();
    Galene::start(net, scratch.path(), HOST, identity.pem(), &identity.key_pem(), &files, &invitations)
}

fn token(group: &str) -> String {
    if group == "conf" { INVITATION.to_owned() } else { format!("{INVITATION}-{group}") }
}

fn groups() -> Vec<(&'static str, GroupDescription)> {
    let users = |group: GroupDescription| {
        group
            .with_user(OPERATOR.0, OPERATOR.1, OP)
            .with_user("alice", "alice's", PRESENT)
            .with_user("watcher", "pw", OBSERVE)
    };
    let open = || GroupDescription { wildcard: Some(PRESENT), ..GroupDescription::default() };
    let conf = GroupDescription { display_name: "Lab".into(), public: true, ..open() };
    let guarded = GroupDescription { auth_server: Some("https://auth.example/".into()), ..GroupDescription::default() };
    vec![
        ("conf", users(conf).with_token(INVITATION, PRESENT)),
        ("closed", users(GroupDescription::default())),
        ("pcm", GroupDescription { codec: GroupCodec::Pcmu, ..open() }.with_token(&token("pcm"), PRESENT)),
        ("moved", GroupDescription { redirect: Some(ELSEWHERE.into()), ..GroupDescription::default() }),
        ("full", GroupDescription { max_clients: 3, ..open() }.with_token(&token("full"), PRESENT)),
        ("quiet", open().with_token(&token("quiet"), MESSAGE)),
        ("guarded", users(guarded).with_token(&token("guarded"), PRESENT)),
    ]
}
